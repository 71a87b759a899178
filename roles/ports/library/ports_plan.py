#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role ports would do on this host, in one call; changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ports_plan
short_description: Compare ports with their declared state
description:
  - Names what differs between each declared port and the installed package, and which of them has to be built for it.
  - Evaluates make.conf as it is going to be, without writing it. Check mode is the same as a real run.
options:
  ports: {description: "The ports, each with the options of module ports_port.", type: list, elements: dict, required: true}
  settings: {description: The options that all ports share; those of module ports_port., type: dict, required: true}
author: sokuhai
"""
RETURN = r"""
ports:
  description: "For each port: origin, flavor, name, version (of the tree), installed, build, drift ({kind, message}), recorded, locked, running."
  type: list
  returned: always
build: {description: Origins of those that have to be built., type: list, returned: always}
drift: {description: All drift in one list., type: list, returned: always}
problems: {description: Reasons why what is needed cannot be done., type: list, returned: always}
notes: {description: What could not be known., type: list, returned: always}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_host import (
    PORT_OPTIONS,
    SETTINGS,
    Port,
    branch_problem,
    packages,
    parse_repositories,
    quarter,
    run,
    tree_head,
    wanted_branch,
)
from ansible.module_utils.sokuhai.host import Refused


def sources(settings):
    """(problems, notes, branch, commit) of the ports tree."""
    wanted = wanted_branch(parse_repositories(run(["pkg", "-vv"])[1]))
    now = time.time()
    if settings["branch"] != "auto":
        wanted = settings["branch"]
    clone = "git clone --depth 1 -b %s https://git.FreeBSD.org/ports.git %s" % (
        quarter(now) if wanted in ("quarterly", None) else wanted,
        settings["tree"],
    )
    if not os.path.exists(os.path.join(settings["tree"], "Mk/bsd.port.mk")):
        return (
            [
                "there is no ports tree in %s. Bring it: pkg install -y git-lite && %s (or declare ports_tree_fetch: git)"
                % (settings["tree"], clone)
            ],
            [],
            None,
            None,
        )
    branch, commit = tree_head(settings["tree"])
    if settings["branch"] not in ("auto", "main", "quarterly"):
        problem = (
            None
            if branch in (None, wanted)
            else "the ports tree is of branch %s, ports_branch says %s" % (branch, wanted)
        )
        note = "the ports tree is no git checkout: its branch is not known" if branch is None else None
    else:
        problem, note = branch_problem(branch, wanted, now)
    if problem:
        problem += ". Bring the right one: mv %s %s.old && %s; or say ports_branch: %s" % (
            settings["tree"],
            settings["tree"],
            clone,
            branch,
        )
    return [problem] if problem else [], [note] if note else [], branch, commit


def main():
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "dict", "required": True, "options": PORT_OPTIONS},
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
        },
        supports_check_mode=True,
    )
    settings, result = (
        module.params["settings"],
        {
            "ports": [],
            "build": [],
            "drift": [],
            "problems": [],
            "notes": [],
            "branch": None,
            "commit": None,
            "changed": False,
        },
    )
    trouble = []
    if settings["method"] == "ports" and module.params["ports"]:
        trouble, result["notes"], result["branch"], result["commit"] = sources(settings)
        if not os.path.exists(os.path.join(settings["tree"], "Mk/bsd.port.mk")):
            # which options it will have, and what has to be built, is known once it is there
            fetch = settings["fetch"] != "none"
            module.exit_json(
                **dict(
                    result,
                    problems=[] if fetch else trouble,
                    build=[item["origin"] for item in module.params["ports"]],
                    notes=["predicted: the ports tree is fetched to %s first" % settings["tree"]] if fetch else [],
                )
            )
    every = packages()
    for item in module.params["ports"]:
        port = Port(item, settings, every)
        try:
            port.look()
        except Refused as reason:
            result["problems"].append(str(reason))
            continue
        result["ports"].append(port.summary())
        result["drift"] += port.drift
        result["problems"] += port.problems()
        if port.to_build:
            result["build"].append(item["origin"])
    if result["build"]:
        result["problems"] = trouble + result["problems"]
    else:
        result["notes"] += trouble
    module.exit_json(**result)


if __name__ == "__main__":
    main()
