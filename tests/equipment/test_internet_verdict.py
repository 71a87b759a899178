"""The sinks that demand what Gmail does: unsigned, badly signed and unaligned mail is refused, the rest is taken; and records that change while they run."""

import base64
import smtplib

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from internet_servers import serving
from labkit.internet import servers, verdict
from labkit.internet.zones import Internet

DATA = {
    "ttl": 60,
    "negative_ttl": 60,
    "servers": {"hoster": {"name": "ns.hosting.test", "addresses": ["198.51.100.4"]}},
    "resolver": {"addresses": [], "rate": 0, "burst": 0, "over": "drop"},
    "sinks": {"first": "198.51.100.200", "last": "198.51.100.200", "prefix6": "2001:db8:1::"},
    "empty_zones": [],
    "zones": [
        {"name": ".", "server": "hoster", "records": ["ns.hosting.test. A 198.51.100.4"]},
        {
            "name": "home.example",
            "server": "hoster",
            "signed": True,
            "records": ['@ TXT "v=spf1 ip4:127.0.0.1 -all"', '_dmarc TXT "v=DMARC1; p=reject"', "@ MX 10 mx", "mx A 127.0.0.1"],
        },
        {"name": "other.example", "server": "hoster", "records": ['@ TXT "v=spf1 ip4:127.0.0.1 -all"', '_dmarc TXT "v=DMARC1; p=reject"']},
        {"name": "far.example", "server": "hoster", "records": ['@ TXT "v=spf1 ip4:192.0.2.1 -all"', '_dmarc TXT "v=DMARC1; p=reject"']},
    ],
}  # fmt: skip
KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()


@pytest.fixture
def running(tmp_path, monkeypatch):
    """(DnsServers, port of the sink, its servers)."""
    internet = Internet(DATA)
    ask = verdict.dns.query.udp_with_fallback
    with serving(lambda: servers.DnsServers(internet), ["198.51.100.4"]) as (names, ports):
        monkeypatch.setattr(
            verdict.dns.query,
            "udp_with_fallback",
            lambda q, _where, t: ask(q, "127.0.0.1", t, port=ports["198.51.100.4"]),
        )
        with serving(lambda: servers.SinkServers(DATA, tmp_path / "sink.jsonl"), ["198.51.100.200"]) as (sink, places):
            sink.control({"op": "sink", "domain": "d0001.test", "values": {"demand": "authentic"}})
            yield names, places["198.51.100.200"], sink


def publish(names, name, values, kind="TXT"):
    names.control({"op": "publish", "records": [{"name": name, "type": kind, "values": values}]})


def message(sender="alert@home.example", sign=None, body="hello\r\n.dot\r\n"):
    text = (
        f"From: <{sender}>\r\nTo: <a@d0001.test>\r\nSubject: x\r\nDate: Mon, 30 Nov 2026 11:00:00 +0000\r\n\r\n{body}"
    )
    return (dkim.sign(text.encode(), b"s", sign.encode(), PEM).decode() if sign else "") + text


def send(port, text, sender="alert@home.example", to="a@d0001.test"):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="mx.home.example") as client:
        try:
            client.sendmail(sender, [to], text)
        except smtplib.SMTPDataError as refusal:
            return refusal.smtp_code, refusal.smtp_error.decode()
    return 250, ""


def test_what_gmail_refuses_is_refused(running):
    names, port, sink = running
    publish(names, "s._domainkey.home.example", ["v=DKIM1; k=rsa; p=" + PUBLIC])
    publish(names, "s._domainkey.other.example", ["v=DKIM1; k=rsa; p=" + PUBLIC])
    signed = message(sign="home.example")
    assert send(port, signed) == (250, "")
    # two signatures, as of two keys
    assert send(port, dkim.sign(signed.encode(), b"s", b"home.example", PEM).decode() + signed)[0] == 250
    # a report, which has no sender: SPF of HELO, which is home.example's here by its own record
    publish(names, "mx.home.example", ["v=spf1 ip4:127.0.0.1 -all"])
    assert send(port, signed, sender="") == (250, "")
    for text, sender, said in (
        (message(), "alert@home.example", "not signed"),
        (signed.replace("hello", "hallo"), "alert@home.example", "DKIM fails"),
        (message(sign="other.example"), "alert@home.example", "no signature is of the domain in From"),
        (signed, "alert@far.example", "SPF fail"),
    ):
        code, answer = send(port, text, sender)
        assert code == 550 and answer.startswith("5.7.26 ") and said in answer, answer
    assert [one["verdict"]["dkim"] for one in sink.book.unauthentic][-4:] == ["none", "fail", "pass", "pass"]
    # who demands nothing takes it
    assert send(port, message(), to="a@d0002.test") == (250, "")


def test_a_record_that_is_withdrawn_or_changed_counts_from_then_on(running):
    names, port, _sink = running
    signed = message(sign="home.example")
    assert send(port, signed)[0] == 550
    publish(names, "s._domainkey.home.example", ["v=DKIM1; k=rsa; p=" + PUBLIC])
    assert send(port, signed)[0] == 250
    publish(names, "s._domainkey.home.example", ["v=DKIM1; k=rsa; p=AAAA"])
    assert send(port, signed)[0] == 550
    publish(names, "s._domainkey.home.example", [])
    assert send(port, signed)[0] == 550
    with pytest.raises(ValueError, match="x.home.example A"):
        publish(names, "x.home.example", ["no address"], "A")
