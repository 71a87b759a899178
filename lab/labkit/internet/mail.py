"""Send one message to very many recipients through a practice host, and watch it being delivered."""

import collections
import contextlib
import functools
import json
import os
import threading
import time
import uuid

from ..files import record
from . import servers
from .host import Host, HostError

SENDER = "postmaster@home.example"
ALL_BULK = "d[0-9][0-9][0-9][0-9].test"


def recipients_of(count, domains):
    """*count* addresses spread evenly over the first *domains* bulk domains."""
    return [f"user{n // domains + 1:05d}@d{n % domains + 1:04d}.test" for n in range(count)]


class Watch:
    """The sampler on the host, one process for the whole run: the peaks of what it saw, and their course as [seconds since 1970, named's sockets, smtp processes]."""

    def __init__(self, host, every=0.5, *what):
        """what: the name of the processes that deliver, and the queue's directory, where they are not Postfix's own."""
        self.process = host.popen(*host.python("hostagent.py", "sample", every, *what), stdin=-1, stdout=-1, stderr=-1)
        self.last, self.samples = None, 0
        self.peak, self.course = collections.Counter(), []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.last = seen = json.loads(line)
            self.samples += 1
            self.course.append([round(time.time(), 1), seen["sockets"], seen["smtp"]])
            queue = seen["queue"]
            values = {key: seen[key] for key in ("descriptors", "sockets", "smtp")}
            values.update(queue=sum(queue.values()), queue_active=queue["active"], queue_deferred=queue["deferred"])
            self.peak |= collections.Counter(values)

    def end(self):
        """Stop it. Raises HostError when it saw nothing: then no peak was measured."""
        error = ""
        try:
            self.process.stdin.close()
            self.process.wait(10)
            error = self.process.stderr.read()
        finally:
            if self.process.poll() is None:
                self.process.kill()
        self.thread.join(5)
        if not self.samples:
            raise HostError(f"the sampler on the host saw nothing: {error.strip()[-300:]}")


class Tail:
    """Counts what the sinks write down for a token, from where the log ends now."""

    def __init__(self, path, token):
        self.path, self.token = path, token
        self.at = path.stat().st_size if path.exists() else 0
        self.copies = collections.Counter()
        self.times = {}
        self.last = None
        self.rest = b""

    def read(self):
        if not self.path.exists():
            return
        with open(self.path, "rb") as log:
            log.seek(self.at)
            data = self.rest + log.read()
            self.at = log.tell()
        *lines, self.rest = data.split(b"\n")
        for line in lines:
            if self.token.encode() in line:
                entry = json.loads(line)
                if entry.get("token") == self.token:
                    self.copies[entry["recipient"]] += 1
                    self.times.setdefault(entry["recipient"], entry["time"])
                    self.last = entry["time"]


def deliver(host, folder, recipients, *, timeout=None, settle=False, clean=False, say=print, asked=()):
    """Submit a message on the host, wait for the sinks, and report.

    recipients: list of addresses. timeout: seconds to wait at most (default 120 and one for every 20 recipients). settle: also stop
    once every recipient was delivered or deferred. clean: delete what is left of it in the queue. asked: what follows MAIL FROM, as XVERP. Returns a dict;
    `deferred` and `deferred_dns` count recipients that were deferred at any time. Raises HostError when the host does not accept the message.
    """
    token = f"lab-{uuid.uuid4().hex[:16]}"
    tail = Tail(folder / "sink.jsonl", token)
    offset = host.ask("log-end")["offset"]
    watch = Watch(host)
    try:
        start = time.time()
        sent = host.ask("send", {"sender": SENDER, "recipients": recipients, "token": token, "asked": asked})
        if sent["refused"]:
            first, why = next(iter(sent["refused"].items()))
            raise HostError(
                f"{host.name} rejected {len(sent['refused'])} of {len(recipients)} recipients at RCPT, first {first}: {why}"
            )
        say(f"  submitted: {len(recipients)} recipients in {sent['seconds']:.1f} s; queued as {sent['id']}")
        message = {"id": sent["id"], "offset": offset}
        follow(host, message, set(recipients), tail, watch, timeout or 120 + len(recipients) / 20, settle, say)
        complete = len(tail.copies) >= len(recipients)
        seconds = (tail.last if complete else time.time()) - start
        time.sleep(1)  # a second copy would come now
        tail.read()
        became = host.ask("log", message)
        if clean:
            host.run("sh", "-c", f"PATH=$PATH:/usr/local/sbin postsuper -d {sent['id']}", check=False)
    finally:
        watch.end()
    missing = sorted(set(recipients) - set(tail.copies))
    return {
        "sent": len(recipients),
        "domains": len({r.rpartition("@")[2] for r in recipients}),
        "token": token,
        "delivered": len(tail.copies),
        "duplicates": sum(1 for n in tail.copies.values() if n > 1),
        "missing": len(missing),
        "missing_first": missing[:10],
        "deferred": len(became["deferred"]),
        "deferred_dns": len(became["deferred_dns"]),
        "still_deferred": len(set(became["deferred"]) & set(missing)),
        "bounced": len(became["bounced"]),
        "reasons": dict(sorted(became["reasons"].items(), key=lambda x: -x[1])[:10]),
        "seconds": round(seconds, 2),
        "per_second": round(len(tail.copies) / max(0.01, seconds), 1),
        "handed_in_seconds": round(sent["seconds"], 2),
        "named_sockets_peak": watch.peak["sockets"],
        "named_descriptors_peak": watch.peak["descriptors"],
        "smtp_processes_peak": watch.peak["smtp"],
        "queue_peak": watch.peak["queue"],
        "queue_active_peak": watch.peak["queue_active"],
        "queue_deferred_peak": watch.peak["queue_deferred"],
        "samples": watch.samples,
        "course": watch.course,
    }


def follow(host, message, recipients, tail, watch, timeout, settle, say):
    """Until all recipients have it, or nothing more is to be expected."""
    start, shown, empty = time.time(), 0, 0
    while True:
        tail.read()
        now = time.time()
        if len(tail.copies) >= len(recipients) or now - start > timeout:
            return
        queued = sum(watch.last["queue"].values()) if watch.last else 1
        empty = empty + 1 if queued == 0 else 0
        if empty > 20:  # nothing left on the host and for seconds nothing came: what is missing stays missing
            return
        if now - shown > 5:
            shown = now
            state = watch.last or {"sockets": 0, "queue": {}}
            queue = " ".join(f"{name} {count}" for name, count in state["queue"].items() if count)
            say(
                f"  {now - start:5.0f} s: delivered {len(tail.copies)} of {len(recipients)}, queue {queue or 'empty'}, "
                f"named's sockets {state['sockets']}"
            )
            if settle:
                became = host.ask("log", message)
                if recipients <= {*tail.copies, *became["deferred"], *became["bounced"]}:
                    return
        time.sleep(0.25)


def flush(host):
    """Make the host's named forget its cache, so that a second run asks again. True when it did."""
    code, _out = host.run("sh", "-c", "PATH=$PATH:/usr/local/sbin rndc flush", check=False)
    return code == 0


@contextlib.contextmanager
def late(folder, milliseconds, pattern=ALL_BULK):
    """The bulk domains' answers come so many milliseconds late while this context lasts; then as before."""
    request = {"op": "set", "zone": pattern}
    servers.request(folder, "dns", {**request, "values": {"delay": milliseconds}})
    try:
        yield
    finally:
        servers.request(folder, "dns", {**request, "values": {"delay": 0}})


def arguments(parser):
    parser.add_argument("--recipients", type=int, default=500)
    parser.add_argument("--domains", type=int, default=100, help="bulk domains they are spread over (1 to 1000)")
    parser.add_argument(
        "--late",
        type=float,
        default=1000,
        help="milliseconds that the answers about their domains come late (default 1000)",
    )
    parser.add_argument(
        "--timeout", type=float, help="seconds to wait at most (default: 120 and one for every 20 recipients)"
    )
    parser.add_argument("--json", help="write the report to this file")


def write(path, report):
    if path:
        record(path, report)
    else:
        # the course is hundreds of lines, for a file only
        print(json.dumps({key: value for key, value in report.items() if key != "course"}, indent=1))


def main(options):
    if not 1 <= options.domains <= 1000 or options.recipients < 1:
        raise ValueError("--domains: 1 to 1000; --recipients: at least 1")
    folder = options.folder
    if not (folder / "internet.ready").exists():
        raise ValueError(
            f"the servers of instance {options.instance} do not run ({folder}/internet.ready is missing): lab up"
        )
    domains = min(options.domains, options.recipients)
    recipients = recipients_of(options.recipients, domains)
    host = Host(options.instance)
    say = functools.partial(print, flush=True)
    flushed = flush(host)
    say(
        f"  {len(recipients)} recipients in {domains} domains, answers about them {options.late:.0f} ms late"
        f"{'; named begins with an empty cache' if flushed else ''}"
    )
    with late(folder, options.late):
        report = deliver(host, folder, recipients, timeout=options.timeout, say=say)
    report.update(
        late_ms=options.late, cache_flushed=flushed, machine={"cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    )
    write(options.json, report)
    say(
        f"  delivered {report['delivered']} of {report['sent']} in {report['seconds']} s, twice {report['duplicates']}, missing {report['missing']}, "
        f"deferred at some time {report['deferred']} (for DNS reasons {report['deferred_dns']}); named's sockets at most {report['named_sockets_peak']}"
    )
    return 1 if report["missing"] or report["duplicates"] else 0
