"""Where the directory vm, the cache and an instance's files are."""

import os
import pathlib
import re

from . import VmError

VM = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = VM.parent
# a unix socket's path may have 103 bytes on FreeBSD and macOS, 107 on Linux
SOCKET_PATH_LIMIT = 103


def cache():
    """Images live here, and the disks of running instances: both are too large for /run."""
    top = (
        os.environ.get("SOKUHAI_CACHE")
        or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sokuhai"
    )
    return pathlib.Path(top) / "freebsd"


def instance():
    """Name of the instance, from SOKUHAI_VM. Raises VmError when it could not be a directory's name."""
    name = os.environ.get("SOKUHAI_VM") or "vm"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", name):
        raise VmError(f"SOKUHAI_VM: {name!r} is not a name for an instance; letters, digits, _ . -, at most 32")
    return name


def state():
    """Directory of the instance's logs, keys and sockets."""
    if os.geteuid() == 0 and os.path.isdir("/run"):
        top = pathlib.Path("/run/sokuhai-vm")
    elif os.environ.get("XDG_RUNTIME_DIR"):
        top = pathlib.Path(os.environ["XDG_RUNTIME_DIR"]) / "sokuhai-vm"
    else:
        top = cache() / "run"
    path = top / instance()
    if len(os.fsencode(str(path / "monitor"))) > SOCKET_PATH_LIMIT:
        raise VmError(f"{path}: too long a path for a socket; set XDG_RUNTIME_DIR to a shorter directory")
    return path


def disks(name):
    """Directory of an instance's disk."""
    return cache() / "instances" / name
