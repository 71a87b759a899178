"""The lab's bridge for a machine that is no practice host: a tap, whose descriptor the machine's emulator holds.

The tap goes with the descriptor, so a machine that has ended leaves nothing behind.
"""

import errno
import fcntl
import ipaddress
import os
import struct
import subprocess

from . import LabError, net, ns
from .connect import keeper

DEVICE = "/dev/net/tun"
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
NAME_LIMIT = 15


def missing():
    """Why no tap can be made on this machine, or "". Needs no lab."""
    if os.geteuid() != 0:
        return "a tap needs root"
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as e:
        return f"{DEVICE} cannot be opened: {e.strerror}"
    return ""


def device(host):
    """The tap's name in the switch's namespace, from a host's name."""
    return f"tap-{host.split('.')[0]}"[:NAME_LIMIT]


def plug(state, host):
    """A tap on the bridge of the lab whose folder is `state`, in the place that `lab up --outside` left to `host`.

    Returns its descriptor, which is inheritable. Raises LabError when the lab is not up, another machine has the place, or no tap can be made.
    """
    pid = keeper(state)
    if pid is None:
        raise LabError(f"{os.path.basename(state)} is not up")
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        switch = os.open(f"/proc/{pid}/root{state}/m/ns/{net.SWITCH}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            ns.setns(switch, ns.NEWNET)
        finally:
            os.close(switch)
        try:
            return _attach(device(host))
        finally:
            ns.setns(home, ns.NEWNET)
    except OSError as e:
        if e.errno == errno.EBUSY:
            raise LabError(f"the place of {host} in {os.path.basename(state)} is taken by another machine") from None
        raise LabError(f"no tap in {os.path.basename(state)}: {e}") from None
    finally:
        os.close(home)


def _attach(name):
    # a tap belongs to the namespace in which the device is opened
    fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        done = subprocess.run(
            ["ip", "link", "set", name, "master", net.BRIDGE, "up"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise LabError(f"ip: {done.stderr.strip()}")
        os.set_inheritable(fd, True)
        return fd
    except BaseException:
        os.close(fd)
        raise


def place(description, host):
    """How a machine is addressed in a host's place: {"addresses": ["192.0.2.10/24", …], "routes": [("198.51.100.0/24", "192.0.2.1"), …]}.

    description: of net.load(). The routes lead to what is simulated and nowhere else: the machine's default route stays what it was.
    """
    entry = next(h for h in description["hosts"] if h["name"] == host)
    gateways = {
        six: next(a.split("/")[0] for a in description["net"]["lan"]["router"] if (":" in a) == six)
        for six in (False, True)
    }
    length = {":" in a: a.split("/")[1] for a in description["net"]["lan"]["router"]}
    nets = [str(ipaddress.ip_interface(a).network) for a in description["net"]["inet"]["router"]] + description["net"][
        "clients"
    ]["own"]
    return {
        "addresses": [f"{a}/{length[':' in a]}" for a in entry["addresses"]],
        "routes": [(one, gateways[":" in one]) for one in nets],
    }
