# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""From which addresses a host sends mail, which certificates it presents, and what its name servers answer."""

import base64
import contextlib
import hashlib
import ipaddress
import re
import socket
import threading
import time

from ansible.module_utils.sokuhai import dns, host
from ansible.module_utils.sokuhai.postfix import postconf

#: Addresses that nobody outside sees (RFC 1918, 6598, 3927, 4193, 4291). Python's is_private knows those of documentation as well.
INSIDE = [
    ipaddress.ip_network(net)
    for net in (
        "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10 ::1/128"
    ).split()
]
#: Somebody behind the default route: a.root-servers.net. Nothing is sent there.
OUTSIDE = {"ipv4": (socket.AF_INET, "198.41.0.4"), "ipv6": (socket.AF_INET6, "2001:503:ba3e::2:30")}
BINDS = {"ipv4": "smtp_bind_address", "ipv6": "smtp_bind_address6"}
SETTINGS = (
    "inet_protocols",
    "inet_interfaces",
    "smtp_address_preference",
    "smtp_helo_name",
    "smtpd_milters",
    *BINDS.values(),
)


def is_inside(address):
    return any(ipaddress.ip_address(address) in net for net in INSIDE)


def settings():
    """{parameter: value, expanded} of SETTINGS; {} without Postfix. What master.cf sets for one transport counts beside: "smtp_bind_address" is all of them."""
    lines = (line.partition("=") for line in postconf("-x", *SETTINGS).splitlines())
    found = {name.strip(): value.strip() for name, _, value in lines}
    for name in BINDS.values() if found else ():
        found[name] += " " + " ".join(postconf("-Phx", "*/unix/" + name).split())
    return found


def route(protocol):
    """The host's own address on its default route, or None."""
    family, target = OUTSIDE[protocol]
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((target, 53))
        return sock.getsockname()[0].partition("%")[0]
    return None


def outgoing(said, protocols, routed=route):
    """Return the addresses that mail leaves by. said: of settings(). protocols: all, ipv4 or ipv6. routed: function protocol -> address or None."""
    spoken = re.split(r"[\s,]+", said.get("inet_protocols", "all"))
    found = []
    for protocol in BINDS:
        if protocols not in ("all", protocol) or not {"all", protocol}.intersection(spoken):
            continue
        version = int(protocol[-1])
        bound = said.get(BINDS[protocol], "").split()
        # one address that is not a loopback one is smtp(8)'s as well (postconf(5), smtp_bind_address)
        heard = [one.strip("[]") for one in re.split(r"[\s,]+", said.get("inet_interfaces", ""))]
        heard = [one for one in heard if is_address(one, version)]
        if not bound and len(heard) == 1 and not ipaddress.ip_address(heard[0]).is_loopback:
            bound = heard
        found += [one.strip("[]") for one in bound if is_address(one.strip("[]"), version)] or [routed(protocol)]
    return list(dict.fromkeys(str(ipaddress.ip_address(one)) for one in found if one))


def is_address(text, version):
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def key_digests(paths):
    """SHA-256 of the public key of each certificate, as TLSA 3 1 1 has it (RFC 6698, 2.1)."""
    found = []
    for path in paths:
        out = host.run(["openssl", "x509", "-in", path, "-noout", "-pubkey"])[1]
        key = re.search(r"-----BEGIN PUBLIC KEY-----(.+?)-----END", out, re.DOTALL)
        if key:
            found.append(hashlib.sha256(base64.b64decode(key[1])).hexdigest())
    return list(dict.fromkeys(found))


class Resolver:
    """The host's own name servers; every question is asked once."""

    def __init__(self, seconds, servers=None):
        self.servers = servers or dns.name_servers(host.read("/etc/resolv.conf"))
        self.end, self.known, self.lock = time.monotonic() + seconds, {}, threading.Lock()

    def ask(self, name, kind):
        """Return the values of the records *name* *kind*, as dns.decode() has them; None where nobody answers."""
        key = name.lower().rstrip("."), kind
        with self.lock:
            mine = self.known.setdefault(key, threading.Lock())
        if isinstance(mine, tuple):
            return mine[0]
        with mine:
            now = self.known[key]
            if isinstance(now, tuple):
                return now[0]
            found = self.query(*key)
            self.known[key] = (found,)
            return found

    def query(self, name, kind):
        try:
            reply = dns.resolve(self.servers, name, kind, self.end)
        except UnicodeError:  # a label that cannot be
            return []
        if not reply or reply["rcode"] not in dns.ANSWERED:
            return None
        return [value for of, value in reply["records"] if of == kind]
