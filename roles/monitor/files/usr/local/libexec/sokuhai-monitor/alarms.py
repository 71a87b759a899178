# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""What raises an alarm and what ends it, as a table; and the comparison of a sample with it. Pure: data in, data out."""

import collections

HYSTERESIS = 10  # points of per cent that a share has to fall below its threshold before it is back to normal
HOUR = 3600  # seconds
DNS_WINDOW = 600  # seconds in which attempts that were deferred for DNS reasons are added up

#: One alarm. name: in state and webhook. kind: of KINDS. column: what is compared; of: the column of its limit, for a share. threshold: the setting that it is
#: compared with, 0 for never. lasts: the setting with the seconds that it must last before it is raised, "" for none. words: what people call it.
Alarm = collections.namedtuple("Alarm", "name kind column of threshold lasts words")


def share(*fields):
    """An alarm about a column and its limit, named as its column. fields: column, of, threshold, words."""
    column, of, threshold, words = fields
    return Alarm(column, "share", column, of, threshold, "", words)


def down(name, words):
    return Alarm(name + "_down", "down", name + "_running", "", "down_seconds", "down_seconds", words)


# smtp processes are not among them: a large delivery is to fill default_process_limit
ALARMS = (
    down("named", "named"),
    Alarm("named_silent", "silent", "named_answering", "", "down_seconds", "down_seconds", "named"),
    down("postfix", "Postfix (master)"),
    down("greylist", "the greylisting service (sokuhai_postgrey)"),
    down("recipients", "what counts the recipients of users (sokuhai_postfwd)"),
    down("dkim", "the signer (sokuhai_dkim), for which mail waits"),
    down("mta_sts", "the daemon of MTA-STS policies (mta_sts), without which mail to others waits"),
    share("named_descriptors", "named_descriptors_limit", "ceiling_percent", "descriptors of named"),
    share(
        "named_recursive_clients",
        "named_recursive_clients_limit",
        "ceiling_percent",
        "recursive clients of named (recursive-clients)",
    ),
    share(
        "postfix_descriptors",
        "postfix_descriptors_limit",
        "ceiling_percent",
        "descriptors of one of Postfix's processes",
    ),
    share("files", "files_limit", "ceiling_percent", "open files of the host (kern.maxfiles)"),
    share("sockets", "sockets_limit", "ceiling_percent", "sockets of the host (kern.ipc.maxsockets)"),
    share("swap_used", "swap_total", "ceiling_percent", "bytes of swap"),
    Alarm("memory_free", "free", "memory_free", "memory_total", "memory_percent", "", "bytes of memory in use"),
    share("queue_disk_used", "queue_disk_total", "disk_percent", "bytes of the queue's file system"),
    share("queue_inodes_used", "queue_inodes_total", "disk_percent", "inodes of the queue's file system"),
    share("log_disk_used", "log_disk_total", "disk_percent", "bytes of the log's file system"),
    share("log_inodes_used", "log_inodes_total", "disk_percent", "inodes of the log's file system"),
    Alarm(
        "age_incoming",
        "most",
        "age_incoming",
        "",
        "incoming_seconds",
        "",
        "seconds since the oldest message in queue incoming arrived",
    ),
    Alarm(
        "age_deferred",
        "most",
        "age_deferred",
        "",
        "deferred_seconds",
        "",
        "seconds since the oldest message in queue deferred arrived",
    ),
    Alarm(
        "certificate_days",
        "least",
        "certificate_days",
        "",
        "certificate_days",
        "",
        "smtpd's certificate (smtpd_tls_cert_file)",
    ),
    Alarm(
        "deferred_dns",
        "sum",
        "deferred_dns",
        "",
        "deferred_dns",
        "",
        "delivery attempts deferred for DNS reasons in ten minutes",
    ),
)
BY_NAME = {alarm.name: alarm for alarm in ALARMS}

#: What is said of each kind when it is raised and when it ends. percent: of the limit.
SHARE = ("near its limit: %(words)s, %(value)d of %(limit)d (%(percent)d %%)",) * 2
MOST = ("near its limit: %(words)s, %(value)d of %(limit)d",) * 2
KINDS = {
    kind: (raised, ended.replace("near its limit", "back to normal"))
    for kind, (raised, ended) in {
        "share": SHARE,
        "free": SHARE,
        "most": MOST,
        "sum": MOST,
        "least": ("expires: %(words)s, in %(value)d days", "renewed: %(words)s, good for %(value)d days"),
        "down": ("down: %(words)s does not run, for %(limit)d seconds or more", "up: %(words)s runs again"),
        "silent": (
            "silent: %(words)s runs and answers no query, for %(limit)d seconds or more",
            "up: %(words)s answers queries again",
        ),
    }.items()
}


#: What is said of a user, by what postfwd logged.
LIMITS = {
    "near": "near the limit: user %(user)s has sent to 80 %% of the %(limit)d recipients that sasl_recipients_per_hour, or a figure of his own, allows within an hour",
    "over": "at the limit: user %(user)s has sent to %(limit)d recipients within an hour, and the next get 450",
}


def mark(alarm, row, dns, settings):
    """(value, limit, whether it is near, whether it is well below) of one alarm in *row*; None where that is unknown. dns: attempts in DNS_WINDOW."""
    threshold, value, of = settings[alarm.threshold], row.get(alarm.column), row.get(alarm.of)
    if alarm.kind == "sum":
        value = dns
    if value is None:
        return None
    if alarm.kind in ("share", "free"):
        if not of:
            return None
        value = of - value if alarm.kind == "free" else value
        percent = 100 * value / of
        return value, of, percent >= threshold, percent < threshold - HYSTERESIS
    if alarm.kind in ("down", "silent"):
        return value, threshold, not value, bool(value)
    if alarm.kind == "least":
        return value, threshold, value < threshold, value >= threshold
    return value, threshold, value >= threshold, value < threshold / 2


def judge(row, state, settings):
    """Compare *row* with the table; return (transitions, the new state), both for JSON, and change neither argument.

    row: {column: number or None}. state: what the last call returned, {} at first: over {name: when it was raised, s since 1970}, since {name: when what must
    last has begun}, below {name: since when it is below}, dns [[time, attempts]]. settings: thresholds and durations, as the table names them, and quiet,
    the seconds that a value has to stay HYSTERESIS points below, or under half, before it is back to normal. A transition is {name, over (bool), value, limit,
    at}. Unknown values change nothing: named that is stopped is not named that has few descriptors, and has an alarm of its own.
    """
    now = row["time"]
    # an alarm that nobody watches any more has no end
    watched = {alarm.name: alarm for alarm in ALARMS if settings[alarm.threshold]}
    over = {name: since for name, since in (state.get("over") or {}).items() if name in watched}
    since, below = dict(state.get("since") or {}), dict(state.get("below") or {})
    dns = [entry for entry in state.get("dns") or [] if entry[0] > now - DNS_WINDOW]
    if row.get("deferred_dns"):
        dns.append([now, row["deferred_dns"]])
    transitions = []
    for name, alarm in watched.items():
        found = mark(alarm, row, sum(entry[1] for entry in dns), settings)
        if found is None:
            continue
        value, limit, high, low = found
        crossed = {"name": name, "value": value, "limit": limit, "at": now}
        if not high:
            since.pop(name, None)
        elif name not in over:
            began = since.setdefault(name, now)
            # a clock that was set back begins it again
            if began > now:
                since[name] = now
            elif not alarm.lasts or now - began >= settings[alarm.lasts]:
                over[name] = now
                del since[name]
                transitions.append(dict(crossed, over=True))
        if not low or name not in over:
            below.pop(name, None)
        # a clock that was set back must not hold it for ever
        elif not 0 <= now - below.setdefault(name, now) < settings["quiet"]:
            del over[name], below[name]
            transitions.append(dict(crossed, over=False))
    return transitions, {"over": over, "since": since, "below": below, "dns": dns}


def fresh(limits, told, now):
    """(lines, the new told): what is to be said of users at their limits of recipients, once an hour of each user and kind.

    limits: (near or over, user, limit) of each. told: {"KIND USER": when it was said, s since 1970}.
    """
    # a clock that was set back must not keep it unsaid
    told = {key: when for key, when in told.items() if now - HOUR < when <= now}
    lines = []
    for kind, user, limit in limits:
        key = "%s %s" % (kind, user)
        if key not in told:
            lines.append(LIMITS[kind] % {"user": user, "limit": limit})
            told[key] = now
    return lines, told


def words_of(transition, host):
    """One line about a transition, for people."""
    alarm, value, limit = BY_NAME[transition["name"]], transition["value"], transition["limit"]
    text = KINDS[alarm.kind][0 if transition["over"] else 1]
    return "%s: %s" % (
        host,
        text % {"words": alarm.words, "value": value, "limit": limit, "percent": 100 * value // limit},
    )
