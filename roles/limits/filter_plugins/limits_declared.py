# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Checks of what the inventory declares for role limits, without a host."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_%-]+)+\Z")
CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
# The classes of the system's own login.conf: ours would change what other services get.
RESERVED = ("default", "daemon", "root", "standard", "xuser", "staff", "news", "russian")


def limits_problems(declared):
    """Messages for values that no host could take.

    declared: {variable: value} with limits_sysctl, limits_loader ({name: int|str}), limits_openfiles (int), limits_login_class (str),
    limits_services (list of str). Each message begins with the variable's name.
    """
    values = {name.removeprefix("limits_"): value for name, value in declared.items()}
    messages = []
    for variable in ("sysctl", "loader"):
        for name, value in values[variable].items():
            where = f"limits_{variable}['{name}']"
            if not isinstance(name, str) or not NAME.match(name):
                messages.append(f"{where}: {name!r} is not the name of a kernel value, like kern.maxfiles")
            elif isinstance(value, bool) or value is None or isinstance(value, (list, dict, float)):
                messages.append(f"{where} = {value!r}: a whole number or a text is needed")
            elif isinstance(value, str) and (not value or re.search(r"[\n\r\"'#\\]", value)):
                messages.append(
                    f"{where} = {value!r}: quotes, # and line breaks are not possible in sysctl.conf or loader.conf"
                )
    if values["openfiles"] < 256:
        messages.append(f"limits_openfiles = {values['openfiles']}: 256 or more is needed")
    if not CLASS.match(values["login_class"]):
        messages.append(f"limits_login_class = {values['login_class']!r}: letters, digits, _ and - are needed")
    elif values["login_class"] in RESERVED:
        messages.append(
            f"limits_login_class = {values['login_class']!r} is one of the system's own classes: choose another name"
        )
    for service in values["services"]:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", service):
            messages.append(f"limits_services: {service!r} is not the name of an rc script")
    return messages


def limits_reboot(items):
    """One sentence of what waits for a boot: items is the reboot list of filter limits_plan."""
    return "; ".join("{name} = {wanted} (now {running}: {reason})".format(**item) for item in items)


class FilterModule:
    """Filters of role limits."""

    def filters(self):
        return {"limits_problems": limits_problems, "limits_reboot": limits_reboot}
