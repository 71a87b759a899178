# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Records what a check run would change, what it refuses, and what the modules found; tools/drift makes a report of it."""

DOCUMENTATION = """
name: sokuhai_drift
type: notification
short_description: Records the results of a check run for tools/drift
description:
  - Appends one JSON object a line to the file that C(SOKUHAI_DRIFT) names, and does nothing where it names none.
  - While it records, no failure ends a host's run (every play gets C(ignore_errors)), so that what one role refuses does not hide
    what the next one would say. It is an error outside check mode, where this would be dangerous.
  - The record C(end) is written last. A file without it is of a run that was broken off.
requirements:
  - enable in configuration
"""

import functools
import json
import os
import time

from ansible import context
from ansible.plugins.callback import CallbackBase

# What of a task's arguments names the thing that it is about, where its module says nothing
NAMED = ("name", "path", "dest")
# A task that has this variable tells what report and page show beside what is judged, under the name that is its value.
SHOWN = "page_shows"
# A play that has this variable names by it what puts right that which its tasks would change: a word of tools/drift_report/remedies.py.
REMEDY = "__drift_remedy"


def guarded(method):
    """A callback that fails is a warning to Ansible; here it would be a finding that is lost, so it is recorded itself."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        if not self.target:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as problem:
            self.write(
                {"event": "broken", "where": method.__name__, "message": "%s: %s" % (type(problem).__name__, problem)}
            )

    return wrapper


def refuses(result):
    """Whether a failed task (its result, a dict) refuses in its own words: a module that answered, fail, assert. Everything else broke down."""
    return "invocation" in result or "assertion" in result or hidden(result)


def hidden(result):
    """Whether a task result (dict) was censored by no_log."""
    return bool(result.get("_ansible_no_log")) or "censored" in result


class CallbackModule(CallbackBase):
    """One instance per run, in the controlling process."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "sokuhai_drift"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.target = os.environ.get("SOKUHAI_DRIFT")
        self.began, self.spent, self.remedy = {}, {}, ""

    def write(self, record):
        with open(self.target, "a", encoding="utf-8") as out:
            out.write(json.dumps(record, default=str) + "\n")

    @guarded
    def v2_playbook_on_start(self, playbook):
        if not context.CLIARGS.get("check"):
            # an exception of a callback is only a warning to Ansible
            self._display.error("sokuhai_drift: SOKUHAI_DRIFT is set, but this is not a check run")
            raise SystemExit(1)
        for play in playbook.get_plays():
            play.ignore_errors = True
        self.write({"event": "start"})

    @guarded
    def v2_playbook_on_play_start(self, play):
        self.remedy = play.get_vars().get(REMEDY, "")

    def record(self, result, status):
        data = result._result
        # playbooks/drift.yml says by this who is to hear of a host, before any host is contacted
        if "__drift_alert_to" in data.get("ansible_facts", {}):
            self.write(
                {"event": "alert", "host": result._host.get_name(), "to": data["ansible_facts"]["__drift_alert_to"]}
            )
            return
        # a loop's own result repeats those of its items
        if "results" in data and status != "unreachable":
            return
        task = result._task
        action = task.resolved_action or task.action
        if self.shown(result, status):
            return
        changed = bool(data.get("changed"))
        if status == "ok" and not (changed or data.get("notes") or "findings" in data):
            return
        record = {
            "event": "result",
            "host": result._host.get_name(),
            "role": task._role.get_name() if task._role else "",
            "task": task.get_name().rpartition(" : ")[2],
            "action": action,
            "status": status,
            "changed": changed,
            "remedy": self.remedy,
        }
        if status == "failed":
            record["broken"] = not (refuses(data) or action.rpartition(".")[2] == "fail")
        if hidden(data):
            record["hidden"] = True
        else:
            given = (data.get("invocation") or {}).get("module_args") or {}
            record.update(
                item=str(data.get("_ansible_item_label", "")),
                msg=str(data.get("msg", "")),
                diff=data.get("diff") or [],
                given={key: given[key] for key in NAMED if key in given},
                **{key: data[key] for key in ("findings", "notes") if key in data},
            )
        self.write(record)

    # A host's share of the run: with many hosts the whole of it says little of one.
    @guarded
    def v2_runner_on_start(self, host, task):
        self.began[host.get_name(), task._uuid] = time.monotonic()

    def ended(self, result):
        name = result._host.get_name()
        began = self.began.pop((name, result._task._uuid), None)
        if began is not None:
            self.spent[name] = self.spent.get(name, 0) + time.monotonic() - began

    @guarded
    def v2_runner_on_skipped(self, result):
        self.ended(result)

    def shown(self, result, status):
        """Write what is shown and not judged; return whether that is all there is to a result. So none of these, when it fails, is taken for drift."""
        data, shown = result._result, {"event": "shown", "host": result._host.get_name()}
        chain = data.get("ansible_facts", {}).get("preflight_chain")
        if chain:
            value = {"links": chain["links"], "problems": [one["message"] for one in chain["problems"]]}
            self.write({**shown, "what": "chain", "value": value})
        what = result._task.get_vars().get(SHOWN)
        if what is None or status == "unreachable":
            return False
        self.write({**shown, "what": what, "value": data if status == "ok" else {"error": str(data.get("msg", ""))}})
        return True

    @guarded
    def v2_runner_on_ok(self, result):
        self.ended(result)
        self.record(result, "ok")

    @guarded
    def v2_runner_item_on_ok(self, result):
        self.record(result, "ok")

    @guarded
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.ended(result)
        self.record(result, "failed")

    @guarded
    def v2_runner_item_on_failed(self, result):
        self.record(result, "failed")

    @guarded
    def v2_runner_on_unreachable(self, result):
        self.ended(result)
        self.record(result, "unreachable")

    @guarded
    def v2_playbook_on_stats(self, stats):
        self.write(
            {
                "event": "end",
                "hosts": sorted(stats.processed),
                "seconds": {name: round(spent, 1) for name, spent in self.spent.items()},
            }
        )
