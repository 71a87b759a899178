"""Servers of the simulated internet on the loopback, for the tests of this directory."""

import asyncio
import contextlib
import socket
import threading


def free_ports(count):
    """Ports free for both UDP and TCP on the loopback."""
    with contextlib.ExitStack() as held:
        ports = []
        while len(ports) < count:
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp = held.enter_context(socket.socket())
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                ports.append(udp.getsockname()[1])
        return ports


@contextlib.contextmanager
def serving(make, addresses):
    """(the servers that make() returns, {address: port}), in a thread with an event loop of its own."""
    ports = dict(zip(addresses, free_ports(len(addresses)), strict=True))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start():
        servers = make()
        await servers.start({address: ("127.0.0.1", port) for address, port in ports.items()})
        return servers

    async def close():
        servers.close()

    servers = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield servers, ports
    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
