"""What main.cf and its tables have of a smarthost, and what is refused."""

import postfix_outward as outward
import pytest

HOME = {"host": "smtp.provider.example", "user": "home", "password": "se cret:1"}
AT = "[smtp.provider.example]:587"


def items(smarthost):
    return {item["name"]: item["value"] for item in outward.postfix_smarthost_items(smarthost)}


def tables(smarthost):
    return {
        table["name"]: {entry["pattern"]: entry["action"] for entry in table["entries"]}
        for table in outward.postfix_smarthost_tables(smarthost)
    }


def test_without_a_smarthost_nothing_is_written():
    assert items({}) == {} and tables({}) == {} and outward.postfix_smarthost_problems({}) == []


def test_a_password_goes_over_verified_tls_alone():
    found = items(HOME)
    assert found["relayhost"] == AT
    assert found["smtp_sasl_auth_enable"] is True and found["smtp_sasl_tls_security_options"] == ["noanonymous"]
    # without a place of CAs no certificate is trusted, and nothing leaves
    assert found["smtp_tls_CApath"] == "/etc/ssl/certs" and "smtp_tls_wrappermode" not in found
    assert tables(HOME) == {"tls_policy": {AT: "secure"}, "sasl_passwd": {AT: "home:se cret:1"}}
    assert set(found) <= set(outward.PARAMETERS) and set(tables(HOME)) == set(outward.TABLES)


def test_tls_from_the_first_byte_is_465s():
    found = items({**HOME, "port": 465, "tls": "encrypt"})
    assert found["relayhost"] == "[smtp.provider.example]:465" and found["smtp_tls_wrappermode"] is True
    assert tables({**HOME, "port": 465, "tls": "encrypt"})["tls_policy"] == {"[smtp.provider.example]:465": "encrypt"}


def test_one_that_asks_for_no_password():
    plain = {"host": "relay.example.org", "port": 25, "tls": "none"}
    assert set(items(plain)) == {"relayhost", "smtp_tls_policy_maps"}
    assert tables(plain) == {"tls_policy": {"[relay.example.org]:25": "none"}}
    assert items({**HOME, "ca": "/usr/local/etc/ssl/ca.pem"})["smtp_tls_CAfile"] == "/usr/local/etc/ssl/ca.pem"


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, None),
        ({"port": "465"}, None),
        ({"user": "", "password": ""}, None),
        ({"user": "", "password": "", "tls": "none", "port": 25}, None),
        ({"tls": "none"}, ["sokuhai_smarthost.tls", "in clear", "verify"]),
        ({"user": "", "password": "", "tls": "none", "port": 465}, ["sokuhai_smarthost.tls", "465"]),
        ({"password": ""}, ["sokuhai_smarthost.password is empty"]),
        ({"user": ""}, ["sokuhai_smarthost.user is empty"]),
        ({"user": "ho:me"}, ["sokuhai_smarthost.user", "colon"]),
        ({"password": "se\ncret"}, ["sokuhai_smarthost.password"]),
        ({"password": "secret "}, ["sokuhai_smarthost.password"]),
        ({"host": "[smtp.provider.example]"}, ["sokuhai_smarthost.host", "without brackets"]),
        ({"host": "192.0.2.1"}, ["sokuhai_smarthost.host", "192.0.2.1"]),
        ({"host": "2001:db8::1"}, ["sokuhai_smarthost.host"]),
        ({"port": 0}, ["sokuhai_smarthost.port", "587"]),
        ({"port": 70000}, ["sokuhai_smarthost.port", "70000"]),
        ({"ca": "ca.pem"}, ["sokuhai_smarthost.ca", "ca.pem"]),
        ({"ca": "/ca.pem", "tls": "encrypt"}, ["sokuhai_smarthost.ca", "verify"]),
    ],
)
def test_what_cannot_work_is_refused_and_shows_no_secret(change, words):
    problems = outward.postfix_smarthost_problems({**HOME, **change})
    assert len(problems) == bool(words), problems
    for word in words or ():
        assert word in problems[0]
    assert "cret" not in "".join(problems)


def test_what_is_declared_twice_is_refused_by_name():
    main_cf = [{"name": "relayhost", "value": "x"}, {"name": "smtp_tls_policy_maps", "state": "absent"}, {"name": "y"}]
    declared = [{"name": "sasl_passwd"}, {"name": "senders"}]
    problems = outward.postfix_smarthost_twice(HOME, main_cf, declared)
    assert [problem.split(" is ")[0] for problem in problems] == [
        "postfix_main_cf: relayhost",
        "postfix_main_cf: smtp_tls_policy_maps",
        "postfix_tables: sasl_passwd",
    ]
    assert outward.postfix_smarthost_twice({}, main_cf, declared) == []


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, None),
        ({"postfix_validates": False}, ["postfix_dane", "bind_use_for_host: true", "bind_dnssec_validation"]),
        ({"postfix_dane": False, "postfix_validates": False}, None),
        ({"postfix_main_cf": [{"name": "smtp_tls_security_level", "value": "encrypt"}]}, ["smtp_tls_security_level"]),
        ({"postfix_main_cf": [{"name": "smtp_dns_support_level", "state": "absent"}]}, ["smtp_dns_support_level"]),
        ({"postfix_main_cf": [{"name": "smtp_host_lookup", "value": "native"}]}, ["smtp_host_lookup", "native"]),
        ({"postfix_main_cf": [{"name": "smtp_host_lookup", "value": ["dns", "native"]}]}, None),
    ],
)
def test_dane_needs_a_resolver_that_validates(change, words):
    declared = {"postfix_dane": True, "postfix_validates": True, "postfix_main_cf": []}
    problems = outward.postfix_dane_problems({**declared, **change})
    assert len(problems) == bool(words), problems
    for word in words or ():
        assert word in problems[0]


def test_policies_of_mta_sts_are_asked_of_the_daemon_and_judged_by_cas():
    found = {item["name"]: item["value"] for item in outward.postfix_mta_sts_items({"address": "::1", "port": 8461})}
    assert found == {
        "smtp_tls_policy_maps": "socketmap:inet:[::1]:8461:postfix",
        "smtp_tls_CApath": "/etc/ssl/certs",
    }
    assert outward.postfix_mta_sts_items({"address": "127.0.0.1", "port": 1})[0]["value"].endswith(
        ":127.0.0.1:1:postfix"
    )
    assert outward.postfix_mta_sts_items({}) == []


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, None),
        ({"postfix_smarthost": HOME}, ["sokuhai_mta_sts", "sokuhai_smarthost"]),
        ({"postfix_main_cf": [{"name": "smtp_tls_policy_maps"}]}, ["postfix_main_cf: smtp_tls_policy_maps"]),
        ({"postfix_mta_sts": {}, "postfix_smarthost": HOME}, None),
    ],
)
def test_whoever_decides_about_tls_besides_is_refused(change, words):
    daemon = {"address": "127.0.0.1", "port": 8461}
    problems = outward.postfix_mta_sts_problems(
        {"postfix_mta_sts": daemon, "postfix_smarthost": {}, "postfix_main_cf": [], **change}
    )
    assert len(problems) == bool(words), problems
    for word in words or ():
        assert word in problems[0]
