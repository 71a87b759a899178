#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which kernel runs, which boots, and what role kernel would do; changes nothing."""

DOCUMENTATION = r"""
---
module: kernel_plan
short_description: Compare the kernels of a FreeBSD host with the one that is declared
description:
  - What is decided follows from what is on the host, so a run that was killed is finished by the next one.
  - A kernel's name ends in a hash of what it is made of. So nothing is built twice, and a new one never replaces one that runs.
  - Refuses what module kernel_build would, and module kernel_arm where a trial boot is declared.
options:
  kernel:
    description: What is declared.
    type: dict
    required: true
    suboptions:
      name: {description: Directory in /boot of a kernel that is there already; empty for one built here., type: str, default: ""}
      ident: {description: Name of the kernel configuration and its ident., type: str, default: SOKUHAI}
      base: {description: Configuration that ours includes., type: str, default: GENERIC}
      lines: {description: Further lines of the configuration., type: list, elements: str, default: []}
      configuration: {description: Text of the configuration., type: str, default: ""}
      make_variables: {description: Further NAME=value arguments of make(1)., type: list, elements: str, default: []}
      fd_setsize: {description: What sys/sys/select.h of the sources has to say; 0 requires nothing., type: int, default: 0}
      source: {description: The sources., type: path, default: /usr/src}
      objects: {description: Where make(1) builds., type: path, default: /usr/obj}
      configurations: {description: Where the configuration is kept (KERNCONFDIR)., type: path, default: /root/kernels}
      jobs: {description: make -j; 0 is as many as CPUs and memory allow., type: int, default: 0}
      disk_objects_mib: {description: Free space a build needs where it builds., type: int, default: 6144}
      disk_boot_mib: {description: Free space a kernel with its modules needs in /boot., type: int, default: 512}
      console_access: {description: Somebody can switch the machine off and on., type: bool, default: false}
      reboot: {description: Whether a trial boot follows., type: bool, default: false}
      retry: {description: Try a kernel again that failed its trial., type: bool, default: false}
      source_awaited: {description: "The sources are brought before the build; where they are not there yet, nothing is asked of them", type: bool, default: false}
author: sokuhai
"""

EXAMPLES = r"""
- name: See what there is to do
  kernel_plan:
    kernel: {ident: SOKUHAI}
"""

RETURN = r"""
findings: {description: "What differs: `kernel NAME: behind`, build, trial, armed or failed.", type: list, returned: success}
plan:
  description:
    - name (of the wanted kernel), running, default (that of the next boot), userland (str) and there (whether the wanted one is installed).
    - build, trial, judge, armed (bool) is what there is to do, or half done; failed (why its trial failed, or empty).
    - behind (version that the running kernel was built from, where it is older than userland, else empty).
    - stock (version of the stock kernel, where it is not userland's while one of ours runs, else empty), stock_release (bool, of another release).
    - minutes, jobs, cpus (int) and measured (bool) of a build; awaited (bool, whether the sources come first).
  type: dict
  returned: success
"""

import os

from ansible.module_utils import kernel_boot, kernel_file, kernel_needs
from ansible.module_utils import kernel_places as places
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kernel_host import OPTIONS, Kernel, stock_behind
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, answer, version_key


def decide(name, wanted_build, there, running, default, failed, settled):
    """Return {build, trial, judge: bool}: what there is to do.

    name: the wanted kernel. wanted_build: it is built here. there: it is installed whole. running, default: names in /boot. failed: its
    trial failed, and is not to be repeated. settled: it was kept, and nothing of its trial is left.
    """
    here, boots = running == name, default == name
    build = wanted_build and not there
    return {
        "build": build,
        "judge": here and not build and not (boots and settled),
        "trial": not failed and (build or not (here or boots)),
    }


def settled(kernel):
    """Return whether the wanted kernel was kept and nothing of its trial is left."""
    left = os.path.exists(places.SCRIPT) or os.path.exists(places.state("trial.json"))
    return (kernel.record().get("trial") or {}).get("result") == "kept" and not left


def make_plan(kernel):
    """Return the plan. kernel: Kernel. Raises Refused."""
    want, there, failed = kernel.want, kernel.there(), kernel.failed()
    if host.sysctl("security.jail.jailed") == "1":
        raise Refused(
            "this host is a jail and runs the kernel of its host: rebuild that one there, and here the ports alone (rebuild.yml --tags bind,postfix)"
        )
    if not kernel.builds and not there:
        why = kernel_file.problem(kernel.file)
        raise Refused("kernel_build: is false, and %s. Put a kernel there, or let it be built" % why)
    todo = decide(
        kernel.name,
        kernel.builds,
        there,
        kernel.running,
        kernel.default,
        bool(failed) and not want["retry"],
        settled(kernel),
    )
    if todo["build"]:
        kernel_needs.refuse_build(kernel)
    if todo["trial"] and want["reboot"]:
        # before an hour's build, not after it
        kernel_boot.refuse_trial(kernel.name, want["console_access"])
    own = (kernel.record(kernel.running).get("inputs") or {}).get("version", "")
    stock, other = stock_behind(kernel.userland) if own else ("", False)
    last = host.load(places.state("last.json")).get("seconds")
    jobs, cpus = kernel_needs.jobs(want) if todo["build"] else (1, 1)
    return {
        **todo,
        "name": kernel.name,
        "running": kernel.running,
        "default": kernel.default,
        "userland": kernel.userland,
        "there": there,
        "armed": kernel_boot.armed(kernel.name),
        "failed": "" if want["retry"] or todo["build"] or kernel.running == kernel.name else failed,
        "behind": own if own and version_key(own) < version_key(kernel.userland) else "",
        "stock": stock,
        "stock_release": other,
        "minutes": kernel_needs.estimate(last, jobs),
        "measured": bool(last),
        "jobs": jobs,
        "cpus": cpus,
        "awaited": todo["build"] and kernel_needs.awaited(want),
    }


def findings(plan):
    """Return the plan as findings: a kernel that is to be built is not there to be tried, and one that is behind is to be built."""
    name, runs = "kernel %s: " % plan["name"], "%s runs" % plan["running"]
    return [
        finding(name + kind, name + kind, expected, found, [name + cause for cause in causes], "rebuild")
        for kind, expected, found, causes in (
            ("behind", "built from %s" % plan["userland"], "built from %s" % plan["behind"], ()),
            ("build", "installed", "not built; %s" % runs, ("behind",)),
            ("trial", "running", "not booted yet; %s" % runs, ("behind", "build")),
            ("armed", "tried and judged", "the next boot is its trial", ()),
            ("failed", "kept", plan["failed"], ()),
        )
        if plan[kind]
    ]


def main():
    module = AnsibleModule(
        argument_spec=dict(kernel=dict(type="dict", required=True, options=OPTIONS)), supports_check_mode=True
    )

    def work():
        plan = make_plan(Kernel(module.params["kernel"]))
        return {"changed": False, "plan": plan, "findings": findings(plan)}

    answer(module, work)


if __name__ == "__main__":
    main()
