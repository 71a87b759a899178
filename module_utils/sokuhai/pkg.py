# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Packages of pkg(8) that a module needs before it can do its work: it asks and installs in the same remote command."""

from __future__ import annotations

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding


def missing(names):
    """Return those of *names* (of packages, or their ports' origins) that are not installed."""
    return [name for name in names if host.run(["pkg", "info", "-e", name])[0]]


def install(names):
    """Install *names* and what they depend on; [] does nothing. Raises Refused. A repository may take its time, so there is no limit to it."""
    if not names:
        return
    status, out, err = host.run(["pkg", "install", "-y", *names], None, {**host.ENV, "ASSUME_ALWAYS_YES": "yes"})
    if status or missing(names):
        raise host.Refused("pkg install %s: %s" % (" ".join(names), " ".join((err or out).split()[-60:])))


def findings(names):
    """Return a finding for each of *names*, which missing() gave."""
    return [finding("package " + name, "package " + name, "installed", "not installed") for name in names]
