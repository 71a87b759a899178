#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""postfwd with a ruleset and an rc script of ours, as one transaction on the host."""

DOCUMENTATION = r"""
module: sasl_postfwd
short_description: postfwd as a policy service of Postfix, beside any other postfwd of the host
description:
  - With O(state=present), installs the package where there is no postfwd, has postfwd read the staged rules, writes rules, rc script and rc.conf's variable, and
    starts it, or restarts it where it is older than one of them or its program, or does not answer. It is asked as Postfix asks it. Where that fails, the former
    files come back.
  - With O(state=absent), stops it and removes what this module wrote.
options:
  state: {type: str, choices: [present, absent], default: present}
  program: {type: path, required: true}
  packages: {type: list, elements: str, default: [], description: Packages that are installed where there is no postfwd.}
  service: {type: str, required: true, description: Name of the rc script and of its pid file.}
  config: {type: path, required: true, description: The file of rules.}
  config_text: {type: str, default: ''}
  script: {type: path, required: true}
  script_text: {type: str, default: ''}
  address: {type: str, default: 127.0.0.1}
  port: {type: int, default: 10029}
  run_directory: {type: path, default: /var/run}
  maillog: {type: path, default: /var/log/maillog}
author: sokuhai
"""

RETURN = r"""
predicted: {description: postfwd is not installed yet., type: bool, returned: state=present}
findings:
  description: "package NAME; mode of PATH; service postfwd, whose `found` is not running, older than PATH, or no answer."
  type: list
  elements: dict
  returned: success
"""

import os
import re
import secrets
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, policy, process
from ansible.module_utils.sokuhai.service import Sole

MARK = "# Written by sokuhai's role sasl"
#: Seconds that a start may take until it answers.
PATIENCE = 20


class Postfwd(Sole):
    """What the module's parameters *p* declare, and its one process."""

    ROLE, MARK, WITHOUT = "sasl", MARK, "; Postfix lets mail pass without an answer"
    title = "postfwd"

    def declared(self):
        return [(self.p["config"], self.p["config_text"], 0o644), (self.p["script"], self.p["script_text"], 0o555)]

    def variables(self):
        return {"%s_enable" % self.name: "YES"}

    # -- asking the host ----------------------------------------------------------------------------------------------

    def installed(self):
        """Return whether postfwd is installed. Its Perl modules are loaded for that; Refused where it cannot run."""
        if not os.access(self.p["program"], os.X_OK):
            return False
        # postfwd 1 ends with status 1 after that
        _status, out, err = host.run([self.p["program"], "--version"])
        if not re.search(r"^postfwd\d? \d+\.\d+", out, re.MULTILINE):
            raise host.Refused(
                "%s does not run: %s. A module of Perl that it needs may be missing (pkg check -d postfix-postfwd)"
                % (self.p["program"], " ".join((err or out).split())[:400])
            )
        return True

    def absence(self):
        return (
            "sasl_recipients_per_hour: there is no %s; set sasl_install: true, or install postfwd" % self.p["program"]
        )

    def process(self):
        # the pid file is written once, at the start
        return process.from_pidfile("%s/%s.pid" % (self.p["run_directory"], self.name), known_as="postfwd")

    def ask(self):
        """Return what it answers about a stranger, whom no rule concerns; OSError where it does not answer."""
        question = policy.request("probe.invalid", "probe@probe.invalid", "probe@probe.invalid", secrets.token_hex(4))
        return policy.ask(self.p["address"], self.p["port"], question)

    def answers(self):
        try:
            return self.ask().upper() == "DUNNO"
        except OSError:
            return False

    # -- state=present ------------------------------------------------------------------------------------------------

    def judge(self, files):
        if files[0].differs:
            self.check_rules(files[0].text)

    def refuse_taken(self):
        if not self.process():
            policy.refuse_taken(self.p["address"], self.p["port"], "sasl_recipients_port", "sasl_recipients_port")

    def check_rules(self, text):
        """Have postfwd read the rules *text* from a file of its own: it leaves out what it does not understand, and says how many it has."""
        wanted = len(re.findall(r"^id=", text, re.MULTILINE))
        # not beside the real file: a check run writes nothing there
        with tempfile.NamedTemporaryFile("w", prefix="sokuhai-", encoding="utf-8") as staged:
            staged.write(text)
            staged.flush()
            os.chmod(staged.name, 0o644)
            _status, out, err = host.run([self.p["program"], "--showconfig", "--file", staged.name])
        found = len(re.findall(r"^Rule +\d+:", out, re.MULTILINE))
        if found != wanted:
            raise host.Refused(
                "%s reads %d of %d rules of %s, the old ones stay: %s"
                % (self.p["program"], found, wanted, self.p["config"], " ".join(err.split())[-400:])
            )

    def restart(self):
        began = host.log_end(self.p["maillog"])
        word, printed = self.rerun(self)
        if not host.wait_until(self.answers, PATIENCE, 0.1):
            lines = host.logged(self.p["maillog"], began, r"postfwd\S*\[\d+\]: (.*(?:FATAL|ERROR|rror|warning).*)")
            raise host.Refused(
                "postfwd does not answer on %s:%d. %s %s: %s %s"
                % (self.p["address"], self.p["port"], self.name, word, printed, "; ".join(lines[-4:]))
            )
        wrong = self.differs()
        if wrong:
            raise host.Refused("postfwd: %s after its start" % wrong[0])


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "program": {"type": "path", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "service": {"type": "str", "required": True},
            "config": {"type": "path", "required": True},
            "config_text": {"type": "str", "default": ""},
            "script": {"type": "path", "required": True},
            "script_text": {"type": "str", "default": ""},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 10029},
            "run_directory": {"type": "path", "default": "/var/run"},
            "maillog": {"type": "path", "default": "/var/log/maillog"},
        },
        required_if=[("state", "present", ["config_text", "script_text"])],
        supports_check_mode=True,
    )
    postfwd = Postfwd(module.params)
    host.answer(module, lambda: getattr(postfwd, module.params["state"])(module.check_mode))


if __name__ == "__main__":
    main()
