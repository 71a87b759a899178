# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What serves on this host: compared before and after a trial boot."""

import re
import socket

from ansible.module_utils.sokuhai import dns, host


def listeners(sockstat):
    """Return {(protocol, local address)} of what serves, from the text of sockstat -46l: no login's forwarded ports, no port given by chance.

    Not whose: an smtpd holds master's sockets today and is gone tomorrow. A command's name may have blanks in it.
    """
    found = set()
    for line in sockstat.splitlines():
        match = re.match(r"\S+\s+(.+?)\s+\d+\s+\d+\s+((?:tcp|udp)\S*)\s+(\S+)\s", line + " ")
        port = match.group(3).rpartition(":")[2] if match else ""
        if not port.isdigit() or match.group(1).startswith("sshd-sess"):
            continue
        if int(port) < (1024 if match.group(2).startswith("udp") else 49152):
            found.add((match.group(2), match.group(3)))
    return found


def reachable(protocol, local):
    """Return the address (str) by which this host reaches a protocol and local address of sockstat's (tcp4 *:25); "" for one with a zone."""
    address = local.rpartition(":")[0].strip("[]")
    if address == "*":
        return "::1" if protocol.endswith("p6") else "127.0.0.1"
    return "" if "%" in address else address


def dns_answers(server):
    """Return whether something at *server* answers a query on port 53 at all."""
    return dns.ask(server, ".", "NS", timeout=3, tries=1) is not None


def smtp_greets(server):
    """Return whether an SMTP server greets with 220 at *server*, port 25."""
    try:
        with socket.create_connection((server, 25), 5) as handle:
            handle.settimeout(30)
            return handle.recv(512).startswith(b"220")
    except OSError:
        return False


def serving():
    """Return {listeners: [(protocol, local address)], dns, smtp: [address]}: sockets, and where DNS and SMTP answer."""
    found = sorted(listeners(host.run(["sockstat", "-46l"])[1]))

    def at(protocol, port):
        places = {
            reachable(proto, local) for proto, local in found if proto.startswith(protocol) and local.endswith(port)
        }
        return sorted(places - {""})

    return {
        "listeners": found,
        "dns": [server for server in at("udp", ":53") if dns_answers(server)],
        "smtp": [server for server in at("tcp", ":25") if smtp_greets(server)],
    }


def lost(before, now):
    """Return sentences (list of str) about what served *before* and does not *now*, both as serving() gives them."""
    missing = sorted(set(map(tuple, before.get("listeners", []))) - set(map(tuple, now["listeners"])))
    return (
        ["nothing listens on %s %s" % row for row in missing]
        + ["no answer from the name server at %s" % one for one in before.get("dns", []) if one not in now["dns"]]
        + ["no greeting from the mail server at %s" % one for one in before.get("smtp", []) if one not in now["smtp"]]
    )
