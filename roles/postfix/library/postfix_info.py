#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask the host which Postfix it has."""

DOCUMENTATION = r"""
module: postfix_info
short_description: Ask the host which Postfix it has
description:
  - Reads paths and what it knows from the installed postconf(1), so that no role has to assume them.
  - Changes nothing. Works in check mode, and on a host without Postfix (installed is false then).
options:
  predicted:
    description: "The parameters to ask, from the present main.cf, else the compiled defaults, and default_database_type; with the values that are
      returned where Postfix is not installed."
    type: dict
    required: true
  optional:
    description: Parameters that only some releases know; what this one lacks is returned as unknown.
    type: list
    elements: str
    default: []
  required: {description: Fail where Postfix is not installed., type: bool, default: true}
author: sokuhai
"""

RETURN = r"""
installed: {description: Whether postconf was found., type: bool, returned: always}
paths: {description: "The asked parameters, by name.", type: dict, returned: always}
default_database_type: {description: The compiled default., type: str, returned: always}
unknown: {description: Names of optional that this Postfix does not know., type: list, returned: always}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host


def settled(postconf):
    """Wait for a main.cf that is younger than two seconds: it is read twice, and postconf forgets meanwhile where it was to look."""

    def old_enough():
        path = os.path.join(host.run([postconf, "-h", "config_directory"])[1].rstrip("\n"), "main.cf")
        return not os.path.exists(path) or abs(time.time() - os.stat(path).st_mtime) > 2.5

    host.wait_until(old_enough, 3)


def main():
    module = AnsibleModule(
        argument_spec={
            "predicted": {"type": "dict", "required": True},
            "optional": {"type": "list", "elements": "str", "default": []},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    paths = dict(module.params["predicted"])
    answer = {"installed": False, "unknown": [], "default_database_type": paths.pop("default_database_type")}
    optional = module.params["optional"]
    postconf = module.get_bin_path("postconf", opt_dirs=host.PATH.split(":"))
    if postconf:
        settled(postconf)
        # A main.cf that Postfix cannot read is what this role is going to replace; the compiled defaults still hold.
        for source in ([], ["-d"]):
            status, out, err = host.run([postconf, *source, "-hx", *paths])
            if status == 0 and len(out.splitlines()) == len(paths):
                break
        else:
            module.fail_json(msg="postconf does not answer: %s" % err, rc=status)
        paths = dict(zip(paths, out.splitlines()))
        # postconf(1) warns of a name it does not know and prints the others.
        known = host.run([postconf, "-d", *optional])[1] if optional else ""
        known = {line.partition("=")[0].strip() for line in known.splitlines()}
        answer = {
            "installed": True,
            "default_database_type": host.run([postconf, "-d", "-h", "default_database_type"])[1].strip(),
            "unknown": [name for name in optional if name not in known],
        }
    elif module.params["required"]:
        module.fail_json(
            msg="postfix_install: Postfix is not installed, there is no postconf; install it or set postfix_install: true"
        )
    else:
        module.warn("predicted: Postfix is not installed; its paths and its type of tables are those of the package")
    module.exit_json(changed=False, paths=paths, **answer)


if __name__ == "__main__":
    main()
