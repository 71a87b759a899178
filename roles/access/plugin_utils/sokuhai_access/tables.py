# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The tables' entries: access(5), cidr_table(5), regexp_table(5); check_table_result() of smtpd_check.c carries their answers out."""

import ipaddress
import re

from .declared import DOMAIN, merged, network

#: Type of each table; "" is the indexed type of this Postfix. Those of traps come last: no sample can be declared for them.
TYPES = {
    "reject_sender": "",
    "reject_client": "",
    "reject_client_networks": "cidr",
    "reject_helo": "regexp",
    "check_dynamic_address": "cidr",
    "check_dynamic_client": "regexp",
    "check_client_country": "cidr",
    "check_client_others": "cidr",
    "client_country": "cidr",
    "country_tarpit": "cidr",
    "postscreen_access": "cidr",
    "trap_dynamic": "regexp",
    "trap_country": "cidr",
    "trap_client": "",
    "trap_helo": "",
    "trap_sender": "",
    "trap_recipient": "",
}
#: Looked up by address before check_dynamic_client, in which smtpd(8) would find the client's name first ("unknown" is one); and the class in
#: which everybody else meets that table. Both are there only where an exception is an address.
EXCEPTED, NAMED = "check_dynamic_address", "check_dynamic_name"
#: access(5): these, and a number alone, end a list with "yes". PERMIT is the restriction of that name.
YES = ("ok", "relay", "permit")
SAFE_YES = "permit_auth_destination"


def place(table):
    """Return how a restriction names *table*."""
    return f"{TYPES[table] or '$default_database_type'}:$config_directory/tables/{table}"


def safe_action(action, table, reason="", label=""):
    """Return what a table answers, so that it can refuse or skip, but never open anything.

    OK, RELAY, PERMIT and a number alone become permit_auth_destination, which is yes for this host's own domains only. A refusal gets a
    text (its own, else the reason) and the table's name, by which log and sender find the rule.
    """
    first, *more = str(action or "").split(None, 1) or ["REJECT"]
    rest = "".join(more)
    if first.lower() in YES or (first.isdigit() and not rest):
        return SAFE_YES
    if first.upper() in ("REJECT", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT") or re.fullmatch(r"[45]\d\d", first):
        text = rest or " ".join(str(reason or "").split()) or "refused here"
        return f"{first.upper()} {text} ({table}{': ' + label if label else ''})"
    return " ".join(str(action).split())


def _reason(entry):
    return " ".join(str(part) for part in (entry.get("date"), entry.get("reason")) if part)


def _posix(text):
    """Return a literal text inside a regular expression of regexp_table(5)."""
    return re.sub(r"([][\\.*^$+?(){}|/])", r"\\\1", str(text))


def is_network(pattern):
    """Return whether a pattern of access_client means addresses, and no name."""
    return ("/" in pattern and not pattern.startswith(("/", "!/"))) or network(pattern) is not None


def network_problems(pattern):
    """Yield what is wrong with a *pattern* for which is_network() holds."""
    given = network(pattern)
    if given is None:
        yield "is not a network like 192.0.2.0/24 or 2001:db8::/64"
    elif ipaddress.ip_interface(pattern).ip != given.network_address:
        yield f"has host bits set, the network is {given}; Postfix would skip the entry"
    elif given.prefixlen < (8 if given.version == 4 else 16):
        yield f"{given} is a large part of the internet; for a country use access_countries"


def entries(declared):
    """Return ({table: [{pattern, action, reason, origin}]}, problems): everything but countries and traps, and what is wrong with rules named in
    vain. origin: the variable and the name of an expression."""

    def plain(table, entry):
        action = safe_action(entry.get("action"), table, entry.get("reason"))
        return {"pattern": str(entry.get("pattern", "")), "reason": _reason(entry), "action": action}

    found = {"reject_sender": [plain("reject_sender", entry) for entry in declared["sender"]]}
    for table, networks in (("reject_client", False), ("reject_client_networks", True)):
        found[table] = [
            plain(table, entry) for entry in declared["client"] if is_network(str(entry.get("pattern", ""))) == networks
        ]
    found["reject_helo"], problems = _helo(declared)
    rules, found[EXCEPTED], more = _dynamic(declared)
    found["check_dynamic_client"] = [
        {key: rule[key] for key in ("pattern", "reason", "action", "origin")} for rule in rules
    ]
    found["trap_dynamic"] = [
        {**entry, "action": f"REJECT a dynamic address (trap_dynamic: {rule['name']})"}
        if entry["action"] != "DUNNO"
        else entry
        for rule, entry in zip(rules, found["check_dynamic_client"])
    ]
    return found, problems + more


def _helo(declared):
    host, domain = _posix(declared["hostname"]), _posix(declared["domain"])
    own = {}
    for rule in declared["helo_rules"]:
        pattern = rule["pattern"].replace("HOSTNAME", host).replace("DOMAIN", domain)
        # where host and domain are one name, the first rule holds
        own.setdefault(pattern, {**rule, "pattern": pattern})
    rules, problems = merged(own.values(), declared["helo"], "access_helo")
    return [
        {
            "pattern": rule.get("pattern", ""),
            "reason": f"{rule['name']}: {_reason(rule)}".rstrip(": "),
            "action": safe_action(rule.get("action"), "reject_helo", rule.get("reason"), rule["name"]),
            "origin": f"access_helo: {rule['name']}",
        }
        for rule in rules
    ], problems


def _dynamic(declared):
    """Return (rules, addresses, problems): exceptions by name, which have no name of their own, then rules that have one; exceptions by address."""
    # an exception without a name is known by its pattern
    given = [{**entry, "name": entry.get("name") or entry.get("pattern")} for entry in declared["dynamic_exceptions"]]
    exceptions, problems = merged(declared["dynamic_good"], given, "access_dynamic_exceptions")
    rules, more = merged(declared["dynamic_rules"], declared["dynamic"], "access_dynamic")
    found, addresses = [], []
    for entry in exceptions:
        pattern = str(entry.get("pattern", ""))
        if is_network(pattern):
            more += [f"access_dynamic_exceptions: {pattern} {said}" for said in network_problems(pattern)]
            addresses.append({"pattern": pattern, "reason": _reason(entry), "action": "DUNNO"})
            continue
        if not pattern.startswith("/"):
            if not DOMAIN.fullmatch(pattern):
                more.append(
                    f"access_dynamic_exceptions: {pattern!r} is neither a domain, an address, a network nor an expression between slashes"
                )
            pattern = rf"/(^|\.){_posix(pattern)}$/"
        origin = f"access_dynamic_exceptions: {entry['name']}"
        found.append({"pattern": pattern, "reason": _reason(entry), "action": "DUNNO", "name": "", "origin": origin})
    for rule in rules:
        found.append(
            {
                "pattern": rule.get("pattern", ""),
                "reason": rule.get("source") or rule.get("reason") or rule["name"],
                "action": rule.get("action") or "check_dynamic_client",
                "name": rule["name"],
                "origin": f"access_dynamic: {rule['name']}",
            }
        )
    if addresses:
        addresses += _everybody(NAMED)
    return found, addresses, problems + more


def _everybody(action):
    return [{"pattern": pattern, "action": action} for pattern in ("0.0.0.0/0", "::/0")]


def of_countries(networks, countries):
    """Return {table: entries} of the *networks* of countries, [(network, action, code)]. countries: access_countries, for the reasons."""
    names = ("client_country", "check_client_country", "check_client_others", "country_tarpit", "postscreen_access")
    found = {name: [] for name in (*names, "trap_country")}
    for pattern, action, code in networks:
        if action == "ease":
            answers = {
                "client_country": SAFE_YES,
                "check_client_country": "check_client_ease",
                "postscreen_access": "permit",
            }
        elif action == "tarpit":
            answers = {
                "check_client_others": "DUNNO",
                "country_tarpit": "check_client_na",
                "trap_country": f"REJECT a country that waits (trap_country: {code})",
            }
        else:
            said = countries.get(code)
            reason = said.get("reason") if isinstance(said, dict) else ""
            reason = reason or "mail from this country's networks is not accepted"
            answers = {"client_country": safe_action("REJECT", "client_country", reason, code)}
        for table, answer in answers.items():
            found[table].append({"pattern": pattern, "action": answer})
    if found["check_client_others"]:
        found["check_client_others"] += _everybody("check_client_na")
    return found
