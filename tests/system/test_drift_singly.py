"""Each tampering alone. test_drift.py tries them many at a time; a file of its own, since it takes a practice host half an hour."""

import os

import pytest
from test_drift import TAMPERINGS, on_fresh_daemons, try_out


@pytest.fixture(scope="module")
def drift(lab, full, tmp_path_factory):
    if not full:
        pytest.skip("%d tamperings, tried in batches; one by one under SOKUHAI_FULL=1" % len(TAMPERINGS))
    return on_fresh_daemons(lab, tmp_path_factory.mktemp("singly"))


@pytest.mark.parametrize(
    "entry",
    TAMPERINGS if os.environ.get("SOKUHAI_FULL") else [None],
    ids=lambda entry: entry["name"] if entry else "none",
)
def test_one_by_one(lab, drift, entry):
    try_out(lab, drift, [entry])
