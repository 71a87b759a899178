"""Mail to domains with TLSA records: over TLS to the server that they name, or not at all; and what TLS costs outwards."""

import json
import statistics
import time

import pytest
from outward import arrived, deferred, flushed, log_end, logged, outcome, send, steer
from practice import changed, full_only, until

DECLARED = {"postfix_dane": True}


@pytest.fixture(scope="module")
def dane(lab):
    lab.applied("site.yml", "--tags", "postfix", variables=DECLARED)
    yield lab
    lab.internet("ctl", "reset")
    lab.applied("site.yml", "--tags", "postfix")
    lab.sh("postsuper", "-d", "ALL")


def test_a_server_that_fits_gets_it_and_one_without_records_as_before(dane):
    since = log_end(dane)
    token = send(dane, "a@dane-right.test", "b@dane-none.test", "c@signed.test")
    found = until(lambda: len(lines := arrived(dane, token)) == 3 and lines)
    assert {one["recipient"][0]: one.get("tls", False) for one in found} == {"a": True, "b": True, "c": False}
    # by the record alone: nobody has signed this certificate, and it is in another name
    assert logged(dane, since, "Verified TLS connection established to mail.dane-right.test")
    assert logged(dane, since, "Untrusted TLS connection established to mail.dane-none.test")


def test_what_does_not_fit_or_cannot_be_looked_up_waits(dane):
    steer(dane, "mail.dane-right.test", starttls="off")
    since = log_end(dane)
    token = send(dane, "a@dane-right.test", "b@dane-wrong.test", "c@dane-servfail.test")
    assert "TLS is required, but was not offered" in deferred(dane, "a@dane-right.test", since)
    assert "Server certificate not verified" in deferred(dane, "b@dane-wrong.test", since)
    assert "TLSA lookup error" in deferred(dane, "c@dane-servfail.test", since)
    assert arrived(dane, token) == []
    steer(dane, "mail.dane-right.test", starttls="on")
    assert [(one["recipient"], one["tls"]) for one in flushed(dane, token)] == [("a@dane-right.test", True)]


@full_only("one more run of site.yml")
def test_a_second_run_changes_nothing(dane):
    assert changed(dane.applied("site.yml", "--tags", "postfix", variables=DECLARED)) == 0


# ---- figures of docs/measured.md

#: Domains without TLSA records, and one each with records that fit, do not, cannot be looked up, and none.
PLAIN = [f"u@d{number:04}.test" for number in range(1, 201)]
ODD = [f"u@dane-{kind}.test" for kind in ("right", "none", "wrong", "servfail")]
ONE = "a@dane-none.test"
SEND = """
import smtplib, sys
with smtplib.SMTP('127.0.0.1', 25, local_hostname='localhost', timeout=120) as s:
    for n in range(int(sys.argv[1])):
        s.sendmail('postmaster@home.example', [sys.argv[2]], f'From: postmaster@home.example\\r\\nSubject: x\\r\\nX-Lab-Token: {sys.argv[3]}\\r\\n\\r\\n{n}\\r\\n')
"""


def to_all(lab):
    """Send one message to all of PLAIN and ODD, nothing in the resolver's cache; return (seconds, {domain of ODD: status}, queries that the zones of ODD got)."""

    def queries():
        zones = json.loads(lab.internet("ctl", "show").stdout)["zones"]
        return sum(zones.get(one.partition("@")[2], {"queries": 0})["queries"] for one in ODD)

    lab.sh("rndc", "flush")
    asked, since, begun = queries(), log_end(lab), time.monotonic()
    token = send(lab, *PLAIN, *ODD)
    until(lambda: sum(one["recipient"] in PLAIN for one in arrived(lab, token)) == len(PLAIN))
    seconds = time.monotonic() - begun

    def status_of(recipient):
        return until(lambda: outcome(lab, recipient, since))[-1].partition("status=")[2].split()[0]

    status = {one: status_of(one) for one in ODD}
    return seconds, status, queries() - asked


def three_times(lab):
    runs = [to_all(lab) for _ in range(3)]
    assert len({tuple(status.items()) for _seconds, status, _asked in runs}) == 1, runs
    lab.sh("postsuper", "-d", "ALL")
    return statistics.median(run[0] for run in runs), runs[0][1], statistics.median(run[2] for run in runs)


@full_only("measured: six messages to 204 recipients")
def test_what_dane_costs(dane, figures):
    name = "smtp_tls_security_level"
    try:
        with_dane = three_times(dane)
        dane.sh("sh", "-c", f"postconf -e {name}=may smtp_dns_support_level= && postfix reload")
        without = three_times(dane)
    finally:
        dane.sh("sh", "-c", f"postconf -e {name}=dane smtp_dns_support_level=dnssec && postfix reload")
    for title, (seconds, status, asked) in (("may", without), ("dane", with_dane)):
        shown = ", ".join(f"{one.partition('@')[2]} {what}" for one, what in status.items())
        figures.append(f"{title}: {len(PLAIN)} domains {seconds:.1f} s, {asked} queries for the other four: {shown}")
    assert set(without[1].values()) == {"sent"}
    assert list(with_dane[1].values()) == ["sent", "sent", "deferred", "deferred"]


def waiting(lab, token, number, settings):
    """Have *number* messages for ONE wait, then leave with *settings* of main.cf; return (seconds, handshakes)."""
    words = " ".join(f"'{one}'" for one in (*settings, "defer_transports=smtp"))
    lab.sh("sh", "-c", f"postconf -e {words} && postfix reload")
    lab.sh("/usr/local/bin/python3", "-", str(number), ONE, token, stdin=SEND)
    since = log_end(lab)
    lab.sh("sh", "-c", "postconf -X defer_transports && postfix reload && postqueue -f")
    begun = time.monotonic()
    until(lambda: len(arrived(lab, token)) == number)
    seconds = time.monotonic() - begun
    log = lab.sh("sh", "-c", f"tail -n +{since + 1} /var/log/maillog").stdout
    for one in settings:
        lab.sh("postconf", "-X", one.partition("=")[0])
    return seconds, log.count("TLS connection established to mail.dane-none.test")


@full_only("measured: nine times 200 messages to one server")
def test_what_a_handshake_less_is_worth(dane, figures):
    """Many messages wait for one server with TLS: as Postfix is by default, with its cache of TLS sessions, and with connections that are used again."""
    number = 200
    ways = {
        "neither": (),
        "smtp_tls_session_cache_database": ("smtp_tls_session_cache_database=btree:${data_directory}/smtp_scache",),
        "smtp_tls_connection_reuse": ("smtp_tls_connection_reuse=yes",),
    }
    dane.sh("postconf", "-M", "tlsproxy/unix=tlsproxy unix - - n - 0 tlsproxy")
    shaken = {}
    try:
        for title, settings in ways.items():
            found = [waiting(dane, f"{title}{time.monotonic_ns()}", number, settings) for _ in range(3)]
            seconds, shaken[title] = (statistics.median(one) for one in zip(*found, strict=True))
            figures.append(f"{title}: {number} messages to one server {seconds:.1f} s, {shaken[title]} handshakes")
    finally:
        dane.sh("sh", "-c", "postconf -X defer_transports; postconf -MX tlsproxy/unix; postfix reload")
    assert shaken["smtp_tls_connection_reuse"] < shaken["neither"]


#: A reporter's socket; prints the first datagram that has the word in it.
REPORTER = """
import os, socket, sys
path, word = sys.argv[1:3]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(path); os.chmod(path, 0o666); s.settimeout(250)
while word not in (got := s.recv(65536).decode('utf-8', 'replace')):
    pass
print(got)
os.unlink(path)
"""


@full_only("one more run of site.yml")
def test_what_came_of_tls_is_handed_to_a_reporter(dane, tmp_path):
    """As the role's README has it, its cache of sessions and connections that are used again included; the reporter's own work is not here."""
    if dane.sh("postconf", "-d", "smtp_tlsrpt_enable", check=False).stdout == "":
        pytest.skip("Postfix has TLS reports from 3.10 on")
    path, there = "/var/run/tlsrpt.socket", "dane-right.test"
    wanted = {
        "smtp_tlsrpt_enable": True,
        "smtp_tlsrpt_socket_name": path,
        "smtp_tls_connection_reuse": True,
        "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
    }
    more = {
        "postfix_main_cf": [{"name": name, "value": value} for name, value in wanted.items()],
        "postfix_master_cf": [{"name": "tlsproxy", "type": "unix", "chroot": "n", "maxproc": 0, "command": "tlsproxy"}],
    }
    policy = {"name": f"_smtp._tls.{there}", "type": "TXT", "values": ["v=TLSRPTv1; rua=mailto:tls@reports.test"]}
    (tmp_path / "records").write_text(json.dumps([policy]))
    assert dane.internet("ctl", "publish", str(tmp_path / "records")).returncode == 0
    dane.applied("site.yml", "--tags", "postfix", variables={**DECLARED, **more})
    reporter = dane.started(REPORTER, path, there)
    try:
        until(lambda: dane.sh("test", "-S", path, check=False).returncode == 0)
        send(dane, f"a@{there}")
        until(lambda: reporter.poll() is not None)
        got = reporter.stdout.read()
    finally:
        if reporter.poll() is None:
            reporter.kill()
        dane.sh("rm", "-f", path)
    # to whom the report goes, by which policy the server was chosen, and that nothing failed
    assert "tls@reports.test" in got and '"policy-domain": "mail.dane-right.test"' in got and '"f":0' in got, got
