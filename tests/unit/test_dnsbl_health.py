"""The health of DNS lists: what the answers mean, and that all lists together cost one bounded wait."""

import pathlib
import socket
import struct
import threading
import time

import pytest
from role_modules import load

HEALTH = load(
    pathlib.Path(__file__).resolve().parents[2] / "roles/access/library/access_dnsbl_health.py", "access_dnsbl_health"
)
RCODE = {name: number for number, name in HEALTH.RCODES.items()}
LISTED6 = ".".join(reversed("00000000000000000000ffff7f000002"))


class Server:
    """A name server on loopback, UDP and TCP. answers: {name: [address] or a word}; what is not there is NXDOMAIN.

    Words: silent, SERVFAIL and the like, once:SERVFAIL (only the first time), truncated:ADDRESS (whole by TCP alone).
    """

    def __init__(self, answers, family=socket.AF_INET):
        self.answers, self.asked = answers, []
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.bind((host, 0))
        self.tcp.listen(5)
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((host, self.port))

    def __enter__(self):
        for target in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.udp.close()
        self.tcp.close()

    def reply(self, packet, tcp):
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        name, question = ".".join(labels), packet[12 : at + 5]
        self.asked.append(name)
        what, flags, found = self.answers.get(name, "NXDOMAIN" if name else ["127.0.0.1"]), 0x8180, []
        if what == "silent":
            return None
        if isinstance(what, list):
            found = what
        elif what.startswith("once:"):
            self.answers[name] = ["127.0.0.2"]
            flags |= RCODE[what[5:]]
        elif what.startswith("truncated:"):
            found, flags = ([what[10:]], flags) if tcp else ([], flags | 0x0200)
        else:
            flags |= RCODE[what]
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + socket.inet_aton(address) for address in found
        )
        # a list may answer through an alias: a record that is no address comes first
        alias = b"\xc0\x0c" + struct.pack("!2HIH", 5, 1, 60, 2) + b"\xc0\x0c"
        return packet[:2] + struct.pack("!5H", flags, 1, len(found) + 1, 0, 0) + question + alias + records

    def serve_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
                answer = self.reply(packet, tcp=False)
                if answer:
                    # noise before the answer: another's identifier, another's question, rubbish
                    self.udp.sendto(bytes([answer[0] ^ 255]) + answer[1:], peer)
                    self.udp.sendto(
                        answer[:2]
                        + struct.pack("!5H", 0x8183, 1, 0, 0, 0)
                        + HEALTH.question(0, "2.0.0.127.other.test", "A")[12:],
                        peer,
                    )
                    self.udp.sendto(answer[:9], peer)
                    self.udp.sendto(answer, peer)
            except OSError:
                return

    def serve_tcp(self):
        while True:
            try:
                connection, _peer = self.tcp.accept()
                with connection:
                    (length,) = struct.unpack("!H", connection.recv(2))
                    answer = self.reply(connection.recv(length), tcp=True)
                    connection.sendall(struct.pack("!H", len(answer)) + answer)
            except OSError:
                return


def zone(name="l.test", filter="127.0.0.2", kind="block", ipv6=False):
    return {"name": name, "octets": HEALTH.filter_octets(filter), "kind": kind, "ipv6": ipv6}


def ask(answers, *zones, deadline=1.0):
    with Server(answers) as server:
        found, resolves = HEALTH.check(list(zones) or [zone()], ["127.0.0.1"], deadline, server.port)
    assert resolves
    return found if len(found) > 1 else found.popitem()[1]


@pytest.mark.parametrize(
    "answers, state, said",
    [
        ({"2.0.0.127.l.test": ["127.0.0.2"]}, "ok", "lists 127.0.0.2 and not 127.0.0.1"),
        ({"2.0.0.127.l.test": ["127.0.0.10", "127.0.0.2", "127.0.0.4"]}, "ok", "lists"),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": []}, "ok", "lists"),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": ["127.0.0.2"]}, "world", "it lists 127.0.0.1"),
        (
            {"2.0.0.127.l.test": ["127.255.255.252"], "1.0.0.127.l.test": ["127.255.255.252"]},
            "refused",
            "127.255.255.252: the zone's name is wrong",
        ),
        ({"2.0.0.127.l.test": ["127.255.255.254"]}, "refused", "it does not serve public resolvers"),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": ["127.255.255.255"]}, "refused", "asks too often"),
        ({"2.0.0.127.l.test": ["127.255.255.250"]}, "refused", "it refuses this resolver"),
        (
            {"2.0.0.127.l.test": ["203.0.113.9"], "1.0.0.127.l.test": ["203.0.113.9"]},
            "hijacked",
            "203.0.113.9, which is outside 127.0.0.0/8",
        ),
        ({"2.0.0.127.l.test": ["127.0.0.2", "203.0.113.9"]}, "hijacked", "outside"),
        ({}, "unlisted", "does not list its test entry"),
        ({"2.0.0.127.l.test": []}, "unlisted", "does not list its test entry"),
        ({"2.0.0.127.l.test": ["127.0.0.3"]}, "mismatch", "answers 127.0.0.3, which the declared filter does not take"),
        ({"2.0.0.127.l.test": "SERVFAIL", "1.0.0.127.l.test": "SERVFAIL"}, "dead", "SERVFAIL"),
        ({"2.0.0.127.l.test": "REFUSED"}, "dead", "REFUSED"),
        (
            {"2.0.0.127.l.test": "silent", "1.0.0.127.l.test": "silent"},
            "silent",
            "no answer about 127.0.0.2 within 1 s",
        ),
        ({"2.0.0.127.l.test": ["127.0.0.2"], "1.0.0.127.l.test": "silent"}, "silent", "no answer about 127.0.0.1"),
        ({"2.0.0.127.l.test": "truncated:127.0.0.2"}, "ok", "lists"),
    ],
)
def test_what_the_answers_mean(answers, state, said):
    found = ask(answers)
    assert (found["state"], found["healthy"]) == (state, state == "ok")
    assert said in found["reason"]


def test_a_servfail_is_asked_once_more():
    found = ask({"2.0.0.127.l.test": "once:SERVFAIL"}, deadline=2.5)
    assert found["healthy"] and HEALTH.AGAIN <= found["seconds"] < 2


def test_an_allow_list_need_not_grade_its_test_entry():
    answers = {"2.0.0.127.l.test": ["127.0.10.0"]}
    assert ask(answers, zone(filter="127.0.[0..255].[1..3]", kind="allow"))["state"] == "ok"
    assert ask(answers, zone(filter="127.0.[0..255].[1..3]"))["state"] == "mismatch"
    refused = {"2.0.0.127.l.test": ["127.0.0.255"], "1.0.0.127.l.test": ["127.0.0.255"]}
    assert ask(refused, zone(filter="127.0.[0..255].[1..3]", kind="allow"))["state"] == "refused"


def test_ipv6_entries_are_asked_for_where_they_are_demanded():
    four = {"2.0.0.127.l.test": ["127.0.0.2"]}
    assert ask(four, zone())["healthy"]
    assert ask(four, zone(ipv6=True))["reason"].startswith("it does not list its test entry ::ffff:7f00:2")
    assert ask(four | {LISTED6 + ".l.test": ["127.0.0.2"]}, zone(ipv6=True))["healthy"]
    world = four | {LISTED6 + ".l.test": ["127.0.0.2"], LISTED6.replace("2", "1", 1) + ".l.test": ["127.0.0.2"]}
    assert ask(world, zone(ipv6=True))["state"] == "world"


def test_all_lists_together_wait_once():
    """Twenty lists, half of them silent: the wait is one deadline, and the others are not held up."""
    zones = [zone(f"l{n}.test") for n in range(20)]
    answers = {f"2.0.0.127.l{n}.test": ["127.0.0.2"] if n % 2 else "silent" for n in range(20)}
    began = time.monotonic()
    found = ask(answers, *zones, deadline=2)
    assert time.monotonic() - began < 2.5
    assert [found[z["name"]]["state"] for z in zones] == ["silent", "ok"] * 10
    assert max(entry["seconds"] for entry in found.values() if entry["healthy"]) < 1


def test_healthy_lists_are_asked_twice_and_no_more():
    with Server({"2.0.0.127.l.test": ["127.0.0.2"]}) as server:
        began = time.monotonic()
        HEALTH.check([zone()], ["127.0.0.1"], 6, server.port)
        assert time.monotonic() - began < 1
    assert sorted(server.asked) == ["", "1.0.0.127.l.test", "2.0.0.127.l.test"]


def test_the_second_name_server_is_asked_when_the_first_is_silent():
    with Server({"2.0.0.127.l.test": ["127.0.0.2"]}, socket.AF_INET6) as server:
        # nothing listens at this port of 127.0.0.1
        found, resolves = HEALTH.check([zone()], ["127.0.0.1", "::1"], 4, server.port)
    assert resolves and found["l.test"]["healthy"] and found["l.test"]["seconds"] < 3


def test_a_host_without_a_resolver_says_nothing_of_the_lists():
    with Server({}) as server:
        port = server.port
    began = time.monotonic()
    found, resolves = HEALTH.check([zone()], ["127.0.0.1"], 6, port)
    assert not resolves and found["l.test"]["state"] == "unasked" and not found["l.test"]["healthy"]
    assert time.monotonic() - began < 4
    with Server({"": "SERVFAIL", "2.0.0.127.l.test": "SERVFAIL", "1.0.0.127.l.test": "SERVFAIL"}) as server:
        found, resolves = HEALTH.check([zone()], ["127.0.0.1"], 1.5, server.port)
    assert not resolves and found["l.test"]["state"] == "unasked"


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
    assert HEALTH.passes(HEALTH.filter_octets(text), address) is taken


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
        HEALTH.filter_octets(text)


def test_names_of_the_questions():
    assert HEALTH.question_name("192.0.2.99", "l.test.") == "99.2.0.192.l.test"
    assert HEALTH.question_name(HEALTH.LISTED6, "l.test") == LISTED6 + ".l.test"


def test_name_servers_of_resolv_conf():
    assert HEALTH.name_servers("# by resolvconf\nnameserver 127.0.0.1\nnameserver ::1\noptions edns0\n") == [
        "127.0.0.1",
        "::1",
    ]
    assert HEALTH.name_servers("nameserver 192.0.2.1\n" * 5) == ["192.0.2.1"] * 3
    assert HEALTH.name_servers("search home.example\nnameserver\n") == ["127.0.0.1"]
