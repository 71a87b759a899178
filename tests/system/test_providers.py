"""Receivers that refuse what is too much for them: without postfix_providers mail to them is deferred, or bounced; with it all arrives at the first try."""

import json
import re
from collections import Counter

import pytest
from outward import arrived, log_end, send
from practice import changed, full_only, until

pytestmark = full_only("mails 3,100 recipients twice, and has three runs of site.yml")

#: Three domains on one server that lets ten connections in; one on a server that ends a connection at the 101st recipient, as docomo does; one on a server
#: that lets one connection in, which is less than anybody keeps to.
SLOW, CARRIER, NARROW = ["d0001.test", "d0021.test", "d0041.test"], "d0002.test", "d0003.test"
RECIPIENTS = [f"user{number:04d}@{domain}" for domain in SLOW for number in range(500)]
RECIPIENTS += [f"user{number:04d}@{CARRIER}" for number in range(1000)]
REFUSED = [f"user{number:04d}@{NARROW}" for number in range(600)]
SUSPENDED = rf"@{NARROW}>.*\(delivery temporarily suspended: "
DECLARED = {
    "postfix_providers": [
        {"name": "slow", "domains": SLOW, "concurrency": 5},
        {"name": "docomo", "domains": [CARRIER]},
        {"name": "narrow", "domains": [NARROW], "concurrency": 5},
        "gmail",
    ]
}


@pytest.fixture
def receivers(lab):
    """A function that returns what the first two servers refused, by limit."""
    for server, limits in (
        ("sink01*", ["connections=10"]),
        ("sink02*", ["recipients=100"]),
        ("sink03*", ["connections=1"]),
    ):
        assert lab.internet("ctl", "sink", server, *limits).returncode == 0
    for domain in (*SLOW, NARROW):
        # a connection lasts, so that those that Postfix opens at a time are open at a time
        assert lab.internet("ctl", "sink", domain, "slow=3" if domain == NARROW else "slow=1").returncode == 0

    def refused():
        shown = json.loads(lab.internet("ctl", "show").stdout)["sink"]["throttles"]
        return {name: number for sink in ("sink01*", "sink02*") for name, number in shown[sink]["refused"].items()}

    yield refused
    lab.internet("ctl", "reset")
    lab.sh("postsuper", "-d", "ALL")


def outcomes(lab, since):
    """{recipient: [status of each attempt]} from line *since* of the log on."""
    text = lab.sh("sh", "-c", f"tail -n +{since + 1} /var/log/maillog").stdout
    found = {recipient: [] for recipient in RECIPIENTS + REFUSED}
    for recipient, status in re.findall(r"to=<([^>]*)>.* status=(\w+)", text):
        if recipient in found:
            found[recipient].append(status)
    return found, text


def mailed(lab):
    """Mail all of them; return (token, outcomes, log) as soon as each was tried."""
    since = log_end(lab)
    token = send(lab, *RECIPIENTS, *REFUSED)

    def tried():
        found, text = outcomes(lab, since)
        return all(found.values()) and (token, found, text)

    return until(tried, 400)


def test_a_receiver_that_limits_gets_no_more_than_it_takes(lab, receivers):
    if lab.outside:
        pytest.skip("its Postfix has other limits")
    token, found, text = mailed(lab)
    firsts = Counter((recipient.partition("@")[2], tries[0]) for recipient, tries in found.items())
    refused = receivers()
    assert refused["connections"] and any(firsts[domain, "deferred"] for domain in SLOW), (refused, firsts)
    # what was answered 554 is lost to the list's owner, who sees a dead address
    assert refused["recipients"] and firsts[CARRIER, "bounced"], (refused, firsts)
    # some refused connections keep all of the domain's mail back
    assert re.search(SUSPENDED, text)
    lab.sh("postsuper", "-d", "ALL")

    try:
        runs = [lab.applied("site.yml", "--tags", "postfix", variables=DECLARED) for _ in range(2)]
        assert [changed(run) for run in runs] == [1, 0]
        before = receivers()
        token, found, text = mailed(lab)
        assert {tuple(found[recipient]) for recipient in RECIPIENTS} == {("sent",)}
        copies = Counter(one["recipient"] for one in arrived(lab, token))
        assert {copies[recipient] for recipient in RECIPIENTS} == {1} and max(copies.values()) == 1
        assert receivers() == before and "temporarily suspended" not in text
        # where even that is too much each connection is refused by itself, and none is held back for another's sake
        assert f"@{NARROW}>" in text and "refused to talk to me: 421" in text
        # and it is the provider's transport that kept to it, over all its domains
        assert {name for name in ("slow", "docomo", "narrow", "gmail") if f" postfix/{name}/smtp[" in text} == {
            "slow",
            "docomo",
            "narrow",
        }
    finally:
        lab.applied("site.yml", "--tags", "postfix")
    assert lab.sh("postconf", "-h", "transport_maps").stdout.strip() == ""
    assert lab.sh("test", "-e", "/usr/local/etc/postfix/tables/providers", check=False).returncode
