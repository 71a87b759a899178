# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Where each kernel value is set: in sysctl.conf and at once, by the loader at the next boot, or not at all since the host gives enough.

Pure functions over what module preflight_probe read from the host; nothing here asks it.
"""

import pathlib
import re
import sys

# Ansible loads a plugin by its path
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from sizing import BY_NAME, KERNEL_VALUES, holds, in_order
from sizing_memory import ARC_MIN
from sizing_numbers import has_suffix, number, same

#: The kernel refuses a lower value at run time (uipc_socket.c, kern_mbuf.c): only a boot lowers these.
RAISE_ONLY = ("kern.ipc.maxsockets", "kern.ipc.nmbclusters")
#: What boot_values() counts, and capacity() of sizing.py.
READ_TOO = ("hw.physmem", "hw.ncpu", "kern.maxusers", "kern.ipc.maxmbufmem", ARC_MIN)

#: One value under two names (sys/kern/uipc_socket.c): only the second is written.
ALIASES = {"kern.ipc.somaxconn": "kern.ipc.soacceptqueue"}

# Where a sysctl that a kernel does not know may come from, longest prefix first.
MODULES = (
    ("net.inet.ip.dummynet.", "dummynet"),
    ("net.inet.ip.fw.", "ipfw"),
    ("net.inet6.ip6.fw.", "ipfw"),
    ("net.inet.tcp.bbr.", "tcp_bbr"),
    ("net.inet.tcp.rack.", "tcp_rack"),
    ("net.inet.tcp.cc.", "the cc_* module of that algorithm"),
    ("net.inet.carp.", "carp"),
    ("net.inet.siftr.", "siftr"),
    ("net.link.bridge.", "if_bridge"),
    ("net.link.lagg.", "if_lagg"),
    ("net.pf.", "pf"),
    ("net.pfsync.", "pfsync"),
    ("vfs.zfs.", "zfs"),
    ("kstat.zfs.", "zfs"),
    ("vfs.nfsd.", "nfsd"),
    ("vfs.fusefs.", "fusefs"),
    ("kern.cam.ctl.", "ctl"),
    ("hw.vmm.", "vmm"),
    ("dev.cpuctl.", "cpuctl"),
    ("compat.linux.", "linux"),
    ("security.mac.", "the mac_* module of that policy"),
)


# ---- the declared values against the host's files ----


def misplaced(sysctl, loader, measured):
    """Messages for names of limits_sysctl and limits_loader that stand in the wrong variable or that the kernel does not know.

    sysctl, loader: {name: value} as declared. measured: as for limits_chain().
    """
    places = (
        (
            "limits_sysctl",
            sysctl,
            "writable",
            "tunable",
            "{name} can be set by the loader only (a read-only tunable): put it into limits_loader; in sysctl.conf it would be an error at every boot",
        ),
        (
            "limits_loader",
            loader,
            "tunable",
            "writable",
            "{name} is not a loader tunable, the loader's files would be silently ignored: put it into limits_sysctl",
        ),
    )
    for variable, names, flag, other, elsewhere in places:
        for name in names:
            where = f"{variable}['{name}']: "
            if name in ALIASES:
                yield (
                    where + f"{name} is the old name of {ALIASES[name]}, one value under two names: use {ALIASES[name]}"
                )
            elif name not in measured["sysctl"]:
                module = next((module for prefix, module in MODULES if name.startswith(prefix)), None)
                yield (
                    where
                    + f"this kernel does not know {name}: "
                    + (
                        f"it belongs to {module}, which is not loaded; load it first (kld_list in rc.conf), or remove the line"
                        if module
                        else "a typing error, or it belongs to a kernel module that is not loaded"
                    )
                )
            elif name not in measured[flag]:
                read_only = "{name} is read-only: neither sysctl.conf nor the loader can set it"
                yield where + (elsewhere if name in measured[other] else read_only).format(name=name)
            elif number(names[name]) is None and number(measured["sysctl"][name]) is not None:
                yield where + (
                    f"{name} is a number, and neither sysctl(8) nor the kernel's getenv_quad() reads {names[name]!r}: "
                    f"write {written(names[name])}"
                )
    for name in sysctl:
        if name in loader and not same(sysctl[name], loader[name]):
            yield (
                f"limits_sysctl['{name}'] = {sysctl[name]} and limits_loader['{name}'] = {loader[name]} differ: give one value, or one of the two"
            )


def written(value):
    """Return how *value*, which is no number to FreeBSD, is written: 4G for 4GB and 4 GiB, else what is taken."""
    found = re.fullmatch(r"\s*(\d+)\s*([kmgt])(?:i?b)?\s*", str(value), re.I)
    return found[1] + found[2].upper() if found else "digits, with k, m, g or t after them for a size"


def conflicts(settings, explicit, floors):
    """Messages, with file and line, for kernel values that somebody else's line sets to another value.

    settings: list of {file, line, name, value} outside our own part of the files. explicit: {name: value} as declared. floors: {name: int}.
    A line that already gives what a floor asks for is not a conflict: the host has it.
    """
    for entry in settings:
        name, value = ALIASES.get(entry["name"], entry["name"]), entry["value"]
        place = f"{entry['file']}:{entry['line']} sets {name} = {value}, "
        if entry["file"].startswith("/etc/sysctl.conf") and has_suffix(value):
            yield place + f"and sysctl(8) takes no {value[-1]} after a number: write {number(value)}"
        elif name in explicit and not same(value, explicit[name]):
            yield (
                place
                + f"the inventory declares {explicit[name]} (limits_sysctl or limits_loader): remove the line there, or declare {value}"
            )
        elif name not in explicit and name in floors and not holds(name, value, floors[name]):
            sign = "at most" if BY_NAME[name].at_most else "at least"
            yield (
                place
                + f"the chain of limits needs {sign} {floors[name]}: remove the line there, or set it to {floors[name]}"
            )


# ---- what the next boot gives ----


def boot_values(running, told):
    """What the kernel gives by itself at the next boot, {sysctl: int}, for the values whose rule is known.

    running: {sysctl: str}. told: {name: str}, the loader's environment. Rules: sys/kern/subr_param.c (maxfiles 32 for each MB,
    clamped to 64; nine tenths for one process or user), sys/kern/uipc_socket.c (maxsockets), sys/kern/kern_mbuf.c (nmbclusters),
    the rest are constants of FreeBSD 14 and 15. kern.ipc.maxsockbuf is 14's, the smaller one.
    A value somebody set by hand since the boot is not among them: it is gone after the next one.
    """

    def loader(name):
        return number(told.get(name, ""))

    boot = {
        "kern.ipc.soacceptqueue": 128,
        "kern.ipc.maxsockbuf": 2097152,
        "net.inet.udp.recvspace": 42080,
        "net.inet.ip.portrange.hifirst": 49152,
        "net.inet.ip.portrange.hilast": 65535,
    }
    physmem, users, memory, processes = (
        number(running.get(name)) for name in ("hw.physmem", "kern.maxusers", "kern.ipc.maxmbufmem", "kern.maxproc")
    )
    if physmem:
        kilobytes = physmem // 1024
        files = loader("kern.maxfiles") or max(40 + 32 * (users or 0), kilobytes // 32)
        boot["kern.maxfiles"] = min(files, kilobytes // 16)
        boot["kern.maxfilesperproc"] = loader("kern.maxfilesperproc") or boot["kern.maxfiles"] // 10 * 9
        boot["kern.ipc.maxsockets"] = max(loader("kern.ipc.maxsockets") or 0, boot["kern.maxfiles"])
    if memory:
        boot["kern.ipc.nmbclusters"] = loader("kern.ipc.nmbclusters") or memory // 2048 // 4
    if physmem and users:
        # subr_param.c: 20 + 16 * maxusers, clamped by memory; pid_max (99999) is above what maxusers can ask for
        boot["kern.maxproc"] = min(loader("kern.maxproc") or 20 + 16 * users, physmem // 1024 // 48)
    if processes:
        boot["kern.maxprocperuid"] = processes * 9 // 10
    return boot


# ---- what goes where ----


class Plan:
    """What goes where on one host: name by name, the declared values first."""

    def __init__(self, measured, declared, floors):
        self.running, self.jailed = measured["sysctl"], measured["jailed"]
        # a jail sets what is its own, and has no loader
        self.writable = measured["settable"] if self.jailed else measured["writable"]
        self.tunable = [] if self.jailed else measured["tunable"]
        self.ours, self.floors = measured["ours"], floors
        self.sysctl, self.loader = declared["limits_sysctl"], declared["limits_loader"]
        # what the loader will say then: its words of today, less our own file's of today, and our own file's to be
        told = {name: value for name, value in measured["kenv"].items() if name not in self.ours["loader"]}
        self.boot = boot_values(self.running, {**told, **self.loader})
        # sysctl.conf comes first in the list and has the last word at boot
        self.foreign = {
            ALIASES.get(entry["name"], entry["name"]): entry["value"] for entry in reversed(measured["settings"])
        }
        self.keep, self.boots, self.apply, self.guarantee, self.reboot, self.problems = {}, {}, {}, {}, [], []

    def needs_boot(self, name, wanted, reason):
        self.reboot.append({"name": name, "running": self.running.get(name), "wanted": wanted, "reason": reason})

    def problem(self, name, message):
        self.problems.append({"id": name, "message": message, "mends": []})

    def declared(self, name, value):
        """A value of limits_sysctl: exact."""
        now = self.running.get(name)
        if self.jailed and name not in self.writable:
            return  # the jail's host gives it, or limits_chain() refuses it
        if has_suffix(value) and number(now) is not None:
            value = number(value)  # sysctl(8) takes digits only
        self.keep[name] = value
        if not same(now, value):
            lower = name in RAISE_ONLY and None not in (number(now), number(value)) and number(value) < number(now)
            given = self.boot.get(name)
            if lower and given is not None and number(value) < given:
                self.problem(
                    name,
                    f"limits_sysctl['{name}'] = {value} is below the {given} this kernel gives itself, and it can only be raised at run time: "
                    f"declare at least {given}, or leave it out",
                )
            elif lower:
                self.needs_boot(name, value, "the kernel does not lower it at run time")
            if lower:
                return
            self.apply[name] = value
        self.guarantee[name] = {"value": value}

    def floor(self, name, floor):
        """A floor: what the host gives beyond it stays."""
        enough = holds(name, self.running[name], floor)
        if name in self.writable:
            self.guarantee[name] = {"value": floor, "at_most": BY_NAME[name].at_most}
            self.writable_floor(name, floor, enough)
        elif name in self.tunable:
            # a line of exactly the floor stays, in case the rule of boot_values() is not this kernel's
            ours, given = self.ours["loader"].get(name), self.boot.get(name)
            kept = ours is not None and (same(ours, floor) or given is None or not holds(name, given, floor))
            if name not in self.foreign and (not enough or kept):
                self.boots[name] = floor
        elif not enough and not self.jailed:
            self.problem(name, f"{name} = {self.running[name]} is read-only, and the chain of limits needs {floor}")

    def writable_floor(self, name, floor, enough):
        ours, given = self.ours["sysctl"].get(name), self.boot.get(name)
        if name in self.foreign:  # it gives enough, or preflight has refused it
            if not enough:
                self.apply[name] = number(self.foreign[name])
        elif given is not None and holds(name, given, floor):
            # The next boot gives enough. A running value below the floor was lowered by hand, or the rule above is not this
            # kernel's: what the boot gives is written down then, and stays written, so that both cases end well.
            if not enough:
                self.keep[name] = self.apply[name] = given
            elif ours is not None and number(ours) == given:
                self.keep[name] = given
        elif not enough:
            self.keep[name] = self.apply[name] = floor
        elif given is not None or ours is not None:
            # a running value that is enough came from our own block or by hand, and does not outlive the boot without the block
            self.keep[name] = floor

    def pending(self):
        """What only a boot puts in force of what the loader is told."""
        for name, value in self.boots.items():
            now = self.running.get(name)
            guaranteed = name in self.floors and name not in self.loader and holds(name, now, value)
            if not (name in self.sysctl or same(now, value) or guaranteed):
                asked = name in self.writable
                self.needs_boot(
                    name,
                    value,
                    "set through the loader (limits_loader)"
                    if asked
                    else "a read-only tunable: only the loader sets it",
                )


def limits_plan(measured, declared, floors):
    """Decide what goes where.

    measured: what module preflight_probe returns: sysctl {name: str}, tunable, writable (lists of names), jailed, settable (by this jail), kenv {name: str}, ours {sysctl, loader:
    {name: str}}, what our block of sysctl.conf and our loader file say now, settings [{file, line, name, value}], what others' lines say,
    classes {class: int|'infinity'}, login_conf_splits (bool).
    declared: {variable: value} with limits_sysctl, limits_loader, limits_openfiles. floors: {sysctl: int} as limits_chain() returns them.

    Returns {sysctl, loader: ordered lists of [name, value] to be written; apply: [{name, before, value}] for the running kernel; guarantee:
    [{name, value, and at_most where it is a floor}] to be compared afterwards; reboot: [{name, running, wanted, reason}]; class: {openfiles,
    splits} of the login class; problems: [{id, message, mends}]}. What limits_chain() refuses is not refused again.
    """
    plan = Plan(measured, declared, floors)
    plan.boots.update({} if plan.jailed else plan.loader)
    for name, value in plan.sysctl.items():
        plan.declared(name, value)
    for name, floor in floors.items():
        if name in plan.running and name not in plan.sysctl and name not in plan.loader:
            plan.floor(name, floor)
    plan.pending()
    daemon = measured["classes"].get("daemon")
    return {
        "sysctl": [[name, plan.keep[name]] for name in in_order(plan.keep)],
        "loader": [[name, plan.boots[name]] for name in in_order(plan.boots)],
        "apply": [
            {"name": name, "before": plan.running.get(name), "value": plan.apply[name]} for name in in_order(plan.apply)
        ],
        "guarantee": [{"name": name, **plan.guarantee[name]} for name in in_order(plan.guarantee)],
        "reboot": plan.reboot,
        "class": {
            "openfiles": daemon if daemon == "infinity" else max(declared["limits_openfiles"], daemon or 0),
            "splits": measured["login_conf_splits"],
        },
        "problems": plan.problems,
    }


def limits_names(declared):
    """The sysctls that chain and plan are made of, for module preflight_probe. declared: {variable: value}."""
    names = [value.name for value in KERNEL_VALUES] + list(READ_TOO)
    return list(dict.fromkeys(names + list(declared["limits_sysctl"]) + list(declared["limits_loader"])))


def limits_classes(declared):
    """The login classes that chain and plan are made of, for module preflight_probe. declared: {variable: value}."""
    return list(dict.fromkeys(["daemon", declared["limits_login_class"]]))


class FilterModule:
    def filters(self):
        return {"limits_plan": limits_plan, "limits_names": limits_names, "limits_classes": limits_classes}
