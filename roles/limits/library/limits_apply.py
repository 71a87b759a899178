#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Put the chain of limits in force on a FreeBSD host: one transaction, one call."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

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
import subprocess

from ansible.module_utils.basic import AnsibleModule

MARK = "sokuhai limits"
ENV = dict(os.environ, LC_ALL="C", PATH="/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
# maxsockets is refused above maxfiles; a UDP socket cannot be opened while recvspace is above what maxsockbuf allows.
ORDER = ("kern.maxfiles", "kern.maxfilesperproc", "kern.ipc.maxsockets", "kern.ipc.nmbclusters", "kern.maxproc",
         "kern.maxprocperuid", "kern.ipc.soacceptqueue", "kern.ipc.maxsockbuf", "net.inet.udp.recvspace",
         "net.inet.ip.portrange.hilast", "net.inet.ip.portrange.hifirst")
# The kernel refuses a lower value at run time (uipc_socket.c, kern_mbuf.c): only a boot lowers these.
RAISE_ONLY = ("kern.ipc.maxsockets", "kern.ipc.nmbclusters")
# What boot_values() reckons with.
READ_TOO = ("hw.physmem", "kern.maxusers", "kern.maxproc", "kern.ipc.maxmbufmem")


class Refused(Exception):
    """A reason not to touch the host."""


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


def get_block(text, path, comment="#"):
    """The lines between our markers, or None. Raises Refused for a block that does not end or stands there twice."""
    begin, end = "%s BEGIN %s" % (comment, MARK), "%s END %s" % (comment, MARK)
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip() == begin]
    ends = [i for i, line in enumerate(lines) if line.strip() == end]
    if not starts and not ends:
        return None
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        raise Refused("%s: the block marked `%s` is damaged (line %s): it needs one BEGIN and one END line; restore them or remove "
                      "what is left of the block" % (path, MARK, ", ".join(str(i + 1) for i in sorted(starts + ends))))
    return lines[starts[0] + 1:ends[0]]


def set_block(text, path, body, comment="#"):
    """text with our block holding the lines body; without the block when body is empty. Removing it restores the rest as it was."""
    begin, end = "%s BEGIN %s" % (comment, MARK), "%s END %s" % (comment, MARK)
    block = get_block(text, path, comment)
    if block is None and not body:
        return text
    new = [begin] + list(body) + [end] if body else []
    if block is None:
        return text + ("" if not text or text.endswith("\n") else "\n") + "\n".join(new) + "\n"
    lines = text.splitlines()
    start = [i for i, line in enumerate(lines) if line.strip() == begin][0]
    stop = [i for i, line in enumerate(lines) if line.strip() == end][0]
    lines[start:stop + 1] = new
    return "\n".join(lines) + ("\n" if lines else "")


def parse_values(lines):
    """{name: value} of the lines of a sysctl.conf or loader.conf."""
    values = {}
    for line in lines or []:
        match = re.match(r'^\s*([A-Za-z0-9_.%-]+)\s*[=:]\s*("[^"]*"|[^#]*)', line)
        if match:
            values[match.group(1)] = match.group(2).strip().strip('"')
    return values


def boot_values(running, kenv):
    """What the kernel gives by itself at the next boot, {sysctl: int}, for the values whose rule is known.

    running: {sysctl: str}; kenv: {name: str}, the loader's environment. Rules: sys/kern/subr_param.c (maxfiles 32 for each MB,
    clamped to 64; nine tenths for one process or user), sys/kern/uipc_socket.c (maxsockets), sys/kern/kern_mbuf.c (nmbclusters),
    the rest are constants of FreeBSD 14 and 15. kern.ipc.maxsockbuf is 14's, the smaller one.
    A value somebody set by hand since the boot is not among them: it is gone after the next one.
    """
    def told(name):
        return number(kenv[name]) if name in kenv else None

    boot = {"kern.ipc.soacceptqueue": 128, "kern.ipc.maxsockbuf": 2097152, "net.inet.udp.recvspace": 42080,
            "net.inet.ip.portrange.hifirst": 49152, "net.inet.ip.portrange.hilast": 65535}
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
            errors.append("%(file)s:%(line)s sets %(name)s = %(value)s" % entry + ", role limits is to set %s: remove the line there" % wanted)
        elif wanted is None and entry["name"] in floors and not holds(entry["name"], entry["value"], floors[entry["name"]], at_most):
            errors.append("%(file)s:%(line)s sets %(name)s = %(value)s" % entry
                          + ", the chain of limits needs %s: remove the line there" % floors[entry["name"]])
    keep, boots, apply, reboot, guarantee = {}, {}, {}, [], {}

    for name, value in loader.items():
        boots[name] = value
    for name, value in sysctl.items():
        keep[name] = value
        now = running.get(name)
        if not same(now, value):
            if name in RAISE_ONLY and number(now) is not None and number(value) is not None and number(value) < number(now):
                given = boot.get(name)
                if given is not None and number(value) < given:
                    errors.append("limits_sysctl['%s'] = %s is below the %s this kernel gives itself, and it can only be raised at run "
                                  "time: declare at least %s, or leave it out" % (name, value, given, given))
                else:
                    reboot.append({"name": name, "running": now, "wanted": value, "reason": "the kernel does not lower it at run time"})
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
            if not enough or (ours is not None and (same(ours, floor) or given is None or not holds(name, given, floor, at_most))):
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
        reason = ("a read-only tunable: only the loader sets it" if name not in state["writable"]
                  else "asked for through the loader (limits_loader)")
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
    for variable, names, flag, other, there in (("limits_sysctl", sysctl, "writable", "tunable", "limits_loader"),
                                                ("limits_loader", loader, "tunable", "writable", "limits_sysctl")):
        for name in names:
            if name not in state["running"]:
                errors.append("%s['%s']: this kernel does not know it (a typing error, or a module that is not loaded)" % (variable, name))
            elif name not in state[flag]:
                errors.append("%s['%s']: " % (variable, name) + ("belongs into " + there if name in state[other] else "read-only"))
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
        "\t*)\tif [ \"$(ulimit -${_sokuhai_kind}n)\" -lt %d ]; then" % openfiles,
        "\t\t\tulimit -${_sokuhai_kind}n %d 2>/dev/null || :" % openfiles,
        "\t\tfi ;;",
        "\tesac",
        "done",
        "unset _sokuhai_kind",
    ]


def parse_limit(text, name="openfiles"):
    """Numbers (or 'infinity') in the row name of limits(1) or procstat rlimit, or None."""
    for line in text.splitlines():
        words = line.split()
        if name in words:
            found = [w if w == "infinity" else int(w) for w in words[words.index(name) + 1:] if w == "infinity" or w.isdigit()]
            return found or None
    return None


def reaches(limit, openfiles):
    return limit == "infinity" or (isinstance(limit, int) and limit >= openfiles)


def limit_in_flags(text):
    """The -n of a NAME_limits value of rc.conf, or None."""
    match = re.search(r"(?:^|\s)-[SHB]*n\s*(\d+)", text or "")
    return int(match.group(1)) if match else None


# ---- the host ----

class Host(object):
    """Files and commands; root is a directory in front of every path (tests)."""

    def __init__(self, root=""):
        self.root = root

    def path(self, name):
        return self.root + name

    def run(self, argv):
        try:
            done = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=ENV)
        except OSError as error:
            return 127, "", str(error)
        out, err = done.communicate()
        return done.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def read(self, name):
        try:
            with open(self.path(name), "rb") as handle:
                return handle.read().decode("utf-8", "surrogateescape")
        except (IOError, OSError):
            return None

    def write(self, name, text, mode=0o644):
        """Replace name atomically; None removes it. Mode and owner of an existing file are kept."""
        path = os.path.realpath(self.path(name))
        if text is None:
            os.unlink(path)
            return
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o755)
        # One name for each file: what a killed run left behind is replaced by the next one, which writes the same file.
        temporary = os.path.join(os.path.dirname(path), ".sokuhai.%s" % os.path.basename(path))
        if os.path.lexists(temporary):
            os.unlink(temporary)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, text.encode("utf-8", "surrogateescape"))
            os.fsync(handle)
            os.close(handle)
            if os.path.exists(path):
                old = os.stat(path)
                os.chown(temporary, old.st_uid, old.st_gid)
                mode = old.st_mode & 0o7777
            os.chmod(temporary, mode)
            os.rename(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

    def is_dir(self, name):
        return os.path.isdir(self.path(name))

    def mtime(self, name):
        try:
            return os.stat(self.path(name)).st_mtime_ns
        except OSError:
            return None

    def sysctls(self, names):
        values = {}
        status, out, dummy = self.run(["sysctl", "-ie"] + names)
        if status == 0:
            for line in out.splitlines():
                name, found, value = line.partition("=")
                if found and name in names:
                    values[name] = value.strip()
        for name in names:
            if name not in values:
                status, out, dummy = self.run(["sysctl", "-n", name])
                if status == 0:
                    values[name] = out.strip()
        return values

    def flagged(self, option, names, known):
        listed = set(self.run(["sysctl", "-aN" + option])[1].split())
        return [n for n in names if n in listed or (n in known and self.run(["sysctl", "-N" + option, n])[1].strip() == n)]

    def kenv(self):
        return parse_values(self.run(["kenv"])[1].splitlines())

    def rc_script(self, service):
        for directory in ("/etc/rc.d", "/usr/local/etc/rc.d"):
            text = self.read("%s/%s" % (directory, service))
            if text is not None:
                return text
        return None

    def sysrc(self, name):
        status, out, dummy = self.run(["sysrc", "-n", name])
        return out.rstrip("\n") if status == 0 else ""

    def limit_of_class(self, name):
        """openfiles of a login class as the system sees it, or None: limits(1) answers for default when the class is unknown."""
        status, out, err = self.run(["limits", "-C", name, "-n"])
        if status or "non-existent" in err:
            return None
        found = parse_limit(out)
        return found[0] if found else None

    def service_limit(self, service):
        """(soft, hard) of the running main process, or None."""
        match = re.search(r"as pid (\d+)", self.run(["service", service, "onestatus"])[1])
        if not match:
            return None
        found = parse_limit(self.run(["procstat", "rlimit", match.group(1)])[1])
        return (found[0], found[-1]) if found else None


class Apply(object):
    def __init__(self, host, params, check):
        self.host, self.params, self.check = host, params, check
        self.diff, self.did, self.writes, self.commands = [], [], [], []

    # Every decision first; self.writes and self.commands are carried out when none of them refused.
    def stage(self, name, before, after, mode=0o644):
        if before != after:
            self.writes.append((name, after, mode))
            self.diff.append({"before_header": name, "after_header": name, "before": before or "", "after": after or ""})
            self.did.append(name)

    def note(self, what, before, after):
        self.diff.append({"before_header": what, "after_header": what, "before": "%s\n" % before, "after": "%s\n" % after})
        self.did.append(what)

    def kernel(self):
        host, params = self.host, self.params
        text = host.read("/etc/sysctl.conf") or ""
        block = parse_values(get_block(text, "/etc/sysctl.conf"))
        file_name = "/boot/loader.conf.d/sokuhai.conf"
        loader_text = host.read(file_name)
        names = in_order(set(params["sysctl"]) | set(params["floors"]) | set(params["loader"]))
        running = host.sysctls(names + [n for n in READ_TOO if n not in names])
        state = {
            "running": running,
            "tunable": host.flagged("T", names, running),
            "writable": host.flagged("W", names, running),
            "kenv": host.kenv(),
            "block": block,
            "loader_file": parse_values((loader_text or "").splitlines()),
            "foreign": self.foreign(names, file_name),
        }
        self.plan = plan(params["sysctl"], params["floors"], params["loader"], params["at_most"], state)
        self.running = running
        self.stage("/etc/sysctl.conf", text, set_block(text, "/etc/sysctl.conf", ["%s=%s" % pair for pair in self.plan["sysctl"]]))
        wanted = None
        if self.plan["loader"]:
            wanted = "# Written by role limits of sokuhai: a line here is lost, limits_loader is the place.\n" + "".join(
                '%s="%s"\n' % pair for pair in self.plan["loader"])
        self.stage(file_name, loader_text, wanted)
        for name, value in self.plan["apply"]:
            self.note("running kernel: " + name, running.get(name), value)

    def foreign(self, names, own):
        found = []
        paths = ["/etc/sysctl.conf", "/etc/sysctl.conf.local", "/boot/loader.conf", "/boot/loader.conf.local"]
        folder = "/boot/loader.conf.d"
        if self.host.is_dir(folder):
            paths += sorted("%s/%s" % (folder, n) for n in os.listdir(self.host.path(folder)) if n.endswith(".conf"))
        for path in paths:
            text = self.host.read(path) if path != own else None
            if not text:
                continue
            ours = False
            for count, line in enumerate(text.splitlines(), 1):
                if line.strip() in ("# BEGIN " + MARK, "# END " + MARK):
                    ours = "BEGIN" in line
                elif not ours:
                    for name, value in parse_values([line]).items():
                        name = "kern.ipc.soacceptqueue" if name == "kern.ipc.somaxconn" else name
                        if name in names:
                            found.append({"file": path, "line": count, "name": name, "value": value})
        return found

    def login_class(self):
        host, name, path = self.host, self.params["login_class"], "/etc/login.conf"
        text = host.read(path)
        if text is None:
            raise Refused("/etc/login.conf is missing: restore it (/usr/src/usr.bin/login/login.conf)")
        outside = set_block(text, path, [])
        if re.search(r"^%s[:|]" % re.escape(name), outside, re.M):
            raise Refused("/etc/login.conf already has a class %s outside the marked block: choose another limits_login_class, or remove it"
                          % name)
        daemon = host.limit_of_class("daemon")
        if daemon == "infinity":
            value = "infinity"
        else:
            value = max(self.params["openfiles"], daemon or 0)
        both = bool(re.search(r":openfiles-(cur|max)=", outside))
        wanted = set_block(text, path, login_class_lines(name, value, both))
        self.stage(path, text, wanted)
        database, source = host.mtime(path + ".db"), host.mtime(path)
        seen = host.limit_of_class(name)
        stale = wanted != text or database is None or database < source or not reaches(seen, self.params["openfiles"])
        if stale:
            self.commands.append(["cap_mkdb", host.path(path)])
            if wanted == text:
                self.note("/etc/login.conf.db", "missing" if database is None else "older than login.conf, or without the class", "rebuilt")

    def services(self):
        for service in self.params["services"]:
            name = service["name"]
            script = self.host.rc_script(name)
            method = service["method"]
            if script is not None:
                method = "shell" if re.search(r"^\s*start_cmd=", script, re.M) else "login_class"
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
            raise Refused("rc.conf sets %s_limits with -n %s, below the %s descriptors %s is to have: remove it (sysrc -x %s_limits)"
                          % (name, limits, self.params["openfiles"], name, name))
        if now == ours:
            return
        if now and now != "daemon":
            if reaches(self.host.limit_of_class(now), self.params["openfiles"]):
                return  # a class of the operator's own that gives enough is a floor kept
            raise Refused("rc.conf sets %s = %s, a login class that gives fewer than %s descriptors: raise its openfiles (and run cap_mkdb "
                          "/etc/login.conf), or remove the line" % (key, now, self.params["openfiles"]))
        self.commands.append(["sysrc", "%s=%s" % (key, ours)])
        self.note("rc.conf: " + key, now, ours)

    def rc_shell(self, name, wanted):
        path = "/etc/rc.conf.d/" + name
        if self.host.is_dir(path):
            path += "/sokuhai"  # rc.subr reads every file of the directory
        text = self.host.read(path)
        after = set_block(text or "", path, shell_lines(self.params["openfiles"]) if wanted else [])
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
            status, dummy, err = self.host.run(["sysctl", "%s=%s" % (name, value)])
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
                wrong.append("%s is %s in the running kernel, %s is wanted%s" % (
                    name, now.get(name), value, " (%s)" % errors[name] if name in errors else ""))
        seen = self.host.limit_of_class(self.params["login_class"])
        if not reaches(seen, self.params["openfiles"]):
            wrong.append("login class %s gives %s descriptors after cap_mkdb, %s are wanted: look for openfiles-cur or openfiles-max in "
                         "/etc/login.conf" % (self.params["login_class"], seen, self.params["openfiles"]))
        return wrong

    def restart_needed(self):
        found = []
        for service in self.params["services"]:
            if self.host.rc_script(service["name"]) is not None:
                limit = self.host.service_limit(service["name"])
                if limit is not None and not reaches(limit[0], self.params["openfiles"]):
                    found.append(service["name"])
        return found


class Undo(Apply):
    """Takes away what Apply writes: by the marks in the files, not by what is declared today, so that nothing stays of earlier runs."""

    def kernel(self):
        text = self.host.read("/etc/sysctl.conf") or ""
        file_name = "/boot/loader.conf.d/sokuhai.conf"
        loader = self.host.read(file_name)
        self.held = parse_values(get_block(text, "/etc/sysctl.conf"))
        self.held.update(parse_values((loader or "").splitlines()))
        self.stage("/etc/sysctl.conf", text, set_block(text, "/etc/sysctl.conf", []))
        self.stage(file_name, loader, None)
        running = self.host.sysctls(in_order(self.held)) if self.held else {}
        self.plan = {"reboot": [{"name": name, "running": running.get(name), "wanted": None, "reason": "its own value returns at the next boot"}
                                for name in in_order(self.held)], "apply": []}

    def login_class(self):
        path = "/etc/login.conf"
        text = self.host.read(path) or ""
        wanted = set_block(text, path, [])
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
        return [service["name"] for service in self.params["services"]
                if self.did and self.host.rc_script(service["name"]) is not None and self.host.service_limit(service["name"]) is not None]


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
            services=dict(type="list", elements="dict", default=[], options=dict(
                name=dict(type="str", required=True),
                method=dict(type="str", choices=["login_class", "shell"], default="login_class"),
            )),
        ),
        supports_check_mode=True,
    )
    work = (Undo if module.params["state"] == "absent" else Apply)(Host(), module.params, module.check_mode)
    try:
        work.prepare()
    except Refused as reason:
        module.fail_json(msg="nothing was changed: %s" % reason)
    result = dict(changed=bool(work.did), diff=work.diff, changes=work.did, needs_reboot=work.plan["reboot"],
                  applied=["%s=%s" % pair for pair in work.plan["apply"]])
    if not module.check_mode:
        wrong = work.execute()
        if wrong:
            module.fail_json(msg="not in force: " + "; ".join(wrong), **result)
    result["restart_needed"] = work.restart_needed()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
