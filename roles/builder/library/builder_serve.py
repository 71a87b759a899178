#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Serve the repository by darkhttpd, as one transaction on the host."""

DOCUMENTATION = r"""
module: builder_serve
short_description: darkhttpd for one repository of packages
description:
  - With O(state=present), installs the package where the program is missing, writes the rc script and rc.conf(5)'s variable, and starts or restarts the
    daemon where it does not run, is older than its script or its program, or does not answer.
  - With O(state=absent), stops it and removes the script and the variable.
options:
  state: {type: str, choices: [present, absent], default: present}
  script: {type: path, required: true}
  text: {type: str, required: true, description: Whole text of it.}
  root: {type: path, required: true, description: What is served.}
  address: {type: str, required: true}
  port: {type: int, required: true}
  key: {type: path, required: true, description: The private key that signs the repository.}
author: sokuhai
"""
RETURN = r"""
pubkey: {description: "The public key, PEM; empty where there is none yet.", type: str, returned: success}
findings: {description: "package NAME; mode of PATH; service sokuhai_builder.", type: list, elements: dict, returned: success}
"""

import http.client

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.builder_state import public_key
from ansible.module_utils.sokuhai import host, pkg, process, rc
from ansible.module_utils.sokuhai.files import File, refuse_strangers
from ansible.module_utils.sokuhai.findings import finding

SERVICE, PROGRAM, PIDFILE = "sokuhai_builder", "/usr/local/bin/darkhttpd", "/var/run/sokuhai_builder.pid"
MARK = "Written by sokuhai's role builder"
PATIENCE = 20


class Server:
    """What the module's parameters *p* declare."""

    def __init__(self, p):
        self.p = p
        self.file = File(p["script"], p["text"] if p["state"] == "present" else None, 0o555)
        refuse_strangers([self.file], MARK, "builder")

    def process(self):
        return process.from_pidfile(PIDFILE, known_as=PROGRAM)

    def ask(self):
        """Fetch what pkg(8) fetches first; OSError where it does not come."""
        connection = http.client.HTTPConnection(self.p["address"], self.p["port"], timeout=5)
        try:
            connection.request("GET", "/meta.conf")
            status = connection.getresponse().status
        except http.client.HTTPException as problem:
            raise OSError("it answers %r" % problem) from problem
        finally:
            connection.close()
        if status != 200:
            raise OSError("it answers %d for /meta.conf" % status)

    def wrong(self, fresh):
        """Return what is wrong with the running daemon, or None. fresh: whether its script is to be written."""
        now = self.process()
        if now is None:
            return "not running"
        newer = self.p["script"] if fresh else now.older_than(self.p["script"], program=PROGRAM)
        if newer:
            return "older than %s" % newer
        try:
            self.ask()
        except OSError:
            return "no answer"
        return None

    def present(self, check):
        """Have everything as declared, unless *check*; return the module's answer."""
        missing, file = pkg.missing(["darkhttpd"], PROGRAM), self.file
        changes = rc.compare({SERVICE + "_enable": "YES"})
        wrong = self.wrong(file.differs or changes)
        findings = pkg.findings(missing) + file.findings()
        if wrong:
            findings.append(finding("service " + SERVICE, SERVICE, "running as declared", wrong))
        answer = {
            "changed": bool(file.differs or changes or findings),
            "findings": findings,
            "diff": file.diff() + rc.diff(changes),
        }
        if not check:
            pkg.install(missing)
            try:
                file.put()
                rc.apply(changes)
                if wrong:
                    self.start()
            except (OSError, host.Refused) as problem:
                file.restore()
                raise host.Refused(str(problem)) from problem
        return {**answer, "pubkey": public_key(self.p["key"])}

    def start(self):
        """Start it, again where it runs, and have it answer. Raises Refused."""
        printed = host.service(SERVICE, "restart" if self.process() else "start")[1]
        try:
            host.retry(self.ask, PATIENCE)
        except OSError as trouble:
            raise host.Refused(
                "darkhttpd does not answer on %s port %d (%s): builder_listen must be an address of this host; service %s start: %s"
                % (self.p["address"], self.p["port"], trouble, SERVICE, printed or "silent")
            ) from None

    def absent(self, check):
        """Stop it and remove what is this role's, unless *check*; return the module's answer."""
        changes, running, file = rc.compare({SERVICE + "_enable": None}), self.process(), self.file
        if not check:
            if running:
                host.service(SERVICE, "onestop")
            file.put()
            rc.apply(changes)
        findings = [finding("service " + SERVICE, SERVICE, "not running", "running")] if running else []
        return {
            "changed": bool(file.differs or changes or running),
            "findings": findings,
            "diff": file.diff() + rc.diff(changes),
            "pubkey": "",
        }


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "script": {"type": "path", "required": True},
            "text": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    host.answer(module, lambda: getattr(Server(module.params), module.params["state"])(module.check_mode))


if __name__ == "__main__":
    main()
