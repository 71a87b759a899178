# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""FD_SETSIZE in a sys/select.h of FreeBSD: read, and replaced without touching anything else."""

import re

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused

# sys/sys/select.h: `1024U` to 10.4, `1024` since; tabs; behind #ifndef in all of them.
_ANY = re.compile(r"^[ \t]*#[ \t]*define[ \t]+FD_SETSIZE\b")
_GOOD = re.compile(r"^(#[ \t]*define[ \t]+FD_SETSIZE[ \t]+)([0-9]+)([uU]?[ \t]*(?:/\*.*)?)$")
_GUARD = re.compile(
    r"^[ \t]*#[ \t]*(?:ifndef[ \t]+FD_SETSIZE|if[ \t]+!defined[ \t]*\(?[ \t]*FD_SETSIZE[ \t]*\)?)[ \t]*(?:/\*.*)?$"
)
#: What every release since 2.0 ships.
STOCK = 1024


def _find(text, path):
    lines = text.split("\n")
    hits = [number for number, line in enumerate(lines) if _ANY.match(line)]
    if len(hits) != 1:
        said = "; ".join("line %d: %s" % (n + 1, lines[n].strip()) for n in hits) or "none"
        raise Refused(
            "%s: exactly one `#define FD_SETSIZE NUMBER` is expected, found %d (%s)" % (path, len(hits), said)
        )
    number, line = hits[0], lines[hits[0]]
    match = _GOOD.match(line)
    if not match:
        raise Refused("%s: line %d is not `#define FD_SETSIZE NUMBER`: %s" % (path, number + 1, line.strip()))
    above = next((other for other in reversed(lines[:number]) if other.strip()), "")
    if not _GUARD.match(above):
        raise Refused(
            "%s: line %d is not behind `#ifndef FD_SETSIZE` but behind: %s"
            % (path, number + 1, above.strip() or "nothing")
        )
    return lines, number, match


def value(text, path):
    """Return the number (int) that *text*, a header, gives FD_SETSIZE.

    path: the header's, for the message. Raises Refused, with what was found instead, unless it is there exactly once, behind its guard.
    """
    return int(_find(text, path)[2].group(2))


def replace(text, path, number):
    """Return *text* with *number* (int) in the place of the one that is there; suffix, white space and the rest as they were. Raises Refused as value()."""
    lines, at, match = _find(text, path)
    lines[at] = "%s%d%s" % (match.group(1), number, match.group(3))
    return "\n".join(lines)


def require(path, number, advice):
    """Raise Refused unless the header *path* gives FD_SETSIZE this *number* (int). advice: what is to be done (str)."""
    found = value(host.read(path) or "", path)
    if found != number:
        raise Refused("%s says FD_SETSIZE %d, %d is declared: %s" % (path, found, number, advice))
