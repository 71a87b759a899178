"""Sockets of this network namespace, asked from the kernel; who holds them, from /proc."""

import socket
import struct

import host

STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RCVD",
    4: "FIN_WAIT_1",
    5: "FIN_WAIT_2",
    6: "TIME_WAIT",
    7: "CLOSED",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
}
LISTEN = 10


def _address(text):
    host_hex, _, port = text.partition(":")
    if len(host_hex) == 8:
        address = socket.inet_ntop(socket.AF_INET, struct.pack("<I", int(host_hex, 16)))
    else:
        words = struct.pack("<4I", *(int(host_hex[i : i + 8], 16) for i in range(0, 32, 8)))
        address = socket.inet_ntop(socket.AF_INET6, words)
    return address, int(port, 16)


def inet():
    """[{proto, local, foreign, state, recvq, sendq, inode}] from /proc/net; addresses are (text, port)."""
    result = []
    for name, proto in (("tcp", "tcp4"), ("tcp6", "tcp6"), ("udp", "udp4"), ("udp6", "udp6")):
        for line in (host.read("/proc/net/" + name) or "").splitlines()[1:]:
            field = line.split()
            queue = field[4].split(":")
            result.append(
                {
                    "proto": proto,
                    "local": _address(field[1]),
                    "foreign": _address(field[2]),
                    "state": int(field[3], 16),
                    "sendq": int(queue[0], 16),
                    "recvq": int(queue[1], 16),
                    "inode": int(field[9]),
                }
            )
    return result


def idle(sock):
    """Whether a socket of inet() waits for others: it listens, or nobody is at its other end."""
    return sock["state"] == LISTEN if sock["proto"].startswith("tcp") else not sock["foreign"][1]


def state(sock):
    return STATES[sock["state"]] if sock["proto"].startswith("tcp") else ""


def unix():
    """[{proto, path, listening, connected, inode}] from /proc/net/unix."""
    result = []
    for line in (host.read("/proc/net/unix") or "").splitlines()[1:]:
        field = line.split(None, 7)
        kind = {1: "stream", 2: "dgram", 5: "seqpack"}.get(int(field[4], 16), "stream")
        result.append(
            {
                "proto": kind,
                "path": field[7] if len(field) > 7 else "",
                "listening": bool(int(field[3], 16) & 0x10000),
                "connected": field[5] == "03",
                "inode": int(field[6]),
            }
        )
    return result


def holders(inodes):
    """{socket inode: [(pid, fd)]} of this host's processes, for these inodes."""
    result = {}
    for pid in host.pids():
        for fd, target in host.fds(pid):
            if target.startswith("socket:["):
                inode = int(target[8:-1])
                if inode in inodes:
                    result.setdefault(inode, []).append((pid, fd))
    return result


def _dump(request):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as link:
        link.bind((0, 0))
        link.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
        while True:
            data = link.recv(1 << 18)
            while len(data) >= 16:
                size, kind = struct.unpack_from("=IH", data)
                if kind == 3:
                    return
                if kind == 2:
                    raise OSError("sock_diag refused")
                yield data[16:size]
                data = data[(size + 3) & ~3 :]


def listen_queues():
    """[(proto, address, port or None, waiting, backlog)] of listening sockets, the backlog really in force."""
    result = []
    for family, proto in ((socket.AF_INET, "tcp4"), (socket.AF_INET6, "tcp6")):
        for body in _dump(struct.pack("=BBBBI", family, 6, 0, 0, 1 << LISTEN) + bytes(48)):
            (port,) = struct.unpack_from(">H", body, 4)
            raw = body[8:12] if family == socket.AF_INET else body[8:24]
            (index,) = struct.unpack_from("=I", body, 40)
            waiting, backlog = struct.unpack_from("=II", body, 56)
            address = socket.inet_ntop(family, raw)
            if index and address.startswith("fe80:"):
                try:
                    address += "%" + socket.if_indextoname(index)
                except OSError:
                    pass
            result.append((proto, address, port, waiting, backlog))
    for body in _dump(struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 1 << LISTEN, 0, 0x11, 0xFFFFFFFF, 0xFFFFFFFF)):
        name, waiting, backlog = "", 0, 0
        at = 16
        while at + 4 <= len(body):
            size, kind = struct.unpack_from("=HH", body, at)
            if size < 4:
                break
            data = body[at + 4 : at + size]
            if kind == 0:
                name = data.decode("utf-8", "replace").rstrip("\0")
                if name.startswith("\0"):
                    name = "@" + name[1:]
            elif kind == 4:
                waiting, backlog = struct.unpack_from("=II", data)
            at += (size + 3) & ~3
        result.append(("unix", name, None, waiting, backlog))
    return result


def zone(address):
    """A link-local address with its interface, where /proc tells it."""
    if not address.startswith("fe80:") or "%" in address:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address).hex()
    for line in (host.read("/proc/net/if_inet6") or "").splitlines():
        field = line.split()
        if field[0] == packed:
            return f"{address}%{field[5]}"
    return address


def any_address(address):
    return address in ("0.0.0.0", "::")
