# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role dkim's declared values come to, and what is refused without contacting a host."""

import re

import pytest
import yaml
from role_modules import ROOT, load

dkim = load("roles/dkim/filter_plugins/dkim.py")
SOCKET = "/var/run/sokuhai_dkim/milter.sock"


def declared(**changes):
    given = yaml.safe_load((ROOT / "roles/dkim/defaults/main.yml").read_text())
    given |= {
        "dkim_enabled": True,
        "dkim_selector": "mx",
        "dkim_spf_mode": "mark",
        "dkim_domains": [{"name": "home.example"}],
    }
    given["dkim_networks"] = given["dkim_mynetworks"]
    return given | {"dkim_" + name: value for name, value in changes.items()}


@pytest.mark.parametrize(
    "entries, nets",
    [
        (["127.0.0.0/8", "[::1]/128"], ["127.0.0.0/8", "::1/128"]),
        (["192.0.2.10", "[2001:db8::]/32"], ["192.0.2.10/32", "2001:db8::/32"]),
        # the first that matches decides
        (["!192.0.2.1", "192.0.2.0/31"], ["192.0.2.0/32"]),
        (["192.0.2.0/31", "!192.0.2.1"], ["192.0.2.0/31"]),
        (["!192.0.2.0/24", "192.0.2.7"], []),
    ],
)
def test_mynetworks_is_read_as_postfix_reads_it(entries, nets):
    assert dkim.networks(entries) == (nets, [])


@pytest.mark.parametrize("entry", ["hash:/etc/nets", "/etc/nets", "$config_directory/nets", "192.0.2.300"])
def test_what_only_postfix_can_read_is_refused_by_its_variable(entry):
    (said,) = dkim.problems(declared(networks=[entry]), SOCKET)
    assert said.startswith("dkim_networks: ") and entry in said


def test_strangers_ask_the_signer_only_where_they_are_checked():
    def inbound(**changes):
        made = dkim.postfix(declared(**changes), SOCKET)
        return {item["name"]: item["value"] for item in made["main_cf"]}, made

    found, made = inbound()
    outgoing = f"{{ unix:{SOCKET}, default_action=tempfail }}"
    assert found["smtpd_milters"] == found["non_smtpd_milters"] == outgoing
    assert found["sokuhai_inbound_milters"] == ""
    assert made["master_cf"][0]["options"]["smtpd_milters"] == "$sokuhai_inbound_milters"
    assert made["tables"][0]["entries"][0] == {"pattern": "127.0.0.0/8", "action": outgoing}
    assert inbound(verify=True)[0]["sokuhai_inbound_milters"].endswith("default_action=accept }")
    assert inbound(verify=True, inbound_down="defer")[0]["sokuhai_inbound_milters"].endswith(
        "default_action=tempfail }"
    )
    assert inbound(down="accept")[0]["smtpd_milters"].endswith("default_action=accept }")


AUTH25 = [{"name": "smtpd_sasl_auth_enable", "value": True}]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, None),
        ({"domains": [{"name": "home"}]}, ["dkim_domains[0]", "'home'"]),
        ({"domains": [{"name": "bücher.example"}]}, ["dkim_domains[0]", "xn--bcher-kva.example"]),
        ({"domains": [{"name": "Home.example"}]}, ["dkim_domains[0]", "home.example"]),
        ({"domains": [{"name": "a.example"}, {"name": "a.example"}]}, ["dkim_domains[1]", "twice"]),
        ({"domains": [{"name": "a.example", "selector": "x"}]}, ["dkim_domains[0]", "go together"]),
        ({"domains": [{"name": "a.example", "selector": "x_y", "key": "/k"}]}, ["dkim_domains[0]", "'x_y'", "label"]),
        ({"domains": [{"name": "a.example", "selector": "x", "key": "keys/k"}]}, ["dkim_domains[0]", "path on the host"]),
        ({"domains": [{"name": "a.example", "selector": "x", "key": "/k"}]}, None),
        ({"selector": "my_mx"}, ["dkim_selector", "'my_mx'", "label"]),
        ({"selector": "m" * 51}, ["dkim_selector", "50"]),
        ({"rotate": ["other.example"]}, ["dkim_rotate", "other.example", "home.example"]),
        ({"dmarc": "refuse"}, ["dkim_dmarc", "dkim_verify: true"]),
        ({"dmarc": "refuse", "verify": True, "spf_mode": "none"}, ["dkim_dmarc", "sokuhai_spf"]),
        ({"dmarc": "refuse", "verify": True}, None),
        ({"exempt": ["0.0.0.0/0"]}, ["dkim_exempt", "everybody"]),
        ({"exempt": ["mail.example"]}, ["dkim_exempt", "mail.example"]),
        ({"enabled": False}, ["dkim_enabled", "dkim_domains: []"]),
        ({"domains": []}, ["dkim_enabled", "dkim_verify: true"]),
        # milters of the inventory's own
        ({"beside": [{"name": "smtpd_milters", "value": "inet:127.0.0.1:8891"}]}, ["smtpd_milters", "inet:127.0.0.1:8891, { unix:" + SOCKET]),
        ({"beside": [{"name": "smtpd_milters", "value": f"inet:127.0.0.1:8891, unix:{SOCKET}"}]}, None),
        ({"beside": [{"name": "non_smtpd_milters", "value": ""}]}, ["non_smtpd_milters", "nothing"]),
        ({"beside": [{"name": "smtpd_milters", "value": "x", "state": "absent"}]}, None),
        ({"beside": AUTH25}, ["dkim_inbound_down", "port 25"]),
        ({"beside": AUTH25, "verify": True, "inbound_down": "defer"}, None),
        ({"beside": [{"name": "x", "value": None}]}, None),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_by_name(changes, words):
    said = dkim.problems(declared(**changes), SOCKET)
    if words is None:
        assert said == []
    else:
        assert len(said) == 1 and [word for word in words if word not in said[0]] == []


def test_without_anything_declared_nothing_is_judged():
    off = declared(
        enabled=False, domains=[], networks=["hash:/x"], beside=[{"name": "smtpd_milters", "value": "inet:localhost:1"}]
    )
    assert dkim.problems(off, SOCKET) == []


def test_a_record_is_split_where_a_string_ends():
    (about, line) = dkim.lines(
        [{"role": "next", "type": "rsa", "bits": 2048, "name": "s._domainkey.a.example", "value": "p=" + "A" * 300}]
    )
    assert (
        about == "; next: rsa, 2048 bits"
        and line.startswith("s._domainkey.a.example. 3600 IN TXT (")
        and line.count('"') == 4
    )


def test_the_configuration_names_no_worker_that_the_package_may_lack():
    """mail/rspamd is built without hyperscan and its worker; rspamd refuses a configuration that names one it has not."""
    conf = (ROOT / "roles/dkim/templates/usr/local/etc/sokuhai-dkim/rspamd.conf.j2").read_text()
    assert re.findall(r'^worker "(\w+)"', conf, re.M) == ["rspamd_proxy"]
