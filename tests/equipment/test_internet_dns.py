"""The simulated internet's authoritative servers: every kind of answer, checked with a DNS library and a validator of its own."""

import collections
import select
import socket
import threading
import time

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.reversename
import dns.rrset
import pytest
import yaml
from internet_servers import serving
from labkit.internet import servers, zones
from labkit.internet.authority import Authority


@pytest.fixture(scope="module")
def internet():
    return zones.Internet()


@pytest.fixture(autouse=True)
def normal(request):
    yield
    if "internet" in request.fixturenames:
        for zone in request.getfixturevalue("internet").zones.values():
            zone.behaviour.set(**zone.configured)


def ask(internet, server, name, rdtype, dnssec=True, tcp=False, **options):
    query = dns.message.make_query(name, rdtype, want_dnssec=dnssec, **options)
    wire, _delay = Authority(internet, server).respond(query.to_wire(), tcp)
    reply = wire and dns.message.from_wire(wire)
    assert reply is None or query.is_response(reply)
    return reply


def records(section, rdtype, name=None):
    rdtype = dns.rdatatype.from_text(rdtype)
    return [r for r in section if r.rdtype == rdtype and (name is None or r.name == dns.name.from_text(name))]


def keys_of(internet, zone):
    """The DNSKEY set of a zone, trusted by the chain from the root's trust anchor down; what a validator would do."""
    server = internet.zones[zones.wire(zone)].server
    reply = ask(internet, server, zone, "DNSKEY")
    keys = records(reply.answer, "DNSKEY")[0]
    name = dns.name.from_text(zone)
    if name == dns.name.root:
        text = internet.trust_anchor()["value"]
        trusted = dns.rrset.from_rdata(name, 1, dns.rdata.from_text("IN", "DNSKEY", text))
    else:
        parent = next(internet.zones[s] for s in zones.suffixes(zones.wire(zone))[1:] if s in internet.zones)
        answer = ask(internet, parent.server, zone, "DS")
        ds = records(answer.answer, "DS")[0]
        upper = parent.name.to_text()
        dns.dnssec.validate(ds, records(answer.answer, "RRSIG")[0], {parent.name: keys_of(internet, upper)})
        good = [k for k in keys if dns.dnssec.make_ds(name, k, "SHA256") in ds]
        if not good:
            raise dns.dnssec.ValidationFailure("no key of the zone is the one that the DS names")
        trusted = dns.rrset.from_rdata_list(name, keys.ttl, good)
    dns.dnssec.validate(keys, records(reply.answer, "RRSIG")[0], {name: trusted})
    return keys


def check_signatures(internet, section, zone):
    """Every RRset of a section carries a signature of the zone that validates."""
    keys = {dns.name.from_text(zone): keys_of(internet, zone)}
    plain = [r for r in section if r.rdtype != dns.rdatatype.RRSIG]
    signatures = {(s.name, s.covers): s for s in section if s.rdtype == dns.rdatatype.RRSIG}
    assert plain
    for rrset in plain:
        dns.dnssec.validate(rrset, signatures[rrset.name, rrset.rdtype], keys)


def covering(section, name):
    """Whether an NSEC record of a section has a span that the name falls into."""
    name = dns.name.from_text(name)
    spans = [(rrset.name, rrset[0].next) for rrset in records(section, "NSEC")]
    return any(first < name < after or after <= first < name for first, after in spans)


def types_in(nsec):
    return set(nsec[0].to_text().split()[1:])


def test_referral_to_a_signed_zone_carries_its_ds_and_glue(internet):
    reply = ask(internet, "root", "home.example", "MX")
    assert not reply.flags & dns.flags.AA and not reply.answer
    assert records(reply.authority, "NS", "example.")[0][0].target == dns.name.from_text("a.tld.test.")
    assert records(reply.authority, "DS", "example.")
    assert {r.name.to_text() for r in reply.additional} == {"a.tld.test."}
    check_signatures(internet, [r for r in reply.authority if r.rdtype != dns.rdatatype.NS], ".")


def test_referral_to_an_unsigned_zone_proves_that_there_is_no_ds(internet):
    reply = ask(internet, "tld", "mail.d0500.test", "A")
    assert records(reply.authority, "NS", "d0500.test.") and not records(reply.authority, "DS")
    nsec = records(reply.authority, "NSEC", "d0500.test.")[0]
    assert types_in(nsec) == {"NS", "RRSIG", "NSEC"}
    check_signatures(internet, [r for r in reply.authority if r.rdtype != dns.rdatatype.NS], "test.")


def test_ds_of_a_delegation_is_answered_by_the_zone_above(internet):
    reply = ask(internet, "tld", "in-addr.arpa", "DS")  # the same server has both zones
    assert reply.flags & dns.flags.AA and records(reply.answer, "DS", "in-addr.arpa.")
    reply = ask(internet, "tld", "load.test", "DS")
    assert (
        not reply.answer and records(reply.authority, "SOA", "test.") and records(reply.authority, "NSEC", "load.test.")
    )


@pytest.mark.parametrize(
    "server, name, rdtype, zone",
    [
        ("hoster", "home.example", "MX", "home.example."),
        ("hoster", "mx.home.example", "AAAA", "home.example."),
        ("hoster", "signed.test", "A", "signed.test."),
        ("hoster", "www.signed.test", "CNAME", "signed.test."),
        ("tld", "test", "SOA", "test."),
    ],
)
def test_answers_of_a_signed_zone_validate_up_to_the_trust_anchor(internet, server, name, rdtype, zone):
    check_signatures(internet, ask(internet, server, name, rdtype).answer, zone)


def test_the_bogus_zone_does_not_validate(internet):
    with pytest.raises(dns.dnssec.ValidationFailure):
        keys_of(internet, "bogus.test.")


def test_without_the_do_bit_there_is_no_dnssec(internet):
    reply = ask(internet, "hoster", "signed.test", "A", dnssec=False)
    assert [r.rdtype for r in reply.answer] == [dns.rdatatype.A]


@pytest.mark.parametrize(
    "server, zone, names",
    [
        ("hoster", "signed.test.", ["nowhere.signed.test.", "*.signed.test."]),
        ("root", ".", ["zzz."]),
        ("root", ".", ["aaa."]),
        ("tld", "test.", ["zzzz.test."]),
        ("tld", "test.", ["0a.test."]),
    ],
)
def test_nxdomain_is_proved(internet, server, zone, names):
    reply = ask(internet, server, names[0], "A")
    assert reply.rcode() == dns.rcode.NXDOMAIN and records(reply.authority, "SOA", zone)
    assert all(covering(reply.authority, name) for name in names)
    check_signatures(internet, reply.authority, zone)


def test_no_data_is_proved(internet):
    reply = ask(internet, "hoster", "signed.test", "AAAA")
    assert reply.rcode() == dns.rcode.NOERROR and not reply.answer
    nsec = records(reply.authority, "NSEC", "signed.test.")[0]
    assert "AAAA" not in types_in(nsec) and "A" in types_in(nsec)
    check_signatures(internet, reply.authority, "signed.test.")


def test_an_empty_non_terminal_exists(internet):
    reply = ask(internet, "tld", "192.in-addr.arpa", "PTR")
    assert reply.rcode() == dns.rcode.NOERROR and not reply.answer
    nsec = records(reply.authority, "NSEC")[0]
    assert nsec[0].next.is_subdomain(dns.name.from_text("192.in-addr.arpa."))
    check_signatures(internet, reply.authority, "in-addr.arpa.")


def test_wildcards_signed_and_unsigned(internet):
    reply = ask(internet, "hoster", "a.b.wild.signed.test", "TXT")
    assert reply.answer[0].name == dns.name.from_text("a.b.wild.signed.test.")
    assert covering(reply.authority, "a.b.wild.signed.test.")
    check_signatures(internet, reply.answer, "signed.test.")
    check_signatures(internet, reply.authority, "signed.test.")
    reply = ask(internet, "hoster", "a.wild.signed.test", "A")
    assert (
        reply.rcode() == dns.rcode.NOERROR
        and not reply.answer
        and records(reply.authority, "NSEC", "*.wild.signed.test.")
    )
    for n in (1, 77, 123456789):
        reply = ask(internet, "hoster", f"q{n}.load.test", "MX")
        assert reply.answer[0][0].exchange.to_text() == "mail.load.test." and not reply.authority
    assert ask(internet, "hoster", "mail.load.test", "A").answer[0].name == dns.name.from_text("mail.load.test.")


def test_names_are_compared_without_case_and_the_question_comes_back_as_asked(internet):
    query = dns.message.make_query("SiGnEd.TeSt", "A")
    wire, _delay = Authority(internet, "hoster").respond(query.to_wire())
    assert b"SiGnEd\x04TeSt" in wire and dns.message.from_wire(wire).answer


def test_a_thousand_bulk_domains_on_twenty_sinks(internet):
    used = collections.Counter()
    for n in range(1, 1001):
        mx = ask(internet, "hoster", f"d{n:04d}.test", "MX", dnssec=False).answer[0][0].exchange
        assert mx == dns.name.from_text(f"mail.d{n:04d}.test.")
        used[ask(internet, "hoster", mx, "A", dnssec=False).answer[0][0].address] += 1
    assert used == {sink: 50 for sink in internet.sinks} and len(used) == 20
    assert ask(internet, "tld", "d1001.test", "MX").rcode() == dns.rcode.NXDOMAIN


def test_what_is_not_served_is_refused(internet):
    assert ask(internet, "hoster", "test", "SOA").rcode() == dns.rcode.REFUSED
    assert ask(internet, "root", "test", "A", rdclass="CH").rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x00" * 11,
        b"\x00" * 12,
        b"\x12\x34\x01\x00\x00\x01" + b"\x00" * 6 + b"\x3f" + b"a" * 10,
        b"\x12\x34\x01\x00\x00\x01" + b"\x00" * 6 + b"\xc0\x0c\x00\x01\x00\x01",
    ],
)
def test_rubbish_gets_formerr_or_nothing(internet, wire):
    answer, _delay = Authority(internet, "hoster").respond(wire)
    assert answer is None or answer[3] & 15 == dns.rcode.FORMERR


def test_an_answer_to_an_answer_is_not_given(internet):
    query = dns.message.make_query("signed.test", "A")
    query.flags |= dns.flags.QR
    assert Authority(internet, "hoster").respond(query.to_wire())[0] is None


def test_too_long_for_udp_is_truncated_and_whole_by_tcp(internet):
    data = {
        "ttl": 60,
        "negative_ttl": 60,
        "servers": {"s": {"name": "ns.test", "addresses": ["198.51.100.2"]}},
        "sinks": {"first": "198.51.100.200", "last": "198.51.100.200"},
        "empty_zones": [],
        "resolver": {},
        "zones": [
            {"name": ".", "server": "s", "signed": True, "records": [f'long.test. TXT "{n:0200d}"' for n in range(20)]}
        ],
    }
    long = zones.Internet(data)
    reply = ask(long, "s", "long.test", "TXT")
    assert reply.flags & dns.flags.TC and not reply.answer
    reply = ask(long, "s", "long.test", "TXT", tcp=True)
    assert not reply.flags & dns.flags.TC and len(reply.answer[0]) == 20


def test_behaviour_of_a_zone(internet):
    zone = internet.zones[zones.wire("load.test.")]
    zone.behaviour.set(delay=1500)
    query = dns.message.make_query("q1.load.test", "MX").to_wire()
    authority = Authority(internet, "hoster")
    assert authority.respond(query)[1] == 1.5
    zone.behaviour.set(delay=0, answer="servfail")
    assert dns.message.from_wire(authority.respond(query)[0]).rcode() == dns.rcode.SERVFAIL
    zone.behaviour.set(answer="refused")
    assert dns.message.from_wire(authority.respond(query)[0]).rcode() == dns.rcode.REFUSED
    zone.behaviour.set(answer="normal", loss=0.5)
    lost = sum(authority.respond(query)[0] is None for _ in range(2000))
    assert 850 < lost < 1150
    zone.behaviour.set(loss=1)
    assert authority.respond(query)[0] is None
    assert dns.message.from_wire(authority.respond(dns.message.make_query("signed.test", "A").to_wire())[0]).answer


def test_a_record_is_replaced_taken_away_and_restored(internet):
    zone = internet.zones[zones.wire("home.example.")]

    def found(name, rdtype="TXT"):
        reply = ask(internet, "hoster", name, rdtype)
        return reply.rcode(), [text for rrset in records(reply.answer, rdtype) for text in map(str, rrset)]

    there = found("_dmarc.home.example")
    assert there[1] and there[0] == dns.rcode.NOERROR
    zone.replace("_dmarc TXT", 60)
    assert found("_dmarc.home.example") == (dns.rcode.NXDOMAIN, [])
    zone.replace('_dmarc TXT "v=DMARC1; p=reject"', 60)
    assert found("_dmarc.home.example") == (dns.rcode.NOERROR, ['"v=DMARC1; p=reject"'])
    zone.replace("@ MX", 60)
    assert found("home.example", "MX") == (dns.rcode.NOERROR, [])
    zone.restore()
    assert found("_dmarc.home.example") == there and found("home.example", "MX")[1]


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"delay": "soon"}, {"loss": 1.1}, {"answer": "maybe"}, {"speed": 3}])
def test_a_wrong_behaviour_is_refused_and_changes_nothing(wrong):
    behaviour = zones.Behaviour(delay=5)
    with pytest.raises(ValueError):
        behaviour.set(**{"delay": 7, **wrong})
    assert behaviour.as_dict() == {"delay": 5.0, "loss": 0.0, "answer": "normal"}


def test_dnsbl_zones(internet):
    def listed(address, zone):
        reply = ask(internet, "hoster", ".".join(reversed(address.split("."))) + "." + zone, "A")
        return reply and (reply.answer[0][0].address if reply.answer else reply.rcode())

    assert listed("127.0.0.2", "dnsbl.test") == "127.0.0.2" == listed("203.0.113.66", "dnsbl.test")
    assert listed("203.0.113.20", "dnsbl.test") == dns.rcode.NXDOMAIN == listed("127.0.0.1", "dnsbl.test")
    assert listed("203.0.113.20", "dnsbl-world.test") == "127.0.0.2" == listed("127.0.0.1", "dnsbl-world.test")
    assert listed("203.0.113.20", "dnsbl-refuses.test") == "127.255.255.254"
    assert listed("203.0.113.20", "dnsbl-silent.test") is None


def test_spf_of_every_result(internet):
    def policies(name):
        reply = ask(internet, "hoster", name, "TXT")
        return [b"".join(r.strings).decode() for r in reply.answer[0]] if reply.answer else reply.rcode()

    assert "ip4:203.0.113.0/24" in policies("spf-pass.test")[0]
    assert [policies(f"spf-{r}.test")[0].split()[-1] for r in ("fail", "softfail", "neutral")] == [
        "-all",
        "~all",
        "?all",
    ]
    assert policies("spf-none.test") == dns.rcode.NOERROR
    assert policies("broken.test") == dns.rcode.SERVFAIL and "include:broken.test" in policies("spf-temperror.test")[0]


def test_reverse_names(internet):
    def reverse(address):
        reply = ask(internet, "hoster", dns.reversename.from_address(address), "PTR")
        return reply.answer[0][0].target.to_text() if reply.answer else None

    def forward(name):
        server = internet.deepest(zones.wire(name), dns.rdatatype.A).server
        reply = ask(internet, server, name, "A")
        return reply.answer[0][0].address if reply.answer else None

    for address, name in (
        ("192.0.2.10", "mx.home.example."),
        ("192.0.2.20", "mx20.home.example."),
        ("203.0.113.20", "mail.sender.test."),
        ("203.0.113.66", "mail.listed.test."),
        ("203.0.113.50", "p050.dynamic.test."),
        ("203.0.113.61", "203-0-113-61.adsl.dynamic.test."),
    ):
        assert reverse(address) == name and forward(name) == address
    assert (
        reverse("2001:db8::10") == "mx.home.example."
        and reverse("2001:db8::12") == "mx12.home.example."
        and reverse("2001:db8:2::20") == "mail.sender.test."
    )
    assert reverse("203.0.113.30") is None
    assert forward(reverse("203.0.113.31")) is None
    assert forward(reverse("203.0.113.32")) not in (None, "203.0.113.32")


def test_keys_and_trust_anchor_stay(tmp_path):
    first = zones.Internet(keys=tmp_path).for_named()
    second = zones.Internet(keys=tmp_path).for_named()
    assert first == second and first["trust_anchors"][0]["value"] != zones.Internet().trust_anchor()["value"]
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in tmp_path.iterdir())
    assert first["root_hints"] == [{"name": "a.root.test.", "addresses": ["198.51.100.2", "2001:db8:1::2"]}]


ROOT_ZONE = {"name": ".", "server": "root"}


@pytest.mark.parametrize(
    "entries, why",
    [
        ([ROOT_ZONE, {"name": "test", "server": "nobody"}], "no server nobody"),
        ([{"name": "test", "server": "root"}], "no zone above"),
        ([ROOT_ZONE, {"name": "test", "server": "root", "records": ["a.example. A 192.0.2.1"]}], "is not in it"),
    ],
)
def test_data_that_makes_no_sense_is_refused(entries, why):
    data = yaml.safe_load(zones.DATA.read_text())
    with pytest.raises(ValueError, match=why):
        zones.Internet({**data, "zones": entries})


HOSTER, PROVIDER = "198.51.100.4", "198.51.100.153"


@pytest.fixture(scope="module")
def running(internet):
    """(the DNS servers, {address: port})"""
    with serving(lambda: servers.DnsServers(internet), [HOSTER, PROVIDER]) as run:
        yield run


def over_the_wire(running, name, rdtype, server=HOSTER, how=dns.query.udp, timeout=5):
    return how(dns.message.make_query(name, rdtype), "127.0.0.1", port=running[1][server], timeout=timeout)


@pytest.mark.parametrize("how", [dns.query.udp, dns.query.tcp])
def test_answers_over_udp_and_tcp(running, how):
    reply = over_the_wire(running, "d0001.test", "MX", how=how)
    assert reply.answer[0][0].exchange.to_text() == "mail.d0001.test."


def test_late_answers_need_no_thread_and_do_not_hold_up_others(running, internet):
    internet.zones[zones.wire("load.test.")].behaviour.set(delay=5000)
    threads = threading.active_count()
    came = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect(("127.0.0.1", running[1][HOSTER]))
        start = time.monotonic()
        for n in range(300):
            sock.send(dns.message.make_query(f"q{n}.load.test", "MX", id=n).to_wire())
        reply = over_the_wire(running, "signed.test", "A")
        assert reply.answer and not select.select([sock], [], [], 0)[0], "before the first of the late ones"
        assert threading.active_count() == threads
        while len(came) < 300 and select.select([sock], [], [], 60)[0]:
            came[int.from_bytes(sock.recv(4096)[:2], "big")] = time.monotonic() - start
    assert len(came) == 300 and min(came.values()) >= 5


def test_late_over_tcp(running, internet):
    internet.zones[zones.wire("load.test.")].behaviour.set(delay=300)
    start = time.monotonic()
    over_the_wire(running, "q5.load.test", "MX", how=dns.query.tcp)
    assert time.monotonic() - start >= 0.3


def test_silence_is_silence(running):
    with pytest.raises(dns.exception.Timeout):
        over_the_wire(running, "2.0.0.127.dnsbl-silent.test", "A", timeout=0.3)


def test_the_resolver_resolves_over_the_wire(running):
    reply = over_the_wire(running, "www.signed.test", "A", PROVIDER)
    assert reply.flags & dns.flags.RA and not reply.flags & dns.flags.AA
    assert {r.name.to_text() for r in reply.answer} == {"www.signed.test.", "signed.test."}


def test_control(running):
    control = running[0].control
    assert control({"op": "set", "zone": "d00[0-9][0-9].test", "values": {"delay": 20}}) == {"zones": 99}
    assert control({"op": "show"})["zones"]["d0007.test"]["delay"] == 20
    control({"op": "reset"})
    shown = control({"op": "show"})["zones"]
    assert shown.get("d0007.test", {"delay": 0})["delay"] == 0
    assert shown["dnsbl-silent.test"]["loss"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": "set", "zone": "nowhere.test", "values": {"delay": 1}},
        {"op": "set", "zone": "test", "values": {"loss": 2}},
        {"op": "resolver", "values": {"over": "shout"}},
        {"op": "dance"},
    ],
)
def test_control_refuses_what_it_does_not_know(running, wrong):
    with pytest.raises(ValueError):
        running[0].control(wrong)
