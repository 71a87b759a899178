"""What the load tools do inside a practice host, or a FreeBSD in its place: hand mail in, sample queue and sockets, read the log.

Sent there as text and run by whatever Python the host has; standard library only. Each mode prints JSON lines.
"""

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


def told(*command):
    """Lines that a command of FreeBSD prints; its failure is an answer, too: the process has ended."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, check=False
    ).stdout.splitlines()


def pids(name):
    if not LINUX:
        return [int(line) for line in told("/bin/pgrep", "-x", name)]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/comm" % entry) as comm:
                    if comm.read().strip() == name:
                        found.append(int(entry))
            except OSError:
                pass
    return found


def sockets(pid):
    """(descriptors, sockets among them) that a process holds."""
    if not LINUX:
        # procstat(1): FD is a number for a descriptor, T is its type, s a socket
        types = [
            line.split()[3] for line in told("/usr/bin/procstat", "-h", "fd", str(pid)) if line.split()[2].isdigit()
        ]
        return len(types), types.count("s")
    folder = "/proc/%d/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return 0, 0
    count = 0
    for name in names:
        try:
            count += os.readlink(folder + "/" + name).startswith("socket:")
        except OSError:
            pass
    return len(names), count


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
    """Hand one or more messages to the mail system by SMTP on the loopback; prints what it said, and how long it took."""
    recipients, size = job["recipients"], job["per_message"] or len(job["recipients"])
    start = time.time()
    server = smtplib.SMTP("127.0.0.1", 25, local_hostname="localhost", timeout=600)
    ids, refused = [], {}
    server.ehlo()
    for at in range(0, len(recipients), size):
        part = recipients[at : at + size]
        text = (
            "From: <%s>\r\nTo: undisclosed-recipients:;\r\nSubject: Practice alert\r\nX-Lab-Token: %s\r\nMessage-ID: <%s.%d@lab>\r\n"
            "Date: %s\r\n\r\nThis is a practice alert.\r\n"
            % (
                job["sender"],
                job["token"],
                job["token"],
                at,
                time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime()),
            )
        )
        code, answer = server.mail(job["sender"])
        if code != 250:
            raise SystemExit("MAIL FROM:<%s>: %d %s" % (job["sender"], code, answer.decode()))
        taken = 0
        for recipient in part:
            code, answer = server.rcpt(recipient)
            if code in (250, 251):
                taken += 1
            else:
                refused[recipient] = "%d %s" % (code, answer.decode())
        if taken:
            code, answer = server.data(text)
            if code != 250:
                raise SystemExit("DATA: %d %s" % (code, answer.decode()))
            match = re.search(rb"queued as (\w+)", answer)
            ids.append(match.group(1).decode() if match else answer.decode())
        else:
            server.rset()
    server.quit()
    print(json.dumps({"ids": ids, "refused": refused, "start": start, "seconds": time.time() - start}))


def log_end():
    """Size of the maillog: where what is logged from now on starts."""
    print(json.dumps({"offset": os.path.getsize(MAILLOG) if os.path.exists(MAILLOG) else 0}))


def log(job):
    """What became of the recipients of some queue ids, by the maillog from an offset on."""
    ids = set(job["ids"])
    deferred, dns, bounced, reasons = set(), set(), set(), {}
    if os.path.exists(MAILLOG):
        with open(MAILLOG, errors="replace") as lines:
            # newsyslog may have begun a new file meanwhile
            lines.seek(job["offset"] if os.path.getsize(MAILLOG) >= job["offset"] else 0)
            for line in lines:
                match = STATUS.search(line.rstrip())
                if not match or match.group(1) not in ids or match.group(4) == "sent":
                    continue
                _id, recipient, dsn, status, text = match.groups()
                if status == "bounced":
                    bounced.add(recipient)
                else:
                    deferred.add(recipient)
                    if dsn == "4.4.3" or DNS.search(text):
                        dns.add(recipient)
                reason = "%s %s" % (dsn, re.sub(r"\S*\.(test|example)\b\S*|\[[^\]]*\](:\d+)?", "…", text)[:160])
                reasons[reason] = reasons.get(reason, 0) + 1
    print(
        json.dumps(
            {"deferred": sorted(deferred), "deferred_dns": sorted(dns), "bounced": sorted(bounced), "reasons": reasons}
        )
    )


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
