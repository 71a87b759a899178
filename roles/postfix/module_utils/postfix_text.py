# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What Postfix's commands print and its files hold, as data. Pure functions; standard library only, Python 3.9 to 3.13."""

import re

# A lone word:word that is not a table: services, sockets, SMTP destinations.
NO_TABLE = set("inet unix pass smtp lmtp relay local virtual error retry discard fifo file".split())
SERVICE_FIELDS = ("name", "type", "private", "unpriv", "chroot", "wakeup", "maxproc")


def words(value, separators=", \t\r\n"):
    """Split as mystrtokq() of Postfix does: what stands in braces stays whole."""
    found, current, depth = [], "", 0
    for char in value:
        depth = max(0, depth + (char == "{") - (char == "}"))
        if depth or char not in separators:
            current += char
        elif current:
            found.append(current)
            current = ""
    return found + [current] if current else found


def parameters(text):
    """Return {name: value} of the name = value lines that postconf(1) prints."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def services(text):
    """Return the services of postconf -M: a list of {name, type, private, unpriv, chroot, wakeup, maxproc, command, args, options}."""
    found = []
    for line in text.splitlines():
        fields = line.split(None, 7)
        if len(fields) < 8:
            continue
        command, *rest = words(fields.pop(), " \t")
        options, arguments, rest = {}, [], iter(rest)
        for part in rest:
            if part == "-o":
                pair = next(rest, "")
                name, _equals, value = (pair[1:-1] if pair.startswith("{") else pair).partition("=")
                options[name.strip()] = value.strip()
            else:
                arguments.append(part)
        found.append(dict(zip(SERVICE_FIELDS, fields), command=command, args=arguments, options=options))
    return found


def overrides(text):
    """Return [(service/type, parameter, value)] of the service/type/parameter = value lines of postconf -P."""
    split = ((name.rpartition("/"), value) for name, value in parameters(text).items())
    return [(service, parameter, value) for (service, slash, parameter), value in split if slash]


def sockets(value):
    """Return the private/X and public/X sockets that a value names."""
    return re.findall(r"(?:^|[\s,:={])((?:private|public)/[A-Za-z0-9._-]+)", value)


def tables(value, types):
    """Return the type:name tables in a value, types being a set of names; inline:{…} and the like stay whole, proxy: is looked through."""
    found = []
    for part in words(value):
        if part.startswith("{"):
            found += tables(part[1:].rstrip("}"), types)
            continue
        part = re.sub("^proxy:", "", part.lstrip("!"))
        kind = re.match(r"([a-z]+):.", part, re.S)
        if kind and kind[1] in types - NO_TABLE:
            found.append(part)
    return found


def entries(text, aliases):
    """Return {key: value} of an indexed table's text, keys folded; the first of two equal keys counts. aliases: the text is aliases(5)."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            key, _blank, value = line.partition(": " if aliases else " ")
            found.setdefault(key.strip().lower(), " ".join(value.split()))
    return found


def dumped(text, aliases):
    """Return {key: value} of what postmap -s (postalias -s) or postmap -q - prints of a database, without the keys that postalias adds."""
    found = {}
    for line in text.splitlines():
        key, _tab, value = line.partition("\t")
        key = key.strip().rstrip(":") if aliases else key.strip()
        if not aliases or key != "@" and not key.startswith("YP_"):
            found[key.lower()] = " ".join(value.split())
    return found
