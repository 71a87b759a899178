# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The page and role monitor's alarms: each is shown, with its value and what to do."""

import html
import re

import pytest
import sample_report
import sampler_modules
from drift_report import page
from drift_report.page import alarms, judgement

REPORT = sample_report.alarmed()
(HOST,) = REPORT["hosts"]


@pytest.fixture(scope="module")
def text():
    return html.unescape(re.sub(r"<[^>]+>", "", page.render(REPORT)))


@pytest.mark.parametrize(
    "words",
    [
        "named has not been running since",
        "master has not been running since",
        "sokuhai_postgrey has not been running since",
        "named runs and has answered no query since",
        "disk of the log",
        "93 % in use",
        "disk of the queue: inodes",
        "96 % in use",
        "memory in use",
        "97 % in use",
        "queue incoming has waited for 90 minutes",
        "ends in 6 days",
        "Alarm of_a_later_version of the monitor",
        "The watch started daemons that were down 2 times",
        "df -hi",
        "service named restart",
    ],
)
def test_an_alarm_is_shown_with_its_value_and_what_to_do(text, words):
    assert words in text


def test_a_host_that_is_as_declared_needs_a_look_while_an_alarm_is_raised():
    samples = REPORT["hosts"][HOST]["samples"]
    found = judgement.judge(REPORT, HOST)
    assert found["level"] == "near" and found["starts"] == (2, samples["columns"]["time"][-9])
    # that mail waits for names, and what is a link of the chain, is shown as before
    calm = {**samples, "over": {"swap_used": 5}, "columns": {**samples["columns"], "watch_starts": None}}
    found = judgement.judge(sample_report.report({"mx": sample_report.host("clean", samples=calm)}), "mx")
    assert (found["level"], found["alarms"], found["starts"]) == ("clean", [], None)


def test_the_page_knows_every_alarm_that_the_sampler_has():
    there = {alarm.name for alarm in sampler_modules.alarms.ALARMS}
    assert there <= set(alarms.ALARMS) | alarms.OTHERWISE and set(alarms.ALARMS) <= there
