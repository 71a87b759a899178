# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One commit of a repository, fetched and checked, in a directory that is there whole or not at all."""

import os
import re
import shutil

from ansible.module_utils.sokuhai import host, pkg
from ansible.module_utils.sokuhai.host import PATH, Refused, environment, must


def git(*words):
    """Return what git prints. It asks nobody, reads no configuration of the caller's, and checks every object as it comes."""
    env = environment(HOME="/nonexistent", GIT_TERMINAL_PROMPT="0", GIT_CONFIG_NOSYSTEM="1")
    argv = ["git", "-c", "transfer.fsckObjects=true", "-c", "advice.detachedHead=false"] + list(words)
    return must(argv, what="git " + (words[2] if words[0] == "-C" else words[0]), env=env)


def there():
    """Return whether this host has git."""
    return shutil.which("git", path=PATH) is not None


def head(tree):
    """Return (branch, commit) of a git checkout without git; (None, None) where it is not one."""
    text = (host.read(os.path.join(tree, ".git/HEAD")) or "").strip()
    match = re.match(r"ref: (refs/heads/(\S+))$", text)
    if not match:
        return None, text if re.match(r"[0-9a-f]{40}$", text) else None
    ref, branch = match.groups()
    packed = re.compile(r"^([0-9a-f]{40}) %s$" % re.escape(ref), re.M)
    commit = (host.read(os.path.join(tree, ".git", ref)) or "").strip()
    found = packed.search(host.read(os.path.join(tree, ".git/packed-refs")) or "")
    return branch, commit or (found.group(1) if found else None)


def bring():
    """Install git where it is missing."""
    if not there():
        pkg.install(["git-lite"])


def fetch(directory, url, branch, commit=""):
    """Have the repository *directory* at the head of *branch* of *url*, or at *commit*; return the commit. Raises Refused, also for another commit."""
    git("-C", directory, "fetch", "--quiet", "--depth", "1", url, commit or "refs/heads/" + branch)
    found = git("-C", directory, "rev-parse", "FETCH_HEAD^{commit}")
    if commit and found != commit:
        raise Refused("%s gave commit %s, not %s" % (url, found, commit))
    git("-C", directory, "checkout", "--quiet", "-B", branch, found)
    return found


def clone(path, url, branch, commit, prove):
    """Put the tree into *path*, an empty directory or none, once prove(directory, commit), which raises Refused, lets it pass; return the commit."""
    new = path.rstrip("/") + ".sokuhai-new"
    shutil.rmtree(new, ignore_errors=True)  # what a killed run left
    os.makedirs(new)
    try:
        git("-C", new, "init", "--quiet")
        git("-C", new, "remote", "add", "origin", url)
        found = fetch(new, url, branch, commit)
        prove(new, found)
        if os.path.isdir(path):
            os.rmdir(path)
        os.rename(new, path)
    finally:
        # the reason why nothing came is reported, not that this could not be removed
        shutil.rmtree(new, ignore_errors=True)
    return found
