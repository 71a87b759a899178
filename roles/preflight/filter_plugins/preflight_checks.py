# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What preflight refuses of a host, as pure functions."""

import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "module_utils"))
from sokuhai.repositories import trouble


def preflight_installs(declared):
    """Whether any role is to install a package. declared: {variable: typed value} of all roles."""
    return any(
        declared[f"{role}_install"] and declared[switch] not in (False, "none")
        for role, switch in (
            ("bind", "bind_install"),
            ("postfix", "sokuhai_mail"),
            ("sasl", "sasl_enabled"),
            ("spf", "spf_mode"),
            ("ahead", "ahead_enabled"),
            ("greylist", "greylist_enabled"),
            ("dkim", "dkim_enabled"),
            ("mta_sts", "mta_sts_enabled"),
        )
    )


def preflight_problems(declared):
    """What is wrong with what is declared for role preflight, a list of messages. declared: {variable: typed value}."""
    name = declared["preflight_boot_environment"]
    # less than zfs(8) takes: no slash, space, @, # or %, and nothing that bectl(8) reads as an option
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", name):
        return [
            f"preflight_boot_environment: {name!r} is no name of a boot environment: up to 64 letters, digits, and . _ - : after the first, such as "
            "before-sokuhai-0.2"
        ]
    return []


def preflight_serves(tags, run, skip):
    """Return the roles that a play runs, a list. tags: {role: its tags}, none for a role that is not wanted. run, skip: what --tags and --skip-tags say."""
    return [role for role, own in tags.items() if own and set(run) & {"all", *own} and not set(skip) & set(own)]


def preflight_host(probe, wanted):
    """What is wrong with the host itself.

    probe: as module preflight_probe returns it. wanted: releases (list of int), min_ram_mb, min_disk_mb ({path: int}),
    pkg_required (bool), mail (whether the mail service is wanted), replace ({role: whether it may take the place of a configuration that is not ours}), aliases
    (names that the inventory says something of), firewall (whether role blocklist is about to run), loopback (address at which it reaches itself), serves (list of roles that are about to run). Returns a list of messages.
    """
    return [message for wrong, message in _checks(probe, wanted) if wrong]


def _checks(probe, wanted):
    """Yield (whether it is wrong, message) of each thing to be looked at."""
    kernel, userland = (probe["release"].get(which) or "" for which in ("running", "userland"))
    good = [supported(text, wanted["releases"]) for text in (kernel, userland)]
    which, text = ("userland", userland) if good[0] else ("kernel", kernel)
    releases = ", ".join(f"{number}.x" for number in wanted["releases"])
    yield (
        not all(good),
        f"preflight_releases: this host's {which} is {text or 'of an unknown release'}, supported are {releases}",
    )
    # a jail's host may be of a later release
    yield (
        all(good) and not probe["jailed"] and kernel.partition(".")[0] != userland.partition(".")[0],
        f"an upgrade of FreeBSD that is not finished: the kernel is {kernel}, the userland {userland}. Finish it first (freebsd-update install, or pkg "
        "upgrade -r FreeBSD-base), with its packages (pkg upgrade -fy), and reboot",
    )
    memory = int(probe["sysctl"].get("hw.physmem", 0)) // 2**20
    yield (
        memory < wanted["min_ram_mb"],
        f"preflight_min_ram_mb: {memory} MB of memory, {wanted['min_ram_mb']} are needed",
    )
    for path, least in sorted(wanted["min_disk_mb"].items()):
        free = probe["disk"].get(path)
        yield free is None, f"preflight_min_disk_mb: the free space of {path} is unknown"
        yield free is not None and free < least, f"preflight_min_disk_mb: {free} MB free in {path}, {least} are needed"
    yield (
        wanted["pkg_required"] and not probe["pkg"],
        "the package tool pkg is not installed yet: run playbooks/bootstrap.yml first",
    )
    yield probe["unavailable"], _unavailable(**probe["unavailable"])
    yield (
        probe["jailed"] and wanted["firewall"] and not probe["pf"]["there"],
        "sokuhai_blocklist: this host is a jail without pf: a jail with a network stack of its own (vnet) has it where devfs(8) shows it /dev/pf; else set "
        "sokuhai_blocklist: false, and block on the jail's host",
    )
    yield (
        probe["mail"] and not wanted["mail"],
        f"sokuhai_mail: false, and this host has the mail service that these playbooks gave it ({', '.join(probe['mail'])}). Nothing of it is taken away "
        "unasked: run playbooks/rollback.yml --tags postfix,sasl for this host first (its queue, keys and tables stay), or set sokuhai_mail: true",
    )
    yield probe["environment"], f"preflight_boot_environment: {probe['environment']}"
    own, bound = wanted["loopback"], probe["bound"].get(wanted["loopback"], "")
    yield wanted["serves"] and bound != own, _loopback(own, bound)
    for role in wanted["serves"]:
        for message in probe["leftovers"].get(role, []):
            yield True, message
    for role, may in sorted(wanted["replace"].items()):
        refusal = probe["replaced"].get(role, "")
        yield refusal and not may, refusal
    if not wanted["replace"].get("postfix", True):
        for path, entries in sorted(probe["aliases"].items()):
            lost = {name: value for name, value in entries.items() if name not in wanted["aliases"]}
            yield lost, _aliases(path, lost)


def _unavailable(packages=(), lost=(), unsigned=False):
    return (
        f"packages: no repository that answers has {', '.join(packages)}{trouble(lost, unsigned)}; nothing was changed"
    )


def _loopback(address, bound):
    if bound:
        return (
            f"sokuhai_loopback: this host is a jail without {address}: what is bound there is bound to {bound}, and others reach what is meant for this host "
            'alone. Give the jail an address of lo0 (jail.conf(5): ip4.addr += "lo0|127.0.1.2"), and set sokuhai_loopback: 127.0.1.2'
        )
    other, family = ("127.0.0.1", "ipv4") if ":" in address else ("::1", "ipv6")
    return (
        f"sokuhai_loopback: this host has no address {address}, at which it is to reach itself: give it to lo0 (rc.conf(5)), or set sokuhai_inet_protocols: "
        f"{family} where it has {other} alone"
    )


def _aliases(path, lost):
    lines = "\n".join(f"  - {{name: {json.dumps(name)}, value: {json.dumps(value)}}}" for name, value in lost.items())
    return (
        f"postfix_aliases: Postfix would not know {', '.join(lost)}, which are in {path}: it reads a table of its own. What is to stay goes into the "
        f"inventory, what is to go as well, with state: absent\npostfix_aliases:\n{lines}"
    )


def supported(release, releases):
    """Return whether *release* (15.0-RELEASE-p1) is of one of the major *releases* (int)."""
    match = re.match(r"(\d+)\.\d+-", release)
    return bool(match) and int(match.group(1)) in releases


class FilterModule:
    def filters(self):
        return {
            "preflight_host": preflight_host,
            "preflight_installs": preflight_installs,
            "preflight_problems": preflight_problems,
            "preflight_serves": preflight_serves,
        }
