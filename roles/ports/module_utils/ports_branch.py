# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Of which branch a ports tree is, and of which it must be."""

import os
import re
import time

from ansible.module_utils.sokuhai import host

#: What makes a directory a ports tree.
MARK = "Mk/bsd.port.mk"


def there(tree):
    """Return whether a ports tree is in the directory *tree*."""
    return os.path.exists(os.path.join(tree, MARK))


def repositories(text):
    """Return {name: url} of the enabled repositories in what `pkg -vv` printed."""
    found = {}
    for name, body in re.findall(r"^\s+([A-Za-z0-9_.-]+): \{\s*\n(.*?)^\s*\}", text, re.M | re.S):
        values = dict(re.findall(r'^\s+(url|enabled)\s*:\s*"?([^",\n]*)"?', body, re.M))
        if values.get("url") and values.get("enabled", "yes").strip() in ("yes", "true"):
            found[name] = values["url"]
    return found


def of_packages():
    """Return quarterly, main or None: the branch that the host's packages are built from.

    pkg.FreeBSD.org has one directory for each: quarterly, and latest, built from main (etc/pkg/FreeBSD.conf).
    """
    for url in repositories(host.run(["pkg", "-vv"])[1]).values():
        match = re.search(r"[Ff]ree[Bb][Ss][Dd]\.org/.*/(quarterly|latest|release_\d+)\s*/?$", url)
        if match:
            return {"latest": "main", "quarterly": "quarterly"}.get(match.group(1))
    return None


def quarter(now):
    """Return the name of the quarterly branch at the time *now* (s since 1970): 2026Q4."""
    day = time.gmtime(now)
    return "%dQ%d" % (day.tm_year, (day.tm_mon - 1) // 3 + 1)


def judge(branch, wanted, now):
    """Return (problem, note), each a str or "": the tree's branch (None: unknown) against *wanted*: main, quarterly, a quarter, None for unknown.

    Mixing two branches gives programs whose libraries are of another age (handbook, ports). The branch of a past quarter gets no more
    security fixes. now: s since 1970.
    """
    present = quarter(now)
    if wanted is None:
        return (
            "",
            "the repositories of pkg are not FreeBSD's own: the branch that the ports tree should be of is unknown",
        )
    if branch is None:
        return "", "the ports tree is not a git checkout: whether it is of branch %s is unknown" % wanted
    quarterly = re.match(r"\d{4}Q[1-4]$", branch)
    if branch != wanted and not (wanted == "quarterly" and quarterly):
        return "the ports tree is of branch %s, not of %s" % (branch, present if wanted == "quarterly" else wanted), ""
    if wanted == "quarterly" and branch < present:
        return "", "the ports tree is of %s, which ended: %s is the present one" % (branch, present)
    return "", ""
