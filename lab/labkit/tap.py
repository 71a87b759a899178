"""The lab's bridge for a machine that is no practice host: a tap, whose descriptor the machine's emulator holds.

The tap goes with the descriptor, so a machine that has ended leaves nothing behind.
"""

import errno
import fcntl
import ipaddress
import os
import struct

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
    """A tap on the bridge of the lab whose directory is `state`, in the place that `lab up --outside` left to `host`.

    Returns its descriptor, which is inheritable. Raises LabError when the lab is not up, another machine has the place, or no tap can be made.
    """
    pid = keeper(state)
    if pid is None:
        raise LabError(f"{os.path.basename(state)} is not up")
    with open("/proc/self/ns/net") as home:
        try:
            ns.enter({f"/proc/{pid}/root{state}/m/ns/{net.SWITCH}": ns.NEWNET})
            return _attach(device(host))
        except OSError as e:
            if e.errno == errno.EBUSY:
                raise LabError(
                    f"the place of {host} in {os.path.basename(state)} is taken by another machine"
                ) from None
            raise LabError(f"no tap in {os.path.basename(state)}: {e}") from None
        finally:
            ns.setns(home.fileno(), ns.NEWNET)


def _attach(name):
    # a tap belongs to the namespace in which the device is opened
    fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        net.ip([f"link set {name} master {net.BRIDGE} up"])
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
    where = description["net"]
    router = {":" in a: a.split("/") for a in where["lan"]["router"]}
    nets = [str(ipaddress.ip_interface(a).network) for a in where["inet"]["router"]] + where["clients"]["own"]
    return {
        "addresses": [f"{a}/{router[':' in a][1]}" for a in entry["addresses"]],
        "routes": [(one, router[":" in one][0]) for one in nets],
    }
