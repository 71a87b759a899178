# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What differs between a host's Postfix and the declared one, and how its master(8) is brought to it. Python 3.9 to 3.13."""

import os

from ansible.module_utils.sokuhai.findings import finding

# Read by master(8) when it opens its sockets: a reload does not do.
AT_START = (
    "inet_interfaces",
    "inet_protocols",
    "default_process_limit",
    "queue_directory",
    "data_directory",
    "daemon_directory",
    "master_service_disable",
)
#: How master(8) is brought to a set, the weakest first.
VERBS = ("", "reload", "restart", "start")


def read_at_start(before, after):
    """Return findings of what master(8) reads at its start only and is another in *after*: a reload is not enough. Both: postfix_host.Configuration."""
    changes = [("main.cf: " + name, name, before.values.get(name, ""), after.values.get(name, "")) for name in AT_START]
    # The backlog of a listening socket is fixed when it is opened: the larger of maxproc and default_process_limit.
    old, new = (
        {one["name"]: one["maxproc"] for one in found.services if one["type"] == "inet"} for found in (before, after)
    )
    changes += [
        ("master.cf: %s/inet" % name, "maxproc of %s/inet" % name, old[name], new[name]) for name in old if name in new
    ]
    return [
        finding("process master: " + name, "process master: " + name, wanted, now, [cause])
        for cause, name, now, wanted in changes
        if now != wanted
    ]


class Plan:
    """files: postfix_files.Files; p: the options of postfix_config.

    findings: as sokuhai.findings has them; what is in a file is in diff() instead. differences, stale: as files has them. running: postfix_host.Master
    or None. unproved: a run was killed between swap and proof. verb: one of VERBS.
    """

    def __init__(self, postfix, files, p):
        self.findings = []
        self.files = files
        self.differences = files.differences()
        self.stale = files.stale()
        self.running = postfix.running()
        self.unproved = os.path.isdir(files.previous)
        self.verb = ""
        for path, mode in sorted(files.loose().items()):
            self.note("mode of " + path, "0600", "%04o" % mode)
        for name, what in self.stale.items():
            self.note("database of " + name, "built from its text", what)
        if self.unproved:
            self.note("proof of the set", "proved", "a run was killed between swap and proof")
        if not self.running:
            self.note("service postfix", "running", "not running", verb="start")
            return
        have = postfix.openfiles(self.running.pid)
        if have is not None and have < p["openfiles"]:
            self.note("process master: openfiles", p["openfiles"], have, verb="restart")
        # by pkg upgrade, or by another flavor's package
        program = self.running.own.older_than(program=os.path.join(postfix.paths["daemon_directory"], "master"))
        if program:
            self.note("process postfix: program", "started after %s was put there" % program, "before", verb="restart")
        newer = self.running.loaded.older_than(*files.read_at_load(), p["certificate"], p["key"])
        if newer:
            because = [*sorted(self.differences), "certificate"]
            self.note("process master: configuration", "loaded after " + newer, "loaded before", because, "reload")

    @property
    def new_set(self):
        """Whether a set is to be staged, proved and swapped in."""
        return bool(self.differences or self.stale or self.unproved)

    def note(self, name, expected, found, because=(), verb=""):
        self.findings.append(finding(name, name, expected, found, because))
        self.want(verb)

    def want(self, verb):
        """Bring master to the set by *verb*, or by more: a start stays a start, a restart is more than a reload."""
        self.verb = max(self.verb, verb, key=VERBS.index)

    def replaces(self, before, after):
        """Note what a running master needs when the set *after* takes the place of *before* (Configurations)."""
        if self.running:
            self.want("reload")
            found = read_at_start(before, after)
            self.findings += found
            self.want("restart" if found else "")

    def diff(self):
        return [self.files.shown(name, *texts) for name, texts in sorted(self.differences.items())]
