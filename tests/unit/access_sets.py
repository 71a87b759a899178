"""What role access is declared with in the unit tests, and what is in the set that it makes of that."""

import copy
import re

import yaml
from role_modules import ROOT, load

access = load("roles/access/filter_plugins/access.py")
from sokuhai_access import dnsbl
from sokuhai_access.lists import access_set

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


def first_match(key, entries):
    """What a table of these expressions [{pattern, action}] answers to *key*, "" for nothing. Python's expressions are good for the role's own, which
    use nothing in which they differ from POSIX's."""
    return next((one["action"] for one in entries if re.search(one["pattern"].strip("/"), key, re.IGNORECASE)), "")
