# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Postfix's policy protocol (SMTPD_POLICY_README), by which a service is proved before Postfix asks it."""

import errno
import socket

from ansible.module_utils.sokuhai.host import Refused


def request(helo_name, sender, recipient, instance):
    """Return what smtpd(8) asks at RCPT, about a client that is nobody (RFC 5737)."""
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": "192.0.2.250",
        "client_name": "unknown",
        "helo_name": helo_name,
        "sender": sender,
        "recipient": recipient,
        "instance": instance,
        "etrn_domain": "",
    }
    return "".join("%s=%s\n" % item for item in attributes.items()) + "\n"


def ask(address, port, question, timeout=5):
    """Send *question*, of request(), to a service of this host; return the answer's action, as Postfix reads it. OSError where there is none."""
    with socket.create_connection((address, port), timeout=timeout) as there:
        there.sendall(question.encode())
        lines = there.makefile(errors="replace", newline="\n")
        answer, end = lines.readline(), lines.readline()
    if end != "\n":
        raise OSError("it closed the connection after %r" % (answer + end))
    return answer.strip().partition("action=")[2]


def refuse_taken(address, port, what, where):
    """Raise Refused where a service cannot listen. what: the variable that says on which port, where: and the one of the address."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            here.bind((address, port))
        except OSError as problem:
            place = "%s:%d" % ("[%s]" % address if ":" in address else address, port)
            if problem.errno == errno.EADDRINUSE:
                raise Refused("%s: something else listens on %s (sockstat -l)" % (what, place)) from None
            raise Refused("%s: %s: %s" % (where, place, problem.strerror)) from None
