#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A kernel of one's own beside the one that runs: built, installed, booted once, judged, and only then the default."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kernel_beside
short_description: Build, install, try and keep a FreeBSD kernel without touching the one that runs
description:
  - C(plan) reads and decides; C(build) writes the kernel configuration and has make(1) build and install it under a name of its own,
    detached by daemon(8), so that it goes on when the controller is gone; C(arm) prepares one boot of it; C(judge) says after that
    boot whether it is kept; C(reject) that it is not; C(undo) takes everything back.
  - What is decided follows from what lies on the host, so a run that was killed is finished by the next one.
  - A kernel's name ends in a hash of what it is made of. So nothing is built twice, and a new one never replaces one that runs.
options:
  action: {description: What to do., type: str, required: true, choices: [plan, build, arm, judge, reject, undo]}
  name: {description: Directory in /boot of a kernel that is there already; empty for one built here., type: str, default: ""}
  ident: {description: Name of the kernel configuration and its ident., type: str, default: SOKUHAI}
  base: {description: Configuration that ours includes., type: str, default: GENERIC}
  lines: {description: Further lines of the configuration., type: list, elements: str, default: []}
  make_variables: {description: Further NAME=value arguments of make(1)., type: list, elements: str, default: []}
  fd_setsize: {description: What sys/sys/select.h of the sources has to say; 0 asks nothing., type: int, default: 0}
  source: {description: The sources., type: path, default: /usr/src}
  objects: {description: Where make(1) builds., type: path, default: /usr/obj}
  configurations: {description: Where the configuration is kept (KERNCONFDIR)., type: path, default: /root/kernels}
  jobs: {description: make -j; 0 is as many as processors and memory allow., type: int, default: 0}
  disk_objects_mib: {description: Free space a build needs where it builds., type: int, default: 6144}
  disk_boot_mib: {description: Free space a kernel with its modules needs in /boot., type: int, default: 512}
  wait: {description: Seconds that one call of C(build) waits for the build., type: int, default: 240}
  check_seconds: {description: Seconds that everything has to be there again after a trial boot., type: int, default: 180}
  trial_seconds: {description: Seconds after which an unconfirmed trial boot ends by itself., type: int, default: 900}
  script: {description: Text of the rc script of the trial boot., type: str, default: ""}
  console_access: {description: Somebody can switch the machine off and on., type: bool, default: false}
  reboot: {description: "Whether a trial boot follows, so that C(plan) refuses what C(arm) would", type: bool, default: false}
  retry: {description: Try a kernel again that failed its trial., type: bool, default: false}
  source_awaited: {description: "The sources are brought before the build; where they are not there yet, nothing is asked of them", type: bool, default: false}
  reason: {description: Why C(reject) does not keep the kernel that runs., type: str, default: ""}
author: sokuhai
"""

EXAMPLES = r"""
- name: See what there is to do
  kernel_beside:
    action: plan
"""

RETURN = r"""
plan: {description: "What is there and what there is to do", type: dict, returned: "for plan and judge"}
running: {description: "Whether a build is still under way", type: bool, returned: "for build"}
log: {description: "The log of the build", type: str, returned: "for build"}
removed: {description: "What undo took away", type: list, returned: "for undo"}
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import dns, host
from ansible.module_utils.sokuhai.host import version_key
from ansible.module_utils.sokuhai.limits import parse_swapinfo

STATE = "/var/db/sokuhai/kernel"
LOGS = "/var/log/sokuhai/kernel"
LOADER = "/boot/loader.conf.d/sokuhai-kernel.conf"
SCRIPT = "/etc/rc.d/sokuhai_trial"
NEXTBOOT = "/boot/nextboot.conf"
RECORD = "sokuhai.json"
TIMER = "/var/run/sokuhai_trial.pid"
WATCHDOG = "/var/run/sokuhai_watchdogd.pid"
#: Of the build; where rc.d/cleanvar empties at boot, since its number may be another process's by then.
BUILDER = "/var/run/sokuhai_kernel_build.pid"
#: ELF e_machine by uname -m (sys/sys/elf_common.h).
MACHINES = {"amd64": 62, "arm64": 183, "riscv": 243}
#: Drivers that register a hardware timer with watchdog(9): what attaches a handler to watchdog_list in FreeBSD 15's sys/dev.
WATCHDOGS = (
    "ichwd",
    "i6300esbwd",
    "ipmi",
    "amdsbwd",
    "viawd",
    "wdatwd",
    "wbwd",
    "ftwd",
    "itwd",
    "dwwdt",
    "aw_wdog",
    "bcmwd",
)
#: Minutes that one processor needs for GENERIC with its modules: an assumption, replaced by what the host itself took as soon as it has built one.
#: Only for the first build on a host; the next one is reckoned from what the last one took.
PROCESSOR_MINUTES = 75
#: MiB that one compiler process is given: clang needs 300 to 500 for a kernel file, the linker more, once.
JOB_MIB = 768


class Refused(Exception):
    """A reason to stop; facts go into the module's result."""

    def __init__(self, message, **facts):
        Exception.__init__(self, message)
        self.facts = facts


# ---- pure ----


def config_text(ident, base, lines):
    """The kernel configuration. KDB_UNATTENDED: a software watchdog that fires calls the debugger, and a kernel with KDB but no debugger
    behind it then prints a backtrace and goes on hanging (sys/kern/kern_clock.c, watchdog_fire); with it, the kernel panics and reboots."""
    body = ["include\t%s" % base, "ident\t%s" % ident, "options\tKDB_UNATTENDED"] + list(lines)
    return (
        "# Written by role kernel of sokuhai: a line here is lost, kernel_options is the place.\n"
        + "\n".join(body)
        + "\n"
    )


def inputs_of(params, version, machine):
    """What a kernel is made of: {name: value}, compared and hashed."""
    return {
        "configuration": config_text(params["ident"], params["base"], params["lines"]),
        "version": version,
        "machine": machine,
        "fd_setsize": params["fd_setsize"],
        "make": sorted(params["make_variables"]),
    }


def name_of(ident, inputs):
    """kernel.IDENT-HASH: kernels_autodetect of the loader finds every /boot/*/kernel, so it stands in the boot menu under this name."""
    text = json.dumps(inputs, sort_keys=True).encode()
    return "kernel.%s-%s" % (ident, hashlib.sha256(text).hexdigest()[:8])


def source_version(newvers):
    """REVISION-BRANCH of sys/conf/newvers.sh as freebsd-version(1) writes it, or None."""
    revision = re.search(r'^REVISION="([^"]+)"', newvers or "", re.M)
    branch = re.search(r'^BRANCH="([^"]+)"', newvers or "", re.M)
    return "%s-%s" % (revision.group(1), branch.group(1)) if revision and branch else None


def setsize_of(header):
    """The number that a sys/select.h gives FD_SETSIZE, or None unless exactly one line does."""
    found = re.findall(r"^[ \t]*#[ \t]*define[ \t]+FD_SETSIZE[ \t]+(\d+)[uU]?\b", header or "", re.M)
    return int(found[0]) if len(found) == 1 else None


def elf_problem(header, size, machine, read):
    """Why the loader could not load this file, or "".

    A kernel file that is empty, cut short or of another machine leaves the loader at its prompt, waiting for a hand at the console: it
    does not go back to the default kernel (seen on 15.0). So the file is judged before a boot of it is prepared.
    header: its first 64 bytes; size: of the whole; machine: e_machine or None; read(offset, count) -> bytes.
    """
    if size == 0:
        return "is empty"
    if header[:4] != b"\x7fELF" or len(header) < 64:
        return "is no ELF file"
    if header[4] != 2 or header[5] != 1:
        return "is no 64-bit little-endian ELF file"
    kind, arch = struct.unpack_from("<HH", header, 16)
    if kind not in (2, 3):
        return "is no executable (e_type %d)" % kind
    if machine is not None and arch != machine:
        return "is for another machine (e_machine %d, here %d)" % (arch, machine)
    phoff, shoff = struct.unpack_from("<QQ", header, 32)
    phsize, phnum, shsize, shnum = struct.unpack_from("<HHHH", header, 54)
    if phnum == 0 or phoff + phsize * phnum > size or shoff + shsize * shnum > size:
        return "is cut short"
    table = read(phoff, phsize * phnum)
    for index in range(phnum):
        where = index * phsize
        if struct.unpack_from("<I", table, where)[0] == 1:
            offset = struct.unpack_from("<Q", table, where + 8)[0]
            filesz = struct.unpack_from("<Q", table, where + 32)[0]
            if offset + filesz > size:
                return "is cut short"
    return ""


def embedded_config(data):
    """The configuration that INCLUDE_CONFIG_FILE put into a kernel file (what kern.conftxt says once it runs), or ""."""
    start = data.find(b"options\tCONFIG_AUTOGENERATED\n")
    if start < 0:
        return ""
    end = data.find(b"\0", start)
    return data[start : end if end > 0 else len(data)].decode("utf-8", "replace")


def ident_of(config):
    match = re.search(r"^ident\s+(\S+)", config, re.M)
    return match.group(1).strip('"') if match else ""


def says_option(text_of_file, base, option):
    """Whether a kernel configuration has an option in the end, by its lines and those of what it includes; None where a file of them is not there.

    text_of_file(name) -> its text or None; base: name of the configuration. A later line wins (config(5): options, nooptions, include).
    """
    found, whole, seen = False, True, set()

    def look(name):
        nonlocal found, whole
        text = text_of_file(name) if name not in seen else ""
        seen.add(name)
        if text is None:
            whole = False
            return
        for line in text.splitlines():
            words = line.partition("#")[0].replace('"', " ").split(None, 1)
            if len(words) < 2:
                continue
            if words[0] == "include":
                look(words[1].strip())
            elif words[0] in ("options", "nooptions") and option in [
                word.partition("=")[0] for word in words[1].replace(",", " ").split()
            ]:
                found = words[0] == "options"

    look(base)
    return found if found or whole else None


def loader_value(text, name):
    """(value, line) of the last `name=` in a loader.conf, or None."""
    found = None
    for count, line in enumerate((text or "").splitlines(), 1):
        match = re.match(r'^\s*%s\s*=\s*("([^"]*)"|\S+)' % re.escape(name), line)
        if match:
            found = (match.group(2) if match.group(2) is not None else match.group(1), count)
    return found


def listeners(sockstat):
    """{(proto, local address)} of what serves here, from sockstat -46l: no login's forwarded ports, no port given by chance.

    Not whose: an smtpd holds master's sockets today and is gone tomorrow. A command's name may have blanks in it.
    """
    found = set()
    for line in sockstat.splitlines():
        match = re.match(r"\S+\s+(.+?)\s+\d+\s+\d+\s+((?:tcp|udp)\S*)\s+(\S+)\s", line + " ")
        port = match.group(3).rpartition(":")[2] if match else ""
        if not port.isdigit() or match.group(1).startswith("sshd-sess"):
            continue
        if int(port) < (1024 if match.group(2).startswith("udp") else 49152):
            found.add((match.group(2), match.group(3)))
    return found


def jobs_for(processors, memory_mib):
    """make -j that neither swaps nor idles."""
    return max(1, min(processors, memory_mib // JOB_MIB))


def estimate(last, processors, jobs):
    """A sentence about how long a build takes, with its basis. last: seconds the last build on this host took, or None."""
    if last:
        return "about %d minutes: what the last build on this host took" % max(1, round(last / 60))
    return (
        "about %d minutes: some %d minutes of one processor, an assumption, on %d of %d at a time; the next "
        "estimate is reckoned from what this build takes"
    ) % (max(1, round(PROCESSOR_MINUTES / jobs)), PROCESSOR_MINUTES, jobs, processors)


def decide(facts):
    """What there is to do: {"build", "trial", "judge"} as truth values and {"notices"} as sentences.

    facts: name, wanted_build, there (complete and good), running and default (names in /boot), failed (reason or ""), retry, armed.
    """
    here, fallback = facts["running"] == facts["name"], facts["default"] == facts["name"]
    build = facts["wanted_build"] and not facts["there"]
    failed = bool(facts["failed"]) and not facts["retry"]
    judge = here and not build and not (fallback and facts["settled"])
    trial = not build and not here and not fallback and not failed
    return {
        "build": build,
        "judge": judge,
        "trial": trial or (build and not failed),
        "failed": failed and not here and not build,
    }


def sentence_console():
    return (
        "kernel_console_access: is false and this host has no hardware timer that watchdog(4) could use. A trial kernel that stops "
        "before rc(8) (the loader's prompt, the mountroot prompt, a hang) waits for somebody who can switch the machine off and on; "
        "then the old kernel boots. Set it to true when you can do that"
    )


# ---- the host ----

#: A directory in front of every path (tests).
ROOT = ""


def at(path):
    return ROOT + path


def run(argv, timeout=120):
    return host.run(argv, timeout)


def text_of(path):
    return host.read(at(path))


def put(path, text, mode=0o644):
    """Replace path atomically; returns whether it changed."""
    if text_of(path) == text and stat.S_IMODE(os.stat(at(path)).st_mode) == mode:
        return False
    os.makedirs(os.path.dirname(at(path)), 0o755, exist_ok=True)
    host.write(at(path), text, mode)
    return True


def remove(path):
    """Take a file away; returns whether it was there."""
    return host.remove(at(path))


def load(path):
    try:
        return json.loads(text_of(path) or "{}")
    except ValueError:
        return {}  # cut short by a kill or a full disk: as if it were not there


def sysctl(name):
    status, out, _err = run(["sysctl", "-n", name])
    return out.rstrip("\n") if status == 0 else None


def digest(path):
    return host.sha256(at(path))


def free_mib(path):
    return host.free_mib(at(path))


def alive(pidfile):
    """The process of a pid file written by daemon(8), or None."""
    try:
        pid = int((text_of(pidfile) or "").strip())
        os.kill(pid, 0)
        return pid
    except (ValueError, ProcessLookupError, PermissionError):
        return None


def stop(pidfile):
    """End the process group of a pid file's process: daemon(8), the shell below it and its sleep are one."""
    pid = alive(pidfile)
    if pid is not None:
        try:
            group = os.getpgid(pid)
            if group not in (0, 1, os.getpgid(0)):
                os.killpg(group, signal.SIGTERM)
        except ProcessLookupError:
            pass
    remove(pidfile)
    return pid is not None


def dns_answers(server):
    """Whether something at server answers a question on port 53 at all."""
    question = dns.question(0x5342, ".", "NS")
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as handle:
        handle.settimeout(3)
        try:
            handle.sendto(question, (server, 53))
            return handle.recv(4096)[:2] == question[:2]
        except OSError:
            return False


def smtp_greets(server):
    """Whether an SMTP server greets with 220 at server, port 25."""
    try:
        with socket.create_connection((server, 25), 5) as handle:
            handle.settimeout(30)
            return handle.recv(512).startswith(b"220")
    except OSError:
        return False


class Kernel:
    """One host, its kernels and the one that is wanted."""

    def __init__(self, params):
        self.p = params
        self.machine = os.uname().machine
        self.bootfile = sysctl("kern.bootfile") or "/boot/kernel/kernel"
        self.running = os.path.basename(os.path.dirname(self.bootfile))
        self.userland = run(["freebsd-version", "-u"])[1].strip()
        self.inputs = inputs_of(params, self.userland, self.machine)
        self.name = params["name"] or name_of(params["ident"], self.inputs)
        self.folder = "/boot/" + self.name
        self.file = self.folder + "/kernel"
        self.builds = not params["name"]

    # -- reading

    def record(self, folder=None):
        return load(os.path.join(folder or self.folder, RECORD))

    def problem(self, path=None):
        """What is wrong with a kernel file, or ""."""
        path = path or self.file
        try:
            size = os.stat(at(path)).st_size
            with open(at(path), "rb") as handle:

                def read(offset, count):
                    handle.seek(offset)
                    return handle.read(count)

                why = elf_problem(read(0, 64), size, MACHINES.get(self.machine), read)
        except OSError as error:
            why = "cannot be read (%s)" % error.strerror
        return "%s %s" % (path, why) if why else ""

    def loader_files(self):
        folder = "/boot/loader.conf.d"
        names = (
            sorted(name for name in os.listdir(at(folder)) if name.endswith(".conf"))
            if os.path.isdir(at(folder))
            else []
        )
        return (
            ["/boot/defaults/loader.conf", "/boot/loader.conf"]
            + [os.path.join(folder, name) for name in names]
            + ["/boot/loader.conf.local"]
        )

    def default(self, without=None):
        """The kernel of the next boot, as loader(8) reads its files; without: a file that is going to be taken away."""
        value = "kernel"
        for path in self.loader_files():
            found = loader_value(text_of(path), "kernel") if path != without else None
            if found:
                value = found[0]
        return value

    def foreign(self):
        """Why a line of ours would not decide which kernel boots, or ""."""
        for path in self.loader_files()[1:]:
            found = loader_value(text_of(path), "kernel") if path != LOADER else None
            if found and found[0] != self.name:
                return '%s:%d says kernel="%s", role kernel is to say which one boots: remove the line there' % (
                    path,
                    found[1],
                    found[0],
                )
        return ""

    def there(self):
        """Whether the wanted kernel is installed whole: the record is written last, so a broken-off install has none."""
        if not self.builds:
            return not self.problem()
        record = self.record()
        return (
            record.get("inputs") == self.inputs
            and not self.problem()
            and os.stat(at(self.file)).st_size == record.get("size")
        )

    def version(self, folder):
        return (self.record(folder).get("inputs") or {}).get("version")

    def armed(self):
        """Whether the next boot is a trial of the wanted kernel: loader and rc.d/root both take the file away once it has counted."""
        text = text_of(NEXTBOOT)
        found = loader_value(text, "kernel")
        return bool(found) and found[0] == self.name and 'nextboot_enable="NO"' not in text

    def hardware_timer(self):
        names = ["dev.%s.0.%%driver" % driver for driver in WATCHDOGS]
        for line in run(["sysctl", "-i"] + names)[1].splitlines():
            return line.partition(":")[2].strip() or line.split(".")[1]
        return ""

    def memory(self):
        """MiB of RAM and of swap."""
        return int(sysctl("hw.physmem") or 0) >> 20, parse_swapinfo(run(["swapinfo", "-k"])[1])

    def refuse_build(self):
        """Raise Refused unless a build can succeed here. Returns (jobs, processors, sentence of the estimate)."""
        if self.name in (self.running, self.default()):
            raise Refused(
                "%s/%s is missing or the kernel changed since: it runs or boots next, so it is not built over. Boot the stock kernel first "
                "(playbooks/rollback.yml --tags kernel), then build" % (self.folder, RECORD)
            )
        source = self.p["source"]
        if os.path.exists(at(source + "/Makefile.inc1")) or not self.p["source_awaited"]:
            self.refuse_source(source)
        for path, need in ((self.p["objects"], self.p["disk_objects_mib"]), ("/boot", self.p["disk_boot_mib"])):
            free = free_mib(path)
            # a build that was broken off goes on in what it has already written
            if free < need and not (path == self.p["objects"] and load(STATE + "/build.json").get("name") == self.name):
                raise Refused(
                    "%s has %d MiB free, a kernel build needs %d MiB there (kernel_disk_%s_mib)"
                    % (path, free, need, "boot" if path == "/boot" else "objects")
                )
        memory, swap = self.memory()
        if memory + swap < 1024:
            raise Refused(
                "%d MiB of memory and %d MiB of swap: the linker alone needs 1 GiB for a kernel with debug symbols"
                % (memory, swap)
            )
        processors = int(sysctl("hw.ncpu") or 1)
        jobs = self.p["jobs"] or jobs_for(processors, memory + swap // 2)
        return jobs, processors, estimate(load(STATE + "/last.json").get("seconds"), processors, jobs)

    def refuse_source(self, source):
        """Raise Refused unless the sources are this host's and give the kernel that is wanted."""
        if not os.path.exists(at(source + "/Makefile.inc1")) or not os.path.isdir(at(source + "/sys")):
            raise Refused(
                "%s: no sources of FreeBSD there. Bring exactly those of %s: on a host with base packages `pkg install -r FreeBSD-base "
                "FreeBSD-src FreeBSD-src-sys`, else `fetch https://download.freebsd.org/releases/%s/%s/src.txz && tar -C / -xpf src.txz` and then "
                "`freebsd-update fetch install`"
                % (source, self.userland, self.machine, re.sub(r"-p\d+$", "", self.userland))
            )
        found = source_version(text_of(source + "/sys/conf/newvers.sh"))
        if found != self.userland:
            raise Refused(
                "%s/sys/conf/newvers.sh says %s, this host runs %s: a kernel of other sources is not what the host was patched to. "
                "`freebsd-update fetch install` brings both to the same level where src is among its Components; base packages: `pkg "
                "upgrade -r FreeBSD-base`" % (source, found, self.userland)
            )
        if not os.path.exists(at("%s/sys/%s/conf/%s" % (source, self.machine, self.p["base"]))):
            raise Refused("kernel_base: %s/sys/%s/conf has no %s" % (source, self.machine, self.p["base"]))
        folders = [self.p["configurations"], "%s/sys/%s/conf" % (source, self.machine), source + "/sys/conf"]

        def found_in(name):
            return next(
                (text for text in (text_of(os.path.join(folder, name)) for folder in folders) if text is not None), None
            )

        mine = "\n".join(self.p["lines"])
        if (
            says_option(
                lambda name: "include %s\n%s" % (self.p["base"], mine) if name == "" else found_in(name),
                "",
                "INCLUDE_CONFIG_FILE",
            )
            is False
        ):
            raise Refused(
                "kernel_base: %s has no INCLUDE_CONFIG_FILE, by which a trial boot is proved. Add `options INCLUDE_CONFIG_FILE` to "
                "kernel_options" % self.p["base"]
            )

    def pkgbase(self):
        return run(["pkg", "info", "-e", "FreeBSD-runtime"])[0] == 0

    def stock_behind(self):
        """(whether of another release, sentence) when the stock kernel is not of the world's version, or ""; asked while another one runs.

        freebsd-update(8) looks at the files of the running kernel's ident alone. freebsd-version -k does not read loader.conf.d, so our
        kernel= there does not hide the stock one from it.
        """
        stock = run(["freebsd-version", "-k"])[1].strip()
        if not stock or stock == self.userland:
            return ""
        other = version_key(stock)[:2] != version_key(self.userland)[:2]
        mend = "pkg upgrade -r FreeBSD-base" if self.pkgbase() else "freebsd-update fetch install"
        said = "the stock kernel is %s, the world %s: " % (stock, self.userland)
        if other:
            return True, said + (
                "a world may not run under the kernel of another release. Bring a kernel of %s into /boot/kernel before the host boots "
                "it" % self.userland
            )
        return False, said + "nothing patches it while another kernel runs; after a reboot into it, run `%s`" % mend

    # -- plan

    def plan(self):
        default, record = self.default(), self.record()
        trial = record.get("trial") or {}
        facts = {
            "name": self.name,
            "wanted_build": self.builds,
            "there": self.there(),
            "running": self.running,
            "default": default,
            "failed": self.failed(trial),
            "retry": self.p["retry"],
            "settled": trial.get("result") == "kept"
            and not os.path.exists(at(SCRIPT))
            and not os.path.exists(at(STATE + "/trial.json")),
        }
        result = dict(
            decide(facts),
            name=self.name,
            running=self.running,
            default=default,
            ident=sysctl("kern.ident") or "",
            userland=self.userland,
            there=facts["there"],
            reason=facts["failed"],
            armed=self.armed(),
            notices=[],
            estimate="",
        )
        own = self.version("/boot/" + self.running)
        result["behind"] = bool(own) and version_key(own) < version_key(self.userland)
        if result["behind"]:
            result["notices"].append(
                "the running kernel %s was built from %s, the host is patched to %s: freebsd-update(8) patches only kernels that FreeBSD "
                "ships, so this one stays open until it is built anew" % (self.running, own, self.userland)
            )
        stock = self.stock_behind() if own else ""
        if stock:
            result["notices"].append(stock[1])
        if not self.builds and not facts["there"]:
            raise Refused("kernel_build: is false, and %s. Put a kernel there, or let it be built" % self.problem())
        if result["build"]:
            jobs, _processors, result["estimate"] = self.refuse_build()
            result["jobs"] = jobs
        if result["build"] and self.p["source_awaited"] and not os.path.exists(at(self.p["source"] + "/Makefile.inc1")):
            result["notices"].append("predicted: the sources are brought to %s first" % self.p["source"])
        if not result["build"] and result["trial"] and self.builds:
            result["notices"].append(
                "%s is installed beside the running kernel and waits for its trial boot" % self.name
            )
        if result["armed"] and not self.p["reboot"]:
            result["notices"].append(
                "the next boot is a trial of %s, which a broken-off run prepared: kernel_reboot=true finishes it, playbooks/rollback.yml "
                "--tags kernel calls it off" % self.name
            )
        if result["failed"]:
            result["notices"].append(
                "%s failed its trial (%s) and is not tried again: change kernel_options, or set kernel_retry=true"
                % (self.name, facts["failed"])
            )
        result["file_system"] = self.file_system()
        result["timer"] = self.hardware_timer() if result["trial"] else ""
        if result["trial"] and self.p["reboot"]:
            self.refuse_trial()  # before an hour's build, not after it
        return result

    def failed(self, trial):
        """Why this very kernel failed its trial, or ""."""
        if trial.get("result") != "failed" or self.problem() or trial.get("sha256", "") not in ("", digest(self.file)):
            return ""
        return trial.get("reason", "")

    def file_system(self):
        """Type of the file system that holds /boot."""
        lines = run(["df", "-T", "/boot"])[1].splitlines()
        return lines[-1].split()[1] if len(lines) > 1 else ""

    # -- build

    def make(self, target, jobs=None):
        argv = ["make", "-C", self.p["source"]] + (["-j%d" % jobs] if jobs else [])
        argv += [target, "KERNCONF=" + self.p["ident"], "KERNCONFDIR=" + self.p["configurations"]]
        if target == "installkernel":
            # without INSTKERNNAME the running kernel would be moved away, and a second install would delete it
            argv.append("INSTKERNNAME=" + self.name)
            if self.pkgbase():
                argv.append(
                    "DESTDIR=/"
                )  # installkernel refuses on a host of base packages otherwise; the name is ours alone
        return argv + self.p["make_variables"]

    def build(self, check):
        """One step of the build; returns {changed, running, log, ...}."""
        log, status = "%s/%s.log" % (LOGS, self.name), STATE + "/build.status"
        if self.there():
            return {"changed": False, "running": False, "log": log}
        jobs = self.refuse_build()[0]
        if check:
            return {"changed": True, "running": False, "log": log}
        if self.p["fd_setsize"]:
            header = self.p["source"] + "/sys/sys/select.h"
            found = setsize_of(text_of(header))
            if found != self.p["fd_setsize"]:
                raise Refused(
                    "%s gives FD_SETSIZE %s, %d is declared: role fd_setsize comes before role kernel"
                    % (header, found, self.p["fd_setsize"])
                )
        job, pidfile = load(STATE + "/build.json"), BUILDER
        if alive(pidfile) and job.get("name") != self.name:
            raise Refused(
                "a build of %s is under way (process %s, %s/%s.log): wait for it, or end it"
                % (job.get("name"), alive(pidfile), LOGS, job.get("name"))
            )
        if not alive(pidfile) and not (job.get("name") == self.name and os.path.exists(at(status))):
            remove(status)
            self.start(jobs, log, status, pidfile)
        until = time.monotonic() + self.p["wait"]
        while alive(pidfile) and not os.path.exists(at(status)):
            if time.monotonic() > until:
                return {"changed": True, "running": True, "log": log, "tail": self.tail(log, 1)}
            time.sleep(0.2)
        time.sleep(0.2)
        said = (text_of(status) or "killed").split()
        if said[:1] != ["0"]:
            self.discard()
            self.tidy()
            raise Refused(
                "%s of %s failed (%s). The kernel that runs is untouched. The end of %s:\n%s"
                % (
                    said[1] if len(said) > 1 else "the build",
                    self.name,
                    "status " + said[0] if said[0].isdigit() else "killed",
                    log,
                    "\n".join(self.tail(log, 25)),
                )
            )
        self.finish(job or load(STATE + "/build.json"))
        return {"changed": True, "running": False, "log": log}

    def start(self, jobs, log, status, pidfile):
        """Have daemon(8) run make: a build takes longer than a connection lasts."""
        put("%s/%s" % (self.p["configurations"], self.p["ident"]), self.inputs["configuration"])
        os.makedirs(at(LOGS), 0o755, exist_ok=True)
        quoted = [
            "; ".join(
                "echo '===> %s'; %s || { echo $? %s > %s.new; mv %s.new %s; exit 1; }"
                % (
                    target,
                    " ".join(
                        "'%s'" % word.replace("'", "'\\''")
                        for word in self.make(target, jobs if target == "buildkernel" else None)
                    ),
                    target,
                    status,
                    status,
                    status,
                )
                for target in ("buildkernel", "installkernel")
            )
        ]
        text = "#!/bin/sh\n# Written by role kernel of sokuhai: one build, detached\n"
        if self.p["objects"] != "/usr/obj":
            text += "export MAKEOBJDIRPREFIX='%s'\n" % self.p["objects"]
        text += quoted[0].replace(
            "; echo '===> installkernel'", "\necho '===> installkernel'"
        ) + "\necho 0 > %s.new; mv %s.new %s\n" % (status, status, status)
        put(STATE + "/build.sh", text, 0o700)
        put(
            STATE + "/build.json",
            json.dumps({"name": self.name, "inputs": self.inputs, "started": time.time(), "jobs": jobs}),
        )
        with open(at(log), "w", encoding="utf-8"):
            pass
        code, out, err = run(["daemon", "-f", "-p", pidfile, "-o", log, "/bin/sh", STATE + "/build.sh"])
        if code:
            raise Refused("daemon(8) could not start the build: %s" % (err or out).strip())
        until = time.monotonic() + 10
        while not alive(pidfile) and not os.path.exists(at(status)) and time.monotonic() < until:
            time.sleep(0.1)

    @staticmethod
    def tail(log, count):
        return (text_of(log) or "").splitlines()[-count:]

    def discard(self):
        """Take away what a failed install left, never a kernel that runs or boots."""
        if self.builds and self.name not in (self.running, self.default(), "kernel") and os.path.isdir(at(self.folder)):
            shutil.rmtree(at(self.folder))
            shutil.rmtree(at("/usr/lib/debug" + self.folder), ignore_errors=True)

    def finish(self, job):
        """Record what lies in /boot now: this line makes the install count."""
        why = self.problem()
        if not why:
            with open(at(self.file), "rb") as handle:
                config = embedded_config(handle.read())
            if ident_of(config) != self.p["ident"]:
                why = (
                    "%s carries no configuration (INCLUDE_CONFIG_FILE is missing in kernel_base %s)"
                    % (self.file, self.p["base"])
                    if not config
                    else "%s carries ident %s" % (self.file, ident_of(config))
                )
        if why:
            self.discard()
            self.tidy()
            raise Refused("make ended well, but %s; it is taken away again" % why)
        seconds = int(time.time() - job.get("started", time.time()))
        put(
            self.folder + "/" + RECORD,
            json.dumps(
                {
                    "inputs": self.inputs,
                    "built": True,
                    "size": os.stat(at(self.file)).st_size,
                    "sha256": digest(self.file),
                    "seconds": seconds,
                },
                indent=1,
            ),
        )
        put(STATE + "/last.json", json.dumps({"seconds": seconds, "name": self.name}))
        self.tidy()

    @staticmethod
    def tidy():
        """What the build needed; after its record, so that a killed run does not build it again."""
        for path in [STATE + "/build." + name for name in ("status", "json", "sh")] + [BUILDER]:
            remove(path)

    # -- trial

    def serving(self):
        """What serves on this host: sockets, and whether DNS and SMTP answer where they should."""
        found = listeners(run(["sockstat", "-46l"])[1])
        dns = sorted(
            {self.reachable(local) for proto, local in found if proto.startswith("udp") and local.endswith(":53")}
            - {""}
        )
        smtp = sorted(
            {self.reachable(local) for proto, local in found if proto.startswith("tcp") and local.endswith(":25")}
            - {""}
        )
        return {
            "listeners": sorted(found),
            "dns": [s for s in dns if dns_answers(s)],
            "smtp": [s for s in smtp if smtp_greets(s)],
        }

    @staticmethod
    def reachable(local):
        address = local.rpartition(":")[0].strip("[]")
        return "127.0.0.1" if address == "*" else "" if "%" in address else address

    def arm(self, check):
        """Prepare one boot of the wanted kernel. The next boot is the trial once this returns."""
        if not self.there():
            raise Refused("%s is not installed whole: nothing is booted" % self.name)
        if self.builds and digest(self.file) != self.record().get("sha256"):
            raise Refused("%s is not the file that was installed: it changed since" % self.file)
        with open(at(self.file), "rb") as handle:
            config = embedded_config(handle.read())
        if not config:
            raise Refused(
                "%s carries no configuration: a kernel with INCLUDE_CONFIG_FILE is needed to prove after the boot which one runs"
                % (self.file)
            )
        default = self.refuse_trial()
        zfs = self.file_system() == "zfs"
        if check:
            return {"changed": True, "default": default}
        if not alive(BUILDER):
            self.tidy()
        before = self.serving()
        put(
            STATE + "/trial.json",
            json.dumps(
                {
                    "name": self.name,
                    "default": default,
                    "before": before,
                    "seconds": self.p["trial_seconds"],
                    "config": config,
                }
            ),
        )
        for name in ("running", "expired"):
            remove("%s/%s" % (STATE, name))
        put(STATE + "/armed", self.name + "\n")
        put(SCRIPT, self.p["script"], 0o555)
        status, out, err = run(["nextboot", "-k", self.name])
        if status or not self.armed_now(zfs):
            self.disarm()
            raise Refused(
                "nextboot -k %s: %s. The next boot is %s, as before"
                % (self.name, (err or out).strip() or "wrote nothing", default)
            )
        return {"changed": True, "default": default, "before": before}

    def refuse_trial(self):
        """Raise Refused unless a trial boot of whatever kernel can be taken back here. Returns the kernel it goes back to."""
        default = self.default()
        why = self.foreign() or self.problem("/boot/%s/kernel" % default)
        if why:
            raise Refused(why)
        if os.path.exists(at("/var/run/noshutdown")):
            raise Refused("/var/run/noshutdown is there: shutdown(8) would refuse")
        if not (self.p["console_access"] or self.hardware_timer()):
            raise Refused(sentence_console())
        if self.file_system() == "zfs":
            self.refuse_without_environment()
        return default

    def armed_now(self, zfs):
        found = loader_value(text_of(NEXTBOOT), "kernel")
        if not found or found[0] != self.name:
            return False
        if not zfs:
            # elsewhere nextboot(8) writes no such line, and the loader would boot the trial kernel again and again
            return self.armed() and 'nextboot_enable="YES"' in text_of(NEXTBOOT)
        # on ZFS the loader cannot write the file back: the flag in the pool's boot area is what makes it count once (sbin/reboot/reboot.c)
        status, out, _err = run(["zfsbootcfg", "-p"])
        return status == 0 and "nextboot_enable" in out

    def refuse_without_environment(self):
        status, out, err = run(["bectl", "list", "-H"])
        rows = [line.split("\t") for line in out.splitlines() if line.strip()]
        if status:
            raise Refused("/boot is on ZFS and bectl does not answer: %s" % err.strip())
        if not any(len(row) > 1 and "N" not in row[1] for row in rows):
            raise Refused(
                "/boot is on ZFS and there is no boot environment to return to: `bectl create before-%s`" % self.name
            )

    def disarm(self):
        """No trial from here on: the timer first, so that nothing reboots what is judged good."""
        gone = remove(STATE + "/running")
        gone = remove(STATE + "/armed") or gone
        gone = stop(TIMER) or gone
        gone = stop(WATCHDOG) or gone
        if (loader_value(text_of(NEXTBOOT), "kernel") or ("",))[0] == self.name:
            run(["nextboot", "-D"])
            gone = True
        gone = remove(SCRIPT) or gone
        for name in ("trial.json", "expired"):
            gone = remove("%s/%s" % (STATE, name)) or gone
        return gone

    def wrong(self, trial):
        """What does not work under the kernel that runs now; [] when everything does."""
        problems = []
        with open(at(self.file), "rb") as handle:
            config = embedded_config(handle.read())
        ident = run(["uname", "-i"])[1].strip()
        if ident != ident_of(config):
            problems.append("uname -i says %s, the kernel's configuration %s" % (ident, ident_of(config)))
        if (sysctl("kern.conftxt") or "").strip() != config.strip():
            problems.append("kern.conftxt is not the configuration that lies in %s" % self.file)
        before = trial.get("before") or {}
        now = self.serving()
        missing = sorted(set(map(tuple, before.get("listeners", []))) - set(map(tuple, now["listeners"])))
        problems += ["nothing listens on %s %s" % row for row in missing]
        problems += ["no answer from the name server at %s" % s for s in before.get("dns", []) if s not in now["dns"]]
        problems += [
            "no greeting from the mail server at %s" % s for s in before.get("smtp", []) if s not in now["smtp"]
        ]
        return problems

    def judge(self, check):
        """Keep the kernel that runs when it is the wanted one and everything that served before serves again."""
        trial = load(STATE + "/trial.json")
        trial = trial if trial.get("name") == self.name else {}
        if self.running != self.name:
            return self.lost(trial, check)
        until = time.monotonic() + self.p["check_seconds"]
        problems = self.wrong(trial)
        while problems and time.monotonic() < until:
            time.sleep(2)
            problems = self.wrong(trial)
        if problems:
            self.give_up("; ".join(problems), check)
        if os.path.exists(at(STATE + "/running")) and not alive(TIMER):
            raise Refused(
                "the trial's time ran out while it was judged: the host reboots into the old kernel; kernel_trial_seconds is too short"
            )
        why = self.foreign()
        if why:
            raise Refused(why, return_needed=True)
        if check:
            return {"changed": True, "kept": True}
        changed = self.disarm()
        changed = (
            put(
                LOADER,
                '# Written by role kernel of sokuhai: a kernel that has booted and served.\nkernel="%s"\n' % self.name,
            )
            or changed
        )
        changed = self.mark("kept", "") or changed
        return {"changed": bool(changed), "kept": True, "removed": self.sweep()}

    def reject(self, check):
        """Do not keep the kernel that runs: the playbook's own tasks failed under it. Always raises Refused."""
        if self.running != self.name:
            self.lost(load(STATE + "/trial.json"), check)
            raise Refused(self.p["reason"])
        self.give_up(self.p["reason"], check)

    def give_up(self, why, check):
        """Remember why the kernel that runs is not kept, and raise Refused."""
        if not check:
            self.mark("failed", why)
            # the timer goes on: it takes the host back where the play no longer can
            for path in (SCRIPT, STATE + "/trial.json"):
                remove(path)
        raise Refused(
            "%s runs, but: %s. It is not kept, the next boot is %s" % (self.name, why, self.default()),
            return_needed=self.default() != self.name,
        )

    def lost(self, trial, check):
        """The host came back with another kernel than the one tried."""
        if not trial:
            return {"changed": False, "kept": False}
        if self.armed():
            raise Refused("%s was to be booted, but the host has not rebooted yet" % self.name)
        if os.path.exists(at(STATE + "/expired")):
            why = (
                "nobody confirmed it within %d seconds: no way to it over the network, or it hung after rc(8) had begun"
                % trial.get("seconds", 0)
            )
        elif os.path.exists(at(STATE + "/running")):
            why = "it came as far as rc(8), then panicked or was reset"
        else:
            why = "it never came as far as rc(8): it panicked, or was reset while it hung"
        if not check:
            self.mark("failed", why)
            self.disarm()
        raise Refused(
            "%s failed its trial: %s. The host runs %s again, and boots it from now on" % (self.name, why, self.running)
        )

    def mark(self, result, reason):
        record = self.record()
        # of which file: one that was put in its place since is another kernel
        wanted = {"result": result, "reason": reason, "sha256": digest(self.file)}
        if record.get("trial") == wanted:
            return False
        record["trial"] = wanted
        return put(self.folder + "/" + RECORD, json.dumps(record, indent=1))

    def leftovers(self):
        """Clear what a trial left that no run judged (the controller was killed): it is tried again."""
        if self.running != self.name and not self.armed() and os.path.exists(at(STATE + "/trial.json")):
            return self.disarm()
        return False

    def sweep(self, spare=()):
        """Take away kernels of ours that neither run nor boot."""
        gone, keep = [], {self.running, self.default(), "kernel", "kernel.old"} | set(spare)
        for name in sorted(os.listdir(at("/boot"))):
            folder = "/boot/" + name
            if (
                name not in keep
                and os.path.isdir(at(folder))
                and not os.path.islink(at(folder))
                and self.record(folder).get("built")
            ):
                shutil.rmtree(at(folder))
                shutil.rmtree(at("/usr/lib/debug" + folder), ignore_errors=True)
                gone.append(folder)
        return gone

    # -- back

    def undo(self, check):
        """The stock kernel boots again; what this role wrote is gone, but for a kernel of ours that still runs."""
        gone, notes = [], []
        for name in sorted(os.listdir(at("/boot"))):
            if load("/boot/%s/%s" % (name, RECORD)):
                gone += ["/boot/%s/%s" % (name, RECORD)] if not self.record("/boot/" + name).get("built") else []
        paths = [
            path
            for path in (LOADER, SCRIPT, "%s/%s" % (self.p["configurations"], self.p["ident"]))
            if os.path.exists(at(path))
        ]
        state = os.path.isdir(at(STATE))
        own = [name for name in sorted(os.listdir(at("/boot"))) if self.record("/boot/" + name).get("built")]
        builder = alive(BUILDER)
        if builder:
            raise Refused("a kernel build is under way (process %d): wait for it, or end it" % builder)
        returns = self.default(without=LOADER)
        why = self.problem("/boot/%s/kernel" % returns)
        if why and LOADER in paths:
            raise Refused(
                "%s, and it is what would boot without %s: nothing was changed, mend it first" % (why, LOADER)
            )
        if self.running != returns:
            notes.append(
                "%s runs until the next boot, which is %s's; reboot%s"
                % (self.running, returns, ", then run this once more to remove it" if self.running in own else "")
            )
        if returns in own:
            notes.append('%s stays: a file other than %s says kernel="%s"' % (returns, LOADER, returns))
        stock = self.stock_behind() if self.running != returns else ""
        warnings = [stock[1]] if stock and stock[0] else []
        notes += [stock[1]] if stock and not stock[0] else []
        removable = ["/boot/" + name for name in own if name not in (self.running, returns)]
        text = text_of("%s/%s" % (self.p["configurations"], self.p["ident"]))
        if text is not None and "role kernel of sokuhai" not in text:
            paths.remove("%s/%s" % (self.p["configurations"], self.p["ident"]))
        todo = gone + paths + removable + ([STATE] if state else [])
        if check or not todo:
            return {"changed": bool(todo), "removed": todo, "notes": notes, "loud": warnings}
        stop(TIMER)
        stop(WATCHDOG)
        found = loader_value(text_of(NEXTBOOT), "kernel")
        if found and (found[0] in own or found[0] == self.name):
            run(["nextboot", "-D"])
        for path in gone + paths:
            remove(path)
        # judged after the loader's file is gone: what is left of the default is the host's own
        if self.problem("/boot/%s/kernel" % self.default()):
            notes.append(self.problem("/boot/%s/kernel" % self.default()) + ": see to it before the next boot")
        for folder in removable:
            shutil.rmtree(at(folder))
            shutil.rmtree(at("/usr/lib/debug" + folder), ignore_errors=True)
        shutil.rmtree(at(STATE), ignore_errors=True)
        return {"changed": True, "removed": todo, "notes": notes, "loud": warnings}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            action=dict(type="str", required=True, choices=["plan", "build", "arm", "judge", "reject", "undo"]),
            name=dict(type="str", default=""),
            ident=dict(type="str", default="SOKUHAI"),
            base=dict(type="str", default="GENERIC"),
            lines=dict(type="list", elements="str", default=[]),
            make_variables=dict(type="list", elements="str", default=[]),
            fd_setsize=dict(type="int", default=0),
            source=dict(type="path", default="/usr/src"),
            objects=dict(type="path", default="/usr/obj"),
            configurations=dict(type="path", default="/root/kernels"),
            jobs=dict(type="int", default=0),
            disk_objects_mib=dict(type="int", default=6144),
            disk_boot_mib=dict(type="int", default=512),
            wait=dict(type="int", default=240),
            check_seconds=dict(type="int", default=180),
            trial_seconds=dict(type="int", default=900),
            script=dict(type="str", default=""),
            console_access=dict(type="bool", default=False),
            reboot=dict(type="bool", default=False),
            retry=dict(type="bool", default=False),
            source_awaited=dict(type="bool", default=False),
            reason=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    kernel = Kernel(module.params)
    action = module.params["action"]
    try:
        if action == "plan":
            module.exit_json(changed=False, plan=kernel.plan())
        if action == "arm" and not module.check_mode:
            kernel.leftovers()
        result = getattr(kernel, action)(module.check_mode)
        for text in result.pop("loud", []):
            module.warn(text)
        module.exit_json(**result)
    except Refused as reason:
        module.fail_json(msg=str(reason), **reason.facts)
    except OSError as error:
        module.fail_json(
            msg="%s: %s%s"
            % (action, error, ". The kernel that runs and the next boot are as they were" if action == "build" else "")
        )


if __name__ == "__main__":
    main()
