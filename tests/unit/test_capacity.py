"""filter_plugins/capacity.py: the article's warning about swapping, as numbers."""

import pytest
from ansible.errors import AnsibleFilterError
from capacity import FLAT_BYTES, PROCESS_BYTES, postfix_capacity

GIB = 1024**3


def test_the_articles_500_fits_4_gib_and_2_cpus():
    result = postfix_capacity(500, 4 * GIB, 2)
    assert result["ok"], result["message"]
    assert result["needs_bytes"] <= result["has_bytes"] == 3 * GIB


def test_the_articles_500_does_not_fit_2_gib():
    result = postfix_capacity(500, 2 * GIB, 2)
    assert not result["ok"]
    assert result["message"].startswith("sokuhai_process_limit: 500 ")
    assert f"At most {result['max_process_limit']} fits" in result["message"]
    assert result["bound_by"] == "memory"


@pytest.mark.parametrize("gib", [1, 2, 3, 8, 64])
def test_the_most_it_names_is_the_edge(gib):
    most = postfix_capacity(10, gib * GIB, 10000)["max_process_limit"]
    assert postfix_capacity(most, gib * GIB, 10000)["ok"]
    assert not postfix_capacity(most + 1, gib * GIB, 10000)["ok"]


def test_the_sum_is_that_of_the_services_that_fill():
    receiving = PROCESS_BYTES["smtpd"] + PROCESS_BYTES["cleanup"]
    expected = FLAT_BYTES + 7 * receiving + 3 * (receiving + PROCESS_BYTES["smtp"])
    assert postfix_capacity(3, GIB, 1, submission_processes=7)["needs_bytes"] == expected


def test_processors_bound_too():
    result = postfix_capacity(501, 64 * GIB, 1)
    assert not result["ok"]
    assert result["bound_by"] == "cpu"
    assert result["max_process_limit"] == 500
    assert "1 processor can serve" in result["message"]
    assert postfix_capacity(501, 64 * GIB, 2)["ok"]


def test_what_is_promised_to_named_is_not_given_twice():
    free = postfix_capacity(100, 4 * GIB, 8)
    promised = postfix_capacity(100, 4 * GIB, 8, reserved_bytes=GIB)
    assert promised["has_bytes"] == free["has_bytes"] - GIB
    assert promised["max_process_limit"] < free["max_process_limit"]


def test_a_host_too_small_for_one():
    result = postfix_capacity(1, 64 * 1024**2, 1)
    assert not result["ok"]
    assert result["max_process_limit"] == 0
    assert "Not even one fits" in result["message"]


def test_the_message_begins_with_the_variable_asked_for():
    assert postfix_capacity(1, GIB, 1, variable="postfix_process_limit")["message"].startswith(
        "postfix_process_limit: "
    )


@pytest.mark.parametrize(
    "arguments", [("many", GIB, 1), (0, GIB, 1), (-5, GIB, 1), (True, GIB, 1), (5, None, 1), (5, GIB, 0)]
)
def test_no_number_is_an_error(arguments):
    with pytest.raises(AnsibleFilterError):
        postfix_capacity(*arguments)


@pytest.mark.parametrize("share", [0, 1.5, "half"])
def test_share_is_between_0_and_1(share):
    with pytest.raises(AnsibleFilterError):
        postfix_capacity(5, GIB, 1, share=share)
