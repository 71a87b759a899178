# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module spf_agent against agents that are small programs: what it believes, what it refuses, what it writes and removes."""

import os
import pwd
import shutil
import stat
import subprocess

import pytest
import role_modules

spf_agent = role_modules.load("roles/spf/library/spf_agent.py")
shared, process = role_modules.util("sokuhai.host"), role_modules.util("sokuhai.process")
Refused = shared.Refused
PROBES = role_modules.ROOT / "roles/spf/files"
SERVER = role_modules.ROOT / "roles/sokuhai/files/sokuhai-policyd.py"

MARK = {"fail": "mark", "softfail": "mark", "neutral": "mark", "permerror": "mark", "temperror": "mark"}
REFUSE = {**MARK, "fail": "refuse"}

# an agent that does with a result what its configuration says, by the library that the proof talks through
AGENT = """\
#!{python}
import sys, syslog, spf
def main():
    wanted = {{}}
    for line in open(sys.argv[1]):
        name, _, value = line.strip().partition("=")
        if name not in ("fail", "other"):
            syslog.syslog('ERROR: Unknown name "%s"' % name)
        wanted[name] = value
    attributes = {{}}
    for line in sys.stdin.buffer:
        line = line.decode().rstrip("\\n")
        if line:
            name, _, value = line.partition("=")
            attributes[name] = value
            continue
        helo = attributes["helo_name"]
        query = spf.query("postmaster@" + helo, helo)
        result = query.check()[0]
        if result != "fail" and attributes["sender"]:
            result = spf.query(attributes["sender"], helo).check()[0]
        sys.stdout.write("action=" + wanted.get(result, wanted["other"]) + "\\n\\n")
        sys.stdout.flush()
if __name__ == "__main__":
    main()
"""
LIBRARY = "class query:\n    def __init__(self, s, h):\n        self.s, self.h = s, h\n    def check(self):\n        raise SystemExit('asked the DNS')\n"
GOOD = "fail=prepend Received-SPF: Fail\nother=prepend Received-SPF: x\n"
REFUSING = "fail=550 5.7.23 no\nother=prepend Received-SPF: x\n"


class Agent:
    """The module's Agent with *params*; warnings: what it warned of."""

    def __init__(self, check=False, **params):
        self.params, self.check, self.warnings = params, check, []

    def present(self):
        return spf_agent.Agent(self.params).present(self.check, self.warnings.append)


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with an agent, its library and a postconf that says what *service* holds."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "spf.py").write_text(LIBRARY)
    script(tmp_path / "bin/policyd-spf", AGENT.format(python=role_modules.PYTHON))
    script(
        tmp_path / "bin/postconf", f'#!/bin/sh\n[ "$1" = -h ] && echo postfix || cat {tmp_path}/service 2>/dev/null\n'
    )
    monkeypatch.setitem(shared.ENV, "PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(process, "table", lambda: {})
    real = subprocess.run

    def run(*arguments, **options):
        # the agent finds its library; what the module asks besides is the host's
        if "input" in options:
            options["env"] = dict(options["env"], PYTHONPATH=str(tmp_path))
        return real(*arguments, **options)

    monkeypatch.setattr(spf_agent.subprocess, "run", run)
    # the proof runs as the agent's user: here whoever runs the tests, by another uid than root's
    become(monkeypatch, pwd.getpwuid(os.geteuid()).pw_name, 4711)
    monkeypatch.setattr(spf_agent.policyd.os, "geteuid", lambda: 4711)
    # test_spf_server.py has it
    monkeypatch.setattr(spf_agent.policyd, "prove", lambda *_: None)
    # nor is anything given to another by whoever is not root
    monkeypatch.setattr(spf_agent.os, "chown", lambda *_: None)
    monkeypatch.setattr(shared, "rights", lambda mode, *_: "%04o" % mode)
    return tmp_path


def become(monkeypatch, name, uid):
    account = pwd.struct_passwd((name, "x", uid, os.getegid(), "", "/", ""))
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: account)


def agent(host, text=GOOD, name="a", check=False, **params):
    declared = {
        "agent": "python",
        "program": str(host / "bin/policyd-spf"),
        "config": str(host / f"etc/sokuhai-{name}.conf"),
        "text": text,
        "server": str(host / "etc/sokuhai-policyd-spf"),
        "server_text": SERVER.read_text(),
        "directory": str(host / "sockets"),
        "probe": (PROBES / "probe.py").read_text(),
        "results": MARK,
        "helo": "same",
        "user": "someone",
        "service": "policyd_spf",
        "packages": [],
    }
    return Agent(check, **declared | params)


def test_an_agent_that_does_what_is_declared_gets_its_configuration(host):
    made = agent(host).present()
    path = host / "etc/sokuhai-a.conf"
    assert made["changed"] and path.read_text() == GOOD and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert made["answers"]["fail"] == "prepend Received-SPF: Fail"
    assert not agent(host).present()["changed"], "the second run changes nothing"


def test_check_mode_proves_and_writes_nothing(host):
    assert agent(host, check=True).present()["changed"]
    assert not (host / "etc").exists()
    with pytest.raises(Refused, match="spf_results: .*fail.*'550 5.7.23 no'.*mark"):
        agent(host, text=REFUSING, check=True).present()


@pytest.mark.parametrize(
    "text, results, said",
    [
        # result, answer, what is declared
        (REFUSING, MARK, ("fail", "'550 5.7.23 no'", "mark")),
        (GOOD, REFUSE, ("fail", "'prepend Received-SPF: Fail'", "refuse")),
        # Postfix adds no header that has no name
        (
            "fail=prepend Please see this\nother=prepend Received-SPF: x\n",
            MARK,
            ("fail", "'prepend Please see this'", "mark"),
        ),
        ("fail=dunno\nother=prepend Received-SPF: x\n", MARK, ("fail", "'dunno'", "mark")),
        ("fail=550 no\nother=dunno\n", REFUSE, ("softfail", "'dunno'", "mark")),
        (GOOD, {**MARK, "temperror": "defer"}, ("temperror", "'prepend Received-SPF: x'", "defer")),
    ],
)
def test_an_agent_that_does_otherwise_is_refused_and_nothing_is_written(host, text, results, said):
    with pytest.raises(Refused, match="spf_results: .* %s .*%s.* %s " % said):
        agent(host, text=text, results=results).present()
    assert not (host / "etc").exists()


def test_helo_is_judged_by_itself(host):
    with pytest.raises(Refused, match="fail .*HELO.*'550"):
        agent(host, text=REFUSING, results=REFUSE, helo="mark").present()
    assert agent(host, text=REFUSING, results=REFUSE, helo="same").present()["changed"]


def test_a_word_that_the_agent_does_not_know_is_refused(host):
    with pytest.raises(Refused, match='Unknown name "extra"'):
        agent(host, text=GOOD + "extra=1\n").present()


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda host: (host / "spf.py").write_text("import that_is_missing"), "No module named 'that_is_missing'"),
        (
            lambda host: script(
                host / "bin/policyd-spf", f"#!{role_modules.PYTHON}\nraise SystemExit('out of order')\n"
            ),
            "exit 1, 0 .*14.*out of order",
        ),
        (lambda host: (host / "bin/policyd-spf").unlink(), "spf_install: .*bin/policyd-spf"),
    ],
    ids=["no library", "it dies", "no agent, and no package brings it"],
)
@pytest.mark.parametrize("check", [True, False])
def test_an_agent_that_cannot_answer_is_refused_before_anything_changes(host, damage, said, check):
    damage(host)
    with pytest.raises(Refused, match=said):
        agent(host, check=check).present()
    assert not (host / "etc").exists()


def test_a_missing_agent_is_installed_and_predicted_in_check_mode(host, monkeypatch):
    program = host / "bin/policyd-spf"
    text = program.read_text()
    program.unlink()
    monkeypatch.setattr(spf_agent.pkg, "missing", lambda names, instead: [] if program.exists() else names)
    monkeypatch.setattr(spf_agent.pkg, "install", lambda names: names == ["spf"] and script(program, text))
    made = agent(host, check=True, packages=["spf"]).present()
    assert made["predicted"] and made["changed"] and made["diff"][0]["after"] == GOOD
    assert [one["id"] for one in made["findings"]] == ["package spf"]
    assert agent(host, packages=["spf"]).present()["answers"]


def test_a_configuration_that_postfix_still_names_is_kept(host):
    agent(host, name="a").present()
    (host / "service").write_text(f"policyd_spf unix - n n - 0 spawn user=nobody argv=/p {host}/etc/sokuhai-a.conf\n")
    # b is named by nobody once there is c
    for name, others in (("b", ["a"]), ("c", ["a"])):
        agent(host, text=f"{GOOD}other=prepend Received-SPF: {name}\n", name=name).present()
        assert sorted(path.stem for path in (host / "etc").glob("*.conf")) == [
            f"sokuhai-{one}" for one in (*others, name)
        ]


def test_a_changed_file_is_written_again(host):
    agent(host).present()
    (host / "etc/sokuhai-a.conf").write_text(REFUSING)
    assert agent(host).present()["changed"] and (host / "etc/sokuhai-a.conf").read_text() == GOOD


@pytest.mark.parametrize("name, uid", [("toor", 0), ("postfix", 4711)])
def test_root_and_postfix_are_no_users_for_it(host, monkeypatch, name, uid):
    become(monkeypatch, name, uid)
    with pytest.raises(Refused, match="spf_user: .*(someone|postfix)"):
        agent(host, user="postfix" if uid else "someone").present()


def test_the_program_that_shares_one_agent_comes_with_a_directory_of_the_users_own(host):
    made = agent(host, check=True).present()
    folder, program = host / "sockets", host / "etc/sokuhai-policyd-spf"
    assert [one["id"] for one in made["findings"]] == [f"directory {folder}"] and not folder.exists()
    agent(host).present()
    assert (
        program.read_text() == spf_agent.policyd.HEAD + SERVER.read_text()
        and stat.S_IMODE(program.stat().st_mode) == 0o755
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # what was left by another user cannot be opened by this one
    (folder / "lock").touch()
    folder.chmod(0o755)
    assert agent(host).present()["changed"] and list(folder.iterdir()) == []
    assert not agent(host).present()["changed"]


def test_somebody_elses_program_of_that_name_is_not_overwritten(host):
    (host / "etc").mkdir()
    (host / "etc/sokuhai-policyd-spf").write_text("#!/bin/sh\n")
    with pytest.raises(Refused, match="spf_agent: .*/sokuhai-policyd-spf is there"):
        agent(host).present()
    assert (host / "etc/sokuhai-policyd-spf").read_text() == "#!/bin/sh\n"


def test_an_agent_that_another_program_cannot_run_is_refused(host):
    program = host / "bin/policyd-spf"
    program.write_text(program.read_text().replace("def main", "def run").replace("    main()", "    run()"))
    with pytest.raises(Refused, match="cannot be run .*main"):
        agent(host).present()


def test_a_mode_is_a_finding_and_put_right(host):
    agent(host).present()
    path = host / "etc/sokuhai-a.conf"
    path.chmod(0o666)
    made = agent(host, check=True).present()
    assert made["changed"] and made["diff"] == [] and stat.S_IMODE(path.stat().st_mode) == 0o666
    assert [(one["id"], one["expected"], one["found"]) for one in made["findings"]] == [
        (f"mode of {path}", "0644", "0666")
    ]
    assert agent(host).present()["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not agent(host).present()["changed"]


def test_agents_of_a_former_program_are_ended(host, monkeypatch):
    ended, program = [], host / "bin/policyd-spf"
    installed = program.stat().st_ctime
    running = {
        11: (4711, -800, f"/usr/local/bin/python3.11 {program} x.conf"),  # older than the program
        12: (4711, 2, f"/usr/local/bin/python3.11 {program} x.conf"),  # younger
        15: (4711, 0.5, f"/usr/local/bin/python3.11 {program} x.conf"),  # within the seconds of ps(1): may be older
        13: (125, -800, f"spawn -n policyd_spf argv={program}"),  # spawn(8) itself
        14: (4711, -800, "/usr/local/bin/python3.11 /usr/local/bin/other"),
    }
    table = {
        pid: process.Process(pid, 1, uid, "python3.11", command, (installed + began - 1, installed + began + 1))
        for pid, (uid, began, command) in running.items()
    }
    monkeypatch.setattr(process, "table", lambda: table)
    monkeypatch.setattr(spf_agent.os, "kill", lambda pid, number: ended.append(pid))
    (host / "sockets").mkdir(0o700)
    predicted = agent(host, check=True).present()
    assert predicted["changed"] and ended == []
    made = agent(host).present()
    assert ended == [11, 15] and made["findings"] == predicted["findings"]
    assert [(one["id"], one["found"]) for one in made["findings"]] == [("process spf: program", "11, 15")]


def test_the_agent_that_the_proof_starts_right_after_the_installation_is_ended_with_it(host, monkeypatch):
    ended, running, program = [], {}, host / "bin/policyd-spf"
    installed = program.stat().st_ctime

    def prove(*_):
        running[16] = process.Process(
            16, 1, 4711, "python3.11", f"/usr/local/bin/python3.11 {program} x.conf", (installed - 0.1, installed + 1.9)
        )

    monkeypatch.setattr(process, "table", lambda: running)
    monkeypatch.setattr(spf_agent.policyd, "prove", prove)
    monkeypatch.setattr(spf_agent.os, "kill", lambda pid, number: ended.append(running.pop(pid).pid))
    (host / "sockets").mkdir(0o700)
    agent(host).present()
    assert ended == [16]
    assert not agent(host, check=True).present()["findings"]


@pytest.mark.parametrize("server, warnings", [("203.0.113.53", 1), ("127.0.0.1", 0)])
def test_a_resolver_elsewhere_is_reported(host, monkeypatch, server, warnings):
    read, module = shared.read, agent(host)
    monkeypatch.setattr(
        shared, "read", lambda path: f"nameserver {server}\n" if path == "/etc/resolv.conf" else read(path)
    )
    module.present()
    assert [server in warning for warning in module.warnings] == [True] * warnings


@pytest.mark.parametrize(
    "answer, what",
    [
        ("550 5.7.23 no", "refuse"),
        ("REJECT no", "refuse"),
        ("reject", "refuse"),
        ("DEFER_IF_PERMIT SPF", "defer"),
        ("451 4.7.24 later", "defer"),
        ("prepend Received-SPF: Fail (x)", "mark"),
        ("PREPEND X-SPF-Result: fail Please", "mark"),
        ("PREPEND Please see http://x", "pass"),
        ("dunno", "pass"),
        ("", "pass"),
    ],
)
def test_what_postfix_does_with_an_answer(answer, what):
    assert spf_agent.action(answer) == what


@pytest.mark.parametrize(
    "line, words",
    [
        ("#!/usr/bin/env python3.11 -s\n", ["python3.11", "-s"]),
        ("#!/usr/local/bin/perl -w\n", ["/usr/local/bin/perl", "-w"]),
    ],
)
def test_the_interpreter_is_the_scripts_own(tmp_path, line, words):
    script(tmp_path / "x", line)
    assert spf_agent.interpreter(str(tmp_path / "x")) == words


def test_a_program_that_is_no_script_has_no_interpreter(tmp_path):
    (tmp_path / "x").write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(Refused, match=str(tmp_path / "x")):
        spf_agent.interpreter(str(tmp_path / "x"))


PERL = """\
#!{perl}
use Mail::SPF;
my $server = Mail::SPF::Server->new;
my %a;
while (<STDIN>) {{
    chomp;
    if (/=/) {{ my ($k, $v) = split /=/, $_, 2; $a{{$k}} = $v; next }}
    my ($s, $i) = $a{{sender}} eq '' ? ('helo', $a{{helo_name}}) : ('mfrom', $a{{sender}});
    my $code = $server->process(Mail::SPF::Request->new(scope => $s, identity => $i))->code;
    print $code eq 'fail' ? "action={fail}\\n\\n" : $code eq 'temperror' ? "action={temperror}\\n\\n" : "action=PREPEND Received-SPF: $code\\n\\n";
}}
"""
PERL_LIBRARY = """\
package Mail::SPF; package Mail::SPF::Server; sub new { bless {} } sub process { die 'asked the DNS' }
sub result_class { "Mail::SPF::R::$_[1]" }
package Mail::SPF::Request; sub new { my $c = shift; bless {@_} } sub scope { $_[0]{scope} } sub identity { $_[0]{identity} }
sub localpart { (split /\\@/, $_[0]{identity})[0] } sub state { }
package Mail::SPF::R; sub new { bless {}, $_[0] } sub code { (ref $_[0]) =~ /(\\w+)$/; $1 }
for my $n (qw(fail softfail neutral permerror temperror none pass)) { @{"Mail::SPF::R::${n}::ISA"} = 'Mail::SPF::R' }
1;
"""


FAIL, TEMPERROR = "PREPEND X-SPF-Result: fail", "PREPEND X-SPF-Result: temperror"


def perl_agent(host, fail, temperror, results):
    """The module with a Perl agent that gives these answers."""
    (host / "lib/Mail").mkdir(parents=True)
    (host / "lib/Mail/SPF.pm").write_text(PERL_LIBRARY)
    perl = f"{shutil.which('perl')} -I{host}/lib"
    script(host / "bin/policyd-spf", PERL.format(perl=perl, fail=fail, temperror=temperror))
    probe = (PROBES / "probe.pl").read_text()
    return agent(host, text="", results=results, agent="perl", config="", server="", probe=probe)


@pytest.mark.skipif(not shutil.which("perl"), reason="no perl on this machine")
@pytest.mark.parametrize(
    "fail, temperror, results",
    [
        ("550 no", "DEFER_IF_PERMIT later", {**REFUSE, "temperror": "defer"}),
        (FAIL, TEMPERROR, MARK),
    ],
)
def test_a_perl_agent_that_does_what_is_declared_is_accepted(host, fail, temperror, results):
    made = perl_agent(host, fail, temperror, results).present()
    assert not made["changed"] and made["diff"] == []


@pytest.mark.skipif(not shutil.which("perl"), reason="no perl on this machine")
@pytest.mark.parametrize(
    "fail, temperror, results, said",
    [
        ("550 no", "DEFER_IF_PERMIT later", MARK, f"SPF_FAIL='{FAIL}'"),
        (FAIL, "DEFER_IF_PERMIT later", MARK, f"SPF_TEMPERROR='{TEMPERROR}'"),
        (FAIL, "DEFER_IF_PERMIT later", {**REFUSE, "temperror": "defer"}, "SPF_FAIL"),
        ("550 no", "DEFER_IF_PERMIT later", {**REFUSE, "softfail": "refuse", "temperror": "defer"}, "softfail"),
    ],
)
def test_a_perl_agent_that_does_otherwise_is_refused(host, fail, temperror, results, said):
    with pytest.raises(Refused, match=said):
        perl_agent(host, fail, temperror, results).present()
