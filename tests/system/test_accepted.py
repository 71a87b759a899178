"""Would mail of the practice host be accepted: each fault is named and nothing else, and a zone of the host's own gets its records by $INCLUDE."""

import contextlib
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from practice import HOST, changed

# whether a test before has published the keys is not this file's matter
UNSIGNED = {"dkim_domains": []}
TEST = {**UNSIGNED, "accepted_test_address": "me@d0001.test", "accepted_test_seconds": 20}
TLS = "/usr/local/etc/postfix/tls/self-signed"
CONF = "/usr/local/etc/namedb/named.conf"
ZONE = "/usr/local/etc/namedb/primary/served.test"


@contextlib.contextmanager
def records(lab, *rows):
    """Within this, the simulated internet has these records (zone, "owner type rdata") and the host's named has forgotten the former ones."""

    def tell(*words):
        done = lab.internet("ctl", *words)
        assert done.returncode == 0, done.stderr

    try:
        for row in rows:
            tell("record", *row)
        lab.sh("rndc", "flush")
        yield
    finally:
        tell("reset")
        lab.sh("rndc", "flush")


def expired():
    """A certificate of the host that has ended, and its key, as PEM."""
    key, who = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    today = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    made = (
        made.serial_number(1)
        .not_valid_before(today - datetime.timedelta(9))
        .not_valid_after(today - datetime.timedelta(2))
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return made.sign(key, hashes.SHA256()).public_bytes(pem).decode(), key.private_bytes(pem, *form).decode()


@contextlib.contextmanager
def presented(lab, certificate, key):
    """Within this, smtpd presents another certificate."""
    lab.sh("sh", "-c", f"for e in crt key; do cp -p {TLS}.$e {TLS}.$e.kept; done")
    try:
        for name, text in (("crt", certificate), ("key", key)):
            lab.sh("sh", "-c", f"cat > {TLS}.{name}", stdin=text)
        lab.sh("postfix", "reload")
        yield
    finally:
        lab.sh("sh", "-c", f"for e in crt key; do mv {TLS}.$e.kept {TLS}.$e; done; postfix reload")


def items(lab, **variables):
    """{what is not fine, or not known: its line} of a run of deliverability.yml."""
    done = lab.play("deliverability.yml", variables={**TEST, **variables})
    lines = [line.strip() for line in done.stdout.splitlines()]
    found = {
        word: sorted(line.split(": ")[1] for line in lines if line.startswith(word + ":"))
        for word in ("NOT FINE", "not known", "fine")
    }
    assert found["fine"], done.stdout[-4000:] + done.stderr
    assert (done.returncode != 0) == bool(found["NOT FINE"])
    return found, done.stdout


def test_each_fault_is_named_and_nothing_else(lab):
    lab.need("submission")
    found, text = items(lab)
    # what this practice host has not: a clock daemon, a certificate that somebody known has signed, and somebody who reads the test mail
    own = ["certificate of port 465", "certificate of port 587"]
    assert found["NOT FINE"] == own, text
    assert found["not known"] == [
        "Authentication-Results",
        "DKIM signature of home.example",
        "clock",
        "port 25 to the outside, ipv6",
    ], text
    assert {"port 25 to the outside, ipv4", "test mail to me@d0001.test", "IPv6", "HELO name"} <= set(found["fine"])
    faults = (
        ("2.0.192.in-addr.arpa", "10 PTR wrong.hosting.test."),
        ("zen.spamhaus.org", "10.2.0.192 A 127.0.0.2"),
        ("d0001.test", "@ MX 10 ns.hosting.test."),
        ("home.example", "mx AAAA 2001:db8::99"),
    )
    with records(lab, *faults), presented(lab, *expired()):
        found, text = items(lab, accepted_test_seconds=1)
    assert set(found["NOT FINE"]) == {
        "192.0.2.10 on zen.spamhaus.org",
        "AAAA mx.home.example",
        "IPv6",
        "PTR 10.2.0.192.in-addr.arpa",
        # its own policy goes by its address
        "TXT mx.home.example",
        "certificate of port 25",
        *own,
        "port 25 to the outside, ipv4",
        "port 25 to the outside, ipv6",
    }, text
    assert "expired" in text and "OP25B" in text and "smtp_address_preference" in text


@pytest.fixture
def served(lab):
    """A zone that the host's own named serves, with nothing in it that mail needs."""
    lab.sh("cp", "-p", CONF, CONF + ".kept")
    lab.sh("sh", "-c", f"cat > {ZONE}", stdin="$TTL 60\n@ SOA . . 1 3600 900 604800 60\n@ NS mx.home.example.\n")
    lab.sh(
        "sh", "-c", f"cat >> {CONF} && rndc reconfig", stdin=f'zone "served.test" {{ type primary; file "{ZONE}"; }};\n'
    )
    yield {**UNSIGNED, "accepted_domains": ["home.example", "served.test"]}
    lab.sh("sh", "-c", f"mv {CONF}.kept {CONF}; rndc reconfig; rm -f {ZONE} /usr/local/etc/namedb/sokuhai.records.*")


def test_a_zone_of_the_hosts_own_gets_its_records_by_include(lab, served):
    path = "/usr/local/etc/namedb/sokuhai.records.served.test"
    done = lab.play("dns.yml", variables=served)
    assert done.returncode != 0 and changed(done) == 1
    for name in ("MX record served.test", "TXT record served.test", "TXT record _dmarc.served.test"):
        assert name in done.stdout
    text = lab.sh("cat", path).stdout
    assert "ip4:192.0.2.10" in text and "home.example. 3600 IN TXT" not in text.replace("served.test", "")
    assert lab.sh("cat", ZONE).stdout.count("\n") == 3, "the zone itself is its owner's"
    lab.sh(
        "sh",
        "-c",
        f"sed -i -e 's/ 1 3600/ 2 3600/' {ZONE}; echo '$INCLUDE \"{path}\"' >> {ZONE}; rndc reload served.test; rndc flush",
    )
    done = lab.applied("dns.yml", variables=served)
    assert changed(done) == 0 and lab.sh("cat", path).stdout == text, "what is there by the file stays in it"
    # and verify.yml sees the same
    few = {"verify_options": ["-k", "test_every_record"]}
    assert " 2 passed" in lab.applied("verify.yml", variables={**served, **few}).stdout
    lab.sh(
        "sh",
        "-c",
        f"sed -i -e 's/ 2 3600/ 3 3600/' {ZONE}; sed -i -e '/_dmarc/d' {path}; rndc reload served.test; rndc flush",
    )
    gone = lab.play("verify.yml", variables={**served, **few})
    assert gone.returncode != 0 and "_dmarc.served.test" in gone.stdout
    # served no more: the file goes
    lab.sh("sh", "-c", f"cp -p {CONF}.kept {CONF}; rndc reconfig")
    assert changed(lab.applied("dns.yml", variables=UNSIGNED)) == 1
    assert lab.sh("test", "-e", path, check=False).returncode
