# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""From the callback's records to hosts, each with its status, and findings. Pure."""

from . import findings as of
from .shown import sane

#: From the best to the worst; exit statuses are command.py's
STATUSES = ("clean", "drift", "unreachable", "error")
# Postfix's set is made of what these roles say: without them its check run compares the host with half of what is declared.
FEEDS = {"postfix": ("access", "ahead", "dkim", "greylist", "spf")}
# What preflight has refused would be refused once more by these, in other words.
SAME = {"limits": ("preflight",)}
#: The role that looks at what runs: a host on which it did not come to its end is not judged
LAST = "drift"


def digest(records):
    """Records of the callback -> ({host: {status, messages, notes, and what is shown}}, findings, errors of the whole run)."""
    errors = ["sokuhai_drift, %s: %s" % (r["where"], r["message"]) for r in records if r["event"] == "broken"]
    end = next((r for r in reversed(records) if r["event"] == "end"), None)
    results = [r for r in records if r["event"] == "result"]
    names = sorted({r["host"] for r in results} | set(end["hosts"] if end else []))
    if not end:
        errors.append("the run was interrupted")
    elif not names:
        errors.append("no host of groups mailhosts and builders was checked: see the inventory and --limit")
    hosts, findings = {}, []
    for name in names:
        hosts[name], more = of_host([r for r in results if r["host"] == name], bool(end))
        findings += more
        shown = [r for r in records if r["event"] == "shown" and r["host"] == name]
        # the chain was computed here, the others are what a host says
        hosts[name].update(
            {r["what"]: r["value"] if r["what"] == "chain" else sane(r["what"], r["value"]) for r in shown}
        )
        if end and name in end.get("seconds", {}):
            hosts[name]["seconds"] = end["seconds"][name]
    return hosts, findings, errors


def worst(hosts, errors):
    """The status of the whole run; that of no host at all is an error."""
    return "error" if errors else max((host["status"] for host in hosts.values()), key=STATUSES.index, default="error")


def declared_wrongly(record):
    """Whether a failed task says that the inventory is wrong, which is not drift."""
    return record["action"].rpartition(".")[2] in ("preflight_declared", "validate_argument_spec")


def of_host(records, ended):
    """({status, messages, notes}, findings) of one host's records, in the order in which they were written. *ended*: whether the run did."""
    wrong = [r for r in records if r["status"] == "failed" and declared_wrongly(r)]
    if wrong:
        messages = ["declared wrongly: " + r.get("msg", of.HIDDEN) for r in wrong]
        return {"status": "error", "messages": messages, "notes": []}, []
    host = Host()
    for record in records:
        {"ok": host.ended, "failed": host.failed, "unreachable": host.lost}[record["status"]](record)
    return host.result(ended)


class Host:
    """What one host's records amount to."""

    def __init__(self):
        self.findings, self.messages, self.notes, self.away = [], [], [], []
        #: roles of which a task failed, results that would change something unnamed, whether the run came to the last role
        self.refused, self.unnamed, self.looked = [], [], False

    def rests_on(self, role):
        """The roles that failed and without which *role* cannot be judged."""
        return [feed for feed in FEEDS.get(role, ()) if feed in self.refused]

    def lost(self, record):
        self.away.append(record["msg"])

    def failed(self, record):
        role, broken = record["role"], record.get("broken")
        # what follows from an earlier failure in this role, or from what it would have handed on; what a role before has refused in other words
        others = SAME.get(role, ()) + FEEDS.get(role, ())
        known = (
            role in self.refused or any(other in self.refused for other in others) or (broken and bool(self.refused))
        )
        self.refused.append(role)
        if known:
            return
        message = record.get("msg", of.HIDDEN)
        if broken:
            self.messages.append("%s, %s: %s" % (role or "playbook", record["task"], message))
        else:
            thing = "refused: %s" % record["task"]
            self.findings.append(of.finding(record, "refused", thing, "accepted", message, remedy="refused"))

    def ended(self, record):
        role = record["role"]
        self.looked = self.looked or role == LAST
        self.notes += map(str, record.get("notes") or [])
        missing = self.rests_on(role)
        if missing:
            if record["changed"]:
                self.notes.append("role %s is not judged: it rests on %s, which refused" % (role, ", ".join(missing)))
            return
        found = of.of_result(record)
        self.findings += found
        if record["changed"] and not found:
            self.unnamed.append(record)

    def result(self, ended):
        """({status, messages, notes}, findings). *ended*: whether the whole run was."""
        for record in self.unnamed:
            # a wrong mode is named by role drift; but nothing that would be changed is passed over
            if not any(entry["role"] == record["role"] for entry in self.findings):
                self.findings.append(of.of_arguments(record))
        findings = of.without_consequences(of.merged(self.findings))
        if not self.messages and not self.away and not (ended and self.looked):
            last = ": " + findings[-1]["found"] if findings else ""
            self.messages = ["the check run did not finish on this host" + last]
        if self.messages:
            status, messages = "error", self.messages
        elif self.away:
            status, messages = "unreachable", [" ".join(self.away[0].split())]
        else:
            status, messages = "drift" if findings else "clean", []
        return {"status": status, "messages": messages, "notes": sorted(set(self.notes))}, findings
