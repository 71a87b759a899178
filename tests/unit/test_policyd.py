# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The program that passes the connections of all smtpd(8) to one SPF agent, with a small agent in its place."""

import os
import pwd
import re
import socket
import subprocess
import time

import pytest
from role_modules import PYTHON, ROOT, util

host, policy, policyd = (util("sokuhai." + name) for name in ("host", "policy", "policyd"))
SERVER = ROOT / "roles/sokuhai/files/sokuhai-policyd.py"

# Answers with its process, how many requests this connection has brought, and its configuration; `die` ends it.
AGENT = f"""\
#!{PYTHON}
import os, sys
def main():
    count, text = 0, open(sys.argv[1]).read().strip()
    for line in sys.stdin.buffer:
        line = line.decode().strip()
        if line == "die":
            raise ValueError(line)
        if not line:
            count += 1
            sys.stdout.write("action=%d %d %s\\n\\n" % (os.getpid(), count, text))
            sys.stdout.flush()
if __name__ == "__main__":
    main()
"""


class Place:
    def __init__(self, folder, **constants):
        self.folder, self.open, self.pids = folder, [], set()
        self.program, self.config = folder / "policyd-spf", folder / "a.conf"
        (folder / "sockets").mkdir()
        text = policyd.HEAD + SERVER.read_text()
        for name, value in {"IDLE": 1, "DIRECTORY": repr(str(folder / "sockets")), **constants}.items():
            text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, count=1, flags=re.M)
            assert count == 1
        self.write("sokuhai-policyd-spf", text)
        self.write("policyd-spf", AGENT)
        self.config.write_text("first")

    def write(self, name, text):
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def connect(self):
        """An smtpd's connection, passed on as spawn(8) would have it; the exit status is in `status`."""
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        command = [self.folder / "sokuhai-policyd-spf", self.program, self.config]
        with theirs:
            done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, timeout=60)
        self.open.append(ours)
        self.status = done.returncode
        return ours

    def ask(self, connection, line="x"):
        """(process, requests so far, configuration) of an answer, or None where the connection was closed."""
        answer = b""
        connection.sendall(line.encode() + b"\n\n")
        while not answer.endswith(b"\n\n"):
            part = connection.recv(100)
            if not part:
                return None
            answer += part
        pid, count, text = re.fullmatch(r"action=(\d+) (\d+) (.*)\n\n", answer.decode()).groups()
        self.pids.add(int(pid))
        return int(pid), int(count), text

    def sockets(self):
        return sorted(path.name for path in (self.folder / "sockets").glob("*.[0-9]*"))

    def close(self):
        for one in self.open:
            one.close()


def alive(pid):
    """Whether the process is at work; one that ended may still wait to be reaped by whoever is process 1 here."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()
    until(lambda: not any(map(alive, made.pids)))


def test_one_process_serves_all_and_keeps_their_requests_apart(place):
    connections = [place.connect() for _ in range(12)]
    answers = [place.ask(one) for one in connections]
    assert len({pid for pid, _count, _text in answers}) == 1 and {count for _pid, count, _text in answers} == {1}
    # an instance of a mail is known to its connection only
    assert [place.ask(connections[0])[1] for _ in range(3)] == [2, 3, 4] and place.ask(connections[1])[1] == 2
    assert place.status == 0 and len(place.sockets()) == 1


def test_to_pass_a_connection_on_loads_next_to_nothing(place):
    pid = place.ask(place.connect())[0]
    # the same Python, which says what it loads; the socket's name has the agent's time of change in it, so this starts a server, and the next one none
    place.write("policyd-spf", AGENT.replace("\n", " -X importtime\n", 1))
    place.ask(place.connect())
    ours, theirs = socket.socketpair()
    command = [place.folder / "sokuhai-policyd-spf", place.program, place.config]
    with ours, theirs:
        done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60)
        assert place.ask(ours)[0] != pid
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    # an attack starts this hundreds of times
    assert {"os", "_socket"} <= loaded
    assert not loaded & {"site", "socket", "threading", "contextlib", "re", "hashlib", "runpy", "syslog", "fcntl"}


def test_a_full_one_is_joined_by_another(tmp_path):
    place = Place(tmp_path, CONNECTIONS=3)
    answers = [place.ask(one)[0] for one in [place.connect() for _ in range(7)]]
    assert sorted(answers.count(pid) for pid in set(answers)) == [1, 3, 3] and len(place.sockets()) == 3
    place.close()
    # and goes when it has nothing to do
    until(lambda: not place.sockets() and not any(map(alive, place.pids)))


def test_another_configuration_or_program_is_another_server(place):
    old = place.connect()
    first = place.ask(old)
    place.config = place.folder / "b.conf"
    place.config.write_text("second")
    second = place.ask(place.connect())
    place.write("policyd-spf", AGENT.replace("%d %d %s", "%d 7%d %s"))
    third = place.ask(place.connect())
    assert (first[2], second[2], third[1:]) == ("first", "second", (71, "second"))
    assert len({first[0], second[0], third[0]}) == 3 and place.ask(old)[0] == first[0]


def test_one_that_fails_closes_its_connection_and_no_other(place):
    one, other = place.connect(), place.connect()
    pid = place.ask(one)[0]
    assert place.ask(other, "die") is None
    assert place.ask(one)[:2] == (pid, 2) and place.ask(place.connect())[0] == pid


def test_a_killed_one_is_replaced(place):
    pid = place.ask(place.connect())[0]
    os.kill(pid, 9)
    until(lambda: not alive(pid))
    assert len(place.sockets()) == 1, "what it left behind"
    assert place.ask(place.connect())[0] != pid and len(place.sockets()) == 1


def test_the_module_proves_that_a_connection_is_passed_on(place):
    command = [str(path) for path in (place.folder / "sokuhai-policyd-spf", place.program, place.config)]
    me, asked = pwd.getpwuid(os.geteuid()), policy.request("probe.invalid", "", "a@b.test", "1")
    assert policyd.prove("role", command, me, asked).endswith(" 1 first")
    place.write("policyd-spf", AGENT.replace("action=", "answer="))
    with pytest.raises(host.Refused, match="role: .*sokuhai-policyd-spf passes no connection on"):
        policyd.prove("role", command, me, asked)


@pytest.mark.parametrize("damage", ["there is no agent", "it dies"])
def test_an_agent_that_cannot_be_run_is_an_error_and_smtpd_learns_of_it(place, damage):
    if damage == "it dies":
        place.write("policyd-spf", f"#!{PYTHON}\nraise SystemExit(1)\n")
    else:
        place.program.unlink()
    connection = place.connect()
    assert place.status and connection.recv(1) == b""
    place.write("policyd-spf", AGENT)
    assert place.ask(place.connect())[1] == 1
