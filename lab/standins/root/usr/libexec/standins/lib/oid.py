"""The sysctl tree of the practice host.

What was *set* is kept in a file and forgotten at boot; what is *measured* is read from
the system at every question.  Flags are those of FreeBSD 15's sys/: r read only,
w writable, t tunable (loader.conf).  There are those names that something here reads.
"""

import errno
import fcntl
import functools
import os
import re
import shlex
import socket
import struct
import time

import host

SET = os.path.join(host.STATE, "sysctl")
KENV = os.path.join(host.STATE, "kenv")
BOOTED = os.path.join(host.STATE, "booted")
UINT_MAX = 0xFFFFFFFF


def _table(path):
    result = {}
    for line in (host.read(path) or "").splitlines():
        name, eq, value = line.partition("=")
        if eq:
            result[name] = value
    return result


@functools.cache
def state():
    """What was set since boot: {name: text}."""
    return _table(SET)


@functools.cache
def kenv():
    """The kernel environment the loader left: {name: text}."""
    return _table(KENV)


def booted(name):
    """What the running kernel says of itself: version, ident, osrelease, osreldate or config."""
    words = (word.partition("=") for word in shlex.split(host.read(BOOTED) or ""))
    return next((value for key, _, value in words if key == name), "")


def remember(name, value):
    """Keep a value until the next boot."""
    os.makedirs(host.STATE, exist_ok=True)
    with open(SET + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = _table(SET)
        table[name] = str(value)
        with open(SET + ".new", "w") as f:
            f.writelines(f"{k}={v}\n" for k, v in table.items())
        os.rename(SET + ".new", SET)
    state()[name] = str(value)


def number(text):
    """An integer, or None."""
    try:
        return int(text, 0)
    except ValueError:
        return None


def tunable(name, default):
    """A loader tunable's integer, else the default."""
    value = number(kenv().get(name, ""))
    return default if value is None else value


def meminfo(key):
    """Bytes of one line of /proc/meminfo."""
    for line in (host.read("/proc/meminfo") or "").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def physmem():
    return meminfo("MemTotal")


def _maxusers():
    users = max(32, physmem() // 4096 // (2 * 1024) * 4)
    return tunable("kern.maxusers", 0) or min(users, 384 + max(users - 384, 0) // 8)


def _maxproc():
    return min(tunable("kern.maxproc", 20 + 16 * _maxusers()), 99999)


def _maxfiles():
    per_mb = physmem() // (1 << 20)
    return min(tunable("kern.maxfiles", max(40 + 32 * _maxusers(), per_mb * 32)), per_mb * 64)


def _maxfilesperproc():
    return min(tunable("kern.maxfilesperproc", _maxfiles() // 10 * 9), host.real_cap())


def _mbufmem():
    return tunable("kern.ipc.maxmbufmem", physmem() // 2)


def _nmbclusters():
    return tunable("kern.ipc.nmbclusters", 0) or _mbufmem() // 2048 // 4


def _openfiles():
    if os.geteuid():
        # anybody may ask; but Linux shows other users' processes to root alone, so this is the whole machine's number
        return int(host.read("/proc/sys/fs/file-nr").split()[0])
    return sum(len(host.fds(pid)) for pid in host.pids())


def _file():
    """struct xfile of sys/sys/file.h for every descriptor of every process; the types are DTYPE_VNODE, DTYPE_SOCKET, DTYPE_PIPE and DTYPE_KQUEUE."""
    types = {"socket": 2, "pipe": 3, "anon_inode": 5}
    table = bytearray()
    for pid in host.pids():
        user = host.uid(pid) or 0
        for fd, target in host.fds(pid):
            kind = types.get(target.partition(":")[0], 1)
            table += struct.pack("=QiIiiQhhiiiqQQIi48x", 128, pid, user, fd, 0, 0, kind, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    return bytes(table)


def _numopensockets():
    return int(host.read("/proc/net/sockstat").split()[2])


def _sys_read(path, field=0):
    def getter():
        return int(host.read("/proc/sys/" + path).split()[field])

    return getter


def sys_write(path, text):
    with open("/proc/sys/" + path, "w") as f:
        f.write(text)


def _check(good):
    if not good:
        raise OSError(errno.EINVAL, "Invalid argument")


def _set_acceptqueue(value):
    _check(1 <= value <= UINT_MAX // 3)
    sys_write("net/core/somaxconn", str(min(value, 0x7FFFFFFF)))


PORTS = "net/ipv4/ip_local_port_range"


def _set_hiport(field):
    def setter(value):
        value = min(max(value, 1024), 65535)
        pair = host.read("/proc/sys/" + PORTS).split()
        pair[field] = str(value)
        _check(int(pair[0]) <= int(pair[1]))
        sys_write(PORTS, " ".join(pair))

    return setter


def _set_maxsockets(value):
    now = get("kern.ipc.maxsockets")
    _check(value == now or now < value <= get("kern.maxfiles"))
    remember("kern.ipc.maxsockets", value)


def _set_nmbclusters(value):
    _check(value >= get("kern.ipc.nmbclusters"))
    remember("kern.ipc.nmbclusters", value)


def _set_perproc(value):
    # the one number here that the machine below really caps
    _check(0 <= value <= host.real_cap())
    remember("kern.maxfilesperproc", value)


def _boottime():
    """When this host's pid 1 started: seconds since the machine's boot, in ticks."""
    ticks = int(host.read("/proc/1/stat").rpartition(")")[2].split()[19])
    machine = re.search(r"^btime (\d+)", host.read("/proc/stat"), re.MULTILINE)
    at = int(machine[1]) + ticks // os.sysconf("SC_CLK_TCK")
    return f"{{ sec = {at}, usec = 0 }} {time.ctime(at)}"


def _loadavg():
    return "{ " + " ".join(host.read("/proc/loadavg").split()[:3]) + " }"


def _bootfile():
    return "/boot/" + kenv().get("kernel", "kernel") + "/kernel"


def _hostname():
    return host.read("/proc/sys/kernel/hostname")


# name, type, flags, value or how to measure it, how to set it (None: keep it), what it is
I, U, L, UL, S, U8, U64, S64 = (
    "integer",
    "unsigned integer",
    "long integer",
    "unsigned long",
    "string",
    "uint8_t",
    "uint64_t",
    "int64_t",
)
_ROWS = [
    ("kern.ostype", S, "r", "FreeBSD", None, "Operating system type"),
    ("kern.osrelease", S, "r", lambda: booted("osrelease"), None, "Operating system release"),
    ("kern.version", S, "r", lambda: booted("version"), None, "Kernel version"),
    ("kern.maxproc", I, "rt", _maxproc, None, "Maximum number of processes"),
    ("kern.maxfiles", I, "wt", _maxfiles, None, "Maximum number of files"),
    ("kern.hostname", S, "w", _hostname, socket.sethostname, "Hostname"),
    ("kern.boottime", "opaque", "r", _boottime, None, "Estimated system boottime"),
    ("kern.osreldate", I, "r", lambda: int(booted("osreldate")), None, "Kernel release date"),
    ("kern.ident", S, "r", lambda: booted("ident"), None, "Kernel identifier"),
    ("kern.bootfile", S, "w", _bootfile, None, "Name of kernel file booted"),
    ("kern.maxfilesperproc", I, "wt", _maxfilesperproc, _set_perproc, "Maximum files allowed open per process"),
    ("kern.maxprocperuid", I, "w", lambda: get("kern.maxproc") * 9 // 10, None, "Maximum processes allowed per userid"),
    ("kern.ipc.maxsockbuf", UL, "w", 8388608, None, "Maximum socket buffer size"),
    (
        "kern.ipc.somaxconn",
        U,
        "w",
        _sys_read("net/core/somaxconn"),
        _set_acceptqueue,
        "Maximum listen socket pending connection accept queue size (compat)",
    ),
    (
        "kern.ipc.maxsockets",
        I,
        "wt",
        lambda: max(tunable("kern.ipc.maxsockets", 0), _maxfiles()),
        _set_maxsockets,
        "Maximum number of sockets available",
    ),
    ("kern.ipc.numopensockets", U, "r", _numopensockets, None, "Number of open sockets"),
    (
        "kern.ipc.soacceptqueue",
        U,
        "w",
        _sys_read("net/core/somaxconn"),
        _set_acceptqueue,
        "Maximum listen socket pending connection accept queue size",
    ),
    (
        "kern.ipc.nmbclusters",
        I,
        "wt",
        _nmbclusters,
        _set_nmbclusters,
        "Maximum number of mbuf clusters allowed",
    ),
    ("kern.ipc.maxmbufmem", S64, "rt", _mbufmem, None, "Maximum real memory allocatable to various mbuf types"),
    ("kern.file", "opaque", "r", _file, None, "Entire file table"),
    ("kern.openfiles", I, "r", _openfiles, None, "System-wide number of open files"),
    ("kern.maxusers", I, "rt", _maxusers, None, "Hint for kernel tuning"),
    (
        "kern.corefile",
        S,
        "wt",
        lambda: kenv().get("kern.corefile", "%N.core"),
        None,
        "Process corefile name format string",
    ),
    ("kern.conftxt", S, "r", lambda: booted("config").rstrip("\n"), None, "Kernel configuration file"),
    ("vm.stats.vm.v_page_size", U, "r", 4096, None, "Page size in bytes"),
    ("vm.stats.vm.v_page_count", U, "r", lambda: physmem() // 4096, None, "Total number of pages in system"),
    ("vm.stats.vm.v_free_count", U, "r", lambda: meminfo("MemFree") // 4096, None, "Free pages"),
    ("vm.stats.vm.v_inactive_count", U, "r", lambda: meminfo("Inactive") // 4096, None, "Inactive pages"),
    ("vm.stats.vm.v_cache_count", U, "r", 0, None, "Dummy for compatibility"),
    ("net.inet.ip.portrange.first", I, "w", 10000, None, ""),
    ("net.inet.ip.portrange.last", I, "w", 65535, None, ""),
    # Linux has one range; it is the one named asks for, so it stands for FreeBSD's high one
    ("net.inet.ip.portrange.hifirst", I, "w", _sys_read(PORTS, 0), _set_hiport(0), ""),
    ("net.inet.ip.portrange.hilast", I, "w", _sys_read(PORTS, 1), _set_hiport(1), ""),
    ("net.inet.tcp.cc.algorithm", S, "w", "cubic", None, "Default congestion control algorithm"),
    ("net.inet.udp.recvspace", UL, "w", 42080, None, "Maximum space for incoming UDP datagrams"),
    ("hw.ncpu", I, "r", lambda: len(os.sched_getaffinity(0)), None, "Number of active CPUs"),
    ("hw.physmem", UL, "r", physmem, None, "Amount of physical memory (in bytes)"),
    ("hw.pagesize", I, "r", 4096, None, "System memory page size"),
    # a test makes a jail of the host by these two, in the file of what was set
    ("security.jail.jailed", I, "r", 0, None, "Process in jail?"),
    ("security.jail.vnet", I, "r", 0, None, "Jail owns vnet?"),
    (
        "security.bsd.see_other_uids",
        I,
        "w",
        1,
        None,
        "Unprivileged processes may see subjects/objects with different real uid",
    ),
]
OIDS = {row[0]: row for row in _ROWS}


def get(name):
    """Value in force: int, or text of a string or opaque one. KeyError: unknown."""
    _, kind, _, value, _, _ = OIDS[name]
    if name in state():
        kept = state()[name]
        return kept if kind == S else int(kept)
    return value() if callable(value) else value


#: CTLFLAG_VNET: what a jail with a network stack of its own may set.
VNET = ("net.inet.ip.portrange.", "kern.ipc.soacceptqueue", "kern.ipc.somaxconn")


def put(name, text):
    """Set a value from text. OSError: the kernel refuses."""
    _, kind, _, _, setter, _ = OIDS[name]
    if get("security.jail.jailed") and not (get("security.jail.vnet") and name.startswith(VNET)):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    value = text if kind == S else number(text)
    if setter:
        setter(value)
    else:
        remember(name, value)
