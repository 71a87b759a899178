# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Follows the build that module ports_port has set going, and shows how far it is."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase

# How often a build whose process was lost (the host went down) is taken up again within one run.
TAKE_UP = 2


class ActionModule(ActionBase):
    """The module in steps: apply sets the build going, follow asks until it has ended. A build of half an hour would otherwise be a silent task,
    and its end would hang on the connection."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        poll = float(self._task.args.get("settings", {}).get("poll", 10))
        settings = {key: value for key, value in self._task.args.get("settings", {}).items() if key != "poll"}
        arguments = dict(self._task.args, settings=settings)
        answer = self._execute_module(module_name="ports_port", module_args=arguments, task_vars=task_vars)
        if answer.get("failed") or answer.get("finished", True):
            result.update(answer)
            return result
        started, host = answer, task_vars.get("inventory_hostname", "")
        name = arguments.get("origin", "") + ("@" + arguments["flavor"] if arguments.get("flavor") else "")
        self._display.display(
            "%s: building %s, %s %s"
            % (
                host,
                name,
                "following the build that an earlier run began, log" if answer.get("attached") else "log",
                answer.get("log"),
            )
        )
        pause, taken_up, shown = 0.5, 0, None
        while True:
            time.sleep(pause)
            pause = min(poll, pause * 2)
            answer = self._execute_module(
                module_name="ports_port", module_args=dict(arguments, step="follow"), task_vars=task_vars
            )
            if answer.get("lost"):
                taken_up += 1
                if taken_up > TAKE_UP:
                    answer.update(
                        failed=True,
                        msg="%s: the build's process was lost %d times; see %s" % (name, taken_up, answer.get("log")),
                    )
                else:
                    answer = self._execute_module(module_name="ports_port", module_args=arguments, task_vars=task_vars)
                    if not answer.get("failed") and not answer.get("finished", True):
                        continue
            if (answer.get("finished") or answer.get("failed")) and not answer.get("lost") and started.get("attached"):
                # the earlier run may have been told something else, and so has failed or succeeded at something else
                taken_up += 1
                if taken_up > TAKE_UP:
                    answer.update(
                        failed=True,
                        msg="%s: a process of an earlier build has not ended; see ps -ax and %s"
                        % (name, answer.get("log")),
                    )
                    break
                started = self._execute_module(module_name="ports_port", module_args=arguments, task_vars=task_vars)
                if started.get("failed") or started.get("finished", True):
                    answer = dict(started, changed=True)
                    break
                continue
            if answer.get("failed") or answer.get("finished"):
                break
            line = (answer.get("phase"), answer.get("last"))
            if line != shown:
                shown = line
                minutes, seconds = divmod(int(answer.get("elapsed", 0)), 60)
                self._display.display(
                    "%s: %s, %s, %d:%02d: %s" % (host, name, answer.get("phase"), minutes, seconds, answer.get("last"))
                )
        result.update(answer)
        for key in ("drift", "diff", "build"):
            if key in started and key not in answer:
                result[key] = started[key]
        return result
