# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Parameters, services, restrictions and aliases of Postfix as named items: merged by name, put in order for the templates, and checked.

Pure functions. How the files are written: roles/postfix/templates; tables: postfix_tables.py. Rules of the files: postconf(5), master(5),
aliases(5) of Postfix 3.7 to 3.11.
"""

import collections
import difflib
import ipaddress
import re

from ansible.errors import AnsibleFilterError

WEIGHT = 500
STATES = ("present", "absent")
# The fields of a service in master.cf, what they look like, and in words.
SERVICE_FIELDS = (
    ("private", "[yn-]", "y, n or -"),
    ("unpriv", "[yn-]", "y, n or -"),
    ("chroot", "[yn-]", "y, n or -"),
    ("wakeup", r"-|\d+\??", "seconds (with ? : only when used) or -"),
    ("maxproc", r"-|\d+", "a number (0: no limit) or -"),
)
RESTRICTION_LISTS = tuple(
    f"smtpd_{at}_restrictions"
    for at in ("relay", "client", "helo", "sender", "recipient", "data", "end_of_data", "etrn")
)
# anvil(8): every one of these counts per anvil_rate_time_unit.
RATES = {
    "connection": "smtpd_client_connection_rate_limit",
    "message": "smtpd_client_message_rate_limit",
    "recipient": "smtpd_client_recipient_rate_limit",
    "newtls": "smtpd_client_new_tls_session_rate_limit",
    "auth": "smtpd_client_auth_rate_limit",
}
TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def postfix_value(value):
    """Return a YAML value (str, number, bool, None, {value} or a list of these) as Postfix writes it: yes and no, lists joined by ', '.

    Line ends inside a string become one space: a line that does not begin with white space would be a new parameter.
    """
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(postfix_value(part) for part in value)
    return "" if value is None else " ".join(part.strip() for part in str(value).splitlines()).strip()


def merge(lists, keys, variable):
    """Merge lists of items by *keys* (names of fields); later lists win field by field, options key by key.

    Returns the present items, ordered by weight, then by first mention. Raises AnsibleFilterError with the name of *variable* for what is no
    item: a mapping with a name and, if any, a known state.
    """
    merged = {}
    for item in [item for items in lists for item in items or []]:
        if not isinstance(item, dict) or not item.get("name"):
            raise AnsibleFilterError(f"{variable}: an item is a mapping with a name, not {item!r}")
        if item.get("state", "present") not in STATES:
            raise AnsibleFilterError(
                f"{variable}: {item['name']} has state {item['state']!r}; it is {' or '.join(STATES)}"
            )
        key = tuple(str(item.get(name, "")) for name in keys)
        old = merged.get(key, {})
        merged[key] = {**old, **item, "state": item.get("state", "present")}
        if old.get("options") and item.get("options"):
            merged[key]["options"] = {**old["options"], **item["options"]}
    present = [item for item in merged.values() if item["state"] == "present"]
    return sorted(present, key=lambda item: item.get("weight", WEIGHT))


def postfix_merge(lists):
    """Merge a list of lists of items {name, value, state, weight, …} (parameters, aliases) by name, as merge() does."""
    return merge(lists, ("name",), "postfix_main_cf")


def postfix_services(lists):
    """Merge a list of lists of master.cf items by name and type (smtp inet and smtp unix are two services) into what master.cf.j2 writes.

    type is unix by default; private to maxproc become str ("-" where nothing is set), args a list of str, options {name: str} without those set
    to None. Raises AnsibleFilterError as merge() does, and for a service without a command.
    """
    services = merge(
        [[{**item, "type": item.get("type", "unix")} for item in items or []] for items in lists],
        ("name", "type"),
        "postfix_master_cf",
    )
    for item in services:
        if not item.get("command"):
            raise AnsibleFilterError(f"postfix_master_cf: {item['name']} {item['type']} has no command")
        arguments = item.get("args") or []
        item["args"] = [postfix_value(part) for part in (arguments if isinstance(arguments, list) else [arguments])]
        item["options"] = {
            name: postfix_value(value) for name, value in (item.get("options") or {}).items() if value is not None
        }
        item.update({field: flag(item.get(field)) for field, _pattern, _words in SERVICE_FIELDS})
    return services


def flag(value):
    """Return a field of a service as master(5) reads it: y, n, - or the text of a number."""
    if isinstance(value, bool):
        return "y" if value else "n"
    return "-" if value in (None, "") else str(value)


def postfix_base_restrictions(own, access=None):
    """Return the role's own lists with those of role access (postfix_access) in their place; the relay list is never taken from there."""
    given = {
        name: items
        for name, items in ((access or {}).get("restrictions") or {}).items()
        if name != "smtpd_relay_restrictions"
    }
    whole = {**own, **given}
    return {name: whole[name] for name in sorted(whole, key=[*RESTRICTION_LISTS, *whole].index)}


def postfix_restriction_items(base, extra=None):
    """Return restriction lists as main.cf items; the value of each is a list of {value, reason}.

    base, extra: {parameter: [{name, value, reason, weight, state}]}, merged by name; value is the name unless given. Lists without any item are
    left out.
    """
    extra, items = extra or {}, []
    for place, name in enumerate(dict.fromkeys([*base, *extra])):
        merged = merge([base.get(name), extra.get(name)], ("name",), f"postfix_restrictions.{name}")
        entries = [
            {"value": postfix_value(item.get("value", item["name"])), "reason": item.get("reason", "")}
            for item in merged
        ]
        if entries:
            items.append({"name": name, "value": entries, "group": "Restrictions", "weight": 400 + place})
    return items


def seconds(value):
    """Return a time of Postfix (a number with an optional unit s m h d w), one second or more, in seconds. Raises ValueError."""
    match = re.fullmatch(r"0*([1-9]\d*)\s*([smhdw]?)", postfix_value(value))
    if not match:
        raise ValueError(
            f"{value!r} is not a time of one second or more: a number with an optional unit s, m, h, d or w"
        )
    return int(match[1]) * TIME_UNITS[match[2] or "s"]


def rate(per_minute, unit_seconds):
    """Return a rate per minute as a number per anvil_rate_time_unit.

    Postfix counts whole numbers, and 0 means no limit at all: so a rate below one per unit cannot be set, only rounded to 'no limit' or to
    something else. Raises ValueError with the nearest rates that can be set.
    """
    below, rest = divmod(per_minute * unit_seconds, 60)
    if per_minute < 0:
        raise ValueError(f"{per_minute} is not a whole number a minute (0: no limit)")
    if not rest:
        return below
    low, high = -(-below * 60 // unit_seconds), -(-(below + 1) * 60 // unit_seconds)
    raise ValueError(
        f"{per_minute} a minute cannot be set with anvil_rate_time_unit = {unit_seconds}s: it would be "
        f"{per_minute * unit_seconds / 60:.2f} {'a second' if unit_seconds == 1 else f'in {unit_seconds} seconds'}, and Postfix "
        f"counts whole numbers (0 is no limit). Nearest: {f'{low} or {high}' if below else high} a minute"
    )


def postfix_default_rates(declared, submission, unit):
    """Return the *declared* rates a minute, with one for AUTH where submission is on and none is declared.

    10 tries are enough for a person. In a unit that cannot say 10 it is the next that it can: 60 in one of a second.
    """
    if not submission or "auth" in (declared or {}):
        return declared or {}
    number = seconds(unit)
    return {**(declared or {}), "auth": next(tries for tries in range(10, 71) if tries * number % 60 == 0)}


def postfix_rate_items(per_minute, unit):
    """Return main.cf items for {connection, message, recipient, newtls, auth: rate a minute}. unit: anvil_rate_time_unit.

    Raises AnsibleFilterError for a rate that cannot be set in that unit.
    """
    items = []
    for kind, value in (per_minute or {}).items():
        try:
            number = rate(int(value), seconds(unit))
        except ValueError as error:
            raise AnsibleFilterError(f"postfix_rates_per_minute: {kind}: {error}") from None
        items.append(
            {
                "name": RATES[kind],
                "value": number,
                "comment": f"{value} a minute",
                "group": "Performance",
                "weight": 200,
            }
        )
    return items


def postfix_optional(items):
    """Return the names of parameters that only some releases of Postfix know and the items depend on: of those that are optional, and what others need."""
    return sorted(
        {item["name"] for item in items if item.get("optional")}
        | {item["needs"] for item in items if item.get("needs")}
    )


def postfix_known_items(items, unknown):
    """Return the items without the optional ones that the host's Postfix does not know, and without those that need a parameter that it does
    not know. unknown: names of parameters."""
    return [
        item for item in items if not (item.get("optional") and item["name"] in unknown or item.get("needs") in unknown)
    ]


# --- what is declared wrongly, beyond the types, names and choices that argument_specs checks: generators of sentences that begin with the variable


LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
DOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})+")
# Python's codec is of IDNA2003, which replaces these or leaves them out; in IDNA2008, which Postfix follows (enable_idna2003_compatibility), they make
# another domain.
DEVIATIONS = set("ßẞς\u200c\u200d")
# A service of master.cf has parameters of its own, its name and a suffix: smtp-amavis_destination_concurrency_limit, 10.5.0.6::10040_time_limit
# (postconf(5), "transport"_time_limit and the like). A name ends at white space or =, and a line that begins with # is a comment.
PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]*|[^\s=#${}(),\"/][^\s=${}(),\"/]*_[a-z][a-z0-9_]*")
# smtpd(8) refuses to start unless one of these stands in smtpd_relay_restrictions or smtpd_recipient_restrictions.
RELAY_GUARDS = ("reject_unauth_destination", "defer_unauth_destination", "reject", "defer")
# What may stand before the guard: the answer does not depend on a table that someone edits.
RELAY_PERMITS = (
    "permit_mynetworks",
    "permit_inet_interfaces",
    "permit_sasl_authenticated",
    "permit_tls_clientcerts",
    "permit_tls_all_clientcerts",
    "permit_auth_destination",
    "permit_mx_backup",
)


def near(word, words):
    """Return ', did you mean X?' for the nearest of words, or nothing."""
    match = difflib.get_close_matches(str(word), words, 1)
    return f", did you mean {match[0]}?" if match else ""


def domain_problem(value):
    """Return what is wrong with a fully qualified name, or None."""
    if DOMAIN.fullmatch(str(value or "")):
        return None
    return (
        f"is {value!r}: a fully qualified name is needed, like mx.example.org (at least two labels of letters, digits and hyphens, 1 to 63 of "
        "them, no hyphen at either end, without the dot at the end; an internationalized domain as its A-label, xn--…)"
    )


def postfix_a_labels(values, variable, key="", both=True):
    """Return *values* with every internationalized domain as its A-label, the form of DNS, and behind it as it is, the form of SMTPUTF8: Postfix converts
    neither into the other before it looks a name up (SMTPUTF8_README).

    values: entries of mydestination (str), or dicts with such a domain or an address under *key*. both: False for names that come from DNS alone.
    Raises AnsibleFilterError, with the name of *variable*, for a domain that this cannot convert.
    """
    found = []
    for value in values:
        name = str(value.get(key) or "") if key else str(value)
        try:
            written = a_label(name)
        except ValueError as error:
            raise AnsibleFilterError(f"{variable}: {error}") from None
        forms = dict.fromkeys([written, name] if both else [written])
        found += [{**value, key: form} if form != name else value for form in forms] if key else forms
    return found


def a_label(name):
    """Return a domain, or an address, with its domain as DNS has it; what is no domain, a table or a file among it, as it is. Raises ValueError."""
    local, at, domain = name.rpartition("@")
    if domain.isascii() or re.search(r"[/:$]", name):
        return name
    try:
        # by label: neither ! nor a dot at the beginning is part of one
        label = re.compile(r"[^\s.!]*[^\x00-\x7f][^\s.!]*")
        written = label.sub(lambda found: found[0].encode("idna").decode("ascii"), domain)
    except UnicodeError:
        written = ""
    if not written or set(domain) & DEVIATIONS:
        raise ValueError(f"{name!r}: write the domain as its A-label (xn--…), these letters are not converted here")
    return local + at + written


def destination_problem(value):
    """Return what is wrong with an entry of mydestination, or None: a host or domain, a file, a type:table, a parameter, with or without ! before it."""
    try:
        entry = a_label(str(value)).removeprefix("!")
    except ValueError as error:
        return f"cannot be written: {error}"
    if "$" in entry or re.fullmatch(r"/\S+|(proxy:)?[a-z][a-z0-9_]*:\S+", entry):
        return None
    if re.fullmatch(rf"\.?{LABEL}(\.{LABEL})*", entry) and len(entry) <= 254:
        return None
    return "is not a domain, a host name, a file (/path) or a table (type:/path), like example.org"


def relay_problem(value):
    """Return why a relay list would relay for strangers, or None."""
    for word in re.split(r"[,\s]+", postfix_value(value)):
        if word.lower() in RELAY_GUARDS:
            return None
        if word and word.lower() not in RELAY_PERMITS:
            return (
                f"{word!r} comes before {RELAY_GUARDS[0]}: only {', '.join(RELAY_PERMITS[:3])} and the like may, "
                "because a table, a class or a plain permit that answers OK there makes an open relay"
            )
    return f"it has none of {', '.join(RELAY_GUARDS)}: this host would relay for anyone"


def name_problems(declared):
    """The domain, the host's name, destinations and aliases."""
    for name in ("domain", "hostname"):
        problem = domain_problem(declared[f"postfix_{name}"])
        if problem:
            yield f"postfix_{name} (sokuhai_{name}) {problem}"
    for value in declared["postfix_destinations"]:
        problem = destination_problem(value)
        if problem:
            yield f"postfix_destinations: {value!r} {problem}"
    for alias in declared["postfix_aliases"]:
        if re.search(r"[@\s:#]|^$", alias["name"]):
            yield f"postfix_aliases: name {alias['name']!r} is not a local part (no @, no white space)"
        if not postfix_value(alias.get("value")):
            yield f"postfix_aliases: {alias['name']} has no value"
    yield from twice("postfix_aliases", (alias["name"].lower() for alias in declared["postfix_aliases"]))
    user, at, domain = declared["postfix_root_alias"].partition("@")
    if at and domain_problem(domain):
        yield f"postfix_root_alias: the domain {domain_problem(domain)}"
    elif re.search(r"[\s,]|^$", user) and user + at:
        yield f"postfix_root_alias: {user + at + domain!r} is not an address"


def host_problems(declared):
    """What the host has: addresses and a certificate."""
    interfaces = declared["postfix_inet_interfaces"]
    if not interfaces:
        yield "postfix_inet_interfaces: empty; use all, loopback-only or addresses"
    for value in interfaces:
        try:
            if value in ("all", "loopback-only"):
                if len(interfaces) > 1:
                    yield f"postfix_inet_interfaces: {value} cannot be combined with other entries"
            else:
                ipaddress.ip_address(value.strip("[]"))
        except ValueError:
            yield (
                f"postfix_inet_interfaces: {value!r} is not an address; use all, loopback-only or addresses of this host"
                f"{near(value, ('all', 'loopback-only'))}"
            )
    files = {name: declared[name] for name in ("postfix_tls_cert", "postfix_tls_key")}
    for name, value in files.items():
        if value and not value.startswith("/"):
            yield f"{name}: {value!r} is not an absolute path on the host"
    if "" in files.values() and any(files.values()):
        yield "postfix_tls_cert: certificate and postfix_tls_key go together; leave both empty for a self-signed one"


def parameter_problems(declared, asked):
    """Items of main.cf. asked: names of the parameters that the installed Postfix is asked for."""
    items = declared["postfix_main_cf"]
    yield from twice("postfix_main_cf", (item["name"] for item in items))
    for item in items:
        name = item["name"]
        if not PARAMETER.fullmatch(name):
            yield f"postfix_main_cf: {name!r} is not the name of a parameter"
        if item.get("state") == "absent":
            if name in ("smtpd_relay_restrictions", "compatibility_level"):
                yield (
                    f"postfix_main_cf: {name} is always written: without it the rules for relaying depend on the "
                    "release of Postfix"
                )
        elif name in asked:
            yield f"postfix_main_cf: {name} is taken from the installed Postfix and cannot be declared"
        elif name == "default_process_limit":
            yield f"postfix_main_cf: {name} is sokuhai_process_limit, where it is judged against RAM"
        elif name == "smtpd_relay_restrictions":
            yield f"postfix_main_cf: {name} is postfix_restrictions.{name}, item by item"
        elif "value" not in item:
            yield f"postfix_main_cf: {name} has no value (state: absent takes a parameter away)"


def rate_problems(declared):
    """Rates a minute, in a unit that can hold them."""
    override = {item["name"]: item for item in declared["postfix_main_cf"] if item.get("state") != "absent"}
    unit = "1s" if declared["postfix_profile"] == "article" else "60s"
    try:
        unit = seconds(override.get("anvil_rate_time_unit", {}).get("value", unit))
    except ValueError as error:
        yield f"postfix_main_cf: anvil_rate_time_unit: {error}"
        return
    for kind, value in declared["postfix_rates_per_minute"].items():
        try:
            rate(int(value), unit)
        except ValueError as error:
            yield f"postfix_rates_per_minute: {kind}: {error}"
    for kind, name in RATES.items():
        if name in override:
            yield (
                f"postfix_main_cf: {name} counts per anvil_rate_time_unit ({unit}s here); set it as "
                f"postfix_rates_per_minute.{kind}"
            )


def service_problems(declared):
    """Items of master.cf."""
    items = [{"type": "unix", **item} for item in declared["postfix_master_cf"]]
    yield from twice("postfix_master_cf", (f"{item['name']} {item['type']}" for item in items))
    for item in items:
        if item.get("state") == "absent":
            continue
        where = f"postfix_master_cf: {item['name']} {item['type']}"
        for field, pattern, words in SERVICE_FIELDS:
            if not re.fullmatch(pattern, flag(item.get(field))):
                yield f"{where}: {field} is {item[field]!r}, it is {words}"
        if item.get("command") == "spawn":
            arguments = postfix_value(item.get("args")).replace(",", " ")
            if "user=" not in arguments or "argv=" not in arguments:
                yield f"{where}: spawn needs user= and argv= in args"
            elif re.search(r"\buser=(root|toor)\b", arguments):
                yield f"{where}: spawn refuses to run a command as root"
            if flag(item.get("maxproc")) != "0":
                yield f"{where}: spawn needs maxproc 0, else its clients wait for each other"
        for name, value in (item.get("options") or {}).items():
            if not PARAMETER.fullmatch(name):
                yield f"{where}: option {name!r} is not the name of a parameter"
            if name == "smtpd_relay_restrictions" and value is not None and relay_problem(value):
                yield f"{where}: smtpd_relay_restrictions: {relay_problem(value)}"


def restriction_problems(lists, own):
    """Restriction lists of the inventory, and the relay list that comes of them and the role's own."""
    final = {item["name"]: item["value"] for item in postfix_restriction_items(own, lists)}
    problem = relay_problem(final.get("smtpd_relay_restrictions"))
    if problem:
        yield f"postfix_restrictions: smtpd_relay_restrictions: {problem}"
    for name, items in lists.items():
        if name not in RESTRICTION_LISTS:
            yield f"postfix_restrictions: {name!r} is not a list of restrictions{near(name, RESTRICTION_LISTS)}"
        yield from twice(f"postfix_restrictions.{name}", (item["name"] for item in items))


def twice(variable, names):
    """What more than one item of a list is called."""
    for name, count in collections.Counter(names).items():
        if count > 1:
            yield f"{variable}: {name} is listed twice; one item has everything that is declared about it"


def postfix_problems(declared, own, asked):
    """Return what is wrong with the declared values, a list of sentences that begin with the variable's name.

    declared: the role's variables, each of its type. own: the role's own restriction lists. asked: names of the parameters that the installed
    Postfix is asked for. Raises AnsibleFilterError for an item of a restriction list that is not one.
    """
    return [
        *name_problems(declared),
        *host_problems(declared),
        *parameter_problems(declared, asked),
        *rate_problems(declared),
        *service_problems(declared),
        *restriction_problems(declared["postfix_restrictions"], own),
    ]


class FilterModule:
    def filters(self):
        return {
            "postfix_value": postfix_value,
            "postfix_merge": postfix_merge,
            "postfix_services": postfix_services,
            "postfix_base_restrictions": postfix_base_restrictions,
            "postfix_restriction_items": postfix_restriction_items,
            "postfix_default_rates": postfix_default_rates,
            "postfix_rate_items": postfix_rate_items,
            "postfix_optional": postfix_optional,
            "postfix_known_items": postfix_known_items,
            "postfix_a_labels": postfix_a_labels,
            "postfix_problems": postfix_problems,
        }
