# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""Alarms on their way: what is raised and what has ended since the last sample, in syslog and out of the host, and what must outlive a restart."""

import json
import os
import syslog

import ways
from alarms import fresh, judge, words_of

TRIES, PENDING = 10, 20  # of one alarm, and alarms that wait to be sent


class Alerts:
    """Which alarms are raised, and which wait to be sent: what must outlive a restart, in the file *path*."""

    def __init__(self, path, host, settings):
        self.path, self.host, self.settings, self.written = path, host, settings, None
        self.state, self.mails, self.told = {}, [], {}
        try:
            with open(path, encoding="utf-8") as source:
                kept = json.load(source)
            # what has to last begins again: nobody looked meanwhile, and after a boot it may not be up yet
            self.state = dict(kept["ceilings"], since={})
            # one of a former version does not say which way it has still to go, or what it is about
            self.mails = [waiting for waiting in kept["mails"] if "ways" in waiting]
            self.told = dict(kept.get("told") or {})
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def judge(self, row, started=(), limits=()):
        """Report what is raised or has ended, what the watch has *started* (lines), and users at their *limits* of recipients (limit_of() of maillog.py): to
        syslog always, and each way that is declared."""
        transitions, self.state = judge(row, self.state, self.settings)
        lines, self.told = fresh(limits, self.told, row["time"])
        events = [
            {
                "name": name,
                "over": True,
                "value": 0,
                "limit": 0,
                "at": row["time"],
                "text": "%s: %s" % (self.host, line),
            }
            for name, said in (("restart", started), ("recipients", lines))
            for line in said
        ]
        for transition in events + [dict(one, text=words_of(one, self.host)) for one in transitions]:
            text = transition["text"]
            syslog.syslog(syslog.LOG_WARNING if transition["over"] else syslog.LOG_NOTICE, text)
            self.mails.append(dict(transition, ways=ways.opened(self.settings), tries=0, next=0))
        self.mails = [waiting for waiting in self.mails[-PENDING:] if waiting["ways"]]
        for waiting in list(self.mails):
            if row["time"] < waiting["next"] <= row["time"] + 86400:
                continue
            declared = [way for way in waiting["ways"] if way in ways.opened(self.settings)]
            waiting["ways"] = [way for way in declared if not ways.send(way, self.settings, self.host, waiting)]
            if not waiting["ways"]:
                self.mails.remove(waiting)
                continue
            waiting["tries"] += 1
            waiting["next"] = row["time"] + 60 * waiting["tries"]
            if waiting["tries"] >= TRIES:
                self.mails.remove(waiting)
                tried = "not taken in %d tries by %s: %s" % (TRIES, " and ".join(waiting["ways"]), waiting["text"])
                syslog.syslog(syslog.LOG_ERR, tried)
            # one that hangs would hang with each of the others, and nothing is measured meanwhile
            break
        self.write()

    def write(self):
        text = json.dumps({"ceilings": self.state, "mails": self.mails, "told": self.told})
        if text == self.written:
            return
        try:
            with open(self.path + ".new", "w", encoding="utf-8") as target:
                target.write(text)
            os.replace(self.path + ".new", self.path)
            self.written = text
        except OSError:
            pass
