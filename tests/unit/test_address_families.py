# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A host with one address family: every address that follows from it, and that both families are as ever."""

import pytest
import yaml
from role_modules import ROOT, defaults, load, util

family, judge = util("postfix_family"), util("postfix_judge")
place = load("roles/greylist/filter_plugins/greylist.py").place

#: {variable: its value with all, ipv4, ipv6}
FOLLOW = {
    "sokuhai_loopback": ("127.0.0.1", "127.0.0.1", "::1"),
    "bind_listen_on": (["127.0.0.1"], ["127.0.0.1"], []),
    "bind_listen_on_v6": (["::1"], [], ["::1"]),
    "bind_ipv6_transport": (True, False, True),
    "bind_host_name_servers": (["127.0.0.1"], ["127.0.0.1"], ["::1"]),
    "postfix_inet_protocols": ("all", "ipv4", "ipv6"),
    "greylist_address": ("127.0.0.1", "127.0.0.1", "::1"),
}


@pytest.mark.parametrize("number, protocols", list(enumerate(("all", "ipv4", "ipv6"))))
def test_what_follows_the_families_of_a_host(number, protocols):
    found = defaults("bind", "postfix", "greylist", sokuhai_inet_protocols=protocols)
    assert {name: found[name] for name in FOLLOW} == {name: values[number] for name, values in FOLLOW.items()}


@pytest.mark.parametrize(
    "host, postfix, address",
    [("all", "ipv6", "::1"), ("all", "ipv4", "127.0.0.1"), ("ipv6", "all", "::1"), ("ipv6", "ipv4", "127.0.0.1")],
)
def test_greylisting_is_where_postfix_reaches_it(host, postfix, address):
    found = defaults("greylist", sokuhai_inet_protocols=host, greylist_inet_protocols=postfix)
    assert found["greylist_address"] == address


def test_a_jail_has_a_loopback_of_its_own():
    found = defaults(
        "bind", "greylist", sokuhai_inet_protocols="ipv4", greylist_inet_protocols="ipv4", sokuhai_loopback="127.0.1.2"
    )
    assert found["bind_listen_on"] == found["bind_host_name_servers"] == ["127.0.1.2"]
    assert found["greylist_address"] == "127.0.1.2"


def test_what_postfix_has_is_handed_on():
    handed_on = yaml.safe_load((ROOT / "playbooks/vars/handed_on.yml").read_text())
    assert handed_on["greylist_inet_protocols"] == "{{ postfix_inet_protocols }}"


def test_what_is_declared_wins():
    declared = {"greylist_address": "127.0.0.2", "bind_listen_on": ["192.0.2.10"], "bind_host_name_servers": ["::1"]}
    found = defaults("bind", "greylist", sokuhai_inet_protocols="ipv6", **declared)
    assert {name: found[name] for name in declared} == declared


def test_a_place_is_written_as_postfix_and_postgrey_read_it():
    assert [place(address, 10027) for address in ("127.0.0.1", "::1")] == ["127.0.0.1:10027", "[::1]:10027"]


# ---- the proofs of a set of Postfix


@pytest.mark.parametrize(
    "protocols, client, literal",
    [
        ("all", "192.0.2.254", "192.0.2.254"),
        ("ipv4", "192.0.2.254", "192.0.2.254"),
        ("ipv4, ipv6", "192.0.2.254", "192.0.2.254"),
        ("ipv6", "2001:db8::fe", "IPV6:2001:db8::fe"),
    ],
)
def test_a_stranger_comes_from_a_family_that_the_set_has(protocols, client, literal):
    values = {"inet_protocols": protocols}
    assert (family.stranger(values), family.literal(client)) == (client, literal)
    assert family.stranger(values, "198.51.100.7") == "198.51.100.7"


@pytest.mark.parametrize(
    "name, interfaces, protocols, address",
    [
        ("smtp", "all", "all", "127.0.0.1"),
        ("smtp", "all", "ipv4", "127.0.0.1"),
        ("smtp", "all", "ipv6", "::1"),
        ("smtp", "loopback-only", "all", "127.0.0.1"),
        ("smtp", "loopback-only", "ipv6", "::1"),
        ("smtp", "192.0.2.10, 2001:db8::10", "all", "192.0.2.10"),
        ("smtp", "[2001:db8::10]", "ipv6", "2001:db8::10"),
        ("0.0.0.0:smtp", "all", "all", "127.0.0.1"),
        ("[::]:smtp", "all", "all", "::1"),
        ("[::]:smtp", "192.0.2.10", "all", "::1"),
        ("192.0.2.10:smtp", "all", "ipv4", "192.0.2.10"),
        ("[2001:db8::10]:smtp", "all", "ipv6", "2001:db8::10"),
    ],
)
def test_a_listener_is_spoken_to_at_an_address_that_is_there(name, interfaces, protocols, address):
    values = {"inet_interfaces": interfaces, "inet_protocols": protocols}
    assert family.reached(name, values) == (address, "smtp")


def test_each_policy_service_is_found_in_whatever_list_or_class_it_stands():
    settings = [
        ("main.cf", "smtpd_recipient_restrictions", "permit_mynetworks, check_policy_service unix:private/a, reject"),
        ("main.cf", "check_client_na", "CHECK_POLICY_SERVICE inet:[::1]:10028 sleep 0"),
        ("main.cf", "check_client_ease", "check_policy_service { inet:127.0.0.1:1, default_action = DUNNO }"),
        ("smtp/inet", "smtpd_client_restrictions", "check_policy_service unix:private/a"),
        ("main.cf", "smtpd_sender_restrictions", "check_policy_service"),
    ]
    assert judge.policy_services(settings) == [
        "unix:private/a",
        "inet:[::1]:10028",
        "{ inet:127.0.0.1:1, default_action = DUNNO }",
    ]


# ---- what other modules ask


@pytest.mark.parametrize(
    "protocol, local, address",
    [
        ("tcp4", "*:25", "127.0.0.1"),
        ("tcp46", "*:25", "127.0.0.1"),
        ("tcp6", "*:25", "::1"),
        ("udp6", "*:53", "::1"),
        ("udp6", "::1:53", "::1"),
        ("tcp4", "192.0.2.10:25", "192.0.2.10"),
        ("udp6", "fe80::1%lo0:53", ""),
    ],
)
def test_a_trial_boot_asks_the_family_that_listens(protocol, local, address):
    assert util("kernel_serving").reachable(protocol, local) == address


def test_a_daemon_with_one_family_answers_a_rebuild(monkeypatch):
    swap = util("ports_swap")
    for there in ("127.0.0.1", "::1"):
        monkeypatch.setattr(swap, "answers_at", lambda address, _listen, there=there: address == there)
        assert swap.answers({"port": 25})
