# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One message through a mail host of one's own to a sink of one's own, which is this process: it sends to nothing but the machine that it runs on.

Every address of every mail exchanger of each recipient domain must be one of this machine's, or nothing is sent; and a single message goes ahead, which
must arrive here. What came of it is printed as JSON, in the words of README.md.
"""

import argparse
import asyncio
import contextlib
import email.utils
import json
import pathlib
import smtplib
import socket
import ssl
import sys
import tempfile
import threading
import time
import uuid

import dns.exception
import dns.resolver
from labkit.internet.mail import Tail
from labkit.internet.sink import Book, Smtp

from .run import curve, reached

MOST, LONGEST, FIRST = 20_000, 600, 60
#: Looked up at least: of a wildcard one stands for all, but a name of its own may lead elsewhere.
EVERY = 2_000


class Refused(Exception):
    """Nothing, or nothing more, is sent; the text says why and what would do."""


def local(address):
    """Whether an address is one of this machine's: only such can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return True
    return False


def addresses_of(domain, resolver):
    """The addresses that mail for a domain goes to (RFC 5321, 5.1). Raises Refused where the DNS does not tell all of them."""

    def asked(name, kind):
        try:
            return list(resolver.resolve(name, kind))
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            return []
        except dns.exception.DNSException as error:
            raise Refused(f"{name} {kind}: {error}: without an answer nobody knows whose server that is") from error

    hosts = [one.exchange for one in asked(domain, "MX")] or [domain]
    return {one.address for host in hosts for kind in ("A", "AAAA") for one in asked(host, kind)}


def proved(domains, resolver):
    """Raises Refused unless mail for each of the domains goes to this machine and nowhere else."""
    for domain in domains:
        found = addresses_of(domain, resolver)
        foreign = sorted(address for address in found if not local(address))
        if foreign or not found:
            raise Refused(
                f"{domain}: its mail goes to {', '.join(foreign) or 'nobody'}, which is not this machine. Run this on the sink, and give the domain one MX record, the sink's"
            )


@contextlib.contextmanager
def sink(path, port):
    """A sink on all addresses of this machine while this context lasts, in a thread; what it takes is appended to *path*."""
    book, loop, started, failed = Book(path), asyncio.new_event_loop(), threading.Event(), []

    async def serve():
        name = socket.gethostname().encode()
        # reuse_address alone: a second server on the port is an error
        server = await loop.create_server(lambda: Smtp(book, name), ["0.0.0.0", "::"], port, backlog=1024)
        started.set()
        return server

    def work():
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except OSError as error:
            failed.append(error)
            started.set()
            return
        loop.run_forever()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started.wait()
    if failed:
        raise Refused(f"port {port} cannot be opened: {failed[0]}")
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        book.close()


def submit(options, password, recipients, token):
    """Submit one message for all of them. Raises Refused with what the host answers."""
    text = (
        f"From: <{options.sender}>\r\nTo: undisclosed-recipients:;\r\nSubject: Practice alert\r\nX-Lab-Token: {token}\r\nMessage-ID: <{token}@{options.domain}>\r\n"
        f"Date: {email.utils.formatdate()}\r\n\r\nThis is a practice alert.\r\n"
    )
    context = ssl.create_default_context(cafile=options.ca_file)
    if options.untrusted:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with smtplib.SMTP(options.through, options.port, timeout=120) as server:
            server.starttls(context=context)
            server.login(options.user, password)
            refused = server.sendmail(options.sender, recipients, text)
    except (smtplib.SMTPException, OSError) as error:
        raise Refused(f"{options.through} port {options.port}: {error}") from error
    if refused:
        who, (code, answer) = next(iter(refused.items()))
        raise Refused(
            f"{options.through} rejects {len(refused)} of {len(recipients)}, first {who}: {code} {answer.decode()}"
        )


def arrived(tail, wanted, seconds):
    """Whether *wanted* have it within so many seconds."""
    until = time.time() + seconds
    while time.time() < until and not wanted <= tail.copies.keys():
        tail.read()
        time.sleep(0.1)
    return wanted <= tail.copies.keys()


def measured(options, password, path):
    domains = [options.domain]
    if options.domains > 1:
        domains = [f"d{n:04d}.{options.domain}" for n in range(1, options.domains + 1)]
    resolver = dns.resolver.Resolver()
    if options.resolver:
        resolver.nameservers = [options.resolver]
    proved(domains, resolver)
    people = [f"user{n // len(domains) + 1:05d}@{domains[n % len(domains)]}" for n in range(options.recipients)]
    first = f"bench-{uuid.uuid4().hex}"
    tail = Tail(path, first)
    submit(options, password, people[:1], first)
    if not arrived(tail, set(people[:1]), FIRST):
        raise Refused(
            f"the first message, to {people[0]}, did not arrive here within {FIRST} s: look at the mail log of {options.through}"
        )
    token = f"bench-{uuid.uuid4().hex}"
    tail, start = Tail(path, token), time.time()
    submit(options, password, people, token)
    handed_in = time.time() - start
    over = not arrived(tail, set(people), options.seconds)
    times = [at - start for at in tail.times.values()]
    return {
        "recipients": len(people),
        "domains": len(domains),
        "served": len(times),
        "twice": sum(1 for n in tail.copies.values() if n > 1),
        "over": over,
        "handed_in": round(handed_in, 2),
        "seconds": reached(times, len(people)),
        "curves": {"accepting": curve(times)},
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.own", description=__doc__)
    parser.add_argument("--domain", required=True, help="whose mail goes to this machine")
    parser.add_argument("--domains", type=int, default=1, help="so many domains below it, d0001 and so on")
    parser.add_argument("--recipients", type=int, default=500, help=f"at most {MOST}")
    parser.add_argument("--seconds", type=int, default=240, help=f"to wait, at most {LONGEST}")
    parser.add_argument("--through", required=True, help="the mail host")
    parser.add_argument("--port", type=int, default=587)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=pathlib.Path, required=True)
    parser.add_argument("--sender", help="an address of the user's; left out: the user")
    parser.add_argument("--ca-file", help="what vouches for the host's certificate, where the system does not")
    parser.add_argument("--untrusted", action="store_true", help="whatever certificate the host has")
    parser.add_argument("--resolver", help="address of the resolver to ask, where it is not the system's")
    options = parser.parse_args()
    if not 1 <= options.domains <= options.recipients <= MOST or options.domains > EVERY:
        parser.error(f"--recipients: 1 to {MOST}; --domains: 1 to {EVERY}, and no more than recipients")
    if not 1 <= options.seconds <= LONGEST:
        parser.error(f"--seconds: 1 to {LONGEST}")
    options.sender = options.sender or options.user
    try:
        with tempfile.TemporaryDirectory() as folder, sink(pathlib.Path(folder) / "sink.jsonl", 25):
            found = measured(options, options.password_file.read_text().strip(), pathlib.Path(folder) / "sink.jsonl")
    except (Refused, OSError) as error:
        sys.exit(f"bench.own: {error}")
    print(json.dumps(found))
    return 1 if found["over"] or found["twice"] else 0


if __name__ == "__main__":
    sys.exit(main())
