"""pfctl(8), kldstat(8) and rc.d/pf, on a host that does not use pf yet."""

import re

import pytest

RULES = "table <contract> persist\\nblock in quick from <contract>\\npass all\\n"


@pytest.fixture(scope="module")
def pf(run):
    """pf loaded for the module's tests; a host whose pf filters already is left alone."""
    was_loaded = run("kldstat -qm pf").rc == 0
    if was_loaded and "Status: Enabled" in run("pfctl -s info").out:
        pytest.skip("pf is in use on this host")
    if not was_loaded and run("kldload pf").rc:
        pytest.skip("this host has no module pf")
    if run("test -e /etc/pf.conf").rc == 0:
        pytest.skip("this host has a pf.conf of its own")
    yield
    run("pfctl -q -F all; pfctl -q -d; rm -f /etc/pf.conf")
    if not was_loaded:
        run("kldunload pf")


def test_without_the_module(run):
    if run("kldstat -qm pf").rc == 0:
        pytest.skip("pf is loaded on this host")
    answer = run("pfctl -s info")
    assert (answer.rc, answer.err) == (1, "pfctl: /dev/pf: No such file or directory\n")


def test_loaded_modules(run, pf):
    answer = run("kldstat")
    assert answer.rc == 0
    assert answer.lines()[0].split() == ["Id", "Refs", "Address", "Size", "Name"]
    assert answer.lines()[1].split()[-1] == "kernel"
    assert run("kldstat -qm pf").rc == 0 and run("kldstat -qm no_such_module").rc == 1
    assert run("kldload no_such_module").rc == 1


def test_syntax_check(run, pf, scratch):
    run("printf %s > %s/good; printf 'blok in\\n' > %s/bad", RULES, scratch, scratch)
    good = run("pfctl -nf %s/good", scratch)
    assert (good.rc, good.out, good.err) == (0, "", "")
    bad = run("pfctl -nf %s/bad", scratch)
    assert (bad.rc, bad.err) == (1, f"{scratch}/bad:1: syntax error\n")


def test_a_macro_of_the_command_line(run, pf, scratch):
    run(
        "printf 'here = 12525\\npass in proto tcp to port $here\\npass in proto tcp to port $there\\n' > %s/macros",
        scratch,
    )
    without = run("pfctl -nf %s/macros", scratch)
    assert without.rc == 1 and f"{scratch}/macros:3: macro 'there' not defined" in without.err
    # as rc.d/pf does it the file comes first, and what is said here is not overwritten there
    given = run("pfctl -nvf %s/macros -D there=12526 -D here=12527", scratch)
    assert given.rc == 0
    assert [line.split("port = ")[1].split()[0] for line in given.lines() if line.startswith("pass")] == [
        "12527",
        "12526",
    ]


def test_disabled(run, pf):
    answer = run("pfctl -s info")
    assert answer.rc == 0
    assert re.fullmatch(r"Status: Disabled for \d+ days \d\d:\d\d:\d\d +Debug: \w+", answer.lines()[0])
    assert run("pfctl -s Running").rc == 1


def test_limits(run, pf):
    answer = run("pfctl -sm")
    assert answer.rc == 0
    assert re.search(r"^states +hard limit +\d+$", answer.out, re.MULTILINE)


def test_table_that_does_not_exist(run, pf):
    answer = run("pfctl -t no_such_table -T show")
    assert (answer.rc, answer.err) == (255, "pfctl: Table does not exist.\n")


def test_table_by_way_of_the_service(run, pf, keep):
    keep("/etc/rc.conf")
    run("printf %s > /etc/pf.conf; sysrc pf_enable=YES", RULES)
    start = run("service pf start")
    assert (start.rc, start.out) == (0, "Enabling pf.\n")
    try:
        assert run("pfctl -s Running").rc == 0
        first = run("pfctl -t contract -T add 203.0.113.9")
        assert (first.rc, first.err) == (0, "1/1 addresses added.\n")
        again = run("pfctl -t contract -T add 203.0.113.9")
        assert (again.rc, again.err) == (0, "0/1 addresses added.\n")
        assert run("pfctl -t contract -T show").out == "   203.0.113.9\n"
        assert run("pfctl -t contract -T test 203.0.113.9").rc == 0
        assert run("pfctl -t contract -T test 203.0.113.10").rc == 2
        assert run("pfctl -s Tables").out == "contract\n"
        status = run("service pf status")
        assert status.rc == 0
        assert re.match(r"Status: Enabled for \d+ days \d\d:\d\d:\d\d +Debug: \w+\n", status.out)
        assert re.search(r"^  current entries +\d+ +$", status.out, re.MULTILINE)
        gone = run("pfctl -t contract -T delete 203.0.113.9")
        assert (gone.rc, gone.err) == (0, "1/1 addresses deleted.\n")
    finally:
        stop = run("service pf stop")
    assert (stop.rc, stop.out) == (0, "Disabling pf.\n")


def test_a_blocked_address_gets_no_answer(run, pf, scratch, needs):
    needs("python3")
    run(
        "printf 'table <contract> persist { 127.0.0.9 }\\nblock drop in quick from <contract>\\npass all\\n' "
        "> %s/pf.conf",
        scratch,
    )
    script = (
        "import socket\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(5)\n"
        "def reach(source):\n"
        "    c = socket.socket(); c.settimeout(1)\n"
        "    try:\n"
        "        c.bind((source, 0)); c.connect(s.getsockname()); return 'yes'\n"
        "    except OSError as problem:\n"
        "        return 'no'\n"
        "print(reach('127.0.0.9'), reach('127.0.0.1'))\n"
    )
    if run(
        "ifconfig lo0 alias 127.0.0.9/32 2>/dev/null || ping -c 1 -t 1 127.0.0.9 >/dev/null 2>&1 || python3 -c %s",
        "import socket; socket.socket().bind(('127.0.0.9', 0))",
    ).rc:
        pytest.skip("this host cannot use 127.0.0.9")
    try:
        assert run("python3 -c %s", script).out.split() == ["yes", "yes"]
        assert run("pfctl -q -f %s/pf.conf && pfctl -q -e", scratch).rc == 0
        assert run("python3 -c %s", script).out.split() == ["no", "yes"]
    finally:
        run("pfctl -q -d; pfctl -q -F all; ifconfig lo0 -alias 127.0.0.9 2>/dev/null")
