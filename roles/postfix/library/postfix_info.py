#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask the host which Postfix it has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postfix_info
short_description: Ask the host which Postfix it has
description:
  - Reads release, paths and map types from the installed postconf(1), so that no role has to assume them.
  - Changes nothing. Works in check mode, and on a host without Postfix (installed is false then).
options:
  names:
    description: Parameters to ask, from the present main.cf, else the compiled defaults.
    type: list
    elements: str
    required: true
  optional:
    description: Parameters that only some releases know; what this one lacks is returned as unknown.
    type: list
    elements: str
    default: []
author: sokuhai
"""

RETURN = r"""
installed: {description: Whether postconf was found., type: bool, returned: always}
version: {description: mail_version., type: str, returned: when installed}
paths: {description: The asked parameters and config_directory., type: dict, returned: when installed}
default_database_type: {description: The compiled default., type: str, returned: when installed}
unknown: {description: Names of optional that this Postfix does not know., type: list, returned: when installed}
map_types: {description: Lines of postconf -m., type: list, returned: when installed}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

DIRECTORIES = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin"]


def main():
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "optional": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    postconf = module.get_bin_path("postconf", opt_dirs=DIRECTORIES)
    if not postconf:
        module.exit_json(changed=False, installed=False)

    def ask(*arguments):
        code, out, err = module.run_command([postconf, *arguments], environ_update={"LC_ALL": "C"})
        return code, out.splitlines(), err.strip()

    names = ["config_directory", *module.params["names"]]
    # A main.cf younger than two seconds is read twice, and postconf forgets meanwhile where it was told to look.
    for dummy in range(10):
        directory = (ask("-h", "config_directory")[1] or [""])[0]
        try:
            if abs(time.time() - os.stat(os.path.join(directory, "main.cf")).st_mtime) > 2.5:
                break
        except OSError:
            break
        time.sleep(0.3)
    code, values, err = ask("-hx", *names)
    from_file = code == 0 and len(values) == len(names)
    if not from_file:
        # A main.cf that Postfix cannot read is what this role is going to replace; the compiled defaults still hold.
        code, values, err = ask("-d", "-hx", *names)
        if code != 0 or len(values) != len(names):
            module.fail_json(msg="postconf does not answer: %s" % err, rc=code)
    optional = module.params["optional"]
    # postconf(1) warns of a name it does not know and prints the others.
    known = {line.partition("=")[0].strip() for line in ask("-d", *optional)[1]} if optional else set()
    built_in = ask("-d", "-h", "mail_version", "default_database_type")[1]
    module.exit_json(
        changed=False,
        installed=True,
        postconf=postconf,
        paths=dict(zip(names, values)),
        from_main_cf=from_file,
        unknown=[name for name in optional if name not in known],
        version=built_in[0],
        default_database_type=built_in[1],
        map_types=[line.strip() for line in ask("-m")[1] if line.strip()],
    )


if __name__ == "__main__":
    main()
