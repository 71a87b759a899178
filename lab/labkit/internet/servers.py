"""Sockets of the simulated internet's servers, their delays, and the control socket."""

import asyncio
import gc
import heapq
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from ..files import record
from . import receivers
from .authority import Authority
from .resolver import Resolver
from .secure import Tls, listen
from .sink import Book, Smtp
from .zones import Behaviour, Internet, addresses, described, wire

BATCH = 64
SO_RCVBUFFORCE, SO_SNDBUFFORCE, IP_FREEBIND, IPV6_FREEBIND = 33, 32, 15, 78
BUFFER = 8 << 20


def open_socket(kind, host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        # bursts wait here while an answer is made; lost here they would look like a network that loses packets by itself
        for force, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, force, BUFFER)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # an address that is still tentative cannot be bound otherwise
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    sock.bind((host, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(1024)
    return sock


def places(addresses, port, bind):
    """Where addresses are served: (host, port) of each, or what a map {address: (host, port)} says, which may leave some out."""
    if bind is None:
        return [(address, port) for address in addresses]
    return [bind[address] for address in addresses if address in bind]


class Late:
    """Answers that wait for their time: one heap and one timer for all, however many there are."""

    def __init__(self, loop):
        self.loop, self.heap, self.number, self.timer, self.at = loop, [], itertools.count(), None, 0

    def put(self, delay, call, *arguments):
        due = self.loop.time() + delay
        heapq.heappush(self.heap, (due, next(self.number), call, arguments))
        if self.timer is None or due < self.at - 0.001:
            self.arm(due)

    def arm(self, due):
        if self.timer is not None:
            self.timer.cancel()
        self.at = due
        self.timer = self.loop.call_at(due, self.due)

    def due(self):
        now = self.loop.time()
        heap = self.heap
        while heap and heap[0][0] <= now:
            _due, _number, call, arguments = heapq.heappop(heap)
            call(*arguments)
        self.timer = None
        if heap:
            self.arm(heap[0][0])


class DnsServers:
    """The authoritative servers and the provider's resolver in one process."""

    def __init__(self, internet):
        self.internet = internet
        self.resolver = Resolver(internet)
        self.authorities = {name: Authority(internet, name) for name in internet.servers}
        self.sockets, self.tcp = [], []
        self.dropped = 0

    async def start(self, bind=None):
        """Open the sockets. bind: {address: (host, port)}, or None for the addresses themselves, port 53."""
        loop = asyncio.get_running_loop()
        self.late = Late(loop)
        for name, server in self.internet.servers.items():
            respond = self.authorities[name].respond
            for place in places(server["addresses"], 53, bind):
                await self._serve(loop, place, lambda data, _client, tcp, respond=respond: respond(data, tcp))

        def resolve(data, client, tcp):
            return self.resolver.respond(data, client, loop.time(), tcp)

        for place in places(self.internet.data["resolver"]["addresses"], 53, bind):
            await self._serve(loop, place, resolve)

    async def _serve(self, loop, place, respond):
        sock = open_socket(socket.SOCK_DGRAM, *place)
        self.sockets.append(sock)
        loop.add_reader(sock, self._readable, sock, respond)
        self.tcp.append(
            await asyncio.start_server(
                lambda r, w: self._stream(r, w, respond), sock=open_socket(socket.SOCK_STREAM, *place)
            )
        )

    def _send(self, sock, data, peer):
        try:
            sock.sendto(data, peer)
        except OSError:
            self.dropped += 1

    def _readable(self, sock, respond):
        late = self.late
        receive = sock.recvfrom
        for _ in range(BATCH):
            try:
                data, peer = receive(4096)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of an earlier answer
            answer, delay = respond(data, peer[0], False)
            if answer is not None:
                if delay > 0:
                    late.put(delay, self._send, sock, answer, peer)
                else:
                    self._send(sock, answer, peer)
        if late.heap and late.heap[0][0] <= late.loop.time():
            late.due()

    async def _stream(self, reader, writer, respond):
        client = writer.get_extra_info("peername")[0]

        def send(data):
            if not writer.is_closing():
                writer.write(len(data).to_bytes(2, "big") + data)

        try:
            while True:
                async with asyncio.timeout(30):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                answer, delay = respond(data, client, True)
                if answer is not None:
                    if delay > 0:
                        self.late.put(delay, send, answer)
                    else:
                        send(answer)
                        await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            pass
        finally:
            writer.close()

    def close(self):
        loop = asyncio.get_running_loop()
        for sock in self.sockets:
            loop.remove_reader(sock)
            sock.close()
        for server in self.tcp:
            server.close()

    def changed(self):
        """Forget the answers that were made of other records."""
        for authority in self.authorities.values():
            authority.cache.clear()
        self.resolver.forget()

    def control(self, request):
        """Answer one request of `ctl`; raises ValueError with what is wrong with it."""
        zones = self.internet.zones.values()
        match request:
            case {"op": "set", "zone": pattern, "values": values}:
                matching = self.internet.matching(pattern)
                if not matching:
                    raise ValueError(f"no zone is called {pattern}")
                for zone in matching:
                    zone.behaviour.set(**values)
                return {"zones": len(matching)}
            case {"op": "record", "zone": name, "record": text}:
                zone = self.internet.zones.get(wire(name))
                if zone is None:
                    raise ValueError(f"no zone is called {name}")
                zone.replace(text, self.internet.data["ttl"])
                self.changed()
                return {}
            case {"op": "resolver", "values": values}:
                self.resolver.set(**values)
                return self.resolver.as_dict()
            case {"op": "publish", "records": records}:
                for one in records:
                    self.internet.publish(one["name"], one.get("type", "TXT"), one["values"], one.get("ttl", 60))
                self.changed()
                return {"records": len(records)}
            case {"op": "forget"}:
                self.resolver.forget()
                return {}
            case {"op": "reset"}:
                for zone in zones:
                    zone.behaviour.set(**zone.configured)
                    zone.restore()
                self.changed()
                self.resolver.reset()
                return {}
            case {"op": "show"}:
                return {
                    "cpu": time.process_time(),
                    "zones": {
                        z.name.to_text(omit_final_dot=True): {**z.behaviour.as_dict(), "queries": z.queries}
                        for z in zones
                        if z.queries or z.behaviour != Behaviour()
                    },
                    "queries": sum(z.queries for z in zones),
                    "late": len(self.late.heap),
                    "dropped": self.dropped,
                    "resolver": self.resolver.as_dict(),
                }
        raise ValueError(f"unknown request {request.get('op')}")


class SinkServers:
    """The recipients' mail servers in one process."""

    def __init__(self, data, log):
        self.secure, self.tls = data.get("secure", []), pathlib.Path(log).with_name("tls")
        self.receivers, self.tried = data.get("receivers", []), receivers.Tried()
        self.names = {}
        for number, v4 in enumerate(addresses(data["sinks"])):
            v6 = data["sinks"]["prefix6"] + v4.rpartition(".")[2]
            self.names.update(dict.fromkeys((v4, v6), f"sink{number:02d}.hosting.test".encode()))
        self.book = Book(log, next(iter(data.get("servers", {}).get("hoster", {}).get("addresses", [])), None))
        self.servers = []

    async def start(self, bind=None):
        loop = asyncio.get_running_loop()
        for address, name in self.names.items():
            for place in places([address], 25, bind):
                sock = open_socket(socket.SOCK_STREAM, *place)
                self.servers.append(await loop.create_server(lambda name=name: Smtp(self.book, name), sock=sock))

        def opened(address, port):
            # a map of places has one port each
            found = [(address, port)] if bind is None else places([address] if port == 587 else [], port, bind)
            return [open_socket(socket.SOCK_STREAM, *place) for place in found]

        if self.secure or self.receivers:
            tls = Tls(self.tls, self.secure)
            self.servers += await listen(self.book, self.secure, tls, opened)
            for entry in self.receivers:
                sockets = [open_socket(socket.SOCK_STREAM, *place) for place in places([entry["address"]], 25, bind)]
                self.servers += await receivers.listen(self.book, entry, tls, self.tried, sockets)

    def close(self):
        for server in self.servers:
            server.close()
        self.book.close()

    def control(self, request):
        match request:
            case {"op": "sink", "domain": domain, "values": values}:
                self.book.set(domain, **values)
                return self.book.rules
            case {"op": "reset"}:
                self.book.rules.clear()
                self.book.throttles.clear()
                self.book.logins.clear()
                self.book.unauthentic.clear()
                return {}
            case {"op": "forget"}:
                self.tried.first.clear()
                return {}
            case {"op": "tried"}:
                return {"tried": self.tried.tried()}
            case {"op": "show"}:
                return {
                    "cpu": time.process_time(),
                    "messages": self.book.messages,
                    "recipients": self.book.recipients,
                    "rules": self.book.rules,
                    "logins": self.book.logins,
                    "unauthentic": self.book.unauthentic[-50:],
                    "throttles": {pattern: one.as_dict() for pattern, one in self.book.throttles.items()},
                }
        raise ValueError(f"unknown request {request.get('op')}")


async def listen_control(path, control):
    """A Unix socket that takes one JSON object a line and answers with one."""

    async def serve(reader, writer):
        try:
            while line := await reader.readline():
                try:
                    answer = {"ok": True, **control(json.loads(line))}
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    answer = {"ok": False, "error": str(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    pathlib.Path(path).unlink(missing_ok=True)
    return await asyncio.start_unix_server(serve, path=str(path), limit=1 << 20)


def request(folder, part, message, timeout=10):
    """Ask a part (dns or sink) of a running instance. Raises ValueError with what it refuses, OSError when it does not run."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(str(pathlib.Path(folder) / f"internet-{part}.sock"))
        sock.sendall(json.dumps(message).encode() + b"\n")
        line = sock.makefile().readline()
    if not line:
        raise OSError(f"the {part} servers ended before they answered")
    answer = json.loads(line)
    if not answer.pop("ok"):
        raise ValueError(answer["error"])
    return answer


async def run_part(part, folder, bind_file, ready):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    internet = Internet(described(folder), keys=folder / "dns-keys", tls=folder / "tls")
    servers = DnsServers(internet) if part == "dns" else SinkServers(internet.data, folder / "sink.jsonl")
    gc.collect()
    gc.freeze()
    await servers.start(json.loads(pathlib.Path(bind_file).read_text()) if bind_file else None)
    control = await listen_control(folder / f"internet-{part}.sock", servers.control)
    # the parent's end of the pipe closes when it ends, however it ends
    os.set_blocking(0, False)
    loop.add_reader(0, stop.set)
    print(f"{part}: ready", flush=True)
    os.write(ready, b"ready\n")
    os.close(ready)
    await stop.wait()
    control.close()
    servers.close()


def serve(folder, bind_file=None):
    """Run the servers until SIGTERM. Returns an exit code: 0 asked to end, 1 one of them ended by itself."""
    ready = folder / "internet.ready"
    ready.unlink(missing_ok=True)
    # the keys are made, and the trust anchor is written, before the internet is reported ready
    internet = Internet(described(folder), keys=folder / "dns-keys", tls=folder / "tls")
    record(folder / "dns.json", internet.for_named())
    parts, pipes = {}, []
    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(True))
    try:
        for part in ("dns", "sink"):
            out, into = os.pipe()
            run = [sys.executable, "-B", "-m", "labkit.internet", "part", part, "--instance-dir", str(folder)]
            bind = ["--bind-map", str(bind_file)] if bind_file else []
            parts[part] = subprocess.Popen([*run, "--ready", str(into), *bind], stdin=subprocess.PIPE, pass_fds=(into,))
            os.close(into)
            pipes.append(out)
        for (part, process), out in zip(parts.items(), pipes, strict=True):
            if os.read(out, 16) != b"ready\n":
                if stopped:
                    return 0
                print(f"internet: the {part} servers did not start (exit code {process.wait()})", flush=True)
                return 1
            os.close(out)
        ready.write_text(f"{os.getpid()}\n")
        print("internet: ready", flush=True)
        while not stopped:
            for part, process in parts.items():
                if process.poll() is not None:
                    print(f"internet: the {part} servers ended (exit code {process.returncode})", flush=True)
                    return 1
            time.sleep(0.2)
        return 0
    finally:
        ready.unlink(missing_ok=True)
        for process in parts.values():
            if process.poll() is None:
                process.terminate()
        for process in parts.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
