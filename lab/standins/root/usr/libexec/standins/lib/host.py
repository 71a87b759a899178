"""What the stand-ins read of the running system: processes, limits, sockets' owners.

A host is a mount namespace: processes of other namespaces that /proc may show are not its own.
"""

import os

STATE = "/var/db/standins"
INFINITY = -1


def mnt_ns(pid):
    """Identity of a process's mount namespace, or None when it is gone or not ours to see."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


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
        try:
            name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            pass
    return name[:19]


def uid(pid):
    """Effective user id of a process, or None when it is gone."""
    for line in (read(f"/proc/{pid}/status") or "").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[2])
    return None


_users = None


def user(number):
    """Name of a user id by /etc/passwd, else the number."""
    global _users
    if _users is None:
        _users = {}
        for line in (read("/etc/passwd") or "").splitlines():
            field = line.split(":")
            if len(field) > 2 and field[2].isdigit():
                _users.setdefault(int(field[2]), field[0])
    return _users.get(number, str(number))


def fds(pid):
    """[(descriptor, what it points to)] of a process."""
    result = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return result
    for name in names:
        try:
            result.append((int(name), os.readlink(f"/proc/{pid}/fd/{name}")))
        except OSError:
            continue
    result.sort()
    return result


def die(name, text, status=1):
    """Message as err(3) prints it, then exit."""
    import sys

    sys.stdout.flush()
    sys.stderr.write(f"{name}: {text}\n")
    sys.exit(status)
