# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What can be said about the declared blocklist without asking the host."""

import contextlib
import ipaddress
import re

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: (least, most, why) of each number
RANGES = {
    "blocklist_mask_ipv4": (16, 32, "with less, one offender blocks too many neighbours, with more, only itself"),
    "blocklist_mask_ipv6": (32, 128, "with less, one offender blocks too many neighbours, with more, only itself"),
    "blocklist_confirm_seconds": (45, 600, "enough time for a new connection, and a lock-out that ends soon"),
}
LONGEST = 2**31 - 1  # the daemon keeps seconds in an int (conf_getsecs in contrib/blocklist/bin/conf.c)


def seconds(value):
    """Return the seconds of a duration as blocklistd.conf(5) writes it: 90, 10m, 12h, 1d12h. ValueError for anything else."""
    text = str(value).strip()
    if not re.fullmatch(r"\d+|(\d+[smhd])+", text):
        raise ValueError(f"{text!r} is not a duration: 90 (seconds), 10m, 12h, 1d")
    total = sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd]?)", text))
    if not 1 <= total <= LONGEST:
        raise ValueError(f"{text!r} must be at least 1 second and below 68 years")
    return total


def _network(entry):
    text = str(entry).strip()
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](/\d+)?", text)
    return ipaddress.ip_network(match[1] + (match[2] or "") if match else text)


def _widest(found):
    """Return networks without those that another of them holds, sorted, IPv4 first."""
    kept = []
    for network in sorted(set(found), key=lambda n: (n.version, n.prefixlen, n)):
        if not any(network.version == wider.version and network.subnet_of(wider) for wider in kept):
            kept.append(network)
    return sorted(kept, key=lambda n: (n.version, n))


def networks(entries):
    """Return addresses and networks, IPv6 with or without Postfix's brackets, as CIDR strings, sorted, without those within others.

    Raises ValueError for what is none of them.
    """
    return [str(network) for network in _widest(map(_network, entries))]


def address(network):
    """Return a CIDR string as pf.conf(5) has it in a table: an address where it is one."""
    found = ipaddress.ip_network(network)
    return str(found.network_address if found.prefixlen == found.max_prefixlen else found)


def remote(entries, mask_ipv4, mask_ipv6):
    """Return CIDR strings as blocklistd.conf(5) has them under [remote].

    The daemon cuts an address to its mask, so many bits, before it looks there (conf_find in contrib/blocklist/bin/conf.c): a narrower network has to
    be written as the network of that mask, or it would never match.
    """
    found, bits = [], {4: mask_ipv4, 6: mask_ipv6}
    for network in map(ipaddress.ip_network, entries):
        mask = bits[network.version]
        found.append(network if network.prefixlen <= mask else network.supernet(new_prefix=mask))
    return [f"[{n.network_address}]/{n.prefixlen}" if n.version == 6 else str(n) for n in _widest(found)]


def problems(declared):
    """Return what is wrong with *declared* ({variable: value}), one message each, beginning with the variable's name."""
    return [f"{name}: {message}" for name, wrong, message in _checks(declared) if wrong]


def _checks(declared):
    """Yield (variable, whether it is wrong, message) of each thing to be looked at."""
    services = declared["blocklist_services"]
    empty = "is empty, so nobody would ever be blocked; set sokuhai_blocklist: false for that"
    yield "blocklist_services", not services, empty
    for number, one in enumerate(services):
        where, port = f"blocklist_services[{number}]", one["port"]
        word = re.fullmatch(r"[a-z][a-z0-9_-]*", str(one["name"]))
        yield f"{where}.name", not word, f"{one['name']!r} must be a word in lower case, like smtp"
        yield f"{where}.port", not _is_port(port), f"{port!r} is not a port; 1 to 65535"
        same = [other["name"] for other in services[:number] if other["port"] == port]
        yield f"{where}.port", same, f"{port} is {''.join(same[:1])} already; the daemon has one line per port"
        nfail = one["nfail"]
        yield f"{where}.nfail", int(nfail) < 2, f"{nfail} would block a user who mistypes once; 2 or more"
        yield _duration(f"{where}.duration", one["duration"])
    for name, (least, most, why) in RANGES.items():
        value = declared[name]
        yield name, not least <= value <= most, f"{value} must be {least} to {most}: {why}"
    for name in ("blocklist_allow", "blocklist_mynetworks"):
        for entry in declared[name]:
            yield name, *_exempt(entry)
    if declared["blocklist_rejects"]:
        count, ports = declared["blocklist_rejects_count"], declared["blocklist_rejects_ports"]
        few = f"{count} is reached by a mailing list with a few dead addresses; 5 or more"
        yield "blocklist_rejects_count", count < 5, few
        for name in ("blocklist_rejects_window", "blocklist_rejects_duration"):
            yield _duration(name, declared[name], 60)
        for port in ports:
            yield "blocklist_rejects_ports", not _is_port(port), f"{port!r} is not a port; 1 to 65535"
        none = "is empty, so it would have no effect; set blocklist_rejects: false"
        yield "blocklist_rejects_ports", not ports, none
    traps = declared["blocklist_traps"]
    for trap in traps:
        good = re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", str(trap))
        yield "blocklist_traps", not good, f"{trap!r} is not an address like trap@example.org"
    alone = declared["blocklist_from_traps"] and not traps
    yield "blocklist_from_traps", alone, "is true, but no trap is declared; add one to access_traps"


def _is_port(value):
    return not isinstance(value, bool) and str(value).isdigit() and 1 <= int(value) <= 65535


def _duration(name, value, least=1):
    try:
        return name, seconds(value) < least, f"{value} is less than {least} seconds, and the log is read once a minute"
    except ValueError as problem:
        return name, True, str(problem)


def _exempt(entry):
    try:
        return _network(entry).prefixlen == 0, f"{entry} is everybody, so nobody would ever be blocked"
    except ValueError as problem:
        message = str(problem)
    with contextlib.suppress(ValueError):
        message += f"; did you mean {ipaddress.ip_network(re.sub('[][]', '', str(entry)), strict=False)}"
    return True, message


class FilterModule:
    def filters(self):
        return {
            "blocklist_problems": problems,
            "blocklist_networks": networks,
            "blocklist_address": address,
            "blocklist_remote": remote,
            "blocklist_seconds": seconds,
        }
