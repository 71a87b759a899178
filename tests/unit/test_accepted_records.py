# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The records that mail of a host needs, and what is wrong with those that the DNS has."""

import base64
import functools
import ipaddress

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from role_modules import load, util

RECORDS = load("roles/accepted/library/accepted_records.py")
want, judge, there, include, zones = (
    util("accepted_" + name) for name in ("wanted", "compare", "host", "include", "zones")
)
FOUR, SIX, HOST, DOMAIN = "192.0.2.10", "2001:db8::10", "mx.home.example", "home.example"
KEY = "ab" * 32


@functools.cache
def public(bits):
    key = rsa.generate_private_key(65537, bits).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER, form)).decode()


def dkim(bits=2048):
    return "v=DKIM1; k=rsa; p=" + public(bits)


def declared(**more):
    p = {
        "hostname": HOST,
        "inet_protocols": "all",
        "domains": [DOMAIN],
        "addresses": [],
        "spf": [],
        "spf_all": "~all",
        "dkim": [{"domain": DOMAIN, "selector": "s1", "value": dkim(), "bits": 2048}],
        "dmarc": "none",
        "dmarc_reports": "",
        "tls_reports": "",
        "mta_sts": "none",
        "tlsa": False,
        "smarthost": "",
        "include": False,
        "deadline": 15,
    }
    return {**p, **more}


REVERSE4 = "10.2.0.192.in-addr.arpa"
REVERSE6 = ipaddress.ip_address(SIX).reverse_pointer
RIGHT = {
    (HOST, "A"): [FOUR],
    (HOST, "AAAA"): [SIX],
    (REVERSE4, "PTR"): [HOST],
    (REVERSE6, "PTR"): [HOST],
    (HOST, "TXT"): ["v=spf1 a -all"],
    (DOMAIN, "MX"): ["10 " + HOST],
    (DOMAIN, "TXT"): ["site-verification=x", "v=spf1 mx -all"],
    ("_dmarc." + DOMAIN, "TXT"): ["v=DMARC1; p=none"],
    ("s1._domainkey." + DOMAIN, "TXT"): [dkim()],
    ("_25._tcp." + HOST, "TLSA"): ["3 1 1 " + KEY],
}


def compared(world, **more):
    known = {**RIGHT, **world}
    records = want.wanted(declared(**more), [FOUR, SIX], [KEY], {})
    return [judge.compare(one, lambda name, kind: known.get((name, kind), [])) for one in records]


def found(world, **more):
    """{name of a finding, without an address behind it: state} of those that follow from no other."""
    records = compared(world, **more)
    findings = RECORDS.findings_of(records)
    names = {one["id"] for one in findings}
    assert len(names) == len(findings)
    states = {"%s %s" % (one["type"], one["name"]): one["state"] for one in records if judge.counts(one)}
    roots = {" ".join(one["id"].split()[:2]) for one in findings if not names.intersection(one["because"])}
    return {name: states[name] for name in roots}


def test_what_is_right_is_no_finding_and_what_may_be_missing_is_none_either():
    assert found({}) == {}
    assert found({(HOST, "TXT"): [], ("_25._tcp." + HOST, "TLSA"): []}) == {}
    assert {one["state"] for one in compared({})} == {"fine", "missing"}, "nobody needs a record for TLS reports"


SPF, DMARC, SELECTOR = "TXT " + DOMAIN, "TXT _dmarc." + DOMAIN, "TXT s1._domainkey." + DOMAIN


@pytest.mark.parametrize(
    "name, kind, answers, state",
    [
        (HOST, "A", [], "missing"),
        (HOST, "A", ["192.0.2.99"], "different"),
        (HOST, "AAAA", ["2001:db8::99"], "different"),
        (REVERSE4, "PTR", [], "missing"),
        (REVERSE6, "PTR", ["host-10.provider.test"], "different"),
        (DOMAIN, "MX", [], "missing"),
        (DOMAIN, "MX", ["0 "], "different"),
        (DOMAIN, "TXT", [], "missing"),
        (DOMAIN, "TXT", ["v=spf1 ip4:192.0.2.10 -all"], "different"),
        (DOMAIN, "TXT", ["v=spf1 mx -all", "v=spf1 -all"], "twice"),
        (DOMAIN, "TXT", ["v=spf1 ipv4:192.0.2.10 -all"], "broken"),
        (DOMAIN, "TXT", ["v=spf1 mx %s-all" % ("ip4:203.0.113.200 " * 30)], "long"),
        (DOMAIN, "TXT", ["v=spf1 %s-all" % ("mx " * 11)], "costly"),
        (HOST, "TXT", ["v=spf1 -all"], "different"),
        ("_dmarc." + DOMAIN, "TXT", [], "missing"),
        ("_dmarc." + DOMAIN, "TXT", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "twice"),
        ("_dmarc." + DOMAIN, "TXT", ["v=DMARC1; p=nothing"], "broken"),
        ("s1._domainkey." + DOMAIN, "TXT", [], "missing"),
        ("s1._domainkey." + DOMAIN, "TXT", ["v=DKIM1; p="], "different"),
        ("s1._domainkey." + DOMAIN, "TXT", [dkim()[:255]], "long"),
        ("s1._domainkey." + DOMAIN, "TXT", [dkim(), dkim(1024)], "twice"),
        ("_25._tcp." + HOST, "TLSA", ["3 1 1 " + "cd" * 32], "different"),
        ("_smtp._tls." + DOMAIN, "TXT", ["v=TLSRPTv1; nobody"], "different"),
    ],
)
def test_each_fault_is_named_and_nothing_else(name, kind, answers, state):
    assert found({(name, kind): answers}) == {"%s %s" % (kind, name): state}


@pytest.mark.parametrize(
    "world, more, expected",
    [
        ({}, {"dmarc": "quarantine"}, {DMARC: "different"}),
        ({("_dmarc." + DOMAIN, "TXT"): ["v=DMARC1;p=reject"]}, {"dmarc": "quarantine"}, {}),
        ({}, {"dmarc_reports": "d@x.test"}, {DMARC: "different"}),
        ({}, {"spf": ["include:x.test"]}, {SPF: "different"}),
        ({}, {"tls_reports": "t@x.test"}, {"TXT _smtp._tls." + DOMAIN: "missing"}),
        ({("_25._tcp." + HOST, "TLSA"): []}, {"tlsa": True}, {"TLSA _25._tcp." + HOST: "missing"}),
        ({}, {"mta_sts": "testing"}, {"TXT _mta-sts." + DOMAIN: "missing"}),
        ({(REVERSE4, "PTR"): [], (DOMAIN, "TXT"): ["v=spf1 -all"]}, {"smarthost": "s.test"}, {}),
        ({}, {"dkim": [{"domain": DOMAIN, "selector": "s2", "value": dkim(), "role": "next"}]}, {}),
        ({("s1._domainkey." + DOMAIN, "TXT"): [dkim(1024)]},
         {"dkim": [{"domain": DOMAIN, "selector": "s1", "value": dkim(1024), "bits": 2048}]}, {SELECTOR: "short"}),
    ],
)  # fmt: skip
def test_what_is_declared_decides_what_is_enough(world, more, expected):
    assert found(world, **more) == expected


def test_a_subdomain_may_leave_dmarc_to_its_parent():
    sub = {
        ("m.home.example", "MX"): ["10 " + HOST],
        ("m.home.example", "TXT"): ["v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 -all"],
    }
    assert found({**sub}, domains=["m.home.example"]) == {}
    weak = {("_dmarc." + DOMAIN, "TXT"): ["v=DMARC1; p=reject; sp=none"]}
    assert found({**sub, **weak}, domains=["m.home.example"], dmarc="reject") == {
        "TXT _dmarc.m.home.example": "different"
    }


def test_an_answer_that_does_not_come_is_not_known_and_no_finding():
    assert found({(DOMAIN, "TXT"): None, (HOST, "A"): None, ("s1._domainkey." + DOMAIN, "TXT"): None}) == {}
    assert [one["name"] for one in compared({(HOST, "TXT"): None}) if one["state"] == "unknown"] == [HOST]
    macros = compared({(DOMAIN, "TXT"): ["v=spf1 exists:%{i}.x.test -all"]})
    assert [one["use"] for one in macros if one["state"] == "unknown"] == ["spf"]


def test_what_to_publish_keeps_what_a_policy_has():
    (one,) = [one for one in compared({(DOMAIN, "TXT"): ["v=spf1 a:www.x.test -all"]}) if one["use"] == "spf"]
    assert one["paste"] == "v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 a:www.x.test -all"


@pytest.mark.parametrize("bits", [1024, 2048])
def test_the_length_of_a_key(bits):
    assert judge.key_bits("v=DKIM1; p=" + public(bits)) == bits


def test_what_is_no_key_has_no_length():
    assert judge.key_bits("v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(32)).decode()) == 256
    for text in ("", "p=", "p=!", "p=" + public(2048)[:200], "p=AAAA"):
        assert judge.key_bits(text) == 0


def test_records_as_a_zone_file_has_them():
    lines = {one["use"]: want.line(one) for one in want.wanted(declared(), [FOUR], [KEY], {})}
    assert lines["address"] == "mx.home.example. 3600 IN A 192.0.2.10"
    assert lines["reverse"] == REVERSE4 + ". 3600 IN PTR mx.home.example."
    assert lines["mx"] == "home.example. 3600 IN MX 10 mx.home.example."
    assert lines["spf"] == 'home.example. 3600 IN TXT "v=spf1 ip4:192.0.2.10 ~all"'
    assert lines["tlsa"] == "_25._tcp.mx.home.example. 3600 IN TLSA 3 1 1 " + KEY
    parts = lines["dkim"].split(' "')[1:]
    assert len(parts) == 2 and len(parts[0]) == 256 and "".join(part.rstrip('"') for part in parts) == dkim()
    assert want.strings('a"\\ü') == '"a\\"\\\\\\195\\188"'


def test_behind_a_smarthost_the_policy_is_not_empty():
    def policy(**more):
        return next(one["value"] for one in want.wanted(declared(**more), [FOUR], [], {}) if one["use"] == "spf")

    assert policy(smarthost="s.test") == "v=spf1 a:s.test ~all"
    assert policy(smarthost="203.0.113.9") == "v=spf1 ip4:203.0.113.9 ~all"
    assert policy(smarthost="s.test", spf=["include:x.test"]) == "v=spf1 include:x.test ~all"


@pytest.mark.parametrize(
    "said, protocols, expected",
    [
        ({}, "all", ["198.51.100.1", "2001:db8:1::1"]),
        ({}, "ipv6", ["2001:db8:1::1"]),
        ({"inet_protocols": "ipv4"}, "all", ["198.51.100.1"]),
        ({"inet_protocols": "all", "smtp_bind_address": FOUR}, "all", [FOUR, "2001:db8:1::1"]),
        ({"inet_protocols": "all", "smtp_bind_address": FOUR + " 192.0.2.11"}, "ipv4", [FOUR, "192.0.2.11"]),
        ({"inet_protocols": "ipv4, ipv6", "smtp_bind_address6": "[2001:DB8::10]"}, "ipv6", [SIX]),
        ({"inet_protocols": "all", "inet_interfaces": "192.0.2.10, [2001:db8::10]"}, "all", [FOUR, SIX]),
        ({"inet_protocols": "all", "inet_interfaces": "127.0.0.1"}, "ipv4", ["198.51.100.1"]),
        ({"inet_protocols": "all", "inet_interfaces": "192.0.2.10 192.0.2.11"}, "ipv4", ["198.51.100.1"]),
    ],
)
def test_by_which_addresses_mail_leaves(said, protocols, expected):
    routes = {"ipv4": "198.51.100.1", "ipv6": "2001:db8:1::1"}
    assert there.outgoing(said, protocols, routes.get) == expected


@pytest.mark.parametrize(
    "address, inside", [("10.1.2.3", True), ("100.64.0.1", True), ("fd00::1", True), (FOUR, False), (SIX, False)]
)
def test_an_address_that_nobody_outside_sees(address, inside):
    assert there.is_inside(address) is inside


def test_a_host_behind_translation_says_what_it_cannot_know(monkeypatch):
    resolver = zones.Zones(5, [HOST, DOMAIN], ["127.0.0.1"])
    monkeypatch.setattr(resolver, "ask", lambda name, kind: RIGHT.get((name, kind), []))
    monkeypatch.setattr(RECORDS, "settings", dict)
    monkeypatch.setattr(RECORDS, "certificates", list)
    monkeypatch.setattr(RECORDS, "outgoing", lambda *_: ["10.0.0.5"])
    done = RECORDS.look(declared(), False, resolver)
    assert done["addresses"] == [] and "accepted_addresses" in done["notes"][0] and done["findings"] == []
    done = RECORDS.look(declared(addresses=[FOUR]), False, resolver)
    assert done["addresses"] == [FOUR] and done["notes"] == [] and done["findings"] == []
    resolver.instead.append((HOST, "A"))
    (note,) = RECORDS.look(declared(addresses=[FOUR]), False, resolver)["notes"]
    assert "127.0.0.1" in note and note.endswith("A " + HOST)


def test_a_question_is_asked_once(monkeypatch):
    asked, resolver = [], there.Resolver(5, ["127.0.0.1"])
    answer = {"rcode": "NOERROR", "records": [["CNAME", "x"], ["TXT", "a"]]}
    monkeypatch.setattr(there.dns, "resolve", lambda *question: asked.append(question[1:3]) or answer)
    assert [resolver.ask(name, "TXT") for name in ("A.test.", "a.test")] == [["a"], ["a"]] and asked == [
        ("a.test", "TXT")
    ]
    monkeypatch.setattr(there.dns, "resolve", lambda *_: {"rcode": "SERVFAIL", "records": []})
    assert resolver.ask("b.test", "TXT") is None


def test_the_file_for_include_has_what_the_zone_lacks_and_never_makes_two():
    world = {("_dmarc." + DOMAIN, "TXT"): [], (DOMAIN, "TXT"): ["v=spf1 -all"], (DOMAIN, "MX"): []}
    records = [one for one in compared(world) if include.zone_of(one["name"], [DOMAIN, "example"]) == DOMAIN]
    text = include.text(DOMAIN, "/x", records, "")
    lines = text.splitlines()
    assert "$INCLUDE /x" in lines[0]
    assert (
        '_dmarc.home.example. 3600 IN TXT "v=DMARC1; p=none"' in lines
        and "home.example. 3600 IN MX 10 mx.home.example." in lines
    )
    (other,) = [one for one in lines[1:] if one.startswith(";")]
    assert other.endswith('TXT "v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 -all"')
    assert not [one for one in lines if " A 192.0.2.10" in one], "the zone has it itself"
    # once the zone reads the file, what it has from there stays there
    after = include.text(DOMAIN, "/x", [one for one in compared({}) if one["name"].endswith(DOMAIN)], text)
    assert '_dmarc.home.example. 3600 IN TXT "v=DMARC1; p=none"' in after and " MX 10 " in after


def test_the_longest_zone_has_a_name():
    zones = ["example", "home.example", "0.192.in-addr.arpa"]
    assert include.zone_of("a.b.home.example", zones) == "home.example" == include.zone_of("home.example", zones)
    assert include.zone_of("awayhome.example", zones) == "example" and include.zone_of("x.test", zones) is None
