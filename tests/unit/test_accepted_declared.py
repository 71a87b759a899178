# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is refused of the declared values of role accepted, by name; the rest is tests/system/bad_input.yml's."""

import pytest
from role_modules import defaults, load

FILTERS = load("roles/accepted/filter_plugins/accepted.py")


def problems(**declared):
    return FILTERS.accepted_problems(
        {**defaults("accepted", sokuhai_domain="home.example", sokuhai_hostname="mx.home.example"), **declared}
    )


def test_what_is_usual_is_taken():
    assert problems() == []
    assert (
        problems(
            accepted_addresses=["203.0.113.5", "2001:db8::5"],
            accepted_spf=["include:_spf.x.test", "mx"],
            accepted_dmarc_reports="d@x.test",
        )
        == []
    )
    assert problems(accepted_test_address="me@far.test", accepted_test_mailbox="/var/mail/root") == []


@pytest.mark.parametrize(
    "selector, domain, words",
    [
        ("a b", "home.example", ["accepted_dkim", "label", "a b"]),
        ("s" * 64, "home.example", ["accepted_dkim", "63"]),
        ("s", ".".join(["d" * 60] * 4) + ".example", ["accepted_dkim", "253"]),
    ],
)
def test_a_key_whose_record_has_no_place_in_the_dns_is_refused(selector, domain, words):
    (found,) = problems(accepted_dkim=[{"selector": selector, "domain": domain, "value": "v=DKIM1; p=x"}])
    assert all(word in found for word in words)


def test_two_addresses_of_the_host_itself_have_room_in_the_policy():
    fits = ["ip4:203.0.113.%03d" % n for n in range(100, 120)]
    assert problems(accepted_spf=fits[:18]) == [] and "450" in problems(accepted_spf=fits * 2)[0]


def test_records_are_printed_with_what_became_of_them():
    record = {
        "use": "mta-sts",
        "need": "required",
        "state": "missing",
        "found": "",
        "expected": "x",
        "line": "LINE",
        "name": "_mta-sts.home.example",
    }
    text = FILTERS.accepted_lines(
        [
            {**record, "policy": "version: STSv1\r\nmode: testing\r\n"},
            {**record, "state": "short", "found": "1024 bits"},
        ]
    )
    assert text.splitlines() == [
        "; MTA-STS: missing",
        "LINE",
        "; https://mta-sts.home.example/.well-known/mta-sts.txt has to be:",
        "; version: STSv1",
        "; mode: testing",
        "; MTA-STS: key too short: 1024 bits, declared x",
        "LINE",
    ]


@pytest.mark.parametrize("state", FILTERS.STATES)
def test_every_state_has_words(state):
    assert FILTERS.STATES[state].format(found="f", expected="e")
