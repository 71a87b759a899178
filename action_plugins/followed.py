# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Runs a module that leaves a long job on the host, follows that job and shows how far it is.

    - name: Build it
      followed:
        module: ports_port
        arguments: {...}

The module answers in two ways. To its arguments alone: it did what was to be done (no `finished`, or true), or a job of it is under way (finished:
false; `attached`: an earlier run began it; log), which a check run does not wait for. To the argument `step: follow` besides: what Job.progress of module_utils/sokuhai/job gives,
and the outcome once the job has ended.
"""

import time

from ansible.plugins.action import ActionBase


def ended(answer):
    """Whether there is nothing more to follow in a module's answer (dict)."""
    return bool(answer.get("failed") or answer.get("finished", True))


class ActionModule(ActionBase):
    """A job of an hour would otherwise be a silent task, and its end would hang on the connection."""

    TRANSFERS_FILES = False
    #: How often within one run a job is begun again whose process was lost (the host went down), or that an earlier run had begun.
    AGAIN = 2

    def run(self, tmp=None, task_vars=None):
        _valid, given = self.validate_argument_spec(
            {
                "module": {"type": "str", "required": True},
                "arguments": {"type": "dict", "required": True},
                # what is built, for the lines that are shown
                "title": {"type": "str", "required": True},
                # seconds between two looks
                "every": {"type": "float", "default": 10},
                # hours after which it is no longer waited for; the job itself goes on. 0: no end
                "hours": {"type": "float", "default": 0},
            }
        )
        result = super().run(tmp, task_vars)
        self.given, self.task_vars = given, task_vars
        answer = first = self.ask()
        if self._task.check_mode and not ended(answer):
            # what an earlier run began; nobody waits for hours to learn what would be changed
            note = "%s: not judged, a build of an earlier run is under way (%s)" % (given["title"], first["log"])
            return dict(result, changed=False, findings=[], notes=[note])
        for _ in range(self.AGAIN + 1):
            if ended(answer):
                break
            attached = answer.get("attached", False)
            self.show(
                "%s, log %s" % ("following the build of an earlier run" if attached else "building", answer["log"])
            )
            answer = self.follow()
            if answer.get("lost") or (attached and not answer.get("too_long")):
                # what an earlier run declared may be something else: it is the module's to say whether that was all
                answer = dict(self.ask(), changed=True)
        if not ended(answer):
            answer = {
                "failed": True,
                "msg": "%s: its process was lost again and again, or never ended; see ps -ax and %s"
                % (given["title"], first["log"]),
            }
        for key in ("findings", "diff"):
            if key in first:
                answer.setdefault(key, first[key])
        result.update(answer)
        return result

    def ask(self, **more):
        return self._execute_module(
            module_name=self.given["module"],
            module_args=dict(self.given["arguments"], **more),
            task_vars=self.task_vars,
        )

    def show(self, text):
        self._display.display("%s: %s: %s" % (self.task_vars.get("inventory_hostname"), self.given["title"], text))

    def follow(self):
        """Return the module's answer once the job has ended, was lost, or takes longer than it is waited for."""
        end = time.monotonic() + self.given["hours"] * 3600
        pause, shown = 0.5, None
        while True:
            time.sleep(pause)
            pause = min(self.given["every"], pause * 2)
            answer = self.ask(step="follow")
            if answer.get("failed") or answer["finished"]:
                return answer
            if self.given["hours"] and time.monotonic() > end:
                return dict(
                    answer,
                    failed=True,
                    too_long=True,
                    msg="%s is still being built after %g hours; the build goes on (%s), the next run picks it up"
                    % (self.given["title"], self.given["hours"], answer["log"]),
                )
            line = answer["phase"], answer["last"]
            if line != shown:
                shown = line
                self.show("%s, %d:%02d: %s" % (line[0], *divmod(answer["elapsed"], 60), line[1]))
