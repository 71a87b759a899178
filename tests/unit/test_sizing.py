# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""filter_plugins/sizing.py: what all services come to, the article's warning about swapping as numbers, and what roles ask of it."""

import dataclasses

import pytest
import sizing
from ansible.errors import AnsibleFilterError
from sizing import Asked, capacity, sizes

GIB = 1024**3
ASKED = Asked(openfiles=65535, process_limit=500, recursive_clients=20000)


def fits(process_limit, physmem, ncpu):
    return capacity(dataclasses.replace(ASKED, process_limit=process_limit), physmem, ncpu)


def test_what_the_articles_numbers_come_to():
    size = sizes(ASKED)
    assert (size.postfix, size.processes, size.named_sockets, size.states) == (2050, 2300, 26000, 21000)
    assert (size.files, size.sockets, size.clusters) == (26000 + 2050 * 15 + 2000, 26000 + 2050 * 8, 40000 + 2050 * 4)
    assert (size.ports, size.queries) == (44000, 262400)


def test_a_service_more_is_a_row_more(monkeypatch):
    before = sizes(ASKED)
    row = sizing.Service("policyd", "nobody", processes=lambda asked: 20, memory=lambda asked: GIB)
    monkeypatch.setattr(sizing, "SERVICES", (*sizing.SERVICES, row))
    after = sizes(ASKED)
    assert (after.processes, after.postfix, after.memory) == (
        before.processes + 20,
        before.postfix,
        before.memory + GIB,
    )


def test_the_articles_500_fits_4_gib_and_2_cpus():
    assert fits(500, 4 * GIB, 2)["ok"] and sizes(ASKED).memory <= 3 * GIB


def test_the_articles_500_does_not_fit_2_gib():
    result = fits(500, 2 * GIB, 2)
    assert not result["ok"]
    assert result["message"].startswith("sokuhai_process_limit: 500 ")
    assert f"At most {result['most']} fits" in result["message"]


@pytest.mark.parametrize("gib", [1, 2, 3, 8, 64])
def test_the_most_it_names_is_the_edge(gib):
    most = fits(10, gib * GIB, 10000)["most"]
    assert fits(most, gib * GIB, 10000)["ok"]
    assert not fits(most + 1, gib * GIB, 10000)["ok"]


def test_memory_is_that_of_the_services_that_fill():
    smtpd, cleanup, smtp = (2291, 786, 2030)
    kib = 64 * 1024 + 100 * (smtpd + cleanup) + 3 * (smtpd + cleanup + smtp)
    assert sizes(dataclasses.replace(ASKED, process_limit=3)).memory == kib * 1024


def submitted(submission=True, maxproc=50):
    shared = {"sokuhai_openfiles": 65535, "sokuhai_process_limit": 500, "sokuhai_recursive_clients": 20000}
    return sizing.asked_of({**shared, "postfix_submission": submission, "postfix_submission_maxproc": maxproc})


def test_what_may_be_submitted_counts_as_it_is_declared():
    assert submitted() == ASKED and submitted(submission=False).submission == 0
    more, none = sizes(submitted(maxproc=500)), sizes(submitted(submission=False))
    each = (2291 + 786) * 1024
    assert (more.memory - sizes(ASKED).memory, sizes(ASKED).memory - none.memory) == (900 * each, 100 * each)
    # the kernel values have room for the hundred
    assert more.processes - sizes(ASKED).processes == 900 and none.processes == sizes(ASKED).processes
    result = capacity(submitted(maxproc=500), 4 * GIB, 2)
    assert not result["ok"] and "1000 of submission" in result["message"]


@pytest.mark.parametrize("number, refused", [(0, True), (-1, True), (1, False), (50, False)])
def test_submission_has_a_limit(number, refused):
    found = sizing.submission_problems({"postfix_submission_maxproc": number})
    assert bool(found) == refused and all(line.startswith("postfix_submission_maxproc = ") for line in found)


def test_processors_bound_too():
    result = fits(501, 64 * GIB, 1)
    assert not result["ok"] and result["most"] == 500
    assert "1 processor can serve" in result["message"]
    assert fits(501, 64 * GIB, 2)["ok"]


def test_a_host_too_small_for_one():
    result = fits(1, 64 * 1024**2, 1)
    assert not result["ok"] and result["most"] == 0
    assert "Not even one fits" in result["message"]


@pytest.mark.parametrize(
    "value, wanted",
    [
        ("4G", 4 * GIB),
        ("4g", 4 * GIB),
        ("1T", 1024 * GIB),
        ("0x10k", 16384),
        ('"16"', 16),
        ("010", 8),
        ("-1", -1),
        (0, 0),
        # the kernel takes one letter, and ignores the line otherwise (getenv_quad())
        ("4GB", None),
        ("4 G", None),
        ("1.5G", None),
        ("newreno", None),
        ("", None),
        (True, None),
    ],
)
def test_a_number_is_read_as_the_loaders_environment_is(value, wanted):
    assert sizing.number(value) == wanted


@pytest.mark.parametrize("value", ["many", 0, -5, True, None])
def test_no_number_is_an_error(value):
    with pytest.raises(AnsibleFilterError, match="^sokuhai_process_limit = "):
        sizing.asked_of(
            {"sokuhai_openfiles": 1024, "sokuhai_recursive_clients": "1000", "sokuhai_process_limit": value}
        )


def test_what_the_roles_defaults_ask():
    filters = sizing.FilterModule().filters()
    assert filters["sizing_auth_clients"]("500") == 1600
    assert filters["sizing_pf_states"]("20000", 500) == 21000
    assert [filters["sizing_client_connections"](limit, 0.5) for limit in (10, 500, "2000")] == [10, 25, 50]


def test_the_largest_that_fits():
    for edge in (0, 1, 7, 100):
        assert sizing.largest(lambda number: number <= edge, 100) == edge  # noqa: B023
