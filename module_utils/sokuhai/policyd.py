# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A policy service that spawn(8) starts and one process answers: the program that passes connections on, and where it has its sockets.

The program is roles/sokuhai/files/sokuhai-policyd.py; each role installs it under a name of its own.
"""

import contextlib
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding

MARK = "Written by sokuhai"
#: sh(1) and Python both read it: the program runs by whichever Python the agent's first line names at that moment. It is started for every connection,
#: so no other program is, and what the Python has installed (-S) is left to the server.
HEAD = """#!/bin/sh
\"\"\":"
IFS= read -r line <"$1"
exec ${line#??} -ISB "$0" "$@"
\"\"\"
"""
TIMEOUT = 60  # s, for an answer


def account(variable, user):
    """Return the passwd entry of *user*; spawn(8) refuses root and Postfix's own user. variable: what declares it. Raises Refused."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise host.Refused("%s: this host has no user %s" % (variable, user)) from None
    status, out, _err = host.run(["postconf", "-h", "mail_owner"])
    if entry.pw_uid == 0 or (status == 0 and entry.pw_name == out.strip()):
        raise host.Refused("%s: spawn(8) refuses %s; an unprivileged user such as nobody works" % (variable, user))
    return entry


def as_user(entry):
    """Return the options of subprocess.run() for a process of *entry*'s user."""
    if entry.pw_uid == os.geteuid():
        return {}
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def refuse_foreign(role, path):
    """Raise Refused where *path* is there and somebody else wrote it."""
    former = host.read(path)
    if former is not None and MARK not in former:
        raise host.Refused("%s: %s is there and was not written by this role; move it away" % (role, path))


def folder(path, entry):
    """Return the finding of a sockets' directory that is not the user's alone, [] for none."""
    found = "missing"
    with contextlib.suppress(FileNotFoundError):
        now = os.lstat(path)
        found = host.rights(stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
    wanted = host.rights(0o700, entry.pw_uid, entry.pw_gid)
    return [] if found == wanted else [finding("directory " + path, path, wanted, found)]


def make_folder(path, entry):
    """Make the sockets' directory; what another user left in it is of no use to this one."""
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path, 0o700)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    os.chmod(path, 0o700)


def prove(role, command, entry, request):
    """Have a connection passed on as spawn(8) does it, and *request* (of policy.request()) answered; return the answer. Raises Refused.

    command: the passing program, the agent and its configuration. The client is the host itself.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            done = subprocess.run(
                command,
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.PIPE,
                cwd="/",
                env={"PATH": host.PATH, "LC_ALL": "C"},
                timeout=TIMEOUT,
                check=False,
                **as_user(entry),
            )
        ours.settimeout(TIMEOUT)
        answer = b""
        with contextlib.suppress(OSError):
            ours.sendall(re.sub(r"(?m)^client_address=.*", "client_address=127.0.0.1", request).encode())
            answer = ours.recv(4096)
    if not answer.startswith(b"action="):
        raise host.Refused(
            "%s: %s passes no connection on (exit %d): %s"
            % (
                role,
                command[0],
                done.returncode,
                done.stderr.decode(errors="replace").strip() or "see the mail log",
            )
        )
    return answer.decode(errors="replace").strip()
