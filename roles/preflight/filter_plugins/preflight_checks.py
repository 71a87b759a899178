# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What preflight refuses, as pure functions: each takes values and returns messages that begin with a variable's name."""

from __future__ import annotations

import difflib
import glob
import os
import re

import yaml

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


def preflight_role_specs(roles):
    """{role: text of its meta/argument_specs.yml} of every role in the directory roles (str) on the controller."""
    specs = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(roles), "*", "meta", "argument_specs.yml"))):
        with open(path, encoding="utf-8") as handle:
            specs[os.path.basename(os.path.dirname(os.path.dirname(path)))] = handle.read()
    return specs


def preflight_unknown(names, spec_texts, shared, facts):
    """Inventory variables with a role's prefix that no role has.

    names: variable names in scope. spec_texts: {role: text of its meta/argument_specs.yml}. shared, facts: names that belong to
    no single role. Returns a list of messages, each with the nearest name that exists.
    """
    known = set(shared) | set(facts)
    for text in spec_texts.values():
        for entry in (yaml.safe_load(text) or {}).get("argument_specs", {}).values():
            known |= set(entry.get("options") or {})
    common = ("sokuhai_", "rebuild_")
    prefixes = tuple(f"{role}_" for role in spec_texts) + common
    messages = []
    for name in sorted(set(names)):
        if name.startswith(prefixes) and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
            hint = f"did you mean {near[0]}?" if near else "its README.md lists what there is"
            role = next((role for role in spec_texts if name.startswith(f"{role}_")), "")
            messages.append(
                f"{name} is none of the shared variables: {hint}"
                if name.startswith(common)
                else f"{name} is no variable of role {role}: {hint}"
            )
    return messages


def _domain(value, least):
    """Why value is no domain name of at least that many labels (RFC 1123 2.1), or None."""
    if not isinstance(value, str) or not value:
        return "a name is needed"
    if len(value) > 253:
        return "it is longer than 253 characters"
    for label in value.split("."):
        if not LABEL.match(label):
            return f"it has the label {label!r}: letters, digits and hyphens, 1 to 63, neither first nor last a hyphen"
    if len(value.split(".")) < least:
        return f"it needs at least {least} labels, as mx.example.org"
    if value.split(".")[-1].isdigit():
        return "it ends in a number: an address is no name"
    return None


def preflight_shared(values, rules):
    """Shared variables whose value cannot be right.

    values: {name: value} as the inventory gives them. rules: {name: {type, min, max, choices}}; type is int, bool, choice, choices
    (a list of them), domain, hostname or path. A bool may be the word that -e on the command line makes of it. Returns a list of messages.
    """
    messages = []
    for name, value in sorted(values.items()):
        rule = rules.get(name)
        if rule is None:
            continue
        kind, why = rule["type"], None
        if kind == "int":
            number = _whole(value)
            if number is None:
                why = "a whole number is needed"
            elif not rule["min"] <= number <= rule["max"]:
                why = (
                    f"it is to be {rule['min']} or more"
                    if number < rule["min"]
                    else f"it is to be at most {rule['max']}"
                )
        elif kind == "bool" and not (isinstance(value, bool) or str(value).lower() in ("true", "false", "yes", "no")):
            why = "true or false is needed"
        elif kind == "choices" and not (
            isinstance(value, list) and value and all(item in rule["choices"] for item in value)
        ):
            why = "a list of one or more of " + ", ".join(rule["choices"]) + " is needed"
        elif kind == "choice" and value not in rule["choices"]:
            near = difflib.get_close_matches(str(value), rule["choices"], n=1)
            why = "there are " + ", ".join(rule["choices"]) + (f"; did you mean {near[0]}?" if near else "")
        elif kind == "domain":
            why = _domain(value, 1)
        elif kind == "hostname":
            why = _domain(value, 2)
        elif kind == "path" and not (isinstance(value, str) and value.startswith("/")):
            why = "an absolute path is needed"
        if why:
            messages.append(f"{name} = {value!r}: {why}")
    return messages


def _whole(value):
    """An int from an int or a string of digits (as -e on the command line gives it), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value.strip()):
        return int(value)
    return None


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
            "preflight_role_specs": preflight_role_specs,
            "preflight_unknown": preflight_unknown,
            "preflight_shared": preflight_shared,
            "preflight_host": preflight_host,
        }
