"""The DNS holds what others look up before they accept mail of this host. The playbook has compared it: role accepted."""

import pytest


@pytest.fixture
def compared(declared):
    if declared["dns_compared"].get("skipped"):
        pytest.skip("accepted_check or sokuhai_mail is false: the DNS is not looked at")
    return declared["dns_compared"]


def test_every_record_is_right(compared):
    assert [
        "%s: expected %s, found %s" % (one["thing"], one["expected"], one["found"] or "nothing")
        for one in compared["findings"]
    ] == []


def test_every_record_was_answered(compared):
    if compared["notes"]:
        pytest.skip("; ".join(compared["notes"]))
