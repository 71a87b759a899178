"""Mail in and out while the host is changed, or something of it fails: what was accepted arrives exactly once."""

import contextlib
import time

import pytest
import yaml
from practice import ROOT, changed, full_only, sized, some
from traffic import NOTHING, traffic

pytestmark = pytest.mark.reliability("mail")

OTHER = yaml.safe_load((ROOT / "tests/system/other_settings.yml").read_text())["settings"]
#: Mails that go out by each of two ways; as many as both come in.
EACH = sized(20, 100, 2500)
# a queue of its own that can be filled, without the machine's disk; Dovecot listens in it as well
SMALL_QUEUE = """set -e
service postfix stop </dev/null >/dev/null 2>&1
cp -a /var/spool/postfix /tmp/queue
mount -t tmpfs -o size=64m,mode=755 tmpfs /var/spool/postfix
cp -a /tmp/queue/. /var/spool/postfix/
for name in dovecot postfix; do service $name restart </dev/null >/dev/null 2>&1 || :; done
"""
LARGE_QUEUE = """set -e
for name in postfix dovecot; do service $name stop </dev/null >/dev/null 2>&1 || :; done
rm -rf /tmp/queue /tmp/new && cp -a /var/spool/postfix /tmp/new
# spawn(8) starts the SPF agent in it, which outlives Postfix; and the sampler looks into it from time to time
for pid in $(pgrep -f '[s]okuhai-policyd'); do kill $pid || :; done
tries=0; until umount /var/spool/postfix; do tries=$((tries + 1)); test $tries -lt 60; sleep 1; done
rm -rf /var/spool/postfix && mv /tmp/new /var/spool/postfix
for name in dovecot postfix; do service $name restart </dev/null >/dev/null 2>&1 || :; done
"""


@pytest.fixture
def host(lab):
    box = lab.mailbox()
    lab.sh("rm", "-f", "/var/mail/root")
    yield lab
    lab.sh("sh", "-c", "cat >/var/mail/root" if box else "rm -f /var/mail/root", stdin=box)


def told(record_property, sent, **more):
    for name, figure in {**more, **sent.figures()}.items():
        record_property(name.replace("_", " "), figure)


@full_only("three runs of site.yml with mail all the while: under SOKUHAI_FULL=1")
def test_through_runs_that_change_every_setting(host, record_property):
    before, runs = host.fingerprint(), 0
    try:
        with traffic(host, EACH, pause=0.1) as sent:
            began = time.monotonic()
            for variables in (OTHER, None):
                assert changed(host.applied(variables=variables)) > 5
                runs += 1
                if variables:
                    other = host.fingerprint()
            took = round(time.monotonic() - began)
    finally:
        host.applied()
    assert host.fingerprint() == before and other != before
    outcome = sent.judged()
    files = sum(before.get(path) != other.get(path) for path in before.keys() | other.keys())
    told(
        record_property,
        sent,
        runs=runs,
        seconds_of_runs=took,
        files_that_differ=files,
        **{k: len(v) for k, v in outcome.items()},
    )
    assert outcome == NOTHING, dict(sent.again)


@contextlib.contextmanager
def named_restarted(host):
    def turn():
        host.sh("service", "named", "restart")

    yield turn


@contextlib.contextmanager
def policy_services_killed(host):
    services, found = ("sokuhai_postgrey", "dovecot"), []

    def turn():
        for pattern in ("[p]ostgrey", "[p]olicyd-spf", "[d]ovecot"):
            found.append(host.end(pattern))
        time.sleep(3)
        for service in services:
            host.sh("sh", "-c", f"service {service} restart </dev/null >/dev/null 2>&1", check=False)

    yield turn
    assert any(found)


@contextlib.contextmanager
def queues_disk_full(host):
    def turn():
        host.sh(
            "sh",
            "-c",
            "dd if=/dev/zero of=/var/spool/postfix/fill bs=64k 2>/dev/null; sleep 8; rm -f /var/spool/postfix/fill",
        )

    host.sh("sh", "-c", SMALL_QUEUE)
    try:
        yield turn
    finally:
        host.sh("sh", "-c", LARGE_QUEUE)


@pytest.mark.parametrize(
    "failure",
    some(
        [named_restarted, policy_services_killed, queues_disk_full],
        lambda failure: failure is named_restarted,
        "one of three failures suffices for make test",
    ),
    ids=lambda one: one.__name__,
)
def test_while_something_fails(host, failure, record_property):
    turns = sized(1, 2, 12)
    with failure(host) as turn, traffic(host, EACH, pause=0.1) as sent:
        for _ in range(turns):
            time.sleep(2)
            turn()
    outcome = sent.judged()
    told(record_property, sent, times=turns, **{k: len(v) for k, v in outcome.items()})
    assert outcome == NOTHING, dict(sent.again)
