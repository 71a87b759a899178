"""The rows of the SMTP dialogues and their judge: what the system test will play must say something, about every item there is."""

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


def test_there_are_enough_rows():
    assert len(ROWS) >= 80
    for profile in script.PROFILES:
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
    assert any(problem in found for found in script.schema_problems(row(**changes))), script.schema_problems(
        row(**changes)
    )


@pytest.fixture(scope="module")
def internet():
    return zones.Internet()


def lookup(internet, name, rdtype):
    """The data of a name in the simulated internet as a list of texts."""
    wire = name.to_wire().lower()
    zone = internet.deepest(wire, dns.rdatatype.from_text(rdtype))
    found = zone.nodes.get(wire, {}).get(int(dns.rdatatype.from_text(rdtype)))
    return [] if found is None else [rdata.to_text().rstrip(".") for rdata in found.rdatas]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r["id"])
def test_the_client_has_the_reverse_name_that_the_row_says(internet, row):
    names = lookup(internet, dns.reversename.from_address(row["client"]), "PTR")
    if row["name"] == "unknown":
        assert names == []
        return
    assert names == [row["name"]]
    addresses = lookup(internet, dns.name.from_text(row["name"]), "AAAA" if ":" in row["client"] else "A")
    back = ipaddress.ip_address(row["client"]) in map(ipaddress.ip_address, addresses)
    assert back == row["verified"]


# --- the judge


def test_an_answer_as_expected_is_none_to_complain_of():
    assert script.judge(row(), "article", [*USUAL, reply("rcpt", 554, "5.7.1 denied"), reply("quit", 221)]) == []


@pytest.mark.parametrize(
    "replies, problem",
    [
        ([], "nothing came at rcpt"),
        ([*USUAL, reply("rcpt", 250)], "250"),
        ([*USUAL, reply("rcpt", 450, "denied")], "expected 554"),
        ([*USUAL, reply("rcpt", 554, "another reason")], "has no 'denied'"),
        (
            [reply("banner", 220), reply("helo", 501, "bad"), reply("mail", 250), reply("rcpt", 554, "denied")],
            "already at helo",
        ),
        ([*USUAL, reply("rcpt", 0, "timed out")], "timed out"),
    ],
)
def test_another_answer_is_a_failure(replies, problem):
    assert any(problem in found for found in script.judge(row(), "article", replies))


def test_the_second_try_is_judged_by_itself():
    tried = row(
        expect={"at": "rcpt", "code": 450, "text": "Greylisted"},
        again={"after": 1, "expect": {"at": "end", "code": 250}},
    )
    first = [*USUAL, reply("rcpt", 450, "Greylisted"), reply("quit", 221)]
    second = [reply(f"2:{r['at']}", r["code"]) for r in USUAL]
    good = [*first, *second, reply("2:rcpt", 250), reply("2:data", 354), reply("2:end", 250)]
    assert script.judge(tried, "article", good) == []
    assert any(
        "try 2" in found
        for found in script.judge(tried, "article", [*first, *second, reply("2:rcpt", 450, "Greylisted")])
    )
    assert any(
        "try 1" in found for found in script.judge(tried, "article", [*USUAL, reply("rcpt", 250), *good[len(first) :]])
    )
    steps = script.steps(tried, "article", RUN)
    assert {"do": "sleep", "seconds": 1} in steps
    assert [s["at"] for s in steps if s["do"] == "read"][-1] == "2:quit"
    assert any(s.get("needs") == ["2:data"] for s in steps)


def test_a_failed_login_is_expected_by_its_code():
    login = row(auth={"user": "a", "password": "b", "code": 535})
    assert (
        script.judge(login, "article", [*USUAL[:2], reply("auth", 535), *USUAL[2:], reply("rcpt", 554, "denied")]) == []
    )
    assert any(
        "AUTH" in found
        for found in script.judge(
            login, "article", [*USUAL[:2], reply("auth", 235), *USUAL[2:], reply("rcpt", 554, "denied")]
        )
    )


def test_time_is_judged_where_it_is_said():
    slow = row(expect={"at": "rcpt", "code": 554, "text": "denied", "seconds": [2, 5]})
    assert script.judge(slow, "article", [*USUAL, reply("rcpt", 554, "denied", 3.0)]) == []
    assert any("took" in found for found in script.judge(slow, "article", [*USUAL, reply("rcpt", 554, "denied", 0.1)]))


def test_a_slow_machine_may_take_longer_but_not_less(monkeypatch):
    slow = row(expect={"at": "rcpt", "code": 554, "text": "denied", "seconds": [2, 5]})
    late = [*USUAL, reply("rcpt", 554, "denied", 12.0)]
    assert script.judge(slow, "article", late)
    monkeypatch.setattr(script, "SLOW", 8)
    assert script.judge(slow, "article", late) == []
    assert script.judge(slow, "article", [*USUAL, reply("rcpt", 554, "denied", 0.1)])


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


def test_a_refused_message_that_arrived_is_found():
    mail = f"Received: x\nX-Lab-Token: {RUN}.row\nReceived-SPF: Fail (mailfrom)\n identity=mailfrom\n\nX-Lab-Token: in the body\n"
    assert any("1 copies" in found for found in script.judge_delivery(row(), "article", RUN, [mail]))
    taken = row(expect={"at": "end", "code": 250}, delivered={"header": "^Received-SPF: Fail .*identity=mailfrom"})
    assert script.judge_delivery(taken, "article", RUN, [mail]) == []
    assert script.judge_delivery(taken, "article", RUN, []) and script.judge_delivery(
        taken, "article", RUN, [mail, mail]
    )
    assert script.judge_delivery({**taken, "delivered": {"header": "^Received-SPF: Pass"}}, "article", RUN, [mail])
    assert script.judge_delivery({**taken, "delivered": {"without": "^Received-SPF"}}, "article", RUN, [mail])


def test_the_log_is_searched_for_the_client_alone():
    logged = row(log="reject: RCPT")
    assert script.judge_log(logged, ["smtpd[1]: NOQUEUE: reject: RCPT from mail.sender.test[203.0.113.20]: 554"]) == []
    assert script.judge_log(logged, ["smtpd[1]: NOQUEUE: reject: RCPT from x[203.0.113.21]: 554"])


# --- the player, against a server that says what it is told to


def serve(answers):
    """A server on loopback for one connection: bytes to send for each line that comes; returns its port and what it heard."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def run():
        sock, _ = listener.accept()
        with sock, sock.makefile("rb") as lines:
            for wanted, answer in answers:
                if wanted is not None:
                    line = lines.readline()
                    heard.append(line)
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
            (None, b"220 hi\r\n"),
            (1, b"250-a\r\n250 b\r\n"),
            (1, b"250 ok\r\n"),
            (1, b"554 5.7.1 denied\r\n"),
            (1, b"554 no\r\n"),
            (1, b"221 bye\r\n"),
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
    port, _ = serve([(None, b"521 go away\r\n")])
    replies = play(
        port,
        [{"do": "connect"}, {"do": "read", "at": "banner"}, {"do": "rest", "at": "rest"}, {"do": "send", "data": "x"}],
    )
    assert [(r["at"], r["code"]) for r in replies] == [("banner", 521), ("rest", 0)]
    assert "closed" in replies[1]["text"]


def test_the_player_sends_bytes_as_they_stand():
    port, heard = serve([(None, b"220 hi\r\n"), (1, b""), (1, b"")])
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
    known = set(script.items("article")) | set(script.items("current"))
    for one in ROWS:
        for profile in script.PROFILES:
            assert not (script.proves(one, profile, "refuses") | script.proves(one, profile, "passes")) - known, one[
                "id"
            ]
