# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Results of modules that do not return findings yet (drift_report/legacy.py); goes with it."""

from drift_records import judged, record


def test_what_runs_is_told_when_no_file_explains_it():
    reasons = [
        "master was loaded before /x/main.cf was written",
        "the running master may have 5 descriptors, 9 are guaranteed",
        "master does not run",
    ]
    found = judged(record(action="postfix_config", changed=True, told={"reasons": reasons}))[1]
    assert set(found) == {
        "postfix: process master: configuration",
        "postfix: process master: openfiles",
        "postfix: service postfix",
    }
