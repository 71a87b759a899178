# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Checks of what the inventory declares for role limits, without a host."""

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
    return [message for wrong, message in _checks(declared) if wrong]


def _checks(declared):
    """Yield (whether it is wrong, message) of each thing to be looked at."""
    for variable in ("limits_sysctl", "limits_loader"):
        for name, value in declared[variable].items():
            where = f"{variable}['{name}']"
            kind, text = isinstance(value, (int, str)) and not isinstance(value, bool), str(value)
            named = isinstance(name, str) and NAME.match(name)
            yield not named, f"{where}: {name!r} is not the name of a kernel value, like kern.maxfiles"
            yield not kind, f"{where} = {value!r}: a whole number or a text is needed"
            yield (
                kind and (not text or re.search(r"[\n\r\"'#\\]", text)),
                f"{where} = {value!r}: quotes, # and line breaks are not possible in sysctl.conf or loader.conf",
            )
    files, name = declared["limits_openfiles"], declared["limits_login_class"]
    yield files < 256, f"limits_openfiles = {files}: 256 or more is needed"
    yield not CLASS.match(name), f"limits_login_class = {name!r}: letters, digits, _ and - are needed"
    reserved = name in RESERVED
    yield reserved, f"limits_login_class = {name!r} is one of the system's own classes: choose another name"
    for service in declared["limits_services"]:
        script = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", service)
        yield not script, f"limits_services: {service!r} is not the name of an rc script"


def limits_reboot(items):
    """One sentence of what waits for a boot: items is the reboot list of filter limits_plan."""
    return "; ".join("{name} = {wanted} (now {running}: {reason})".format(**item) for item in items)


class FilterModule:
    def filters(self):
        return {"limits_problems": limits_problems, "limits_reboot": limits_reboot}
