# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module spf_agent against agents that are small programs: what it believes, what it refuses, what it writes and removes."""

import os
import pwd
import shutil
import stat
import subprocess
import sys

import pytest
import role_modules

spf_agent = role_modules.load("roles/spf/library/spf_agent.py")
shared, process = role_modules.util("sokuhai.host"), role_modules.util("sokuhai.process")
Refused = shared.Refused
PROBES = role_modules.ROOT / "roles/spf/files"

MARK = {"fail": "mark", "softfail": "mark", "neutral": "mark", "permerror": "mark", "temperror": "mark"}
REFUSE = {**MARK, "fail": "refuse"}

# an agent that does with a result what its configuration says, by the library that the proof talks through
AGENT = """\
#!{python}
import sys, syslog, spf
wanted = {{}}
for line in open(sys.argv[1]):
    name, _, value = line.strip().partition("=")
    if name not in ("fail", "other"):
        syslog.syslog('ERROR: Unknown name "%s"' % name)
    wanted[name] = value
attributes = {{}}
for line in sys.stdin:
    line = line.rstrip("\\n")
    if line:
        name, _, value = line.partition("=")
        attributes[name] = value
        continue
    helo = attributes["helo_name"]
    query = spf.query("postmaster@" + helo, helo)
    result = query.check()[0]
    if result != "fail" and attributes["sender"]:
        result = spf.query(attributes["sender"], helo).check()[0]
    print("action=" + wanted.get(result, wanted["other"]) + "\\n", flush=True)
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


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with an agent, its library and a postconf that says what *service* holds."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "spf.py").write_text(LIBRARY)
    program = tmp_path / "bin/policyd-spf"
    program.write_text(AGENT.format(python=sys.executable))
    program.chmod(0o755)
    postconf = tmp_path / "bin/postconf"
    postconf.write_text(f'#!/bin/sh\n[ "$1" = -h ] && echo postfix || cat {tmp_path}/service 2>/dev/null\n')
    postconf.chmod(0o755)
    monkeypatch.setitem(shared.ENV, "PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(process, "table", lambda: {})
    environment = subprocess.run

    def run(*arguments, **options):
        # the agent finds its library; what the module asks besides is the host's
        if "input" in options:
            options["env"] = dict(options["env"], PYTHONPATH=str(tmp_path))
        return environment(*arguments, **options)

    monkeypatch.setattr(spf_agent.subprocess, "run", run)
    # the proof runs as the agent's user: here whoever runs the tests, by another uid than root's
    me = pwd.getpwuid(os.geteuid())
    account = pwd.struct_passwd((me.pw_name, "x", 4711, me.pw_gid, "", "/", ""))
    monkeypatch.setattr(spf_agent.pwd, "getpwnam", lambda name: account)
    monkeypatch.setattr(spf_agent.os, "geteuid", lambda: 4711)
    return tmp_path


def agent(host, text=GOOD, name="a", check=False, **params):
    return Agent(
        check,
        agent="python",
        program=str(host / "bin/policyd-spf"),
        config=str(host / f"etc/sokuhai-{name}.conf"),
        text=text,
        probe=(PROBES / "probe.py").read_text(),
        **{"results": MARK, "helo": "same", "user": "someone", "service": "policyd_spf", "packages": [], **params},
    )


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


def test_a_missing_library_is_seen_before_anything_changes(host):
    (host / "spf.py").unlink()
    with pytest.raises(Refused, match="No module named 'spf'"):
        agent(host).present()
    assert not (host / "etc").exists()


def test_an_agent_that_dies_is_refused(host):
    (host / "bin/policyd-spf").write_text(f"#!{sys.executable}\nraise SystemExit('out of order')\n")
    with pytest.raises(Refused, match="exit 1, 0 .*14.*out of order"):
        agent(host).present()


def test_a_missing_agent_is_installed_and_predicted_in_check_mode(host, monkeypatch):
    program = host / "bin/policyd-spf"
    text = program.read_text()
    program.unlink()
    monkeypatch.setattr(spf_agent.pkg, "missing", lambda names: [] if program.exists() else names)
    made = agent(host, check=True, packages=["spf"]).present()
    assert made["predicted"] and made["changed"] and made["diff"][0]["after"] == GOOD
    assert [one["id"] for one in made["findings"]] == ["package spf"]

    def install(names):
        assert names == ["spf"]
        program.write_text(text)
        program.chmod(0o755)

    monkeypatch.setattr(spf_agent.pkg, "install", install)
    assert agent(host, packages=["spf"]).present()["answers"]


def test_no_agent_is_refused_where_no_package_brings_it(host):
    (host / "bin/policyd-spf").unlink()
    for check in (True, False):
        with pytest.raises(Refused, match="spf_install: .*bin/policyd-spf"):
            agent(host, check=check).present()


def test_a_configuration_that_postfix_still_names_is_kept(host):
    for name, text in (("a", GOOD), ("b", GOOD + "other=prepend Received-SPF: y\n")):
        agent(host, text=text, name=name).present()
        (host / "service").write_text(
            f"policyd_spf unix - n n - 0 spawn user=nobody argv=/p {host}/etc/sokuhai-a.conf\n"
        )
    assert sorted(p.name for p in (host / "etc").iterdir()) == ["sokuhai-a.conf", "sokuhai-b.conf"]
    agent(host, text=GOOD + "other=prepend Received-SPF: z\n", name="c").present()
    assert sorted(p.name for p in (host / "etc").iterdir()) == ["sokuhai-a.conf", "sokuhai-c.conf"], (
        "b is named by nobody"
    )


def test_a_changed_file_is_written_anew(host):
    agent(host).present()
    (host / "etc/sokuhai-a.conf").write_text(REFUSING)
    assert agent(host).present()["changed"]
    assert (host / "etc/sokuhai-a.conf").read_text() == GOOD


def test_root_and_postfix_are_no_users_for_it(host, monkeypatch):
    entry = spf_agent.pwd.getpwnam("x")
    monkeypatch.setattr(spf_agent.pwd, "getpwnam", lambda name: pwd.struct_passwd(("toor", "x", 0, 0, "", "/", "")))
    with pytest.raises(Refused, match="spf_user: .*(someone|postfix)"):
        agent(host).present()
    monkeypatch.setattr(
        spf_agent.pwd, "getpwnam", lambda name: pwd.struct_passwd(("postfix", "x", entry.pw_uid, 0, "", "/", ""))
    )
    with pytest.raises(Refused, match="spf_user: .*(someone|postfix)"):
        agent(host, user="postfix").present()


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
    monkeypatch.setattr(
        process,
        "table",
        lambda: {
            pid: process.Process(pid, 1, uid, "python3.11", command, (installed + began - 1, installed + began + 1))
            for pid, (uid, began, command) in running.items()
        },
    )
    monkeypatch.setattr(spf_agent.os, "kill", lambda pid, number: ended.append(pid))
    made = agent(host).present()
    assert ended == [11, 15]
    (one,) = made["findings"]
    assert (one["id"], one["found"]) == ("process spf: program", "11, 15")
    ended.clear()
    made = agent(host, check=True).present()
    assert made["changed"] and ended == [] and made["findings"] == [one]


def test_a_resolver_elsewhere_is_reported(host, monkeypatch):
    read = shared.read
    for server, warned in (("203.0.113.53", True), ("127.0.0.1", False)):
        monkeypatch.setattr(
            shared,
            "read",
            lambda path, server=server: f"nameserver {server}\n" if path == "/etc/resolv.conf" else read(path),
        )
        module = agent(host)
        module.present()
        assert [server in warning for warning in module.warnings] == [True] * warned


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


def test_the_interpreter_is_the_scripts_own(tmp_path):
    script = tmp_path / "x"
    script.write_text("#!/usr/bin/env python3.11 -s\n")
    assert spf_agent.interpreter(str(script)) == ["python3.11", "-s"]
    script.write_text("#!/usr/local/bin/perl -w\n")
    assert spf_agent.interpreter(str(script)) == ["/usr/local/bin/perl", "-w"]
    script.write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(Refused, match=str(script)):
        spf_agent.interpreter(str(script))


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


@pytest.mark.skipif(not shutil.which("perl"), reason="no perl on this machine")
@pytest.mark.parametrize(
    "fail, temperror, results, said",
    [
        ("550 no", "DEFER_IF_PERMIT later", {**MARK, "fail": "refuse", "temperror": "defer"}, None),
        ("PREPEND X-SPF-Result: fail", "PREPEND X-SPF-Result: temperror", MARK, None),
        ("550 no", "DEFER_IF_PERMIT later", MARK, "SPF_FAIL='PREPEND X-SPF-Result: fail'"),
        (
            "PREPEND X-SPF-Result: fail",
            "DEFER_IF_PERMIT later",
            MARK,
            "SPF_TEMPERROR='PREPEND X-SPF-Result: temperror'",
        ),
        (
            "PREPEND X-SPF-Result: fail",
            "DEFER_IF_PERMIT later",
            {**REFUSE, "temperror": "defer"},
            "SPF_FAIL",
        ),
        (
            "550 no",
            "DEFER_IF_PERMIT later",
            {**REFUSE, "softfail": "refuse", "temperror": "defer"},
            "softfail",
        ),
    ],
)
def test_the_perl_agent_is_believed_by_what_it_does(host, monkeypatch, fail, temperror, results, said):
    (host / "lib/Mail").mkdir(parents=True)
    (host / "lib/Mail/SPF.pm").write_text(PERL_LIBRARY)
    program = host / "bin/policyd-spf"
    program.write_text(PERL.format(perl=f"{shutil.which('perl')} -I{host}/lib", fail=fail, temperror=temperror))
    module = Agent(
        agent="perl",
        program=str(program),
        config="",
        text="",
        probe=(PROBES / "probe.pl").read_text(),
        results=results,
        helo="same",
        user="x",
        service="policyd_spf",
        packages=[],
    )
    if said is None:
        made = module.present()
        assert not made["changed"] and made["diff"] == []
    else:
        with pytest.raises(Refused) as refusal:
            module.present()
        assert said in str(refusal.value)
