"""The provider's resolver: recursion for its customers, so and so many queries a second for each of them.

It answers from the same zone data, after the time that asking the authoritative servers would take with the behaviour
they have at that moment; what it learnt it keeps for the TTL. It does not validate, as many such resolvers do not.
"""

import math

import dns.name
from dns.rdatatype import CNAME

from .authority import FORMERR, NOTIMP, QR, RA, SERVFAIL, Query, Reply, error, look_up, render
from .settings import checked
from .zones import suffixes, wire

TRIES = 5
FIRST_TRY = 0.8  # seconds it waits for an authoritative server at first, twice as long each time
CACHED = 200_000


class Bucket:
    """A token bucket: *rate* a second on average, *burst* at once."""

    __slots__ = ("level", "then")

    def __init__(self, burst, now):
        self.level, self.then = float(burst), now

    def take(self, rate, burst, now):
        self.level = min(burst, self.level + (now - self.then) * rate)
        self.then = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Resolver:
    """A resolver with a limit for each client address. rate: queries a second; burst: queries; over: drop or servfail; delay: milliseconds to it and back."""

    def __init__(self, internet):
        self.internet = internet
        self.buckets = {}
        self.cache = {}
        self.known = {}
        self.queries = self.refused = 0
        self.reset()

    def reset(self):
        configured = self.internet.data["resolver"]
        self.set(delay=0, **{key: configured[key] for key in ("rate", "burst", "over")})
        self.forget()

    def set(self, **values):
        """Change rate, burst, over or delay; rate=0 takes the limit away. Raises ValueError for what is none of these."""
        allowed = {"rate": (0, math.inf), "burst": (0, math.inf), "over": ["drop", "servfail"], "delay": (0, 60_000)}
        for key, value in checked(values, allowed).items():
            setattr(self, key, value)

    def forget(self):
        self.cache.clear()
        self.known.clear()
        self.buckets.clear()

    def as_dict(self):
        return {
            "rate": self.rate,
            "burst": self.burst,
            "over": self.over,
            "delay": self.delay,
            "queries": self.queries,
            "over_limit": self.refused,
        }

    def allowed(self, client, now):
        if self.rate == 0:
            return True
        bucket = self.buckets.get(client)
        if bucket is None:
            if len(self.buckets) > 10_000:
                self.buckets.clear()
            bucket = self.buckets[client] = Bucket(self.burst, now)
        return bucket.take(self.rate, self.burst, now)

    def respond(self, wire_query, client, now, tcp=False):
        """(answer or None, delay in seconds) for a query of a client (address) at a time (monotonic seconds)."""
        query = Query(wire_query)
        if not query.ok:
            return (None if query.id is None or query.flags & QR else error(query, FORMERR, RA)), 0
        if query.opcode or query.rdclass != 1:
            return error(query, NOTIMP, RA), 0
        self.queries += 1
        if not self.allowed(client, now):
            self.refused += 1
            return (error(query, SERVFAIL, RA) if self.over == "servfail" else None), 0
        reply, ready = self.resolve(query.name, query.rdtype, query.do, now)
        wait = ready - now + self.delay / 1000
        if reply is None:
            return error(query, SERVFAIL, RA), wait
        return render(query, reply, 65535 if tcp else query.size, RA), wait

    def resolve(self, name, rdtype, do, now):
        """(Reply, or None for a failure; when it is there)."""
        held = self.cache.get((name, rdtype, do))
        if held and held[1] > now:
            return held[2], max(now, held[0])
        chain, final, ready = [], name, now
        answer = None
        for _step in range(9):
            zone = self.internet.deepest(final, rdtype)
            ready, fine = self.reach(zone, ready)
            if not fine:
                answer = None
                break
            part = look_up(self.internet, zone, final, rdtype, do)
            answer = Reply(zone, part.rcode, flags=0)
            answer.authority = part.authority
            # what follows a CNAME belongs to another name than the question's
            answer.answer = chain + (
                [wire(dns.name.from_wire(final, 0)[0]) + r[2:] for r in part.answer] if chain else part.answer
            )
            target = zone.nodes.get(final, {}).get(int(CNAME))
            if target is None or rdtype == CNAME:
                break
            chain = list(answer.answer)
            final = target.rdatas[0].target.to_wire().lower()
        if len(self.cache) >= CACHED:
            self.cache.clear()
        ttl = 1 if answer is None else answer.zone.soa.rdatas[0].minimum
        self.cache[(name, rdtype, do)] = (ready, ready + ttl, answer)
        return answer, ready

    def reach(self, zone, now):
        """When the zone's servers have answered, by way of the zones above it that are not known yet; and whether they have."""
        internet = self.internet
        path = [internet.zones[s] for s in suffixes(zone.wire) if s in internet.zones]
        for step in reversed(path):
            if step is not zone:
                held = self.known.get(step.wire)
                if held and held[1] > now:
                    now = max(now, held[0])
                    continue
            behaviour = step.behaviour
            for attempt in range(TRIES):
                if behaviour.lost():
                    now += FIRST_TRY * 2**attempt
                    continue
                now += behaviour.delay / 1000
                break
            else:
                return now, False
            if behaviour.rcode is not None:
                return now, False
            if step is not zone:
                self.known[step.wire] = (now, now + 3600)
        return now, True
