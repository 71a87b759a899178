#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A kernel built and installed beside the one that runs."""

DOCUMENTATION = r"""
---
module: kernel_build
short_description: Build a FreeBSD kernel and install it under a name of its own
description:
  - Writes the kernel configuration and has make(1) build and install it, in a process of its own that goes on when the controller is gone. Action plugin
    followed watches it.
  - The kernel that runs and the one of the next boot are never touched.
options:
  kernel: {description: What is declared; as module kernel_plan has it., type: dict, required: true}
  step: {description: apply does it, follow reports how far a build is., type: str, choices: [apply, follow], default: apply}
author: sokuhai
"""

RETURN = r"""
finished: {description: False while a build runs., type: bool, returned: success}
attached: {description: Whether an earlier run began that build., type: bool, returned: apply}
log: {description: Path of the build's log on the host., type: str, returned: success}
lost: {description: "Whether the build's process ended without an end of the build (killed, or the host went down).", type: bool, returned: follow}
phase: {description: What the build is doing., type: str, returned: follow}
elapsed: {description: Seconds since the build began., type: int, returned: follow}
last: {description: Last line of the log., type: str, returned: follow}
"""

import functools
import json
import os
import time

from ansible.module_utils import kernel_file, kernel_needs
from ansible.module_utils import kernel_places as places
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kernel_host import OPTIONS, Kernel, discard
from ansible.module_utils.sokuhai import host, pkg, select_h
from ansible.module_utils.sokuhai.host import Refused, answer


def make(kernel, target, jobs):
    """Return make(1)'s arguments (list of str) for buildkernel or installkernel."""
    want = kernel.want
    argv = ["make", "-C", want["source"]]
    if target == "buildkernel":
        argv.append("-j%d" % jobs)
    argv += [target, "KERNCONF=" + want["ident"], "KERNCONFDIR=" + want["configurations"]]
    if target == "installkernel":
        # without INSTKERNNAME the running kernel would be moved away, and a second install would delete it
        argv.append("INSTKERNNAME=" + kernel.name)
        if pkg.base_packages():
            # installkernel refuses on a host of base packages otherwise; the name is ours alone
            argv.append("DESTDIR=/")
    return argv + want["make_variables"]


def build(kernel, jobs, work):
    """The job: built, installed, recorded. What it leaves in /boot when it fails is removed again."""
    began = time.time()
    try:
        for target in ("buildkernel", "installkernel"):
            work.phase(target)
            work.command(make(kernel, target, jobs), "make " + target, hold=True)
        record(kernel, int(time.time() - began))
    except (Refused, OSError) as reason:
        if kernel.name not in (kernel.running, kernel.default, "kernel"):
            discard(kernel.name)
        raise Refused("%s: %s. The kernel that runs is untouched" % (kernel.name, reason)) from reason


def record(kernel, seconds):
    """Record what is in /boot now: this makes the install count. Raises Refused where the loader, or a trial's proof, could not use it."""
    why = kernel_file.problem(kernel.file)
    if why:
        raise Refused("make ended well, but %s" % why)
    config = kernel_file.config(kernel.file)
    if kernel_file.ident(config) != kernel.want["ident"]:
        what = "ident %s" % kernel_file.ident(config) if config else "no configuration"
        raise Refused("make ended well, but %s carries %s (INCLUDE_CONFIG_FILE of kernel_base)" % (kernel.file, what))
    said = {
        "inputs": kernel.inputs,
        "built": True,
        "size": os.stat(kernel.file).st_size,
        "sha256": host.sha256(kernel.file),
        "seconds": seconds,
    }
    places.put(os.path.join(kernel.folder, places.RECORD), json.dumps(said, indent=1))
    places.put(places.state("last.json"), json.dumps({"seconds": seconds, "name": kernel.name}))
    # of a build that version 0.1.0 began
    host.remove(*map(places.state, ("build.sh", "build.json", "build.status")))


def apply(kernel, check):
    """Return what the module answers. Raises Refused."""
    want, job = kernel.want, kernel.job
    if kernel.there():
        return {"changed": False, "log": job.log}
    if job.running():
        other = job.read()
        if other["name"] == kernel.name:
            return {"changed": True, "finished": False, "attached": True, "log": job.log}
        under_way = "a build of %s is under way (process %s): wait for it, or end it"
        raise Refused(under_way % (other["name"], other.get("pid", "unknown")))
    kernel_needs.refuse_build(kernel)
    if check:
        return {"changed": True, "log": job.log}
    if want["fd_setsize"]:
        header = want["source"] + "/sys/sys/select.h"
        select_h.require(header, want["fd_setsize"], "role fd_setsize comes before role kernel")
    places.put(kernel.configuration, want["configuration"])
    jobs, _cpus = kernel_needs.jobs(want)
    objects = {} if want["objects"] == "/usr/obj" else {"MAKEOBJDIRPREFIX": want["objects"]}
    begun = job.begin(
        {"phase": "begin", "name": kernel.name},
        functools.partial(build, kernel, jobs),
        host.environment(**objects),
    )
    return {"changed": True, "finished": False, "attached": not begun, "log": job.log}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            kernel=dict(type="dict", required=True, options=OPTIONS),
            step=dict(type="str", choices=["apply", "follow"], default="apply"),
        ),
        supports_check_mode=True,
    )

    def work():
        kernel = Kernel(module.params["kernel"])
        return kernel.job.follow() if module.params["step"] == "follow" else apply(kernel, module.check_mode)

    answer(module, work)


if __name__ == "__main__":
    main()
