# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Pure functions of role bind: what a declared port's named will be, sizes from RAM, and lines of named.conf."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "module_utils"))
from sokuhai import passwords

MIB = 1024 * 1024


def bind_predict(package):
    """What the named of a port will be, before it is installed.

    package: name such as "bind920"; "bind9-devel" is the development line. Returns {"version" (series, str), "knows"
    ({statement: bool})}. `files` and `resolver-retry-interval` are fatal from 9.20 on (lib/isccfg/namedconf.c of both
    branches); the run-time question is put to named-checkconf once there is one.
    """
    match = re.match(r"^bind9(\d{2})$", str(package))
    if not match:
        return {"version": "9.21", "knows": {"files": False, "resolver_retry_interval": False}}
    older = int(match.group(1)) < 20
    return {"version": "9.%d" % int(match.group(1)), "knows": {"files": older, "resolver_retry_interval": older}}


def bind_cache_mib(physmem, share, floor, ceiling, room=None):
    """max-cache-size in MiB: `share` percent of physmem (bytes), held between floor and ceiling (MiB), and within room (MiB), where that is known.

    named's own default is 90 % of RAM in each view, which on a mail host is Postfix's memory.
    """
    wanted = min(int(ceiling), int(physmem) * int(share) // 100 // MIB)
    return max(int(floor), wanted if room is None else min(wanted, int(room)))


def bind_anchor(entry):
    """One line of trust-anchors for {"name", "type", "value"}: the last field is quoted, as named.conf wants it."""
    fields = entry["value"].split()
    return '"%s" %s %s "%s";' % (
        entry["name"],
        entry.get("type") or "static-ds",
        " ".join(fields[:3]),
        "".join(fields[3:]),
    )


class FilterModule:
    def filters(self):
        return {
            "bind_predict": bind_predict,
            "bind_passwords": passwords.of_named,
            "bind_cache_mib": bind_cache_mib,
            "bind_anchor": bind_anchor,
        }
