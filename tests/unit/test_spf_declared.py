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


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mode": "refuse"},
        {"mode": "refuse", "agent": "perl"},
        # built by oneself it may mark, for all the controller knows
        {"agent": "perl", "install": False},
    ],
)
def test_what_can_be_had_is_accepted(changes):
    assert problems(**changes) == []


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


ASKED = ("HELO_reject", "Mail_From_reject", "PermError_reject", "TempError_Defer")


@pytest.mark.parametrize(
    "mode, results, helo, words",
    [
        ("mark", {}, "same", "False False False False"),
        ("refuse", {}, "same", "Fail Fail False False"),
        ("refuse", {"softfail": "refuse"}, "same", "Softfail Softfail False False"),
        ("refuse", {"softfail": "refuse", "neutral": "refuse"}, "same", "SPF_Not_Pass SPF_Not_Pass False False"),
        ("refuse", {"fail": "mark"}, "same", "False False False False"),
        ("refuse", {"permerror": "refuse", "temperror": "defer"}, "same", "Fail Fail True True"),
        # HELO may be marked while the sender is refused
        ("refuse", {}, "mark", "False Fail False False"),
    ],
)
def test_each_result_has_its_word_in_the_agents_language(mode, results, helo, words):
    made = settings(mode, results, spf_helo=helo)
    assert [made[name] for name in ASKED] == words.split()
    assert made["TestOnly"] == "1", "0 is a mode of the agent's own that logs and adds no header"
    assert made["Hide_Receiver"] == "Yes", "a recipient is not told to the others"


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


@pytest.mark.parametrize(
    "mode, agent, temperror", [("refuse", "perl", "defer"), ("refuse", "python", "mark"), ("mark", "perl", "mark")]
)
def test_the_perl_agent_defers_temperror_where_it_refuses(mode, agent, temperror):
    assert spf.results(mode, {}, agent)["temperror"] == temperror
