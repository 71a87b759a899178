# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role bind's modules ask a FreeBSD host about its named."""

import contextlib
import os
import re
from email.utils import parsedate_to_datetime

from ansible.module_utils.sokuhai import dns, host, process, rc

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
    """Return {name: value} of rc.conf's variables for named, with the rc script's defaults where rc.conf is silent."""
    return {**RC_DEFAULTS, **{name: value for name, value in rc.read(RC_DEFAULTS).items() if value}}


def leftover(variables):
    """Return what is wrong with a named_program of rc.conf that no package will bring, or "": FreeBSD's own /usr/sbin/named is gone since 10.0."""
    program = variables["named_program"]
    if program == RC_DEFAULTS["named_program"] or os.access(program, os.X_OK):
        return ""
    return (
        "%s sets named_program = %s, which is not there and which no package installs: remove the line (sysrc -x named_program), or set it to %s"
        % (rc.place("named_program", "named"), program, RC_DEFAULTS["named_program"])
    )


def beside(program, name):
    """Return the path of a tool that belongs to this named, or None: the port has named-checkconf in bin, older ones in sbin."""
    root = os.path.dirname(os.path.dirname(program))
    paths = (os.path.join(root, folder, name) for folder in ("bin", "sbin"))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def pidfile_of(conf_text):
    """Return the pid file that named writes: from named.conf as rc.subr's get_pidfile_from_conf reads it, else the port's."""
    found = re.search(r'^[^#;\n]*\bpid-file\s+"?(/[^";\n]+)', conf_text or "", re.M)
    return found.group(1) if found else DEFAULT_PIDFILE


def running(variables, rndc):
    """Return the named that runs as a Process whose time is that of its last reading of named.conf, or None.

    variables: of rc_variables(). rndc: its path or None; without an answer the time is that of the start, when named writes its pid file.
    """
    found = process.from_pidfile(
        variables["named_chrootdir"] + pidfile_of(host.read(variables["named_conf"])), known_as="named"
    )
    if found and rndc:
        match = re.search(r"^last configured:\s*(.+)$", host.run([rndc, "status"], timeout=15)[1], re.M)
        # a date that cannot be read is none
        with contextlib.suppress(TypeError, ValueError):
            return found.at_second(int(parsedate_to_datetime(match[1].strip() if match else "").timestamp()))
    return found


def answers(server):
    """Return whether a named is behind this address.

    version.bind in class CHAOS comes from named's built-in view: no zone, no cache and no internet is needed.
    """
    reply = dns.ask(server, "version.bind", "TXT", "CH", recurse=False)
    return reply is not None and reply["rcode"] != "SERVFAIL"


def recurses(server, name, timeout=2.0, tries=2):
    """Return whether the server found an answer for NS of *name* on behalf of this host. timeout: seconds."""
    reply = dns.ask(server, name, "NS", timeout=timeout, tries=tries)
    return reply is not None and reply["rcode"] in ("NOERROR", "NXDOMAIN") and reply["recursion_available"]
