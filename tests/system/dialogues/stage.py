"""The practice host in one profile, told what the dialogues need, and what was said, logged and delivered there."""

import collections
import json
import pathlib
import re
import time

import yaml
from practice import SLOW, applied_book

from . import script

FOLDER = pathlib.Path(__file__).resolve().parent
ROWS = script.load()
TOLD = yaml.safe_load((FOLDER / "variables.yml").read_text())
# --tags postfix runs all that decides who may send
TAGS = "postfix"
GREYLIST, AGENT = "sokuhai_postgrey", "/usr/local/bin/policyd-spf"


def put_back(lab, box):
    """Give the host the lab's own values and root's former mailbox: later tests rely on both."""
    lab.sh("sh", "-c", "cat >/var/mail/root" if box else "rm -f /var/mail/root", stdin=box)
    applied_book("mail_only.yml", lab)


class Stage:
    def __init__(self, lab, profile):
        self.lab, self.profile = lab, profile
        self.run = f"{profile}{int(time.time())}"
        self.replies, self.lines, self.mails = {}, [], []

    def configure(self, changes=None):
        """Play site.yml for the profile with variables.yml and *changes*. Raises AssertionError with what it said."""
        variables = {**TOLD["all"], **TOLD[self.profile], "sokuhai_profile": self.profile, **(changes or {})}
        self.lab.applied("site.yml", "--tags", TAGS, variables=variables)

    def speak(self, rows, parallel=script.PARALLEL):
        """Play rows in the clients' namespace and return {id: replies}."""
        order = json.dumps(script.plan(rows, self.profile, self.run, parallel))
        return json.loads(self.lab.sh("python3", str(FOLDER / "player.py"), host="clients", stdin=order).stdout)

    def act(self, phase):
        """Play the rows of a phase and gather what they left behind."""
        rows = [
            row
            for row in ROWS
            if row["phase"] == phase
            and self.profile in row["profiles"]
            and not script.needs(row, self.profile) & self.lab.lacks
        ]
        if not rows:
            return
        mark = int(self.lab.sh("sh", "-c", "wc -c </var/log/maillog").stdout)
        self.replies |= self.speak(rows)
        wanted = {row["id"]: script.wanted_copies(row, self.profile)[0] for row in rows}
        deadline = time.monotonic() + 20 * SLOW
        while True:
            self.mails = self.arrived()
            if all(
                sum(f"X-Lab-Token: {self.run}.{id}\n" in mail for mail in self.mails) >= count
                for id, count in wanted.items()
            ):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.lines += self.lab.sh("tail", "-c", f"+{mark + 1}", "/var/log/maillog").stdout.splitlines()

    def arrived(self):
        """Whole messages from root's mailbox, and the sinks' entries written as if they were some."""
        mails = re.split(r"^From .*\n", self.lab.mailbox(), flags=re.M)
        log = self.lab.state / "sink.jsonl"
        for line in log.read_text().splitlines() if log.exists() else []:
            entry = json.loads(line)
            if entry.get("token", "").startswith(self.run):
                mails.append(f"X-Lab-Token: {entry['token']}\n\n")
        return mails

    def delivered(self):
        """{token: how many mails with it in their header are in root's mailbox} of this run."""
        headers = (mail.partition("\n\n")[0] for mail in re.split(r"^From .*\n", self.lab.mailbox(), flags=re.M))
        return collections.Counter(re.findall(rf"^X-Lab-Token: ({self.run}\.\S+)$", "\n".join(headers), re.M))

    def sunk(self):
        """Tokens, and local parts of recipients, of all that the sinks wrote down since the lab is up."""
        log = self.lab.state / "sink.jsonl"
        entries = map(json.loads, log.read_text().splitlines() if log.exists() else [])
        return {word for entry in entries for word in (entry.get("token"), entry["recipient"].partition("@")[0])}

    def queued(self):
        """Lines of postqueue -j about mails that are still to be delivered."""
        return self.lab.sh("postqueue", "-j").stdout.splitlines()

    # --- the lab's state in each phase of the rows

    def normal(self):
        self.act("normal")

    def dnsbl_broken(self):
        self.zones_that({"zen.spamhaus.org": "answer=servfail", "bl.spamcop.net": "answer=refused"}, "dnsbl-broken")

    def dnsbl_silent(self):
        self.zones_that({"zen.spamhaus.org": "loss=1", "bl.spamcop.net": "loss=1"}, "dnsbl-silent")

    def zones_that(self, behave, phase):
        """Play a phase while zones of the simulated internet behave as {zone: how} says."""
        try:
            for zone, how in behave.items():
                assert self.lab.internet("ctl", "set", zone, how).returncode == 0
            self.act(phase)
        finally:
            self.lab.internet("ctl", "reset")

    def policy_down(self):
        """Both kinds of service are away while the rows are played, and back afterwards."""
        if self.lab.lacks & {"greylist", "spf"}:
            return
        # smtpd processes keep their connections to an agent that was started already. After a reload one of them may still take a client.
        self.lab.sh(
            "sh",
            "-c",
            f"service {GREYLIST} stop && mv {AGENT} {AGENT}.away && {{ service postfix stop; service postfix start; }} > /dev/null 2>&1 < /dev/null",
        )
        try:
            self.act("policy-down")
        finally:
            self.lab.sh("sh", "-c", f"mv {AGENT}.away {AGENT} && service {GREYLIST} start")

    def policy_back(self):
        self.act("policy-back")

    def spf_refuse(self):
        if "spf" in self.lab.lacks:
            return
        # below the 10 s after which named says SERVFAIL, which the agent's library takes for no record
        self.configure({"sokuhai_spf": "refuse", "spf_results": {"temperror": "defer"}, "spf_lookup_time": 5})
        self.act("spf-refuse")

    def spf_silent(self):
        self.zones_that({"broken.test": "loss=1"}, "spf-silent")

    def spf_defer(self):
        self.zones_that({"broken.test": "loss=1"}, "spf-defer")

    def spf_defer_back(self):
        # named remembers for a second that nobody answered
        time.sleep(2)
        self.act("spf-defer-back")
