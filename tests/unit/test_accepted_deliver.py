# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Would mail of a host be accepted? Each fault is named, with what puts it right, and what cannot be known is not called fine."""

import datetime
import ipaddress
import pathlib
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from role_modules import load, util

PROBE = load("roles/accepted/library/accepted_probe.py")
REPORT = load("roles/accepted/filter_plugins/accepted_report.py")
clock, outside, tls = (util("accepted_" + name) for name in ("clock", "outside", "tls"))
HOST, FOUR, SIX = "mx.home.example", "192.0.2.10", "2001:db8::10"


def p(**more):
    return {
        "hostname": HOST,
        "addresses": [FOUR, SIX],
        "certificate_days": 14,
        "encrypted": False,
        "clock_seconds": 5,
        "test_address": "me@far.test",
        "test_from": "postmaster@home.example",
        "test_mailbox": "",
        "test_seconds": 1,
        "smarthost": "",
        "maillog": "/nonexistent",
        **more,
    }


def states(items):
    return {one["id"]: one["state"] for one in items}


# ---- clock

NTPQ = "leap=%s, stratum=%s, offset=%s\n"
CHRONYC = "Reference ID    : CB00710A (203.0.113.10)\nStratum         : 3\nSystem time     : %s seconds %s of NTP time\nLeap status     : %s\n"


@pytest.mark.parametrize(
    "ntpq, chronyc, state",
    [
        (NTPQ % ("00", 2, "-0.512"), None, "fine"),
        (NTPQ % ("00", 2, "+4999.0"), None, "fine"),
        (NTPQ % ("00", 2, "-5001.0"), None, "wrong"),
        (NTPQ % ("11", 16, "0.000"), None, "wrong"),
        ("ntpq: read: Connection refused\n", None, "unknown"),
        (None, CHRONYC % ("0.000006523", "slow", "Normal"), "fine"),
        (None, CHRONYC % ("7.5", "fast", "Normal"), "wrong"),
        (None, CHRONYC % ("0.0", "slow", "Not synchronised"), "wrong"),
        (None, "506 Cannot talk to daemon\n", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_the_clock(ntpq, chronyc, state):
    answers = {"ntpq": ntpq, "chronyc": chronyc}

    def run(argv, _timeout):
        text = answers[argv[0]]
        return (127, "", "") if text is None else (0, text, "")

    found = PROBE.clock(p(), lambda: clock.look(run))
    assert found["state"] == state and (found["remedy"] == "clock") == (state != "fine")


# ---- HELO, listeners


@pytest.mark.parametrize(
    "name, state", [(HOST, "fine"), ("MX.home.example", "fine"), ("localhost", "wrong"), ("", "unknown")]
)
def test_the_helo_name(name, state):
    assert PROBE.helo({"smtp_helo_name": name} if name else {}, p())["state"] == state


MASTER = """
smtp inet n - n - 1 postscreen
587 inet n - n - - smtpd -o x=y
smtps inet n - n - - smtpd
127.0.0.1:10025 inet n - n - - smtpd
smtpd pass - - n - - smtpd
"""


def test_listeners_with_tls():
    assert tls.ports(MASTER) == ["25", "587", "465"]


@pytest.mark.parametrize(
    "found, more, state",
    [
        (("", "2030-01-01", 300.0), {}, ["fine", "fine", "fine"]),
        (("", "2030-01-01", 13.0), {}, ["wrong", "wrong", "wrong"]),
        (("", "2030-01-01", 13.0), {"certificate_days": 0}, ["fine", "fine", "fine"]),
        (("unsigned", "self-signed", 300.0), {}, ["fine", "wrong", "wrong"]),
        (("unsigned", "self-signed", 300.0), {"encrypted": True}, ["wrong", "wrong", "wrong"]),
        (("unsigned", "self-signed", 3.0), {}, ["wrong", "wrong", "wrong"]),
        (("expired", "2020-01-01", -300.0), {}, ["wrong", "wrong", "wrong"]),
        (("name", HOST, 300.0), {}, ["wrong", "wrong", "wrong"]),
        (("silent", "refused", None), {}, ["unknown", "unknown", "unknown"]),
    ],
)
def test_what_a_listeners_certificate_comes_to(found, more, state):
    items = PROBE.certificates(p(**more), MASTER, lambda *_: found)
    assert [one["state"] for one in items] == state


def certificate(folder, name=HOST, days=(-1, 30)):
    """A self-signed certificate and its key in one file: its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = pathlib.Path(folder) / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return path


def listener(path, starttls):
    """A server that presents the certificate *path* to two clients; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(60)

    def serve():
        for _ in range(2):
            try:
                link = server.accept()[0]
                with link:
                    if starttls:
                        stream = link.makefile("rb")
                        link.sendall(b"220-mx\r\n220 mx\r\n")
                        for reply in (b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"):
                            stream.readline()
                            link.sendall(reply)
                    context.wrap_socket(link, server_side=True).close()
            except OSError:
                pass
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


@pytest.mark.parametrize("starttls", [True, False])
@pytest.mark.parametrize(
    "name, days, trusted, fault",
    [
        (HOST, (-1, 30), True, ""),
        (HOST, (-1, 30), False, "unsigned"),
        (HOST, (-9, -2), True, "expired"),
        ("other.example", (-1, 30), True, "name"),
    ],
)
def test_a_listener_is_seen_as_a_client_sees_it(tmp_path, monkeypatch, name, days, trusted, fault, starttls):
    path = certificate(tmp_path, name, days)
    port = str(listener(path, starttls))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setitem(tls.STARTTLS, port, starttls)
    found, _value, left = tls.look("127.0.0.1", port, HOST)
    assert found == fault and days[1] - 1 < left < days[1] + 1


def test_a_listener_that_is_not_there_is_not_known(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    monkeypatch.setitem(tls.STARTTLS, port, True)
    assert tls.look("127.0.0.1", port, HOST)[0] == "silent"


# ---- the outside

WORLD = {
    ("far.test", "MX"): ["20 b.far.test", "10 a.far.test"],
    ("a.far.test", "A"): ["203.0.113.1"],
    ("b.far.test", "A"): ["203.0.113.2"],
}


def asked(name, kind):
    return WORLD.get((name, kind), [])


def test_where_port_25_is_tried():
    assert outside.exchangers("far.test", asked) == ["203.0.113.1", "203.0.113.2"]
    assert outside.exchangers("a.far.test", asked) == ["203.0.113.1"]
    assert outside.exchangers("far.test", lambda *_: None) is None


@pytest.mark.parametrize(
    "open_at, expected",
    [
        ({"203.0.113.1"}, {"port 25 ipv4": "fine", "port 25 ipv6": "unknown"}),
        ({"203.0.113.2"}, {"port 25 ipv4": "fine", "port 25 ipv6": "unknown"}),
        (set(), {"port 25 ipv4": "wrong", "port 25 ipv6": "unknown"}),
    ],
)
def test_port_25_that_nobody_answers_is_named(open_at, expected):
    def greet(address, source, _timeout):
        assert source == FOUR
        if address not in open_at:
            raise TimeoutError("timed out")

    items = PROBE.outside(p(), asked, lambda *two: outside.port25(*two, greeting=greet))
    assert states(items) == expected
    assert [one["remedy"] for one in items if one["state"] == "wrong"] == ["port25"] * (not open_at)


@pytest.mark.parametrize(
    "more, state",
    [
        ({"smarthost": "relay.test"}, "fine"),
        ({"test_address": ""}, "unknown"),
        ({"test_address": "x@nowhere.test"}, "unknown"),
    ],
)
def test_port_25_where_nobody_can_be_asked(more, state):
    assert states(PROBE.outside(p(**more), lambda name, kind: [])) == {"port 25": state}


LOG = """\
Nov 30 11:00:00 mx postfix/cleanup[7]: 4XabC1: message-id=<TOKEN@mx.home.example>
Nov 30 11:00:00 mx postfix/smtp[8]: 4XabC1: to=<me@far.test>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to a.far.test[203.0.113.1]:25: timed out)
Nov 30 11:00:00 mx postfix/smtp[8]: 9ZZ: to=<me@far.test>, relay=x, delay=1, dsn=2.0.0, status=sent (250 of another mail)
"""
BOUNCED = "Nov 30 11:00:05 mx postfix/smtp[8]: 4XabC1: to=<me@far.test>, relay=a, delay=1, dsn=5.7.26, status=bounced (host a said: 550 5.7.26 unauthenticated (in reply to end of DATA))\n"


def test_what_became_of_the_test_mail(tmp_path):
    path = tmp_path / "maillog"
    path.write_text("before: nothing\n" + LOG)
    assert outside.fate(str(path), 8, "OTHER", HOST) is None
    assert outside.fate(str(path), 8, "TOKEN", HOST)[:2] == ("deferred", "4.4.1")
    path.write_text(LOG + BOUNCED)
    status, dsn, text = outside.fate(str(path), 0, "TOKEN", HOST)
    assert (status, dsn) == ("bounced", "5.7.26") and text.endswith("(in reply to end of DATA)")


REPLY = """\
From echo@far.test  Mon Nov 30 11:00:09 2026
Authentication-Results: mx.home.example; spf=fail
Subject: Re: sokuhai

What I saw of TOKEN:
Authentication-Results: far.test;
 spf=pass smtp.mailfrom=home.example;
 dkim=fail header.d=x; dkim=pass header.d=home.example;
 dmarc=fail (p=none)
To: nobody

"""


def test_the_results_that_come_back():
    assert outside.results("From x\nSubject: a\n\nnothing\n\n" + REPLY, "TOKEN") == {
        "spf": "pass",
        "dkim": "pass",
        "dmarc": "fail",
    }
    assert outside.results(REPLY, "OTHER") is None


@pytest.mark.parametrize(
    "fate, answers, expected",
    [
        (None, None, {"test mail": "unknown"}),
        (("bounced", "5.7.26", "550"), None, {"test mail": "wrong"}),
        (("deferred", "4.7.0", "450"), None, {"test mail": "unknown"}),
        (("sent", "2.0.0", "250"), None, {"test mail": "fine", "authentication": "unknown"}),
        (
            ("sent", "2.0.0", "250"),
            {"spf": "pass", "dkim": "temperror"},
            {
                "test mail": "fine",
                "authentication spf": "fine",
                "authentication dkim": "unknown",
                "authentication dmarc": "wrong",
            },
        ),
    ],
)
def test_what_the_test_mail_comes_to(fate, answers, expected):
    assert states(PROBE.judged(fate, answers, p())) == expected


# ---- all of it


def compared(use, kind, name, state, **more):
    return {
        "use": use,
        "type": kind,
        "name": name,
        "state": state,
        "found": "",
        "expected": "x",
        "paste": "x",
        "value": "x",
        "need": "required",
        **more,
    }


SIXES = [
    compared("address", "AAAA", HOST, "missing"),
    compared("reverse", "PTR", ipaddress.ip_address(SIX).reverse_pointer, "different"),
    compared("spf", "TXT", "home.example", "different", lacking=[SIX]),
]
RIGHT = [compared("mx", "MX", "home.example", "fine")]


def items(records, addresses=(FOUR, SIX), preference="any", **more):
    dns = {
        "records": records,
        "addresses": list(addresses),
        "settings": {"smtp_address_preference": preference, "smtpd_milters": more.get("milters", "")},
        "notes": ["why"],
    }
    found = REPORT.accepted_items(
        dns,
        [],
        more.get("listed", [{"zone": "l.test", "address": FOUR, "state": "clean", "found": ""}]),
        more.get("domains", ()),
        more.get("keys", ()),
    )
    assert all(one["state"] in REPORT.STATES and one["remedy"] in ["", *REPORT.REMEDIES] for one in found)
    assert REPORT.accepted_report(found)
    return {one["id"]: one["state"] for one in found if one["state"] != "fine"}


def test_ipv6_is_right_or_ipv4_is_preferred_or_it_is_said():
    assert items(RIGHT) == {}
    for one in SIXES:
        assert items([one])["ipv6"] == "wrong" and len(items([one])) == 2
    assert items(SIXES, preference="ipv4") == {}
    assert items(SIXES, preference="ipv4", addresses=[SIX])["ipv6"] == "wrong", "there is no IPv4 to prefer"
    assert items([compared("spf", "TXT", "home.example", "different", lacking=[FOUR, SIX])], preference="ipv4") == {
        "spf home.example": "wrong"
    }
    assert items(RIGHT, addresses=[FOUR]) == {}


def test_what_is_not_known_is_said_to_be_so():
    assert items(RIGHT, addresses=[]) == {"addresses": "unknown"}
    assert items([compared("mx", "MX", "home.example", "unknown")]) == {"mx home.example": "unknown"}
    assert items(RIGHT, listed=[]) == {"dnsbl": "unknown"}
    listed = [
        {"zone": zone, "address": FOUR, "state": state, "found": "f"}
        for zone, state in (("a", "listed"), ("b", "refused"), ("c", "clean"))
    ]
    assert items(RIGHT, listed=listed) == {"dnsbl a %s" % FOUR: "wrong", "dnsbl b %s" % FOUR: "unknown"}


def test_a_domain_whose_mail_is_not_signed_is_named():
    keys = [{"domain": "a.test", "selector": "s"}, {"domain": "b.test", "selector": "s", "role": "next"}]
    assert items(RIGHT, domains=["a.test", "b.test"], keys=keys) == {"dkim b.test": "wrong"}
    assert items(RIGHT, domains=["b.test"], milters="inet:127.0.0.1:8891") == {"dkim b.test": "unknown"}


def test_every_remedy_that_is_given_has_its_words():
    text = (pathlib.Path(PROBE.__file__)).read_text()
    for word in REPORT.REMEDIES:
        assert '"%s"' % word in text + pathlib.Path(REPORT.__file__).read_text()
    for word in ("helo", "clock", "certificate", "test", "port25", "queue", "rejected", *outside.METHODS):
        assert REPORT.accepted_report([REPORT.item("x", "x", "wrong", "f", "e", word)]).count("\n") == 1
