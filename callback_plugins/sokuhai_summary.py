# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Counts what a run costs: the commands really executed on each host, tasks, changes and seconds."""

DOCUMENTATION = """
name: sokuhai_summary
type: aggregate
short_description: Counts remote commands, tasks, changes and seconds of a run
description:
  - Counts every command that a connection plugin really executes on a host (a module with pipelining is one, a template
    whose file is unchanged is two), because that is what a run costs on a slow line; task counts hide it.
  - Prints one line at the end and, where C(SOKUHAI_SUMMARY) names a file, writes as JSON seconds, tasks, remote_commands,
    remote_commands_by_task, and hosts with Ansible's own counts of each.
requirements:
  - enable in configuration
"""

import collections
import json
import os
import tempfile
import time

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """One instance per run. Workers are forked processes, so each appends its line to a file that they share."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sokuhai_summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._started = time.monotonic()
        self._tasks = 0
        handle, self._log = tempfile.mkstemp(prefix="sokuhai-remote-")
        os.close(handle)
        self._count_remote_commands()

    def _count_remote_commands(self):
        log, original = self._log, ActionBase._low_level_execute_command

        def counted(action, *args, **kwargs):
            # controller-side actions run their commands through the local connection: those are no remote commands
            if action._connection.transport != "local":
                handle = os.open(log, os.O_WRONLY | os.O_APPEND)
                try:
                    os.write(handle, action._task.get_name().encode() + b"\n")
                finally:
                    os.close(handle)
            return original(action, *args, **kwargs)

        ActionBase._low_level_execute_command = counted

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._tasks += 1

    def v2_playbook_on_stats(self, stats):
        with open(self._log, encoding="utf-8") as lines:
            remote = collections.Counter(line.rstrip("\n") for line in lines)
        os.unlink(self._log)
        result = {
            "seconds": round(time.monotonic() - self._started, 1),
            "tasks": self._tasks,
            "remote_commands": sum(remote.values()),
            "remote_commands_by_task": dict(remote.most_common()),
            "hosts": {host: stats.summarize(host) for host in sorted(stats.processed)},
        }
        self._display.display(
            "sokuhai: %d tasks, %d remote commands on %d host(s), %.1f s"
            % (self._tasks, result["remote_commands"], len(result["hosts"]), result["seconds"])
        )
        if target := os.environ.get("SOKUHAI_SUMMARY"):
            with open(target, "w", encoding="utf-8") as out:
                json.dump(result, out, indent=1)
