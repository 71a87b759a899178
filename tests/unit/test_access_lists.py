"""Role access: lists changed by name, tables that open nothing, samples, traps, and the waits of filter_plugins/sizing.py."""

import bz2
import copy
import gzip
import lzma
import pathlib

import pytest
import yaml
from postfix_items import postfix_base_restrictions, postfix_known_items, postfix_merge, postfix_restriction_items
from postfix_tables import postfix_table_problems
from role_modules import load
from sizing import postfix_tarpit_capacity, postfix_tarpit_problems

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
access = load("roles/access/filter_plugins/access.py")
report = load("roles/access/library/access_report.py")
from sokuhai_access import dnsbl, traps
from sokuhai_access.lists import access_set
from sokuhai_access.problems import problems as access_problems
from sokuhai_access.samples import lookup

DATA = yaml.safe_load((ROOT / "roles/access/vars/main.yml").read_text())
PROFILES = ("article", "current")
SERVICES = {"mild": "inet:127.0.0.1:10027", "harsh": "inet:127.0.0.1:10028", "spf": "unix:private/policy"}


def declared(profile="article", **changes):
    whole = {
        "profile": profile,
        "hostname": "mx.home.example",
        "domain": "home.example",
        "lists": DATA[f"__access_lists_{profile}"],
        "classes": DATA[f"__access_classes_{profile}"],
        "main": DATA["__access_main_both"] + DATA[f"__access_main_{profile}"],
        "master_services": DATA[f"__access_services_{profile}"],
        "changes": [],
        "services": SERVICES,
        "sender": [],
        "client": [],
        "helo": [],
        "helo_rules": DATA["__access_helo_rules"],
        "dynamic": [],
        "dynamic_rules": DATA["__access_dynamic_rules"],
        "dynamic_exceptions": [],
        "dynamic_good": DATA["__access_dynamic_good"],
        "samples": [],
        "own_samples": [
            {**sample, "key": sample["key"].replace("{{ access_hostname }}", "mx.home.example")}
            for sample in DATA["__access_samples"]
        ],
        "countries": {},
        "dnsbl": [],
        "dnsbl_base": DATA[f"__access_dnsbl_{profile}"],
        "dnsbl_fates": DATA["__access_dnsbl_fates"],
        "dnsbl_threshold": 3,
        "sleep_ease": 15,
        "sleep_harsh": 125,
        "traps": [],
        "destinations": ["$myhostname", "localhost.${mydomain}", "localhost", "$(mydomain)", "other.example"],
        "country_text": "",
    }
    return {**copy.deepcopy(whole), **changes}


def healthy(whole):
    return dnsbl.lists(whole["dnsbl_base"], whole["dnsbl"], whole["dnsbl_fates"])


def made(profile="article", **changes):
    whole = declared(profile, **changes)
    return access_set(whole, healthy(whole))


def names(result, name):
    return [item["name"] for item in result["restrictions"][f"smtpd_{name}_restrictions"]]


def values(result, name):
    return [item["value"] for item in result["restrictions"][f"smtpd_{name}_restrictions"]]


def parameter(result, name):
    value = next(item["value"] for item in result["main_cf"] if item["name"] == name)
    return [part["value"] if isinstance(part, dict) else part for part in value] if isinstance(value, list) else value


def table(result, name):
    return {
        entry["pattern"]: entry["action"]
        for found in result["tables"]
        if found["name"] == name
        for entry in found["entries"]
    }


# --- the profiles


def test_article_has_the_addendums_lists_in_their_order():
    """As printed (article/README.md of the source): today's names, the DNSBLs by their successors, the relay list apart."""
    result = made()
    assert values(result, "client") == [
        "permit_mynetworks",
        "reject_unknown_client_hostname",
        "reject_rbl_client zen.spamhaus.org=127.0.0.[2..9], reject_rbl_client bl.spamcop.net=127.0.0.2",
        "permit",
    ]
    assert values(result, "helo") == [
        "permit_mynetworks",
        "reject_invalid_helo_hostname",
        "check_helo_access regexp:$config_directory/tables/reject_helo",
        "permit",
    ]
    assert names(result, "sender") == ["reject_unknown_sender_domain", "reject_non_fqdn_sender"]
    with_senders = made(sender=[{"pattern": "spam.example"}])
    assert names(with_senders, "sender") == ["reject_sender", "reject_unknown_sender_domain", "reject_non_fqdn_sender"]
    assert names(with_senders, "recipient") == [
        "permit_mynetworks",
        "reject_sender",
        "check_dynamic_client",
        "reject_non_fqdn_recipient",
        "reject_non_fqdn_sender",
        "permit_sasl_authenticated",
        "reject_unauth_destination",
        "reject_unlisted_recipient",
        "reject_unknown_sender_domain",
        "spf",
    ]
    assert values(with_senders, "recipient")[-1] == "check_policy_service unix:private/policy"
    assert parameter(result, "smtpd_restriction_classes") == [
        "check_dynamic_client",
        "check_client_ease",
        "check_client_na",
    ]
    assert parameter(result, "check_client_ease") == [
        "check_policy_service inet:127.0.0.1:10027",
        "sleep ${stress?{0}:{15}}",
        "permit_auth_destination",
    ]
    assert parameter(result, "check_client_na") == [
        "check_policy_service inet:127.0.0.1:10028",
        "sleep ${stress?{0}:{125}}",
    ]
    assert result["master_cf"] == []


def test_current_puts_postscreen_before_smtpd_with_weights():
    result = made("current")
    assert [
        (item["name"], item["type"] if "type" in item else "unix", item["command"]) for item in result["master_cf"]
    ] == [
        ("smtp", "inet", "postscreen"),
        ("smtpd", "pass", "smtpd"),
        ("dnsblog", "unix", "dnsblog"),
        ("tlsproxy", "unix", "tlsproxy"),
    ]
    assert parameter(result, "postscreen_dnsbl_sites") == [
        "zen.spamhaus.org=127.0.0.[2..11]*3",
        "bl.spamcop.net=127.0.0.2*2",
        "psbl.surriel.com=127.0.0.2*1",
        "list.dnswl.org=127.0.[0..255].[1..3]*-2",
    ]
    assert parameter(result, "postscreen_greet_action") == parameter(result, "postscreen_dnsbl_action") == "enforce"
    assert not [value for value in values(result, "client") if "rbl" in value]


@pytest.mark.parametrize("profile", PROFILES)
def test_no_list_of_ours_is_the_relay_list_and_nothing_in_it_comes_from_ours(profile):
    result = made(
        profile,
        changes=[{"list": "recipient", "insert": {"name": "open", "value": "permit"}, "before": "permit_mynetworks"}],
    )
    assert "smtpd_relay_restrictions" not in result["restrictions"]
    own = {
        "smtpd_relay_restrictions": [
            {"name": "permit_mynetworks", "weight": 10},
            {"name": "reject_unauth_destination", "weight": 90},
        ]
    }
    # not even when the fact is forged
    result["restrictions"]["smtpd_relay_restrictions"] = [{"name": "permit"}]
    merged = postfix_restriction_items(postfix_base_restrictions(own, result))
    relay = next(item["value"] for item in merged if item["name"] == "smtpd_relay_restrictions")
    assert [entry["value"] for entry in relay] == ["permit_mynetworks", "reject_unauth_destination"]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_list_that_is_emptied_stays_empty(profile):
    whole = declared(profile)
    result = made(profile, changes=[{"list": "data", "remove": "reject_unauth_pipelining"}])
    assert result["restrictions"]["smtpd_data_restrictions"] == []
    own = {"smtpd_data_restrictions": [{"name": "reject_unauth_pipelining"}]}
    assert "smtpd_data_restrictions" not in [
        item["name"] for item in postfix_restriction_items(postfix_base_restrictions(own, result))
    ]
    assert access_problems(whole) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_what_not_every_release_has_is_optional(profile):
    items = made(profile)["main_cf"]
    optional = [item["name"] for item in items if item.get("optional")]
    assert set(optional) == {
        "smtpd_forbid_unauth_pipelining",
        "smtpd_forbid_bare_newline",
        "smtpd_forbid_bare_newline_exclusions",
        "smtpd_client_ipv6_prefix_length",
    }
    left = [
        item["name"]
        for item in postfix_known_items(items, ["smtpd_forbid_bare_newline", "smtpd_forbid_bare_newline_reject_code"])
    ]
    assert "smtpd_forbid_bare_newline" not in left and "smtpd_forbid_unauth_pipelining" in left


@pytest.mark.parametrize(
    "unknown, value",
    [
        ([], "normalize"),
        (["smtpd_forbid_bare_newline_reject_code"], "yes"),  # 3.7.9, 3.8.4
        (["smtpd_forbid_bare_newline", "smtpd_forbid_bare_newline_reject_code"], None),
    ],
)
def test_smuggling_is_forbidden_by_the_word_that_the_release_knows(unknown, value):
    merged = postfix_merge([postfix_known_items(made()["main_cf"], unknown)])
    assert [item["value"] for item in merged if item["name"] == "smtpd_forbid_bare_newline"] == (
        [value] if value else []
    )


def test_a_missing_service_takes_its_items_along():
    result = made(services={})
    assert "spf" not in names(result, "recipient")
    assert parameter(result, "check_client_na") == ["sleep ${stress?{0}:{125}}"]
    whole = {
        "restriction": "check_policy_service unix:private/spf",
        "main_cf": [{"name": "spf_time_limit", "value": 3600}],
        "master_cf": [{"name": "spf", "command": "spawn"}],
    }
    result = made(services={"spf": whole})
    assert values(result, "recipient")[-1] == "check_policy_service unix:private/spf"
    assert result["main_cf"][-1]["name"] == "spf_time_limit" and result["master_cf"][-1]["name"] == "spf"


def test_an_unhealthy_dnsbl_is_not_written():
    whole = declared()
    good = [entry for entry in healthy(whole) if entry["name"] == "bl.spamcop.net"]
    lists = access_set(whole, good)["restrictions"]
    assert "bl.spamcop.net" in str(lists) and "zen" not in str(lists)
    assert "dnsbl" not in names(access_set(whole, []), "client")
    assert "postscreen_dnsbl_sites" not in str(access_set(declared("current"), []))


def test_countries():
    text = "203.0.113.0/25 JP\n203.0.113.192/27 XB\n2001:db8:2:c000::/67 XA\n"
    countries = {"JP": "ease", "XB": "tarpit", "XA": {"action": "refuse", "reason": "nobody here writes to us"}}
    result = made(country_text=text, countries=countries)
    assert names(result, "client").index("client_country") + 1 == names(result, "client").index("dnsbl")
    # skips the DNSBLs below it, and opens no relay
    assert table(result, "client_country") == {
        "203.0.113.0/25": "permit_auth_destination",
        "2001:db8:2:c000::/67": "REJECT nobody here writes to us (client_country: XA)",
    }
    assert table(result, "check_client_country") == {"203.0.113.0/25": "check_client_ease"}
    assert table(result, "country_tarpit") == {"203.0.113.192/27": "check_client_na"}
    # a dynamic client there has waited at country_tarpit already, and waits once
    assert parameter(result, "check_dynamic_client") == [
        "check_client_access cidr:$config_directory/tables/check_client_country",
        "check_client_access cidr:$config_directory/tables/check_client_others",
    ]
    assert table(result, "check_client_others") == {
        "203.0.113.192/27": "DUNNO",
        "0.0.0.0/0": "check_client_na",
        "::/0": "check_client_na",
    }
    without = made(country_text=text, countries=countries, changes=[{"list": "recipient", "remove": "country_tarpit"}])
    assert (
        parameter(without, "check_dynamic_client")[-1]
        == parameter(made(), "check_dynamic_client")[-1]
        == "check_client_na"
    )
    assert table(result, "postscreen_access") == {}
    current = names(made("current", country_text=text, countries=countries), "client")
    # a country that is eased skips DNSBLs, not the demand for a reverse name
    assert current.index("reject_unknown_reverse_client_hostname") < current.index("client_country")
    assert table(made("current", country_text=text, countries=countries), "postscreen_access") == {
        "203.0.113.0/25": "permit"
    }
    assert "client_country" not in names(made(), "client")


def test_a_client_that_is_let_in_by_its_address_passes_postscreen_too():
    clients = [
        {"pattern": "203.0.113.7", "action": "OK", "reason": "a partner", "date": "2026-11-25"},
        {"pattern": "2001:db8:5::/48", "action": "permit", "reason": "the same", "date": "2026-11-25"},
        {"pattern": "192.0.2.0/24", "reason": "spam", "date": "2026-11-25"},
        {"pattern": "good.example", "action": "OK", "reason": "a name", "date": "2026-11-25"},
    ]
    countries = {"country_text": "203.0.113.0/25 JP\n", "countries": {"JP": "ease"}}
    assert list(table(made("current", client=clients, **countries), "postscreen_access").items()) == [
        ("203.0.113.7", "permit"),
        ("2001:db8:5::/48", "permit"),
        ("203.0.113.0/25", "permit"),
    ]
    assert parameter(made("current", client=clients), "postscreen_access_list") == [
        "permit_mynetworks",
        "cidr:$config_directory/tables/postscreen_access",
    ]
    assert parameter(made("current", client=clients[2:]), "postscreen_access_list") == ["permit_mynetworks"]
    assert table(made("article", client=clients, **countries), "postscreen_access") == {}


# --- changes


def test_insert_move_remove_and_replace_by_name():
    result = made(
        changes=[
            {
                "list": "recipient",
                "insert": {"name": "partners", "value": "check_client_access cidr:/x/partners"},
                "before": "check_dynamic_client",
            },
            {"list": "recipient", "move": "reject_non_fqdn_sender", "after": "permit_mynetworks"},
            {"list": "smtpd_helo_restrictions", "remove": "reject_invalid_helo_hostname"},
            {
                "list": "client",
                "replace": {
                    "name": "reject_unknown_client_hostname",
                    "value": "reject_unknown_reverse_client_hostname",
                },
            },
            {"list": "check_client_na", "remove": "sleep"},
        ]
    )
    assert names(result, "recipient")[:4] == [
        "permit_mynetworks",
        "reject_non_fqdn_sender",
        "partners",
        "check_dynamic_client",
    ]
    assert "reject_invalid_helo_hostname" not in names(result, "helo")
    assert values(result, "client")[1] == "reject_unknown_reverse_client_hostname"
    assert parameter(result, "check_client_na") == ["check_policy_service inet:127.0.0.1:10028"]
    weights = [item["weight"] for item in result["restrictions"]["smtpd_recipient_restrictions"]]
    assert weights == sorted(weights) and len(set(weights)) == len(weights)


def test_an_insert_without_a_place_goes_to_the_end_but_before_a_closing_permit():
    result = made(
        changes=[
            {"list": "client", "insert": {"name": "last", "value": "reject_rbl_client x.example=127.0.0.2"}},
            {"list": "sender", "insert": {"name": "reject_unverified_sender"}},
        ]
    )
    assert names(result, "client")[-2:] == ["last", "permit"]
    assert names(result, "sender")[-1] == "reject_unverified_sender"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"list": "recipeint", "remove": "spf"}, ["recipeint", "recipient"]),
        (
            {"list": "recipient", "remove": "reject_unlisted_recipent"},
            ["reject_unlisted_recipent", "reject_unlisted_recipient"],
        ),
        (
            {"list": "recipient", "insert": {"name": "x", "value": "reject"}, "before": "chek_dynamic_client"},
            ["chek_dynamic_client", "check_dynamic_client?"],
        ),
        ({"list": "recipient", "insert": {"name": "spf"}}, ["recipient", "spf"]),
        ({"list": "recipient", "insert": {"name": "bad name"}}, ["bad name"]),
        ({"list": "recipient", "move": "spf"}, ["spf", "before", "after"]),
        ({"list": "recipient", "move": "spf", "after": "spf"}, ["'spf'"]),
        ({"list": "recipient", "remove": "spf", "move": "spf"}, ["remove, move"]),
        ({"list": "recipient"}, ["insert, remove, move, replace"]),
        ({"list": "recipient", "insert": {"name": "x"}, "before": "spf", "after": "spf"}, ["before", "after"]),
        ({"list": "relay", "remove": "reject_unauth_destination"}, ["relay", "postfix_restrictions"]),
        ({"list": "client", "move": "permit", "before": "dnsbl"}, ["client", "dnsbl", "permit"]),
    ],
)
def test_a_change_that_cannot_be_is_refused(change, said):
    found = access_problems(declared(changes=[change]))
    assert len(found) == 1 and found[0].startswith("access_changes")
    assert all(word in found[0] for word in said), found


# --- tables


@pytest.mark.parametrize("yes", ["OK", "ok", "RELAY", "permit", "1", "OK with text", "20260101"])
def test_nothing_that_a_table_says_opens_the_relay(yes):
    result = made(
        sender=[{"pattern": "friend@example.net", "action": yes}],
        client=[{"pattern": "good.example", "action": yes}],
        helo=[{"name": "x", "pattern": "/^x$/", "action": yes}],
    )
    answers = [entry["action"] for found in result["tables"] for entry in found["entries"]]
    assert answers.count("permit_auth_destination") == 3
    assert not [one for one in answers if one.split()[0].lower() in ("ok", "relay", "permit") or one.isdigit()]


@pytest.mark.parametrize("profile", PROFILES)
def test_no_class_ends_in_a_plain_permit_that_reaches_the_recipient_list(profile):
    result = made(profile, traps=["catch@home.example"])
    for item in result["main_cf"]:
        if item["name"] in ("trap_client", "trap_helo", "trap_sender"):
            continue  # stand in their own list only
        if item["name"] in parameter(result, "smtpd_restriction_classes"):
            assert "permit" not in item["value"]


def test_a_refusal_says_why_and_which_table():
    result = made(
        client=[
            {"pattern": "bulk.example", "reason": "spam since May", "date": "2026-11-25"},
            {"pattern": "192.0.2.0/24", "action": "REJECT go away", "reason": "x", "date": "2026-11-25"},
            {"pattern": "a.example", "action": "550 5.7.1 no", "reason": "x", "date": "2026-11-25"},
        ]
    )
    assert table(result, "reject_client") == {
        "bulk.example": "REJECT spam since May (reject_client)",
        "a.example": "550 5.7.1 no (reject_client)",
    }
    assert table(result, "reject_client_networks") == {"192.0.2.0/24": "REJECT go away (reject_client_networks)"}
    entry = next(found for found in result["tables"] if found["name"] == "reject_client")["entries"][0]
    assert entry["reason"] == "2026-11-25 spam since May"


def test_rules_are_merged_by_name_and_exceptions_come_first():
    result = made(
        helo=[
            {"name": "bare_address", "state": "absent"},
            {"name": "own_domain", "action": "REJECT no"},
            {"name": "local", "pattern": "/^localhost$/"},
        ],
        dynamic=[{"name": "rule3", "state": "absent"}, {"name": "mine", "pattern": "/^cable/"}],
        dynamic_exceptions=[{"pattern": "mail5.example.net"}, {"pattern": r"/^out[0-9]+\./"}],
    )
    assert list(table(result, "reject_helo").values()) == [
        "REJECT refused here (reject_helo: local)",
        "REJECT you are not this host (reject_helo: own_name)",
        "REJECT no (reject_helo: own_domain)",
    ]
    patterns = list(table(result, "check_dynamic_client"))
    good = len(DATA["__access_dynamic_good"])
    assert (
        patterns[:2] == [r"/(^|\.)mail5\.example\.net$/", r"/^out[0-9]+\./"]
        and patterns[2 + good] == "/^cable/"
        and len(patterns) == 9 + good
    )
    assert set(table(result, "check_dynamic_client").values()) == {"DUNNO", "check_dynamic_client"}


S25R = {
    "rule0": "unknown",
    "rule1": "p0123x45.isp.test",
    "rule2": "host12345.isp.test",
    "rule3": "12.pool.isp.co.test",
    "rule4": "a1.b203-0.isp.test",
    "rule5": "a1.b2.c.isp.test",
    "rule6": "ppp7.isp.test",
}
HONEST = [
    "mail.isp.test",
    "mx01.isp.test",
    "smtp-out2.isp.test",
    "a1.isp.test",
    "1.isp.test",
    "dsl.isp.test",
    "mail1.b2.isp.test",
]


@pytest.mark.parametrize("name", S25R)
def test_each_s25r_rule_alone_finds_its_kind_of_name_and_none_finds_an_honest_one(name):
    entries = [{"pattern": rule["pattern"], "action": rule["name"]} for rule in DATA["__access_dynamic_rules"]]
    alone = [entry for entry in entries if entry["action"] == name]
    assert lookup("check_dynamic_client", alone, [S25R[name]]) == name
    without = [entry for entry in entries if entry["action"] != name]
    assert lookup("check_dynamic_client", without, [S25R[name]]) == ""
    assert [host for host in HONEST if lookup("check_dynamic_client", entries, [host])] == []
    # smtpd looks up the address as well, when no name matched
    assert [
        a
        for a in ("192.0.2.123", "10.0.0.1", "2001:db8:1234:5678:9abc:def0:1234:5678")
        if lookup("check_dynamic_client", entries, [a])
    ] == []


GREAT = [
    "mail-ej1-f54.google.com",
    "mail-db8eur05on2104.outbound.protection.outlook.com",
    "a8-87.smtp-out.amazonses.com",
    "sonic301-3.consmr.mail.ne1.yahoo.com",
    "mx0a-001b2d01.pphosted.com",
    "mta-61-1.mailgun.net",
    "nmmta014-005.docomo.ne.jp",
    "ms11p00im-qufo17281301.me.com",
]


@pytest.mark.parametrize("host", GREAT)
def test_the_great_senders_pass_though_the_rules_would_take_them(host):
    def said(**changes):
        entries = [{"pattern": p, "action": a} for p, a in table(made(**changes), "check_dynamic_client").items()]
        return lookup("check_dynamic_client", entries, [host])

    assert said() == "DUNNO" and said(dynamic_good=[]) == "check_dynamic_client"
    (name,) = [good["name"] for good in DATA["__access_dynamic_good"] if host.endswith("." + good["name"])]
    without = [{"name": name, "state": "absent"}]
    assert (
        said(dynamic_exceptions=without)
        == said(dynamic_exceptions=[{"pattern": name, "state": "absent"}])
        == "check_dynamic_client"
    )
    assert access_problems(declared(dynamic_exceptions=without)) == []
    # the role's own sample of it goes with it
    samples = next(
        found["samples"]
        for found in made(dynamic_exceptions=without)["tables"]
        if found["name"] == "check_dynamic_client"
    )
    assert [host] not in [sample["keys"] for sample in samples]


def test_a_great_sender_is_that_domain_alone_and_each_has_a_reason_and_a_sample():
    entries = [{"pattern": p, "action": a} for p, a in table(made(), "check_dynamic_client").items()]
    for host in (
        "mail-ej1-f54.google.com.isp.test",
        "1-2-3-4.notgoogle.com",
        "ec2-192-0-2-1.compute-1.amazonaws.com",
        "p1-2.spmode.ne.jp",
    ):
        assert lookup("check_dynamic_client", entries, [host]) == "check_dynamic_client", host
    page = (ROOT / "docs/restrictions.md").read_text().split("## S25R")[1].split("\n## ")[0]
    for good in DATA["__access_dynamic_good"]:
        assert good["reason"] and good["name"] in page
        assert [
            one
            for one in DATA["__access_samples"]
            if one["expect"] == "DUNNO" and one["key"].endswith("." + good["name"])
        ], good


def test_the_hosts_own_name_is_taken_literally():
    entries = [{"pattern": p, "action": a} for p, a in table(made(), "reject_helo").items()]
    for key, refused in (
        ("mx.home.example", True),
        ("MX.home.example", True),
        ("home.example", True),
        ("mxxhome.example", False),
        ("mail.home.example", False),
        ("192.0.2.1", True),
        ("[192.0.2.1]", False),
        ("1.2.3.4.example", False),
    ):
        assert bool(lookup("reject_helo", entries, [key])) == refused, key


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"client": [{"pattern": "192.0.2.10/24", "reason": "x", "date": "2026-01-01"}]},
            ["access_client", "192.0.2.0/24"],
        ),
        (
            {"client": [{"pattern": "0.0.0.0/0", "reason": "x", "date": "2026-01-01"}]},
            ["access_client", "access_countries"],
        ),
        ({"client": [{"pattern": "spam.example", "date": "2026-01-01"}]}, ["access_client", "reason"]),
        ({"client": [{"pattern": "spam.example", "reason": "x"}]}, ["access_client", "date"]),
        ({"client": [{"pattern": "spam.example", "reason": "x", "date": "last May"}]}, ["access_client", "last May"]),
        (
            {"client": [{"pattern": ".spam.example", "reason": "x", "date": "2026-01-01"}]},
            ["access_client", "(.spam.example)"],
        ),
        ({"client": [{"pattern": "spam", "reason": "x", "date": "2026-01-01"}]}, ["access_client", "(spam)"]),
        ({"sender": [{"pattern": "<>"}]}, ["access_sender", "(<>)"]),
        ({"sender": [{"pattern": "a b@example.net"}]}, ["access_sender", "(a b@example.net)"]),
        ({"sender": [{"pattern": "x.example", "action": "check_client_access cidr:/x"}]}, ["access_sender", "451"]),
        ({"helo": [{"name": "own_domian", "state": "absent"}]}, ["access_helo", "own_domian", "own_domain"]),
        ({"dynamic": [{"name": "rule9", "state": "absent"}]}, ["access_dynamic", "rule9"]),
        ({"dynamic_exceptions": [{"pattern": "not a name"}]}, ["access_dynamic_exceptions", "not a name"]),
        (
            {"dynamic_exceptions": [{"name": "gogle.com", "state": "absent"}]},
            ["access_dynamic_exceptions", "gogle.com", "google.com"],
        ),
        ({"dynamic_exceptions": [{"name": "mine"}]}, ["access_dynamic_exceptions"]),
        (
            {"dnsbl": [{"name": "all.rbl.jp", "filter": "127.0.0.2"}]},
            ["access_dnsbl", "all.rbl.jp", DATA["__access_dnsbl_fates"]["all.rbl.jp"]],
        ),
        ({"dnsbl": [{"name": "sbl-xbl.spamhaus.org", "filter": "127.0.0.2"}]}, ["access_dnsbl", "zen.spamhaus.org"]),
        ({"dnsbl": [{"name": "x.example"}]}, ["access_dnsbl", "x.example", "filter"]),
        (
            {"dnsbl": [{"name": "x.example", "filter": "127.[0..255].[0..255].[2..255]"}]},
            ["access_dnsbl", "127.255.255.252"],
        ),
        ({"dnsbl": [{"name": "x.example", "filter": "127.0.0"}]}, ["access_dnsbl", "'127.0.0'"]),
        ({"dnsbl": [{"name": "x.example", "filter": "127.0.0.[2..300]"}]}, ["access_dnsbl", "2..300"]),
        ({"dnsbl": [{"name": "x.example", "filter": "10.0.0.2"}]}, ["access_dnsbl", "127"]),
        ({"dnsbl": [{"name": "x.example", "filter": "127.0.0.2", "weight": -1}]}, ["access_dnsbl", "current"]),
        ({"dnsbl": [{"name": "x.example", "filter": "127.0.0.2", "weight": 0}]}, ["access_dnsbl", "weight 0"]),
        ({"services": {"mlid": "inet:127.0.0.1:1"}}, ["access_services", "mild"]),
        ({"services": {"mild": "127.0.0.1:10027"}}, ["access_services", "inet:host:port"]),
        ({"traps": ["catch"]}, ["access_traps", "catch"]),
        ({"traps": ["postmaster@home.example"]}, ["access_traps", "postmaster"]),
        ({"traps": ["a@home.example", "a@other.example"]}, ["access_traps", "a@other.example"]),
        (
            {"traps": ["a@sub.home.example"]},
            ["access_traps", "a@sub.home.example", "mx.home.example, localhost.home.example"],
        ),
        (
            {"traps": ["a@elsewhere.example"], "destinations": [".sub.example"]},
            ["access_traps", "elsewhere.example", ".sub.example"],
        ),
        ({"samples": [{"table": "reject_hello", "key": "x"}]}, ["access_samples", "reject_helo"]),
        (
            {"samples": [{"table": "reject_helo", "key": "mail.example.net", "expect": "REJECT"}]},
            ["access_samples", "mail.example.net", "REJECT"],
        ),
        (
            {"samples": [{"table": "check_dynamic_client", "key": "mail-17-5.example.net", "expect": ""}]},
            ["access_samples", "check_dynamic_client"],
        ),
    ],
)
def test_what_is_declared_wrongly_is_said(changes, said):
    found = access_problems(declared(**changes))
    assert len(found) == 1 and found[0].startswith(said[0]), found
    assert all(word in found[0] for word in said), found


@pytest.mark.parametrize(
    "trap, destinations",
    [
        ("a@Home.Example", ["$mydomain"]),
        ("a@mx.home.example", ["${myhostname}"]),
        ("a@x.sub.example", [".sub.example"]),
        # what only the host can tell is no reason to refuse
        ("a@elsewhere.example", ["$mydomain", "hash:/usr/local/etc/postfix/domains"]),
        ("a@elsewhere.example", ["/etc/domains"]),
        ("a@elsewhere.example", ["$my_domains"]),
        ("a@elsewhere.example", ["!$mydomain"]),
    ],
)
def test_a_trap_in_a_domain_of_this_host_is_accepted(trap, destinations):
    assert access_problems(declared(traps=[trap], destinations=destinations)) == []


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"helo": [{"name": "x", "pattern": "/(unclosed/"}]}, "does not compile"),
        ({"helo": [{"name": "x", "pattern": "^localhost$"}]}, "delimiters"),
        ({"sender": [{"pattern": "a@b.example"}, {"pattern": "A@b.example"}]}, "twice"),
    ],
)
def test_entries_that_postfix_would_skip_are_said(changes, said):
    found = postfix_table_problems(access.access_tables(declared(**changes)), "access")
    assert len(found) == 1 and found[0].startswith("access_tables") and said in found[0]


def test_samples_see_a_table_as_smtpd_does():
    good = declared(
        sender=[{"pattern": "spam.example"}, {"pattern": "friend@spam.example", "action": "OK"}, {"pattern": "bulk@"}],
        client=[
            {"pattern": "bulk.example", "reason": "x", "date": "2026-01-01"},
            {"pattern": "192.0.2.0/25", "action": "DUNNO", "reason": "x", "date": "2026-01-01"},
            {"pattern": "192.0.2.0/24", "reason": "x", "date": "2026-01-01"},
        ],
        samples=[
            {"table": "reject_sender", "key": "friend@spam.example", "expect": "OK"},
            {"table": "reject_sender", "key": "x@deep.spam.example", "expect": "REJECT"},
            {"table": "reject_sender", "key": "bulk@elsewhere.example", "expect": "REJECT"},
            {"table": "reject_sender", "key": "x@elsewhere.example", "expect": ""},
            {"table": "reject_client", "key": "mx.bulk.example", "expect": "REJECT"},
            {"table": "reject_client_networks", "key": "192.0.2.5", "expect": "DUNNO"},
            {"table": "reject_client_networks", "key": "192.0.2.200", "expect": "REJECT"},
        ],
    )
    assert access_problems(good) == []
    kept = {found["name"]: found["samples"] for found in access_set(good, [])["tables"]}
    assert kept["reject_sender"][1] == {
        "keys": ["x@deep.spam.example", "deep.spam.example", "spam.example", "example", "x@"],
        "expect": "REJECT",
    }
    good["samples"][1]["expect"] = "OK"
    assert len(access_problems(good)) == 1


def test_the_roles_own_samples_are_asked_unless_the_inventory_says_otherwise():
    def asked(**changes):
        return [sample["keys"][0] for found in made(**changes)["tables"] for sample in found["samples"]]

    assert {"unknown", "192.0.2.1", "[192.0.2.1]", "mx.home.example", "mx1.sokuhai.invalid"} <= set(asked())
    gone = set(asked()) - set(
        asked(dynamic=[{"name": "rule0", "state": "absent"}], helo=[{"name": "bare_address", "state": "absent"}])
    )
    assert gone == {"unknown", "192.0.2.1"}


# --- waits


def waits(ease=15, harsh=125, ease_rate=30, harsh_rate=30):
    return [
        {"name": "access_sleep_ease", "seconds": ease, "a_minute": ease_rate},
        {"name": "access_sleep_harsh", "seconds": harsh, "a_minute": harsh_rate},
    ]


def test_sleeping_clients_are_counted_against_the_process_limit():
    assert postfix_tarpit_capacity(waits(), 500) == {
        "ok": True,
        "held": 70.0,
        "allowed": 250.0,
        "held_by": {"access_sleep_ease": 7.5, "access_sleep_harsh": 62.5},
    }
    assert postfix_tarpit_problems(waits(), 140) == []
    found = postfix_tarpit_problems(waits(), 139)
    assert len(found) == 1 and found[0].startswith("access_sleep_harsh") and "up to 124 s fit" in found[0]


def test_the_printed_1250_needs_a_reason_and_must_still_fit():
    found = postfix_tarpit_problems(waits(harsh=1250), 2000)
    assert len(found) == 1 and "access_sleep_reason" in found[0] and "270" in found[0]
    assert postfix_tarpit_problems(waits(harsh=1250), 2000, reason="the article prints it") == []
    found = postfix_tarpit_problems(waits(harsh=1250), 500, reason="the article prints it")
    assert len(found) == 1 and "632 smtpd" in found[0]
    assert postfix_tarpit_problems(waits(harsh=270), 500) == []


@pytest.mark.parametrize("bad", [{"harsh": "long"}, {"ease": -1}, {"harsh_rate": "many"}])
def test_waits_that_are_no_numbers_are_said(bad):
    assert postfix_tarpit_problems(waits(**bad), 500)[0].startswith("access_sleep")


def test_one_client_may_not_hold_all_that_may_sleep():
    assert postfix_tarpit_problems(waits(), 500, connections=250) == []
    for connections, said in ((251, "251"), (0, "no limit"), ("many", "many")):
        found = postfix_tarpit_problems(waits(), 500, connections=connections)
        assert len(found) == 1 and found[0].startswith("access_client_connections") and said in found[0], found
    # where nobody waits a connection holds a process no longer than it works
    assert postfix_tarpit_problems(waits(0, 0), 500, connections=0) == []


def test_no_wait_holds_nothing():
    assert postfix_tarpit_capacity(waits(0, 0), 1)["held"] == 0


# --- traps


@pytest.mark.parametrize("profile", PROFILES)
def test_a_trap_is_asked_every_rule_and_refused_by_none(profile):
    result = made(
        profile,
        traps=["Catch@home.example"],
        sender=[{"pattern": "spam.example"}],
        country_text="203.0.113.192/27 XB\n",
        countries={"XB": "tarpit"},
    )
    for name in traps.LISTS:
        items = result["restrictions"][f"smtpd_{name}_restrictions"]
        assert items[0]["name"] == "traps" and table(result, f"trap_{name}") == {"catch@home.example": f"trap_{name}"}
        rules = parameter(result, f"trap_{name}")
        assert rules[-1] in ("permit", "permit_auth_destination")
        for rule in rules[:-1]:
            assert rule.startswith(("warn_if_reject ", "permit_mynetworks", "permit_sasl_authenticated")), rule
        refusing = [
            part
            for value in [item["value"] for item in items[1:]]
            for part in value.split(", ")
            if not part.startswith("permit")
        ]
        assert len([rule for rule in rules if rule.startswith("warn_if_reject")]) == len(refusing)
    text = str(parameter(result, "trap_recipient"))
    # nothing sleeps and nothing is greylisted for a trap; each S25R rule is told apart
    assert "1002" not in text and "sleep" not in text and "check_dynamic_client" not in text
    assert table(result, "trap_dynamic")["/^unknown$/"].endswith("(trap_dynamic: rule0)")
    assert table(result, "trap_country") == {"203.0.113.192/27": "REJECT a country that waits (trap_country: XB)"}
    assert result["aliases"] == [
        {"name": "catch", "value": "/dev/null", "reason": "trap catch@home.example: counted, never read"}
    ]
    assert "trap" not in str(made(profile))


LOG = """\
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from unknown[203.0.113.30]: 450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.30]; from=<a@b.test> to=<Catch@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from unknown[203.0.113.30]: 554 5.7.1 Service unavailable; Client host [203.0.113.30] blocked using zen.spamhaus.org; from=<a@b.test> to=<catch@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:08 mx postfix/smtpd[9]: 5849D231: reject_warning: RCPT from p1x2.isp.test[203.0.113.50]: 554 5.7.1 <p1x2.isp.test[203.0.113.50]>: Client host rejected: a dynamic address (trap_dynamic: rule1); from=<> to=<catch@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from p1x2.isp.test[2001:db8::5]: 554 5.7.1 <mx.home.example>: Helo command rejected: you are not this host (reject_helo: own_name); from=<> to=<second@home.example> proto=ESMTP helo=<mx.home.example>
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from p1x2.isp.test[203.0.113.50]: 554 5.7.1 <x>: Client host rejected: cannot find your hostname; from=<> to=<real@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:09 mx postfix/postscreen[8]: NOQUEUE: reject: RCPT from [203.0.113.66]:4711: 550 5.7.1 Service unavailable; client [203.0.113.66] blocked using dnsbl.test; from=<a@b.test>, to=<second@home.example>, proto=ESMTP, helo=<b.test>
Nov 25 02:54:09 mx postfix/local[7]: 5849D231: to=<catch@home.example>, relay=local, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to file: /dev/null)
Nov 25 02:54:09 mx postfix/local[7]: 5849D232: to=<real@home.example>, relay=local, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to file: /dev/null)
"""


def test_the_log_is_counted_by_trap_and_rule():
    found = report.counts(LOG.splitlines(), ["catch@home.example", "second@home.example"])
    assert found["traps"] == {
        "catch@home.example": {
            "taken": 1,
            "refused": 0,
            "rules": {"reject_unknown_client_hostname": 1, "dnsbl: zen.spamhaus.org": 1, "trap_dynamic: rule1": 1},
        },
        "second@home.example": {
            "taken": 0,
            "refused": 1,
            "rules": {"reject_helo: own_name": 1, "dnsbl: dnsbl.test": 1},
        },
    }
    assert found["clients"] == {"203.0.113.30": 2, "2001:db8::5": 1, "203.0.113.50": 1, "203.0.113.66": 1}
    assert sum(found["rules"].values()) == 5


# --- size


def test_a_large_country_is_made_into_tables_whole():
    text = "".join(f"{10 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24 JP\n" for n in range(0, 20000, 2))
    result = made("current", country_text=text, countries={"JP": "ease"})
    assert len(table(result, "postscreen_access")) == 10000


def test_what_is_wrong_with_the_countries_is_a_problem_like_others():
    for countries, text, said in (
        ({"QQ": "ease"}, "", "'QQ'"),
        ({"JP": "ease"}, "", "access_country_file"),
        ({"JP": "ease"}, "203.0.113.1/24 JP\n", "203.0.113.1/24"),
    ):
        (problem,) = access_problems(declared(countries=countries, country_text=text))
        assert said in problem and problem.startswith(("access_countries", "access_country_file")), problem


def test_rotated_logs_are_read_oldest_first_whatever_packed_them(tmp_path):
    log = tmp_path / "maillog"
    log.write_text("now\n")
    (tmp_path / "maillog.0.bz2").write_bytes(bz2.compress(b"yesterday\n"))
    (tmp_path / "maillog.1").write_text("two days\n")
    (tmp_path / "maillog.2.gz").write_bytes(gzip.compress(b"three days\n"))
    (tmp_path / "maillog.10.xz").write_bytes(lzma.compress(b"long ago\n"))
    (tmp_path / "maillog.3.zst").write_bytes(b"?")
    (tmp_path / "maillog.bak").write_text("no log\n")
    found, missing = report.rotated(str(log), 7) + [str(log)], []
    assert [line.strip() for line in report.read(found, missing)] == ["three days", "two days", "yesterday", "now"]
    assert missing == [str(tmp_path / "maillog.3.zst")]
    assert report.rotated(str(log), 0) == [] and report.rotated(str(log), 11)[0].endswith("maillog.10.xz")


def judges(play):
    """Whether a play has the declared values judged."""
    imported = [task.get("ansible.builtin.import_role", {}) for task in play.get("tasks", [])]
    return {"name": "preflight", "tasks_from": "validate"} in imported


def test_whoever_judges_the_traps_knows_what_this_host_delivers():
    """Else a trap in a domain of postfix_destinations passes one playbook and is refused by another."""
    plays = [
        (path.name, play)
        for path in sorted((ROOT / "playbooks").glob("*.yml"))
        for play in yaml.safe_load(path.read_text())
        if judges(play)
    ]
    assert {name for name, _play in plays} >= {"site.yml", "refresh.yml", "rebuild.yml", "rollback.yml", "verify.yml"}
    assert [name for name, play in plays if "vars/handed_on.yml" not in play.get("vars_files", [])] == []
