# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""SPF's results by mode, the Python agent's configuration, and what is refused on the controller."""

import pytest
import role_modules

spf = role_modules.load("roles/spf/filter_plugins/spf.py")

DECLARED = {
    "mode": "mark",
    "agent": "python",
    "install": True,
    "results": {},
    "helo": "same",
    "exempt": [],
    "lookup_time": 20,
    "service": "policyd_spf",
    "user": "nobody",
    "time_limit": 3600,
    "config_directory": "/usr/local/etc/python-policyd-spf",
    "prefix": "/usr/local",
}


def problems(**changes):
    return spf.problems({**DECLARED, **changes})


def config(mode="mark", results=None, **options):
    """The Python agent's configuration as text."""
    actions = spf.results(mode, results)
    values = {"spf_helo": "same", "spf_exempt": [], "spf_lookup_time": 20, **options}
    return role_modules.rendered(
        "spf",
        "usr/local/etc/python-policyd-spf/policyd-spf.conf.j2",
        __spf_results=actions,
        __spf_level=spf.level(actions),
        **values,
    )


def settings(*arguments, **options):
    lines = config(*arguments, **options).splitlines()
    return dict(line.split(" = ", 1) for line in lines if not line.startswith("#"))


def test_the_defaults_are_accepted():
    assert problems() == []
    assert problems(mode="refuse") == []
    assert problems(mode="refuse", agent="perl") == []


def test_mark_refuses_nothing():
    made = settings("mark")
    assert (made["HELO_reject"], made["Mail_From_reject"], made["PermError_reject"], made["TempError_Defer"]) == (
        "False",
        "False",
        "False",
        "False",
    )
    assert made["TestOnly"] == "1", "0 is a mode of the agent's own that logs and adds no header"


def test_refuse_refuses_fail_alone():
    made = settings("refuse")
    assert (made["HELO_reject"], made["Mail_From_reject"], made["PermError_reject"], made["TempError_Defer"]) == (
        "Fail",
        "Fail",
        "False",
        "False",
    )


@pytest.mark.parametrize(
    "results, level",
    [
        ({"softfail": "refuse"}, "Softfail"),
        ({"softfail": "refuse", "neutral": "refuse"}, "SPF_Not_Pass"),
        ({"fail": "mark"}, "False"),
    ],
)
def test_each_result_has_its_word_in_the_agents_language(results, level):
    assert settings("refuse", results)["Mail_From_reject"] == level


def test_errors_are_refused_or_deferred_where_that_is_declared():
    made = settings("refuse", {"permerror": "refuse", "temperror": "defer"})
    assert (made["PermError_reject"], made["TempError_Defer"]) == ("True", "True")


def test_helo_may_be_marked_while_the_sender_is_refused():
    made = settings("refuse", spf_helo="mark")
    assert (made["HELO_reject"], made["Mail_From_reject"]) == ("False", "Fail")


def test_a_recipient_is_not_told_to_the_others():
    assert settings()["Hide_Receiver"] == "Yes"


def test_exempt_networks_are_written_only_where_there_are_some():
    assert "Whitelist" not in settings()
    assert settings(spf_exempt=["203.0.113.20", "2001:db8::/48"])["Whitelist"] == "203.0.113.20,2001:db8::/48"


def test_no_line_says_more_than_one_thing():
    lines = config("refuse", spf_exempt=["192.0.2.1"]).splitlines()
    assert all(line.startswith("#") or line.count("=") == 1 and "#" not in line for line in lines), lines


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"mode": "refuse", "results": {"fail": "mark", "softfail": "refuse"}}, ("spf_results", "softfail", "fail")),
        ({"mode": "refuse", "results": {"neutral": "refuse"}}, ("spf_results", "neutral")),
        ({"results": {"permerror": "refuse"}}, ("spf_results", "permerror", "spf_mode: refuse")),
        ({"results": {"temperror": "defer"}}, ("spf_results", "temperror")),
        ({"agent": "perl"}, ("spf_agent", "SPF_FAIL='PREPEND", "spf_install: false", "spf_agent: python")),
        ({"agent": "perl", "mode": "refuse", "exempt": ["192.0.2.1"]}, ("spf_exempt", "spf_agent: python")),
        ({"agent": "perl", "mode": "refuse", "helo": "mark"}, ("spf_helo", "spf_helo: same")),
        ({"exempt": ["192.0.2.10/24"]}, ("spf_exempt", "192.0.2.10/24", "192.0.2.0/24")),
        ({"exempt": ["forwarder.example"]}, ("spf_exempt", "forwarder.example")),
        ({"exempt": ["::/0"]}, ("spf_exempt", "spf_mode: none")),
        ({"lookup_time": 60}, ("spf_lookup_time", "smtpd_policy_service_timeout")),
        ({"lookup_time": 0}, ("spf_lookup_time",)),
        ({"time_limit": 1000}, ("spf_time_limit", "smtpd_policy_service_max_ttl")),
        ({"service": "policyd-spf"}, ("spf_service", "NAME_time_limit")),
        ({"user": "root"}, ("spf_user", "spawn")),
        ({"user": "no body"}, ("spf_user",)),
    ],
)
def test_what_cannot_be_had_is_refused_by_the_variables_name(changes, words):
    found = problems(**changes)
    assert len(found) == 1 and found[0].startswith(words[0]), found
    assert all(word in found[0] for word in words), found


def test_a_perl_agent_built_by_oneself_may_mark_for_all_the_controller_knows():
    assert problems(agent="perl", install=False) == []


def test_the_perl_agent_defers_temperror_where_it_refuses():
    assert spf.results("refuse", {}, "perl")["temperror"] == "defer"
    assert spf.results("refuse", {}, "python")["temperror"] == "mark"
    assert spf.results("mark", {}, "perl")["temperror"] == "mark"
