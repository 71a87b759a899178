"""filter_plugins/postfix_items.py, postfix_tables.py: merging, ordering and checking named items."""

import postfix_items
import pytest
from ansible.errors import AnsibleFilterError
from inet import family_problems
from postfix_items import (
    postfix_default_rates,
    postfix_known_items,
    postfix_merge,
    postfix_optional,
    postfix_problems,
    postfix_rate_items,
    postfix_restriction_items,
    postfix_services,
    postfix_value,
    rate,
    seconds,
)
from postfix_tables import (
    postfix_apart,
    postfix_network_problems,
    postfix_secret_tables,
    postfix_secret_texts,
    postfix_sender_logins,
    postfix_table_problems,
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


# --- what is wrong with declared values

GOOD = {
    "profile": "article",
    "domain": "home.example",
    "hostname": "mx.home.example",
    "inet_interfaces": ["all"],
    "inet_protocols": "all",
    "probe_client": "",
    "destinations": ["$myhostname", "localhost"],
    "rates_per_minute": {},
    "root_alias": "",
    "aliases": [],
    "tls_cert": "",
    "tls_key": "",
    "restrictions": {},
    "main_cf": [],
    "master_cf": [],
    "mynetworks": ["127.0.0.0/8", "[::1]/128"],
    "tables": [],
}
OWN = {
    "smtpd_relay_restrictions": [
        {"name": "permit_mynetworks", "weight": 10},
        {"name": "reject_unauth_destination", "weight": 90},
    ]
}


def problems(**changes):
    """As __postfix_problems of the role puts them together."""
    declared = {f"postfix_{name}": value for name, value in {**GOOD, **changes}.items()}
    return (
        postfix_problems(declared, OWN, ["queue_directory"])
        + family_problems(declared)
        + postfix_network_problems(declared["postfix_mynetworks"])
        + postfix_table_problems(declared["postfix_tables"])
    )


@pytest.mark.parametrize(
    "name",
    [
        "policyd-spf_time_limit",
        "smtp-amavis_destination_concurrency_limit",
        "10.5.0.6::10040_time_limit",
        "my_own_class",
        "maillog_file",
    ],
)
def test_a_service_has_parameters_by_its_name(name):
    service = {"name": "x", "command": "smtp", "options": {name: 1}}
    assert problems(main_cf=[{"name": name, "value": 1}], master_cf=[service]) == []


def entry(pattern, action="REJECT", **more):
    return {"pattern": pattern, "action": action, **more}


def table(kind, *entries):
    return [{"name": "t", "type": kind, "entries": list(entries)}]


def relay(*items):
    return {"smtpd_relay_restrictions": list(items)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"profile": "current", "rates_per_minute": {"connection": 7}},
        {"rates_per_minute": {"connection": 7}, "main_cf": [{"name": "anvil_rate_time_unit", "value": "60s"}]},
        {"domain": "xn--wgv71a.example"},
        {"mynetworks": ["127.0.0.1", "::1", "2001:db8::/64", "!192.0.2.1", "192.0.2.0/24"]},
        {"inet_interfaces": ["127.0.0.1", "192.0.2.10", "2001:db8::10"]},
        {"inet_interfaces": ["[::1]", "2001:db8::10"], "inet_protocols": "ipv6", "probe_client": "2001:db8::99"},
        {"inet_interfaces": ["127.0.0.1"], "inet_protocols": "ipv4", "probe_client": "198.51.100.7"},
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
def test_good_values_have_no_problem(changes):
    assert problems(**changes) == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"domain": ""}, ["postfix_domain", "sokuhai_domain"]),
        ({"domain": "home..example"}, ["sokuhai_domain", "home..example"]),
        ({"domain": "example.org."}, ["sokuhai_domain", "dot"]),
        ({"domain": "-a.example"}, ["sokuhai_domain"]),
        ({"domain": "my_home.example"}, ["sokuhai_domain", "my_home"]),
        ({"hostname": "mx"}, ["sokuhai_hostname", "two labels"]),
        ({"hostname": "a" * 64 + ".example"}, ["sokuhai_hostname"]),
        ({"mynetworks": ["192.0.2.300"]}, ["postfix_mynetworks", "192.0.2.300"]),
        ({"mynetworks": ["192.0.2.10/24"]}, ["postfix_mynetworks", "192.0.2.0/24"]),
        ({"mynetworks": ["[::1]/64"]}, ["postfix_mynetworks", "::/64"]),
        ({"mynetworks": ["0.0.0.0/0"]}, ["postfix_mynetworks", "open relay"]),
        ({"mynetworks": ["::/0"]}, ["postfix_mynetworks", "open relay"]),
        ({"mynetworks": []}, ["postfix_mynetworks", "empty"]),
        ({"inet_interfaces": ["al"]}, ["postfix_inet_interfaces", "did you mean all"]),
        ({"inet_interfaces": ["all", "127.0.0.1"]}, ["postfix_inet_interfaces", "combined"]),
        ({"inet_interfaces": []}, ["postfix_inet_interfaces"]),
        (
            {"inet_interfaces": ["192.0.2.10", "2001:db8::10"], "inet_protocols": "ipv6"},
            ["postfix_inet_interfaces: 192.0.2.10", "postfix_inet_protocols, ipv6"],
        ),
        (
            {"inet_interfaces": ["192.0.2.10", "[2001:db8::10]"], "inet_protocols": "ipv4"},
            ["postfix_inet_interfaces: [2001:db8::10]", "postfix_inet_protocols, ipv4"],
        ),
        (
            {"probe_client": "192.0.2.254", "inet_protocols": "ipv6"},
            ["postfix_probe_client", "192.0.2.254", "postfix_inet_protocols", "2001:db8::fe"],
        ),
        ({"probe_client": "2001:db8::fe", "inet_protocols": "ipv4"}, ["postfix_probe_client", "192.0.2.254"]),
        ({"probe_client": "stranger.example"}, ["postfix_probe_client", "stranger.example", "192.0.2.254"]),
        ({"destinations": ["home,example"]}, ["postfix_destinations", "home,example"]),
        ({"destinations": ["two words"]}, ["postfix_destinations", "two words"]),
        ({"tls_cert": "/a"}, ["postfix_tls_cert", "postfix_tls_key"]),
        ({"tls_cert": "a", "tls_key": "/b"}, ["postfix_tls_cert", "absolute"]),
        ({"rates_per_minute": {"connection": 100}}, ["postfix_rates_per_minute", "connection", "100", "a second"]),
        ({"rates_per_minute": {"message": -60}}, ["postfix_rates_per_minute", "-60"]),
        ({"main_cf": [{"name": "smtpd_client_auth_rate_limit", "value": 5}]}, ["postfix_rates_per_minute.auth"]),
        ({"main_cf": [{"name": "anvil_rate_time_unit", "value": "0s"}]}, ["anvil_rate_time_unit"]),
        ({"main_cf": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]}, ["postfix_main_cf", "twice"]),
        ({"main_cf": [{"name": "a b", "value": 1}]}, ["postfix_main_cf", "a b"]),
        ({"main_cf": [{"name": "smtpd-banner", "value": 1}]}, ["postfix_main_cf", "smtpd-banner"]),
        ({"main_cf": [{"name": "#a_limit", "value": 1}]}, ["postfix_main_cf", "#a_limit"]),
        ({"main_cf": [{"name": "a=b_limit", "value": 1}]}, ["postfix_main_cf", "a=b_limit"]),
        ({"main_cf": [{"name": "a"}]}, ["postfix_main_cf", "no value"]),
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
        ({"tables": table("regexp", entry(r"/^\d/"))}, ["postfix_tables (t): entry 1", r"\d is of Perl's", "[0-9]"]),
        ({"tables": table("hash", entry("192.0.2.0/24"))}, ["use type cidr"]),
        ({"tables": table("hash", entry("a b"))}, ["white space"]),
        ({"tables": table("hash", entry("a"), entry("A"))}, ["twice", "entry 1"]),
        ({"tables": table("hash", entry("#a"))}, ["comment"]),
        ({"tables": table("hash", entry("a", ""))}, ["no action"]),
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
    found = problems(**changes)
    assert found, "accepted"
    assert all(line.startswith("postfix_") for line in found), "each begins with a variable"
    assert all(word in "\n".join(found) for word in words), found


def test_a_table_is_secret_by_its_mark_by_its_name_and_by_who_reads_it():
    names = ("sasl_passwd", "keys", "relay", "submit", "clients")
    tables = [{"name": name, "secret": name == "keys"} for name in names]
    main_cf = [
        {"name": "smtp_sasl_password_maps", "value": "hash:$config_directory/tables/relay"},
        {"name": "smtpd_client_restrictions", "value": "check_client_access hash:$config_directory/tables/clients"},
    ]
    master_cf = [{"name": "out", "options": {"smtp_sasl_password_maps": "hash:$config_directory/tables/submit"}}]
    assert postfix_secret_tables(tables, main_cf, master_cf) == ["keys", "relay", "sasl_passwd", "submit"]
    assert postfix_secret_tables(tables[-1:], [], []) == []


def test_the_text_of_a_secret_table_goes_apart():
    rendered = [{"name": "a", "text": "a b\n", "secret": True}, {"name": "c", "text": "c d\n"}]
    assert postfix_apart(rendered) == [{"name": "a", "text": "", "secret": True}, rendered[1]]
    assert postfix_secret_texts(rendered) == {"a": "a b\n"}


@pytest.mark.parametrize(
    "entries",
    [[{"pattern": "relay user:hunter2", "action": "x"}], [{"pattern": "hunter2", "action": ""}]],
    ids=["in the key", "in the key alone"],
)
def test_what_is_wrong_with_a_secret_table_is_reported_without_what_is_in_it(entries):
    for kind in ("hash", "cidr"):
        declared = [{"name": "keys", "type": kind, "entries": entries}]
        (found, *_more) = postfix_table_problems(declared, secret=["keys"])
        assert "entry 1" in found and "hunter2" not in found
        assert "hunter2" in postfix_table_problems(declared)[0]


@pytest.mark.parametrize(
    "entry, written",
    [
        ("mx", "mx"),
        ("hash:/usr/local/etc/postfix/tables/domains", "hash:/usr/local/etc/postfix/tables/domains"),
        ("proxy:pgsql:$config_directory/domains", "proxy:pgsql:$config_directory/domains"),
        ("/usr/local/etc/postfix/domains", "/usr/local/etc/postfix/domains"),
        ("!old.home.example", "!old.home.example"),
        (".home.example", ".home.example"),
    ],
)
def test_mydestination_takes_what_postfix_takes(entry, written):
    assert postfix_items.destination_problem(entry) is None
    assert postfix_items.postfix_a_labels([entry], "postfix_destinations") == [written]


@pytest.mark.parametrize(
    "entry, written",
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("!Bücher.example", "!xn--bcher-kva.example"),
        (".bücher.example", ".xn--bcher-kva.example"),
        ("www.日本.example", "www.xn--wgv71a.example"),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
    ],
)
def test_an_internationalized_domain_is_written_in_both_forms(entry, written):
    assert postfix_items.postfix_a_labels([entry], "x") == [written, entry]
    assert postfix_items.postfix_a_labels([entry], "x", both=False) == [written]
    given = {"pattern": entry, "action": "OK"}
    assert postfix_items.postfix_a_labels([given], "x", "pattern") == [{**given, "pattern": written}, given]


@pytest.mark.parametrize(
    "name", ["straße.example", "βόλος.example", "نامه\u200cای.example", "ü" * 70 + ".example", "𐐀\ue000.example"]
)
def test_a_domain_that_idna_2003_makes_another_is_not_converted(name):
    """IDNA2008 has ß and the final sigma, and gives other names: xn--strae-oqa, not strasse."""
    with pytest.raises(AnsibleFilterError, match="access_sender: .*A-label"):
        postfix_items.postfix_a_labels([name], "access_sender")
    assert "A-label" in postfix_items.destination_problem(name)
