"""The simulated internet's authoritative servers: every kind of answer, checked with a DNS library and a validator of its own."""

import asyncio
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
    if wire is None:
        return None
    reply = dns.message.from_wire(wire)
    assert query.is_response(reply)
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
    assert plain
    for rrset in plain:
        signature = [
            s for s in section if s.rdtype == dns.rdatatype.RRSIG and s.name == rrset.name and s.covers == rrset.rdtype
        ]
        assert signature, f"no RRSIG for {rrset.name} {rrset.rdtype}"
        dns.dnssec.validate(rrset, signature[0], keys)


def covering(section, name):
    """NSEC sets of a section whose span a name falls into."""
    name, found = dns.name.from_text(name), []
    for rrset in records(section, "NSEC"):
        after = rrset[0].next
        if (rrset.name < name < after) or (after <= rrset.name < name):
            found.append(rrset)
    return found


def types_in(nsec):
    return {
        dns.rdatatype.RdataType(window * 256 + byte * 8 + bit)
        for window, bitmap in nsec[0].windows
        for byte, octet in enumerate(bitmap)
        for bit in range(8)
        if octet & 0x80 >> bit
    }


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
    assert types_in(nsec) == {dns.rdatatype.NS, dns.rdatatype.RRSIG, dns.rdatatype.NSEC}
    check_signatures(internet, [r for r in reply.authority if r.rdtype != dns.rdatatype.NS], "test.")


def test_ds_of_a_delegation_is_answered_by_the_zone_above(internet):
    reply = ask(internet, "tld", "in-addr.arpa", "DS")  # the same server has both zones
    assert reply.flags & dns.flags.AA and records(reply.answer, "DS", "in-addr.arpa.")
    reply = ask(internet, "tld", "load.test", "DS")
    assert (
        not reply.answer and records(reply.authority, "SOA", "test.") and records(reply.authority, "NSEC", "load.test.")
    )


def test_answers_of_a_signed_zone_validate_up_to_the_trust_anchor(internet):
    for name, rdtype, zone in (
        ("home.example", "MX", "home.example."),
        ("mx.home.example", "AAAA", "home.example."),
        ("signed.test", "A", "signed.test."),
        ("www.signed.test", "CNAME", "signed.test."),
    ):
        check_signatures(internet, ask(internet, "hoster", name, rdtype).answer, zone)
    check_signatures(internet, ask(internet, "tld", "test", "SOA").answer, "test.")


def test_the_bogus_zone_does_not_validate(internet):
    with pytest.raises(dns.dnssec.ValidationFailure):
        keys_of(internet, "bogus.test.")


def test_without_the_do_bit_there_is_no_dnssec(internet):
    reply = ask(internet, "hoster", "signed.test", "A", dnssec=False)
    assert [r.rdtype for r in reply.answer] == [dns.rdatatype.A]


def test_nxdomain_is_proved(internet):
    reply = ask(internet, "hoster", "nowhere.signed.test", "A")
    assert reply.rcode() == dns.rcode.NXDOMAIN and records(reply.authority, "SOA", "signed.test.")
    assert covering(reply.authority, "nowhere.signed.test.") and covering(reply.authority, "*.signed.test.")
    check_signatures(internet, reply.authority, "signed.test.")


def test_name_error_of_the_root_and_of_the_last_name_in_the_chain(internet):
    for server, name, zone in (
        ("root", "zzz.", "."),
        ("root", "aaa.", "."),
        ("tld", "zzzz.test.", "test."),
        ("tld", "0a.test.", "test."),
    ):
        reply = ask(internet, server, name, "A")
        assert reply.rcode() == dns.rcode.NXDOMAIN and covering(reply.authority, name)
        check_signatures(internet, reply.authority, zone)


def test_no_data_is_proved(internet):
    reply = ask(internet, "hoster", "signed.test", "AAAA")
    assert reply.rcode() == dns.rcode.NOERROR and not reply.answer
    nsec = records(reply.authority, "NSEC", "signed.test.")[0]
    assert dns.rdatatype.AAAA not in types_in(nsec) and dns.rdatatype.A in types_in(nsec)
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


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"delay": "soon"}, {"loss": 1.1}, {"answer": "maybe"}, {"speed": 3}])
def test_a_wrong_behaviour_is_refused_and_changes_nothing(wrong):
    behaviour = zones.Behaviour(delay=5)
    with pytest.raises(ValueError):
        behaviour.set(delay=7, **wrong) if "delay" not in wrong else behaviour.set(**wrong)
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


def test_data_that_makes_no_sense_is_refused():
    data = yaml.safe_load(zones.DATA.read_text())
    data["zones"] = [{"name": ".", "server": "root"}, {"name": "test", "server": "nobody"}]
    with pytest.raises(ValueError, match="no server nobody"):
        zones.Internet(data)
    data["zones"] = [{"name": "test", "server": "root"}]
    with pytest.raises(ValueError, match="no zone above"):
        zones.Internet(data)
    data["zones"] = [
        {"name": ".", "server": "root"},
        {"name": "test", "server": "root", "records": ["a.example. A 192.0.2.1"]},
    ]
    with pytest.raises(ValueError, match="is not in it"):
        zones.Internet(data)


class Running:
    """Servers on the loopback, in a thread with an event loop of its own."""

    def __init__(self, internet, addresses):
        self.internet, self.addresses = internet, addresses
        self.place = {}
        self.started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self):
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.servers = servers.DnsServers(self.internet)
        await self.servers.start({a: ("127.0.0.1", p) for a, p in self.place.items()})
        self.started.set()
        await self.stop.wait()
        self.servers.close()

    def __enter__(self):
        self.place = dict(zip(self.addresses, free_ports(len(self.addresses)), strict=True))
        self.thread.start()
        assert self.started.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(5)


def free_ports(count):
    """Ports free for both UDP and TCP on the loopback."""
    held, ports = [], []
    while len(ports) < count:
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        udp.bind(("127.0.0.1", 0))
        held += [udp, tcp]
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            continue
        ports.append(udp.getsockname()[1])
    for sock in held:
        sock.close()
    return ports


@pytest.fixture(scope="module")
def running(internet):
    with Running(internet, ["198.51.100.2", "198.51.100.3", "198.51.100.4", "198.51.100.153"]) as run:
        yield run


def test_answers_over_udp_and_tcp(running):
    query = dns.message.make_query("d0001.test", "MX")
    for how in (dns.query.udp, dns.query.tcp):
        reply = how(query, "127.0.0.1", port=running.place["198.51.100.4"], timeout=5)
        assert reply.answer[0][0].exchange.to_text() == "mail.d0001.test."


def test_late_answers_need_no_thread_and_do_not_hold_up_others(running, internet):
    internet.zones[zones.wire("load.test.")].behaviour.set(delay=5000)
    threads = threading.active_count()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.connect(("127.0.0.1", running.place["198.51.100.4"]))
    start = time.monotonic()
    for n in range(300):
        sock.send(dns.message.make_query(f"q{n}.load.test", "MX", id=n).to_wire())
    reply = dns.query.udp(
        dns.message.make_query("signed.test", "A"), "127.0.0.1", port=running.place["198.51.100.4"], timeout=5
    )
    assert reply.answer and not select.select([sock], [], [], 0)[0], "before the first of the late ones"
    assert threading.active_count() == threads
    came = {}
    while len(came) < 300 and select.select([sock], [], [], 60)[0]:
        data = sock.recv(4096)
        came[int.from_bytes(data[:2], "big")] = time.monotonic() - start
    sock.close()
    assert len(came) == 300
    assert min(came.values()) >= 5


def test_names_that_nobody_asked_for_before_are_answered(internet):
    authority = Authority(internet, "hoster")
    queries = [dns.message.make_query(f"q{n}.load.test", "MX", want_dnssec=True).to_wire() for n in range(500)]
    assert all(authority.respond(query)[0] for query in queries)


def test_late_over_tcp(running, internet):
    internet.zones[zones.wire("load.test.")].behaviour.set(delay=300)
    start = time.monotonic()
    dns.query.tcp(
        dns.message.make_query("q5.load.test", "MX"), "127.0.0.1", port=running.place["198.51.100.4"], timeout=5
    )
    assert time.monotonic() - start >= 0.3


def test_silence_is_silence(running):
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(
            dns.message.make_query("2.0.0.127.dnsbl-silent.test", "A"),
            "127.0.0.1",
            port=running.place["198.51.100.4"],
            timeout=0.3,
        )


def test_the_resolver_resolves_over_the_wire(running):
    reply = dns.query.udp(
        dns.message.make_query("www.signed.test", "A"), "127.0.0.1", port=running.place["198.51.100.153"], timeout=5
    )
    assert reply.flags & dns.flags.RA and not reply.flags & dns.flags.AA
    assert {r.name.to_text() for r in reply.answer} == {"www.signed.test.", "signed.test."}


def test_control(running):
    control = running.servers.control
    assert control({"op": "set", "zone": "d00[0-9][0-9].test", "values": {"delay": 20}}) == {"zones": 99}
    assert control({"op": "show"})["zones"]["d0007.test"]["delay"] == 20
    for wrong in (
        {"op": "set", "zone": "nowhere.test", "values": {"delay": 1}},
        {"op": "set", "zone": "test", "values": {"loss": 2}},
        {"op": "resolver", "values": {"over": "shout"}},
        {"op": "dance"},
    ):
        with pytest.raises(ValueError):
            control(wrong)
    control({"op": "reset"})
    assert (
        "d0007.test" not in control({"op": "show"})["zones"]
        or control({"op": "show"})["zones"]["d0007.test"]["delay"] == 0
    )
    assert control({"op": "show"})["zones"]["dnsbl-silent.test"]["loss"] == 1
