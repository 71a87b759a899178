# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The last sample in Prometheus' text format, in a file for the textfile collector of node_exporter."""

import os

from alarms import ALARMS
from samples import report

DAY = 86400


def each(label, prefix, *values, **others):
    """Series of one label: {value: column}, columns of a common beginning and others."""
    return {((label, value),): prefix + value for value in values} | {((label, key),): of for key, of in others.items()}


def one(column):
    return {(): column}


# Names as https://prometheus.io/docs/practices/naming/ has them: base units at the end, _total for what only grows. (name, type, help, series[, factor])
FAMILIES = (
    ("sample_timestamp_seconds", "gauge", "When the last sample was taken.", one("time")),
    (
        "queue_messages",
        "gauge",
        "Messages in Postfix's queues.",
        each("queue", "queue_", "incoming", "active", "deferred", "hold", "maildrop"),
    ),
    (
        "queue_oldest_message_age_seconds",
        "gauge",
        "Time since the oldest message there arrived.",
        each("queue", "age_", "incoming", "active", "deferred"),
    ),
    (
        "deliveries_deferred_total",
        "counter",
        "Delivery attempts deferred, by reason.",
        each("reason", "deferred_", "dns", "connect", "refused", "greylisted", "other"),
    ),
    ("messages_received_total", "counter", "Messages received, bounces included.", one("mails_in")),
    (
        "deliveries_total",
        "counter",
        "Delivery attempts, by result.",
        each("result", "", sent="mails_out", deferred="mails_deferred", bounced="mails_bounced"),
    ),
    (
        "commands_rejected_total",
        "counter",
        "Commands of clients answered with 5xx, or with 4xx except by greylisting.",
        each("reply", "", **{"5xx": "mails_rejected", "4xx": "mails_put_off"}),
    ),
    (
        "service_running",
        "gauge",
        "Whether an enabled service runs.",
        each(
            "service",
            "",
            **{name: name + "_running" for name in ("named", "postfix", "greylist", "recipients", "dkim", "mta_sts")},
        ),
    ),
    ("named_answering", "gauge", "Whether a named that runs answers queries.", one("named_answering")),
    (
        "process_sockets",
        "gauge",
        "Sockets of named, and of all of Postfix's processes.",
        each("of", "", named="named_sockets", postfix="postfix_sockets"),
    ),
    (
        "process_descriptors",
        "gauge",
        "Descriptors of named, and of the process of Postfix's that is nearest to its limit.",
        each("of", "", named="named_descriptors", postfix="postfix_descriptors"),
    ),
    (
        "process_descriptors_limit",
        "gauge",
        "Their soft limits in force.",
        each("of", "", named="named_descriptors_limit", postfix="postfix_descriptors_limit"),
    ),
    ("named_recursive_clients", "gauge", "Recursive clients of named.", one("named_recursive_clients")),
    ("named_recursive_clients_limit", "gauge", "recursive-clients.", one("named_recursive_clients_limit")),
    ("named_servfail_answers_total", "counter", "SERVFAIL answers of named.", one("named_servfail")),
    ("named_queries_total", "counter", "Queries to named.", one("named_queries")),
    (
        "warm_domains",
        "gauge",
        "Domains of the lists of ahead_warm_lists that take mail, and those of them that named's cache knew at the last run.",
        each("known", "warm_", cached="warm_cached", total="warm_total"),
    ),
    ("smtp_processes", "gauge", "Processes of smtp(8).", one("postfix_processes")),
    (
        "smtp_processes_limit",
        "gauge",
        "default_process_limit, or maxproc of smtp, and maxproc of transports of their own.",
        one("postfix_processes_limit"),
    ),
    ("host_files", "gauge", "kern.openfiles.", one("files")),
    ("host_files_limit", "gauge", "kern.maxfiles.", one("files_limit")),
    ("host_sockets", "gauge", "kern.ipc.numopensockets.", one("sockets")),
    ("host_sockets_limit", "gauge", "kern.ipc.maxsockets.", one("sockets_limit")),
    ("memory_free_bytes", "gauge", "Free and inactive memory, and what ZFS would give up.", one("memory_free")),
    ("memory_size_bytes", "gauge", "hw.physmem.", one("memory_total")),
    ("swap_used_bytes", "gauge", "Swap in use.", one("swap_used")),
    ("swap_size_bytes", "gauge", "Swap.", one("swap_total")),
    (
        "filesystem_used_bytes",
        "gauge",
        "Space in use where Postfix's queue and the mail log are.",
        each("holds", "", queue="queue_disk_used", log="log_disk_used"),
    ),
    (
        "filesystem_size_bytes",
        "gauge",
        "That, and what is left for users who are not root.",
        each("holds", "", queue="queue_disk_total", log="log_disk_total"),
    ),
    (
        "filesystem_used_inodes",
        "gauge",
        "Inodes in use there.",
        each("holds", "", queue="queue_inodes_used", log="log_inodes_used"),
    ),
    (
        "filesystem_inodes",
        "gauge",
        "Inodes there.",
        each("holds", "", queue="queue_inodes_total", log="log_inodes_total"),
    ),
    ("certificate_remaining_seconds", "gauge", "Until smtpd's certificate ends.", one("certificate_days"), DAY),
    ("watch_starts_total", "counter", "Starts of named or Postfix by the watch.", one("watch_starts")),
    ("greylisted_total", "counter", "Deferrals by this host's greylisting.", one("greylist_hits")),
    (
        "dnsbl_hits_total",
        "counter",
        "Rejections by a DNSBL and clients above postscreen's threshold.",
        one("dnsbl_hits"),
    ),
    (
        "postscreen_hits_total",
        "counter",
        "Clients rejected by postscreen or talking too early.",
        one("postscreen_hits"),
    ),
    ("spf_fails_total", "counter", "Messages with SPF result fail.", one("spf_fails")),
    (
        "sender_fails_total",
        "counter",
        "Recipients of users who sent as an address that is not their own.",
        one("sender_fails"),
    ),
)


def series(name, labels, value):
    shown = ",".join('%s="%s"' % label for label in labels)
    return "sokuhai_%s%s %s\n" % (name, "{%s}" % shown if shown else "", value)


def family(name, kind, text, lines):
    """The text of one family; none where nothing of it is known."""
    return "# HELP sokuhai_%s %s\n# TYPE sokuhai_%s %s\n%s" % (name, text, name, kind, "".join(lines)) if lines else ""


def exposition(values, raised):
    """The whole file. values: {column: number or None}, what counts something since the sampler began; raised: names of alarms."""
    text = "# Written by sokuhai's role monitor.\n"
    for name, kind, words, columns, *factor in FAMILIES:
        known = {labels: values[column] for labels, column in columns.items() if values.get(column) is not None}
        lines = [series(name, labels, value * (factor or [1])[0]) for labels, value in known.items()]
        text += family(name, kind, words, lines)
    states = [series("alarm", (("alarm", alarm.name),), int(alarm.name in raised)) for alarm in ALARMS]
    return text + family("alarm", "gauge", "Whether an alarm of role monitor is raised.", states)


class Textfile:
    """The file, replaced in one rename: the collector reads what ends in .prom, and never half of it."""

    def __init__(self, path):
        self.path, self.trouble, self.grown = path, None, {}

    def write(self, row, raised):
        if not self.path:
            return
        counted = [
            column for _n, kind, _w, columns, *_f in FAMILIES if kind == "counter" for column in columns.values()
        ]
        for column in counted:
            self.grown[column] = self.grown.get(column, 0) + (row.get(column) or 0)
        new = self.path + ".new"
        try:
            # whoever else may write there, no link of his is followed
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "w") as target:
                target.write(exposition({**row, **self.grown}, raised))
            os.replace(new, self.path)
            problem = None
        except OSError as error:
            problem = error.strerror
        self.trouble = report(self.path, self.trouble, problem)
