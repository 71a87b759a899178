# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The boot environment before a run: made once, never over one that is there, and refused where it could not be returned to."""

import pytest
from fake_host import FakeHost
from role_modules import answer_of, load, util

environments = util("sokuhai.environments")
module = load("roles/preflight/library/preflight_environment.py")
#: bectl(8) of FreeBSD 15: `bectl list -H`, and what it says on UFS.
LIST = "before\\t-\\t-\\t8K\\t2026-11-30 19:20\\ndefault\\tNR\\t/\\t541M\\t2026-11-30 19:12\\n"
UFS = "echo 'libbe_init(\"\") failed.' >&2; exit 255"


@pytest.fixture
def bectl(tmp_path, monkeypatch):
    host = FakeHost(tmp_path, monkeypatch)
    host.program("bectl", f"test $1 = create || printf '{LIST}'")
    return host


def test_one_that_is_not_there_is_made_with_what_is_below_the_root(bectl):
    assert answer_of(module, name="new")["changed"]
    assert bectl.log()[-1] == "bectl create -r new"


def test_one_that_is_there_stays_as_it_is(bectl):
    assert not answer_of(module, name="before")["changed"]
    assert not [line for line in bectl.log() if "create" in line]


def test_the_one_that_runs_is_refused_with_what_to_do(bectl):
    answer = answer_of(module, name="default")
    assert answer["failed"] and answer["msg"].startswith("preflight_boot_environment: this host runs in default")
    assert "bectl activate" in answer["msg"]


@pytest.mark.parametrize("there", [True, False])
def test_a_host_without_any_is_refused(bectl, there):
    bectl.program("bectl", UFS if there else "exit 127")
    assert "root on ZFS" in environments.refusal("new")
    assert "root on ZFS" in answer_of(module, name="new")["msg"]


#: bectl(8) that ends with a status when *new* is there already, as it is or as far as it was cloned.
HALF = (
    "case $1 in "
    "list) printf '%s'; test ! -e {half} || printf 'new\\t-\\t-\\t8K\\t2026-11-30 21:20\\n' ;; "
    "create) touch {half}; echo 'Failed to create bootenv new' >&2; exit %d ;; "
    "destroy) %s ;; esac"
)


@pytest.mark.parametrize(
    "status, destroy, left",
    [(15, "rm {half}", False), (2, "rm {half}", True), (15, "echo 'cannot destroy' >&2; exit 40", True)],
    ids=["half made", "of another run", "stays"],
)
def test_what_bectl_cannot_make_is_said_and_what_there_is_of_it_goes(bectl, status, destroy, left):
    half = bectl.path / "half"
    bectl.program("bectl", (HALF % (LIST, status, destroy)).replace("{half}", str(half)))
    answer = answer_of(module, name="new")
    assert answer["failed"] and "Failed to create bootenv new" in answer["msg"]
    assert half.exists() is left
    assert ("destroy it before the next run" in answer["msg"]) is (status == 15 and left)
