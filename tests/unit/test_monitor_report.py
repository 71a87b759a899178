# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""sokuhai-report: what it makes of the lines of a mail log about one message."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import time

import pytest
from sampler_modules import FOLDER, logs, message, report, verdict

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
    return report.report(message.read(set(names), lines))


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


DEAD = [
    ("5.1.1", NO_USER),
    ("5.1.10", "host c[192.0.2.8] said: 556 5.1.10 c.test takes no mail (in reply to RCPT TO command)"),
    ("5.1.0", "Domain c.test does not accept mail (nullMX)"),
    ("5.2.1", "host c[192.0.2.8] said: 550 5.2.1 The email account that you tried to reach is disabled"),
    ("5.4.4", "Host or domain name not found. Name service error for name=c.test type=A: Host not found"),
    (
        "5.4.4",
        "Host or domain name not found. Name service error for name=C.test type=AAAA: Host found but no data record of requested type",
    ),
    ("5.0.0", "host c[192.0.2.8] said: 550 Unknown user x@c.test (in reply to RCPT TO command)"),
    ("5.0.0", "host c[192.0.2.8] said: 554 delivery error: dd This user doesn't have a c.test account"),
]
NOT_DEAD = [
    ("5.7.26", "host c[192.0.2.8] said: 550-5.7.26 unauthenticated sender", "policy"),
    ("5.7.1", "host c[192.0.2.8] said: 550 5.7.1 user unknown to you, blocked", "policy"),
    ("5.1.8", "host c[192.0.2.8] said: 550 5.1.8 Sender address rejected: Domain does not exist", "policy"),
    ("5.0.0", "host c[192.0.2.8] said: 550 sender address does not exist (in reply to RCPT TO command)", "bounced"),
    ("5.1.1", "host c[192.0.2.8] said: 550 5.1.1 rejected, see https://block.example/ for your reputation", "bounced"),
    (
        "5.2.1",
        "host c[192.0.2.8] said: 550 5.2.1 The user is receiving mail at a rate that prevents more",
        "bounced",
    ),
    ("5.2.2", "host c[192.0.2.8] said: 552 5.2.2 mailbox full", "full"),
    ("5.3.4", "host c[192.0.2.8] said: 552 5.3.4 message too large", "size"),
    ("5.0.0", "host c[192.0.2.8] said: 554 spam (in reply to end of DATA command)", "bounced"),
    # the smarthost's name is wrong, and nobody's address
    (
        "5.4.4",
        "Host or domain name not found. Name service error for name=smtp.provider.test type=A: Host not found",
        "bounced",
    ),
]


@pytest.mark.parametrize("dsn, why, kind", [*((dsn, why, "dead") for dsn, why in DEAD), *NOT_DEAD])
def test_an_address_is_dead_when_the_other_side_knows_nobody_of_that_name(dsn, why, kind):
    about = of([*arrived("A1", 1), bounced("A1", "x@c.test", why, dsn), removed("A1")], "A1")
    assert (
        [one["reason"] for one in about["bounced_by"]] == [kind] == [verdict.verdict("bounced", dsn, why, "x@c.test")]
    )
    assert about["bounced"] == 1 and about["dead_addresses"] == (["x@c.test"] if kind == "dead" else [])
    assert about["dead"] == about["domains"]["c.test"]["dead"] == (kind == "dead")


def test_a_message_that_expired_has_bounced_for_whom_was_deferred():
    lines = [
        *arrived("A1", 2),
        attempt("A1", "x@a.test"),
        attempt("A1", "y@b.test", 400000, "4.4.3", "deferred", NO_ANSWER),
        logged("qmgr", "A1", "from=<alert@home.example>, status=expired, returned to sender"),
        removed("A1"),
    ]
    about = of(lines, "A1")
    assert (about["delivered"], about["deferred"], about["bounced"], about["dead"]) == (1, 0, 1, 0)
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


def test_the_domains_of_a_provider_with_a_transport_of_its_own_are_one_row():
    lines = [*arrived("A1", 5), *(attempt("A1", to) for to in ("a@ezweb.test", "b@small.test"))]
    lines += [attempt("A1", to).replace("postfix/smtp[", "postfix/au/smtp[") for to in ("c@au.test", "d@ezweb.test")]
    lines += [attempt("A1", "e@big.test")]
    # error(8) says no transport
    lines.append(
        attempt("A1", "c@au.test", 9, "4.4.1", "deferred", "delivery temporarily suspended: timed out").replace(
            "postfix/smtp[", "postfix/error["
        )
    )
    about = of(lines, "A1")
    assert about["providers"] == ["au"] and list(about["groups"]) == ["au", "big.test", "small.test"]
    assert (about["groups"]["au"]["recipients"], about["groups"]["au"]["deferred"]) == (3, 1)
    assert len(about["domains"]) == 4


def test_where_all_went_through_one_transport_its_name_says_nothing():
    lines = [*arrived("A1", 2), *(attempt("A1", to) for to in ("a@a.test", "b@b.test"))]
    about = of([line.replace("postfix/smtp[", "postfix/lists/smtp[") for line in lines], "A1")
    assert (about["providers"], list(about["groups"])) == ([], ["a.test", "b.test"])


@pytest.mark.parametrize("name", ["relay", "urgent"])
def test_a_transport_that_takes_mail_to_everybody_is_no_provider(name):
    lines = [*arrived("A1", 2), attempt("A1", "a@a.test"), attempt("A1", "b@b.test")]
    lines[-1] = lines[-1].replace("postfix/smtp[", "postfix/%s/smtp[" % name)
    about = of(lines, "A1")
    assert (about["providers"], list(about["groups"])) == ([], ["a.test", "b.test"])


def test_seconds_count_from_the_first_queue_file_of_a_message():
    later = [line.replace("10:00:00", "10:00:30") for line in [*arrived("B2", 1), attempt("B2", "b@b.test", 5)]]
    about = of([*arrived("A1", 1), attempt("A1", "a@a.test", 2), *later], "<1@home.example>")
    assert about["seconds"] == {"50": 2.0, "95": 35.0, "99": 35.0, "100": 35.0}


def test_the_curve_has_a_point_for_each_twentieth_and_ends_where_it_was_not_served():
    lines = [*arrived("A1", 40), *(attempt("A1", "%d@a.test" % n, n) for n in range(1, 31))]
    curve = of(lines, "A1")["curve"]
    assert of(arrived("A1", 3), "A1")["curve"] == [None] * 21
    assert len(curve) == 21 and curve[:4] == [1, 2, 4, 6] and curve[15] == 30 and curve[16:] == [None] * 5


def test_where_the_seconds_went_is_the_median_of_those_that_were_served():
    lines = [*arrived("A1", 3), *(attempt("A1", "%d@a.test" % n) for n in range(2))]
    lines.append(attempt("A1", "z@a.test").replace("delays=0/0/0.5/0.5", "delays=9/9/9/9"))
    assert of(lines, "A1")["spent"] == {"before": 0, "queue": 0, "connection": 0.5, "sending": 0.5}
    assert of(arrived("A1", 3), "A1")["spent"] is None


def mailing(number, recipients, parts=1, at="10:00:00"):
    """A message to *recipients* people in *parts* queue files, delivered to all."""
    lines = []
    for part in range(parts):
        queue_id = "%X%X" % (number + 160, part)
        lines += arrived(queue_id, recipients // parts, "<%d@home.example>" % number)
        lines += [attempt(queue_id, "%d.%d@a.test" % (part, one)) for one in range(recipients // parts)]
        # deferred and active again: no more recipients than before
        lines += [arrived(queue_id, 1)[2], removed(queue_id)]
    return [line.replace("10:00:00", at) for line in lines]


def test_large_messages_are_found_by_all_of_their_queue_files():
    lines = [*mailing(1, 40), *mailing(2, 60, parts=6), *mailing(3, 30), *mailing(4, 50)]
    assert message.large(40, lines) == ["<1@home.example>", "<2@home.example>", "<4@home.example>"]
    assert message.large(61, lines) == []


def test_a_large_message_without_a_message_id_is_found_by_its_queue_id():
    assert message.large(2, [*arrived("A1", 2, "<>"), *arrived("B2", 2, "<>")]) == ["A1", "B2"]


def test_the_last_large_messages_come_first_and_older_ones_are_left_out():
    lines = [*mailing(1, 40), *mailing(2, 50, at="11:00:00"), *mailing(3, 60, at="12:00:00")]
    found = report.last(lambda: iter(lines), 40, 2, 0)
    assert list(found) == ["<3@home.example>", "<2@home.example>"]
    noon = logs.moment(lines[-1])
    assert list(report.last(lambda: iter(lines), 40, 5, noon)) == ["<3@home.example>"]


NOW = time.mktime((2026, 11, 30, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    "line, at",
    [
        ("Nov 30 11:00:00 mx postfix/smtp[1]: x", NOW - 3600),
        ("Dec  1 09:00:00 mx postfix/smtp[1]: x", NOW + 21 * 3600),
        ("Dec  2 12:00:00 mx postfix/smtp[1]: x", NOW - 363 * 86400),
        ("2026-11-30T12:00:00.123456+09:00 mx postfix/smtp[1]: x", 1796007600),
        ("<22>1 2026-11-30T03:00:00Z mx postfix/smtp 1 - - x", 1796007600),
        ("<22>1 2026-11-30T12:00:00.5+0900 mx postfix/smtp 1 - - x", 1796007600),
        ("Feb 31 09:00:00 mx x", None),
        ("nothing", None),
    ],
)
def test_the_time_of_a_line(line, at):
    assert logs.moment(line, NOW) == at


def packed(path, data):
    """*data* in the file *path*, as newsyslog(8) would compress it."""
    ending = path.suffix
    if ending == ".zst":
        subprocess.run(["zstd", "-q", "-o", str(path)], input=data, check=True)
    else:
        path.write_bytes({".bz2": bz2, ".gz": gzip, ".xz": lzma}[ending].compress(data))


def test_rotated_logs_are_read_oldest_first_whatever_compressed_them(tmp_path):
    endings = [".bz2", ".gz", ".xz", *([".zst"] if shutil.which("zstd") else [])]
    for number, ending in enumerate(endings):
        packed(tmp_path / ("maillog.%d%s" % (number + 9, ending)), b"%d\n" % (number + 9))
    current = tmp_path / "maillog"
    current.write_text("0\n")
    (tmp_path / "maillog.0").write_text("1\n")
    # being compressed
    (tmp_path / "maillog.0.bz2").write_bytes(b"BZh")
    (tmp_path / "maillog.old").write_text("x\n")
    (tmp_path / "maillog2").write_text("x\n")
    paths, left = logs.found(str(current), 2**20)
    assert [line for path in paths for line in logs.lines(path)] == [
        *(str(number + 9) for number in reversed(range(len(endings)))),
        "1",
        "0",
    ]
    assert left == []


def test_of_large_logs_the_youngest_are_read_and_the_others_named(tmp_path):
    current = tmp_path / "maillog"
    current.write_text("".join("line %03d\n" % number for number in range(100)))
    (tmp_path / "maillog.0").write_text("x" * 500)
    packed(tmp_path / "maillog.1.bz2", os.urandom(100))
    paths, left = logs.found(str(current), 1500)
    assert [os.path.basename(path) for path in (*paths, *left)] == ["maillog.0", "maillog", "maillog.1.bz2"]
    assert logs.found(str(current), 100)[0] == [str(current)]
    assert list(logs.lines(str(current), 95)) == ["line %03d" % number for number in range(90, 100)]


def run(*arguments):
    command = [sys.executable, "-IB", str(FOLDER), "report", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)


@pytest.fixture
def two_logs(tmp_path):
    """Yesterday's log, compressed by newsyslog(8), in which the message begins, and today's, in which it ends."""
    before, now = tmp_path / "maillog.0.bz2", tmp_path / "maillog"
    before.write_bytes(bz2.compress("\n".join([*arrived("A1", 2), attempt("A1", "x@a.test")]).encode() + b"\n"))
    now.write_text(
        "\n".join(
            [bounced("A1", "y@a.test", NO_USER), removed("A1"), "\udcff no line".encode("utf-8", "replace").decode()]
        )
    )
    return "--log", before, "--log", now


def test_the_command_reads_compressed_logs_and_prints_text_json_or_dead_addresses(two_logs):
    shown = run("A1", *two_logs)
    assert shown.returncode == 0 and shown.stderr == ""
    assert "delivered 1 (1 at the first attempt), deferred 0, bounced 1, not yet tried 0" in shown.stdout
    assert "50 %: 1.0 s, 95 %: not reached" in shown.stdout and NO_USER in shown.stdout
    assert json.loads(run("A1", "--json", *two_logs).stdout)["delivered"] == 1
    assert run("A1", "--dead", *two_logs).stdout == "y@a.test\n"


def test_without_a_message_the_command_lists_the_last_large_ones(tmp_path):
    lines = [*mailing(1, 40), *mailing(2, 50, parts=5)]
    lines[2:2] = [bounced("A10", "gone@c.test", NO_USER)]
    (tmp_path / "maillog").write_text("\n".join(lines) + "\n")
    where = ("--maillog", tmp_path / "maillog", "--least", 40)
    shown = run(*where).stdout.splitlines()
    assert [line.split()[-1] for line in shown[1:]] == ["<2@home.example>", "<1@home.example>"]
    told = json.loads(run("--json", *where).stdout)
    assert [(one["name"], one["recipients"], one["dead"]) for one in told["mailings"]] == [
        ("<2@home.example>", 50, 0),
        ("<1@home.example>", 41, 1),
    ]
    assert told["mailings"][1]["bounced_by"] == {"dead": 1} and "gone@" not in json.dumps(told)
    assert run("--dead", *where).stdout == "gone@c.test\n"
    assert "no message with 99 recipients" in run(*where[:2], "--least", 99).stdout
    assert json.loads(run("--json", "--maillog", tmp_path / "none").stdout) == {"mailings": [], "left_out": []}
    assert run("--last", 0).returncode == 2


def test_the_command_says_what_it_did_not_find_and_where_it_looked(two_logs):
    missing = run("FFFF", *two_logs)
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


def test_a_log_that_is_rotated_while_it_is_read_is_looked_for_once_more(tmp_path, monkeypatch, capsys):
    there, gone = tmp_path / "maillog.0.bz2", tmp_path / "maillog.0"
    packed(there, "\n".join(arrived("AB1", 1)).encode())
    answers = iter([([str(gone)], []), ([str(there)], [])])
    monkeypatch.setattr(report, "found", lambda *_: next(answers))
    assert report.main(["AB1"]) == 0 and "alert@home.example" in capsys.readouterr().out
    answers = iter([([str(gone)], [])] * 2)
    with pytest.raises(SystemExit) as ended:
        report.main(["AB1"])
    assert ended.value.code == 2 and str(gone) in capsys.readouterr().err
