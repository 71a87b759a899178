# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The part that is nobody special: it decides when to measure, makes a row of what the other part and the host's commands say, and writes it."""

import json
import os
import select
import socket
import sys
import syslog
import time

import freebsd
from alerts import Alerts
from look import BUSY_MESSAGES
from maillog import Counts
from prometheus import Textfile
from samples import COLUMNS, COUNTED, Samples

BUSY_LOG = 1000  # bytes a second into the log that are a delivery: four recipients
CALM = 60  # seconds without a sign of one after which the delivery is over
# whether it runs, and its rc script
SERVICES = {
    "named_running": "named",
    "postfix_running": "postfix",
    "greylist_running": "sokuhai_postgrey",
    "recipients_running": "sokuhai_postfwd",
    "dkim_running": "sokuhai_dkim",
    "mta_sts_running": "mta_sts",
}
MUTE = 3  # samples in a row in which named did not answer


class Sampler:
    def __init__(self, settings, channel):
        self.settings, self.channel, self.answers = settings, channel, channel.makefile("rb")
        self.samples = Samples(os.path.join(settings["directory"], "samples.csv"))
        self.textfile = Textfile(settings["textfile"])
        state = os.path.join(settings["directory"], "state", "state.json")
        self.alerts = Alerts(state, socket.gethostname(), settings)
        self.places = {"queue": settings["queue_directory"], "log": os.path.dirname(settings["maillog"])}
        self.counts, self.named, self.log, self.kept = Counts(), None, None, {}
        self.last, self.busy_until, self.first, self.mute = 0.0, 0.0, True, 0
        self.started = []

    def ask(self, what):
        """One answer of the part that is root; SystemExit when it is gone."""
        try:
            self.channel.sendall(what)
            answer = json.loads(self.answers.readline())
            data = self.answers.read(answer.get("bytes", 0))
        except (OSError, ValueError):
            sys.exit(0)
        return answer, data

    def when_changed(self, path, ask, *others):
        """ask()'s answer, kept until *path* or one of the *others* is written again, or for an hour."""
        try:
            mark = [os.stat(file).st_mtime for file in (path, *others)]
        except OSError:
            mark = None
        kept = self.kept.get(path)
        if kept is None or kept[0] != mark or time.monotonic() - kept[1] > 3600:
            kept = self.kept[path] = (mark, time.monotonic(), ask())
        return kept[2]

    def hear(self, answered):
        """Log once when named runs and does not serve its counters, three samples in a row (it may just be starting), and once when it does again."""
        before, self.mute = self.mute, 0 if answered else min(MUTE, self.mute + 1)
        where = "%(statistics_address)s port %(statistics_port)d (statistics-channels)" % self.settings
        if self.mute == MUTE > before:
            syslog.syslog(
                syslog.LOG_ERR,
                "named runs and reports nothing on %s: is the port another's, or named built without JSON? Its recursive clients are unknown"
                % where,
            )
        elif before == MUTE > self.mute:
            syslog.syslog(syslog.LOG_NOTICE, "named reports its counters on %s again" % where)

    def of_named(self, held):
        """The columns of a named that runs. held: [sockets, descriptors, limit]."""
        row = dict(zip(("named_sockets", "named_descriptors", "named_descriptors_limit"), held))
        port, address = self.settings["statistics_port"], self.settings["named"]
        if address:
            row["named_answering"] = int(freebsd.answers(address))
        answer, before = freebsd.ask_named(self.settings["statistics_address"], port) if port else None, self.named
        if port:
            self.hear(answer is not None)
        if answer:
            row["named_recursive_clients"] = answer["recursing"]
            self.named = answer
            if before:
                # a named that was started meanwhile began at 0
                again = before["boot"] == answer["boot"]
                row.update({"named_" + name: answer[name] - again * before[name] for name in ("queries", "servfail")})
        return row

    def of_postfix(self, held, smtp):
        """The columns of a Postfix that runs. held: [sockets, descriptors, limit]; smtp: processes."""
        row = dict(zip(("postfix_sockets", "postfix_descriptors", "postfix_descriptors_limit"), held))
        main_cf = self.settings["main_cf"]
        master_cf = os.path.join(os.path.dirname(main_cf), "master.cf")
        limit = self.when_changed(main_cf, freebsd.process_limit, master_cf)
        return dict(row, postfix_processes=smtp, postfix_processes_limit=limit)

    def running(self, processes):
        """The columns of what should run: 1 where it does, 0 where it does not though rc.conf(5) enables it, None for what is unknown or disabled.

        processes: what the other part says, None where ps(1) said nothing. The policy services are those that do what they are there for: accept connections.
        """
        row = {}
        if processes is not None:
            row = {name + "_running": name in processes for name in ("named", "postfix")}
        for name in ("greylist", "recipients", "mta_sts"):
            if self.settings[name]:
                row[name + "_running"] = all(map(freebsd.accepts, self.settings[name]))
        if self.settings["dkim"]:
            # its socket is Postfix's alone
            row["dkim_running"] = freebsd.alive(self.settings["dkim"])
        return {name: 1 if runs else 0 if freebsd.enabled(SERVICES[name]) else None for name, runs in row.items()}

    def measure(self, seconds):
        """One row, {column: number or None}. seconds: since the one before."""
        answer, lines = self.ask(b"f")
        now = int(time.time())
        row = dict.fromkeys(COLUMNS)
        row.update(time=now, seconds=round(seconds, 1))
        for name, found in answer["queue"].items():
            if found is not None:
                row["queue_" + name] = found[0]
                if "age_" + name in row:
                    row["age_" + name] = max(0, now - found[1]) if found[1] else 0 if found[0] == 0 else None
        self.counts.add(lines)
        counted = self.counts.take()
        if not answer["missed"]:
            row.update((column, counted[column]) for column in COUNTED)
        self.started += answer["started"]
        row["watch_starts"] = answer["starts"]
        processes = answer["processes"] or {}
        row.update(self.running(answer["processes"]))
        if "named" in processes:
            row.update(self.of_named(processes["named"]), named_recursive_clients_limit=answer["recursive_clients"])
        if "postfix" in processes:
            row.update(self.of_postfix(processes["postfix"], processes["smtp"]))
        if answer["certificate"] is not None:
            row["certificate_days"] = (answer["certificate"] - now) // 86400
        row.update(freebsd.warm(self.settings["warm"], now))
        row.update(freebsd.kernel())
        row.update(freebsd.file_systems(self.places))
        return row

    def is_busy(self, answer, seconds):
        """Whether it is worth looking often: something may be about to be an alarm, or mail is being delivered, by the messages that wait, or, since one message
        may have tens of thousands of recipients, by the log's growth."""
        before, self.log = self.log, answer["log"]
        return (
            bool(self.alerts.state.get("since"))
            or answer["messages"] >= BUSY_MESSAGES
            or (before is not None and answer["log"] - before > BUSY_LOG * seconds)
        )

    def step(self):
        """What is to be done every busy_seconds: look whether mail is delivered, and measure when it is or when it is time. The row, or None."""
        busy, idle = self.settings["busy_seconds"], self.settings["idle_seconds"]
        now = time.monotonic()
        if self.is_busy(self.ask(b"p")[0], busy):
            self.busy_until = now + CALM
        if self.last == 0.0:
            # the first look sets where everything is counted from
            self.measure(0)
            self.last = now
            return None
        # the first line comes soon, for whoever waits to see that it runs
        if not self.first and now > self.busy_until and now - self.last < idle - busy / 2:
            return None
        row = self.measure(now - self.last)
        self.last, self.first = now, False
        self.samples.append(row)
        self.alerts.judge(row, self.started, self.counts.take_limits())
        self.started = []
        self.textfile.write(row, self.alerts.state["over"])
        return row

    def run(self):
        while True:
            began = time.monotonic()
            self.step()
            wait = self.settings["busy_seconds"] - (time.monotonic() - began)
            # the other process says nothing unasked: what comes is its end
            if select.select([self.channel], [], [], max(0.5, wait))[0]:
                return
