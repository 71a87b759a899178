# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Boot environments of a host whose root is on ZFS, by bectl(8). Python 3.9."""

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused


def _bectl(*words):
    status, out, err = host.run(["bectl", *words])
    if status:
        raise Refused("bectl %s: %s" % (words[0], (err or out).strip() or "exit status %d" % status))
    return out


def listed():
    """Return {name: flags (str): N runs now, R at the next boot, T at the next one only, - none of them}. Raises Refused where there is no such thing.

    A root on another file system, a jail and a ZFS root outside a pool's ROOT all end in libbe_init() (sbin/bectl/bectl.c).
    """
    rows = (line.split("\t") for line in _bectl("list", "-H").splitlines() if line.strip())
    return {row[0]: row[1] for row in rows if len(row) > 1}


def refusal(name):
    """Return why the boot environment *name* (str) could not be what this host returns to, or ""."""
    try:
        flags = listed().get(name, "")
    except Refused as why:
        return (
            "this host has no boot environments (%s): they need a root on ZFS, as FreeBSD's installer makes it. Leave the variable empty "
            "here, and take a snapshot of the machine instead" % why
        )
    if "N" in flags:
        return (
            "this host runs in %s now, and what is to be kept would be changed: give another name, or go on in a copy of it "
            "(bectl create NAME && bectl activate NAME, and reboot)" % name
        )
    return ""


def create(name):
    """Have the boot environment *name* (str), with the file systems below the root; return whether it had to be made. One that is there stays as it is."""
    if name in listed():
        return False
    _bectl("create", "-r", name)
    return True
