#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Postfix's whole configuration as one transaction: stage, prove, swap, prove again, else return to what was."""

DOCUMENTATION = r"""
module: postfix_config
short_description: Stage, prove, swap and prove again a whole Postfix configuration
description:
  - Writes main.cf, master.cf and the declared tables as one set. The set is first built beside the running one and proved there;
    what Postfix would refuse, ignore, or answer with 451 never gets in.
  - C(postfix check) reads few parameters. Beyond it the module compares every yes/no and every number with the compiled
    defaults' kind, every restriction with the names smtpd knows, every C(private/X) with master.cf, opens every table, and
    starts smtpd(8) on the staged set once for each listener, then holds an RCPT dialogue with it as a stranger and as one whose name looks
    dynamic, and has it ask each policy service. A restriction that the module does not know is tried alone by this smtpd, and refused only where
    it replies 451 4.3.5.
  - After the swap every listener is spoken to over the network, and the strangers come again. One that does not greet, or answers RCPT with
    451 4.3.x, brings the previous set back, and the module fails.
  - What is running counts, not what this call changed. A stopped master, one started before the files were written, one with
    fewer descriptors than C(openfiles), a stale or missing database are repaired, and show in check mode.
  - Killed between swap and proof, the next call finds C(.previous) in the configuration directory and proves first.
  - A self-signed certificate is made before the proof, since smtpd reads it; mailer.conf(5) and rc.conf(5) are written after it.
options:
  installed: {description: "Postfix is installed; false, with paths that are predicted, only in check mode.", type: bool, default: true}
  paths:
    description: C(config_directory), C(queue_directory), C(command_directory), C(daemon_directory), C(mail_owner) and the like, by name.
    type: dict
    required: true
  main_cf: {description: Whole text., type: str, required: true}
  master_cf: {description: Whole text., type: str, required: true}
  tables:
    description: Files of the directory tables below config_directory, which holds nothing else.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: File name., type: str, required: true}
      type: {description: Postfix's table type., type: str, required: true}
      text: {description: Whole text., type: str, required: true}
      secret: {description: "Text is in secrets; file and database are 0600 and not shown.", type: bool, default: false}
      aliases: {description: "Text is aliases(5), built by postalias.", type: bool, default: false}
  samples:
    description: What the tables must answer before they go in, as in postfix_lookups.
    type: list
    elements: dict
    default: []
  secrets: {description: "{name of a secret table: its whole text}, apart since nothing may show it.", type: dict, default: {}}
  hidden: {description: "Passwords that are in main_cf or master_cf: shown nowhere, whatever is returned.", type: list, elements: str, default: []}
  certificate: {description: "Path of smtpd's certificate; Postfix reads it at start.", type: path, required: true}
  key: {description: Path of its key., type: path, required: true}
  self_signed:
    description: Make both, where they are missing, do not belong together, are not for C(hostname), or end soon. Without it they are the operator's.
    type: dict
    suboptions:
      days: {description: Days it is good for., type: int, required: true}
      renew_days: {description: Days before its end when the next one is made., type: int, required: true}
  hostname: {description: Name the probes greet with., type: str, required: true}
  domain: {description: "Probes speak of postmaster there.", type: str, required: true}
  replace: {description: Take the place of files that no role of ours wrote., type: bool, default: false}
  service: {description: rc name., type: str, default: postfix}
  openfiles: {description: Descriptors that the running master must have., type: int, default: 0}
  external_sockets: {description: "Sockets below queue_directory that another program makes.", type: list, elements: str, default: []}
  maillog: {description: "Read for what was logged when a proof fails.", type: path, default: /var/log/maillog}
  probe_client:
    description: Address that the strangers of the dialogues come from; if empty, nobody's, of a family that the set has.
    type: str
    default: ''
  mailer_conf:
    description: mailer.conf(5) that names this Postfix. Left alone without it.
    type: dict
    suboptions:
      path: {description: Its path., type: path, required: true}
      text: {description: Whole text., type: str, required: true}
  rc_conf:
    description: Variables of rc.conf(5).
    type: list
    elements: dict
    default: []
    suboptions:
      file: {description: "The file, where it is not one of rc.conf's.", type: path}
      key: {description: Name., type: str, required: true}
      value: {description: Value., type: str, required: true}
author: sokuhai
"""

RETURN = r"""
findings: {description: What differs beside the files in diff., type: list, returned: always}
verb: {description: "How master is brought to it: start, restart, reload, or empty.", type: str, returned: always}
proofs: {description: What was proved., type: list, returned: always}
previous_set:
  description: >-
    What became of it: kept (nothing was swapped), replaced, answers or stopped (it is back, as it was), silent (it is back and does not answer).
  type: str
  returned: on failure
problems: {description: What is wrong, one sentence each., type: list, returned: on failure}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postfix_transaction import Transaction
from ansible.module_utils.sokuhai import host


def main():
    module = AnsibleModule(
        argument_spec={
            "installed": {"type": "bool", "default": True},
            "paths": {"type": "dict", "required": True},
            "main_cf": {"type": "str", "required": True},
            "master_cf": {"type": "str", "required": True},
            "tables": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "text": {"type": "str", "required": True},
                    "secret": {"type": "bool", "default": False},
                    "aliases": {"type": "bool", "default": False},
                },
            },
            "samples": {"type": "list", "elements": "dict", "default": []},
            # a part of tables would be logged on the host: there a list is one string, in which a text with line ends is not found again
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "hidden": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "certificate": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "self_signed": {
                "type": "dict",
                "options": {
                    "days": {"type": "int", "required": True},
                    "renew_days": {"type": "int", "required": True},
                },
            },
            "hostname": {"type": "str", "required": True},
            "domain": {"type": "str", "required": True},
            "replace": {"type": "bool", "default": False},
            "service": {"type": "str", "default": "postfix"},
            "openfiles": {"type": "int", "default": 0},
            "external_sockets": {"type": "list", "elements": "str", "default": []},
            "maillog": {"type": "path", "default": "/var/log/maillog"},
            "probe_client": {"type": "str", "default": ""},
            "mailer_conf": {
                "type": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "text": {"type": "str", "required": True},
                },
            },
            "rc_conf": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "file": {"type": "path"},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "value": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    # Postfix's daemons read these files after they have given up root.
    os.umask(0o022)
    for table in module.params["tables"]:
        table["text"] = module.params["secrets"][table["name"]] if table["secret"] else table["text"]
    transaction = Transaction(module.params, module.check_mode, module.warn)
    host.answer(module, transaction.run, transaction.outcome)


if __name__ == "__main__":
    main()
