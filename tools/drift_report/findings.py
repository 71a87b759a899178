# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""From one recorded result to findings. Pure.

A module names what differs in its result `findings` (module_utils/sokuhai/findings.py); what it would write is in its `diff`. Ansible's own
modules name nothing, so their arguments do.
"""

from . import diffs, remedies

HIDDEN = "(hidden: no_log)"


def finding(
    record, name, thing="", expected="", found="", diff="", because=(), remedy="", part="configuration", role=None
):
    """One difference on the record's host. *name* stays the same from run to run; the rest is for people.

    because: names of findings of the same role of which this one is a consequence. remedy: a word of remedies.py.
    remedy: "" is that of the record's play or, where that names none, of its role.
    part: "configuration" for what a run of site.yml would change, "state" for the rest. role: whose it is, the record's where it is None.
    """
    role = record["role"] if role is None else role
    known = (word for word in (remedy, record.get("remedy"), remedies.of_role(role)) if word in remedies.KNOWN)
    remedy = next(filter(None, known), "")
    entry = {
        "id": "%s/%s/%s" % (record["host"], role, name),
        "host": record["host"],
        "part": part,
        "role": role,
        "thing": str(thing or name),
        "expected": str(expected).strip(),
        "found": str(found).strip(),
        "diff": diff,
        "because": [str(cause) for cause in because],
        "remedy": remedy,
    }
    return {**entry, "advice": remedies.advice(entry)}


def name_of(entry):
    """What a finding is called within its role, as `because` has it."""
    return entry["id"].removeprefix("%s/%s/" % (entry["host"], entry["role"]))


def named(record):
    """Findings that the module itself names. What a host answers may be anything: what is not a finding is left out."""
    given = record.get("findings")
    for entry in given if isinstance(given, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            texts = {key: str(entry[key]) for key in ("thing", "expected", "found", "remedy", "role") if key in entry}
            causes = entry.get("because")
            part = "configuration" if record["changed"] and not texts.get("remedy") else "state"
            yield finding(record, entry["id"], because=causes if isinstance(causes, list) else (), part=part, **texts)


def in_diff(record):
    """Findings in the texts that the task would write."""
    path = (record.get("given") or {}).get("dest", "")
    for name, expected, found, diff in diffs.differences(record.get("diff") or [], path):
        yield finding(record, name, "", expected, found, diff)


def of_arguments(record):
    """The finding of a changed task whose module says nothing of what it would change: the task's arguments have to."""
    action, given = record["action"].rpartition(".")[2], record.get("given") or {}
    what = given.get("name") or given.get("path") or given.get("dest") or record.get("item", "")
    name = " ".join(["package" if action == "pkgng" else action, *(what if isinstance(what, list) else [what])]).strip()
    values = [HIDDEN] * 2 if record.get("hidden") else ["as declared", "otherwise"]
    return finding(record, name, record["task"], *values)


def of_result(record):
    """Findings of a task that ended well; [] also where it would change something and does not say what."""
    found = [*named(record), *(in_diff(record) if record["changed"] else ())]
    tells = record.get("hidden") or (record.get("given") or {}).get("name")
    if record["changed"] and not found and "findings" not in record and tells:
        found = [of_arguments(record)]
    return found


def merged(findings):
    """Each finding once, the first one told; it has the diff of any of them."""
    once = {}
    for entry in findings:
        first = once.setdefault(entry["id"], entry)
        first["diff"] = first["diff"] or entry["diff"]
    return list(once.values())


def covers(cause, name):
    """Whether *cause* of a `because` means the finding *name*: itself or, by "main.cf", each "main.cf: …"."""
    return name == cause or name.startswith(cause + ": ")


def without_consequences(findings):
    """*findings* of one host without those of which a cause, in the same role, is among them. Causes that only name each other stay."""

    def explained(entry, causes):
        return any(covers(cause, name) for cause in entry["because"] for role, name in causes if role == entry["role"])

    every = {(entry["role"], name_of(entry)): entry for entry in findings}
    known = {key for key, entry in every.items() if not explained(entry, set(every) - {key})}
    roots = set(known)
    while more := {key for key, entry in every.items() if key not in known and explained(entry, known)}:
        known |= more
    return [entry for key, entry in every.items() if key in roots or key not in known]
