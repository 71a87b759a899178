# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A domain's whole SPF policy: which addresses it lets send, and what it costs a receiver."""

import pytest
from role_modules import util

spf = util("sokuhai.spfpolicy")
FOUR, SIX = "192.0.2.10", "2001:db8::10"
WORLD = {
    ("mx.home.example", "A"): [FOUR],
    ("mx.home.example", "AAAA"): [SIX],
    ("home.example", "A"): [FOUR],
    ("home.example", "AAAA"): [],
    ("home.example", "MX"): ["10 mx.home.example"],
    ("none.test", "TXT"): ["something else"],
    ("dead.test", "TXT"): None,
    ("half.test", "TXT"): ["v=spf1 ip4:192.0.2.0/28 ~all"],
    ("loop.test", "TXT"): ["v=spf1 include:loop.test -all"],
    ("net.test", "TXT"): ["v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/64 -all"],
    **{("n%d.test" % n, "TXT"): ["v=spf1 include:n%d.test -all" % (n + 1)] for n in range(12)},
    ("n12.test", "TXT"): ["v=spf1 ip4:192.0.2.10 -all"],
}


def policy(*texts, addresses=(FOUR, SIX), world=None):
    known = {**WORLD, ("home.example", "TXT"): list(texts), **(world or {})}
    return spf.Policy("home.example", addresses, lambda name, kind: known.get((name, kind), []))


@pytest.mark.parametrize(
    "text, four, six, lookups",
    [
        ("v=spf1 mx -all", "pass", "pass", 1),
        ("v=spf1 a -all", "pass", "fail", 1),
        ("V=SPF1 +A:mx.home.example ~ALL", "pass", "pass", 1),
        ("v=spf1 a:mx.home.example/24//64 -all", "pass", "pass", 1),
        ("v=spf1 ip4:192.0.2.10 -all", "pass", "fail", 0),
        ("v=spf1 ip6:2001:db8::/32 ?all", "neutral", "pass", 0),
        ("v=spf1 -ip4:192.0.2.10 +all", "fail", "pass", 0),
        ("v=spf1", "neutral", "neutral", 0),
        ("v=spf1 include:net.test -all", "pass", "pass", 1),
        ("v=spf1 include:half.test -all", "pass", "fail", 1),
        ("v=spf1 redirect=net.test", "pass", "pass", 1),
        ("v=spf1 redirect=none.test", "permerror", "permerror", 1),
        ("v=spf1 redirect=net.test ~all", "softfail", "softfail", 0),
        ("v=spf1 include:none.test -all", "permerror", "permerror", 1),
        ("v=spf1 include:dead.test -all", "temperror", "temperror", 1),
        ("v=spf1 mx include:dead.test -all", "pass", "pass", 2),
        ("v=spf1 exists:%{i}.x.test -all", "unknown", "unknown", 1),
        ("v=spf1 ip4:192.0.2.10 exists:%{i}.x.test -all", "pass", "unknown", 1),
        ("v=spf1 ipv4:192.0.2.10 -all", "permerror", "permerror", 0),
        ("v=spf1 ip4:2001:db8::1 -all", "permerror", "permerror", 0),
        ("v=spf1 include: -all", "permerror", "permerror", 0),
        ("v=spf1 a/33 -all", "permerror", "permerror", 0),
        ("v=spf1 exp=why.home.example unknown=x mx -all", "pass", "pass", 1),
    ],
)
def test_what_a_policy_says_of_two_addresses_and_what_it_costs(text, four, six, lookups):
    found = policy(text)
    assert (found.results, found.lookups) == ({FOUR: four, SIX: six}, lookups)
    assert bool(found.bad) == (four == "permerror" and "none.test" not in text.partition("redirect")[2])


def test_the_domain_has_no_policy_or_two():
    assert set(policy("google-site-verification=x", "v=spf10 all").results.values()) == {"none"}
    two = policy("v=spf1 mx -all", "v=spf1 a -all")
    assert len(two.records) == 2 and set(two.results.values()) == {"permerror"}


def test_lookups_are_counted_through_what_is_included_and_behind_a_match():
    found = policy("v=spf1 ip4:192.0.2.10 include:n0.test mx -all")
    assert found.lookups == 14 and found.bad == "14 lookups"
    assert policy("v=spf1 include:n3.test -all").lookups == 10 and not policy("v=spf1 include:n3.test -all").bad


def test_a_policy_that_includes_itself_comes_to_an_end():
    found = policy("v=spf1 include:loop.test -all")
    assert found.bad == "loop.test" and set(found.results.values()) == {"permerror"}


def test_names_that_lead_nowhere_are_counted_as_well():
    found = policy("v=spf1 a:x.test a:y.test mx:z.test -all", addresses=[FOUR])
    assert (found.voids, found.bad) == (3, "3 void lookups")
