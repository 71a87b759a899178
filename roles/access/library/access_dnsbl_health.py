#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask every DNS list whether it is alive and honest, all at once, through the resolver that Postfix uses."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: access_dnsbl_health
short_description: Tell the DNS lists that can be trusted from those that cannot
description:
  - Reads only. Each list is asked for 127.0.0.2, which it must list, and 127.0.0.1, which it must not (RFC 5782, section 5),
    through the name servers of /etc/resolv.conf. All questions are in flight at once.
  - A list that died may be silent, may list the whole world, or its domain may belong to someone else; a list that does not want
    to serve this resolver answers with a code of its own. None of them may refuse mail.
options:
  zones:
    description: The lists.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Zone of the list, such as zen.spamhaus.org.
        type: str
        required: true
      filter:
        description: Answers that count as listed, in Postfix's syntax (reject_rbl_client), such as C(127.0.0.[2..11]).
        type: str
        required: true
      kind:
        description: allow is a list of senders to favour; its test entry need not be of a grade that the filter wants.
        type: str
        choices: [block, allow]
        default: block
      ipv6:
        description: Demand the test entries of IPv6 as well, C(::FFFF:7F00:2) and C(::FFFF:7F00:1).
        type: bool
        default: false
  deadline:
    description: Seconds in which all have to answer.
    type: float
    default: 6
  servers:
    description: Name servers to ask instead of those in /etc/resolv.conf.
    type: list
    elements: str
    default: []
author: sokuhai
"""

EXAMPLES = r"""
- name: Ask the lists
  access_dnsbl_health:
    zones:
      - {name: zen.spamhaus.org, filter: "127.0.0.[2..11]"}
  check_mode: false
  register: __access_health
"""

RETURN = r"""
zones:
  description: >-
    By zone: healthy, state (ok, refused, hijacked, world, silent, dead, unlisted, mismatch, unasked), reason (a sentence for the operator),
    answers (addresses that came) and seconds
  type: dict
  returned: always
resolver: {description: "servers that were asked, and whether one of them resolves names (answers)", type: dict, returned: always}
seconds: {description: Time it took, type: float, returned: always}
"""

import ipaddress
import os
import random
import re
import select
import socket
import struct
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.dns import RCODES, question

RESOLV_CONF = "/etc/resolv.conf"
#: What the lists' operators answer to a resolver that they do not want to serve. Spamhaus publishes the first three; others use
#: the same block.
REFUSALS = {
    "127.255.255.252": "the zone's name is wrong",
    "127.255.255.254": "it does not serve public resolvers: this host has to ask through a resolver of its own, without forwarders",
    "127.255.255.255": "this resolver asks too often",
}
REFUSAL_BLOCK = ipaddress.ip_network("127.255.255.0/24")
#: dnswl.org's word for too many questions; in an allow list no sender can have it.
ALLOW_REFUSAL = "127.0.0.255"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
LISTED, UNLISTED = "127.0.0.2", "127.0.0.1"
LISTED6, UNLISTED6 = "::ffff:7f00:2", "::ffff:7f00:1"
RESEND = (0.0, 1.5, 3.0, 4.5)
AGAIN = 1.1  # named remembers a SERVFAIL for one second (servfail-ttl)


def question_name(address, zone):
    """The name under which *zone* lists *address* (RFC 5782, 2.1 and 2.4)."""
    parsed = ipaddress.ip_address(address)
    # not .exploded: Python 3.13 writes an IPv4-mapped address with dots
    labels = parsed.packed.hex() if parsed.version == 6 else str(parsed).split(".")
    return ".".join(list(reversed(labels)) + [zone.strip(".")])


def filter_octets(text):
    """A return-code filter as four lists of (least, most); ValueError when it is none (postconf(5), reject_rbl_client)."""
    parts, rest = [], text.strip()
    while rest or not parts:
        match = re.match(r"(\d{1,3}|\[[^\[\]]+\])(\.|$)", rest)
        if not match:
            raise ValueError("%r is no filter such as 127.0.0.[2..11]" % text)
        ranges = []
        for item in match.group(1).strip("[]").split(";"):
            pair = re.match(r"^\s*(\d{1,3})\s*(?:\.\.\s*(\d{1,3})\s*)?$", item)
            low, high = (int(pair.group(1)), int(pair.group(2) or pair.group(1))) if pair else (1, 0)
            if not low <= high <= 255:
                raise ValueError("%r: %r is no number or range of an octet" % (text, item))
            ranges.append((low, high))
        parts.append(ranges)
        rest = rest[match.end() :]
        if not rest and match.group(2):
            raise ValueError("%r ends in a dot" % text)
    if len(parts) != 4:
        raise ValueError("%r has %d octets, not 4" % (text, len(parts)))
    return parts


def passes(octets, address):
    """True when *address* (text) passes what filter_octets gave."""
    return all(
        any(low <= int(octet) <= high for low, high in ranges) for ranges, octet in zip(octets, address.split("."))
    )


def _after_name(data, at):
    """Offset behind the name that begins at *at*."""
    while True:
        length = data[at]
        if length & 0xC0 == 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at


def decode(data):
    """A reply as {ident, rcode, truncated, question, addresses}; None for what is no reply. Only A records are kept."""
    try:
        ident, flags, questions, answers = struct.unpack("!4H", data[:8])
        if not flags & 0x8000 or questions != 1:
            return None
        end = _after_name(data, 12) + 4
        asked, at, addresses = data[12:end].lower(), end, []
        for _ in range(answers):
            at = _after_name(data, at)
            rtype, _rclass, _ttl, length = struct.unpack("!2HIH", data[at : at + 10])
            if rtype == 1 and length == 4:
                addresses.append(socket.inet_ntoa(data[at + 10 : at + 14]))
            at += 10 + length
    except (IndexError, struct.error, OSError):
        return None
    return {
        "ident": ident,
        "rcode": RCODES.get(flags & 0xF, str(flags & 0xF)),
        "truncated": bool(flags & 0x0200),
        "question": asked,
        "addresses": addresses,
    }


def name_servers(text):
    """Name servers of a resolv.conf; without one the host itself is asked (resolver(5))."""
    found = [
        words[1]
        for words in (line.split() for line in (text or "").splitlines())
        if len(words) > 1 and words[0] == "nameserver"
    ]
    return found[:3] or ["127.0.0.1"]


class Asking:
    """Many questions in flight at once, over UDP, to the name servers in turn."""

    def __init__(self, servers, names, deadline, port=53):
        """names: {key: (name, type)}. deadline: seconds."""
        self.began = time.monotonic()
        self.end = self.began + deadline
        chosen = random.SystemRandom().sample(range(65536), len(names))
        self.questions = {}
        for ident, (key, (name, qtype)) in zip(chosen, names.items()):
            packet = question(ident, name, qtype)
            self.questions[ident] = {
                "key": key,
                "packet": packet,
                "question": packet[12:].lower(),
                "sent": 0,
                "due": self.began,
                "reply": None,
                "done": False,
            }
        self.targets = []
        for server in servers:
            try:
                family, kind, protocol, _name, address = socket.getaddrinfo(
                    server, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
                )[0]
                sock = socket.socket(family, kind, protocol)
                sock.setblocking(False)
                sock.connect(address)
                self.targets.append((sock, address, family))
            except OSError:
                continue

    def send_due(self, now):
        """Send what is due, each time to the next server."""
        for entry in self.questions.values():
            if entry["done"] or entry["due"] > now:
                continue
            sock = self.targets[entry["sent"] % len(self.targets)][0]
            entry["sent"] += 1
            try:
                sock.send(entry["packet"])
            except OSError:
                pass
            later = [delay for delay in RESEND if self.began + delay > now]
            entry["due"] = self.began + later[0] if later else self.end + 1

    def take(self, data, now, target):
        """Keep a reply that belongs to a question; the first that says something ends it."""
        reply = decode(data)
        entry = self.questions.get(reply["ident"]) if reply else None
        if entry is None or entry["done"] or reply["question"] != entry["question"]:
            return
        if reply["truncated"]:
            reply = self.over_tcp(entry["packet"], target, now) or reply
        entry["reply"] = dict(reply, seconds=now - self.began)
        if reply["rcode"] in ("NOERROR", "NXDOMAIN") or entry.get("again"):
            entry["done"] = True
        else:  # once more: the first answer may be of a server that was just starting
            entry["again"], entry["due"] = True, now + AGAIN
            entry["done"] = now + AGAIN >= self.end

    def over_tcp(self, packet, target, now):
        """The same question over TCP; None when that fails."""
        try:
            with socket.socket(target[2], socket.SOCK_STREAM) as sock:
                sock.settimeout(max(0.1, min(2.0, self.end - now)))
                sock.connect(target[1])
                sock.sendall(struct.pack("!H", len(packet)) + packet)
                stream = sock.makefile("rb")
                (length,) = struct.unpack("!H", stream.read(2))
                return decode(stream.read(length))
        except (OSError, struct.error):
            return None

    def run(self):
        """Ask; return {key: {rcode, addresses, seconds} or None}."""
        try:
            while self.targets and not all(entry["done"] for entry in self.questions.values()):
                now = time.monotonic()
                if now >= self.end:
                    break
                self.send_due(now)
                wait = min([self.end] + [entry["due"] for entry in self.questions.values() if not entry["done"]]) - now
                ready = select.select([target[0] for target in self.targets], [], [], max(0.01, wait))[0]
                for target in self.targets:
                    if target[0] in ready:
                        self.receive(target)
        finally:
            for target in self.targets:
                target[0].close()
        return {entry["key"]: entry["reply"] for entry in self.questions.values()}

    def receive(self, target):
        """Read what one server sent. When nothing listens at the only one, waiting for the deadline would tell no more."""
        while True:
            try:
                data = target[0].recv(4096)
            except BlockingIOError:
                return
            except OSError:  # ICMP: port unreachable
                if len(self.targets) == 1:
                    for entry in self.questions.values():
                        entry["done"] = True
                return
            self.take(data, time.monotonic(), target)


def judge_family(octets, kind, listed, unlisted, deadline, entries=(LISTED, UNLISTED)):
    """(state, reason) from the replies about the two test entries, each {rcode, addresses} or None."""
    came = [address for reply in (listed, unlisted) if reply for address in reply["addresses"]]
    for address in came:
        if ipaddress.ip_address(address) in REFUSAL_BLOCK:
            return "refused", "it answers %s: %s" % (address, REFUSALS.get(address, "it refuses this resolver"))
        if kind == "allow" and address == ALLOW_REFUSAL:
            return "refused", "it answers %s: this resolver asks too often" % address
    for address in came:
        if ipaddress.ip_address(address) not in LOOPBACK:
            return (
                "hijacked",
                "it answers %s, which is outside 127.0.0.0/8: the domain serves something else now" % address,
            )
    if unlisted and unlisted["addresses"]:
        return "world", "it lists %s, which no list may: it lists everything" % entries[1]
    for entry, reply in zip(entries, (listed, unlisted)):
        if reply is None:
            return "silent", "no answer about %s within %g s" % (entry, deadline)
        if reply["rcode"] not in ("NOERROR", "NXDOMAIN"):
            return "dead", "the answer about %s is %s" % (entry, reply["rcode"])
    if not listed["addresses"]:
        return (
            "unlisted",
            "it does not list its test entry %s: it is closed, or serves only those who are registered" % entries[0],
        )
    if kind == "block" and not any(passes(octets, address) for address in listed["addresses"]):
        return "mismatch", "its test entry %s answers %s, which the declared filter does not take" % (
            entries[0],
            ", ".join(sorted(listed["addresses"])),
        )
    return "ok", "lists %s and not %s" % entries


def judge(zone, replies, deadline):
    """{healthy, state, reason, answers, seconds} of one list. zone: {name, octets, kind, ipv6}. replies: {(name, entry): reply or None}."""
    families = [(LISTED, UNLISTED)] + ([(LISTED6, UNLISTED6)] if zone["ipv6"] else [])
    mine = {entry: replies.get((zone["name"], entry)) for family in families for entry in family}
    for entries in families:
        state, reason = judge_family(
            zone["octets"], zone["kind"], mine[entries[0]], mine[entries[1]], deadline, entries
        )
        if state != "ok":
            break
    return {
        "healthy": state == "ok",
        "state": state,
        "reason": reason,
        "answers": sorted({address for reply in mine.values() if reply for address in reply["addresses"]}),
        "seconds": round(max(reply["seconds"] if reply else deadline for reply in mine.values()), 3),
    }


def check(zones, servers, deadline, port=53):
    """Ask the name servers about all zones; return (what the module returns as zones, whether the name servers resolve)."""
    names = {
        (zone["name"], entry): (question_name(entry, zone["name"]), "A")
        for zone in zones
        for entry in (LISTED, UNLISTED) + ((LISTED6, UNLISTED6) if zone["ipv6"] else ())
    }
    # the root's name servers are in the resolver's cache: an answer tells a resolver that works from lists that do not
    names["control"] = (".", "NS")
    replies = Asking(servers, names, deadline, port).run()
    resolves = any(reply and reply["rcode"] in ("NOERROR", "NXDOMAIN") for reply in replies.values())
    if not resolves:
        lost = {
            "healthy": False,
            "state": "unasked",
            "reason": "no name server of this host resolves names",
            "answers": [],
            "seconds": deadline,
        }
        return {zone["name"]: dict(lost) for zone in zones}, False
    return {zone["name"]: judge(zone, replies, deadline) for zone in zones}, True


def main():
    module = AnsibleModule(
        argument_spec={
            "zones": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "filter": {"type": "str", "required": True},
                    "kind": {"type": "str", "choices": ["block", "allow"], "default": "block"},
                    "ipv6": {"type": "bool", "default": False},
                },
            },
            "deadline": {"type": "float", "default": 6.0},
            "servers": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    began = time.monotonic()
    zones = [dict(zone) for zone in module.params["zones"]]
    for zone in zones:
        try:
            zone["octets"] = filter_octets(zone["filter"])
            question_name(LISTED6, zone["name"]).encode("idna")
        except (ValueError, UnicodeError) as error:
            module.fail_json(msg="%s: %s" % (zone["name"], error))
    servers = module.params["servers"]
    if not servers:
        text = ""
        if os.path.exists(RESOLV_CONF):
            with open(RESOLV_CONF, encoding="utf-8", errors="replace") as handle:
                text = handle.read()
        servers = name_servers(text)
    found, resolves = check(zones, servers, module.params["deadline"])
    module.exit_json(
        changed=False,
        zones=found,
        resolver={"servers": servers, "answers": resolves},
        seconds=round(time.monotonic() - began, 3),
    )


if __name__ == "__main__":
    main()
