# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which addresses follow from the address families of a host, named as inet_protocols of Postfix has them: all, ipv4, ipv6."""

import ipaddress
import re

LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}


def loopback(protocols, otherwise=LOOPBACK["ipv4"]):
    """Return the loopback address of *protocols*: *otherwise* where both families are there, or it is of theirs."""
    version = "ipv6" if ":" in otherwise else "ipv4"
    return otherwise if protocols in ("all", version) else LOOPBACK.get(protocols, otherwise)


def family_problems(declared):
    """Return what is wrong with Postfix's addresses, a list of sentences that begin with the variable's name.

    Of one whose family postfix_inet_protocols leaves out Postfix dies where it is one of inet_interfaces, and takes no XCLIENT with it.
    """
    return [*_client_problems(declared), *_interface_problems(declared)]


def _client_problems(declared):
    protocols, client = declared["postfix_inet_protocols"], declared["postfix_probe_client"]
    example = "2001:db8::fe" if protocols == "ipv6" else "192.0.2.254"
    try:
        if client and protocols not in ("all", f"ipv{ipaddress.ip_address(client).version}"):
            yield (
                f"postfix_probe_client: {client} is no address of postfix_inet_protocols, {protocols}; leave it empty, or set one like {example}"
            )
    except ValueError:
        yield f"postfix_probe_client: {client!r} is not an address; leave it empty, or set one that is nobody's, like {example}"


def _interface_problems(declared):
    protocols = declared["postfix_inet_protocols"]
    for value in declared["postfix_inet_interfaces"]:
        plain = value.strip("[]")
        version = "ipv6" if ":" in plain else "ipv4" if re.fullmatch(r"[0-9.]+", plain) else protocols
        if protocols not in ("all", version):
            yield (
                f"postfix_inet_interfaces: {value} is no address of postfix_inet_protocols, {protocols}; take it away, or set "
                "postfix_inet_protocols: all"
            )


class FilterModule:
    def filters(self):
        return {"inet_loopback": loopback, "inet_family_problems": family_problems}
