#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role ports would do on this host, in one call; changes nothing."""

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
findings: {description: "What differs, `port ORIGIN: KIND`; the kinds are in the role's README.", type: list, returned: always}
build: {description: Origins of those that have to be built., type: list, returned: always}
problems: {description: Reasons why what is needed cannot be done., type: list, returned: always}
notes: {description: What is unknown or predicted., type: list, returned: always}
"""

import time

from ansible.module_utils import ports_branch
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_options import PORT, SETTINGS
from ansible.module_utils.ports_state import Port
from ansible.module_utils.sokuhai import git, pkg
from ansible.module_utils.sokuhai.host import Refused


def judge_tree(settings):
    """Return (problem, note), each a str or "", about the ports tree."""
    tree, now = settings["tree"], time.time()
    wanted = ports_branch.of_packages() if settings["branch"] == "auto" else settings["branch"]
    branch = ports_branch.quarter(now) if wanted in ("quarterly", None) else wanted
    clone = "git clone --depth 1 -b %s https://git.FreeBSD.org/ports.git %s" % (branch, tree)
    if not ports_branch.there(tree):
        if settings["fetch"] != "none":
            return "", "predicted: the ports tree is fetched to %s first" % tree
        problem = (
            "there is no ports tree in %s. Fetch it: pkg install -y git-lite && %s (or set ports_tree_fetch to git)"
        )
        return problem % (tree, clone), ""
    found = git.head(tree)[0]
    problem, note = ports_branch.judge(found, wanted, now)
    if problem:
        problem += ". Bring the right one: mv %s %s.old && %s; or set ports_branch to %s" % (tree, tree, clone, found)
    return problem, note


def plan(ports, settings):
    """Return what the module answers."""
    found = {"findings": [], "build": [], "problems": [], "notes": []}
    problem = note = ""
    if settings["method"] == "ports" and ports:
        problem, note = judge_tree(settings)
        if not ports_branch.there(settings["tree"]):
            # which options it will have, and what has to be built, is known once it is there
            found["build"] = [item["origin"] for item in ports]
            ports = []
    every = pkg.installed() if ports else []
    for item in ports:
        port = Port(item, settings, every)
        try:
            port.look()
        except Refused as reason:
            found["problems"] += reason.problems
            continue
        found["findings"] += port.findings()
        found["problems"] += port.problems()
        if port.to_build:
            found["build"].append(item["origin"])
    # a tree of another branch hinders nobody who builds nothing
    (found["problems"] if found["build"] else found["notes"]).insert(0, problem)
    found["notes"].append(note)
    return {key: [entry for entry in entries if entry] for key, entries in found.items()}


def main():
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "dict", "required": True, "options": PORT},
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **plan(module.params["ports"], module.params["settings"]))


if __name__ == "__main__":
    main()
