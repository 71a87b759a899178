# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which name server role accepted asks: the zone's own, and the host's resolver where none of those answers."""

import pytest
from role_modules import util

zones = util("accepted_zones")
RESOLVER, OWN, OTHER, FOREIGN = "127.0.0.1", "198.51.100.4", "198.51.100.5", "198.51.100.6"
#: What the resolver knows: it heard of no DKIM record before there was one.
RESOLVED = {
    ("home.example", "NS"): [("NS", "ns1.test"), ("NS", "ns2.test")],
    ("2.0.192.in-addr.arpa", "NS"): [("NS", "ns2.test")],
    ("esp.test", "NS"): [("NS", "ns.esp.test")],
    ("ns1.test", "A"): [("A", OTHER)],
    ("ns2.test", "A"): [("A", OWN)],
    ("ns.esp.test", "A"): [("A", FOREIGN)],
    ("home.example", "TXT"): [("TXT", "of the resolver")],
    ("_spf.esp.test", "TXT"): [("TXT", "theirs")],
}
ZONE = {
    ("home.example", "TXT"): [("TXT", "of the zone")],
    ("s1._domainkey.home.example", "TXT"): [("TXT", "new")],
    ("s2._domainkey.home.example", "TXT"): [("CNAME", "s2.home.esp.test")],
    ("s3._domainkey.home.example", "TXT"): [("CNAME", "s3._domainkey.home.example")],
    ("10.2.0.192.in-addr.arpa", "PTR"): [("PTR", "mx.home.example")],
}
THEIRS = {("s2.home.esp.test", "TXT"): [("TXT", "at the provider")]}


def reply(records, authoritative=True):
    return {"rcode": "NOERROR" if records else "NXDOMAIN", "records": records, "authoritative": authoritative}


@pytest.fixture
def world(monkeypatch):
    """.asked: (server, name, type) of queries without recursion; .servers: {address: its records}, None for one that does not answer."""

    class World:
        def __init__(self):
            self.asked, self.resolved, self.servers = [], [], {OTHER: None, OWN: ZONE, FOREIGN: THEIRS}
            self.serves = False

        def ask(self, server, name, kind, recurse=True, **_more):
            assert not recurse
            self.asked.append((server, name, kind))
            found = self.servers[server]
            return None if found is None else reply(found.get((name, kind), []))

        def resolve(self, _servers, name, kind, _end):
            self.resolved.append((name, kind))
            return reply(RESOLVED.get((name, kind), []), self.serves)

    one = World()
    monkeypatch.setattr(zones.dns, "ask", one.ask)
    monkeypatch.setattr(zones.dns, "resolve", one.resolve)
    one.zones = zones.Zones(60, ["mx.home.example", "home.example"], [RESOLVER])
    return one


def test_a_record_that_was_just_published_is_there(world):
    assert world.zones.ask("s1._domainkey.home.example", "TXT") == ["new"]
    assert world.zones.ask("home.example", "TXT") == ["of the zone"] and world.zones.instead == []
    assert ("s1._domainkey.home.example", "TXT") not in world.resolved, (
        "a resolver would go on saying that there is none"
    )
    assert world.zones.ask("s9._domainkey.home.example", "TXT") == []
    # one that does not answer is asked once
    assert [server for server, _name, _kind in world.asked] == [OTHER, OWN, OWN, OWN]


def test_a_reverse_name_is_asked_for_at_its_zone_and_an_alias_at_the_zone_that_it_leads_to(world):
    assert world.zones.ask("10.2.0.192.in-addr.arpa", "PTR") == ["mx.home.example"]
    assert world.zones.ask("s2._domainkey.home.example", "TXT") == ["at the provider"]
    assert world.zones.ask("s3._domainkey.home.example", "TXT") == [], "one that leads to itself ends"


def test_what_is_another_s_is_the_resolver_s_to_answer(world):
    assert world.zones.ask("_spf.esp.test", "TXT") == ["theirs"]
    assert world.asked == [] and world.zones.instead == []


def test_the_resolver_counts_where_no_name_server_of_the_zone_answers_and_is_named(world):
    world.servers[OWN] = None
    assert world.zones.ask("home.example", "TXT") == ["of the resolver"]
    assert world.zones.instead == [("home.example", "TXT")]
    world.zones.turn = 0
    asked = len(world.asked)
    assert world.zones.ask("s1._domainkey.home.example", "TXT") == [] and len(world.asked) == asked, "in time for it"


def test_a_zone_that_the_host_serves_itself_is_asked_for_where_it_is_served(world):
    world.serves, world.servers = True, {RESOLVER: ZONE}
    assert world.zones.ask("s1._domainkey.home.example", "TXT") == ["new"] and world.zones.instead == []


def test_a_server_that_has_not_the_zone_says_nothing_of_it(world, monkeypatch):
    monkeypatch.setattr(zones.dns, "ask", lambda *_, **_more: reply([], authoritative=False))
    assert world.zones.ask("home.example", "TXT") == ["of the resolver"] and world.zones.instead
