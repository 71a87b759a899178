# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which process serves something, and whether it is older than what it should have read: its files, its arguments, its program.

    now = process.from_pidfile("/var/run/dovecot/master.pid")
    stale = now and now.older_than(config, program="/usr/local/sbin/dovecot")

When a process began is known to a moment or to a second or two, so `since` is a pair, (not before, not after):

- A pid file that its daemon writes once, at its start or whenever it reads its configuration again, has that moment as its time of change.
- ps(1) gives whole seconds: etimes is the second of now less the second of the start (elapseds() of FreeBSD's bin/ps/print.c), so the start lies
  within one second on either side of now less etimes.
- What a program says itself in whole seconds (rndc status) is within the second that begins there: at_second().

Two questions follow, and each user asks the one whose error costs less: older_than() is true only where no other reading is left, and never
restarts a daemon in vain; perhaps_older_than() is also true where the clocks cannot tell, and never leaves an old one running. Whoever
replaces a file himself need not ask a clock: identity() before and after tells exactly.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import time

from ansible.module_utils.sokuhai import host, pkg

# One keyword each: the text after a keyword's = is a heading, which would swallow what follows a comma. A name may have blanks in it (postgrey
# calls itself by its arguments), so a number stands between it and the command.
_COLUMNS = ("pid=", "ppid=", "uid=", "stat=", "comm=", "etimes=", "command=")
_ROW = re.compile(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S.*?)\s+(\d+)(?:\s+(.*))?")


@dataclasses.dataclass
class Process:
    """A process as ps(1) showed it: name is its program's, command its arguments; since: see above, s since 1970."""

    pid: int
    parent: int
    uid: int
    name: str
    command: str
    since: tuple

    def known_as(self, word):
        """Return whether *word* is the program's name or one of the arguments: /usr/sbin/x, x and "x: title" are an x."""
        words = self.command.split() or [""]
        return word in {self.name, os.path.basename(words[0]).rstrip(":"), *words}

    def at_second(self, second):
        """Return this process as one that read its files within *second* (int, s since 1970)."""
        return dataclasses.replace(self, since=(second, second + 1))

    def older_than(self, *files, program=None):
        """Return the path of the newest of *files* and *program* that surely came after this process began, or None.

        The time of a file is that of its last writing, of a program that of its change of status, since a package keeps the build's time of writing. A
        file that is not there, or is from the future (a clock that was set), tells nothing; nor does a change of status that is no new program: see
        _replaced().
        """
        return self._newest(files, program, lambda when: when > self.since[1])

    def perhaps_older_than(self, *files, program=None):
        """Return as older_than() does, but also a file that may have come before: the clocks cannot tell."""
        return self._newest(files, program, lambda when: when >= self.since[0])

    def identity(self, path):
        """Return (pid, inode, time of writing in ns) of this process and its file *path*: the same pid with another file is an old process."""
        found = os.stat(path)
        return self.pid, found.st_ino, found.st_mtime_ns

    def outlived(self, path, before):
        """Return whether this process is the one of *before*, what identity(path) or None gave before *path* was replaced, and the file is another."""
        return before is not None and before[0] == self.pid and before != self.identity(path)

    def _replaced(self, path, when, counts):
        """Return whether the program *path*, whose status changed at *when* (s since 1970), is another than the one that this process runs.

        On UFS with soft updates the time of change of a file that reached the disk before it was renamed into its place moves once more, 62 s after
        (seen on 15.0; handle_workitem_remove() of sys/ufs/ffs/ffs_softdep.c): a daemon that began in between looks older than its own program. So it is
        asked which file it runs; of a script, whose text is its interpreter's, when pkg(8) installed its package.
        """
        if when < self.since[0]:
            return False
        with open(path, "rb") as file:
            script = file.read(2) == b"#!"
        if not script:
            text = self.text()
            return counts(when) if text is None else text != os.stat(path).st_ino
        if not counts(when):
            return False
        if counts(os.stat(path).st_mtime):
            return True
        installed = pkg.installed_at(path)
        # what began within that second is judged by the time of change
        return installed is None or counts(installed + 1)

    def text(self):
        """Return the inode (int) of the file that this process runs, by fstat(1), or None."""
        out = host.run(["fstat", "-p", str(self.pid)])[1]
        found = re.search(r"\s%d\s+text\s+\S+\s+(\d+)\s" % self.pid, out)
        return int(found[1]) if found else None

    def _newest(self, files, program, counts):
        """Return the path of the newest file whose time counts(), or None."""
        found = []
        for path in (*files, *([] if program is None else [program])):
            try:
                there = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            when = there.st_ctime if path == program else there.st_mtime
            newer = self._replaced(path, when, counts) if path == program else counts(when)
            if newer and when <= time.time():
                found.append((when, path))
        return max(found)[1] if found else None


def table(pid=None):
    """Return {pid: Process} of all that run, in one call of ps(1), or of *pid* alone; the dead (zombies) are left out."""
    asked = time.time()
    argv = ["ps", "-ww"] + (["-ax"] if pid is None else ["-p", str(pid)])
    out = host.run(argv + [word for column in _COLUMNS for word in ("-o", column)])[1]
    answered, found = time.time(), {}
    for line in out.splitlines():
        row = _ROW.fullmatch(line)
        if row is None or row[4].startswith("Z"):
            continue
        age = int(row[6])
        found[int(row[1])] = Process(
            pid=int(row[1]),
            parent=int(row[2]),
            uid=int(row[3]),
            name=row[5],
            command=(row[7] or "").strip(),
            since=(asked - age - 1, answered - age + 1),
        )
    return found


def descendants(processes, pid):
    """Return the processes below *pid* in a table(), at any depth: children before grandchildren, each generation by pid."""
    found, fresh = [], {pid}
    while fresh:
        children = sorted(
            child for child, one in processes.items() if one.parent in fresh and child not in found and child != pid
        )
        found += children
        fresh = set(children)
    return [processes[child] for child in found]


def from_service(name):
    """Return the main Process of a service as its own rc script knows it, or None where it does not run."""
    pid = host.service_pid(name)
    return None if pid is None else table(pid).get(pid)


def from_pidfile(path, known_as=None, written_once=True):
    """Return the Process whose number is in the file *path*, or None where it does not run.

    known_as: what the process must be known as; a number in a file that was left behind is a stranger's sooner or later. written_once: the
    file is written at the start (or at each reading of the configuration) and never otherwise, so its time is the process's.
    """
    try:
        text = (host.read(path) or "").strip()
        written = os.stat(path).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None  # it just went
    if not text.isdigit():
        return None
    found = table(int(text)).get(int(text))
    if found is None or (known_as is not None and not found.known_as(known_as)):
        return None
    return dataclasses.replace(found, since=(written, written)) if written_once else found


def stop(find, service, script, *words):
    """Stop the *service* of an rc script of ours, called with *words*, whose Process is what find() returns; the *script* may be gone
    already, where a run was killed."""
    if os.path.exists(script):
        host.service(service, "onestop", *words)
    left = find()
    if left:
        end(left.pid)


def end(pid):
    """End a process: TERM, and KILL where that is ignored for 3 s. Raises Refused."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        if host.wait_until(lambda: not table(pid), 3, 0.1):
            return
    raise host.Refused("process %d does not end" % pid)
