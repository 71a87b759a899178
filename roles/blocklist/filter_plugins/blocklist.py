# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What can be said about the declared blocklist without asking the host."""

from __future__ import annotations

import ipaddress
import re

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
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


def _ports(name, ports):
    bad = [port for port in ports if isinstance(port, bool) or not str(port).isdigit() or not 1 <= int(port) <= 65535]
    return [f"{name}: {port!r} is not a port; 1 to 65535" for port in bad]


def problems(declared):
    """Return what is wrong with *declared* ({variable: value}), one message each, beginning with the variable's name."""
    found = []
    services = declared["blocklist_services"]
    if not services:
        found.append(
            "blocklist_services: is empty, so nobody would ever be blocked; set sokuhai_blocklist: false for that"
        )
    seen = {}
    for number, one in enumerate(services):
        where = f"blocklist_services[{number}]"
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", str(one["name"])):
            found.append(f"{where}.name: {one['name']!r} must be a word in lower case, like smtp")
        found += _ports(f"{where}.port", [one["port"]])
        if one["port"] in seen:
            found.append(
                f"{where}.port: {one['port']} is {seen[one['port']]} already; the daemon has one line per port"
            )
        seen[one["port"]] = one["name"]
        if int(one["nfail"]) < 2:
            found.append(f"{where}.nfail: {one['nfail']} would block a user who mistypes once; 2 or more")
        found += _duration(f"{where}.duration", one["duration"])
    for name, least, most in (("blocklist_mask_ipv4", 16, 32), ("blocklist_mask_ipv6", 32, 128)):
        if not least <= declared[name] <= most:
            found.append(
                f"{name}: {declared[name]} must be {least} to {most}: with less, one offender blocks too many neighbours, with more, only itself"
            )
    for name in ("blocklist_allow", "blocklist_mynetworks"):
        for entry in declared[name]:
            try:
                networks([entry])
            except ValueError as problem:
                text = str(problem)
                wider = _wider(entry)
                found.append(f"{name}: {text}{f'; did you mean {wider}' if wider else ''}")
                continue
            if ipaddress.ip_network(networks([entry])[0]).prefixlen == 0:
                found.append(f"{name}: {entry} is everybody, so nobody would ever be blocked")
    if declared["blocklist_rejects"]:
        if declared["blocklist_rejects_count"] < 5:
            found.append(
                f"blocklist_rejects_count: {declared['blocklist_rejects_count']} is reached by a mailing list with a few dead addresses; 5 or more"
            )
        found += _duration("blocklist_rejects_window", declared["blocklist_rejects_window"], 60)
        found += _duration("blocklist_rejects_duration", declared["blocklist_rejects_duration"], 60)
        found += _ports("blocklist_rejects_ports", declared["blocklist_rejects_ports"])
        if not declared["blocklist_rejects_ports"]:
            found.append("blocklist_rejects_ports: is empty, so it would have no effect; set blocklist_rejects: false")
    for trap in declared["blocklist_traps"]:
        if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", str(trap)):
            found.append(f"blocklist_traps: {trap!r} is not an address like trap@example.org")
    if declared["blocklist_from_traps"] and not declared["blocklist_traps"]:
        found.append("blocklist_from_traps: is true, but no trap is declared; add one to access_traps")
    if not 45 <= declared["blocklist_confirm_seconds"] <= 600:
        found.append(
            f"blocklist_confirm_seconds: {declared['blocklist_confirm_seconds']} must be 45 to 600: enough time for a new connection, and a lock-out that ends soon"
        )
    return found


def _duration(name, value, least=1):
    try:
        if seconds(value) < least:
            return [f"{name}: {value} is less than {least} seconds, and the log is read once a minute"]
    except ValueError as problem:
        return [f"{name}: {problem}"]
    return []


def _wider(entry):
    try:
        return str(ipaddress.ip_network(str(entry).replace("[", "").replace("]", ""), strict=False))
    except ValueError:
        return None


class FilterModule:
    def filters(self):
        return {
            "blocklist_problems": problems,
            "blocklist_networks": networks,
            "blocklist_address": address,
            "blocklist_remote": remote,
            "blocklist_seconds": seconds,
        }
