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
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule

PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
ENV = {"PATH": PATH, "LC_ALL": "C", "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "ASSUME_ALWAYS_YES": "yes"}
NEWVERS = "sys/conf/newvers.sh"


class Failed(Exception):
    """A reason to leave things as they are."""


def run(*argv):
    """(exit status, what it printed, what it complained of)."""
    env = dict(ENV, **{name: os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") if name in os.environ})
    try:
        done = subprocess.run(argv, env=env, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        return 127, "", "%s: not found" % argv[0]
    return done.returncode, done.stdout.decode("utf-8", "replace").strip(), done.stderr.decode("utf-8", "replace").strip()


def must(*argv):
    status, out, err = run(*argv)
    if status:
        raise Failed("%s: %s" % (" ".join(argv[:3]), " ".join((err or out).splitlines()[-3:])))
    return out


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
    return ("%s is %s, this host is %s: freebsd-update fetch install brings both to the same level (where src is among its Components), pkg upgrade where "
            "base packages are, git -C %s pull otherwise" % (path, found or "no source tree of FreeBSD", wanted, path))


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return None


def by_git(want, wanted):
    if shutil.which("git", path=PATH) is None:
        must("pkg", "install", "-y", "git-lite")
    new = want["path"].rstrip("/") + ".sokuhai-new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    git = ("git", "-c", "transfer.fsckObjects=true", "-c", "advice.detachedHead=false", "-C", new)
    try:
        branch = branch_of(wanted)
        must(*(git + ("init", "--quiet")))
        must(*(git + ("remote", "add", "origin", want["url"])))
        must(*(git + ("fetch", "--quiet", "--depth", "1", "origin", want["commit"] or "refs/heads/" + branch)))
        commit = must(*(git + ("rev-parse", "FETCH_HEAD^{commit}")))
        if want["commit"] and commit != want["commit"]:
            raise Failed("%s gave commit %s, not %s" % (want["url"], commit, want["commit"]))
        must(*(git + ("checkout", "--quiet", "-B", branch, commit)))
        found = release_of(read(os.path.join(new, NEWVERS)))
        if found != wanted:
            raise Failed("%s of %s is %s, this host is %s: bring the host to that patch level first (freebsd-update fetch install), or name the commit of "
                         "its own" % (branch, want["url"], found or "no source tree of FreeBSD", wanted))
        if os.path.isdir(want["path"]):
            os.rmdir(want["path"])
        os.rename(new, want["path"])
    finally:
        shutil.rmtree(new, ignore_errors=True)


def main():
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "default": "/usr/src"}, "url": {"type": "str", "required": True},
                       "commit": {"type": "str", "default": ""}},
        supports_check_mode=True)
    want = module.params
    try:
        wanted = must("freebsd-version", "-u")
        empty = not os.path.isdir(want["path"]) or not os.listdir(want["path"])
        if not empty:
            found = release_of(read(os.path.join(want["path"], NEWVERS)))
            problem = judge(found, wanted, want["path"])
            if problem:
                raise Failed(problem)
            module.exit_json(changed=False, release=found)
        if module.check_mode:
            module.exit_json(changed=True, release=wanted)
        if run("pkg", "info", "-e", "FreeBSD-runtime")[0] == 0:
            must("pkg", "install", "-y", "-r", "FreeBSD-base", "FreeBSD-src", "FreeBSD-src-sys")
        else:
            by_git(want, wanted)
        problem = judge(release_of(read(os.path.join(want["path"], NEWVERS))), wanted, want["path"])
        if problem:
            raise Failed(problem)
    except (Failed, OSError) as reason:
        module.fail_json(msg="no sources were brought: %s" % reason)
    module.exit_json(changed=True, release=wanted)


if __name__ == "__main__":
    main()
