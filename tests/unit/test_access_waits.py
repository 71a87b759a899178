"""The waits of role access against Postfix's process limit, in filter_plugins/sizing.py."""

import pytest
from sizing_waits import postfix_tarpit_problems


def waits(ease=15, harsh=125, ease_rate=30, harsh_rate=30):
    return [
        {"name": "access_sleep_ease", "seconds": ease, "a_minute": ease_rate},
        {"name": "access_sleep_harsh", "seconds": harsh, "a_minute": harsh_rate},
    ]


NOBODY = {"ease": 0, "harsh": 0}


@pytest.mark.parametrize(
    "changes, limit, options",
    [
        ({}, 140, {}),
        ({"harsh": 1250}, 2000, {"reason": "the article prints it"}),
        ({"harsh": 270}, 500, {}),
        ({}, 500, {"connections": 250}),
        # where nobody waits a connection holds a process no longer than it works
        (NOBODY, 500, {"connections": 0}),
        (NOBODY, 1, {}),
    ],
)
def test_waits_that_fit(changes, limit, options):
    assert postfix_tarpit_problems(waits(**changes), limit, **options) == []


@pytest.mark.parametrize(
    "changes, limit, options, variable, words",
    [
        ({}, 139, {}, "access_sleep_harsh", ["70 smtpd", "up to 124 s fit"]),
        # as the article prints it
        ({"harsh": 1250}, 2000, {}, "access_sleep_harsh", ["access_sleep_reason", "270"]),
        ({"harsh": 1250}, 500, {"reason": "the article prints it"}, "access_sleep_harsh", ["632 smtpd"]),
        ({"harsh": "long"}, 500, {}, "access_sleep_harsh", ["long"]),
        ({"ease": -1}, 500, {}, "access_sleep_ease", ["-1"]),
        ({"harsh_rate": "many"}, 500, {}, "access_sleep_harsh", ["many"]),
        # one client may not hold all that may sleep
        ({}, 500, {"connections": 251}, "access_client_connections", ["251"]),
        ({}, 500, {"connections": 0}, "access_client_connections", ["no limit"]),
        ({}, 500, {"connections": "many"}, "access_client_connections", ["many"]),
        *(({}, 500, {"share": share}, "access_sleep_share", ["up to 1"]) for share in (0, 1.5, "many", None)),
    ],
)
def test_waits_that_do_not(changes, limit, options, variable, words):
    (problem,) = postfix_tarpit_problems(waits(**changes), limit, **options)
    assert problem.startswith(variable) and all(word in problem for word in words), problem
