# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""Alarms on their way: what is raised and what has ended since the last sample, in syslog and by mail, and what must outlive a restart."""

import json
import os
import subprocess
import syslog
import time

from alarms import judge, words_of
from freebsd import ENV

TRIES, PENDING = 10, 20  # of one mail, and mails that wait


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
    """Which alarms are raised, and mails that wait: what must outlive a restart, in the file *path*."""

    def __init__(self, path, host, settings):
        self.path, self.host, self.settings, self.written = path, host, settings, None
        self.state, self.mails = {}, []
        try:
            with open(path, encoding="utf-8") as source:
                kept = json.load(source)
            # what has to last begins again: nobody looked meanwhile, and after a boot it may not be up yet
            self.state = dict(kept["ceilings"], since={})
            # a mail of a former version has its words and not what they are about
            self.mails = [waiting for waiting in kept["mails"] if "name" in waiting]
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def judge(self, row):
        """Report what is raised or has ended: to syslog always, by mail where somebody is named."""
        transitions, self.state = judge(row, self.state, self.settings)
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
