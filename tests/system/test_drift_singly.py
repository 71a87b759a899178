"""Each tampering alone. test_drift.py tries them many at a time; a file of its own, since it takes a practice host half an hour."""

import pytest
from practice import full_only
from test_drift import TAMPERINGS, on_fresh_daemons, try_out

pytestmark = full_only("each tampering takes a run of its own; make test tries them in batches")


@pytest.fixture(scope="module")
def drift(lab, tmp_path_factory):
    return on_fresh_daemons(lab, tmp_path_factory.mktemp("singly"))


@pytest.mark.parametrize("entry", TAMPERINGS, ids=lambda entry: entry["name"])
def test_one_by_one(lab, drift, entry):
    try_out(lab, drift, [entry])
