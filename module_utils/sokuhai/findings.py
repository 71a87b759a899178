# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What differs between a host and what is declared for it, as data: words are put to it where a person reads it (tools/drift)."""


def finding(id, thing, expected="", found="", because=(), remedy=""):
    """Return one finding, a dict with these keys.

    id: stable name within the role ("process master: openfiles"). thing: what a person reads. expected, found: values, not sentences; kept as text.
    because: ids of the findings that this one follows from, which a report leaves out; "main.cf" stands for every "main.cf: NAME", too.
    remedy: "" is site.yml with the role's tag; else a word of tools/drift_report/remedies.py, such as "rebuild", "reboot" or "refresh".
    """
    return {
        "id": id,
        "thing": thing,
        "expected": str(expected),
        "found": str(found),
        "because": list(because),
        "remedy": remedy,
    }
