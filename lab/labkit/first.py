"""What becomes process 1 of a practice host: it makes the host's view of the world and goes on as its init."""

import os
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
UNPRIVILEGED = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC


def become_init(host):
    """In the new namespaces: make the host's view of the world and become its process 1. Never returns."""
    try:
        root = host["root"]
        ns.mount(None, "/", flags=ns.MS_REC | ns.MS_PRIVATE)
        socket.sethostname(host["name"])
        ns.bind(root, root)
        ns.mount("proc", f"{root}/proc", "proc", UNPRIVILEGED)
        # kernel-wide settings are the machine's, not the host's; those of the network namespace are the host's own
        ns.bind(f"{root}/proc/sys", f"{root}/proc/sys")
        ns.bind(f"{root}/proc/sys/net", f"{root}/proc/sys/net")
        ns.remount(f"{root}/proc/sys", ns.MS_RDONLY | UNPRIVILEGED)
        trigger = f"{root}/proc/sysrq-trigger"
        if os.path.exists(trigger):
            ns.bind(trigger, trigger, ns.MS_RDONLY | UNPRIVILEGED)
        if host["compiler"]:
            os.makedirs(f"{root}/usr/libexec/ziglang", exist_ok=True)
            flags = ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV
            ns.bind(host["compiler"], f"{root}/usr/libexec/ziglang", flags)
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
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.closerange(3, 4096)
        os.execve(
            "/usr/libexec/standins/python3",
            ["python3", "-BIS", "/sbin/init"],
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
