# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""filter_plugins/sizing.py: what all services come to, the article's warning about swapping as numbers, and what roles ask of it."""

import dataclasses

import pytest
import sizing
from ansible.errors import AnsibleFilterError
from sizing import Asked, sizes
from sizing_memory import arc_min, cache_memory, capacity, kernel_memory, shares

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
    assert fits(500, 4 * GIB, 2)["ok"]


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
    smtpd, cleanup, smtp = (1840, 1630, 1650)
    kib = 64 * 1024 + 100 * (smtpd + cleanup) + 3 * (smtpd + cleanup + smtp)
    # named with what 3 processes a service and the rest of the host can ask, and the base system
    kib += 12 * 1024 + 2 * (4 * 3 + 200 + 300) * 27 + 40 * 1024
    assert sizes(dataclasses.replace(ASKED, process_limit=3)).memory == kib * 1024


def submitted(submission=True, maxproc=50):
    shared = {"sokuhai_openfiles": 65535, "sokuhai_process_limit": 500, "sokuhai_recursive_clients": 20000}
    return sizing.asked_of({**shared, "postfix_submission": submission, "postfix_submission_maxproc": maxproc})


def test_what_may_be_submitted_counts_as_it_is_declared():
    assert submitted() == ASKED and submitted(submission=False).submission == 0
    more, none = sizes(submitted(maxproc=500)), sizes(submitted(submission=False))
    each = (1840 + 1630 + 4 * 27) * 1024
    assert (more.memory - sizes(ASKED).memory, sizes(ASKED).memory - none.memory) == (900 * each, 100 * each)
    # the kernel values have room for the hundred
    assert more.processes - sizes(ASKED).processes == 900 and none.processes == sizes(ASKED).processes
    result = capacity(submitted(maxproc=500), 4 * GIB, 2)
    assert not result["ok"] and "submission 3,389 MiB (postfix_submission_maxproc)" in result["message"]


def test_the_urgent_lane_counts_as_it_is_declared():
    shared = {"sokuhai_openfiles": 65535, "sokuhai_process_limit": 500, "sokuhai_recursive_clients": 20000}
    base = {**shared, "postfix_submission": True, "postfix_submission_maxproc": 50}
    none, lane, port = (
        sizes(sizing.asked_of({**base, "postfix_urgent": urgent}))
        for urgent in ({}, {"senders": ["a@b.example"]}, {"senders": ["a@b.example"], "port": 2587, "maxproc": 40})
    )
    assert none == sizes(ASKED)
    smtp, submission = (1650 + 2 * 27) * 1024, (1840 + 1630 + 4 * 27) * 1024
    assert (lane.processes - none.processes, lane.memory - none.memory) == (100, 100 * smtp)
    assert lane.files - none.files == 100 * sizing.POSTFIX_FILES
    # smtpd of the port is beyond the hundred that the kernel values have room for
    assert (port.processes - none.processes, port.memory - none.memory) == (50, 40 * smtp + 10 * submission)
    result = capacity(sizing.asked_of({**base, "postfix_urgent": {"maxproc": 4000}}), 4 * GIB, 2)
    assert not result["ok"] and "the urgent lane 6,445 MiB (postfix_urgent.maxproc)" in result["message"]
    with pytest.raises(AnsibleFilterError, match="postfix_urgent.maxproc = 'x'"):
        sizing.asked_of({**base, "postfix_urgent": {"maxproc": "x"}})


def test_a_host_without_the_mail_service_is_named_and_the_base_system():
    shared = {"sokuhai_openfiles": 65535, "sokuhai_process_limit": 500, "sokuhai_recursive_clients": 20000}
    declared = {
        **shared,
        "sokuhai_mail": False,
        "postfix_providers": ["gmail"],
        "postfix_urgent": {"senders": ["a@b.example"]},
    }
    asked = sizing.asked_of({**declared, "bind_recursion_for": ["192.0.2.0/24"], "monitor_enabled": True})
    size = sizes(asked)
    assert (size.postfix, size.processes, size.states) == (0, 250, 20000)
    assert size.memory == (12 + 40 + 20) * 2**20 + 20000 * 27 * 1024
    held = capacity(asked, GIB, 1)
    assert held["ok"] and held["field"] == "recursive_clients"
    much = capacity(dataclasses.replace(asked, recursive_clients=200000), GIB, 1)
    assert not much["ok"] and much["message"].startswith(
        "sokuhai_recursive_clients: 200000 is more than this host can hold"
    )
    assert capacity(dataclasses.replace(asked, recursive_clients=much["most"]), GIB, 1)["ok"]
    assert not capacity(dataclasses.replace(asked, recursive_clients=much["most"] + 1), GIB, 1)["ok"]


#: The defaults of all roles.
ALL = dataclasses.replace(
    ASKED, spf="python", greylist=True, sasl=True, monitor=True, cache_share=25, cache_floor=64, cache_ceiling=2048
)
FOUR_GB = 4271390720  # what FreeBSD has of 4 GB


@pytest.mark.parametrize("arc", [0, FOUR_GB // 32])
def test_everything_by_default_fits_into_4_gb_on_ufs_and_on_zfs(arc):
    assert capacity(ALL, FOUR_GB, 2, arc)["ok"]
    assert sum(size for _name, size, _lower in shares(ALL, FOUR_GB, kernel_memory(FOUR_GB, arc))) <= FOUR_GB


@pytest.mark.parametrize(
    "changes, least, most",
    [
        # what each part takes, MiB
        ({"spf": ""}, 130, 200),
        ({"spf": "perl"}, -4800, -4400),  # an interpreter for each smtpd
        ({"greylist": False}, 36, 36),
        ({"sasl": False}, 23, 24),
        ({"monitor": False}, 20, 20),
        ({"submission": 0}, 330, 360),
        ({"asked_by_others": True}, -400, -360),  # all of recursive-clients
        ({"recursive_clients": 1000}, 120, 135),
    ],
)
def test_each_part_counts(changes, least, most):
    assert least <= (sizes(ALL).memory - sizes(dataclasses.replace(ALL, **changes)).memory) / 2**20 <= most


@pytest.mark.parametrize(
    "physmem, changes, cache",
    [
        (64 * GIB, {}, 2048),  # the ceiling
        (6 * GIB, {}, 1536),  # a quarter
        (FOUR_GB, {}, 335),  # what is left
        (2 * GIB, {}, 64),  # the floor, and what does not fit is refused
        (64 * GIB, {"cache_ceiling": 100}, 100),
    ],
)
def test_nameds_cache_is_what_the_others_leave(physmem, changes, cache):
    found = cache_memory(dataclasses.replace(ALL, **changes), physmem, kernel_memory(physmem)) // 2**20
    assert found == cache


@pytest.mark.parametrize(
    "running, explicit, wanted",
    [
        ({}, {}, 0),
        ({"kstat.zfs.misc.arcstats.c_min": "133480960"}, {}, 133480960),
        ({"kstat.zfs.misc.arcstats.c_min": "133480960"}, {"vfs.zfs.arc.min": "1G"}, GIB),
        ({"kstat.zfs.misc.arcstats.c_min": "133480960"}, {"vfs.zfs.arc_min": 2**28}, 2**28),
        ({"kstat.zfs.misc.arcstats.c_min": "133480960"}, {"vfs.zfs.arc.min": 0}, 133480960),
    ],
)
def test_zfs_keeps_the_least_of_its_arc(running, explicit, wanted):
    assert arc_min(running, explicit) == wanted


def test_a_large_arc_min_is_not_mails():
    result = capacity(ALL, FOUR_GB, 2, GIB)
    assert not result["ok"] and "the kernel 1,268 MiB (with ZFS vfs.zfs.arc.min)" in result["message"]
    assert capacity(dataclasses.replace(ALL, process_limit=result["most"]), FOUR_GB, 2, GIB)["ok"]


def test_a_refusal_names_each_share_and_what_lowers_it():
    message = capacity(ALL, 2 * GIB, 2)["message"]
    for name in (
        "smtpd 898 MiB (sokuhai_process_limit)",
        "submission 339 MiB (postfix_submission_maxproc)",
        "named 170 MiB (sokuhai_recursive_clients)",
        "SPF 138 MiB (sokuhai_spf: none",
        "named's cache 64 MiB (bind_cache_floor_mib)",
        "greylisting 36 MiB (sokuhai_greylist)",
        "Dovecot 24 MiB (sokuhai_submission)",
        "the monitor 20 MiB (sokuhai_monitor)",
        "the kernel 205 MiB",
    ):
        assert name in message, message


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
