"""Linux namespaces by their system calls; the standard library has them only from Python 3.12 on."""

import ctypes
import os

NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWPID = 0x20000000
NEWNET = 0x40000000
# those of a practice host and of the lab beside the network, by their names in /proc/PID/ns
KINDS = {"pid": NEWPID, "uts": NEWUTS, "ipc": NEWIPC, "mnt": NEWNS}

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def setns(fd, kind=0):
    """Enter the namespace behind an open file; for NEWPID only later children do."""
    _check(_libc.setns(fd, kind), "setns")


def enter(namespaces):
    """Enter namespaces, {path: kind}. All are opened first: behind a mount namespace the paths are others."""
    opened = [(os.open(path, os.O_RDONLY | os.O_CLOEXEC), kind) for path, kind in namespaces.items()]
    for fd, kind in opened:
        setns(fd, kind)
        os.close(fd)


def mount(source, target, fstype=None, flags=0, data=None):
    args = [None if a is None else os.fsencode(a) for a in (source, target, fstype)]
    _check(
        _libc.mount(args[0], args[1], args[2], ctypes.c_ulong(flags), None if data is None else data.encode()),
        f"mount {fstype or 'bind'} on {target}",
    )


def bind(source, target, flags=0):
    """A bind mount; mount(2) ignores the other flags of one until it is mounted again."""
    mount(source, target, flags=MS_BIND)
    if flags:
        remount(target, flags)


def remount(target, flags):
    mount(None, target, flags=MS_BIND | MS_REMOUNT | flags)


def umount(target, flags=0):
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new, old):
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root")


def prctl(option, arg):
    _check(_libc.prctl(option, ctypes.c_ulong(arg), 0, 0, 0), "prctl")


def start_time(pid, proc="/proc"):
    """Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), or None when it is gone or a zombie.

    Together with the pid it names one process for as long as the machine runs.
    """
    try:
        with open(f"{proc}/{pid}/stat", "rb") as f:
            fields = f.read().rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
