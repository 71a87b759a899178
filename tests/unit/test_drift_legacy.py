# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Results of modules that do not return findings yet (drift_report/legacy.py); goes with it."""

import pytest
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


def test_the_rebuild_is_told_by_kind():
    found = judged(
        record(
            role="ports",
            action="ports_plan",
            told={
                "drift": [
                    {"kind": "lock", "port": "dns/bind920", "message": "unlocked"},
                    {"kind": "vulnerable", "message": "dns/bind920: bind920-9 has a known vulnerability"},
                ]
            },
        ),
        record(role="ports", action="ports_port", changed=True),
        record(
            role="kernel",
            action="kernel_beside",
            told={"plan": {"name": "SOKUHAI", "behind": True, "trial": False, "armed": False, "reason": ""}},
        ),
        record(
            role="fd_setsize",
            action="fd_setsize",
            changed=True,
            told={"reset": ["x"], "others": [{"name": "nginx", "version": "1"}], "worlds": []},
            diff=[
                {
                    "before_header": "/usr/include/sys/select.h",
                    "after_header": "/usr/include/sys/select.h",
                    "before": "a\nb\n",
                    "after": "a\nc\n",
                }
            ],
        ),
    )[1]
    assert set(found) == {
        "ports: port dns/bind920: lock",
        "ports: port dns/bind920: vulnerable",
        "kernel: kernel SOKUHAI: behind",
        "fd_setsize: built with the raised header: nginx",
        "fd_setsize: /usr/include/sys/select.h",
    }


@pytest.mark.parametrize(
    "plan, kinds",
    [
        ({"behind": True, "build": True, "trial": True}, {"behind"}),
        ({"build": True, "trial": True}, {"build"}),
        ({"trial": True}, {"trial"}),
        ({"armed": True}, {"armed"}),
        ({"reason": "it panicked"}, {"failed"}),
        ({}, set()),
    ],
)
def test_a_kernel_that_is_not_there_does_not_wait_for_its_trial(plan, kinds):
    found = judged(
        record(role="kernel", action="kernel_beside", told={"plan": dict(plan, name="SOKUHAI", running="kernel")})
    )[1]
    assert set(found) == {"kernel: kernel SOKUHAI: %s" % kind for kind in kinds}
    assert not kinds & {"build", "trial"} or "kernel runs" in next(iter(found.values()))["found"]
