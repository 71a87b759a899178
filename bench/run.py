# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One run of one arm."""

import contextlib
import json
import os
import pathlib
import subprocess
import time
import uuid

from labkit.files import record
from labkit.internet import mail, servers
from labkit.internet.host import LAB, Host, HostError
from labkit.internet.zones import MORE

from .population import KINDS

SENDER = mail.SENDER
#: Seconds after which a run ends, whatever is missing, and for which a complete one goes on: a second copy would come now.
LIMIT, AFTER = 240, 2
#: Share of the accepting recipients after which a run ends as well when nobody was served for so many seconds: the rest waits for its second attempt.
ENOUGH, QUIET = 0.99, 20
POINTS = 120


class Bench:
    """What the arms share. instance: the lab's name; people: the Population; host, folder, dns: see README.md."""

    prepared = set()

    def __init__(self, instance, people, say=print):
        self.instance, self.people, self.say = instance, people, say
        self.folder = pathlib.Path("/run/sokuhai-lab") / instance
        self.host = Host(instance)

    @property
    def dns(self):
        return json.loads((self.folder / "dns.json").read_text())

    def ask(self, part, **message):
        return servers.request(self.folder, part, message, timeout=30)

    def restarted(self):
        env = {**os.environ, "SOKUHAI_LAB": self.instance}
        done = subprocess.run([LAB, "internet"], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(done.stdout + done.stderr)

    @contextlib.contextmanager
    def internet(self):
        """The simulated internet has the population's servers while this context lasts."""
        path = self.folder / MORE
        record(path, self.people.more)
        try:
            self.restarted()
            yield
        finally:
            path.unlink()
            self.restarted()


class Busy:
    """Share of the machine's processors in use since it was made."""

    def __init__(self):
        self.then = self.read()

    def read(self):
        with open("/proc/stat") as file:
            ticks = list(map(int, file.readline().split()[1:9]))
        return sum(ticks), ticks[3] + ticks[4]

    def share(self):
        total, idle = (now - then for now, then in zip(self.read(), self.then))
        return round(1 - idle / total, 3) if total else 0.0


def curve(times):
    """[[seconds, how many by then], …], thinned out to POINTS at most, the first and the last among them. times: seconds."""
    counted = {}
    for n, at in enumerate(sorted(times), 1):
        counted[round(at, 2)] = n
    found = list(map(list, counted.items()))
    step = -(-len(found) // (POINTS - 1)) if found else 1
    return found[:-1:step] + found[-1:]


def reached(times, count):
    """Seconds until 50, 95, 99 and 100 % of *count* recipients were served, by percentage; None where they were not."""
    times = sorted(times)
    needed = {percent: -(-count * percent // 100) for percent in (50, 95, 99, 100)}
    return {str(percent): round(times[n - 1], 2) if 0 < n <= len(times) else None for percent, n in needed.items()}


def warmed(bench):
    """Have the host's named know the domains by the program that a user would use."""
    run = ["sh", "-c", "PATH=$PATH:/usr/local/bin:/usr/local/sbin sokuhai-warm --rate 500 - >/dev/null"]
    code, _out = bench.host.run(*run, stdin="\n".join(bench.people.recipients), check=False, timeout=300)
    # 1 and 3: what it says of dead addresses is not what is measured
    if code not in (0, 1, 3):
        raise HostError(f"{bench.host.name}: sokuhai-warm: exit code {code}")


def cold(bench, arm):
    """Every cache empty, the resolver as the arm wants it, no mail server that remembers anybody."""
    bench.ask("dns", op="reset")
    if arm.resolver in bench.people.resolvers:
        bench.ask("dns", op="resolver", values=bench.people.resolvers[arm.resolver])
    bench.ask("dns", op="forget")
    bench.ask("sink", op="forget")
    mail.flush(bench.host)


def spent(bench):
    """Processor seconds so far: (those of the host's processes by their names, {sinks, names})."""
    more = {name: bench.ask(part, op="show")["cpu"] for name, part in (("sinks", "sink"), ("names", "dns"))}
    return bench.host.ask("cpu"), more


def used(before, after):
    """The CPU of a RUN from spent() before and after."""
    names = {*before[0], *after[0]}
    by = {name: round(after[0].get(name, 0) - before[0].get(name, 0), 2) for name in names}
    more = {name: round(after[1][name] - before[1][name], 2) for name in after[1]}
    most = sorted(by.items(), key=lambda one: -one[1])[:6]
    return {"host": round(sum(by.values()), 2), **more}, dict(most)


def measured(bench, arm, limit=LIMIT):
    """One run of an arm, as README.md describes a RUN. Raises HostError when the arm cannot be set up or put back."""
    cold(bench, arm)
    with arm.held(bench):
        if arm.warm:
            warmed(bench)
        token = f"bench-{uuid.uuid4().hex[:16]}"
        tail = mail.Tail(bench.folder / "sink.jsonl", token)
        offset = bench.host.ask("log-end")["offset"]
        watch = mail.Watch(bench.host, 1, arm.process, arm.spool)
        try:
            before, busy, start = spent(bench), Busy(), time.time()
            job = {"sender": SENDER, "recipients": bench.people.recipients, "token": token, "port": arm.port}
            sent = bench.host.ask("send", job, timeout=limit)
            if sent["refused"]:
                who, why = next(iter(sent["refused"].items()))
                raise HostError(f"{arm.name}: {len(sent['refused'])} recipients rejected, the first {who}: {why}")
            over = not followed(tail, bench.people.of("accepting"), start + limit)
            share, after = busy.share(), spent(bench)
            became = bench.host.ask("log", {**sent, "offset": offset}) if arm.log else None
        finally:
            watch.end()
        tail.read()
        tried = bench.ask("sink", op="tried")["tried"]
    cpu, by = used(before, after)
    return {
        "arm": arm.name,
        **told(bench.people, {who: at - start for who, at in tail.times.items()}),
        "twice": sum(1 for n in tail.copies.values() if n > 1),
        "over": over,
        "handed_in": round(sent["seconds"], 2),
        "deferred": became and len(became["deferred"]),
        "deferred_dns": became and len(became["deferred_dns"]),
        "reasons": became and dict(sorted(became["reasons"].items(), key=lambda one: -one[1])[:5]),
        "cpu": cpu,
        "cpu_by": by,
        "per_cpu": round(len(tail.copies) / max(0.01, cpu["host"]), 1),
        "busy": share,
        "peaks": {name: watch.peak[name] for name in ("smtp", "sockets", "queue")},
        "tried": curve([at - start for at in tried.values()]),
        "dead_tried": curve([became["deferred"][who] for who in bench.people.of("dead") if who in became["deferred"]])
        if became
        else None,
    }


def told(people, times):
    """What the times say, {recipient: seconds}: the parts of a RUN that follow from them alone."""
    kinds = {kind: people.of(kind) for kind in KINDS}
    served = {kind: [times[who] for who in who_of if who in times] for kind, who_of in kinds.items()}
    return {
        "recipients": len(people.recipients),
        "domains": len(people.kind),
        "kinds": {kind: len(who) for kind, who in kinds.items()},
        "served": {kind: len(found) for kind, found in served.items()},
        "seconds": reached(served["accepting"], len(kinds["accepting"])),
        "curves": {kind: curve(found) for kind, found in served.items() if kind != "dead"},
    }


def followed(tail, wanted, until):
    """Whether all of *wanted*, or enough of them and nobody for a while, were served before *until* (seconds since 1970)."""
    while time.time() < until:
        tail.read()
        missing = len(wanted - tail.copies.keys())
        if not missing:
            time.sleep(AFTER)
            return True
        if missing <= (1 - ENOUGH) * len(wanted) and time.time() - tail.last > QUIET:
            return True
        time.sleep(0.2)
    return False


def keep_one(bench, arm, number, keep):
    """One run of an arm in the round of that number. keep: called with the RUN, or with {arm, round, failed} where it was not possible."""
    began = time.monotonic()
    try:
        if arm.name not in bench.prepared:
            arm.prepare(bench)
            bench.prepared.add(arm.name)
        found = {"round": number, **measured(bench, arm)}
    except (OSError, subprocess.SubprocessError) as error:
        found = {"round": number, "arm": arm.name, "failed": str(error)[-500:]}
    keep(found)
    bench.say(f"  {line(found)}; {time.monotonic() - began:.0f} s in all")


def line(run):
    """A RUN in a line."""
    if "failed" in run:
        return f"{run['arm']:15} failed: {run['failed']}"
    ends = "over" if run["over"] else "complete"
    seconds = " ".join(f"{percent} % {at if at is not None else '-'}" for percent, at in run["seconds"].items())
    return (
        f"{run['arm']:15} {ends}: served {run['served']['accepting']} of {run['kinds']['accepting']}; {seconds} s; handed in {run['handed_in']} s;"
        f" for DNS reasons {run['deferred_dns']}; CPU {run['cpu']['host']} s host, {run['cpu']['sinks']} s sinks; busy {run['busy']}"
    )
