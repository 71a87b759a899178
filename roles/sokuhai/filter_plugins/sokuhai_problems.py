# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What cannot be right in the variables that several roles share, beyond their types."""

import ipaddress
import re

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")

#: Least and greatest value of each number; that of FD_SETSIZE, which other roles are given as well, is filter fd_setsize_problems'.
RANGES = {
    "sokuhai_openfiles": (256, 2**31 - 1),
    "sokuhai_process_limit": (1, 2**31 - 1),
    "sokuhai_recursive_clients": (1, 2**31 - 1),
    "sokuhai_statistics_port": (0, 65535),
}


def name_problem(value, least):
    """Why *value* is not a domain name of at least *least* labels (RFC 1123 2.1), or None."""
    if not value:
        return "a name is needed"
    if len(value) > 253:
        return "it is longer than 253 characters"
    labels = value.split(".")
    for label in labels:
        if not label.isascii():
            return f"it has the label {label!r}: write an internationalized domain as its A-label, xn--…"
        if not LABEL.match(label):
            return f"it has the label {label!r}: letters, digits and hyphens, 1 to 63, neither first nor last a hyphen"
    if len(labels) < least:
        return f"it needs at least {least} labels, as mx.example.org"
    if labels[-1].isdigit():
        return "it ends in a number: an address is not a name"
    return None


def loopback_problem(value, protocols):
    """Why *value* is not an address by which a host with *protocols* reaches itself, or None."""
    example = "::1" if protocols == "ipv6" else "127.0.0.1"
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return f"it is not an address, like {example}"
    if not address.is_loopback:
        return f"it is not a loopback address, like {example}"
    if protocols not in ("all", f"ipv{address.version}"):
        return f"sokuhai_inet_protocols is {protocols}: set {example}, or nothing"
    return None


def sokuhai_problems(declared):
    """What is wrong with the shared variables, one message each.

    declared: {variable: value of its type}.
    """
    found = {name: "a value is needed" for name, value in declared.items() if value is None}
    for name, (least, most) in RANGES.items():
        if name not in found and not least <= declared[name] <= most:
            found[name] = f"{least} or more is needed" if declared[name] < least else f"at most {most} is possible"
    for name, least in (("sokuhai_domain", 1), ("sokuhai_hostname", 2)):
        # a resolver needs no domain of mail
        if name not in found and (declared["sokuhai_mail"] or declared[name]):
            found[name] = name_problem(declared[name], least)
    for name in ("sokuhai_queue_directory", "sokuhai_maillog"):
        # they stand unquoted in configuration files
        if name not in found and not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", declared[name]):
            found[name] = "an absolute path of letters, digits and . _ + - is needed"
    if "sokuhai_loopback" not in found:
        found["sokuhai_loopback"] = loopback_problem(declared["sokuhai_loopback"], declared["sokuhai_inet_protocols"])
    if not declared["rebuild_parts"]:
        found["rebuild_parts"] = "one or more of bind, postfix and kernel is needed"
    return [f"{name} = {declared[name]!r}: {why}" for name, why in found.items() if why]


class FilterModule:
    def filters(self):
        return {"sokuhai_problems": sokuhai_problems}
