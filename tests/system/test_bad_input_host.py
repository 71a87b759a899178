"""Bad input that only the host can show: refused before any change on it."""

import json

import pytest
from practice import message
from test_bad_input import CASES, EVERY, said

ON_HOST = [c for c in CASES if c.get("host")]
# one play each
TRIED = ON_HOST[::EVERY]


@pytest.mark.parametrize("case", ON_HOST, ids=lambda c: c["name"])
def test_refused_before_any_change_on_the_host(lab, case):
    if case not in TRIED:
        pytest.skip("one row of three here, all in make test-full")
    if case.get("unless_descriptors"):
        given = json.loads((lab.state / "status.json").read_text())["descriptors"]
        if given >= case["unless_descriptors"]:
            pytest.skip(f"this machine gives {given} descriptors: nothing to refuse")
    if "before" in case:
        lab.sh("sh", "-c", case["before"])
    try:
        before = lab.fingerprint(), lab.processes()
        result = lab.play("site.yml", variables=case["variables"])
        assert result.returncode != 0, f"accepted:\n{result.stdout[-3000:]}"
        said(case, message(result))
        assert (lab.fingerprint(), lab.processes()) == before
        assert all(host["changed"] == 0 for host in result.summary["hosts"].values())
    finally:
        if "after" in case:
            lab.sh("sh", "-c", case["after"])
