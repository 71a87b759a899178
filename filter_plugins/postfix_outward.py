# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How mail leaves: by a smarthost, and how sure of TLS. What main.cf and its tables have of it, and what is declared wrongly.

Pure functions. Rules: SASL_README, TLS_README, postconf(5) of Postfix 3.7 to 3.11.
"""

import pathlib
import re
import sys

# Ansible loads each filter file by its path, without a package
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postfix_items import domain_problem

#: Levels of smtp_tls_policy_maps, by the word of the inventory. secure compares the certificate with the host's name.
LEVELS = {"verify": "secure", "encrypt": "encrypt", "none": "none"}
#: RFC 8314: TLS from the first byte. Elsewhere STARTTLS.
WRAPPED = 465
#: certctl(8) keeps the CAs' certificates there.
CERTIFICATES = "/etc/ssl/certs"
GROUP = {"group": "Smarthost", "weight": 360}
TABLE = "$default_database_type:$config_directory/tables/"
#: What a smarthost sets; and the tables that it brings.
PARAMETERS = (
    "relayhost",
    "smtp_sasl_auth_enable",
    "smtp_sasl_password_maps",
    "smtp_sasl_tls_security_options",
    "smtp_tls_policy_maps",
    "smtp_tls_wrappermode",
    "smtp_tls_CAfile",
    "smtp_tls_CApath",
)
TABLES = ("sasl_passwd", "tls_policy")
#: What postfix_dane sets.
DANE = ("smtp_tls_security_level", "smtp_dns_support_level")
NOT_VALIDATING = (
    "postfix_dane: DANE rests on answers that this host's own named has validated, and Postfix believes whatever resolver it asks: set "
    "bind_use_for_host: true and bind_dnssec_validation: auto, or postfix_dane: false"
)


def whole(smarthost):
    """Return a smarthost with every key, or {} for none."""
    given = {key: value for key, value in (smarthost or {}).items() if value not in (None, "")}
    return {"host": "", "port": 587, "user": "", "password": "", "tls": "verify", "ca": "", **given} if given else {}


def nexthop(smarthost):
    """Return the destination as relayhost and the tables have it: in brackets, since the name is a host's, not a domain's."""
    return f"[{smarthost['host']}]:{int(smarthost['port'])}"


def postfix_smarthost_items(smarthost):
    """Return the items of main.cf for a smarthost {host, port, user, password, tls, ca}; [] for {}."""
    smarthost = whole(smarthost)
    if not smarthost:
        return []
    items = [
        {"name": "relayhost", "value": nexthop(smarthost), "comment": "all that is not for this host goes there"},
        {"name": "smtp_tls_policy_maps", "value": f"{TABLE}tls_policy"},
    ]
    if smarthost["tls"] == "verify":
        # without one of the two Postfix trusts no certificate
        ca = {"name": "smtp_tls_CAfile", "value": smarthost["ca"]}
        items.append(ca if smarthost["ca"] else {"name": "smtp_tls_CApath", "value": CERTIFICATES})
    if int(smarthost["port"]) == WRAPPED:
        items.append({"name": "smtp_tls_wrappermode", "value": True, "comment": "TLS from the first byte (RFC 8314)"})
    if smarthost["user"]:
        items += [
            {"name": "smtp_sasl_auth_enable", "value": True},
            {"name": "smtp_sasl_password_maps", "value": f"{TABLE}sasl_passwd"},
            {
                "name": "smtp_sasl_tls_security_options",
                "value": ["noanonymous"],
                "comment": "the password itself, by PLAIN or LOGIN, within TLS only: smtp_sasl_security_options has noplaintext",
            },
        ]
    return [{**GROUP, **item} for item in items]


def postfix_smarthost_tables(smarthost):
    """Return the tables {name, entries, secret} for a smarthost; [] for {}."""
    smarthost = whole(smarthost)
    if not smarthost:
        return []
    tables = [
        {"name": "tls_policy", "entries": [{"pattern": nexthop(smarthost), "action": LEVELS[smarthost["tls"]]}]},
    ]
    if smarthost["user"]:
        # a password that is not there was taken out where secrets are not shown
        login = f"{smarthost['user']}:{smarthost['password']}"
        tables.append({"name": "sasl_passwd", "entries": [{"pattern": nexthop(smarthost), "action": login}]})
    return tables


def postfix_smarthost_problems(smarthost):
    """Return what is wrong with the variable sokuhai_smarthost, a list of sentences that show no secret."""
    if not smarthost:
        return []
    return [f"sokuhai_smarthost.{problem}" for problem in _problems(whole(smarthost))]


def _problems(smarthost):
    given, host = smarthost, str(smarthost.get("host", ""))
    problem = domain_problem(host)
    if problem or re.fullmatch(r"[0-9.]+", host):
        problem = problem or f"is {host!r}: an address is on no certificate"
        yield f"host {problem}; set the name that the provider gives, without brackets, such as smtp.provider.example"
    if not 1 <= int(given.get("port", 1)) <= 65535:
        yield f"port is {given['port']}: 587 (STARTTLS), 465 (TLS from the first byte), or the provider's own, 1 to 65535"
    user, password = str(given.get("user", "")), str(given.get("password", ""))
    if bool(user) != bool(password):
        missing = "password" if user else "user"
        yield f"{missing} is empty: user and password go together; leave both out for a smarthost that knows this host by its address"
    if re.search(r"[:\s]", user):
        yield "user has a colon or white space in it, where Postfix would cut it (SASL_README)"
    if password != password.strip() or re.search(r"[\x00-\x1f\x7f]", password):
        yield "password has white space at an end or a control character, which a table of Postfix cannot hold"
    if given.get("tls") == "none":
        if user or password:
            yield "tls is none, and the password would cross the network in clear: set verify, or encrypt for a certificate that no CA signed"
        elif int(given.get("port", 0)) == WRAPPED:
            yield f"tls is none, but port {WRAPPED} is TLS from the first byte: set verify, or port 25"
    if given.get("ca"):
        if given["tls"] != "verify":
            yield f"ca is of no use with tls: {given['tls']}: set verify, or leave it out"
        elif not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", str(given["ca"])):
            yield f"ca is {given['ca']!r}: an absolute path on the host is needed, such as /usr/local/etc/ssl/ca.pem"


def postfix_smarthost_twice(smarthost, main_cf, tables):
    """Return what of a smarthost is declared in *main_cf* (items) or *tables* as well, a list of sentences."""
    if not smarthost:
        return []
    found = [f"postfix_main_cf: {item['name']}" for item in main_cf if item["name"] in PARAMETERS]
    found += [f"postfix_tables: {table['name']}" for table in tables if table["name"] in TABLES]
    return [f"{one} is written by sokuhai_smarthost: leave one of the two out" for one in found]


def postfix_mta_sts_items(daemon):
    """Return the items of main.cf with which Postfix asks the *daemon* {address, port} for MTA-STS policies; [] for {}."""
    if not daemon:
        return []
    address = f"[{daemon['address']}]" if ":" in daemon["address"] else daemon["address"]
    asked = {
        "name": "smtp_tls_policy_maps",
        "value": f"socketmap:inet:{address}:{daemon['port']}:postfix",
        "comment": "MTA-STS: where a domain's policy is in mode enforce, to its servers alone, with a certificate of a CA",
    }
    return [
        {"group": "TLS", "weight": 350, **item} for item in (asked, {"name": "smtp_tls_CApath", "value": CERTIFICATES})
    ]


def postfix_mta_sts_problems(declared):
    """Return what of MTA-STS is declared otherwise as well, a list of sentences. declared: the role's variables, each of its type."""
    if not declared["postfix_mta_sts"]:
        return []
    problems = [
        "postfix_main_cf: smtp_tls_policy_maps is written by sokuhai_mta_sts: leave one of the two out"
        for item in declared["postfix_main_cf"]
        if item["name"] == "smtp_tls_policy_maps"
    ]
    if declared["postfix_smarthost"]:
        problems.append(
            "sokuhai_mta_sts: with sokuhai_smarthost no mail goes to the servers that the policies are about: set it to false"
        )
    return problems


def postfix_dane_problems(declared):
    """Return what keeps DANE (postfix_dane) from working, a list of sentences. declared: the role's variables, each of its type."""
    if not declared["postfix_dane"]:
        return []
    problems = [] if declared["postfix_validates"] else [NOT_VALIDATING]
    for item in declared["postfix_main_cf"]:
        name, value = item["name"], str(item.get("value") or "")
        if name in DANE:
            problems.append(f"postfix_main_cf: {name} is written by postfix_dane: leave one of the two out")
        elif name == "smtp_host_lookup" and "dns" not in value and item.get("state") != "absent":
            problems.append(
                f"postfix_main_cf: smtp_host_lookup is {value!r}: postfix_dane needs dns in it (postconf(5))"
            )
    return problems


class FilterModule:
    def filters(self):
        return {
            "postfix_smarthost_items": postfix_smarthost_items,
            "postfix_smarthost_tables": postfix_smarthost_tables,
            "postfix_smarthost_problems": postfix_smarthost_problems,
            "postfix_smarthost_twice": postfix_smarthost_twice,
            "postfix_mta_sts_items": postfix_mta_sts_items,
            "postfix_mta_sts_problems": postfix_mta_sts_problems,
            "postfix_dane_problems": postfix_dane_problems,
        }
