# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One commit of a repository, fetched and checked, in a folder that is there whole or not at all."""

from __future__ import annotations

import os
import shutil

from ansible.module_utils.sokuhai import host

#: No question, no configuration of the caller's.
ENV = {
    "PATH": host.PATH,
    "LC_ALL": "C",
    "HOME": "/nonexistent",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "ASSUME_ALWAYS_YES": "yes",
}
#: How to reach a repository and pkg(8)'s.
FROM_CALLER = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CA_CERT_FILE")


class Failed(Exception):
    """A reason to leave things as they are, in the words of the program that gave it."""


def must(argv, timeout=None, what=None):
    """Return what the command *argv* (list of str) prints, without white space around it. Raises Failed with *what* and the end of its complaint.

    timeout: seconds; a repository may take its time, so None, the default, is no limit. what: the command's first words where it is None.
    """
    env = dict(ENV, **{name: os.environ[name] for name in FROM_CALLER if name in os.environ})
    status, out, err = host.run(argv, timeout, env)
    if status:
        said = [line.rstrip() for line in (err or out).splitlines() if line.strip()]
        raise Failed("%s: %s" % (what or " ".join(argv[:3]), " ".join(said[-4:])))
    return out.strip()


def git(*words):
    """Return what git prints. Every object is checked as it comes."""
    return must(
        ["git", "-c", "transfer.fsckObjects=true", "-c", "advice.detachedHead=false"] + list(words),
        what="git " + (words[2] if words[0] == "-C" else words[0]),
    )


def there():
    """Return whether this host has git."""
    return shutil.which("git", path=host.PATH) is not None


def bring():
    """Install git where it is missing."""
    if not there():
        must(["pkg", "install", "-y", "git-lite"], 900, "pkg install git-lite")


def fetch(folder, url, branch, commit=""):
    """Have the repository *folder* at the head of *branch* of *url*, or at *commit*; return the commit. Raises Failed, also for another commit."""
    git("-C", folder, "fetch", "--quiet", "--depth", "1", url, commit or "refs/heads/" + branch)
    found = git("-C", folder, "rev-parse", "FETCH_HEAD^{commit}")
    if commit and found != commit:
        raise Failed("%s gave commit %s, not %s" % (url, found, commit))
    git("-C", folder, "checkout", "--quiet", "-B", branch, found)
    return found


def clone(path, url, branch, commit, prove):
    """Put the tree into *path*, an empty folder or none, once prove(folder, commit), which raises Failed, lets it pass; return the commit."""
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
        shutil.rmtree(
            new, ignore_errors=True
        )  # the reason why nothing came is told, not that this could not be removed
    return found
