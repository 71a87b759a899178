"""blocklistd(8), blocklistctl(8), blocklistd-helper and pf's anchors, beside whatever the host itself does with them.

The daemon runs in the foreground with a configuration, database, socket and control program of its own; the helper
and pfctl work in an anchor that no rule evaluates.
"""

import re
import time

import pytest

CONF = """[local]
# a comment
4025\tstream\ttcp\t*\t*\t2\t1h
4026\tstream\ttcp\t*\t*\t2\t4s
4587\tstream\ttcp\t*\tmine/24\t1\t1h
[remote]
127.0.0.9\t*\t*\t*\t*\t*\t*
[2001:db8::]/32\t*\t*\t*\t*\t*\t*
"""
# connects from each address to a port of its own, and reports that connection as a daemon does; it has to last until it is looked at
REPORT = """
import array, os, socket, struct, sys, time
kept = []
def database():
    try:
        return open(os.path.join(os.path.dirname(sock), "db"), "rb").read()
    except OSError:
        return b""
sock, port, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
listen = socket.create_server(("127.0.0.1", port))
for source in sys.argv[4:]:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((source, 0))
    client.connect(("127.0.0.1", port))
    accepted, peer = listen.accept()
    report = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    report.connect(sock)
    before, until = database(), time.monotonic() + 5
    report.sendmsg([struct.pack("=IIII", 148, 1, kind, 0) + bytes(128) + b"test"],
                   [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [accepted.fileno()]))])
    kept.append((accepted, client))
    # an emulated machine's daemon is slow to look at it, and then to write it down
    while database() == before and time.monotonic() < until:
        time.sleep(0.05)
time.sleep(0.7)
"""


@pytest.fixture(scope="module")
def name(run):
    """The daemon's name here: FreeBSD 14 has the older one."""
    for one in ("blocklistd", "blacklistd"):
        if run("command -v %s", one).rc == 0:
            return one
    pytest.skip("this host has neither blocklistd nor blacklistd")


@pytest.fixture
def daemon(run, name, scratch, needs):
    """report(port, kind, addresses…) to a daemon that calls a program which notes it; .dump(options), .calls()."""
    needs("python3")
    run(
        "printf '#!/bin/sh\\necho \"$*\" >> %s/calls\\necho OK\\n' > %s/control; chmod 755 %s/control; : > %s/calls",
        *[scratch] * 4,
    )
    run("printf %s > %s/conf", CONF.replace("\\", "\\\\"), scratch)
    run("printf %s > %s/report.py", REPORT.replace("%", "%%").replace("\\", "\\\\"), scratch)
    run(
        "%s -d -c %s/conf -D %s/db -s %s/sock -C %s/control -t 1 > %s/out 2>&1 & echo $! > %s/pid", name, *[scratch] * 6
    )
    run("n=0; while [ ! -S %s/sock ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done", scratch)

    class Daemon:
        @staticmethod
        def report(port, kind, *addresses):
            answer = run(f"python3 %s/report.py %s/sock {port} {kind} {' '.join(addresses)}", scratch, scratch)
            assert answer.rc == 0, answer
            run("sleep 1.5")

        @staticmethod
        def dump(options=""):
            return run(f"{name[:-1]}ctl dump {options} -D %s/db", scratch)

        @staticmethod
        def dumps(options, enough):
            """The dump's output when enough(output), or after ten seconds, which is long even for an emulated machine."""
            for _ in range(20):
                out = Daemon.dump(options).out
                if enough(out):
                    break
                time.sleep(0.5)
            return out

        @staticmethod
        def calls():
            return run("cat %s/calls", scratch).lines()

        @staticmethod
        def output():
            return run("cat %s/out", scratch).lines()

    yield Daemon
    run("kill $(cat %s/pid)", scratch)


@pytest.fixture(scope="module")
def loopback(run):
    """127.0.0.9 and .10 as addresses of this host."""
    run("for n in 9 10; do ifconfig lo0 alias 127.0.0.$n/32; done 2>/dev/null")
    if run("python3 -c %s", "import socket; socket.socket().bind(('127.0.0.9', 0))").rc:
        pytest.skip("this host cannot use 127.0.0.9")
    yield
    run("for n in 9 10; do ifconfig lo0 -alias 127.0.0.$n; done 2>/dev/null")


def test_it_lists_what_it_understood(run, name, scratch, daemon):
    output = daemon.output()
    rows = [line for line in output if line.count("\t") == 6 and "nfail" not in line]
    assert [row.split("\t")[0].strip() for row in rows] == ["4587", "4026", "4025", "2001:db8::/32", "127.0.0.9"], (
        "not as the most specific comes first"
    )
    assert rows[0].split("\t")[4:] == ["mine/24", "1", "3600"] and rows[1].split("\t")[4:] == ["*", "2", "4"]
    assert "[local]" in output and "[remote]" in output


def test_a_line_that_is_none_is_named_and_left_out(run, name, scratch):
    run("printf '[local]\\n25 stream tcp * * many 1h\\n25 stream tcp * * 3 soon\\n' > %s/conf", scratch)
    run("%s -d -c %s/conf -D %s/db -s %s/sock -C /usr/bin/true > %s/out 2>&1 & sleep 2; kill $!", name, *[scratch] * 4)
    text = run("cat %s/out", scratch).out
    assert re.search(r"^conf_getnum: \S+/conf, 2: Bad number for nfail \[many\]$", text, re.MULTILINE)
    assert re.search(r"^conf_getsecs: \S+/conf, 3: Bad number \[soon\]$", text, re.MULTILINE)
    assert not [line for line in text.splitlines() if line.count("\t") == 6 and "nfail" not in line]


def test_it_counts_and_lists(daemon, loopback):
    daemon.report(4025, 1, "127.0.0.10")
    assert daemon.calls() == []
    row = daemon.dump("-an").lines()[0].split("\t")
    assert row[0] in ("blocklistd", "blacklistd") and row[1].strip() == "127.0.0.10/32:4025" and row[2:4] == ["", "1/2"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", row[4])
    assert daemon.dump("-n").lines() == daemon.dump("-an").lines() and daemon.dump("-bn").out == ""
    daemon.report(4025, 1, "127.0.0.10")
    assert daemon.calls()[0].rstrip() == f"add {row[0]} tcp 127.0.0.10 32 4025"
    blocked = daemon.dump("-bnr")
    assert blocked.rc == 0 and re.fullmatch(r"\S+\t +127\.0\.0\.10/32:4025\tOK\t2/2\t59m\d+s\n", blocked.out), blocked
    assert daemon.dump("-n").out == ""


def test_it_releases(daemon, loopback):
    daemon.report(4026, 1, "127.0.0.10", "127.0.0.10")
    for _ in range(40):
        if len(daemon.calls()) > 1:
            break
        time.sleep(0.5)
    assert daemon.calls()[1].split()[:1] + daemon.calls()[1].split()[2:] == [
        "rem",
        "tcp",
        "127.0.0.10",
        "32",
        "4026",
        "OK",
    ]
    # it takes the row out after the program was called
    assert daemon.dumps("-an", lambda out: not out) == ""


def test_a_success_begins_the_count_anew(daemon, loopback):
    daemon.report(4025, 1, "127.0.0.10")
    daemon.report(4025, 2, "127.0.0.10")
    daemon.report(4025, 1, "127.0.0.10")
    assert daemon.calls() == []


def test_an_exception_is_counted_and_never_listed(daemon, loopback):
    daemon.report(4025, 1, *["127.0.0.9"] * 5)
    assert daemon.calls() == []
    assert daemon.dumps("-an", lambda out: "5/" in out).split()[1:] == ["127.0.0.9/32:4025", "5/*", "never"]


def test_a_mask_lists_the_network_and_hides_an_exception_within_it(daemon, loopback):
    """Why an exception has to be as wide as the mask: the address is masked before it is looked for."""
    daemon.report(4587, 1, "127.0.0.9")
    assert daemon.calls()[0].rstrip() == "add mine tcp 127.0.0.0 24 4587"


def test_dump_has_a_header_and_wants_a_database(run, name, scratch, daemon):
    run("sleep 2")
    assert daemon.dump("-w").lines()[0] == f"rulename\t{'address':>39}/ma:port\tid\tnfail\tlast access"
    assert daemon.dump("-r").lines()[0] == f"rulename\t{'address':>15}/ma:port\tid\tnfail\tremaining time"
    nothing = run(f"{name[:-1]}ctl dump -D %s/none", scratch)
    assert nothing.rc == 1 and nothing.err.endswith(f"Can't open `{scratch}/none': No such file or directory\n")
    assert run(f"{name[:-1]}ctl").rc == 1


def test_the_service_asks_for_its_configuration_and_switch(run, name):
    if run("service %s status", name).rc == 0:
        pytest.skip(f"{name} is in use on this host")
    answer = run("service %s status", name)
    assert (answer.rc, answer.out) == (1, f"{name} is not running.\n")
    if run("sysrc -n %s_enable", name).out.strip().upper() == "NO":
        start = run("service %s start", name)
        assert start.rc == 0 and (start.out + start.err).startswith(f"Cannot 'start' {name}. Set {name}_enable to YES")


# -- pf's anchors and the helper --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pf(run):
    """pf enabled: the host's own, or one that lets everything pass for as long as the module's tests run."""
    enabled = run("pfctl -s Running").rc == 0
    loaded = run("kldstat -qm pf").rc == 0
    if not enabled:
        if not loaded and run("kldload pf").rc:
            pytest.skip("this host has no module pf")
        if run("test -e /etc/pf.conf").rc == 0:
            pytest.skip("this host has a pf.conf that is not in use")
        # FreeBSD 14's helper goes by the file
        rules = "printf 'set skip on lo0\\n' > /etc/pf.conf && pfctl -q -f /etc/pf.conf && pfctl -q -e"
        assert run(rules).rc == 0
    yield
    run("for a in contract contract/25; do pfctl -q -a $a -F all; done")
    if not enabled:
        run("pfctl -q -d; pfctl -q -F all; rm -f /etc/pf.conf")
        if not loaded:
            run("kldunload pf")


RULES = (
    "table <ok> persist { 192.0.2.0/24, 198.51.100.9, ::1 }\ntable <bad> persist\n"
    'anchor "/contract-d/*" in from ! <ok> to any\nblock drop in quick proto tcp from <bad> to any port { 25 587 }\n'
)
SHOWN = [
    'anchor "/contract-d/*" in from ! <ok> to any',
    "block drop in quick proto tcp from <bad> to any port = smtp",
    "block drop in quick proto tcp from <bad> to any port = submission",
]


def test_an_anchor_is_loaded_shown_and_loaded_again(run, pf, scratch):
    run("printf %s > %s/rules", RULES, scratch)
    verbose = run("pfctl -a contract -nvf - < %s/rules", scratch)
    assert verbose.rc == 0
    assert verbose.lines() == ["table <ok> persist { 192.0.2.0/24 198.51.100.9 ::1 }", "table <bad> persist", *SHOWN]
    assert run("pfctl -q -a contract -f %s/rules", scratch).rc == 0
    assert run("pfctl -a contract -s rules").lines() == SHOWN
    assert run("pfctl -a contract -t ok -T show").lines() == ["   192.0.2.0/24", "   198.51.100.9", "   ::1"]
    # a table with a list takes the new one, one without keeps what it has
    run("pfctl -q -a contract -t bad -T add 203.0.113.7; sed -i.bak 's/198.51.100.9/198.51.100.10/' %s/rules", scratch)
    assert run("pfctl -q -a contract -f %s/rules", scratch).rc == 0
    assert run("pfctl -a contract -t ok -T show").lines() == ["   192.0.2.0/24", "   198.51.100.10", "   ::1"]
    assert run("pfctl -a contract -t bad -T show").out == "   203.0.113.7\n"


def test_a_table_is_replaced_whole_from_standard_input(run, pf):
    run("printf 'table <t> persist\\n' | pfctl -q -a contract -f -")
    replace = "pfctl -a contract -t t -T replace -f -"
    assert run(f"printf '198.51.100.1/32\\n2001:db8::/64\\n' | {replace}").err == "2 addresses added.\n"
    assert run("pfctl -a contract -t t -T show").lines() == ["   198.51.100.1", "   2001:db8::/64"]
    assert run(f"printf '198.51.100.1\\n2001:db8::/64\\n' | {replace}").err == "no changes.\n"
    assert run(f"printf '198.51.100.2\\n' | {replace}").err == "1 addresses added.\n2 addresses deleted.\n"
    assert run(f": | {replace}").err == "1 addresses deleted.\n"


def test_an_anchor_that_is_none(run, pf):
    answer = run("pfctl -a contract-none -s rules")
    assert (answer.rc, answer.out, answer.err) == (0, "", "pfctl: Anchor does not exist.\n")


def test_the_order_of_statements_and_a_file_that_is_missing(run, pf, scratch):
    run(
        'printf \'anchor "x"\\nscrub in all\\n\' > %s/order; printf \'anchor "x"\\nload anchor "x" from "/nonexistent"\\n\' > %s/load',
        scratch,
        scratch,
    )
    order = run("pfctl -nf %s/order", scratch)
    assert (order.rc, order.err) == (
        1,
        f"{scratch}/order:2: Rules must be in order: options, ethernet, normalization, queueing, translation, filtering\n",
    )
    load = run("pfctl -nf %s/load", scratch)
    assert load.rc == 1 and load.err.startswith("pfctl: pushfile: /nonexistent: No such file or directory\n")


def test_what_pfctl_understood_of_a_ruleset(run, pf, scratch):
    run(
        "printf %s > %s/pf.conf",
        'e = "lo0"\nset limit states 30000\nset skip on lo0\nscrub in all\nblock in quick from any to any port 22\n'.replace(
            "from any to any", "proto tcp from any to any"
        )
        + 'pass out quick keep state\npass in on $e proto tcp to port 25 flags S/SA keep state\nanchor "sokuhai"\npass in inet proto icmp icmp-type echoreq\n',
        scratch,
    )
    answer = run("pfctl -nvf %s/pf.conf", scratch)
    assert answer.rc == 0 and answer.lines() == [
        'e = "lo0"',
        "set limit states 30000",
        "set skip on { lo0 }",
        "scrub in all fragment reassemble",
        "block drop in quick proto tcp from any to any port = ssh",
        "pass out quick all flags S/SA keep state",
        "pass in on lo0 proto tcp from any to any port = smtp flags S/SA keep state",
        'anchor "sokuhai" all',
        "pass in inet proto icmp all icmp-type echoreq keep state",
    ]


def test_the_helper_fills_and_empties_an_anchor_of_a_name_and_port(run, name, pf):
    helper = f"/usr/libexec/{name}-helper"
    for _ in range(2):
        assert run(f"{helper} add contract tcp 198.51.100.7 32 25").out == "OK\n"
    assert (
        run("pfctl -a contract/25 -s rules").out == "block drop in quick proto tcp from <port25> to any port = smtp\n"
    )
    assert run(f"{helper} add contract tcp 2001:db8:: 64 25").out == "OK\n"
    assert run("pfctl -a contract/25 -t port25 -T show").lines() == ["   198.51.100.7", "   2001:db8::/64"]
    assert (
        "  contract/25" in run("pfctl -s Anchors").lines()
        and "  contract/25" in run("pfctl -a contract -s Anchors").lines()
    )
    assert run("pfctl -a contract/25 -t port25 -T test 198.51.100.7").rc == 0
    for _ in range(2):
        assert run(f"{helper} rem contract tcp 198.51.100.7 32 25 OK").out == "OK\n"
    assert run("pfctl -a contract/25 -t port25 -T test 198.51.100.7").rc == 2
    assert run(f"{helper} flush contract").out.endswith("OK\n")
    assert run("pfctl -a contract/25 -s rules").out == ""
    assert run(f"{helper} nonsense").rc == 1


def test_the_helper_without_a_packet_filter(run, name):
    if run("pfctl -s Running").rc == 0 or run("service ipfw onestatus").rc == 0:
        pytest.skip("a packet filter is in use on this host")
    answer = run(f"/usr/libexec/{name}-helper add contract tcp 198.51.100.7 32 25")
    assert (answer.rc, answer.out, answer.err) == (1, "", f"/usr/libexec/{name}-helper: Unsupported packet filter\n")
