# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: when it warns and when that is over, and that a warning is one mail each way."""

import json
import re

import pytest
from sampler_modules import SETTINGS, alarms, alerts, samples, ways


def play(rows, settings=SETTINGS):
    """Feed (time, {column: value}) one after the other; return [(time, name, over)]."""
    state, told = {}, []
    for at, values in rows:
        transitions, state = alarms.judge({"time": at, **values}, state, settings)
        told += [(at, entry["name"], entry["over"]) for entry in transitions]
    return told


def named(value):
    return {"named_descriptors": value, "named_descriptors_limit": 100}


GONE = {"named_descriptors": None, "named_descriptors_limit": None}
RUNNING, DEAD, UNKNOWN = ({"named_running": value} for value in (1, 0, None))
DISK = [{"queue_disk_used": used, "queue_disk_total": 100} for used in (89, 90, 95, 79)]
MEMORY = [{"memory_free": free, "memory_total": 100} for free in (6, 5, 16)]
FULL = {"postfix_processes": 500, "postfix_processes_limit": 500}
DEFERRED = [(at, {"deferred_dns": 10 if at < 60 else 0}) for at in range(0, 1000, 10)]


@pytest.mark.parametrize(
    "rows, told",
    [
        (
            [(at, named(value)) for at, value in zip((0, 5, 10, 15, 70, 80, 200), (79, 80, 99, 69, 20, 0, 0))],
            [(5, "named_descriptors", True), (80, "named_descriptors", False)],
        ),
        # it goes up and down, and then stays down
        (
            [(at, named(85 if at % 20 and at < 400 else 30)) for at in range(0, 500, 5)],
            [(5, "named_descriptors", True), (460, "named_descriptors", False)],
        ),
        # between the two marks nothing ends
        ([(0, named(90)), (100, named(75)), (300, named(71))], [(0, "named_descriptors", True)]),
        # what is unknown changes nothing
        (
            [(0, named(90)), (100, GONE), (500, GONE), (505, named(10)), (566, named(10))],
            [(0, "named_descriptors", True), (566, "named_descriptors", False)],
        ),
        # a clock that was set back does not hold a ceiling
        (
            [(1000, named(90)), (1005, named(1)), (10, named(1))],
            [(1000, "named_descriptors", True), (10, "named_descriptors", False)],
        ),
        # names that were not resolved add up over ten minutes
        (DEFERRED, [(40, "deferred_dns", True), (690, "deferred_dns", False)]),
        # a daemon that does not run: after a minute of it, once, however often it comes back for a moment
        (
            [(at, DEAD) for at in range(0, 60, 5)]
            + [(60, DEAD), (65, RUNNING), (70, DEAD), (200, RUNNING), (261, RUNNING)],
            [(60, "named_down", True), (261, "named_down", False)],
        ),
        ([(0, DEAD), (55, DEAD), (60, RUNNING), (65, DEAD), (120, DEAD)], []),
        # one that is disabled, or of which nothing is known, is not down
        ([(0, UNKNOWN), (500, UNKNOWN)], []),
        # one that runs and answers nothing
        (
            [(at, {"named_running": 1, "named_answering": int(at > 60)}) for at in (0, 30, 60, 65, 130)],
            [(60, "named_silent", True), (130, "named_silent", False)],
        ),
        # nor did it last, if a clock was set back
        ([(1000, DEAD), (10, DEAD), (60, DEAD), (70, DEAD)], [(70, "named_down", True)]),
        # space of a file system, and memory of which little is left
        (
            list(zip((0, 5, 10, 15, 80), [*DISK, DISK[-1]])),
            [(5, "queue_disk_used", True), (80, "queue_disk_used", False)],
        ),
        (list(zip((0, 5, 10, 80), [*MEMORY, MEMORY[-1]])), [(5, "memory_free", True), (80, "memory_free", False)]),
        # qmgr takes nothing from incoming
        (
            [(at, {"age_incoming": age}) for at, age in ((0, 1799), (5, 1800), (10, 900), (20, 899), (90, 0))],
            [(5, "age_incoming", True), (90, "age_incoming", False)],
        ),
        # days until a certificate ends
        (
            [(at, {"certificate_days": days}) for at, days in ((0, 14), (5, 13), (10, -1), (15, 89), (80, 89))],
            [(5, "certificate_days", True), (80, "certificate_days", False)],
        ),
        # a dead address is no alarm unless somebody wants one
        ([(0, {"age_deferred": 400000})], []),
        # smtp's processes may fill their limit
        ([(0, FULL)], []),
    ],
    ids=(
        "once each way,up and down,between,unknown,clock,deferred,down,down again,not known to be down,silent,down and clock,disk,memory,incoming,certificate,dead address,processes"
    ).split(","),
)
def test_a_crossing_is_told_once_and_its_end_once(rows, told):
    assert play(rows) == told


def test_a_ceiling_that_is_no_longer_watched_is_forgotten_without_a_word():
    over, unwatched = {"deferred_dns": 1, "an_old_one": 1, "named_descriptors": 1}, {**SETTINGS, "deferred_dns": 0}
    told, state = alarms.judge({"time": 9}, {"over": over}, unwatched)
    assert told == [] and state["over"] == {"named_descriptors": 1} and play(DEFERRED, unwatched) == []
    _told, state = alarms.judge({"time": 9, "deferred_dns": 45}, {"over": over}, SETTINGS)
    assert state["over"] == {"deferred_dns": 1, "named_descriptors": 1}


def alerting(tmp_path, **settings):
    return alerts.Alerts(str(tmp_path / "state.json"), "mx", {**SETTINGS, "alert_to": ["ops"], **settings})


def test_the_state_outlives_a_restart_and_neither_argument_is_changed(tmp_path):
    row, state = {"time": 5, **named(90)}, {}
    told, new = alarms.judge(row, state, SETTINGS)
    assert state == {} and row == {"time": 5, **named(90)} and len(told) == 1
    keep = alerting(tmp_path)
    keep.state = new
    keep.write()
    assert alarms.judge({"time": 10, **named(95)}, alerting(tmp_path).state, SETTINGS)[0] == []
    (tmp_path / "state.json").write_text("{")
    assert alerting(tmp_path).state == {}


def test_a_state_of_a_former_version_is_gone_on_with(tmp_path):
    """Its mails had words and no fields."""
    kept = {"ceilings": {"over": {"named_descriptors": 1}}, "mails": [{"text": "x", "at": 1, "tries": 0, "next": 0}]}
    (tmp_path / "state.json").write_text(json.dumps(kept))
    assert alerting(tmp_path).state["over"] == {"named_descriptors": 1} and alerting(tmp_path).mails == []


def test_what_must_last_begins_again_after_a_restart(tmp_path):
    """At a boot the sampler may be there before named is."""
    keep = alerting(tmp_path)
    keep.judge({"time": 1000, "named_running": 0})
    assert alerting(tmp_path).state["since"] == {} and keep.state["since"] == {"named_down": 1000}


@pytest.mark.parametrize("name", [*alarms.BY_NAME])
def test_there_are_words_for_both_ways_of_each_alarm(name):
    lines = {alarms.words_of({"name": name, "over": over, "value": 90, "limit": 200}, "mx") for over in (True, False)}
    words = re.escape(alarms.BY_NAME[name].words)
    assert len(lines) == 2 and all(re.fullmatch("mx: .*%s.*" % words, line) for line in lines), lines
    if alarms.BY_NAME[name].kind not in ("down", "silent", "least"):
        assert all(re.search(r" 90 of 200( \(45 %\))?$", line) for line in lines), lines


def test_each_alarm_is_about_columns_and_settings_that_there_are():
    for alarm in alarms.ALARMS:
        assert {alarm.column, alarm.of or alarm.column} <= set(samples.COLUMNS), alarm
        assert {alarm.threshold, alarm.lasts or alarm.threshold} <= set(SETTINGS), alarm


@pytest.fixture
def sent(monkeypatch):
    """What sendmail was given, [(to, subject)]; sent.taken says whether it takes it."""

    class Sent(list):
        taken = True

    sent = Sent()
    monkeypatch.setattr(alerts.syslog, "syslog", lambda *what: None)
    monkeypatch.setattr(ways, "mail", lambda to, subject, text: sent.append((to, subject)) or sent.taken)
    return sent


def test_a_mail_each_way_and_one_that_is_not_taken_is_tried_again_and_given_up(tmp_path, sent):
    waiting = alerting(tmp_path, alert_to=["ops@home.example"])

    def at(second, value):
        waiting.judge({"time": 1795897000 + second, **named(value)})

    at(0, 90)
    at(5, 95)
    assert [to for to, _subject in sent] == [["ops@home.example"]] and "90 of 100" in sent[0][1]
    sent.taken = False
    at(10, 10)
    at(80, 10)
    assert len(sent) == 2 and sent[1][1] != sent[0][1]
    at(85, 10)
    assert len(sent) == 2, "not at each sample"
    for second in range(90, 8000, 5):
        at(second, 10)
    assert len(sent) == 1 + alerts.TRIES and waiting.mails == []
    for second in range(8000, 20000, 200):
        at(second, 99 if second % 400 else 1)
    assert len(waiting.mails) <= alerts.PENDING


def test_a_sendmail_that_fails_is_asked_once_a_sample_however_many_mails_wait(tmp_path, sent):
    sent.taken, waiting = False, alerting(tmp_path)
    for number in range(20):
        waiting.judge({"time": 1795897000 + 70 * number, **named(1 if number % 3 else 99)})
    sent.clear()
    assert len(waiting.mails) > 3
    waiting.judge({"time": 1795897000 + 90000, **named(1)})
    assert len(sent) == 1


def test_a_mail_that_could_not_be_sent_outlives_a_restart(tmp_path, sent):
    sent.taken = False
    alerting(tmp_path).judge({"time": 1795897000, **named(90)})
    sent.taken = True
    alerting(tmp_path).judge({"time": 1795897100, **named(90)})
    assert len(sent) == 2 and sent[0] == sent[1]


def test_where_nobody_is_to_be_mailed_nobody_is(tmp_path, sent):
    waiting = alerting(tmp_path, alert_to=[])
    waiting.judge({"time": 1795897000, **named(90)})
    assert not sent and not waiting.mails and waiting.state["over"]


def test_sendmail_is_given_addresses_after_its_options(tmp_path):
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/message\n')
    program.chmod(0o755)
    assert ways.mail(["a@b", "c@d"], "subject", "text", str(program))
    assert (tmp_path / "arguments").read_text() == "-i -- a@b c@d\n"
    assert "To: a@b, c@d\nSubject: subject\n" in (tmp_path / "message").read_text()
    assert not ways.mail(["a"], "s", "t", str(tmp_path / "none"))


def test_a_user_near_his_limit_of_recipients_is_said_once_an_hour_across_a_restart(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(ways, "send", lambda way, settings, host, alarm: sent.append(alarm) or True)
    near, over, other = ("near", "alice", 100), ("over", "alice", 100), ("near", "bob", 50)
    for at, limits in ((1000, [near]), (1005, [near]), (1010, [near, over]), (1015, [other]), (4599, [near, over])):
        alerting(tmp_path).judge({"time": at}, limits=limits)
    assert [alarm["name"] for alarm in sent] == ["recipients"] * 3 and all(alarm["over"] for alarm in sent)
    assert ["80 %" in alarm["text"] for alarm in sent] == [True, False, True] and "user bob" in sent[2]["text"]
    # an hour later, and where a clock was set back
    alerting(tmp_path).judge({"time": 4600}, limits=[near])
    alerting(tmp_path).judge({"time": 100}, limits=[near])
    assert len(sent) == 5


def test_what_was_said_of_users_is_forgotten_after_an_hour():
    assert alarms.fresh([], {"near alice": 1000, "near bob": 4000}, 4600) == ([], {"near bob": 4000})
