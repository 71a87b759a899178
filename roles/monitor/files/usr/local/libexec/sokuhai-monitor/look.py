# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The part that is root: what Postfix's queue directories, the mail log and the processes hold. It interprets nothing that comes from outside,
and changes nothing but what the watch starts where that is declared."""

import json
import os
import time

from certificate import Certificates
from freebsd import arrival, count_files, parse_processes, parse_rlimits, recursive_clients, run, words
from samples import QUEUES
from watch import Watch

MOST_NAMES = 200000  # directory entries that one look counts; more are reported as this many
MOST_AGES = 20000  # messages of one queue whose arrival is remembered
NEW_AGES = 2000  # of them read in one look
SHARE = 100  # a directory whose look took t seconds is looked at again after 100 t: 1 % of a processor
MOST_LOG = 4 * 2**20  # bytes of the log in one look; what is above comes with the next
LATE_LOG = 64 * 2**20  # further behind than that, the log is read on from its end
BUSY_MESSAGES = 10  # messages in incoming and active that are a delivery


def open_log(path, flags):
    return os.open(path, flags | os.O_NONBLOCK)


def open_message(path, flags):
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


class Tail:
    """The bytes that come into a file after it was first opened, across rotations."""

    def __init__(self, path):
        self.path, self.rest = path, b""
        self.open(os.SEEK_END)

    def open(self, whence):
        try:
            self.file = open(self.path, "rb", buffering=0, opener=open_log)
            self.file.seek(0, whence)
        except OSError:
            self.file = None

    def size(self):
        """Bytes of the file now: what grows while mail is delivered."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0

    def rotated(self):
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno()))
        except OSError:
            return False

    def read(self):
        """(whole lines (bytes), whether some were left out)."""
        if self.file is None:
            # it was not there: all of it is new
            self.open(os.SEEK_SET)
        data, missed = self.rest, False
        for _ in range(2):
            if self.file is None:
                break
            size, at = os.fstat(self.file.fileno()).st_size, self.file.tell()
            if at > size:
                self.file.seek(0)
            elif size - at > LATE_LOG:
                self.file.seek(0, os.SEEK_END)
                data, missed = b"", True
            data += self.file.read(MOST_LOG - len(data))
            if len(data) >= MOST_LOG or not self.rotated():
                break
            self.file.close()
            self.open(os.SEEK_SET)
        whole = data.rfind(b"\n") + 1
        # half a line waits for its end
        self.rest = data[whole:] if len(data) - whole < 65536 else b""
        return data[:whole], missed


class Queue:
    """One of Postfix's queue directories: how many messages, and the oldest's arrival. A look costs at most a SHARE of the time between two."""

    def __init__(self, path, ages):
        self.path, self.ages, self.arrived, self.due, self.last = path, ages, {}, 0.0, None

    def names(self, path, depth, most):
        """(name, path) of the files below, at most so many; hashed queues have directories of one letter (hash_queue_depth)."""
        with os.scandir(path) as entries:
            for entry in entries:
                if most <= 0:
                    return
                if len(entry.name) == 1:
                    for found in self.names(entry.path, depth - 1, most) if depth else ():
                        most -= 1
                        yield found
                elif not entry.name.startswith("."):
                    most -= 1
                    yield entry.name, entry.path

    def count(self, most):
        """Number of messages, at most *most*; 0 where there is no such directory."""
        try:
            return sum(1 for _ in self.names(self.path, 4, most))
        except OSError:
            return 0

    def look(self):
        """[number, arrival of the oldest or None], or None where there is no such directory."""
        began = time.monotonic()
        if began < self.due:
            return self.last
        known, number, new = {}, 0, NEW_AGES
        try:
            for name, path in self.names(self.path, 4, MOST_NAMES):
                number += 1
                if not self.ages or len(known) >= MOST_AGES:
                    continue
                if name in self.arrived:
                    known[name] = self.arrived[name]
                elif new:
                    new -= 1
                    known[name] = self.arrival(path)
        except OSError:
            self.last = None if number == 0 and not os.path.isdir(self.path) else [number, None]
            return self.last
        self.arrived = known
        self.last = [number, min(filter(None, known.values()), default=None)]
        self.due = time.monotonic() + min(300, SHARE * (time.monotonic() - began))
        return self.last

    @staticmethod
    def arrival(path):
        """By the file's own record, since Postfix sets the time of a deferred file to its next attempt; None for one that is gone or just being written."""
        try:
            with open(path, "rb", buffering=0, opener=open_message) as message:
                return arrival(message.read(256))
        except OSError:
            return None


class Look:
    """What needs root, and nothing else. It takes one byte: p for a short look, f for a whole one; it answers one line of JSON and, after a whole one, the log."""

    def __init__(self, settings):
        self.tail = Tail(settings["maillog"])
        self.top = settings["queue_directory"]
        self.named_conf = settings["named_conf"]
        self.watch = Watch(settings["restart"], settings["down_seconds"] or 60)
        self.certificates = Certificates(settings["main_cf"])
        self.queues = {
            name: Queue(os.path.join(self.top, name), name in ("incoming", "active", "deferred")) for name in QUEUES
        }

    def short(self):
        return {
            "log": self.tail.size(),
            "messages": sum(self.queues[name].count(BUSY_MESSAGES) for name in ("incoming", "active")),
        }

    def whole(self):
        lines, missed = self.tail.read()
        processes = self.processes()
        return {
            "queue": {name: queue.look() for name, queue in self.queues.items()},
            "processes": processes,
            # with the secret of a key in it, named.conf is root's and named's
            "recursive_clients": recursive_clients(self.named_conf),
            "started": self.watch.look(processes),
            "starts": self.watch.taken(),
            "certificate": self.certificates.end(),
            "bytes": len(lines),
            "missed": missed,
        }, lines

    def processes(self):
        """{named, postfix: [sockets, descriptors, limit], smtp: processes}; named's is the process with the most, Postfix's sockets are of all of its
        processes and its descriptors those of the one that is nearest its limit. Without the table the fields are null; a daemon that does not run is left out.
        None where ps(1) has said nothing: whether anything runs is unknown then."""
        running = parse_processes(words("ps", "-ax", "-o", "pid=", "-o", "ppid=", "-o", "comm="))
        if not running:
            return None
        table = count_files(run("sysctl", "-b", "kern.file") or b"")
        held = table or {}

        def most(pids, number):
            return sorted(pids, key=lambda pid: held.get(pid, [0, 0])[0], reverse=True)[:number]

        named = most([pid for pid, (_parent, command) in running.items() if command == "named"], 1)
        postfix = self.postfix(running)
        asked = [pid for pid in most(postfix, 5) if pid in held]
        # procstat fails at the first process that has ended meanwhile; what it printed of those before, named first, holds
        limits = {}
        if named or asked:
            limits = parse_rlimits(words("procstat", "rlimit", *map(str, named + asked), check=False))
        found = {}
        for pid in named:
            descriptors, sockets = held.get(pid, [None, None])
            found["named"] = [sockets, descriptors, limits.get(pid)]
        if postfix:
            near = max(asked, key=lambda pid: held[pid][0] / limits.get(pid, 2**31), default=None)
            found["postfix"] = [
                None if table is None else sum(held.get(pid, [0, 0])[1] for pid in postfix),
                held.get(near, [None])[0],
                limits.get(near),
            ]
            found["smtp"] = sum(1 for pid in postfix if running[pid][1] == "smtp")
        return found

    def postfix(self, running):
        """pids of Postfix's master and of what it started."""
        try:
            with open(os.path.join(self.top, "pid", "master.pid"), encoding="ascii") as source:
                master = int(source.read(32))
        except (OSError, ValueError):
            return []
        if running.get(master, (0, ""))[1] != "master":
            return []
        return [master] + [pid for pid, (parent, _command) in running.items() if parent == master]

    def serve(self, channel):
        """Answer until the other end is closed."""
        while True:
            asked = channel.recv(1)
            if asked == b"p":
                channel.sendall(json.dumps(self.short()).encode() + b"\n")
            elif asked == b"f":
                answer, lines = self.whole()
                channel.sendall(json.dumps(answer).encode() + b"\n" + lines)
            else:
                return
