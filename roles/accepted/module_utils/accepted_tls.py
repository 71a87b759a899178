# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The certificate that a listener of Postfix's presents: its names, its chain and how long it is good, as a client sees it."""

import os
import re
import socket
import ssl
import tempfile
import time

from ansible.module_utils.sokuhai import host

#: X509_V_ERR_… of OpenSSL (x509_vfy.h) that say that nobody known has signed it.
UNSIGNED = (18, 19, 20, 21)
STARTTLS = {"25": True, "587": True, "465": False}
NAMES = {"smtp": "25", "submission": "587", "smtps": "465", "submissions": "465"}


def ports(master):
    """Ports of `postconf -M` at which clients from outside get TLS. master: its text."""
    rows = (line.split() for line in master.splitlines())
    found = [row[0].rpartition(":")[2] for row in rows if len(row) >= 8 and row[1] == "inet"]
    return [port for port in dict.fromkeys(NAMES.get(name, name) for name in found) if port in STARTTLS]


def said(link):
    """The lines of one SMTP reply from the stream *link*. Raises OSError where it is no 2xx."""
    lines = []
    while not lines or lines[-1][3:4] == b"-":
        lines.append(link.readline(1000))
        if not lines[-1].startswith(b"2"):
            raise OSError((lines[-1].decode("ascii", "replace").strip() or "connection closed")[:200])
    return lines


def shake(address, port, name, context, timeout=15):
    """Return the certificate (DER) of the TLS listener at *address* *port*. Raises OSError, ssl.SSLCertVerificationError among them."""
    with socket.create_connection((address, int(port)), timeout) as sock:
        if STARTTLS[port]:
            link = sock.makefile("rb")
            said(link)
            for line in ("EHLO localhost", "STARTTLS"):
                sock.sendall(line.encode() + b"\r\n")
                said(link)
        with context.wrap_socket(sock, server_hostname=name) as secure:
            return secure.getpeercert(True)


def read(der, name):
    """Return (end, seconds since 1970, or None; whether *name* is among its names) of a certificate."""
    with tempfile.TemporaryDirectory(prefix="sokuhai-tls-") as folder:
        path = os.path.join(folder, "listener.pem")
        host.write(path, ssl.DER_cert_to_PEM_cert(der), 0o600)
        out = host.run(["openssl", "x509", "-in", path, "-noout", "-enddate", "-checkhost", name])[1]
    ends = re.search("notAfter=(.+)", out)
    return ssl.cert_time_to_seconds(ends[1]) if ends else None, "does match certificate" in out


def look(address, port, name, shaken=shake, reading=read):
    """Return (fault, value, days that are left or None) of a listener; the fault is "" where the certificate is right, and the value its end.

    Faults: silent and broken (why), expired (since when), name (which it lacks), unsigned (how). shaken, reading: for tests.
    """
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        end, named = reading(shaken(address, port, name, blind), name)
    except OSError as problem:
        return "silent", str(problem), None
    days = None if end is None else (end - time.time()) / 86400
    if days is not None and days < 0:
        return "expired", host.clock(end), days
    if not named:
        return "name", name, days
    try:
        shaken(address, port, name, ssl.create_default_context())
    except ssl.SSLCertVerificationError as problem:
        return ("unsigned" if problem.verify_code in UNSIGNED else "broken"), problem.verify_message, days
    except OSError as problem:
        return "silent", str(problem), days
    return "", host.clock(end) if end else "", days
