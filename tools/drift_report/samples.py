# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host answered for its samples and traps, in the form of docs/drift.schema.json: checked, and no more rows than a report holds. Pure."""

import math

POINTS = 800  # most samples of one host that report and page hold: more than a chart has pixels
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


def is_number(value):
    """Whether *value* can be computed with: no text, no truth value, neither infinite nor not a number, which a browser's JSON does not have."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(value, otherwise=None):
    return value if is_number(value) and isinstance(value, int) else otherwise


def of_kind(kind, value):
    """*value* where it is a *kind* (dict or list), else an empty one."""
    return value if isinstance(value, kind) else kind()


def counts(given):
    """{text: whole number} of what a host says is one; what is not is left out."""
    return {str(name): value for name, value in of_kind(dict, given).items() if whole(value) is not None}


def traps(value):
    return {
        "traps": {
            str(name): {**counts(entry), "rules": counts(entry.get("rules"))}
            for name, entry in of_kind(dict, value.get("traps")).items()
            if isinstance(entry, dict)
        },
        "rules": counts(value.get("rules")),
        "clients": counts(value.get("clients")),
        "missing": [str(path) for path in of_kind(list, value.get("missing"))],
    }


def samples(value):
    given = of_kind(dict, value.get("columns"))
    times = of_kind(list, given.get("time"))
    # in their order, each once, and of our age: 1 to the end of the year 2099
    rows, last = [], 0
    for index, at in enumerate(times):
        if is_number(at) and last < at < 4102444800:
            rows.append(index)
            last = at
    columns = {
        str(name): [values[index] if is_number(values[index]) and values[index] >= 0 else None for index in rows]
        for name, values in given.items()
        if rows and isinstance(values, list) and len(values) == len(times)
    }
    return {
        "columns": thinned(columns) if columns else {},
        "over": counts(value.get("over")),
        **{key: whole(value.get(key)) for key in ("from", "to")},
        **{key: max(0, whole(value.get(key), 0)) for key in ("rows_read", "broken")},
    }


def together(name):
    """How samples of the column *name* become one, so that a peak survives: counts are added, of a ceiling the smallest counts, else the largest."""
    if (
        name == "seconds"
        or name.startswith(("mails_", "deferred_"))
        or name.endswith(("_hits", "_fails", "_starts"))
        or name in ("named_servfail", "named_queries")
    ):
        return sum
    return (
        min
        if name.endswith(("_limit", "_total", "_running", "_answering"))
        or name in ("memory_free", "certificate_days", "warm_cached")
        else max
    )


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
