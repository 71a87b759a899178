# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role ports: what is declared, merged over the role's own, and what is wrong with it."""

import pytest
from role_modules import load

filters = load("roles/ports/filter_plugins/ports.py")

KNOWN = {
    "bind": {"origin": "dns/bind920", "options_unset": ["START_LATE"]},
    "postfix": {"origin": "mail/postfix", "options_set": ["TLS", "LMDB"]},
}


def merged(extra, parts=("bind", "postfix", "kernel")):
    return {p["origin"]: p for p in filters.ports_merge(KNOWN, extra, list(parts), ["-DX=1"])}


@pytest.mark.parametrize(
    "extra, parts, origins",
    [
        ([], ["bind", "postfix", "kernel"], ["dns/bind920", "mail/postfix"]),
        ([], ["postfix", "kernel"], ["mail/postfix"]),
        # a wish for a part that is not asked for does not bring it back
        ([{"origin": "dns/bind920", "options_set": ["GEOIP"]}], ["postfix"], ["mail/postfix"]),
        ([{"origin": "mail/postfix", "state": "absent"}], ["bind", "postfix"], ["dns/bind920"]),
    ],
)
def test_parts_choose_the_roles_own_ports(extra, parts, origins):
    assert list(merged(extra, parts)) == origins


@pytest.mark.parametrize(
    "wish, port",
    [
        (
            {"origin": "mail/postfix", "options_set": ["MYSQL"], "options_unset": ["LMDB"], "flavor": "sasl"},
            {"options_set": ["TLS", "MYSQL"], "options_unset": ["LMDB"], "flavor": "sasl", "cflags": ["-DX=1"]},
        ),
        ({"origin": "mail/postfix", "cflags": []}, {"cflags": []}),
        ({"origin": "mail/postgrey"}, {"cflags": ["-DX=1"]}),
    ],
)
def test_a_wish_is_merged_over_the_roles_own(wish, port):
    assert merged([wish])[wish["origin"]].items() >= port.items()
    assert KNOWN["postfix"]["options_set"] == ["TLS", "LMDB"]


GOOD = {
    "method": "ports",
    "fd_setsize": 16384,
    "repository_url": "",
    "repository_pubkey": "",
    "branch": "auto",
    "tree_commit": "",
}
BAD = {
    "origin": ({"origin": "postfix"}, {}, "CATEGORY/DIRECTORY"),
    "flavor": ({"flavor": "SASL x"}, {}, "flavor"),
    "option": ({"options_set": ["pcre 2"]}, {}, "not the name of an option"),
    "both": ({"options_set": ["TLS"], "options_unset": ["TLS"]}, {}, "both in options_set and in options_unset"),
    "flag": ({"cflags": ["-O2 -pipe"]}, {}, "not a single compiler flag"),
    "injected": ({"cflags": ["-D'x"]}, {}, "not a single compiler flag"),
    "two sizes": ({"cflags": ["-DFD_SETSIZE=4096"]}, {}, "sokuhai_fd_setsize"),
    "a line": ({"make_conf": ["A=1\nB=2"]}, {}, "not a single line"),
    "url": ({}, {"method": "repository", "repository_pubkey": "/k"}, "ports_repository_url"),
    "key": ({}, {"method": "repository", "repository_url": "x"}, "ports_repository_pubkey"),
    "branch": ({}, {"branch": "2026Q5"}, "ports_branch"),
    "commit": ({}, {"tree_commit": "HEAD"}, "ports_tree_commit"),
}


def test_good_values_pass():
    assert filters.ports_problems([{"origin": "mail/postfix", "cflags": ["-DFD_SETSIZE=16384"]}], GOOD) == []


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_values_are_refused_by_name(case):
    port, values, words = BAD[case]
    found = filters.ports_problems([{**filters.EMPTY, "origin": "mail/postfix", **port}], {**GOOD, **values})
    assert len(found) == 1
    assert found[0].startswith("ports_") and words in found[0]


def test_an_origin_twice_is_refused():
    once = {"origin": "mail/postfix", "options_set": ["TLS"]}
    assert filters.ports_twice([once, {"origin": "dns/bind920"}]) == []
    (problem,) = filters.ports_twice([once, {"origin": "mail/postfix", "options_unset": ["TLS"]}])
    assert problem.startswith("ports_list: mail/postfix is listed twice")
