# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The watch, for root: it starts a named or a Postfix that is down, by service(8), where that is declared. It takes no order from the part that is not root."""

import contextlib
import fcntl
import json
import os
import subprocess
import time

from freebsd import ENV, enabled

# held while a module of ours is at work (module_utils/sokuhai/host.py), and here while one is started; in it, when what was started
LOCK = "/var/run/sokuhai.lock"
MOST, WINDOW = 3, 3600  # starts of one service, and the seconds in which they count
SECONDS = 60  # that a start may take


class Watch:
    """services: names as processes() has them, which are those of their rc scripts, too. patience: seconds that one must be down before it is started."""

    def __init__(self, services, patience):
        self.services, self.patience, self.since, self.tired = services, patience, {}, set()
        self.starts = 0
        if services:
            os.close(self.lock())

    @staticmethod
    def lock():
        return os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def look(self, processes):
        """Start what has been down for long enough; return a line for each start, and one for giving up. processes: those that run, None for unknown."""
        lines = []
        for name in self.services if processes is not None else ():
            if name in processes:
                self.since.pop(name, None)
            elif time.monotonic() - self.since.setdefault(name, time.monotonic()) >= self.patience and enabled(name):
                lines += self.start(name)
        return lines

    def taken(self):
        """Return how many starts there were since the last call, None where nothing is watched."""
        starts, self.starts = self.starts, 0
        return starts if self.services else None

    def start(self, name):
        handle = self.lock()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            times = self.times(handle)
            recent = [at for at in times.get(name, []) if 0 <= time.time() - at < WINDOW]
            if len(recent) >= MOST:
                line = "%s is down again after %d starts within an hour, and is left alone for now" % (name, MOST)
                lines = [] if name in self.tired else [line]
                self.tired.add(name)
                return lines
            self.tired.discard(name)
            times[name] = [*recent, int(time.time())]
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(times).encode(), 0)
            status = self.service(name)
            self.starts += 1
            # it gets as much time again
            self.since.pop(name, None)
            how = "status %s, start %d of %d within an hour" % (status, len(times[name]), MOST)
            return ["%s was down and was started by service(8): %s" % (name, how)]
        except BlockingIOError:
            return []  # a run is at work, and may have stopped it
        finally:
            os.close(handle)

    @staticmethod
    def times(handle):
        with contextlib.suppress(ValueError, AttributeError):
            return dict(json.loads(os.pread(handle, 65536, 0)).items())
        return {}

    @staticmethod
    def service(name):
        """The exit status of its start, or words. Nothing that it starts may hold a pipe of ours."""
        argv = ["service", name, "start"]
        null = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            return subprocess.run(argv, env=ENV, timeout=SECONDS, check=False, **null).returncode
        except (OSError, subprocess.SubprocessError) as problem:
            return type(problem).__name__
