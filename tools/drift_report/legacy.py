# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Results of modules that do not return `findings` yet, brought into that form. Goes with the last of them."""

from __future__ import annotations

import re


def entry(name, expected="", found="", because=(), remedy=""):
    return {"id": name, "expected": expected, "found": found, "because": because, "remedy": remedy}


def postfix_config(record, said):
    for part in record["diff"]:
        if part.get("after_header") == "databases":
            tables = re.findall(r"^(.*) built$", part["after"], re.M)
            for table, why in zip(tables, part["before"].splitlines()):
                yield entry("database of %s" % table, "built from its text", why)
    for reason in said.get("reasons") or []:
        if "was loaded before" in reason:
            causes = ["main.cf", "master.cf", "tables/"]
            yield entry("process master: configuration", "loaded after its files were written", reason, causes)
        elif "may have" in reason:
            yield entry("process master: openfiles", "the declared number of descriptors", reason)
        elif "does not run" in reason:
            yield entry("service postfix", "running", "not running")


def postfix_certificate(record, said):
    reason = said.get("reason") or ""
    yield entry(reason if reason.startswith("mode of") else "certificate", "as declared", reason)


def limits_apply(record, said):
    for one in said.get("needs_reboot") or []:
        yield entry("reboot pending: %s" % one["name"], one.get("wanted"), one.get("running"), remedy="reboot")


#: Modules whose result is read only where they would change something
CHANGED = {"postfix_certificate": postfix_certificate, "postfix_config": postfix_config}
ALWAYS = {"limits_apply": limits_apply}


def translated(record):
    """*record* with `findings`, where its module is one of these; else as it is."""
    action = record["action"].rpartition(".")[2]
    read = ALWAYS.get(action) or (record["changed"] and CHANGED.get(action))
    if not read or "findings" in record:
        return record
    shown = [part for part in record.get("diff") or [] if part.get("after_header") != "databases"]
    return dict(record, findings=list(read(record, record.get("told") or {})), diff=shown)


# ---- links of the chain without an id ----

LABELS = {
    "UDP source ports of named": "named: source ports",
    "named (pid": "named: openfiles",
    "postfix (pid": "postfix: openfiles",
    "maxfiles >= maxfilesperproc": "kern.maxfiles: kern.maxfilesperproc",
    "maxfiles >= maxsockets": "kern.maxfiles: kern.ipc.maxsockets",
    "kern.maxfilesperproc >= bind_openfiles": "kern.maxfilesperproc: bind_openfiles",
    "kern.maxfilesperproc >= postfix_openfiles": "kern.maxfilesperproc: postfix_openfiles",
    "openfiles >= FD_SETSIZE": "FD_SETSIZE",
}


def link_id(link):
    """A link's id, by its label where it has none."""
    name = link.get("name") or ""
    return link.get("id") or next(
        (new for label, new in LABELS.items() if name.startswith(label)), name.partition(" ")[0]
    )
