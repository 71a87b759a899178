# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How many recipients an hour a user may send to: postfwd's rules, and what is refused of the figures."""

import pytest
import recipients

USERS = [
    {"name": "alice"},
    {"name": "list@home.example", "recipients_per_hour": 2000},
    {"name": "alert", "recipients_per_hour": 0},
]
DECLARED = {
    "sasl_recipients_per_hour": 200,
    "sasl_users": USERS,
    "sasl_recipients_address": "127.0.0.1",
    "sasl_recipients_port": 10029,
    "sasl_inet_protocols": "all",
}


@pytest.mark.parametrize(
    "default, users, limited, free",
    [
        (0, [], False, []),
        (0, [{"name": "alice"}, {"name": "b", "recipients_per_hour": None}], False, ["alice", "b"]),
        (0, USERS, True, ["alice", "alert"]),
        (200, USERS, True, ["alert"]),
        (200, [], True, []),
    ],
)
def test_who_has_a_limit(default, users, limited, free):
    assert recipients.limited(users, default) is limited and recipients.free(users, default) == free


def test_a_users_own_figure_counts_and_the_others_have_the_common_one():
    reply = "450 4.7.1 More than %d recipients within an hour, try again later"
    assert recipients.rules(USERS, 200) == [
        f"id=over_2000_1; sasl_username==list@home.example; action=rate(sasl_username/2000/3600/{reply % 2000})",
        "id=near_2000_1; sasl_username==list@home.example; action=rate(sasl_username/1599/3600/DUNNO)",
        "id=own_1; sasl_username==list@home.example; action=jump(end)",
        f"id=over_200; sasl_username=~.+; action=rate(sasl_username/200/3600/{reply % 200})",
        "id=near_200; sasl_username=~.+; action=rate(sasl_username/159/3600/DUNNO)",
        "id=end; request==none; action=DUNNO",
    ]
    assert not any("alice" in line or "alert" in line for line in recipients.rules(USERS, 200))


def test_without_a_common_figure_the_others_are_not_counted():
    assert [line.partition(";")[0] for line in recipients.rules(USERS, 0)] == [
        "id=over_2000_1",
        "id=near_2000_1",
        "id=own_1",
        "id=end",
    ]


@pytest.mark.parametrize("limit", [10, 11, 99, 200, 1000000])
def test_the_recipient_at_80_per_cent_is_the_first_that_is_near(limit):
    number = recipients.near(limit) + 1
    assert number >= limit * 0.8 > number - 1 and 1 < number < limit


@pytest.mark.parametrize(
    "changes, said",
    [
        ({}, []),
        ({"sasl_recipients_per_hour": 0, "sasl_users": []}, []),
        (
            {"sasl_recipients_per_hour": 9},
            ["sasl_recipients_per_hour: 9 is not within 10 to 1000000 recipients an hour; 0 is no limit"],
        ),
        ({"sasl_recipients_per_hour": -1}, ["sasl_recipients_per_hour: -1 "]),
        (
            {"sasl_users": [*USERS, {"name": "b", "recipients_per_hour": 1}]},
            ["sasl_users[3].recipients_per_hour: 1 is not within 10 "],
        ),
        ({"sasl_recipients_port": 587}, ["sasl_recipients_port: 587 is not within 1024 to 65535; 10029 "]),
        ({"sasl_recipients_address": "127.0.1.2"}, []),
        (
            {"sasl_recipients_address": "192.0.2.10"},
            ["sasl_recipients_address: 192.0.2.10 is not a loopback address of IPv4"],
        ),
        ({"sasl_recipients_address": "::1"}, ["sasl_recipients_address: ::1 is not a loopback address of IPv4"]),
        ({"sasl_inet_protocols": "ipv6"}, ["sasl_recipients_per_hour: postfwd listens on IPv4 alone"]),
        ({"sasl_inet_protocols": "ipv6", "sasl_recipients_per_hour": 0, "sasl_users": []}, []),
    ],
)
def test_what_is_refused(changes, said):
    found = recipients.problems({**DECLARED, **changes})
    assert len(found) == len(said) and all(one.startswith(words) for one, words in zip(found, said)), found
