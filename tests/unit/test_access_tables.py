"""Role access: what its tables answer, S25R's rules and their exceptions, samples, countries, and what is refused of all of them."""

import pytest
from access_sets import DATA, PROFILES, access, declared, first_match, made, names, parameter, table
from postfix_tables import postfix_table_problems
from role_modules import ROOT
from sokuhai_access.lists import access_asked
from sokuhai_access.problems import problems


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
    # these stand in their own list only
    classes = {*parameter(result, "smtpd_restriction_classes")} - {"trap_client", "trap_helo", "trap_sender"}
    assert [item for item in result["main_cf"] if item["name"] in classes and "permit" in item["value"]] == []


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


RULES = [{"pattern": rule["pattern"], "action": rule["name"]} for rule in DATA["__access_dynamic_rules"]]
S25R = {
    "rule0": "unknown",
    "rule1": "p0123x45.isp.test",
    "rule2": "host12345.isp.test",
    "rule3": "12.pool.isp.co.test",
    "rule4": "a1.b203-0.isp.test",
    "rule5": "a1.b2.c.isp.test",
    "rule6": "ppp7.isp.test",
}


@pytest.mark.parametrize("name", S25R)
def test_each_s25r_rule_finds_its_kind_of_name_and_no_other_rule_does(name):
    assert first_match(S25R[name], [entry for entry in RULES if entry["action"] == name]) == name
    assert first_match(S25R[name], [entry for entry in RULES if entry["action"] != name]) == ""


@pytest.mark.parametrize(
    "key",
    [
        "mail.isp.test",
        "mx01.isp.test",
        "smtp-out2.isp.test",
        "a1.isp.test",
        "1.isp.test",
        "dsl.isp.test",
        "mail1.b2.isp.test",
        # smtpd looks up the address as well, when no name matched
        "192.0.2.123",
        "10.0.0.1",
        "2001:db8:1234:5678:9abc:def0:1234:5678",
    ],
)
def test_no_s25r_rule_finds_an_honest_name_or_an_address(key):
    assert first_match(key, RULES) == ""


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


def said(host, **changes):
    entries = [{"pattern": p, "action": a} for p, a in table(made(**changes), "check_dynamic_client").items()]
    return first_match(host, entries)


@pytest.mark.parametrize("host", GREAT)
def test_the_great_senders_pass_though_the_rules_would_take_them(host):
    assert said(host) == "DUNNO" and said(host, dynamic_good=[]) == "check_dynamic_client"
    (name,) = [good["name"] for good in DATA["__access_dynamic_good"] if host.endswith("." + good["name"])]
    for key in ("name", "pattern"):
        assert said(host, dynamic_exceptions=[{key: name, "state": "absent"}]) == "check_dynamic_client"
    without = {"dynamic_exceptions": [{"name": name, "state": "absent"}]}
    assert problems(declared(**without)) == []
    # the role's own sample of it goes with it


@pytest.mark.parametrize(
    "host",
    [
        "mail-ej1-f54.google.com.isp.test",
        "1-2-3-4.notgoogle.com",
        "ec2-192-0-2-1.compute-1.amazonaws.com",
        "p1-2.spmode.ne.jp",
    ],
)
def test_a_great_sender_is_that_domain_alone(host):
    assert said(host) == "check_dynamic_client"


@pytest.mark.parametrize("good", DATA["__access_dynamic_good"], ids=lambda good: good["name"])
def test_each_great_sender_has_a_reason_and_a_sample(good):
    page = (ROOT / "docs/restrictions.md").read_text().split("## S25R")[1].split("\n## ")[0]
    assert good["reason"] and good["name"] in page
    samples = [sample["key"] for sample in DATA["__access_samples"] if sample["expect"] == "DUNNO"]
    assert any(key.endswith("." + good["name"]) for key in samples)


@pytest.mark.parametrize(
    "key, rejected",
    [
        ("mx.home.example", True),
        ("MX.home.example", True),
        ("home.example", True),
        ("mxxhome.example", False),
        ("mail.home.example", False),
        ("192.0.2.1", True),
        ("[192.0.2.1]", False),
        ("1.2.3.4.example", False),
    ],
)
def test_the_hosts_own_name_is_taken_literally(key, rejected):
    entries = [{"pattern": p, "action": a} for p, a in table(made(), "reject_helo").items()]
    assert bool(first_match(key, entries)) is rejected


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
        ({"dynamic_exceptions": [{"pattern": "192.0.2.7/24"}]}, ["access_dynamic_exceptions", "192.0.2.0/24"]),
        ({"dynamic_exceptions": [{"name": "mine"}]}, ["access_dynamic_exceptions"]),
        (
            {"helo": [{"name": "a", "pattern": "/^a$/"}, {"name": "a", "pattern": "/^b$/"}]},
            ["access_helo", "a is listed twice"],
        ),
        (
            {"dynamic": [{"name": "a", "pattern": "/^a$/"}, {"name": "a", "pattern": "/^b$/"}]},
            ["access_dynamic", "a is listed twice"],
        ),
        (
            {"dynamic_exceptions": [{"pattern": "a.example"}, {"pattern": "a.example", "reason": "again"}]},
            ["access_dynamic_exceptions", "a.example is listed twice"],
        ),
        (
            {"dnsbl": [{"name": "x.example", "filter": f"127.0.0.{code}"} for code in (2, 3)]},
            ["access_dnsbl", "x.example is listed twice"],
        ),
        (
            {"dnsbl": [{"name": name, "filter": "127.0.0.2"} for name in ("x.example", "X.Example.")]},
            ["access_dnsbl", "x.example is listed twice"],
        ),
        ({"dnsbl": [{"name": "All.RBL.jp.", "filter": "127.0.0.2"}]}, ["access_dnsbl", "all.rbl.jp", "closed"]),
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
        (
            {"dnsbl": [{"name": "x.example", "filters": [{"filter": "127.0.0.2"}, {"filter": "127.0.0"}]}]},
            ["access_dnsbl: x.example", "'127.0.0'"],
        ),
        (
            {"dnsbl": [{"name": "x.example", "filters": [{"filter": "127.0.0.2"}, {"filter": "127.0.0.2"}]}]},
            ["access_dnsbl: x.example", "filter 127.0.0.2 is listed twice"],
        ),
        (
            {
                "dnsbl": [
                    {"name": "x.example", "filters": [{"filter": "127.0.0.2"}, {"filter": "127.0.0.4", "weight": 0}]}
                ]
            },
            ["access_dnsbl: x.example", "weight 0"],
        ),
        (
            {"dnsbl": [{"name": "x.example", "weight": 3, "filters": [{"filter": "127.0.0.2"}]}]},
            ["access_dnsbl: x.example", "filters have their own weights"],
        ),
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
        ({"countries": {"QQ": "ease"}}, ["access_countries", "'QQ'"]),
        ({"countries": {"JP": "ease"}}, ["access_countries", "access_country_file"]),
        (
            {"countries": {"JP": "ease"}, "country_text": "203.0.113.1/24 JP\n"},
            ["access_country_file", "203.0.113.1/24"],
        ),
        ({"samples": [{"table": "reject_hello", "key": "x"}]}, ["access_samples", "reject_helo"]),
    ],
)
def test_what_is_declared_wrongly_is_said(changes, said):
    (problem,) = problems(declared(**changes))
    assert problem.startswith(said[0]) and all(word in problem for word in said), problem


@pytest.mark.parametrize(
    "changes, begins, said",
    [
        ({"helo": [{"name": "x", "pattern": r"/^\d/"}]}, r"access_helo: x (/^\d/)", "[0-9]"),
        ({"dynamic": [{"name": "x", "pattern": r"/[\w-]/"}]}, "access_dynamic: x", "[[:alnum:]_]"),
        ({"dynamic_exceptions": [{"pattern": r"/\bmx/"}]}, "access_dynamic_exceptions: /", "[[:<:]]"),
        ({"dynamic_exceptions": [{"name": "x", "pattern": r"/\ymx/"}]}, "access_dynamic_exceptions: x", "the letter"),
        ({"dynamic": [{"name": "x"}]}, "access_dynamic: x", "no pattern"),
        (
            {"sender": [{"pattern": "a@b.example"}, {"pattern": "A@b.example"}]},
            "access_tables (reject_sender)",
            "twice",
        ),
    ],
)
def test_entries_that_postfix_would_skip_are_said(changes, begins, said):
    (problem,) = postfix_table_problems(access.access_tables(declared(**changes)), "access")
    assert problem.startswith(begins) and said in problem, problem


@pytest.mark.parametrize(
    "pattern", [r"/[a\]/", "/(unclosed/", r"/\\d/", r"/\.d/", "no slashes", "/a{2,1}/", "/[[:punct:]]/"]
)
def test_only_postfix_judges_an_expression(pattern):
    assert postfix_table_problems(access.access_tables(declared(helo=[{"name": "x", "pattern": pattern}]))) == []


def asked(sample, **changes):
    """What postmap(1) is asked for one sample of the inventory: (its pairs, what does not count, what is expected)."""
    (question,) = access_asked(declared(**changes, samples=[sample]))["samples"]
    assert question["origin"] == "access_samples[1]"
    return question["asked"], question.get("past"), question["expect"]


@pytest.mark.parametrize(
    "name, key, keys",
    [
        ("reject_sender", "friend@spam.example", ["friend@spam.example", "spam.example", "example", "friend@"]),
        ("reject_sender", "Bulk@", ["bulk@", "", "bulk@"]),
        ("reject_sender", "<>", ["<>"]),
        ("reject_client", "mx.Bulk.example", ["mx.bulk.example", "bulk.example", "example"]),
        ("reject_client", "192.0.2.5", ["unknown", "192.0.2.5", "192.0.2", "192.0", "192"]),
        ("reject_client_networks", "192.0.2.5", ["192.0.2.5"]),
        ("reject_helo", "Mail.example", ["Mail.example"]),
        ("check_dynamic_client", "a1-2.Example.net", ["a1-2.example.net"]),
    ],
)
def test_samples_are_asked_as_smtpd_asks(name, key, keys):
    assert asked({"table": name, "key": key, "expect": "OK"}) == (
        [[name, one] for one in keys],
        None,
        "permit_auth_destination",
    )


@pytest.mark.parametrize(
    "sample, keys",
    [
        # without a name it is rule 0's "unknown", whatever its address
        ({"expect": "DUNNO"}, ["unknown", "192.0.2.7"]),
        ({"name": "mail.example.net", "expect": ""}, ["mail.example.net", "192.0.2.7"]),
        ({"name": "unknown", "expect": ""}, ["unknown", "192.0.2.7"]),
        # that nothing is said of an address says nothing of its name
        ({"expect": ""}, ["192.0.2.7"]),
        ({}, ["192.0.2.7"]),
    ],
)
def test_a_client_is_asked_by_name_before_its_address(sample, keys):
    pairs, past, _expect = asked({"table": "check_dynamic_client", "key": "192.0.2.7", **sample})
    assert (pairs[0], past) == (["check_dynamic_address", "192.0.2.7"], "check_dynamic_name")
    assert pairs[1:] == [["check_dynamic_client", key] for key in keys]


ADDRESSES = {"dynamic_exceptions": [{"pattern": "192.0.2.7"}, {"pattern": "2001:db8::/64"}]}


@pytest.mark.parametrize(
    "changes, tables, samples",
    [
        ({}, [], 0),
        ({"sender": [{"pattern": "spam.example"}]}, [], 0),
        ({"helo": [{"name": "bare_address", "state": "absent"}]}, ["reject_helo"], 0),
        ({"dynamic": [{"name": "x", "pattern": "/x/"}]}, ["check_dynamic_client"], 0),
        (ADDRESSES, ["check_dynamic_client"], 0),
        ({"samples": [{"table": "reject_helo", "key": "x"}]}, ["reject_helo"], 1),
        ({"samples": [{"table": "reject_sender", "key": "x@y.example"}]}, [], 1),
        (
            {**ADDRESSES, "samples": [{"table": "check_dynamic_client", "key": "192.0.2.7", "expect": "DUNNO"}]},
            ["check_dynamic_address", "check_dynamic_client"],
            1,
        ),
    ],
)
def test_only_what_is_declared_is_asked_before_anything_changes(changes, tables, samples):
    found = access_asked(declared(**changes))
    assert sorted(one["name"] for one in found["tables"]) == tables and len(found["samples"]) == samples


def test_an_exception_by_address_stands_before_the_table_of_names():
    result = made(**ADDRESSES)
    assert "check_client_access cidr:$config_directory/tables/check_dynamic_address" in [
        item["value"] for item in result["restrictions"]["smtpd_recipient_restrictions"]
    ]
    assert parameter(result, "check_dynamic_name") == [
        "check_client_access regexp:$config_directory/tables/check_dynamic_client"
    ]
    assert "check_dynamic_name" in parameter(result, "smtpd_restriction_classes")
    assert table(result, "check_dynamic_address") == {
        "192.0.2.7": "DUNNO",
        "2001:db8::/64": "DUNNO",
        "0.0.0.0/0": "check_dynamic_name",
        "::/0": "check_dynamic_name",
    }


def test_the_roles_own_samples_are_asked_of_the_tables_that_the_inventory_leaves_alone():
    def keys(**changes):
        return {key for sample in made(**changes)["samples"] for _table, key in sample["asked"]}

    helo, dynamic = {"[192.0.2.1]", "mx.home.example"}, {"unknown", "mx1.sokuhai.invalid"}
    assert helo | dynamic <= keys(sender=[{"pattern": "spam.example"}])
    assert dynamic <= keys(helo=[{"name": "x", "pattern": "/x/"}]) and not helo & keys(helo=[{"name": "x"}])
    assert helo <= keys(**ADDRESSES) and not dynamic & keys(**ADDRESSES)
    assert not dynamic & keys(dynamic=[{"name": "rule0", "state": "absent"}])


COUNTRIES = {
    "country_text": "203.0.113.0/25 JP\n203.0.113.192/27 XB\n2001:db8:2:c000::/67 XA\n",
    "countries": {"JP": "ease", "XB": "tarpit", "XA": {"action": "refuse", "reason": "nobody here writes to us"}},
}


def test_countries_are_eased_tarpitted_and_refused():
    result = made(**COUNTRIES)
    tables = (
        "client_country",
        "check_client_country",
        "country_tarpit",
        "check_client_others",
        "postscreen_access",
    )
    assert {name: table(result, name) for name in tables} == {
        # skips the DNSBLs below it, and opens no relay
        "client_country": {
            "203.0.113.0/25": "permit_auth_destination",
            "2001:db8:2:c000::/67": "REJECT nobody here writes to us (client_country: XA)",
        },
        "check_client_country": {"203.0.113.0/25": "check_client_ease"},
        "country_tarpit": {"203.0.113.192/27": "check_client_na"},
        # a dynamic client there has waited at country_tarpit already, and waits once
        "check_client_others": {
            "203.0.113.192/27": "DUNNO",
            "0.0.0.0/0": "check_client_na",
            "::/0": "check_client_na",
        },
        "postscreen_access": {},
    }
    assert parameter(result, "check_dynamic_client") == [
        "check_client_access cidr:$config_directory/tables/check_client_country",
        "check_client_access cidr:$config_directory/tables/check_client_others",
    ]
    for without in (made(**COUNTRIES, changes=[{"list": "recipient", "remove": "country_tarpit"}]), made()):
        assert parameter(without, "check_dynamic_client")[-1] == "check_client_na"


def test_where_a_country_stands_in_the_lists():
    article, current = (names(made(profile, **COUNTRIES), "client") for profile in PROFILES)
    assert article.index("client_country") + 1 == article.index("dnsbl")
    # a country that is eased skips DNSBLs, not the demand for a reverse name
    assert current.index("reject_unknown_reverse_client_hostname") < current.index("client_country")
    assert table(made("current", **COUNTRIES), "postscreen_access") == {"203.0.113.0/25": "permit"}
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


def test_a_large_country_is_made_into_tables_whole():
    text = "".join(f"{10 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24 JP\n" for n in range(0, 20000, 2))
    result = made("current", country_text=text, countries={"JP": "ease"})
    assert len(table(result, "postscreen_access")) == 10000
