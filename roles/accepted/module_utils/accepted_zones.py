# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the name servers of a zone answer themselves: a resolver keeps what it once heard, also that there is no such record, for its TTL (RFC 2308)."""

import threading
import time

from ansible.module_utils.accepted_host import Resolver
from ansible.module_utils.sokuhai import dns

#: Name servers of one zone of which addresses are looked up, and aliases (CNAME) that are followed one after the other.
SERVERS, ALIASES = 3, 4


def bare(name):
    """Return *name* without its labels up to the last one that begins with an underscore: these are seldom zones of their own."""
    labels = name.split(".")
    last = max((at for at, label in enumerate(labels) if label.startswith("_")), default=-1)
    return ".".join(labels[last + 1 :])


class Zones(Resolver):
    """About names at, above and below those in *own*, and about reverse names, a zone's own name servers are asked; about others the host's resolver, as also
    where none of those answers.

    instead: [(name, type)] of what the resolver had to answer in their place.
    """

    def __init__(self, seconds, own, servers=None):
        super().__init__(seconds, servers)
        self.own, self.instead = [one.lower().rstrip(".") for one in own], []
        # half of the time is left to the resolver
        self.turn = time.monotonic() + seconds / 2
        self.zones, self.silent, self.looking = {}, set(), threading.Lock()

    def is_own(self, name):
        name = bare(name)
        return name.endswith(".arpa") or any(
            ("." + name).endswith("." + one) or one.endswith("." + name) for one in self.own
        )

    def query(self, name, kind):
        found = self.direct(name, kind) if self.is_own(name) else None
        if found is None:
            found = super().query(name, kind)
            if found is not None and self.is_own(name):
                self.instead.append((name, kind))
        return found

    def direct(self, name, kind, aliases=ALIASES):
        """Return the values that a name server of the zone of *name* has, or None where none answers that it has, or has not."""
        for server in self.servers_of(bare(name)):
            if time.monotonic() >= self.turn:
                break
            if server in self.silent:
                continue
            try:
                reply = dns.ask(server, name, kind, recurse=False, timeout=dns.TURN, tries=1)
            except UnicodeError:  # a label that cannot be
                return []
            if reply is None:
                self.silent.add(server)
            elif reply["authoritative"] and reply["rcode"] in dns.ANSWERED:
                found = [value for of, value in reply["records"] if of == kind]
                alias = [value for of, value in reply["records"] if of == "CNAME"][-1:]
                if found or not alias:
                    return found
                return self.direct(alias[0], kind, aliases - 1) if aliases else None
        return None

    def servers_of(self, name):
        """Return the addresses of the name servers of the zone that *name* is in, [] where they cannot be had."""
        labels = name.split(".")
        with self.looking:
            for at in range(len(labels) - 1):
                zone = ".".join(labels[at:])
                if zone not in self.zones:
                    self.zones[zone] = self.delegated(zone)
                if self.zones[zone] is not None:
                    return self.zones[zone]
        return []

    def delegated(self, zone):
        """Return the addresses of the name servers of *zone*, [] where they cannot be had, None for what is no zone."""
        reply = self.resolved(zone, "NS")
        if reply is None:
            return []
        names = values(reply, "NS")
        if names and reply["authoritative"]:
            # the host serves it itself, perhaps at a loopback address alone
            return self.servers
        return self.addresses(names[:SERVERS]) if names else None

    def addresses(self, names):
        asked = [(kind, self.resolved(name, kind)) for kind in ("A", "AAAA") for name in names]
        return [one for kind, reply in asked if reply for one in values(reply, kind)]

    def resolved(self, name, kind):
        """Return the resolver's reply, or None where it has none, or one that something failed."""
        try:
            reply = dns.resolve(self.servers, name, kind, self.turn)
        except UnicodeError:
            return None
        return reply if reply and reply["rcode"] in dns.ANSWERED else None


def values(reply, kind):
    """Return the values of type *kind* that a reply has of the name itself: of an alias they would be another zone's."""
    alias = any(of == "CNAME" for of, _value in reply["records"])
    return [] if alias else [value for of, value in reply["records"] if of == kind]
