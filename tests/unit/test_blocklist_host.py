# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module blocklist_host: what it writes, where it puts its block into a stranger's pf.conf, and the change that takes itself back."""

import json
import os
import pathlib
import subprocess
import time

import pytest
from role_modules import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
host = load("roles/blocklist/library/blocklist_host.py")
SERVICES = [
    {"name": "smtp", "port": 25, "nfail": 10, "duration": "12h"},
    {"name": "ssh", "port": 22, "nfail": 5, "duration": "24h"},
]
BLOCK = host.block("/etc/pf.sokuhai.conf")


# -- the daemon's configuration -----------------------------------------------------------------------------------------


def rows(text, part):
    """The columns of a part's lines."""
    section, found = "local", []
    for line in text.splitlines():
        if line in ("[local]", "[remote]"):
            section = line[1:-1]
        elif line and not line.startswith("#") and section == part:
            found.append(line.split())
    return found


def test_each_service_has_a_line_for_each_family_and_seven_columns():
    text = host.daemon_config(SERVICES, {4: 32, 6: 64}, [])
    assert rows(text, "local") == [
        ["25", "stream", "tcp", "*", "*", "10", "12h"],
        ["25", "stream", "tcp6", "*", "*/64", "10", "12h"],
        ["22", "stream", "tcp", "*", "*", "5", "24h"],
        ["22", "stream", "tcp6", "*", "*/64", "5", "24h"],
    ]


def test_an_allowed_address_is_never_counted_to_the_end():
    text = host.daemon_config(SERVICES, {4: 32, 6: 64}, ["192.0.2.1", "198.51.100.0/24", "127.0.0.0/8"])
    assert rows(text, "remote") == [[place] + ["*"] * 6 for place in ("127.0.0.0/8", "192.0.2.1/32", "198.51.100.0/24")]


def test_an_allowed_address_is_as_wide_as_an_offender():
    """The daemon masks the offender before it looks for an exception: a narrower exception would never be found."""
    text = host.daemon_config(SERVICES, {4: 24, 6: 64}, ["192.0.2.77", "2001:db8:1::5", "2001:db8::/32"])
    assert [row[0] for row in rows(text, "remote")] == ["192.0.2.0/24", "[2001:db8::]/32"]


def test_networks_within_others_are_left_out():
    assert [str(n) for n in host.covering(["10.0.0.5", "10.0.0.0/8", "::1", "10.0.0.5/32", "192.0.2.9/24"])] == [
        "10.0.0.0/8",
        "192.0.2.0/24",
        "::1/128",
    ]


# -- pf's anchor ------------------------------------------------------------------------------------------------------


def test_the_anchor_lets_the_allowed_by_and_closes_the_ports_to_the_refused():
    text = host.anchor_rules("blacklistd", ["192.0.2.1", "::1/128", "10.0.0.0/8"], [25, 2525], False)
    assert text.splitlines()[1:] == [
        "table <sokuhai_allow> persist { 10.0.0.0/8 192.0.2.1 ::1 }",
        "table <sokuhai_rejects> persist",
        'anchor "/blacklistd/*" in from ! <sokuhai_allow> to any',
        "block drop in quick proto tcp from <sokuhai_rejects> to any port { 25 2525 }",
    ]


def test_the_daemons_anchor_is_not_evaluated_twice():
    assert "blocklistd" not in host.anchor_rules("blocklistd", ["::1"], [25], 'anchor "blocklistd/*" in')
    for line in (
        'anchor "blocklistd/*" in',
        "anchor blocklistd",
        '  anchor "/blocklistd/*" in on em0',
        'anchor "blocklistd" all',
    ):
        assert host.own_anchor("pass all\n" + line + "\n", "blocklistd") == line.strip(), line
    for line in (
        '# anchor "blocklistd/*"',
        'anchor "blocklistd2"',
        'pass in # anchor "blocklistd"',
        'anchor "blacklistd/*"',
    ):
        assert host.own_anchor(line + "\n", "blocklistd") == "", line


@pytest.mark.parametrize(
    "flags, options",
    [
        ("", []),
        ("-D ext_if=em0", ["-D", "ext_if=em0"]),
        ("-Dext_if=em0  -D lan=10.0.0.0/8", ["-D", "ext_if=em0", "-D", "lan=10.0.0.0/8"]),
        # what only prints, or enables pf, changes nothing of what is loaded
        ("-qvmo none", ["-m", "-o", "none"]),
        ("-e -vv", []),
        ("-qDa=-n", ["-D", "a=-n"]),
    ],
)
def test_pf_flags_that_belong_to_the_rules_are_told_from_others(flags, options):
    assert host.load_options(flags) == options


@pytest.mark.parametrize(
    "flags, says",
    [
        ("-n", "has -n"),
        ("-qN", "has -N"),
        ("-D", "wants a value"),
        ("ext_if=em0", "no option"),
        ("-f /etc/other", "has -f"),
        ("-a x", "has -a"),
    ],
)
def test_pf_flags_by_which_pf_conf_would_not_be_loaded_whole_are_refused(flags, says):
    with pytest.raises(host.Refused, match="pf_flags.* %s" % says):
        host.load_options(flags)


# -- a stranger's pf.conf -----------------------------------------------------------------------------------------------

RULES = """\
# mine
ext_if = "em0"
ports = "{ 22 25 \\
   587 }"
table <friends> persist { 192.0.2.0/24,
   198.51.100.1 } # block nobody
set skip on lo0
scrub in all
nat on $ext_if from 10.0.0.0/8 to any -> ($ext_if)
rdr pass on $ext_if proto tcp to port 80 -> 10.0.0.2
load anchor "x" from "/etc/x"

antispoof quick for $ext_if
block in quick from any to any port 22
anchor "x"
pass all"""


def placed(text):
    return host.with_block(text, host.places(text)[0], BLOCK)


def test_the_block_stands_before_the_first_filter_rule_and_nothing_else_is_touched():
    text = placed(RULES)
    lines = text.splitlines()
    assert lines.index(host.BEGIN) + len(BLOCK) == lines.index("antispoof quick for $ext_if")
    assert host.without_block(text) == RULES


@pytest.mark.parametrize(
    "text, after",
    [
        ("pass all\n", 0),
        ("\n\n# words: pass all\nset skip on lo\n", 4),
        ("", 0),
        ("set skip on lo0", 1),
        ("match in all scrub (no-df)\n", 0),
        ('anchor "a" {\n pass\n}\nblock\n', 0),
        ("table <t> {\n 10.0.0.1 }\nset limit states 9\n  pass in\n", 3),
    ],
)
def test_places(text, after):
    assert host.places(text)[0] == after
    assert host.without_block(placed(text)).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    "text", ["# BEGIN sokuhai blocklist\nnat on em0 -> em1\npass\n", "pass\n# END sokuhai blocklist\n"]
)
def test_a_block_without_its_end_takes_no_rule_with_it(text):
    with pytest.raises(host.Refused, match="^pf.conf: .*damaged"):
        host.without_block(text)
    with pytest.raises(host.Refused, match="^sshd_config: .*damaged"):
        host.ssh_config(text, "")


def test_what_may_hide_the_first_rule_is_the_second_choice():
    text = 'include "/etc/a"\n$rule\nset skip on lo\npass all\ninclude "/etc/b"\n'
    assert host.places(text) == [3, 0, 1]


def test_only_an_anchor_that_comes_first_is_good():
    options = 'ext_if = "em0"\nset skip on { lo }\nscrub in all fragment reassemble\nnat on em0 inet from 10.9.0.0/24 to any -> (em0) round-robin\n'
    assert host.comes_first(options + 'anchor "sokuhai" all\nblock drop all\n')
    assert not host.comes_first(options + 'block drop all\nanchor "sokuhai" all\n')
    assert not host.comes_first(options + 'anchor "other" all\nanchor "sokuhai" all\n')
    assert not host.comes_first(options)


def test_the_minimal_file_holds_our_block_and_lets_everything_pass():
    text = host.minimal(BLOCK)
    words = {word for number, word in host.statements(text)}
    assert words == {"set", "anchor", "load"} and [line for line in text.splitlines() if line in BLOCK] == BLOCK


def test_sshd_is_told_before_any_match_and_nothing_is_lost():
    text = "Port 22\nMatch User git\n\tUseBlocklist no\n"
    new = host.ssh_config(text, "UseBlacklist")
    assert new.startswith("# BEGIN sokuhai blocklist\nUseBlacklist yes\n") and new.endswith(text)
    assert host.ssh_config(new, "UseBlacklist") == new
    assert host.ssh_config(new, "") == text


# -- on a host ----------------------------------------------------------------------------------------------------------


class Module:
    check_mode = False

    def __init__(self, **params):
        self.params = {
            "services": SERVICES,
            "mask_ipv4": 32,
            "mask_ipv6": 64,
            "allow": ["192.0.2.1"],
            "rejects": {},
            "reporter": "",
            "states": 0,
            "sshd": True,
            "confirm_seconds": 90,
            "replace": False,
            "own_anchor": False,
            "token": "",
            "prove": False,
            **params,
        }

    def run_command(self, argv, errors=None, data=None, cwd=None):
        run = subprocess.run(argv, capture_output=True, text=True, input=data, cwd=cwd)
        return run.returncode, run.stdout, run.stderr


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose commands are shell scripts that note how they were called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "log").write_text("")

    def program(name, body=""):
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/log\n{body}\n')
        path.chmod(0o755)

    for name in ("pfctl", "logger", "sysrc", "service", "kldstat", "sockstat"):
        program(name)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)

    def made(**params):
        module = Module(**params)
        module.check_mode = params.get("check_mode", False)
        one = host.Host(module)
        one.run_dir, one.pf_conf, one.anchor_file = (
            str(tmp_path / "run"),
            str(tmp_path / "pf.conf"),
            str(tmp_path / "anchor"),
        )
        one.record, one.state_dir = str(tmp_path / "db/record"), str(tmp_path / "db")
        return one

    made.path, made.program, made.log = tmp_path, program, lambda: (tmp_path / "log").read_text().splitlines()
    return made


def test_the_connection_is_found_without_the_environment(machine, monkeypatch):
    """doas and su hand no SSH_CONNECTION on: the socket of the sshd above us tells, and the lowest descriptor is the connection."""
    one = machine()
    monkeypatch.setattr(
        one,
        "ancestors",
        lambda: [
            (900, 800, 1, "python3.11"),
            (800, 700, 1, "doas"),
            (700, 600, 9, "sshd-session"),
            (600, 50, 9, "sshd-session"),
            (50, 1, 999, "sshd"),
        ],
    )
    rows = [
        "USER COMMAND PID FD PROTO LOCAL ADDRESS FOREIGN ADDRESS",
        "root sshd-sess 700 9 tcp4 127.0.0.1:41000 127.0.0.1:8080",
        "root sshd-sess 700 5 tcp4 203.0.113.5:22 198.51.100.9:50123",
        "root sshd 50 4 tcp4 203.0.113.5:22 198.51.100.77:1",
        "root sshd-sess 600 5 tcp4 203.0.113.5:22 198.51.100.9:50123",
    ]
    machine.program("sockstat", "".join(f"echo '{row}'\n" for row in rows))
    assert one.connection() == ("198.51.100.9", "50123", 9)
    monkeypatch.setenv("SSH_CONNECTION", "2001:db8::7%em0 4711 2001:db8::1 22")
    assert one.connection() == ("2001:db8::7", "4711", 9)


def test_without_ssh_somebody_has_to_be_named(machine, monkeypatch):
    monkeypatch.setattr(host.Host, "ancestors", lambda self: [(900, 1, 1, "python3.11")])
    assert machine().operator() is None
    with pytest.raises(host.Refused, match="blocklist_allow"):
        machine(allow=[]).operator()


def test_a_stock_configuration_is_replaced_and_a_foreign_one_refused(machine):
    stock = "# Blocklist rule\n[local]\nssh\t\tstream\t*\t*\t\t*\t3\t24h\n*\t\t*\t*\t*\t\t*\t3\t60\n[remote]\n#x\n"
    machine().refuse_foreign("/etc/blocklistd.conf", stock)
    foreign = stock + "bnx0:ssh * * * * 3 6h\n"
    with pytest.raises(host.Refused, match="blocklist_replace_config"):
        machine().refuse_foreign("/etc/blocklistd.conf", foreign)
    machine(replace=True).refuse_foreign("/etc/blocklistd.conf", foreign)
    machine().refuse_foreign("/etc/blocklistd.conf", host.MARK + "\n" + foreign)


def test_too_few_states_are_refused_only_where_states_are_kept(machine):
    machine(states=21000).refuse_few_states('set limit states 100\nanchor "sokuhai" all\n')
    machine(states=21000).refuse_few_states("set limit states 30000\npass all flags S/SA keep state\n")
    with pytest.raises(host.Refused, match="set limit states 21000"):
        machine(states=21000).refuse_few_states("set limit states 10000\npass all flags S/SA keep state\n")
    machine.program("pfctl", 'echo "states        hard limit     9000"')
    with pytest.raises(host.Refused, match="room for 9000 states"):
        machine(states=21000).refuse_few_states("pass all flags S/SA keep state\n")


@pytest.mark.parametrize(
    "linked, told",
    [
        ("libblocklist.so.0 => /usr/lib/libblocklist.so.0 (0x2a)", True),
        ("libblacklist.so.0 => /usr/lib/libblacklist.so.0 (0x2a)", True),
        ("libpostfix-master.so => /usr/local/lib/postfix/libpostfix-master.so", False),
    ],
)
def test_a_postfix_that_reports_nothing_is_told_from_one_that_does(machine, linked, told):
    machine.program("postconf", "echo /usr/local/libexec/postfix")
    machine.program("ldd", f'[ "$1" = /usr/local/libexec/postfix/smtpd ] && echo "{linked}"')
    one = machine()
    one.postconf = str(machine.path / "bin/postconf")
    assert one.postfix_reports() is told
    machine.program("ldd", "exit 1")
    assert one.postfix_reports() is None
    one.postconf = "/nonexistent"
    assert one.postfix_reports() is None


def test_an_anchor_of_ones_own_is_refused_unless_asked_for(machine):
    line = 'anchor "blocklistd/*" in on $ext_if'
    one = machine()
    assert one.find_own_anchor("pass all\n%s\n" % line, "blocklistd") == line
    with pytest.raises(host.Refused, match="^blocklist_own_anchor: .*in on .ext_if.*never to be cut off"):
        one.refuse_own_anchor(line, "blocklistd")
    machine(own_anchor=True).refuse_own_anchor(line, "blocklistd")
    one.refuse_own_anchor("", "blocklistd")
    assert one.find_own_anchor(None, "blocklistd") == one.find_own_anchor("pass all\n", "blocklistd") == ""
    # one that stands in an included file is seen by pf alone
    machine.program("pfctl", "echo 'block drop all'; echo '  anchor \"blocklistd/*\" in on em0 all'")
    assert one.find_own_anchor('include "/etc/more"\n', "blocklistd") == 'anchor "blocklistd/*" in on em0 all'
    machine.program("kldstat", "exit 1")
    assert one.find_own_anchor('include "/etc/more"\n', "blocklistd") == ""


def test_what_an_own_anchor_leaves_to_do(machine):
    """With it and without the count there is nothing of ours in pf; a ruleset that still has our anchor is not right then."""
    counted, alone = machine(rejects={"ports": [25]}), machine()
    assert alone.wants_block("") and counted.wants_block("anchor") and not alone.wants_block("anchor")
    machine.program("pfctl", "echo 'anchor \"sokuhai\" all'")
    assert alone.main_is_right("") and counted.main_is_right("anchor") and not alone.main_is_right("anchor")
    machine.program("pfctl", "echo 'anchor \"blocklistd/*\" in all'")
    assert alone.main_is_right("anchor") and not alone.main_is_right("") and not counted.main_is_right("anchor")


def test_pf_reads_pf_conf_with_the_flags_that_it_has_at_boot(machine):
    machine.program(
        "sysrc",
        'case "$*" in "-n pf_flags") echo "-D ext_if=em0 -q" ;; "-n pf_rules") echo %s/pf.conf ;; esac' % machine.path,
    )
    one = machine()
    one.pf_conf = one.find_pf_conf()
    one.check_rules("pass on $ext_if\n", "")
    assert machine.log()[-1].startswith("pfctl -nvf ") and machine.log()[-1].endswith("/pf.conf -D ext_if=em0")


RUNS = 'scrub in all fragment reassemble\nblock drop all\nanchor "sokuhai" all\npass in from <__automatic_1f_0> to any flags S/SA keep state\n'
FILE = "set skip on { lo0 }\nnat on em0 inet from 10.0.0.0/8 to any -> (em0) round-robin\n" + RUNS.replace(
    "_1f_0", "_2e_0"
)


@pytest.mark.parametrize(
    "file, rules, nat, load, good",
    [
        (FILE, RUNS, "nat on em0 inet from 10.0.0.0/8 to any -> (em0) round-robin\n", "", True),
        (FILE, RUNS, "", "", False),
        (
            FILE,
            RUNS.replace("block drop all", "pass all flags S/SA keep state"),
            "nat on em0 inet from 10.0.0.0/8 to any -> (em0) round-robin\n",
            "",
            False,
        ),
        (RUNS + "block drop in proto tcp from any to any port = ssh\n", RUNS, "", "", False),
        (RUNS, RUNS, "", 'load anchor "x" from "/etc/x"\n', True),
        (RUNS, RUNS + "pass all flags S/SA keep state\n", "", "", False),
    ],
)
def test_a_file_that_pf_has_not_read_is_left_alone(machine, monkeypatch, file, rules, nat, load, good):
    """pf is on; the file on the disk and the rules in the kernel have to be the same, or loading the file would change more than our block."""
    one = machine()
    # what a loaded anchor brings would be printed too
    monkeypatch.setattr(
        one, "check_rules", lambda text, anchor: (0, file + ("pass in all\n" if "load anchor" in text else ""), "")
    )
    machine.program("pfctl", f"case \"$*\" in *nat) printf %s '{nat}' ;; *rules) printf %s '{rules}' ;; esac")
    if good:
        one.refuse_unread(load + "pass all\n", "")
    else:
        with pytest.raises(host.Refused, match="service pf reload"):
            one.refuse_unread(load + "pass all\n", "")


def test_cron_counts_every_minute_and_renews_the_daemon_every_night(machine):
    counted = {
        "log": "/var/log/maillog",
        "count": 30,
        "window": 600,
        "duration": 60,
        "ports": [25],
        "traps": [],
        "from_traps": False,
    }

    def put(rejects):
        one = machine(rejects=rejects, reporter="#!/bin/sh\n")
        one.reporter, one.settings, one.cron = (str(machine.path / name) for name in ("reporter", "settings", "cron"))
        one.allowed = lambda: ["127.0.0.0/8", "192.0.2.1"]
        result = {"changed": False, "diff": []}
        one.put_reporter(result, "blacklistd")
        lines = [
            line.split("\t") for line in (machine.path / "cron").read_text().splitlines() if not line.startswith("#")
        ]
        return result["changed"], [(fields[0], fields[1], fields[2].split()[0]) for fields in lines]

    assert put(counted) == (
        True,
        [("* * * * *", "root", str(machine.path / "reporter")), ("23 4 * * *", "root", "/usr/sbin/service")],
    )
    assert put(counted)[0] is False
    settings = json.loads((machine.path / "settings").read_text())
    assert (
        settings["allow"] == ["127.0.0.0/8", "192.0.2.1/32"]
        and settings["count"] == 30
        and settings["table"] == "sokuhai_rejects"
    )
    assert put({}) == (True, [("23 4 * * *", "root", "/usr/sbin/service")])
    assert not (machine.path / "reporter").exists() and not (machine.path / "settings").exists()
    assert "pfctl -q -a sokuhai -t sokuhai_rejects -T flush" in machine.log()


def test_the_address_of_a_play_is_kept_and_another_is_no_drift(machine, monkeypatch):
    monkeypatch.setattr(
        host.Host,
        "ancestors",
        lambda self: [(900, 800, 1, "python3.11"), (700, 50, 9, "sshd-session"), (50, 1, 999, "sshd")],
    )

    def play(address, **params):
        monkeypatch.setenv("SSH_CONNECTION", f"{address} 50123 203.0.113.5 22")
        one = machine(**params)
        one.remember("blocklistd", None, False, None)
        # before and after it is written down: what a run writes first and last is the same
        found = one.allowed()[2:]
        one.remember_operators()
        assert one.allowed()[2:] == found
        return found

    # a bare host: today's is what would be written, and a check writes nothing
    assert play("198.51.100.1", check_mode=True) == ["192.0.2.1", "198.51.100.1"] and not (machine.path / "db").exists()
    assert play("198.51.100.1") == ["192.0.2.1", "198.51.100.1"]
    assert play("198.51.100.2", check_mode=True) == ["192.0.2.1", "198.51.100.1"]
    # named already
    assert play("192.0.2.1") == ["192.0.2.1", "198.51.100.1"]
    assert play("198.51.100.2") == ["192.0.2.1", "198.51.100.1", "198.51.100.2"]
    written = (machine.path / "db/record").read_bytes()
    assert (
        play("198.51.100.1") == ["192.0.2.1", "198.51.100.1", "198.51.100.2"]
        and (machine.path / "db/record").read_bytes() == written
    )
    # not for ever
    for last in (3, 4):
        found = play(f"2001:db8::{last}")
    assert found == ["192.0.2.1", "198.51.100.2", "2001:db8::3", "2001:db8::4"]
    assert json.loads((machine.path / "db/record").read_text())["daemon"] == "blocklistd"


@pytest.fixture
def sshd(machine):
    """An sshd whose reload is a process of its own; the pid file is this test's, so that it lives."""
    machine.program("sshd", f'case "$1" in -T) echo "useblocklist no"; echo "pidfile {machine.path}/sshd.pid" ;; esac')
    machine.program(
        "service",
        f'[ ! -e {machine.path}/broken ] || {{ echo "it will not" >&2; exit 1; }}; (sleep 0.2; rm -f {machine.path}/sshd.pid; sleep 0.2; echo {os.getpid()} > {machine.path}/sshd.new; mv {machine.path}/sshd.new {machine.path}/sshd.pid) > /dev/null 2>&1 &',
    )
    (machine.path / "sshd_config").write_text("Port 22\n")
    (machine.path / "sshd.pid").write_text(f"{os.getpid()}\n")
    age(machine.path / "sshd.pid", 60)  # written in the same tick as the configuration, it would count as younger

    def tell(**params):
        one, result = machine(**params), {"changed": False, "diff": []}
        one.sshd_config, one.sshd = str(machine.path / "sshd_config"), str(machine.path / "bin/sshd")
        (machine.path / "log").write_text("")
        running = (machine.path / "sshd.pid").exists()
        one.tell_sshd(result)
        # as sshd does it, the file is away for a moment
        assert not running or (machine.path / "sshd.pid").read_text().strip()
        # what no diff shows is said in words
        assert bool(result.get("differs")) == (result["changed"] and not result["diff"])
        return result["changed"], "service sshd reload" in machine.log()

    return tell


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_sshd_is_told_and_told_again_when_a_run_was_killed_before_it_was(sshd, machine):
    assert sshd(check_mode=True) == (True, False) and (machine.path / "sshd_config").read_text() == "Port 22\n"
    assert sshd() == (True, True)
    assert (machine.path / "sshd_config").read_text() == host.ssh_config("Port 22\n", "UseBlocklist")
    assert sshd() == (False, False)
    # written, and the reload never came
    age(machine.path / "sshd.pid", 3600)
    assert sshd(check_mode=True) == (True, False)
    assert sshd() == (True, True)
    assert sshd() == (False, False)
    # a clock that was set back
    age(machine.path / "sshd_config", -3600)
    assert sshd() == (False, False)
    age(machine.path / "sshd_config", 60)
    # the way back is the same
    assert sshd(sshd=False) == (True, True) and (machine.path / "sshd_config").read_text() == "Port 22\n"
    age(machine.path / "sshd.pid", 3600)
    assert sshd(sshd=False) == (True, True)


def test_an_sshd_that_does_not_read_its_configuration_is_no_success(sshd, machine):
    (machine.path / "broken").write_text("")
    with pytest.raises(host.Refused, match="it will not"):
        sshd()
    # nobody to tell
    (machine.path / "sshd_config").write_text("Port 22\n")
    (machine.path / "sshd.pid").unlink()
    assert sshd() == (True, True)
    assert sshd() == (False, False)


def test_sshd_config_stays_the_link_it_was(sshd, machine):
    (machine.path / "sshd_config").rename(machine.path / "real")
    (machine.path / "real").chmod(0o600)
    (machine.path / "sshd_config").symlink_to(machine.path / "real")
    assert sshd() == (True, True)
    assert (machine.path / "sshd_config").is_symlink() and (machine.path / "real").stat().st_mode & 0o7777 == 0o600
    assert "UseBlocklist yes" in (machine.path / "real").read_text()


def test_nothing_is_to_be_undone_on_a_host_without_the_daemon(machine, monkeypatch):
    monkeypatch.setattr(host.Host, "installed", lambda self: None)
    machine.program("sysrc", f'[ "$2" != pf_rules ] || echo {machine.path}/pf.conf')
    assert machine().absent()["changed"] is False
    with pytest.raises(host.Refused, match="WITHOUT_BLOCKLIST"):
        machine().name()


def test_the_undo_goes_by_the_record_where_the_daemon_is_gone(machine, monkeypatch):
    monkeypatch.setattr(host.Host, "installed", lambda self: None)
    machine.program(
        "sysrc", f'case "$*" in "-n pf_rules") echo {machine.path}/pf.conf ;; "-n pf_flags") ;; -n*) echo YES ;; esac'
    )
    rules = machine.path / "pf.conf"
    rules.write_text(host.with_block("pass all\n", 0, host.block(str(machine.path / "anchor"))))
    rules.chmod(0o640)
    (machine.path / "db").mkdir()
    (machine.path / "db/record").write_text(
        json.dumps(
            {
                "pf_enable": "NO",
                "pf_was_on": True,
                "pf_conf": True,
                "daemon": "blacklistd",
                "daemon_enable": "NO",
                "daemon_flags": "-v",
            }
        )
    )
    one = machine()
    one.reporter, one.settings, one.cron, one.sshd_config = (
        str(machine.path / name) for name in ("reporter", "settings", "cron", "sshd_config")
    )
    one.paths = lambda daemon: {
        what: str(machine.path / (daemon + what)) for what in ("config", "helper", "socket", "pidfile")
    }
    assert one.absent()["changed"]
    assert "sysrc blacklistd_enable=NO blacklistd_flags=-v" in machine.log() and "sysrc pf_enable=NO" in machine.log()
    assert (
        rules.read_text() == "pass all\n"
        and rules.stat().st_mode & 0o7777 == 0o640
        and not (machine.path / "db").exists()
    )


# -- the change that waits ------------------------------------------------------------------------------------------------


@pytest.fixture
def change(machine, monkeypatch):
    """A change as the host makes it: change.sh run by sh(1) beside the test, with shorter waits."""
    quick = (
        host.CHANGE.replace("PATH=/sbin:/bin:/usr/sbin:/usr/bin", f"PATH={machine.path}/bin:/bin:/usr/bin")
        .replace("sleep 2", "sleep 0.3")
        .replace("sleep 1", "sleep 0.1")
    )
    monkeypatch.setattr(host, "CHANGE", quick)
    started, must = [], host.Host.must

    def daemon_or(self, *argv, **options):
        # daemon(8) returns at once, and what it starts lives on
        return (
            started.append(subprocess.Popen(argv[2:]))
            if argv[0] == "/usr/sbin/daemon"
            else must(self, *argv, **options)
        )

    monkeypatch.setattr(host.Host, "must", daemon_or)
    (machine.path / "pf.conf").write_text("pass all\n")
    machine.program(
        "pfctl",
        'case "$*" in "-s Running") [ -e %s/on ] ;; *-e*) : > %s/on ;; *-d*) rm -f %s/on ;; esac'
        % ((machine.path,) * 3),
    )

    def arm(enabled=False, before=("198.51.100.9", "50000", 5), old="pass all\n", **params):
        if enabled:
            (machine.path / "on").write_text("")
        one = machine(**{"confirm_seconds": 10, **params})
        one.flags = params.get("flags", [])
        one.token = one.arm(
            before, "new rules\n", old, params.get("anchor", "new anchor\n"), params.get("old_anchor"), enabled
        )
        one.p["token"] = one.token
        return one

    arm.started = started
    yield arm
    for process in started:
        process.kill()
        process.wait()


def wait(what, seconds=10):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_an_unconfirmed_change_is_made_and_taken_back(change, machine):
    change()
    rules, anchor, on = machine.path / "pf.conf", machine.path / "anchor", machine.path / "on"
    wait(lambda: on.exists())
    assert rules.read_text() == "new rules\n" and anchor.read_text() == "new anchor\n"
    wait(lambda: not on.exists() and not anchor.exists())
    assert rules.read_text() == "pass all\n"
    change.started[0].wait()
    assert any("no new ssh connection" in line for line in machine.log() if line.startswith("logger"))


def test_the_change_and_its_undo_read_pf_conf_with_its_flags(change, machine):
    change(enabled=True, confirm_seconds=2, flags=["-D", "ports={ 25 587 }", "-m"])
    change.started[0].wait(timeout=10)
    assert [line for line in machine.log() if " -f " in line] == [
        f"pfctl -q -f {machine.path}/pf.conf -D ports={{ 25 587 }} -m"
    ] * 2


def test_an_anchor_that_is_not_needed_any_more_goes_and_comes_back(change, machine):
    anchor = machine.path / "anchor"
    anchor.write_text("old anchor\n")
    change(enabled=True, confirm_seconds=2, anchor=None, old_anchor="old anchor\n")
    # one file comes after the other
    wait(lambda: not anchor.exists() and (machine.path / "pf.conf").read_text() == "new rules\n")
    change.started[0].wait(timeout=10)
    assert anchor.read_text() == "old anchor\n" and (machine.path / "pf.conf").read_text() == "pass all\n"


def test_where_pf_was_on_it_stays_on_with_the_former_rules(change, machine):
    change(enabled=True, confirm_seconds=2)
    wait(lambda: (machine.path / "pf.conf").read_text() == "new rules\n")
    change.started[0].wait(timeout=10)
    assert (machine.path / "pf.conf").read_text() == "pass all\n" and (machine.path / "on").exists()
    assert not any(" -d" in line for line in machine.log())


def test_rules_that_pf_does_not_take_are_taken_back_at_once(change, machine):
    machine.program("pfctl", 'case "$*" in "-q -f"*) echo "cannot load" >&2; exit 1 ;; esac')
    one = change(confirm_seconds=600)
    change.started[0].wait(timeout=10)
    assert (machine.path / "pf.conf").read_text() == "pass all\n"
    with pytest.raises(host.Refused, match="cannot load"):
        one.confirmed()


def test_a_new_connection_confirms(change, machine, monkeypatch):
    monkeypatch.setattr(host.Host, "name", lambda self: "blocklistd")
    one = change(confirm_seconds=600)
    monkeypatch.setattr(one, "connection", lambda: ("198.51.100.9", "50001", 0))
    assert one.confirmed()["changed"]
    assert "sysrc pf_enable=YES" in machine.log()
    change.started[0].wait(timeout=10)
    assert (machine.path / "pf.conf").read_text() == "new rules\n" and (machine.path / "on").exists()


@pytest.mark.parametrize(
    "now, says",
    [
        (("198.51.100.9", "50000", 0), "still the connection from before"),
        (("198.51.100.9", "50001", 60), "was there"),
        (None, "still the connection"),
    ],
)
def test_an_old_connection_confirms_nothing(change, machine, monkeypatch, now, says):
    one = change(confirm_seconds=600)
    monkeypatch.setattr(one, "connection", lambda: now)
    with pytest.raises(host.Refused, match=says):
        one.confirmed()
    assert not any("pf_enable=YES" in line for line in machine.log()) and os.path.exists(
        one.run_dir + "/" + one.token + "/armed"
    )


def test_a_confirmation_that_comes_too_late_is_refused(change, machine, monkeypatch):
    one = change(confirm_seconds=1)
    change.started[0].wait(timeout=10)
    monkeypatch.setattr(one, "connection", lambda: ("198.51.100.9", "50001", 0))
    with pytest.raises(host.Refused, match="before it was confirmed"):
        one.confirmed()
    assert not any("pf_enable=YES" in line for line in machine.log())


def test_the_next_run_takes_back_what_was_broken_off(change, machine):
    one = change(confirm_seconds=600)
    wait(lambda: (machine.path / "on").exists())
    machine(confirm_seconds=600).take_back_pending()
    assert not (machine.path / "on").exists() and (machine.path / "pf.conf").read_text() == "pass all\n"
    change.started[0].wait(timeout=10)
    assert os.path.exists(f"{one.run_dir}/{one.token}/undone")


def test_a_change_that_was_killed_is_taken_back_by_the_next_run(change, machine):
    """The process is gone: before its undo, and in the middle of it."""
    for left in ("armed", "undone"):
        one = change(confirm_seconds=600)
        here = pathlib.Path(one.run_dir, one.token)
        wait(lambda: (machine.path / "on").exists())
        change.started[-1].kill()
        change.started[-1].wait()
        if left == "undone":
            (here / "armed").rename(here / "undone")
            (machine.path / "pf.conf").write_text("pass all\n")
            checking = machine(check_mode=True)
            with pytest.raises(host.Refused, match="still waits"):
                checking.take_back_pending()
        machine().take_back_pending()
        assert (
            not (machine.path / "on").exists()
            and not (machine.path / "anchor").exists()
            and (machine.path / "pf.conf").read_text() == "pass all\n"
        )
        assert (here / "finished").exists()
        # what is finished is no longer looked at: the file is the user's again
        (machine.path / "pf.conf").write_text("block all\n")
        machine().take_back_pending()
        machine(check_mode=True).take_back_pending()
        assert (machine.path / "pf.conf").read_text() == "block all\n"
        (machine.path / "pf.conf").write_text("pass all\n")


def test_the_next_run_waits_for_an_undo_that_is_on_its_way(change, machine):
    """pf is slow at the new rules: they come into force after the next run has decided to take them back, and even so they do not stay."""
    machine.program(
        "pfctl",
        'case "$*" in "-s Running") [ -e %s/on ] ;; "-q -f"*) sleep 0.7 ;; *-e*) : > %s/on ;; *-d*) rm -f %s/on ;; esac'
        % ((machine.path,) * 3),
    )
    change(confirm_seconds=600)
    wait(lambda: (machine.path / "pf.conf").read_text() == "new rules\n")
    machine().take_back_pending()
    assert not (machine.path / "on").exists() and (machine.path / "pf.conf").read_text() == "pass all\n"
    calls = [line for line in machine.log() if line.startswith("pfctl")]
    assert calls.index("pfctl -q -e") < calls.index("pfctl -q -d") and change.started[0].wait(timeout=10) == 0


def test_an_undo_that_does_not_know_what_there_was_removes_nothing(change, machine):
    one = change(confirm_seconds=600)
    wait(lambda: (machine.path / "on").exists())
    # as the next change does it
    one.forget_changes()
    assert change.started[0].wait(timeout=10) == 1
    assert (machine.path / "pf.conf").read_text() == "new rules\n" and (machine.path / "on").exists()
    assert any(
        "nothing is taken back" in line for line in machine.log() if line.startswith("logger")
    ) and not os.path.exists(one.run_dir)


def test_a_folder_that_goes_while_pf_takes_its_rules_is_told_of(change, machine):
    machine.program(
        "pfctl",
        'case "$*" in "-s Running") [ -e %s/on ] ;; *-e*) rm -rf %s; : > %s/on ;; esac'
        % (machine.path, machine().run_dir, machine.path),
    )
    change(confirm_seconds=600)
    assert change.started[0].wait(timeout=10) == 1
    assert any("nothing is taken back" in line for line in machine.log() if line.startswith("logger"))


def test_where_there_was_no_pf_conf_none_is_left(change, machine):
    (machine.path / "pf.conf").unlink()
    change(confirm_seconds=2, old=None)
    wait(lambda: (machine.path / "pf.conf").exists())
    assert change.started[0].wait(timeout=10) == 0
    assert not (machine.path / "pf.conf").exists() and not (machine.path / "anchor").exists()


def test_the_mode_of_pf_conf_stays(change, machine):
    rules = machine.path / "pf.conf"
    rules.chmod(0o600)
    change(confirm_seconds=2)
    wait(lambda: rules.read_text() == "new rules\n")
    assert rules.stat().st_mode & 0o7777 == 0o600
    assert change.started[0].wait(timeout=10) == 0
    assert rules.read_text() == "pass all\n" and rules.stat().st_mode & 0o7777 == 0o600


def test_a_link_to_pf_conf_stays_a_link(machine):
    (machine.path / "real").write_text("pass all\n")
    (machine.path / "link").symlink_to(machine.path / "real")
    machine.program("sysrc", f'[ "$2" != pf_rules ] || echo {machine.path}/link')
    assert machine().find_pf_conf() == str(machine.path / "real")


@pytest.mark.parametrize("held, loads", [("pass all", True), ("", False)])
def test_a_pf_that_was_off_has_the_rules_again_that_it_had(change, machine, held, loads):
    machine.program(
        "pfctl",
        'case "$*" in "-s Running") [ -e %s/on ] ;; "-s rules") echo "%s" ;; *-e*) : > %s/on ;; *-d*) rm -f %s/on ;; esac'
        % (machine.path, held, machine.path, machine.path),
    )
    change(confirm_seconds=2)
    assert change.started[0].wait(timeout=10) == 0
    after = machine.log()[machine.log().index("pfctl -q -d") :]
    assert (f"pfctl -q -f {machine.path}/pf.conf" in after, "pfctl -q -F rules" in after) == (loads, not loads)


def test_check_mode_touches_no_pending_change(change, machine):
    one = change(confirm_seconds=600)
    other = machine()
    other.module.check_mode = True
    with pytest.raises(host.Refused, match="still waits"):
        other.take_back_pending()
    assert os.path.exists(f"{one.run_dir}/{one.token}/armed")


def test_what_was_there_before_is_written_down_once(machine):
    machine.program("sysrc", "echo NO")
    machine().remember("blocklistd", "pass all\n", True, None)
    machine().remember("blocklistd", None, False, None)
    before = json.loads((machine.path / "db/record").read_text())
    assert before == {
        "pf_enable": "NO",
        "pf_was_on": True,
        "pf_had_rules": False,
        "pf_conf": True,
        "daemon": "blocklistd",
        "daemon_enable": "NO",
        "daemon_flags": "NO",
    }
