# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What preflight refuses of a host, as pure functions."""

from __future__ import annotations

import re


def preflight_host(probe, wanted):
    """What is wrong with the host itself.

    probe: as module preflight_probe returns it. wanted: releases (list of int), min_ram_mb, min_disk_mb ({path: int}),
    pkg_required (bool). Returns {problems: [message], notes: [message]}.
    """
    problems, notes = [], []
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
    # under a kernel of one's own, the stock one in /boot/kernel waits for no boot
    if (
        release.get("kernel")
        and release.get("running")
        and release["kernel"] != release["running"]
        and probe.get("ident", "GENERIC").startswith("GENERIC")
    ):
        notes.append(f"a kernel {release['kernel']} is installed, {release['running']} is running: a reboot is due")
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
    return {"problems": problems, "notes": notes}


class FilterModule:
    """Filters of role preflight."""

    def filters(self):
        return {
            "preflight_host": preflight_host,
        }
