# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""From a report of tools/drift to what the page says: how near each ceiling is, what is wrong, what to do, the charts' numbers. Pure."""

from __future__ import annotations

import datetime
import math
import re

NEAR = 0.8  # share of a ceiling above which it counts as near; the same as issue and mail use
POINTS = 800  # most samples of one host that report and page hold: more than a chart has pixels
STALE = 900  # seconds without a sample after which the monitor is taken to have stopped, where two of its intervals are not more (monitor_idle_seconds: up to an hour)

# What is measured, against what: (use, ceiling, start of the link's name in the chain or None, what to raise).
# A link of the chain that is in this table has a use; the others have only what a full delivery needs of them.
# default_process_limit is none of them: a large delivery is to fill it, and mail then goes as fast as it was declared.
CEILINGS = (
    ("named_sockets", None, "UDP source ports of named", "sokuhai_recursive_clients"),
    ("named_descriptors", "named_descriptors_limit", "named (pid", "sokuhai_openfiles"),
    ("named_recursive_clients", "named_recursive_clients_limit", None, "sokuhai_recursive_clients"),
    ("postfix_descriptors", "postfix_descriptors_limit", "postfix (pid", "sokuhai_openfiles"),
    ("files", "files_limit", "kern.maxfiles ", "limits_sysctl['kern.maxfiles']"),
    ("sockets", "sockets_limit", "kern.ipc.maxsockets ", "limits_sysctl['kern.ipc.maxsockets']"),
    ("swap_used", "swap_total", None, None),
)
# Links that compare two settings with each other: nothing is used up there, so none of them is the tightest.
RELATIONS = ("maxfiles >=", "openfiles >= FD_SETSIZE", "kern.maxfilesperproc >= ")

# Charts: (name, unit, [series]); a series is (column, how). how: "is" as sampled, "rate" per second, "minute" per minute,
# "share" of its ceiling in per cent.
CHARTS = (
    (
        "queue",
        "mails",
        [(name, "is") for name in ("queue_active", "queue_deferred", "queue_incoming", "queue_hold", "queue_maildrop")],
    ),
    ("named", "share", [(name, "share") for name in ("named_sockets", "named_descriptors", "named_recursive_clients")]),
    ("host", "share", [(name, "share") for name in ("postfix_processes", "postfix_descriptors", "files", "sockets")]),
    (
        "mails",
        "rate",
        [(name, "rate") for name in ("mails_in", "mails_out", "mails_deferred", "mails_bounced", "mails_rejected")],
    ),
    (
        "deferred",
        "minute",
        [("deferred_" + name, "minute") for name in ("dns", "connect", "refused", "greylisted", "other")],
    ),
    (
        "kept_out",
        "minute",
        [(name, "minute") for name in ("postscreen_hits", "dnsbl_hits", "mails_put_off", "greylist_hits", "spf_fails")],
    ),
)
# A socket is a descriptor; named's process limit is what ends both.
SHARED_CEILING = {"named_sockets": "named_descriptors_limit"}
QUEUES = ("queue_incoming", "queue_active", "queue_deferred", "queue_hold", "queue_maildrop")
SPANS = {"rate": 1, "minute": 60}
# Where something happens the samples are kept closer: what moves, and so what a chart has to show.
MOVING = (
    "queue_incoming",
    "queue_active",
    "queue_deferred",
    "mails_out",
    "deferred_dns",
    "named_descriptors",
    "postfix_processes",
)
SEVERITY = ("error", "unreachable", "drift", "near", "clean")
COMMAND = re.compile(r"^(ansible-playbook [^;]+?) puts it back; if it is meant, declare it in the inventory$")


def is_number(value):
    """Whether *value* is one that can be reckoned with: no text, no truth, and neither infinite nor not a number, which JSON of a browser has not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def counts(given):
    """{text: whole number} of what a host says is one; what is not is left out."""
    return (
        {str(name): value for name, value in given.items() if is_number(value) and isinstance(value, int)}
        if isinstance(given, dict)
        else {}
    )


def sane(what, value):
    """What a host answered for "samples" or "traps" in the form of docs/drift.schema.json: it comes from another machine, and may be anything."""
    value = value if isinstance(value, dict) else {}
    if value.get("error"):
        return {"error": str(value["error"])}
    if what == "traps":
        traps = value.get("traps") if isinstance(value.get("traps"), dict) else {}
        missing = value.get("missing") if isinstance(value.get("missing"), list) else []
        return {
            "traps": {
                str(name): {**counts(entry), "rules": counts(entry.get("rules"))}
                for name, entry in traps.items()
                if isinstance(entry, dict)
            },
            "rules": counts(value.get("rules")),
            "clients": counts(value.get("clients")),
            "missing": [str(path) for path in missing],
        }
    given = value.get("columns") if isinstance(value.get("columns"), dict) else {}
    times = given.get("time") if isinstance(given.get("time"), list) else []
    # in their order, each once, and of our age: 1 to the end of the year 2099
    rows, last = [], 0
    for index, at in enumerate(times):
        if is_number(at) and last < at < 4102444800:
            rows.append(index)
            last = at
    columns = (
        {
            str(name): [values[index] if is_number(values[index]) and values[index] >= 0 else None for index in rows]
            for name, values in given.items()
            if isinstance(values, list) and len(values) == len(times)
        }
        if rows
        else {}
    )
    return {
        "columns": columns,
        "over": counts(value.get("over")),
        **{
            key: value[key] if is_number(value.get(key)) and isinstance(value[key], int) else None
            for key in ("from", "to")
        },
        **{
            key: max(0, value[key]) if is_number(value.get(key)) and isinstance(value[key], int) else 0
            for key in ("rows_read", "broken")
        },
    }


def columns_of(host):
    """{name: [values]} of a host's samples, every list as long as "time"; {} when there is no sample."""
    columns = (host.get("samples") or {}).get("columns") or {}
    times = columns.get("time") or []
    return (
        {name: values for name, values in columns.items() if isinstance(values, list) and len(values) == len(times)}
        if times
        else {}
    )


def last_known(values):
    """The last value that is known, or None."""
    return next((value for value in reversed(values or []) if value is not None), None)


def pairs(columns, use, ceiling, fallback=None):
    """[(time, used, ceiling)] wherever both are known. *fallback* is the ceiling where no sample has one."""
    limits = columns.get(ceiling) if ceiling else None
    found = []
    for index, used in enumerate(columns.get(use) or []):
        limit = limits[index] if limits and limits[index] else fallback
        if used is not None and limit:
            found.append((columns["time"][index], used, limit))
    return found


def link_kind(name):
    """Index in CEILINGS of the measured ceiling that a link of the chain is, or None."""
    return next((index for index, entry in enumerate(CEILINGS) if entry[2] and name.startswith(entry[2])), None)


def ceilings(host):
    """The chain's links in its order, each with its use: a list of dicts.

    name, has, will, needs, because, ok, mend as in the chain (None where unknown); use (column or None); peak {at, used, limit, share} and
    now (the same) where it is measured; needed: the share of what it has that a full delivery needs, by reckoning, or None;
    raise_: what to raise. A ceiling that is sampled but is no link of the chain comes at the end.
    """
    columns, rows, seen = columns_of(host), [], set()
    for link in (host.get("chain") or {}).get("links") or []:
        kind = link_kind(link["name"])
        row = {
            **{key: link.get(key) for key in ("name", "has", "will", "needs", "because", "ok", "mend")},
            "use": None,
            "peak": None,
            "now": None,
            "needed": None,
            "raise_": None,
            "relation": link["name"].startswith(RELATIONS),
        }
        has, needs = link.get("has"), link.get("needs")
        # an upper bound of a range is not used up; UDP source ports has that range as a number
        if has and needs is not None and not row["relation"] and not link["name"].startswith("net.inet.ip.portrange."):
            row["needed"] = needs / has
        if kind is not None:
            use, ceiling, _, raised = CEILINGS[kind]
            seen.add(use)
            measure(row, columns, use, ceiling, has, raised)
        rows.append(row)
    for use, ceiling, _, raised in CEILINGS:
        if use not in seen and ceiling and pairs(columns, use, ceiling):
            row = {
                "name": None,
                "has": last_known(columns.get(ceiling)),
                "will": None,
                "needs": None,
                "because": "",
                "ok": True,
                "mend": "",
                "use": None,
                "peak": None,
                "now": None,
                "needed": None,
                "raise_": None,
                "relation": False,
            }
            measure(row, columns, use, ceiling, None, raised)
            rows.append(row)
    return rows


def measure(row, columns, use, ceiling, has, raised):
    row["use"], row["raise_"] = use, raised
    known = pairs(columns, use, ceiling, has)
    if known:

        def told(entry):
            return {"at": entry[0], "used": entry[1], "limit": entry[2], "share": entry[1] / entry[2]}

        row["peak"], row["now"] = told(max(known, key=lambda entry: entry[1] / entry[2])), told(known[-1])


def tightest(rows):
    """The link that is nearest to its ceiling: by what was measured, or else by what is reckoned; None when neither is known.

    A broken link is tighter than any other: it does not hold what it has to.
    """
    broken = [row for row in rows if row["ok"] is False]
    if broken:
        return broken[0]
    measured = [row for row in rows if row["peak"]]
    if measured:
        return max(measured, key=lambda row: row["peak"]["share"])
    reckoned = [row for row in rows if row["needed"] is not None]
    return max(reckoned, key=lambda row: row["needed"], default=None)


def deferred_dns(columns, span=3600):
    """Deliveries of the last *span* seconds that were deferred because a name was not resolved; None where that is not known."""
    values = columns.get("deferred_dns") or []
    known = [
        value
        for at, value in zip(columns.get("time") or [], values)
        if value is not None and at > columns["time"][-1] - span
    ]
    return sum(known) if known else None


def seconds_of(text):
    """Seconds since 1970 of an ISO 8601 time."""
    return datetime.datetime.fromisoformat(text).timestamp()


def judge(report, name):
    """What the page says of one host: a dict with level (of SEVERITY), rows, tight, near, dns, stale, findings, steps, columns, newest."""
    host = report["hosts"][name]
    columns = columns_of(host)
    rows = ceilings(host)
    near = [row for row in rows if row["peak"] and row["peak"]["share"] >= NEAR]
    over = (host.get("samples") or {}).get("over") or {}
    dns = deferred_dns(columns)
    newest = columns["time"][-1] if columns else None
    # a row that was made of several has the sum of their intervals: not longer than the role's longest
    usual = min(3600, last_known(columns.get("seconds")) or 0)
    stale = newest if newest and seconds_of(report["started"]) - newest > max(STALE, 2 * usual) else None
    findings = [entry for entry in report["findings"] if entry["host"] == name]
    broken = [row for row in rows if row["ok"] is False]
    level = host["status"]
    if level == "clean" and (near or "deferred_dns" in over or stale or broken):
        level = "near"
    return {
        "name": name,
        "host": host,
        "level": level,
        "columns": columns,
        "rows": rows,
        "tight": tightest(rows),
        "near": near,
        "dns": dns,
        "dns_over": over.get("deferred_dns"),
        "stale": stale,
        "broken": broken,
        "newest": newest,
        "findings": findings,
        "steps": steps(findings),
    }


def steps(findings):
    """[(command or None, advice, [findings])]: one step for all findings that the same advice mends, in the order in which they were found.

    Runs of the same playbook on the same host become one, with the tags of all; one without a tag needs the whole playbook.
    """
    found, tags = {}, {}
    for entry in findings:
        match = COMMAND.match(entry["advice"])
        start, _, tag = (match.group(1) if match else entry["advice"]).partition(" --tags ")
        key = (start, bool(match))
        found.setdefault(key, []).append(entry)
        if tag not in tags.setdefault(key, []):
            tags[key].append(tag)
    result = []
    for (start, command), entries in found.items():
        if command:
            words = tags[start, command]
            result.append(
                (start if "" in words else "%s --tags %s" % (start, ",".join(words)), entries[0]["advice"], entries)
            )
        else:
            result.append((None, entries[0]["advice"], entries))
    return result


def together(name):
    """How samples of the column *name* become one, so that a peak survives: counts are added, of a ceiling the smallest counts, else the largest."""
    if (
        name == "seconds"
        or name.startswith(("mails_", "deferred_"))
        or name.endswith(("_hits", "_fails"))
        or name in ("named_servfail", "named_queries")
    ):
        return sum
    return min if name.endswith(("_limit", "_total")) or name == "memory_free" else max


def thinned(columns, points=POINTS):
    """*columns* with at most *points* rows: half of them evenly, the other half where something moves, so that a mailing keeps its shape."""
    times = columns["time"]
    if len(times) <= points:
        return columns
    weights = [1 / len(times)] * len(times)
    for name in MOVING:
        values = [value or 0 for value in columns.get(name) or []]
        if together(name) is sum:
            values = [value / (span or 60) for value, span in zip(values, columns.get("seconds") or [60] * len(times))]
        changes = [abs(now - before) for before, now in zip(values, values[1:])]
        moved = sum(changes)
        if moved:
            # beyond noise: a queue of one or two mails moves all day
            largest = max(changes)
            changes = [change if change > largest / 50 else 0 for change in changes]
            for index, change in enumerate(changes, 1):
                weights[index] += change / (sum(changes) * len(MOVING))
    edges, reached, whole = [0], 0.0, sum(weights)
    for index, weight in enumerate(weights):
        reached += weight
        if reached >= whole * len(edges) / points and index + 1 > edges[-1]:
            edges.append(index + 1)
            # a heavy sample stands alone, and the rest of its weight is nobody's
            reached = min(reached, whole * len(edges) / points)
    if edges[-1] != len(times):
        edges.append(len(times))
    result = {}
    for name, values in columns.items():
        buckets = [[value for value in values[start:end] if value is not None] for start, end in zip(edges, edges[1:])]
        pick = together(name)
        result[name] = (
            [bucket[-1] for bucket in buckets]
            if name == "time"
            else [rounded(pick(bucket), 12) if bucket else None for bucket in buckets]
        )
    return result


def rounded(value, digits=4):
    """A number as short as a chart can use it."""
    if value is None:
        return None
    value = float("%.*g" % (digits, value))
    return int(value) if value == int(value) else value


def series(columns):
    """{"time": [...], chart: {column: [values]}} for the page's script; only series of which something is known.

    Where no sample was taken for more than three intervals, a row without values is put in: a line would claim to know.
    """
    columns = thinned(columns)
    times, spans = columns["time"], columns.get("seconds") or []
    usual = sorted(span for span in spans if span) or [60]
    usual = usual[len(usual) // 2]
    cuts = [
        index
        for index in range(1, len(times))
        if times[index] - times[index - 1]
        > 3 * max(usual, *(span for span in (spans[index : index + 1] or [0]) if span), 1)
    ]

    def cut(values, filler=None):
        result, start = [], 0
        for index in cuts:
            result += [*values[start:index], filler if filler is not None else None]
            start = index
        return result + list(values[start:])

    out = {"time": []}
    start = 0
    for index in cuts:
        out["time"] += [*times[start:index], times[index - 1] + usual]
        start = index
    out["time"] += times[start:]
    for chart, _, wanted in CHARTS:
        for name, how in wanted:
            values = columns.get(name)
            if not values or all(value is None for value in values):
                continue
            if how in SPANS:
                values = [
                    rounded(SPANS[how] * value / span) if value is not None and span else None
                    for value, span in zip(values, spans)
                ]
            elif how == "share":
                limits = columns.get(SHARED_CEILING.get(name, name + "_limit")) or [None] * len(times)
                shares = [
                    rounded(100 * value / limit) if value is not None and limit else None
                    for value, limit in zip(values, limits)
                ]
                if all(share is None for share in shares):
                    continue
                out.setdefault(chart, {})[name] = {
                    "share": cut(shares),
                    "used": cut(values),
                    "limit": last_known(limits),
                }
                continue
            out.setdefault(chart, {})[name] = cut([rounded(value) for value in values])
    return out


def peak_rate(columns, name):
    """Most mails per second of one interval, or None."""
    rates = [
        value / span
        for value, span in zip(columns.get(name) or [], columns.get("seconds") or [])
        if value is not None and span
    ]
    return max(rates, default=None)


def queue_total(columns):
    """(mails in the queue now, most at one sample), or (None, None). A state that is not known counts as none."""
    totals = [
        sum(known) if (known := [value for value in row if value is not None]) else None
        for row in zip(*(columns[name] for name in QUEUES if name in columns))
    ]
    known = [total for total in totals if total is not None]
    return (known[-1], max(known)) if known else (None, None)
