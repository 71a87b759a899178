"""filter_plugins/postfix_items.py, postfix_tables.py: merging, ordering and checking named items."""

import pytest
from ansible.errors import AnsibleFilterError
from postfix_items import (
    postfix_default_rates,
    postfix_known_items,
    postfix_merge,
    postfix_optional,
    postfix_rate_items,
    postfix_restriction_items,
    postfix_services,
    postfix_value,
    rate,
    seconds,
)
from postfix_tables import (
    postfix_sender_logins,
    postfix_typed,
)


def names(items):
    return [item["name"] for item in items]


# --- merge


def test_later_lists_win_field_by_field():
    merged = postfix_merge([[{"name": "a", "value": 1, "weight": 5, "comment": "why"}], [{"name": "a", "value": 2}]])
    assert merged == [{"name": "a", "value": 2, "weight": 5, "comment": "why", "state": "present"}]


A, B = {"name": "a"}, {"name": "b"}
GONE = {"name": "a", "state": "absent"}


@pytest.mark.parametrize(
    "lists, left",
    [
        # by weight, then by first mention
        ([[{"name": "c"}, B, {**A, "weight": 10}], [{**B, "value": 1}, {"name": "z", "weight": 600}]], "acbz"),
        # absent takes away, and present brings back to the old place
        ([[A, B], [GONE]], "b"),
        ([[A, B], [GONE], [{**A, "value": 1}]], "ab"),
        # absent of an unknown name is no error
        ([[GONE]], ""),
        # lists that are missing are empty
        ([None, [A], []], "a"),
    ],
)
def test_lists_are_merged_in_order(lists, left):
    assert names(postfix_merge(lists)) == list(left)


@pytest.mark.parametrize(
    "bad", [[{"value": 1}], ["a"], {"name": "a"}, [{"name": "a", "state": "gone"}], [{"name": ""}]]
)
def test_an_item_is_a_mapping_with_name_and_known_state(bad):
    with pytest.raises(AnsibleFilterError):
        postfix_merge([bad])


def test_inputs_are_left_as_they_are():
    first, second = [{"name": "a", "options": {"x": 1}}], [{"name": "a", "options": {"y": 2}}]
    postfix_merge([first, second])
    assert first == [{"name": "a", "options": {"x": 1}}]
    assert second == [{"name": "a", "options": {"y": 2}}]


def test_services_of_one_name_and_two_types_are_two():
    merged = postfix_services(
        [
            [{"name": "smtp", "type": "inet", "command": "smtpd"}, {"name": "smtp", "command": "smtp"}],
            [{"name": "smtp", "type": "inet", "maxproc": 5}],
        ]
    )
    assert [(item["name"], item["type"], item["command"], item.get("maxproc")) for item in merged] == [
        ("smtp", "inet", "smtpd", "5"),
        ("smtp", "unix", "smtp", "-"),
    ]


def test_addresses_belong_to_who_logs_in_by_mailbox_alias_or_list():
    aliases = [
        {"name": "postmaster", "value": "root"},
        {"name": "root", "value": ["alert@home.example", "bob"]},
        {"name": "sales", "value": "bob, carol@other.example"},
        {"name": "loop", "value": "loop"},
    ]
    logins = {
        "alert@home.example": ["@lists.example"],
        "bob": [],
        "carol@other.example": ["Bob@Home.example"],
        "dan": ["@home.example"],
    }
    found = postfix_sender_logins(logins, aliases, ["home.example", "mx.home.example"])
    assert {entry["pattern"]: entry["action"] for entry in found} == {
        "alert": "alert@home.example",
        "@lists.example": "alert@home.example",
        "root": "alert@home.example, bob",
        "postmaster": "alert@home.example, bob",
        "bob": "bob, carol@other.example",
        "sales": "bob, carol@other.example",
        "carol@other.example": "carol@other.example",
        "@home.example": "dan",
        "dan": "dan",
    }


def test_options_of_services_merge_by_key():
    merged = postfix_services(
        [
            [{"name": "a", "command": "smtpd", "options": {"x": "1", "y": "2"}}],
            [{"name": "a", "options": {"y": None, "z": "3"}}],
        ]
    )
    assert merged[0]["options"] == {"x": "1", "z": "3"}


# --- values


@pytest.mark.parametrize(
    "value, written",
    [
        (True, "yes"),
        (False, "no"),
        (None, ""),
        (0, "0"),
        (["a", True, 3], "a, yes, 3"),
        ({"value": True, "reason": "why"}, "yes"),
        ([{"value": "a", "reason": ""}, "b"], "a, b"),
        ("a\nb = c\n", "a b = c"),
        ("  x ", "x"),
    ],
)
def test_yaml_values_as_postfix_writes_them(value, written):
    assert postfix_value(value) == written


@pytest.mark.parametrize(
    "item, wanted",
    [
        ({"command": "smtpd"}, {"type": "unix", "private": "-", "maxproc": "-", "args": [], "options": {}}),
        (
            {"command": "a", "private": "n", "unpriv": False, "maxproc": 0},
            {"private": "n", "unpriv": "n", "maxproc": "0"},
        ),
        ({"command": "a", "args": "user=nobody argv=/x"}, {"args": ["user=nobody argv=/x"]}),
        ({"command": "a", "args": ["user=nobody", "argv=/x"]}, {"args": ["user=nobody", "argv=/x"]}),
        ({"command": "a", "options": {"x": True, "y": None, "z": ["b", "c"]}}, {"options": {"x": "yes", "z": "b, c"}}),
    ],
)
def test_services_as_master_cf_has_them(item, wanted):
    (service,) = postfix_services([[{"name": "a", **item}]])
    assert {name: service[name] for name in wanted} == wanted


def test_a_service_needs_a_command():
    with pytest.raises(AnsibleFilterError, match="postfix_master_cf: x unix"):
        postfix_services([[{"name": "x"}]])


def test_tables_take_the_hosts_type_and_keep_their_order():
    tables = [{"name": "t"}, {"name": "c", "type": "cidr"}, {"name": "t", "entries": [1]}]
    assert postfix_typed(tables, "lmdb") == [
        {"name": "t", "entries": [1], "type": "lmdb"},
        {"name": "c", "type": "cidr"},
    ]


def test_what_depends_on_the_release_is_asked_for_and_left_out():
    items = [{"name": "a"}, {"name": "b", "optional": True}, {"name": "c", "needs": "d"}]
    assert postfix_optional(items) == ["b", "d"]
    assert names(postfix_known_items(items, [])) == ["a", "b", "c"]
    assert names(postfix_known_items(items, ["b", "d"])) == ["a"]


def test_restrictions_merge_by_name_and_sort_by_weight():
    base = {
        "smtpd_recipient_restrictions": [
            {"name": "permit_mynetworks", "weight": 10},
            {"name": "reject_unauth_destination", "weight": 30},
        ]
    }
    items = postfix_restriction_items(
        base,
        {
            "smtpd_recipient_restrictions": [
                {"name": "senders", "value": "check_sender_access hash:x", "weight": 20, "reason": "spam"}
            ],
            "smtpd_client_restrictions": [{"name": "permit_mynetworks"}],
        },
    )
    assert {item["name"]: postfix_value(item["value"]) for item in items} == {
        "smtpd_recipient_restrictions": "permit_mynetworks, check_sender_access hash:x, reject_unauth_destination",
        "smtpd_client_restrictions": "permit_mynetworks",
    }
    assert items[0]["value"][1]["reason"] == "spam"


def test_a_list_without_items_is_not_written():
    assert (
        postfix_restriction_items(
            {"smtpd_data_restrictions": [{"name": "x"}]},
            {"smtpd_data_restrictions": [{"name": "x", "state": "absent"}]},
        )
        == []
    )


# --- rates


@pytest.mark.parametrize("value, number", [("1s", 1), ("1", 1), ("60s", 60), ("2m", 120), ("1h", 3600), (5, 5)])
def test_times_of_postfix(value, number):
    assert seconds(value) == number


@pytest.mark.parametrize("value", ["1y", "", "s", "-1", "1.5", "0", "0s"])
def test_no_times_of_postfix(value):
    with pytest.raises(ValueError):
        seconds(value)


@pytest.mark.parametrize(
    "per_minute, unit, written", [(600, 1, 10), (60, 1, 1), (0, 1, 0), (7, 60, 7), (30, 120, 60), (90, 2, 3)]
)
def test_rates_that_can_be_said(per_minute, unit, written):
    assert rate(per_minute, unit) == written


@pytest.mark.parametrize(
    "per_minute, unit, near", [(100, 1, "60 or 120"), (30, 1, "60"), (1, 1, "60"), (7, 30, "6 or 8")]
)
def test_rates_that_cannot_be_said_name_the_nearest(per_minute, unit, near):
    with pytest.raises(ValueError, match=f"Nearest: {near} a minute"):
        rate(per_minute, unit)


def test_the_nearest_rates_can_be_said():
    for unit in (1, 7, 20, 30, 45):
        for per_minute in range(1, 200):
            try:
                rate(per_minute, unit)
            except ValueError as error:
                for word in str(error).partition("Nearest: ")[2].replace(" a minute", "").split(" or "):
                    assert abs(int(word) * unit % 60) < unit  # the next whole number of events a unit


@pytest.mark.parametrize(
    "declared, submission, unit, wanted",
    [
        ({}, True, "60s", {"auth": 10}),
        ({}, True, "1s", {"auth": 60}),
        ({}, True, "30s", {"auth": 10}),
        ({}, True, "7s", {"auth": 60}),
        ({}, True, "1h", {"auth": 10}),
        ({"message": 600}, True, "60s", {"message": 600, "auth": 10}),
        ({"auth": 0}, True, "60s", {"auth": 0}),
        ({"auth": 120}, True, "1s", {"auth": 120}),
        # nobody can log in
        ({}, False, "60s", {}),
        ({"message": 600}, False, "60s", {"message": 600}),
    ],
)
def test_auth_is_limited_unless_something_else_is_declared(declared, submission, unit, wanted):
    assert postfix_default_rates(declared, submission, unit) == wanted
    # and can be written in that unit
    postfix_rate_items(wanted, unit)


def test_rates_become_items():
    items = postfix_rate_items({"connection": 600, "auth": 60}, "1s")
    assert {item["name"]: item["value"] for item in items} == {
        "smtpd_client_connection_rate_limit": 10,
        "smtpd_client_auth_rate_limit": 1,
    }
    with pytest.raises(AnsibleFilterError, match="postfix_rates_per_minute: message"):
        postfix_rate_items({"message": 1}, "1s")
