# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The arms: ways to get the same message out of the same practice host. How to add one: README.md."""

import contextlib
import json
import pathlib

import yaml
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
    spool = "/var/tmp/sokuhai-bench/queue"
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


# ---- this project's own

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG, OWN = "/usr/local/etc/postfix", "@FOLDER@/etc"
#: What a Postfix of the arm's own has for itself, whatever its configuration.
PLACE = {"queue_directory": "@FOLDER@/queue", "data_directory": "@FOLDER@/data"}
#: The least that the package's main.cf leaves to its reader.
NAMES = {"myhostname": "mx.home.example", "mydomain": "home.example", "myorigin": "$mydomain"}


def postfix(copy, values, files=None):
    """The job of a Postfix with a queue of its own. copy: commands that make its configuration directory; values: main.cf's, over those."""
    settings = [f"{name}={value}" for name, value in (PLACE | values).items()]
    return {
        "stop": ["postfix"],
        "files": files or {},
        "start": [
            *copy,
            ["install", "-d", PLACE["queue_directory"]],
            ["install", "-d", "-o", "postfix", "-m", "700", PLACE["data_directory"]],
            ["postconf", "-c", OWN, "-e", *settings],
            *(["postmap", f"-c{OWN}", f"hash:@FOLDER@/{name}"] for name in files or {}),
            ["postfix", "-c", OWN, "start"],
        ],
        "end": [["postfix", "-c", OWN, "stop"]],
    }


def stock(**values):
    """The package's own main.cf and master.cf, with the least of names."""
    copy = [["mkdir", OWN]]
    copy += [["cp", f"{CONFIG}/{name}.sample", f"{OWN}/{name}"] for name in ("main.cf", "master.cf")]
    return postfix(copy, NAMES | values)


def ours(files=None, **values):
    """The host's configuration as it was provisioned."""
    return postfix([["cp", "-Rp", CONFIG, OWN]], values, files)


class Stock(Arm):
    def job(self, bench):
        return stock()


@arm
class StockProvider(Stock):
    name = "stock-provider"
    what = "Postfix as its package configures it, asking the provider's resolver, which answers a customer 100 times a second"
    resolver = "provider"


@arm
class StockFree(Stock):
    name = "stock-free"
    what = "The same, asking a provider's resolver that has no limit"
    resolver = "free"


@arm
class StockNamed(Stock):
    name = "stock-named"
    what = "The same, asking a named of its own, as its package configures that"
    resolver = "stock"


@arm
class Article(Arm):
    name = "article"
    what = "Postfix as its package configures it with the article's seven values, asking the host's named as this project provisions it"

    def job(self, bench):
        items = yaml.safe_load((ROOT / "roles/postfix/vars/main.yml").read_text())["__postfix_main_article"]
        return stock(**{one["name"]: 500 if "{{" in str(one["value"]) else one["value"] for one in items})


@arm
class Ours(Arm):
    name = "ours"
    what = "The host as this project provisions it, profile current, sokuhai_ahead; named knows nothing yet"

    def job(self, bench):
        return ours()


@arm
class Warm(Ours):
    name = "ours-warm"
    what = "The same, after sokuhai-warm with the list of recipients"
    warm = True


#: Has so many smtp(8) started: master(8) starts one at a time, for a connection that nobody accepts, and each says so when it has it.
READY = """#!/usr/local/bin/python3
import select, socket, sys, time
path, count = sys.argv[1], int(sys.argv[2])
held, until = [], time.monotonic() + 120
for _n in range(count):
    one = socket.socket(socket.AF_UNIX)
    one.connect(path)
    if not select.select([one], [], [], until - time.monotonic())[0]:
        sys.exit("smtp(8) number %d does not come" % _n)
    held.append(one)
"""


@arm
class Ready(Warm):
    name = "ours-ready"
    what = "The same as ours-warm, with 450 smtp(8) processes already running, as within 100 s of another message to so many (max_idle)"

    def job(self, bench):
        job = ours()
        job["files"]["ready"] = READY
        job["start"].append(["@FOLDER@/ready", "@FOLDER@/queue/private/smtp", "450"])
        return job


@arm
class Ceiling(Arm):
    name = "ceiling"
    what = "The same without DNS: each domain's route in transport(5), its mail server's address in /etc/hosts"
    resolver = "none"

    def job(self, bench):
        # an address as next hop would have all domains of a hoster share their transactions
        routes = "".join(f"{domain} smtp:[{domain}]\n" for domain in bench.people.server)
        hosts = "".join(f"{address} {domain}\n" for domain, address in bench.people.server.items())
        # who hands in is in mynetworks; nothing is looked up ahead
        job = ours(
            {"transport": routes},
            transport_maps="hash:@FOLDER@/transport",
            smtp_host_lookup="native",
            smtpd_recipient_restrictions="permit_mynetworks, reject",
        )
        return job | {"put": {"/etc/hosts": bench.host.run("cat", "/etc/hosts")[1] + hosts}}
