"""What becomes process 1 of a practice host: it makes the host's view of the world and goes on as its init."""

import os
import signal
import socket
import traceback

from . import ns

# What root in a practice host must not be able to do to the machine: clock, modules, reboot, raw I/O, devices.
DROPPED_CAPABILITIES = {
    "SYS_MODULE": 16,
    "SYS_RAWIO": 17,
    "SYS_BOOT": 22,
    "SYS_TIME": 25,
    "MKNOD": 27,
    "SYSLOG": 34,
    "BPF": 39,
}


def become_init(host, first):
    """In the new namespaces: make the host's view of the world and become its process 1. Never returns."""
    try:
        root = host["root"]
        ns.mount(None, "/", flags=ns.MS_REC | ns.MS_PRIVATE)
        socket.sethostname(host["name"])
        ns.mount(root, root, flags=ns.MS_BIND)
        ns.mount("proc", f"{root}/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
        # kernel-wide settings are the machine's, not the host's; those of the network namespace are the host's own
        ns.mount(f"{root}/proc/sys", f"{root}/proc/sys", flags=ns.MS_BIND)
        ns.mount(f"{root}/proc/sys/net", f"{root}/proc/sys/net", flags=ns.MS_BIND)
        ns.mount(
            None,
            f"{root}/proc/sys",
            flags=ns.MS_BIND | ns.MS_REMOUNT | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC,
        )
        for path in ("/proc/sysrq-trigger",):
            if os.path.exists(root + path):
                ns.mount(root + path, root + path, flags=ns.MS_BIND)
                ns.mount(
                    None,
                    root + path,
                    flags=ns.MS_BIND | ns.MS_REMOUNT | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC,
                )
        if host["compiler"]:
            os.makedirs(f"{root}/usr/libexec/ziglang", exist_ok=True)
            ns.mount(host["compiler"], f"{root}/usr/libexec/ziglang", flags=ns.MS_BIND)
            ns.mount(
                None,
                f"{root}/usr/libexec/ziglang",
                flags=ns.MS_BIND | ns.MS_REMOUNT | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV,
            )
        make_dev(f"{root}/dev")
        for path, options in (("/run", "mode=755"), ("/tmp", "mode=1777")):
            ns.mount("tmpfs", root + path, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, options)
        os.chdir(root)
        ns.pivot_root(".", ".")
        ns.umount(".", ns.MNT_DETACH)
        os.chdir("/")
        with open("/proc/sys/kernel/cap_last_cap") as f:
            last = int(f.read())
        for number in DROPPED_CAPABILITIES.values():
            if number <= last:
                ns.prctl(ns.PR_CAPBSET_DROP, number)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 4096)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        python = next(
            p
            for p in ("/usr/libexec/standins/python3", "/usr/bin/python3", "/usr/local/bin/python3")
            if os.access(p, os.X_OK)
        )
        os.execve(
            python,
            [python, "-BIS", "/sbin/init", *(["--first"] if first else [])],
            {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "HOME": "/root"},
        )
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(4)


def make_dev(dev):
    ns.mount("devfs", dev, "tmpfs", ns.MS_NOSUID, "mode=755,size=1m")
    old = os.umask(0)
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ):
        os.mknod(f"{dev}/{name}", 0o20666, os.makedev(major, minor))
    os.umask(old)
    os.mkdir(f"{dev}/pts")
    os.mkdir(f"{dev}/shm")
    ns.mount("devpts", f"{dev}/pts", "devpts", ns.MS_NOSUID | ns.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    ns.mount("shm", f"{dev}/shm", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=1777")
    for link, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(target, f"{dev}/{link}")
