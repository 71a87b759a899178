# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Tables and networks of Postfix: what is wrong with those that are declared, before any host is contacted.

Pure functions. Rules of the files: cidr_table(5), regexp_table(5), pcre_table(5), postmap(1) of Postfix 3.7 to 3.11; how a table is written:
roles/postfix/templates/usr/local/etc/postfix/tables.
"""

import ipaddress
import pathlib
import re
import sys

# Ansible loads each filter file by its path, without a package
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postfix_items import postfix_value

#: Parameters of smtp(8) and lmtp(8) whose tables hold passwords; smtp(8) opens them before it gives up root (SASL_README).
PASSWORDS = ("smtp_sasl_password_maps", "lmtp_sasl_password_maps")


def postfix_secret_tables(tables, main_cf, master_cf):
    """Return the names of *tables* that nobody but root may read: marked so, sasl_passwd, and those that hold passwords as *main_cf* or *master_cf* say.

    Each a list of named items, as the variables postfix_tables, postfix_main_cf and postfix_master_cf have them.
    """
    named = [str(item.get("value")) for item in main_cf or [] if item.get("name") in PASSWORDS]
    named += [str(item).partition(name)[2] for item in master_cf or [] for name in PASSWORDS]
    secret = {"sasl_passwd", *re.findall(r"/tables/([A-Za-z0-9._-]+)", " ".join(named))}
    return sorted({table["name"] for table in tables or [] if table.get("secret") or table["name"] in secret})


def postfix_sender_logins(logins, aliases, domains):
    """Return the entries {pattern, action} of a table for smtpd_sender_login_maps: whose each address is.

    logins: {login: list of further addresses}; aliases: a list of {name, value}, as aliases(5) has them; domains: list of this host's, in which
    mailbox and alias belong to who logs in by that name. A key without domain is looked up in all of mydestination (postconf(5)).
    """
    owners = {}
    for login, addresses in logins.items():
        mine = more = {_local(login, domains)}
        while more:
            more = {
                _local(item["name"], domains) for item in aliases if mine & _recipients(item["value"], domains)
            } - mine
            mine = mine | more
        for address in mine | {_local(address, domains) for address in addresses}:
            owners.setdefault(address, []).append(login)
    return [{"pattern": address, "action": ", ".join(sorted(owners[address]))} for address in sorted(owners)]


def _local(address, domains):
    """The mailbox alone of an address in one of *domains*, any other address whole."""
    mailbox, _at, domain = str(address).strip().lower().partition("@")
    return mailbox if mailbox and domain in ("", *domains) else f"{mailbox}@{domain}"


def _recipients(value, domains):
    listed = value if isinstance(value, list) else [value]
    return {_local(part, domains) for item in listed for part in str(item).split(",")}


def postfix_typed(tables, map_type):
    """Return the tables {name, type, entries} with *map_type* for those without a type; of two with one name the later counts."""
    return [
        {**table, "type": table.get("type") or map_type}
        for table in {table["name"]: table for table in tables}.values()
    ]


def postfix_apart(rendered):
    """Return *rendered* tables {name, text, secret}, without the text of the secret ones: see postfix_secret_texts."""
    return [{**table, "text": ""} if table.get("secret") else table for table in rendered]


def postfix_secret_texts(rendered):
    """Return {name: text} of the secret ones of *rendered* tables {name, text, secret}."""
    return {table["name"]: table["text"] for table in rendered if table.get("secret")}


def network_problem(value):
    """Return what is wrong with an address or a network as cidr_table(5) and mynetworks take it, or None."""
    plain = re.sub(r"^\[([^\]]*)\]", r"\1", str(value).strip().removeprefix("!"))
    try:
        network = ipaddress.ip_network(plain, strict=False)
    except ValueError:
        return f"{value!r} is not an address and not a network like 192.0.2.0/24 or 2001:db8::/64"
    if ipaddress.ip_interface(plain).ip != network.network_address:
        return f"{value!r} has host bits set, the network is {network}"
    return None


def postfix_network_problems(mynetworks):
    """Return what is wrong with the list of clients that may relay, a list of sentences that begin with postfix_mynetworks."""
    found = [network_problem(value) for value in mynetworks]
    found += [
        f"{value!r} is the whole internet, which makes an open relay"
        for value in mynetworks
        if str(value).endswith("/0")
    ]
    if not mynetworks:
        found = ["empty; the host itself (127.0.0.0/8, ::1/128) must stay in it or its own mail is refused"]
    return [f"postfix_mynetworks: {problem}" for problem in found if problem]


def postfix_table_problems(tables, variable="postfix", secret=()):
    """Return what is wrong with tables {name, type, entries: [{pattern, action, origin}]}: entries that Postfix would skip, ignore or read otherwise.
    Whether it compiles an expression, only Postfix can tell: see postfix_asked().

    A list of sentences that begin with *variable* and _tables, or with an entry's own origin. secret: names of tables of which nothing is shown, not
    even a pattern: a password that was put into the wrong key would be in it.
    """
    # one entry may be in two tables
    return list(dict.fromkeys(_table_problems(tables or [], f"{variable}_tables", secret)))


def _table_problems(tables, variable, secret):
    seen = set()
    for table in tables:
        name, kind = str(table["name"]), table.get("type") or ""
        where = f"{variable} ({name})"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            yield f"{where}: name {name!r} is not a plain file name (letters, digits, dot, hyphen, underscore)"
        if name == "aliases":
            yield f"{where}: this name is taken by postfix_aliases"
        if name in seen:
            yield f"{where}: the name is listed twice"
        seen.add(name)
        yield from _entry_problems(where, kind, table.get("entries") or [], name in secret)


def _origin(where, number, entry, secret=False):
    """Return how a sentence names an entry: by what the inventory calls it, else by its place in the table *where*."""
    shown = "" if secret else f" ({entry.get('pattern')})"
    return f"{entry.get('origin') or f'{where}: entry {number}'}{shown}"


def _entry_problems(where, kind, entries, secret):
    patterns, depth = {}, 0
    for number, entry in enumerate(entries, 1):
        pattern, action = str(entry.get("pattern") or ""), str(entry.get("action") or "").strip()
        here = _origin(where, number, entry, secret)
        if not pattern.strip():
            yield f"{entry.get('origin') or f'{where}: entry {number}'} has no pattern"
            continue
        if pattern != pattern.strip() or "\n" in pattern:
            yield f"{here}: the pattern has white space at an end or a line end, Postfix would read another line"
            continue
        if pattern.startswith("#"):
            yield f"{here}: a line that begins with # is a comment to Postfix, the entry would be ignored"
            continue
        command = pattern.split()[0].lower() if kind in ("cidr", "regexp", "pcre") else ""
        if command in ("if", "endif"):
            depth += 1 if command == "if" else -1
            if depth < 0:
                yield f"{here}: endif without if"
                depth = 0
            continue
        if not action:
            yield f"{here}: no action; Postfix would skip the entry"
        if "\n" in action:
            yield f"{here}: the action has more than one line"
        problem = None
        if kind == "cidr":
            problem = network_problem(pattern)
        elif kind == "regexp":
            problem = _escape_problem(pattern)
        elif kind != "pcre":
            yield from (f"{here}: {problem}" for problem in _key_problems(pattern, patterns.get(pattern.lower())))
            patterns[pattern.lower()] = number
        if problem and secret:
            problem = f"the pattern is not right for type {kind}"
        if problem:
            yield f"{here}: {problem}; Postfix would skip the entry"
    if depth > 0:
        yield f"{where}: {depth} if without endif"


def _key_problems(key, before):
    if re.search(r"\s", key):
        yield "an indexed table's key has no white space, the rest would become the action"
    if re.fullmatch(r"!?[0-9a-fA-F.:]+/\d+", key):
        yield "an indexed table never matches a network in / notation; use type cidr"
    if before:
        yield f"the key is listed twice (entry {before}), Postfix keeps only one"


def _escape_problem(pattern):
    """FreeBSD's regcomp() takes no backslash before a letter (may_escape() in lib/libc/regex/regcomp.c), and what Postfix prints of that is
    "trailing backslash". In brackets it is the backslash itself, which no name has: whoever writes [\\d] means digits."""
    escapes = [letter for letter in re.findall(r"\\(.)", pattern) if letter.isascii() and letter.isalpha()]
    if not escapes:
        return None
    wanted = {"d": "[0-9]", "w": "[[:alnum:]_]", "s": "[[:space:]]", "b": "[[:<:]] and [[:>:]]"}
    instead = wanted.get(escapes[0], "the letter alone")
    return f"\\{escapes[0]} is of Perl's expressions, regexp_table(5) has those of re_format(7): {instead}"


def postfix_asked(tables, secret=(), access=None):
    """Return what postfix_lookups asks the installed Postfix before anything changes: {tables: [{name, type, lines, origins}], samples}.

    tables: postfix_tables; those of expressions are asked that are not *secret* (names). access: {tables, samples} of role access. lines: one an entry,
    so that the line that Postfix complains of is the entry; origins: what a sentence about each begins with.
    """
    mine = [one for one in tables or [] if one.get("type") in ("regexp", "pcre") and one["name"] not in secret]
    asked = [
        {
            "name": table["name"],
            # an indexed type without its database
            "type": table.get("type") or "texthash",
            "lines": [f"{entry['pattern']} {postfix_value(entry.get('action'))}".strip() for entry in table["entries"]],
            "origins": [
                _origin(f"postfix_tables ({table['name']})", number, entry)
                for number, entry in enumerate(table["entries"], 1)
            ],
        }
        for table in [*((access or {}).get("tables") or []), *mine]
    ]
    return {"tables": asked, "samples": (access or {}).get("samples") or []}


class FilterModule:
    def filters(self):
        return {
            "postfix_secret_tables": postfix_secret_tables,
            "postfix_apart": postfix_apart,
            "postfix_secret_texts": postfix_secret_texts,
            "postfix_sender_logins": postfix_sender_logins,
            "postfix_typed": postfix_typed,
            "postfix_network_problems": postfix_network_problems,
            "postfix_table_problems": postfix_table_problems,
            "postfix_asked": postfix_asked,
        }
