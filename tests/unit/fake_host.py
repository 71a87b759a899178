# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What stands for a host where a module runs commands: a folder of shell scripts that note how they were called, and rc.conf."""

import os

from role_modules import util


class FakeHost:
    """path: the folder. Commands are found there first for as long as *monkeypatch* lasts."""

    def __init__(self, path, monkeypatch):
        self.path, self.bin = path, path / "bin"
        self.bin.mkdir()
        self.log()
        monkeypatch.setitem(util("sokuhai.host").ENV, "PATH", f"{self.bin}:{os.environ['PATH']}")

    def program(self, name, body=""):
        """Have the command *name*, which does *body*, in sh(1), and return its path."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.path}/log\n{body}\n')
        path.chmod(0o755)
        return str(path)

    def log(self):
        """Return the commands that were called since the last look, as lines."""
        log = self.path / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines

    def file(self, name, text):
        """Write a file and return its path."""
        (self.path / name).write_text(text)
        return str(self.path / name)


class FakeRc(dict):
    """The variables of rc.conf, and what sysrc(8) does with them."""

    def sysrc(self, words):
        """Return what the command with these *words* returns as run() of sokuhai.host does."""
        if words[0] == "-i":
            return 0, "".join("%s: %s\n" % (name, self[name]) for name in words[1:] if name in self), ""
        if words[0] == "-x":
            for name in words[1:]:
                del self[name]
        else:
            self.update(word.split("=", 1) for word in words)
        return 0, "", ""
