"""Send one message to very many recipients through a practice host, and watch it being delivered."""

import collections
import json
import os
import pathlib
import threading
import time
import uuid

from . import servers, sink
from .host import Host, HostError

ALL_BULK = "d[0-9][0-9][0-9][0-9].test"


def recipients_of(count, domains):
    """*count* addresses spread evenly over the first *domains* bulk domains."""
    return [f"user{n // domains + 1:05d}@d{n % domains + 1:04d}.test" for n in range(count)]


class Watch:
    """The sampler on the host, one process for the whole run: the peaks of what it saw, and their course as [seconds since 1970, named's sockets, smtp processes]."""

    def __init__(self, host, every=0.5):
        self.process = host.popen(*host.python("hostagent.py", "sample", every), stdin=-1, stdout=-1, stderr=-1)
        self.last, self.samples = None, 0
        self.peak, self.course = collections.Counter(), []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.last = seen = json.loads(line)
            self.samples += 1
            self.course.append([round(time.time(), 1), seen["sockets"], seen["smtp"]])
            values = {key: seen[key] for key in ("descriptors", "sockets", "smtp")}
            values.update(
                queue=sum(seen["queue"].values()),
                queue_active=seen["queue"]["active"],
                queue_deferred=seen["queue"]["deferred"],
            )
            for key, value in values.items():
                self.peak[key] = max(self.peak[key], value)

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
        self.path, self.token = pathlib.Path(path), token
        self.at = self.path.stat().st_size if self.path.exists() else 0
        self.copies = collections.Counter()
        self.first = self.last = None
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
                    self.first = self.first or entry["time"]
                    self.last = entry["time"]


def deliver(
    instance,
    folder,
    recipients,
    *,
    per_message=0,
    sender,
    token=None,
    timeout=None,
    settle=False,
    clean=False,
    name="mx.home.example",
    say=print,
):
    """Hand a message in on the host, wait for the sinks, and report.

    recipients: list of addresses. per_message: recipients of one message, 0 for all. timeout: seconds to wait at most
    (default 120 and one for every 20 recipients). settle: also stop once every recipient was delivered or deferred. clean: delete
    what is left of it in the queue. Returns a dict; `deferred` and `deferred_dns` count recipients that were deferred at any time.
    Raises HostError when the host would not take the message.
    """
    token = token or f"lab-{uuid.uuid4().hex[:16]}"
    timeout = timeout or 120 + len(recipients) / 20
    host = Host(instance, name)
    tail = Tail(folder / "sink.jsonl", token)
    offset = host.ask("log-end")["offset"]
    watch = Watch(host)
    report, shown = {}, 0
    try:
        start = time.time()
        handed = host.ask(
            "send", {"sender": sender, "recipients": recipients, "per_message": per_message, "token": token}
        )
        if handed["refused"]:
            first, why = next(iter(handed["refused"].items()))
            raise HostError(
                f"{name} refused {len(handed['refused'])} of {len(recipients)} recipients at RCPT, first {first}: {why}"
            )
        say(
            f"  handed in: {len(recipients)} recipients in {len(handed['ids'])} message(s), {handed['seconds']:.1f} s; queued as {', '.join(handed['ids'][:3])}"
        )
        ids, empty = {"ids": handed["ids"], "offset": offset}, 0
        while True:
            tail.read()
            now = time.time()
            if len(tail.copies) >= len(recipients) or now - start > timeout:
                break
            queued = sum(watch.last["queue"].values()) if watch.last else 1
            empty = empty + 1 if queued == 0 else 0
            if empty > 20:  # nothing left on the host and for seconds nothing came: what is missing stays missing
                break
            if now - shown > 5:
                shown = now
                state = watch.last or {"sockets": 0, "queue": {}}
                say(
                    f"  {now - start:5.0f} s: delivered {len(tail.copies)} of {len(recipients)}, queue "
                    f"{' '.join(f'{k} {v}' for k, v in state['queue'].items() if v) or 'empty'}, named's sockets {state['sockets']}"
                )
                if settle:
                    became = host.ask("log", ids)
                    if set(recipients) <= set(tail.copies) | set(became["deferred"]) | set(became["bounced"]):
                        break
            time.sleep(0.25)
        seconds = (tail.last or time.time()) - start if len(tail.copies) >= len(recipients) else time.time() - start
        time.sleep(1)  # a second copy would come now
        tail.read()
        became = host.ask("log", ids)
        if clean:
            for queue_id in handed["ids"]:
                host.run("sh", "-c", f"PATH=$PATH:/usr/local/sbin postsuper -d {queue_id}", check=False)
    finally:
        watch.end()
    missing = sorted(set(recipients) - set(tail.copies))
    peak = watch.peak
    report.update(
        sent=len(recipients),
        domains=len({r.rpartition("@")[2] for r in recipients}),
        messages=len(handed["ids"]),
        token=token,
        delivered=len(tail.copies),
        duplicates=sum(1 for n in tail.copies.values() if n > 1),
        missing=len(missing),
        missing_first=missing[:10],
        deferred=len(became["deferred"]),
        deferred_dns=len(became["deferred_dns"]),
        still_deferred=len(set(became["deferred"]) & set(missing)),
        bounced=len(became["bounced"]),
        reasons=dict(sorted(became["reasons"].items(), key=lambda x: -x[1])[:10]),
        seconds=round(seconds, 2),
        per_second=round(len(tail.copies) / max(0.01, seconds), 1),
        handed_in_seconds=round(handed["seconds"], 2),
        named_sockets_peak=peak["sockets"],
        named_descriptors_peak=peak["descriptors"],
        smtp_processes_peak=peak["smtp"],
        queue_peak=peak["queue"],
        queue_active_peak=peak["queue_active"],
        queue_deferred_peak=peak["queue_deferred"],
        samples=watch.samples,
        course=watch.course,
    )
    return report


def flush(host):
    """Make the host's named forget its cache, so that a second run asks again. True when it did."""
    code, _out = host.run("sh", "-c", "PATH=$PATH:/usr/local/sbin rndc flush", check=False)
    return code == 0


class Late:
    """The bulk domains' answers come so many milliseconds late while this context lasts; then as before."""

    def __init__(self, folder, milliseconds, pattern=ALL_BULK):
        self.folder, self.ms, self.pattern = folder, milliseconds, pattern

    def set(self, value):
        servers.request(self.folder, "dns", {"op": "set", "zone": self.pattern, "values": {"delay": value}})

    def __enter__(self):
        self.set(self.ms)

    def __exit__(self, *_):
        self.set(0)


def arguments(parser):
    parser.add_argument("--recipients", type=int, default=500)
    parser.add_argument("--domains", type=int, default=100, help="bulk domains they are spread over (1 to 1000)")
    parser.add_argument(
        "--per-message", type=int, default=0, help="recipients of one message (default: all in one, the article's way)"
    )
    parser.add_argument(
        "--late",
        type=float,
        default=1000,
        help="milliseconds that the answers about their domains come late (default 1000)",
    )
    parser.add_argument("--sender", default="postmaster@home.example")
    parser.add_argument("--host", default="mx.home.example")
    parser.add_argument("--token", help="identifies the run in the sinks' log (default: made)")
    parser.add_argument(
        "--timeout", type=float, help="seconds to wait at most (default: 120 and one for every 20 recipients)"
    )
    parser.add_argument(
        "--keep-cache", action="store_true", help="do not make named forget what it knows before the run"
    )
    parser.add_argument("--json", help="write the report to this file")


def write(path, report):
    if path:
        servers.save(path, report)
    else:
        print(
            json.dumps({key: value for key, value in report.items() if key != "course"}, indent=1)
        )  # hundreds of lines, for a file only


def main(options):
    if not 1 <= options.domains <= 1000 or options.recipients < 1:
        raise ValueError("--domains: 1 to 1000; --recipients: at least 1")
    folder = pathlib.Path(options.instance_dir or f"/run/sokuhai-lab/{options.instance}")
    if not (folder / "internet.ready").exists():
        raise ValueError(
            f"the servers of instance {options.instance} do not run ({folder}/internet.ready is missing): lab up"
        )
    recipients = recipients_of(options.recipients, min(options.domains, options.recipients))
    host = Host(options.instance, options.host)

    def say(text):
        print(text, flush=True)

    flushed = False if options.keep_cache else flush(host)
    say(
        f"  {len(recipients)} recipients in {min(options.domains, options.recipients)} domains, answers about them {options.late:.0f} ms late"
        f"{'; named begins with an empty cache' if flushed else ''}"
    )
    with Late(folder, options.late):
        report = deliver(
            options.instance,
            folder,
            recipients,
            per_message=options.per_message,
            sender=options.sender,
            token=options.token,
            timeout=options.timeout,
            name=options.host,
            say=say,
        )
    report.update(
        late_ms=options.late, cache_flushed=flushed, machine={"cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    )
    write(options.json, report)
    say(
        f"  delivered {report['delivered']} of {report['sent']} in {report['seconds']} s, twice {report['duplicates']}, missing {report['missing']}, "
        f"deferred at some time {report['deferred']} (for DNS reasons {report['deferred_dns']}); named's sockets at most {report['named_sockets_peak']}"
    )
    return 1 if report["missing"] or report["duplicates"] else 0


__all__ = ["arguments", "deliver", "main", "recipients_of", "sink"]
