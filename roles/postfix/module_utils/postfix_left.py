# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Mail that waits where the host's mailer before Postfix left it: dma(8)'s spool and sendmail(8)'s two queues. Python 3.9 to 3.13."""

import fcntl
import glob
import os
import re
import signal

from ansible.module_utils.sokuhai import host, process
from ansible.module_utils.sokuhai.findings import finding

DMA_CONF = "/etc/dma/dma.conf"
SENDMAIL = "/usr/libexec/sendmail/sendmail"
#: sendmail's queues, and how it runs each: the first one gives all to port 25 of this host, the other delivers.
QUEUES = {"/var/spool/clientmqueue": "-Ac", "/var/spool/mqueue": "-Am"}


def spool():
    """Return dma's spool directory: SPOOLDIR of dma.conf(5)."""
    found = re.search(r"^\s*SPOOLDIR\s+(\S+)", host.read(DMA_CONF) or "", re.M)
    return found[1] if found else "/var/spool/dma"


def message_of(path):
    """Return the path of the message of a queue file of dma's."""
    return os.path.join(os.path.dirname(path), "M" + os.path.basename(path)[1:])


class Left:
    """What is there of before. postfix: postfix_host.Postfix. mailer: files.File of mailer.conf, None where another mailer stays the host's.

    Everything counts where mailer.conf is still to be written; else what is older: whoever calls dma by its path today keeps it.
    """

    def __init__(self, postfix, mailer):
        self.postfix, self.mailer = postfix, mailer
        self.until = None
        if mailer and not mailer.differs:
            self.until = os.stat(mailer.path).st_mtime

    def waiting(self):
        """Return {directory: the queue files in it}, of those that have some."""
        if not self.mailer:
            return {}
        found = {spool(): [path for path in glob.glob(os.path.join(spool(), "Q*")) if os.path.exists(message_of(path))]}
        found.update((queue, glob.glob(os.path.join(queue, "**", "qf*"), recursive=True)) for queue in QUEUES)
        found = {queue: [path for path in sorted(paths) if self.before(path)] for queue, paths in found.items()}
        return {queue: paths for queue, paths in found.items() if paths}

    def before(self, path):
        try:
            return self.until is None or os.stat(path).st_mtime <= self.until
        except FileNotFoundError:  # delivered meanwhile
            return False

    def findings(self):
        things = {"mail in " + queue: len(paths) for queue, paths in self.waiting().items()}
        return [finding(thing, thing, "none", "%d messages" % number) for thing, number in things.items()]

    def hand_over(self):
        """Give it to the Postfix that runs; return what is wrong, one sentence for each directory where mail is left."""
        waiting, problems = self.waiting(), []
        if spool() in waiting:
            problems += self.hand_over_dma(waiting.pop(spool()))
        for queue, paths in waiting.items():
            _status, out, err = host.run([SENDMAIL, QUEUES[queue], "-q"], timeout=300)
            left = [path for path in paths if os.path.exists(path)]
            if left:
                said = " ".join((out + err).split()) or "it could not deliver them now"
                command = "%s %s -q" % (SENDMAIL, QUEUES[queue])
                problems.append(
                    "%d messages wait in %s, and nothing runs that queue any more: %s (%s); the next run tries again"
                    % (len(left), queue, command, said)
                )
        return problems

    def hand_over_dma(self, paths):
        failed = [said for said in map(self.submit, paths) if said]
        if not failed:
            return []
        return ["%d messages wait in %s, and nothing runs that queue any more: %s" % (len(failed), spool(), failed[0])]

    @staticmethod
    def lock(queued):
        """Lock a queue file. dma has a process for each message, which holds it and tries for five days; its child is init's once it has ended."""
        try:
            fcntl.flock(queued, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            for one in process.table().values():
                if one.name == "dma" and one.parent == 1:
                    os.kill(one.pid, signal.SIGTERM)
            raise

    def submit(self, path):
        """Give Postfix the message of one queue file, and remove it; return why not, or ""."""
        text = message_of(path)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as queued, open(text, "rb") as message:
                host.retry(lambda: self.lock(queued), 5)
                fields = dict(line.rstrip("\n").split(": ", 1) for line in queued if ": " in line)
                command = [self.postfix.paths["sendmail_path"], "-i", "-f", fields.get("Sender") or "<>", "--"]
                status, out, err = host.run(
                    [*command, fields["Recipient"]], text=message.read().decode("utf-8", "surrogateescape")
                )
        except FileNotFoundError:
            return ""
        except (OSError, KeyError) as problem:
            return "%s: %s" % (path, problem)
        if status:
            return "%s: %s" % (path, " ".join((out + err).split()) or "exit status %d" % status)
        host.remove(text, path)
        return ""
