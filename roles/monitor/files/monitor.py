#!/usr/local/bin/python3
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor. Run by daemon(8) from its rc script: sokuhai-monitor SETTINGS
"""Write a line of measurements of the mail host every few seconds while mail is delivered, every minute otherwise, and mail when a ceiling is near.

Two processes. The first stays root, since Postfix's queue directories are Postfix's (0700), the mail log is root's (0640), and where
security.bsd.see_other_uids is 0 nobody else sees named's descriptors. It reads fixed places, is told nothing but when, and hands over numbers
and the log's new bytes; that is class Look. The second is nobody special: it reads those bytes, asks named, writes the file, decides and mails.
"""

import collections
import json
import os
import pwd
import re
import select
import signal
import socket
import subprocess
import sys
import syslog
import time

ENV = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C"}
# unknown is an empty field, never 0
COLUMNS = (
    "time",
    "seconds",
    "queue_incoming",
    "queue_active",
    "queue_deferred",
    "queue_hold",
    "queue_maildrop",
    "age_incoming",
    "age_active",
    "age_deferred",
    "deferred_dns",
    "deferred_connect",
    "deferred_refused",
    "deferred_greylisted",
    "deferred_other",
    "mails_in",
    "mails_out",
    "mails_deferred",
    "mails_bounced",
    "mails_rejected",
    "mails_put_off",
    "named_sockets",
    "named_descriptors",
    "named_descriptors_limit",
    "named_recursive_clients",
    "named_recursive_clients_limit",
    "named_servfail",
    "named_queries",
    "postfix_sockets",
    "postfix_descriptors",
    "postfix_descriptors_limit",
    "postfix_processes",
    "postfix_processes_limit",
    "files",
    "files_limit",
    "sockets",
    "sockets_limit",
    "memory_free",
    "memory_total",
    "swap_used",
    "swap_total",
    "greylist_hits",
    "dnsbl_hits",
    "postscreen_hits",
    "spf_fails",
)
# what is counted in the log
COUNTED = (
    "deferred_dns",
    "deferred_connect",
    "deferred_refused",
    "deferred_greylisted",
    "deferred_other",
    "mails_in",
    "mails_out",
    "mails_deferred",
    "mails_bounced",
    "mails_rejected",
    "mails_put_off",
    "greylist_hits",
    "dnsbl_hits",
    "postscreen_hits",
    "spf_fails",
)
QUEUES = ("incoming", "active", "deferred", "hold", "maildrop")
# Value, its limit, what a mail calls it. smtp processes are not among them: a large delivery is to fill default_process_limit.
CEILINGS = (
    ("named_descriptors", "named_descriptors_limit", "descriptors of named"),
    ("named_recursive_clients", "named_recursive_clients_limit", "questions that named works on (recursive-clients)"),
    ("postfix_descriptors", "postfix_descriptors_limit", "descriptors of one of Postfix's processes"),
    ("files", "files_limit", "open files of the host (kern.maxfiles)"),
    ("sockets", "sockets_limit", "sockets of the host (kern.ipc.maxsockets)"),
    ("swap_used", "swap_total", "bytes of swap"),
)
HYSTERESIS = 10  # points of per cent that a value has to fall below the threshold before it is no longer over
DNS_WINDOW = 600  # seconds in which attempts that were deferred for DNS reasons are added up
MOST_NAMES = 200000  # directory entries that one look counts; more is told as this many
MOST_AGES = 20000  # messages of one queue whose arrival is remembered
NEW_AGES = 2000  # of them read in one look
SHARE = 100  # a directory whose look took t seconds is looked at again after 100 t: 1 % of a processor
MOST_LOG = 4 * 2**20  # bytes of the log in one look; what is above comes with the next
LATE_LOG = 64 * 2**20  # further behind than that, the log is read on from its end
BUSY_MESSAGES = 10  # messages in incoming and active that are a delivery
BUSY_LOG = 1000  # bytes a second into the log that are one: four recipients
CALM = 60  # seconds without either after which the delivery is over
MOST_FILE = 8 * 2**20  # bytes of the file above which newsyslog(8) seems not to run, and the file is begun anew
TRIES, PENDING = 10, 20  # of one mail, and mails that wait
MUTE = 3  # samples in a row in which named did not answer


# ---- pure: what a line of the log says ----

# syslogd's formats (RFC 3164, with -v, RFC 5424) up to the program; Postfix's names hold its syslog_name and, for submission, the service
LINE = re.compile(
    r"^(?:<\d+>1 \S+ \S+ |[A-Z][a-z][a-z] [ \d]\d [\d:]{8} (?:<[\w.]+> )?\S+ |\d{4}-\S+ \S+ )(?P<program>[\w./-]+)(?:\[\d+\]:| \d+ \S+ \S+) (?P<text>.*)"
)
REPEATED = re.compile(
    r"^(?:<\d+>1 \S+|[A-Z][a-z][a-z] [ \d]\d [\d:]{8}(?: <[\w.]+>)?|\d{4}-\S+) \S+ (?:syslogd(?:: | \S+ \S+ \S+ ))?last message repeated (\d+) times?$"
)
STATUS = re.compile(r"^[0-9A-Za-z]+: to=<.*, dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<why>.*)\)$")
REJECT = re.compile(r"^(?:NOQUEUE|[0-9A-Za-z]+): (?:milter-)?reject: \S+ from \S+ (?P<code>[45])\d\d[ -](?P<why>.*)")
# Postfix's own words (src/smtp/smtp_addr.c, smtp_connect.c, smtp_proto.c) and what other hosts say when they greylist
DNS = re.compile(
    r"name service error|host not found|domain name not found|malformed (?:or unexpected )?name server reply|unable to look up host",
    re.I,
)
GREYLISTED = re.compile(r"gr[ea]y-?list|postgrey|try again in \d+ (?:second|minute)", re.I)
SAID = re.compile(r"\bsaid: 4|refused to talk to me: 4|\bsaid: 5")
CONNECT = re.compile(
    r"^connect to |timed out|lost connection|connection (?:refused|reset)|network is unreachable|no route to host|delivery temporarily suspended: (?:connect|conversation|lost)",
    re.I,
)
DNSBL = re.compile(r"blocked using ", re.I)
# spf-engine says what it told Postfix, the Perl agent "Policy action=" before it; softfail is none
SPF_FAIL = re.compile(r"Received-SPF: fail\b|\bspf=fail\b|due to: SPF fail\b|^Policy action=5\d\d ", re.I)


def reason(dsn, why):
    """The column that a delivery attempt which was deferred counts in. dsn: its status code; why: the text in parentheses."""
    if SAID.search(why):
        return "deferred_greylisted" if GREYLISTED.search(why) else "deferred_refused"
    if dsn == "4.4.3" or DNS.search(why):
        return "deferred_dns"
    if CONNECT.search(why):
        return "deferred_connect"
    return "deferred_other"


def classify(line):
    """The columns that *line* (str, of the mail log) counts in, as a tuple."""
    found = LINE.match(line)
    if not found:
        return ()
    program, text = found["program"].rpartition("/")[2], found["text"]
    if program == "postgrey":
        return ("greylist_hits",) if text.startswith("action=greylist") else ()
    if "spf" in program:
        return ("spf_fails",) if SPF_FAIL.search(text) else ()
    if not found["program"].startswith("postfix"):
        return ()
    if program == "cleanup" and re.match(r"[0-9A-Za-z]+: (?:resent-)?message-id=", text):
        return ("mails_in",)
    if program == "postscreen":
        if text.startswith("DNSBL rank "):
            return ("dnsbl_hits",)
        if text.startswith(("PREGREET ", "BARE NEWLINE ", "COMMAND PIPELINING ", "NON-SMTP COMMAND ")):
            return ("postscreen_hits",)
    if program == "cleanup":
        return ("mails_rejected",) if re.match(r"[0-9A-Za-z]+: (?:milter-)?reject: .*: 5\.\d", text) else ()
    if program in ("smtpd", "postscreen"):
        refused = REJECT.match(text)
        if not refused:
            return ()
        columns = (
            ("mails_rejected",)
            if refused["code"] == "5"
            else ()
            if GREYLISTED.search(refused["why"])
            else ("mails_put_off",)
        )
        if program == "postscreen":
            return (*columns, "postscreen_hits")
        return (*columns, "dnsbl_hits") if DNSBL.search(refused["why"]) else columns
    if program == "qmgr":
        return ("mails_bounced",) if re.match(r"[0-9A-Za-z]+: from=<.*>, status=(?:force-)?expired", text) else ()
    sent = STATUS.match(text)
    if sent:
        if sent["status"] == "sent":
            return ("mails_out",)
        if sent["status"] == "deferred":
            return ("mails_deferred", reason(sent["dsn"], sent["why"]))
        if sent["status"] == "bounced":
            return ("mails_bounced",)
    return ()


class Counts:
    """Counts of what the log said, over calls of add(); a repetition that syslogd folded counts for the line before it."""

    def __init__(self):
        self.last, self.number = (), collections.Counter()

    def add(self, data):
        """data: bytes of whole lines."""
        for line in data.decode("utf-8", "replace").splitlines():
            again = REPEATED.match(line)
            if again:
                self.number.update({column: int(again[1]) for column in self.last})
            else:
                self.last = classify(line)
                self.number.update(self.last)

    def take(self):
        """{column: number} since the last call."""
        taken, self.number = self.number, collections.Counter()
        return {column: taken[column] for column in COUNTED}


# ---- pure: what crossed a ceiling ----


def ceilings(row, state, settings):
    """Compare *row* with the ceilings; return (transitions, the new state), both for JSON, and change neither argument.

    row: {column: number or None}. state: what the last call returned, {} at first: over {name: when it began, s since 1970}, below {name: since when it is
    below}, dns [[time, attempts]]. settings: ceiling_percent (0 to 100), deferred_dns (attempts in ten minutes, 0 for never), quiet (seconds that a value has
    to stay HYSTERESIS points below, or for DNS under half, before it is over no longer). A transition is {name, over (bool), value, limit, words}.
    Unknown values change nothing: named that is stopped is not named that is well.
    """
    now = row["time"]
    over, below = dict(state.get("over") or {}), dict(state.get("below") or {})
    # a ceiling that nobody watches any more has no end
    for name in (
        set(over) - {entry[0] for entry in CEILINGS} - ({"deferred_dns"} if settings["deferred_dns"] else set())
    ):
        del over[name]
    dns = [entry for entry in state.get("dns") or [] if entry[0] > now - DNS_WINDOW]
    if row.get("deferred_dns"):
        dns.append([now, row["deferred_dns"]])
    marks = []
    for value, limit, words in CEILINGS:
        if row.get(value) is not None and row.get(limit):
            share = 100 * row[value] / row[limit]
            marks.append(
                (
                    value,
                    row[value],
                    row[limit],
                    share >= settings["ceiling_percent"],
                    share < settings["ceiling_percent"] - HYSTERESIS,
                    words,
                )
            )
    if settings["deferred_dns"]:
        number = sum(entry[1] for entry in dns)
        marks.append(
            (
                "deferred_dns",
                number,
                settings["deferred_dns"],
                number >= settings["deferred_dns"],
                number < settings["deferred_dns"] / 2,
                "delivery attempts deferred for DNS reasons in ten minutes",
            )
        )
    transitions = []
    for name, value, limit, high, low, words in marks:
        tell = {"name": name, "value": value, "limit": limit, "words": words}
        if high and name not in over:
            over[name] = now
            transitions.append(dict(tell, over=True))
        if not low or name not in over:
            below.pop(name, None)
        else:
            below.setdefault(name, now)
            # a clock that was set back must not hold it for ever
            if not 0 <= now - below[name] < settings["quiet"]:
                del over[name], below[name]
                transitions.append(dict(tell, over=False))
    return transitions, {"over": over, "below": below, "dns": dns}


def sentence(transition, host):
    """One line about a transition, for people."""
    share = (
        "" if transition["name"] == "deferred_dns" else " (%d %%)" % (100 * transition["value"] // transition["limit"])
    )
    return "%s: %s: %s, %d of %d%s" % (
        host,
        "ceiling is near" if transition["over"] else "over again",
        transition["words"],
        transition["value"],
        transition["limit"],
        share,
    )


# ---- pure: what FreeBSD's commands print ----


def count_files(table):
    """{pid: [descriptors, sockets]} of kern.file, an array of struct xfile (sys/sys/file.h): xf_size, xf_pid at 8, xf_type at 32. None when it is something else."""
    size = int.from_bytes(table[:8], sys.byteorder)
    if len(table) < 128 or size != 128:
        return None
    table = table[: len(table) // size * size]
    pids = memoryview(table).cast("i")[2 :: size // 4].tolist()
    kinds = memoryview(table).cast("h")[16 :: size // 2].tolist()
    found = {pid: [number, 0] for pid, number in collections.Counter(pids).items()}
    for pid, number in collections.Counter(pid for pid, kind in zip(pids, kinds) if kind == 2).items():  # DTYPE_SOCKET
        found[pid][1] = number
    return found


def parse_processes(text):
    """{pid: (parent, command)} of `ps -ax -o pid= -o ppid= -o comm=`."""
    found = {}
    for line in text.splitlines():
        fields = line.split(None, 2)
        if len(fields) == 3 and fields[0].isdigit() and fields[1].isdigit():
            found[int(fields[0])] = (int(fields[1]), fields[2].strip())
    return found


def parse_rlimits(text):
    """{pid: soft limit of descriptors} of `procstat rlimit pid ...`; infinity is left out."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[0].isdigit() and fields[2] == "openfiles" and fields[3].isdigit():
            found[int(fields[0])] = int(fields[3])
    return found


def arrival(head):
    """When the message of a queue file arrived, s since 1970, from its first bytes: record T after record C (Postfix: src/global/rec_type.h, record.c); else None."""
    at = 0
    while at + 1 < len(head) and at < 200:
        kind, length, shift = head[at : at + 1], 0, 0
        at += 1
        while at < len(head):
            length |= (head[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not head[at - 1] & 0x80:
                break
        if kind == b"T":
            number = head[at : at + length].split(b" ")[0].split(b".")[0]
            return int(number) if number.isdigit() else None
        if kind not in b"CA" or length > 200:
            return None
        at += length
    return None


def parse_swap(text):
    """(used, total) bytes of `swapinfo -k`; (0, 0) where there is no swap, None when it is something else."""
    lines = [line.split() for line in text.splitlines()]
    if not lines or lines[0][:1] != ["Device"]:
        return None
    rows = [
        line for line in lines[1:] if len(line) > 3 and line[0] != "Total" and line[1].isdigit() and line[2].isdigit()
    ]
    return sum(int(line[2]) for line in rows) * 1024, sum(int(line[1]) for line in rows) * 1024


def parse_named(body):
    """queries, servfail, recursing (numbers) and boot (str) of named's /json/v1/server; None when it is something else. What named leaves out is 0.

    Where named does not run, any user of the host may listen on that port: what is no number is not written on.
    """
    try:
        told = json.loads(body)
        found = {
            "queries": told["opcodes"]["QUERY"],
            "servfail": told["rcodes"]["SERVFAIL"],
            "recursing": told.get("nsstats", {}).get("RecursClients", 0),
        }
        if not all(type(value) is int and 0 <= value < 2**64 for value in found.values()):
            return None
        return dict(found, boot=str(told["boot-time"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def run(*argv, timeout=20, check=True):
    """Standard output (bytes) of a command, or None when it is not there, takes too long, or, with *check*, fails."""
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENV,
            timeout=timeout,
            check=check,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def words(*argv, check=True):
    """The same as text; empty instead of None."""
    return (run(*argv, check=check) or b"").decode("utf-8", "replace")


# ---- the part that is root ----


class Tail:
    """The bytes that come into a file after it was first opened, over its being turned over."""

    def __init__(self, path):
        self.path, self.file, self.rest = path, None, b""
        self.open(os.SEEK_END)

    def open(self, whence):
        try:
            self.file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self.file, 0, whence)
        except OSError:
            self.file = None

    def size(self):
        """Bytes of the file now: what grows while mail is delivered."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0

    def turned(self):
        try:
            now, mine = os.stat(self.path), os.fstat(self.file)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def read(self):
        """(whole lines (bytes), whether some were left out)."""
        if self.file is None:
            # it was not there: all of it is new
            self.open(os.SEEK_SET)
            if self.file is None:
                return b"", False
        data, missed = self.rest, False
        for _ in range(2):
            size, at = os.fstat(self.file).st_size, os.lseek(self.file, 0, os.SEEK_CUR)
            if at > size:
                os.lseek(self.file, 0, os.SEEK_SET)
            elif size - at > LATE_LOG:
                os.lseek(self.file, 0, os.SEEK_END)
                data, missed = b"", True
            while len(data) < MOST_LOG:
                part = os.read(self.file, min(2**18, MOST_LOG - len(data)))
                if not part:
                    break
                data += part
            if len(data) >= MOST_LOG or not self.turned():
                break
            os.close(self.file)
            self.open(os.SEEK_SET)
            if self.file is None:
                break
        whole = data.rfind(b"\n") + 1
        # a line without an end is none
        self.rest = data[whole:] if len(data) - whole < 65536 else b""
        return data[:whole], missed


class Queue:
    """One of Postfix's queue directories: how many messages, and the oldest's arrival. A look costs at most a SHARE of the time between two."""

    def __init__(self, path, ages):
        self.path, self.ages, self.arrived, self.due, self.last = path, ages, {}, 0.0, None

    def names(self, path, depth, most):
        """(name, path) of the files below, at most so many; hashed queues have directories of one letter (hash_queue_depth)."""
        with os.scandir(path) as entries:
            for entry in entries:
                if most <= 0:
                    return
                if len(entry.name) == 1:
                    if depth:
                        for found in self.names(entry.path, depth - 1, most):
                            most -= 1
                            yield found
                elif not entry.name.startswith("."):
                    most -= 1
                    yield entry.name, entry.path

    def count(self, most):
        """Number of messages, at most *most*; 0 where there is no such directory."""
        try:
            return sum(1 for _ in self.names(self.path, 4, most))
        except OSError:
            return 0

    def look(self):
        """[number, arrival of the oldest or None], or None where there is no such directory."""
        began = time.monotonic()
        if began < self.due:
            return self.last
        known, number, new = {}, 0, 0
        try:
            for name, path in self.names(self.path, 4, MOST_NAMES):
                number += 1
                if not self.ages or len(known) >= MOST_AGES:
                    continue
                if name in self.arrived:
                    known[name] = self.arrived[name]
                elif new < NEW_AGES:
                    new += 1
                    known[name] = self.arrival(path)
        except OSError:
            self.last = None if number == 0 and not os.path.isdir(self.path) else [number, None]
            return self.last
        self.arrived = known
        self.last = [number, min(filter(None, known.values()), default=None)]
        self.due = time.monotonic() + min(300, SHARE * (time.monotonic() - began))
        return self.last

    @staticmethod
    def arrival(path):
        """By the file's own record, since Postfix sets the time of a deferred file to its next attempt; None for one that is gone or just being written."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return arrival(os.read(handle, 256))
        except OSError:
            return None
        finally:
            os.close(handle)


class Look:
    """What needs root, and nothing else. It takes one byte: p for a short look, f for a whole one; it answers one line of JSON and, after a whole one, the log."""

    def __init__(self, settings):
        self.tail = Tail(settings["maillog"])
        self.top = settings["queue_directory"]
        self.queues = {
            name: Queue(os.path.join(self.top, name), name in ("incoming", "active", "deferred")) for name in QUEUES
        }

    def short(self):
        return {
            "log": self.tail.size(),
            "messages": sum(self.queues[name].count(BUSY_MESSAGES) for name in ("incoming", "active")),
        }

    def whole(self):
        lines, missed = self.tail.read()
        return {
            "queue": {name: queue.look() for name, queue in self.queues.items()},
            "processes": self.processes(),
            "bytes": len(lines),
            "missed": missed,
        }, lines

    def processes(self):
        """{named, postfix: [sockets, descriptors, limit], smtp: processes}; named's is the process with the most, Postfix's sockets are of all of its
        processes and its descriptors those of the one that is nearest its limit. Without the table the fields are null; a daemon that does not run is left out."""
        running = parse_processes(words("ps", "-ax", "-o", "pid=", "-o", "ppid=", "-o", "comm="))
        held = count_files(run("sysctl", "-b", "kern.file") or b"")
        named = [pid for pid, (_parent, command) in running.items() if command == "named"]
        postfix = self.postfix(running)
        asked = []
        if held is not None:

            def most(pids, number):
                return sorted(pids, key=lambda pid: held.get(pid, [0, 0])[0], reverse=True)[:number]

            named, asked = most(named, 1), most(postfix, 5)
        # procstat fails at the first process that has ended meanwhile; what it told of those before, named first, holds
        limits = (
            parse_rlimits(words("procstat", "rlimit", *map(str, named[:1] + asked), check=False))
            if named or asked
            else {}
        )
        found = {}
        if named:
            descriptors, sockets = held.get(named[0], [None, None]) if held else [None, None]
            found["named"] = [sockets, descriptors, limits.get(named[0])]
        if postfix:
            near = (
                max(
                    (pid for pid in asked if pid in held),
                    key=lambda pid: held[pid][0] / limits.get(pid, 2**31),
                    default=None,
                )
                if held
                else None
            )
            found["postfix"] = [
                sum(held.get(pid, [0, 0])[1] for pid in postfix) if held else None,
                held[near][0] if near else None,
                limits.get(near),
            ]
            found["smtp"] = sum(1 for pid in postfix if running[pid][1] == "smtp")
        return found

    def postfix(self, running):
        """pids of Postfix's master and of what it started."""
        try:
            with open(os.path.join(self.top, "pid", "master.pid"), encoding="ascii") as source:
                master = int(source.read(32))
        except (OSError, ValueError):
            return []
        if running.get(master, (0, ""))[1] != "master":
            return []
        return [master] + [pid for pid, (parent, _command) in running.items() if parent == master]

    def serve(self, channel):
        """Answer until the other end is closed."""
        while True:
            asked = channel.recv(1)
            if asked == b"p":
                channel.sendall(json.dumps(self.short()).encode() + b"\n")
            elif asked == b"f":
                told, lines = self.whole()
                channel.sendall(json.dumps(told).encode() + b"\n" + lines)
            else:
                return


# ---- the part that is nobody special ----


class Samples:
    """The file: each line is one write to a file that is opened for it, so newsyslog(8) may turn it over at any time."""

    def __init__(self, path):
        self.path, self.trouble, self.fresh = path, None, True

    def append(self, row):
        """Write *row* ({column: number or None}); a disk that is full costs the line and nothing else."""
        line = ",".join("" if row.get(column) is None else str(row[column]) for column in COLUMNS) + "\n"
        header = ",".join(COLUMNS) + "\n"
        try:
            try:
                handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                # between newsyslog's two steps
                time.sleep(1)
                handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                size = os.fstat(handle).st_size
                if size == 0:
                    line = header + line
                else:
                    # half a line of a full disk, or the columns of another version
                    if os.pread(handle, 1, size - 1) != b"\n":
                        line = "\n" + line
                    if self.fresh and os.pread(handle, len(header), 0) != header.encode():
                        line = "\n" + header + line.lstrip("\n")
                os.write(handle, line.encode())
                self.fresh = False
                if size > MOST_FILE:
                    # no name can be made here: the folder is root's, so that newsyslog(8) finds nothing in it that the sampler has put there
                    os.ftruncate(handle, 0)
            finally:
                os.close(handle)
            problem = None
        except OSError as error:
            problem = error.strerror
        if problem != self.trouble:
            syslog.syslog(
                syslog.LOG_ERR if problem else syslog.LOG_NOTICE, "%s: %s" % (self.path, problem or "written again")
            )
            self.trouble = problem


class Keep:
    """What must outlive a restart: which ceilings are near, and mails that could not be sent."""

    def __init__(self, path):
        self.path, self.state, self.mails = path, {}, []
        try:
            with open(path, encoding="utf-8") as source:
                kept = json.load(source)
            self.state, self.mails = dict(kept["ceilings"]), list(kept["mails"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.written = None

    def write(self):
        text = json.dumps({"ceilings": self.state, "mails": self.mails})
        if text == self.written:
            return
        try:
            with open(self.path + ".new", "w", encoding="utf-8") as target:
                target.write(text)
            os.replace(self.path + ".new", self.path)
            self.written = text
        except OSError:
            pass


def mail(to, subject, text, command="/usr/sbin/sendmail"):
    """Whether the host's own sendmail(1) took it."""
    message = "To: %s\nSubject: %s\nAuto-Submitted: auto-generated\n\n%s\n" % (", ".join(to), subject, text)
    try:
        return (
            subprocess.run(
                [command, "-i", "--", *to],
                input=message.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENV,
                timeout=20,
                check=False,
            ).returncode
            == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False


class Monitor:
    def __init__(self, settings, channel):
        self.settings, self.channel, self.answers = settings, channel, channel.makefile("rb")
        self.host = socket.gethostname()
        self.samples = Samples(os.path.join(settings["directory"], "samples.csv"))
        self.keep = Keep(os.path.join(settings["directory"], "state", "state.json"))
        self.counts, self.named, self.log, self.limits = Counts(), None, None, {}
        self.last, self.busy_until, self.first, self.mute = 0.0, 0.0, True, 0

    def ask(self, what):
        """One answer of the part that is root; SystemExit when it is gone."""
        try:
            self.channel.sendall(what)
            line = self.answers.readline()
            told = json.loads(line)
            data = self.answers.read(told.get("bytes", 0))
        except (OSError, ValueError):
            sys.exit(0)
        return told, data

    def when_changed(self, path, ask):
        """ask()'s answer, kept until *path* is written again, or for an hour."""
        try:
            mark = os.stat(path).st_mtime
        except OSError:
            mark = None
        kept = self.limits.get(path)
        if kept is None or kept[0] != mark or time.monotonic() - kept[1] > 3600:
            kept = self.limits[path] = (mark, time.monotonic(), ask())
        return kept[2]

    def process_limit(self):
        text = words("postconf", "-h", "default_process_limit").strip()
        return int(text) if text.isdigit() else None

    def recursive_clients(self):
        """What named.conf says; named's own default where it is silent (bin/named/config.c)."""
        try:
            with open(self.settings["named_conf"], encoding="utf-8", errors="replace") as source:
                found = re.search(r"^\s*recursive-clients\s+(\d+)\s*;", source.read(2**20), re.M)
        except OSError:
            return None
        return int(found[1]) if found else 1000

    def ask_named(self):
        """parse_named() of what named tells now, or None."""
        if not self.settings["statistics_port"]:
            return None
        try:
            with socket.create_connection(("127.0.0.1", self.settings["statistics_port"]), timeout=3) as there:
                there.settimeout(3)
                there.sendall(b"GET /json/v1/server HTTP/1.0\r\nHost: localhost\r\n\r\n")
                answer, end = b"", time.monotonic() + 5
                while len(answer) < 2**22 and time.monotonic() < end:
                    part = there.recv(65536)
                    if not part:
                        break
                    answer += part
                    head, gap, body = answer.partition(b"\r\n\r\n")
                    length = re.search(rb"^content-length: *(\d+)", head, re.M | re.I)
                    # named may leave the connection open
                    if gap and length and len(body) >= int(length[1]):
                        break
        except OSError:
            return None
        return parse_named(answer.partition(b"\r\n\r\n")[2])

    def hear(self, answered):
        """Tell syslog once when named runs and does not tell its counters, three samples in a row (it may just be starting), and once when it does again."""
        if not self.settings["statistics_port"]:
            return
        before, self.mute = self.mute, 0 if answered else min(MUTE, self.mute + 1)
        where = "127.0.0.1:%d (statistics-channels)" % self.settings["statistics_port"]
        if self.mute == MUTE > before:
            syslog.syslog(
                syslog.LOG_ERR,
                "named runs and tells nothing on %s: is the port another's, or named built without JSON? Its recursive clients are unknown"
                % where,
            )
        elif before == MUTE > self.mute:
            syslog.syslog(syslog.LOG_NOTICE, "named tells its counters on %s again" % where)

    def measure(self, seconds):
        """One row, {column: number or None}. seconds: since the one before."""
        told, lines = self.ask(b"f")
        now = int(time.time())
        row = dict.fromkeys(COLUMNS)
        row.update(time=now, seconds=round(seconds, 1))
        for name, found in told["queue"].items():
            if found is not None:
                row["queue_" + name] = found[0]
                if "age_" + name in row:
                    row["age_" + name] = max(0, now - found[1]) if found[1] else 0 if found[0] == 0 else None
        self.counts.add(lines)
        counted = self.counts.take()
        if not told["missed"]:
            row.update(counted)
        processes = told["processes"]
        if "named" in processes:
            row.update(zip(("named_sockets", "named_descriptors", "named_descriptors_limit"), processes["named"]))
            row["named_recursive_clients_limit"] = self.when_changed(
                self.settings["named_conf"], self.recursive_clients
            )
            told_by_named, before = self.ask_named(), self.named
            self.hear(told_by_named is not None)
            if told_by_named:
                row["named_recursive_clients"] = told_by_named["recursing"]
                if before:
                    # a named that was started meanwhile began at 0
                    base = before if before["boot"] == told_by_named["boot"] else {"queries": 0, "servfail": 0}
                    row.update(
                        named_queries=told_by_named["queries"] - base["queries"],
                        named_servfail=told_by_named["servfail"] - base["servfail"],
                    )
            self.named = told_by_named or before
        if "postfix" in processes:
            row.update(
                zip(("postfix_sockets", "postfix_descriptors", "postfix_descriptors_limit"), processes["postfix"])
            )
            row["postfix_processes"] = processes["smtp"]
            row["postfix_processes_limit"] = self.when_changed(self.settings["main_cf"], self.process_limit)
        row.update(self.kernel())
        return row

    def kernel(self):
        names = {
            "kern.openfiles": "files",
            "kern.maxfiles": "files_limit",
            "kern.ipc.numopensockets": "sockets",
            "kern.ipc.maxsockets": "sockets_limit",
            "hw.physmem": "memory_total",
        }
        pages = ("vm.stats.vm.v_free_count", "vm.stats.vm.v_inactive_count", "hw.pagesize")
        told = {
            name: int(value)
            for name, _equal, value in (
                line.partition("=") for line in words("sysctl", "-ie", *names, *pages).splitlines()
            )
            if value.strip().isdigit()
        }
        row = {column: told.get(name) for name, column in names.items()}
        if all(name in told for name in pages):
            # inactive pages are given up before anything is swapped
            row["memory_free"] = (told[pages[0]] + told[pages[1]]) * told[pages[2]]
        row["swap_used"], row["swap_total"] = parse_swap(words("swapinfo", "-k")) or (None, None)
        return row

    def judge(self, row):
        """Tell of what crossed a ceiling: to syslog always, by mail where somebody is named."""
        transitions, self.keep.state = ceilings(row, self.keep.state, self.settings)
        for transition in transitions:
            text = sentence(transition, self.host)
            syslog.syslog(syslog.LOG_WARNING if transition["over"] else syslog.LOG_NOTICE, text)
            if self.settings["alert_to"]:
                self.keep.mails.append({"text": text, "at": row["time"], "tries": 0, "next": 0})
        del self.keep.mails[:-PENDING]
        for waiting in list(self.keep.mails):
            if row["time"] < waiting["next"] <= row["time"] + 86400:
                continue
            stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(waiting["at"]))
            if (
                mail(self.settings["alert_to"], waiting["text"], "%s  %s" % (stamp, waiting["text"]))
                if self.settings["alert_to"]
                else True
            ):
                self.keep.mails.remove(waiting)
                continue
            waiting["tries"] += 1
            waiting["next"] = row["time"] + 60 * waiting["tries"]
            if waiting["tries"] >= TRIES:
                self.keep.mails.remove(waiting)
                syslog.syslog(syslog.LOG_ERR, "sendmail took it in none of %d tries: %s" % (TRIES, waiting["text"]))
            # one that hangs would hang with each of the others, and nothing is measured meanwhile
            break
        self.keep.write()

    def is_busy(self, told, seconds):
        """Whether mail is being delivered: by the messages that wait, or, since one message may have tens of thousands of recipients, by the log's growth."""
        before, self.log = self.log, told["log"]
        return told["messages"] >= BUSY_MESSAGES or (before is not None and told["log"] - before > BUSY_LOG * seconds)

    def step(self):
        """What is to be done every busy_seconds: look whether mail is delivered, and measure when it is or when it is time. The row, or None."""
        now = time.monotonic()
        told, _nothing = self.ask(b"p")
        if self.is_busy(told, self.settings["busy_seconds"]):
            self.busy_until = now + CALM
        if self.last == 0.0:
            # the first look sets where everything is counted from
            self.measure(0)
            self.last = now
            return None
        # the first line comes soon, for whoever waits to see that it runs
        if (
            not self.first
            and now > self.busy_until
            and now - self.last < self.settings["idle_seconds"] - self.settings["busy_seconds"] / 2
        ):
            return None
        row = self.measure(now - self.last)
        self.last, self.first = now, False
        self.samples.append(row)
        self.judge(row)
        return row

    def run(self):
        while True:
            began = time.monotonic()
            self.step()
            wait = self.settings["busy_seconds"] - (time.monotonic() - began)
            # the other process says nothing unasked: what comes is its end
            if select.select([self.channel], [], [], max(0.5, wait))[0]:
                return


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        settings = json.load(source)
    user = pwd.getpwnam(settings["user"])
    os.nice(5)
    os.umask(0o022)
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        os.chdir("/")
        os.setgroups([user.pw_gid])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        syslog.openlog("sokuhai-monitor", syslog.LOG_PID, syslog.LOG_DAEMON)
        try:
            Monitor(settings, there).run()
        except Exception as problem:
            # nobody sees its standard error; the one that is root ends as well, and daemon(8) starts both anew
            where = problem.__traceback__
            while where.tb_next:
                where = where.tb_next
            syslog.syslog(syslog.LOG_ERR, "%s: %s (line %d)" % (type(problem).__name__, problem, where.tb_lineno))
            os._exit(1)
        os._exit(0)
    there.close()

    def end(_number, _frame):
        try:
            os.kill(child, signal.SIGTERM)
        except OSError:
            pass
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        Look(settings).serve(here)
    except OSError:
        pass
    here.close()
    # daemon(8) starts both anew
    return 0 if os.waitpid(child, 0)[1] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
