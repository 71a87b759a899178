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
from ansible.module_utils.sokuhai import host, policy, process
from ansible.module_utils.sokuhai.service import Sole

PROGRAM, PIDFILE = "/usr/local/bin/darkhttpd", "/var/run/sokuhai_builder.pid"


class Server(Sole):
    """What the module's parameters *p* declare, and its one process."""

    ROLE, MARK = "builder", "Written by sokuhai's role builder"
    title = "sokuhai_builder"

    def __init__(self, p):
        super().__init__({**p, "service": self.title, "packages": ["darkhttpd"], "program": PROGRAM})

    def declared(self):
        return [(self.p["script"], self.p["text"], 0o555)]

    def variables(self):
        return {self.title + "_enable": "YES"}

    def absence(self):
        return "builder_enabled: there is no %s after darkhttpd was installed" % PROGRAM

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

    def refuse_taken(self):
        if not self.process():
            policy.refuse_taken(self.p["address"], self.p["port"], "builder_port", "builder_listen")

    def present(self, check):
        return {**super().present(check), "pubkey": public_key(self.p["key"])}

    def absent(self, check):
        return {**super().absent(check), "pubkey": ""}


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
