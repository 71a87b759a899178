#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""poudriere's repository in its declared state: built, proved and published as a whole, or left as it was."""

DOCUMENTATION = r"""
module: builder
short_description: Build a signed repository of packages with poudriere where it is not what is declared
description:
  - Writes poudriere's files into a directory of their own (poudriere -e), makes the key that signs the repository, and begins a job that makes or updates
    the jail, has a probe package built, and then the list. Action plugin followed watches it.
  - Builds only where something differs from what the last good build was made from, or O(jail.update) is true.
options:
  etc: {description: The directory of poudriere -e., type: path, required: true}
  base: {description: BASEFS of poudriere.conf., type: path, required: true}
  packages: {description: Directory of the repository., type: path, required: true}
  files: {description: "{path below etc: text}.", type: dict, required: true}
  jail: {description: "name, release (auto is that of this host), update.", type: dict, required: true}
  tree: {description: "name, path, awaited (a check run would have fetched it).", type: dict, required: true}
  overlay: {description: Name of the overlay with the probe., type: str, required: true}
  probe: {description: Origin of the probe; empty builds none., type: str, default: ''}
  fetch: {description: Branch of FreeBSD's packages for what the ports need; empty builds them., type: str, default: ''}
  key: {description: The private key., type: path, required: true}
  state_dir: {type: path, default: /var/db/sokuhai/builder}
  log: {type: path, default: /var/log/sokuhai-builder.log}
  min_disk_mb: {type: int, default: 8000}
  timeout: {type: int, default: 86400}
  step: {description: apply does it, follow reports how far a build is., type: str, choices: [apply, follow], default: apply}
author: sokuhai
"""
RETURN = r"""
findings:
  description: "package NAME; jail; repository: PART, where PART is flags, list, conf, jail or tree (other than at the last build), key, failed or missing."
  returned: apply
finished: {description: False while a build runs., type: bool, returned: always}
attached: {description: Whether an earlier run began that build., type: bool, returned: apply}
log: {description: Path of the build's log on the host., type: str, returned: always}
"""

import functools

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.builder_build import build
from ansible.module_utils.builder_state import Builder
from ansible.module_utils.sokuhai import host

OPTIONS = {
    "etc": {"type": "path", "required": True},
    "base": {"type": "path", "required": True},
    "packages": {"type": "path", "required": True},
    "files": {"type": "dict", "required": True},
    "jail": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "update": {"type": "bool", "default": False},
        },
    },
    "tree": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "awaited": {"type": "bool", "default": False},
        },
    },
    "overlay": {"type": "str", "required": True},
    "probe": {"type": "str", "default": ""},
    "fetch": {"type": "str", "default": ""},
    "key": {"type": "path", "required": True},
    "state_dir": {"type": "path", "default": "/var/db/sokuhai/builder"},
    "log": {"type": "path", "default": "/var/log/sokuhai-builder.log"},
    "min_disk_mb": {"type": "int", "default": 8000},
    "timeout": {"type": "int", "default": 86400},
    "step": {"type": "str", "choices": ["apply", "follow"], "default": "apply"},
}


def apply(p, check):
    """Return what the module answers. Raises Refused."""
    builder = Builder(p)
    if builder.job.running():
        return {"changed": True, "finished": False, "attached": True, "log": builder.job.log}
    try:
        builder.look()
        problems = builder.problems()
        if problems:
            raise host.Refused(problems)
    except host.Refused as reason:
        raise host.Refused("nothing was changed: %s" % reason) from reason
    answer = {"changed": builder.changed, "findings": builder.findings(), "diff": builder.diff()}
    if check or not builder.changed:
        return answer
    builder.prepare()
    if builder.to_build:
        limit = ("builder_timeout", p["timeout"])
        begun = builder.job.begin(builder.start(), functools.partial(build, p), limit=limit)
        answer.update(finished=False, attached=not begun, log=builder.job.log)
    return answer


def main():
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    p = module.params

    def work():
        return Builder(p).job.follow() if p["step"] == "follow" else apply(p, module.check_mode)

    host.answer(module, work)


if __name__ == "__main__":
    main()
