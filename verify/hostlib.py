"""Thin helpers over sockstat, procstat, netstat, sysctl, postconf and sysrc for the tests of a running FreeBSD host.

testinfra's own Socket and Service look for netstat's columns of another system and only in /etc/rc.d; these read what
FreeBSD's own tools print. Every function takes testinfra's ``host`` and raises AssertionError when the command fails.
"""

import collections
import os
import re

Socket = collections.namedtuple("Socket", "user command pid proto address port")
Rlimit = collections.namedtuple("Rlimit", "pid command soft hard")

PATH = "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
if os.environ.get("SOKUHAI_BECOME"):
    # who comes in is not root: what follows env is run through this program (doas -n), which makes a PATH of its own
    PATH += f" {os.environ['SOKUHAI_BECOME']} env {PATH}"


def output(host, command):
    """Return what *command* (a shell line) prints on *host*; AssertionError with both streams unless it exits 0."""
    result = host.run(f"env {PATH} sh -c %s", command)
    assert result.rc == 0, f"{command}: exit {result.rc}\n{result.stdout}{result.stderr}"
    return result.stdout


def listening(host):
    """Return the listening or bound IP sockets (TCP and UDP) as a list of Socket; address ``*`` is any, port an int."""
    sockets = []
    for line in output(host, "sockstat -46l").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 6 or fields[4][:3] not in ("tcp", "udp"):
            continue
        address, _, port = fields[5].rpartition(":")
        # a socket that no process has at this moment is ??'s, with ?? for its pid (displaysock() of sockstat's main.c)
        if port.isdigit() and fields[2].isdigit():
            sockets.append(Socket(fields[0], fields[1], int(fields[2]), fields[4], address.split("%")[0], int(port)))
    return sockets


def place(host, port, kind="tcp"):
    """Return the address at which this host reaches what listens on *port*: one family may be all that it has."""
    found = sorted((s.proto, s.address) for s in listening(host) if s.port == port and s.proto.startswith(kind))
    assert found, f"nothing listens on {kind} port {port}"
    proto, address = found[0]
    return address if address != "*" else "::1" if proto.endswith("p6") else "127.0.0.1"


def pids(host, name):
    """Return the pids of the processes whose command name is exactly *name*, oldest first; an empty list when none runs."""
    result = host.run(f"env {PATH} pgrep -x %s", name)
    assert result.rc in (0, 1), result.stderr
    return sorted(int(pid) for pid in result.stdout.split())


def openfiles(host, pid):
    """Return the Rlimit of open files that process *pid* really has; ``infinity`` is read as kern.maxfilesperproc."""
    for line in output(host, f"procstat rlimit {pid}").splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[2] == "openfiles":
            soft, hard = (sysctl(host, "kern.maxfilesperproc") if f == "infinity" else int(f) for f in fields[3:5])
            return Rlimit(int(fields[0]), fields[1], soft, hard)
    raise AssertionError(f"procstat rlimit {pid} prints no openfiles")


def backlog(host, port):
    """Return the listen backlogs (maxqlen) in force on TCP *port*, a list of ints."""
    found = []
    for line in output(host, "netstat -Lan").splitlines():
        match = re.match(r"tcp[46]+\s+\d+/\d+/(\d+)\s+\S+\.(\d+)\s*$", line)
        if match and int(match[2]) == port:
            found.append(int(match[1]))
    return found


def sysctl(host, name):
    """Return the running value of the integer sysctl *name*."""
    return int(output(host, f"sysctl -n {name}").strip())


def postconf(host, *names):
    """Return {parameter: value} as Postfix itself sees it; without *names* every parameter that main.cf sets."""
    text = output(host, f"postconf {' '.join(names) if names else '-n'}")
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in text.splitlines())}


def service_options(host, service):
    """Return {parameter: value} of what master.cf sets for *service* (port/inet), "" where it sets it to nothing."""
    lines = (line.partition("=") for line in output(host, f"postconf -P '{service}/*'").splitlines())
    return {name.strip().rpartition("/")[2]: value.strip() for name, _, value in lines}


def rcvar(host, name):
    """Return the value of rc.conf variable *name* as sysrc sees it (defaults included), or None where it is unknown."""
    result = host.run(f"env {PATH} sysrc -n %s", name)
    return result.stdout.strip() if result.rc == 0 else None


def python(host, script, *args):
    """Run *script* with the host's Python and return what it prints."""
    result = host.run(f"env {PATH} python3 -c %s {' '.join('%s' for _ in args)}", script, *args)
    assert result.rc == 0, result.stdout + result.stderr
    return result.stdout
