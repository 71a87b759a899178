# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: what it makes of log lines and of what FreeBSD prints, when it warns, and that full disks, rotation and silent daemons cost no more than they must."""

import errno
import os
import pathlib
import re
import struct
import time
import types

import jinja2
import pytest
from role_modules import load, util

ROOT = pathlib.Path(__file__).resolve().parents[2]
monitor = load("roles/monitor/files/monitor.py")
reader = load("roles/monitor/library/monitor_read.py")
problems = load("roles/monitor/filter_plugins/monitor.py").problems
HEAD = "Nov 28 20:06:08 mx "
TO = "postfix/smtp[820]: 4F2A1: to=<a@d0001.test>, relay=none, delay=1, delays=0/0/1/0, dsn=%s, status=%s (%s)"


# ---- the log ----


@pytest.mark.parametrize(
    "line, columns",
    [
        (TO % ("2.0.0", "sent", "250 2.0.0 Ok: queued as 12"), ("mails_out",)),
        (
            "postfix/local[9]: A1: to=<root@home.example>, relay=local, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)",
            ("mails_out",),
        ),
        (TO % ("5.1.1", "bounced", "host a[192.0.2.1] said: 550 5.1.1 no"), ("mails_bounced",)),
        ("postfix/qmgr[9]: A1: from=<a@b>, status=expired, returned to sender", ("mails_bounced",)),
        (
            TO
            % (
                "4.4.3",
                "deferred",
                "Host or domain name not found. Name service error for name=d.test type=MX: Host not found, try again",
            ),
            ("mails_deferred", "deferred_dns"),
        ),
        (
            TO
            % (
                "4.3.5",
                "deferred",
                "delivery temporarily suspended: Host or domain name not found. Name service error for name=d type=A: x",
            ),
            ("mails_deferred", "deferred_dns"),
        ),
        (
            TO % ("4.4.1", "deferred", "connect to mx.d.test[192.0.2.9]:25: Connection timed out"),
            ("mails_deferred", "deferred_connect"),
        ),
        (
            TO
            % (
                "4.4.1",
                "deferred",
                "delivery temporarily suspended: connect to mx.d.test[192.0.2.9]:25: Connection refused",
            ),
            ("mails_deferred", "deferred_connect"),
        ),
        (
            TO
            % (
                "4.4.2",
                "deferred",
                "lost connection with mx.d.test[192.0.2.9] while receiving the initial server greeting",
            ),
            ("mails_deferred", "deferred_connect"),
        ),
        (
            TO
            % (
                "4.2.0",
                "deferred",
                "host mx.d.test[192.0.2.9] said: 450 4.2.0 <a@d>: Recipient address rejected: Greylisted, see x (in reply to RCPT TO command)",
            ),
            ("mails_deferred", "deferred_greylisted"),
        ),
        (
            TO
            % (
                "4.2.2",
                "deferred",
                "host mx.d.test[192.0.2.9] said: 452 4.2.2 mailbox full (in reply to RCPT TO command)",
            ),
            ("mails_deferred", "deferred_refused"),
        ),
        (
            TO
            % ("4.7.0", "deferred", "host mx.d.test[192.0.2.9] refused to talk to me: 421 4.7.0 too many connections"),
            ("mails_deferred", "deferred_refused"),
        ),
        # the other host's words about DNS are not this host's DNS
        (
            TO
            % (
                "4.1.8",
                "deferred",
                "host mx.d.test[192.0.2.9] said: 450 4.1.8 <a@b>: Sender address rejected: Domain not found, host not found",
            ),
            ("mails_deferred", "deferred_refused"),
        ),
        (TO % ("4.3.0", "deferred", "mail transport unavailable"), ("mails_deferred", "deferred_other")),
        ("postfix/cleanup[7]: 4F2A1: message-id=<1@home.example>", ("mails_in",)),
        (
            "postfix/cleanup[7]: 4F2A1: reject: header Subject: x from h[192.0.2.1]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>: 5.7.1 no",
            ("mails_rejected",),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 5.7.1 <c@d>: Relay access denied; from=<a@b> to=<c@d> proto=ESMTP helo=<x>",
            ("mails_rejected",),
        ),
        ("postfix/submission/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 554 5.7.1 x", ("mails_rejected",)),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 450 4.1.8 <a@b>: Sender address rejected: Domain not found",
            ("mails_put_off",),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 450 4.2.0 <c@d>: Recipient address rejected: Greylisted, please try again in 15 seconds",
            (),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test; x",
            ("mails_rejected", "dnsbl_hits"),
        ),
        ("postfix/smtpd[7]: NOQUEUE: reject_warning: RCPT from h[192.0.2.1]: 554 5.7.1 x", ()),
        ("postfix/postscreen[7]: DNSBL rank 3 for [192.0.2.1]:4711", ("dnsbl_hits",)),
        ("postfix/postscreen[7]: PREGREET 11 after 0.1 from [192.0.2.1]:4711: EHLO x", ("postscreen_hits",)),
        (
            "postfix/postscreen[7]: NOQUEUE: reject: RCPT from [192.0.2.1]:4711: 550 5.7.1 Service unavailable; client [192.0.2.1] blocked using bl.test; from=<a@b>",
            ("mails_rejected", "postscreen_hits"),
        ),
        ("postfix/postscreen[7]: PASS NEW [192.0.2.1]:4711", ()),
        (
            "postgrey[593]: action=greylist, reason=new, client_name=x, client_address=192.0.2.1, sender=a@b, recipient=c@d",
            ("greylist_hits",),
        ),
        ("postgrey[593]: action=pass, reason=triplet found, client_name=x", ()),
        (
            "policyd-spf[5]: prepend Received-SPF: Fail (mailfrom) identity=mailfrom; client-ip=192.0.2.1",
            ("spf_fails",),
        ),
        ("policyd-spf[5]: prepend Received-SPF: Softfail (mailfrom) identity=mailfrom", ()),
        ("policyd-spf[5]: 550 5.7.23 Message rejected due to: SPF fail - not authorized. Please see x", ("spf_fails",)),
        ("postfix/policy-spf[5]: Policy action=PREPEND Received-SPF: fail (x)", ("spf_fails",)),
        # a client may choose its HELO and addresses
        ("postfix/smtpd[7]: connect from status=sent.test[192.0.2.1]", ()),
        ("sshd[1]: x status=sent (250)", ()),
    ],
)
def test_what_a_line_counts_as(line, columns):
    assert monitor.classify(HEAD + line) == columns
    assert (
        monitor.classify(
            "<22>1 2026-11-28T20:06:08.1+09:00 mx.home.example " + re.sub(r"\[(\d+)\]:", r" \1 - -", line, count=1)
        )
        == columns
    )


def test_every_column_that_is_counted_is_one_of_the_file_and_what_a_line_counts_as_is_counted():
    source = (ROOT / "roles/monitor/files/monitor.py").read_text()
    assert set(monitor.COUNTED) <= set(monitor.COLUMNS) and len(set(monitor.COLUMNS)) == len(monitor.COLUMNS)
    assert set(
        re.findall(
            r'"((?:mails|deferred|greylist|dnsbl|postscreen|spf)_\w+)"',
            source[source.index("def reason") : source.index("class Counts")],
        )
    ) == set(monitor.COUNTED)


def test_repetitions_that_syslogd_folded_are_counted():
    counts = monitor.Counts()
    line = HEAD + "postgrey[1]: action=greylist, reason=new\n"
    counts.add((line + HEAD + "last message repeated 4 times\n").encode())
    counts.add(
        (
            HEAD
            + "last message repeated 2 times\n"
            + HEAD
            + "postfix/smtpd[1]: connect from x\n"
            + HEAD
            + "last message repeated 9 times\n"
        ).encode()
    )
    assert counts.take()["greylist_hits"] == 7
    assert set(counts.take().values()) == {0}


# ---- ceilings ----

SETTINGS = {"ceiling_percent": 80, "deferred_dns": 50, "quiet": 60}


def play(rows, settings=SETTINGS):
    """Feed (time, {column: value}) one after the other; return [(time, name, over)]."""
    state, told = {}, []
    for at, values in rows:
        transitions, state = monitor.ceilings({"time": at, **values}, state, settings)
        told += [(at, entry["name"], entry["over"]) for entry in transitions]
    return told


def named(value):
    return {"named_descriptors": value, "named_descriptors_limit": 100}


def test_a_crossing_is_told_once_and_its_end_once():
    rows = [
        (0, named(79)),
        (5, named(80)),
        (10, named(99)),
        (15, named(69)),
        (70, named(20)),
        (80, named(0)),
        (200, named(0)),
    ]
    assert play(rows) == [(5, "named_descriptors", True), (80, "named_descriptors", False)]


def test_what_goes_up_and_down_is_not_told_each_time():
    rows = [(at, named(85 if at % 20 else 30)) for at in range(0, 400, 5)] + [
        (at, named(10)) for at in range(400, 500, 5)
    ]
    assert [entry[1:] for entry in play(rows)] == [("named_descriptors", True), ("named_descriptors", False)]


def test_between_the_two_marks_nothing_ends():
    assert play([(0, named(90)), (100, named(75)), (300, named(71))]) == [(0, "named_descriptors", True)]


def test_what_is_unknown_changes_nothing():
    gone = {"named_descriptors": None, "named_descriptors_limit": None}
    assert play([(0, named(90)), (100, gone), (500, gone), (505, named(10)), (566, named(10))]) == [
        (0, "named_descriptors", True),
        (566, "named_descriptors", False),
    ]


def test_dns_deferrals_add_up_over_ten_minutes():
    rows = [(at, {"deferred_dns": 10}) for at in range(0, 60, 10)] + [
        (at, {"deferred_dns": 0}) for at in range(60, 1000, 10)
    ]
    told = play(rows)
    assert (
        told[0] == (40, "deferred_dns", True)
        and told[1][1:] == ("deferred_dns", False)
        and 600 < told[1][0] <= 720
        and len(told) == 2
    )
    assert play(rows, dict(SETTINGS, deferred_dns=0)) == []


def test_a_ceiling_that_is_no_longer_watched_is_forgotten_without_a_word():
    over = {"deferred_dns": 1, "an_old_one": 1, "named_descriptors": 1}
    told, state = monitor.ceilings({"time": 9}, {"over": over}, dict(SETTINGS, deferred_dns=0))
    assert told == [] and state["over"] == {"named_descriptors": 1}
    assert monitor.ceilings({"time": 9, "deferred_dns": 45}, {"over": over}, SETTINGS)[1]["over"] == {
        "deferred_dns": 1,
        "named_descriptors": 1,
    }


def test_smtp_processes_may_fill_their_limit():
    assert play([(0, {"postfix_processes": 500, "postfix_processes_limit": 500})]) == []


def test_a_clock_that_was_set_back_does_not_hold_a_ceiling():
    assert play([(1000, named(90)), (1005, named(1)), (10, named(1))])[-1] == (10, "named_descriptors", False)


def test_the_state_outlives_a_restart_and_neither_argument_is_changed(tmp_path):
    row, state = {"time": 5, **named(90)}, {}
    told, new = monitor.ceilings(row, state, SETTINGS)
    assert state == {} and row == {"time": 5, **named(90)} and len(told) == 1
    keep = monitor.Keep(str(tmp_path / "state.json"))
    keep.state = new
    keep.write()
    again = monitor.Keep(str(tmp_path / "state.json"))
    assert monitor.ceilings({"time": 10, **named(95)}, again.state, SETTINGS)[0] == []
    (tmp_path / "state.json").write_text("{")
    assert monitor.Keep(str(tmp_path / "state.json")).state == {}


def test_the_sentence_names_value_limit_and_host():
    told, _state = monitor.ceilings({"time": 5, **named(90)}, {}, SETTINGS)
    assert (
        monitor.sentence(told[0], "mx.home.example")
        == "mx.home.example: ceiling is near: descriptors of named, 90 of 100 (90 %)"
    )


# ---- what FreeBSD prints ----


def xfile(pid, kind):
    return struct.pack("=QiIiiQhh", 128, pid, 53, 3, 0, 0, kind, 0).ljust(128, b"\0")


def test_descriptors_and_sockets_are_counted_by_process():
    table = xfile(7, 2) * 3 + xfile(7, 1) + xfile(9, 1)
    assert monitor.count_files(table) == {7: [4, 3], 9: [1, 0]}
    assert monitor.count_files(table + b"half a row") == {7: [4, 3], 9: [1, 0]}


@pytest.mark.parametrize("table", [b"", b"short", struct.pack("=Q", 56) * 40])
def test_a_table_of_another_form_is_unknown(table):
    assert monitor.count_files(table) is None


def test_limits_and_processes():
    assert monitor.parse_rlimits(
        "  PID COMM             RLIMIT                  SOFT             HARD     \n  374 named            openfiles              20000            20000     \n"
        "  375 named            openfiles              infinity         infinity  \n  374 named  maxprocesses 5 5\n"
    ) == {374: 20000}
    assert monitor.parse_processes("  1     0 init\n 807     1 master\n813 807 smtp\nrubbish\n") == {
        1: (0, "init"),
        807: (1, "master"),
        813: (807, "smtp"),
    }


def test_swap():
    assert monitor.parse_swap(
        "Device          1K-blocks     Used    Avail Capacity\n/dev/ada0p3       1000      10    990     1%\n/dev/ada1p3  500 5 495 1%\nTotal 1500 15 1485 1%\n"
    ) == (15360, 1536000)
    assert monitor.parse_swap("Device          1K-blocks     Used    Avail Capacity\n") == (0, 0)
    assert monitor.parse_swap("") is None


def test_named_counters_and_what_is_none():
    assert monitor.parse_named(
        b'{"boot-time": "x", "opcodes": {"QUERY": 7}, "rcodes": {"SERVFAIL": 2}, "nsstats": {"RecursClients": 3}}'
    ) == {"queries": 7, "servfail": 2, "recursing": 3, "boot": "x"}
    assert (
        monitor.parse_named(b'{"boot-time": "x", "opcodes": {"QUERY": 7}, "rcodes": {"SERVFAIL": 2}}')["recursing"] == 0
    )
    assert monitor.parse_named(b"404 No such URL.") is monitor.parse_named(b"") is monitor.parse_named(b"[]") is None


@pytest.mark.parametrize("value", ['"7"', "null", "true", "-1", "1e99", "NaN", "[7]", "9" * 30])
def test_what_somebody_else_on_nameds_port_says_is_a_number_or_nothing(value):
    assert (
        monitor.parse_named(b'{"boot-time": "x", "opcodes": {"QUERY": %s}, "rcodes": {"SERVFAIL": 2}}' % value.encode())
        is None
    )
    assert (
        monitor.parse_named(
            b'{"boot-time": "x", "opcodes": {"QUERY": 1}, "rcodes": {"SERVFAIL": 2}, "nsstats": %s}' % value.encode()
        )
        is None
    )
    assert monitor.parse_named(b"[" * 100000) is None


def test_what_a_command_that_failed_has_printed_is_kept_where_that_is_asked_for():
    assert (
        monitor.words("sh", "-c", "echo 5; exit 1", check=False) == "5\n"
        and monitor.words("sh", "-c", "echo 5; exit 1") == ""
    )


def test_arrival_is_read_from_the_queue_files_own_record():
    size = b"C" + bytes([93]) + b" " * 93
    assert monitor.arrival(size + b"T\x111795897222 123456" + b"A\x03abc") == 1795897222
    assert monitor.arrival(b"T\x0a1795897222") == 1795897222
    assert (
        monitor.arrival(b"")
        is monitor.arrival(b"From nobody")
        is monitor.arrival(size)
        is monitor.arrival(b"C\xff\xff\xff")
        is None
    )


# ---- the part that is root ----


def test_the_log_is_followed_over_its_being_turned_over(tmp_path):
    log = tmp_path / "maillog"
    log.write_text("before\n")
    tail = monitor.Tail(str(log))
    assert tail.read() == (b"", False)
    with log.open("a") as file:
        file.write("one\ntw")
    assert tail.read()[0] == b"one\n"
    with log.open("a") as file:
        file.write("o\nlast of the old\n")
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
    monkeypatch.setattr(monitor, "LATE_LOG", 1000)
    monkeypatch.setattr(monitor, "MOST_LOG", 100)
    log = tmp_path / "maillog"
    log.write_text("")
    tail = monitor.Tail(str(log))
    log.write_text("x" * 9 + "\n" + "y" * 2000)
    assert tail.read() == (b"", True)
    with log.open("a") as file:
        file.write("\n" + "a line\n" * 40)
    data, missed = tail.read()
    assert not missed and len(data) <= 100
    assert b"".join(tail.read()[0] for _ in range(5)).endswith(b"a line\n"), (
        "what was not read comes with the next looks"
    )


def message(path, arrived):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"C" + bytes([30]) + b" " * 30 + b"T\x11%d 123456" % arrived)


def test_a_queue_is_counted_with_its_hashed_directories_and_its_oldest_message(tmp_path):
    message(tmp_path / "deferred" / "A" / "A12", 2000)
    message(tmp_path / "deferred" / "B" / "B12", 1000)
    queue = monitor.Queue(str(tmp_path / "deferred"), True)
    assert queue.look() == [2, 1000]
    (tmp_path / "deferred" / "B" / "B12").unlink()
    queue.due = 0
    assert queue.look() == [1, 2000]
    assert queue.count(1) == 1
    assert (
        monitor.Queue(str(tmp_path / "none"), True).look() is None
        and monitor.Queue(str(tmp_path / "none"), True).count(5) == 0
    )


def test_a_large_queue_costs_a_share_and_what_is_counted_and_remembered_is_bounded(tmp_path, monkeypatch):
    for number in range(60):
        message(tmp_path / "deferred" / f"F{number:03}", 5000 + number)
    monkeypatch.setattr(monitor, "NEW_AGES", 10)
    queue = monitor.Queue(str(tmp_path / "deferred"), True)
    queue.look()
    assert len([at for at in queue.arrived.values() if at]) == 10
    due = queue.due
    assert due > time.monotonic(), "the next look waits a hundred times as long as this one took"
    (tmp_path / "deferred" / "F000").unlink()
    assert queue.look()[0] == 60, "until then the number stays"
    monkeypatch.setattr(monitor, "MOST_NAMES", 50)
    queue.due = 0
    assert queue.look()[0] == 50


def test_daemons_that_do_not_run_are_left_out_and_a_missing_table_is_unknown(tmp_path, monkeypatch):
    (tmp_path / "log").write_text("")
    look = monitor.Look({"maillog": str(tmp_path / "log"), "queue_directory": str(tmp_path)})
    monkeypatch.setattr(monitor, "words", lambda *argv, **more: "1 0 init\n")
    monkeypatch.setattr(monitor, "run", lambda *argv: None)
    assert look.processes() == {}
    monkeypatch.setattr(
        monitor, "words", lambda *argv, **more: "5 1 named\n8 1 master\n9 8 smtp\n" if argv[0] == "ps" else ""
    )
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "master.pid").write_text("       8\n")
    assert look.processes() == {"named": [None, None, None], "postfix": [None, None, None], "smtp": 1}
    monkeypatch.setattr(monitor, "run", lambda *argv: xfile(5, 2) * 7 + xfile(8, 2) * 3 + xfile(9, 1) * 2)
    monkeypatch.setattr(
        monitor,
        "words",
        lambda *argv, **more: (
            "5 1 named\n8 1 master\n9 8 smtp\n"
            if argv[0] == "ps"
            else "8 master openfiles 1000 1000\n9 smtp openfiles 2 2\n5 named openfiles 9 9\n"
        ),
    )
    assert look.processes() == {"named": [7, 7, 9], "postfix": [3, 2, 2], "smtp": 1}, (
        "smtp is nearer its limit than master, which holds more"
    )


# ---- the file ----


def row(at, **values):
    return dict(dict.fromkeys(monitor.COLUMNS), time=at, seconds=5.0, **values)


def test_a_line_a_sample_and_a_header_whenever_the_file_is_new(tmp_path):
    (tmp_path / "samples.csv").touch()
    samples = monitor.Samples(str(tmp_path / "samples.csv"))
    samples.append(row(1, files=7))
    samples.append(row(2))
    (tmp_path / "samples.csv").rename(tmp_path / "samples.csv.0")
    (tmp_path / "samples.csv").touch()
    samples.append(row(3))
    lines = (tmp_path / "samples.csv").read_text().splitlines()
    assert lines[0].split(",") == list(monitor.COLUMNS) and lines[1].startswith("3,5.0,,") and len(lines) == 2
    assert len((tmp_path / "samples.csv.0").read_text().splitlines()) == 3


def test_a_full_disk_costs_the_line_and_is_told_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(monitor.syslog, "syslog", lambda *what: said.append(what[1]))
    (tmp_path / "samples.csv").touch()
    samples = monitor.Samples(str(tmp_path / "samples.csv"))
    samples.append(row(1))
    write = os.write

    def full(handle, data):
        write(handle, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(monitor.os, "write", full)
    samples.append(row(2))
    samples.append(row(3))
    monkeypatch.setattr(monitor.os, "write", write)
    samples.append(row(4))
    assert len(said) == 2 and "No space left" in said[0] and "written again" in said[1]
    found = reader.collect(str(tmp_path), 10, 400, 10)
    assert found["columns"]["time"] == [1, 4] and found["broken"] == 2


def test_where_newsyslog_does_not_run_the_file_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "MOST_FILE", 2000)
    (tmp_path / "samples.csv").touch()
    samples = monitor.Samples(str(tmp_path / "samples.csv"))
    for at in range(201):
        samples.append(row(at))
    assert [path.name for path in tmp_path.iterdir()] == ["samples.csv"] and 0 < (
        tmp_path / "samples.csv"
    ).stat().st_size < 4000


def test_columns_of_another_version_get_a_header_of_their_own(tmp_path):
    (tmp_path / "samples.csv").write_text("time,seconds,gone\n1,5.0,9\n2,5.0")
    monitor.Samples(str(tmp_path / "samples.csv")).append(row(3, files=4))
    found = reader.collect(str(tmp_path), 10, 400, 10)
    assert found["columns"]["gone"] == [9, None] and found["columns"]["files"] == [None, 4] and found["broken"] == 1


# ---- the sampler as a whole, without its other half ----


class Steps(monitor.Monitor):
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
                "statistics_port": 8053,
                "named_conf": str(tmp_path / "named.conf"),
                "main_cf": str(tmp_path / "main.cf"),
                "ceiling_percent": 80,
                "deferred_dns": 50,
                "quiet": 60,
                "alert_to": [],
                **settings,
            },
            channel,
        )
        self.told = {"log": 0, "messages": 0}
        self.whole = {
            "queue": {name: [0, None] for name in monitor.QUEUES},
            "processes": {},
            "bytes": 0,
            "missed": False,
        }
        self.lines, self.counters = b"", None

    def ask(self, what):
        return (dict(self.told), b"") if what == b"p" else (self.whole, self.lines)

    def ask_named(self):
        return self.counters

    def kernel(self):
        return {}


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(at=1000.0)
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now.at)
    monkeypatch.setattr(monitor.time, "time", lambda: now.at + 1795897000)
    return now


def test_every_few_seconds_during_a_delivery_and_every_minute_otherwise(tmp_path, clock):
    steps = Steps(tmp_path)
    rows = []
    for second in range(0, 600, 5):
        clock.at = 1000 + second
        # one message with many recipients: one in active, but the log grows
        if 200 <= second < 300:
            steps.told["log"] += 20000
        found = steps.step()
        if found:
            rows.append((second, found["seconds"]))
    idle = [second for second, _seconds in rows if second < 200]
    assert idle == [5, 65, 125, 185]
    assert {seconds for second, seconds in rows if 205 < second < 360} == {5.0}
    assert [seconds for second, seconds in rows if second > 370] == [60.0] * 4
    steps.told["messages"] = 12
    clock.at += 5
    assert steps.step(), "ten messages in the queue are a delivery as well"


def test_daemons_that_are_stopped_leave_fields_empty_and_never_zero(tmp_path, clock):
    steps = Steps(tmp_path)
    steps.whole["queue"] = dict.fromkeys(monitor.QUEUES)
    found = steps.measure(5)
    assert {name for name, value in found.items() if value is not None} == {"time", "seconds", *monitor.COUNTED}
    steps.whole["missed"] = True
    assert all(steps.measure(5)[name] is None for name in monitor.COUNTED), (
        "a log that was not read is not a log without lines"
    )


def test_named_counts_are_of_the_interval_also_when_named_began_anew(tmp_path, clock):
    steps = Steps(tmp_path)
    (tmp_path / "named.conf").write_text("options {\n\t# recursive-clients 5;\n\trecursive-clients 20000;\n};\n")
    steps.whole["processes"] = {"named": [5, 9, 100]}
    steps.counters = {"queries": 100, "servfail": 7, "recursing": 3, "boot": "a"}
    first = steps.measure(5)
    assert (
        first["named_queries"] is None
        and first["named_recursive_clients"] == 3
        and first["named_recursive_clients_limit"] == 20000
    )
    steps.counters = {"queries": 150, "servfail": 9, "recursing": 0, "boot": "a"}
    assert (steps.measure(5)["named_queries"], steps.measure(5)["named_servfail"]) == (50, 0)
    steps.counters = {"queries": 4, "servfail": 1, "recursing": 0, "boot": "b"}
    assert steps.measure(5)["named_queries"] == 4
    steps.counters = None
    assert steps.measure(5)["named_queries"] is None


def test_a_named_that_tells_nothing_is_told_of_once(tmp_path, clock, monkeypatch):
    told = []
    monkeypatch.setattr(monitor.syslog, "syslog", lambda _priority, text: told.append(text))
    steps = Steps(tmp_path)
    steps.measure(5)
    assert told == [], "a named that does not run is not one that is silent"
    steps.whole["processes"] = {"named": [5, 9, 100]}
    for _ in range(2):
        steps.measure(5)
    assert told == [], "it may just be starting"
    for _ in range(10):
        steps.measure(5)
    assert len(told) == 1 and "127.0.0.1:8053" in told[0]
    steps.counters = {"queries": 1, "servfail": 0, "recursing": 0, "boot": "a"}
    for _ in range(10):
        steps.measure(5)
    assert len(told) == 2 and "again" in told[1]
    quiet = Steps(tmp_path, statistics_port=0)
    quiet.whole["processes"] = {"named": [5, 9, 100]}
    for _ in range(10):
        quiet.measure(5)
    assert len(told) == 2, "nobody asked for counters"


def test_ages_of_queues(tmp_path, clock):
    steps = Steps(tmp_path)
    steps.whole["queue"].update(incoming=[1, 1795897990], active=[2, None], deferred=[0, None])
    found = steps.measure(5)
    assert (found["age_incoming"], found["age_active"], found["age_deferred"]) == (10, None, 0)


def test_a_mail_each_way_and_one_that_is_not_taken_is_tried_again_and_given_up(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(monitor.syslog, "syslog", lambda *what: None)
    sent, taken = [], [True]
    monkeypatch.setattr(monitor, "mail", lambda to, subject, text: sent.append((to, subject)) or taken[0])
    steps = Steps(tmp_path, alert_to=["ops@home.example"])

    def at(second, value):
        steps.judge({"time": 1795897000 + second, **named(value)})

    at(0, 90)
    at(5, 95)
    assert [to for to, _subject in sent] == [["ops@home.example"]] and "90 of 100" in sent[0][1]
    taken[0] = False
    at(10, 10)
    at(80, 10)
    assert len(sent) == 2 and "over again" in sent[1][1]
    at(85, 10)
    assert len(sent) == 2, "not at each sample"
    for second in range(90, 8000, 5):
        at(second, 10)
    assert len(sent) == 1 + monitor.TRIES and steps.keep.mails == []
    for second in range(8000, 20000, 200):
        at(second, 99 if second % 400 else 1)
    assert len(steps.keep.mails) <= monitor.PENDING


def test_a_sendmail_that_fails_is_asked_once_a_sample_however_many_mails_wait(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(monitor.syslog, "syslog", lambda *what: None)
    asked = []
    monkeypatch.setattr(monitor, "mail", lambda *what: asked.append(what))
    steps = Steps(tmp_path, alert_to=["ops"])
    for number in range(20):
        steps.judge({"time": 1795897000 + 70 * number, **named(1 if number % 3 else 99)})
    waiting, asked[:] = len(steps.keep.mails), []
    assert waiting > 3
    steps.judge({"time": 1795897000 + 90000, **named(1)})
    assert len(asked) == 1


def test_a_mail_that_could_not_be_sent_outlives_a_restart(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(monitor.syslog, "syslog", lambda *what: None)
    monkeypatch.setattr(monitor, "mail", lambda *what: False)
    Steps(tmp_path, alert_to=["ops"]).judge({"time": 1795897000, **named(90)})
    sent = []
    monkeypatch.setattr(monitor, "mail", lambda *what: sent.append(what) or True)
    Steps(tmp_path, alert_to=["ops"]).judge({"time": 1795897100, **named(90)})
    assert len(sent) == 1


def test_sendmail_is_given_addresses_after_its_options(tmp_path):
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/message\n')
    program.chmod(0o755)
    assert monitor.mail(["a@b", "c@d"], "subject", "text", str(program))
    assert (tmp_path / "arguments").read_text() == "-i -- a@b c@d\n"
    assert "To: a@b, c@d\nSubject: subject\n" in (tmp_path / "message").read_text()
    assert not monitor.mail(["a"], "s", "t", str(tmp_path / "none"))


# ---- what is declared ----

GOOD = {
    "monitor_busy_seconds": 5,
    "monitor_idle_seconds": 60,
    "monitor_alert_to": ["ops@home.example", "root"],
    "monitor_ceiling_percent": 80,
    "monitor_deferred_dns": 100,
    "monitor_alert_quiet": 120,
    "monitor_file_kilobytes": 2048,
    "monitor_files_kept": 8,
    "monitor_user": "sokuhai_monitor",
    "monitor_service": "sokuhai_monitor",
    "monitor_statistics_port": 8053,
    "monitor_read_since": 86400,
    "monitor_read_points": 400,
    "monitor_directory": "/var/db/sokuhai_monitor",
    "monitor_program": "/usr/local/libexec/x",
    "monitor_config": "/usr/local/etc/x.json",
    "monitor_newsyslog": "/usr/local/etc/newsyslog.conf.d/x.conf",
    "monitor_maillog": "/var/log/maillog",
    "monitor_queue_directory": "/var/spool/postfix",
    "monitor_main_cf": "/usr/local/etc/postfix/main.cf",
    "monitor_named_conf": "/usr/local/etc/namedb/named.conf",
}


def test_the_defaults_are_right():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"monitor_busy_seconds": 1},
        {"monitor_idle_seconds": 4},
        {"monitor_busy_seconds": 60, "monitor_idle_seconds": 30},
        {"monitor_ceiling_percent": 100},
        {"monitor_alert_to": ["-oQ/tmp"]},
        {"monitor_alert_to": ["a b@c"]},
        {"monitor_alert_to": ["a@b\nBcc: c@d"]},
        {"monitor_user": "root"},
        {"monitor_user": "Upper"},
        {"monitor_service": "with-hyphen"},
        {"monitor_directory": "relative"},
        {"monitor_program": "/a b"},
        {"monitor_files_kept": 0},
        {"monitor_file_kilobytes": 9000},
        {"monitor_statistics_port": 70000},
    ],
)
def test_what_cannot_be_right_is_named(wrong):
    found = problems({**GOOD, **wrong})
    assert found and any(entry.startswith(tuple(wrong)) for entry in found), found


def test_disk_bound_of_the_defaults_is_below_twenty_megabytes_even_uncompressed():
    assert GOOD["monitor_file_kilobytes"] * (1 + GOOD["monitor_files_kept"]) * 1024 < 20e6


def test_newsyslog_writes_no_line_of_its_own_and_leaves_the_file_to_the_samplers_user():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "roles/monitor/templates"), undefined=jinja2.StrictUndefined
    )
    line = environment.get_template("newsyslog.j2").render(**GOOD).splitlines()[-1].split()
    assert line == [
        "/var/db/sokuhai_monitor/samples.csv",
        "sokuhai_monitor:sokuhai_monitor",
        "644",
        "8",
        "2048",
        "*",
        "BJN",
    ]


def test_named_tells_its_counters_on_the_loopback_and_a_running_named_takes_that_over():
    text = (ROOT / "roles/bind/templates/usr/local/etc/namedb/named.conf.j2").read_text()
    block = text[text.index("statistics-channels {") : text.index("statistics-channels {") + 100]
    assert re.search(r"inet 127\.0\.0\.1 port \S+ bind_statistics_port \S+ allow \{ 127\.0\.0\.1; \};", block)
    bind = util("bind_statements")
    assert (
        bind.needs_restart(
            "options {\n};\n",
            "options {\n};\nstatistics-channels {\n\tinet 127.0.0.1 port 8053 allow {\n\t\t127.0.0.1/32;\n\t};\n};\n",
        )
        == ""
    )
