"""What the stand-ins read of the running system: processes, limits, sockets' owners.

A host is a mount namespace: processes of other namespaces that /proc may show are not its own.
"""

import functools
import os

STATE = "/var/db/standins"


def link(path):
    """What a symbolic link leads to, None when it is gone or not ours to see."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def mnt_ns(pid):
    """Identity of a process's mount namespace, or None when it is gone or not ours to see."""
    return link(f"/proc/{pid}/ns/mnt")


def pids():
    """Process ids of this host, ascending."""
    here = mnt_ns("self")
    return [p for p in sorted(int(d) for d in os.listdir("/proc") if d.isdigit()) if mnt_ns(p) == here]


def read(path, default=None):
    """A small file's text, stripped; default when it cannot be read."""
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return default


def proc_limits(pid):
    """{Linux's name of a limit: (soft, hard)} of a running process; None is unlimited. KeyError-free: {} when gone."""
    text = read(f"/proc/{pid}/limits")
    result = {}
    for line in (text or "").splitlines()[1:]:
        name, rest = line[:26].strip(), line[26:].split()
        result[name] = tuple(None if v == "unlimited" else int(v) for v in rest[:2])
    return result


def real_cap():
    """Hard RLIMIT_NOFILE of this host's pid 1: more than this nothing here can ever have."""
    return proc_limits(1).get("Max open files", (None, None))[1] or 1 << 20


def comm(pid):
    """Command name as FreeBSD keeps it (19 characters)."""
    name = read(f"/proc/{pid}/comm") or ""
    if " " in name:  # its title, which setproctitle(3) keeps elsewhere
        name = os.path.basename(link(f"/proc/{pid}/exe") or name)
    return name[:19]


def uid(pid):
    """Effective user id of a process, or None when it is gone."""
    for line in (read(f"/proc/{pid}/status") or "").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[2])
    return None


@functools.cache
def names(path):
    """{number: name} of passwd(5) or group(5)."""
    rows = [line.split(":") for line in (read(path) or "").splitlines()]
    return {row[2]: row[0] for row in reversed(rows)}


def name(path, number):
    """Name of a user or group by its file, else the number."""
    return names(path).get(str(number), str(number))


def user(number):
    return name("/etc/passwd", number)


def fds(pid):
    """[(descriptor, what it points to)] of a process."""
    try:
        numbers = sorted(map(int, os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return []
    targets = [(number, link(f"/proc/{pid}/fd/{number}")) for number in numbers]
    return [pair for pair in targets if pair[1] is not None]
