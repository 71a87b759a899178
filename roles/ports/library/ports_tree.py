#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A ports tree of the wanted branch and commit, or none: never half of one."""

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

from ansible.module_utils import ports_branch
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import git
from ansible.module_utils.sokuhai.host import Refused, answer


def newest_quarter(heads):
    """Return the last of the quarterly branches in what git ls-remote printed, or None."""
    found = sorted(re.findall(r"refs/heads/(\d{4}Q[1-4])$", heads, re.M))
    return found[-1] if found else None


def resolve(want):
    """Return the name of the branch. Raises Refused."""
    branch = want["branch"]
    if branch == "auto":
        branch = ports_branch.of_packages()
        if branch is None:
            raise Refused(
                "ports_branch: auto does not help here, the host's repositories are not FreeBSD's own; set it to main or quarterly"
            )
    if branch == "quarterly":
        branch = newest_quarter(git.git("ls-remote", "--heads", want["url"], "20*Q*"))
        if branch is None:
            raise Refused("%s has no quarterly branch" % want["url"])
    return branch


def prove(tree, commit):
    """Raise Refused where the directory *tree*, at *commit*, is not a ports tree."""
    if not ports_branch.there(tree):
        raise Refused("commit %s has no %s: it is not a ports tree" % (commit, ports_branch.MARK))


def newest(want):
    """Return the commit that the branch has now, or None."""
    return (git.git("ls-remote", want["url"], "refs/heads/" + resolve(want)).split() or [None])[0]


def bring(want, check):
    """Return {changed, branch, commit}. Raises Refused, and leaves the tree as it is then."""
    tree, there = want["tree"], ports_branch.there(want["tree"])
    branch, commit = git.head(tree) if there else (None, None)
    pinned = want["commit"] and commit == want["commit"]
    if there and want["commit"] and not pinned and not want["update"]:
        raise Refused(
            "the tree in %s is commit %s, ports_tree_commit is %s: set ports_tree_update to true, or move the tree away"
            % (tree, commit or "(not a git checkout)", want["commit"])
        )
    if there and (pinned or not want["update"]):
        return {"changed": False, "branch": branch, "commit": commit}
    if there and commit is None:
        raise Refused("ports_tree_update: the tree in %s was not made by git; move it away, and it is fetched" % tree)
    if not there and os.path.isdir(tree) and os.listdir(tree):
        raise Refused(
            "%s is not a ports tree, and not empty (%s): move it away" % (tree, ", ".join(sorted(os.listdir(tree))[:3]))
        )
    if check:
        changed = not there or not git.there() or newest(want) != commit
        return {"changed": changed, "branch": branch, "commit": commit}
    git.bring()
    branch = resolve(want)
    if not there:
        return {
            "changed": True,
            "branch": branch,
            "commit": git.clone(tree, want["url"], branch, want["commit"], prove),
        }
    if git.git("-C", tree, "status", "--porcelain", "--untracked-files=no"):
        raise Refused(
            "ports_tree_update: files of the tree in %s were changed by hand (git -C %s status)" % (tree, tree)
        )
    now = git.fetch(tree, want["url"], branch, want["commit"])
    prove(tree, now)
    return {"changed": now != commit, "branch": branch, "commit": now}


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
    want = dict(module.params, tree=module.params["tree"].rstrip("/"))
    answer(module, lambda: bring(want, module.check_mode), before="the ports tree was left as it is: ")


if __name__ == "__main__":
    main()
