#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What became of the last large messages, as sokuhai-report on the host has it from the mail log."""

DOCUMENTATION = r"""
module: monitor_mailings
short_description: What became of the last large messages
description:
  - Runs C(sokuhai-report --json), which reads the mail log and what newsyslog(8) made of it. Reads only; check mode is the same as a real run.
  - A host without that program, or with one of before 0.2.0, which lists no mailings, has none to report.
options:
  command: {type: path, default: /usr/local/bin/sokuhai-report, description: The program.}
  since: {type: int, default: 86400, description: Seconds back from now; messages that arrived before are left out.}
  last: {type: int, default: 5, description: Messages at most.}
  least: {type: int, default: 100, description: Recipients of a message that counts as large.}
  megabytes: {type: int, default: 128, description: "Bytes of logs that are read at most, in megabytes, the youngest first."}
author: sokuhai
"""
RETURN = r"""
mailings: {description: "The messages, the last one first, each as docs/drift.schema.json has it.", type: list, returned: always}
left_out: {description: Logs that were not read because that would have been more than O(megabytes)., type: list, returned: always}
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule


def arguments(params, now):
    """The command line (list of str) for a module's *params*; now: s since 1970."""
    given = {"last": params["last"], "least": params["least"], "megabytes": params["megabytes"]}
    given["since"] = int(now - params["since"])
    return [params["command"], "--json", *(word for name, value in given.items() for word in ("--" + name, str(value)))]


def main():
    module = AnsibleModule(
        argument_spec={
            "command": {"type": "path", "default": "/usr/local/bin/sokuhai-report"},
            "since": {"type": "int", "default": 86400},
            "last": {"type": "int", "default": 5},
            "least": {"type": "int", "default": 100},
            "megabytes": {"type": "int", "default": 128},
        },
        supports_check_mode=True,
    )
    if not os.path.exists(module.params["command"]):
        module.exit_json(changed=False, mailings=[], left_out=[])
    status, out, error = module.run_command(arguments(module.params, time.time()))
    if status == 2 and error.startswith("usage:"):
        # the host has not been provisioned since: the program knows a single message, and not these words
        module.exit_json(changed=False, mailings=[], left_out=[])
    try:
        told = json.loads(out)
        answer = {"mailings": told["mailings"], "left_out": told["left_out"]}
    except (ValueError, KeyError, TypeError):
        module.fail_json(msg=error.strip() or "sokuhai-report ended with %d" % status)
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
