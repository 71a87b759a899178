# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module monitor_mailings: what it asks sokuhai-report for, and what it makes of an answer that is none."""

import json

import pytest
from role_modules import answer_of, load

module = load("roles/monitor/library/monitor_mailings.py")
ANSWER = {"mailings": [{"name": "<1@home.example>"}], "left_out": ["/var/log/maillog.6.bz2"]}


@pytest.fixture
def asked(tmp_path):
    """asked(script): the module's answer, and the words that a sokuhai-report of this sh(1) script was given."""

    def asks(script, **params):
        program, words = tmp_path / "sokuhai-report", tmp_path / "words"
        program.write_text('#!/bin/sh\nprintf "%%s\\n" "$@" > %s\n%s\n' % (words, script))
        program.chmod(0o755)
        answer = answer_of(module, check_mode=True, command=str(program), **params)
        return answer, words.read_text().split()

    return asks


def test_it_asks_for_the_last_large_messages_and_returns_what_it_is_told(asked, monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 1000000.5)
    answer, words = asked("cat <<'X'\n%s\nX" % json.dumps({**ANSWER, "more": 1}), since=3600, last=2)
    assert {key: answer[key] for key in ANSWER} == ANSWER and not answer["changed"] and "more" not in answer
    assert words == ["--json", *"--last 2 --least 100 --megabytes 128 --since 996400".split()]


@pytest.mark.parametrize("script", ["echo 'sokuhai-report: no permission' >&2; exit 2", "echo '[]'", "echo {}"])
def test_what_is_no_answer_is_a_failure(asked, script):
    answer, _ = asked(script)
    assert answer["failed"] and answer["msg"].startswith("sokuhai-report")


def test_a_host_whose_program_is_of_an_older_release_has_none_yet(asked):
    answer, _ = asked("echo 'usage: sokuhai-report [-h] [--log LOG] message' >&2; exit 2")
    assert answer["mailings"] == [] == answer["left_out"] and not answer.get("failed")


def test_a_host_without_the_program_has_no_mailings(tmp_path):
    answer = answer_of(module, command=str(tmp_path / "none"))
    assert answer["mailings"] == [] == answer["left_out"]
