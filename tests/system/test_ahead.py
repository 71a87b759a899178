"""Recipients' domains are in named's cache before there is a message, whoever may send, and mail passes when nothing looks them up."""

import json

import pytest
from practice import HOST, full_only, until

DOMAINS = [f"d{number:04d}.test" for number in range(400, 430)]
NOT_OURS, AFTER_IT = "d0450.test", "d0451.test"  # ahead_again: what was asked for lately is not asked for again
# one envelope that is given up before DATA; prints the replies to RCPT
ENVELOPE = """
import json, smtplib, sys
where, recipients = sys.argv[1], sys.argv[2:]
with smtplib.SMTP(where, 25, local_hostname="sender.test", timeout=600) as server:
    server.ehlo()
    server.mail("someone@sender.test" if where != "127.0.0.1" else "postmaster@home.example")
    print(json.dumps([server.rcpt("nobody@" + name)[0] for name in recipients]))
    server.rset()
"""


def rcpt(lab, where, host, *domains):
    """The codes of the replies to one RCPT a domain."""
    python = "/usr/local/bin/python3" if host == HOST else "python3"
    return json.loads(lab.sh(python, "-", where, *domains, host=host, stdin=ENVELOPE).stdout)


def cached(lab, kind, *names):
    """Those of *names* that named knows records of *kind* of without asking anybody."""
    asked = "; ".join(f"dig +norecurse +noall +answer @127.0.0.1 {name} {kind}" for name in names)
    said = lab.sh("sh", "-c", f"PATH=$PATH:/usr/local/bin; {asked}", host=HOST).stdout
    return {line.split()[0].rstrip(".") for line in said.splitlines() if f" {kind} " in " ".join(line.split())}


@pytest.fixture
def cold(lab):
    lab.sh("/usr/local/sbin/rndc", "flush", host=HOST)
    assert not cached(lab, "MX", *DOMAINS, NOT_OURS)


def test_the_domains_are_known_before_there_is_a_message(lab, cold):
    assert set(rcpt(lab, "127.0.0.1", HOST, *DOMAINS)) == {250}
    until(lambda: cached(lab, "MX", *DOMAINS) == set(DOMAINS))
    hosts = lab.sh(
        "sh", "-c", f"PATH=$PATH:/usr/local/bin; dig +norecurse +short @127.0.0.1 {DOMAINS[0]} MX", host=HOST
    ).stdout
    exchange = hosts.split()[1].rstrip(".")
    until(lambda: cached(lab, "A", exchange) == {exchange})


def test_who_may_not_relay_has_nothing_looked_up(lab, cold):
    (code,) = rcpt(lab, "192.0.2.10", "clients", NOT_OURS)
    assert code in (450, 454, 504, 550, 554)
    # and what is asked for after it has been
    rcpt(lab, "127.0.0.1", HOST, AFTER_IT)
    until(lambda: cached(lab, "MX", AFTER_IT))
    assert not cached(lab, "MX", NOT_OURS)


def test_mail_passes_when_nothing_looks_domains_up(lab):
    program = "/usr/local/libexec/sokuhai-ahead"
    ended = "pkill -f '^/usr/local/bin/python3[.0-9]* -IB /usr/local/libexec/sokuhai-policyd-ahead --server ' || :"
    lab.sh("sh", "-c", f"mv {program} {program}.away; {ended}", host=HOST)
    try:
        assert rcpt(lab, "127.0.0.1", HOST, *DOMAINS[:2]) == [250, 250]
    finally:
        lab.sh("mv", f"{program}.away", program, host=HOST)


@full_only("the service taken out of Postfix and put back")
def test_switched_off_nothing_asks_it(lab):
    off = {"sokuhai_ahead": False}
    try:
        lab.applied(variables=off)
        shown = lab.sh("sh", "-c", "PATH=$PATH:/usr/local/sbin; postconf -n; postconf -M", host=HOST).stdout
        assert "private/ahead" not in shown and "sokuhai-ahead" not in shown
        with lab.unchanged():
            lab.applied(variables=off)
    finally:
        lab.applied()
