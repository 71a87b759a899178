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
STATUS = re.compile(r"postfix[^ ]*/\w+\[\d+\]: ([0-9A-Za-z]+): to=<([^>]*)>, .*?dsn=([0-9.]+), status=(\w+) \((.*)\)$")
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


def queue():
    return {
        name: sum(len(files) for _folder, _dirs, files in os.walk(SPOOL + "/" + name))
        for name in ("maildrop", "incoming", "active", "deferred", "hold")
    }


def sample(every):
    """A line of measurements every so many seconds until stdin ends."""
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
                    "smtp": len(pids("smtp")),
                    "queue": queue(),
                }
            ),
            flush=True,
        )
        if select.select([0], [], [], every)[0] and not os.read(0, 4096):
            return


def send(job):
    """Submit one message by SMTP on the loopback, unless a recipient is rejected; prints its queue id, who was rejected, and how long it took."""
    text = (
        "From: <%s>\r\nTo: undisclosed-recipients:;\r\nSubject: Practice alert\r\nX-Lab-Token: %s\r\nMessage-ID: <%s.0@lab>\r\n"
        "Date: %s\r\n\r\nThis is a practice alert.\r\n"
        % (job["sender"], job["token"], job["token"], email.utils.formatdate())
    )
    start = time.time()
    with smtplib.SMTP("127.0.0.1", 25, local_hostname="localhost", timeout=600) as server:
        server.ehlo()
        answers = [(job["sender"], server.mail(job["sender"]))]
        answers += [(recipient, server.rcpt(recipient)) for recipient in job["recipients"]]
        refused = {who: "%d %s" % (code, answer.decode()) for who, (code, answer) in answers if code not in (250, 251)}
        if refused:
            print(json.dumps({"refused": refused}))
            return
        code, answer = server.data(text)
    if code != 250:
        raise SystemExit("DATA: %d %s" % (code, answer.decode()))
    queue_id = re.search(rb"queued as (\w+)", answer).group(1).decode()
    print(json.dumps({"id": queue_id, "refused": {}, "seconds": time.time() - start}))


def log_end():
    """Size of the maillog: where what is logged from now on starts."""
    print(json.dumps({"offset": os.path.getsize(MAILLOG) if os.path.exists(MAILLOG) else 0}))


def log(job):
    """What became of a message's recipients, by the maillog from an offset on."""
    found = {"deferred": set(), "deferred_dns": set(), "bounced": set()}
    reasons = collections.Counter()
    with open(MAILLOG, errors="replace") as lines:
        # newsyslog may have begun a new file meanwhile
        lines.seek(job["offset"] if os.path.getsize(MAILLOG) >= job["offset"] else 0)
        for match in filter(None, map(STATUS.search, lines)):
            queue_id, recipient, dsn, status, text = match.groups()
            if queue_id != job["id"] or status == "sent":
                continue
            found["bounced" if status == "bounced" else "deferred"].add(recipient)
            if status != "bounced" and (dsn == "4.4.3" or DNS.search(text)):
                found["deferred_dns"].add(recipient)
            text = re.sub(r"\S*\.(test|example)\b\S*|\[[^\]]*\](:\d+)?", "…", text)
            reasons["%s %s" % (dsn, text[:160])] += 1
    print(json.dumps({**{name: sorted(who) for name, who in found.items()}, "reasons": reasons}))


def main():
    mode = sys.argv[1]
    if mode == "sample":
        sample(float(sys.argv[2]))
    elif mode == "log-end":
        log_end()
    else:
        {"send": send, "log": log}[mode](json.load(sys.stdin))


if __name__ == "__main__":
    main()
