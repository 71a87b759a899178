# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The chain of limits: one place that computes every link and checks it.

Pure functions; nothing here asks a host. What the service needs is sizing.py's, where each value is set limits_plan.py's. Sources of the rules
are FreeBSD's own files, named where a rule is used.
"""

import dataclasses
import math
import pathlib
import sys

# Ansible loads a plugin by its path
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sizing
import sizing_memory
from limits_plan import conflicts, misplaced
from sizing import KERNEL_VALUES, PORT_FIRST, PORT_LAST, PORTS_PER_QUERY, holds, in_order, with_overhead
from sizing_numbers import number, same

INFINITY = "infinity"

#: subr_param.c clamps kern.maxfiles of the loader to 64 files for each MB, a file for each so many bytes.
BYTES_PER_FILE = 16384

# ---- link by link ----


class Chain:
    """The links of one host as they are looked at, one after the other, and what is wrong with them."""

    def __init__(self, measured, declared):
        self.measured, self.values = measured, measured["sysctl"]
        self.openfiles, self.declared = declared["sokuhai_openfiles"], declared
        self.sysctl, self.loader = declared["limits_sysctl"], declared["limits_loader"]
        self.explicit = {**self.loader, **self.sysctl}
        self.asked = sizing.asked_of(declared)
        self.size = sizing.sizes(self.asked)
        self.needs = self.all_needs()
        self.links, self.problems, self.floors, self.will, self.cache = [], [], {}, {}, None

    def all_needs(self):
        """{name: (value, because)}: what the service needs, and what a declared value needs of another one."""
        needs = {value.name: (value.need(self.size), value.because(self.size)) for value in KERNEL_VALUES}
        overhead = "and the kernel's own overhead in it"
        for name, given, reckoned, because in (
            ("kern.maxfiles", "kern.maxfilesperproc", int, ""),
            ("kern.ipc.maxsockbuf", "net.inet.udp.recvspace", with_overhead, f", {overhead}"),
            (
                "kern.maxfiles",
                "kern.ipc.maxsockets",
                int,
                ", and the kernel refuses it above kern.maxfiles",
            ),
        ):
            value = number(self.explicit.get(given))
            if value is not None and reckoned(value) > needs[name][0]:
                needs[name] = reckoned(value), f"{given} is declared as {value}{because}"
        return needs

    def problem(self, name, message, *ways):
        """Note what is wrong: ways are pairs (variable, value) any one of which mends it; none where only the operator can tell."""
        mends = [{"variable": variable, "value": value} for variable, value in ways]
        self.problems.append({"id": name, "message": message, "mends": mends})

    def link(self, name, label, has, will, needs, because, persists, mend="", ok=None, broken="", ways=()):
        """Add a link that holds where *will* reaches *needs*, or as *ok* says. broken, ways: the problem that it is where it does not."""
        if ok is None:
            ok = will is not None and will >= needs
        self.links.append(
            {
                "id": name,
                "name": label,
                "has": has,
                "will": will,
                "needs": needs,
                "because": because,
                "ok": bool(ok),
                "mend": "" if ok else mend,
                "persists": persists,
            }
        )
        if broken and not ok:
            self.problem(name, broken, *ways)
        return ok

    def kernel_values(self):
        for value in KERNEL_VALUES:
            name, (need, because), has = value.name, self.needs[value.name], number(self.values.get(value.name))
            if name in self.explicit:
                will = number(self.explicit[name])
            else:
                self.floors[name] = need
                will = need if self.settable(name) and (has is None or not value.holds(has, need)) else has
            self.will[name] = will
            if name in self.explicit and not self.settable(name):
                will = has
            loader = name in self.loader and name not in self.sysctl
            variable = f"limits_{'loader' if loader else 'sysctl'}['{name}']"
            ok = self.link(
                name,
                f"{name} {'<=' if value.at_most else '>='}",
                has,
                will,
                need,
                because,
                "loader" if value.loader or loader else "sysctl",
                f"{variable}: {need}" if self.settable(name) else f"the jail's host: {name}={need}",
                will is not None and value.holds(will, need),
            )
            if not ok and self.settable(name):
                self.declared_too_low(value, variable, will, need, because)
        for name, (_need, because) in self.needs.items():
            if name not in self.values:
                self.problem(
                    name,
                    f"{name}: this kernel does not know it, so it cannot guarantee what mail and DNS need of it ({because})",
                )

    def settable(self, name):
        """Whether this host can set the kernel value *name* at all, or at the next boot: a jail only what is its own."""
        return not self.measured["jailed"] or name in self.measured["settable"]

    def declared_too_low(self, value, variable, given, need, because):
        ways = [(variable, need)]
        text = (
            f"{variable} = {self.explicit[value.name]} is {'above' if value.at_most else 'below'} what is needed, {need} ({because}): "
            f"set it to {need} or remove the line"
        )
        if value.name == "kern.maxfilesperproc" and given and given > 0:
            ways.append(("sokuhai_openfiles", given))
            text = (
                f"{variable} = {given} is below sokuhai_openfiles = {need} (named, Postfix): raise the first to {need}, or lower "
                f"sokuhai_openfiles to {given}"
            )
        elif value.name == "kern.ipc.soacceptqueue" and given and given >= max(1, self.asked.listen_queue):
            ways.append(("sokuhai_process_limit", given))
            text += f", or lower sokuhai_process_limit to {given}"
        self.problem(value.name, text, *ways)

    def files_over(self):
        """What the numbers do to each other: one process, and the sockets, within all files."""
        files = self.will["kern.maxfiles"]
        need = self.needs["kern.maxfiles"][0]
        for name, because, consequence, smaller in (
            ("kern.maxfilesperproc", "or one process could use up all files", "one process could use up all files", 0),
            (
                "kern.ipc.maxsockets",
                "or the kernel refuses to set it: every socket is a file",
                "the kernel refuses sockets above files",
                self.needs["kern.ipc.maxsockets"][0],
            ),
        ):
            lower = self.will[name]
            self.link(
                f"kern.maxfiles: {name}",
                f"maxfiles >= {name.rpartition('.')[2]}",
                number(self.values.get("kern.maxfiles")),
                files,
                lower,
                because,
                "sysctl",
                f"limits_sysctl['kern.maxfiles']: {lower}",
                None not in (files, lower) and files >= lower,
            )
            # where both are declared, or the smaller one follows the larger one, the kernel value's own link says it
            if "kern.maxfiles" not in self.explicit or name in self.explicit or None in (files, lower):
                continue
            if files < lower and (not smaller or smaller > files):
                wanted = max(lower, need)
                self.problem(
                    f"kern.maxfiles: {name}",
                    f"limits_sysctl['kern.maxfiles'] = {files} is below {name} = {lower}, which this host has: {consequence}; set kern.maxfiles to {wanted}",
                    ("limits_sysctl['kern.maxfiles']", wanted),
                )

    def memory(self):
        """subr_param.c clamps the loader's value. A run-time value is not clamped, but the kernel's authors' idea of what the memory carries holds for it, too."""
        physmem = number(self.values.get("hw.physmem"))
        if not physmem:
            return
        carried, floor = physmem // BYTES_PER_FILE, self.floors.get("kern.maxfiles")
        if floor is not None and floor > carried:
            self.too_many_files(floor, carried, physmem)
        given = number(self.loader.get("kern.maxfiles"))
        if given is not None and given > carried:
            self.problem(
                "loader's clamp",
                f"limits_loader['kern.maxfiles'] = {given}: the kernel clamps the loader's value to {carried} with {physmem // 2**20} MB of memory "
                f"(64 for each MB); declare {carried}, or use limits_sysctl, which is not clamped",
                ("limits_loader['kern.maxfiles']", carried),
            )

    def too_many_files(self, floor, carried, physmem):
        megabytes = math.ceil(floor * BYTES_PER_FILE / 2**20)
        short = f"but {physmem // 2**20} MB of memory carry {carried} (64 for each MB)"
        own = sizing.maxfiles(self.size)
        if floor > own:
            per_process = number(self.explicit.get("kern.maxfilesperproc")) == floor
            cause = "kern.maxfilesperproc" if per_process else "kern.ipc.maxsockets"
            given = f"limits_{'sysctl' if cause in self.sysctl else 'loader'}['{cause}']"
            text = f"{given} = {floor} needs kern.maxfiles = {floor}, {short}: lower it to {max(carried, 1)}, or give the host {megabytes} MB"
            self.problem("memory", text, *([(given, carried)] if carried >= own else []))
            return
        # to blame is the one that alone asks for most
        lowest = sizing.Asked(openfiles=256, process_limit=1, recursive_clients=1)
        given = {name: getattr(self.asked, name) for name in ("openfiles", "process_limit", "recursive_clients")}

        def files_with(asked, **changes):
            return sizing.maxfiles(sizing.sizes(dataclasses.replace(asked, **changes)))

        wish = max(given, key=lambda name: files_with(lowest, **{name: given[name]}))
        fits = sizing.largest(lambda value: files_with(self.asked, **{wish: value}) <= carried, given[wish])
        text = f"sokuhai_{wish} = {given[wish]} needs kern.maxfiles = {floor} ({self.needs['kern.maxfiles'][1]}), {short}: "
        if fits:
            text += f"lower sokuhai_{wish} to {fits}, or give the host {megabytes} MB"
            self.problem("memory", text, (f"sokuhai_{wish}", fits))
        else:
            text += f"give the host {megabytes} MB, or lower sokuhai_openfiles, sokuhai_process_limit and sokuhai_recursive_clients"
            self.problem("memory", text)

    def source_ports(self):
        """UDP source ports as a range, whatever its two ends are."""
        clients, there = self.asked.recursive_clients, PORT_LAST - PORT_FIRST + 1
        if self.size.ports > there:
            fits = math.floor(there / PORTS_PER_QUERY)
            self.problem(
                "named: source ports",
                f"sokuhai_recursive_clients = {clients} needs {self.size.ports} UDP source ports, but there are {there} (net.inet.ip.portrange): "
                f"lower it to {fits}",
                ("sokuhai_recursive_clients", fits),
            )

        def ports(values):
            first, last = (number(values.get("net.inet.ip.portrange." + end)) for end in ("hifirst", "hilast"))
            return None if None in (first, last) else last - first + 1

        will = ports(self.will)
        if will is not None:
            self.link(
                "named: source ports",
                "UDP source ports of named",
                ports(self.values),
                will,
                self.size.ports,
                f"sokuhai_recursive_clients = {clients}: more than two ports for each outstanding query, or the six that named draws for one are "
                "all in use too often",
                "sysctl",
                "net.inet.ip.portrange.hifirst",
            )

    def granted(self, value):
        """A limit of descriptors as an int; infinity reads as kern.maxfilesperproc."""
        return self.will["kern.maxfilesperproc"] if value == INFINITY else number(value)

    def login_class(self):
        name, classes = self.declared["limits_login_class"], self.measured["classes"]
        perproc, daemon = self.will["kern.maxfilesperproc"], classes.get("daemon")
        will = perproc if daemon == INFINITY else max(self.openfiles, number(daemon) or 0)
        if None not in (perproc, will):
            will = min(will, perproc)
        self.link(
            "login class",
            f"login class {name}: openfiles >=",
            self.granted(classes.get(name)),
            will,
            self.openfiles,
            "the rc scripts start named under it; infinity reads as kern.maxfilesperproc",
            "login_class",
            "kern.maxfilesperproc",
        )

    def daemons(self):
        for service, process in self.measured["running"].items():
            if process:
                soft = self.granted(process["soft"])
                self.link(
                    f"{service}: openfiles",
                    f"{service} (pid {process['pid']}): openfiles >=",
                    soft,
                    soft,
                    self.openfiles,
                    "the limit of the running process",
                    service,
                    f"service {service} restart",
                )

    def own_openfiles(self):
        """What a role's own variable asks for beyond the shared one."""
        named, perproc = self.measured["named"], self.will["kern.maxfilesperproc"]
        for service, variable in (("named", "bind_openfiles"), ("postfix", "postfix_openfiles")):
            files, by_files = self.declared[variable], service == "named" and named["knows_files"]
            if files == self.openfiles and not by_files:
                continue  # the same link as kern.maxfilesperproc's
            because = f"{variable} = {files}"
            if by_files:
                because += f": BIND {named['version']} sets soft and hard limit to it by `files`"
            self.link(
                f"kern.maxfilesperproc: {variable}",
                f"kern.maxfilesperproc >= {variable}",
                perproc,
                perproc,
                files,
                because,
                service,
                f"{variable}: {perproc}",
                perproc is None or files <= perproc,
                f"{variable} = {files} is above kern.maxfilesperproc = {perproc}: the kernel would quietly give {perproc}; lower it to {perproc}, "
                f"or raise sokuhai_openfiles to {files} for the whole host",
                [(variable, perproc)],
            )

    def select_size(self):
        rebuild, size = self.declared["rebuild_enabled"], self.declared["sokuhai_fd_setsize"]
        self.link(
            "FD_SETSIZE",
            "openfiles >= FD_SETSIZE",
            self.openfiles,
            self.openfiles,
            size if rebuild else 1024,
            f"sokuhai_fd_setsize = {size}: the rebuild is enabled"
            if rebuild
            else "binds nothing in today's named (libuv) and Postfix (kqueue, poll): shown for completeness",
            "none",
            f"sokuhai_openfiles: {size}",
            not rebuild or self.openfiles >= size,
            f"sokuhai_openfiles = {self.openfiles} is below sokuhai_fd_setsize = {size}: select() could never see the descriptors the rebuild "
            f"makes room for; raise the first to {size}, or lower sokuhai_fd_setsize to {self.openfiles}",
            [("sokuhai_openfiles", size), ("sokuhai_fd_setsize", self.openfiles)],
        )

    def pf_states(self):
        if not self.measured["pf"]["enabled"]:
            return
        states, need = number(self.measured["pf"]["states"]), self.size.states
        clients = f"sokuhai_recursive_clients = {self.asked.recursive_clients}"
        self.link(
            "pf: states",
            "pf limit states >=",
            states,
            states,
            need,
            f"{clients} queries and the SMTP connections",
            "none",
            f"/etc/pf.conf: set limit states {need}",
            broken=f"pf is on with limit states = {states}, below {need} ({clients}, SMTP connections both ways): put `set limit states {need}` "
            "into /etc/pf.conf",
            ways=[("pf: set limit states", need)],
        )

    def capacity(self):
        """default_process_limit against memory and processors."""
        physmem, ncpu = number(self.values.get("hw.physmem")), number(self.values.get("hw.ncpu"))
        if not (physmem and ncpu):
            return
        arc = sizing_memory.arc_min(self.values, self.explicit)
        self.cache = (
            sizing_memory.cache_memory(self.asked, physmem, sizing_memory.kernel_memory(physmem, arc)) // sizing.MIB
        )
        found = sizing_memory.capacity(self.asked, physmem, ncpu, arc)
        variable, wanted = f"sokuhai_{found['field']}", getattr(self.asked, found["field"])
        limit, service = {
            "process_limit": ("default_process_limit", "postfix"),
            "recursive_clients": ("recursive-clients", "named"),
        }[found["field"]]
        self.link(
            limit,
            f"{limit} <=",
            found["most"],
            found["most"],
            wanted,
            "memory and CPUs: docs/memory.md",
            service,
            f"{variable}: {found['most']}",
            broken=found["message"],
            ways=[(variable, found["most"])] if found["most"] else [],
        )

    def jail(self):
        """What the jail's host must set: a jail has its kernel."""
        wanted = {name: floor for name, floor in self.floors.items() if not holds(name, self.values.get(name), floor)}
        wanted.update((name, value) for name, value in self.explicit.items() if not same(self.values.get(name), value))
        wanted = {name: wanted[name] for name in in_order(wanted) if not self.settable(name)}
        if not wanted:
            return
        boot = [name for name in wanted if name not in self.measured["writable"]]
        places = (
            ("/etc/sysctl.conf", [name for name in wanted if name not in boot]),
            ("/boot/loader.conf, and a reboot", boot),
        )
        self.problem(
            "jail",
            "this host is a jail and cannot set "
            + ", ".join(f"{name} (here {self.values.get(name, 'unknown')})" for name in wanted)
            + ". Set on the jail's host: "
            + "; ".join(
                f"in {place}: {', '.join(f'{name}={wanted[name]}' for name in names)}"
                for place, names in places
                if names
            ),
        )

    def placement(self):
        for text in misplaced(self.sysctl, self.loader, self.measured):
            self.problem("placement", text)
        for text in conflicts(self.measured["settings"], self.explicit, self.floors):
            self.problem("conflict", text)


def limits_chain(measured, declared):
    """The whole chain, link by link.

    measured: what the host answered (module preflight_probe): sysctl {name: str}, tunable, writable (lists of names), classes {class:
    int|'infinity'|None}, running {service: {pid, soft, hard} or None}, named {version, knows_files}, pf {enabled, states}, jailed (bool),
    settable (names that this jail may set), settings (see conflicts()).
    declared: {variable: typed value} of all roles, as preflight_declared returns them.

    Returns {links, floors, problems, cache (MiB of named's cache, None where the memory is unknown)}:
    links: [{id, name, has, will, needs, because, ok, mend, persists}], has = now, will = after role limits (unit: the sysctl's own; None =
    not there yet); persists in sysctl, loader, login_class, named, postfix, none.
    floors: {sysctl: int} to be guaranteed where nothing is declared, in the order in which they must be set.
    problems: [{id, message, mends}]; mends: [{variable, value}], any one of which mends it ([] where only the operator can tell). Raises
    nothing for a broken chain: that is what problems are for.
    """
    chain = Chain(measured, declared)
    for step in (
        chain.kernel_values,
        chain.files_over,
        chain.memory,
        chain.source_ports,
        chain.login_class,
        chain.daemons,
        chain.own_openfiles,
        chain.select_size,
        chain.pf_states,
        chain.capacity,
        chain.jail,
        chain.placement,
    ):
        step()
    return {"links": chain.links, "floors": chain.floors, "problems": chain.problems, "cache": chain.cache}


def limits_picture(chain):
    """The chain as aligned lines of text: link, has, needs, ok. chain: as limits_chain() returns it. Returns a list of str."""
    rows = [("link", "has", "needs", "")]
    for item in chain["links"]:
        has, will, needs = ("-" if item[key] is None else str(item[key]) for key in ("has", "will", "needs"))
        state = "ok" if item["ok"] else f"BROKEN: {item['mend']}"
        if item["ok"] and has != will:
            state = f"ok: role limits makes it {will}"
        rows.append((item["name"], has, needs, state))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [f"{r[0]:<{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]}".rstrip() for r in rows]


class FilterModule:
    def filters(self):
        return {"limits_chain": limits_chain, "limits_picture": limits_picture}
