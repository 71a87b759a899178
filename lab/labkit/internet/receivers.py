"""Mail servers as they are: replies late, greylisting, a limit of connections, dead. Which one is how: `receivers` of more.json (README.md)."""

import asyncio
import ctypes
import socket
import struct
import time

from .secure import Secure
from .throttle import Throttle

SO_ATTACH_FILTER = 26
NOBODY = b"451 4.7.1 Greylisted, try again later\r\n"


class Tried:
    """What greylisting has seen: {(client, sender, recipient): when for the first time, in seconds since 1970}."""

    def __init__(self):
        self.first = {}

    def known(self, *triplet):
        if triplet in self.first:
            return True
        self.first[triplet] = round(time.time(), 3)
        return False

    def tried(self):
        """{recipient: when it was tried first}"""
        found = {}
        for (_client, _sender, recipient), at in self.first.items():
            found[recipient] = min(at, found.get(recipient, at))
        return found


class Receiver(Secure):
    """entry: {name, address, late: {greeting, rcpt, dot: seconds}, greylist: bool, connections: limit, starttls: bool}; all but the first two may be missing."""

    def __init__(self, book, entry, context, tried, throttle):
        self.late, self.tried, self.most = entry.get("late", {}), tried, throttle
        super().__init__(book, entry, context)

    def limits(self):
        return self.most or super().limits()

    def reset(self):
        super().reset()
        self.thought = False

    def offers(self):
        return self.entry.get("starttls", True) and super().offers()

    def slow(self):
        return self.late.get("dot", 0) or super().slow()

    def wait(self, seconds, call, *arguments):
        """Call it so much later; what the client sends meanwhile waits."""
        self.waiting = True
        asyncio.get_running_loop().call_later(seconds, self.waited, call, *arguments)

    def waited(self, call, *arguments):
        self.waiting = False
        if not self.transport.is_closing():
            call(*arguments)
            self.work()

    def connection_made(self, transport):
        self.transport = transport
        if self.late.get("greeting"):
            self.wait(self.late["greeting"], super().connection_made, transport)
        else:
            super().connection_made(transport)

    def command(self, line):
        if line[:4].upper() == b"RCPT" and self.late.get("rcpt") and not self.thought:
            self.thought = True
            self.wait(self.late["rcpt"], self.command, line)
            return
        super().command(line)

    def refusal(self, recipient):
        if self.entry.get("greylist") and not self.tried.known(self.peer, self.sender, recipient):
            return NOBODY
        return super().refusal(recipient)


def silence(sock):
    """Have a listening socket drop what comes, so that a client gets no answer (socket(7), SO_ATTACH_FILTER)."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET: keep 0 bytes
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


async def listen(book, entry, tls, tried, sockets):
    """Serve an entry on listening sockets; dead is "refused" (nothing listens) or "silent". Returns the asyncio servers."""
    if entry.get("dead"):
        for sock in sockets:
            silence(sock) if entry["dead"] == "silent" else sock.close()
    if entry.get("dead") == "refused":
        return []
    context = tls.context("by-itself")
    throttle = Throttle({"connections": entry["connections"]}) if entry.get("connections") else None

    def made():
        return Receiver(book, entry, context, tried, throttle)

    return [await asyncio.get_running_loop().create_server(made, sock=sock) for sock in sockets]
