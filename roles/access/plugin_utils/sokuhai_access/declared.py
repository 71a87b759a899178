# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the other files share: nearest names, domains, networks, entries merged by name."""

import collections
import difflib
import ipaddress
import re

LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
DOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")


def near(word, words):
    """Return ', did you mean X?' for the nearest of *words*, or all of them in parentheses."""
    match = difflib.get_close_matches(str(word), [str(one) for one in words], 1, 0.5)
    return f", did you mean {match[0]}?" if match else f" ({', '.join(map(str, words))})"


def is_domain(text):
    """Return whether *text* is a domain of at least two labels."""
    return "." in text and bool(DOMAIN.fullmatch(text))


def network(value):
    """Return *value* as a network of module ipaddress, host bits cut off, or None for what is none."""
    try:
        return ipaddress.ip_network(str(value).strip(), strict=False)
    except ValueError:
        return None


def merged(base, extra, variable):
    """Return (entries, problems): *extra* merged into *base* by name, new ones before the base's, those with state absent removed.

    A name that is in extra twice is a problem: one of the two would be lost, and nobody could tell which.

    base, extra: lists of dicts. variable: where extra comes from, for the problems, a list of sentences.
    """
    known, ahead, problems = {entry["name"]: dict(entry) for entry in base}, {}, []
    count = collections.Counter(str(entry.get("name") or "") for entry in extra or [])
    problems += [
        f"{variable}: {name} is listed twice; one entry has everything that is declared about it"
        for name, times in count.items()
        if name and times > 1
    ]
    for entry in extra or []:
        name = str(entry.get("name") or "")
        given = {key: value for key, value in entry.items() if value is not None}
        if not name:
            problems.append(f"{variable}: an entry needs a name")
        elif given.get("state", "present") == "absent":
            if name not in known:
                problems.append(f"{variable}: there is no entry {name!r} to remove{near(name, known)}")
            known.pop(name, None)
        elif name in known:
            known[name].update(given)
        else:
            ahead[name] = given
    return [*ahead.values(), *known.values()], problems
