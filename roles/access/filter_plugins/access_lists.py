# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Restriction lists, classes and tables of smtpd(8) and postscreen(8) as named items, made into what role postfix writes.

Everything here is pure (no file, no host). Rules of the lists: SMTPD_ACCESS_README, access(5), postconf(5), cidr_table(5),
regexp_table(5), RESTRICTION_CLASS_README and POSTSCREEN_README of Postfix 3.7 to 3.11, and check_table_result() and
generic_checks() of smtpd_check.c, where a table's answer and warn_if_reject are carried out.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import re

LISTS = ("client", "helo", "sender", "recipient", "data", "end_of_data")
TRAP_LISTS = ("client", "helo", "sender", "recipient")
INDEXED_VALUE = "$default_database_type:$config_directory/tables/{}"
TYPED_VALUE = "{}:$config_directory/tables/{}"
TABLE_TYPES = {
    "reject_sender": "",
    "reject_client": "",
    "reject_client_networks": "cidr",
    "reject_helo": "regexp",
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
SAMPLED = (
    "reject_sender",
    "reject_client",
    "reject_client_networks",
    "reject_helo",
    "check_dynamic_client",
    "check_client_country",
    "check_client_others",
    "client_country",
    "country_tarpit",
    "postscreen_access",
)

# access(5): these, and a number alone, end a list with "yes". PERMIT is the restriction of that name.
YES = ("ok", "relay", "permit")
SAFE_YES = "permit_auth_destination"
NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]*$")
LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
DOMAIN = re.compile(rf"^{LABEL}(\.{LABEL})*$")


def near(word, words):
    """', did you mean X?' for the nearest of words, or nothing."""
    match = difflib.get_close_matches(str(word), [str(one) for one in words], 1, 0.5)
    return f", did you mean {match[0]}?" if match else f" ({', '.join(map(str, words))})"


# --- lists and changes ------------------------------------------------------------------------------------------------------


def _place(items, change, say, where):
    """Index in items where a change puts its item, or None when that is unknown."""
    names = [item["name"] for item in items]
    anchors = [key for key in ("before", "after") if change.get(key)]
    if len(anchors) > 1:
        say(f"{where}: before and after cannot both be said")
        return None
    if anchors:
        anchor = change[anchors[0]]
        if anchor not in names:
            say(f"{where}: the list has no item {anchor!r}{near(anchor, names)}")
            return None
        return names.index(anchor) + (anchors[0] == "after")
    # Nothing is asked after a permit or reject that ends the list.
    last = items[-1] if items else {}
    return len(items) - (str(last.get("value", last.get("name"))).lower() in ("permit", "reject", "defer", SAFE_YES))


def access_changed(lists, changes):
    """Apply access_changes to {list or class: [items]}.

    changes: [{list, and one of insert: {name, value, reason}, remove: name, move: name, replace: {name, value, reason};
    before or after: name}]. Returns (changed lists, problems); problems is a list of sentences beginning with access_changes.
    """
    changed = {name: [dict(item) for item in items] for name, items in lists.items()}
    found = []
    for number, change in enumerate(changes or [], 1):
        where = f"access_changes[{number}]"

        def say(sentence):
            found.append(sentence)

        target = str(change.get("list") or "")
        verbs = [verb for verb in ("insert", "remove", "move", "replace") if change.get(verb)]
        if target in ("relay", "smtpd_relay_restrictions"):
            say(
                f"{where}: the relay list is no matter of spam and is not changed here: postfix_restrictions.smtpd_relay_restrictions"
            )
            continue
        short = re.sub(r"^smtpd_(.*)_restrictions$", r"\1", target)
        if short not in changed:
            say(f"{where}: {target!r} is no list and no class{near(short, changed)}")
            continue
        if len(verbs) != 1:
            say(f"{where}: one of insert, remove, move, replace is needed, here are {', '.join(verbs) or 'none'}")
            continue
        items, verb = changed[short], verbs[0]
        names = [item["name"] for item in items]
        subject = change[verb] if isinstance(change[verb], dict) else {"name": change[verb]}
        name = str(subject.get("name") or "")
        if verb in ("insert", "replace"):
            if not NAME.match(name):
                say(
                    f"{where}: {verb} needs an item {{name, value}}, its name {name!r} is a letter, then letters, digits, . _ -"
                )
                continue
            if not str(subject.get("value") or name).strip():
                say(f"{where}: {name} has no value")
                continue
        if verb == "insert":
            if name in names:
                say(f"{where}: {short} has an item {name} already; replace or move it")
                continue
        elif name not in names:
            say(f"{where}: {short} has no item {name!r}{near(name, names)}")
            continue
        if verb == "remove":
            del items[names.index(name)]
        elif verb == "replace":
            items[names.index(name)] = dict(subject)
        elif verb == "move":
            if not change.get("before") and not change.get("after"):
                say(f"{where}: move needs before or after")
                continue
            if name in (change.get("before"), change.get("after")):
                say(f"{where}: {name} cannot stand beside itself")
                continue
            item = items.pop(names.index(name))
            place = _place(items, change, say, where)
            items.insert(names.index(name) if place is None else place, item)
        else:
            place = _place(items, change, say, where)
            if place is not None:
                items.insert(place, dict(subject))
    for name, items in changed.items():
        for before, after in zip(items, items[1:]):
            value = str(before.get("value", before["name"])).lower()
            if value in ("permit", "reject", "defer"):
                found.append(
                    f"access_changes: {name}: {after['name']} stands after {before['name']}, where Postfix would never come to it"
                )
                break
    return changed, found


# --- tables -----------------------------------------------------------------------------------------------------------------


def safe_action(action, table, reason="", label=""):
    """What a table answers, so that it can refuse or skip, but never open anything.

    OK, RELAY, PERMIT and a number alone (access(5): all of them yes) become permit_auth_destination, which is yes for this host's
    own domains only. A refusal gets a text (its own, else the reason) and the table's name, by which log and sender find the rule.
    """
    words = str(action or "").split(None, 1)
    if not words:
        words = ["REJECT"]
    first, rest = words[0], words[1] if len(words) > 1 else ""
    if first.lower() in YES or first.isdigit() and not rest:
        return SAFE_YES
    if first.upper() in ("REJECT", "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT") or re.fullmatch(r"[45]\d\d", first):
        told = rest or " ".join(str(reason or "").split()) or "refused here"
        return f"{first.upper()} {told} ({table}{': ' + label if label else ''})"
    return " ".join(str(action).split())


def _posix(text):
    """A literal text inside a regular expression of regexp_table(5)."""
    return re.sub(r"([][\\.*^$+?(){}|/])", r"\\\1", str(text))


def _network(value):
    try:
        return ipaddress.ip_network(str(value).strip(), strict=False)
    except ValueError:
        return None


def _merged(base, extra, say, variable):
    """Entries merged by name, new ones before the base's, state absent taken away."""
    known = {entry["name"]: dict(entry) for entry in base}
    ahead = {}
    for entry in extra or []:
        name = str(entry.get("name") or "")
        if not name:
            say(f"{variable}: an entry needs a name")
            continue
        given = {key: value for key, value in entry.items() if value is not None}
        if given.get("state", "present") == "absent":
            if name not in known:
                say(f"{variable}: there is no entry {name!r} to take away{near(name, known)}")
            known.pop(name, None)
        elif name in known:
            known[name].update(given)
        else:
            ahead[name] = given
    return list(ahead.values()) + list(known.values())


def _entries(declared, say):
    """{table: entries} of everything but the countries and traps."""
    tables = {}
    tables["reject_sender"] = [
        {
            "pattern": str(entry.get("pattern", "")),
            "reason": _reason(entry),
            "action": safe_action(entry.get("action"), "reject_sender", entry.get("reason")),
        }
        for entry in declared["sender"]
    ]
    names, networks = [], []
    for entry in declared["client"]:
        pattern = str(entry.get("pattern", ""))
        table = "reject_client_networks" if "/" in pattern or _network(pattern) else "reject_client"
        (networks if table == "reject_client_networks" else names).append(
            {
                "pattern": pattern,
                "reason": _reason(entry),
                "action": safe_action(entry.get("action"), table, entry.get("reason")),
            }
        )
    tables["reject_client"], tables["reject_client_networks"] = names, networks

    host, domain = _posix(declared["hostname"]), _posix(declared["domain"])
    rules = []
    for rule in declared["helo_rules"]:
        pattern = rule["pattern"].replace("HOSTNAME", host).replace("DOMAIN", domain)
        if pattern not in [other["pattern"] for other in rules]:
            rules.append({**rule, "pattern": pattern})
    tables["reject_helo"] = [
        {
            "pattern": rule.get("pattern", ""),
            "reason": f"{rule['name']}: {_reason(rule)}".rstrip(": "),
            "action": safe_action(rule.get("action"), "reject_helo", rule.get("reason"), rule["name"]),
        }
        for rule in _merged(rules, declared["helo"], say, "access_helo")
    ]

    rules = []
    # An exception without a name is known by its pattern.
    exceptions = [
        {**entry, "name": entry.get("name") or entry.get("pattern")} for entry in declared["dynamic_exceptions"]
    ]
    for entry in _merged(declared["dynamic_good"], exceptions, say, "access_dynamic_exceptions"):
        pattern = str(entry.get("pattern", ""))
        if not pattern.startswith("/"):
            if not DOMAIN.match(pattern):
                say(f"access_dynamic_exceptions: {pattern!r} is neither a domain nor an expression between slashes")
            pattern = rf"/(^|\.){_posix(pattern)}$/"
        rules.append({"pattern": pattern, "reason": _reason(entry), "action": "DUNNO", "name": ""})
    for rule in _merged(declared["dynamic_rules"], declared["dynamic"], say, "access_dynamic"):
        rules.append(
            {
                "pattern": rule.get("pattern", ""),
                "reason": rule.get("source") or rule.get("reason") or rule["name"],
                "action": rule.get("action") or "check_dynamic_client",
                "name": rule["name"],
            }
        )
    tables["check_dynamic_client"] = [{key: rule[key] for key in ("pattern", "reason", "action")} for rule in rules]
    tables["trap_dynamic"] = [
        {
            "pattern": rule["pattern"],
            "reason": rule["reason"],
            "action": "DUNNO"
            if rule["action"] == "DUNNO"
            else f"REJECT a dynamic address (trap_dynamic: {rule['name']})",
        }
        for rule in rules
    ]
    return tables


def _reason(entry):
    date = entry.get("date")
    return " ".join(part for part in (str(date) if date else "", str(entry.get("reason") or "")) if part)


def _country_entries(text, countries):
    """{table: entries} from the networks by action, "NETWORK ACTION [CC]" a line (country_table's text)."""
    tables = {
        "client_country": [],
        "check_client_country": [],
        "check_client_others": [],
        "country_tarpit": [],
        "postscreen_access": [],
        "trap_country": [],
    }
    for line in str(text or "").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        network, action, *country = line.split()
        country = country[0] if country else ""
        if action == "ease":
            tables["client_country"].append({"pattern": network, "action": SAFE_YES})
            tables["check_client_country"].append({"pattern": network, "action": "check_client_ease"})
            tables["postscreen_access"].append({"pattern": network, "action": "permit"})
        elif action == "tarpit":
            tables["check_client_others"].append({"pattern": network, "action": "DUNNO"})
            tables["country_tarpit"].append({"pattern": network, "action": "check_client_na"})
            tables["trap_country"].append(
                {"pattern": network, "action": f"REJECT a country that waits (trap_country: {country})"}
            )
        elif action == "refuse":
            said = (countries or {}).get(country)
            reason = said.get("reason") if isinstance(said, dict) else ""
            tables["client_country"].append(
                {
                    "pattern": network,
                    "action": safe_action(
                        "REJECT",
                        "client_country",
                        reason or "mail from this country's networks is not accepted",
                        country,
                    ),
                }
            )
    if tables["check_client_others"]:
        tables["check_client_others"] += [
            {"pattern": everybody, "action": "check_client_na"} for everybody in ("0.0.0.0/0", "::/0")
        ]
    return tables


# --- DNSBLs -----------------------------------------------------------------------------------------------------------------


def filter_holds(pattern, address):
    """Whether a return-code filter (postconf(5) reject_rbl_client: d.d.d.d, where d is a number or [n;n..n]) takes an IPv4
    address. Raises ValueError for a filter that is none."""
    octets = re.findall(
        r"\[[^\]]*\]|[^.\[\]]+", re.sub(r"\.(?![^\[]*\])", " . ", pattern).replace(" . ", "\0").replace("\0", " ")
    )
    octets = [part for octet in octets for part in octet.split(" ") if part]
    if len(octets) != 4:
        raise ValueError(f"{pattern!r} is no filter like 127.0.0.[2..11] or 127.0.0.2")
    for octet, number in zip(octets, str(address).split(".")):
        held = False
        for part in octet.strip("[]").split(";"):
            match = re.fullmatch(r"(\d{1,3})(?:\.\.(\d{1,3}))?", part)
            if not match or (match[2] and not octet.startswith("[")):
                raise ValueError(f"{pattern!r} is no filter like 127.0.0.[2..11] or 127.0.0.2")
            low, high = int(match[1]), int(match[2] or match[1])
            if low > 255 or high > 255 or low > high:
                raise ValueError(f"{pattern!r}: {part} is no octet or range of octets")
            held = held or low <= int(number) <= high
        if not held:
            return False
    return True


def access_dnsbl_lists(base, extra, fates=None):
    """The declared DNSBLs {name, filter, weight, reason} merged by name; what is in fates is left out.

    For access_dnsbl_health each also has kind: allow when its weight is below 0, else block.
    """
    lists = [
        entry
        for entry in _merged(base, extra, lambda sentence: None, "access_dnsbl")
        if entry["name"] not in (fates or {})
    ]
    return [
        {
            "name": entry["name"],
            "filter": entry.get("filter", ""),
            "weight": int(entry.get("weight", 1)),
            "reason": entry.get("reason", ""),
            "kind": "allow" if int(entry.get("weight", 1)) < 0 else "block",
        }
        for entry in lists
    ]


def _dnsbl_problems(declared, say):
    merged = _merged(declared["dnsbl_base"], declared["dnsbl"], say, "access_dnsbl")
    for entry in merged:
        name = str(entry["name"])
        where = f"access_dnsbl: {name}"
        fate = declared["dnsbl_fates"].get(name.lower().rstrip("."))
        if fate:
            say(f"{where}: is not to be asked: {fate}")
            continue
        if not DOMAIN.match(name) or "." not in name:
            say(f"{where}: is no zone like zen.spamhaus.org")
        pattern = str(entry.get("filter") or "")
        if not pattern:
            say(f"{where}: has no filter; without one any answer counts, the list's own error codes included")
            continue
        try:
            for code in ("127.255.255.252", "127.255.255.254", "127.255.255.255"):
                if filter_holds(pattern, code):
                    say(
                        f"{where}: filter {pattern} takes {code}, by which lists say that they do not serve this resolver"
                    )
                    break
            if not any(
                filter_holds(pattern, f"127.0.{third}.{last}") for third in range(256) for last in (*range(1, 128), 255)
            ) and not pattern.startswith("127."):
                say(f"{where}: filter {pattern} is not below 127, where lists answer (RFC 5782)")
        except ValueError as error:
            say(f"{where}: filter {error}")
        try:
            weight = int(entry.get("weight", 1))
        except (TypeError, ValueError):
            say(f"{where}: weight {entry.get('weight')!r} is no whole number")
            continue
        if weight == 0:
            say(f"{where}: weight 0 does nothing; state: absent takes a list away")
        if weight < 0 and declared["profile"] == "article":
            say(f"{where}: a weight below 0 (an allow list) is for postscreen(8), profile current")


# --- samples ----------------------------------------------------------------------------------------------------------------


def sample_keys(table, key):
    """The keys that smtpd(8) would look up, in its order: access(5)."""
    key = str(key)
    if table == "reject_sender":
        key = key.lower()
        local, at, domain = key.rpartition("@")
        return [key, *_parents(domain), f"{local}@"] if at else [key]
    if table == "reject_client":
        return _parents(key.lower()) if not _network(key) else [key]
    return [key]


def _parents(domain):
    labels = str(domain).split(".")
    return [".".join(labels[place:]) for place in range(len(labels))]


def _python(pattern):
    """An expression of regexp_table(5) for Python, or None when they differ too much to tell."""
    negated = pattern.startswith("!")
    bare = pattern[1:] if negated else pattern
    end = bare.rfind(bare[0])
    body, flags = bare[1:end], bare[end + 1 :]
    for name, members in (
        ("digit", "0-9"),
        ("alpha", "A-Za-z"),
        ("alnum", "A-Za-z0-9"),
        ("space", r"\s"),
        ("xdigit", "0-9A-Fa-f"),
    ):
        body = body.replace(f"[:{name}:]", members)
    if "[[:" in body or "[:" in body or flags.strip("imx"):
        return None
    try:
        # Without flags regexp tables are case-insensitive; i turns that off.
        return negated, re.compile(body, 0 if "i" in flags else re.IGNORECASE)
    except re.error:
        return None


def lookup(table, entries, keys):
    """What a table answers to the first key it knows: text, '' for nothing, None where only Postfix itself can tell."""
    kind = TABLE_TYPES.get(table, "")
    for key in keys:
        if kind == "cidr":
            try:
                address = ipaddress.ip_address(key)
            except ValueError:
                continue
            for entry in entries:
                network = _network(entry["pattern"])
                if network is None:
                    return None
                if network.version == address.version and address in network:
                    return entry["action"]
        elif kind == "regexp":
            for entry in entries:
                if not str(entry["pattern"]).startswith(("/", "!/")):
                    return None
                rule = _python(str(entry["pattern"]))
                if rule is None:
                    return None
                if bool(rule[1].search(key)) != rule[0]:
                    return entry["action"]
        else:
            for entry in entries:
                if str(entry["pattern"]).lower() == key.lower():
                    return entry["action"]
    return ""


def answers(got, expected):
    """Whether an answer is the expected one: the same, or it begins with it; nothing where nothing is expected."""
    got, expected = str(got or ""), str(expected or "")
    if not expected or not got:
        return got == expected
    expected = SAFE_YES if expected.lower() in YES else expected
    return got == expected or got.startswith(expected + " ")


def _samples(declared, tables):
    """The user's samples, and those of the role's own that the user's entries have not made untrue."""
    kept = []
    for sample in declared["own_samples"]:
        got = lookup(sample["table"], tables.get(sample["table"], []), sample_keys(sample["table"], sample["key"]))
        if got is None or answers(got, sample.get("expect")):
            kept.append(sample)
    return kept + list(declared["samples"])


def _samples_of(declared, tables, table):
    return [
        {
            "keys": sample_keys(table, one["key"]),
            "expect": SAFE_YES if str(one.get("expect") or "").lower() in YES else str(one.get("expect") or ""),
        }
        for one in _samples(declared, tables)
        if one.get("table") == table
    ]


def _sample_problems(declared, tables, say):
    for number, sample in enumerate(declared["samples"], 1):
        table = sample.get("table")
        where = f"access_samples[{number}]"
        if table not in SAMPLED:
            say(f"{where}: no table {table!r}{near(table, SAMPLED)}")
        elif table in tables:  # the networks of countries are read later
            got = lookup(table, tables[table], sample_keys(table, sample["key"]))
            if got is not None and not answers(got, sample.get("expect")):
                say(
                    f"{where}: {table} answers {sample['key']} with {got or 'nothing'}, expected is {sample.get('expect') or 'nothing'}"
                )


# --- the whole --------------------------------------------------------------------------------------------------------------


def _value(item, declared, tables, healthy):
    """An item's value as a list of restrictions (one but for dnsbl); empty when the item is left out."""
    if item.get("table"):
        if not tables.get(item["table"]):
            return []
        kind = TABLE_TYPES[item["table"]]
        place = TYPED_VALUE.format(kind, item["table"]) if kind else INDEXED_VALUE.format(item["table"])
        return [f"{item['check']} {place}"]
    if item.get("service"):
        service = _service(declared["services"], item["service"])
        return (
            [
                service
                if service.startswith(("check_policy_service", "warn_if_reject"))
                else f"check_policy_service {service}"
            ]
            if service
            else []
        )
    if item.get("others") and tables["check_client_others"]:
        return [f"check_client_access {TYPED_VALUE.format('cidr', 'check_client_others')}"]
    if item.get("sleep"):
        seconds = int(declared[f"sleep_{item['sleep']}"])
        # master(8) starts smtpd(8) with stress=yes from the last free process on, and for 1000 s after: nobody is made to wait then
        return [f"sleep ${{stress?{{0}}:{{{seconds}}}}}"] if seconds else []
    if item.get("dnsbl"):
        return [f"reject_rbl_client {entry['name']}={entry['filter']}" for entry in healthy if entry["kind"] == "block"]
    return [" ".join(str(item.get("value", item["name"])).split())]


def _service(services, name):
    service = (services or {}).get(name) or ""
    if isinstance(service, dict):
        service = service.get("restriction") or ""
    return " ".join(str(service).split())


def _trap_class(items, declared, tables, healthy, recipient):
    """The items of a list as a class that only logs: every rule is asked, none refuses, nothing sleeps, nothing is trained."""
    instead = {"check_dynamic_client": "trap_dynamic", "country_tarpit": "trap_country"}
    rules = []
    for item in items:
        if item.get("table") in instead:
            item = {**item, "table": instead[item["table"]]}
        if item.get("sleep") or item.get("service") in ("mild", "harsh"):
            continue
        for value in _value(item, declared, tables, healthy):
            if value in ("permit", SAFE_YES):
                continue
            rules.append(value if value.startswith(("permit_", "warn_if_reject ")) else f"warn_if_reject {value}")
    return [*rules, SAFE_YES if recipient else "permit"]


def access_set(declared, healthy, country_text=""):
    """What role postfix is to write.

    declared: the role's public variables without the prefix access_, and its data (lists, classes, helo_rules, dynamic_rules,
    dynamic_good, own_samples, main, master_services). healthy: DNSBLs that may be asked, as access_dnsbl_lists gives them.
    country_text: "NETWORK ease|tarpit|refuse [CC]" a line. Returns {restrictions: {parameter: [{name, value, weight}]}, main_cf,
    master_cf, tables: [{name, type, entries, samples}], aliases}. Pure; problems are access_problems' matter.
    """
    changed, _ = access_changed({**declared["lists"], **declared["classes"]}, declared["changes"])
    tables = _entries(declared, lambda sentence: None)
    tables.update(_country_entries(country_text, declared["countries"]))
    # postscreen(8) knows no names, so only a client that is excepted by its address can pass it.
    tables["postscreen_access"][:0] = [
        {"pattern": entry["pattern"], "reason": entry["reason"], "action": "permit"}
        for entry in tables["reject_client_networks"]
        if entry["action"] == SAFE_YES
    ]
    if declared["profile"] != "current":
        tables["postscreen_access"] = []
    if not any(item.get("table") == "country_tarpit" for item in changed["recipient"]):
        # Nobody has waited yet when the class is asked.
        tables["check_client_others"] = []
    traps = [str(trap).lower() for trap in declared["traps"]]
    classes = {name: changed[name] for name in declared["classes"]}
    if not traps:
        tables["trap_dynamic"] = tables["trap_country"] = []

    main = [{**item, "group": "Access", "weight": 390} for item in declared["main"]]
    restrictions, used = {}, []
    for name in LISTS:
        items = []
        for item in changed[name]:
            value = _value(item, declared, tables, healthy)
            if value:
                items.append({"name": item["name"], "value": ", ".join(value)})
        if traps and name in TRAP_LISTS:
            table = f"trap_{name}"
            tables[table] = [{"pattern": trap, "action": table} for trap in traps]
            items.insert(0, {"name": "traps", "value": f"check_recipient_access {INDEXED_VALUE.format(table)}"})
            used.append((table, _trap_class(changed[name], declared, tables, healthy, name == "recipient")))
        restrictions[f"smtpd_{name}_restrictions"] = [
            {**item, "weight": 10 * (place + 1)} for place, item in enumerate(items)
        ]
    for name, items in classes.items():
        # A class without a rule says nothing, but Postfix wants one; permit and reject would say something.
        used.append(
            (name, [value for item in items for value in _value(item, declared, tables, healthy)] or ["sleep 0"])
        )
    main.append(
        {
            "name": "smtpd_restriction_classes",
            "value": [name for name, _ in used],
            "group": "Restrictions",
            "weight": 395,
        }
    )
    main += [{"name": name, "value": values, "group": "Restrictions", "weight": 396} for name, values in used]
    if declared["profile"] == "current":
        main += _postscreen(declared, tables, healthy)

    spf = (declared["services"] or {}).get("spf")
    extra = spf if isinstance(spf, dict) else {}
    return {
        "restrictions": restrictions,
        "main_cf": main + list(extra.get("main_cf") or []),
        "master_cf": list(declared["master_services"]) + list(extra.get("master_cf") or []),
        "tables": [
            {
                "name": name,
                **({"type": TABLE_TYPES[name]} if TABLE_TYPES[name] else {}),
                "entries": entries,
                "samples": _samples_of(declared, tables, name)
                + (
                    [{"keys": [trap], "expect": name} for trap in traps]
                    if name in [f"trap_{one}" for one in TRAP_LISTS]
                    else []
                ),
            }
            for name, entries in tables.items()
            if entries
        ],
        "aliases": [
            {"name": trap.partition("@")[0], "value": "/dev/null", "reason": f"trap {trap}: counted, never read"}
            for trap in traps
        ],
    }


def _postscreen(declared, tables, healthy):
    lists = [f"{entry['name']}={entry['filter']}*{entry['weight']}" for entry in healthy]
    access = ["permit_mynetworks"] + (
        [TYPED_VALUE.format("cidr", "postscreen_access")] if tables["postscreen_access"] else []
    )
    items = [{"name": "postscreen_access_list", "value": access}]
    if lists:
        items += [
            {"name": "postscreen_dnsbl_sites", "value": lists},
            {"name": "postscreen_dnsbl_threshold", "value": declared["dnsbl_threshold"]},
        ]
        allows = [entry["weight"] for entry in healthy if entry["weight"] < 0]
        if allows:
            items.append({"name": "postscreen_dnsbl_allowlist_threshold", "value": max(allows)})
    return [{**item, "group": "Access", "weight": 391} for item in items]


# --- what is declared wrongly -----------------------------------------------------------------------------------------------


def _table_problems(declared, say):
    for number, entry in enumerate(declared["sender"], 1):
        pattern, action = str(entry.get("pattern") or ""), str(entry.get("action") or "REJECT")
        where = f"access_sender[{number}] ({pattern})"
        if pattern == "<>" and action.split()[0].upper() not in ("DUNNO", *map(str.upper, YES)):
            say(f"{where}: refusing <> refuses every bounce")
        elif pattern != "<>":
            local, at, domain = pattern.rpartition("@")
            if pattern.startswith("."):
                say(f"{where}: without the leading dot; a domain holds for what is below it as well")
            elif (
                (at and not local) or (domain and not DOMAIN.match(domain)) or re.search(r"\s", pattern) or not pattern
            ):
                say(f"{where}: is no address, no domain and no user@")
        if (
            ":" in action
            and action.split()[0].upper()
            not in (
                "REJECT",
                "DEFER",
                "DEFER_IF_PERMIT",
                "WARN",
                "INFO",
                "PREPEND",
                "HOLD",
                "REDIRECT",
                "BCC",
                "FILTER",
            )
            and not action[:3].isdigit()
        ):
            say(f"{where}: a table cannot name another table ({action}); Postfix would answer 451. A class can")
    for number, entry in enumerate(declared["client"], 1):
        pattern = str(entry.get("pattern") or "")
        where = f"access_client[{number}] ({pattern})"
        if "/" in pattern or _network(pattern):
            network = _network(pattern)
            if network is None:
                say(f"{where}: is no network like 192.0.2.0/24 or 2001:db8::/64")
            elif "/" in pattern and ipaddress.ip_interface(pattern).ip != network.network_address:
                say(f"{where}: has host bits set, the network is {network}; Postfix would skip the entry")
            elif network.prefixlen < (8 if network.version == 4 else 16):
                say(f"{where}: {network} is a large part of the internet; a country is said by access_countries")
        elif pattern.startswith("."):
            say(f"{where}: without the leading dot; a domain holds for what is below it as well")
        elif not DOMAIN.match(pattern) or "." not in pattern:
            say(f"{where}: is no domain and no network")
        if not str(entry.get("reason") or "").strip():
            say(f"{where}: needs a reason; in a year nobody knows why it is refused")
        if not isinstance(entry.get("date"), datetime.date):
            try:
                datetime.date.fromisoformat(str(entry.get("date") or ""))
            except ValueError:
                say(f"{where}: needs a date like 2026-11-25, not {entry.get('date')!r}")


def _service_problems(declared, say):
    for name, value in (declared["services"] or {}).items():
        if name not in ("spf", "mild", "harsh"):
            say(f"access_services: {name!r} is unknown{near(name, ('spf', 'mild', 'harsh'))}")
        service = _service(declared["services"], name)
        if service and not re.search(r"(^|\s)(inet:\S+:\d+|unix:\S+|\{.*\})", service):
            say(f"access_services: {name}: {service!r} is no inet:host:port and no unix:path")


def _delivered(destinations, hostname, domain):
    """The domains of mydestination in small letters, or None where one of its elements (a table, a file, another parameter, an exception) tells nothing
    without the host. An element that begins with a dot stands for all below it: match_list(3)."""
    found = []
    for element in destinations:
        for name, value in (("myhostname", hostname), ("mydomain", domain)):
            element = re.sub(rf"\$(?:{name}\b|\({name}\)|\{{{name}\}})", str(value), str(element))
        if not DOMAIN.match(element.removeprefix(".")):
            return None
        found.append(element.lower())
    return found


def _trap_problems(declared, say):
    seen = set()
    delivered = _delivered(declared["destinations"], declared["hostname"], declared["domain"])
    for trap in declared["traps"]:
        address = str(trap)
        local, at, domain = address.rpartition("@")
        if not at or not re.fullmatch(r"[A-Za-z0-9._+=-]+", local) or not DOMAIN.match(domain) or "." not in domain:
            say(f"access_traps: {address!r} is no address like catch@example.org")
            continue
        place = domain.lower()
        if (
            delivered is not None
            and place not in delivered
            and not any(one.startswith(".") and place.endswith(one) for one in delivered)
        ):
            say(
                f"access_traps: {address} would never be counted: {domain} is not delivered on this host ({', '.join(delivered)}; access_destinations), "
                "and a trap is an alias"
            )
        if local.lower() in ("root", "postmaster", "abuse", "hostmaster", "mailer-daemon", "nobody"):
            say(f"access_traps: {address} must be read (RFC 2142), it cannot be a trap")
        if local.lower() in seen:
            say(
                f"access_traps: {address}: another trap has the same local part, and an alias holds for every local domain"
            )
        seen.add(local.lower())


def access_problems(declared):
    """What is wrong with the declared values, before any host is asked: a list of sentences, each beginning with its variable."""
    found = []
    say = found.append
    lists = {**declared["lists"], **declared["classes"]}
    found += access_changed(lists, declared["changes"])[1]
    _table_problems(declared, say)
    tables = _entries(declared, say)
    _dnsbl_problems(declared, say)
    _service_problems(declared, say)
    _trap_problems(declared, say)
    if not found:
        _sample_problems(declared, tables, say)
    return found


def access_tables(declared):
    """The tables that are known on the controller (countries are not), for postfix_table_problems."""
    tables = _entries(declared, lambda sentence: None)
    return [
        {"name": name, "type": TABLE_TYPES[name], "entries": entries} for name, entries in tables.items() if entries
    ]


def access_country_results(actions):
    """What country_table puts beside each network: {JP: ease} as {JP: "ease JP"}."""
    return {
        country: f"{action} {country}" if action != "ease" else action for country, action in (actions or {}).items()
    }


def access_healthy(lists, health, predict=False):
    """The lists that may be asked: those that access_dnsbl_health found healthy. All of them when predict is set and no
    resolver answered (check mode on a host whose named is yet to come)."""
    zones = (health or {}).get("zones") or {}
    if predict and not ((health or {}).get("resolver") or {}).get("answers"):
        return list(lists)
    return [entry for entry in lists if (zones.get(entry["name"]) or {}).get("healthy")]


def access_sick(lists, health):
    """One sentence for each list that is left out, with its reason."""
    zones = (health or {}).get("zones") or {}
    return [
        f"{entry['name']}: {(zones.get(entry['name']) or {}).get('reason') or 'not asked'}"
        for entry in lists
        if not (zones.get(entry["name"]) or {}).get("healthy")
    ]


class FilterModule:
    def filters(self):
        return {
            "access_problems": access_problems,
            "access_set": access_set,
            "access_tables": access_tables,
            "access_dnsbl_lists": access_dnsbl_lists,
            "access_healthy": access_healthy,
            "access_sick": access_sick,
            "access_country_results": access_country_results,
        }
