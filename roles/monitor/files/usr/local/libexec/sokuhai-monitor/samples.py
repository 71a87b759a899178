# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The file of samples and its columns; roles/monitor/README.md says what each one is."""

import os
import syslog
import time

QUEUES = ("incoming", "active", "deferred", "hold", "maildrop")
# unknown is an empty field, never 0
COLUMNS = (
    "time",
    "seconds",
    "queue_incoming",
    "queue_active",
    "queue_deferred",
    "queue_hold",
    "queue_maildrop",
    "age_incoming",
    "age_active",
    "age_deferred",
    "deferred_dns",
    "deferred_connect",
    "deferred_refused",
    "deferred_greylisted",
    "deferred_other",
    "mails_in",
    "mails_out",
    "mails_deferred",
    "mails_bounced",
    "mails_rejected",
    "mails_put_off",
    "named_running",
    "named_answering",
    "named_sockets",
    "named_descriptors",
    "named_descriptors_limit",
    "named_recursive_clients",
    "named_recursive_clients_limit",
    "named_servfail",
    "named_queries",
    "warm_cached",
    "warm_total",
    "postfix_running",
    "postfix_sockets",
    "postfix_descriptors",
    "postfix_descriptors_limit",
    "postfix_processes",
    "postfix_processes_limit",
    "files",
    "files_limit",
    "sockets",
    "sockets_limit",
    "memory_free",
    "memory_total",
    "swap_used",
    "swap_total",
    "queue_disk_used",
    "queue_disk_total",
    "queue_inodes_used",
    "queue_inodes_total",
    "log_disk_used",
    "log_disk_total",
    "log_inodes_used",
    "log_inodes_total",
    "greylist_running",
    "recipients_running",
    "dkim_running",
    "mta_sts_running",
    "certificate_days",
    "watch_starts",
    "greylist_hits",
    "dnsbl_hits",
    "postscreen_hits",
    "spf_fails",
    "sender_fails",
)
# what is counted in the log
COUNTED = tuple(c for c in COLUMNS if c.startswith(("deferred_", "mails_")) or c.endswith(("_hits", "_fails")))
HEADER = ",".join(COLUMNS) + "\n"
MOST_FILE = 8 * 2**20  # bytes of the file above which newsyslog(8) seems not to run, and the file is started over


def report(path, before, problem):
    """Log once what keeps *path* from being written, and once that nothing does any more; return *problem*, both words of the system or None."""
    if problem != before:
        level = syslog.LOG_ERR if problem else syslog.LOG_NOTICE
        syslog.syslog(level, "%s: %s" % (path, problem or "written again"))
    return problem


class Samples:
    """The file: each line is one write to a file that is opened for it, so newsyslog(8) may rotate it at any time."""

    def __init__(self, path):
        self.path, self.trouble, self.fresh = path, None, True

    def append(self, row):
        """Write *row* ({column: number or None}); a disk that is full costs the line and nothing else."""
        line = ",".join("" if row.get(column) is None else str(row[column]) for column in COLUMNS) + "\n"
        try:
            if not os.path.exists(self.path):
                time.sleep(1)  # between newsyslog's two steps
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                self.write(handle, line)
            finally:
                os.close(handle)
            problem = None
        except OSError as error:
            problem = error.strerror
        self.trouble = report(self.path, self.trouble, problem)

    def write(self, handle, line):
        size = os.fstat(handle).st_size
        # the columns of another version, and half a line of a full disk
        if size == 0 or (self.fresh and os.pread(handle, len(HEADER), 0) != HEADER.encode()):
            line = HEADER + line
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = "\n" + line
        os.write(handle, line.encode())
        self.fresh = False
        if size > MOST_FILE:
            # no name can be made here: the folder is root's, so that newsyslog(8) finds nothing in it that the sampler has put there
            os.ftruncate(handle, 0)
