# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Passwords in the text of a configuration: where they are, and the text without them. Pure functions, standard library only, Python 3.9."""

import re

#: What is shown in the place of a password, and of one that is another now.
NOT_SHOWN, ANOTHER = "(not shown)", "(another, not shown)"
#: Parameters that hold one: smtp_sasl_password_maps, and what ldap_table(5) and mysql_table(5) read in main.cf as NAME_bind_pw and NAME_password.
NAME = r"[\w.:-]*(?:passw(?:or)?d|secret|_bind_pw)[\w.:-]*"
# what tables hold that are written in the parameter itself (inline_table(5) and static: of DATABASE_README), braces within braces once
_TABLES = re.compile(r"\bstatic:\s*(?:\{([^{}]*)\}|([^\s,{}]+))|\binline:\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_ENTRY = re.compile(r"\{[^{}=]*=([^{}]*)\}|=([^{}\s,]+)")
_LINE = re.compile(r"^(%s)[ \t]*=[ \t]*(.*(?:\n[ \t].*)*)" % NAME, re.M | re.I)
_OPTION = re.compile(r"(?<![\w.:-])(%s)[ \t]*=[ \t]*(\S.*)" % NAME, re.I)


def in_value(name, value):
    """Return the passwords (list of str) in the *value* of the parameter *name* of main.cf, or of an option of that name."""
    found = re.findall(r"://[^\s/@:]*:([^\s/@]+)@", value)
    if re.fullmatch(NAME, name, re.I) and not name.endswith("_delimiter"):
        for braced, word, inline in _TABLES.findall(value):
            entries = (either for pair in _ENTRY.findall(inline) for either in pair)
            found += [text.strip() for text in (braced, word, *entries)]
        if not name.endswith("_maps") and not _TABLES.search(value) and not value.startswith(("/", "$", "<")):
            found.append(value.strip())
    return [text for text in dict.fromkeys(found) if text]


def of_postfix(text):
    """Return the passwords in the text of a main.cf or master.cf."""
    found = []
    for name, value in _LINE.findall(text):
        found += in_value(name, " ".join(value.split()))
    for line in text.splitlines():
        if not line.startswith("#"):
            found += in_value("", line)
            # an option's value ends where its braces or its word do
            for name, value in _OPTION.findall(line) if not _LINE.match(line) else ():
                found += in_value(name, value if _TABLES.match(value) else value.split()[0].rstrip("}"))
    return list(dict.fromkeys(found))


def of_named(text):
    """Return the secrets of keys in the text of a named.conf."""
    return [text for text in re.findall(r'\bsecret\s+"?([^\s;"]+)', text) if text]


def pair(before, after, found):
    """Return two texts, or None, for a diff, without what *found* (of_postfix, of_named) finds in them. A password that is another now is told apart."""
    old, new = (found(text) if text else [] for text in (before, after))
    for secret in sorted(old, key=len, reverse=True):
        before = before.replace(secret, NOT_SHOWN)
    for secret in sorted(new, key=len, reverse=True):
        after = after.replace(secret, NOT_SHOWN if secret in old or before is None else ANOTHER)
    return before, after
