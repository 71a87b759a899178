# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""What FreeBSD's commands, Postfix's queue files and named print or hold, as numbers. None is unknown."""

import collections
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys

ENV = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C"}
KERNEL = {
    "kern.openfiles": "files",
    "kern.maxfiles": "files_limit",
    "kern.ipc.numopensockets": "sockets",
    "kern.ipc.maxsockets": "sockets_limit",
    "hw.physmem": "memory_total",
}
# ZFS's cache, and the least that it keeps (usr.bin/top/machine.c counts it apart as well)
ARC = ("kstat.zfs.misc.arcstats.size", "kstat.zfs.misc.arcstats.c_min")
FREE, INACTIVE, PAGE = PAGES = ("vm.stats.vm.v_free_count", "vm.stats.vm.v_inactive_count", "hw.pagesize")


@contextlib.contextmanager
def within(seconds):
    """TimeoutError, an OSError, in what takes longer than so many seconds, however slowly it goes on."""

    def expired(_number, _frame):
        raise TimeoutError

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def run(*argv, check=True):
    """Standard output (bytes) of a command, or None when it is not there, takes more than 20 s, or, with *check*, fails."""
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENV,
            timeout=20,
            check=check,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def words(*argv, check=True):
    """The same as text; empty instead of None."""
    return (run(*argv, check=check) or b"").decode("utf-8", "replace")


# ---- processes ----


def count_files(table):
    """{pid: [descriptors, sockets]} of kern.file, an array of struct xfile (sys/sys/file.h): xf_size, xf_pid at 8, xf_type at 32. None when it is something else."""
    size = int.from_bytes(table[:8], sys.byteorder)
    if len(table) < 128 or size != 128:
        return None
    table = memoryview(table[: len(table) // size * size])
    pids, kinds = table.cast("i")[2 :: size // 4].tolist(), table.cast("h")[16 :: size // 2].tolist()
    sockets = collections.Counter(pid for pid, kind in zip(pids, kinds) if kind == 2)  # DTYPE_SOCKET
    return {pid: [number, sockets[pid]] for pid, number in collections.Counter(pids).items()}


def parse_processes(text):
    """{pid: (parent, command)} of `ps -ax -o pid= -o ppid= -o comm=`."""
    found = re.findall(r"^[ \t]*(\d+)[ \t]+(\d+)[ \t]+(\S.*?)[ \t]*$", text, re.M)
    return {int(pid): (int(parent), command) for pid, parent, command in found}


def parse_rlimits(text):
    """{pid: soft limit of descriptors} of `procstat rlimit pid ...`; infinity is left out."""
    return {
        int(pid): int(soft) for pid, soft in re.findall(r"^[ \t]*(\d+)[ \t]+\S.* openfiles[ \t]+(\d+)\s", text, re.M)
    }


# ---- Postfix ----


def arrival(head):
    """When the message of a queue file arrived, s since 1970, from its first bytes: record T after record C (Postfix: src/global/rec_type.h, record.c); else None."""
    at = 0
    while at + 1 < len(head) and at < 200:
        kind, length, shift = head[at : at + 1], 0, 0
        at += 1
        while at < len(head):
            length |= (head[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not head[at - 1] & 0x80:
                break
        if kind == b"T":
            number = head[at : at + length].split(b" ")[0].split(b".")[0]
            return int(number) if number.isdigit() else None
        if kind not in b"CA" or length > 200:
            return None
        at += length
    return None


def process_limit():
    """How many smtp processes there may be: default_process_limit of main.cf, or what master.cf gives to smtp, and what it gives to transports of their own."""
    text = words("postconf", "-h", "default_process_limit").strip()
    own = parse_transports(words("postconf", "-M"))
    return sum({"smtp": int(text), **own}.values()) if text.isdigit() else None


def parse_transports(text):
    """{service: maxproc} of the lines of `postconf -M` that run smtp(8) and have a number there; 0, which is no limit to master(8), is none."""
    lines = (line.split() for line in text.splitlines())
    found = {line[0]: line[6] for line in lines if len(line) > 7 and line[1] == "unix" and line[7] == "smtp"}
    return {name: int(number) for name, number in found.items() if number.isdigit() and int(number)}


# ---- the kernel ----


def kernel():
    """The columns of the kernel's own tables."""
    lines = (line.partition("=") for line in words("sysctl", "-ie", *KERNEL, *PAGES, *ARC).splitlines())
    values = {name: int(value) for name, _equal, value in lines if value.strip().isdigit()}
    row = {column: values.get(name) for name, column in KERNEL.items()}
    if set(PAGES) <= set(values):
        # inactive pages and what ZFS caches are given up before anything is swapped
        size, least = (values.get(name, 0) for name in ARC)
        row["memory_free"] = (values[FREE] + values[INACTIVE]) * values[PAGE] + max(0, size - least)
    row["swap_used"], row["swap_total"] = parse_swap(words("swapinfo", "-k")) or (None, None)
    return row


def parse_swap(text):
    """(used, total) bytes of `swapinfo -k`; (0, 0) where there is no swap, None when it is something else."""
    if not text.startswith("Device"):
        return None
    rows = re.findall(r"^(?!Total)\S+\s+(\d+)\s+(\d+)\s", text, re.M)
    return sum(int(used) for _total, used in rows) * 1024, sum(int(total) for total, _used in rows) * 1024


# ---- file systems, services ----


def file_system(path, prefix):
    """The columns of the file system that holds *path*, as df(1) shows it; none where it has no such numbers.

    What is left to users who are not root is negative where root has begun what is kept for it, and statvfs(3) passes that on as a number without a sign.
    """
    try:
        room = os.statvfs(path)
    except OSError:
        return {}
    used, left = room.f_blocks - room.f_bfree, 0 if room.f_bavail >= 2**63 else room.f_bavail
    return {
        prefix + "_disk_used": used * room.f_frsize,
        prefix + "_disk_total": (used + left) * room.f_frsize,
        prefix + "_inodes_used": max(0, room.f_files - room.f_ffree),
        prefix + "_inodes_total": room.f_files,
    }


def file_systems(places):
    """The columns of *places*, {prefix: path}; of two in one file system only the first has any."""
    row, seen = {}, set()
    for prefix, path in places.items():
        try:
            device = os.stat(path).st_dev
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            row.update(file_system(path, prefix))
    return row


def enabled(service):
    """Whether rc.conf(5) enables a service; asked of its own script, which knows all the files that may."""
    return run("service", service, "enabled") is not None


def accepts(where, seconds=5):
    """Whether something accepts a connection to *where*, "address:port"."""
    address, _colon, port = where.rpartition(":")
    try:
        socket.create_connection((address.strip("[]"), int(port)), seconds).close()
    except (OSError, ValueError):
        return False
    return True


def alive(pidfile):
    """Whether the process whose number is in *pidfile* runs."""
    try:
        with open(pidfile) as source:
            os.kill(int(source.read()), 0)
    except PermissionError:
        return True  # another user's
    except (OSError, ValueError):
        return False
    return True


# ---- named ----

# version.bind, TXT, class CHAOS, of which every named has a view of its own: no zone, no cache and no internet is needed (RFC 1035, 4.1)
QUERY = b"\0\0\0\1\0\0\0\0\0\0" + b"\7version\4bind\0" + b"\0\x10\0\3"


def answers(address, seconds=2, tries=3):
    """Whether whoever listens on port 53 of *address* answers a query, whatever it says."""
    ident = os.urandom(2)
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as there:
            there.settimeout(seconds)
            there.connect((address, 53))
            for _ in range(tries):
                with contextlib.suppress(socket.timeout):
                    there.send(ident + QUERY)
                    reply = there.recv(512)
                    # the bit that tells an answer from a question
                    if len(reply) >= 12 and reply[:2] == ident and reply[2] & 0x80:
                        return True
    except OSError:
        pass
    return False


def warm(path, now):
    """The columns of sokuhai-warm's last run, whose numbers are in the file *path*; none where there is none, or it is two hours old: cron(8) runs it once an hour at the least."""
    try:
        with open(path, "rb") as source:
            found = json.loads(source.read(4096))
        cached, total, at = found["cached"], found["domains"] - found["dead"], found["time"]
        if (
            all(type(value) is int for value in (cached, total, at))
            and 0 <= cached <= total < 2**31
            and now - at < 7200
        ):
            return {"warm_cached": cached, "warm_total": total}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return {}


def recursive_clients(path):
    """What named.conf says; named's own default where it is silent (bin/named/config.c)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            found = re.search(r"^\s*recursive-clients\s+(\d+)\s*;", source.read(2**20), re.M)
    except OSError:
        return None
    return int(found[1]) if found else 1000


def ask_named(address, port, seconds=5):
    """parse_named() of what named serves at *address* and *port* now, or None; after so many seconds, however slowly it answers."""
    there = http.client.HTTPConnection(address, port)
    try:
        with within(seconds):
            there.request("GET", "/json/v1/server")
            return parse_named(there.getresponse().read(2**22))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        there.close()


def parse_named(body):
    """queries, servfail, recursing (numbers) and boot (str) of named's /json/v1/server; None when it is something else. What named leaves out is 0.

    Where named does not run, any user of the host may listen on that port: what is not a number is not written on.
    """
    try:
        values = json.loads(body)
        found = {
            "queries": values["opcodes"]["QUERY"],
            "servfail": values["rcodes"]["SERVFAIL"],
            "recursing": values.get("nsstats", {}).get("RecursClients", 0),
        }
        if not all(type(value) is int and 0 <= value < 2**64 for value in found.values()):
            return None
        return dict(found, boot=str(values["boot-time"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
