#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Run several instances of postgrey from one rc script, as one transaction on the host."""

DOCUMENTATION = r"""
module: greylist_postgrey
short_description: Instances of postgrey, compared with what is declared by what they are, not by what changed
description:
  - With O(state=present), installs the package where it is missing, writes allow lists, rc script and rc.conf, and starts or restarts each instance that does not run, runs with other arguments, was
    started before its allow lists or its program were last written, or does not answer. Each one started gets a request about a stranger and must greylist
    it, which needs its database; each one left alone gets one about an address that its allow list frees. When one fails, the former files come back.
  - With O(state=absent), stops them and removes what it wrote. The databases stay.
options:
  state: {type: str, choices: [present, absent], default: present}
  program: {type: path, required: true}
  packages: {type: list, elements: str, default: [], description: "Packages that are installed where they are missing, with O(state=present)."}
  user: {type: str, default: postgrey}
  service: {type: str, required: true, description: Name of the rc script.}
  script: {type: path, required: true, description: Its path.}
  script_text: {type: str, default: ''}
  address: {type: str, default: 127.0.0.1}
  instances:
    type: list
    elements: dict
    required: true
    description: "{name, port, database, run_directory, flags (a list of arguments), rc (the same for rc.conf)}."
  lists:
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true}
      variable: {type: str, default: '', description: What a sentence about one of its expressions begins with.}
      text: {type: str, default: ''}
  stock: {type: list, elements: path, default: [], description: Allow lists that the package brings.}
  probe: {type: str, default: '', description: The recipient that the allow list frees.}
  maillog: {type: path, default: /var/log/maillog}
author: sokuhai
"""

RETURN = r"""
predicted: {description: postgrey is not installed yet., type: bool, returned: state=present}
findings:
  description: "package NAME; mode of PATH; service postgrey NAME, whose `found` is not running, other arguments, older than PATH, no answer, or allow list not read."
  type: list
  elements: dict
  returned: success
"""

import functools
import os
import pwd
import re
import secrets
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, pkg, policy, process, rc
from ansible.module_utils.sokuhai.files import File, refuse_strangers
from ansible.module_utils.sokuhai.findings import finding

MARK = "# Written by sokuhai's role greylist"
# Seconds: how long a start may take, and after how many a service whose process is not there is given up.
PATIENCE, GONE = 20, 5
OLDEST = (1, 32)  # --privacy, --ipv4cidr and several --whitelist-x
#: postgrey compiles its lists so (read_clients_whitelists(), read_recipients_whitelists()), and dies of one that it cannot.
COMPILE = 'for (@ARGV) { eval { qr{$_}i; 1 } or print "/$_/: $@" }'
#: What is wrong with an answer.
SILENT, UNREAD = "no answer", "allow list not read"


class Postgrey:
    """What the module's parameters *p* declare."""

    def __init__(self, p):
        self.p = p

    # -- asking the host ----------------------------------------------------------------------------------------------

    def installed(self):
        """Return whether postgrey is installed. Its Perl modules are loaded for that; Refused where it cannot run, or is too old."""
        if not os.access(self.p["program"], os.X_OK):
            return False
        status, out, err = host.run([self.p["program"], "--version"])
        found = re.search(r"^postgrey (\d+)\.(\d+)", out, re.MULTILINE)
        if status or not found:
            raise host.Refused(
                "%s does not run: %s. A module of Perl that it needs may be missing (pkg check -d postgrey)"
                % (self.p["program"], " ".join((err or out).split())[:400])
            )
        if (int(found[1]), int(found[2])) < OLDEST:
            raise host.Refused("%s is %s; this role needs 1.%d or newer" % (self.p["program"], found[0], OLDEST[1]))
        return True

    def pidfile(self, instance):
        return "%s/%s.%s.pid" % (instance["run_directory"], self.p["service"], instance["name"])

    def place(self, instance):
        """Return where *instance* listens, as it stands in its arguments."""
        return next(word.partition("=")[2] for word in instance["flags"] if word.startswith("--inet="))

    def process(self, instance):
        """Return the Process of *instance*, or None. The pid file is written once, after the allow lists were read."""
        return process.from_pidfile(self.pidfile(instance), known_as="postgrey")

    def ask(self, instance, sender, recipient, timeout=5):
        """Send one policy request and return the answer's action, as Postfix reads it; OSError where there is none."""
        question = policy.request("probe.invalid", sender, recipient, secrets.token_hex(4))
        return policy.ask(self.p["address"], instance["port"], question, timeout)

    def answers(self, instance):
        """Return what is wrong with how *instance* answers about the address that its allow list frees, or None."""
        try:
            freed = self.ask(instance, "probe@probe.invalid", self.p["probe"]).startswith("DUNNO")
            return None if freed else UNREAD
        except OSError:
            return SILENT

    def differs(self, instance, fresh=()):
        """Return (what is wrong with the running *instance*, ids of the findings it follows from), or None. fresh: paths that are to be written."""
        now = self.process(instance)
        if now is None:
            return "not running", []
        arguments = [
            "-d",
            "--pidfile=%s" % self.pidfile(instance),
            "--dbdir=%s" % instance["database"],
            *instance["flags"],
        ]
        # postgrey names itself by its arguments; ps(1) adds the program's own name, perl, in parentheses
        if not re.fullmatch(re.escape("postgrey %s" % " ".join(arguments)) + r"( \(\S+\))?", now.command):
            return "other arguments", ["rc.conf: %s_%s_flags" % (self.p["service"], instance["name"])]
        lists = [item["path"] for item in self.p["lists"]]
        newer = next((path for path in lists if path in fresh), None) or now.older_than(
            *lists, *self.p["stock"], program=self.p["program"]
        )
        if newer:
            return "older than %s" % newer, [newer]
        silent = self.answers(instance)
        return (silent, []) if silent else None

    # -- state=present ------------------------------------------------------------------------------------------------

    def refuse_expressions(self):
        """Refuse the expressions that perl does not compile."""
        problems = []
        for item in self.p["lists"]:
            found = [line[1:-1] for line in item["text"].splitlines() if line.startswith("/")]
            said = host.run(["perl", "-e", COMPILE, "--", *found])[1] if found else ""
            problems += ["%s: %s" % (item["variable"], line.partition(" at -e line")[0]) for line in said.splitlines()]
        if problems:
            raise host.Refused(problems)

    def refuse_missing(self):
        try:
            pwd.getpwnam(self.p["user"])
        except KeyError:
            raise host.Refused(
                "greylist_user: this host has no user %s; the package makes postgrey" % self.p["user"]
            ) from None
        for path in self.p["stock"]:
            if not os.path.exists(path):
                raise host.Refused(
                    "greylist_stock_lists: there is no %s; the package brings it. Set greylist_stock_lists: false to do without"
                    % path
                )

    def refuse_taken_port(self, instance):
        """Nobody else may listen where *instance* is to be started; itself it may be there already."""
        now, place = self.process(instance), self.place(instance)
        if now and "--inet=%s" % place in now.command.split():
            return
        policy.refuse_taken(
            self.p["address"], instance["port"], "greylist_%s_port" % instance["name"], "greylist_address"
        )

    def files(self):
        """Return the Files of allow lists and rc script. Raises Refused for one that somebody else wrote."""
        files = [File(item["path"], item["text"]) for item in self.p["lists"]]
        files.append(File(self.p["script"], self.p["script_text"], 0o555))
        refuse_strangers(files, MARK, "greylist")
        return files

    def variables(self):
        """Return {name: value} of rc.conf's variables."""
        service = self.p["service"]
        flags = {"%s_%s_flags" % (service, instance["name"]): instance["rc"] for instance in self.p["instances"]}
        names = " ".join(instance["name"] for instance in self.p["instances"])
        return {**flags, "%s_instances" % service: names, "%s_enable" % service: "YES"}

    def present(self, check):
        """Have everything as declared, unless *check*; return the module's answer."""
        missing = pkg.missing(self.p["packages"], self.p["program"])
        if not check:
            pkg.install(missing)
        installed, files = self.installed(), self.files()
        findings, diff = pkg.findings(missing), [entry for file in files for entry in file.diff()]
        if not installed:
            if check and missing:
                return {"changed": True, "predicted": True, "findings": findings, "diff": diff}
            raise host.Refused(
                "greylist_install: there is no %s; set greylist_install: true, or install postgrey" % self.p["program"]
            )
        self.refuse_missing()
        self.refuse_expressions()
        changes = rc.compare(self.variables())
        fresh = [file.path for file in files if file.differs]
        due = []
        findings += [one for file in files for one in file.findings()]
        for instance in self.p["instances"]:
            wrong, name = self.differs(instance, fresh), "postgrey %s" % instance["name"]
            if wrong:
                self.refuse_taken_port(instance)
                due.append(instance)
                findings.append(finding("service %s" % name, name, "running as declared", *wrong))
        if not check:
            try:
                for file in files:
                    file.put()
                rc.apply(changes)
                for instance in due:
                    self.restart(instance)
            except (OSError, host.Refused) as problem:
                raise host.Refused("%s. %s" % (problem, self.back(files, changes, due))) from problem
        return {
            "changed": bool(fresh or changes or findings),
            "predicted": False,
            "findings": findings,
            "diff": diff + rc.diff(changes),
        }

    def restart(self, instance):
        """Start *instance*, again where it runs, and have it greylist a stranger, which it can only do with its database. Raises Refused."""
        began = host.log_end(self.p["maillog"])
        now, name = self.process(instance), "postgrey %s" % instance["name"]
        if now and self.answers(instance) == SILENT:
            # it need not heed a TERM either, and rc.subr would wait for it without end
            process.end(now.pid)
        word = "restart" if now else "start"
        printed = host.service(self.p["service"], word, instance["name"])[1]
        given_up = time.monotonic() + GONE

        def first_answer():
            if time.monotonic() > given_up and not self.process(instance):
                raise host.Refused("it does not run")
            return self.ask(instance, "%s@probe.invalid" % secrets.token_hex(6), "postmaster-probe@probe.invalid")

        try:
            answer = host.retry(first_answer, PATIENCE, pause=0.1)
        except (OSError, host.Refused) as trouble:
            said = "%s %s: %s%s" % (self.p["service"], word, printed, self.logged(began))
            raise host.Refused(
                "%s does not answer on %s (%s). %s" % (name, self.place(instance), trouble, said)
            ) from None
        if not re.match(r"(?i)(defer|4\d\d)", answer):
            raise host.Refused(
                "%s answers a stranger's first attempt with %r and does not greylist it.%s"
                % (name, answer, self.logged(began))
            )
        wrong = self.differs(instance)
        if wrong:
            raise host.Refused("%s: %s after its start.%s" % (name, wrong[0], self.logged(began)))

    def logged(self, began):
        """Return what postgrey logged since log_end() was *began*."""
        lines = host.logged(self.p["maillog"], began, r"postgrey\[\d+\]: (.*(?:FATAL|ERROR|WARNING).*)")
        return " Its log: %s" % "; ".join(lines[-4:]) if lines else ""

    def back(self, files, changes, due):
        """Restore the former files and variables and restart the instances with them; return a sentence about it."""
        # the script came last: where it is new, so is everything
        if files[-1].former is None:
            return "There was no previous configuration to restore."
        try:
            for file in files:
                file.restore()
            rc.revert(changes)
            for instance in due:
                host.service(self.p["service"], "restart", instance["name"])
            # on which port it is to listen is in the former variables, which the rc script read: that it runs is what can be asked
            silent = [instance["name"] for instance in due if not self.runs(instance)]
        except (OSError, host.Refused) as problem:
            return "The previous configuration could not be restored either: %s." % problem
        if silent:
            return "The previous configuration is back, but with it %s does not run either." % " and ".join(silent)
        return "The previous configuration is back in force."

    def runs(self, instance):
        """Return whether *instance* is there and still there a second later: postgrey opens its database after it has gone into the background."""
        time.sleep(1)
        return self.process(instance) is not None

    # -- state=absent -------------------------------------------------------------------------------------------------

    def absent(self, check):
        """Stop what runs and remove what is this role's, unless *check*; return the module's answer."""
        service, script = self.p["service"], self.p["script"]
        # the script last: while it is there, the next run knows that there is something to remove
        paths = [*(item["path"] for item in self.p["lists"]), script]
        files = [path for path in paths if MARK in (host.read(path) or "")]
        names = ["%s_%s_flags" % (service, instance["name"]) for instance in self.p["instances"]]
        changes = rc.compare(dict.fromkeys([*names, "%s_instances" % service, "%s_enable" % service]))
        running = [instance for instance in self.p["instances"] if self.process(instance)]
        diff = [host.difference(path, host.read(path), None) for path in files]
        if not check:
            for instance in running:
                process.stop(functools.partial(self.process, instance), service, script, instance["name"])
            rc.apply(changes)
            host.remove(*files)
            for directory in {os.path.dirname(path) for path in paths[:-1]}:
                if os.path.isdir(directory) and not os.listdir(directory):
                    os.rmdir(directory)
        findings = [
            finding("service postgrey %s" % one["name"], "postgrey %s" % one["name"], "not running", "running")
            for one in running
        ]
        return {
            "changed": bool(files or changes or running),
            "findings": findings,
            "diff": diff + rc.diff(changes),
        }


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "program": {"type": "path", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "user": {"type": "str", "default": "postgrey"},
            "service": {"type": "str", "required": True},
            "script": {"type": "path", "required": True},
            "script_text": {"type": "str", "default": ""},
            "address": {"type": "str", "default": "127.0.0.1"},
            "instances": {"type": "list", "elements": "dict", "required": True},
            "lists": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "variable": {"type": "str", "default": ""},
                    "text": {"type": "str", "default": ""},
                },
            },
            "stock": {"type": "list", "elements": "path", "default": []},
            "probe": {"type": "str", "default": ""},
            "maillog": {"type": "path", "default": "/var/log/maillog"},
        },
        required_if=[("state", "present", ["script_text", "probe"])],
        supports_check_mode=True,
    )
    postgrey = Postgrey(module.params)
    host.answer(module, lambda: getattr(postgrey, module.params["state"])(module.check_mode))


if __name__ == "__main__":
    main()
