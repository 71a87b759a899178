"""tools/run: tracks of make test beside each other."""

import sys
import time

import pytest
from role_modules import load


@pytest.fixture
def run():
    return load("tools/run")


def step(name, program):
    return name, [sys.executable, "-c", program], {}


def test_tracks_run_beside_each_other_and_each_in_order(run, tmp_path, capsys):
    # each waits for the other's file: one after the other they would not end
    meet = "import pathlib, time\npathlib.Path(r'{0}/{1}').touch()\nfor _ in range(400):\n    if pathlib.Path(r'{0}/{2}').exists(): break\n    time.sleep(0.05)\nelse: raise SystemExit(7)"
    tracks = (
        [step("a", meet.format(tmp_path, "one", "two")), step("b", "print('second')")],
        [step("c", meet.format(tmp_path, "two", "one"))],
    )
    assert [(name, code) for name, code, _seconds in run.side_by_side(tracks, tmp_path)] == [
        ("a", 0),
        ("b", 0),
        ("c", 0),
    ]
    said = capsys.readouterr().out
    assert said.index("== a\n") < said.index("== b\n") < said.index("second")


def test_a_step_that_fails_is_told_and_the_rest_of_its_track_runs(run, tmp_path, capsys):
    started = time.monotonic()
    tracks = (
        [
            step("bad", "import sys; print('half'); print('why', file=sys.stderr); raise SystemExit(3)"),
            step("next", ""),
        ],
        [step("other", "print('whole')")],
    )
    assert [code for _name, code, _seconds in run.side_by_side(tracks, tmp_path)] == [3, 0, 0]
    said = capsys.readouterr().out
    assert "half\nwhy" in said or "why\nhalf" in said, "both streams, and unbroken by others"
    assert "whole" in said and time.monotonic() - started < 60
