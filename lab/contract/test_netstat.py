"""netstat(1): listen queues, connections, mbufs."""

import re


def test_listen_queues(run):
    answer = run("netstat -Lan")
    assert answer.rc == 0
    assert answer.lines()[0] == "Current listen queue sizes (qlen/incqlen/maxqlen)"
    assert answer.lines()[1].split() == ["Proto", "Listen", "Local", "Address"]
    for line in answer.lines()[2:]:
        assert re.fullmatch(r"((tcp(4|6|46))|unix) +\d+/\d+/\d+ +\S+ *", line), line
    assert re.search(r"^tcp4 +0/0/\d+ +\*\.22 *$", answer.out, re.MULTILINE)


def test_columns(run):
    answer = run("netstat -Lan")
    assert answer.lines()[1] == "Proto Listen                           Local Address         "
    line = next(line for line in answer.lines() if line.startswith("tcp4"))
    assert line.index("/") == 11 and line[43] != " "


def test_backlog_is_the_one_really_in_force(run, needs):
    needs("python3")
    most = int(run("sysctl -n kern.ipc.soacceptqueue").out)
    script = (
        "import socket, subprocess, sys; keep = []\n"
        "for n in (7, %d):\n"
        "    s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(n); keep.append(s); print(s.getsockname()[1])\n"
        "print(subprocess.run(['netstat', '-Lan'], capture_output=True, text=True).stdout)" % (most + 1000)
    )
    lines = run("python3 -c %s", script).lines()
    shown = {line.split()[2]: line.split()[1] for line in lines[4:] if line.startswith("tcp4")}
    assert shown[f"127.0.0.1.{lines[0]}"] == "0/0/7"
    assert shown[f"127.0.0.1.{lines[1]}"] == f"0/0/{most}"


def test_all_connections(run):
    answer = run("netstat -an -p tcp")
    assert answer.rc == 0
    assert answer.lines()[0] == "Active Internet connections (including servers)"
    assert answer.lines()[1].split() == [
        "Proto",
        "Recv-Q",
        "Send-Q",
        "Local",
        "Address",
        "Foreign",
        "Address",
        "(state)",
    ]
    rows = [line.split() for line in answer.lines()[2:]]
    assert all(re.fullmatch(r"tcp(4|6|46)", row[0]) for row in rows)
    assert ["*.22", "*.*", "LISTEN"] in [row[3:6] for row in rows]


def test_mbufs(run):
    answer = run("netstat -m")
    assert answer.rc == 0
    assert re.search(r"^\d+/\d+/\d+ mbufs in use \(current/cache/total\)$", answer.out, re.MULTILINE)
    match = re.search(r"^\d+/\d+/\d+/(\d+) mbuf clusters in use \(current/cache/total/max\)$", answer.out, re.MULTILINE)
    assert match and match[1] == run("sysctl -n kern.ipc.nmbclusters").out.strip()


def test_counters_of_lost_connections(run):
    assert re.search(r"^\t\d+ listen queue overflows?$", run("netstat -s -p tcp").out, re.MULTILINE)
    assert re.search(r"^\t\d+ dropped due to full socket buffers$", run("netstat -s -p udp").out, re.MULTILINE)
