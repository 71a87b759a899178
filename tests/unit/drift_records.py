"""Records as the callback sokuhai_drift leaves them, for the tests of the report."""

from drift_report import digest

HOST = "mx.home.example"
END = {"event": "end", "hosts": [HOST]}


def record(host=HOST, **more):
    """One result of a task of role postfix that ended well and would change nothing; *more* is otherwise."""
    return {
        "event": "result",
        "host": host,
        "role": "postfix",
        "task": "T",
        "action": "some_module",
        "status": "ok",
        "changed": False,
        "item": "",
        "msg": "",
        "diff": [],
        "given": {},
        **more,
    }


def found(id, expected="5", found="4", because=(), remedy="", thing=None, **more):
    """A finding as modules return it."""
    return {
        "id": id,
        "thing": thing or id,
        "expected": expected,
        "found": found,
        "because": list(because),
        "remedy": remedy,
        **more,
    }


def probed(*findings, **more):
    """The last record of a host: role drift looked, and found this."""
    return record(role="drift", action="drift_probe", findings=list(findings), notes=[], **more)


def text(path, before, after):
    """An entry of a module's diff."""
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def judged(*records, end=True, looked=True):
    """(status, {"role: name": finding}, errors, hosts) of one host's records."""
    hosts, findings, errors = digest.digest([*records, *([probed()] if looked else []), *([END] if end else [])])
    status = hosts[HOST]["status"] if hosts else None
    return status, {entry["id"].split("/", 1)[1].replace("/", ": ", 1): entry for entry in findings}, errors, hosts
