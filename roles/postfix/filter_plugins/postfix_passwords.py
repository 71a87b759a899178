# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Passwords that are declared in main.cf or master.cf, which everybody on the host may read. Pure."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "module_utils"))
from sokuhai import passwords


def _text(value):
    """Return a value of a parameter as one line."""
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return "" if value is None else " ".join(str(value).split())


def _found(main_cf, master_cf):
    """Yield (variable, parameter, passwords) of the items that have any."""
    for item in main_cf or []:
        yield "postfix_main_cf", item["name"], passwords.in_value(item["name"], _text(item.get("value")))
    for item in master_cf or []:
        for name, value in (item.get("options") or {}).items():
            yield "postfix_master_cf", f"{item['name']}: {name}", passwords.in_value(name, _text(value))
        yield "postfix_master_cf", f"{item['name']}: args", passwords.of_postfix(" " + _text(item.get("args")))


def postfix_passwords(main_cf, master_cf):
    """Return the passwords in the values of postfix_main_cf and postfix_master_cf (lists of items), for what must not show them."""
    return [text for _variable, _name, found in _found(main_cf, master_cf) for text in found]


def postfix_password_warnings(main_cf, master_cf):
    """Return a sentence for each of those values: it works, and everybody on the host may read it."""
    form = (
        "%s: %s has a password in it, and everybody on the host may read this file, since sendmail(1) does. Put it into a table, which is root's alone: "
        'postfix_tables with an item {name: sasl_passwd, entries: [{pattern: "[relay.example.org]:587", action: "user:password"}]}, and here '
        "hash:/usr/local/etc/postfix/tables/sasl_passwd (postfix_smarthost does both by itself); of LDAP or SQL into a file of its own (ldap_table(5)), which is named here"
    )
    return [form % (variable, name) for variable, name, found in _found(main_cf, master_cf) if found]


class FilterModule:
    def filters(self):
        return {"postfix_passwords": postfix_passwords, "postfix_password_warnings": postfix_password_warnings}
