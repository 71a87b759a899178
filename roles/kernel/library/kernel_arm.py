#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One boot of a kernel prepared, and what brings the old one back."""

DOCUMENTATION = r"""
---
module: kernel_arm
short_description: Prepare one trial boot of a FreeBSD kernel
description:
  - Notes what serves now, installs the rc script that returns to the old kernel unless module kernel_judge confirms the trial, and has nextboot(8) boot the
    wanted kernel once. Where that cannot be taken back, it refuses and boots nothing.
options:
  kernel: {description: What is declared; as module kernel_plan has it., type: dict, required: true}
  script: {description: Text of the rc script., type: str, required: true}
  trial_seconds: {description: Seconds after which an unconfirmed trial boot ends by itself., type: int, default: 900}
author: sokuhai
"""

RETURN = r"""
default: {description: The kernel to which a failed trial returns., type: str, returned: success}
"""

import json
import os

from ansible.module_utils import kernel_boot, kernel_file, kernel_serving
from ansible.module_utils import kernel_places as places
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kernel_host import OPTIONS, Kernel
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused, answer


def arm(kernel, script, seconds, check):
    """Return what the module answers. The next boot is the trial once this returns. Raises Refused."""
    name = kernel.name
    if (
        not check
        and kernel.running != name
        and not kernel_boot.armed(name)
        and os.path.exists(places.state("trial.json"))
    ):
        # of a trial that no run judged (the controller was killed): it is tried again
        kernel_boot.disarm([name])
    if not kernel.there():
        raise Refused("%s is not installed whole: nothing is booted" % name)
    if kernel.builds and host.sha256(kernel.file) != kernel.record().get("sha256"):
        raise Refused("%s is not the file that was installed: it changed since" % kernel.file)
    if not kernel_file.config(kernel.file):
        raise Refused(
            "%s carries no configuration: a kernel with INCLUDE_CONFIG_FILE is required to prove after the boot which one runs"
            % kernel.file
        )
    kernel_boot.refuse_trial(name, kernel.want["console_access"])
    default = kernel.default
    if check:
        return {"changed": True, "default": default}
    trial = {"name": name, "before": kernel_serving.serving(), "seconds": seconds}
    places.put(places.state("trial.json"), json.dumps(trial))
    host.remove(places.state("running"), places.state("expired"))
    places.put(places.state("armed"), name + "\n")
    places.put(places.SCRIPT, script, 0o555)
    status, out, err = host.run(["nextboot", "-k", name])
    if status or not kernel_boot.counts_once(name):
        kernel_boot.disarm([name])
        said = (err or out).strip() or "wrote nothing"
        raise Refused("nextboot -k %s: %s. The next boot is %s, as before" % (name, said, default))
    return {"changed": True, "default": default}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            kernel=dict(type="dict", required=True, options=OPTIONS),
            script=dict(type="str", required=True),
            trial_seconds=dict(type="int", default=900),
        ),
        supports_check_mode=True,
    )
    want = module.params
    answer(module, lambda: arm(Kernel(want["kernel"]), want["script"], want["trial_seconds"], module.check_mode))


if __name__ == "__main__":
    main()
