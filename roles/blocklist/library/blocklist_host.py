#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""FreeBSD's blocklistd (blacklistd on 14) and pf as one transaction on the host, with an undo that waits for a new connection."""

DOCUMENTATION = r"""
module: blocklist_host
short_description: Cut repeat offenders off by FreeBSD's own daemon and pf
description:
  - With O(state=present), writes the daemon's configuration, pf's anchor file, one marked block in pf.conf and what counts refusals in the log. pf reads all of it
    before anything is replaced. When the ruleset changes or pf is to be enabled, that is done by a process of its own, started by daemon(8), which takes it all
    back unless O(state=confirmed) comes in time; RV(token) names the change then. Where nothing waits, goes on as O(state=running).
  - With O(state=confirmed), asks whether this call came in over an ssh connection that is younger than the change, calls the undo off, and sets pf_enable.
  - With O(state=running), after a change was confirmed, starts the daemon, or restarts it when it is older than its configuration, has sshd report to it, and
    proves that what is listed is in pf. As a part of O(state=present) it proves that only where something changed.
options:
  state: {type: str, choices: [present, confirmed, running], default: present}
  config: {type: str, default: '', description: Text of the daemon's configuration.}
  pf_conf: {type: str, default: '', description: "Text of a pf.conf for a host without one; of one that is there, its marked lines are put in."}
  anchor: {type: str, default: '', description: "Text of pf's anchor file; empty where nothing is to be in the anchor."}
  own_anchor: {type: str, default: '', description: "The line by which pf.conf evaluates the daemon's rules itself."}
  change: {type: str, default: '', description: Text of the program that changes pf's rules and takes them back.}
  cron: {type: str, default: '', description: Text of the file of cron(8).}
  counter: {type: str, default: '', description: Text of the program that counts refusals in the log; empty for none.}
  settings: {type: str, default: '', description: Text of its settings.}
  operators: {type: list, elements: str, default: [], description: "Addresses plays came from, to be written down."}
  port: {type: int, default: 25, description: "Port that the daemon listens for, on which a listing is proved."}
  states: {type: int, default: 0, description: States that pf has to have room for.}
  sshd: {type: bool, default: true, description: Have sshd report failed logins.}
  confirm_seconds: {type: int, default: 90, description: Seconds after which an unconfirmed change is taken back.}
  token: {type: str, default: '', description: Names the change to be confirmed.}
author: sokuhai
"""

RETURN = r"""
predicted: {description: "Check mode on a host without pf's module: pf could not be asked.", type: bool, returned: state=present}
token: {description: "Names the change that waits for state=confirmed, or empty.", type: str, returned: state=present}
findings: {description: "What runs otherwise than declared, or starts otherwise at boot, which no diff shows.", type: list, returned: state=present or running}
"""

import os

from ansible.module_utils import blocklist_change, blocklist_daemon, blocklist_operator, blocklist_pf
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.blocklist_daemon import MARK
from ansible.module_utils.blocklist_pf import ANCHOR, Pf
from ansible.module_utils.blocklist_sshd import Sshd
from ansible.module_utils.sokuhai import rc
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, answer, difference, read, run, write

CRON = "/usr/local/etc/cron.d/sokuhai-blocklist"
COUNTER = "/usr/local/libexec/sokuhai-blocklist"
SETTINGS = "/usr/local/etc/sokuhai-blocklist.json"


class Blocklist:
    def __init__(self, module):
        self.p, self.check_mode = module.params, module.check_mode
        self.daemon, self.pf = blocklist_daemon.find(blocklist_operator.record()), Pf()
        self.diff, self.findings = [], []

    @property
    def changed(self):
        """Whether anything is otherwise than declared."""
        return bool(self.diff or self.findings)

    def differs(self, path, old, new):
        """Note that the file *path* has another text, None for no file. Return whether it has."""
        if old != new:
            self.diff.append(difference(path, old, new))
        return old != new

    def found(self, wrong, id, expected, found, because=()):
        """Note that something is otherwise than declared, where *wrong* says so."""
        if wrong:
            self.findings.append(finding(id, id, expected, found, because))

    def put(self, path, text, mode=0o644, keep=False):
        """Have *path* be *text*, None for no file. keep: leave a copy of what is there, which is not this role's."""
        file = File(path, text, mode)
        self.diff += file.diff()
        self.findings += file.findings()
        if not self.check_mode:
            if keep:
                write(path + ".previous", file.former, 0o600)
            file.put()

    def present(self):
        p, pf, daemon = self.p, self.pf, self.daemon
        anchor, old = p["anchor"] or None, read(pf.conf)
        predicted = not pf.loaded(load=not self.check_mode)
        new = pf.place(old, p["pf_conf"], anchor, p["states"])
        on = not predicted and pf.enabled()
        old_config = read(daemon.config)
        if not self.check_mode:
            if old_config != p["config"]:
                daemon.check(p["config"])
            self.remember(old, on)
        self.put(daemon.config, p["config"], keep=old_config is not None and MARK not in old_config)
        token = self.put_rules(old, new, anchor, on)
        if not token:
            self.running()
        return dict(self.result(), token=token, predicted=predicted)

    def remember(self, pf_conf, on):
        """Write down what there was before the role's first run, and once more whom it exempts, before that is written anywhere else: a run that is killed
        writes the same the next time."""
        known = blocklist_operator.record()
        if known is None:
            now = rc.read([self.daemon.enable, self.daemon.flags])
            known = {
                "pf_enable": self.pf.at_boot,
                "pf_was_on": on,
                "pf_had_rules": bool(self.pf.rules()),
                "pf_conf": pf_conf is not None and MARK not in pf_conf,
                "daemon": self.daemon.name,
                "daemon_enable": now.get(self.daemon.enable, "NO"),
                "daemon_flags": now.get(self.daemon.flags, ""),
            }
        if known.get("operators") != self.p["operators"]:
            blocklist_operator.remember(known, operators=self.p["operators"])

    def put_rules(self, old, new, anchor, on):
        """Have pf's rules be those of pf.conf's text *new* and of *anchor*; old: pf.conf's now. on: whether pf is enabled. Return the token of a change that waits, or ''."""
        pf, old_anchor = self.pf, read(blocklist_pf.ANCHOR_FILE)
        right = pf.evaluates_anchor() == (anchor is not None)
        if on and old is not None and (new != old or not right or self.p["own_anchor"]):
            pf.refuse_unread(old, anchor)
        boots = rc.yes(pf.at_boot)
        if not on or new != old or not boots or not right:
            self.found(not on, "pf", "enabled", "disabled")
            self.found(not boots, "rc.conf: pf_enable", "YES", pf.at_boot)
            self.found(
                not right and new == old,
                "running pf: anchor",
                "anchor %s is evaluated" % ANCHOR if anchor else "no anchor %s" % ANCHOR,
                "it is not" if anchor else "there is one",
                ["pf"],
            )
            self.differs(pf.conf, old, new)
            self.differs(blocklist_pf.ANCHOR_FILE, old_anchor, anchor)
            if not self.check_mode:
                return blocklist_change.arm(
                    self.p["change"], pf, (old, new), (old_anchor, anchor), self.p["confirm_seconds"]
                )
        elif self.differs(blocklist_pf.ANCHOR_FILE, old_anchor, anchor) or (anchor and pf.anchor_differs(anchor)):
            self.found(
                old_anchor == anchor,
                "running pf: rules of anchor %s" % ANCHOR,
                "those of %s" % blocklist_pf.ANCHOR_FILE,
                "others",
                [blocklist_pf.ANCHOR_FILE],
            )
            if not self.check_mode:
                pf.put_anchor(anchor)
        return ""

    def confirmed(self):
        change = blocklist_change.Change(self.p["token"])
        change.confirm(self.pf)
        former = read(change.path("pf.conf.before"))
        if former is not None and MARK not in former and blocklist_pf.place_of(former) is None:
            write(self.pf.conf + ".previous", former, 0o600)
        rc.apply(rc.compare({"pf_enable": "YES"}))
        return {"changed": True}

    def running(self):
        p, daemon = self.p, self.daemon
        # only now: without pf's part it would complain once a minute
        self.put(CRON, p["cron"])
        counted = os.path.exists(COUNTER)
        self.put(SETTINGS, p["settings"] if p["counter"] else None)
        self.put(COUNTER, p["counter"] or None, 0o755)
        if counted and not p["counter"] and not self.check_mode:
            run(["pfctl", "-q", "-a", ANCHOR, "-t", "sokuhai_rejects", "-T", "flush"])
        self.put_sshd()
        now = daemon.process()
        flags = rc.read([daemon.flags]).get(daemon.flags, "")
        changes = rc.compare({daemon.enable: "YES", daemon.flags: daemon.wanted_flags(flags)})
        for key, (found, wanted) in changes.items():
            self.found(True, "rc.conf: " + key, wanted, found or "")
        self.found(now is None, "service " + daemon.name, "running", "not running")
        stale = now is not None and (now.older_than(daemon.config) or not daemon.keeps_list(now.command))
        self.found(
            stale,
            "process " + daemon.name,
            "started with -r, after its configuration was written",
            now and ("without -r" if not daemon.keeps_list(now.command) else "older"),
            [daemon.config, "rc.conf: " + daemon.flags],
        )
        if not self.check_mode:
            rc.apply(changes)
            if now is None or stale:
                daemon.start()
            if p["counter"]:
                status, out, err = run([COUNTER, SETTINGS, "-v"])
                if status:
                    raise Refused("blocklist_rejects: %s exits %d: %s" % (COUNTER, status, (err or out).strip()[-500:]))
            if self.changed or p["state"] == "running":
                daemon.prove(p["port"])
        return self.result()

    def put_sshd(self):
        sshd = Sshd(self.p["sshd"])
        if sshd.old is None:
            return
        if self.differs(sshd.path, sshd.old, sshd.new) or sshd.is_stale():
            self.found(
                sshd.old == sshd.new,
                "process sshd: configuration",
                "read after it was written",
                "older",
                [sshd.path],
            )
            if not self.check_mode:
                sshd.put()

    def result(self):
        return {"changed": self.changed, "diff": self.diff, "findings": self.findings}


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "confirmed", "running"], "default": "present"},
            **{
                name: {"type": "str", "default": "", "no_log": False}
                for name in (
                    "config",
                    "pf_conf",
                    "anchor",
                    "own_anchor",
                    "change",
                    "cron",
                    "counter",
                    "settings",
                    "token",
                )
            },
            "operators": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "default": 25},
            "states": {"type": "int", "default": 0},
            "sshd": {"type": "bool", "default": True},
            "confirm_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: getattr(Blocklist(module), module.params["state"])())


if __name__ == "__main__":
    main()
