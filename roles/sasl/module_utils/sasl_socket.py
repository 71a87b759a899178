# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Dovecot's authentication protocol over its socket, as Postfix's xsasl_dovecot client speaks it."""

import base64
import grp
import os
import pwd
import secrets
import socket
import stat

from ansible.module_utils.sokuhai.host import Refused


def prove(path, owner, group, mechanisms, dialogue):
    """Connect to *path*, which must be *owner*'s and *group*'s (names) and offer exactly *mechanisms*, or any at all where that is None.

    dialogue: have an invented user rejected as well, which takes the two seconds of Dovecot's failure delay. Raises Refused for another answer than
    the right one, OSError where there is none yet.
    """
    now, wanted = os.stat(path), (0o660, pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)
    if not stat.S_ISSOCK(now.st_mode):
        raise Refused("%s is not a socket" % path)
    found = (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
    if found != wanted:
        # Dovecot makes the socket, then gives it its owner: within that moment this is not an error yet
        raise OSError("it has mode %o, owner %d:%d instead of %o, %d:%d" % (found + wanted))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        lines = client.makefile("rw", encoding="utf-8", newline="\n")
        greeting = _handshake(lines)
        if ["VERSION", "1"] not in [fields[:2] for fields in greeting]:
            raise Refused("%s does not speak version 1 of Dovecot's authentication protocol: %r" % (path, greeting))
        offered = sorted(fields[1].lower() for fields in greeting if fields[0] == "MECH")
        if not offered if mechanisms is None else offered != sorted(mechanisms):
            raise Refused(
                "%s offers %s, declared are %s" % (path, " ".join(offered) or "nothing", " ".join(sorted(mechanisms)))
            )
        if dialogue and "plain" in offered:
            _rejection(lines, path)


def _handshake(lines):
    """Return what the server says of itself, as lists of fields."""
    lines.write("VERSION\t1\t1\nCPID\t%d\n" % os.getpid())
    lines.flush()
    greeting = []
    for line in lines:
        greeting.append(line.rstrip("\n").split("\t"))
        if greeting[-1][0] == "DONE":
            return greeting
    raise OSError("connection closed within the handshake")


def _rejection(lines, path):
    """An invented user must be rejected as unknown; a temporary failure means that Dovecot cannot read its passwd-file."""
    response = base64.b64encode(("\0nobody-%s\0%s" % (secrets.token_hex(6), secrets.token_hex(6))).encode()).decode()
    lines.write("AUTH\t1\tPLAIN\tservice=smtp\tsecured\tnologin\tresp=%s\n" % response)
    lines.flush()
    answer = next(iter(lines), "").rstrip("\n").split("\t")
    if answer[:2] != ["FAIL", "1"] or "temp" in answer or any(field.startswith("code=temp") for field in answer):
        raise Refused(
            "%s answers an unknown user with %s instead of a rejection; see /var/log/maillog"
            % (path, " ".join(answer[:1] + answer[2:]))
        )
