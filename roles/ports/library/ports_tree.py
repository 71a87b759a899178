#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A ports tree of the wanted branch and commit, or none: never half of one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ports_tree
short_description: Bring the ports tree to a FreeBSD host by git
description:
  - Fetches one commit of the branch beside the tree, checks it, and renames it into place. A tree that is there is left alone, unless update.
  - What is verified is TLS, as git does it, and the commit where one is declared; git checks every object against its hash.
  - The base system has no git; git-lite is installed from packages where there is none.
options:
  tree: {description: Where the tree is to be., type: path, required: true}
  url: {description: Where it comes from., type: str, required: true}
  branch:
    description: auto (of the host's packages), main, quarterly (the newest quarter that the repository has), or a quarter as 2026Q4.
    type: str
    default: auto
  commit: {description: "Commit that it must be, 40 hexadecimal digits; empty takes the newest.", type: str, default: ''}
  update: {description: Whether a tree that is there is brought up to date., type: bool, default: false}
author: sokuhai
"""
RETURN = r"""
branch: {description: Branch of the tree., type: str, returned: success}
commit: {description: Its commit., type: str, returned: success}
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_host import parse_repositories, run, tree_head, wanted_branch
from ansible.module_utils.sokuhai import git
from ansible.module_utils.sokuhai.git import Failed

MARK = "Mk/bsd.port.mk"


def newest_quarter(heads):
    """The last of the quarterly branches in what git ls-remote printed, or None."""
    found = sorted(re.findall(r"refs/heads/(\d{4}Q[1-4])$", heads, re.M))
    return found[-1] if found else None


def resolve(want):
    """Name of the branch."""
    branch = want["branch"]
    if branch == "auto":
        branch = wanted_branch(parse_repositories(run(["pkg", "-vv"])[1]))
        if branch is None:
            raise Failed(
                "ports_branch: auto does not help here, the host's repositories are not FreeBSD's own; say main or quarterly"
            )
    if branch == "quarterly":
        branch = newest_quarter(git.git("ls-remote", "--heads", want["url"], "20*Q*"))
        if branch is None:
            raise Failed("%s has no quarterly branch" % want["url"])
    return branch


def prove(folder, commit):
    """Raises Failed where *folder*, at *commit*, is no ports tree."""
    if not os.path.exists(os.path.join(folder, MARK)):
        raise Failed("commit %s has no %s: it is no ports tree" % (commit, MARK))


def main():
    module = AnsibleModule(
        argument_spec={
            "tree": {"type": "path", "required": True},
            "url": {"type": "str", "required": True},
            "branch": {"type": "str", "default": "auto"},
            "commit": {"type": "str", "default": ""},
            "update": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    want = module.params
    tree = want["tree"].rstrip("/")
    there = os.path.exists(os.path.join(tree, MARK))
    branch, commit = tree_head(tree) if there else (None, None)
    try:
        if there and want["commit"] and commit != want["commit"] and not want["update"]:
            raise Failed(
                "the tree in %s is commit %s, ports_tree_commit is %s: say ports_tree_update: true, or move it away"
                % (tree, commit or "(no git checkout)", want["commit"])
            )
        if there and (not want["update"] or (want["commit"] and commit == want["commit"])):
            module.exit_json(changed=False, branch=branch, commit=commit)
        if there and commit is None:
            raise Failed(
                "ports_tree_update: the tree in %s was not made by git; move it away, and it is fetched" % tree
            )
        if not there and os.path.isdir(tree) and os.listdir(tree):
            raise Failed(
                "%s is no ports tree, and not empty (%s): move it away"
                % (tree, ", ".join(sorted(os.listdir(tree))[:3]))
            )
        if module.check_mode:
            module.exit_json(
                changed=not there
                or not git.there()
                or git.git("ls-remote", want["url"], "refs/heads/" + resolve(want)).split()[:1] != [commit],
                branch=branch,
                commit=commit,
            )
        git.bring()
        branch = resolve(want)
        if there:
            if git.git("-C", tree, "status", "--porcelain", "--untracked-files=no"):
                raise Failed(
                    "ports_tree_update: files of the tree in %s were changed by hand (git -C %s status)" % (tree, tree)
                )
            now = git.fetch(tree, want["url"], branch, want["commit"])
            prove(tree, now)
            module.exit_json(changed=now != commit, branch=branch, commit=now)
        commit = git.clone(tree, want["url"], branch, want["commit"], prove)
    except (Failed, OSError) as reason:
        module.fail_json(msg="the ports tree was left as it is: %s" % reason)
    module.exit_json(changed=True, branch=branch, commit=commit)


if __name__ == "__main__":
    main()
