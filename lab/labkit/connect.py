"""`lab connect HOST PORT`: stdin and stdout joined to a TCP connection made from the operator's place in the lab.

Meant as ssh's ProxyCommand, so it is quick and imports little.
"""

import os
import re
import select
import signal
import socket
import sys

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
    fds = [(os.open(f"{base}/root{state}/m/ns/{name}", os.O_RDONLY), ns.NEWNET)]
    fds += [
        (os.open(f"{base}/ns/{kind}", os.O_RDONLY), flag)
        for kind, flag in (("pid", ns.NEWPID), ("uts", ns.NEWUTS), ("ipc", ns.NEWIPC), ("mnt", ns.NEWNS))
    ]
    for fd, flag in fds:
        ns.setns(fd, flag)
        os.close(fd)


def address(state, host):
    try:
        with open(f"{state}/hosts") as f:
            for line in f:
                fields = line.split()
                if host in fields:
                    return fields[0]
    except OSError:
        pass
    return host


def pump(sock):
    """Copy stdin to the socket and the socket to stdout until the far end closes."""
    ends = {0: sock.fileno(), sock.fileno(): 1}
    pending = {0: b"", sock.fileno(): b""}
    for fd in (0, 1, sock.fileno()):
        os.set_blocking(fd, False)
    poll = select.poll()
    open_reads = set(ends)
    while True:
        want = {}
        for reader, writer in ends.items():
            if pending[reader]:
                want[writer] = want.get(writer, 0) | select.POLLOUT
            elif reader in open_reads:
                want[reader] = want.get(reader, 0) | select.POLLIN
        if sock.fileno() not in open_reads and not pending[sock.fileno()]:
            return
        for fd in (0, 1, sock.fileno()):
            if fd in want:
                poll.register(fd, want[fd])
            else:
                try:
                    poll.unregister(fd)
                except KeyError:
                    pass
        ready = dict(poll.poll())
        for reader, writer in ends.items():
            if pending[reader]:
                if ready.get(writer):
                    try:
                        pending[reader] = pending[reader][os.write(writer, pending[reader]) :]
                    except BlockingIOError:
                        pass
            elif reader in open_reads and ready.get(reader):
                try:
                    data = os.read(reader, CHUNK)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                pending[reader] = data
                if not data:
                    open_reads.discard(reader)
            if reader == 0 and 0 not in open_reads and not pending[0] and 0 in ends:
                try:
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                del ends[0]
                break


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
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    _, status = os.waitpid(child, 0)
    return abs(os.waitstatus_to_exitcode(status))
