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


MODULES = {"postfix_certificate": postfix_certificate, "postfix_config": postfix_config}


def translated(record):
    """*record* with `findings`, where its module is one of these and would change something; else as it is."""
    read = MODULES.get(record["action"]) if record["changed"] and "findings" not in record else None
    if not read:
        return record
    shown = [part for part in record.get("diff") or [] if part.get("after_header") != "databases"]
    return dict(record, findings=list(read(record, record.get("told") or {})), diff=shown)
