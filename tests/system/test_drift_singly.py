"""Each tampering alone. test_drift.py tries them many at a time; a file of its own, since it takes a practice host half an hour."""
import os

import pytest
from test_drift import TAMPERINGS, Drift, try_out


@pytest.fixture(scope="module")
def drift(lab, tmp_path_factory):
    lab.sh("sh", "-c", "{ service named onerestart; service postfix onerestart; } > /dev/null 2>&1 < /dev/null")
    return Drift(lab, tmp_path_factory.mktemp("singly"))


@pytest.mark.parametrize("entry", TAMPERINGS if os.environ.get("SOKUHAI_FULL") else [None], ids=lambda entry: entry["name"] if entry else "none")
def test_one_by_one(lab, drift, entry):
    if entry is None:
        pytest.skip("%d tamperings, tried in batches; one by one under SOKUHAI_FULL=1" % len(TAMPERINGS))
    try_out(lab, drift, [entry])
