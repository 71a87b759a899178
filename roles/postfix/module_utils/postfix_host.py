# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The installed Postfix of a host: its directories, its commands, its master(8) and its log. Standard library only, Python 3.9 to 3.13."""

import os
import re
import time

from ansible.module_utils import postfix_text
from ansible.module_utils.sokuhai import host, limits, process
from ansible.module_utils.sokuhai.host import Refused

#: Must not run beside Postfix: both want port 25.
REPLACES = "sendmail"


class Master:
    """A running master(8): its process and its queue managers, more than one during a reload."""

    def __init__(self, own, children):
        self.own, self.pid = own, own.pid
        self.managers = {child.pid for child in children if child.name in ("qmgr", "oqmgr")}
        # master starts a new qmgr at each reload and keeps no other trace of one
        self.loaded = max(
            [child for child in children if child.pid in self.managers] or [own], key=lambda one: one.since
        )


class Configuration:
    """What postconf(1) reads in a configuration directory.

    values: every parameter, own: those that main.cf sets, both with $names expanded; services and overrides: as postfix_text has them. problems:
    what postconf warns of, deprecated: what it calls so; status: of the first call.
    """

    def __init__(self, postfix, directory):
        self.status, own, notes = postfix.postconf(directory, "-n")
        services, overrides = postfix.postconf(directory, "-M"), postfix.postconf(directory, "-P")
        self.values = postfix_text.parameters(postfix.postconf(directory, "-x")[1])
        self.own = {name: self.values.get(name, value) for name, value in postfix_text.parameters(own).items()}
        self.services = postfix_text.services(services[1])
        self.overrides = postfix_text.overrides(overrides[1])
        notes = dict.fromkeys(notes + services[2] + overrides[2])
        self.deprecated = [note for note in notes if "deprecat" in note or "will be removed" in note]
        self.problems = [re.sub("^warning: ", "", note) for note in notes if note not in self.deprecated]

    @property
    def settings(self):
        """[(where, parameter, value)] of main.cf and of the options in master.cf."""
        return [("main.cf", name, value) for name, value in self.own.items()] + self.overrides

    def smtpds(self):
        """The services that are smtpd(8)."""
        return [service for service in self.services if service["command"] == "smtpd"]


class Postfix:
    """paths: config_directory, queue_directory, command_directory, daemon_directory, mail_owner and the like, by name. service: of rc(8)."""

    def __init__(self, paths, service, maillog):
        self.paths = paths
        self.config = paths["config_directory"]
        self.queue = paths["queue_directory"]
        self.service = service
        self.maillog = maillog

    def tool(self, name, *arguments, text=None):
        """Run one of Postfix's commands; (exit status, standard output, standard error)."""
        return host.run([os.path.join(self.paths["command_directory"], name), *arguments], text=text)

    def postconf(self, directory, *arguments):
        """(exit status, standard output, [lines of its complaint]), which name the directory in force instead of *directory*."""
        status, out, err = self.tool("postconf", "-c", directory, *arguments)
        lines = [re.sub(r"^\S*postconf: ", "", line).replace(directory, self.config) for line in err.splitlines()]
        return status, out, [line for line in lines if line.strip()]

    def running(self):
        """Return the Master that runs, or None."""
        text = (host.read(os.path.join(self.queue, "pid", "master.pid")) or "").strip()
        processes = process.table() if text.isdigit() else {}
        own = processes.get(int(text)) if processes else None
        if own is None or not own.known_as("master"):
            return None
        return Master(own, [child for child in processes.values() if child.parent == own.pid])

    def openfiles(self, pid):
        """Return the descriptors that a running process may have, the lower of soft and hard limit; None when there is no limit."""
        found = limits.descriptors(pid)
        if pid not in found:
            raise Refused("procstat rlimit %d shows no openfiles" % pid)
        return min((number for number in found[pid] if number is not None), default=None)

    def rc(self, verb):
        """service(8) with the one… verbs: a plain start of a service that is not enabled does nothing and exits 0."""
        return host.service(self.service, "one" + verb)

    def bring(self, verb):
        """start, restart or reload; return the Master once it runs (with a new qmgr). Raises Refused."""
        before, log_end = self.running(), self.log_end()
        # not by its exit status: that is of the queue runner alone up to FreeBSD 14, and after it the worst of all that rc.d/sendmail looks for
        if verb == "start" and host.service_pid(REPLACES):
            host.service(REPLACES, "onestop")
        status, said = self.rc(verb)
        # postfix start waits for master itself and exits non-zero without one
        deadline, missing = time.monotonic() + (30 if status == 0 else 3), 0
        while time.monotonic() < deadline and missing < 10:
            now = self.running()
            if now and (not before or (now.managers - before.managers if verb == "reload" else now.pid != before.pid)):
                return now
            # a reload never takes master away: where it stays away, it died of what it read
            missing = missing + 1 if verb == "reload" and not now else 0
            time.sleep(0.3)
        raise Refused(
            "service %s one%s: %s does not run (exit %d: %s)%s"
            % (
                self.service,
                verb,
                "a new qmgr" if verb == "reload" else "master",
                status,
                said or "silent",
                self.logged(log_end),
            )
        )

    def log_end(self):
        """Return where the log ends now, for logged()."""
        return host.log_end(self.maillog)

    def logged(self, since):
        """Return "; logged: …" with the last warnings and worse that Postfix logged since log_end() was *since*, or "" where there are none."""
        lines = host.logged(self.maillog, since, r"postfix/?(\S*: (?:warning|error|fatal|panic): .*)")
        return "; logged: " + " / ".join(lines[-6:]) if lines else ""
