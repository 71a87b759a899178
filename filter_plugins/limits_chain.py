# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The chain of limits: one place that computes every link and checks it.

Pure functions; nothing here asks a host. Sources of the rules are FreeBSD's own files, named where a rule is used:
``sys/kern/subr_param.c`` (autotuning, clamps), ``sys/kern/kern_descrip.c`` (the reserve of ``kern.maxfiles``),
``sys/kern/uipc_socket.c``, ``sys/kern/uipc_sockbuf.c``, ``sys/kern/kern_resource.c``.
"""

from __future__ import annotations

import math

INFINITY = "infinity"

# The order in which values are set. kern.ipc.maxsockets is refused above kern.maxfiles (uipc_socket.c), and a UDP socket
# cannot be opened at all while net.inet.udp.recvspace is above what kern.ipc.maxsockbuf allows (uipc_sockbuf.c).
ORDER = (
    "kern.maxfiles",
    "kern.maxfilesperproc",
    "kern.ipc.maxsockets",
    "kern.ipc.nmbclusters",
    "kern.maxproc",
    "kern.maxprocperuid",
    "kern.ipc.soacceptqueue",
    "kern.ipc.maxsockbuf",
    "net.inet.udp.recvspace",
    "net.inet.ip.portrange.hilast",
    "net.inet.ip.portrange.hifirst",
)
# Guaranteed to be *at most* the value: the lower end of a range.
AT_MOST = ("net.inet.ip.portrange.hifirst",)

# One value under two names (sys/kern/uipc_socket.c): only the second is written.
ALIASES = {"kern.ipc.somaxconn": "kern.ipc.soacceptqueue"}

# smtpd, cleanup, smtp and local can each reach default_process_limit in one burst; the rest are single processes.
PROCESSES_PER_LIMIT = 4
PROCESSES_BESIDE = 50
# Open file structures a Postfix process adds of its own (what it inherits from master counts once for all).
FILES_PER_PROCESS = 15
SOCKETS_PER_PROCESS = 8
# The system beside mail and DNS: base daemons, log files, an operator's session.
FILES_BESIDE = 2000
PROCESSES_SYSTEM = 250
# named's outstanding queries hold one socket each; a quarter more for listeners, TCP and prefetch.
NAMED_SPARE = 1.25
# named 9.20 draws a port at random for each query and answers SERVFAIL when six draws are all in use (lib/dns/dispatch.c):
# with every query outstanding that is 0.9 % at 2.2 ports a query, 26 % at 1.25 (reckoned; what was measured is in roles/bind/README.md).
PORTS_PER_QUERY = 2.2
PORT_LAST = 65535
PORT_FIRST = 1024  # IPPORT_RESERVED: in_pcb.c refuses a range below it
# A query of a stub resolver: header, name, question, EDNS, and the sender's address in the socket buffer.
QUERY_BYTES = 128
MSIZE, MCLBYTES = 256, 2048

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


def _int(value):
    """An int from an int or a string of digits, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    try:
        return int(str(value).strip().strip('"'), 0)
    except ValueError:
        return None


def _same(left, right):
    """Whether two sysctl values say the same, 0x10 and 16 included."""
    a, b = _int(left), _int(right)
    if a is not None and b is not None:
        return a == b
    return str(left).strip().strip('"') == str(right).strip().strip('"')


def holds(name, value, floor):
    """True when value keeps the guarantee floor of sysctl name."""
    return value <= floor if name in AT_MOST else value >= floor


def module_of(name):
    """The kernel module a sysctl name belongs to as far as its name tells, or None."""
    for prefix, module in MODULES:
        if name.startswith(prefix):
            return module
    return None


def needed_floors(declared):
    """What the declared service needs of the kernel.

    declared: dict with openfiles, process_limit, recursive_clients, tcp_listen_queue, udp_receive_buffer (ints; bytes).
    Returns {sysctl: (value, because)} in the order in which they must be set. Unit: as the sysctl's own.
    """
    files = declared["openfiles"]
    limit = declared["process_limit"]
    clients = declared["recursive_clients"]
    processes = PROCESSES_PER_LIMIT * limit + PROCESSES_BESIDE
    sockets_named = math.ceil(clients * NAMED_SPARE) + 1000
    opened = sockets_named + processes * FILES_PER_PROCESS + FILES_BESIDE
    # kern_descrip.c keeps a twentieth of kern.maxfiles for root; named and Postfix's daemons are not root.
    unprivileged = math.ceil(max(files, opened) * 20 / 19)
    ports = math.ceil(clients * PORTS_PER_QUERY)
    space = processes * QUERY_BYTES
    buffer = max(space, declared.get("udp_receive_buffer") or 0)
    backlog = max(limit, declared.get("tcp_listen_queue") or 0)
    return {
        "kern.maxfiles": (
            max(unprivileged, files),
            f"sokuhai_openfiles = {files} for one process, about {opened} open in all (named's {sockets_named}, "
            f"{processes} Postfix processes); a twentieth is kept for root",
        ),
        "kern.maxfilesperproc": (files, f"sokuhai_openfiles = {files} (named, Postfix)"),
        "kern.ipc.maxsockets": (
            max(files, sockets_named + processes * SOCKETS_PER_PROCESS),
            f"named's {sockets_named} for sokuhai_recursive_clients = {clients}, {processes} Postfix processes; at the least one "
            f"process full of sockets (sokuhai_openfiles = {files})",
        ),
        "kern.ipc.nmbclusters": (
            2 * clients + 4 * processes,
            f"a query and an answer for each of sokuhai_recursive_clients = {clients}, buffers of {processes} processes",
        ),
        "kern.maxproc": (
            processes + PROCESSES_SYSTEM,
            f"sokuhai_process_limit = {limit} in each of {PROCESSES_PER_LIMIT} services, and the system",
        ),
        "kern.maxprocperuid": (processes, f"sokuhai_process_limit = {limit}: the daemons all run as one user"),
        "kern.ipc.soacceptqueue": (
            backlog,
            f"the listen backlog of master (sokuhai_process_limit = {limit}) and of named's TCP listeners",
        ),
        "kern.ipc.maxsockbuf": (
            math.ceil(buffer * (MSIZE + MCLBYTES) / MCLBYTES),
            f"a UDP receive buffer of {buffer} bytes (net.inet.udp.recvspace, named's udp-receive-buffer) and the kernel's own overhead in it",
        ),
        "net.inet.udp.recvspace": (
            space,
            f"{processes} Postfix processes may ask named at the same moment; a query that finds the buffer full is lost",
        ),
        "net.inet.ip.portrange.hilast": (PORT_LAST, "the upper end of named's UDP source ports"),
        "net.inet.ip.portrange.hifirst": (
            PORT_LAST - ports + 1,
            f"{ports} UDP source ports for sokuhai_recursive_clients = {clients} outstanding queries",
        ),
    }


def placement_errors(sysctl, loader, measured):
    """Names of limits_sysctl and limits_loader that stand in the wrong file or that the kernel does not know.

    sysctl, loader: {name: value} as declared. measured: dict with unknown, tunable and writable (lists of names), as
    ``sysctl -aNT`` and ``sysctl -aNW`` answered. Returns a list of messages.
    """
    unknown = set(measured.get("unknown") or [])
    tunable = set(measured.get("tunable") or [])
    writable = set(measured.get("writable") or [])
    errors = []
    for variable, names in (("limits_sysctl", sysctl), ("limits_loader", loader)):
        for name in names:
            where = f"{variable}['{name}']"
            if name in ALIASES:
                errors.append(
                    f"{where}: {name} is the old name of {ALIASES[name]}, one value under two names: use {ALIASES[name]}"
                )
            elif name in unknown:
                module = module_of(name)
                if module:
                    errors.append(
                        f"{where}: this kernel does not know {name}: it belongs to {module}, which is not loaded; "
                        "load it first (kld_list in rc.conf), or remove the line"
                    )
                else:
                    errors.append(
                        f"{where}: this kernel does not know {name}: a typing error, or it belongs to a kernel module "
                        "that is not loaded"
                    )
            elif variable == "limits_sysctl" and name not in writable:
                if name in tunable:
                    errors.append(
                        f"{where}: {name} can be set by the loader only (a read-only tunable): put it into limits_loader; "
                        "in sysctl.conf it would be an error at every boot"
                    )
                else:
                    errors.append(f"{where}: {name} is read-only: neither sysctl.conf nor the loader can set it")
            elif variable == "limits_loader" and name not in tunable:
                if name in writable:
                    errors.append(
                        f"{where}: {name} is no loader tunable, the loader's files would be ignored without a word: "
                        "put it into limits_sysctl"
                    )
                else:
                    errors.append(f"{where}: {name} is read-only: neither sysctl.conf nor the loader can set it")
    for name in sysctl:
        if name in loader and not _same(sysctl[name], loader[name]):
            errors.append(
                f"limits_sysctl['{name}'] = {sysctl[name]} and limits_loader['{name}'] = {loader[name]} differ: "
                "give one value, or one of the two"
            )
    return errors


def conflicts(settings, declared, floors):
    """Keys that somebody else's line sets to another value.

    settings: list of {file, line, name, value} outside our own part of the files. declared: {name: value} explicitly
    declared. floors: {name: int}. A line that already gives what a floor asks for is no conflict: the host has it.
    Returns a list of messages, each with file and line.
    """
    found = []
    for entry in settings or []:
        name, value = entry["name"], entry["value"]
        place = f"{entry['file']}:{entry['line']} sets {name} = {value}"
        if name in declared:
            if not _same(value, declared[name]):
                found.append(
                    f"{place}, the inventory declares {declared[name]} (limits_sysctl or limits_loader): remove the line "
                    f"there, or declare {value}"
                )
        elif name in floors:
            number = _int(value)
            if number is None or not holds(name, number, floors[name]):
                sign = "at most" if name in AT_MOST else "at least"
                found.append(
                    f"{place}, the chain of limits needs {sign} {floors[name]}: remove the line there, or set it to "
                    f"{floors[name]}"
                )
    return found


def limits_chain(measured, declared):
    """The whole chain, link by link.

    measured: what the host answered (module preflight_probe): sysctl {name: int|str}, unknown, tunable, writable (lists of
    names), classes {class: int|'infinity'|None}, running {service: {pid, soft, hard}}, named {version, knows_files},
    pf {enabled, states}, jailed (bool), settings (see conflicts()).
    declared: openfiles, process_limit, recursive_clients, tcp_listen_queue, udp_receive_buffer, fd_setsize (ints), fd_setsize_rebuild (bool),
    own_openfiles ({variable of a role: int}), sysctl, loader ({name: value}), login_class (str), capacity (dict of postfix_capacity or None).

    Returns {links, floors, reasons, problems, about, mends}:
    links: [{name, has, will, needs, because, ok, mend, persists}], has = now, will = after role limits (unit: the
    sysctl's own; None = not there yet); persists in sysctl, loader, login_class, named, postfix, none.
    floors: {sysctl: int} to be guaranteed where nothing is declared, in the order in which they must be set.
    problems: [message]; about: for each what it is about, in a word or two; mends: for each the list of {variable, value}, any one
    of which mends it ([] where only the operator can tell). Raises nothing for a broken chain: that is what problems are for.
    """
    values = measured.get("sysctl") or {}
    sysctl = dict(declared.get("sysctl") or {})
    loader = dict(declared.get("loader") or {})
    explicit = {**loader, **sysctl}
    needs = needed_floors(declared)
    # A declared kern.maxfilesperproc above the need moves the link above it: kern.maxfiles >= kern.maxfilesperproc.
    perproc = _int(explicit.get("kern.maxfilesperproc"))
    if perproc is not None and perproc > needs["kern.maxfiles"][0]:
        needs["kern.maxfiles"] = (perproc, f"kern.maxfilesperproc is declared as {perproc}")
    if "net.inet.udp.recvspace" in explicit:
        space = _int(explicit["net.inet.udp.recvspace"]) or 0
        need = math.ceil(space * (MSIZE + MCLBYTES) / MCLBYTES)
        if need > needs["kern.ipc.maxsockbuf"][0]:
            needs["kern.ipc.maxsockbuf"] = (
                need,
                f"net.inet.udp.recvspace is declared as {space}, and the kernel's own overhead in it",
            )
    if "kern.ipc.maxsockets" in explicit:
        wanted = _int(explicit["kern.ipc.maxsockets"]) or 0
        if wanted > needs["kern.maxfiles"][0]:
            needs["kern.maxfiles"] = (
                wanted,
                f"kern.ipc.maxsockets is declared as {wanted}, and the kernel refuses it above kern.maxfiles",
            )

    links, problems, mends, about = [], [], [], []

    def problem(subject, message, *ways):
        about.append(subject)
        problems.append(message)
        mends.append([{"variable": variable, "value": value} for variable, value in ways])

    def link(name, has, will, need, because, ok, persists, mend=""):
        links.append(
            {
                "name": name,
                "has": has,
                "will": will,
                "needs": need,
                "because": because,
                "ok": bool(ok),
                "mend": "" if ok else mend,
                "persists": persists,
            }
        )

    floors, reasons = {}, {}
    effective = {}
    for name in ORDER:
        need, because = needs[name]
        has = _int(values.get(name))
        given = _int(explicit.get(name)) if name in explicit else None
        if name in explicit:
            will = given
        else:
            floors[name] = need
            reasons[name] = because
            will = need if has is None or not holds(name, has, need) else has
        effective[name] = will
        persists = "loader" if name == "kern.maxproc" or (name in loader and name not in sysctl) else "sysctl"
        variable = f"limits_loader['{name}']" if persists == "loader" and name in loader else f"limits_sysctl['{name}']"
        ok = will is not None and holds(name, will, need)
        sign = "<=" if name in AT_MOST else ">="
        link(f"{name} {sign}", has, will, need, because, ok, persists, f"{variable}: {need}")
        if ok:
            continue
        ways = [(variable, need)]
        text = (
            f"{variable} = {explicit[name]} is {'above' if name in AT_MOST else 'below'} what is needed, {need} ({because}): "
            f"set it to {need} or remove the line"
        )
        if name == "kern.maxfilesperproc" and given is not None and given > 0:
            ways.append(("sokuhai_openfiles", given))
            text = (
                f"{variable} = {given} is below sokuhai_openfiles = {need} (named, Postfix): raise the first to {need}, or lower "
                f"sokuhai_openfiles to {given}"
            )
        elif (
            name == "kern.ipc.soacceptqueue"
            and given is not None
            and given >= (declared.get("tcp_listen_queue") or 0)
            and given > 0
        ):
            ways.append(("sokuhai_process_limit", given))
            text += f", or lower sokuhai_process_limit to {given}"
        problem(name, text, *ways)

    unknown = set(measured.get("unknown") or [])
    for name in ORDER:
        if name in unknown:
            problem(
                name,
                f"{name}: this kernel does not know it, so it cannot guarantee what mail and DNS need of it ({needs[name][1]})",
            )

    # Links above the floors: what the numbers do to each other.
    maxfiles, maxsockets = effective["kern.maxfiles"], effective["kern.ipc.maxsockets"]
    for name, because in (
        ("kern.maxfilesperproc", "or one process could use up all files"),
        ("kern.ipc.maxsockets", "or the kernel refuses to set it: every socket is a file"),
    ):
        lower = effective[name]
        link(
            f"maxfiles >= {name.rpartition('.')[2]}",
            _int(values.get("kern.maxfiles")),
            maxfiles,
            lower,
            because,
            maxfiles is not None and lower is not None and maxfiles >= lower,
            "sysctl",
            f"limits_sysctl['kern.maxfiles']: {lower}",
        )
    if "kern.maxfiles" in explicit and maxfiles is not None:
        above = effective["kern.maxfilesperproc"]
        if above is not None and maxfiles < above and "kern.maxfilesperproc" not in explicit:
            problem(
                "kern.maxfiles over kern.maxfilesperproc",
                f"limits_sysctl['kern.maxfiles'] = {maxfiles} is below kern.maxfilesperproc = {above}, which this host has: one "
                f"process could use up all files; set kern.maxfiles to {max(above, needs['kern.maxfiles'][0])}",
                ("limits_sysctl['kern.maxfiles']", max(above, needs["kern.maxfiles"][0])),
            )
        if (
            maxsockets is not None
            and maxfiles < maxsockets
            and "kern.ipc.maxsockets" not in explicit
            and needs["kern.ipc.maxsockets"][0] > maxfiles
        ):
            problem(
                "kern.maxfiles over kern.ipc.maxsockets",
                f"limits_sysctl['kern.maxfiles'] = {maxfiles} is below kern.ipc.maxsockets = {maxsockets}, and the kernel refuses "
                f"sockets above files: set kern.maxfiles to {max(maxsockets, needs['kern.maxfiles'][0])}",
                ("limits_sysctl['kern.maxfiles']", max(maxsockets, needs["kern.maxfiles"][0])),
            )

    # subr_param.c clamps the loader's value to 64 files for each MB. A run-time value is not clamped, but the kernel's
    # authors' idea of what the memory carries holds for it as well.
    physmem = _int(values.get("hw.physmem"))
    if physmem:
        carried = physmem // 16384
        floor = floors.get("kern.maxfiles")
        if floor is not None and floor > carried:
            megabytes = math.ceil(floor * 16384 / 2**20)
            short = f"but {physmem // 2**20} MB of memory carry {carried} (64 for each MB)"
            own = needed_floors(declared)["kern.maxfiles"][0]
            if floor > own:
                cause = "kern.maxfilesperproc" if needs["kern.maxfiles"][0] == perproc else "kern.ipc.maxsockets"
                given = f"limits_{'sysctl' if cause in sysctl else 'loader'}['{cause}']"
                problem(
                    "memory",
                    f"{given} = {floor} needs kern.maxfiles = {floor}, {short}: lower it to {max(carried, 1)}, or give the "
                    f"host {megabytes} MB",
                    *([(given, carried)] if carried >= own else []),
                )
            else:
                # To blame is the wish that alone asks for most.
                lowest = {"openfiles": 256, "process_limit": 1, "recursive_clients": 1}
                alone = {
                    key: needed_floors({**declared, **lowest, key: declared[key]})["kern.maxfiles"][0] for key in lowest
                }
                wish = max(alone, key=alone.get)
                fits = _largest(wish, declared, carried)
                text = f"sokuhai_{wish} = {declared[wish]} needs kern.maxfiles = {floor} ({needs['kern.maxfiles'][1]}), {short}: "
                if fits:
                    problem(
                        "memory",
                        text + f"lower sokuhai_{wish} to {fits}, or give the host {megabytes} MB",
                        (f"sokuhai_{wish}", fits),
                    )
                else:
                    problem(
                        "memory",
                        text + f"give the host {megabytes} MB, or lower sokuhai_openfiles, sokuhai_process_limit and "
                        "sokuhai_recursive_clients",
                    )
        given = _int(loader.get("kern.maxfiles")) if "kern.maxfiles" in loader else None
        if given is not None and given > carried:
            problem(
                "loader's clamp",
                f"limits_loader['kern.maxfiles'] = {given}: the kernel clamps the loader's value to {carried} with "
                f"{physmem // 2**20} MB of memory (64 for each MB); declare {carried}, or use limits_sysctl, which is not clamped",
                ("limits_loader['kern.maxfiles']", carried),
            )

    # UDP source ports as a range, whatever its two ends are.
    first, last = effective["net.inet.ip.portrange.hifirst"], effective["net.inet.ip.portrange.hilast"]
    wanted = math.ceil(declared["recursive_clients"] * PORTS_PER_QUERY)
    if wanted > PORT_LAST - PORT_FIRST + 1:
        fits = math.floor((PORT_LAST - PORT_FIRST + 1) / PORTS_PER_QUERY)
        problem(
            "UDP source ports",
            f"sokuhai_recursive_clients = {declared['recursive_clients']} needs {wanted} UDP source ports, but there are "
            f"{PORT_LAST - PORT_FIRST + 1} (net.inet.ip.portrange): lower it to {fits}",
            ("sokuhai_recursive_clients", fits),
        )
    if first is not None and last is not None:
        link(
            "UDP source ports of named",
            _ports(values),
            last - first + 1,
            wanted,
            f"sokuhai_recursive_clients = {declared['recursive_clients']}: more than two ports for each outstanding query, or the six that "
            "named draws for one are all in use too often",
            last - first + 1 >= wanted,
            "sysctl",
            "net.inet.ip.portrange.hifirst",
        )

    # The services' own limits.
    perproc = effective["kern.maxfilesperproc"]
    name = declared.get("login_class") or "daemon"
    classes = measured.get("classes") or {}
    for label, value in ((name, classes.get(name)), ("daemon", classes.get("daemon"))):
        if label == "daemon" and label != name:
            continue
        number = perproc if value == INFINITY else _int(value)
        daemon = classes.get("daemon")
        will = perproc if daemon == INFINITY else max(declared["openfiles"], _int(daemon) or 0)
        if perproc is not None and will is not None:
            will = min(will, perproc)
        link(
            f"login class {label}: openfiles >=",
            number,
            will,
            declared["openfiles"],
            "the rc scripts start named under it; infinity reads as kern.maxfilesperproc",
            will is not None and will >= declared["openfiles"],
            "login_class",
            "kern.maxfilesperproc",
        )
    for service, variable in (("named", "named"), ("postfix", "postfix")):
        process = (measured.get("running") or {}).get(service)
        if not process:
            continue
        soft = perproc if process.get("soft") == INFINITY else _int(process.get("soft"))
        link(
            f"{service} (pid {process.get('pid')}): openfiles >=",
            soft,
            soft,
            declared["openfiles"],
            "the limit of the running process",
            soft is not None and soft >= declared["openfiles"],
            variable,
            f"service {service} restart",
        )
    # What a role's own variable asks for beyond the shared one.
    named = measured.get("named") or {}
    for variable, files in (declared.get("own_openfiles") or {}).items():
        if files == declared["openfiles"] and not (variable == "bind_openfiles" and named.get("knows_files")):
            continue  # the same link as kern.maxfilesperproc's
        ok = perproc is None or files <= perproc
        because = f"{variable} = {files}"
        if variable == "bind_openfiles" and named.get("knows_files"):
            because += f": BIND {named.get('version')} sets soft and hard limit to it by `files`"
        link(
            f"kern.maxfilesperproc >= {variable}",
            perproc,
            perproc,
            files,
            because,
            ok,
            "named" if variable[0] == "b" else "postfix",
            f"{variable}: {perproc}",
        )
        if not ok:
            problem(
                variable,
                f"{variable} = {files} is above kern.maxfilesperproc = {perproc}: the kernel would quietly give {perproc}; "
                f"lower it to {perproc}, or raise sokuhai_openfiles to {files} for the whole host",
                (variable, perproc),
            )
    rebuild = bool(declared.get("fd_setsize_rebuild"))
    size = declared.get("fd_setsize") or 1024
    link(
        "openfiles >= FD_SETSIZE",
        declared["openfiles"],
        declared["openfiles"],
        size if rebuild else 1024,
        f"sokuhai_fd_setsize = {size}: the rebuild is wanted"
        if rebuild
        else "binds nothing in today's named (libuv) and Postfix (kqueue, poll): shown for completeness",
        not rebuild or declared["openfiles"] >= size,
        "none",
        f"sokuhai_openfiles: {size}",
    )
    if rebuild and declared["openfiles"] < size:
        problem(
            "FD_SETSIZE",
            f"sokuhai_openfiles = {declared['openfiles']} is below sokuhai_fd_setsize = {size}: select() could never see the "
            f"descriptors the rebuild makes room for; raise the first to {size}, or lower sokuhai_fd_setsize to "
            f"{declared['openfiles']}",
            ("sokuhai_openfiles", size),
            ("sokuhai_fd_setsize", declared["openfiles"]),
        )

    pf = measured.get("pf") or {}
    if pf.get("enabled"):
        states = _int(pf.get("states"))
        need = declared["recursive_clients"] + 2 * declared["process_limit"]
        ok = states is not None and states >= need
        link(
            "pf limit states >=",
            states,
            states,
            need,
            f"sokuhai_recursive_clients = {declared['recursive_clients']} queries and the SMTP connections",
            ok,
            "none",
            f"/etc/pf.conf: set limit states {need}",
        )
        if not ok:
            problem(
                "pf limit states",
                f"pf is on with limit states = {states}, below {need} (sokuhai_recursive_clients = "
                f"{declared['recursive_clients']}, SMTP connections both ways): put `set limit states {need}` into /etc/pf.conf",
                ("pf: set limit states", need),
            )

    capacity = declared.get("capacity")
    if capacity:
        link(
            "default_process_limit <=",
            capacity.get("max_process_limit"),
            capacity.get("max_process_limit"),
            declared["process_limit"],
            "memory and CPUs, by the estimate of postfix_capacity",
            capacity.get("ok"),
            "postfix",
            f"sokuhai_process_limit: {capacity.get('max_process_limit')}",
        )
        if not capacity.get("ok"):
            best = capacity.get("max_process_limit")
            problem(
                "default_process_limit", capacity.get("message"), *([("sokuhai_process_limit", best)] if best else [])
            )

    if measured.get("jailed"):
        short = [n for n in floors if _int(values.get(n)) is None or not holds(n, _int(values[n]), floors[n])]
        if short or explicit:
            problem(
                "jail",
                "this host is a jail, and a jail cannot set the kernel's values: "
                + ", ".join(short or sorted(explicit))
                + "; set them on the host of the jail (role limits there)",
            )

    for text in placement_errors(sysctl, loader, measured):
        problem("placement", text)
    for text in conflicts(measured.get("settings"), explicit, floors):
        problem("conflict", text)
    return {"links": links, "floors": floors, "reasons": reasons, "problems": problems, "about": about, "mends": mends}


def _ports(values):
    first, last = _int(values.get("net.inet.ip.portrange.hifirst")), _int(values.get("net.inet.ip.portrange.hilast"))
    return None if first is None or last is None else last - first + 1


def _largest(wish, declared, carried):
    """The largest value of declared[wish] whose kern.maxfiles floor is at most carried, or None when even the rest is too much."""
    low, high = 0, declared[wish]
    while low < high:
        middle = (low + high + 1) // 2
        if needed_floors({**declared, wish: middle})["kern.maxfiles"][0] <= carried:
            low = middle
        else:
            high = middle - 1
    return low or None


def _number(value):
    return "-" if value is None else str(value)


def limits_picture(chain):
    """The chain as aligned lines of text: link, has, needs, ok. chain: as limits_chain() returns it. Returns a list of str."""
    rows = [("link", "has", "needs", "")]
    for item in chain["links"]:
        now = item["has"]
        state = "ok" if item["ok"] else "BROKEN"
        if item["ok"] and now != item["will"]:
            state = f"ok: role limits makes it {_number(item['will'])}"
        elif not item["ok"]:
            state = f"BROKEN: {item['mend']}"
        rows.append((item["name"], _number(now), _number(item["needs"]), state))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [f"{r[0]:<{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]}".rstrip() for r in rows]


class FilterModule:
    """Filters of the chain of limits."""

    def filters(self):
        return {"limits_chain": limits_chain, "limits_picture": limits_picture}
