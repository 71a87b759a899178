#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One port in its declared state: built as a package, proved, swapped in, locked, recorded; or left as it was."""

DOCUMENTATION = r"""
module: ports_port
short_description: Bring one port to a declared state on FreeBSD
description:
  - Builds only where something differs that a build can repair; being behind the ports tree counts with update.
  - The build runs detached from the connection. Action plugin followed watches it; a run that was broken off is taken up by the next one, which follows
    the build that still runs or goes on with the package that is ready.
  - The package is complete and proved before anything of the installed one is touched. When the daemon does not answer on the new one, the former
    package comes back.
  - Dependencies are installed from packages, never built.
options:
  origin: {description: "Category and directory, as dns/bind920.", type: str, required: true}
  flavor: {description: Flavor; the port's first one where empty., type: str, default: ''}
  package: {description: Name of the package where method is repository and it is not that of the origin., type: str, default: ''}
  options_set: {description: Options to be on., type: list, elements: str, default: []}
  options_unset: {description: Options to be off., type: list, elements: str, default: []}
  cflags: {description: Compiler flags added to CFLAGS for this port alone., type: list, elements: str, default: []}
  service: {description: rc script of the daemon that runs from this port., type: str, default: ''}
  program: {description: Program file of that daemon's main process., type: str, default: ''}
  listens:
    description: "Ports ({port, greeting}) on the loopback address that must answer after a restart if they did before."
    type: list
    elements: dict
    default: []
  proof: {description: Files of the port that must hold cflags as text., type: list, elements: str, default: []}
  settings: {description: "What all ports share; see the role's variables ports_*.", type: dict, required: true}
  step: {description: apply does it, follow reports how far a build is., type: str, choices: [apply, follow], default: apply}
author: sokuhai
"""
RETURN = r"""
findings: {description: "What differed, as module ports_plan has it.", type: list, returned: apply}
finished: {description: False while a build runs., type: bool, returned: always}
attached: {description: Whether an earlier run began that build., type: bool, returned: apply}
log: {description: Path of the build's log on the host., type: str, returned: always}
lost: {description: "Whether the build's process ended without an end of the build (killed, or the host went down).", type: bool, returned: follow}
phase: {description: What the build is doing., type: str, returned: follow}
elapsed: {description: Seconds since the build began., type: int, returned: follow}
last: {description: Last line of the log., type: str, returned: follow}
"""

import functools

from ansible.module_utils import ports_branch, ports_make
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_build import Build
from ansible.module_utils.ports_options import PORT, SETTINGS, job_of, title
from ansible.module_utils.ports_state import Port, identity, missing_libraries, outdated, restart
from ansible.module_utils.ports_swap import Swap
from ansible.module_utils.sokuhai import host, select_h
from ansible.module_utils.sokuhai.host import Refused, must


def build(item, settings, work):
    """The job: from the declaration to the running daemon. Returns what goes into its record."""
    try:
        if work.record["phase"] == "begin":
            Build(item, settings, work).package()
        if work.record["phase"] == "packaged":
            Swap(item, settings, work).save()
    except (Refused, OSError) as reason:
        raise Refused("%s. The package that is installed is as it was" % reason) from reason
    Swap(item, settings, work).swap()
    return {"lacks": missing_libraries(work.record["tree"]["PKGBASE"])}


def apply(item, settings, check):
    """Return what the module answers. Raises Refused."""
    job = job_of(item, settings)
    if job.running():
        return {"changed": True, "finished": False, "attached": True, "log": job.log}
    if (
        check
        and settings["method"] == "ports"
        and settings["fetch"] != "none"
        and not ports_branch.there(settings["tree"])
    ):
        return {
            "changed": True,
            "findings": [],
            "msg": "predicted: %s is built once the ports tree is there" % title(item),
        }
    port = Port(item, settings)
    try:
        port.look()
        problems = port.problems()
        if problems:
            raise Refused(problems)
    except Refused as reason:
        raise Refused("nothing was changed: %s" % reason) from reason
    lesser = {"make_conf", "unlocked", "process"} & set(port.differences)
    changed = port.to_build or bool(lesser)
    answer = {"changed": changed, "findings": port.findings(), "diff": port.diff}
    if check or not changed:
        return answer
    if "make_conf" in lesser:
        ports_make.put_make_conf(settings, port.make_conf_wanted)
    if not port.to_build:
        if "unlocked" in lesser:
            must(["pkg", "lock", "-yq", port.package["name"]])
        if "process" in lesser:
            restart(item)
    elif settings["method"] == "repository":
        from_repository(port)
    else:
        if settings["header"]:
            advice = "role fd_setsize has to come first (fd_setsize_needed)"
            select_h.require(settings["header"], settings["fd_setsize"], advice)
        job_of_it = functools.partial(build, item, settings)
        limit = ("ports_timeout", settings["timeout"])
        begun = job.begin(port.start(), job_of_it, ports_make.environment(item), limit)
        answer.update(finished=False, attached=not begun, log=job.log)
    return answer


def from_repository(port):
    """Put the package of one's own repository in the place of what is there."""
    name, before = port.tree["PKGBASE"], identity(port.item)
    for package in port.every:
        if package["origin"] == port.item["origin"]:
            if package["locked"]:
                must(["pkg", "unlock", "-yq", package["name"]])
            if package["name"] != name:
                must(["pkg", "delete", "-fy", package["name"]])
    must(["pkg", "install", "-fy", "-r", port.settings["repository"], name])
    if outdated(port.item, before):
        restart(port.item)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            PORT,
            settings={"type": "dict", "required": True, "options": SETTINGS},
            step={"type": "str", "choices": ["apply", "follow"], "default": "apply"},
        ),
        supports_check_mode=True,
    )
    item, settings = {name: module.params[name] for name in PORT}, module.params["settings"]

    def work():
        if module.params["step"] == "follow":
            return job_of(item, settings).follow()
        return apply(item, settings, module.check_mode)

    host.answer(module, work, before=title(item) + ": ")


if __name__ == "__main__":
    main()
