# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A change of pf's rules that takes itself back unless a new ssh connection confirms it: what change.sh is given, and what becomes of it.

A change is a folder of RUN with change.sh, which says in its head what the files in it are. A process of its own, started by daemon(8), does the
change and waits; the connection by which it was ordered may be what the new rules cut.
"""

import contextlib
import glob
import json
import os
import secrets
import shlex
import shutil

from ansible.module_utils import blocklist_pf
from ansible.module_utils.blocklist_operator import connection
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused, read, run, write

RUN = "/var/run/sokuhai-blocklist"


def mode_of(path):
    """Return the permission bits of *path*; 0644 where there is no such file."""
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        return 0o644


def forget():
    """Remove what earlier changes left, all at once: an undo that still looks must find everything or nothing."""
    old = "%s.%s" % (RUN, secrets.token_hex(4))
    with contextlib.suppress(FileNotFoundError):
        os.rename(RUN, old)
    shutil.rmtree(old, ignore_errors=True)


def arm(program, pf, pf_conf, anchor, seconds):
    """Start the process that makes the change and takes it back unless it is confirmed. Return the change's token.

    program: text of change.sh. pf: the Pf. pf_conf, anchor: (text before, text after), None for no file. seconds: until it is taken back.
    """
    forget()
    token = secrets.token_hex(8)
    here = Change(token)
    os.makedirs(here.folder, 0o700)
    for name, path, (old, new) in (("pf.conf", pf.conf, pf_conf), ("anchor", blocklist_pf.ANCHOR_FILE, anchor)):
        if new is not None:
            write(here.path(name + ".new"), new, mode_of(path))
        if old is None:
            write(here.path(name + ".none"), "", 0o644)
        else:
            write(here.path(name + ".before"), old, mode_of(path))
    settings = {
        "pfconf": pf.conf,
        "anchor": blocklist_pf.ANCHOR_FILE,
        "flags": " ".join(pf.flags),
        "was": "enabled" if pf.enabled() else "loaded" if pf.rules() else "disabled",
    }
    write(here.path("settings"), "".join("%s=%s\n" % (name, shlex.quote(text)) for name, text in settings.items()))
    now = connection()
    write(here.path("connection"), json.dumps([now.address, now.port] if now else None))
    write(here.path("change.sh"), program, 0o700)
    write(here.path("armed"), "")
    status, out, err = run(["/usr/sbin/daemon", "-f", "/bin/sh", here.path("change.sh"), str(seconds)])
    if status:
        raise Refused("daemon: exit %d: %s" % (status, (err or out).strip()))
    return token


def take_back_pending(check_mode, seconds):
    """Take back what an earlier run left unconfirmed, so that what we find is what there was; return whether there was any.

    Raises Refused in check mode. seconds: after which it goes by itself.
    """
    found = False
    for folder in sorted(glob.glob(RUN + "/*/")):
        change = Change(os.path.basename(folder.rstrip("/")))
        if not change.pending():
            continue
        if check_mode:
            raise Refused(
                "pf: a change from an earlier run still waits to be confirmed or reverted; try again in %d seconds"
                % seconds
            )
        change.take_back()
        found = True
    return found


class Change:
    """One change, by its token."""

    def __init__(self, token):
        self.folder = os.path.join(RUN, os.path.basename(token))

    def path(self, name):
        return os.path.join(self.folder, name)

    def has(self, *names):
        """Return whether all these marks are there."""
        return all(os.path.exists(self.path(name)) for name in names)

    def pending(self):
        """Return whether it waits, or its undo may be on its way or have been killed there."""
        return self.has("armed") or (self.has("undone", "pid") and not self.has("finished"))

    def lives(self):
        """Return whether its process is there."""
        try:
            os.kill(int(read(self.path("pid")) or ""), 0)
        except (OSError, ValueError):
            return False
        return True

    def take_back(self):
        """Have it undone: by its own process where that lives, which may be about to put the new rules into force, else by another."""
        # its own undo may have been quicker, or the confirmation
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path("armed"), self.path("undone"))

        def over():
            return not self.has("undone") or self.has("finished") or not self.lives()

        host.wait_until(over, 60, 0.1)
        if self.has("undone") and not self.has("finished"):
            status, out, err = run(["/bin/sh", self.path("change.sh"), "undo"])
            if status:
                raise Refused("pf: an interrupted change was not reverted: %s" % (err or out).strip())

    def refuse_undone(self):
        if self.has("undone") or not os.path.isdir(self.folder):
            errors = (read(self.path("errors")) or "").strip()
            raise Refused(
                "pf: %s"
                % (
                    errors
                    or "the change was reverted before it was confirmed; raise blocklist_confirm_seconds for this host"
                )
            )

    def confirm(self, pf):
        """Call the undo off, where this call came in by a connection that pf's new rules let in. Raises Refused."""

        def decided():
            self.refuse_undone()
            return self.has("applied")

        if not host.wait_until(decided, 20, 0.2):
            raise Refused("pf: the change was not made within 20 seconds; it will be reverted")
        self.refuse_undone()
        before, now = json.loads(read(self.path("connection"))), connection()
        if before is not None and (now is None or [now.address, now.port] == before):
            raise Refused(
                "pf: this is still the connection from before the change (%s port %s), which proves nothing; the change will be reverted"
                % tuple(before)
            )
        applied = os.stat(self.path("applied")).st_mtime
        if before is not None and now.since < applied:
            raise Refused(
                "pf: this connection is %d seconds older than the change; it will be reverted" % (applied - now.since)
            )
        if not pf.enabled():
            raise Refused("pf: it is not enabled; the change will be reverted")
        try:
            os.rename(self.path("armed"), self.path("confirmed"))
        except FileNotFoundError:
            self.refuse_undone()
            raise
