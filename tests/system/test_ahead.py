"""Recipients' domains are in named's cache before there is a message, whoever may send, and mail passes when nothing looks them up."""

import json
import time

import pytest
from practice import HOST, changed_lines, full_only, until

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


def asked_about(lab):
    """How many queries the authorities of DOMAINS have had."""
    zones = json.loads(lab.internet("ctl", "show").stdout)["zones"]
    return sum(zones.get(name, {}).get("queries", 0) for name in DOMAINS)


def test_a_list_that_was_warmed_is_delivered_without_asking_anybody(lab, cold):
    who, before = f"warm-{time.time_ns()}", asked_about(lab)
    addresses = [f"{who}@{name}" for name in DOMAINS]
    listed = "\n".join([*addresses, f"{who}@no-such-domain.test", ""])
    done = lab.sh("/usr/local/bin/sokuhai-warm", "-", host=HOST, stdin=listed, check=False)
    assert (done.returncode, done.stdout) == (1, f"no such domain\t{who}@no-such-domain.test\n"), done.stderr
    assert done.stderr.startswith("31 domains: 0 were in the cache, 1 take no mail, 0 without")
    warmed = asked_about(lab)
    assert warmed >= before + len(DOMAINS)
    lab.sh(
        "/usr/local/sbin/sendmail", "-f", "postmaster@home.example", *addresses, host=HOST, stdin="Subject: x\n\nx\n"
    )
    sent = f"grep -c 'to=<{who}@.*status=sent' /var/log/maillog || :"
    until(lambda: int(lab.sh("sh", "-c", sent, host=HOST).stdout) == len(DOMAINS))
    assert asked_about(lab) == warmed


@full_only("cron's line written and removed")
def test_cron_keeps_declared_lists_warm_and_the_sampler_has_what_it_found(lab):
    listed = {"ahead_warm_lists": ["/usr/local/etc/list"]}
    lab.sh("sh", "-c", "cat > /usr/local/etc/list", host=HOST, stdin="\n".join(DOMAINS))
    try:
        lab.applied(variables=listed)
        (line,) = lab.sh("grep", "-v", "^#", "/usr/local/etc/cron.d/sokuhai-warm", host=HOST).stdout.splitlines()
        assert line.split()[:6] == ["*/5", "*", "*", "*", "*", "root"]
        for _ in range(2):
            done = lab.sh(*line.split()[6:], host=HOST)
            assert done.stdout == done.stderr == ""
        sample = "tail -1 /var/db/sokuhai_monitor/samples.csv"
        until(lambda: f",{len(DOMAINS)},{len(DOMAINS)}," in lab.sh("sh", "-c", sample, host=HOST).stdout)
        with lab.unchanged():
            assert not changed_lines(lab.applied(variables=listed))
    finally:
        lab.applied()
        lab.sh("rm", "/usr/local/etc/list", host=HOST)
    left = "ls /usr/local/etc/cron.d/sokuhai-warm /var/db/sokuhai_warm.json"
    assert not lab.sh("sh", "-c", left, host=HOST, check=False).stdout


@full_only("the service taken out of Postfix and put back")
def test_switched_off_nothing_asks_it(lab):
    off = {"sokuhai_ahead": False}
    try:
        lab.applied(variables={"ahead_warm_lists": ["/usr/local/etc/list"]})
        lab.applied(variables=off)
        assert lab.sh("test", "-e", "/usr/local/etc/cron.d/sokuhai-warm", host=HOST, check=False).returncode == 1
        shown = lab.sh("sh", "-c", "PATH=$PATH:/usr/local/sbin; postconf -n; postconf -M", host=HOST).stdout
        assert "private/ahead" not in shown and "sokuhai-ahead" not in shown
        with lab.unchanged():
            lab.applied(variables=off)
        # the submission services ask nothing at all then, as with the example inventory
        lab.applied("verify.yml", variables={**off, "verify_options": ["-k", "test_restrictions"]})
    finally:
        lab.applied()
