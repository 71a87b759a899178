"""Answers of authoritative servers, from wire form to wire form."""

import struct

from dns.rdatatype import CNAME, DS, NS, SOA

from .zones import suffixes

QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
ANY = 255
POINTER = b"\xc0\x0c"  # to the question's name
UDP_SIZE = 1232
HEADER = struct.Struct("!HHHHHH")
CACHED = 50_000


class Query:
    """The parts of a query that an answer depends on; `ok` is False when it cannot be read."""

    __slots__ = ("do", "edns", "flags", "id", "name", "ok", "question", "rdclass", "rdtype", "size", "opcode")

    def __init__(self, wire):
        self.ok = False
        if len(wire) < 12:
            self.id = None
            return
        self.id, self.flags, questions, _an, _ns, additional = HEADER.unpack_from(wire)
        self.opcode = (self.flags >> 11) & 15
        self.question, self.edns, self.do, self.size = b"", False, False, 512
        if self.flags & QR or questions != 1:
            return
        at, end = 12, len(wire)
        while at < end and wire[at]:
            if wire[at] > 63:
                return
            at += wire[at] + 1
        at += 5
        if at > end or at - 12 - 4 > 255:
            return
        self.question = wire[12:at]
        self.name = wire[12 : at - 4].lower()
        self.rdtype, self.rdclass = struct.unpack_from("!HH", wire, at - 4)
        # the OPT record is the only additional record that queries carry, and its owner is the root
        if additional and at + 11 <= end and wire[at] == 0 and wire[at + 1 : at + 3] == b"\x00\x29":
            self.edns = True
            self.size = min(max(512, wire[at + 3] << 8 | wire[at + 4]), UDP_SIZE)
            self.do = bool(wire[at + 7] & 0x80)
        self.ok = True


class Reply:
    """Sections of an answer, independent of who asked."""

    __slots__ = ("additional", "answer", "authority", "cacheable", "flags", "rcode", "zone")

    def __init__(self, zone, rcode=NOERROR, flags=AA):
        self.zone, self.rcode, self.flags = zone, rcode, flags
        self.answer, self.authority, self.additional = [], [], []
        self.cacheable = True

    def put(self, section, owner, rrset, do):
        for body in rrset.bodies:
            section.append(owner + body)
        if do and self.zone.key:
            section.append(owner + rrset.signed_by(self.zone))

    def deny(self, do, *names):
        """SOA for negative caching and, for a signed zone, the NSEC records that cover or match *names*."""
        zone = self.zone
        soa = zone.soa
        # RFC 2308, 5: the SOA's own TTL bounds negative caching too
        self.put(self.authority, zone.wire, soa, do)
        if do and zone.key:
            seen = set()
            for name in names:
                rrset = zone.nsec_before(name)
                if rrset.name not in seen:
                    seen.add(rrset.name)
                    self.put(self.authority, rrset.name.to_wire(), rrset, True)


def look_up(internet, zone, name, rdtype, do):
    """The zone's answer for a name in or below it."""
    cut = zone.cut_above(name)
    if cut is not None and not (cut == name and rdtype == DS):
        reply = Reply(zone, flags=0)
        node = zone.nodes[cut]
        ns = node[int(NS)]
        owner = POINTER if cut == name else cut
        for body in ns.bodies:
            reply.authority.append(owner + body)
        if do and zone.key:
            if int(DS) in node:
                reply.put(reply.authority, owner, node[int(DS)], True)
            else:
                reply.put(reply.authority, owner, zone.nsec_before(cut), True)
        for rdata in ns.rdatas:
            reply.additional += internet.glue.get(rdata.target.to_wire().lower(), [])
        return reply
    node = zone.nodes.get(name)
    if node is None:
        if name in zone.exists:  # an empty non-terminal
            reply = Reply(zone)
            reply.deny(do, name)
            return reply
        encloser = next(above for above in suffixes(name)[1:] if above in zone.exists)
        star = b"\x01*" + encloser
        node = zone.nodes.get(star)
        if node is None:
            reply = Reply(zone, NXDOMAIN)
            reply.cacheable = False
            reply.deny(do, name, star)
            return reply
        reply = Reply(zone)
        reply.cacheable = False
        rrset = node.get(rdtype) or node.get(int(CNAME))
        if rrset is None:
            reply.deny(do, star, name)
            return reply
        reply.put(reply.answer, POINTER, rrset, do)
        if do and zone.key:
            nsec = zone.nsec_before(name)
            reply.put(reply.authority, nsec.name.to_wire(), nsec, True)
        return reply
    reply = Reply(zone)
    rrset = node.get(rdtype) or node.get(int(CNAME))
    if rrset is None and rdtype == ANY:
        rrset = next(iter(node.values()))  # RFC 8482, 4.1: one of the RRsets
    if rrset is None:
        reply.deny(do, name)
    else:
        reply.put(reply.answer, POINTER, rrset, do)
        if rdtype == NS:
            for rdata in rrset.rdatas:
                reply.additional += internet.glue.get(rdata.target.to_wire().lower(), [])
    return reply


def render(query, reply, limit, extra_flags=0):
    """Wire form of a reply to a query; too long for *limit*, it is cut and says so (TC)."""
    opt = (
        b"\x00\x00\x29\x04\xd0\x00\x00" + (b"\x80\x00" if query.do else b"\x00\x00") + b"\x00\x00"
        if query.edns
        else b""
    )
    flags = QR | query.flags & (RD | 0x7810) | reply.flags | extra_flags | reply.rcode
    body = b"".join(reply.answer + reply.authority + reply.additional)
    size = 12 + len(query.question) + len(body) + len(opt)
    if size > limit and reply.additional:
        body = b"".join(reply.answer + reply.authority)
        reply_additional = 0
        size = 12 + len(query.question) + len(body) + len(opt)
    else:
        reply_additional = len(reply.additional)
    if size > limit:
        return HEADER.pack(query.id, flags | TC, 1, 0, 0, bool(opt)) + query.question + opt
    return (
        HEADER.pack(query.id, flags, 1, len(reply.answer), len(reply.authority), reply_additional + bool(opt))
        + query.question
        + body
        + opt
    )


def error(query, rcode, extra_flags=0):
    """An answer of nothing but a response code."""
    flags = QR | query.flags & (RD | 0x7800) | extra_flags | rcode
    opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00" if query.question and query.edns else b""
    return HEADER.pack(query.id, flags, bool(query.question), 0, 0, bool(opt)) + query.question + opt


class Authority:
    """One authoritative server: the zones it has, and answers to queries about them."""

    def __init__(self, internet, server):
        self.internet, self.server = internet, server
        self.zones = internet.by_server[server]
        self.cache = {}

    def respond(self, wire, tcp=False):
        """(answer, delay in seconds) to a query in wire form; the answer is None when nothing is sent."""
        query = Query(wire)
        if not query.ok:
            return (None if query.id is None or query.flags & QR else error(query, FORMERR)), 0
        if query.opcode:
            return error(query, NOTIMP), 0
        key = (query.name, query.rdtype, query.do)
        reply = self.cache.get(key)
        if reply is None:
            zone = self.internet.deepest(query.name, query.rdtype, self.zones) if query.rdclass == 1 else None
            if zone is None:
                return error(query, REFUSED), 0
            reply = look_up(self.internet, zone, query.name, query.rdtype, query.do)
            if reply.cacheable:
                if len(self.cache) >= CACHED:
                    self.cache.clear()
                self.cache[key] = reply
        zone = reply.zone
        zone.queries += 1
        behaviour = zone.behaviour
        if behaviour.loss and behaviour.lost():
            return None, 0
        if behaviour.rcode is not None:
            return error(query, behaviour.rcode), behaviour.delay / 1000
        return render(query, reply, 65535 if tcp else query.size), behaviour.delay / 1000


__all__ = ["Authority", "Query", "Reply", "SOA", "error", "look_up", "render"]
