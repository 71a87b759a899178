# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""bench/rounds.py: what the benchmarks with two arms share."""

import sys

import pytest

from bench import rounds

NUMBERS = {"recipients": (2000, 400, 20000, "recipients")}


def test_no_arm_always_has_what_the_other_left():
    assert [rounds.in_turn(number, ("a", "b")) for number in (1, 2, 3)] == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_the_host_is_left_as_it_was_whatever_becomes_of_the_runs(monkeypatch):
    runs = []
    monkeypatch.setattr(rounds, "played", lambda *words: runs.append(words))
    with pytest.raises(KeyError), rounds.declared({"postfix_verp": []}):
        assert runs == [("-e", '{"postfix_verp": []}')]
        raise KeyError
    assert runs[1:] == [()]


@pytest.mark.parametrize("words", [["--recipients", "399"], ["--rounds", "6"], ["--rounds", "0"]])
def test_a_number_that_makes_no_sense_ends_it(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["x", *words])
    with pytest.raises(SystemExit):
        rounds.options_of("verp", "", NUMBERS)
    assert words[0] in capsys.readouterr().err.splitlines()[-1]


def test_the_results_have_the_name_of_the_benchmark(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--instance", "other"])
    monkeypatch.setenv("SOKUHAI_LAB", "put back after this test")
    options = rounds.options_of("verp", "", NUMBERS)
    assert (options.recipients, options.rounds, options.json.name) == (2000, 3, "verp.json")
