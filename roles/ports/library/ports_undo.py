#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The repository's packages again, unlocked, and nothing of role ports left. Every step is decided by what is there."""

from __future__ import annotations

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
RETURN = r"""
findings: {description: "What of role ports was there, `port ORIGIN: KIND`.", type: list, returned: success}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_judge import TAGS, full_name
from ansible.module_utils.ports_make import mark, put_make_conf
from ansible.module_utils.ports_options import PORT, SETTINGS, job_of, title
from ansible.module_utils.ports_state import identity, installed, outdated
from ansible.module_utils.sokuhai import blocks, pkg
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, difference, must, read, remove


class Undo:
    """One port. item, settings: as ports_options has them; every: pkg.installed(). Raises Refused."""

    def __init__(self, item, settings, every):
        self.item, self.settings, self.job = item, settings, job_of(item, settings)
        if self.job.running():
            raise Refused("a build is running (%s): wait for it, or end it, first" % self.job.log)
        mine = [package["name"] for package in every if package["origin"] == item["origin"]]
        self.package = package = installed(item, item["package"] or (mine[0] if mine else ""), every)
        #: whether the package itself has to go: it is from here, or from one's own repository
        self.own = bool(package) and (package["local"] or package["repository"] == (settings["repository"] or None))
        self.notes = [tag for tag in TAGS if package and tag in package["annotations"]]
        path = settings["make_conf_file"]
        self.make_conf = read(path) or ""
        self.block = blocks.get_block(self.make_conf, mark(item), path)
        self.rest = blocks.set_block(self.make_conf, mark(item), path, [])

    def findings(self):
        """Return what of role ports is there."""
        found = {}
        if self.block is not None:
            found["make_conf"] = "no block", "a block"
        if self.own:
            found["package"] = "the repository's package", full_name(self.package)
        elif self.notes:
            found["annotations"] = "none", " ".join(self.notes)
        if outdated(self.item) and not self.own:
            found["process"] = "started after %s" % self.item["program"], "older"
        if os.path.exists(self.job.file):
            found["record"] = "none", self.job.file
        name = "port %s: " % title(self.item)
        return [finding(name + kind, name + kind, *values) for kind, values in found.items()]

    def diff(self):
        return [] if self.block is None else [difference(self.settings["make_conf_file"], self.make_conf, self.rest)]

    def do(self):
        """Take it all away."""
        before = identity(self.item)
        if self.own:
            self.replace(self.package["name"])
        elif self.notes and self.package["locked"]:
            must(["pkg", "unlock", "-yq", self.package["name"]])
        if self.own or self.notes:
            left = pkg.annotations(self.package["name"])
            for tag in TAGS:
                if tag in left:
                    must(["pkg", "annotate", "-qyD", self.package["name"], tag])
        if self.block is not None:
            put_make_conf(self.settings, self.rest)
        if outdated(self.item, before):
            must(["service", self.item["service"], "onerestart"])
        remove(self.job.file)

    def replace(self, name):
        """Have the repository's package in the place of ours; its lock comes back where that fails."""
        locked = self.package["locked"]
        if locked:
            must(["pkg", "unlock", "-yq", name])
        try:
            must(["pkg", "install", "-fy", name])
            # pkg install says 0 also when it left the package as it was
            if any(package["name"] == name and package["local"] for package in pkg.installed()):
                raise Refused(
                    "pkg install -f %s left the package that was built here: no repository has taken its place" % name
                )
        except Refused:
            if locked:
                must(["pkg", "lock", "-yq", name])
            raise


def undo(ports, settings, check):
    """Return what the module answers. Raises Refused with the port's name."""
    answer = {"changed": False, "findings": [], "diff": []}
    for item in ports:
        try:
            port = Undo(item, settings, pkg.installed())
            found = port.findings()
            if found and not check:
                port.do()
        except (Refused, OSError) as reason:
            raise Refused("%s: %s" % (title(item), reason)) from reason
        answer["changed"] |= bool(found)
        answer["findings"] += found
        answer["diff"] += port.diff()
    return answer


def main():
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "dict", "required": True, "options": PORT},
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**undo(module.params["ports"], module.params["settings"], module.check_mode))
    except Refused as reason:
        module.fail_json(msg=str(reason))


if __name__ == "__main__":
    main()
