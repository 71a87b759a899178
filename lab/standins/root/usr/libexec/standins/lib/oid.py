"""The sysctl tree of the practice host.

What was *set* is kept in a file and forgotten at boot; what is *measured* is read from
the system at every question.  Flags are those of FreeBSD 15's sys/: r read only,
w writable, t tunable (loader.conf), s a statistic, left out by sysctl -W.
Half of the file is the table of names.
"""

import errno
import os

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


_state = None


def state():
    """What was set since boot: {name: text}."""
    global _state
    if _state is None:
        _state = _table(SET)
    return _state


_kenv = None


def kenv():
    """The kernel environment the loader left: {name: text}."""
    global _kenv
    if _kenv is None:
        _kenv = _table(KENV)
    return _kenv


def booted(name):
    """What the running kernel says of itself: version, ident, osrelease, osreldate or config."""
    import shlex

    for word in shlex.split(host.read(BOOTED) or ""):
        key, _, value = word.partition("=")
        if key == name:
            return value
    return {
        "version": "FreeBSD 15.0-RELEASE GENERIC",
        "ident": "GENERIC",
        "osrelease": "15.0-RELEASE",
        "osreldate": "1500068",
    }.get(name, "")


def remember(name, value):
    """Keep a value until the next boot."""
    import fcntl

    os.makedirs(host.STATE, exist_ok=True)
    with open(SET + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = _table(SET)
        table[name] = str(value)
        with open(SET + ".new", "w") as f:
            f.writelines(f"{k}={v}\n" for k, v in table.items())
        os.rename(SET + ".new", SET)
    state()[name] = str(value)


def _number(text):
    """An integer as strtol(3) with base 0 takes it, or None."""
    text = text.strip()
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.lstrip("+"))
    try:
        if digits[:2].lower() == "0x":
            return sign * int(digits, 16)
        if digits.startswith("0") and len(digits) > 1:
            return sign * int(digits, 8)
        return sign * int(digits, 10)
    except ValueError:
        return None


def tunable(name, default):
    """A loader tunable's integer, else the default."""
    value = _number(kenv().get(name, ""))
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
    users = tunable("kern.maxusers", 0)
    if not users:
        users = max(32, physmem() // 4096 // (2 * 1024) * 4)
        if users > 384:
            users = 384 + (users - 384) // 8
    return users


def _maxproc():
    proc = tunable("kern.maxproc", 20 + 16 * _maxusers())
    return min(proc, 99999)


def _maxfiles():
    per_mb = physmem() // (1 << 20)
    return min(tunable("kern.maxfiles", max(40 + 32 * _maxusers(), per_mb * 32)), per_mb * 64)


def _maxfilesperproc():
    return min(tunable("kern.maxfilesperproc", _maxfiles() // 10 * 9), host.real_cap())


def _mbufmem():
    return tunable("kern.ipc.maxmbufmem", physmem() // 2)


def _nmbclusters():
    return tunable("kern.ipc.nmbclusters", 0) or _mbufmem() // 2048 // 4


def _nmbufs():
    jumbo = _mbufmem() // 4096 // 4 + _mbufmem() // 9216 // 6 + _mbufmem() // 16384 // 6
    return max(_mbufmem() // 256 // 5, _nmbclusters() + jumbo)


def _openfiles():
    if os.geteuid():
        # anybody may ask; but Linux shows other users' processes to root alone, so this is the whole machine's number
        return int((host.read("/proc/sys/fs/file-nr") or "0").split()[0])
    total = 0
    for pid in host.pids():
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return total


def _file():
    """struct xfile of sys/sys/file.h for every descriptor of every process; the types are DTYPE_VNODE, DTYPE_SOCKET, DTYPE_PIPE and DTYPE_KQUEUE."""
    import struct

    table = bytearray()
    for pid in host.pids():
        user = host.uid(pid)
        for number, target in host.fds(pid):
            kind = (
                2
                if target.startswith("socket:")
                else 3
                if target.startswith("pipe:")
                else 5
                if target.startswith("anon_inode:")
                else 1
            )
            table += struct.pack(
                "=QiIiiQhhiiiqQQIi48x", 128, pid, user or 0, number, 0, 0, kind, 0, 1, 0, 0, 0, 0, 0, 0, 0
            )
    return bytes(table)


def _numopensockets():
    line = (host.read("/proc/net/sockstat") or "sockets: used 0").splitlines()[0]
    return int(line.split()[2])


def _sys_read(path, field=0):
    def getter():
        return int((host.read("/proc/sys/" + path) or "0").split()[field])

    return getter


def _sys_write(path, text):
    try:
        with open("/proc/sys/" + path, "w") as f:
            f.write(text)
    except OSError as problem:
        raise OSError(problem.errno, os.strerror(problem.errno)) from None


def _set_acceptqueue(value):
    if not 1 <= value <= UINT_MAX // 3:
        raise OSError(errno.EINVAL, "Invalid argument")
    _sys_write("net/core/somaxconn", str(min(value, 0x7FFFFFFF)))


PORTS = "net/ipv4/ip_local_port_range"


def _set_hiport(field):
    def setter(value):
        value = min(max(value, 1024), 65535)
        pair = (host.read("/proc/sys/" + PORTS) or "49152 65535").split()
        pair[field] = str(value)
        if int(pair[0]) > int(pair[1]):
            raise OSError(errno.EINVAL, "Invalid argument")
        _sys_write(PORTS, " ".join(pair))

    return setter


def _set_port(name):
    def setter(value):
        low, high = (1, 1023) if name.startswith("low") else (1024, 65535)
        remember("net.inet.ip.portrange." + name, min(max(value, low), high))

    return setter


def _set_maxsockets(value):
    now = get("kern.ipc.maxsockets")
    if value != now and not now < value <= get("kern.maxfiles"):
        raise OSError(errno.EINVAL, "Invalid argument")
    remember("kern.ipc.maxsockets", value)


def _raise_only(name):
    def setter(value):
        if value < get(name):
            raise OSError(errno.EINVAL, "Invalid argument")
        remember(name, value)

    return setter


def _set_perproc(value):
    # the one number here that the machine below really caps
    if value > host.real_cap() or value < 0:
        raise OSError(errno.EINVAL, "Invalid argument")
    remember("kern.maxfilesperproc", value)


def _boottime():
    ticks = int((host.read("/proc/1/stat") or "1 (init) " + "0 " * 20).rpartition(")")[2].split()[19])
    for line in (host.read("/proc/stat") or "").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) + ticks // os.sysconf("SC_CLK_TCK")
    return 0


def _boottime_text():
    import time

    at = _boottime()
    return f"{{ sec = {at}, usec = 0 }} {time.ctime(at)}"


def _cpu_model():
    for line in (host.read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "amd64"


def _loadavg():
    return "{ " + " ".join((host.read("/proc/loadavg") or "0 0 0").split()[:3]) + " }"


def _bootfile():
    return "/boot/" + kenv().get("kernel", "kernel") + "/kernel"


def _hostname():
    return host.read("/proc/sys/kernel/hostname", "")


def _set_hostname(value):
    import socket

    socket.sethostname(value)


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
    ("kern.osrevision", I, "r", 199506, None, "Operating system revision"),
    ("kern.version", S, "r", lambda: booted("version"), None, "Kernel version"),
    ("kern.maxproc", I, "rt", _maxproc, None, "Maximum number of processes"),
    ("kern.maxfiles", I, "wt", _maxfiles, None, "Maximum number of files"),
    ("kern.argmax", I, "r", 524288, None, "Maximum bytes of argument to execve(2)"),
    ("kern.securelevel", I, "w", -1, None, "Current secure level"),
    ("kern.hostname", S, "w", _hostname, _set_hostname, "Hostname"),
    ("kern.boottime", "opaque", "r", _boottime_text, None, "Estimated system boottime"),
    ("kern.osreldate", I, "r", lambda: int(booted("osreldate")), None, "Kernel release date"),
    ("kern.ident", S, "r", lambda: booted("ident"), None, "Kernel identifier"),
    (
        "kern.panic_reboot_wait_time",
        I,
        "wt",
        lambda: tunable("kern.panic_reboot_wait_time", 15),
        None,
        "Seconds to wait before rebooting after a panic",
    ),
    (
        "debug.debugger_on_panic",
        I,
        "wt",
        lambda: tunable("debug.debugger_on_panic", 1),
        None,
        "Run debugger on kernel panic",
    ),
    ("debug.kdb.available", S, "r", "", None, "list of available KDB backends"),
    ("debug.kdb.current", S, "w", "", None, "currently selected KDB backend"),
    ("kern.bootfile", S, "w", _bootfile, None, "Name of kernel file booted"),
    ("kern.maxfilesperproc", I, "wt", _maxfilesperproc, _set_perproc, "Maximum files allowed open per process"),
    ("kern.maxprocperuid", I, "w", lambda: get("kern.maxproc") * 9 // 10, None, "Maximum processes allowed per userid"),
    ("kern.ipc.maxsockbuf", UL, "w", 8388608, None, "Maximum socket buffer size"),
    ("kern.ipc.sockbuf_waste_factor", UL, "w", 8, None, "Socket buffer size waste factor"),
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
    ("kern.ipc.nmbufs", I, "wt", _nmbufs, _raise_only("kern.ipc.nmbufs"), "Maximum number of mbufs allowed"),
    (
        "kern.ipc.nmbclusters",
        I,
        "wt",
        _nmbclusters,
        _raise_only("kern.ipc.nmbclusters"),
        "Maximum number of mbuf clusters allowed",
    ),
    (
        "kern.ipc.nmbjumbop",
        I,
        "wt",
        lambda: _mbufmem() // 4096 // 4,
        _raise_only("kern.ipc.nmbjumbop"),
        "Maximum number of mbuf page size jumbo clusters allowed",
    ),
    ("kern.ipc.maxmbufmem", S64, "rt", _mbufmem, None, "Maximum real memory allocatable to various mbuf types"),
    ("kern.ipc.maxpipekva", L, "rt", lambda: tunable("kern.ipc.maxpipekva", physmem() // 64), None, "Pipe KVA limit"),
    ("kern.ipc.pipekva", L, "r", 0, None, "Pipe KVA usage"),
    ("kern.ipc.sendfile.readahead", I, "w", 0, None, "Number of sendfile(2) read-ahead MAXBSIZE blocks"),
    ("kern.file", "opaque", "r", _file, None, "Entire file table"),
    ("kern.openfiles", I, "r", _openfiles, None, "System-wide number of open files"),
    ("kern.maxusers", I, "rt", _maxusers, None, "Hint for kernel tuning"),
    ("kern.hz", I, "rt", lambda: tunable("kern.hz", 1000), None, "Number of clock ticks per second"),
    (
        "kern.ngroups",
        I,
        "rt",
        lambda: tunable("kern.ngroups", 1023),
        None,
        "Maximum number of supplemental groups a user can belong to",
    ),
    ("kern.msgbufsize", I, "rt", lambda: tunable("kern.msgbufsize", 98304), None, "Size of the kernel message buffer"),
    ("kern.maxdsiz", UL, "wt", lambda: tunable("kern.maxdsiz", 34359738368), None, "Maximum data size"),
    ("kern.dfldsiz", UL, "wt", lambda: tunable("kern.dfldsiz", 134217728), None, "Initial data size limit"),
    ("kern.maxssiz", UL, "wt", lambda: tunable("kern.maxssiz", 536870912), None, "Maximum stack size"),
    ("kern.dflssiz", UL, "wt", lambda: tunable("kern.dflssiz", 8388608), None, "Initial stack size limit"),
    ("kern.maxtsiz", UL, "wt", lambda: tunable("kern.maxtsiz", 134217728), None, "Maximum text size"),
    (
        "kern.corefile",
        S,
        "wt",
        lambda: kenv().get("kern.corefile", "%N.core"),
        None,
        "Process corefile name format string",
    ),
    ("kern.coredump", I, "w", 1, None, "Enable/Disable coredumps"),
    ("kern.randompid", I, "w", 0, None, "Random PID modulus. Special values: 0: disable, 1: choose random value"),
    ("kern.pid_max", I, "rt", lambda: tunable("kern.pid_max", 99999), None, "Maximum allowed pid"),
    ("kern.kq_calloutmax", U, "w", 4096, None, "Maximum number of callouts allocated for kqueue"),
    ("kern.vm_guest", S, "r", "kvm", None, "Virtual machine guest detected?"),
    ("kern.conftxt", S, "r", lambda: booted("config").rstrip("\n"), None, "Kernel configuration file"),
    (
        "kern.lastpid",
        I,
        "r",
        lambda: int((host.read("/proc/loadavg") or "0 0 0 0 0").split()[4]),
        None,
        "Last used PID",
    ),
    ("vm.loadavg", "opaque", "r", _loadavg, None, "Machine loadaverage history"),
    ("vm.overcommit", I, "w", 0, None, "Configure virtual memory overcommit behavior. See tuning(7) for details."),
    ("vm.swap_enabled", I, "w", 1, None, "Enable entire process swapout"),
    ("vm.swap_total", U64, "r", lambda: meminfo("SwapTotal"), None, "Total amount of available swap storage."),
    ("vm.stats.vm.v_page_size", U, "r", 4096, None, "Page size in bytes"),
    ("vm.stats.vm.v_page_count", U, "r", lambda: physmem() // 4096, None, "Total number of pages in system"),
    ("vm.stats.vm.v_free_count", U, "r", lambda: meminfo("MemFree") // 4096, None, "Free pages"),
    ("vm.stats.vm.v_inactive_count", U, "r", lambda: meminfo("Inactive") // 4096, None, "Inactive pages"),
    ("vm.stats.vm.v_cache_count", U, "r", 0, None, "Dummy for compatibility"),
    ("vm.kmem_size", UL, "rt", lambda: tunable("vm.kmem_size", physmem() // 10 * 9), None, "Size of kernel memory"),
    ("vfs.read_max", I, "w", 64, None, "Cluster read-ahead max block count"),
    ("vfs.ufs.dirhash_maxmem", I, "w", 12582912, None, "maximum allowed dirhash memory usage"),
    ("net.local.stream.recvspace", UL, "w", 65536, None, "Default stream receive space."),
    ("net.local.stream.sendspace", UL, "w", 65536, None, "Default stream send space."),
    ("net.local.dgram.recvspace", UL, "w", 16384, None, "Default datagram receive space."),
    ("net.local.dgram.maxdgram", UL, "w", 8192, None, "Maximum datagram size."),
    ("net.inet.ip.portrange.lowfirst", I, "w", 1023, _set_port("lowfirst"), ""),
    ("net.inet.ip.portrange.lowlast", I, "w", 600, _set_port("lowlast"), ""),
    ("net.inet.ip.portrange.first", I, "w", 10000, _set_port("first"), ""),
    ("net.inet.ip.portrange.last", I, "w", 65535, _set_port("last"), ""),
    # Linux has one range; it is the one named asks for, so it stands for FreeBSD's high one
    ("net.inet.ip.portrange.hifirst", I, "w", _sys_read(PORTS, 0), _set_hiport(0), ""),
    ("net.inet.ip.portrange.hilast", I, "w", _sys_read(PORTS, 1), _set_hiport(1), ""),
    ("net.inet.ip.portrange.reservedhigh", I, "w", 1023, None, ""),
    ("net.inet.ip.portrange.reservedlow", I, "w", 0, None, ""),
    ("net.inet.ip.portrange.randomized", I, "w", 1, None, "Enable random port allocation"),
    ("net.inet.ip.forwarding", I, "w", 0, None, "Enable IP forwarding between interfaces"),
    ("net.inet.ip.redirect", I, "w", 1, None, "Enable sending IP redirects"),
    ("net.inet.ip.ttl", I, "w", 64, None, "Maximum TTL on IP packets"),
    ("net.inet.ip.random_id", I, "w", 0, None, "Assign random ip_id values"),
    ("net.inet.ip.maxfragpackets", I, "w", 1576, None, "Maximum number of IPv4 fragment reassembly queue entries"),
    ("net.inet.ip.intr_queue_maxlen", U, "w", 256, None, "Maximum size of the IP input queue"),
    ("net.inet.icmp.icmplim", U, "w", 200, None, "Maximum number of ICMP responses per second"),
    ("net.inet.icmp.drop_redirect", I, "w", 0, None, "Ignore ICMP redirects"),
    ("net.inet.tcp.rfc1323", I, "w", 1, None, "Enable rfc1323 (high performance TCP) extensions"),
    ("net.inet.tcp.mssdflt", I, "w", 536, None, "Default TCP Maximum Segment Size"),
    ("net.inet.tcp.keepidle", I, "w", 7200000, None, "time before keepalive probes begin"),
    ("net.inet.tcp.keepintvl", I, "w", 75000, None, "time between keepalive probes"),
    ("net.inet.tcp.keepinit", I, "w", 75000, None, "time to establish connection"),
    ("net.inet.tcp.keepcnt", I, "w", 8, None, "Number of keepalive probes to send"),
    ("net.inet.tcp.always_keepalive", I, "w", 1, None, "Assume SO_KEEPALIVE on all TCP connections"),
    ("net.inet.tcp.sendspace", I, "w", 32768, None, "Initial send socket buffer size"),
    ("net.inet.tcp.recvspace", I, "w", 65536, None, "Initial receive socket buffer size"),
    ("net.inet.tcp.sendbuf_max", I, "w", 2097152, None, "Max size of automatic send buffer"),
    ("net.inet.tcp.recvbuf_max", I, "w", 2097152, None, "Max size of automatic receive buffer"),
    ("net.inet.tcp.sendbuf_auto", I, "w", 1, None, "Enable automatic send buffer sizing"),
    ("net.inet.tcp.recvbuf_auto", I, "w", 1, None, "Enable automatic receive buffer sizing"),
    ("net.inet.tcp.log_in_vain", I, "w", 0, None, "Log all incoming TCP segments to closed ports"),
    ("net.inet.tcp.blackhole", I, "w", 0, None, "Do not send RST on segments to closed ports"),
    ("net.inet.tcp.delayed_ack", I, "w", 1, None, "Delay ACK to try and piggyback it onto a data packet"),
    ("net.inet.tcp.drop_synfin", I, "w", 0, None, "Drop TCP packets with SYN+FIN set"),
    ("net.inet.tcp.msl", I, "w", 30000, None, "Maximum segment lifetime"),
    ("net.inet.tcp.nolocaltimewait", U8, "w", 0, None, "Do not create TCP TIME_WAIT state for local connections"),
    ("net.inet.tcp.fast_finwait2_recycle", I, "w", 0, None, "Recycle closed FIN_WAIT_2 connections faster"),
    ("net.inet.tcp.finwait2_timeout", I, "w", 60000, None, "FIN-WAIT2 timeout"),
    ("net.inet.tcp.syncookies", I, "w", 1, None, "Use TCP SYN cookies if the syncache overflows"),
    (
        "net.inet.tcp.tcbhashsize",
        I,
        "rt",
        lambda: tunable("net.inet.tcp.tcbhashsize", 65536),
        None,
        "Size of TCP control-block hashtable",
    ),
    (
        "net.inet.tcp.syncache.cachelimit",
        U,
        "rt",
        lambda: tunable("net.inet.tcp.syncache.cachelimit", 15375),
        None,
        "Overall entry limit for syncache",
    ),
    (
        "net.inet.tcp.syncache.bucketlimit",
        U,
        "rt",
        lambda: tunable("net.inet.tcp.syncache.bucketlimit", 30),
        None,
        "Per-bucket hash limit for syncache",
    ),
    (
        "net.inet.tcp.syncache.hashsize",
        U,
        "rt",
        lambda: tunable("net.inet.tcp.syncache.hashsize", 512),
        None,
        "Size of TCP syncache hashtable",
    ),
    ("net.inet.tcp.cc.algorithm", S, "w", "cubic", None, "Default congestion control algorithm"),
    ("net.inet.udp.checksum", I, "w", 1, None, "compute udp checksum"),
    ("net.inet.udp.maxdgram", UL, "w", 9216, None, "Maximum outgoing UDP datagram size"),
    ("net.inet.udp.recvspace", UL, "w", 42080, None, "Maximum space for incoming UDP datagrams"),
    ("net.inet.udp.blackhole", I, "w", 0, None, "Do not send port unreachables for refused connects"),
    ("net.inet.udp.log_in_vain", I, "w", 0, None, "Log all incoming UDP packets"),
    (
        "net.isr.maxthreads",
        I,
        "rt",
        lambda: tunable("net.isr.maxthreads", 1),
        None,
        "Use at most this many CPUs for netisr processing",
    ),
    ("net.isr.bindthreads", I, "rt", lambda: tunable("net.isr.bindthreads", 0), None, "Bind netisr threads to CPUs."),
    (
        "net.isr.defaultqlimit",
        U,
        "rt",
        lambda: tunable("net.isr.defaultqlimit", 256),
        None,
        "Default netisr per-protocol, per-CPU queue limit if not set by protocol",
    ),
    ("hw.machine", S, "r", "amd64", None, "Machine class"),
    ("hw.model", S, "r", _cpu_model, None, "Machine model"),
    ("hw.ncpu", I, "r", lambda: len(os.sched_getaffinity(0)), None, "Number of active CPUs"),
    ("hw.byteorder", I, "r", 1234, None, "System byte order"),
    ("hw.physmem", UL, "r", physmem, None, "Amount of physical memory (in bytes)"),
    ("hw.usermem", UL, "r", lambda: meminfo("MemAvailable"), None, "Amount of memory (in bytes) which is not wired"),
    ("hw.realmem", UL, "r", physmem, None, "Amount of memory (in bytes) reported by the firmware"),
    ("hw.pagesize", I, "r", 4096, None, "System memory page size"),
    ("hw.machine_arch", S, "r", "amd64", None, "System architecture"),
    ("security.jail.jailed", I, "r", 0, None, "Process in jail?"),
    (
        "security.bsd.see_other_uids",
        I,
        "w",
        1,
        None,
        "Unprivileged processes may see subjects/objects with different real uid",
    ),
    (
        "security.bsd.see_other_gids",
        I,
        "w",
        1,
        None,
        "Unprivileged processes may see subjects/objects with different real gid",
    ),
    ("user.localbase", S, "wt", "/usr/local", None, "Prefix used to install and locate add-on packages"),
]
OIDS = {row[0]: row for row in _ROWS}
MEASURED = {
    "kern.ipc.somaxconn",
    "kern.ipc.soacceptqueue",
    "kern.hostname",
    "net.inet.ip.portrange.hifirst",
    "net.inet.ip.portrange.hilast",
}


def get(name):
    """Value in force: int, or text of a string or opaque one. KeyError: unknown."""
    _, kind, _, value, _, _ = OIDS[name]
    if name not in MEASURED and name in state():
        kept = state()[name]
        if kind in (S, "opaque"):
            return kept
        number = int(kept)
        return min(number, host.real_cap()) if name == "kern.maxfilesperproc" else number
    return value() if callable(value) else value


def put(name, text):
    """Set a value from text. OSError: the kernel refuses; ValueError: not a number."""
    _, kind, _, _, setter, _ = OIDS[name]
    if kind == S:
        value = text
    else:
        value = _number(text)
        if value is None:
            raise ValueError(text)
    if setter:
        setter(value)
    else:
        remember(name, value)
