# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Filters of role fd_setsize."""

import time


def fd_setsize_to_be(headers, sources, installed):
    """The list for module fd_setsize: *headers* ([{path, installed, optional}]) with the state (str) that *sources* and *installed* ones get."""
    return [dict(header, state=installed if header.get("installed") else sources) for header in headers]


def day(seconds, form="%Y-%m-%d"):
    return time.strftime(form, time.localtime(seconds))


def fd_setsize_warnings(result, value):
    """Sentences for the operator (list of str) from what module fd_setsize returned (dict) and the declared value (int)."""
    found = [
        f"{one['path']} says {one['value']} again, {one['raised']} was put there on {day(one['when'], '%Y-%m-%d %H:%M')}: "
        f"{'an upgrade of package ' + one['package'] if one['package'] else 'freebsd-update or installworld'} did it. "
        "Programs built since then are unlike those before."
        for one in result["reset"]
    ]
    if result["others"]:
        names = ", ".join(f"{one['name']}-{one['version']} ({day(one['installed'])})" for one in result["others"])
        found.append(
            f"built here, or installed from a file, while sys/select.h said {value}: {names}. Their fd_set is larger than that of the "
            "libraries from packages: rebuild them with the original header, or install the repository's (pkg install -f)"
        )
    if result["worlds"]:
        found.append(
            f"{result['worlds'][0]} was built from sources whose FD_SETSIZE is {value}: a world installed from them has another fd_set than "
            "every package. Restore the sources (playbooks/rollback.yml) and rebuild it before an installworld"
        )
    found += [
        f"{path} says FD_SETSIZE {value}: a world built from these sources would have another fd_set than every package. Before a buildworld "
        "restore it: playbooks/rollback.yml --tags headers"
        for path in result["sources"]
    ]
    return found + list(result["notes"])


class FilterModule:
    def filters(self):
        return {
            "fd_setsize_to_be": fd_setsize_to_be,
            "fd_setsize_warnings": fd_setsize_warnings,
        }
