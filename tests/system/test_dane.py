"""Mail to domains with TLSA records: over TLS to the server that they name, or not at all."""

import pytest
from outward import arrived, deferred, flushed, log_end, logged, send, steer
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
