"""filter_plugins/postfix_config.py: merging, rendering and checking named items."""

import shutil
import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from postfix_config import (
    postfix_aliases_text,
    postfix_main_cf,
    postfix_master_cf,
    postfix_merge,
    postfix_merge_services,
    postfix_path_items,
    postfix_problems,
    postfix_rate_items,
    postfix_rendered_tables,
    postfix_restriction_items,
    rate,
    seconds,
    text,
)


def names(items):
    return [item["name"] for item in items]


# --- merge


def test_later_lists_win_field_by_field():
    merged = postfix_merge([[{"name": "a", "value": 1, "weight": 5, "comment": "why"}], [{"name": "a", "value": 2}]])
    assert merged == [{"name": "a", "value": 2, "weight": 5, "comment": "why", "state": "present"}]


def test_order_is_by_weight_then_by_first_mention():
    merged = postfix_merge(
        [
            [{"name": "c"}, {"name": "b"}, {"name": "a", "weight": 10}],
            [{"name": "b", "value": 1}, {"name": "z", "weight": 600}],
        ]
    )
    assert names(merged) == ["a", "c", "b", "z"]


def test_absent_takes_away_and_present_brings_back_to_the_old_place():
    base = [{"name": "a"}, {"name": "b"}]
    assert names(postfix_merge([base, [{"name": "a", "state": "absent"}]])) == ["b"]
    assert names(postfix_merge([base, [{"name": "a", "state": "absent"}], [{"name": "a", "value": 1}]])) == ["a", "b"]


def test_absent_of_an_unknown_name_is_no_error():
    assert postfix_merge([[{"name": "never", "state": "absent"}]]) == []


def test_lists_that_are_missing_are_empty():
    assert postfix_merge([None, [{"name": "a"}], []]) == [{"name": "a", "state": "present"}]


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
    merged = postfix_merge_services(
        [
            [{"name": "smtp", "type": "inet", "command": "smtpd"}, {"name": "smtp", "command": "smtp"}],
            [{"name": "smtp", "type": "inet", "maxproc": 5}],
        ]
    )
    assert [(item["name"], item["type"], item["command"], item.get("maxproc")) for item in merged] == [
        ("smtp", "inet", "smtpd", 5),
        ("smtp", "unix", "smtp", None),
    ]


def test_options_of_services_merge_by_key():
    merged = postfix_merge_services(
        [
            [{"name": "a", "command": "smtpd", "options": {"x": "1", "y": "2"}}],
            [{"name": "a", "options": {"y": None, "z": "3"}}],
        ]
    )
    assert merged[0]["options"] == {"x": "1", "y": None, "z": "3"}
    assert "-o y" not in postfix_master_cf(merged)


def test_an_unknown_type_of_service():
    with pytest.raises(AnsibleFilterError, match="udp"):
        postfix_merge_services([[{"name": "a", "type": "udp"}]])


# --- render


@pytest.mark.parametrize(
    "value, written",
    [
        (True, "yes"),
        (False, "no"),
        (None, ""),
        (0, "0"),
        (["a", True, 3], "a, yes, 3"),
        ("a\nb = c\n", "a b = c"),
        ("  x ", "x"),
    ],
)
def test_yaml_values_as_postfix_writes_them(value, written):
    assert text(value) == written


def test_main_cf_has_groups_comments_and_folds():
    written = postfix_main_cf(
        [
            {"name": "a", "value": 1, "group": "One", "comment": "first\nsecond"},
            {"name": "b", "value": "", "group": "One"},
            {"name": "c", "value": ["x" * 40, "y" * 40, "z" * 40], "group": "Two"},
        ],
        "Mine.\nKeep off.",
    )
    assert written == (
        "# Mine.\n# Keep off.\n\n# --- One\n# first\n# second\na = 1\nb =\n\n# --- Two\nc =\n    "
        + "x" * 40
        + ",\n    "
        + "y" * 40
        + ",\n    "
        + "z" * 40
        + "\n"
    )


def test_a_long_string_folds_at_its_commas_but_not_inside_braces():
    assert "\n    " in postfix_main_cf([{"name": "a", "value": ", ".join(["word"] * 30)}])
    assert "\n    " not in postfix_main_cf([{"name": "a", "value": "{ " + ", ".join(["word"] * 30) + " }"}])


def test_a_value_cannot_smuggle_in_a_parameter():
    written = postfix_main_cf([{"name": "a", "value": "1\nmynetworks = 0.0.0.0/0"}])
    assert not any(line.startswith("mynetworks") for line in written.splitlines())


@pytest.mark.skipif(not shutil.which("postconf"), reason="no postconf on this machine; the lab's tests ask the host's")
def test_postconf_reads_what_is_rendered(tmp_path):
    long = ["permit_mynetworks", "reject_unauth_destination"] * 6
    (tmp_path / "main.cf").write_text(postfix_main_cf([{"name": "smtpd_recipient_restrictions", "value": long}]))
    (tmp_path / "master.cf").write_text(
        postfix_master_cf(
            postfix_merge_services(
                [
                    [
                        {
                            "name": "587",
                            "type": "inet",
                            "command": "smtpd",
                            "options": {"smtpd_relay_restrictions": ["permit_sasl_authenticated", "reject"]},
                        }
                    ]
                ]
            )
        )
    )
    answer = subprocess.run(
        ["postconf", "-c", tmp_path, "-h", "smtpd_recipient_restrictions"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.replace(",", " ").split() == long
    answer = subprocess.run(["postconf", "-c", tmp_path, "-P"], capture_output=True, text=True, check=True)
    assert "587/inet/smtpd_relay_restrictions = permit_sasl_authenticated, reject" in answer.stdout


def test_master_cf_lines():
    written = postfix_master_cf(
        postfix_merge_services(
            [
                [
                    {
                        "name": "policy",
                        "private": "n",
                        "unpriv": False,
                        "chroot": "n",
                        "maxproc": 0,
                        "command": "spawn",
                        "args": ["user=nobody", "argv=/usr/local/libexec/agent"],
                        "comment": "an agent",
                        "options": {"a": True, "b": ["x", "y"], "c": ""},
                    }
                ]
            ]
        )
    )
    assert written.splitlines()[-7:] == [
        "# an agent",
        "policy           unix       n       n      n      -      0       spawn",
        "    -o a=yes",
        "    -o { b = x, y }",
        "    -o c=",
        "    user=nobody",
        "    argv=/usr/local/libexec/agent",
    ]


def test_a_service_needs_a_command():
    with pytest.raises(AnsibleFilterError, match="no command"):
        postfix_master_cf(postfix_merge_services([[{"name": "x"}]]))


def test_tables_take_the_hosts_type_and_keep_their_order():
    assert postfix_rendered_tables(
        [
            {
                "name": "t",
                "entries": [
                    {"pattern": "b", "action": "OK", "reason": "friend"},
                    {"pattern": "a", "action": "REJECT no"},
                ],
            },
            {"name": "c", "type": "cidr"},
        ],
        "lmdb",
    ) == [
        {"name": "t", "type": "lmdb", "text": "# friend\nb OK\na REJECT no\n"},
        {"name": "c", "type": "cidr", "text": ""},
    ]


def test_aliases_take_lists():
    assert postfix_aliases_text([{"name": "root", "value": ["a@example.org", "b@example.org"], "reason": "us"}]) == (
        "# us\nroot: a@example.org, b@example.org\n"
    )


def test_paths_are_written_as_asked_and_nothing_else():
    items = postfix_path_items({"queue_directory": "/q", "config_directory": "/c", "mail_owner": "postfix"})
    assert {item["name"]: item["value"] for item in items} == {"queue_directory": "/q", "mail_owner": "postfix"}


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
            "smtpd_recipient_restrictions": [{"name": "senders", "value": "check_sender_access hash:x", "weight": 20}],
            "smtpd_client_restrictions": [{"name": "permit_mynetworks"}],
        },
    )
    assert {item["name"]: item["value"] for item in items} == {
        "smtpd_recipient_restrictions": [
            "permit_mynetworks",
            "check_sender_access hash:x",
            "reject_unauth_destination",
        ],
        "smtpd_client_restrictions": ["permit_mynetworks"],
    }


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


@pytest.mark.parametrize("value", ["1y", "", "s", "-1", "1.5"])
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


def test_rates_become_items():
    items = postfix_rate_items({"connection": 600, "auth": 60}, "1s")
    assert {item["name"]: item["value"] for item in items} == {
        "smtpd_client_connection_rate_limit": 10,
        "smtpd_client_auth_rate_limit": 1,
    }
    with pytest.raises(AnsibleFilterError, match="postfix_rates_per_minute: message"):
        postfix_rate_items({"message": 1}, "1s")


# --- what is wrong with declared values

GOOD = {
    "profile": "article",
    "domain": "home.example",
    "hostname": "mx.home.example",
    "process_limit": 500,
    "mynetworks": ["127.0.0.0/8", "[::1]/128"],
    "inet_interfaces": ["all"],
    "inet_protocols": "all",
    "destinations": ["$myhostname", "localhost"],
    "rates_per_minute": {},
    "root_alias": "",
    "aliases": [],
    "tables": [],
    "map_type": "",
    "tls_cert": "",
    "tls_key": "",
    "restrictions": {},
    "main_cf": [],
    "master_cf": [],
    "base_restrictions": {
        "smtpd_relay_restrictions": [
            {"name": "permit_mynetworks", "weight": 10},
            {"name": "reject_unauth_destination", "weight": 90},
        ]
    },
}


def problems(**changes):
    return postfix_problems({**GOOD, **changes})


def entry(pattern, action="REJECT", **more):
    return {"pattern": pattern, "action": action, **more}


def table(kind, *entries):
    return [{"name": "t", "type": kind, "entries": list(entries)}]


def relay(*items):
    return {"smtpd_relay_restrictions": list(items)}


def test_good_values_have_no_problem():
    assert problems() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "current", "rates_per_minute": {"connection": 7}},
        {"rates_per_minute": {"connection": 7}, "main_cf": [{"name": "anvil_rate_time_unit", "value": "60s"}]},
        {"domain": "xn--wgv71a.example"},
        {"mynetworks": ["127.0.0.1", "::1", "2001:db8::/64", "!192.0.2.1", "192.0.2.0/24"]},
        {"inet_interfaces": ["127.0.0.1", "192.0.2.10", "2001:db8::10"]},
        {
            "tables": table(
                "cidr",
                entry("192.0.2.0/24"),
                entry("!2001:db8::/32"),
                entry("if 10.0.0.0/8", ""),
                entry("10.0.0.1"),
                entry("endif", ""),
            )
        },
        {"tables": table("regexp", entry("/^dyn/"), entry("!/x/"), entry("%a/b%i"))},
        {"tables": table("", entry("a@example.org"), entry("192.0.2"), entry("example.org"))},
        {
            "restrictions": {
                "smtpd_recipient_restrictions": [{"name": "senders", "value": "check_sender_access hash:x"}]
            }
        },
        {
            "restrictions": relay(
                {"name": "reject_unauth_destination", "state": "absent"}, {"name": "defer_unauth_destination"}
            )
        },
        {"root_alias": "me@example.org"},
        {"root_alias": "me"},
        {"aliases": [{"name": "alerts", "value": ["a", "b@example.org"]}]},
        {
            "master_cf": [
                {"name": "policy", "unpriv": "n", "maxproc": 0, "command": "spawn", "args": ["user=nobody", "argv=/x"]}
            ]
        },
    ],
)
def test_more_good_values(changes):
    assert problems(**changes) == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"profile": "artikel"}, ["postfix_profile", "artikel", "article"]),
        ({"domain": ""}, ["postfix_domain", "sokuhai_domain", "empty"]),
        ({"domain": "home..example"}, ["sokuhai_domain", "home..example"]),
        ({"domain": "example.org."}, ["sokuhai_domain", "dot"]),
        ({"domain": "-a.example"}, ["sokuhai_domain"]),
        ({"domain": "my_home.example"}, ["sokuhai_domain", "my_home"]),
        ({"hostname": "mx"}, ["sokuhai_hostname", "two labels"]),
        ({"hostname": "a" * 64 + ".example"}, ["sokuhai_hostname"]),
        ({"process_limit": 0}, ["sokuhai_process_limit"]),
        ({"process_limit": "many"}, ["sokuhai_process_limit", "many"]),
        ({"process_limit": True}, ["sokuhai_process_limit"]),
        ({"mynetworks": ["192.0.2.300"]}, ["postfix_mynetworks", "192.0.2.300"]),
        ({"mynetworks": ["192.0.2.10/24"]}, ["postfix_mynetworks", "192.0.2.0/24"]),
        ({"mynetworks": ["[::1]/64"]}, ["postfix_mynetworks", "::/64"]),
        ({"mynetworks": ["0.0.0.0/0"]}, ["postfix_mynetworks", "open relay"]),
        ({"mynetworks": ["::/0"]}, ["postfix_mynetworks", "open relay"]),
        ({"mynetworks": []}, ["postfix_mynetworks", "empty"]),
        ({"inet_interfaces": ["al"]}, ["postfix_inet_interfaces", "did you mean all"]),
        ({"inet_interfaces": ["all", "127.0.0.1"]}, ["postfix_inet_interfaces", "alone"]),
        ({"inet_interfaces": []}, ["postfix_inet_interfaces"]),
        ({"inet_protocols": "ipv5"}, ["postfix_inet_protocols"]),
        ({"destinations": ["home,example"]}, ["postfix_destinations"]),
        ({"tls_cert": "/a"}, ["postfix_tls_cert", "postfix_tls_key"]),
        ({"tls_cert": "a", "tls_key": "/b"}, ["postfix_tls_cert", "absolute"]),
        ({"map_type": "hsh"}, ["postfix_map_type", "did you mean hash"]),
        ({"rates_per_minute": {"connection": 100}}, ["postfix_rates_per_minute", "connection", "100", "a second"]),
        ({"rates_per_minute": {"message": -60}}, ["postfix_rates_per_minute", "-60"]),
        ({"rates_per_minute": {"conection": 60}}, ["postfix_rates_per_minute", "did you mean connection"]),
        ({"main_cf": [{"name": "smtpd_client_auth_rate_limit", "value": 5}]}, ["postfix_rates_per_minute.auth"]),
        ({"main_cf": [{"name": "anvil_rate_time_unit", "value": "0s"}]}, ["anvil_rate_time_unit"]),
        ({"main_cf": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]}, ["postfix_main_cf", "twice"]),
        ({"main_cf": [{"name": "a b", "value": 1}]}, ["postfix_main_cf", "a b"]),
        ({"main_cf": [{"name": "a"}]}, ["postfix_main_cf", "no value"]),
        ({"main_cf": [{"name": "a", "state": "gone"}]}, ["postfix_main_cf", "state", "gone"]),
        ({"main_cf": [{"name": "queue_directory", "value": "/q"}]}, ["queue_directory", "installed"]),
        ({"main_cf": [{"name": "default_process_limit", "value": 5}]}, ["sokuhai_process_limit"]),
        (
            {"main_cf": [{"name": "smtpd_relay_restrictions", "value": "permit"}]},
            ["postfix_restrictions.smtpd_relay_restrictions"],
        ),
        (
            {"main_cf": [{"name": "smtpd_relay_restrictions", "state": "absent"}]},
            ["smtpd_relay_restrictions", "always written"],
        ),
        ({"main_cf": [{"name": "compatibility_level", "state": "absent"}]}, ["compatibility_level", "always written"]),
        (
            {"restrictions": relay({"name": "reject_unauth_destination", "state": "absent"})},
            ["smtpd_relay_restrictions", "relay for anyone"],
        ),
        ({"restrictions": relay({"name": "permit", "weight": 5})}, ["smtpd_relay_restrictions", "open relay"]),
        (
            {"restrictions": relay({"name": "w", "value": "check_sender_access hash:x", "weight": 5})},
            ["check_sender_access", "open relay"],
        ),
        (
            {"restrictions": {"smtpd_recipient_restriction": [{"name": "x"}]}},
            ["did you mean smtpd_recipient_restrictions"],
        ),
        (
            {"master_cf": [{"name": "a", "command": "x"}, {"name": "a", "type": "unix", "command": "y"}]},
            ["postfix_master_cf", "twice"],
        ),
        ({"master_cf": [{"name": "a", "command": "x", "maxproc": "lots"}]}, ["maxproc", "lots"]),
        ({"master_cf": [{"name": "a", "command": "x", "wakeup": "soon"}]}, ["wakeup", "soon"]),
        ({"master_cf": [{"name": "a", "command": "x", "chroot": "maybe"}]}, ["chroot", "maybe"]),
        ({"master_cf": [{"name": "a", "command": "spawn", "maxproc": 0}]}, ["spawn", "user="]),
        ({"master_cf": [{"name": "a", "command": "spawn", "args": "user=nobody argv=/x"}]}, ["spawn", "maxproc 0"]),
        ({"master_cf": [{"name": "a", "command": "spawn", "maxproc": 0, "args": "user=root argv=/x"}]}, ["root"]),
        (
            {
                "master_cf": [
                    {
                        "name": "2525",
                        "type": "inet",
                        "command": "smtpd",
                        "options": {"smtpd_relay_restrictions": "permit"},
                    }
                ]
            },
            ["2525", "open relay"],
        ),
        (
            {"tables": table("cidr", entry("192.0.2.10/24"))},
            ["postfix_tables", "(t)", "192.0.2.10/24", "192.0.2.0/24", "skip"],
        ),
        ({"tables": table("cidr", entry("192.0.2"))}, ["postfix_tables", "192.0.2"]),
        ({"tables": table("cidr", entry("if 10.0.0.0/8", ""))}, ["if without endif"]),
        ({"tables": table("cidr", entry("endif", ""))}, ["endif without if"]),
        ({"tables": table("regexp", entry("/(unclosed/"))}, ["postfix_tables", "does not compile"]),
        ({"tables": table("pcre", entry("dyn.*"))}, ["delimiters"]),
        ({"tables": table("regexp", entry("/dyn"))}, ["delimiters"]),
        ({"tables": table("hash", entry("192.0.2.0/24"))}, ["use type cidr"]),
        ({"tables": table("hash", entry("a b"))}, ["white space"]),
        ({"tables": table("hash", entry("a"), entry("A"))}, ["twice", "entry 1"]),
        ({"tables": table("hash", entry("#a"))}, ["comment"]),
        ({"tables": table("hash", entry("a", ""))}, ["no action"]),
        ({"tables": table("hsh", entry("a"))}, ["did you mean hash"]),
        ({"tables": [{"name": "../etc/passwd"}]}, ["plain file name"]),
        ({"tables": [{"name": "aliases"}]}, ["postfix_aliases"]),
        ({"tables": [{"name": "t"}, {"name": "t"}]}, ["twice"]),
        ({"aliases": [{"name": "a@b", "value": "c"}]}, ["postfix_aliases", "local part"]),
        ({"aliases": [{"name": "a", "value": "c"}, {"name": "A", "value": "d"}]}, ["postfix_aliases", "twice"]),
        ({"aliases": [{"name": "a"}]}, ["postfix_aliases", "no value"]),
        ({"root_alias": "me@home..example"}, ["postfix_root_alias"]),
        ({"root_alias": "me and you"}, ["postfix_root_alias"]),
    ],
)
def test_bad_values_are_named(changes, words):
    found = "\n".join(problems(**changes))
    assert found, "accepted"
    for word in words:
        assert word in found


def test_every_problem_begins_with_a_variable():
    for line in problems(profile="x", domain="", process_limit=-1, mynetworks=["x"], tables=table("cidr", entry("x"))):
        assert line.startswith("postfix_")
