#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A program from a package, where the host has it from none."""

DOCUMENTATION = r"""
module: sokuhai_package
short_description: Install a package where its program is not there yet
description:
  - A program that is there is kept, of whichever package or of none, since it is somebody's choice. Where installing would remove another package,
    nothing is installed.
options:
  name: {description: The package., type: str, required: true}
  program: {description: "The program, a path or the name of a command.", type: str, required: true}
  replace: {description: "Install the package all the same, in place of the one that the program is of.", type: bool, default: false}
author: sokuhai
"""

RETURN = r"""
findings: {description: The package where it is missing., type: list, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, pkg
from ansible.module_utils.sokuhai.findings import finding


def work(p, check_mode):
    lacking = pkg.missing([p["name"]], "" if p["replace"] else p["program"])
    there = pkg.program(p["program"]) if lacking else None
    found = there and (pkg.which(there) or "%s, of no package" % there)
    thing = "package " + p["name"]
    findings = [finding(thing, thing, "installed", found or "not installed")] if lacking else []
    if not check_mode:
        pkg.install(lacking, p["replace"])
    return {"changed": bool(lacking), "findings": findings}


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "program": {"type": "str", "required": True},
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    host.answer(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
