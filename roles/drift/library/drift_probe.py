#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What runs on a FreeBSD mail host beside its files: the differences that the check mode of the other roles does not see."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_probe
short_description: Compare running processes, packages and file modes with what is declared
description:
  - Reads only; check mode is the same as a real run. One call for everything.
  - Looks only at what the roles' own check mode leaves out, so that nothing is told twice. A daemon that does not run at all, or whose
    main process has too low a limit, is told by its role; here its children are looked at.
  - What is not installed is not judged.
options:
  openfiles:
    description: Descriptors that every process of a role's daemon must be allowed, in the soft and the hard limit, as V({bind: int, postfix: int}).
    type: dict
    required: true
  files:
    description: Files and the mode and owner they must have. One that is not there is not told here.
    type: list
    elements: dict
    default: []
    suboptions:
      role: {description: Whose file it is., type: str, required: true}
      path: {description: "A path, or a pattern of glob(7).", type: str, required: true}
      mode: {description: "Wanted mode, octal.", type: str, required: true}
      owner: {description: Wanted owner., type: str, default: root}
      group: {description: Wanted group; empty is any., type: str, default: ''}
      at_most: {description: "Whether less than the mode is right as well, for files that are not the roles' alone.", type: bool, default: false}
  packages:
    description: Programs and the package that is to have brought them.
    type: list
    elements: dict
    default: []
    suboptions:
      role: {description: Which role installed it., type: str, required: true}
      program: {description: A file of the package; empty when only the package counts., type: str, default: ''}
      package: {description: "Name, or origin (mail/py-spf-engine).", type: str, required: true}
      audited: {description: Whether known vulnerabilities are told by somebody else., type: bool, default: false}
  firewall: {description: "Whether pf is declared, so that it must be on.", type: bool, default: false}
  rebuilt_kernel: {description: Whether role kernel itself tells that a kernel of its own is older than the world., type: bool, default: false}
author: sokuhai
"""
RETURN = r"""
findings:
  description: "One entry a difference: role, thing (stable), expected, found, advice (all str)."
  type: list
  returned: always
notes: {description: What could not be known., type: list, returned: always}
"""

import glob
import grp
import json
import os
import pwd
import re
import socket
import stat
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import read, run, service_pid, sysctl, version_key
from ansible.module_utils.sokuhai.limits import parse_rlimits

# ps counts whole seconds, and a service starts within the second in which its program was put in place
GRACE = 2
VULNERABILITIES = "/var/db/pkg/vuln.xml"


# ---- pure ----


def parse_processes(text):
    """{pid: (parent, seconds since its start, command)} of `ps -ax -o pid= -o ppid= -o etimes= -o comm=`."""
    found = {}
    for line in text.splitlines():
        fields = line.split(None, 3)
        if len(fields) == 4 and fields[0].isdigit() and fields[1].isdigit() and fields[2].isdigit():
            found[int(fields[0])] = (int(fields[1]), int(fields[2]), os.path.basename(fields[3].strip()))
    return found


def descendants(processes, pid):
    """The pids below *pid*, at any depth, in order."""
    found, fresh = [], [pid]
    while fresh:
        fresh = sorted(
            child
            for child, (parent, _age, _command) in processes.items()
            if parent in fresh and child not in found and child != pid
        )
        found += fresh
    return found


def low(limit, wanted):
    """Whether one of (soft, hard) is below *wanted*."""
    return any(number is not None and number < wanted for number in limit)


def shown(limit):
    return "%s soft, %s hard" % tuple("infinity" if number is None else number for number in limit)


def listeners(master):
    """The ports that the inet services of `postconf -M` open, {port as written: service's command}."""
    found = {}
    for line in master.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[1] == "inet":
            found[fields[0].rpartition(":")[2]] = fields[7]
    return found


def package_name(full):
    """Name of NAME-VERSION; a version holds no hyphen (pkg-install(8))."""
    return full.rpartition("-")[0]


# ---- the host ----


class Host:
    def __init__(self, params):
        self.p, self.findings, self.notes = params, [], []
        self.processes = parse_processes(
            run(["ps", "-ax", "-o", "pid=", "-o", "ppid=", "-o", "etimes=", "-o", "comm="])[1]
        )

    def tell(self, role, thing, expected, found, advice):
        self.findings.append(
            {"role": role, "thing": thing, "expected": str(expected), "found": str(found), "advice": advice}
        )

    def service(self, name):
        """The pid of a service's main process as its own rc script knows it, or None."""
        pid = service_pid(name)
        return pid if pid in self.processes else None

    def postconf(self, *arguments):
        status, out, _err = run(["postconf"] + list(arguments))
        return out.strip() if status == 0 else ""

    # -- processes

    def limits(self, role, service, main):
        """Too low a limit of a child while the main process has enough."""
        pids = [main] + descendants(self.processes, main)
        wanted = int(self.p["openfiles"][role])
        measured = parse_rlimits(run(["procstat", "rlimit"] + [str(pid) for pid in pids])[1])
        if main not in measured:
            self.notes.append("procstat says nothing of %s (pid %d)" % (service, main))
            return
        if low(measured[main], wanted):
            return
        told = set()
        for pid in pids[1:]:
            command = self.processes[pid][2]
            # a process may have ended meanwhile; the same limit in a hundred smtpd is one thing
            if pid in measured and command not in told and low(measured[pid], wanted):
                told.add(command)
                self.tell(
                    role,
                    "process %s: openfiles" % command,
                    "at least %d" % wanted,
                    shown(measured[pid]),
                    "service %s restart: the limit of a process that runs is not raised by its configuration" % service,
                )

    def program(self, role, service, main, path):
        """A main process that was started before its program was put in place."""
        try:
            # ctime: a package keeps the build's mtime
            put = os.stat(path).st_ctime
        except OSError:
            return
        if time.time() - self.processes[main][1] + GRACE < put:
            self.tell(
                role,
                "process %s: program" % service,
                "started after %s was installed" % path,
                "it runs since before %s" % time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(put)),
                "service %s restart" % service,
            )

    def daemons(self):
        daemons = self.postconf("-h", "daemon_directory")
        for role, service, path in (
            ("bind", "named", run(["sysrc", "-in", "named_program"])[1].strip() or "/usr/local/sbin/named"),
            ("postfix", "postfix", daemons and os.path.join(daemons, "master")),
        ):
            main = self.service(service)
            if main is not None and path:
                self.limits(role, service, main)
                self.program(role, service, main, path)
                if service == "postfix":
                    self.sockets(main)

    def sockets(self, main):
        """Every inet service of master.cf must be listened to by the master that runs."""
        open_ports = set()
        for line in run(["sockstat", "-46l"])[1].splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[2] == str(main):
                open_ports.add(fields[5].rpartition(":")[2])
        for name, command in listeners(self.postconf("-M")).items():
            number = name if name.isdigit() else self.port(name)
            if number and number not in open_ports:
                self.tell(
                    "postfix",
                    "listener %s" % name,
                    "master listens on port %s for %s" % (number, command),
                    "nobody of Postfix listens there",
                    "service postfix restart: a reload opens no socket that a restart would",
                )

    @staticmethod
    def port(name):
        try:
            return str(socket.getservbyname(name, "tcp"))
        except OSError:
            return ""

    # -- files

    def modes(self):
        for wanted in self.p["files"]:
            for path in sorted(glob.glob(wanted["path"])):
                # LMDB's lock is the program's own
                if not path.endswith("-lock"):
                    self.mode(wanted, path)
        # what lets an unprivileged sendmail(1) drop mail into the queue (postdrop(1), postqueue(1))
        commands, group = self.postconf("-h", "command_directory"), self.postconf("-h", "setgid_group")
        for name in ("postdrop", "postqueue") if commands else ():
            path = os.path.join(commands, name)
            try:
                info = os.stat(path)
            except OSError:
                continue
            if not info.st_mode & stat.S_ISGID or self.name_of(grp.getgrgid, info.st_gid) != group:
                self.tell(
                    "postfix",
                    "mode of %s" % path,
                    "setgid %s" % group,
                    self.words(info),
                    "postfix set-permissions; without it nobody but root can hand mail in on this host",
                )

    @staticmethod
    def name_of(lookup, number):
        try:
            return lookup(number)[0]
        except KeyError:
            return str(number)

    def words(self, info):
        return "%04o %s:%s" % (
            stat.S_IMODE(info.st_mode),
            self.name_of(pwd.getpwuid, info.st_uid),
            self.name_of(grp.getgrgid, info.st_gid),
        )

    def mode(self, wanted, path):
        mode, owner, group = int(wanted["mode"], 8), wanted["owner"], wanted["group"]
        try:
            info = os.stat(path)
        except OSError:
            return
        if not stat.S_ISREG(info.st_mode):
            return
        now = stat.S_IMODE(info.st_mode)
        wrong = now & ~mode if wanted["at_most"] else now != mode
        if (
            wrong
            or self.name_of(pwd.getpwuid, info.st_uid) != owner
            or (group and self.name_of(grp.getgrgid, info.st_gid) != group)
        ):
            both = owner + (":" + group if group else "")
            self.tell(
                wanted["role"],
                "mode of %s" % path,
                "%s%04o %s" % ("at most " if wanted["at_most"] else "", mode, both),
                self.words(info),
                "chmod %o %s; chown %s %s" % (mode, path, both, path),
            )

    # -- packages, kernel, firewall

    def packages(self):
        if not self.p["packages"]:
            return
        installed = {}
        for line in run(["pkg", "query", "-a", "%n|%o|%v"])[1].splitlines():
            fields = line.split("|")
            if len(fields) == 3:
                installed[fields[0]] = fields
        audit = os.path.exists(VULNERABILITIES)
        if not audit:
            self.notes.append("known vulnerabilities: there is no %s yet (pkg audit -F)" % VULNERABILITIES)
        for wanted in self.p["packages"]:
            names = [name for name, fields in installed.items() if wanted["package"] in (name, fields[1])]
            thing = "package %s" % wanted["package"]
            if wanted["program"] and os.path.exists(wanted["program"]):
                status, out, _err = run(["pkg", "which", "-q", wanted["program"]])
                owner = package_name(out.strip()) if status == 0 else ""
                if owner not in names:
                    self.tell(
                        wanted["role"],
                        thing,
                        "%s is a file of %s" % (wanted["program"], wanted["package"]),
                        "it is a file of %s" % out.strip() if owner else "no package has it",
                        "pkg install -f %s, or declare the package that is meant" % wanted["package"],
                    )
                    continue
            for name in names if audit and not wanted["audited"] else []:
                full = "%s-%s" % (name, installed[name][2])
                status, out, _err = run(["pkg", "audit", "-q", full])
                if status and full in out.split():
                    self.tell(
                        wanted["role"],
                        thing + ": vulnerability",
                        "none known",
                        "%s has a known vulnerability (pkg audit %s)" % (full, full),
                        "pkg upgrade %s once the repository has the mended one, then site.yml" % name,
                    )

    def own_kernel(self):
        """The record of role kernel beside the kernel that runs, as a dict with its name; empty where FreeBSD's own runs."""
        folder = os.path.dirname(sysctl("kern.bootfile") or "")
        try:
            return dict(json.loads(read(os.path.join(folder, "sokuhai.json")) or "{}"), name=os.path.basename(folder))
        except ValueError:
            return {}

    def kernel(self):
        own = self.own_kernel()
        if own.get("built"):
            # the stock kernel beside it says nothing of this one, and freebsd-update(8) patches neither while it runs
            made, world = own.get("inputs", {}).get("version", ""), run(["freebsd-version", "-u"])[1].strip()
            if not self.p["rebuilt_kernel"] and version_key(made) < version_key(world):
                self.tell(
                    "kernel",
                    "kernel %s: behind" % own["name"],
                    "built from %s, as the world is" % world,
                    "built from %s" % made,
                    "ansible-playbook playbooks/rebuild.yml --tags kernel; or back to the stock kernel: playbooks/rollback.yml --tags kernel",
                )
            return
        status, out, _err = run(["freebsd-version", "-kr"])
        versions = out.split()
        if status == 0 and len(versions) == 2 and versions[0] != versions[1]:
            self.tell(
                "limits",
                "reboot pending: kernel",
                "the installed kernel runs (%s)" % versions[0],
                "the kernel of %s runs" % versions[1],
                "reboot when mail can wait: shutdown -r now",
            )

    def firewall(self):
        if not self.p["firewall"]:
            return
        status, out, err = run(["pfctl", "-s", "info"])
        if status or not re.search(r"^Status:\s+Enabled", out, re.M):
            self.tell(
                "blocklist",
                "pf",
                "enabled",
                "disabled" if status == 0 else "pfctl: %s" % (err or out).strip(),
                "service pf start, or site.yml --tags blocklist",
            )


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
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": ""},
                    "at_most": {"type": "bool", "default": False},
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
                    "audited": {"type": "bool", "default": False},
                },
            },
            "firewall": {"type": "bool", "default": False},
            "rebuilt_kernel": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    host = Host(module.params)
    host.daemons()
    host.modes()
    host.packages()
    host.kernel()
    host.firewall()
    module.exit_json(changed=False, findings=host.findings, notes=host.notes)


if __name__ == "__main__":
    main()
