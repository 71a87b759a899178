#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Run mta-sts-daemon from its port's rc script, as one transaction on the host."""

DOCUMENTATION = r"""
module: mta_sts_daemon
short_description: The daemon that tells Postfix recipients' MTA-STS policies, compared with what is declared by what it is
description:
  - With O(state=present), installs the package where the program is missing, writes the configuration and rc.conf(5)'s variables, and starts or restarts
    the daemon where it does not run, is older than its configuration or its program, or does not answer. It is asked as Postfix asks it. Where it does
    not answer after a start, the former file and variables come back.
  - With O(state=absent), stops it and removes what this module wrote. A service of somebody else's configuration is left alone.
options:
  state: {type: str, choices: [present, absent], default: present}
  packages: {type: list, elements: str, default: [], description: "Installed where the program is missing, with O(state=present)."}
  program: {type: path, required: true}
  config: {type: path, required: true, description: Its configuration.}
  kept: {type: path, required: true, description: "A directory that is there as long as there is something to remove; role preflight looks for it."}
  text: {type: str, default: '', description: Whole text of it.}
  replace: {type: bool, default: false, description: Take the place of another configuration of an enabled service.}
  address: {type: str, default: 127.0.0.1}
  port: {type: int, default: 8461}
  user: {type: str, default: nobody}
author: sokuhai
"""

RETURN = r"""
predicted: {description: The daemon is not installed yet., type: bool, returned: state=present}
findings:
  description: "package NAME; mode of PATH; service mta_sts, whose `found` is not running, older than PATH, or no answer."
  type: list
  elements: dict
  returned: success
"""

import os
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, pkg, process, rc
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.findings import finding

#: The port's rc script (files/mta_sts.in of mail/py-postfix-mta-sts-resolver): its name, and the pid file that daemon(8) writes for it.
SERVICE, PIDFILE = "mta_sts", "/var/run/mta_sts.pid"
PORTS_CONFIG = "/usr/local/etc/mta-sts-daemon.yml"
#: A name that is no domain: it is answered without a look into the DNS.
PROBE = b"postfix .probe.invalid"
PATIENCE = 20


class Daemon:
    """What the module's parameters *p* declare."""

    def __init__(self, p):
        self.p = p

    def process(self):
        return process.from_pidfile(PIDFILE, known_as=self.p["program"])

    def ask(self):
        """Ask as Postfix does, by the protocol of socketmap_table(5), and return the answer; OSError where there is none."""
        with socket.create_connection((self.p["address"], self.p["port"]), timeout=5) as there:
            there.sendall(b"%d:%s," % (len(PROBE), PROBE))
            answer = there.recv(200)
        if b":NOTFOUND" not in answer:
            raise OSError("it answers %r" % answer.decode("utf-8", "replace"))
        return answer

    def wrong(self, fresh):
        """Return what is wrong with the running daemon, or None. fresh: whether its configuration is to be written."""
        now = self.process()
        if now is None:
            return "not running"
        newer = self.p["config"] if fresh else now.older_than(self.p["config"], program=self.p["program"])
        if newer:
            return "older than %s" % newer
        try:
            self.ask()
        except OSError:
            return "no answer"
        return None

    def refuse_another(self):
        """Refuse to take the place of a service that runs with somebody's own configuration, unless that is declared."""
        found = rc.read([SERVICE + "_enable", SERVICE + "_config"])
        config = found.get(SERVICE + "_config", PORTS_CONFIG)
        enabled = found.get(SERVICE + "_enable", "NO").upper() == "YES"
        if enabled and config != self.p["config"] and not self.p["replace"]:
            raise host.Refused(
                "mta_sts_replace_config: rc.conf enables mta_sts with %s, which this project did not write: set it to true to use this role's "
                "configuration instead, or sokuhai_mta_sts: false; that file stays either way" % config
            )

    def present(self, check):
        """Have everything as declared, unless *check*; return the module's answer."""
        missing = pkg.missing(self.p["packages"], self.p["program"])
        self.refuse_another()
        if not check:
            pkg.install(missing)
        file = File(self.p["config"], self.p["text"])
        findings, diff = pkg.findings(missing), file.diff()
        if not os.access(self.p["program"], os.X_OK):
            if check and missing:
                return {"changed": True, "predicted": True, "findings": findings, "diff": diff}
            raise host.Refused(
                "mta_sts_install: there is no %s; set mta_sts_install: true, or install the package" % self.p["program"]
            )
        wanted = {"enable": "YES", "config": self.p["config"], "user": self.p["user"]}
        changes = rc.compare({"%s_%s" % (SERVICE, name): value for name, value in wanted.items()})
        findings += file.findings()
        wrong = self.wrong(file.differs or changes)
        if wrong:
            findings.append(finding("service mta_sts", "mta_sts", "running as declared", wrong))
        if not check:
            try:
                os.makedirs(self.p["kept"], 0o755, exist_ok=True)
                file.put()
                rc.apply(changes)
                if wrong:
                    self.start()
            except (OSError, host.Refused) as problem:
                raise host.Refused("%s. %s" % (problem, self.back(file, changes))) from problem
        return {
            "changed": bool(file.differs or changes or findings),
            "predicted": False,
            "findings": findings,
            "diff": diff + rc.diff(changes),
        }

    def start(self):
        """Start it, again where it runs, and have it answer. Raises Refused."""
        printed = host.service(SERVICE, "restart" if self.process() else "start")[1]
        try:
            host.retry(self.ask, PATIENCE)
        except OSError as trouble:
            raise host.Refused(
                "mta-sts-daemon does not answer on %s port %d (%s); service mta_sts start: %s"
                % (self.p["address"], self.p["port"], trouble, printed or "silent")
            ) from None

    def back(self, file, changes):
        """Restore the former file and variables and what ran with them; return a sentence about it."""
        try:
            if self.process():
                host.service(SERVICE, "onestop")
            file.restore()
            rc.revert(changes)
            if file.former is None:
                return "There was no previous configuration to restore."
            self.start()
        except (OSError, host.Refused) as problem:
            return "The previous configuration could not be restored either: %s." % problem
        return "The previous configuration is back in force."

    def absent(self, check):
        """Stop it and remove what is this role's, unless *check*; return the module's answer."""
        names = ["%s_%s" % (SERVICE, name) for name in ("enable", "config", "user")]
        mine = rc.read(names).get(SERVICE + "_config") == self.p["config"]
        changes = rc.compare(dict.fromkeys(names)) if mine else {}
        running = self.process() if mine else None
        text = host.read(self.p["config"])
        diff = [] if text is None else [host.difference(self.p["config"], text, None)]
        if not check:
            if running:
                host.service(SERVICE, "onestop")
            rc.apply(changes)
            host.remove(self.p["config"])
            if os.path.isdir(self.p["kept"]):
                os.rmdir(self.p["kept"])
        findings = [finding("service mta_sts", "mta_sts", "not running", "running")] if running else []
        return {
            "changed": bool(diff or changes or running),
            "findings": findings,
            "diff": diff + rc.diff(changes),
        }


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "program": {"type": "path", "required": True},
            "config": {"type": "path", "required": True},
            "kept": {"type": "path", "required": True},
            "text": {"type": "str", "default": ""},
            "replace": {"type": "bool", "default": False},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 8461},
            "user": {"type": "str", "default": "nobody"},
        },
        required_if=[("state", "present", ["text"])],
        supports_check_mode=True,
    )
    daemon = Daemon(module.params)
    host.answer(module, lambda: getattr(daemon, module.params["state"])(module.check_mode))


if __name__ == "__main__":
    main()
