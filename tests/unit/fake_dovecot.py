# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A host with Dovecot for module sasl_dovecot: a file system of its own, programs that are shell scripts; service(8), sysrc(8) and pkg(8) in the class."""

import getpass
import grp
import os
import pathlib
import tempfile
import time

from fake_host import FakeRc
from role_modules import load, util

sasl_dovecot, sasl_beside = load("roles/sasl/library/sasl_dovecot.py"), util("sasl_beside")
base, process = util("sokuhai.host"), util("sokuhai.process")

SYNTAXES = {"2.3": sasl_dovecot.MARK + "\nold syntax\n", "2.4": sasl_dovecot.MARK + "\nnew syntax\n"}
HASH = "{SHA512-CRYPT}$6$x$y"


class Host:
    """A host with Dovecot 2.4.1, in a folder short enough for a socket's path; service(8), sysrc(8) and pkg(8) are this class."""

    def __init__(self, monkeypatch):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sk", dir="/tmp"))
        for name in ("sbin", "bin", "etc", "run", "queue/private"):
            (self.folder / name).mkdir(parents=True)
        self.program("sbin/dovecot", "echo '2.4.1-4 (7d8c0e5759)'\n")
        # refuses a file that has BROKEN in it, prints it otherwise, answers base_dir
        self.program(
            "bin/doveconf",
            f'case " $*" in *" "-[ah]*) exit 89;; *base_dir*) echo base_dir = {self.folder}/run;; *) grep -q BROKEN "$3" && {{ echo "Unknown setting: BROKEN" >&2; exit 89; }}; cat "$3";; esac\n',
        )
        self.program("bin/doveadm", "echo 'PLAIN SHA512-CRYPT BLF-CRYPT'\n")
        self.rc, self.packages, self.calls, self.answers = FakeRc(), {"dovecot"}, [], True
        self.real_run = base.run
        monkeypatch.setattr(base, "run", self.run)
        monkeypatch.setattr(process, "table", self.table)
        for module in (sasl_dovecot, sasl_beside):
            monkeypatch.setattr(module, "prove", self.prove)
            monkeypatch.setattr(module, "PATIENCE", 0)
        # files belong to root and to Dovecot's group on a host; here to whoever runs the tests
        self.me, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
        real = grp.getgrnam
        self.group = group
        monkeypatch.setattr(sasl_dovecot.grp, "getgrnam", lambda name: real(group) if name == "dovecot" else real(name))
        monkeypatch.setattr(os, "fchown", lambda *_: None)
        monkeypatch.setattr(os, "chown", lambda *_, **_more: None)
        monkeypatch.setattr(base, "rights", lambda mode, *_owner: "%04o" % mode)

    def program(self, name, body):
        (self.folder / name).write_text("#!/bin/sh\n" + body)
        (self.folder / name).chmod(0o755)

    def run(self, argv, *rest, **_options):
        if argv[0] not in ("service", "sysrc", "pkg"):
            return self.real_run(argv, *rest)
        if argv[:2] == ["sysrc", "-i"]:
            return self.rc.sysrc(argv[1:])
        if argv[:3] == ["pkg", "info", "-e"]:
            return int(argv[3] not in self.packages), "", ""
        if argv[:2] == ["pkg", "which"]:
            return 1, "", ""
        self.calls.append(" ".join(argv))
        if argv[0] == "sysrc":
            self.rc.sysrc(argv[1:])
        elif argv[:3] == ["pkg", "install", "-yU"]:
            self.packages.update(argv[3:])
            self.program("sbin/dovecot", "echo '2.4.1-4 (7d8c0e5759)'\n")
        elif argv[0] == "pkg":
            pass
        elif argv[2] == "onestop" or "NOSTART" in (self.folder / "etc/dovecot.conf").read_text():
            (self.folder / "run/master.pid").unlink(missing_ok=True)
        else:
            self.running_since(0)
        return 0, "", ""

    def table(self, pid=None):
        return {pid: process.Process(pid, 1, 0, "dovecot", "/usr/local/sbin/dovecot", (0, 0))}

    def prove(self, *_rest):
        self.calls.append("dialogue" if _rest[-1] else "handshake")
        if not self.answers or not (self.folder / "run/master.pid").exists():
            raise OSError("nobody is there")

    def running_since(self, seconds):
        """A master that wrote its pid file so many seconds from now."""
        path = self.folder / "run/master.pid"
        path.write_text("%d\n" % os.getpid())
        os.utime(path, (time.time() + seconds,) * 2)

    def __call__(self, check_mode=False, **params):
        self.calls.clear()
        wanted = {
            "packages": ["dovecot"],
            "prefix": str(self.folder),
            "config": f"{self.folder}/etc/dovecot.conf",
            "passwd_file": f"{self.folder}/etc/users",
            "syntaxes": SYNTAXES,
            "predicted_version": "2.4",
            "users": [{"name": "alice", "password_hash": HASH}],
            "replace": False,
            "socket": f"{self.folder}/queue/private/auth",
            "socket_owner": self.me,
            "socket_group": self.group,
            "mechanisms": ["plain", "login"],
        }
        return sasl_dovecot.Dovecot({**wanted, **params}, check_mode)

    def files(self):
        return {path.name: path.read_text() for path in (self.folder / "etc").iterdir()}
