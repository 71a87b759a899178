#!/usr/local/bin/python3
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role blocklist. Run by cron(8) every minute: rejects SETTINGS [-v]
"""Put clients that Postfix refused too often into a table of pf, for a while.

Postfix reports failed AUTH, relay attempts and listed clients to blocklistd itself, where its port was built so. What it refuses otherwise is in its log only
(unknown users, HELO, sender and client restrictions, who talks before the greeting), and this reads it there. Only final refusals count (5xx): a greylisted client
did nothing wrong. The table is this program's alone and is written whole each time, so after a boot it is what it was before.
"""

import datetime
import fcntl
import ipaddress
import json
import os
import re
import subprocess
import sys
import syslog
import time

# Anchored at the program's name: what a client may choose (HELO, addresses) comes later in the line, and Postfix lets nothing but letters, digits, dots and
# hyphens into a client's name.
LINE = re.compile(
    r"postfix[\w./-]*/(?:smtpd|postscreen)\[\d+\]: (?:\w+: (?P<what>reject|reject_warning|discard|hold|warn): [A-Z-]+ from [\w.-]*\[(?P<client>[0-9A-Fa-f.:]+)\](?::\d+)?: (?P<text>.*)"
    r"|PREGREET \d+ after [\d.]+ from \[(?P<early>[0-9A-Fa-f.:]+)\])"
)
# What syslogd(8) writes for identical successive lines (fprintlog_successive in usr.sbin/syslogd/syslogd.c), in each of its formats; the whole line, so that
# nothing a client may choose passes for it.
REPEATED = re.compile(
    r"(?:<\d+>1 \S+|[A-Z][a-z][a-z] [ \d]\d [\d:]{8}(?: <[\w.]+>)?|\d{4}-\d\d-\d\dT\S+) \S+ (?:syslogd(?:: | - - - ))?last message repeated (\d+) times?"
)
MOST_READ = 64 * 2**20  # bytes in one go; more has piled up only when cron did not run, and is too old to matter
MOST_LISTED = 20000  # a tenth of pf's table-entries


def when(line, now):
    """Return the time (s since 1970) that syslogd put before *line*, in either of its forms; *now* where there is none."""
    found = re.match(r"(?:<\d+>1 )?(\d{4}-\d\d-\d\dT\S+)", line)
    try:
        if found:
            # Python 3.9 does not know Z
            return int(datetime.datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp())
        year = time.localtime(now).tm_year
        # the last lines of December are read in January
        for one in (year, year - 1):
            then = time.mktime(time.strptime("%d %s" % (one, line[:15]), "%Y %b %d %H:%M:%S"))
            if then <= now + 86400:
                return then
    except ValueError:
        pass
    return now


def offence(line, traps, from_traps):
    """Return (client, whether it is one to be listed at once) when *line* of the log counts, else None.

    traps: addresses in lower case. A line about a trap counts only when the operator said so, and then at once.
    """
    found = LINE.search(line)
    if not found:
        return None
    if found["early"]:
        return found["early"], False
    to = re.search(r" to=<([^>]*)>", found["text"])
    if to and to[1].lower() in traps:
        return (found["client"], True) if from_traps else None
    if found["what"] == "reject" and re.match(r"5\d\d ", found["text"]):
        return found["client"], False
    return None


def network(client, masks):
    """Return the ipaddress network that *client* (text) stands for; None when it is not an address. masks: {4: bits, 6: bits}."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return None
    return ipaddress.ip_network((address, masks[address.version]), strict=False)


def meets(place, networks):
    """Return whether the network *place* has an address with one of *networks* in common."""
    return any(place.version == one.version and place.overlaps(one) for one in networks)


def new_lines(path, state):
    """Yield the lines that came into the log since *state* (inode, offset) was noted, and note where they end.

    At the first time nothing is read: what happened before is nobody's repeated offence. A log that was turned over is read from its start.
    """
    with open(path, "rb") as log:
        info = os.fstat(log.fileno())
        start = state.get("offset", info.st_size)
        if state.get("inode", info.st_ino) != info.st_ino or start > info.st_size:
            start = 0
        start = max(start, info.st_size - MOST_READ)
        log.seek(start)
        data = log.read(MOST_READ)
        # the last line may still be written
        whole = data.rfind(b"\n") + 1
        state.update(inode=info.st_ino, offset=start + whole)
        for line in data[:whole].splitlines():
            yield line.decode("utf-8", "replace")


def count(lines, settings, state, now):
    """Bring *state* up to *now*: seen {network: [times]}, listed {network: until} and last, the offence (network, whether it is to be listed at
    once) in the last line or None. Return [(network, number of offences)] that are new in the list.

    What the last line repeats may come in the next reading only: syslogd holds a repetition back for up to ten minutes, unless another line comes.
    """
    masks = {4: settings["mask_ipv4"], 6: settings["mask_ipv6"]}
    allow = [ipaddress.ip_network(text) for text in settings["allow"]]
    traps = {trap.lower() for trap in settings["traps"]}
    seen, listed = state.setdefault("seen", {}), state.setdefault("listed", {})
    for line in lines:
        repeated = REPEATED.fullmatch(line)
        if not repeated:
            state["last"] = None
            found = offence(line, traps, settings["from_traps"])
            place = network(found[0], masks) if found else None
            if place is None or meets(place, allow):
                continue
            state["last"] = [str(place), found[1]]
        elif not state.get("last"):
            continue
        place, at_once = state["last"]
        at = when(line, now)
        if at > now - settings["window"]:
            # more than it takes would only fill the state
            seen.setdefault(place, []).extend(
                [at] * (settings["count"] if at_once else min(int(repeated[1]), settings["count"]) if repeated else 1)
            )
    new = []
    for place in list(seen):
        seen[place] = [at for at in seen[place] if at > now - settings["window"]]
        if len(seen[place]) >= settings["count"]:
            if place not in listed:
                new.append((place, len(seen[place])))
            listed[place] = max(seen[place]) + settings["duration"]
            del seen[place]
        elif not seen[place]:
            del seen[place]
    for place in list(listed):
        # the allow list may have grown
        if listed[place] <= now or meets(ipaddress.ip_network(place), allow):
            del listed[place]
    for place in sorted(listed, key=listed.get)[: max(len(listed) - MOST_LISTED, 0)]:
        del listed[place]
    return new


def main():
    verbose = sys.argv[2:] == ["-v"]
    with open(sys.argv[1], encoding="utf-8") as source:
        settings = json.load(source)
    syslog.openlog("sokuhai-blocklist", 0, syslog.LOG_DAEMON)
    with open(settings["state"] + ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if verbose else fcntl.LOCK_NB))
        except OSError:
            return 0
        try:
            with open(settings["state"], encoding="utf-8") as source:
                state = json.load(source)
        except (FileNotFoundError, ValueError):
            state = {}
        now = time.time()
        lines = None
        # between two logs there is none for a moment; only who asked wants to know that it does not come
        for pause in (2, 0) if verbose else (0,):
            try:
                lines = list(new_lines(settings["log"], state))
                break
            except FileNotFoundError:
                time.sleep(pause)
        new = count(lines or [], settings, state, now)
        with open(settings["state"] + ".new", "w", encoding="utf-8") as target:
            json.dump(state, target)
        os.rename(settings["state"] + ".new", settings["state"])
        pf = subprocess.run(
            ["/sbin/pfctl", "-q", "-a", settings["anchor"], "-t", settings["table"], "-T", "replace", "-f", "-"],
            input="".join(place + "\n" for place in sorted(state["listed"])),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        for place, number in new:
            syslog.syslog(
                syslog.LOG_NOTICE,
                "%s was refused %d times within %d seconds: no SMTP for %d seconds"
                % (place, number, settings["window"], settings["duration"]),
            )
        if pf.returncode:
            # once a minute into root's mailbox would be too often
            syslog.syslog(syslog.LOG_ERR, "pfctl: %s" % pf.stderr.strip())
            if verbose:
                sys.stderr.write(pf.stderr)
            return 1
        if lines is None and verbose:
            sys.stderr.write("%s: there is no such log, so nothing can be counted\n" % settings["log"])
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
