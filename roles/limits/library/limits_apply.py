#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Put the chain of limits in force on a FreeBSD host: one transaction, one call."""

DOCUMENTATION = r"""
module: limits_apply
short_description: Kernel values, login class and rc limits, as they were planned
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
  sysctl_conf: {description: Our lines of /etc/sysctl.conf., type: str, default: ""}
  loader_conf: {description: The whole of /boot/loader.conf.d/sokuhai.conf; empty for no file., type: str, default: ""}
  login_conf: {description: Our lines of /etc/login.conf., type: str, default: ""}
  rc_conf: {description: Our lines of /etc/rc.conf.d/NAME., type: str, default: ""}
  apply: {description: "Values for the running kernel, each {name, before, value}.", type: list, elements: dict, default: []}
  guarantee:
    description: "Values of the running kernel to be compared afterwards, each {name, value}; a floor also at_most, whether it is the upper end."
    type: list
    elements: dict
    default: []
  reboot: {description: "What only a boot puts in force, each {name, running, wanted}.", type: list, elements: dict, default: []}
  openfiles: {description: Descriptors guaranteed to each service., type: int, required: true}
  login_class: {description: Name of the login class., type: str, default: sokuhai}
  services: {description: Names of the rc scripts of those services., type: list, elements: str, default: []}
"""
RETURN = r"""
findings:
  description: "What only a boot changes, reboot pending: NAME; and what is wrong with /etc/login.conf.db where login.conf itself is right."
  type: list
  returned: always
restart: {description: Services that keep the limits they were started with until they are restarted., type: list, returned: state absent}
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, limits, rc
from ansible.module_utils.sokuhai.blocks import set_block
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused
from ansible.module_utils.sokuhai.limits import LOADER_FILE, MARK

SYSCTL_CONF, LOGIN_CONF = "/etc/sysctl.conf", "/etc/login.conf"
#: Services whose port's rc script starts them by its own start_cmd (mail/postfix); while a script is not installed it cannot be read.
START_CMD = ("postfix",)


def number(value):
    """An int from a sysctl value, or None."""
    try:
        return int(str(value).strip().strip('"'), 0)
    except ValueError:
        return None


def kept(value, wanted):
    """Return whether *value*, as sysctl prints it, is as *wanted* ({value}), or keeps it where that is a floor ({value, at_most})."""
    numbers = number(value), number(wanted["value"])
    if None in numbers:
        return str(value).strip().strip('"') == str(wanted["value"]).strip().strip('"')
    if "at_most" not in wanted:
        return numbers[0] == numbers[1]
    return numbers[0] <= numbers[1] if wanted["at_most"] else numbers[0] >= numbers[1]


def reaches(limit, openfiles):
    return limit == "infinity" or (isinstance(limit, int) and limit >= openfiles)


def limit_in_flags(text):
    """The -n of a NAME_limits value of rc.conf, or None."""
    match = re.search(r"(?:^|\s)-[SHB]*n\s*(\d+)", text or "")
    return int(match.group(1)) if match else None


class Host(limits.Host):
    """A host whose limits can be changed."""

    def write(self, name, text):
        """Replace the file *name*, mode and owner of one that is there kept; empty *text* removes it."""
        path = os.path.realpath(self.path(name))
        if not text:
            host.remove(path)
            return
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        host.write(path, text)

    def mtime(self, name):
        """Return when name was last written, in nanoseconds, or None where it is not there."""
        try:
            return os.stat(self.path(name)).st_mtime_ns
        except OSError:
            return None

    def sysrc(self, name):
        # in rc.conf.d the last line counts, and sysrc(8) knows nothing of it
        file = [word for line in rc.overriding(name)[-1:] for word in ("-f", line.rpartition(":")[0])]
        status, out, _err = self.run(["sysrc", *file, "-n", name])
        return out.rstrip("\n") if status == 0 else ""


class Change:
    """What is to be written and run: all of it is decided, and nothing refused, before the first write."""

    def __init__(self, own, params):
        self.host, self.params = own, params
        self.diff, self.writes, self.keys, self.database = [], [], [], False
        self.findings = []

    def stage(self, name, before, after):
        """Note that the file *name* is to be *after*; None and "" are no file."""
        if (before or "") != after:
            self.writes.append((name, after))
            self.note(name, before, after)

    def note(self, what, before, after):
        self.diff.append(host.difference(what, before, after))

    def block(self, path, lines):
        """Stage *path* with the text *lines* as our block; return whether it changes."""
        text = self.host.read(path) or ""
        after = set_block(text, MARK, path, lines.splitlines())
        self.stage(path, text, after)
        return after != text

    def set_key(self, key, now, wanted):
        for line in rc.overriding(key)[-1:]:
            raise Refused(
                "%s: %s = %s there has the last word over rc.conf, where it is to be %s: remove that line"
                % (line, key, now, wanted or "gone")
            )
        self.keys.append(["sysrc", "%s=%s" % (key, wanted)] if wanted else ["sysrc", "-x", key])
        self.note("rc.conf: " + key, "%s\n" % now, "%s\n" % wanted)

    def shell(self, service, lines):
        """The fragment that load_rc_config sources in the shell of a service's own start_cmd."""
        path = "/etc/rc.conf.d/" + service
        if self.host.is_dir(path):
            path += "/sokuhai"  # rc.subr reads every file of the directory
        self.block(path, lines)

    def rebuild(self, changes, lacking=None):
        """Have cap_mkdb(1) rebuild the database where login.conf *changes*, or where the database alone is wrong.

        lacking: (thing, expected, found) of what it gives too little of. Returns that, or the same of a database that is missing or older, or None.
        """
        path = LOGIN_CONF + ".db"
        database, source = self.host.mtime(path), self.host.mtime(LOGIN_CONF)
        if database is None:
            lacking = path, "there", "missing"
        elif database < source and not lacking:
            source, database = (host.clock(nanoseconds / 1e9) for nanoseconds in (source, database))
            lacking = path, "written at %s or later" % source, "written at %s" % database
        self.database = bool(changes or lacking)
        if changes or not lacking:
            return None
        _thing, expected, found = lacking
        self.note(path, found + "\n", expected + "\n")
        return lacking

    def run(self, *commands):
        """Run *commands*; return a message for each that failed."""
        for argv in commands:
            status, out, err = self.host.run(argv)
            if status:
                yield "%s: %s" % (" ".join(argv), (err or out).strip())

    def write(self):
        for name, text in self.writes:
            self.host.write(name, text)

    def mkdb(self):
        return list(self.run(["cap_mkdb", self.host.path(LOGIN_CONF)])) if self.database else []


class Apply(Change):
    """Decides what the host lacks, then brings it."""

    def prepare(self):
        params = self.params
        self.block(SYSCTL_CONF, params["sysctl_conf"])
        self.stage(LOADER_FILE, self.host.read(LOADER_FILE), params["loader_conf"])
        for one in params["apply"]:
            self.note("running kernel: " + one["name"], "%s\n" % one["before"], "%s\n" % one["value"])
        self.findings = [
            finding("reboot pending: " + one["name"], one["name"], one["wanted"], one["running"], remedy="reboot")
            for one in params["reboot"]
        ]
        self.login_class()
        for name in params["services"]:
            script = self.host.rc_script(name)
            shell = script["start_cmd"] if script else name in START_CMD
            self.rc_class(name, not shell)
            self.shell(name, params["rc_conf"] if shell else "")

    def login_class(self):
        name, text = self.params["login_class"], self.host.read(LOGIN_CONF)
        if text is None:
            raise Refused("/etc/login.conf is missing: restore it (/usr/src/usr.bin/login/login.conf)")
        if re.search(r"^%s[:|]" % re.escape(name), set_block(text, MARK, LOGIN_CONF, []), re.M):
            raise Refused(
                "/etc/login.conf already has a class %s outside the marked block: choose another limits_login_class, or remove it"
                % name
            )
        changes = self.block(LOGIN_CONF, self.params["login_conf"])
        given, least = self.host.limit_of_class(name), self.params["openfiles"]
        thing = "%s.db: openfiles of class %s" % (LOGIN_CONF, name)
        found = "no such class" if given is None else str(given)
        lacking = self.rebuild(changes, None if reaches(given, least) else (thing, "at least %d" % least, found))
        if lacking:
            self.findings.append(finding(LOGIN_CONF + ".db", *lacking))

    def rc_class(self, name, wanted):
        key, ours, least = name + "_login_class", self.params["login_class"], self.params["openfiles"]
        now = self.host.sysrc(key)
        if not wanted:
            if now == ours:
                self.set_key(key, now, "")
            return
        flags = limit_in_flags(self.host.sysrc(name + "_limits"))
        if flags is not None and flags < least:
            raise Refused(
                "%s sets %s_limits with -n %s, below the %s descriptors %s is to have: remove it (sysrc -x %s_limits)"
                % (rc.place(name + "_limits"), name, flags, least, name, name)
            )
        if now in ("", "daemon"):
            self.set_key(key, now, ours)
        # a class of the operator's own that gives enough is a floor kept
        elif now != ours and not reaches(self.host.limit_of_class(now), least):
            raise Refused(
                "%s sets %s = %s, a login class that gives fewer than %s descriptors: raise its openfiles (and run cap_mkdb "
                "/etc/login.conf), or remove the line" % (rc.place(key), key, now, least)
            )

    def execute(self):
        """Carry out what prepare() decided. Returns messages of what did not come true."""
        self.write()
        errors = {}
        for one in self.params["apply"]:
            status, _out, err = self.host.run(["sysctl", "%s=%s" % (one["name"], one["value"])])
            if status:
                errors[one["name"]] = " (%s)" % err.strip()
        wrong = self.mkdb() + list(self.run(*self.keys))
        now = self.host.sysctls([wanted["name"] for wanted in self.params["guarantee"]])
        wrong += [
            "%s is %s in the running kernel, %s is declared%s"
            % (wanted["name"], now.get(wanted["name"]), wanted["value"], errors.get(wanted["name"], ""))
            for wanted in self.params["guarantee"]
            if not kept(now.get(wanted["name"]), wanted)
        ]
        seen = self.host.limit_of_class(self.params["login_class"])
        if not reaches(seen, self.params["openfiles"]):
            wrong.append(
                "login class %s gives %s descriptors after cap_mkdb, %s are needed: look for openfiles-cur or openfiles-max in "
                "/etc/login.conf" % (self.params["login_class"], seen, self.params["openfiles"])
            )
        return wrong


class Undo(Change):
    """Takes away what Apply writes: by the marks in the files, not by what is declared today, so that nothing stays of earlier runs."""

    def prepare(self):
        ours = self.host.ours()
        held = sorted({**ours["sysctl"], **ours["loader"]})
        running = self.host.sysctls(held) if held else {}
        self.findings = [
            finding("reboot pending: " + name, name, "the kernel's own value", running.get(name), remedy="reboot")
            for name in held
        ]
        self.block(SYSCTL_CONF, "")
        self.stage(LOADER_FILE, self.host.read(LOADER_FILE), "")
        self.rebuild(self.block(LOGIN_CONF, ""))
        for service in self.params["services"]:
            key = service + "_login_class"
            now = self.host.sysrc(key)
            if now == self.params["login_class"]:
                self.set_key(key, now, "")
            self.shell(service, "")

    def execute(self):
        # the keys first: a service that starts meanwhile must not name a class that is gone
        wrong = list(self.run(*self.keys))
        self.write()
        return wrong + self.mkdb()

    def restart(self):
        """Services whose next start gives them another limit than they run with, by what this run took away."""
        services = self.params["services"] if self.diff else []
        return [name for name in services if self.host.rc_script(name) and self.host.running(name)]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present", "absent"], default="present"),
            sysctl_conf=dict(type="str", default=""),
            loader_conf=dict(type="str", default=""),
            login_conf=dict(type="str", default=""),
            rc_conf=dict(type="str", default=""),
            apply=dict(type="list", elements="dict", default=[]),
            guarantee=dict(type="list", elements="dict", default=[]),
            reboot=dict(type="list", elements="dict", default=[]),
            openfiles=dict(type="int", required=True),
            login_class=dict(type="str", default="sokuhai"),
            services=dict(type="list", elements="str", default=[]),
        ),
        supports_check_mode=True,
    )
    absent = module.params["state"] == "absent"
    change = (Undo if absent else Apply)(Host(), module.params)

    def work():
        change.prepare()
        wrong = [] if module.check_mode else change.execute()
        if wrong:
            raise Refused("not in force: " + "; ".join(wrong))
        result = {"changed": bool(change.diff), "diff": change.diff, "findings": change.findings}
        return dict(result, restart=change.restart()) if absent else result

    host.answer(module, work)


if __name__ == "__main__":
    main()
