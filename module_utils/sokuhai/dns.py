# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""DNS on the wire, as far as a module needs it to ask exactly one server, whatever resolv.conf says (drill(1) and host(1) may not be there)."""

import itertools
import random
import socket
import struct
import time

#: Types and classes by name (RFC 1035, 3.2.2 to 3.2.5; AAAA is RFC 3596's, TLSA RFC 6698's).
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
NAMES = {number: name for name, number in TYPES.items()}
CLASSES = {"IN": 1, "CH": 3}
#: What a reply says, by the number in its header (RFC 1035, 4.1.1).
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
#: Those after which it is known whether there are such records.
ANSWERED = ("NOERROR", "NXDOMAIN")
#: Seconds that one name server has before the next one is queried, and the least between two queries: named keeps a SERVFAIL for one second
#: (servfail-ttl), and one that is not there says so at once.
TURN, AGAIN = 1.5, 1.1


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


def _name(data, at):
    """Return the name that begins at *at*, in small letters without the last dot; a pointer leads back (RFC 1035, 4.1.4)."""
    labels, before = [], len(data)
    while data[at]:
        if data[at] & 0xC0 == 0xC0:
            at = struct.unpack("!H", data[at : at + 2])[0] & 0x3FFF
            if at >= before:
                raise IndexError("a pointer that does not lead back")
            before = at
        else:
            labels.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
    return b".".join(labels).decode("ascii", "backslashreplace").lower()


def _strings(data):
    """Return the character strings of a TXT record, joined (RFC 7208, 3.3)."""
    found, at = b"", 0
    while at < len(data):
        found += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return found.decode("utf-8", "backslashreplace")


def _value(data, kind, at, length):
    """Return a record's data as a zone file has it (str), names without the last dot and a TXT's strings joined; None for other types."""
    if kind == "A" and length == 4:
        return socket.inet_ntoa(data[at : at + 4])
    if kind == "AAAA" and length == 16:
        return socket.inet_ntop(socket.AF_INET6, data[at : at + 16])
    if kind in ("NS", "CNAME", "PTR"):
        return _name(data, at)
    if kind == "MX":
        return "%d %s" % (struct.unpack("!H", data[at : at + 2])[0], _name(data, at + 2))
    if kind == "TXT":
        return _strings(data[at : at + length])
    if kind == "TLSA" and length > 3:
        return "%d %d %d %s" % (data[at], data[at + 1], data[at + 2], data[at + 3 : at + length].hex())
    return None


def decode(data):
    """Return the reply *data* (bytes) as a dict, or None for what is no reply.

    ident; rcode: its name; authoritative, truncated, recursion_available: bool; question: as bytes in small letters, as in the question's packet from
    byte 12 on, b"" where the server did not repeat it; answers: their number; records: [type, value] of those whose type is known; addresses,
    texts: the values of the A and of the TXT records among them.
    """
    try:
        ident, flags, questions, answers = struct.unpack("!4H", data[:8])
        if not flags & 0x8000 or questions > 1:
            return None
        at = _after_name(data, 12) + 4 if questions else 12
        asked, records = data[12:at].lower(), []
        for _ in range(answers):
            at = _after_name(data, at)
            rtype, _rclass, _ttl, length = struct.unpack("!2HIH", data[at : at + 10])
            kind, at = NAMES.get(rtype), at + 10
            if at + length > len(data):
                return None
            value = _value(data, kind, at, length)
            if value is not None:
                records.append([kind, value])
            at += length
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
        "records": records,
        "addresses": [value for kind, value in records if kind == "A"],
        "texts": [value for kind, value in records if kind == "TXT"],
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


def name_servers(text):
    """Return the name servers of a resolv.conf; without one the host itself is asked (resolver(5))."""
    lines = (line.split() for line in (text or "").splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"][:3] or ["127.0.0.1"]


def resolve(servers, name, qtype, end, port=53):
    """Ask the *servers* in turn until one answers or the time is *end* (of the monotonic clock); return the reply of ask(), or None.

    A reply that says that something failed counts when it comes a second time.
    """
    failure = None
    for server in itertools.cycle(servers):
        began = time.monotonic()
        if began >= end:
            return failure
        reply = ask(server, name, qtype, timeout=min(TURN, end - began), tries=1, port=port)
        if reply and (reply["rcode"] in ANSWERED or failure):
            return reply
        failure = reply or failure
        time.sleep(max(0, min(began + AGAIN, end) - time.monotonic()))
