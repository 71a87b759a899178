#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What named.conf depends on, asked in one remote call."""

DOCUMENTATION = r"""
---
module: bind_info
short_description: Ask a FreeBSD host about its named
description:
  - Reads only. Finds named through its rc.conf variables, and asks it, named-checkconf and the kernel.
options:
  probe:
    description: Statements for the options block, by name; named-checkconf's exit status says whether this named knows them.
    type: dict
    default: {}
author: sokuhai
"""

RETURN = r"""
installed: {description: Whether named and named-checkconf are there, type: bool, returned: always}
program: {description: "Path of named, as rc.conf has it", type: str, returned: always}
conf: {description: Path of named.conf as rc.conf has it, type: str, returned: always}
version: {description: "Such as 9.20.30", type: str, returned: when installed}
knows: {description: For each probe whether named-checkconf took it, type: dict, returned: when installed}
physmem: {description: hw.physmem in bytes, type: int, returned: always}
udp_ports: {description: First and last port of the kernel's range for named's outgoing queries, type: list, returned: always}
"""

import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import leftovers
from ansible.module_utils.sokuhai.host import run, sysctl_int, write
from ansible.module_utils.sokuhai.named import beside, rc_variables


def accepted(checkconf, statement):
    """Return whether named-checkconf takes the statement inside an options block."""
    with tempfile.TemporaryDirectory(prefix="sokuhai-bind-") as folder:
        path = os.path.join(folder, "probe.conf")
        write(path, "options {\n%s\n};\n" % statement)
        return run([checkconf, path])[0] == 0


def main():
    module = AnsibleModule(argument_spec={"probe": {"type": "dict", "default": {}}}, supports_check_mode=True)
    rc = rc_variables()
    wrong = leftovers.named(rc)
    if wrong:
        module.fail_json(msg="; ".join(wrong), problems=wrong)
    program, checkconf = rc["named_program"], beside(rc["named_program"], "named-checkconf")
    result = {
        "installed": os.access(program, os.X_OK) and checkconf is not None,
        "program": program,
        "conf": rc["named_conf"],
        "physmem": sysctl_int("hw.physmem") or 0,
        "udp_ports": [sysctl_int("net.inet.ip.portrange." + end) or 0 for end in ("hifirst", "hilast")],
    }
    if result["installed"]:
        version = re.search(r"BIND\s+(\d+\.\d+\.\d+)", run([program, "-v"])[1])
        result["version"] = version.group(1) if version else ""
        result["knows"] = {name: accepted(checkconf, text) for name, text in module.params["probe"].items()}
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
