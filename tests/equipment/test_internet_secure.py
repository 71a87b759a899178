"""Mail servers with TLS: what they offer, whom they let in, and what vouches for their key."""

import hashlib
import json
import smtplib
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from internet_servers import serving
from labkit.internet import servers
from labkit.internet.secure import Tls

ENTRIES = [
    {"address": "198.51.100.220", "name": "smtp.relay.test", "users": {"home": "practice"}},
    {"address": "198.51.100.221", "name": "mail.other.test", "certificate": "by-itself"},
]
DATA = {"sinks": {"first": "198.51.100.200", "last": "198.51.100.200", "prefix6": "2001:db8:1::"}, "secure": ENTRIES}


@pytest.fixture
def sinks(tmp_path):
    """(ports of the two, directory, server object)."""
    addresses = [entry["address"] for entry in ENTRIES]
    with serving(lambda: servers.SinkServers(DATA, tmp_path / "sink.jsonl"), addresses) as (running, ports):
        yield [ports[address] for address in addresses], tmp_path, running


def client(folder, port, name):
    """A client that trusts the lab's CA and expects a certificate for *name*."""
    context = ssl.create_default_context(cafile=folder / "tls" / "ca.pem")
    found = smtplib.SMTP("127.0.0.1", port, timeout=30)
    found._host = name
    found.ehlo()
    return found, context


def test_a_login_over_tls(sinks):
    ports, folder, running = sinks
    smtp, context = client(folder, ports[0], "smtp.relay.test")
    assert smtp.docmd("MAIL FROM:<a@home.example>")[0] == 530
    smtp.starttls(context=context)
    smtp.ehlo()
    assert "starttls" not in smtp.esmtp_features
    with pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.login("home", "wrong")
    for mechanism in (smtp.auth_plain, smtp.auth_login):
        smtp.user, smtp.password = "home", "practice"
        assert smtp.auth(mechanism.__name__[5:].upper(), mechanism)[0] == 235
    smtp.sendmail("a@home.example", ["b@x.test"], "Subject: x\r\n\r\nhi\r\n")
    line = json.loads((folder / "sink.jsonl").read_text())
    assert (line["tls"], line["user"], line["recipient"]) == (True, "home", "b@x.test")
    assert [one["tls"] for one in running.control({"op": "show"})["logins"]] == [
        True
    ] * 4  # smtplib tries both with a wrong password


def test_starttls_can_be_stripped_and_comes_back(sinks):
    ports, folder, running = sinks
    running.control({"op": "sink", "domain": "mail.other.test", "values": {"starttls": "off"}})
    smtp, context = client(folder, ports[1], "mail.other.test")
    assert "starttls" not in smtp.esmtp_features and smtp.docmd("STARTTLS")[0] == 502
    running.control({"op": "reset"})
    smtp, context = client(folder, ports[1], "mail.other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        smtp.starttls(context=context)


def test_the_key_stays_and_a_record_has_its_digest(sinks):
    ports, folder, _servers = sinks
    smtp, context = client(folder, ports[1], "mail.other.test")
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    smtp.starttls(context=context)
    key = x509.load_der_x509_certificate(smtp.sock.getpeercert(True)).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert Tls(folder / "tls").digest == Tls(folder / "tls", ENTRIES).digest == hashlib.sha256(spki).hexdigest()


def test_what_comes_with_the_end_of_the_handshake_is_heard(sinks):
    ports, folder, _servers = sinks
    smtp, context = client(folder, ports[0], "smtp.relay.test")
    assert smtp.docmd("STARTTLS")[0] == 220
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out, server_hostname="smtp.relay.test")

    def received():
        into.write(smtp.sock.recv(65536))

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            smtp.sock.sendall(out.read())
            received()
    tls.write(b"EHLO client.test\r\n")
    smtp.sock.sendall(out.read())  # the end of the handshake is in it
    answer = b""
    while b"250 " not in answer:
        try:
            answer += tls.read()
        except ssl.SSLWantReadError:
            received()
    assert answer.startswith(b"250-smtp.relay.test")
