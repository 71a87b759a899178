# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Written by sokuhai's role ahead. sokuhai-warm: has named look up the domains of a list before there is a message, and prints the addresses whose domain takes no mail.

    sokuhai-warm LIST ...          files of addresses or domains, as in aliases(5) and :include: lists; - is standard input
    sokuhai-warm --mailing ID      whom that mailing went to, as sokuhai-report reads it from the mail log: a queue id, or <Message-ID>
    sokuhai-warm --cron            the lists of role ahead (ahead_warm_lists); prints nothing and keeps the numbers for role monitor

Standard output has a line for each address: why, a tab, the address. Standard error has the sum. Exit status: 0, every domain takes mail; 1, some do not; 2, wrongly
called, or a list cannot be read or has no domain; 3, there is no answer about some now, which says nothing about their addresses.
"""

import argparse
import asyncio
import collections
import contextlib
import fcntl
import json
import os
import pwd
import re
import runpy
import subprocess
import sys
import syslog
import time

import dns.exception
import dns.rcode
import dns.rdatatype

AHEAD, SETTINGS = "/usr/local/libexec/sokuhai-ahead", "/usr/local/etc/sokuhai-ahead.json"
REPORT = "/usr/local/bin/sokuhai-report"
#: What role monitor reads, written in one piece and of one length, so that nobody reads half of it.
NUMBERS, LENGTH = "/var/db/sokuhai_warm.json", 200
#: Why a domain takes no mail (RFC 5321 5.1, RFC 7505); with the last nobody knows whether it does: named answered SERVFAIL or nothing.
NO_DOMAIN, NO_ADDRESS, NULL_MX, NO_ANSWER = "no such domain", "no address", "null MX", "no answer"
DEAD = (NO_DOMAIN, NO_ADDRESS, NULL_MX)
DOMAIN = re.compile(r"[\w.-]+")


class Wrong(Exception):
    """What the operator has to change; exit status 2."""


def addresses(lines, domain_of):
    """{domain: [addresses, or the domain itself]} of the *lines* of a list. What has no domain, such as a local user, is left out."""
    found = collections.defaultdict(dict)
    for line in lines:
        words = [word.strip("<>()[]\"';") for word in line.partition("#")[0].replace(",", " ").split()]
        bare = words if len(words) == 1 and DOMAIN.fullmatch(words[0]) else []
        whole = [word for word in words if "@" in word] or bare
        for word in whole:
            domain = domain_of(word if "@" in word else "@" + word)
            if domain:
                found[domain][word] = None
    return {domain: list(words) for domain, words in found.items()}


class Warm:
    """The lookups of one run. named: sokuhai-ahead's; types: of addresses; tlsa (bool); rate: domains begun a second."""

    def __init__(self, program, named, settings, rate):
        self.records, self.named, self.rate = program["records"], named, rate
        self.types = [dns.rdatatype.from_text(name) for name in settings["types"]]
        self.tlsa = settings["tlsa"]
        self.cached, self.why = 0, {}

    async def all(self, domains):
        """Look up *domains*; cached becomes the number of those that needed nobody, why {domain: one of the reasons}."""
        began, tasks = time.monotonic(), []
        for number, domain in enumerate(domains):
            tasks.append(asyncio.ensure_future(self.one(domain)))
            await asyncio.sleep(max(0, began + (number + 1) / self.rate - time.monotonic()))
        await asyncio.gather(*tasks)

    async def one(self, domain):
        try:
            was_known = not (await self.look_up(domain, cache_only=True))[1]
            reason = (await self.look_up(domain))[0]
            # what takes no mail is forgotten soon, and nobody waits for it
            self.cached += was_known and not reason
        except (dns.exception.DNSException, UnicodeError):
            reason = NO_DOMAIN  # no name that the DNS could know
        if reason:
            self.why[domain] = reason

    async def look_up(self, domain, cache_only=False):
        """(one of the reasons or None, whether an answer is missing) for *domain*, by the queries that smtp(8) will make."""
        answer = await self.named.query(domain, dns.rdatatype.MX, cache_only)
        if not self.known(answer, dns.rdatatype.MX):
            return NO_ANSWER, True
        if answer.rcode() == dns.rcode.NXDOMAIN:
            return NO_DOMAIN, False
        hosts = [record.exchange for record in self.records(answer, dns.rdatatype.MX)]
        if [str(host) for host in hosts] == ["."]:
            return NULL_MX, False
        hosts = hosts or [domain]
        asked = [(host, kind) for host in hosts for kind in self.types]
        asked += [("_25._tcp.%s" % host, dns.rdatatype.TLSA) for host in hosts if self.tlsa]
        answers = await asyncio.gather(*(self.named.query(*one, cache_only) for one in asked))
        missing = [kind for (_host, kind), answer in zip(asked, answers) if not self.known(answer, kind)]
        if any(self.records(answer, kind) for (_host, kind), answer in zip(asked, answers) if kind in self.types):
            return None, bool(missing)
        return NO_ANSWER if set(missing) & set(self.types) else NO_ADDRESS, bool(missing)

    def known(self, answer, kind):
        """Whether *answer* says what there is of *kind*: records, or that there are none; and not SERVFAIL, or who might know (RFC 1034 4.3.1)."""
        if answer is None or answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return False
        # asked for its cache alone, named names the servers beside the records, too
        return bool(self.records(answer, kind)) or not any(one.rdtype == dns.rdatatype.NS for one in answer.authority)


def of_mailing(name):
    """The domains (lines) that the mailing *name* went to. Raises Wrong."""
    try:
        done = subprocess.run(
            [REPORT, "--json", "--", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False
        )
    except OSError as problem:
        raise Wrong("%s: %s (role monitor installs it)" % (REPORT, problem.strerror)) from None
    if done.returncode:
        raise Wrong(done.stderr.decode(errors="replace").strip())
    return list(json.loads(done.stdout)["domains"])


def read(options, settings):
    """The lines of what *options* name. Raises Wrong."""
    if options.mailing:
        return of_mailing(options.mailing)
    lines = []
    for path in settings["lists"] if options.cron else options.list:
        try:
            with open(0 if path == "-" else path, encoding="utf-8", errors="replace") as source:
                lines += source
        except OSError as problem:
            raise Wrong("%s: %s" % (path, problem.strerror)) from None
    return lines


@contextlib.contextmanager
def keep():
    """The numbers' file (a descriptor). Raises BlockingIOError where another run has it."""
    numbers = os.open(NUMBERS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(numbers, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield numbers
    finally:
        os.close(numbers)


def become(user):
    """From here on nothing needs root: the lists are read, and what comes now is from outside."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def warm(options, settings, program, numbers=None):
    """Look up what *options* name and print it; return the exit status. Raises Wrong."""
    found = addresses(read(options, settings), program["domain_of"])
    if not found:
        raise Wrong(
            "no address and no domain in %s"
            % (options.mailing or ", ".join(settings["lists"] if options.cron else options.list))
        )
    become(settings["user"])

    async def run():
        place = (settings["server"], settings["port"])
        made = asyncio.get_running_loop().create_datagram_endpoint(
            lambda: program["Named"](settings["questions"]), remote_addr=place
        )
        transport, named = await made
        with contextlib.closing(transport):
            done = Warm(program, named, settings, options.rate or settings["rate"])
            await done.all(found)
            return done

    done = asyncio.run(run())
    counted = collections.Counter(done.why.values())
    dead = sum(counted[reason] for reason in DEAD)
    if numbers is not None:
        row = {
            "time": int(time.time()),
            "domains": len(found),
            "cached": done.cached,
            "dead": dead,
            "unanswered": counted[NO_ANSWER],
        }
        os.pwrite(numbers, json.dumps(row).ljust(LENGTH - 1).encode() + b"\n", 0)
    if not options.cron:
        for domain in sorted(done.why, key=lambda name: (done.why[name], name)):
            for word in found[domain]:
                print("%s\t%s" % (done.why[domain], word))
        print(
            "%d domains: %d were in the cache, %d take no mail, %d without an answer now"
            % (len(found), done.cached, dead, counted[NO_ANSWER]),
            file=sys.stderr,
        )
    return 1 if dead else 3 if counted[NO_ANSWER] else 0


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="sokuhai-warm",
        description=__doc__.partition(". ")[2].partition("\n\n")[0],
        epilog=__doc__.rpartition("\n\n")[2],
    )
    parser.add_argument("list", nargs="*", help="file of addresses or domains, - for standard input")
    parser.add_argument(
        "--mailing", metavar="ID", help="the domains that a mailing went to: a queue id, or <Message-ID> in quotes"
    )
    parser.add_argument("--cron", action="store_true", help="the declared lists; print nothing")
    parser.add_argument("--rate", type=int, help="domains a second; ahead_warm_rate where it is left out")
    parser.add_argument("--settings", default=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--program", default=AHEAD, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if bool(options.list) + bool(options.mailing) + options.cron != 1:
        parser.error("one of LIST, --mailing and --cron is needed")
    if options.rate is not None and options.rate < 1:
        parser.error("--rate: 1 or more is needed")
    try:
        with open(options.settings, encoding="utf-8") as source:
            settings = json.load(source)
        program = runpy.run_path(options.program, run_name="sokuhai")
        if not options.cron:
            return warm(options, settings, program)
        if not settings["lists"]:
            raise Wrong("ahead_warm_lists is empty")
        with keep() as numbers:
            return warm(options, settings, program, numbers)
    except BlockingIOError:
        return 0  # the run before is still at work
    except (Wrong, OSError) as problem:
        if options.cron:
            # the next run would mail it again
            syslog.openlog("sokuhai-warm", 0, syslog.LOG_DAEMON)
            syslog.syslog(syslog.LOG_ERR, str(problem))
        else:
            print("sokuhai-warm: %s" % problem, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
