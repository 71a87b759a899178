# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the page says of one host: how it is, what is near, what is wrong, what to do. Pure."""

import datetime

from .. import remedies
from ..samples import columns_of, last_known
from . import alarms
from .ceilings import NEAR, ceilings, tightest
from .chart_data import counted

SEVERITY = ("error", "unreachable", "drift", "near", "clean")

DAY = 86400  # seconds

STALE = 900  # seconds without a sample after which the monitor is taken to have stopped, where two of its intervals are not more (monitor_idle_seconds: up to an hour)


def seconds_of(text):
    """Seconds since 1970 of an ISO 8601 time."""
    return datetime.datetime.fromisoformat(text).timestamp()


def starts(columns):
    """(how many daemons the watch has started in the days shown, the time of the last), or None."""
    found = [(at, number) for at, number in zip(columns.get("time") or [], columns.get("watch_starts") or []) if number]
    return (sum(number for _at, number in found), found[-1][0]) if found else None


def judge(report, name):
    """What the page says of one host: a dict with level (of SEVERITY), rows, tight, near, dns, senders, alarms, starts, stale, findings, steps, columns, newest."""
    host = report["hosts"][name]
    columns = columns_of(host)
    rows = ceilings(host)
    near = [row for row in rows if row["peak"] and row["peak"]["share"] >= NEAR]
    over = (host.get("samples") or {}).get("over") or {}
    newest = columns["time"][-1] if columns else None
    # a row that was made of several has the sum of their intervals: not longer than the role's longest
    usual = min(3600, last_known(columns.get("seconds")) or 0)
    stale = newest if newest and seconds_of(report["started"]) - newest > max(STALE, 2 * usual) else None
    findings = [entry for entry in report["findings"] if entry["host"] == name]
    raised = alarms.raised(over)
    broken = [row for row in rows if row["ok"] is False]
    level = host["status"]
    if level == "clean" and (near or "deferred_dns" in over or raised or stale or broken):
        level = "near"
    return {
        "name": name,
        "host": host,
        "level": level,
        "columns": columns,
        "rows": rows,
        "tight": tightest(rows),
        "near": near,
        "dns": counted(columns, "deferred_dns"),
        "senders": counted(columns, "sender_fails", DAY),
        "dns_over": over.get("deferred_dns"),
        "alarms": raised,
        "starts": starts(columns),
        "stale": stale,
        "broken": broken,
        "newest": newest,
        "findings": findings,
        "steps": remedies.steps(findings),
    }
