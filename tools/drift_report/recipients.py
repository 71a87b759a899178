# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Who is mailed what: each recipient what is other than the last mail to him said, once.

What a recipient was mailed is kept apart from what the last run found: a run by hand takes nothing away from the next mail, and of two
recipients one of whose mail was not taken, only that one is written to again.
"""

import os
import pathlib
import secrets
import socket

from . import mail, state, terminal


def addressed(records):
    """{address: [hosts]} of the callback's records `alert`, hosts in order."""
    found = {}
    for record in records:
        if record["event"] == "alert":
            for address in record["to"]:
                names = found.setdefault(str(address).strip(), [])
                names += [record["host"]] if record["host"] not in names else []
    return found


def mail_all(options, to_whom, hosts, findings, started):
    """Mail each of *to_whom* ({address: [hosts]}) what is other than the last mail to it said; [{to, hosts, subject, taken, error, lines}].

    What an address was mailed is written down as soon as its mail was taken, and is ready on the disk before: neither a mail that fails after
    others, nor a full disk, has any of them sent twice. Raises OSError when it cannot be kept; then nothing was sent.
    """
    path = options.state / "mailed.json"
    kept = state.read(path)
    kept = {
        "seed": kept.get("seed") or secrets.token_hex(8),
        "count": kept.get("count", 0),
        "to": {to: known for to, known in kept.get("to", {}).items() if to in to_whom or options.limit},
    }
    about = [
        "tools/drift on %s, %s" % (socket.gethostname(), started),
        "All of it, with diffs and what to do: tools/drift -d",
    ]
    mails = []
    for to, names in sorted(to_whom.items()):
        mine = {name: hosts[name] for name in names if name in hosts}
        here = [entry for entry in findings if entry["host"] in mine]
        moved, now = state.transitions(kept["to"].get(to, {}), mine, here, not options.limit)
        moved["mail"] = [kept["seed"], kept["count"]]
        silent = state.silent(moved)
        after = dict(kept, to=dict(kept["to"], **{to: now}), count=kept["count"] + (not silent))
        temporary = state.written(path, state.as_json(after))
        try:
            if not silent:
                lines = list(terminal.changes({"errors": [], "hosts": hosts, "transitions": moved}, options.diffs))
                mails.append(entry_of(to, mine, mail.subject(moved), lines=lines))
                mails[-1]["error"] = handed_over(options, to, moved, lines, about)
                if mails[-1]["error"]:
                    continue
                mails[-1]["taken"] = True
            os.rename(temporary, path)
            kept = after
        finally:
            pathlib.Path(temporary).unlink(missing_ok=True)
    return mails


def handed_over(options, to, moved, lines, about):
    """Hand one mail over; why it was not taken, or ""."""
    sender = options.sender or mail.own_address()
    try:
        if not mail.ADDRESS.fullmatch(to):
            raise mail.NotTaken("monitor_alert_to: this is not an address")
        letter = mail.letter(to, sender, moved, lines, about)
        mail.send(letter, to, sender, options.smtp, bool(options.sender))
    except mail.NotTaken as problem:
        return str(problem)
    return ""


def entry_of(to, hosts=(), subject="", error="", lines=()):
    """What the report says of one mail, and its lines."""
    return {
        "to": to,
        "hosts": sorted(hosts),
        "subject": subject,
        "taken": False,
        "error": error,
        "lines": list(lines),
    }


def not_mailed(moved, to_whom):
    """The transitions of hosts about which nobody gets mail."""
    mailed = {name for names in to_whom.values() for name in names}
    return {key: [entry for entry in entries if entry["host"] not in mailed] for key, entries in moved.items()}


def summary(mails, to_whom):
    """Lines that say which mails were taken."""
    taken = ["mailed to %(to)s: %(subject)s" % one for one in mails if one["taken"]]
    return taken or ["nothing to mail" if to_whom else "nobody is mailed: no host has monitor_alert_to"]
