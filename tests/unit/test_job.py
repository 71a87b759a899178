# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A job on the host, in processes of its own: detached, found again, logged, ended in time; and the plugin that follows it."""

import os
import pathlib
import signal
import subprocess
import threading
import types

import pytest
from role_modules import load, util

job, shared, process = (util("sokuhai." + name) for name in ("job", "host", "process"))
followed = load("action_plugins/followed.py")


@pytest.fixture
def one(tmp_path):
    return job.Job(str(tmp_path / "state"), str(tmp_path / "log/job.log"))


def ended(one):
    assert shared.wait_until(lambda: one.progress()["finished"], 30)
    return one.progress()


def test_it_runs_on_by_itself_and_its_record_says_what_became_of_it(one):
    assert not one.running() and one.read() == {}

    def work(doing):
        doing.phase("build", with_it=1)
        doing.command(["sh", "-c", "echo pid $$; echo to stderr >&2"])
        return {"size": 5}

    assert one.begin({"phase": "begin", "name": "x"}, work)
    assert not ended(one)["lost"]
    record = one.outcome()
    assert record["phase"] == "done" and (record["name"], record["with_it"], record["size"]) == ("x", 1, 5)
    assert record["pid"] != os.getpid() and record["finished"] >= record["since"]
    log = pathlib.Path(one.log).read_text()
    assert "to stderr" in log and "=> sokuhai: build" in log
    # a second time: the log of the first is kept beside
    assert one.begin({"phase": "begin"}, lambda doing: None) and ended(one)
    assert pathlib.Path(one.log + ".0").read_text() == log


def test_what_has_ended_and_still_holds_the_lock_is_not_taken_for_running(one):
    assert one.begin({"phase": "begin"}, lambda doing: None) and ended(one)
    descriptor = shared.hold(one.lock_file, 60)
    threading.Timer(0.2, os.close, [descriptor]).start()
    assert one.begin({"phase": "begin"}, lambda doing: None) and ended(one)


def test_a_failure_has_its_phase_its_reason_and_the_end_of_the_log(one):
    def work(doing):
        doing.phase("build")
        doing.command(["sh", "-c", "echo no such thing; exit 3"], "make package")

    assert one.begin({"phase": "begin"}, work) and not ended(one)["lost"]
    record = one.read()
    assert (record["phase"], record["failed_in"]) == ("failed", "build")
    with pytest.raises(shared.Refused, match="make package.*3.*build.*\n.*job.log(.|\n)*no such thing"):
        one.outcome()


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyError("x")], ids=repr)
def test_whatever_it_fails_by_is_recorded(one, error):
    def work(doing):
        raise error

    assert one.begin({"phase": "begin"}, work) and ended(one)
    assert one.read()["phase"] == "failed" and str(error) in one.read()["message"]


def test_what_takes_too_long_is_ended_and_the_variable_named(one):
    assert one.begin({"phase": "begin"}, lambda doing: doing.command(["sleep", "1000"]), limit=("x_timeout", 1))
    assert ended(one) and "x_timeout = 1 s" in one.read()["message"]


def test_what_is_ended_may_clean_up_and_what_it_leaves_is_killed(tmp_path):
    left, ready = tmp_path / "left", tmp_path / "ready"
    script = """trap 'echo cleaned up; exit' TERM
sh -c 'trap "" TERM; echo $$ > "$0"; exec sleep 1000' "$0" &
while [ ! -s "$0" ]; do sleep 0.1; done
: > "$1"; wait"""
    words = ["sh", "-c", script, str(left), str(ready)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as begun:
        try:
            assert shared.wait_until(ready.exists, 180)
            job.end_group(begun)
        finally:
            begun.kill()
        assert begun.stdout.read() == "cleaned up\n"
    assert shared.wait_until(lambda: not process.table(int(left.read_text())), 180), "it heeds no TERM"


def test_one_that_is_killed_is_lost_and_its_children_hold_the_lock_until_they_end(one, tmp_path):
    gate = tmp_path / "gate"

    def work(doing):
        doing.phase("build")
        doing.command(["sh", "-c", f"echo $$ > {gate}; exec sleep 1000"], hold=True)

    assert one.begin({"phase": "begin"}, work)
    assert shared.wait_until(lambda: gate.exists() and gate.read_text().strip(), 30)
    assert one.running() and not one.begin({"phase": "begin"}, work), "nothing is begun beside it"
    os.kill(one.read()["pid"], signal.SIGKILL)
    assert one.running(), "its command still runs"
    os.kill(int(gate.read_text()), signal.SIGKILL)
    assert ended(one)["lost"] and not one.running()
    assert one.begin({**one.read()}, lambda doing: None) and ended(one)
    assert one.outcome()["phase"] == "done"


def test_nothing_of_the_callers_environment_reaches_it(one, monkeypatch, tmp_path):
    monkeypatch.setenv("MAKEFLAGS", "-n")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    assert one.begin(
        {"phase": "begin"}, lambda doing: doing.command(["sh", "-c", "env"]), shared.environment(BATCH="yes")
    )
    assert ended(one)
    log = pathlib.Path(one.log).read_text().splitlines()
    assert "BATCH=yes" in log and "HTTP_PROXY=http://proxy.example" in log
    assert not [line for line in log if line.startswith("MAKEFLAGS")]


# ---- the plugin that follows it ----


class Followed(followed.ActionModule):
    """The plugin with a module that gives the answers of a list, one a call."""

    def __init__(self, answers, **given):
        self.answers, self.calls, self.lines = list(answers), [], []
        self._display, self._task = self, types.SimpleNamespace(check_mode=given.pop("check", False))
        self.given = {"module": "x", "arguments": {"a": 1}, "title": "x", "every": 0, "hours": 0, **given}

    def display(self, text):
        self.lines.append(text)

    def validate_argument_spec(self, spec):
        return None, self.given

    def _execute_module(self, module_name, module_args, task_vars):
        self.calls.append(module_args.get("step", "apply"))
        assert module_args["a"] == 1
        return self.answers.pop(0)


@pytest.fixture
def follow(monkeypatch):
    monkeypatch.setattr(followed.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(followed.ActionBase, "run", lambda self, tmp, task_vars: {})

    def play(*answers, **given):
        plugin = Followed(answers, **given)
        result = plugin.run(None, {"inventory_hostname": "h"})
        assert plugin.answers == []
        return result, plugin

    return play


BEGUN = {"changed": True, "finished": False, "attached": False, "log": "/l", "findings": [1]}
RUNS = {"changed": False, "finished": False, "lost": False, "phase": "build", "elapsed": 61, "last": "cc", "log": "/l"}
DONE = {"changed": True, "finished": True, "lost": False, "log": "/l"}
LOST = {**DONE, "changed": False, "lost": True}


def test_a_module_that_begins_no_job_is_asked_once(follow):
    assert follow({"changed": False})[0] == {"changed": False}
    assert follow({"failed": True, "msg": "no"})[0]["failed"]


def test_a_job_is_followed_to_its_end_and_each_new_line_shown_once(follow):
    result, plugin = follow(BEGUN, RUNS, RUNS, {**RUNS, "last": "ld"}, DONE)
    assert result["changed"] and result["findings"] == [1] and not result.get("failed")
    assert plugin.calls == ["apply"] + ["follow"] * 4
    assert len(plugin.lines) == 3 and plugin.lines[1].endswith("build, 1:01: cc")


def test_a_check_run_does_not_wait_for_it(follow):
    result, plugin = follow({**BEGUN, "attached": True}, check=True)
    assert not result["changed"] and result["findings"] == [] and "/l" in result["notes"][0]
    assert plugin.calls == ["apply"] and not plugin.lines


def test_a_failure_of_the_job_is_that_of_the_task(follow):
    result, _ = follow(BEGUN, RUNS, {"failed": True, "msg": "the end of the log"})
    assert (result["failed"], result["msg"]) == (True, "the end of the log")


def test_one_that_was_lost_is_begun_again_but_not_for_ever(follow):
    result, plugin = follow(BEGUN, LOST, BEGUN, DONE)
    assert result["changed"] and plugin.calls == ["apply", "follow"] * 2
    result, _ = follow(BEGUN, LOST, BEGUN, LOST, BEGUN, LOST, BEGUN)
    assert result["failed"]


@pytest.mark.parametrize("end", [DONE, {"failed": True, "msg": "what the earlier run declared"}])
def test_after_the_job_of_an_earlier_run_this_ones_own_declaration_counts(follow, end):
    result, plugin = follow({**BEGUN, "attached": True}, end, {"changed": False})
    assert result["changed"] and not result.get("failed") and plugin.calls == ["apply", "follow", "apply"]


def test_a_job_that_outlasts_the_run_is_left_to_the_next(follow, monkeypatch):
    clock = iter(range(0, 100000, 3600))
    monkeypatch.setattr(followed.time, "monotonic", lambda: next(clock))
    result, plugin = follow(BEGUN, RUNS, RUNS, hours=1.5)
    assert result["failed"] and "1.5 hours" in result["msg"] and "/l" in result["msg"]
