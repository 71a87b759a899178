# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role bind's modules ask a FreeBSD host about its named."""

import contextlib
import re
from email.utils import parsedate_to_datetime

from ansible.module_utils.sokuhai import dns, host, process

DEFAULT_PIDFILE = "/var/run/named/pid"


def pidfile_of(conf_text):
    """Return the pid file that named writes: from named.conf as rc.subr's get_pidfile_from_conf reads it, else the port's."""
    found = re.search(r'^[^#;\n]*\bpid-file\s+"?(/[^";\n]+)', conf_text or "", re.M)
    return found.group(1) if found else DEFAULT_PIDFILE


def running(variables, rndc):
    """Return the named that runs as a Process whose time is that of its last reading of named.conf, or None.

    variables: of leftovers.named_variables(). rndc: the command, or None; without an answer the time is that of the start, when named writes its pid
    file.
    """
    found = process.from_pidfile(
        variables["named_chrootdir"] + pidfile_of(host.read(variables["named_conf"])), known_as="named"
    )
    if found and rndc:
        match = re.search(r"^last configured:\s*(.+)$", host.run([*rndc, "status"], timeout=15)[1], re.M)
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


def authority(server, zone):
    """Return whether the server has *zone* itself, and serves it."""
    reply = dns.ask(server, zone, "SOA", recurse=False)
    return reply is not None and reply["rcode"] == "NOERROR" and reply["authoritative"]
