"""Mail to domains with an MTA-STS policy in mode enforce: over TLS to a server of it, with a certificate of a CA, or not at all."""

import pytest
from outward import arrived, deferred, flushed, log_end, logged, send, steer
from practice import changed, full_only, until

pytestmark = full_only("installs a daemon of its own and takes it away: four runs of site.yml")

CONFIG = "/usr/local/etc/sokuhai-mta-sts.yml"
DECLARED = {"sokuhai_mta_sts": True}
CA = "/etc/ssl/certs/lab-ca.pem"


def played(lab, **variables):
    return lab.applied("site.yml", "--tags", "postfix", variables=variables)


@pytest.fixture(scope="module")
def sts(lab):
    """(the lab with MTA-STS, the run that enabled it)."""
    if lab.outside:
        pytest.skip("needs a package that the machine may not have")
    link = f"ln -s {CA} /etc/ssl/certs/$(openssl x509 -noout -hash -in {CA}).0"
    lab.sh("sh", "-c", f"cat > {CA} && {link}", stdin=(lab.state / "tls" / "ca.pem").read_text())
    yield lab, played(lab, **DECLARED)
    lab.internet("ctl", "reset")
    assert changed(played(lab)) == 2
    assert lab.sh("test", "-e", CONFIG, check=False).returncode
    assert lab.sh("service", "mta_sts", "onestatus", check=False).returncode
    lab.sh("sh", "-c", f"rm /etc/ssl/certs/$(openssl x509 -noout -hash -in {CA}).0 {CA}; postsuper -d ALL")


def test_a_server_of_the_policy_gets_it_and_one_without_policy_as_before(sts):
    lab, run = sts
    assert changed(run) == 2
    since = log_end(lab)
    token = send(lab, "a@sts-right.test", "b@signed.test")
    found = until(lambda: len(lines := arrived(lab, token)) == 2 and lines)
    assert {one["recipient"][0]: one.get("tls", False) for one in found} == {"a": True, "b": False}
    # not because TLS was offered: the certificate was looked at
    assert logged(lab, since, "Verified TLS connection established to mail.sts-right.test")


def test_another_certificate_or_none_gets_nothing(sts):
    lab, _run = sts
    steer(lab, "mail.sts-right.test", starttls="off")
    since = log_end(lab)
    token = send(lab, "a@sts-right.test", "b@sts-wrong.test")
    assert "TLS is required, but was not offered" in deferred(lab, "a@sts-right.test", since)
    assert "Server certificate not " in deferred(lab, "b@sts-wrong.test", since)
    assert arrived(lab, token) == []
    steer(lab, "mail.sts-right.test", starttls="on")
    assert [(one["recipient"], one["tls"]) for one in flushed(lab, token)] == [("a@sts-right.test", True)]


def test_mail_waits_while_the_daemon_is_down_and_a_run_starts_it(sts):
    lab, _run = sts
    lab.sh("service", "mta_sts", "stop")
    since = log_end(lab)
    token = send(lab, "c@signed.test")
    assert "client TLS configuration problem" in deferred(lab, "c@signed.test", since)
    assert changed(played(lab, **DECLARED)) == 1
    assert [one["recipient"] for one in flushed(lab, token)] == ["c@signed.test"]
    assert changed(played(lab, **DECLARED)) == 0
