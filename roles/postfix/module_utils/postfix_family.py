# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which addresses the proofs of a set use, by its inet_protocols. Pure functions; standard library only, Python 3.9 to 3.13.

values: every parameter of the set, as postfix_host.Configuration has them.
"""

from ansible.module_utils.postfix_text import words

LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}
#: Addresses that are nobody's (RFC 5737, RFC 3849).
NOBODY = {"ipv4": "192.0.2.254", "ipv6": "2001:db8::fe"}


def family(values):
    """Return "ipv6" where the set has IPv6 alone, else "ipv4": smtpd(8) takes, and connects to, no address of a family that is left out."""
    return "ipv6" if words(values.get("inet_protocols", "")) == ["ipv6"] else "ipv4"


def stranger(values, declared=""):
    """Return the address that a stranger comes from: *declared*, or nobody's."""
    return declared or NOBODY[family(values)]


def literal(address):
    """Return *address* as XCLIENT's ADDR takes it (XCLIENT_README)."""
    return "IPV6:" + address if ":" in address else address


def reached(name, values):
    """Return (address, port) by which this host reaches the inet service *name* of master.cf."""
    address, _colon, port = name.rpartition(":")
    address = address.strip("[]") or words(values.get("inet_interfaces") or "all")[0].strip("[]")
    everywhere = {"0.0.0.0": LOOPBACK["ipv4"], "::": LOOPBACK["ipv6"]}
    everywhere.update(dict.fromkeys(("all", "loopback-only"), LOOPBACK[family(values)]))
    return everywhere.get(address, address), port
