"""`lab connect HOST PORT`: stdin and stdout joined to a TCP connection made from the operator's place in the lab.

Meant as ssh's ProxyCommand, so it is quick and imports little.
"""

import contextlib
import os
import re
import signal
import socket
import sys
import threading

from . import ns

CHUNK = 65536


def state_dir(instance=None):
    """Path of an instance's state directory; instance defaults to $SOKUHAI_LAB, else `lab`. Raises ValueError."""
    name = instance or os.environ.get("SOKUHAI_LAB") or "lab"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise ValueError(f"SOKUHAI_LAB={name!r}: a name is 1 to 31 of a-z 0-9 -")
    return f"/run/sokuhai-lab/{name}"


def keeper(state):
    """pid of the running keeper, or None. A pid that now belongs to another process does not count."""
    try:
        with open(f"{state}/keeper.json") as f:
            text = f.read()
    except OSError:
        return None
    pid = re.search(r'"pid": (\d+)', text)
    start = re.search(r'"start": (\d+)', text)
    if not pid or not start or ns.start_time(int(pid[1])) != int(start[1]):
        return None
    return int(pid[1])


def enter(pid, state, name):
    """Enter the lab's PID, mount, UTS and IPC namespaces and the network namespace `name`; children are in all of them."""
    base = f"/proc/{pid}"
    network = {f"{base}/root{state}/m/ns/{name}": ns.NEWNET}
    ns.enter(network | {f"{base}/ns/{kind}": flag for kind, flag in ns.KINDS.items()})


def address(state, host):
    try:
        with open(f"{state}/hosts") as f:
            return next((line.split()[0] for line in f if host in line.split()), host)
    except OSError:
        return host


def pump(sock):
    """Copy stdin to the socket and the socket to stdout until the far end closes."""

    def send():
        with contextlib.suppress(OSError):
            while data := os.read(0, CHUNK):
                sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    with open(1, "wb", closefd=False) as out:
        while data := sock.recv(CHUNK):
            out.write(data)
            out.flush()


def main(host, port):
    try:
        state = state_dir()
    except ValueError as e:
        print(f"lab: {e}", file=sys.stderr)
        return 2
    pid = keeper(state)
    if pid is None:
        print(f"lab: {os.path.basename(state)} is not up; start it with: lab/lab up", file=sys.stderr)
        return 1
    target = address(state, host)
    try:
        enter(pid, state, "operator")
        # the connection's holder is in the lab's PID namespace, so it ends with the lab
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ns.prctl(ns.PR_SET_PDEATHSIG, signal.SIGKILL)
                with socket.create_connection((target, int(port)), timeout=10) as sock:
                    sock.settimeout(None)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    pump(sock)
                status = 0
            except (BrokenPipeError, ConnectionResetError):
                status = 0
            except (OSError, ValueError) as e:
                print(f"lab: {host} ({target}) port {port}: {e}", file=sys.stderr)
            finally:
                os._exit(status)
    except OSError as e:
        print(f"lab: {e} (root is needed)", file=sys.stderr)
        return 1
    for fd in (0, 1):
        os.close(fd)

    def forward(number, _frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    _, status = os.waitpid(child, 0)
    return abs(os.waitstatus_to_exitcode(status))
