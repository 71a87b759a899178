#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""After a trial boot: the kernel kept, or not."""

DOCUMENTATION = r"""
---
module: kernel_judge
short_description: Keep a FreeBSD kernel after its trial boot, or not
description:
  - Keeps the wanted kernel where it runs and everything that served before the boot serves again. Otherwise it records why not and fails.
options:
  kernel: {description: What is declared; as module kernel_plan has it., type: dict, required: true}
  loader_conf: {description: Text of the file that has the loader boot this kernel from now on., type: str, default: ""}
  check_seconds: {description: Seconds that everything has to serve again., type: int, default: 180}
  rejected: {description: "Why it is not kept, whatever serves; empty where nothing speaks against it.", type: str, default: ""}
author: sokuhai
"""

RETURN = r"""
kept: {description: Whether this kernel boots from now on., type: bool, returned: success}
removed: {description: Directories of former kernels of the role that were removed., type: list, returned: success}
how: {description: "How a trial ended that the host came back from by itself: expired, running or armed.", type: str, returned: failure}
return_needed: {description: "Whether the host runs a kernel that is not kept, and has to be rebooted.", type: bool, returned: failure}
"""

import os
import time

from ansible.module_utils import kernel_boot, kernel_file, kernel_serving
from ansible.module_utils import kernel_places as places
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kernel_host import OPTIONS, Kernel, discard
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused, answer

#: Why a trial ended in the old kernel, by what the rc script of the trial boot left.
LOST = {
    "expired": "nobody confirmed it within %(seconds)d seconds: it has no way over the network, or it hung after rc(8) had begun",
    "running": "it came as far as rc(8), then panicked or was reset",
    "armed": "it never came as far as rc(8): it panicked, or was reset while it hung",
}


def wrong(kernel, trial):
    """Return what does not work under the kernel that runs now (list of str). trial: the record of what served before."""
    problems, config = [], kernel_file.config(kernel.file)
    ident = host.run(["uname", "-i"])[1].strip()
    if ident != kernel_file.ident(config):
        problems.append("uname -i says %s, the kernel's configuration %s" % (ident, kernel_file.ident(config)))
    if (host.sysctl("kern.conftxt") or "").strip() != config.strip():
        problems.append("kern.conftxt is not the configuration in %s" % kernel.file)
    return problems + kernel_serving.lost(trial.get("before") or {}, kernel_serving.serving())


def refused(why, return_needed=False):
    """Return the answer of a module that fails."""
    return {"failed": True, "msg": why, "return_needed": return_needed}


def judge(want, check):
    """Return what the module answers. want: its parameters. Raises Refused."""
    kernel = Kernel(want["kernel"])
    trial = host.load(places.state("trial.json"))
    trial = trial if trial.get("name") == kernel.name else {}
    if kernel.running != kernel.name:
        return came_back(kernel, trial, want["rejected"], check)
    if want["rejected"]:
        return give_up(kernel, want["rejected"], check)
    until = time.monotonic() + want["check_seconds"]
    problems = wrong(kernel, trial)
    while problems and time.monotonic() < until:
        time.sleep(2)
        problems = wrong(kernel, trial)
    if problems:
        return give_up(kernel, "; ".join(problems), check)
    if os.path.exists(places.state("running")) and not kernel_boot.alive(places.TIMER):
        return refused(
            "the trial's time ran out while it was judged: the host reboots into the old kernel; kernel_trial_seconds is too short"
        )
    try:
        kernel_boot.refuse_foreign(kernel.name)
    except Refused as reason:
        return refused(str(reason), return_needed=True)
    return {"changed": True, "kept": True, "removed": []} if check else keep(kernel, want["loader_conf"])


def keep(kernel, loader_conf):
    """Have the kernel that runs boot from now on, and remove those of ours that neither run nor boot."""
    changed = kernel_boot.disarm([kernel.name])
    changed = places.put(places.LOADER, loader_conf) or changed
    changed = kernel.mark("kept") or changed
    stay = {kernel.running, kernel.default, "kernel", "kernel.old"}
    gone = [name for name in kernel.own() if name not in stay and not os.path.islink(places.folder(name))]
    for name in gone:
        discard(name)
    return {"changed": bool(changed or gone), "kept": True, "removed": [places.folder(name) for name in gone]}


def give_up(kernel, why, check):
    """Record why the kernel that runs is not kept, and fail."""
    if not check:
        kernel.mark("failed", why)
        # the timer goes on: it takes the host back where the play no longer can
        host.remove(places.SCRIPT, places.state("trial.json"))
    said = "%s runs, but: %s. It is not kept, the next boot is %s" % (kernel.name, why, kernel.default)
    return refused(said, return_needed=kernel.default != kernel.name)


def came_back(kernel, trial, rejected, check):
    """Judge a trial after which the host runs another kernel than the one tried."""
    if not trial:
        return refused(rejected) if rejected else {"changed": False, "kept": False, "removed": []}
    if kernel_boot.armed(kernel.name):
        return refused("%s was to be booted, but the host has not rebooted yet" % kernel.name)
    how = next((name for name in ("expired", "running") if os.path.exists(places.state(name))), "armed")
    why = LOST[how] % trial
    if not check:
        kernel.mark("failed", why)
        kernel_boot.disarm([kernel.name])
    said = "%s failed its trial: %s. The host runs %s again, and boots it from now on"
    return dict(refused(said % (kernel.name, why, kernel.running)), how=how)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            kernel=dict(type="dict", required=True, options=OPTIONS),
            loader_conf=dict(type="str", default=""),
            check_seconds=dict(type="int", default=180),
            rejected=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    answer(module, lambda: judge(module.params, module.check_mode))


if __name__ == "__main__":
    main()
