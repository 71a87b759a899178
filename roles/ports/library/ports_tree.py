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
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_host import PATH, last_lines, parse_repositories, run, tree_head, wanted_branch

MARK = "Mk/bsd.port.mk"
# no question, no configuration of the caller's, every object checked as it comes
ENV = {"PATH": PATH, "LC_ALL": "C", "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}


class Failed(Exception):
    """A reason to leave the tree as it is."""


def git(*words):
    """What git prints; Failed with its own words where it fails."""
    env = dict(ENV, **{name: os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") if name in os.environ})
    try:
        done = subprocess.run(["git", "-c", "transfer.fsckObjects=true", "-c", "advice.detachedHead=false"] + list(words), env=env, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise Failed("there is no git on this host")
    if done.returncode:
        raise Failed("git %s: %s" % (words[0] if words[0] != "-C" else words[2], last_lines(done.stderr.decode("utf-8", "replace"), 4)))
    return done.stdout.decode("utf-8", "replace").strip()


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
            raise Failed("ports_branch: auto does not help here, the host's repositories are not FreeBSD's own; say main or quarterly")
    if branch == "quarterly":
        branch = newest_quarter(git("ls-remote", "--heads", want["url"], "20*Q*"))
        if branch is None:
            raise Failed("%s has no quarterly branch" % want["url"])
    return branch


def fetched(folder, want, branch):
    """The commit in folder (a repository) that is wanted, fetched and checked."""
    git("-C", folder, "fetch", "--quiet", "--depth", "1", want["url"], want["commit"] or "refs/heads/" + branch)
    commit = git("-C", folder, "rev-parse", "FETCH_HEAD^{commit}")
    if want["commit"] and commit != want["commit"]:
        raise Failed("%s gave commit %s, ports_tree_commit is %s" % (want["url"], commit, want["commit"]))
    git("-C", folder, "checkout", "--quiet", "-B", branch, commit)
    if not os.path.exists(os.path.join(folder, MARK)):
        raise Failed("%s at %s has no %s: it is no ports tree" % (want["url"], commit, MARK))
    return commit


def main():
    module = AnsibleModule(
        argument_spec={"tree": {"type": "path", "required": True}, "url": {"type": "str", "required": True},
                       "branch": {"type": "str", "default": "auto"}, "commit": {"type": "str", "default": ""},
                       "update": {"type": "bool", "default": False}},
        supports_check_mode=True)
    want = module.params
    tree = want["tree"].rstrip("/")
    there = os.path.exists(os.path.join(tree, MARK))
    branch, commit = tree_head(tree) if there else (None, None)
    try:
        if there and want["commit"] and commit != want["commit"] and not want["update"]:
            raise Failed("the tree in %s is commit %s, ports_tree_commit is %s: say ports_tree_update: true, or move it away" % (
                tree, commit or "(no git checkout)", want["commit"]))
        if there and (not want["update"] or (want["commit"] and commit == want["commit"])):
            module.exit_json(changed=False, branch=branch, commit=commit)
        if there and commit is None:
            raise Failed("ports_tree_update: the tree in %s was not made by git; move it away, and it is fetched" % tree)
        if not there and os.path.isdir(tree) and os.listdir(tree):
            raise Failed("%s is no ports tree, and not empty (%s): move it away" % (tree, ", ".join(sorted(os.listdir(tree))[:3])))
        have_git = shutil.which("git", path=PATH) is not None
        if module.check_mode:
            module.exit_json(changed=not there or not have_git or git("ls-remote", want["url"], "refs/heads/" + resolve(want)).split()[:1] != [commit],
                             branch=branch, commit=commit)
        if not have_git:
            status, out, err = run(["pkg", "install", "-y", "git-lite"], timeout=900)
            if status:
                raise Failed("pkg install git-lite: %s" % last_lines(err or out, 4))
        branch = resolve(want)
        if there:
            if git("-C", tree, "status", "--porcelain", "--untracked-files=no"):
                raise Failed("ports_tree_update: files of the tree in %s were changed by hand (git -C %s status)" % (tree, tree))
            now = fetched(tree, want, branch)
            module.exit_json(changed=now != commit, branch=branch, commit=now)
        new = tree + ".sokuhai-new"
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        try:
            git("-C", new, "init", "--quiet")
            git("-C", new, "remote", "add", "origin", want["url"])
            commit = fetched(new, want, branch)
            if os.path.isdir(tree):
                os.rmdir(tree)
            os.rename(new, tree)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except (Failed, OSError) as reason:
        module.fail_json(msg="the ports tree was left as it is: %s" % reason)
    module.exit_json(changed=True, branch=branch, commit=commit)


if __name__ == "__main__":
    main()
