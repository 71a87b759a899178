"""What no honest client says, to port 25 and to port 53: thousands of connections of every unfinished sort, and messages that are none. Standard library only.

Its argument is the order as JSON: {"seed", "count": connections or messages of each kind, "hold": seconds that the silent ones stay, "kinds": [names of methods],
"sources": […], "server": address}. Prints {kind: [begun, answered]}.
"""

import asyncio
import json
import random
import socket
import struct
import sys

ORDER = json.loads(sys.argv[1])
CHANCE = random.Random(ORDER["seed"])
#: At a time; each kind has its own.
PARALLEL = 200
HELO = b"EHLO fuzz.test\r\n"
BEGIN = HELO + b"MAIL FROM:<someone@sender.test>\r\nRCPT TO:<postmaster@home.example>\r\n"
QUESTION = b"\x05d0001\x04test\x00\x00\x01\x00\x01"


def chance(length):
    return bytes(CHANCE.randrange(256) for _ in range(length))


def mutated(data):
    """Some octets of it otherwise, some left out, some twice."""
    data = bytearray(data)
    for _ in range(CHANCE.randrange(1, 6)):
        at = CHANCE.randrange(len(data))
        how = CHANCE.randrange(3)
        if how == 0:
            data[at] = CHANCE.randrange(256)
        elif how == 1 and len(data) > 1:
            del data[at]
        else:
            data[at:at] = data[at : at + CHANCE.randrange(1, 40)]
    return bytes(data)


class Smtp:
    """Each method says what a client of that kind sends, piece by piece, after it has read the greeting; or None, which ends it by a reset."""

    def silent(self):
        return []

    def half_a_command(self):
        return [b"EH"]

    def half_a_message(self):
        return [BEGIN + b"DATA\r\n", b"Subject: half"]

    def reset(self):
        return [HELO, None]

    def reset_in_data(self):
        return [BEGIN + b"DATA\r\n", b"x" * 10000, None]

    def long_line(self):
        return [b"x" * 65536] * 16

    def long_line_in_data(self):
        return [HELO, BEGIN + b"DATA\r\n", *[b"x" * 65536] * 16, b"\r\n.\r\n"]

    def long_header(self):
        return [HELO, BEGIN + b"DATA\r\n", *[b"X-A: " + b"y" * 900 + b"\r\n " * 20] * 200, b"\r\n.\r\n"]

    def many_recipients(self):
        return [HELO + b"MAIL FROM:<someone@sender.test>\r\n", b"RCPT TO:<a@d0001.test>\r\n" * 1000]

    def pipelined(self):
        return [HELO + b"NOOP\r\nRSET\r\nVRFY x\r\n" * 500]

    def transactions_in_one_packet(self):
        return [(BEGIN + b"DATA\r\nX: y\r\n\r\n.\r\n") * 50]

    def injected_behind_starttls(self):
        return [HELO + b"STARTTLS\r\n" + BEGIN + b"DATA\r\n.\r\n", chance(200)]

    def broken_handshake(self):
        # a record of a ClientHello that is no ClientHello, or shorter than it says
        return [HELO, b"STARTTLS\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance(CHANCE.randrange(500))]

    def octets(self):
        return [chance(CHANCE.randrange(1, 3000))]

    def mutation(self):
        return [mutated(BEGIN + b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")]


class Dns:
    """Each method returns one message that is none, or an odd one."""

    @staticmethod
    def header(flags=0x0100, counts=(1, 0, 0, 0)):
        return struct.pack(">HHHHHH", CHANCE.randrange(65536), flags, *counts)

    def dns_octets(self):
        return chance(CHANCE.randrange(1, 600))

    def dns_mutation(self):
        return mutated(self.header() + QUESTION)

    def dns_short(self):
        return (self.header() + QUESTION)[: CHANCE.randrange(1, 25)]

    def dns_counts(self):
        return self.header(counts=tuple(CHANCE.choice((0, 1, 2, 65535)) for _ in range(4))) + QUESTION

    def dns_pointer_loop(self):
        return self.header() + struct.pack(">HHH", 0xC00C, 1, 1)

    def dns_pointer_ahead(self):
        return self.header() + b"\x01a" + struct.pack(">HHH", 0xC000 | CHANCE.randrange(16384), 1, 1)

    def dns_long_name(self):
        return self.header() + (b"\x3f" + b"a" * 63) * 8 + b"\x00\x00\x01\x00\x01"

    def dns_opcode(self):
        return self.header(flags=CHANCE.randrange(65536)) + QUESTION

    def dns_type(self):
        name = b"\x05" + b"d%04d" % CHANCE.randrange(1, 1000) + b"\x04test\x00"
        return self.header() + name + struct.pack(">HH", CHANCE.randrange(65536), CHANCE.choice((1, 3, 255, 65535)))

    def dns_edns(self):
        length = CHANCE.choice((0, 4, 65535))
        option = struct.pack(">BHHIHHH", 0, 41, CHANCE.randrange(65536), CHANCE.getrandbits(32), length, 10, 65535)
        return self.header(counts=(1, 0, 0, 1)) + QUESTION + option + chance(8)

    def dns_answer(self):
        return (
            self.header(flags=0x8180, counts=(1, 1, 0, 0))
            + QUESTION
            + b"\xc0\x0c\x00\x01\x00\x01\xff\xff\xff\xff\x00\x04"
            + chance(4)
        )

    def dns_update(self):
        return self.header(flags=0x2800, counts=(1, 1, 1, 0)) + QUESTION + chance(30)


def of_family(source):
    return socket.AF_INET6 if ":" in source else socket.AF_INET


async def smtp(kind, source, server, port=25):
    """Whether the server said anything to one client."""
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(server, port, local_addr=(source, 0), family=of_family(source)), 60
    )
    answered = b""
    try:
        # the silent ones wait for it as well, and for its end
        stays = kind in ("silent", "half_a_command", "half_a_message")
        answered = await first(reader, 10)
        for piece in getattr(Smtp(), kind)():
            if piece is None:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                break
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), 20)
            if not stays:
                answered += await first(reader, 5)
        if stays:
            await asyncio.sleep(ORDER["hold"])
    finally:
        writer.close()
    return bool(answered)


async def first(reader, seconds):
    try:
        return await asyncio.wait_for(reader.read(65536), seconds)
    except asyncio.TimeoutError:
        return b""


async def dns(kind, source, server, over_tcp):
    """Whether one message got an answer."""
    message = getattr(Dns(), kind)()
    if over_tcp:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(server, 53, local_addr=(source, 0), family=of_family(source)), 30
        )
        try:
            # a length that is right, too long for what comes, or too short
            writer.write(
                struct.pack(">H", CHANCE.choice((len(message), len(message) + 50, len(message) // 2))) + message
            )
            await asyncio.wait_for(writer.drain(), 10)
            return bool(await first(reader, 2))
        finally:
            writer.close()
    loop = asyncio.get_running_loop()
    with socket.socket(of_family(source), socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((source, 0))
        await loop.sock_connect(sock, (server, 53))
        await loop.sock_sendall(sock, message)
        try:
            return bool(await asyncio.wait_for(loop.sock_recv(sock, 65536), 1))
        except asyncio.TimeoutError:
            return False


async def all_of(kind, count, stays):
    """[begun, answered] of one kind."""
    gate, done = asyncio.Semaphore(count if stays else PARALLEL), [0, 0]

    async def one(number):
        source = ORDER["sources"][number % len(ORDER["sources"])]
        server = ORDER["server6"] if ":" in source else ORDER["server"]
        async with gate:
            done[0] += 1
            try:
                answered = await (
                    dns(kind, source, server, number % 4 == 0)
                    if kind.startswith("dns_")
                    else smtp(kind, source, server)
                )
                done[1] += answered
            except (OSError, asyncio.TimeoutError):
                pass

    await asyncio.gather(*map(one, range(count)))
    return done


async def main():
    stays = ("silent", "half_a_command", "half_a_message")
    kinds = ORDER["kinds"] or [
        name for one in (Smtp, Dns) for name in vars(one) if not name.startswith(("_", "header"))
    ]
    found = await asyncio.gather(*(all_of(kind, ORDER["count"], kind in stays) for kind in kinds))
    print(json.dumps(dict(zip(kinds, found))))


if __name__ == "__main__":
    asyncio.run(main())
