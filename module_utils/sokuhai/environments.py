# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Boot environments of a host whose root is on ZFS, by bectl(8). Python 3.9."""

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused

#: BE_ERR_EXISTS of lib/libbe/be.h, as which bectl(8) ends.
EXISTS = 2


def _bectl(*words):
    """Return (exit status, what it printed, what is to be said of it)."""
    status, out, err = host.run(["bectl", *words])
    said = " ".join((err or out).split()) or "exit status %d" % status
    return status, out, "bectl %s: %s" % (words[0], said)


def listed():
    """Return {name: flags (str): N runs now, R at the next boot, T at the next one only, - none of them}. Raises Refused where there is no such thing.

    A root on another file system, a jail and a ZFS root outside a pool's ROOT all end in libbe_init() (sbin/bectl/bectl.c).
    """
    status, out, said = _bectl("list", "-H")
    if status:
        raise Refused(said)
    rows = (line.split("\t") for line in out.splitlines() if line.strip())
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
    """Have the boot environment *name* (str), with the file systems below the root; return whether it had to be made. One that is there stays as it is.

    Raises Refused where it cannot be made. bectl(8) clones one file system after the other and takes none back (be_clone_cb() of lib/libbe/be.c), so what it
    has made by then is destroyed here: the next run would take it for whole.
    """
    if name in listed():
        return False
    status, _out, said = _bectl("create", "-r", name)
    if not status:
        return True
    # one that is there now and that it did not make is another run's
    if status != EXISTS and name in listed():
        status, _out, why = _bectl("destroy", "-o", name)
        said += "; %s: it is not whole, destroy it before the next run" % why if status else ""
    raise Refused(said)
