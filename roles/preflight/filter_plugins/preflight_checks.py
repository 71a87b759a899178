# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What preflight refuses of a host, as pure functions."""

from __future__ import annotations

import re


def preflight_installs(declared):
    """Whether any role is to install a package. declared: {variable: typed value} of all roles."""
    return any(
        declared[f"{role}_install"] and declared[switch] not in (False, "none")
        for role, switch in (
            ("bind", "bind_install"),
            ("postfix", "postfix_install"),
            ("sasl", "sasl_enabled"),
            ("spf", "spf_mode"),
            ("greylist", "greylist_enabled"),
        )
    )


def preflight_host(probe, wanted):
    """What is wrong with the host itself.

    probe: as module preflight_probe returns it. wanted: releases (list of int), min_ram_mb, min_disk_mb ({path: int}),
    pkg_required (bool). Returns a list of messages.
    """
    problems = []
    release = probe.get("release") or {}
    for which in ("running", "userland"):
        text = release.get(which) or ""
        match = re.match(r"(\d+)\.\d+-", text)
        if not match or int(match.group(1)) not in wanted["releases"]:
            supported = ", ".join(f"{n}.x" for n in wanted["releases"])
            problems.append(
                f"preflight_releases: this host's {'kernel' if which == 'running' else 'userland'} is "
                f"{text or 'of an unknown release'}, supported are {supported}"
            )
            break
    memory = int(probe["sysctl"].get("hw.physmem", 0)) // 2**20
    if memory < wanted["min_ram_mb"]:
        problems.append(f"preflight_min_ram_mb: {memory} MB of memory, {wanted['min_ram_mb']} are needed")
    for path, least in sorted(wanted["min_disk_mb"].items()):
        free = (probe.get("disk") or {}).get(path)
        if free is None:
            problems.append(f"preflight_min_disk_mb: the free space of {path} is unknown")
        elif free < least:
            problems.append(f"preflight_min_disk_mb: {free} MB free in {path}, {least} are needed")
    if wanted["pkg_required"] and not probe.get("pkg"):
        problems.append("the package tool pkg is not installed yet: run playbooks/bootstrap.yml first")
    return problems


class FilterModule:
    """Filters of role preflight."""

    def filters(self):
        return {
            "preflight_host": preflight_host,
            "preflight_installs": preflight_installs,
        }
