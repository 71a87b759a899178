# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""DNS on the wire, as far as a module needs it to ask exactly one server, whatever resolv.conf says (drill(1) and host(1) may not be there)."""

import random
import socket
import struct
import time

#: Types and classes by name (RFC 1035, 3.2.2 to 3.2.5).
TYPES = {"A": 1, "NS": 2, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28}
CLASSES = {"IN": 1, "CH": 3}
#: What a reply says, by the number in its header (RFC 1035, 4.1.1).
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def question(ident, name, qtype, qclass="IN", recurse=True):
    """Return one question as bytes (RFC 1035, 4.1). ident: 16 bits; name: "." is the root; qtype, qclass: names.

    Raises UnicodeError for a name with a label that is too long.
    """
    labels = b"".join(
        struct.pack("B", len(label)) + label for label in name.strip(".").encode("idna").split(b".") if label
    )
    return (
        struct.pack("!6H", ident, 0x0100 if recurse else 0, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!2H", TYPES[qtype], CLASSES[qclass])
    )


def _after_name(data, at):
    """Return the offset behind the name that begins at *at*."""
    while True:
        length = data[at]
        if length & 0xC0 == 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at


def _strings(data):
    """Return the strings of a TXT record's data as one str."""
    parts, at = [], 0
    while at < len(data):
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts).decode("utf-8", "replace")


def decode(data):
    """Return the reply *data* (bytes) as a dict, or None for what is no reply.

    ident; rcode: its name; authoritative, truncated, recursion_available: bool; question: as bytes in small letters, as in the question's packet from
    byte 12 on, b"" where the server did not repeat it; answers: their number; addresses: those of the A records among them; texts: those of the TXT
    records, each one's strings together.
    """
    try:
        ident, flags, questions, answers = struct.unpack("!4H", data[:8])
        if not flags & 0x8000 or questions > 1:
            return None
        at = _after_name(data, 12) + 4 if questions else 12
        asked, addresses, texts = data[12:at].lower(), [], []
        for _ in range(answers):
            at = _after_name(data, at)
            rtype, _rclass, _ttl, length = struct.unpack("!2HIH", data[at : at + 10])
            if rtype == TYPES["A"] and length == 4:
                addresses.append(socket.inet_ntoa(data[at + 10 : at + 14]))
            elif rtype == TYPES["TXT"]:
                texts.append(_strings(data[at + 10 : at + 10 + length]))
            at += 10 + length
    except (IndexError, struct.error, OSError):
        return None
    return {
        "ident": ident,
        "rcode": RCODES.get(flags & 0xF, str(flags & 0xF)),
        "authoritative": bool(flags & 0x0400),
        "truncated": bool(flags & 0x0200),
        "recursion_available": bool(flags & 0x0080),
        "question": asked,
        "answers": answers,
        "addresses": addresses,
        "texts": texts,
    }


def over_tcp(server, packet, timeout, port=53):
    """Return the reply to *packet* over TCP, as decode() gives it, or None. server: an address; timeout: seconds."""
    try:
        with socket.create_connection((server, port), timeout) as link:
            link.sendall(struct.pack("!H", len(packet)) + packet)
            stream = link.makefile("rb")
            (length,) = struct.unpack("!H", stream.read(2))
            return decode(stream.read(length))
    except (OSError, struct.error):
        return None


def _over_udp(server, packet, timeout, port):
    end = time.monotonic() + timeout
    family, kind, protocol, _name, address = socket.getaddrinfo(
        server, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.connect(address)
        sock.send(packet)
        while True:
            sock.settimeout(max(0.001, end - time.monotonic()))
            reply = decode(sock.recv(4096))
            if (
                reply
                and reply["ident"] == int.from_bytes(packet[:2], "big")
                and reply["question"] in (b"", packet[12:].lower())
            ):
                return reply


def ask(server, name, qtype, qclass="IN", recurse=True, timeout=2.0, tries=2, port=53):
    """Ask one server, over UDP and, where its reply is truncated, over TCP; return the reply as decode() gives it, or None where none came.

    server: an IPv4 or IPv6 address. name, qtype, qclass, recurse: as in question(). timeout: seconds a try. tries: how often to send it.
    """
    for attempt in range(tries):
        packet = question(random.SystemRandom().randrange(65536), name, qtype, qclass, recurse)
        try:
            reply = _over_udp(server, packet, timeout, port)
        except OSError:  # no reply in time, or nothing listens there (yet)
            if attempt + 1 < tries:
                time.sleep(0.2)
            continue
        return (over_tcp(server, packet, timeout, port) or reply) if reply["truncated"] else reply
    return None
