#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The repository's packages again, unlocked, and nothing of role ports left. Every step is decided by what is there."""

DOCUMENTATION = r"""
module: ports_undo
short_description: Return ports to the repository's packages
description:
  - Takes what role ports built, or installed from one's own repository, away again; its block in make.conf, its annotations and the record of its build, too.
  - Where no repository takes the package's place, nothing more is touched.
options:
  ports: {description: "The ports, each with the options of module ports_port.", type: list, elements: dict, required: true}
  settings: {description: The options that all ports share; those of module ports_port., type: dict, required: true}
author: sokuhai
"""
import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_judge import TAGS
from ansible.module_utils.ports_make import mark, put_make_conf
from ansible.module_utils.ports_options import PORT, SETTINGS, job_of, title
from ansible.module_utils.ports_state import identity, installed, outdated, restart
from ansible.module_utils.sokuhai import blocks, pkg
from ansible.module_utils.sokuhai.host import Refused, answer, difference, must, read, remove


def replace(package):
    """Have the repository's package in the place of ours; its lock comes back where that fails. Raises Refused."""
    name = package["name"]
    if package["locked"]:
        must(["pkg", "unlock", "-yq", name])
    lost = pkg.update()
    try:
        must(["pkg", "install", "-fyU", name])
        # pkg install says 0 also when it left the package as it was
        if any(one["name"] == name and one["local"] for one in pkg.installed()):
            raise Refused(
                "pkg install -f %s left the package that was built here: no repository has taken its place" % name
            )
    except Refused as reason:
        if package["locked"]:
            must(["pkg", "lock", "-yq", name])
        raise Refused("%s%s" % (reason, lost)) from reason


def undo(item, settings, check):
    """Return an entry of the module's diff, or None where nothing of the port is left to remove. Raises Refused."""
    job, path = job_of(item, settings), settings["make_conf_file"]
    if job.running():
        raise Refused("a build is running (%s): wait for it, or end it, first" % job.log)
    conf = read(path) or ""
    rest = blocks.set_block(conf, mark(item), path, [])
    package = installed(item, item["package"], pkg.installed())
    # what is from here, or from one's own repository, has to go; of any other only our annotations
    ours = package and (package["local"] or package["repository"] == (settings["repository"] or None))
    tags = [tag for tag in TAGS if package and tag in package["annotations"]]
    if not (ours or tags or rest != conf or outdated(item) or os.path.exists(job.file)):
        return None
    if not check:
        before = identity(item)
        if ours:
            replace(package)
        elif tags and package["locked"]:
            must(["pkg", "unlock", "-yq", package["name"]])
        left = pkg.annotations(package["name"]) if tags else {}
        for tag in set(tags) & set(left):
            must(["pkg", "annotate", "-qyD", package["name"], tag])
        if rest != conf:
            put_make_conf(settings, rest)
        if outdated(item, before):
            restart(item)
        remove(job.file)
    return difference(path, conf, rest)


def main():
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "dict", "required": True, "options": PORT},
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
        },
        supports_check_mode=True,
    )

    def work():
        found = []
        for item in module.params["ports"]:
            try:
                found.append(undo(item, module.params["settings"], module.check_mode))
            except (Refused, OSError) as reason:
                raise Refused("%s: %s" % (title(item), reason)) from reason
        return {"changed": any(found), "diff": [entry for entry in found if entry]}

    answer(module, work)


if __name__ == "__main__":
    main()
