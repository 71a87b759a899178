# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""main.cf, master.cf and tables of Postfix as named items: merged by name, checked, rendered to whole files.

Everything here is pure (no file, no host): the same functions run in the role, in its validation on the controller and in
the unit tests. Rules of the files: postconf(5), master(5), cidr_table(5), postmap(1), aliases(5) of Postfix 3.7 to 3.11.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import warnings

from ansible.errors import AnsibleFilterError

STATES = ("present", "absent")
PROFILES = ("article", "current")
FOLD_AT = 100

PARAMETER = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
LABEL = re.compile(r"^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$")

# Taken from what is installed: a wrong one makes Postfix use another queue or other daemons than the port's.
ASKED_PARAMETERS = (
    "queue_directory",
    "command_directory",
    "daemon_directory",
    "data_directory",
    "meta_directory",
    "shlib_directory",
    "mail_owner",
    "setgid_group",
    "sendmail_path",
    "newaliases_path",
    "mailq_path",
    "html_directory",
    "manpage_directory",
    "sample_directory",
    "readme_directory",
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

INDEXED = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
TEXT_TABLES = ("cidr", "regexp", "pcre", "texthash")
SERVICE_TYPES = ("inet", "unix", "unix-dgram", "fifo", "pass")
SERVICE_FIELDS = ("private", "unpriv", "chroot", "wakeup", "maxproc")

RESTRICTION_LISTS = tuple(
    f"smtpd_{at}_restrictions"
    for at in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn")
)
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


def text(value):
    """A YAML value as Postfix writes it: booleans are yes and no, None is empty, lists are joined by ', '.

    Line ends inside a string become one space: a line that does not begin with white space would be a new parameter.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(text(part) for part in value)
    return " ".join(part.strip() for part in str(value).splitlines()).strip()


def _item_key(item, keys):
    return tuple(str(item.get(key, "")) for key in keys)


def _merge(lists, keys, where):
    merged = {}
    for items in lists:
        if items is None:
            continue
        if not isinstance(items, (list, tuple)):
            raise AnsibleFilterError(f"{where}: a list of items is needed, not {type(items).__name__}")
        for item in items:
            if not isinstance(item, dict) or not item.get("name"):
                raise AnsibleFilterError(f"{where}: an item is a mapping with a name, not {item!r}")
            state = item.get("state", "present")
            if state not in STATES:
                raise AnsibleFilterError(f"{where}: {item['name']} has state {state!r}, it is present or absent")
            key = _item_key(item, keys)
            old = merged.get(key, {})
            new = {**old, **item, "state": state}
            if isinstance(old.get("options"), dict) and isinstance(item.get("options"), dict):
                new["options"] = {**old["options"], **item["options"]}
            # A key keeps the place of its first mention: order is by weight, then by that.
            merged[key] = new
    ordered = sorted(enumerate(merged.values()), key=lambda pair: (pair[1].get("weight", 500), pair[0]))
    return [item for _, item in ordered if item["state"] == "present"]


def postfix_merge(lists):
    """Merge a list of lists of items {name, value, state, weight, group, …} by name; later lists win field by field.

    Returns the present items, ordered by weight (default 500), then by first mention. Raises AnsibleFilterError for an item
    without a name or with an unknown state.
    """
    return _merge(lists, ("name",), "postfix_main_cf")


def postfix_merge_services(lists):
    """Merge a list of lists of master.cf items by name and type (smtp inet and smtp unix are two services); options merge by key,
    an option of None is taken away. Same order and errors as postfix_merge."""
    filled = []
    for items in lists:
        for item in items or []:
            if isinstance(item, dict) and item.get("type", "unix") not in SERVICE_TYPES:
                raise AnsibleFilterError(
                    f"postfix_master_cf: {item.get('name')} has type {item.get('type')!r}, it is one of "
                    f"{', '.join(SERVICE_TYPES)}"
                )
        filled.append([{"type": "unix", **item} if isinstance(item, dict) else item for item in items or []])
    return _merge(filled, ("name", "type"), "postfix_master_cf")


def postfix_base_restrictions(own, access=None):
    """The role's own lists with those of role access (postfix_access) in their place; the relay list is never taken from there."""
    given = (access or {}).get("restrictions") or {}
    whole = {**own, **{name: items for name, items in given.items() if name != "smtpd_relay_restrictions"}}
    order = ("smtpd_relay_restrictions", *RESTRICTION_LISTS)
    return {
        name: whole[name] for name in sorted(whole, key=lambda name: order.index(name) if name in order else len(order))
    }


def postfix_restriction_items(base, extra=None):
    """Restriction lists, each a list of named items, as main.cf items.

    base, extra: {parameter: [{name, value, weight, state}]}; an item's value is its name unless given. Returns a list of
    main.cf items in the group 'Restrictions', lists without any item left out.
    """
    items = []
    names = list(base) + [name for name in (extra or {}) if name not in base]
    for place, name in enumerate(names):
        merged = _merge([base.get(name), (extra or {}).get(name)], ("name",), f"postfix_restrictions.{name}")
        if merged:
            items.append(
                {
                    "name": name,
                    "value": [text(item.get("value", item["name"])) for item in merged],
                    "group": "Restrictions",
                    "weight": 400 + place,
                }
            )
    return items


def seconds(value):
    """A Postfix time (number with an optional unit s m h d w) in seconds. Raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*([smhdw]?)", text(value))
    if not match:
        raise ValueError(f"{value!r} is no time of Postfix's")
    return int(match[1]) * TIME_UNITS[match[2] or "s"]


def rate(per_minute, unit_seconds):
    """A rate per minute as a number per anvil_rate_time_unit.

    Postfix counts whole numbers, and 0 means no limit at all: so a rate below one per unit cannot be said, only rounded to
    'no limit' or to something else than asked. Raises ValueError with the nearest rates that can be said.
    """
    scaled = per_minute * unit_seconds
    if scaled % 60 == 0:
        return scaled // 60
    below, step = scaled // 60, 60
    low, high = -(-below * step // unit_seconds), -(-(below + 1) * step // unit_seconds)
    near = f"{high}" if below == 0 else f"{low} or {high}"
    unit = "a second" if unit_seconds == 1 else f"in {unit_seconds} seconds"
    raise ValueError(
        f"{per_minute} a minute cannot be said with anvil_rate_time_unit = {unit_seconds}s: it would be "
        f"{scaled / 60:.2f} {unit}, and Postfix counts whole numbers (0 is no limit). Nearest: {near} a minute"
    )


def postfix_rate_items(per_minute, unit):
    """main.cf items for {connection, message, recipient, newtls, auth: rate a minute}. unit: anvil_rate_time_unit.

    Raises AnsibleFilterError for a rate that cannot be said in that unit.
    """
    items = []
    for kind, value in (per_minute or {}).items():
        try:
            items.append(
                {
                    "name": RATES[kind],
                    "value": rate(int(value), seconds(unit)),
                    "group": "Performance",
                    "weight": 200,
                    "comment": f"{value} a minute",
                }
            )
        except KeyError:
            raise AnsibleFilterError(f"postfix_rates_per_minute: unknown kind {kind}") from None
        except ValueError as error:
            raise AnsibleFilterError(f"postfix_rates_per_minute: {kind}: {error}") from None
    return items


def postfix_path_items(paths):
    """main.cf items that keep what the installed Postfix says of its own paths and owners ({name: value})."""
    return [
        {"name": name, "value": paths[name], "group": "Paths, as installed", "weight": 50}
        for name in ASKED_PARAMETERS
        if name in paths
    ]


def _fold(name, value):
    if isinstance(value, (list, tuple)):
        parts = [text(part) for part in value]
    else:
        parts = [text(value)]
        if len(name) + 3 + len(parts[0]) > FOLD_AT and "{" not in parts[0]:
            parts = re.split(r",\s+", parts[0])
    if len(parts) == 1:
        return f"{name} = {parts[0]}".rstrip()
    one_line = f"{name} = " + ", ".join(parts)
    if len(one_line) <= FOLD_AT:
        return one_line
    return f"{name} =\n    " + ",\n    ".join(parts)


def postfix_main_cf(items, header=""):
    """Render merged items as the whole text of main.cf: a heading comment for each group, an item's comment above it, long
    lists one entry a line."""
    lines = [f"# {line}".rstrip() for line in str(header).strip().splitlines()]
    group = None
    for item in items:
        if item.get("group") and item["group"] != group:
            group = item["group"]
            lines += ["", f"# --- {group}"]
        if item.get("comment"):
            lines += [f"# {line}" for line in str(item["comment"]).strip().splitlines()]
        lines.append(_fold(item["name"], item.get("value")))
    return "\n".join(lines) + "\n"


def postfix_master_cf(items, header=""):
    """Render merged services as the whole text of master.cf. Options are written `-o name=value`, in braces when the value
    has white space; args follow, a list one argument a line."""
    lines = [f"# {line}".rstrip() for line in str(header).strip().splitlines()]
    lines += ["", "# service        type       private unpriv chroot wakeup maxproc command + args"]
    for item in items:
        if item.get("comment"):
            lines += [f"# {line}" for line in str(item["comment"]).strip().splitlines()]
        if not item.get("command"):
            raise AnsibleFilterError(f"postfix_master_cf: {item['name']} {item['type']} has no command")
        flags = [_flag(item.get(field)) for field in SERVICE_FIELDS]
        lines.append(
            f"{item['name']:<16} {item['type']:<10} {flags[0]:<7} {flags[1]:<6} {flags[2]:<6} {flags[3]:<6} "
            f"{flags[4]:<7} {item['command']}"
        )
        for name, value in (item.get("options") or {}).items():
            if value is None:
                continue
            value = text(value)
            lines.append(f"    -o {{ {name} = {value} }}" if re.search(r"\s", value) else f"    -o {name}={value}")
        arguments = item.get("args") or []
        lines += [f"    {text(part)}" for part in (arguments if isinstance(arguments, list) else [arguments])]
    return "\n".join(lines) + "\n"


def _flag(value):
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "y" if value else "n"
    return str(value)


def postfix_table(table):
    """The text of a declared table {name, type, entries: [{pattern, action, reason}]}; the reason stands above its entry."""
    lines = []
    for entry in table.get("entries") or []:
        if entry.get("reason"):
            lines += [f"# {line}" for line in str(entry["reason"]).strip().splitlines()]
        pattern, action = text(entry["pattern"]), text(entry["action"])
        lines.append(f"{pattern} {action}".rstrip())
    return "\n".join(lines) + ("\n" if lines else "")


def postfix_rendered_tables(tables, map_type):
    """Declared tables as {name, type, text, samples}; a table without a type gets map_type, the host's own. Of two with one name
    the later one counts."""
    return [
        {
            "name": table["name"],
            "type": table.get("type") or map_type,
            "text": postfix_table(table),
            **({"samples": table["samples"]} if table.get("samples") else {}),
        }
        for table in {table["name"]: table for table in tables or []}.values()
    ]


def postfix_known_items(items, unknown):
    """Items without the optional ones that the host's Postfix does not know, and without those that need a parameter that it does
    not know. unknown: names of parameters."""
    lacking = set(unknown or [])
    return [
        item for item in items if not (item.get("optional") and item["name"] in lacking or item.get("needs") in lacking)
    ]


def postfix_table_problems(tables, variable="postfix"):
    """What is wrong with tables {name, type, entries}: entries that Postfix would skip, ignore or read otherwise. Each sentence
    begins with variable and _tables."""
    found = []
    _check_tables(tables, lambda sentence: found.append(sentence.replace("postfix_tables", f"{variable}_tables", 1)))
    return found


def postfix_aliases_text(aliases):
    """The text of an aliases(5) file from [{name, value (string or list), reason}]."""
    lines = []
    for alias in aliases or []:
        if alias.get("reason"):
            lines += [f"# {line}" for line in str(alias["reason"]).strip().splitlines()]
        lines.append(f"{alias['name']}: {text(alias['value'])}")
    return "\n".join(lines) + ("\n" if lines else "")


# --- checks of what is declared -------------------------------------------------------------------------------------------


def _near(word, words):
    match = difflib.get_close_matches(str(word), list(words), 1, 0.6)
    return f", did you mean {match[0]}?" if match else ""


def _domain_problem(value):
    value = str(value or "")
    if not value:
        return "is empty: a fully qualified name is needed, like mx.example.org"
    if value.endswith("."):
        return f"is {value!r}: without the dot at the end"
    labels = value.split(".")
    if len(labels) < 2:
        return f"is {value!r}: a fully qualified name has at least two labels, like mx.example.org"
    for label in labels:
        if not LABEL.match(label):
            return (
                f"is {value!r}: {label!r} is no label of a name (letters, digits and hyphens, 1 to 63 of them, no "
                "hyphen at either end)"
            )
    if len(value) > 253:
        return f"is {len(value)} characters long, 253 is the most a name can have"
    return None


def _network_problem(value):
    plain = str(value).strip()
    if plain.startswith("!"):
        plain = plain[1:]
    match = re.fullmatch(r"\[([^\]]*)\](/\d+)?", plain)
    if match:
        plain = match[1] + (match[2] or "")
    try:
        network = ipaddress.ip_network(plain, strict=False)
    except ValueError:
        return f"{value!r} is no address and no network like 192.0.2.0/24 or 2001:db8::/64"
    if "/" in plain and ipaddress.ip_interface(plain).ip != network.network_address:
        return f"{value!r} has host bits set, the network is {network}"
    return None


def _pattern_problem(pattern):
    """What no dialect of regular expressions takes; everything finer is the host's own library to judge."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        if re.search(r"unterminated|unbalanced|missing \)", str(error)):
            return f"the expression does not compile ({error.msg})"
    return None


def _check_tables(tables, say):
    seen = set()
    for number, table in enumerate(tables or []):
        where = f"postfix_tables[{number}]"
        name = str(table.get("name") or "")
        where = f"postfix_tables ({name})" if name else where
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            say(f"{where}: name {name!r} is no plain file name (letters, digits, dot, hyphen, underscore)")
        if name == "aliases":
            say(f"{where}: this name is taken by postfix_aliases")
        if name in seen:
            say(f"{where}: the name stands twice")
        seen.add(name)
        kind = table.get("type") or ""
        if kind and kind not in INDEXED + TEXT_TABLES:
            say(
                f"{where}: type {kind!r} is unknown{_near(kind, INDEXED + TEXT_TABLES)} "
                f"(one of {', '.join(INDEXED + TEXT_TABLES)}, or none for the host's own)"
            )
        _check_entries(where, kind, table.get("entries"), say)


def _check_entries(where, kind, entries, say):
    patterns = {}
    depth = 0
    for number, entry in enumerate(entries or [], 1):
        pattern, action = str(entry.get("pattern") or ""), entry.get("action")
        here = f"{where}: entry {number} ({pattern})"
        if not pattern.strip():
            say(f"{where}: entry {number} has no pattern")
            continue
        if pattern != pattern.strip() or "\n" in pattern:
            say(f"{here}: the pattern has white space at an end or a line end, Postfix would read another line")
            continue
        if pattern.startswith("#"):
            say(f"{here}: a line that begins with # is a comment to Postfix, the entry would be ignored")
            continue
        command = pattern.split()[0].lower() if kind in ("cidr", "regexp", "pcre") else ""
        if command in ("if", "endif"):
            depth += 1 if command == "if" else -1
            if depth < 0:
                say(f"{here}: endif without if")
                depth = 0
            continue
        if not text(action):
            say(f"{here}: no action; Postfix would skip the entry")
        if "\n" in str(action or "").strip():
            say(f"{here}: the action has more than one line")
        if kind == "cidr":
            problem = _network_problem(pattern)
            if problem:
                say(f"{here}: {problem}; Postfix would skip the entry")
        elif kind in ("regexp", "pcre"):
            bare = pattern[1:] if pattern.startswith("!") else pattern
            end = bare.rfind(bare[0])
            broken = _pattern_problem(bare[1:end]) if end > 0 else None
            if broken:
                say(f"{here}: {broken}; Postfix would skip the entry")
            elif bare[0].isalnum() or end == 0 or not re.fullmatch(r"[A-Za-z]*", bare[end + 1 :]):
                say(
                    f"{here}: a {kind} pattern stands between two delimiters, like /^dyn/; Postfix would skip the entry"
                )
        else:
            if re.search(r"\s", pattern):
                say(f"{here}: an indexed table's key has no white space, the rest would become the action")
            if re.fullmatch(r"!?[0-9a-fA-F.:]+/\d+", pattern):
                say(f"{here}: an indexed table never matches a network in / notation; use type cidr")
            if pattern.lower() in patterns:
                say(f"{here}: the key stands twice (entry {patterns[pattern.lower()]}), Postfix keeps only one")
            patterns[pattern.lower()] = number
    if depth > 0:
        say(f"{where}: {depth} if without endif")


def _relay_problem(value):
    words = [word for word in re.split(r"[,\s]+", text(value)) if word]
    for word in words:
        if word.lower() in RELAY_GUARDS:
            return None
        if word.lower() not in RELAY_PERMITS:
            return (
                f"{word!r} stands before {RELAY_GUARDS[0]}: only {', '.join(RELAY_PERMITS[:3])} and the like may, "
                "because a table, a class or a plain permit that says OK there makes an open relay"
            )
    return f"none of {', '.join(RELAY_GUARDS)} is left in it: this host would relay for anyone"


def _check_named(where, items, keys, say, merge):
    seen = set()
    for item in items or []:
        key = _item_key({"type": "unix", **item} if "type" in keys else item, keys)
        if key in seen:
            say(f"{where}: {' '.join(key)} stands twice; one item holds all that is said about it")
        seen.add(key)
    try:
        return merge([items or []])
    except AnsibleFilterError as error:
        say(str(error))
        return []


def _check_services(items, say):
    for item in items or []:
        where = f"postfix_master_cf: {item.get('name')} {item.get('type', 'unix')}"
        if item.get("state", "present") == "absent":
            continue
        for field in ("private", "unpriv", "chroot"):
            if field in item and item[field] is not None and _flag(item[field]) not in ("y", "n", "-"):
                say(f"{where}: {field} is {item[field]!r}, it is y, n or -")
        if item.get("wakeup") is not None and not re.fullmatch(r"-|\d+\??", _flag(item["wakeup"])):
            say(f"{where}: wakeup is {item['wakeup']!r}, it is seconds (with ? : only when used) or -")
        if item.get("maxproc") is not None and not re.fullmatch(r"-|\d+", _flag(item["maxproc"])):
            say(f"{where}: maxproc is {item['maxproc']!r}, it is a number (0: no limit) or -")
        if item.get("command") == "spawn":
            arguments = text(item.get("args") or []).replace(",", " ")
            if "user=" not in arguments or "argv=" not in arguments:
                say(f"{where}: spawn needs user= and argv= in args")
            elif re.search(r"\buser=(root|toor)\b", arguments):
                say(f"{where}: spawn refuses to run a command as root")
            if _flag(item.get("maxproc")) != "0":
                say(f"{where}: spawn needs maxproc 0, else its clients wait for each other")
        for name, value in (item.get("options") or {}).items():
            if not PARAMETER.match(str(name)):
                say(f"{where}: option {name!r} is no parameter name")
            if name == "smtpd_relay_restrictions" and value is not None and _relay_problem(value):
                say(f"{where}: smtpd_relay_restrictions: {_relay_problem(value)}")


def _check_rates(declared, items, say):
    rates = declared.get("rates_per_minute") or {}
    override = {str(item.get("name")): item for item in items if isinstance(item, dict)}
    unit = "1s" if declared.get("profile") == "article" else "60s"
    if override.get("anvil_rate_time_unit", {}).get("state", "present") == "present":
        unit = override.get("anvil_rate_time_unit", {}).get("value", unit)
    try:
        unit_seconds = seconds(unit)
        if unit_seconds < 1:
            raise ValueError("1 second is the least")
    except ValueError as error:
        say(f"postfix_main_cf: anvil_rate_time_unit: {error}")
        return
    for kind, value in rates.items():
        if kind not in RATES:
            say(f"postfix_rates_per_minute: {kind!r} is unknown{_near(kind, RATES)} (one of {', '.join(RATES)})")
            continue
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
            say(f"postfix_rates_per_minute: {kind} is {value!r}, a whole number a minute is needed (0: no limit)")
            continue
        try:
            rate(int(value), unit_seconds)
        except ValueError as error:
            say(f"postfix_rates_per_minute: {kind}: {error}")
    for kind, name in RATES.items():
        if override.get(name, {}).get("state", "absent" if name not in override else "present") == "present":
            say(
                f"postfix_main_cf: {name} counts per anvil_rate_time_unit ({unit_seconds}s here); say it as "
                f"postfix_rates_per_minute.{kind}"
            )


def postfix_problems(declared):
    """What is wrong with the declared values, before any host is asked.

    declared: the role's public variables without the prefix postfix_ (profile, hostname, domain, mynetworks,
    inet_interfaces, process_limit, rates_per_minute, main_cf, master_cf, restrictions, tables, aliases, root_alias,
    tls_cert, tls_key, map_type, …) and base_restrictions, the role's own. Returns a list of sentences, each beginning with
    the variable's name; empty when nothing is wrong.
    """
    found = []
    say = found.append
    if declared.get("profile") not in PROFILES:
        say(
            f"postfix_profile: {declared.get('profile')!r} is unknown{_near(declared.get('profile'), PROFILES)} "
            f"({' or '.join(PROFILES)})"
        )
    for name in ("domain", "hostname"):
        problem = _domain_problem(declared.get(name))
        if problem:
            say(f"postfix_{name} (sokuhai_{name}) {problem}")
    limit = declared.get("process_limit")
    if isinstance(limit, bool) or not re.fullmatch(r"[1-9]\d*", str(limit)):
        say(f"postfix_process_limit (sokuhai_process_limit): {limit!r} is no whole number above 0")

    for value in declared.get("mynetworks") or []:
        problem = _network_problem(value)
        if problem:
            say(f"postfix_mynetworks: {problem}")
        elif re.search(r"/0$", str(value)):
            say(f"postfix_mynetworks: {value!r} is the whole internet, which makes an open relay")
    if not declared.get("mynetworks"):
        say(
            "postfix_mynetworks: empty; the host itself (127.0.0.0/8, ::1/128) must stay in it or its own mail is refused"
        )
    interfaces = declared.get("inet_interfaces") or []
    if not interfaces:
        say("postfix_inet_interfaces: empty; use all, loopback-only or addresses")
    for value in interfaces:
        if value in ("all", "loopback-only"):
            if len(interfaces) > 1:
                say(f"postfix_inet_interfaces: {value} stands alone or not at all")
            continue
        try:
            ipaddress.ip_address(str(value).strip("[]"))
        except ValueError:
            say(
                f"postfix_inet_interfaces: {value!r} is no address; use all, loopback-only or addresses of this host"
                f"{_near(value, ('all', 'loopback-only'))}"
            )
    if declared.get("inet_protocols") not in ("all", "ipv4", "ipv6"):
        say(f"postfix_inet_protocols: {declared.get('inet_protocols')!r} is none of all, ipv4, ipv6")
    for value in declared.get("destinations") or []:
        if "$" not in str(value) and str(value) != "localhost":
            problem = _domain_problem(value)
            if problem:
                say(f"postfix_destinations: an entry {problem}")
    for name in ("tls_cert", "tls_key"):
        value = declared.get(name) or ""
        if value and not str(value).startswith("/"):
            say(f"postfix_{name}: {value!r} is no absolute path on the host")
    if bool(declared.get("tls_cert")) != bool(declared.get("tls_key")):
        say("postfix_tls_cert: certificate and postfix_tls_key go together; leave both empty for a self-signed one")
    kind = declared.get("map_type") or ""
    if kind and kind not in INDEXED:
        say(
            f"postfix_map_type: {kind!r} is no indexed type{_near(kind, INDEXED)} ({', '.join(INDEXED)}, or empty to ask)"
        )

    items = declared.get("main_cf") or []
    for item in _check_named("postfix_main_cf", items, ("name",), say, postfix_merge):
        name = str(item["name"])
        if not PARAMETER.match(name):
            say(f"postfix_main_cf: {name!r} is no parameter name")
        if name in ASKED_PARAMETERS:
            say(f"postfix_main_cf: {name} is taken from the installed Postfix and cannot be declared")
        if name == "default_process_limit":
            say("postfix_main_cf: default_process_limit is sokuhai_process_limit, where it is judged against RAM")
        if "value" not in item:
            say(f"postfix_main_cf: {name} has no value (state: absent takes a parameter away)")
        if name == "smtpd_relay_restrictions":
            say(
                "postfix_main_cf: smtpd_relay_restrictions is postfix_restrictions.smtpd_relay_restrictions, item by item"
            )
    for item in items:
        if item.get("state") == "absent" and item.get("name") in ("smtpd_relay_restrictions", "compatibility_level"):
            say(
                f"postfix_main_cf: {item['name']} is always written: without it the rules for relaying depend on the "
                "release of Postfix"
            )
    _check_rates(declared, items, say)

    services = declared.get("master_cf") or []
    _check_named("postfix_master_cf", services, ("name", "type"), say, postfix_merge_services)
    _check_services(services, say)

    restrictions = declared.get("restrictions") or {}
    base = declared.get("base_restrictions") or {}
    for name, entries in restrictions.items():
        if name not in RESTRICTION_LISTS:
            say(f"postfix_restrictions: {name!r} is no list of restrictions{_near(name, RESTRICTION_LISTS)}")
        _check_named(
            f"postfix_restrictions.{name}",
            entries,
            ("name",),
            say,
            lambda lists, name=name: _merge(lists, ("name",), f"postfix_restrictions.{name}"),
        )
    try:
        final = {item["name"]: item["value"] for item in postfix_restriction_items(base, restrictions)}
        problem = _relay_problem(final.get("smtpd_relay_restrictions"))
        if problem:
            say(f"postfix_restrictions: smtpd_relay_restrictions: {problem}")
    except AnsibleFilterError:
        pass  # said above

    _check_tables(declared.get("tables"), say)
    seen = set()
    for alias in declared.get("aliases") or []:
        name = str(alias.get("name") or "")
        if not name or re.search(r"[@\s:#]", name):
            say(f"postfix_aliases: name {name!r} is no local part (no @, no white space)")
        if name.lower() in seen:
            say(f"postfix_aliases: {name} stands twice")
        seen.add(name.lower())
        if not text(alias.get("value")):
            say(f"postfix_aliases: {name} has no value")
    address = str(declared.get("root_alias") or "")
    if address and not re.fullmatch(r"[^@\s,]+(@[^@\s,]+)?", address):
        say(f"postfix_root_alias: {address!r} is no address")
    elif "@" in address and _domain_problem(address.partition("@")[2]):
        say(f"postfix_root_alias: the domain {_domain_problem(address.partition('@')[2])}")
    return found


class FilterModule:
    def filters(self):
        return {
            "postfix_merge": postfix_merge,
            "postfix_merge_services": postfix_merge_services,
            "postfix_restriction_items": postfix_restriction_items,
            "postfix_base_restrictions": postfix_base_restrictions,
            "postfix_known_items": postfix_known_items,
            "postfix_table_problems": postfix_table_problems,
            "postfix_path_items": postfix_path_items,
            "postfix_rate_items": postfix_rate_items,
            "postfix_main_cf": postfix_main_cf,
            "postfix_master_cf": postfix_master_cf,
            "postfix_rendered_tables": postfix_rendered_tables,
            "postfix_aliases_text": postfix_aliases_text,
            "postfix_problems": postfix_problems,
        }
