#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""/usr/src of exactly the release and patch level that this host has, or none: never half of one."""

DOCUMENTATION = r"""
module: fd_setsize_sources
short_description: Bring the sources of this host's own release to a FreeBSD host
description:
  - Sources that are there are judged by sys/conf/newvers.sh and never replaced.
  - Where base packages are (pkgbase), FreeBSD-src and FreeBSD-src-sys come from the repository FreeBSD-base, signed as all of it is. Elsewhere git
    fetches one commit of the release's branch beside /usr/src, checks that it is of this host's patch level, and renames it into place.
options:
  path: {description: Where the sources are to be., type: path, default: /usr/src}
  url: {description: Where git fetches them., type: str, required: true}
  commit: {description: "Commit that they must be, 40 hexadecimal digits; empty takes the branch's newest.", type: str, default: ''}
author: sokuhai
"""
RETURN = r"""
release: {description: "What the sources are, as 15.0-RELEASE-p1.", type: str, returned: success}
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import git, pkg, sources
from ansible.module_utils.sokuhai.host import Refused, answer, must


def branch_of(release):
    """Return the branch that a release's patches go to: releng/15.0. Raises Refused for a development version."""
    match = re.match(r"(\d+\.\d+)-(RELEASE|RC\d+|BETA\d+)(-p\d+)?$", release)
    if not match:
        raise Refused(
            "this host is %s: its name does not give the commit of its sources; bring them yourself" % release
        )
    return "releng/" + match.group(1)


def judge(path, wanted):
    """Raise Refused unless the sources in *path* are of *wanted*, 15.0-RELEASE-p1, this host's release and patch level."""
    found = sources.release(path)
    if found != wanted:
        raise Refused(
            "%s is %s, this host is %s: freebsd-update fetch install brings both to the same level (where src is among its Components), "
            "pkg upgrade where base packages are, git -C %s pull otherwise"
            % (path, found or "not a source tree of FreeBSD", wanted, path)
        )


def by_git(want, wanted):
    """Bring the sources of release *wanted* (str) into want["path"]. Raises Refused."""
    branch = branch_of(wanted)

    def prove(directory, _commit):
        found = sources.release(directory)
        if found != wanted:
            raise Refused(
                "%s of %s is %s, this host is %s: bring the host to that patch level first (freebsd-update fetch install), or name the commit of "
                "its own" % (branch, want["url"], found or "not a source tree of FreeBSD", wanted)
            )

    git.bring()
    git.clone(want["path"], want["url"], branch, want["commit"], prove)


def bring(want, check):
    """Return what the module answers. Raises Refused."""
    wanted = must(["freebsd-version", "-u"])
    there = os.path.isdir(want["path"]) and os.listdir(want["path"])
    if not there and not check:
        if pkg.base_packages():
            must(["pkg", "install", "-y", "-r", "FreeBSD-base", "FreeBSD-src", "FreeBSD-src-sys"])
        else:
            by_git(want, wanted)
    if there or not check:
        judge(want["path"], wanted)
    return {"changed": not there, "release": wanted}


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/usr/src"},
            "url": {"type": "str", "required": True},
            "commit": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: bring(module.params, module.check_mode), before="no sources were brought: ")


if __name__ == "__main__":
    main()
