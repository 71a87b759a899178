# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler's watch: what it starts, how often, and when it leaves it alone."""

import types

import pytest
from role_modules import util
from sampler_modules import SETTINGS, alerts, watch, ways

host = util("sokuhai.host")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A host on which named can be started or not; at: seconds that have passed."""
    made = types.SimpleNamespace(at=0, started=[], enabled=True, lock=tmp_path / "lock")
    monkeypatch.setattr(watch, "LOCK", str(made.lock))
    monkeypatch.setattr(watch, "enabled", lambda name: made.enabled)
    monkeypatch.setattr(watch.Watch, "service", staticmethod(lambda name: made.started.append((made.at, name)) or 0))
    for clock in ("time", "monotonic"):
        monkeypatch.setattr(watch.time, clock, lambda: 1795897000 + made.at)
    return made


def looks(world, made, until, processes=("postfix",), every=10):
    """What is said while *processes* run, until so many seconds have passed."""
    lines = []
    while world.at < until:
        lines += made.look(processes)
        world.at += every
    return lines


def test_what_is_down_for_a_minute_is_started_and_has_another_minute(world):
    made = watch.Watch(["named", "postfix"], 60)
    lines = looks(world, made, 130)
    assert world.started == [(60, "named")] and lines == [
        "named was down and was started by service(8): status 0, start 1 of 3 within an hour"
    ]
    assert made.taken() == 1 and made.taken() == 0
    looks(world, made, 300, ("named", "postfix"))
    assert len(world.started) == 1


def test_three_times_an_hour_and_that_is_said_once_also_after_a_restart_of_the_sampler(world):
    lines = looks(world, watch.Watch(["named"], 60), 100)
    lines += looks(world, watch.Watch(["named"], 60), 3600)
    assert [name for _at, name in world.started] == ["named"] * 3 and len(lines) == 4
    assert "left alone" in lines[3]
    world.lock.write_text("rubbish")
    looks(world, watch.Watch(["named"], 60), 3700)
    assert len(world.started) == 4, "a file that somebody wrote into is no reason to leave it alone"
    looks(world, watch.Watch(["named"], 60), 12000)
    assert len(world.started) > 4, "an hour later"


@pytest.mark.parametrize(
    "services, enabled, processes", [([], True, ()), (["named"], False, ()), (["named"], True, None)]
)
def test_nothing_is_started_that_is_not_declared_is_disabled_or_of_which_nothing_is_known(
    world, services, enabled, processes
):
    world.enabled = enabled
    assert looks(world, watch.Watch(services, 60), 500, processes) == [] and not world.started
    assert world.lock.exists() == bool(services)


def test_nothing_is_started_while_a_module_is_at_work(world):
    made = watch.Watch(["named"], 60)
    with host.at_work(str(world.lock)):
        assert looks(world, made, 500) == [] and not world.started
    looks(world, made, 510)
    assert len(world.started) == 1


def test_every_module_is_at_work_until_it_answers(world, monkeypatch):
    made, real = watch.Watch(["named"], 0), host.at_work
    monkeypatch.setattr(host, "at_work", lambda: real(str(world.lock)))
    answers = []
    module = types.SimpleNamespace(exit_json=lambda **answer: answers.append(answer))
    host.answer(module, lambda: {"started": made.look(())})
    assert answers == [{"started": []}] and made.look(()) != []


def test_without_a_watch_there_is_no_file_and_nothing_to_hold(tmp_path):
    with host.at_work(str(tmp_path / "none")):
        assert list(tmp_path.iterdir()) == []


def test_a_start_is_mailed(tmp_path, monkeypatch):
    sent, logged = [], []
    monkeypatch.setattr(alerts.syslog, "syslog", lambda _level, text: logged.append(text))
    monkeypatch.setattr(ways, "mail", lambda to, subject, text: sent.append(subject) or True)
    made = alerts.Alerts(str(tmp_path / "state.json"), "mx", {**SETTINGS, "alert_to": ["root"]})
    made.judge({"time": 1795897000}, ["named was down"])
    assert sent == logged == ["mx: named was down"]
