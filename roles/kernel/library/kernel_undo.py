#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The stock kernel boots again; what role kernel wrote is gone, but for a kernel of ours that still runs."""

DOCUMENTATION = r"""
---
module: kernel_undo
short_description: Return a FreeBSD host to its stock kernel
description:
  - Takes back everything that role kernel wrote. A kernel of the role that still runs, or that another file names as the next, is left.
  - Refuses, and changes nothing, where the loader could not load what would boot then.
options:
  kernel: {description: What is declared; as module kernel_plan has it., type: dict, required: true}
author: sokuhai
"""

RETURN = r"""
removed: {description: What was removed., type: list, returned: success}
running: {description: "The kernel that runs, where it is not the one of the next boot; else empty.", type: str, returned: success}
default: {description: The kernel of the next boot., type: str, returned: success}
again: {description: Whether a kernel of ours runs and is left until this is run again after a reboot., type: bool, returned: success}
stays: {description: "A kernel of ours that another file has boot, or empty.", type: str, returned: success}
problem: {description: "What is wrong with the file of the kernel of the next boot, or empty.", type: str, returned: success}
stock: {description: "Version of the stock kernel where it is not that of the world, or empty.", type: str, returned: success}
stock_release: {description: Whether that is of another release., type: bool, returned: success}
userland: {description: Version of the world., type: str, returned: success}
"""

import os
import shutil

from ansible.module_utils import kernel_boot, kernel_file
from ansible.module_utils import kernel_places as places
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kernel_host import OPTIONS, Kernel, discard, stock_behind
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused, answer


def undo(kernel, check):
    """Return what the module answers. Raises Refused."""
    if kernel.job.running():
        under_way = "a kernel build is under way (process %s): wait for it, or end it"
        raise Refused(under_way % kernel.job.read().get("pid", "unknown"))
    own, returns = kernel.own(), kernel_boot.default(without=places.LOADER)
    why = kernel_file.problem(os.path.join(places.folder(returns), "kernel"))
    if why and os.path.exists(places.LOADER):
        raise Refused(
            "%s, and it is what would boot without %s: nothing was changed, repair it first" % (why, places.LOADER)
        )
    files = [path for path in (places.LOADER, places.SCRIPT) if os.path.exists(path)]
    if "role kernel of sokuhai" in (host.read(kernel.configuration) or ""):
        files.append(kernel.configuration)
    # what is recorded of kernels that somebody else installed
    tried = [name for name in sorted(os.listdir(places.BOOT)) if name not in own and kernel.record(name)]
    files += [os.path.join(places.folder(name), places.RECORD) for name in tried]
    kernels = [name for name in own if name not in (kernel.running, returns)]
    todo = files + [places.folder(name) for name in kernels]
    todo += [places.STATE] if os.path.isdir(places.STATE) else []
    elsewhere = kernel.running != returns
    stock, other = stock_behind(kernel.userland) if elsewhere else ("", False)
    if todo and not check:
        kernel_boot.disarm([*own, kernel.name])
        host.remove(*files)
        for name in kernels:
            discard(name)
        shutil.rmtree(places.STATE, ignore_errors=True)
    return {
        "changed": bool(todo),
        "removed": todo,
        "running": kernel.running if elsewhere else "",
        "default": returns,
        "again": elsewhere and kernel.running in own,
        "stays": returns if returns in own else "",
        "problem": why,
        "stock": stock,
        "stock_release": other,
        "userland": kernel.userland,
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(kernel=dict(type="dict", required=True, options=OPTIONS)), supports_check_mode=True
    )

    def work():
        found = undo(Kernel(module.params["kernel"]), module.check_mode)
        if found["stock_release"]:
            module.warn("the stock kernel is %(stock)s, the world %(userland)s" % found)
        return found

    answer(module, work)


if __name__ == "__main__":
    main()
