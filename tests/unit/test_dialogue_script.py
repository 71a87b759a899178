"""The rows of the SMTP dialogues and their judge: what the system test will play must say something, about every item there is."""

import functools
import ipaddress
import json
import pathlib
import socket
import subprocess
import sys
import threading

import dns.name
import dns.rdatatype
import dns.reversename
import pytest
from labkit.internet import zones

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))
from dialogues import script

ROWS = script.load()
RUN = "article1"
GOOD = {
    "id": "row",
    "client": "203.0.113.20",
    "name": "mail.sender.test",
    "from": "a@sender.test",
    "to": "postmaster@home.example",
    "expect": {"at": "rcpt", "code": 554, "text": "denied"},
}


def row(**changes):
    return {key: value for key, value in {**script.DEFAULTS, **GOOD, **changes}.items() if value is not ...}


def reply(at, code, text="", seconds=0.0):
    return {"at": at, "code": code, "text": text, "seconds": seconds}


USUAL = [reply("banner", 220), reply("helo", 250), reply("mail", 250, "2.1.0 Ok")]


@pytest.mark.parametrize("profile", script.PROFILES)
def test_there_are_enough_rows(profile):
    assert sum(profile in r["profiles"] for r in ROWS) >= 80


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"expekt": 1}, "unknown keys expekt"),
        ({"id": "Two Words"}, "an id is made of"),
        ({"client": "198.51.100.1"}, "not in the clients' networks"),
        ({"client": "203.0.113"}, "is not an address"),
        ({"from": ...}, "from is missing"),
        ({"name": ...}, "name is missing"),
        ({"profiles": ["articel"]}, "profiles"),
        ({"tls": "yes"}, "tls"),
        ({"play": [{"do": "sing"}]}, "step"),
        ({"play": [{"do": "send", "dat": "x"}]}, "step"),
        ({"expect": {"at": "nowhere", "code": 250}}, "expectation"),
        ({"expect": {"at": "rcpt", "code": "bad"}}, "expectation"),
        ({"expect": {"at": "rcpt", "code": 554}}, "without a text"),
        ({"expect": {"article": {"at": "end", "code": 250}}}, "no expectation for profile current"),
        ({"expect": {"at": "end", "code": 250}, "refuses": ["list/item"]}, "yet expects no such thing"),
        ({"passes": ["list/item"]}, "yet expects no such thing"),
    ],
)
def test_a_row_that_says_nothing_is_no_row(changes, problem):
    assert not script.schema_problems(row())
    assert problem in "\n".join(script.schema_problems(row(**changes)))


# when the first test asks, for every worker collects this file
internet = functools.cache(zones.Internet)


def lookup(name, rdtype):
    """The data of a name in the simulated internet as a list of texts."""
    wire, rdtype = name.to_wire().lower(), dns.rdatatype.from_text(rdtype)
    found = internet().deepest(wire, rdtype).nodes.get(wire, {}).get(int(rdtype))
    return [] if found is None else [rdata.to_text().rstrip(".") for rdata in found.rdatas]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r["id"])
def test_the_client_has_the_reverse_name_that_the_row_says(row):
    address = ipaddress.ip_address(row["client"])
    names = lookup(dns.reversename.from_address(row["client"]), "PTR")
    assert names == ([] if row["name"] == "unknown" else [row["name"]])
    back = [lookup(dns.name.from_text(name), {4: "A", 6: "AAAA"}[address.version]) for name in names]
    assert all((address in map(ipaddress.ip_address, found)) == row["verified"] for found in back)


# --- the judge


def replies(*last, auth=None):
    """The replies of a dialogue that goes well until the *last*."""
    return [*USUAL[:2], *([reply("auth", auth)] if auth else []), *USUAL[2:], *last]


DENIED = reply("rcpt", 554, "5.7.1 denied")
LOGIN = {"auth": {"user": "a", "password": "b", "code": 535}}
SLOW = {"expect": {"at": "rcpt", "code": 554, "text": "denied", "seconds": [2, 5]}}
PUT_OFF = reply("rcpt", 450, "Greylisted")
AGAIN = {
    "expect": {"at": "rcpt", "code": 450, "text": "Greylisted"},
    "again": {"after": 1, "expect": {"at": "end", "code": 250}},
}
SECOND = [reply(f"2:{r['at']}", r["code"]) for r in USUAL]
TAKEN = [*SECOND, reply("2:rcpt", 250), reply("2:data", 354), reply("2:end", 250)]


@pytest.mark.parametrize(
    "changes, answers",
    [
        ({}, replies(DENIED, reply("quit", 221))),
        (LOGIN, replies(DENIED, auth=535)),
        (SLOW, replies(reply("rcpt", 554, "denied", 3.0))),
        (AGAIN, replies(PUT_OFF, reply("quit", 221), *TAKEN)),
    ],
)
def test_replies_as_expected_pass(changes, answers):
    assert script.judge(row(**changes), "article", answers) == []


@pytest.mark.parametrize(
    "changes, answers, problem",
    [
        ({}, [], "nothing came at rcpt"),
        ({}, replies(reply("rcpt", 250)), "250"),
        ({}, replies(reply("rcpt", 450, "denied")), "expected 554"),
        ({}, replies(reply("rcpt", 554, "another reason")), "has no 'denied'"),
        ({}, [USUAL[0], reply("helo", 501, "bad"), USUAL[2], DENIED], "already at helo"),
        ({}, replies(reply("rcpt", 0, "timed out")), "timed out"),
        # the expected code of a failed login, and the time where it is said
        (LOGIN, replies(DENIED, auth=235), "AUTH"),
        (SLOW, replies(reply("rcpt", 554, "denied", 0.1)), "took"),
        (SLOW, replies(reply("rcpt", 554, "denied", 12.0)), "took"),
        # each try is judged by itself
        (AGAIN, replies(reply("rcpt", 250), *TAKEN), "try 1"),
        (AGAIN, replies(PUT_OFF, *SECOND, reply("2:rcpt", 450, "Greylisted")), "try 2"),
    ],
)
def test_other_replies_fail(changes, answers, problem):
    assert problem in "\n".join(script.judge(row(**changes), "article", answers))


@pytest.mark.parametrize("seconds, passes", [(12.0, True), (0.1, False)])
def test_a_slow_machine_may_take_longer_but_not_less(monkeypatch, seconds, passes):
    monkeypatch.setattr(script, "SLOW", 8)
    found = script.judge(row(**SLOW), "article", replies(reply("rcpt", 554, "denied", seconds)))
    assert (found == []) is passes


def test_the_second_try_has_labels_of_its_own():
    steps = script.steps(row(**AGAIN), "article", RUN)
    assert {"do": "sleep", "seconds": 1} in steps
    assert [step["at"] for step in steps if step["do"] == "read"][-1] == "2:quit"
    assert ["2:data"] in [step.get("needs") for step in steps]


@pytest.mark.parametrize(
    "changes, needs",
    [
        ({}, set()),
        ({"expect": {"at": "rcpt", "code": 450, "text": "Greylisted"}}, {"greylist"}),
        (
            {
                "expect": {
                    "article": {"at": "end", "code": 250},
                    "current": {"at": "rcpt", "code": 450, "text": "Greylisted"},
                }
            },
            set(),
        ),
        ({"delivered": {"header": "^Received-SPF: Pass"}}, {"spf"}),
        ({"delivered": {"without": "Received-SPF"}}, {"spf"}),
        ({"phase": "policy-down"}, {"greylist", "spf"}),
        ({"port": 587}, {"submission"}),
        ({"auth": {"user": "a", "password": "b"}}, {"submission"}),
    ],
)
def test_what_a_row_needs_of_the_host(changes, needs):
    assert script.needs(row(**changes), "article") == needs


def test_most_rows_need_nothing_but_postfix_and_named():
    assert sum(not script.needs(one, profile) for one in ROWS for profile in one["profiles"]) > 150


MAIL = f"Received: x\nX-Lab-Token: {RUN}.row\nReceived-SPF: Fail (mailfrom)\n identity=mailfrom\n\nX-Lab-Token: in the body\n"
ACCEPTED = {"expect": {"at": "end", "code": 250}}


@pytest.mark.parametrize(
    "changes, mails, problem",
    [
        ({}, [MAIL], "1 copies"),
        ({**ACCEPTED, "delivered": {"header": "^Received-SPF: Fail .*identity=mailfrom"}}, [MAIL], ""),
        (ACCEPTED, [], "0 copies"),
        (ACCEPTED, [MAIL, MAIL], "2 copies"),
        ({**ACCEPTED, "delivered": {"header": "^Received-SPF: Pass"}}, [MAIL], "no '^Received-SPF: Pass'"),
        ({**ACCEPTED, "delivered": {"without": "^Received-SPF"}}, [MAIL], "'^Received-SPF' is in the header"),
    ],
)
def test_what_arrived_is_judged(changes, mails, problem):
    found = script.judge_delivery(row(**changes), "article", RUN, mails)
    assert bool(found) == bool(problem) and problem in "\n".join(found)


@pytest.mark.parametrize("client, problems", [("mail.sender.test[203.0.113.20]", 0), ("x[203.0.113.21]", 1)])
def test_the_log_is_searched_for_the_client_alone(client, problems):
    lines = [f"smtpd[1]: NOQUEUE: reject: RCPT from {client}: 554"]
    assert len(script.judge_log(row(log="reject: RCPT"), lines)) == problems


# --- the player, against a server that says what it is told to


def serve(answers):
    """A server on loopback for one connection: bytes to send at first and after each line that comes; returns its port and what it heard."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def run():
        sock, _ = listener.accept()
        with sock, sock.makefile("rb") as lines:
            sock.sendall(answers[0])
            for answer in answers[1:]:
                heard.append(lines.readline())
                sock.sendall(answer)

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1], heard


def play(port, steps):
    order = {
        "parallel": 2,
        "dialogues": [{"id": "x", "source": "127.0.0.1", "server": "127.0.0.1", "port": port, "steps": steps}],
    }
    done = subprocess.run(
        [sys.executable, script.FOLDER / "player.py"],
        input=json.dumps(order),
        text=True,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["x"]


def test_the_player_says_a_row_and_stops_where_nothing_was_accepted():
    port, heard = serve(
        [
            b"220 hi\r\n",
            b"250-a\r\n250 b\r\n",
            b"250 ok\r\n",
            b"554 5.7.1 denied\r\n",
            b"554 no\r\n",
            b"221 bye\r\n",
        ]
    )
    replies = play(port, script.steps(row(), "article", RUN))
    assert [(r["at"], r["code"]) for r in replies] == [
        ("banner", 220),
        ("helo", 250),
        ("mail", 250),
        ("rcpt", 554),
        ("data", 554),
        ("quit", 221),
    ]
    assert replies[1]["text"] == "a\nb"
    assert heard == [
        b"EHLO mail.sender.test\r\n",
        b"MAIL FROM:<a@sender.test>\r\n",
        b"RCPT TO:<postmaster@home.example>\r\n",
        b"DATA\r\n",
        b"QUIT\r\n",
    ]


def test_the_player_notes_how_a_connection_ended():
    port, _ = serve([b"521 go away\r\n"])
    replies = play(
        port,
        [{"do": "connect"}, {"do": "read", "at": "banner"}, {"do": "rest", "at": "rest"}, {"do": "send", "data": "x"}],
    )
    assert [(r["at"], r["code"]) for r in replies] == [("banner", 521), ("rest", 0)]
    assert "closed" in replies[1]["text"]


def test_the_player_sends_bytes_as_they_stand():
    port, heard = serve([b"220 hi\r\n", b"", b""])
    play(
        port,
        [
            {"do": "connect"},
            {"do": "send", "data": "a\n.\rb\xe9\n"},
            {"do": "read", "at": "banner"},
            {"do": "rest", "at": "rest", "seconds": 1},
        ],
    )
    assert b"".join(heard) == b"a\n.\rb\xe9\n"


# --- every item of every list, once refused and once let through


def proven(profile, what):
    return set().union(*(script.proves(one, profile, what) for one in ROWS))


WAIVED = script.waived()


@pytest.mark.parametrize("what", ["refuses", "passes"])
@pytest.mark.parametrize("profile", script.PROFILES)
def test_every_item_is_once_refused_and_once_let_through(profile, what):
    missing = [
        item
        for item in script.items(profile)
        if item not in proven(profile, what) and item not in WAIVED[profile][what]
    ]
    assert not missing, f"profile {profile}: no row {what} {', '.join(missing)}"


@pytest.mark.parametrize("what", ["refuses", "passes", "removed"])
@pytest.mark.parametrize("profile", script.PROFILES)
def test_no_item_is_waived_without_need(profile, what):
    for item, reason in WAIVED[profile][what].items():
        assert item in script.items(profile), f"{item} is no item of {profile}"
        assert what == "removed" or item not in proven(profile, what), f"{item} has a row now"
        assert len(reason) >= 20


@pytest.mark.parametrize(
    "parameter, restriction, item",
    [
        (
            "smtpd_client_restrictions",
            "check_client_access $default_database_type:$config_directory/tables/reject_client",
            "client/reject_client",
        ),
        ("smtpd_client_restrictions", "reject_rbl_client zen.spamhaus.org=127.0.0.[2..9]", "dnsbl/zen.spamhaus.org"),
        ("postscreen_dnsbl_sites", "list.dnswl.org=127.0.[0..255].[1..3]*-2", "dnsbl/list.dnswl.org"),
        ("smtpd_helo_restrictions", "reject_invalid_helo_hostname", "helo/reject_invalid_helo_hostname"),
        ("smtpd_recipient_restrictions", "check_policy_service unix:private/policyd_spf", "recipient/spf"),
        ("check_client_ease", "check_policy_service inet:127.0.0.1:10027", "check_client_ease/service"),
        ("check_client_ease", "permit_auth_destination", "check_client_ease/permit"),
        ("check_client_na", "sleep ${stress?{0}:{2}}", "check_client_na/sleep"),
        (
            "check_dynamic_client",
            "check_client_access cidr:$config_directory/tables/check_client_others",
            "check_dynamic_client/check_client_na",
        ),
    ],
)
def test_a_restriction_is_known_by_its_item(parameter, restriction, item):
    assert script.item_of(parameter, restriction) == item
    assert item in script.items("article") + script.items("current")


def test_rows_prove_only_what_there_is():
    known = {item for profile in script.PROFILES for item in script.items(profile)}
    proved = set().union(*(proven(profile, what) for profile in script.PROFILES for what in ("refuses", "passes")))
    assert proved <= known
