# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the last run found: the files that are kept, and what is other than they say."""

import json
import os
import sys
import tempfile


def transitions(former, hosts, findings, whole):
    """({new, gone, still: lists of findings; hosts: [{host, from, to}]}, state to keep).

    *former* is the state kept by the last run: {"hosts": {name: {"status", "findings": {id: finding}}}}. Of a host that was not judged to the
    end (unreachable, error), what was known stays known: it is neither new nor gone. *whole*: hosts that this run did not name are forgotten.
    """
    kept, result = {}, {"new": [], "gone": [], "still": [], "hosts": []}
    for name, entry in hosts.items():
        was = former.get("hosts", {}).get(name, {"status": "clean", "findings": {}})
        now = {item["id"]: item for item in findings if item["host"] == name}
        judged = entry["status"] in ("clean", "drift")
        result["new"] += [item for key, item in now.items() if key not in was["findings"]]
        result["still"] += [item for key, item in now.items() if key in was["findings"]]
        if judged:
            result["gone"] += [item for key, item in was["findings"].items() if key not in now]
        else:
            now = {**was["findings"], **now}
        if was["status"] != entry["status"]:
            result["hosts"].append({"host": name, "from": was["status"], "to": entry["status"]})
        kept[name] = {"status": entry["status"], "findings": now}
    if not whole:
        kept = {**former.get("hosts", {}), **kept}
    return result, {"hosts": kept}


def silent(moved):
    """Whether transitions hold nothing to report."""
    return not (moved["new"] or moved["gone"] or moved["hosts"])


# ---- the files ----


def as_json(state):
    return json.dumps(state, indent=1, sort_keys=True) + "\n"


def read(path):
    """What was kept at *path*: a dict, {} where nothing is, or nothing that can be read, which is said on standard error."""
    try:
        state = json.loads(path.read_text())
        if not isinstance(state, dict):
            raise ValueError
        return state
    except FileNotFoundError:
        return {}
    except ValueError:
        print("sokuhai: %s cannot be read; everything is new" % path, file=sys.stderr)
        return {}


def written(path, text):
    """A temporary file beside *path* that holds *text* on the disk; its name."""
    handle, temporary = tempfile.mkstemp(prefix=".drift-", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def replace(path, text):
    """Put *text* at *path* in one rename."""
    os.rename(written(path, text), path)
