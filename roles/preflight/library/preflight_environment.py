#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host returns to when a run was a mistake: a boot environment, made before the first change."""

DOCUMENTATION = r"""
module: preflight_environment
short_description: Have a boot environment of the host as it is
description: One of that name that is there already stays as it is. Fails where the host cannot have any, or runs in it.
options:
  name: {description: Its name., type: str, required: true}
author: sokuhai
"""
RETURN = ""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import environments, host


def have(name, check):
    """Return what the module answers. Raises Refused."""
    why = environments.refusal(name)
    if why:
        raise host.Refused("preflight_boot_environment: %s" % why)
    return {"changed": name not in environments.listed() if check else environments.create(name)}


def main():
    module = AnsibleModule(argument_spec=dict(name=dict(type="str", required=True)), supports_check_mode=True)
    host.answer(module, lambda: have(module.params["name"], module.check_mode))


if __name__ == "__main__":
    main()
