# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What make reliability measures is what its page says: every setting is changed, every part has tests, and results become tables."""

import json
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
import figures

ROLES = ("sokuhai", "limits", "bind", "postfix", "sasl", "access", "ahead", "spf", "greylist", "monitor")
OTHER = yaml.safe_load((ROOT / "tests/system/other_settings.yml").read_text())


def test_every_setting_has_another_value_or_a_reason_to_stay():
    settings, kept = set(OTHER["settings"]), {name for names in OTHER["kept"].values() for name in names}
    defaults = {}
    for role in ROLES:
        defaults |= yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text())
    known = settings | kept
    follows = {
        name: set(re.findall(r"\w+", str(default))) for name, default in defaults.items() if "{{" in str(default)
    }
    while more := {name for name, others in follows.items() if others & known} - known:
        known |= more
    assert set(defaults) - known == set()
    assert settings & kept == set()
    assert (settings | kept) - set(defaults) == set()
    assert {name: value for name, value in OTHER["settings"].items() if defaults[name] == value} == {}


def test_every_part_has_tests_and_every_test_a_part():
    marks = {
        part
        for path in (ROOT / "tests/system").glob("test_*.py")
        for part in re.findall(r"mark\.reliability\(\"(\w+)\"\)", path.read_text())
    }
    assert marks == set(figures.PARTS)


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(figures, "RUN", tmp_path / "run.jsonl")
    monkeypatch.setattr(figures, "PLANNED", tmp_path / "planned.json")
    (tmp_path / "planned.json").write_text(json.dumps([["kill", one] for one in "abcd"] + [["mail", "e"]]))
    one = {"part": "kill", "test": "a", "outcome": "passed", "seconds": 3, "figures": {"lost": 0}}
    two = {"part": "kill", "test": "b", "outcome": "failed", "seconds": 4, "figures": {}, "why": "it | was"}
    (tmp_path / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (two, one)))
    return tmp_path / "results"


def test_a_run_becomes_a_table_with_its_date_commit_and_machine(results):
    figures.take(["kill", "mail"])
    assert [path.name for path in results.iterdir()] == ["kill.json"]
    head, _, _, _, first, second = figures.lines("kill")
    assert re.match(r"\d{4}-\d\d-\d\d, commit \S+, \d+ CPUs, \d+ GiB, \w+ \S+: 1 passed, 1 failed, 2 not run\.$", head)
    assert first == "| a | passed | lost 0 | 3 s |" and second == r"| b | failed | it \| was | 4 s |"


def test_a_part_that_has_not_run_says_so_and_one_not_asked_for_keeps_what_it_has(results):
    assert figures.lines("kill") == ["Not run yet."]
    figures.take(["mail"])
    assert not results.exists()
