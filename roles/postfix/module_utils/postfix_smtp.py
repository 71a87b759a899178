# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Dialogues with smtpd(8): run by hand, before it listens anywhere, and over the network. Standard library only, Python 3.9 to 3.13."""

import contextlib
import functools
import os
import pwd
import re
import smtplib
import socket
import ssl
import subprocess
import tempfile

from ansible.module_utils.sokuhai import host

#: Seconds that a reply may take over the network.
PATIENCE = 60


def fault(code, text):
    """Return whether a reply (int, str) shows a broken configuration. Any other rejection is policy at work.

    451 4.3.0 is a table that failed, 4.3.5 a restriction that smtpd does not understand; 421 is an smtpd that gives up.
    """
    return code == 421 or code == 451 and text.startswith("4.3.")


def shown(code, text):
    """Return a reply in one line."""
    return " ".join(("%d %s" % (code, text)).split()) if code else "nothing"


def _reply(answer):
    code, text = answer
    return code, text.decode("utf-8", "replace")


def smtpd(postfix, directory, service, options, commands, user=None, seconds=60):
    """Run smtpd(8) as *service* of the set in *directory*, with more *options*, and speak *commands* to it, one at a time.

    Return ([(code, text)], [line]): its greeting and replies, fewer where it hangs up, and what it logged. user: whom it runs as. As root it reads
    all its parameters and the TLS key but does not judge a client; as the mail owner it judges like under master(8).
    """
    argv = [os.path.join(postfix.paths["daemon_directory"], "smtpd"), "-S", "-V", "-n", service["name"]]
    for name, value in {**service["options"], **options}.items():
        argv += ["-o", "%s=%s" % (name, value)]
    entry = pwd.getpwnam(user) if user else None
    owner = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if entry else {}
    env = {"MAIL_CONFIG": directory, "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    dialogue, replies, late = smtplib.SMTP(local_hostname="localhost"), [], ""
    dialogue.sock, theirs = socket.socketpair()
    dialogue.sock.settimeout(seconds)
    with tempfile.TemporaryFile() as log:
        with theirs:
            child = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=log, cwd=postfix.queue, env=env, **owner)
        try:
            with contextlib.closing(dialogue):
                replies.append(_reply(dialogue.getreply()))
                for command in commands:
                    replies.append(_reply(dialogue.docmd(command)))
            child.wait(seconds)
        except (OSError, subprocess.TimeoutExpired) as error:  # it hung up, or does not answer
            late = "smtpd: fatal: no answer in %d seconds" % seconds if timed_out(error) else ""
            child.kill()
        child.wait()
        log.seek(0)
        lines = log.read().decode("utf-8", "replace").splitlines() + [late] * bool(late)
    return replies, [line.strip().replace(directory, postfix.config) for line in lines]


def severe(log, words="fatal|panic|error|warning"):
    """Return those of the lines of a log that are of the severities *words*, each once, without the program's name."""
    return list(dict.fromkeys(re.sub(r"^\S+: ", "", line) for line in log if re.search(r": (%s): " % words, line)))


def listener(address, port, wrapped, hostname, domain):
    """Speak to a listener up to RCPT, over TLS where it offers it; return what is wrong with its replies, "" for nothing. Raises OSError.

    wrapped: TLS from the start. hostname: whom to greet as; domain: postmaster there is sender and recipient.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    kind = functools.partial(smtplib.SMTP_SSL, context=context) if wrapped else smtplib.SMTP
    said = "the connection"

    def connected():
        return kind(address, port, hostname, timeout=PATIENCE)

    try:
        # master(8) opens its sockets one after the other
        with contextlib.closing(host.retry(connected, 15, ConnectionRefusedError)) as dialogue:
            reply = _reply(dialogue.ehlo())
            if dialogue.has_extn("starttls"):
                said = "STARTTLS"
                dialogue.starttls(context=context)
                reply = _reply(dialogue.ehlo())
            said = "EHLO"
            for command in ("MAIL FROM:<postmaster@%s>" % domain, "RCPT TO:<postmaster@%s>" % domain, "QUIT"):
                if fault(*reply):
                    return "%s is answered with %s" % (said, shown(*reply))
                said, reply = command, _reply(dialogue.docmd(command))
    except smtplib.SMTPResponseException as error:
        return "%s is answered with %s" % (said, shown(*_reply((error.smtp_code, error.smtp_error))))
    return ""


def timed_out(error):
    """Return whether an error is that nothing came in time; smtplib raises its own for a reply that did not."""
    return any(isinstance(one, (socket.timeout, subprocess.TimeoutExpired)) for one in (error, error.__context__))
