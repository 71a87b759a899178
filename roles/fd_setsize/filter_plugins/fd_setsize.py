# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Filters of role fd_setsize."""

from __future__ import annotations

import time

# Bits of a word of fd_set, 64-bit platforms (sys/sys/select.h, _NFDBITS): other values are rounded up by the header itself.
WORD = 64


def fd_setsize_headers(headers, source_state, installed_state):
    """The list for module fd_setsize: headers ([{path, installed, optional}]) with the state (str) of sources and of installed ones."""
    return [dict(header, state=installed_state if header.get("installed") else source_state) for header in headers]


def fd_setsize_problems(value, headers):
    """What is wrong with the declared values; a list of sentences.

    value: FD_SETSIZE (int). headers: [{path, ...}]. Below 1024 programs of the base system would break; 1,048,576 descriptors make
    an fd_set of 128 KiB, which is put on the stack.
    """
    found = []
    if value < 1024 or value > 1048576:
        found.append(f"fd_setsize_value = {value}: 1024 to 1048576 is possible")
    elif value % WORD:
        found.append(f"fd_setsize_value = {value}: a multiple of {WORD} is needed, as {-(-value // WORD) * WORD}")
    paths = [header.get("path") or "" for header in headers]
    if not paths:
        found.append(
            "fd_setsize_headers: is empty; the default names /usr/include/sys/select.h and /usr/src/sys/sys/select.h"
        )
    found += [
        f"fd_setsize_headers: {path!r} is no absolute path of a header"
        for path in paths
        if not path.startswith("/") or not path.endswith(".h")
    ]
    found += [
        f"fd_setsize_headers: {path} stands there twice"
        for path in sorted({path for path in paths if paths.count(path) > 1})
    ]
    return found


def fd_setsize_warnings(result, value):
    """Sentences for the operator from what module fd_setsize returned (dict) and the declared value (int)."""
    found = [f"{sentence}. Programs built since then are unlike those before." for sentence in result["reset"]]
    if result["others"]:
        names = ", ".join(
            f"{p['name']}-{p['version']} ({time.strftime('%Y-%m-%d', time.localtime(p['installed']))})"
            for p in result["others"]
        )
        found.append(
            f"built here, or installed from a file, while sys/select.h said {value}: {names}. Their fd_set is larger than that of the "
            "libraries from packages: build them anew with the original header, or take the repository's (pkg install -f)"
        )
    if result["worlds"]:
        found.append(
            f"{result['worlds'][0]} was built from sources whose FD_SETSIZE is {value}: a world installed from them has another fd_set than "
            "every package. Put the sources back (playbooks/rollback.yml) and build it anew before an installworld"
        )
    return found + list(result["notes"])


class FilterModule:
    """Filters of role fd_setsize."""

    def filters(self):
        return {
            "fd_setsize_headers": fd_setsize_headers,
            "fd_setsize_problems": fd_setsize_problems,
            "fd_setsize_warnings": fd_setsize_warnings,
        }
