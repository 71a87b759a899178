# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role ahead's program against a small named: what it asks, how much at a time, and that Postfix never waits for it."""

import json
import socket
import subprocess
import sys
import types

import pytest
from fake_named import FakeNamed
from role_modules import ROOT

PROGRAM = ROOT / "roles/ahead/files/sokuhai-ahead.py"


@pytest.fixture
def run(tmp_path):
    """A function that starts the program, with settings over the usual ones; what it started ends with the test."""
    started = []

    def start(named, **settings):
        config = tmp_path / "ahead.json"
        usual = {
            "server": "127.0.0.1",
            "port": named.port,
            "questions": 100,
            "again": 600,
            "types": ["A", "AAAA"],
            "tlsa": False,
        }
        config.write_text(json.dumps({**usual, **settings}))
        child = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append((child, named))
        return child

    yield start
    for child, named in started:
        child.stdin.close()
        child.wait(120)
        child.stdout.close()
        named.socket.close()


def ask(child, recipient):
    child.stdin.write("request=smtpd_access_policy\nrecipient=%s\n\n" % recipient)
    child.stdin.flush()
    return child.stdout.readline() + child.stdout.readline()


def test_mx_is_asked_for_and_then_the_addresses_of_its_hosts(run):
    named = FakeNamed({"a.test": ["mx1.a.test", "mx2.other.test"]})
    assert ask(run(named), "x@A.test") == "action=DUNNO\n\n"
    named.until(lambda: len(named.asked) == 5)
    assert named.asked[0] == ("a.test", "MX")
    assert set(named.asked[1:]) == {(host, kind) for host in ("mx1.a.test", "mx2.other.test") for kind in ("A", "AAAA")}


def test_a_domain_without_mx_is_its_own_host(run):
    named = FakeNamed({})
    ask(run(named, types=["AAAA"]), "x@a.test")
    named.until(lambda: named.asked == [("a.test", "MX"), ("a.test", "AAAA")])


def test_tlsa_is_asked_for_where_dane_is_on(run):
    named = FakeNamed({"a.test": ["mx.a.test"]})
    ask(run(named, types=["A"], tlsa=True), "x@a.test")
    named.until(lambda: ("_25._tcp.mx.a.test", "TLSA") in named.asked)


def test_postfix_has_its_answer_while_named_has_none_and_all_domains_are_asked_for_at_once(run):
    named = FakeNamed({}, hold=True)
    child = run(named, types=["A"])
    for number in range(60):
        assert ask(child, "x@d%d.test" % number) == "action=DUNNO\n\n"
    named.until(lambda: len(named.held) == 60)
    named.go()
    named.until(lambda: len(named.asked) == 120)


def test_no_more_questions_are_open_than_declared(run):
    named = FakeNamed({}, hold=True)
    child = run(named, questions=7, types=["A"])
    for number in range(30):
        ask(child, "x@d%d.test" % number)
    named.until(lambda: len(named.held) == 7)
    ask(child, "x@last.test")
    assert len(named.held) == 7
    named.go()
    named.until(lambda: len(named.asked) == 62)


def test_a_domain_is_asked_for_once(run):
    named = FakeNamed({})
    child = run(named, types=["A"])
    for who in ("x", "y", "z"):
        ask(child, who + "@a.test")
    ask(child, "x@b.test")
    named.until(lambda: ("b.test", "A") in named.asked)
    assert [name for name, _kind in named.asked].count("a.test") == 2


@pytest.mark.parametrize(
    "recipient",
    [
        "root",
        "x@localhost",
        "x@[192.0.2.1]",
        "x@[IPv6:2001:db8::1]",
        "x@" + "a" * 70 + ".test",
        "x@..test",
        "x@\u00fc\u0300.test",
    ],
)
def test_what_the_dns_cannot_know_costs_nothing(run, recipient):
    named = FakeNamed({})
    child = run(named)
    assert ask(child, recipient) == "action=DUNNO\n\n"
    ask(child, "x@a.test")
    named.until(lambda: len(named.asked) >= 3)
    assert not {"localhost", "root"} & {name for name, _kind in named.asked}


def test_without_named_it_answers_all_the_same(run):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    child = run(types.SimpleNamespace(port=port, socket=gone))
    assert ask(child, "x@a.test") == "action=DUNNO\n\n" and ask(child, "x@b.test") == "action=DUNNO\n\n"
