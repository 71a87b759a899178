#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Put the chain of limits in force on a FreeBSD host: one transaction, one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: limits_apply
short_description: Kernel values, login class and rc limits, by the kernel's own flags
description:
  - Writes a marked block into /etc/sysctl.conf and /etc/login.conf, the whole of /boot/loader.conf.d/sokuhai.conf, the login class key
    of rc.conf through sysrc, and a marked block into /etc/rc.conf.d/NAME for a service whose rc script starts it past rc.subr.
  - Everything is checked before the first write. Files are replaced atomically, mode and owner kept.
  - Then sets the running kernel, and compares it with what was asked for, because rc.d/sysctl ends with status 0 on errors.
  - Every step follows from what is on the host, so a run that was killed is finished by the next one.
options:
  state:
    description: absent takes away everything that present writes. The running kernel keeps its values until the next boot.
    type: str
    choices: [present, absent]
    default: present
  sysctl: {description: Values declared by the operator, exact., type: dict, default: {}}
  floors: {description: Values to be guaranteed; what the host gives beyond stays., type: dict, default: {}}
  at_most: {description: Floors that are upper bounds., type: list, elements: str, default: [net.inet.ip.portrange.hifirst]}
  loader: {description: Values for the loader, on request., type: dict, default: {}}
  openfiles: {description: Descriptors guaranteed to each service., type: int, required: true}
  login_class: {description: Name of the login class., type: str, default: sokuhai}
  services:
    description: Services, and how their rc script is expected to start them while it is not installed.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the rc script., type: str, required: true}
      method: {description: login_class or shell., type: str, choices: [login_class, shell], default: login_class}
"""
RETURN = r"""
needs_reboot:
  description: Read-only tunables whose running value differs from the loader's, each {name, running, wanted, reason}.
  type: list
  returned: always
restart_needed:
  description: Running services whose descriptor limit is below openfiles.
  type: list
  returned: always
applied:
  description: Kernel values set in the running system, as name=value.
  type: list
  returned: always
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host as files
from ansible.module_utils.sokuhai import limits
from ansible.module_utils.sokuhai.blocks import get_block, set_block
from ansible.module_utils.sokuhai.host import Refused, difference
from ansible.module_utils.sokuhai.limits import LOADER_FILE, MARK, parse_values

# maxsockets is refused above maxfiles; a UDP socket cannot be opened while recvspace is above what maxsockbuf allows.
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
# The kernel refuses a lower value at run time (uipc_socket.c, kern_mbuf.c): only a boot lowers these.
RAISE_ONLY = ("kern.ipc.maxsockets", "kern.ipc.nmbclusters")
# What boot_values() reckons with.
READ_TOO = ("hw.physmem", "kern.maxusers", "kern.maxproc", "kern.ipc.maxmbufmem")


# ---- pure ----


def number(value):
    """An int from a sysctl value, or None."""
    try:
        return int(str(value).strip().strip('"'), 0)
    except ValueError:
        return None


def same(left, right):
    a, b = number(left), number(right)
    if a is not None and b is not None:
        return a == b
    return str(left).strip().strip('"') == str(right).strip().strip('"')


def holds(name, value, floor, at_most):
    """True when value keeps the floor of name."""
    value, floor = number(value), number(floor)
    if value is None or floor is None:
        return False
    return value <= floor if name in at_most else value >= floor


def in_order(names):
    """ORDER first, the rest by name."""
    return [n for n in ORDER if n in names] + sorted(n for n in names if n not in ORDER)


def boot_values(running, kenv):
    """What the kernel gives by itself at the next boot, {sysctl: int}, for the values whose rule is known.

    running: {sysctl: str}; kenv: {name: str}, the loader's environment. Rules: sys/kern/subr_param.c (maxfiles 32 for each MB,
    clamped to 64; nine tenths for one process or user), sys/kern/uipc_socket.c (maxsockets), sys/kern/kern_mbuf.c (nmbclusters),
    the rest are constants of FreeBSD 14 and 15. kern.ipc.maxsockbuf is 14's, the smaller one.
    A value somebody set by hand since the boot is not among them: it is gone after the next one.
    """

    def told(name):
        return number(kenv[name]) if name in kenv else None

    boot = {
        "kern.ipc.soacceptqueue": 128,
        "kern.ipc.maxsockbuf": 2097152,
        "net.inet.udp.recvspace": 42080,
        "net.inet.ip.portrange.hifirst": 49152,
        "net.inet.ip.portrange.hilast": 65535,
    }
    physmem, users = number(running.get("hw.physmem")), number(running.get("kern.maxusers"))
    if physmem:
        kilobytes = physmem // 1024
        files = told("kern.maxfiles") or max(40 + 32 * (users or 0), kilobytes // 32)
        boot["kern.maxfiles"] = min(files, kilobytes // 16)
        boot["kern.maxfilesperproc"] = told("kern.maxfilesperproc") or boot["kern.maxfiles"] // 10 * 9
        boot["kern.ipc.maxsockets"] = max(told("kern.ipc.maxsockets") or 0, boot["kern.maxfiles"])
    memory = number(running.get("kern.ipc.maxmbufmem"))
    if memory:
        boot["kern.ipc.nmbclusters"] = told("kern.ipc.nmbclusters") or memory // 2048 // 4
    if physmem and users:
        # subr_param.c: 20 + 16 * maxusers, clamped by memory; pid_max (99999) is above what maxusers can ask for
        boot["kern.maxproc"] = min(told("kern.maxproc") or 20 + 16 * users, physmem // 1024 // 48)
    processes = number(running.get("kern.maxproc"))
    if processes:
        boot["kern.maxprocperuid"] = processes * 9 // 10
    return boot


def plan(sysctl, floors, loader, at_most, state):
    """Decide what goes where.

    state: {running, tunable, writable, kenv, block ({name: value} in our sysctl.conf block), loader_file (the same of our loader
    file), foreign ([{file, line, name, value}])}.
    Returns {sysctl: ordered list of (name, value), loader: the same, apply: [(name, value)] for the running kernel,
    reboot: [{name, running, wanted, reason}], guarantee: {name: (value, exact)} to be compared afterwards}.
    Raises Refused, with every reason, before anything is written.
    """
    # what the loader will say then: its words of today, less our own file's of today, and our own file's to be
    told = {name: value for name, value in state["kenv"].items() if name not in state["loader_file"]}
    running, boot = state["running"], boot_values(state["running"], dict(told, **loader))
    errors = misplaced(sysctl, loader, state)
    foreign = {}
    for entry in state["foreign"]:
        foreign.setdefault(entry["name"], entry)  # sysctl.conf comes first in the list and has the last word at boot
        wanted = sysctl.get(entry["name"], loader.get(entry["name"]))
        if wanted is not None and not same(wanted, entry["value"]):
            errors.append(
                "%(file)s:%(line)s sets %(name)s = %(value)s" % entry
                + ", role limits is to set %s: remove the line there" % wanted
            )
        elif (
            wanted is None
            and entry["name"] in floors
            and not holds(entry["name"], entry["value"], floors[entry["name"]], at_most)
        ):
            errors.append(
                "%(file)s:%(line)s sets %(name)s = %(value)s" % entry
                + ", the chain of limits needs %s: remove the line there" % floors[entry["name"]]
            )
    keep, boots, apply, reboot, guarantee = {}, {}, {}, [], {}

    for name, value in loader.items():
        boots[name] = value
    for name, value in sysctl.items():
        keep[name] = value
        now = running.get(name)
        if not same(now, value):
            if (
                name in RAISE_ONLY
                and number(now) is not None
                and number(value) is not None
                and number(value) < number(now)
            ):
                given = boot.get(name)
                if given is not None and number(value) < given:
                    errors.append(
                        "limits_sysctl['%s'] = %s is below the %s this kernel gives itself, and it can only be raised at run "
                        "time: declare at least %s, or leave it out" % (name, value, given, given)
                    )
                else:
                    reboot.append(
                        {
                            "name": name,
                            "running": now,
                            "wanted": value,
                            "reason": "the kernel does not lower it at run time",
                        }
                    )
                continue
            apply[name] = value
        guarantee[name] = (value, True)

    for name, floor in floors.items():
        if name in sysctl or name in loader:
            continue
        if name not in running:
            errors.append("%s: this kernel does not know it" % name)
            continue
        now, ours = running[name], state["block"].get(name)
        enough = holds(name, now, floor, at_most)
        if name in state["writable"]:
            guarantee[name] = (floor, False)
            given = boot.get(name)
            if name in foreign:  # it gives enough, or an error stands above
                if not enough:
                    apply[name] = number(foreign[name]["value"])
                continue
            if given is not None and holds(name, given, floor, at_most):
                # The next boot gives enough. A running value below the floor was lowered by hand, or the rule above is not this
                # kernel's: what the boot gives is written down then, and stays written, so that both cases end well.
                if not enough:
                    keep[name] = apply[name] = given
                elif ours is not None and number(ours) == given:
                    keep[name] = given
            else:
                # A running value that is enough came from our own block or by hand, and does not outlive the boot without the block.
                unknown = given is None
                if not enough:
                    keep[name] = apply[name] = floor
                elif not unknown or ours is not None:
                    keep[name] = floor
        elif name in state["tunable"]:
            if name in foreign:
                continue
            # The same for what only the loader sets: a line of exactly the floor stays, in case the rule is not this kernel's.
            ours, given = state["loader_file"].get(name), boot.get(name)
            if not enough or (
                ours is not None and (same(ours, floor) or given is None or not holds(name, given, floor, at_most))
            ):
                boots[name] = floor
        else:
            if not enough:
                errors.append("%s = %s is read-only, and the chain of limits needs %s" % (name, now, floor))

    for name, value in boots.items():
        now = running.get(name)
        if name in sysctl or same(now, value):
            continue
        if name in floors and name not in loader and holds(name, now, value, at_most):
            continue
        reason = (
            "a read-only tunable: only the loader sets it"
            if name not in state["writable"]
            else "asked for through the loader (limits_loader)"
        )
        reboot.append({"name": name, "running": now, "wanted": value, "reason": reason})
    if errors:
        raise Refused("; ".join(errors))
    return {
        "sysctl": [(n, keep[n]) for n in in_order(keep)],
        "loader": [(n, boots[n]) for n in in_order(boots)],
        "apply": [(n, apply[n]) for n in in_order(apply)],
        "reboot": reboot,
        "guarantee": guarantee,
    }


def misplaced(sysctl, loader, state):
    """Messages for names in the wrong file, by the kernel's own flags; preflight has said so before, a role run alone has not."""
    errors = []
    for variable, names, flag, other, there in (
        ("limits_sysctl", sysctl, "writable", "tunable", "limits_loader"),
        ("limits_loader", loader, "tunable", "writable", "limits_sysctl"),
    ):
        for name in names:
            if name not in state["running"]:
                errors.append(
                    "%s['%s']: this kernel does not know it (a typing error, or a module that is not loaded)"
                    % (variable, name)
                )
            elif name not in state[flag]:
                errors.append(
                    "%s['%s']: " % (variable, name) + ("belongs into " + there if name in state[other] else "read-only")
                )
    return errors


def login_class_lines(name, value, both):
    """The login.conf entry. both: write -cur and -max too, which win over the plain key when an inherited class has them."""
    lines = ["%s:\\" % name]
    for key in ["openfiles"] + (["openfiles-cur", "openfiles-max"] if both else []):
        lines.append("\t:%s=%s:\\" % (key, value))
    return lines + ["\t:tc=daemon:"]


def shell_lines(openfiles):
    """The rc.conf.d fragment: sourced by load_rc_config in the rc script's own shell, at boot and for service(8) alike.

    Soft and hard are raised one by one, because `ulimit -n N` alone would lower a hard limit above N.
    """
    return [
        "# The rc script starts the service by its own start_cmd, past the limits(1) of rc.subr: the shell that runs it gets the limit.",
        "# It is only raised. Whoever may not raise it (service ... status as a user) goes on without.",
        "for _sokuhai_kind in H S; do",
        "\tcase $(ulimit -${_sokuhai_kind}n) in",
        "\tunlimited|infinity) ;;",
        '\t*)\tif [ "$(ulimit -${_sokuhai_kind}n)" -lt %d ]; then' % openfiles,
        "\t\t\tulimit -${_sokuhai_kind}n %d 2>/dev/null || :" % openfiles,
        "\t\tfi ;;",
        "\tesac",
        "done",
        "unset _sokuhai_kind",
    ]


def reaches(limit, openfiles):
    return limit == "infinity" or (isinstance(limit, int) and limit >= openfiles)


def limit_in_flags(text):
    """The -n of a NAME_limits value of rc.conf, or None."""
    match = re.search(r"(?:^|\s)-[SHB]*n\s*(\d+)", text or "")
    return int(match.group(1)) if match else None


# ---- the host ----


class Host(limits.Host):
    """A host whose limits can be changed."""

    def write(self, name, text, mode=0o644):
        """Replace name atomically, mode and owner of a file that is there kept; None removes it."""
        path = self.path(name)
        if text is None:
            os.unlink(os.path.realpath(path))
            return
        os.makedirs(os.path.dirname(os.path.realpath(path)), 0o755, exist_ok=True)
        files.write(path, text, None if os.path.exists(path) else mode)

    def mtime(self, name):
        """Return when name was last written, in nanoseconds, or None where it is not there."""
        try:
            return os.stat(self.path(name)).st_mtime_ns
        except OSError:
            return None

    def kenv(self):
        return parse_values(self.run(["kenv"])[1].splitlines())

    def sysrc(self, name):
        status, out, _err = self.run(["sysrc", "-n", name])
        return out.rstrip("\n") if status == 0 else ""


class Apply:
    """Decides what the host lacks, then brings it."""

    def __init__(self, host, params, check):
        self.host, self.params, self.check = host, params, check
        self.diff, self.did, self.writes, self.commands = [], [], [], []

    # Every decision first; self.writes and self.commands are carried out when none of them refused.
    def stage(self, name, before, after, mode=0o644):
        if before != after:
            self.writes.append((name, after, mode))
            self.diff.append(difference(name, before, after))
            self.did.append(name)

    def note(self, what, before, after):
        self.diff.append(difference(what, "%s\n" % before, "%s\n" % after))
        self.did.append(what)

    def kernel(self):
        host, params = self.host, self.params
        text = host.read("/etc/sysctl.conf") or ""
        block = parse_values(get_block(text, MARK, "/etc/sysctl.conf"))
        loader_text = host.read(LOADER_FILE)
        names = in_order(set(params["sysctl"]) | set(params["floors"]) | set(params["loader"]))
        running = host.sysctls(names + [n for n in READ_TOO if n not in names])
        state = {
            "running": running,
            "tunable": host.flagged("T", names, running),
            "writable": host.flagged("W", names, running),
            "kenv": host.kenv(),
            "block": block,
            "loader_file": parse_values((loader_text or "").splitlines()),
            "foreign": host.foreign(names),
        }
        self.plan = plan(params["sysctl"], params["floors"], params["loader"], params["at_most"], state)
        self.running = running
        self.stage(
            "/etc/sysctl.conf",
            text,
            set_block(text, MARK, "/etc/sysctl.conf", ["%s=%s" % pair for pair in self.plan["sysctl"]]),
        )
        wanted = None
        if self.plan["loader"]:
            wanted = (
                "# Written by role limits of sokuhai: a line here is lost, limits_loader is the place.\n"
                + "".join('%s="%s"\n' % pair for pair in self.plan["loader"])
            )
        self.stage(LOADER_FILE, loader_text, wanted)
        for name, value in self.plan["apply"]:
            self.note("running kernel: " + name, running.get(name), value)

    def login_class(self):
        host, name, path = self.host, self.params["login_class"], "/etc/login.conf"
        text = host.read(path)
        if text is None:
            raise Refused("/etc/login.conf is missing: restore it (/usr/src/usr.bin/login/login.conf)")
        outside = set_block(text, MARK, path, [])
        if re.search(r"^%s[:|]" % re.escape(name), outside, re.M):
            raise Refused(
                "/etc/login.conf already has a class %s outside the marked block: choose another limits_login_class, or remove it"
                % name
            )
        daemon = host.limit_of_class("daemon")
        if daemon == "infinity":
            value = "infinity"
        else:
            value = max(self.params["openfiles"], daemon or 0)
        both = bool(re.search(r":openfiles-(cur|max)=", outside))
        wanted = set_block(text, MARK, path, login_class_lines(name, value, both))
        self.stage(path, text, wanted)
        database, source = host.mtime(path + ".db"), host.mtime(path)
        seen = host.limit_of_class(name)
        stale = wanted != text or database is None or database < source or not reaches(seen, self.params["openfiles"])
        if stale:
            self.commands.append(["cap_mkdb", host.path(path)])
            if wanted == text:
                self.note(
                    "/etc/login.conf.db",
                    "missing" if database is None else "older than login.conf, or without the class",
                    "rebuilt",
                )

    def services(self):
        for service in self.params["services"]:
            name = service["name"]
            script = self.host.rc_script(name)
            method = service["method"]
            if script is not None:
                method = "shell" if script["start_cmd"] else "login_class"
            self.rc_class(name, method == "login_class")
            self.rc_shell(name, method == "shell")

    def rc_class(self, name, wanted):
        key, ours = name + "_login_class", self.params["login_class"]
        now = self.host.sysrc(key)
        if not wanted:
            if now == ours:
                self.commands.append(["sysrc", "-x", key])
                self.note("rc.conf: " + key, now, "")
            return
        limits = limit_in_flags(self.host.sysrc(name + "_limits"))
        if limits is not None and limits < self.params["openfiles"]:
            raise Refused(
                "rc.conf sets %s_limits with -n %s, below the %s descriptors %s is to have: remove it (sysrc -x %s_limits)"
                % (name, limits, self.params["openfiles"], name, name)
            )
        if now == ours:
            return
        if now and now != "daemon":
            if reaches(self.host.limit_of_class(now), self.params["openfiles"]):
                return  # a class of the operator's own that gives enough is a floor kept
            raise Refused(
                "rc.conf sets %s = %s, a login class that gives fewer than %s descriptors: raise its openfiles (and run cap_mkdb "
                "/etc/login.conf), or remove the line" % (key, now, self.params["openfiles"])
            )
        self.commands.append(["sysrc", "%s=%s" % (key, ours)])
        self.note("rc.conf: " + key, now, ours)

    def rc_shell(self, name, wanted):
        path = "/etc/rc.conf.d/" + name
        if self.host.is_dir(path):
            path += "/sokuhai"  # rc.subr reads every file of the directory
        text = self.host.read(path)
        after = set_block(text or "", MARK, path, shell_lines(self.params["openfiles"]) if wanted else [])
        self.stage(path, text, after or None)

    def prepare(self):
        self.kernel()
        self.login_class()
        self.services()

    def execute(self):
        """Carry out what prepare() decided. Returns messages of what did not come true."""
        wrong = []
        for name, text, mode in self.writes:
            self.host.write(name, text, mode)
        errors = {}
        for name, value in self.plan["apply"]:
            status, _out, err = self.host.run(["sysctl", "%s=%s" % (name, value)])
            if status:
                errors[name] = err.strip()
        for argv in self.commands:
            status, out, err = self.host.run(argv)
            if status:
                wrong.append("%s: %s" % (" ".join(argv), (err or out).strip()))
        now = self.host.sysctls(in_order(self.plan["guarantee"]))
        for name in in_order(self.plan["guarantee"]):
            value, exact = self.plan["guarantee"][name]
            if not (same(now.get(name), value) if exact else holds(name, now.get(name), value, self.params["at_most"])):
                wrong.append(
                    "%s is %s in the running kernel, %s is wanted%s"
                    % (name, now.get(name), value, " (%s)" % errors[name] if name in errors else "")
                )
        seen = self.host.limit_of_class(self.params["login_class"])
        if not reaches(seen, self.params["openfiles"]):
            wrong.append(
                "login class %s gives %s descriptors after cap_mkdb, %s are wanted: look for openfiles-cur or openfiles-max in "
                "/etc/login.conf" % (self.params["login_class"], seen, self.params["openfiles"])
            )
        return wrong

    def restart_needed(self):
        """Services that run with fewer descriptors than they are to have."""
        found = []
        for service in self.params["services"]:
            if self.host.rc_script(service["name"]) is not None:
                process = self.host.running(service["name"])
                if process and process["soft"] is not None and not reaches(process["soft"], self.params["openfiles"]):
                    found.append(service["name"])
        return found


class Undo(Apply):
    """Takes away what Apply writes: by the marks in the files, not by what is declared today, so that nothing stays of earlier runs."""

    def kernel(self):
        text = self.host.read("/etc/sysctl.conf") or ""
        loader = self.host.read(LOADER_FILE)
        self.held = parse_values(get_block(text, MARK, "/etc/sysctl.conf"))
        self.held.update(parse_values((loader or "").splitlines()))
        self.stage("/etc/sysctl.conf", text, set_block(text, MARK, "/etc/sysctl.conf", []))
        self.stage(LOADER_FILE, loader, None)
        running = self.host.sysctls(in_order(self.held)) if self.held else {}
        self.plan = {
            "reboot": [
                {
                    "name": name,
                    "running": running.get(name),
                    "wanted": None,
                    "reason": "its own value returns at the next boot",
                }
                for name in in_order(self.held)
            ],
            "apply": [],
        }

    def login_class(self):
        path = "/etc/login.conf"
        text = self.host.read(path) or ""
        wanted = set_block(text, MARK, path, [])
        self.stage(path, text, wanted)
        if wanted != text or (self.host.mtime(path + ".db") or 0) < (self.host.mtime(path) or 0):
            self.commands.append(["cap_mkdb", self.host.path(path)])
            if wanted == text:
                self.note("/etc/login.conf.db", "older than login.conf", "rebuilt")

    def services(self):
        for service in self.params["services"]:
            self.rc_class(service["name"], False)
            self.rc_shell(service["name"], False)

    def execute(self):
        wrong = []
        # the keys first: a service that starts meanwhile must not name a class that is gone
        for argv in sorted(self.commands, key=lambda one: one[0] != "sysrc"):
            if argv[0] == "cap_mkdb":
                for name, text, mode in self.writes:
                    if not (text is None and self.host.read(name) is None):
                        self.host.write(name, text, mode)
                self.writes = []
            status, out, err = self.host.run(argv)
            if status:
                wrong.append("%s: %s" % (" ".join(argv), (err or out).strip()))
        for name, text, mode in self.writes:
            self.host.write(name, text, mode)
        return wrong

    def restart_needed(self):
        """Services whose next start gives them another limit than they run with, by what this run took away."""
        return [
            service["name"]
            for service in self.params["services"]
            if self.did
            and self.host.rc_script(service["name"]) is not None
            and self.host.running(service["name"]) is not None
        ]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present", "absent"], default="present"),
            sysctl=dict(type="dict", default={}),
            floors=dict(type="dict", default={}),
            at_most=dict(type="list", elements="str", default=["net.inet.ip.portrange.hifirst"]),
            loader=dict(type="dict", default={}),
            openfiles=dict(type="int", required=True),
            login_class=dict(type="str", default="sokuhai"),
            services=dict(
                type="list",
                elements="dict",
                default=[],
                options=dict(
                    name=dict(type="str", required=True),
                    method=dict(type="str", choices=["login_class", "shell"], default="login_class"),
                ),
            ),
        ),
        supports_check_mode=True,
    )
    work = (Undo if module.params["state"] == "absent" else Apply)(Host(), module.params, module.check_mode)
    try:
        work.prepare()
    except Refused as reason:
        module.fail_json(msg="nothing was changed: %s" % reason)
    result = dict(
        changed=bool(work.did),
        diff=work.diff,
        changes=work.did,
        needs_reboot=work.plan["reboot"],
        applied=["%s=%s" % pair for pair in work.plan["apply"]],
    )
    if not module.check_mode:
        wrong = work.execute()
        if wrong:
            module.fail_json(msg="not in force: " + "; ".join(wrong), **result)
    result["restart_needed"] = work.restart_needed()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
