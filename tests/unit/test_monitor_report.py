# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""sokuhai-report: what it makes of the lines of a mail log about one message."""

import bz2
import gzip
import json
import subprocess
import sys

import pytest
from sampler_modules import FOLDER, report

HEAD = "Nov 30 10:00:00 mx "
NO_USER = "host mx.a.test[192.0.2.9] said: 550 5.1.1 no such mailbox (in reply to RCPT TO command)"
NO_ANSWER = "Host or domain name not found. Name service error for name=b.test type=MX: Host not found, try again"


def logged(program, queue_id, text):
    return "%spostfix/%s[7]: %s: %s" % (HEAD, program, queue_id, text)


def arrived(queue_id, recipients, message_id="<1@home.example>"):
    return [
        logged("smtpd", queue_id, "client=localhost[127.0.0.1]"),
        logged("cleanup", queue_id, "message-id=" + message_id),
        logged("qmgr", queue_id, "from=<alert@home.example>, size=420, nrcpt=%d (queue active)" % recipients),
    ]


def attempt(queue_id, to, delay=1.0, dsn="2.0.0", status="sent", why="250 2.0.0 Ok: queued as 12", more=""):
    about = "to=<%s>, %srelay=mx[192.0.2.9]:25, delay=%s, delays=0/0/0.5/0.5, dsn=%s, status=%s (%s)"
    return logged("smtp", queue_id, about % (to, more, delay, dsn, status, why))


def bounced(queue_id, to, why, dsn="5.1.1"):
    return attempt(queue_id, to, 3, dsn, "bounced", why)


def removed(queue_id):
    return logged("qmgr", queue_id, "removed")


def of(lines, *names):
    return report.report(report.read(set(names), lines))


def test_percentiles_are_of_all_recipients_and_a_share_that_was_not_served_is_unknown():
    lines = [*arrived("A1", 20), *(attempt("A1", "%d@a.test" % n, n) for n in range(1, 20))]
    lines.append(attempt("A1", "20@a.test", 30, "4.4.3", "deferred", NO_ANSWER))
    about = of(lines, "A1")
    assert about["seconds"] == {"50": 10.0, "95": 19.0, "99": None, "100": None}
    assert (about["recipients"], about["delivered"], about["deferred"], about["unattempted"]) == (20, 19, 1, 0)
    assert about["in_queue"] == 1


def test_the_last_attempt_at_a_recipient_counts():
    lines = [
        *arrived("A1", 1),
        attempt("A1", "x@a.test", 5, "4.4.3", "deferred", NO_ANSWER),
        attempt("A1", "x@a.test", 65, more="orig_to=<list@home.example>, "),
        removed("A1"),
    ]
    about = of(lines, "A1")
    assert (about["delivered"], about["at_the_first_attempt"], about["deferred"]) == (1, 0, 0)
    assert about["seconds"]["100"] == 65 and about["deferred_by"] == [] and about["in_queue"] == 0


def test_who_was_not_tried_yet_is_told_from_who_was_deferred():
    about = of([*arrived("A1", 3), attempt("A1", "x@a.test")], "A1")
    assert (about["recipients"], about["delivered"], about["unattempted"]) == (3, 1, 2)


def test_reasons_are_those_of_the_monitor():
    lines = [*arrived("A1", 3), attempt("A1", "x@b.test", 2, "4.4.3", "deferred", NO_ANSWER)]
    lines += [
        attempt("A1", n + "@c.test", 2, "4.2.0", "deferred", "host c[192.0.2.8] said: 450 4.2.0 Greylisted")
        for n in "yz"
    ]
    assert of(lines, "A1")["deferred_by"] == [
        {"reason": "greylisted", "text": "host c[192.0.2.8] said: 450 4.2.0 Greylisted", "recipients": 2},
        {"reason": "dns", "text": NO_ANSWER, "recipients": 1},
    ]


@pytest.mark.parametrize(
    "dsn, why, dead",
    [
        ("5.1.1", NO_USER, True),
        ("5.1.10", "Domain c.test does not accept mail (nullMX)", True),
        ("5.4.4", "Host or domain name not found. Name service error for name=c.test type=A: Host not found", True),
        ("5.0.0", "host c[192.0.2.8] said: 550 Unknown user x@c.test (in reply to RCPT TO command)", True),
        ("5.7.26", "host c[192.0.2.8] said: 550-5.7.26 unauthenticated sender", False),
        ("5.2.2", "host c[192.0.2.8] said: 552 5.2.2 mailbox full", False),
        ("5.0.0", "host c[192.0.2.8] said: 554 spam (in reply to end of DATA command)", False),
    ],
)
def test_an_address_is_dead_when_the_other_side_knows_nobody_of_that_name(dsn, why, dead):
    about = of([*arrived("A1", 1), bounced("A1", "x@c.test", why, dsn), removed("A1")], "A1")
    assert about["bounced"] == 1 and about["dead"] == (["x@c.test"] if dead else [])


def test_a_message_that_expired_has_bounced_for_whom_was_deferred():
    lines = [
        *arrived("A1", 2),
        attempt("A1", "x@a.test"),
        attempt("A1", "y@b.test", 400000, "4.4.3", "deferred", NO_ANSWER),
        logged("qmgr", "A1", "from=<alert@home.example>, status=expired, returned to sender"),
        removed("A1"),
    ]
    about = of(lines, "A1")
    assert (about["delivered"], about["deferred"], about["bounced"], about["dead"]) == (1, 0, 1, [])
    assert about["bounced_by"][0]["reason"] == "expired"


def test_a_message_id_gathers_all_of_its_queue_files_and_no_other():
    lines = [*arrived("A1", 1), *arrived("B2", 1), *arrived("C3", 1, "<2@home.example>")]
    lines += [attempt("A1", "x@a.test"), attempt("B2", "y@b.test"), attempt("C3", "z@c.test")]
    about = of(lines, "<1@home.example>")
    assert (about["messages"], about["recipients"], sorted(about["domains"])) == (2, 2, ["a.test", "b.test"])


def test_a_queue_id_that_comes_again_is_the_last_message():
    lines = [*arrived("A1", 1), attempt("A1", "old@a.test"), removed("A1")]
    lines += [*arrived("A1", 1, "<2@home.example>"), attempt("A1", "new@b.test"), removed("A1")]
    assert list(of(lines, "A1")["domains"]) == ["b.test"]
    assert list(of(lines, "<1@home.example>")["domains"]) == ["a.test"]


def run(*arguments):
    command = [sys.executable, "-IB", str(FOLDER), "report", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)


@pytest.fixture
def logs(tmp_path):
    """Yesterday's log, compressed by newsyslog(8), in which the message begins, and today's, in which it ends."""
    before, now = tmp_path / "maillog.0.bz2", tmp_path / "maillog"
    before.write_bytes(bz2.compress("\n".join([*arrived("A1", 2), attempt("A1", "x@a.test")]).encode() + b"\n"))
    now.write_text(
        "\n".join(
            [bounced("A1", "y@a.test", NO_USER), removed("A1"), "\udcff no line".encode("utf-8", "replace").decode()]
        )
    )
    return "--log", before, "--log", now


def test_the_command_reads_compressed_logs_and_prints_text_json_or_dead_addresses(logs):
    shown = run("A1", *logs)
    assert shown.returncode == 0 and shown.stderr == ""
    assert "delivered 1 (1 at the first attempt), deferred 0, bounced 1, not yet tried 0" in shown.stdout
    assert "50 %: 1.0 s, 95 %: not reached" in shown.stdout and NO_USER in shown.stdout
    assert json.loads(run("A1", "--json", *logs).stdout)["delivered"] == 1
    assert run("A1", "--dead", *logs).stdout == "y@a.test\n"


def test_the_command_says_what_it_did_not_find_and_where_it_looked(logs):
    missing = run("FFFF", *logs)
    assert (
        missing.returncode == 1
        and missing.stdout == ""
        and "FFFF: not in" in missing.stderr
        and "maillog.0.bz2" in missing.stderr
    )


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    broken = tmp_path / "maillog.0.gz"
    broken.write_bytes(gzip.compress(b"x" * 9999)[:40])
    for path in (broken, tmp_path / "none"):
        refused = run("A1", "--log", path)
        assert refused.returncode == 2 and refused.stdout == "" and refused.stderr.startswith("sokuhai-report: ")
