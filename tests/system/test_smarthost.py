"""All mail through a provider's server that asks for a password: over verified TLS, once, and never in clear."""

import json

import pytest
from outward import CA, arrived, deferred, flushed, log_end, logged, send, steer, trust
from practice import changed, full_only, message, until

pytestmark = full_only("exchanges Postfix's package twice: four runs of site.yml")

NAME = "smtp.relay.test"
PASSWORD = "Sm4rtPractice"
TABLE = "/usr/local/etc/postfix/tables/sasl_passwd"
DECLARED = {
    "sokuhai_smarthost": {"host": NAME, "user": "home", "password": PASSWORD, "ca": CA},
    # whose mail it is: the lane goes there, too
    "postfix_urgent": {"senders": ["alert@home.example"]},
}
REPLACE = {"postfix_replace_package": True}


@pytest.fixture(scope="module")
def smarthost(lab):
    """(the lab with a smarthost declared, the run that did it)."""
    if lab.outside:
        pytest.skip("installs another flavor's package, and takes it away again")
    trust(lab)
    yield lab, lab.applied("site.yml", "--tags", "postfix", "--diff", variables=DECLARED | REPLACE)
    lab.internet("ctl", "reset")
    lab.applied("site.yml", "--tags", "postfix", variables={"postfix_package": "postfix"} | REPLACE)
    lab.sh("sh", "-c", f"rm {CA}; postsuper -d ALL")
    assert lab.sh("test", "-e", TABLE, check=False).returncode


def logins(lab):
    return json.loads(lab.internet("ctl", "show").stdout)["sink"]["logins"]


def test_the_postfix_that_is_there_stays_unless_its_replacement_is_declared(lab):
    if lab.outside:
        pytest.skip("its package is its own")
    with lab.unchanged():
        result = lab.play("site.yml", "--tags", "postfix", variables=DECLARED)
    assert result.returncode and PASSWORD not in result.stdout
    for word in ("sokuhai_smarthost needs cyrus SASL", "postfix-3.", "postfix-sasl", "postfix_replace_package: true"):
        assert word in message(result)


def test_everything_goes_there_over_tls_with_the_password(smarthost):
    lab, run = smarthost
    assert PASSWORD not in run.stdout + run.stderr and "relayhost" in run.stdout
    assert lab.sh("stat", "-f", "%Lp", TABLE, TABLE + ".db").stdout.split() == ["600", "600"]
    since = log_end(lab)
    token = send(lab, "a@d0001.test", "b@signed.test")
    found = until(lambda: len(lines := arrived(lab, token)) == 2 and lines)
    assert {(one["sink"], one["tls"], one["user"]) for one in found} == {("198.51.100.220", True, "home")}
    assert logged(lab, since, "postfix/urgent/smtp[")


def test_without_tls_or_with_a_wrong_password_mail_waits_and_is_not_lost(smarthost):
    lab, _run = smarthost
    steer(lab, NAME, starttls="off")
    before, since = logins(lab), log_end(lab)
    token = send(lab, "c@d0001.test")
    assert "TLS is required, but was not offered" in deferred(lab, "c@d0001.test", since)
    assert arrived(lab, token) == [] and logins(lab) == before

    steer(lab, NAME, starttls="on")
    lab.sh("sh", "-c", f"echo '[{NAME}]:587 home:wrong' > {TABLE} && postmap hash:{TABLE}")
    since = log_end(lab)
    lab.sh("postqueue", "-f")
    assert "535 5.7.8" in deferred(lab, "c@d0001.test", since)
    assert arrived(lab, token) == [] and logins(lab)[-1]["tls"]

    # a run repairs the table, and the next has nothing to do
    runs = [lab.applied("site.yml", "--tags", "postfix", variables=DECLARED) for _ in range(2)]
    assert [changed(run) for run in runs] == [1, 0]
    assert [one["user"] for one in flushed(lab, token)] == ["home"]
