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

import os
import pwd
import re
import secrets
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, policy, process
from ansible.module_utils.sokuhai.service import Service, Unit

MARK = "# Written by sokuhai's role greylist"
# Seconds: how long a start may take, and after how many a service whose process is not there is given up.
PATIENCE, GONE = 20, 5
OLDEST = (1, 32)  # --privacy, --ipv4cidr and several --whitelist-x
#: postgrey compiles its lists so (read_clients_whitelists(), read_recipients_whitelists()), and dies of one that it cannot.
COMPILE = 'for (@ARGV) { eval { qr{$_}i; 1 } or print "/$_/: $@" }'
#: What is wrong with an answer.
SILENT, UNREAD = "no answer", "allow list not read"


class Instance(Unit):
    """One of the instances of a Postgrey, *there*. declared: an entry of the module's C(instances)."""

    def __init__(self, there, declared):
        self.there, self.p, self.declared = there, there.p, declared
        self.title, self.words = "postgrey %s" % declared["name"], (declared["name"],)
        self.pidfile = "%s/%s.%s.pid" % (declared["run_directory"], there.name, declared["name"])
        # where it listens, as it stands in its arguments
        self.place = next((word.partition("=")[2] for word in declared["flags"] if word.startswith("--inet=")), "")

    def process(self):
        # the pid file is written once, after the allow lists were read
        return process.from_pidfile(self.pidfile, known_as="postgrey")

    def ask(self, sender, recipient):
        """Send one policy request and return the answer's action, as Postfix reads it; OSError where there is none."""
        question = policy.request("probe.invalid", sender, recipient, secrets.token_hex(4))
        return policy.ask(self.p["address"], self.declared["port"], question)

    def judged(self):
        """Return what is wrong with how it answers about the address that its allow list frees, or None."""
        try:
            freed = self.ask("probe@probe.invalid", self.p["probe"]).startswith("DUNNO")
            return None if freed else UNREAD
        except OSError:
            return SILENT

    def answers(self):
        return self.judged() != SILENT

    def differs(self, fresh=()):
        now = self.process()
        if now is None:
            return "not running", []
        flags = ["-d", "--pidfile=%s" % self.pidfile, "--dbdir=%s" % self.declared["database"], *self.declared["flags"]]
        # postgrey names itself by its arguments; ps(1) adds the program's own name, perl, in parentheses
        if not re.fullmatch(re.escape("postgrey %s" % " ".join(flags)) + r"( \(\S+\))?", now.command):
            return "other arguments", ["rc.conf: %s_%s_flags" % (self.there.name, self.declared["name"])]
        lists = [item["path"] for item in self.p["lists"]]
        newer = next((path for path in lists if path in fresh), None) or now.older_than(
            *lists, *self.p["stock"], program=self.p["program"]
        )
        if newer:
            return "older than %s" % newer, [newer]
        wrong = self.judged()
        return (wrong, []) if wrong else None

    def refuse_taken(self):
        # itself it may be there already
        now = self.process()
        if not (now and "--inet=%s" % self.place in now.command.split()):
            variable = "greylist_%s_port" % self.declared["name"]
            policy.refuse_taken(self.p["address"], self.declared["port"], variable, "greylist_address")

    def restart(self):
        """Start it, again where it runs, and have it greylist a stranger, which it can only do with its database. Raises Refused."""
        began = host.log_end(self.p["maillog"])
        word, printed = self.there.rerun(self)
        given_up = time.monotonic() + GONE

        def first_answer():
            if time.monotonic() > given_up and not self.process():
                raise host.Refused("it does not run")
            return self.ask("%s@probe.invalid" % secrets.token_hex(6), "postmaster-probe@probe.invalid")

        try:
            answer = host.retry(first_answer, PATIENCE, pause=0.1)
        except (OSError, host.Refused) as trouble:
            said = "%s %s: %s%s" % (self.there.name, word, printed, self.logged(began))
            raise host.Refused("%s does not answer on %s (%s). %s" % (self.title, self.place, trouble, said)) from None
        if not re.match(r"(?i)(defer|4\d\d)", answer):
            raise host.Refused(
                "%s answers a stranger's first attempt with %r and does not greylist it.%s"
                % (self.title, answer, self.logged(began))
            )
        wrong = self.differs()
        if wrong:
            raise host.Refused("%s: %s after its start.%s" % (self.title, wrong[0], self.logged(began)))

    def logged(self, began):
        """Return what postgrey logged since log_end() was *began*."""
        lines = host.logged(self.p["maillog"], began, r"postgrey\[\d+\]: (.*(?:FATAL|ERROR|WARNING).*)")
        return " Its log: %s" % "; ".join(lines[-4:]) if lines else ""

    def runs(self):
        """Return whether it is there and still there a second later: postgrey opens its database after it has gone into the background. On which port it is
        to listen is in the former variables, which the rc script read: nothing else can be asked."""
        time.sleep(1)
        return self.process() is not None


class Postgrey(Service):
    """What the module's parameters *p* declare."""

    ROLE, MARK = "greylist", MARK

    def declared(self):
        lists = [(item["path"], item["text"], 0o644) for item in self.p["lists"]]
        return [*lists, (self.p["script"], self.p["script_text"], 0o555)]

    def variables(self):
        flags = {"%s_%s_flags" % (self.name, one["name"]): one.get("rc") for one in self.p["instances"]}
        names = " ".join(one["name"] for one in self.p["instances"])
        return {**flags, "%s_instances" % self.name: names, "%s_enable" % self.name: "YES"}

    def units(self):
        return [Instance(self, one) for one in self.p["instances"]]

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

    def absence(self):
        return "greylist_install: there is no %s; set greylist_install: true, or install postgrey" % self.p["program"]

    def judge(self, files):
        """Refuse a user or a list that is not there, and the expressions that perl does not compile."""
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
        problems = []
        for item in self.p["lists"]:
            found = [line[1:-1] for line in item["text"].splitlines() if line.startswith("/")]
            said = host.run(["perl", "-e", COMPILE, "--", *found])[1] if found else ""
            problems += ["%s: %s" % (item["variable"], line.partition(" at -e line")[0]) for line in said.splitlines()]
        if problems:
            raise host.Refused(problems)

    def absent(self, check):
        answer = super().absent(check)
        for directory in {os.path.dirname(item["path"]) for item in self.p["lists"]} if not check else ():
            if os.path.isdir(directory) and not os.listdir(directory):
                os.rmdir(directory)
        return answer


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
