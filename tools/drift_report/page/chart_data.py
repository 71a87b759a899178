# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The numbers of the charts, and of the table of hosts, from a host's samples. Pure."""

from ..samples import last_known, rounded, thinned

# Charts: (name, unit, [series]); a series is (column, how). how: "is" as sampled, "rate" per second, "minute" per minute,
# "share" of its ceiling in per cent, "free": what is not free of it, as a share.
CHARTS = (
    (
        "queue",
        "mails",
        [(name, "is") for name in ("queue_active", "queue_deferred", "queue_incoming", "queue_hold", "queue_maildrop")],
    ),
    (
        "named",
        "share",
        [(name, "share") for name in ("named_sockets", "named_descriptors", "named_recursive_clients")],
    ),
    # no share of a ceiling: here all is well at the top
    ("warm", "domains", [("warm_cached", "is"), ("warm_total", "is")]),
    ("host", "share", [(name, "share") for name in ("postfix_processes", "postfix_descriptors", "files", "sockets")]),
    (
        "room",
        "share",
        [
            ("memory_free", "free"),
            *((name, "share") for name in ("swap_used", "queue_disk_used", "queue_inodes_used")),
            *((name, "share") for name in ("log_disk_used", "log_inodes_used")),
        ],
    ),
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
        [
            (name, "minute")
            for name in ("postscreen_hits", "dnsbl_hits", "mails_put_off", "greylist_hits", "spf_fails", "sender_fails")
        ],
    ),
)
# A socket is a descriptor; named's process limit is what ends both. What is no name_limit.
SHARED_CEILING = {
    "named_sockets": "named_descriptors_limit",
    "memory_free": "memory_total",
} | {
    name: name.replace("_used", "_total")
    for name in ("swap_used", "queue_disk_used", "queue_inodes_used", "log_disk_used", "log_inodes_used")
}
BYTES = ("memory_free", "swap_used", "queue_disk_used", "log_disk_used")  # which are shown as MiB
QUEUES = ("queue_incoming", "queue_active", "queue_deferred", "queue_hold", "queue_maildrop")
SPANS = {"rate": 1, "minute": 60}


def series(columns):
    """{"time": [...], chart: {column: [values]}} for the page's script; only series of which something is known.

    Where no sample was taken for more than three intervals, a row without values is put in: a line would claim to know.
    """
    columns = thinned(columns)
    times, spans = columns["time"], columns.get("seconds") or [None] * len(columns["time"])
    usual = sorted(filter(None, spans)) or [60]
    usual = usual[len(usual) // 2]
    out, order = {"time": []}, []
    for index, at in enumerate(times):
        if index and at - times[index - 1] > 3 * max(usual, spans[index] or 1):
            out["time"].append(times[index - 1] + usual)
            order.append(None)
        out["time"].append(at)
        order.append(index)

    def gapped(values):
        return [None if index is None else values[index] for index in order]

    for chart, _, wanted in CHARTS:
        for name, how in wanted:
            values = columns.get(name) or [None] * len(times)
            limits = columns.get(SHARED_CEILING.get(name, name + "_limit")) or [None] * len(times)
            if name in BYTES:
                values, limits = mebibytes(values), mebibytes(limits)
            if how == "free":
                how, values = "share", rest(values, limits)
            parts, factor = {"share": (limits, 100), "is": ([1] * len(times), 1)}.get(how) or (spans, SPANS[how])
            shown = [
                rounded(factor * value / part) if value is not None and part else None
                for value, part in zip(values, parts)
            ]
            if any(value is not None for value in shown):
                line = gapped(shown)
                if how == "share":
                    line = {"share": line, "used": gapped(values), "limit": last_known(limits)}
                out.setdefault(chart, {})[name] = line
    return out


def mebibytes(values):
    return [None if value is None else round(value / 2**20) for value in values]


def rest(values, limits):
    """What each of *values* leaves of its limit."""
    return [None if None in pair else pair[1] - pair[0] for pair in zip(values, limits)]


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


def counted(columns, name, span=3600):
    """What the column *name* counted in the last *span* seconds; None where that is not known."""
    values = columns.get(name) or []
    known = [
        value
        for at, value in zip(columns.get("time") or [], values)
        if value is not None and at > columns["time"][-1] - span
    ]
    return sum(known) if known else None
