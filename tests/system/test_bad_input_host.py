"""Bad input that only the host can show: refused before any change on it."""

import json

import pytest
from practice import message, some
from test_bad_input import CASES, EVERY, said

ON_HOST = [case for case in CASES if case.get("host")]
TRIED = ON_HOST[::EVERY]


@pytest.mark.parametrize(
    "case",
    some(ON_HOST, TRIED.__contains__, "a play each; one of three suffices for make test"),
    ids=lambda c: c["name"],
)
def test_refused_before_any_change_on_the_host(lab, case):
    given = json.loads((lab.state / "status.json").read_text())["descriptors"]
    if given >= case.get("unless_descriptors", given + 1):
        pytest.skip(f"this machine gives {given} descriptors: nothing to refuse")
    lab.sh("sh", "-c", case.get("before", ""))
    try:
        with lab.unchanged():
            result = lab.play("site.yml", variables=case["variables"])
        assert result.returncode != 0, f"accepted:\n{result.stdout[-3000:]}"
        said(case, message(result))
        assert all(host["changed"] == 0 for host in result.summary["hosts"].values())
    finally:
        lab.sh("sh", "-c", case.get("after", ""))
