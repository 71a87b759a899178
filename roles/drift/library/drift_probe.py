#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What runs on a FreeBSD mail host beside its files: the differences that the check mode of the other roles does not see."""

DOCUMENTATION = r"""
module: drift_probe
short_description: Compare running processes, packages and file modes with what is declared
description:
  - Reads only; check mode is the same as a real run. One call for everything.
  - Looks only at what the other roles' check mode leaves out. A daemon that does not run at all is reported by its role; here its
    program, its children and its listeners are looked at.
  - What is not installed is not judged.
options:
  openfiles:
    description: >-
      Descriptors that every process of a role's daemon must be allowed, in the soft and the hard limit, as V({bind: int, postfix: int}). A daemon whose
      role is left out is not looked at.
    type: dict
    required: true
  files:
    description: Files, and the mode and owner they must have. One that is not there is not reported.
    type: list
    elements: dict
    default: []
    suboptions:
      role: {description: Whose file it is., type: str, required: true}
      path: {description: "A path, or a pattern of glob(7).", type: str, required: true}
      mode: {description: "Wanted mode, octal.", type: str, required: true}
      group: {description: Wanted group; empty is any., type: str, default: ''}
      at_most: {description: "Whether less than the mode is right as well, for files that are not the roles' alone.", type: bool, default: false}
      but: {description: "Names of files, and the databases built from them, that their role looks after.", type: list, elements: str, default: []}
  packages:
    description: Programs, and the package each must belong to.
    type: list
    elements: dict
    default: []
    suboptions:
      role: {description: Which role installed it., type: str, required: true}
      program: {description: A file of the package; empty when only the package counts., type: str, default: ''}
      package: {description: "Name, or origin (mail/py-spf-engine).", type: str, required: true}
      rebuilt: {description: Whether role ports reports its vulnerabilities and daemons that are older than it., type: bool, default: false}
  certificate_days: {description: "Days that a certificate of smtpd's must still be good for; 0 is any.", type: int, default: 0}
  rebuilt_kernel: {description: Whether role kernel itself reports that a kernel of its own is older than the world., type: bool, default: false}
author: sokuhai
"""
RETURN = r"""
findings:
  description: "One entry for each difference, as module_utils/sokuhai/findings.py has it, and with the role it belongs to."
  type: list
  returned: always
notes: {description: What could not be determined., type: list, returned: always}
"""

import glob
import os
import re
import socket
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, limits, pkg, process, rc
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import version_key
from ansible.module_utils.sokuhai.postfix import certificates, postconf

VULNERABILITIES = "/var/db/pkg/vuln.xml"


# ---- pure ----


def low(limit, wanted):
    """Whether one of (soft, hard) is below *wanted*."""
    return any(number is not None and number < wanted for number in limit)


def shown(limit):
    return "%s soft, %s hard" % tuple("infinity" if number is None else number for number in limit)


def listeners(master):
    """The inet services of `postconf -M`, {name in master.cf: (port as written, command)}."""
    rows = (line.split() for line in master.splitlines())
    return {row[0]: (row[0].rpartition(":")[2], row[7]) for row in rows if len(row) >= 8 and row[1] == "inet"}


def rights(info):
    """Mode, owner and group of an os.stat() result, and the group alone."""
    text = host.rights(stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    return text, text.rpartition(":")[2]


def port(name):
    """The number, as text, of a port that may be named; "" where nobody knows it."""
    try:
        return name if name.isdigit() else str(socket.getservbyname(name, "tcp"))
    except OSError:
        return ""


# ---- the host ----


class Probe:
    """All of it in one call; findings and notes grow as it looks."""

    def __init__(self, params):
        self.p, self.findings, self.notes = params, [], []
        self.rebuilt = {wanted["role"] for wanted in params["packages"] if wanted["rebuilt"]}

    def report(self, role, *fields, **more):
        self.findings.append(dict(finding(*fields, **more), role=role))

    # -- processes

    def daemons(self):
        processes, daemons = process.table(), postconf("-h", "daemon_directory")
        named = rc.read(["named_program"]).get("named_program") or "/usr/local/sbin/named"
        master = daemons and os.path.join(daemons, "master")
        for role, service, name, program in (
            ("bind", "named", "named", named),
            ("postfix", "postfix", "master", master),
        ):
            if role not in self.p["openfiles"]:
                continue
            main = processes.get(host.service_pid(service))
            if main is not None and program:
                self.limits(role, name, main, process.descendants(processes, main.pid))
                self.program(role, service, main, program)
                if role == "postfix":
                    self.listeners(main)

    def limits(self, role, name, main, children):
        """Too low a limit of a child; one of the main process is its role's finding, and theirs follow from it."""
        wanted = int(self.p["openfiles"][role])
        measured = limits.descriptors(*(one.pid for one in [main, *children]))
        if main.pid not in measured:
            self.notes.append("procstat reports nothing of %s (pid %d)" % (name, main.pid))
        # the same limit in a hundred smtpd is one thing; a process may have ended meanwhile
        lowest = {
            one.name: measured[one.pid] for one in children if one.pid in measured and low(measured[one.pid], wanted)
        }
        for child, limit in lowest.items():
            self.report(
                role,
                "process %s: openfiles" % child,
                "descriptors of a running %s" % child,
                "at least %d" % wanted,
                shown(limit),
                because=["process %s: openfiles" % name],
                remedy="restart",
            )

    def program(self, role, service, main, program):
        """A main process that was started before its program was put in place."""
        if role not in self.rebuilt and main.older_than(program=program):
            self.report(
                role,
                "process %s: program" % service,
                "start of %s, against its program %s" % (service, program),
                "after %s" % host.clock(os.stat(program).st_ctime),
                "before %s" % host.clock(main.since[1]),
                remedy="restart",
            )

    def listeners(self, master):
        """Every inet service of master.cf must be listened to by the master that runs."""
        rows = (line.split() for line in host.run(["sockstat", "-46l"])[1].splitlines())
        opened = {row[5].rpartition(":")[2] for row in rows if len(row) > 5 and row[2] == str(master.pid)}
        for name, (where, command) in listeners(postconf("-M")).items():
            if port(where) and port(where) not in opened:
                self.report(
                    "postfix",
                    "listener %s" % where,
                    "port %s, for %s" % (port(where), command),
                    "listening",
                    "not listening",
                    because=["master.cf: %s/inet" % name],
                    remedy="restart",
                )

    def certificates(self):
        """Every certificate that smtpd presents must be good for a while yet; one that cannot be read is smtpd's own complaint."""
        seconds = str(86400 * self.p["certificate_days"])
        for path in certificates() if self.p["certificate_days"] else ():
            ends = host.run(["openssl", "x509", "-in", path, "-noout", "-enddate", "-checkend", seconds])
            found = re.match("notAfter=(.+)", ends[1])
            if ends[0] and found:
                self.report(
                    "postfix",
                    "certificate %s" % path,
                    "smtpd's certificate %s" % path,
                    "good for %d days" % self.p["certificate_days"],
                    "good until %s" % found[1],
                    because=["certificate"],
                    remedy="certificate",
                )

    # -- files

    def modes(self):
        for wanted in self.p["files"]:
            for path in sorted(glob.glob(wanted["path"])):
                # LMDB's lock is the program's own
                if not path.endswith("-lock") and not self.excepted(wanted, os.path.basename(path)):
                    self.mode(wanted, path)
        # what lets an unprivileged sendmail(1) drop mail into the queue (postdrop(1), postqueue(1))
        commands, group = postconf("-h", "command_directory"), postconf("-h", "setgid_group")
        there = commands and "postfix" in self.p["openfiles"]
        for path in [os.path.join(commands, name) for name in ("postdrop", "postqueue")] if there else []:
            if os.path.exists(path):
                info, thing = os.stat(path), "mode of %s" % path
                found, its_group = rights(info)
                if not info.st_mode & stat.S_ISGID or its_group != group:
                    self.report("postfix", thing, thing, "setgid %s" % group, found, remedy="setgid")

    @staticmethod
    def excepted(wanted, name):
        return any(name == one or name.startswith(one + ".") for one in wanted["but"])

    def mode(self, wanted, path):
        """A file's mode, its owner, who must be root, and its group."""
        mode, group, thing = int(wanted["mode"], 8), wanted["group"], "mode of %s" % path
        try:
            info = os.stat(path)
        except OSError:
            return
        now, (found, its_group) = stat.S_IMODE(info.st_mode), rights(info)
        wrong = now & ~mode if wanted["at_most"] else now != mode
        strange = info.st_uid != 0 or group not in ("", its_group)
        if stat.S_ISREG(info.st_mode) and (wrong or strange):
            expected = "%s%04o root%s" % ("at most " if wanted["at_most"] else "", mode, group and ":" + group)
            self.report(wanted["role"], thing, thing, expected, found, remedy="mode")

    # -- packages, kernel

    def packages(self):
        if not self.p["packages"]:
            return
        installed = pkg.installed()
        audit = os.path.exists(VULNERABILITIES)
        if not audit:
            self.notes.append("known vulnerabilities: there is no %s yet (pkg audit -F)" % VULNERABILITIES)
        local = {"%(name)s-%(version)s" % one for one in installed if one["local"]}
        found = {}
        for wanted in self.p["packages"]:
            fulls = [
                "%(name)s-%(version)s" % one for one in installed if wanted["package"] in (one["name"], one["origin"])
            ]
            found[wanted["role"], wanted["package"]] = wanted, self.brought(wanted, fulls)
        self.offered([(wanted, full) for wanted, each in found.values() for full in each if full not in local])
        for wanted, fulls in found.values():
            for full in fulls if audit and not wanted["rebuilt"] else ():
                self.audit(wanted, full)

    def offered(self, came):
        """What came from a repository, and is in none any more: the port is gone, and pkg upgrade leaves the package as it is. came: [(wanted, NAME-VERSION)]."""
        names = sorted({full.rpartition("-")[0] for _wanted, full in came})
        # pkg itself is in each of FreeBSD's: without a catalogue nothing is known
        offered = host.run(["pkg", "rquery", "-U", "%n", "pkg", *names])[1].split() if names else []
        for wanted, full in came if "pkg" in offered else ():
            name = full.rpartition("-")[0]
            if name not in offered:
                thing = "updates of package %s" % name
                self.report(
                    wanted["role"], thing, thing, "in a repository", "in none (%s stays)" % full, remedy="successor"
                )

    def brought(self, wanted, fulls):
        """Return the packages (NAME-VERSION) to look up: *fulls*, or the one that the program came with instead, which is a finding."""
        program = wanted["program"]
        if not program or not os.path.exists(program):
            return fulls
        owner = pkg.which(program)
        if owner in fulls:
            return fulls
        name = "package %s" % wanted["package"]
        self.report(
            wanted["role"], name, "package of %s" % program, wanted["package"], owner or "none", remedy="package"
        )
        return [owner] if owner else []

    def audit(self, wanted, full):
        status, out, _err = host.run(["pkg", "audit", "-q", full])
        if status and full in out.split():
            name = "package %s: vulnerability" % wanted["package"]
            thing = "known vulnerability (pkg audit %s)" % full
            self.report(wanted["role"], name, thing, "none", full, remedy="upgrade")

    def kernel(self):
        folder = os.path.dirname(host.sysctl("kern.bootfile") or "")
        # what role kernel recorded beside the kernel that runs; nothing where FreeBSD's own runs
        own, name = host.load(os.path.join(folder, "sokuhai.json")), os.path.basename(folder)
        if own.get("built"):
            # the stock kernel beside it says nothing of this one, and freebsd-update(8) patches neither while it runs
            made, world = own.get("inputs", {}).get("version", ""), host.run(["freebsd-version", "-u"])[1].strip()
            if not self.p["rebuilt_kernel"] and version_key(made) < version_key(world):
                thing = "version of kernel %s" % name
                self.report("kernel", "kernel %s: behind" % name, thing, world, made, remedy="rebuild")
            return
        status, out, _err = host.run(["freebsd-version", "-kr"])
        versions = out.split()
        if status == 0 and len(versions) == 2 and versions[0] != versions[1]:
            self.report("limits", "reboot pending: kernel", "running kernel", *versions, remedy="reboot")


def main():
    module = AnsibleModule(
        argument_spec={
            "openfiles": {"type": "dict", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "role": {"type": "str", "required": True},
                    "path": {"type": "str", "required": True},
                    "mode": {"type": "str", "required": True},
                    "group": {"type": "str", "default": ""},
                    "at_most": {"type": "bool", "default": False},
                    "but": {"type": "list", "elements": "str", "default": []},
                },
            },
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "role": {"type": "str", "required": True},
                    "program": {"type": "str", "default": ""},
                    "package": {"type": "str", "required": True},
                    "rebuilt": {"type": "bool", "default": False},
                },
            },
            "certificate_days": {"type": "int", "default": 0},
            "rebuilt_kernel": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    probe = Probe(module.params)
    probe.daemons()
    probe.certificates()
    probe.modes()
    probe.packages()
    probe.kernel()
    module.exit_json(changed=False, findings=probe.findings, notes=probe.notes)


if __name__ == "__main__":
    main()
