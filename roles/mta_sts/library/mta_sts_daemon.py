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
from ansible.module_utils.sokuhai import host, process, rc
from ansible.module_utils.sokuhai.service import Sole

MARK = "# Written whole by sokuhai's role mta_sts"
#: The port's rc script (files/mta_sts.in of mail/py-postfix-mta-sts-resolver), and the pid file that daemon(8) writes for it.
SCRIPT, PIDFILE = "/usr/local/etc/rc.d/mta_sts", "/var/run/mta_sts.pid"
PORTS_CONFIG = "/usr/local/etc/mta-sts-daemon.yml"
#: A name that is no domain: it is answered without a look into the DNS.
PROBE = b"postfix .probe.invalid"


class Daemon(Sole):
    """What the module's parameters *p* declare, and its one process."""

    ROLE, MARK = "mta_sts", MARK
    title = "mta_sts"

    def __init__(self, p):
        super().__init__({**p, "service": "mta_sts", "script": SCRIPT})
        self.config = rc.read(["mta_sts_config"]).get("mta_sts_config", PORTS_CONFIG)
        self.others = self.config != p["config"]

    def declared(self):
        return [(self.p["config"], self.p["text"], 0o644)]

    def variables(self):
        values = {"mta_sts_enable": "YES", "mta_sts_config": self.p["config"], "mta_sts_user": self.p["user"]}
        # there are none to remove where the service is somebody else's
        return {} if self.p["state"] == "absent" and self.others else values

    def units(self):
        return [] if self.p["state"] == "absent" and self.others else super().units()

    def absence(self):
        return "mta_sts_install: there is no %s; set mta_sts_install: true, or install the package" % self.p["program"]

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

    def files(self):
        """Refuse to take the place of a service that runs with somebody's own configuration, unless that is declared."""
        enabled = rc.yes(rc.read(["mta_sts_enable"]).get("mta_sts_enable"))
        if enabled and self.others and not self.p["replace"]:
            raise host.Refused(
                "mta_sts_replace_config: rc.conf enables mta_sts with %s, which this project did not write: set it to true to use this role's "
                "configuration instead, or sokuhai_mta_sts: false; that file stays either way" % self.config
            )
        return super().files()

    def put(self, files, changes, due):
        os.makedirs(self.p["kept"], 0o755, exist_ok=True)
        super().put(files, changes, due)

    def absent(self, check):
        answer = super().absent(check)
        if not check and os.path.isdir(self.p["kept"]):
            os.rmdir(self.p["kept"])
        return answer


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
