"""The health of DNS lists: what the answers mean, and that all lists together cost one bounded wait."""

import socket
import socketserver
import threading

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest
from role_modules import load, util

HEALTH = load("roles/access/library/access_dnsbl_health.py")
host, codes = util("sokuhai.host"), util("access_codes")


class Server:
    """A name server on loopback, UDP and TCP. answers: {name: [address] or a word}; what is not there is NXDOMAIN.

    Words: silent, SERVFAIL and the like, once:SERVFAIL (only the first time), truncated:ADDRESS (whole by TCP alone). held: how many questions have
    to be there before the first is answered.
    """

    def __init__(self, answers, address="127.0.0.1", held=1):
        self.answers, self.asked, self.all_there = answers, [], threading.Barrier(held)
        both = {"address_family": socket.AF_INET6 if ":" in address else socket.AF_INET, "daemon_threads": True}
        self.tcp = type("Tcp", (socketserver.ThreadingTCPServer,), both)((address, 0), self.over_tcp)
        self.port = self.tcp.server_address[1]
        self.udp = type("Udp", (socketserver.ThreadingUDPServer,), both)((address, self.port), self.over_udp)

    def __enter__(self):
        for server in (self.udp, self.tcp):
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in (self.udp, self.tcp):
            server.shutdown()
            server.server_close()

    def reply(self, query, tcp=False):
        """The answer to a question, as dnspython's messages, or None."""
        name = query.question[0].name
        text = name.to_text(omit_final_dot=True)
        self.asked.append(text)
        what = self.answers.get(text, ["127.0.0.1"] if text == "." else "NXDOMAIN")
        answer = dns.message.make_response(query, recursion_available=True)
        # a list may answer through an alias: a record that is not an address comes first
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "alias.test."))
        if what == "silent":
            return None
        if isinstance(what, str):
            word, _, value = what.rpartition(":")
            if word == "once":
                self.answers[text] = ["127.0.0.2"]
            if word != "truncated":
                answer.set_rcode(dns.rcode.from_text(value))
            elif not tcp:
                answer.flags |= dns.flags.TC
            what = [value] if word == "truncated" and tcp else []
        if what:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *what))
        return answer

    def over_udp(self, request, peer, _server):
        query, sock = dns.message.from_wire(request[0]), request[1]
        self.all_there.wait()
        answer = self.reply(query)
        if not answer:
            return
        good = answer.to_wire()
        other = dns.message.make_response(dns.message.make_query("2.0.0.127.other.test", "A", id=query.id))
        # noise before the answer: another's identifier, another's question, rubbish
        for packet in (bytes([good[0] ^ 255]) + good[1:], other.to_wire(), good[:9], good):
            sock.sendto(packet, peer)

    def over_tcp(self, connection, _peer, _server):
        query, _when = dns.query.receive_tcp(connection)
        dns.query.send_tcp(connection, self.reply(query, tcp=True))


def zone(name="l.test", filter="127.0.0.2", kind="block", more=()):
    filters = [{"filter": filter, "weight": -1 if kind == "allow" else 1}, *more]
    return {"name": name, "filters": filters, "kind": kind}


def ask(answers, *zones, deadline=1.0, **server):
    """{name: (state, value)} of zones, or of l.test alone what stands there."""
    with Server(answers, **server) as there:
        found = HEALTH.check(list(zones) or [zone()], ["127.0.0.1"], deadline, there.port)
    return found if len(found) > 1 else found.popitem()[1]


@pytest.mark.parametrize(
    "answers, state, value",
    [
        ({"2.0.0.127.l.test": ["127.0.0.2"]}, "ok", ""),
        ({"2.0.0.127.l.test": ["127.0.0.10", "127.0.0.2", "127.0.0.4"]}, "ok", ""),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": []}, "ok", ""),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": ["127.0.0.2"]}, "world", "127.0.0.1"),
        (
            {"2.0.0.127.l.test": ["127.255.255.252"], "1.0.0.127.l.test": ["127.255.255.252"]},
            "refused",
            "127.255.255.252",
        ),
        ({"2.0.0.127.l.test": ["127.255.255.254"]}, "refused", "127.255.255.254"),
        (
            {"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": ["127.255.255.255"]},
            "refused",
            "127.255.255.255",
        ),
        ({"2.0.0.127.l.test": ["127.255.255.250"]}, "refused", "127.255.255.250"),
        ({"2.0.0.127.l.test": ["203.0.113.9"], "1.0.0.127.l.test": ["203.0.113.9"]}, "hijacked", "203.0.113.9"),
        ({"2.0.0.127.l.test": ["127.0.0.2", "203.0.113.9"]}, "hijacked", "203.0.113.9"),
        ({}, "unlisted", "127.0.0.2"),
        ({"2.0.0.127.l.test": []}, "unlisted", "127.0.0.2"),
        ({"2.0.0.127.l.test": ["127.0.0.3"]}, "mismatch", "127.0.0.3"),
        ({"2.0.0.127.l.test": "SERVFAIL", "1.0.0.127.l.test": "SERVFAIL"}, "dead", "SERVFAIL"),
        ({"2.0.0.127.l.test": "REFUSED"}, "dead", "REFUSED"),
        ({"2.0.0.127.l.test": "silent", "1.0.0.127.l.test": "silent"}, "silent", "127.0.0.2"),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": "silent"}, "silent", "127.0.0.1"),
        ({"2.0.0.127.l.test": "truncated:127.0.0.2"}, "ok", ""),
    ],
)
def test_what_the_answers_mean(answers, state, value):
    assert ask(answers) == (state, value)


def test_a_servfail_is_asked_once_more():
    assert ask({"2.0.0.127.l.test": "once:SERVFAIL"}, deadline=3)[0] == "ok"


def test_an_allow_list_need_not_grade_its_test_entry():
    answers, grades = {"2.0.0.127.l.test": ["127.0.10.0"]}, "127.0.[0..255].[1..3]"
    assert ask(answers, zone(filter=grades, kind="allow"))[0] == "ok"
    assert ask(answers, zone(filter=grades))[0] == "mismatch"
    refused = {"2.0.0.127.l.test": ["127.0.0.255"], "1.0.0.127.l.test": ["127.0.0.255"]}
    assert ask(refused, zone(filter=grades, kind="allow")) == ("refused", "127.0.0.255")


def test_one_filter_that_counts_as_listed_must_take_the_test_entry():
    answers = {"2.0.0.127.l.test": ["127.0.0.2"]}
    two = {"filter": "127.0.0.2", "weight": 3}
    assert ask(answers, zone(filter="127.0.0.4", more=[two]))[0] == "ok"
    assert ask(answers, zone(filter="127.0.0.4", more=[{**two, "weight": -2}])) == ("mismatch", "127.0.0.2")


def test_all_lists_are_asked_at_the_same_time():
    """Twenty lists, half of them silent: nothing is answered before all 41 questions are there, and the others are not held up."""
    zones = [zone(f"l{n}.test") for n in range(20)]
    answers = {f"2.0.0.127.l{n}.test": ["127.0.0.2"] if n % 2 else "silent" for n in range(20)}
    found = ask(answers, *zones, deadline=3, held=41)
    assert [found[z["name"]][0] for z in zones] == ["silent", "ok"] * 10


def test_healthy_lists_are_asked_twice_and_no_more():
    with Server({"2.0.0.127.l.test": ["127.0.0.2"]}) as server:
        HEALTH.check([zone()], ["127.0.0.1"], 60, server.port)
    assert sorted(server.asked) == [".", "1.0.0.127.l.test", "2.0.0.127.l.test"]


def test_the_second_name_server_is_asked_when_the_first_does_not_answer():
    with Server({"2.0.0.127.l.test": ["127.0.0.2"]}, "::1") as server:
        # nothing listens at this port of 127.0.0.1
        assert HEALTH.check([zone()], ["127.0.0.1", "::1"], 60, server.port) == {"l.test": ("ok", "")}


def test_a_host_without_a_resolver_tells_nothing_of_the_lists(monkeypatch):
    monkeypatch.setattr(util("sokuhai.dns"), "AGAIN", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    assert HEALTH.check([zone()], ["127.0.0.1"], 0.5, port) is None
    with Server({".": "SERVFAIL", "2.0.0.127.l.test": "SERVFAIL", "1.0.0.127.l.test": "SERVFAIL"}) as server:
        assert HEALTH.check([zone()], ["127.0.0.1"], 60, server.port) is None, (
            "believed the second time, not at the deadline"
        )


def test_the_module_names_what_it_leaves_out_and_judges_nothing_without_a_resolver(monkeypatch):
    zones, warnings = [zone("a.test"), zone("b.test")], []
    monkeypatch.setattr(
        HEALTH, "check", lambda *_, **__: {"a.test": ("refused", "127.255.255.254"), "b.test": ("ok", "")}
    )
    made = HEALTH.health(zones, 6, False, warnings.append)
    assert made["healthy"] == ["b.test"]
    assert [(one["id"], one["remedy"]) for one in made["findings"]] == [("dnsbl a.test", "refresh")]
    assert "127.255.255.254" in made["findings"][0]["found"] and len(warnings) == 1
    monkeypatch.setattr(HEALTH, "check", lambda *_, **__: None)
    with pytest.raises(host.Refused, match="access_dnsbl"):
        HEALTH.health(zones, 6, False, warnings.append)
    assert HEALTH.health(zones, 6, True, warnings.append) == {
        "healthy": ["a.test", "b.test"],
        "findings": [],
        "listed": [],
    }


@pytest.mark.parametrize("state", ["refused", "hijacked", "world", "silent", "dead", "unlisted", "mismatch"])
def test_each_state_has_words_for_people(monkeypatch, state):
    monkeypatch.setattr(HEALTH, "check", lambda *_, **__: {"l.test": (state, "VALUE")})
    assert "VALUE" in HEALTH.health([zone()], 6, False, lambda text: None)["findings"][0]["found"]


@pytest.mark.parametrize(
    "text, address, taken",
    [
        ("127.0.0.2", "127.0.0.2", True),
        ("127.0.0.2", "127.0.0.20", False),
        ("127.0.0.[2..11]", "127.0.0.2", True),
        ("127.0.0.[2..11]", "127.0.0.11", True),
        ("127.0.0.[2..11]", "127.0.0.12", False),
        ("127.0.0.[2;4;6..8]", "127.0.0.4", True),
        ("127.0.0.[2;4;6..8]", "127.0.0.7", True),
        ("127.0.0.[2;4;6..8]", "127.0.0.5", False),
        ("127.0.[0..255].[1..3]", "127.0.9.3", True),
        ("127.0.[0..255].[1..3]", "127.1.9.3", False),
        ("127.0.0.[ 2 .. 4 ; 9 ]", "127.0.0.9", True),
    ],
)
def test_filters_as_postfix_reads_them(text, address, taken):
    assert codes.takes(codes.ranges_of(text), address) is taken


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0",
        "127.0.0.2.",
        "127.0.0.2.3",
        "127.0.0.256",
        "127.0.0.[5..2]",
        "127.0.0.[]",
        "127.0.0.[2",
        "127.0.0.x",
        "127.0.0.[2,3]",
    ],
)
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(ValueError):
        codes.ranges_of(text)


def test_what_the_lists_say_of_the_hosts_own_addresses():
    healthy = {"2.0.0.127.a.test": ["127.0.0.2"], "2.0.0.127.w.test": ["127.0.10.0"]}
    own = {"10.2.0.192.a.test": ["127.0.0.10", "127.0.0.2"], "11.2.0.192.a.test": ["127.255.255.254"]}
    own |= {"12.2.0.192.a.test": "SERVFAIL", "10.2.0.192.b.test": ["127.0.0.2"]}
    zones = [zone("a.test"), zone("b.test"), zone("w.test", "127.0.[0..255].[0..3]", "allow")]
    listed, addresses = [], ["192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"]
    with Server({**healthy, **own}) as there:
        HEALTH.check(zones, ["127.0.0.1"], 5, there.port, addresses, listed)
    found = {(one["zone"], one["address"]): (one["state"], one["found"]) for one in listed}
    assert [found.pop(("a.test", address)) for address in addresses] == [
        ("listed", "127.0.0.10, 127.0.0.2"),
        ("refused", "127.255.255.254: " + codes.REFUSALS["127.255.255.254"]),
        ("silent", "SERVFAIL"),
        ("clean", ""),
    ]
    # a list that does not list its test entry says nothing of anybody, and one of good senders is not asked
    assert {state for state, _ in found.values()} == {"unlisted"} and {name for name, _ in found} == {"b.test"}


def test_names_of_the_questions():
    assert HEALTH.question_name("192.0.2.99", "l.test.") == "99.2.0.192.l.test"
    assert HEALTH.question_name("2001:db8::1", "l.test") == "1.0.0.0." + "0.0.0.0." * 5 + "8.b.d.0.1.0.0.2.l.test"
