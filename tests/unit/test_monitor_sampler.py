# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: what it makes of what FreeBSD prints, and that full disks, rotation and silent daemons cost no more than they must."""

import contextlib
import os
import socket
import struct
import threading
import time
import types

import pytest
from role_modules import load
from sampler_modules import SETTINGS, certificate, freebsd, look, sampler, samples

reader = load("roles/monitor/library/monitor_read.py")
#: What named's statistics channel answers.
COUNTERS = b'{"boot-time": "x", "opcodes": {"QUERY": 7}, "rcodes": {"SERVFAIL": 2}, "nsstats": {"RecursClients": 3}}'
SWAP = "Device          1K-blocks     Used    Avail Capacity\n"
SIZE = b"C" + bytes([93]) + b" " * 93


# ---- what FreeBSD prints ----


def xfile(pid, kind):
    return struct.pack("=QiIiiQhh", 128, pid, 53, 3, 0, 0, kind, 0).ljust(128, b"\0")


FILES = xfile(7, 2) * 3 + xfile(7, 1) + xfile(9, 1)


@pytest.mark.parametrize(
    "parse, printed, found",
    [
        # a process's descriptors and, among them, sockets
        (freebsd.count_files, FILES, {7: [4, 3], 9: [1, 0]}),
        (freebsd.count_files, FILES + b"half a row", {7: [4, 3], 9: [1, 0]}),
        # a table of another form
        (freebsd.count_files, b"", None),
        (freebsd.count_files, b"short", None),
        (freebsd.count_files, struct.pack("=Q", 56) * 40, None),
        (
            freebsd.parse_rlimits,
            "  PID COMM             RLIMIT                  SOFT             HARD     \n"
            "  374 named            openfiles              20000            20000     \n"
            "  375 named            openfiles              infinity         infinity  \n  374 named  maxprocesses 5 5\n",
            {374: 20000},
        ),
        (
            freebsd.parse_processes,
            "  1     0 init\n 807     1 master\n813 807 smtp\nrubbish\n",
            {1: (0, "init"), 807: (1, "master"), 813: (807, "smtp")},
        ),
        (
            freebsd.parse_swap,
            SWAP + "/dev/ada0p3       1000      10    990     1%\n/dev/ada1p3  500 5 495 1%\nTotal 1500 15 1485 1%\n",
            (15360, 1536000),
        ),
        (freebsd.parse_swap, SWAP, (0, 0)),
        (freebsd.parse_swap, "", None),
        (freebsd.parse_named, COUNTERS, {"queries": 7, "servfail": 2, "recursing": 3, "boot": "x"}),
        (
            freebsd.parse_named,
            COUNTERS.replace(b', "nsstats": {"RecursClients": 3}', b""),
            {"queries": 7, "servfail": 2, "recursing": 0, "boot": "x"},
        ),
        (freebsd.parse_named, b"404 No such URL.", None),
        (freebsd.parse_named, b"", None),
        (freebsd.parse_named, b"[]", None),
        (freebsd.parse_named, b"[" * 100000, None),
        # when a message arrived is in its queue file's own record of the time
        (freebsd.arrival, SIZE + b"T\x111795897222 123456" + b"A\x03abc", 1795897222),
        (freebsd.arrival, b"T\x0a1795897222", 1795897222),
        (freebsd.arrival, b"", None),
        (freebsd.arrival, b"From nobody", None),
        (freebsd.arrival, SIZE, None),
        (freebsd.arrival, b"C\xff\xff\xff", None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_printed_is_read_or_unknown(parse, printed, found):
    assert parse(printed) == found


@pytest.mark.parametrize("value", [b'"7"', b"null", b"true", b"-1", b"1e99", b"NaN", b"[7]", b"9" * 30])
def test_what_somebody_else_on_nameds_port_says_is_a_number_or_nothing(value):
    assert freebsd.parse_named(COUNTERS.replace(b"7", value)) is None
    assert freebsd.parse_named(COUNTERS.replace(b'{"RecursClients": 3}', value)) is None


@pytest.mark.parametrize(
    "answer, pause, found",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(COUNTERS), COUNTERS), 0, 7),
        (b"HTTP/1.0 200 OK\r\n\r\n" + COUNTERS, 0, 7),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n", 0, None),
        (b"no HTTP at all\r\n\r\n", 0, None),
        (b"", 0, None),
        # a byte now and then, for ever
        (b"HTTP/1.1 200 OK\r\n" + b"X" * 10000, 0.3, None),
    ],
)
def test_whoever_listens_on_nameds_port_is_listened_to_for_so_long(answer, pause, found):
    def serve():
        client = listening.accept()[0]
        with client, contextlib.suppress(OSError):
            client.recv(1000)
            for number in range(0, len(answer), 1 if pause else 10000):
                client.sendall(answer[number : number + (1 if pause else 10000)])
                time.sleep(pause)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        port = listening.getsockname()[1]
        told = freebsd.ask_named("127.0.0.1", port, seconds=1 if pause else 60)
        assert (told and told["queries"]) == found and time.monotonic() - began < 30
    assert freebsd.ask_named("127.0.0.1", port) is None, "nobody listens"


def test_what_a_command_that_failed_has_printed_is_kept_where_that_is_asked_for():
    fails = ("sh", "-c", "echo 5; exit 1")
    assert (freebsd.words(*fails, check=False), freebsd.words(*fails)) == ("5\n", "")


# ---- the part that is root ----


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_the_log_is_followed_over_its_being_rotated(tmp_path):
    log = tmp_path / "maillog"
    log.write_text("before\n")
    tail = look.Tail(str(log))
    assert tail.read() == (b"", False)
    append(log, "one\ntw")
    assert tail.read()[0] == b"one\n"
    append(log, "o\nlast of the old\n")
    log.rename(tmp_path / "maillog.0")
    log.write_text("first of the new\n")
    assert tail.read()[0] == b"two\nlast of the old\nfirst of the new\n"
    log.write_text("cut\n")
    assert tail.read()[0] == b"cut\n"
    log.unlink()
    assert tail.read()[0] == b""
    log.write_text("back\n")
    assert tail.read()[0] == b"back\n"


def test_a_log_that_is_far_ahead_is_read_on_from_its_end_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "LATE_LOG", 1000)
    monkeypatch.setattr(look, "MOST_LOG", 100)
    log = tmp_path / "maillog"
    log.write_text("")
    tail = look.Tail(str(log))
    log.write_text("x" * 9 + "\n" + "y" * 2000)
    assert tail.read() == (b"", True)
    append(log, "\n" + "a line\n" * 40)
    looks = [tail.read() for _ in range(6)]
    assert not looks[0][1] and len(looks[0][0]) <= 100
    assert b"".join(data for data, _missed in looks[1:]).endswith(b"a line\n"), "what was not read comes with the next"


def message(path, arrived):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"C" + bytes([30]) + b" " * 30 + b"T\x11%d 123456" % arrived)


def test_a_queue_is_counted_with_its_hashed_directories_and_its_oldest_message(tmp_path):
    message(tmp_path / "deferred" / "A" / "A12", 2000)
    message(tmp_path / "deferred" / "B" / "B12", 1000)
    queue = look.Queue(str(tmp_path / "deferred"), True)
    assert queue.look() == [2, 1000]
    (tmp_path / "deferred" / "B" / "B12").unlink()
    queue.due = 0
    assert queue.look() == [1, 2000] and queue.count(1) == 1


def test_a_queue_that_is_not_there_is_unknown(tmp_path):
    queue = look.Queue(str(tmp_path / "none"), True)
    assert queue.look() is None and queue.count(5) == 0


def test_a_large_queue_costs_a_share_and_what_is_counted_and_remembered_is_bounded(tmp_path, monkeypatch):
    for number in range(60):
        message(tmp_path / "deferred" / f"F{number:03}", 5000 + number)
    monkeypatch.setattr(look, "NEW_AGES", 10)
    queue = look.Queue(str(tmp_path / "deferred"), True)
    queue.look()
    assert len([at for at in queue.arrived.values() if at]) == 10
    due = queue.due
    assert due > time.monotonic(), "the next look waits a hundred times as long as this one took"
    (tmp_path / "deferred" / "F000").unlink()
    assert queue.look()[0] == 60, "until then the number stays"
    monkeypatch.setattr(look, "MOST_NAMES", 50)
    queue.due = 0
    assert queue.look()[0] == 50


def test_daemons_that_do_not_run_are_left_out_and_a_missing_table_is_unknown(tmp_path, monkeypatch):
    (tmp_path / "log").write_text("")
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "master.pid").write_text("       8\n")
    one = look.Look(
        {
            "maillog": str(tmp_path / "log"),
            "queue_directory": str(tmp_path),
            "main_cf": "/none/main.cf",
            "named_conf": "/none/named.conf",
            "restart": [],
            "down_seconds": 60,
        }
    )
    printed = {"ps": "1 0 init\n", "procstat": ""}
    table = None
    monkeypatch.setattr(look, "words", lambda *argv, **more: printed[argv[0]])
    monkeypatch.setattr(look, "run", lambda *argv: table)
    assert one.processes() == {}
    printed["ps"] = ""
    assert one.processes() is None, "a ps(1) that did not end is not a host without processes"
    printed["ps"] = "5 1 named\n8 1 master\n9 8 smtp\n"
    assert one.processes() == {"named": [None, None, None], "postfix": [None, None, None], "smtp": 1}
    table = xfile(5, 2) * 7 + xfile(8, 2) * 3 + xfile(9, 1) * 2
    printed["procstat"] = "8 master openfiles 1000 1000\n9 smtp openfiles 2 2\n5 named openfiles 9 9\n"
    # smtp is nearer its limit than master, which holds more
    assert one.processes() == {"named": [7, 7, 9], "postfix": [3, 2, 2], "smtp": 1}


# ---- the sampler as a whole, without its other half ----


class Steps(sampler.Sampler):
    """A sampler whose root half and commands are made up."""

    def __init__(self, tmp_path, **settings):
        channel = types.SimpleNamespace(makefile=lambda mode: None)
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "samples.csv").touch()
        super().__init__(
            {
                "directory": str(tmp_path),
                "busy_seconds": 5,
                "idle_seconds": 60,
                "statistics_address": "127.0.0.1",
                "statistics_port": 8053,
                "named_conf": str(tmp_path / "named.conf"),
                "main_cf": str(tmp_path / "main.cf"),
                "maillog": str(tmp_path / "log" / "maillog"),
                "queue_directory": str(tmp_path / "queue"),
                **SETTINGS,
                **settings,
            },
            channel,
        )
        self.told = {"log": 0, "messages": 0}
        self.whole = {
            "queue": {name: [0, None] for name in samples.QUEUES},
            "processes": {},
            "certificate": None,
            "started": [],
            "starts": None,
            "recursive_clients": 20000,
            "bytes": 0,
            "missed": False,
        }
        self.lines, self.counters = b"", None

    def ask(self, what):
        return (dict(self.told), b"") if what == b"p" else (self.whole, self.lines)


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(at=1000.0)
    monkeypatch.setattr(sampler.time, "monotonic", lambda: now.at)
    monkeypatch.setattr(sampler.time, "time", lambda: now.at + 1795897000)
    return now


@pytest.fixture
def steps(tmp_path, clock, monkeypatch):
    made = Steps(tmp_path)
    monkeypatch.setattr(freebsd, "kernel", dict)
    monkeypatch.setattr(freebsd, "enabled", lambda service: False)
    monkeypatch.setattr(freebsd, "ask_named", lambda address, port: made.counters)
    return made


def test_every_few_seconds_during_a_delivery_and_every_minute_otherwise(steps, clock):
    rows = []
    for second in range(0, 600, 5):
        clock.at = 1000 + second
        # one message with many recipients: one in active, but the log grows
        if 200 <= second < 300:
            steps.told["log"] += 20000
        found = steps.step()
        if found:
            rows.append((second, found["seconds"]))
    assert [second for second, _seconds in rows if second < 200] == [5, 65, 125, 185]
    assert {seconds for second, seconds in rows if 205 < second < 360} == {5.0}
    assert [seconds for second, seconds in rows if second > 370] == [60.0] * 4
    steps.told["messages"] = 12
    clock.at += 5
    assert steps.step(), "ten messages in the queue are a delivery as well"


def test_daemons_that_are_stopped_leave_fields_empty_and_never_zero(steps):
    steps.whole["queue"] = dict.fromkeys(samples.QUEUES)
    found = steps.measure(5)
    assert {name for name, value in found.items() if value is not None} == {"time", "seconds", *samples.COUNTED}
    # a log that was not read is not a log without lines
    steps.whole["missed"] = True
    assert all(steps.measure(5)[name] is None for name in samples.COUNTED)


@pytest.mark.parametrize(
    "processes, enabled, found",
    [
        ({"named": [5, 9, 100], "postfix": [1, 2, 3], "smtp": 0}, True, (1, 1)),
        ({"named": [5, 9, 100]}, True, (1, 0)),
        ({}, False, (None, None)),
        # ps(1) said nothing
        (None, True, (None, None)),
    ],
)
def test_what_should_run_and_does_not_is_zero_and_what_is_disabled_unknown(
    steps, monkeypatch, processes, enabled, found
):
    monkeypatch.setattr(freebsd, "enabled", lambda service: enabled)
    monkeypatch.setattr(freebsd, "process_limit", lambda: 500)
    steps.whole["processes"] = processes
    row = steps.measure(5)
    assert (row["named_running"], row["postfix_running"], row["greylist_running"]) == (*found, None)


def test_a_greylisting_service_runs_where_all_of_it_accepts_connections(steps, monkeypatch):
    monkeypatch.setattr(freebsd, "enabled", lambda service: service == "sokuhai_postgrey")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        steps.settings["greylist"] = ["127.0.0.1:%d" % each.getsockname()[1] for each in (one, other)]
        assert steps.measure(5)["greylist_running"] == 1
        other.close()
        assert steps.measure(5)["greylist_running"] == 0


def test_a_signer_runs_where_the_process_of_its_pid_file_does(steps, monkeypatch, tmp_path):
    monkeypatch.setattr(freebsd, "enabled", lambda service: service == "sokuhai_dkim")
    pidfile = tmp_path / "pid"
    steps.settings["dkim"] = str(pidfile)
    found = []
    for text in (str(os.getpid()), "1", "", "2147483600"):
        pidfile.write_text(text)
        found.append(steps.measure(5)["dkim_running"])
    pidfile.unlink()
    assert [*found, steps.measure(5)["dkim_running"]] == [1, 1, 0, 0, 0]


def test_a_daemon_of_policies_that_is_down_is_zero(steps, monkeypatch):
    monkeypatch.setattr(freebsd, "enabled", lambda service: service == "mta_sts")
    with socket.create_server(("127.0.0.1", 0)) as one:
        steps.settings["mta_sts"] = ["127.0.0.1:%d" % one.getsockname()[1]]
        assert steps.measure(5)["mta_sts_running"] == 1
    assert steps.measure(5)["mta_sts_running"] == 0


def test_what_may_be_about_to_be_an_alarm_is_looked_at_often(steps, clock, monkeypatch):
    monkeypatch.setattr(freebsd, "enabled", lambda service: service == "named")
    rows = {second: found for second in range(0, 90, 5) if (found := stepped(steps, clock, second))}
    assert list(rows)[:3] == [5, 10, 15] and steps.alerts.state["over"] == {"named_down": 1795897000 + 1065}


def stepped(steps, clock, second):
    clock.at = 1000 + second
    return steps.step()


def test_the_certificate_that_ends_first_counts_and_is_read_again_when_it_was_written(tmp_path, steps, monkeypatch):
    paths = [tmp_path / "a.pem", tmp_path / "b.pem"]
    ends = {str(paths[0]): "Mar  4 08:49:00 2029 GMT", str(paths[1]): "Dec 11 00:00:00 2026 GMT"}
    paths[0].touch()

    def words(command, *argv):
        if command == "postconf":
            return "\n%s, %s\n" % tuple(paths) if argv[0] == "-hx" else "none\n%s\n" % paths[1]
        return "notAfter=%s\n" % ends[argv[2]] if (tmp_path / argv[2]).exists() else ""

    monkeypatch.setattr(certificate, "words", words)
    found = certificate.Certificates(str(tmp_path / "main.cf"))
    # the other one is not there
    assert found.end() == 1867308540
    paths[1].touch()
    assert found.end() == 1796947200
    ends[str(paths[1])] = "rubbish"
    assert found.end() == 1796947200, "not read again before somebody writes it"
    os.utime(paths[1], (1, 1))
    assert found.end() == 1867308540
    steps.whole["certificate"] = 1795898000 + 9 * 86400 + 5
    assert steps.measure(5)["certificate_days"] == 9


def test_named_counts_are_of_the_interval_also_when_named_was_restarted(steps, tmp_path):
    steps.whole["processes"] = {"named": [5, 9, 100]}
    answers = [(100, 7, 3, "a"), (150, 9, 0, "a"), (150, 9, 0, "a"), (4, 1, 0, "b")]
    found = []
    for answer in answers:
        steps.counters = dict(zip(("queries", "servfail", "recursing", "boot"), answer))
        found.append(steps.measure(5))
    assert [(one["named_queries"], one["named_servfail"]) for one in found] == [(None, None), (50, 2), (0, 0), (4, 1)]
    assert (found[0]["named_recursive_clients"], found[0]["named_recursive_clients_limit"]) == (3, 20000)
    steps.counters = None
    assert steps.measure(5)["named_queries"] is None


def test_a_named_that_runs_answers_or_not_and_is_asked_where_it_should(steps, monkeypatch):
    asked = []
    monkeypatch.setattr(freebsd, "answers", lambda address: bool(asked.append(address)))
    steps.settings["named"] = "::1"
    assert steps.measure(5)["named_answering"] is None, "a named that does not run is not one that is silent"
    steps.whole["processes"] = {"named": [5, 9, 100]}
    assert steps.measure(5)["named_answering"] == 0 and asked == ["::1"]
    steps.settings["named"] = ""
    assert steps.measure(5)["named_answering"] is None


def test_a_named_that_answers_nothing_is_reported_once(steps, monkeypatch):
    said = []
    monkeypatch.setattr(sampler.syslog, "syslog", lambda _priority, text: said.append(text))

    def after(looks):
        for _ in range(looks):
            steps.measure(5)
        return len(said)

    assert after(1) == 0, "a named that does not run is not one that is silent"
    steps.whole["processes"] = {"named": [5, 9, 100]}
    assert after(2) == 0, "it may just be starting"
    assert after(10) == 1 and "127.0.0.1 port 8053" in said[0]
    steps.counters = {"queries": 1, "servfail": 0, "recursing": 0, "boot": "a"}
    assert after(10) == 2 and "again" in said[1]


def test_a_named_whose_counters_nobody_wants_is_not_reported(steps, tmp_path, monkeypatch):
    said, quiet = [], Steps(tmp_path, statistics_port=0)
    monkeypatch.setattr(sampler.syslog, "syslog", lambda _priority, text: said.append(text))
    quiet.whole["processes"] = {"named": [5, 9, 100]}
    for _ in range(10):
        quiet.measure(5)
    assert said == []


def test_ages_of_queues(steps):
    steps.whole["queue"].update(incoming=[1, 1795897990], active=[2, None], deferred=[0, None])
    found = steps.measure(5)
    assert (found["age_incoming"], found["age_active"], found["age_deferred"]) == (10, None, 0)
