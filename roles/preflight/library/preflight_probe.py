#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask a FreeBSD host, in one call and without changing anything, what role preflight judges."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_probe
short_description: Read what the chain of limits and the other checks of preflight need
description:
  - Reads only; check mode is the same as a real run.
  - A tool that is missing answers null, never an error. Reading /boot/loader.conf needs no privilege, procstat and pfctl need root.
options:
  names: {description: Names of sysctls to read., type: list, elements: str, required: true}
  classes: {description: Login classes whose openfiles are asked for., type: list, elements: str, default: [daemon]}
  services: {description: Services whose running process is looked at., type: list, elements: str, default: [named, postfix]}
"""
RETURN = r"""
probe:
  description: sysctl, unknown, tunable, writable, classes, running, rc, named, postfix, pf, jailed, settings, release, disk, pkg, modules, ident
  type: dict
  returned: always
"""

import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import run, sysctl
from ansible.module_utils.sokuhai.limits import Host


def program(*paths):
    """Return the first of *paths* that can be run, or None."""
    for path in paths:
        if os.access(path, os.X_OK):
            return path
    return None


def named():
    """version, and whether this named's own checker accepts `files` (fatal from BIND 9.20 on)."""
    answer = {"version": None, "knows_files": None}
    binary = program("/usr/local/sbin/named", "/usr/sbin/named")
    if binary:
        match = re.search(r"BIND (\d+\.\d+\.\d+\S*)", run([binary, "-v"])[1])
        answer["version"] = match.group(1) if match else None
    checker = program("/usr/local/bin/named-checkconf", "/usr/local/sbin/named-checkconf", "/usr/bin/named-checkconf")
    if checker:
        handle, path = tempfile.mkstemp(prefix="preflight-", suffix=".conf")
        try:
            os.write(handle, b'options { directory "/"; files 1024; };\n')
            os.close(handle)
            answer["knows_files"] = run([checker, path])[0] == 0
        finally:
            os.unlink(path)
    return answer


def pf():
    answer = {"enabled": False, "states": None}
    status, out, _err = run(["pfctl", "-s", "info"])
    if status == 0 and re.search(r"^Status:\s+Enabled", out, re.M):
        answer["enabled"] = True
        match = re.search(r"^states\s+hard limit\s+(\d+)", run(["pfctl", "-s", "memory"])[1], re.M)
        answer["states"] = int(match.group(1)) if match else None
    return answer


def disk(path):
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize // 2**20


def kernel_values(host, names):
    """Values and flags of names: sysctl, unknown, tunable, writable."""
    values = host.sysctls(names)
    return {
        "sysctl": values,
        "unknown": sorted(n for n in names if n not in values),
        "tunable": sorted(host.flagged("T", names, values)),
        "writable": sorted(host.flagged("W", names, values)),
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            names=dict(type="list", elements="str", required=True),
            classes=dict(type="list", elements="str", default=["daemon"]),
            services=dict(type="list", elements="str", default=["named", "postfix"]),
        ),
        supports_check_mode=True,
    )
    params, host = module.params, Host()
    probe = kernel_values(host, params["names"])
    release = run(["freebsd-version", "-kru"])[1].split()
    status, out, _err = run(["postconf", "-h", "mail_version"])
    probe.update(
        classes={name: host.limit_of_class(name) for name in params["classes"]},
        rc={name: host.rc_script(name) for name in params["services"]},
        running={name: host.running(name) for name in params["services"] if host.rc_script(name)},
        named=named(),
        postfix={"version": out.strip() if status == 0 else None},
        pf=pf(),
        jailed=sysctl("security.jail.jailed") == "1",
        settings=host.foreign(params["names"]),
        release=dict(zip(("kernel", "running", "userland"), release)),
        ident=run(["uname", "-i"])[1].strip(),
        disk={path: disk(path) for path in ("/", "/usr", "/var")},
        pkg=run(["pkg", "-N"])[0] == 0,
        modules=[line.split()[-1] for line in run(["kldstat"])[1].splitlines()[1:] if line.split()],
    )
    module.exit_json(changed=False, probe=probe)


if __name__ == "__main__":
    main()
