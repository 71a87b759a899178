# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""sokuhai-warm against a small named: which addresses take no mail and why, what it asks, and what role monitor gets."""

import asyncio
import concurrent.futures
import json
import shlex
import subprocess
import sys

import dns.rcode
import pytest
from fake_named import FakeNamed
from role_modules import ROOT, answer_of, load
from sampler_modules import FOLDER, freebsd

FILES = ROOT / "roles/ahead/files"
warm = load("roles/ahead/files/sokuhai-warm.py")
ahead = load("roles/ahead/files/sokuhai-ahead.py")


def apart(function, *given):
    """What *function* returns in a thread of its own: tests of a browser leave an event loop running in this one."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *given).result()


@pytest.fixture
def run(tmp_path):
    """A function that runs the command on a list; its lines, its sum and its exit status. folder: where its files are."""
    servers = []

    def start(named, text, *arguments, **settings):
        servers.append(named)
        usual = {"server": "127.0.0.1", "port": named.port, "questions": 100, "types": ["A", "AAAA"], "tlsa": False}
        usual |= {"user": "nobody", "lists": [], "rate": 5000}
        (tmp_path / "ahead.json").write_text(json.dumps({**usual, **settings}))
        done = subprocess.run(
            [
                *(sys.executable, "-IB", str(FILES / "sokuhai-warm.py"), "--program", str(FILES / "sokuhai-ahead.py")),
                *("--settings", str(tmp_path / "ahead.json"), *(arguments or ("-",))),
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.stdout.splitlines(), done.stderr.strip(), done.returncode

    yield start
    for named in servers:
        named.socket.close()


def test_a_list_is_read_as_aliases_and_include_files_are():
    text = """# members
    a@A.test, Taro <b@b.test>   # twice
list: "c@b.test", root
:include:/usr/local/etc/more.list
/var/mail/archive.1
|"program x.y"
bare.test
d@[192.0.2.1] e@localhost
"""
    assert warm.addresses(text.splitlines(), ahead.domain_of) == {
        "a.test": ["a@A.test"],
        "b.test": ["b@b.test", "c@b.test"],
        "bare.test": ["bare.test"],
    }


def test_it_is_said_of_each_address_why_its_domain_takes_no_mail(run):
    named = FakeNamed(
        {"good.test": ["mx.test", "gone.test"], "null.test": [""], "lost.test": ["gone.test"]},
        addresses=("mx.test", "host.test"),
        rcodes={"no.test": dns.rcode.NXDOMAIN, "gone.test": dns.rcode.NXDOMAIN},
    )
    text = "\n".join("%s@%s.test" % pair for pair in zip("abcdefg", "good host no null lost empty no".split()))
    lines, total, status = run(named, text + "\nx@" + "a" * 70 + ".test\n")
    assert lines == [
        "no address\tf@empty.test",
        "no address\te@lost.test",
        "no such domain\tx@" + "a" * 70 + ".test",
        "no such domain\tc@no.test",
        "no such domain\tg@no.test",
        "null MX\td@null.test",
    ]
    assert status == 1 and total == "7 domains: 0 were in the cache, 5 take no mail, 0 without an answer now"


def test_no_answer_now_says_nothing_about_an_address(run):
    named = FakeNamed(
        {"a.test": ["slow.test"], "b.test": ["slow.test", "mx.test"]},
        addresses=("mx.test",),
        rcodes={"c.test": dns.rcode.SERVFAIL, "slow.test": dns.rcode.SERVFAIL},
    )
    lines, total, status = run(named, "x@a.test\nx@b.test\nx@c.test\n")
    assert (lines, status) == (["no answer\tx@a.test", "no answer\tx@c.test"], 3)
    assert total.endswith("0 take no mail, 2 without an answer now")


def test_a_named_that_does_not_run_is_no_dead_domain(run):
    named = FakeNamed({})
    named.socket.close()
    assert run(named, "x@a.test")[::2] == (["no answer\tx@a.test"], 3)


def test_what_smtp_will_ask_for_is_asked_once_and_then_known(run):
    named = FakeNamed({"a.test": ["mx.test"]}, addresses=("mx.test",))
    assert run(named, "x@a.test\ny@a.test\n", tlsa=True) == (
        [],
        "1 domains: 0 were in the cache, 0 take no mail, 0 without an answer now",
        0,
    )
    asked = [("a.test", "MX"), ("mx.test", "A"), ("mx.test", "AAAA"), ("_25._tcp.mx.test", "TLSA")]
    assert named.asked[0] == asked[0] and sorted(named.asked) == sorted(asked)
    assert run(named, "x@a.test", tlsa=True)[1].startswith("1 domains: 1 were in the cache")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/nonexistent/list",), "/nonexistent/list: No such file"),
        (("-",), "no address and no domain in -"),
        (("--mailing", "4F2A"), "sokuhai-report"),
        (("--mailing", "4F2A", "-"), "one of LIST"),
        (("--rate", "0", "-"), "--rate"),
    ],
)
def test_what_the_operator_has_to_change_is_status_2(run, arguments, words):
    _lines, said, status = run(FakeNamed({}), "root\n", *arguments)
    assert status == 2 and words in said


LOG = """\
Nov 30 10:00:00 mx postfix/qmgr[9]: 4F2A1C0B: from=<list@home.test>, size=500, nrcpt=2 (queue active)
Nov 30 10:00:01 mx postfix/smtp[9]: 4F2A1C0B: to=<x@a.test>, relay=mx.a.test[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
Nov 30 10:00:02 mx postfix/smtp[9]: 4F2A1C0B: to=<y@b.test>, relay=none, delay=2, delays=0/0/0/2, dsn=5.4.4, status=bounced (not found)
"""


def test_a_mailings_domains_are_those_that_the_report_has(tmp_path, monkeypatch):
    (tmp_path / "maillog").write_text(LOG)
    command = tmp_path / "sokuhai-report"
    words = [sys.executable, "-IB", FOLDER, "report", "--log", tmp_path / "maillog"]
    command.write_text('#!/bin/sh\nexec %s "$@"\n' % shlex.join(map(str, words)))
    command.chmod(0o755)
    monkeypatch.setattr(warm, "REPORT", str(command))
    assert sorted(warm.of_mailing("4F2A1C0B")) == ["a.test", "b.test"]
    with pytest.raises(warm.Wrong, match="no-such-id"):
        warm.of_mailing("no-such-id")


def test_cron_prints_nothing_and_keeps_what_the_sampler_reads(tmp_path, monkeypatch, capsys):
    named, numbers, users = FakeNamed({}, addresses=("a.test", "b.test")), tmp_path / "numbers", []
    (tmp_path / "list").write_text("x@a.test\nb.test\nx@gone.test\n")
    settings = {"server": "127.0.0.1", "port": named.port, "questions": 9, "types": ["A"], "tlsa": False, "rate": 1000}
    settings |= {"user": "nobody", "lists": [str(tmp_path / "list")]}
    (tmp_path / "ahead.json").write_text(json.dumps(settings))
    monkeypatch.setattr(warm, "NUMBERS", str(numbers))
    monkeypatch.setattr(warm, "become", users.append)

    def main(given):
        return apart(warm.main, given)

    given = ["--cron", "--settings", str(tmp_path / "ahead.json"), "--program", str(FILES / "sokuhai-ahead.py")]
    try:
        for cached in (0, 2):
            assert main(given) == 1
            found = json.loads(numbers.read_text())
            assert {**found, "time": 0} == {"time": 0, "domains": 3, "cached": cached, "dead": 1, "unanswered": 0}
            assert freebsd.warm(str(numbers), found["time"] + 60) == {"warm_cached": cached, "warm_total": 2}
            assert freebsd.warm(str(numbers), found["time"] + 7200) == {}
        assert users == ["nobody", "nobody"] and capsys.readouterr() == ("", "")
        (tmp_path / "list").unlink()
        with warm.keep():
            assert main(given) == 0, "another run is at work"
        assert main(given) == 2 and capsys.readouterr() == ("", "")
    finally:
        named.socket.close()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"cached": 3, "domains": 2, "dead": 0, "time": 5}', "1" * 9999])
def test_what_is_no_such_file_is_nothing_to_the_sampler(tmp_path, text):
    (tmp_path / "numbers").write_text(text)
    assert freebsd.warm(str(tmp_path / "numbers"), 5) == {} == freebsd.warm("", 5)


@pytest.mark.parametrize(
    "text, stays", [("# Written by sokuhai's role ahead; crontab(5).\n", False), ("# mine\n", True)]
)
def test_switched_off_it_removes_its_own_line_of_cron_and_nobody_elses(tmp_path, text, stays):
    cron, numbers = tmp_path / "sokuhai-warm", tmp_path / "warm.json"
    cron.write_text(text)
    numbers.write_text("{}")
    service = load("roles/ahead/library/ahead_service.py")
    asked = {"state": "absent", "cron": str(cron), "numbers": str(numbers)}
    assert answer_of(service, **asked)["changed"] and cron.exists() == stays and not numbers.exists()
    again = answer_of(service, **asked)
    assert not again["failed"] and not again["changed"]


@pytest.mark.parametrize(
    "problem, given_up", [(ConnectionRefusedError(), True), (OSError(55, "No buffer space"), False)]
)
def test_open_questions_are_given_up_where_named_is_gone_and_nowhere_else(problem, given_up):
    async def ask():
        named = ahead.Named(5)
        one = named.open["key"] = asyncio.get_running_loop().create_future()
        named.error_received(problem)
        assert one.done() == given_up
        if given_up:
            assert one.exception() is problem

    apart(asyncio.run, ask())
