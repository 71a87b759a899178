# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A service of the host that an rc script runs: its package, its files, its variables in rc.conf(5) and what runs of it, brought to what is declared as one
transaction, and taken away again.

A role's module says what is declared (Service) and how what runs is asked (Unit), or both of what has one process (Sole). Where something fails, the former files and variables come back.
"""

import os

from ansible.module_utils.sokuhai import host, pkg, process, rc
from ansible.module_utils.sokuhai.files import File, refuse_strangers
from ansible.module_utils.sokuhai.findings import finding

#: Seconds that a Sole's start may take until it answers.
PATIENCE = 20


def diff_of(files):
    """Return the diff, as a module answers it, of a list of File."""
    return [entry for file in files for entry in file.diff()]


class Unit:
    """One process of a Service, by title: how it is named in findings. words: those by which the rc script knows it, where there are several."""

    title, words = "", ()

    def process(self):
        """Return its Process, or None."""
        raise NotImplementedError

    def differs(self, fresh=()):
        """Return (what is wrong with what runs, ids of the findings it follows from), or None. fresh: ids of the findings of what is to be written."""
        raise NotImplementedError

    def answers(self):
        """Return whether it answers at all."""
        raise NotImplementedError

    def restart(self):
        """Start it, again where it runs, and have it serve. Raises Refused or OSError."""
        raise NotImplementedError

    def refuse_taken(self):
        """Raise Refused where somebody else is in its place. Asked before anything is written."""

    def runs(self):
        """Return whether it is there after a start."""
        return host.wait_until(self.process, 5)


class Service:
    """What the module's parameters *p* declare."""

    #: The role, and what is in every file that it writes.
    ROLE = MARK = ""
    #: What a refusal adds where there is nothing to go back to.
    WITHOUT = ""

    def __init__(self, p):
        self.p = p
        self.name = p["service"]

    def declared(self):
        """Return a list of (path, text, mode) of its files, in the order in which they are written. The last one goes last, too: while it is there, the next
        run knows that there is something to remove."""
        raise NotImplementedError

    def variables(self):
        """Return {name: value} of rc.conf's variables."""
        raise NotImplementedError

    def units(self):
        """Return the list of its Units."""
        raise NotImplementedError

    def installed(self):
        """Return whether the program is there. Raises Refused where it cannot run."""
        return pkg.program(self.p["program"])

    def absence(self):
        """Return what a refusal says of a program that is not there."""
        raise NotImplementedError

    def judge(self, files):
        """Raise Refused for what cannot work, before anything is written. files: list of File."""

    def prepare(self, files, check):
        """Have what its files are made from, unless *check*. Return the list of File as it is then, and findings. Raises Refused or OSError."""
        return files, []

    def stop(self, unit):
        """Stop what runs of *unit*. Raises Refused."""
        process.stop(unit.process, self.name, self.p["script"], *unit.words)

    def clear(self):
        """Remove what is left beside its files, before the one that goes last."""

    # -- state=present ------------------------------------------------------------------------------------------------

    def files(self):
        """Return the list of File. Raises Refused for one that somebody else wrote."""
        files = [File(*one) for one in self.declared()]
        refuse_strangers(files, self.MARK, self.ROLE)
        return files

    def present(self, check):
        """Have everything as declared, unless *check*; return the module's answer."""
        missing, files = pkg.missing(self.p["packages"], self.p["program"]), self.files()
        if not check:
            pkg.install(missing)
        findings = pkg.findings(missing)
        if not self.installed():
            if check and missing:
                return {"changed": True, "predicted": True, "findings": findings, "diff": diff_of(files)}
            raise host.Refused(self.absence())
        self.judge(files)
        files, more = self.prepare(files, check)
        diff, changes = diff_of(files), rc.compare(self.variables())
        fresh = [file.path for file in files if file.differs]
        findings += more + [one for file in files for one in file.findings()]
        due = []
        for unit in self.units():
            wrong = unit.differs([*fresh, *("rc.conf: %s" % name for name in changes)])
            if wrong:
                unit.refuse_taken()
                due.append(unit)
                findings.append(finding("service %s" % unit.title, unit.title, "running as declared", *wrong))
        if not check:
            ran = [unit for unit in due if unit.process()]
            try:
                self.put(files, changes, due)
            except (OSError, host.Refused) as problem:
                back = self.back(files, changes, due, ran)
                raise host.Refused("%s. %s" % (str(problem).rstrip("."), back)) from problem
        return {
            "changed": bool(fresh or changes or findings),
            "predicted": False,
            "findings": findings,
            "diff": diff + rc.diff(changes),
        }

    def put(self, files, changes, due):
        """Write files and variables and restart the units that are *due*. Raises Refused or OSError."""
        for file in files:
            file.put()
        rc.apply(changes)
        for unit in due:
            unit.restart()

    def rerun(self, unit):
        """Start *unit*, again where it runs; return the word that service(8) was given and what it printed."""
        now = unit.process()
        if now and not unit.answers():
            # it need not heed a TERM either, and rc.subr would wait for it without end
            process.end(now.pid)
        word = "restart" if now else "start"
        return word, host.service(self.name, word, *unit.words)[1]

    def back(self, files, changes, due, ran):
        """Restore the former files and variables, and restart what was *due* with them, or, where there were none, what *ran*; return a sentence about it."""
        # the last one came last: where it is new, so is everything
        new = files[-1].former is None
        try:
            for unit in due if new else []:
                self.stop(unit)
            for file in files:
                file.restore()
            rc.revert(changes)
            again = ran if new else due
            for unit in again:
                host.service(self.name, "restart", *unit.words)
            dead = [unit.title for unit in again if not unit.runs()]
        except (OSError, host.Refused) as problem:
            return "The previous configuration could not be restored either: %s." % problem
        if dead:
            return "The previous configuration is back, but with it %s does not run either." % " and ".join(dead)
        if not again:
            return "There was no previous configuration to restore%s." % self.WITHOUT
        return "The previous configuration is back in force."

    # -- state=absent -------------------------------------------------------------------------------------------------

    def absent(self, check):
        """Stop what runs and remove what is this role's, unless *check*; return the module's answer."""
        paths = [path for path, _text, _mode in self.declared() if self.MARK in (host.read(path) or "")]
        changes = rc.compare(dict.fromkeys(self.variables()))
        running = [unit for unit in self.units() if unit.process()]
        diff = [host.difference(path, host.read(path), None) for path in paths]
        if not check:
            for unit in running:
                self.stop(unit)
            rc.apply(changes)
            last = self.declared()[-1][0]
            host.remove(*(path for path in paths if path != last))
            self.clear()
            host.remove(*(path for path in paths if path == last))
        return {
            "changed": bool(paths or changes or running),
            "findings": [finding("service %s" % unit.title, unit.title, "not running", "running") for unit in running],
            "diff": diff + rc.diff(changes),
        }


class Sole(Service, Unit):
    """A Service of one process, which reads its files when it starts."""

    def units(self):
        return [self]

    def ask(self):
        """Ask it what shows that it serves. Raises OSError where it does not."""
        raise NotImplementedError

    def answers(self):
        try:
            self.ask()
        except OSError:
            return False
        return True

    def differs(self, fresh=()):
        now = self.process()
        if now is None:
            return "not running", []
        # that it is enabled changes nothing of what runs
        fresh = [one for one in fresh if one != "rc.conf: %s_enable" % self.name]
        files = [path for path, _text, _mode in self.declared()]
        newer = fresh[0] if fresh else now.older_than(*files, program=self.p["program"])
        if newer:
            return "older than %s" % newer, [newer]
        return None if self.answers() else ("no answer", [])

    def restart(self):
        word, printed = self.rerun(self)
        try:
            host.retry(self.ask, PATIENCE)
        except OSError as trouble:
            raise host.Refused(
                "%s does not answer on %s port %d (%s); service %s %s: %s"
                % (
                    os.path.basename(self.p["program"]),
                    self.p["address"],
                    self.p["port"],
                    trouble,
                    self.name,
                    word,
                    printed or "silent",
                )
            ) from None
