# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""postfix_verp: what main.cf has of it, and what is refused."""

import pytest
from role_modules import load

verp = load("filter_plugins/postfix_verp.py")


def test_without_clients_nothing_is_written():
    assert verp.postfix_verp_items([]) == []


def test_clients_are_written_as_postfix_reads_them_with_the_delimiter_that_their_bounces_need():
    items = {
        item["name"]: item["value"]
        for item in verp.postfix_verp_items(["127.0.0.1", "::1", "2001:db8::/64", "[2001:db8:1::2]", "$mynetworks"])
    }
    assert items == {
        "smtpd_authorized_verp_clients": [
            "127.0.0.1",
            "[::1]",
            "[2001:db8::]/64",
            "[2001:db8:1::2]",
            "$mynetworks",
        ],
        "recipient_delimiter": "+",
    }


def main_cf(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


@pytest.mark.parametrize(
    "clients, given, words",
    [
        (["127.0.0.1", "$mynetworks", "[::1]/128"], {}, None),
        ([], {"recipient_delimiter": "-"}, None),
        (["127.0.0.1"], {"recipient_delimiter": "+-"}, None),
        (["127.0.0.1"], {"recipient_delimiter": "-", "default_verp_delimiters": "-="}, None),
        (["mx.example.org"], {}, ["postfix_verp", "'mx.example.org'", "192.0.2.0/24", "$mynetworks"]),
        (["192.0.2.1/24"], {}, ["postfix_verp", "192.0.2.0/24"]),
        (["0.0.0.0/0"], {}, ["postfix_verp", "whole internet", "127.0.0.1"]),
        (["127.0.0.1"], {"recipient_delimiter": "-"}, ["recipient_delimiter", "postfix_verp", "-=", "to +"]),
        (["127.0.0.1"], {"recipient_delimiter": "."}, ["recipient_delimiter", "postfix_verp", "to +"]),
        (["127.0.0.1"], {"default_verp_delimiters": "-="}, ["default_verp_delimiters to +=", "postfix_verp"]),
        (["127.0.0.1"], {"smtpd_authorized_verp_clients": "192.0.2.1"}, ["smtpd_authorized_verp_clients", "leave one"]),
    ],
)
def test_what_cannot_work_is_refused_with_both_ends_and_a_value_that_does(clients, given, words):
    problems = verp.postfix_verp_problems({"postfix_verp": clients, "postfix_main_cf": main_cf(**given)})
    assert len(problems) == bool(words), problems
    for word in words or ():
        assert word in problems[0], problems[0]


def test_what_is_taken_out_of_main_cf_is_not_declared():
    absent = [{"name": "smtpd_authorized_verp_clients", "state": "absent"}]
    assert verp.postfix_verp_problems({"postfix_verp": ["127.0.0.1"], "postfix_main_cf": absent}) == []
