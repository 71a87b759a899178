"""The provider's resolver: the limit for each client, and recursion over the simulated internet."""

import dns.message
import dns.rcode
import pytest
from labkit.internet import zones
from labkit.internet.resolver import Bucket, Resolver


@pytest.fixture(scope="module")
def internet():
    return zones.Internet()


@pytest.fixture
def resolver(internet):
    unlimited = Resolver(internet)
    unlimited.set(rate=0)
    yield unlimited
    for zone in internet.zones.values():
        zone.behaviour.set(**zone.configured)


def ask(resolver, name, rdtype, now=100.0, client="192.0.2.10"):
    """(message or None, delay)"""
    wire, delay = resolver.respond(dns.message.make_query(name, rdtype).to_wire(), client, now)
    return wire and dns.message.from_wire(wire), delay


def test_bucket():
    bucket = Bucket(5, 0.0)
    assert [bucket.take(2, 5, 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert [bucket.take(2, 5, 1.0) for _ in range(3)] == [True, True, False]
    assert sum(bucket.take(2, 5, 1000.0) for _ in range(10)) == 5
    fast = Bucket(1, 0.0)
    assert sum(fast.take(20, 1, i / 1000) for i in range(10_000)) in range(
        196, 202
    )  # rounding may cost a step of 1 ms now and then


def test_limit_is_for_each_client_and_drops_or_fails(resolver):
    resolver.set(rate=20, burst=50, over="drop")
    answers = [ask(resolver, "signed.test", "A")[0] for _ in range(80)]
    assert sum(a is not None for a in answers) == 50 and all(a.answer for a in answers[:50])
    assert ask(resolver, "signed.test", "A", client="192.0.2.11")[0].answer
    resolver.set(over="servfail")
    assert ask(resolver, "signed.test", "A")[0].rcode() == dns.rcode.SERVFAIL
    assert sum(bool(ask(resolver, "signed.test", "A", now=101.0)[0].answer) for _ in range(40)) == 20
    assert resolver.as_dict()["over_limit"] == 30 + 1 + 20
    resolver.set(rate=0)
    assert all(ask(resolver, "signed.test", "A", now=101.0)[0].answer for _ in range(200))


def test_resolves_across_zones_follows_cname_and_denies(resolver):
    assert ask(resolver, "d0001.test", "MX")[0].answer[0][0].exchange.to_text() == "mail.d0001.test."
    names = [(r.name.to_text(), r.rdtype.name) for r in ask(resolver, "www.signed.test", "A")[0].answer]
    assert names == [("www.signed.test.", "CNAME"), ("signed.test.", "A")]
    assert ask(resolver, "nowhere.test", "A")[0].rcode() == dns.rcode.NXDOMAIN
    assert ask(resolver, "10.2.0.192.in-addr.arpa", "PTR")[0].answer
    assert ask(resolver, "bogus.test", "A")[0].answer, "it does not validate"
    assert ask(resolver, "broken.test", "TXT")[0].rcode() == dns.rcode.SERVFAIL


def test_it_waits_as_long_as_the_servers_make_it_and_remembers(resolver, internet):
    internet.zones[zones.wire("test.")].behaviour.set(delay=100)
    internet.zones[zones.wire("d0002.test.")].behaviour.set(delay=1000)
    assert ask(resolver, "d0002.test", "MX", now=0.0)[1] == pytest.approx(1.1)
    assert ask(resolver, "d0002.test", "MX", now=0.5)[1] == pytest.approx(0.6), (
        "the query in progress is not sent again"
    )
    assert ask(resolver, "d0002.test", "MX", now=2.0)[1] == 0
    assert ask(resolver, "mail.d0002.test", "A", now=2.0)[1] == pytest.approx(1.0), "the delegation is known by now"
    resolver.forget()
    assert ask(resolver, "d0002.test", "MX", now=3.0)[1] == pytest.approx(1.1)


def test_a_silent_server_is_asked_again_and_given_up(resolver):
    reply, delay = ask(resolver, "1.0.0.127.dnsbl-silent.test", "A")
    assert reply.rcode() == dns.rcode.SERVFAIL and delay == pytest.approx(0.8 * 31)


@pytest.mark.parametrize("wrong", [{"rate": -1}, {"burst": "many"}, {"over": "refuse"}, {"limit": 3}])
def test_wrong_settings_are_refused(resolver, wrong):
    with pytest.raises(ValueError):
        resolver.set(**wrong)
