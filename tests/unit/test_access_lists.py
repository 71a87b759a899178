"""Role access: the restriction lists of both profiles, changed by name, and what of them depends on the host and its Postfix."""

import pytest
from access_sets import PROFILES, access_set, declared, healthy, made, names, parameter, values
from postfix_items import postfix_base_restrictions, postfix_known_items, postfix_merge, postfix_restriction_items
from sokuhai_access.problems import problems


def test_article_has_the_addendums_lists_in_their_order():
    """As printed (article/README.md of the source): today's names, the DNSBLs by their successors, the relay list apart."""
    result = made()
    assert {name: values(result, name) for name in ("client", "helo", "sender")} == {
        "client": [
            "permit_mynetworks",
            "reject_unknown_client_hostname",
            "reject_rbl_client zen.spamhaus.org=127.0.0.[2..9], reject_rbl_client bl.spamcop.net=127.0.0.2",
            "permit",
        ],
        "helo": [
            "permit_mynetworks",
            "reject_invalid_helo_hostname",
            "check_helo_access regexp:$config_directory/tables/reject_helo",
            "permit",
        ],
        "sender": ["reject_unknown_sender_domain", "reject_non_fqdn_sender"],
    }
    classes = ("smtpd_restriction_classes", "check_client_ease", "check_client_na")
    assert {name: parameter(result, name) for name in classes} == {
        "smtpd_restriction_classes": ["check_dynamic_client", "check_client_ease", "check_client_na"],
        "check_client_ease": [
            "check_policy_service inet:127.0.0.1:10027",
            "sleep ${stress?{0}:{15}}",
            "permit_auth_destination",
        ],
        "check_client_na": ["check_policy_service inet:127.0.0.1:10028", "sleep ${stress?{0}:{125}}"],
    }
    assert result["master_cf"] == []


def test_a_table_of_senders_stands_in_both_lists_that_know_them():
    result = made(sender=[{"pattern": "spam.example"}])
    assert names(result, "sender") == ["reject_sender", "reject_unknown_sender_domain", "reject_non_fqdn_sender"]
    assert names(result, "recipient") == [
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
    assert values(result, "recipient")[-1] == "check_policy_service unix:private/policy"


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
    result = made(profile, changes=[{"list": "data", "remove": "reject_unauth_pipelining"}])
    assert result["restrictions"]["smtpd_data_restrictions"] == []
    own = {"smtpd_data_restrictions": [{"name": "reject_unauth_pipelining"}]}
    items = postfix_restriction_items(postfix_base_restrictions(own, result))
    assert "smtpd_data_restrictions" not in [item["name"] for item in items]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_profiles_are_accepted_as_they_are(profile):
    assert problems(declared(profile)) == []


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


def test_one_zone_has_several_filters_with_their_own_weights():
    filters = [{"filter": "127.0.0.2", "weight": 3}, {"filter": "127.0.0.1", "weight": -2}, {"filter": "127.0.0.4"}]
    own = [{"name": "mine.example", "filters": filters}, {"name": "zen.spamhaus.org", "filters": filters[:1]}]
    whole = declared("current", dnsbl=own)
    assert problems(whole) == []
    assert parameter(access_set(whole, healthy(whole)), "postscreen_dnsbl_sites")[:4] == [
        "mine.example=127.0.0.2*3",
        "mine.example=127.0.0.1*-2",
        "mine.example=127.0.0.4*1",
        "zen.spamhaus.org=127.0.0.2*3",
    ]
    assert {entry["name"]: entry["kind"] for entry in healthy(whole)}["mine.example"] == "block"
    assert parameter(access_set(whole, healthy(whole)), "postscreen_dnsbl_allowlist_threshold") == -2
    # smtpd(8) of profile article knows listed or not
    own = [{"name": "mine.example", "filters": [filters[0], filters[2]]}]
    assert next(value for value in values(made(dnsbl=own), "client") if "rbl" in value).startswith(
        "reject_rbl_client mine.example=127.0.0.2, reject_rbl_client mine.example=127.0.0.4, "
    )
    assert "profile current" in str(problems(declared(dnsbl=[{"name": "mine.example", "filters": filters}])))


def test_a_zone_in_capital_letters_is_the_profiles_own():
    result = made("current", dnsbl=[{"name": "Zen.Spamhaus.org.", "weight": 2}])
    assert parameter(result, "postscreen_dnsbl_sites")[0] == "zen.spamhaus.org=127.0.0.[2..11]*2"
    assert "Zen" not in str(result["main_cf"])


def test_an_unhealthy_dnsbl_is_not_written():
    whole = declared()
    good = [entry for entry in healthy(whole) if entry["name"] == "bl.spamcop.net"]
    lists = access_set(whole, good)["restrictions"]
    assert "bl.spamcop.net" in str(lists) and "zen" not in str(lists)
    assert "dnsbl" not in names(access_set(whole, []), "client")
    assert "postscreen_dnsbl_sites" not in str(access_set(declared("current"), []))


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
    (problem,) = problems(declared(changes=[change]))
    assert problem.startswith("access_changes") and all(word in problem for word in said), problem
