"""What the load tools do inside a practice host, or a FreeBSD in its place: submit mail, sample queue and sockets, read the log.

Sent there as text and run by whatever Python the host has; standard library only. Each mode prints JSON lines.
"""

import collections
import contextlib
import email.utils
import json
import os
import re
import select
import smtplib
import subprocess
import sys
import time

# a practice host says that it is FreeBSD, but its kernel is not
LINUX = os.path.exists("/proc/self/comm")
SPOOL = "/var/spool/postfix"
MAILLOG = "/var/log/maillog"
STATUS = re.compile(
    r"postfix[^ ]*/\w+\[\d+\]: ([0-9A-Za-z]+): to=<([^>]*)>, .*?delay=([0-9.]+), .*?dsn=([0-9.]+), status=(\w+) \((.*)\)$"
)
# in what three MTAs answer to the final dot
QUEUED = re.compile(rb"queued as (\w+)|\bid=([\w-]+)|^(?:[0-9.]+ )?([0-9a-f]{8}) ")
DNS = re.compile(r"Name service error|Host not found|Host or domain name not found|nameserver", re.I)


def printed(*command):
    """Lines that a command of FreeBSD prints; its failure is an answer, too: the process has ended."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, check=False
    ).stdout.splitlines()


def pids(name):
    if not LINUX:
        return [int(line) for line in printed("/bin/pgrep", "-x", name)]
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/comm" % entry) as comm:
            if comm.read().strip() == name:
                found.append(int(entry))
    return found


def sockets(pid):
    """(descriptors, sockets among them) that a process holds."""
    if not LINUX:
        # procstat(1): FD is a number for a descriptor, T is its type, s a socket
        fields = map(str.split, printed("/usr/bin/procstat", "-h", "fd", str(pid)))
        types = [kind for _pid, _comm, fd, kind, *_ in fields if fd.isdigit()]
        return len(types), types.count("s")
    targets = []
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc/%d/fd" % pid):
            targets.append("")
            with contextlib.suppress(OSError):
                targets[-1] = os.readlink(entry.path)
    return len(targets), sum(target.startswith("socket:") for target in targets)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def cpu():
    """Processor seconds so far of all processes of a practice host, by their names, ended ones with whoever waited for them; but not of what `lab sh`
    brought in: that has no ancestor here."""
    seconds, parents, names = {}, {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % entry) as stat:
            name, _, rest = stat.read().partition(" (")[2].rpartition(") ")
            fields = rest.split()
            parents[int(entry)], seconds[int(entry)] = int(fields[1]), sum(map(int, fields[11:15]))
            names[int(entry)] = name

    def ours(pid):
        while pid not in (0, 1):
            pid = parents.get(pid, 0)
        return pid == 1

    found = collections.Counter()
    for pid, ticks in seconds.items():
        if ours(pid):
            found[names[pid]] += ticks / os.sysconf("SC_CLK_TCK")
    return found


def queue(spool):
    return {
        name: sum(len(files) for _folder, _dirs, files in os.walk(spool + "/" + name))
        for name in ("maildrop", "incoming", "active", "deferred", "hold")
    }


def sample(every, process="smtp", spool=SPOOL):
    """A line of measurements every so many seconds until stdin ends. process: name of those that deliver; spool: the queue's directory."""
    known = []
    while True:
        if not known or not all(map(alive, known)):
            known = pids("named")
        held = [sockets(p) for p in known]
        print(
            json.dumps(
                {
                    "time": time.time(),
                    "named": len(known),
                    "descriptors": max([h[0] for h in held], default=0),
                    "sockets": max([h[1] for h in held], default=0),
                    "smtp": len(pids(process)),
                    "queue": queue(spool),
                }
            ),
            flush=True,
        )
        if select.select([0], [], [], every)[0] and not os.read(0, 4096):
            return


def send(job):
    """Submit a message by SMTP on the loopback (port: 25; asked: words after MAIL FROM), unless a recipient is rejected; prints its queue id, who was rejected, and
    how long it took.

    Where the server answers 452 (RFC 5321, 4.5.3.1.10: no more recipients) the rest goes into another transaction; ids are of all of them.
    """
    text = (
        "From: <%s>\r\nTo: undisclosed-recipients:;\r\nSubject: Practice alert\r\nX-Lab-Token: %s\r\nMessage-ID: <%s.0@lab>\r\n"
        "Date: %s\r\n\r\nThis is a practice alert.\r\n"
        % (job["sender"], job["token"], job["token"], email.utils.formatdate())
    )
    start, ids, left, refused = time.time(), [], collections.deque(job["recipients"]), {}
    with smtplib.SMTP("127.0.0.1", job.get("port", 25), local_hostname="localhost", timeout=600) as server:
        server.ehlo()
        while left and not refused:
            code, answer = server.mail(job["sender"], job.get("asked", ()))
            if code != 250:
                refused[job["sender"]] = "%d %s" % (code, answer.decode())
                break
            accepted = 0
            while left:
                code, answer = server.rcpt(left[0])
                if code == 452 and accepted:
                    break
                if code not in (250, 251):
                    refused[left[0]] = "%d %s" % (code, answer.decode())
                accepted += 1
                left.popleft()
            if refused:
                break
            code, answer = server.data(text)
            if code != 250:
                raise SystemExit("DATA: %d %s" % (code, answer.decode()))
            found = QUEUED.search(answer)
            ids.append(next(filter(None, found.groups())).decode() if found else "")
    if refused:
        print(json.dumps({"refused": refused}))
    else:
        print(json.dumps({"id": ids[0], "ids": ids, "refused": {}, "seconds": time.time() - start}))


def log_end():
    """Size of the maillog: where what is logged from now on starts."""
    print(json.dumps({"offset": os.path.getsize(MAILLOG) if os.path.exists(MAILLOG) else 0}))


def log(job):
    """What became of the recipients of a message (id), or of some (ids), by the maillog from an offset on: {recipient: seconds until then, at first}."""
    ids = job.get("ids") or [job["id"]]
    found = {"deferred": {}, "deferred_dns": {}, "bounced": {}}
    reasons = collections.Counter()
    with open(MAILLOG, errors="replace") as lines:
        # newsyslog may have begun a new file meanwhile
        lines.seek(job["offset"] if os.path.getsize(MAILLOG) >= job["offset"] else 0)
        for match in filter(None, map(STATUS.search, lines)):
            queue_id, recipient, delay, dsn, status, text = match.groups()
            if queue_id not in ids or status == "sent":
                continue
            found["bounced" if status == "bounced" else "deferred"].setdefault(recipient, float(delay))
            if status != "bounced" and (dsn == "4.4.3" or DNS.search(text)):
                found["deferred_dns"].setdefault(recipient, float(delay))
            text = re.sub(r"\S*\.(test|example)\b\S*|\[[^\]]*\](:\d+)?", "…", text)
            reasons["%s %s" % (dsn, text[:160])] += 1
    print(json.dumps({**found, "reasons": reasons}))


def main():
    mode = sys.argv[1]
    if mode == "sample":
        sample(float(sys.argv[2]), *sys.argv[3:])
    elif mode == "cpu":
        print(json.dumps(cpu()))
    elif mode == "log-end":
        log_end()
    else:
        {"send": send, "log": log}[mode](json.load(sys.stdin))


if __name__ == "__main__":
    main()
