# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The arms: ways to get the same message out of the same practice host. How to add one: README.md."""

import contextlib
import json
import pathlib

from labkit.internet import compare
from labkit.internet.host import HostError

ARMS = {}
#: Address of the practice host on which a stock named answers, where its own has the loopback.
OUTER = compare.OUTER


def arm(cls):
    """Register a subclass of Arm by its name, in the order of the page."""
    ARMS[cls.name] = cls()
    return cls


class Arm:
    """One way to send; subclasses set these.

    name: as ARMS= and the results have it. what: one sentence, as the page has it. mta: whose program delivers.
    resolver: own (the host's named), provider, free (a resolver of a provider that does not limit), stock (a stock named on the host), none.
    warm: the answers about all recipient domains are in named's cache when the message is handed in.
    log: "postfix" where /var/log/maillog says what became of each recipient, None where it is not read.
    spool: the queue's directory, counted for the peaks; process: name of the processes that deliver, as ps -o comm has it.
    """

    name = what = ""
    mta = "Postfix"
    resolver = "own"
    warm = False
    port = 25
    log = "postfix"
    spool = "/var/spool/postfix"
    process = "smtp"

    def job(self, bench):
        """What the host is held in: the job of onhost.py. The host's own Postfix is stopped meanwhile."""
        raise NotImplementedError

    def prepare(self, bench):
        """Called once, before the first round."""

    @contextlib.contextmanager
    def held(self, bench):
        """The practice host speaks SMTP for this arm on self.port of 127.0.0.1 while this context lasts; then as before."""
        job = {"port": self.port, **self.job(bench)}
        nameserver = {"provider": compare.PROVIDER, "free": compare.PROVIDER, "stock": OUTER}.get(self.resolver)
        if nameserver:
            job["put"] = {"/etc/resolv.conf": f"nameserver {nameserver}\n", **job.get("put", {})}
        with contextlib.ExitStack() as stack:
            if self.resolver == "stock":
                stack.enter_context(compare.held_named(bench.host, bench.dns, OUTER))
            stack.enter_context(holding(bench.host, job))
            yield


@contextlib.contextmanager
def holding(host, job):
    """Have onhost.py hold the job. Raises HostError with what went wrong on the host, at the beginning or when putting back."""
    process = host.popen(*host.python(pathlib.Path(__file__).with_name("onhost.py")), stdin=-1, stdout=-1, stderr=-1)

    def answer(wanted):
        line = process.stdout.readline()
        found = json.loads(line) if line else {"error": process.stderr.read()[-500:]}
        if wanted not in found:
            raise HostError(f"{host.name}: {found.get('error', found)}")

    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer("ready")
        yield
        process.stdin.close()
        answer("back")
    finally:
        process.stdin.close()
        process.wait(120)
        process.stdout.close()
        process.stderr.close()
