# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Written by sokuhai's role ahead. A policy service of Postfix that says DUNNO at once, and has named look up the recipient's domain meanwhile.

    sokuhai-policyd-ahead sokuhai-ahead CONFIGURATION

smtpd(8) asks it at each RCPT from whoever may send. So while a message to thousands of people is still coming in, named is asked for the MX records of all their
domains at once, and for the addresses of the hosts these name; smtp(8) finds the answers in its cache. sokuhai-policyd-ahead runs main() in a thread for
each connection; the questions of all of them are one thread's. Whatever goes wrong here costs nothing but the time that it would have saved.
"""

import asyncio
import contextlib
import json
import random
import socket
import sys
import syslog
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

#: s that a question may take: named answers SERVFAIL after 10 (resolver-query-timeout).
PATIENCE = 12
#: Domains that are remembered as asked for; beyond, all are forgotten.
REMEMBERED = 200000
SOCKET_BUFFER = 4 << 20


class Named(asyncio.DatagramProtocol):
    """Questions to one named, at most *most* open at a time."""

    def __init__(self, most):
        self.room, self.open, self.transport = asyncio.Semaphore(most), {}, None

    def connection_made(self, transport):
        self.transport = transport
        # a kernel that grants less (kern.ipc.maxsockbuf) drops answers of which smtp(8) finds the names in the cache all the same
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)

    def datagram_received(self, data, _address):
        answer = self.open.pop(data[:2], None)
        if answer is not None and not answer.done():
            answer.set_result(data)

    def error_received(self, problem):
        """Where named does not run, nothing that is open will be answered. Anything else, such as no buffer space, is one question's, which ends by its time."""
        for one in self.open.values() if isinstance(problem, ConnectionRefusedError) else ():
            if not one.done():
                one.set_exception(problem)

    async def query(self, name, kind, cache_only=False):
        """named's answer (dns.message.Message), or None for none. cache_only: of what it has in its cache, so that it queries nobody (RFC 1035 4.1.1, RD)."""
        question = dns.message.make_query(name, kind, use_edns=0, payload=1232)
        if cache_only:
            question.flags &= ~dns.flags.RD
        async with self.room:
            for _ in range(100):
                question.id = random.randrange(65536)
                key = question.id.to_bytes(2, "big")
                if key not in self.open:
                    break
            else:
                return None
            self.open[key] = asyncio.get_running_loop().create_future()
            try:
                self.transport.sendto(question.to_wire())
                return dns.message.from_wire(await asyncio.wait_for(self.open[key], PATIENCE))
            except (asyncio.TimeoutError, OSError, dns.exception.DNSException):
                return None
            finally:
                self.open.pop(key, None)

    async def ask(self, name, kind):
        """The data (list) of the records of *name* and *kind*, [] for none and for no answer."""
        return records(await self.query(name, kind), kind)


def records(answer, kind):
    """The data (list) of the records of *kind* in *answer* (dns.message.Message, or None), whatever aliases lead to them."""
    return [record for found in answer.answer if found.rdtype == kind for record in found] if answer else []


class Ahead:
    """The lookups of one process. settings: server (address of named), port, questions (most open at a time), again (s), types (of addresses: A, AAAA), tlsa (bool)."""

    def __init__(self, settings):
        self.settings, self.asked, self.tasks = settings, {}, set()
        self.types = [dns.rdatatype.from_text(name) for name in settings["types"]]
        self.loop = asyncio.new_event_loop()
        place = (settings["server"], settings["port"])
        made = self.loop.create_datagram_endpoint(lambda: Named(settings["questions"]), remote_addr=place)
        self.named = self.loop.run_until_complete(made)[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def want(self, domain):
        """Have *domain* looked up, unless it just was. Returns at once, in any thread."""
        now = time.monotonic()
        if now - self.asked.get(domain, -self.settings["again"]) < self.settings["again"]:
            return
        if len(self.asked) >= REMEMBERED:
            self.asked = {}
        self.asked[domain] = now
        self.loop.call_soon_threadsafe(self.begin, domain)

    def begin(self, domain):
        task = self.loop.create_task(self.look_up(domain))
        self.tasks.add(task)
        task.add_done_callback(self.ended)

    def ended(self, task):
        self.tasks.discard(task)
        if task.exception():
            syslog.syslog(syslog.LOG_ERR, "%s: %s" % (type(task.exception()).__name__, task.exception()))

    async def look_up(self, domain):
        """As smtp(8) will: MX, then the addresses of the hosts, or of the domain itself (RFC 5321 5.1)."""
        try:
            hosts = [record.exchange for record in await self.named.ask(domain, dns.rdatatype.MX)] or [domain]
            asked = [self.named.ask(host, kind) for host in hosts for kind in self.types]
            if self.settings["tlsa"]:
                asked += [self.named.ask("_25._tcp.%s" % host, dns.rdatatype.TLSA) for host in hosts]
            await asyncio.gather(*asked)
        except (dns.exception.DNSException, UnicodeError):
            pass  # no name that the DNS could know


def domain_of(recipient):
    """The domain of an address as the DNS is asked for it, or "" for none: a local name, an address literal."""
    domain = recipient.rpartition("@")[2].lower().rstrip(".")
    return domain if "@" in recipient and "." in domain and not domain.startswith("[") else ""


AHEAD, MAKING = {}, threading.Lock()


def main():
    """Answer the requests on standard input, until it ends (SMTPD_POLICY_README)."""
    with open(sys.argv[1], encoding="utf-8") as source:
        settings = json.load(source)
    with MAKING:
        if not AHEAD:
            AHEAD["one"] = Ahead(settings)
    recipient = ""
    for line in iter(sys.stdin.readline, ""):
        name, _equals, value = line.rstrip("\n").partition("=")
        if name == "recipient":
            recipient = domain_of(value)
        elif not name:
            sys.stdout.write("action=DUNNO\n\n")
            sys.stdout.flush()
            if recipient:
                AHEAD["one"].want(recipient)
            recipient = ""


if __name__ == "__main__":
    main()
