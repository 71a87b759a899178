# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One question to a name server: as it goes over the wire, asked again when it is lost, and over TCP when the reply is truncated."""

import socket
import struct
import threading

import pytest
from role_modules import util

dns = util("sokuhai.dns")


def test_a_question_on_the_wire():
    assert dns.question(258, "d1.test", "MX", "IN", True) == (
        b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02d1\x04test\x00\x00\x0f\x00\x01"
    )
    assert dns.question(1, ".", "NS", "IN", False)[12:] == b"\x00\x00\x02\x00\x01"


def reply(packet, flags=0x8180, answers=(), named=True):
    """What a server would send to the question *packet*; answers: (type, data)."""
    asked = packet[12:] if named else b""
    rows = (b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(data)) + data for kind, data in answers)
    return packet[:2] + struct.pack("!5H", flags, int(named), len(answers), 0, 0) + asked + b"".join(rows)


def test_a_reply_on_the_wire():
    packet = dns.question(258, "D1.test", "A")
    assert dns.decode(reply(packet, answers=[(16, b"\x01x"), (1, b"\xc0\x00\x02\x07")])) == {
        "ident": 258,
        "rcode": "NOERROR",
        "authoritative": False,
        "truncated": False,
        "recursion_available": True,
        "question": packet[12:].lower(),
        "answers": 2,
        "records": [["TXT", "x"], ["A", "192.0.2.7"]],
        "addresses": ["192.0.2.7"],
        "texts": ["x"],
    }
    assert dns.decode(reply(packet, 0x8205))["truncated"] and dns.decode(reply(packet, 0x8205))["rcode"] == "REFUSED"
    assert dns.decode(reply(packet, 0x8001, named=False))["question"] == b""
    for odd in (packet, b"", reply(packet)[:20], reply(packet, answers=[(1, b"\xc0\x00\x02\x07")])[:-9]):
        assert dns.decode(odd) is None


@pytest.mark.parametrize(
    "kind, data, value",
    [
        (5, b"\x01X\xc0\x0c", "x.d1.test"),
        (12, b"\x02MX\xc0\x0c", "mx.d1.test"),
        (15, b"\x00\x0a\xc0\x0c", "10 d1.test"),
        (16, b"\x03one\x00\x04 two", "one two"),
        (16, b"\x02\xc3\xbc", "ü"),
        (28, bytes.fromhex("20010db8") + bytes(11) + b"\x10", "2001:db8::10"),
        (52, b"\x03\x01\x01\xab\xcd", "3 1 1 abcd"),
    ],
)
def test_a_records_data_as_a_zone_file_has_it(kind, data, value):
    packet = dns.question(258, "D1.test", "A")
    assert dns.decode(reply(packet, answers=[(kind, data), (99, b"x")]))["records"] == [[dns.NAMES[kind], value]]


def test_a_name_that_points_at_itself_or_past_the_end_is_no_reply():
    packet = dns.question(258, "d1.test", "A")
    for data in (b"\xc0\x25", b"\xc0\xff", b"\x3fx", b"\xc0"):
        assert dns.decode(reply(packet, answers=[(12, data)])) is None


def test_name_servers_of_resolv_conf():
    assert dns.name_servers("# by resolvconf\nnameserver 127.0.0.1\nnameserver ::1\noptions edns0\n") == [
        "127.0.0.1",
        "::1",
    ]
    assert dns.name_servers("nameserver 192.0.2.1\n" * 5) == ["192.0.2.1"] * 3
    assert dns.name_servers("search home.example\nnameserver\n") == ["127.0.0.1"]


@pytest.fixture
def server():
    """A name server on the loopback address, as (port, answer): answer is a list of functions packet -> replies, one for each question."""
    answer = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind(("127.0.0.1", 0))
        port = udp.getsockname()[1]
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(("127.0.0.1", port))
        tcp.listen(1)

        def serve_udp():
            while True:
                packet, peer = udp.recvfrom(512)
                if packet == b"end":
                    return
                for data in (answer.pop(0) if len(answer) > 1 else answer[0])(packet):
                    udp.sendto(data, peer)

        def serve_tcp():
            link = tcp.accept()[0]
            with link:
                packet = link.recv(512)[2:]
                if packet:
                    whole = reply(packet, answers=[(1, b"\xc0\x00\x02\x63")])
                    link.sendall(struct.pack("!H", len(whole)) + whole)

        threads = [threading.Thread(target=one, daemon=True) for one in (serve_udp, serve_tcp)]
        for thread in threads:
            thread.start()
        yield port, answer
        udp.sendto(b"end", ("127.0.0.1", port))
        socket.create_connection(("127.0.0.1", port)).close()
        for thread in threads:
            thread.join(60)


def test_one_question_is_answered_past_what_belongs_to_another(server):
    port, answer = server
    other = dns.question(1, "y.test", "A")
    answer.append(
        lambda packet: [
            b"short",
            packet,
            reply(bytes([packet[0] ^ 1]) + packet[1:]),
            reply(packet[:2] + other[2:]),
            reply(packet, 0x8183),
        ]
    )
    assert dns.ask("127.0.0.1", "x.test", "A", timeout=60, port=port)["rcode"] == "NXDOMAIN"


def test_a_question_that_is_lost_is_sent_again(server):
    port, answer = server
    answer += [lambda packet: [], lambda packet: [reply(packet)]]
    assert dns.ask("127.0.0.1", "x.test", "A", timeout=0.5, tries=20, port=port)["rcode"] == "NOERROR"


def test_a_truncated_reply_is_asked_for_over_tcp(server):
    port, answer = server
    answer.append(lambda packet: [reply(packet, 0x8380)])
    found = dns.ask("127.0.0.1", "x.test", "A", timeout=60, port=port)
    assert not found["truncated"] and found["addresses"] == ["192.0.2.99"]


def test_where_nobody_listens_there_is_no_answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert dns.ask("127.0.0.1", ".", "NS", port=port) is None
    assert dns.over_tcp("127.0.0.1", dns.question(1, ".", "NS"), 5, port) is None
