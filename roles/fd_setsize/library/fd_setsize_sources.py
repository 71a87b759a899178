#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""/usr/src of exactly the release and patch level that this host has, or none: never half of one."""

from __future__ import annotations

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
from ansible.module_utils.sokuhai import git, host
from ansible.module_utils.sokuhai.git import Failed, must

NEWVERS = "sys/conf/newvers.sh"


def release_of(text):
    """15.0-RELEASE-p1 from the text of newvers.sh, or None."""
    found = [re.search(r'^%s="([^"]+)"' % name, text or "", re.M) for name in ("REVISION", "BRANCH")]
    return "-".join(match.group(1) for match in found) if all(found) else None


def branch_of(release):
    """The branch that a release's patches go to: releng/15.0. Raises Failed for what is no release."""
    match = re.match(r"(\d+\.\d+)-(RELEASE|RC\d+|BETA\d+)(-p\d+)?$", release)
    if not match:
        raise Failed("this host is %s: its sources cannot be told from its name; bring them yourself" % release)
    return "releng/" + match.group(1)


def judge(found, wanted, path):
    """None where the sources are this host's, else what is to be done about them. found, wanted: as 15.0-RELEASE-p1."""
    if found == wanted:
        return None
    return (
        "%s is %s, this host is %s: freebsd-update fetch install brings both to the same level (where src is among its Components), pkg upgrade where "
        "base packages are, git -C %s pull otherwise" % (path, found or "no source tree of FreeBSD", wanted, path)
    )


def by_git(want, wanted):
    """Bring the sources of release *wanted* (str) into want["path"]. Raises Failed."""
    branch = branch_of(wanted)

    def prove(folder, _commit):
        found = release_of(host.read(os.path.join(folder, NEWVERS)))
        if found != wanted:
            raise Failed(
                "%s of %s is %s, this host is %s: bring the host to that patch level first (freebsd-update fetch install), or name the commit of "
                "its own" % (branch, want["url"], found or "no source tree of FreeBSD", wanted)
            )

    git.bring()
    git.clone(want["path"], want["url"], branch, want["commit"], prove)


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/usr/src"},
            "url": {"type": "str", "required": True},
            "commit": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    want = module.params
    try:
        wanted = must(["freebsd-version", "-u"])
        empty = not os.path.isdir(want["path"]) or not os.listdir(want["path"])
        if not empty:
            found = release_of(host.read(os.path.join(want["path"], NEWVERS)))
            problem = judge(found, wanted, want["path"])
            if problem:
                raise Failed(problem)
            module.exit_json(changed=False, release=found)
        if module.check_mode:
            module.exit_json(changed=True, release=wanted)
        if host.run(["pkg", "info", "-e", "FreeBSD-runtime"])[0] == 0:
            must(["pkg", "install", "-y", "-r", "FreeBSD-base", "FreeBSD-src", "FreeBSD-src-sys"])
        else:
            by_git(want, wanted)
        problem = judge(release_of(host.read(os.path.join(want["path"], NEWVERS))), wanted, want["path"])
        if problem:
            raise Failed(problem)
    except (Failed, OSError) as reason:
        module.fail_json(msg="no sources were brought: %s" % reason)
    module.exit_json(changed=True, release=wanted)


if __name__ == "__main__":
    main()
