# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the role's modules ask a FreeBSD host about its named; standard library only, Python 3.9 to 3.13."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import time
from email.utils import parsedate_to_datetime

from ansible.module_utils.sokuhai.dns import RCODES, question
from ansible.module_utils.sokuhai.host import read, run, sysctl
from ansible.module_utils.sokuhai.limits import parse_rlimits

#: rc.conf variables of named's rc script and what the script itself assumes for them
#: (freebsd-ports dns/bind920/files/named.in; login class: rc.subr's default is "daemon").
RC_DEFAULTS = {
    "named_enable": "NO",
    "named_program": "/usr/local/sbin/named",
    "named_conf": "/usr/local/etc/namedb/named.conf",
    "named_flags": "",
    "named_uid": "bind",
    "named_chrootdir": "",
    "named_auto_forward": "NO",
    "named_limits": "",
    "named_login_class": "daemon",
    "local_unbound_enable": "NO",
}
DEFAULT_PIDFILE = "/var/run/named/pid"


def rc_variables():
    """rc.conf's values for named (rc script's defaults where rc.conf is silent)."""
    values = dict(RC_DEFAULTS)
    out = run(["sysrc", "-i"] + sorted(RC_DEFAULTS))[1]
    for line in out.splitlines():
        name, sep, value = line.partition(":")
        if sep and name in values and value.strip():
            values[name] = value.strip()
    return values


def beside(program, name):
    """Path of a tool that belongs to this named: the port has named-checkconf in bin, older ones in sbin."""
    root = os.path.dirname(os.path.dirname(program))
    for folder in ("bin", "sbin"):
        path = os.path.join(root, folder, name)
        if os.access(path, os.X_OK):
            return path
    return None


def named_version(program):
    """Version text such as "9.20.30", or None."""
    match = re.search(r"BIND\s+(\d+\.\d+\.\d+)", run([program, "-v"])[1])
    return match.group(1) if match else None


def pidfile_of(conf_text):
    """The pid file named writes: from named.conf as rc.subr's get_pidfile_from_conf reads it, else the port's."""
    for line in (conf_text or "").splitlines():
        match = re.match(r'^[^#;]*\bpid-file\s+"?(/[^";]+)', line)
        if match:
            return match.group(1)
    return DEFAULT_PIDFILE


def running_named(conf_text, chroot=""):
    """{"pid", "started" (epoch seconds)} of the named the pid file points at, or None."""
    text = read(chroot + pidfile_of(conf_text))
    if not text or not text.strip().isdigit():
        return None
    pid = int(text.strip())
    status, out, _err = run(["ps", "-o", "etimes=", "-o", "comm=", "-p", str(pid)])
    fields = out.split()
    if status != 0 or len(fields) < 2 or os.path.basename(fields[1]) != "named":
        return None
    return {"pid": pid, "started": int(time.time()) - int(fields[0])}


def openfiles(pid):
    """(soft, hard) descriptor limit of a running process by procstat rlimit; None stands for infinity."""
    for argv in (["procstat", "rlimit", str(pid)], ["procstat", "-l", str(pid)]):
        status, out, _err = run(argv)
        if status == 0 and pid in parse_rlimits(out):
            return parse_rlimits(out)[pid]
    return None


def sysctl_int(name):
    """An integer kernel value, or None."""
    value = sysctl(name) or ""
    return int(value) if value.isdigit() else None


def loaded_at(rndc, started):
    """When named last read its configuration (epoch seconds): rndc status, else the start of the process."""
    if rndc:
        status, out, _err = run([rndc, "status"], timeout=15)
        match = re.search(r"^last configured:\s*(.+)$", out, re.M)
        if status == 0 and match:
            try:
                return int(parsedate_to_datetime(match.group(1).strip()).timestamp())
            except (TypeError, ValueError):
                pass
    return started


def ask(server, name, qtype, qclass="IN", recurse=True, timeout=2.0, tries=2, port=53):
    """Ask one server over UDP; {"rcode", "recursion_available", "answers"} or None when nothing came back.

    A socket of our own and not drill or host: it asks exactly this address, whatever resolv.conf says.
    """
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    for _attempt in range(tries):
        ident = random.SystemRandom().randrange(65536)
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((server, port))
                sock.send(question(ident, name, qtype, qclass, recurse))
                end = time.monotonic() + timeout
                while True:
                    left = end - time.monotonic()
                    if left <= 0:
                        break
                    sock.settimeout(left)
                    reply = sock.recv(4096)
                    if len(reply) < 12:
                        continue
                    got, flags, _questions, answers = struct.unpack("!4H", reply[:8])
                    if got == ident and flags & 0x8000:
                        rcode = flags & 0xF
                        return {
                            "rcode": RCODES.get(rcode, str(rcode)),
                            "recursion_available": bool(flags & 0x80),
                            "answers": answers,
                        }
        except OSError:
            time.sleep(0.2)
    return None


def answers(server):
    """True when a named is behind this address.

    version.bind in class CHAOS comes from named's built-in view: no zone, no cache and no internet is needed.
    """
    reply = ask(server, "version.bind", "TXT", "CH", recurse=False)
    return reply is not None and reply["rcode"] != "SERVFAIL"


def recurses(server, name, timeout=2.0, tries=2):
    """True when the server found an answer for NS of `name` on behalf of this host."""
    reply = ask(server, name, "NS", timeout=timeout, tries=tries)
    return reply is not None and reply["rcode"] in ("NOERROR", "NXDOMAIN") and reply["recursion_available"]


def wait_until(check, seconds, pause=0.25):
    """Call check() until it is true and return what it gave; False when it never was within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
