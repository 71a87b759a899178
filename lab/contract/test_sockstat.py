"""sockstat(1): who listens where, in FreeBSD 15's columns."""

import re

import pytest

ROW = re.compile(r"(\S+) +(\S+) +(\d+|\?\?) +(\d+|\?\?) (\S+) +(\S+|\(not connected\)|\[.*\]) +(\S+|-> .*) *")


def test_listening_internet_sockets(run):
    answer = run("sockstat -46l")
    assert answer.rc == 0
    assert re.fullmatch(r"USER +COMMAND +PID +FD +PROTO +LOCAL ADDRESS +FOREIGN ADDRESS +", answer.lines()[0])
    rows = [ROW.fullmatch(line) for line in answer.lines()[1:]]
    assert all(rows), answer
    assert all(re.fullmatch(r"(tcp|udp)(4|6|46)", row[5]) for row in rows)
    assert all(row[7] == "*:*" for row in rows)
    assert ("root", "sshd", "*:22") in {(row[1], row[2], row[6]) for row in rows}


def test_columns_stand_under_their_heads(run):
    head, *lines = run("sockstat -46l").lines()
    at = head.index("LOCAL ADDRESS")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)
    at = head.index("COMMAND")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)


def test_one_family_protocol_and_port(run):
    answer = run("sockstat -4 -l -P tcp -p 22")
    assert answer.rc == 0
    assert {line.split()[4] for line in answer.lines()[1:]} == {"tcp4"}
    assert {line.split()[5] for line in answer.lines()[1:]} == {"*:22"}
    assert len(run("sockstat -4 -l -P tcp -p 1").lines()) == 1


def test_quiet_has_no_header(run):
    quiet, full = run("sockstat -q -46l").lines(), run("sockstat -46l").lines()
    assert [line.split() for line in quiet] == [line.split() for line in full[1:]]


def test_connected_sockets_show_both_ends(run):
    rows = [line.split() for line in run("sockstat -4c -P tcp -p 22").lines()[1:]]
    if not rows:
        pytest.skip("this login does not come over TCP of its own")
    assert all(re.fullmatch(r"[\d.]+:\d+", row[5]) and re.fullmatch(r"[\d.]+:\d+", row[6]) for row in rows), rows


def test_unix_sockets(run):
    answer = run("sockstat -u")
    assert answer.rc == 0
    assert {line.split()[4] for line in answer.lines()[1:]} <= {"stream", "dgram", "seqpack", "seqpac"}
    assert any(line.split()[1] == "syslogd" for line in answer.lines()[1:]), answer


def test_it_measures(run, needs):
    needs("python3")
    script = (
        "import socket, subprocess; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(5); "
        "print(s.getsockname()[1]); print(subprocess.run(['sockstat', '-4l', '-P', 'tcp', '-p', "
        "str(s.getsockname()[1])], capture_output=True, text=True).stdout)"
    )
    lines = run("python3 -c %s", script).lines()
    assert any(line.split()[5:7] == [f"127.0.0.1:{lines[0]}", "*:*"] for line in lines[1:] if len(line.split()) > 6), (
        lines
    )


def test_unknown_option(run):
    wrong = run("sockstat -Z")
    assert wrong.rc == 1 and "usage: sockstat" in wrong.err
