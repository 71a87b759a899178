# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A host with one service of its own, for a module whose class is both Service and Unit: rc.conf's variables, the process, and what service(8) was asked."""

from role_modules import util


class ServiceHost:
    """rc: rc.conf's variables; runs, answers: whether the service does; asked: what service(8) was to do. daemon: the class of the module."""

    pid = 1

    def __init__(self, monkeypatch, daemon):
        self.rc, self.runs, self.answers, self.asked = {}, False, True, []
        rc = util("sokuhai.rc")
        monkeypatch.setattr(rc, "read", lambda names, file=None: {n: v for n, v in self.rc.items() if n in names})
        monkeypatch.setattr(rc, "overriding", lambda name: [])
        monkeypatch.setattr(rc, "apply", self.apply)
        monkeypatch.setattr(util("sokuhai.host"), "service", self.service)
        monkeypatch.setattr(util("sokuhai.process"), "end", lambda pid: self.service("", "killed, stopped"))
        monkeypatch.setattr(daemon, "process", lambda _daemon: self if self.runs else None)
        monkeypatch.setattr(daemon, "ask", lambda _daemon: self.answer())
        monkeypatch.setattr(util("sokuhai.service"), "PATIENCE", 0)
        monkeypatch.setattr(util("sokuhai.pkg"), "missing", lambda names, instead="": [])

    def older_than(self, *files, program=None):
        return None

    def apply(self, changes, file=None):
        for name, (_now, value) in changes.items():
            self.rc.pop(name, None)
            self.rc.update({} if value is None else {name: value})

    def service(self, name, verb, *more):
        self.asked.append(verb)
        self.runs = "stop" not in verb
        return 0, ""

    def answer(self):
        if not (self.runs and self.answers):
            raise OSError("nobody")
