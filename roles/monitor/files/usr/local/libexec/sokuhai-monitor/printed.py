# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""What sokuhai-report found, for a terminal."""

import time

MOST = 10  # domains and reasons that are named one by one


def took(value):
    return "not reached" if value is None else "%.1f s" % value


def stamp(seconds):
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def one(about):
    """*about* (of report.report()) as a list of lines."""
    shown = [
        "from <%s>, %s, %d bytes, %d recipients in %d queue file(s), %d of them still in the queue"
        % (
            ">, <".join(about["senders"]),
            stamp(about["at"]),
            about["size"],
            about["recipients"],
            about["messages"],
            about["in_queue"],
        ),
        "delivered %d (%d at the first attempt), deferred %d, bounced %d, not yet tried %d"
        % tuple(about[key] for key in ("delivered", "at_the_first_attempt", "deferred", "bounced", "unattempted")),
        ", ".join("%s %%: %s" % (share, took(value)) for share, value in about["seconds"].items()),
    ]
    if about["spent"]:
        shown.append(
            "median of those delivered: %.2f s until the queue manager had it, %.2f s in the queue manager, %.2f s to connect (DNS and TLS included), %.2f s to send"
            % tuple(about["spent"].values())
        )
    shown += ["", *groups(about)]
    for status in ("deferred", "bounced"):
        reasons = about["%s_by" % status]
        if reasons:
            shown += ["", "%s by" % status]
            shown += ["%7d  %-11s %s" % (each["recipients"], each["reason"], each["text"]) for each in reasons[:MOST]]
            if len(reasons) > MOST:
                shown.append("and %d more texts (--json has them)" % (len(reasons) - MOST))
    if about["dead"]:
        shown += ["", "%d address(es) that do not exist (--dead lists them)" % about["dead"]]
    return shown


def groups(about):
    shown = [
        "%-32s %10s %10s %9s %8s %12s %12s"
        % (
            "provider or domain" if about["providers"] else "domain",
            "recipients",
            "delivered",
            "deferred",
            "bounced",
            "50 %",
            "99 %",
        )
    ]
    for name, each in list(about["groups"].items())[:MOST]:
        counts = tuple(each[key] for key in ("recipients", "delivered", "deferred", "bounced"))
        times = tuple(took(each["seconds"][share]) for share in ("50", "99"))
        shown.append("%-32s %10d %10d %9d %8d %12s %12s" % (name, *counts, *times))
    if len(about["groups"]) > MOST:
        shown.append("and %d more (--json has them)" % (len(about["groups"]) - MOST))
    return shown


def many(by_name, least):
    """{name: about} as a list of lines, one for each."""
    if not by_name:
        return ["no message with %d recipients or more in the logs" % least]
    row = "%-19s %10s %10s %9s %8s %7s %12s %12s  %s"
    shown = [row % ("arrived", "recipients", "delivered", "deferred", "bounced", "dead", "50 %", "99 %", "message")]
    for name, about in by_name.items():
        counts = [about[key] for key in ("recipients", "delivered", "deferred", "bounced", "dead")]
        times = [took(about["seconds"][share]) for share in ("50", "99")]
        shown.append(row % (stamp(about["at"]), *counts, *times, name))
    return shown
