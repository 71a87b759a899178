# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""filter_plugins/postfix_items.py, postfix_tables.py: what is wrong with declared values, secret tables, and domains as Postfix takes them."""

import postfix_items
import pytest
from ansible.errors import AnsibleFilterError
from inet import family_problems
from postfix_items import (
    postfix_problems,
)
from postfix_tables import (
    postfix_apart,
    postfix_network_problems,
    postfix_secret_tables,
    postfix_secret_texts,
    postfix_table_problems,
)

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
