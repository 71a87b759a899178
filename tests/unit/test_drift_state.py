# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is new, gone or still there since the last run, and what is printed of it."""

import pytest
from drift_records import HOST
from drift_report import state, terminal

WELL = {"status": "clean", "messages": [], "notes": []}
DRIFT = dict(WELL, status="drift")


def item(name, host=HOST):
    return {
        "id": "%s/postfix/%s" % (host, name),
        "host": host,
        "role": "postfix",
        "thing": name,
        "expected": "5",
        "found": "4",
        "diff": "",
        "advice": "a",
    }


def test_transitions_know_new_still_and_gone():
    hosts = {HOST: DRIFT}
    first, kept = state.transitions({}, hosts, [item("a"), item("b")], True)
    assert [e["thing"] for e in first["new"]] == ["a", "b"]
    assert first["hosts"] == [{"host": HOST, "from": "clean", "to": "drift"}]
    second, kept = state.transitions(kept, hosts, [item("b"), item("c")], True)
    assert [[e["thing"] for e in second[key]] for key in ("new", "still", "gone")] == [["c"], ["b"], ["a"]]
    assert second["hosts"] == [] and not state.silent(second)
    third, _ = state.transitions(kept, hosts, [item("b"), item("c")], True)
    assert list(terminal.changes({"errors": [], "hosts": hosts, "transitions": third}, False)) == [] and state.silent(
        third
    )


def test_what_was_known_of_a_host_that_is_away_is_neither_gone_nor_new_when_it_returns():
    well, away = {HOST: DRIFT}, {HOST: {"status": "unreachable", "messages": ["no route"], "notes": []}}
    _, kept = state.transitions({}, well, [item("a")], True)
    moved, kept = state.transitions(kept, away, [], True)
    assert moved["gone"] == [] and moved["hosts"] == [{"host": HOST, "from": "drift", "to": "unreachable"}]
    moved, kept = state.transitions(kept, well, [item("a")], True)
    assert (moved["new"], moved["gone"]) == ([], [])


def test_a_limited_run_keeps_what_is_known_of_the_others():
    hosts = {name: DRIFT for name in ("a.example", "b.example")}
    _, kept = state.transitions({}, hosts, [item("x", "a.example"), item("x", "b.example")], True)
    moved, kept = state.transitions(kept, {"a.example": WELL}, [], False)
    assert [e["host"] for e in moved["gone"]] == ["a.example"]
    assert set(kept["hosts"]["b.example"]["findings"]) == {"b.example/postfix/x"}


def test_a_state_of_an_earlier_version_is_understood():
    """Its findings have neither a remedy nor causes."""
    former = {"hosts": {HOST: {"status": "drift", "findings": {item("a")["id"]: dict(item("a"), part="state")}}}}
    moved, _ = state.transitions(former, {HOST: WELL}, [], True)
    lines = list(terminal.changes({"errors": [], "hosts": {HOST: WELL}, "transitions": moved}, True))
    assert any("postfix: a" in line for line in lines) and any("-> a" in line for line in lines)


@pytest.mark.parametrize("text", ["{", "[]", "null", "7"])
def test_a_state_that_cannot_be_read_makes_everything_new_and_says_so(tmp_path, capsys, text):
    (tmp_path / "last.json").write_text(text)
    assert state.read(tmp_path / "last.json") == {}
    assert "last.json cannot be read" in capsys.readouterr().err


def test_ten_clean_hosts_are_one_line():
    hosts = {"mx%d.example" % n: WELL for n in range(10)}
    assert list(terminal.table({"errors": [], "hosts": hosts, "findings": [], "seconds": 40}, False)) == [
        "as declared: 10 of 10 host(s), 40 s"
    ]
