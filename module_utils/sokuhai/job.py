# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Work that takes longer than a connection lasts: it goes on by itself, and the next run finds it again.

    job = Job("/var/db/sokuhai/ports/dns_bind920", "/var/log/sokuhai-ports-dns_bind920.log")
    started = job.begin({"phase": "begin"}, build)      # build(work) runs in a process of its own
    job.follow()                                        # asked again and again by action plugin `followed`
    job.outcome()                                       # what build() returned, or Refused with the end of the log

It does not survive a reboot, a kill or a full disk; then its record stays in a phase that is neither done nor failed, and begin() may take it
up from there. All that it needs is imported before it begins: Ansible removes a module's files as soon as the module has answered.
"""

import contextlib
import json
import os
import signal
import subprocess
import time

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused, environment

_ENDED = ("done", "failed")
#: Seconds that what did not end in time has to take down what it set up, as poudriere(8) does with its jails and mounts.
_TO_CLEAN_UP = 60


def tail(path, size=65536):
    """Return the last *size* bytes of a file as text; "" where there is none."""
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - size))
            return log.read().decode("utf-8", "replace")
    except OSError:
        return ""


class Job:
    """The record of one piece of work (what is done, since when), the lock that says whether somebody does it, and its log.

    folder: of record and lock; log: path. A record is a dict with `phase` (begin, the work's own words, done, failed), `since`, `pid`,
    in the end `finished` (s since 1970), and of a failure `failed_in` (the phase) and `message`.
    """

    def __init__(self, folder, log):
        self.folder, self.log = folder, log
        self.file, self.lock_file = os.path.join(folder, "job.json"), os.path.join(folder, "lock")

    def read(self):
        """Return the record; {} where there is none, or one that a full disk cut short."""
        return host.load(self.file)

    def write(self, record):
        """Replace the record."""
        host.write(self.file, json.dumps(record, indent=1, sort_keys=True) + "\n")

    def _locked(self):
        if not os.path.exists(self.lock_file):
            return False
        descriptor = host.hold(self.lock_file)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def running(self):
        """Return whether somebody is at it."""
        # in this order: what ends in between has written so before it lets go of the lock
        return self._locked() and self.read().get("phase") not in _ENDED

    def begin(self, record, function, env=None, limit=None):
        """Have function(Work) done in a process of its own, from *record* on; return whether it was begun, or somebody is at it already.

        function: returns a dict that goes into the record, or None; whatever it raises is recorded as the failure. The log of the work before is
        kept as LOG.0 where the phase is `begin`, else this one goes on in it. env: environment of its commands, environment() where it is
        None. limit: (name of the variable, seconds) that it may take in all.
        """
        os.makedirs(self.folder, 0o755, exist_ok=True)
        # what has written its end lets go of the lock in a moment; taken for running, it would be followed to its old outcome
        descriptor = host.hold(self.lock_file, 0 if self.running() else 30)
        if descriptor is None:
            return False
        try:
            self.write(dict(record, since=int(time.time())))
            detach(lambda: Work(self, descriptor, env or environment(), limit).do(function))
        finally:
            os.close(descriptor)
        return True

    def progress(self):
        """Return how far it is: {finished, lost (bool), phase, last line of the log, log (str), elapsed (s)}. lost: nobody is at it, and it has no end."""
        locked, record = self._locked(), self.read()
        ended = record.get("phase") in _ENDED
        return {
            "finished": ended or not locked,
            "lost": not ended and not locked,
            "phase": record.get("phase", "none"),
            "elapsed": int(time.time() - record.get("since", time.time())),
            "last": host.last_lines(tail(self.log, 4096), 1)[:160],
            "log": self.log,
        }

    def follow(self):
        """Return what a module answers that follows it: progress(). Raises Refused as outcome() does."""
        now = self.progress()
        if now["finished"] and not now["lost"]:
            self.outcome()
        return dict(now, changed=True)

    def outcome(self):
        """Return the record of what is done. Raises Refused with why it failed, when, and the end of the log."""
        record = self.read()
        if record.get("phase") == "failed":
            raise Refused(
                "%s (in phase %s, after %d s).\nThe end of %s:\n%s"
                % (
                    record["message"],
                    record["failed_in"],
                    record["finished"] - record["since"],
                    self.log,
                    host.last_lines(tail(self.log), 30),
                )
            )
        return record


class Work:
    """The process that does it. record: the job's; deadline: on time.monotonic()'s clock, None where there is none."""

    def __init__(self, job, descriptor, env, limit=None):
        self.job, self.record, self.env, self.limit = job, job.read(), env, limit
        self.deadline = time.monotonic() + limit[1] if limit else None
        self._descriptor, self._log = descriptor, None

    def do(self, function):
        """Run function(self) to its end, which goes into record and log."""
        os.makedirs(os.path.dirname(self.job.log), exist_ok=True)
        if self.record["phase"] == "begin" and os.path.exists(self.job.log):
            os.replace(self.job.log, self.job.log + ".0")
        with open(self.job.log, "ab") as self._log:
            self.record["pid"] = os.getpid()
            self.say("=> sokuhai: from phase %s, %s" % (self.record["phase"], time.strftime("%Y-%m-%d %H:%M:%S")))
            try:
                result = function(self) or {}
                self.phase("done", finished=int(time.time()), **result)
            except Exception as reason:  # whatever it is, the operator has to read it
                message = str(reason) if isinstance(reason, (Refused, OSError)) else repr(reason)
                where = self.record["phase"]
                self.record.update(phase="failed", failed_in=where, message=message, finished=int(time.time()))
                self.job.write(self.record)
                self.say("=> sokuhai: failed: %s" % message)

    def phase(self, name, **more):
        """Record that the phase *name* begins, and *more* with it."""
        # whoever reads in the record that it has ended reads the whole log
        self.say("=> sokuhai: %s" % name)
        self.record.update(more, phase=name)
        self.job.write(self.record)

    def say(self, text):
        """Write a line (str) into the log."""
        self._log.write((text + "\n").encode("utf-8", "replace"))
        self._log.flush()

    def allow(self, seconds):
        """Have at least *seconds* left from now on."""
        if self.deadline is not None:
            self.deadline = max(self.deadline, time.monotonic() + seconds)

    def command(self, argv, what=None, hold=False):
        """Run *argv* (list of str), what it prints into the log. Raises Refused unless it ends well, and in time.

        what: its name in messages, the whole of it where it is None. hold: it and its children hold the lock, too, so that nothing is begun beside what
        a killed process left; not for what starts a daemon, which would hold it for ever.
        """
        what = what or " ".join(argv)
        self.say("=> " + " ".join(argv))
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.env,
            start_new_session=True,
            pass_fds=(self._descriptor,) if hold else (),
        )
        try:
            status = process.wait(None if self.deadline is None else max(1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            end_group(process)
            raise Refused("%s did not end within %s = %d s" % (what, *self.limit)) from None
        if status:
            raise Refused("%s ended with status %d" % (what, status))


def end_group(process):
    """End *process* (Popen) and its process group: TERM, and KILL for what is left of it when the first has ended, or has had its time."""
    for number, seconds in ((signal.SIGTERM, _TO_CLEAN_UP), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def detach(function):
    """Run function() in a process of its own that outlives this one, its connection and its terminal."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.chdir("/")
        os.umask(0o022)
        function()
    finally:
        os._exit(0)
