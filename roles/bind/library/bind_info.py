#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Everything role bind wants to know about a host's named, in one remote call."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: bind_info
short_description: Ask a FreeBSD host about its named
description:
  - Reads only. Finds named through its rc.conf variables, asks it and named-checkconf what they know, and reads the
    running process.
options:
  probe:
    description: Statements for the options block, by name; named-checkconf's exit status says whether this named knows them.
    type: dict
    default: {}
  server:
    description: Address that is asked to find out whether named answers.
    type: str
    default: 127.0.0.1
  probe_name:
    description: Domain whose NS records are asked for to see whether named recurses.
    type: str
    default: .
author: sokuhai
"""

EXAMPLES = r"""
- name: Ask named
  bind_info:
    probe:
      files: files 65535;
  register: __bind_info
"""

RETURN = r"""
installed: {description: Whether named and named-checkconf are there, type: bool, returned: always}
version: {description: "Such as 9.20.30", type: str, returned: always}
package: {description: "Name of the package that owns named, empty when none does", type: str, returned: always}
knows: {description: For each probe whether named-checkconf took it, type: dict, returned: always}
rc_conf: {description: rc.conf values with the rc script's defaults, type: dict, returned: always}
running: {description: "pid, started, loaded (epoch seconds), openfiles_soft and openfiles_hard (-1: infinity); null when not running",
  type: dict, returned: always}
stale: {description: named.conf is newer than what the running named has loaded, type: bool, returned: always}
answers: {description: Something answers DNS at server, type: bool, returned: always}
recurses: {description: and finds NS of probe_name, type: bool, returned: always}
physmem: {description: hw.physmem in bytes, type: int, returned: always}
udp_ports: {description: First and last of the kernel's range for named's outgoing questions, type: list, returned: always}
local_unbound: {description: local_unbound runs, type: bool, returned: always}
resolv_conf: {description: "Text of /etc/resolv.conf", type: str, returned: always}
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bind_host import (
    answers,
    beside,
    loaded_at,
    named_version,
    openfiles,
    rc_variables,
    recurses,
    running_named,
    sysctl_int,
)
from ansible.module_utils.sokuhai.host import read, run


def accepted(checkconf, statement):
    """True when named-checkconf takes the statement inside an options block."""
    with tempfile.TemporaryDirectory(prefix="sokuhai-bind-") as folder:
        path = os.path.join(folder, "probe.conf")
        with open(path, "w", encoding="utf-8") as handle:
            handle.write("options {\n%s\n};\n" % statement)
        return run([checkconf, path])[0] == 0


def main():
    module = AnsibleModule(
        argument_spec={
            "probe": {"type": "dict", "default": {}},
            "server": {"type": "str", "default": "127.0.0.1"},
            "probe_name": {"type": "str", "default": "."},
        },
        supports_check_mode=True,
    )
    rc = rc_variables()
    program, conf = rc["named_program"], rc["named_conf"]
    checkconf, rndc = beside(program, "named-checkconf"), beside(program, "rndc")
    installed = os.access(program, os.X_OK) and checkconf is not None
    conf_text = read(conf)
    result = {
        "changed": False,
        "installed": installed,
        "program": program,
        "checkconf": checkconf or "",
        "rndc": rndc or "",
        "conf": conf,
        "rc_conf": rc,
        "version": "",
        "package": "",
        "knows": {},
        "running": None,
        "stale": False,
        "answers": False,
        "recurses": False,
        "physmem": sysctl_int("hw.physmem") or 0,
        "udp_ports": [sysctl_int("net.inet.ip.portrange." + end) or 0 for end in ("hifirst", "hilast")],
        "maxfilesperproc": sysctl_int("kern.maxfilesperproc") or 0,
        "resolv_conf": read("/etc/resolv.conf") or "",
        "resolvconf_conf": read("/etc/resolvconf.conf") or "",
        "local_unbound": run(["service", "local_unbound", "onestatus"])[0] == 0,
    }
    if installed:
        result["version"] = named_version(program) or ""
        owner = run(["pkg", "which", "-q", program])
        result["package"] = owner[1].strip().rpartition("-")[0] if owner[0] == 0 else ""
        result["knows"] = {name: accepted(checkconf, text) for name, text in module.params["probe"].items()}
        process = running_named(conf_text, rc["named_chrootdir"])
        if process:
            limit = openfiles(process["pid"]) or (0, 0)
            process["openfiles_soft"], process["openfiles_hard"] = (-1 if n is None else n for n in limit)
            process["loaded"] = loaded_at(rndc, process["started"])
            result["running"] = process
            result["stale"] = conf_text is not None and int(os.stat(conf).st_mtime) >= process["loaded"]
            server = module.params["server"]
            result["answers"] = answers(server)
            result["recurses"] = result["answers"] and recurses(server, module.params["probe_name"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
