"""The machine in the lab's simulated internet: its second card is a tap on the lab's bridge, in the place of the practice host.

The first card stays QEMU's user networking: ssh comes in by it, and the default route leaves by it, so packages can be fetched until the
machine asks its own resolver, which knows the simulated root alone.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from labkit import LabError, net, tap
from labkit.files import record

from . import VmError
from .paths import REPOSITORY, VM

LAB = REPOSITORY / "lab" / "lab"
TOP = pathlib.Path("/run/sokuhai-lab")


def impossible():
    """Why this machine has no simulated internet for the virtual one, or ""."""
    if not sys.platform.startswith("linux"):
        return "the simulated internet needs Linux"
    if why := tap.missing():
        return why
    if not shutil.which("ip"):
        return "ip is missing: apt-get install iproute2"
    venv = REPOSITORY / ".venv" / "bin" / "python"
    return "" if venv.exists() else "its servers need the virtual environment: make venv"


def lab_of(instance):
    """Name of the lab that belongs to an instance, in the letters that a lab's name may have."""
    return ("vm-" + re.sub(r"[^a-z0-9-]", "-", instance.lower()))[:31]


def _lab(name, *arguments):
    done = subprocess.run(
        [str(LAB), *arguments],
        env={**os.environ, "SOKUHAI_LAB": name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise VmError(f"the simulated internet: {(done.stderr or done.stdout).strip()}")


def raise_lab(name, host):
    """Bring the lab up, without a practice host, and return the descriptor of a tap in the host's place. Raises VmError."""
    _lab(name, "up", "--outside", host)
    try:
        return tap.plug(str(TOP / name), host)
    except LabError as error:
        raise VmError(str(error)) from None


def lower_lab(name):
    """Take the lab down, also one that was left by a crash."""
    if (TOP / name).exists():
        _lab(name, "down")


def is_up(name):
    return (TOP / name / "ready.json").exists()


def note(name, host, user, instance):
    """Let `lab sh HOST`, and all that uses it, reach the machine of that instance as root."""
    shell = [str(VM / "vm"), "sh"]
    run = [*shell, "--", *([] if user == "root" else ["doas", "-n"])]
    record(TOP / name / f"{host}.outside", {"shell": shell, "run": run, "env": {"SOKUHAI_VM": instance}})


def place(host):
    return tap.place(net.load(), host)


def script(place, mac):
    """Lines of sh(1), for root, that give the card with that address its place in the lab, now and at every boot.

    place: of tap.place(). Run again, they change nothing. rc.conf(5) has the form of static_routes and its like.
    """
    mac = mac.lower()
    lines = [
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin",
        f"for one in $(ifconfig -l ether); do if ifconfig $one | grep -qi 'ether {mac}'; then card=$one; fi; done",
        f"[ \"$card\" ] || {{ echo 'no network card has {mac}' >&2; exit 1; }}",
    ]
    for address in place["addresses"]:
        if ":" in address:
            lines += [
                f"sysrc -q ifconfig_${{card}}_ipv6='inet6 {address}' >/dev/null",
                # what the kernel does to a card for which no IPv6 was configured when the machine booted
                f"ifconfig $card inet6 -ifdisabled && ifconfig $card inet6 {address} alias",
            ]
        else:
            lines += [f"sysrc -q ifconfig_$card='inet {address}' >/dev/null", f"ifconfig $card inet {address} up"]
    for number, (prefix, gateway) in enumerate(place["routes"]):
        name = f"lab{number}"
        if ":" in prefix:
            net6, _, length = prefix.partition("/")
            lines += [
                f"sysrc -q ipv6_static_routes+=' {name}' ipv6_route_{name}='{net6} -prefixlen {length} {gateway}' >/dev/null",
                f"route -6 -n delete -net {prefix} >/dev/null 2>&1",
                f"route -6 -n add -net {prefix} {gateway} >/dev/null || exit 1",
            ]
        else:
            lines += [
                f"sysrc -q static_routes+=' {name}' route_{name}='-net {prefix} {gateway}' >/dev/null",
                f"route -n delete -net {prefix} >/dev/null 2>&1",
                f"route -n add -net {prefix} {gateway} >/dev/null || exit 1",
            ]
    gateway = next(gateway for _, gateway in place["routes"] if ":" not in gateway)
    lines.append(
        f'ping -q -c 1 -t 30 {gateway} >/dev/null || {{ echo "no answer from {gateway} by $card" >&2; exit 1; }}'
    )
    return "\n".join(lines) + "\n"


def as_root(text, user):
    """A line of sh(1) that runs some lines of it as root."""
    return ("" if user == "root" else "doas -n ") + "/bin/sh -c " + shlex.quote(text)
