# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The report's lines: the whole of it for a terminal, or what is other than at the last run, for cron and mail. Pure."""


def short(text, width=100):
    """*text* on one line, its end left out beyond *width* characters."""
    text = " ".join(str(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def refusal(entry):
    """Whether a finding is a role's refusal: what was found is a message then, to be read whole, and nothing is declared."""
    return entry.get("remedy") == "refused"


def lines_of(entry, diffs=False):
    """The lines of one finding; with *diffs*, its difference and what to do about it as well."""
    yield "  %s: %s" % (entry["role"] or "playbook", entry["thing"])
    if refusal(entry):
        yield "      found %s" % short(entry["found"], 400)
    elif entry["found"] or entry["expected"]:
        yield "      found %s; declared %s" % (short(entry["found"]), short(entry["expected"]))
    if diffs:
        yield from ("      | " + line for line in entry["diff"].splitlines())
        yield "      -> %s" % entry["advice"]


def table(report, diffs):
    """The report's lines; a clean host is a name on the last line."""
    hosts = report["hosts"]
    for error in report["errors"]:
        yield "error: %s" % error
    for name, host in hosts.items():
        if host["status"] == "clean":
            continue
        mine = [entry for entry in report["findings"] if entry["host"] == name]
        yield "%s: %s%s" % (name, host["status"], ", %d found" % len(mine) if mine else "")
        for message in host["messages"]:
            yield "  %s" % short(message, 400)
        for entry in mine:
            yield from lines_of(entry, diffs)
    if diffs:
        for name, host in hosts.items():
            yield from ("%s: not known: %s" % (name, note) for note in host["notes"])
    clean = [name for name, host in hosts.items() if host["status"] == "clean"]
    if clean:
        names = "" if len(clean) == len(hosts) > 3 else ": " + short(", ".join(clean))
        yield "as declared: %d of %d host(s), %.0f s%s%s" % (
            len(clean),
            len(hosts),
            report["seconds"],
            spent(hosts),
            names,
        )


def spent(hosts):
    """How much of the run was spent on each of several hosts, "" for one."""
    seconds = [host["seconds"] for host in hosts.values() if "seconds" in host and host["status"] != "unreachable"]
    return ", %.0f to %.0f s spent on each" % (min(seconds), max(seconds)) if len(seconds) > 1 else ""


def changes(report, diffs):
    """Only what is other than at the last run; nothing at all when nothing is."""
    for error in report["errors"]:
        yield "error: %s" % error
    moved = report["transitions"]
    for entry in moved["hosts"]:
        yield "%s: was %s, is %s" % (entry["host"], entry["from"], entry["to"])
        yield from ("  %s" % short(message, 400) for message in report["hosts"][entry["host"]]["messages"])
    for mark in ("new", "gone"):
        last = None
        for entry in moved[mark]:
            if entry["host"] != last:
                yield "%s: %s" % (entry["host"], mark)
            last = entry["host"]
            yield from lines_of(entry, diffs)
