# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""Ceilings: when a value comes near its limit and when it is back to normal, as data, and the words for both, in syslog and by mail."""

import json
import os
import subprocess
import syslog
import time

from freebsd import ENV

# Value, its limit, what people call it. smtp processes are not among them: a large delivery is to fill default_process_limit.
CEILINGS = (
    ("named_descriptors", "named_descriptors_limit", "descriptors of named"),
    ("named_recursive_clients", "named_recursive_clients_limit", "recursive clients of named (recursive-clients)"),
    ("postfix_descriptors", "postfix_descriptors_limit", "descriptors of one of Postfix's processes"),
    ("files", "files_limit", "open files of the host (kern.maxfiles)"),
    ("sockets", "sockets_limit", "sockets of the host (kern.ipc.maxsockets)"),
    ("swap_used", "swap_total", "bytes of swap"),
)
NAMES = {name: words for name, _limit, words in CEILINGS}
NAMES["deferred_dns"] = "delivery attempts deferred for DNS reasons in ten minutes"
HYSTERESIS = 10  # points of per cent that a value has to fall below the threshold before it is back to normal
DNS_WINDOW = 600  # seconds in which attempts that were deferred for DNS reasons are added up
TRIES, PENDING = 10, 20  # of one mail, and mails that wait


def marks(row, dns, settings):
    """[(name, value, limit, whether it is near, whether it is well below)] of what is known; dns: attempts in DNS_WINDOW."""
    found = []
    for value, limit, _words in CEILINGS:
        if row.get(value) is not None and row.get(limit):
            share, near = 100 * row[value] / row[limit], settings["ceiling_percent"]
            found.append((value, row[value], row[limit], share >= near, share < near - HYSTERESIS))
    limit = settings["deferred_dns"]
    return found + ([("deferred_dns", dns, limit, dns >= limit, dns < limit / 2)] if limit else [])


def ceilings(row, state, settings):
    """Compare *row* with the ceilings; return (transitions, the new state), both for JSON, and change neither argument.

    row: {column: number or None}. state: what the last call returned, {} at first: over {name: when it began, s since 1970}, below {name: since when it is
    below}, dns [[time, attempts]]. settings: ceiling_percent (0 to 100), deferred_dns (attempts in ten minutes, 0 for never), quiet (seconds that a value has
    to stay HYSTERESIS points below, or for DNS under half, before it is back to normal). A transition is {name, over (bool), value, limit, at}.
    Unknown values change nothing: named that is stopped is not named that is well.
    """
    now = row["time"]
    # a ceiling that nobody watches any more has no end
    watched = set(NAMES) - (set() if settings["deferred_dns"] else {"deferred_dns"})
    over = {name: since for name, since in (state.get("over") or {}).items() if name in watched}
    below = dict(state.get("below") or {})
    dns = [entry for entry in state.get("dns") or [] if entry[0] > now - DNS_WINDOW]
    if row.get("deferred_dns"):
        dns.append([now, row["deferred_dns"]])
    transitions = []
    for name, value, limit, high, low in marks(row, sum(entry[1] for entry in dns), settings):
        crossed = {"name": name, "value": value, "limit": limit, "at": now}
        if high and name not in over:
            over[name] = now
            transitions.append(dict(crossed, over=True))
        if not low or name not in over:
            below.pop(name, None)
        # a clock that was set back must not hold it for ever
        elif not 0 <= now - below.setdefault(name, now) < settings["quiet"]:
            del over[name], below[name]
            transitions.append(dict(crossed, over=False))
    return transitions, {"over": over, "below": below, "dns": dns}


def words_of(transition, host):
    """One line about a transition, for people."""
    value, limit = transition["value"], transition["limit"]
    return "%s: %s: %s, %d of %d%s" % (
        host,
        "near its limit" if transition["over"] else "back to normal",
        NAMES[transition["name"]],
        value,
        limit,
        "" if transition["name"] == "deferred_dns" else " (%d %%)" % (100 * value // limit),
    )


def mail(to, subject, text, command="/usr/sbin/sendmail"):
    """Whether the host's own sendmail(1) took it."""
    message = "To: %s\nSubject: %s\nAuto-Submitted: auto-generated\n\n%s\n" % (", ".join(to), subject, text)
    try:
        return not subprocess.run(
            [command, "-i", "--", *to],
            input=message.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENV,
            timeout=20,
            check=False,
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return False


class Alerts:
    """Which ceilings are near, and mails that wait: what must outlive a restart, in the file *path*."""

    def __init__(self, path, host, settings):
        self.path, self.host, self.settings, self.written = path, host, settings, None
        self.state, self.mails = {}, []
        try:
            with open(path, encoding="utf-8") as source:
                kept = json.load(source)
            self.state = dict(kept["ceilings"])
            # a mail of a former version has its words and not what they are about
            self.mails = [waiting for waiting in kept["mails"] if "name" in waiting]
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def judge(self, row):
        """Report what crossed a ceiling: to syslog always, by mail where somebody is named."""
        transitions, self.state = ceilings(row, self.state, self.settings)
        for transition in transitions:
            level = syslog.LOG_WARNING if transition["over"] else syslog.LOG_NOTICE
            syslog.syslog(level, words_of(transition, self.host))
            self.mails.append(dict(transition, tries=0, next=0))
        self.mails = self.mails[-PENDING:] if self.settings["alert_to"] else []
        for waiting in list(self.mails):
            if row["time"] < waiting["next"] <= row["time"] + 86400:
                continue
            text = words_of(waiting, self.host)
            stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(waiting["at"]))
            if mail(self.settings["alert_to"], text, "%s  %s" % (stamp, text)):
                self.mails.remove(waiting)
                continue
            waiting["tries"] += 1
            waiting["next"] = row["time"] + 60 * waiting["tries"]
            if waiting["tries"] >= TRIES:
                self.mails.remove(waiting)
                syslog.syslog(syslog.LOG_ERR, "sendmail did not take it in %d tries: %s" % (TRIES, text))
            # one that hangs would hang with each of the others, and nothing is measured meanwhile
            break
        self.write()

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
