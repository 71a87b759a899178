"""Bad input: a clear message naming the variable, exit non-zero, nothing changed on the host."""
import json
import pathlib

import pytest
import yaml
from conftest import message

pytestmark = pytest.mark.anywhere
CASES = yaml.safe_load((pathlib.Path(__file__).parent / "bad_input.yml").read_text())


def play(lab, case):
    if case.get("unless_descriptors"):
        given = json.loads((lab.state / "status.json").read_text())["descriptors"]
        if given >= case["unless_descriptors"]:
            pytest.skip(f"this machine gives {given} descriptors: nothing to refuse")
    result = lab.play("site.yml", variables=case["variables"])
    assert result.returncode != 0, f"accepted:\n{result.stdout[-3000:]}"
    for word in case["expect"]:
        assert str(word) in message(result), f"{word!r} is not in the message:\n{message(result)[:3000]}"
    return result


@pytest.mark.parametrize("case", [c for c in CASES if not c.get("host")], ids=lambda c: c["name"])
def test_refused_before_any_command_on_the_host(lab, case):
    result = play(lab, case)
    assert result.summary["remote_commands"] == 0, result.summary["remote_commands_by_task"]


@pytest.mark.parametrize("case", [c for c in CASES if c.get("host")], ids=lambda c: c["name"])
def test_refused_before_any_change_on_the_host(lab, case):
    if "before" in case:
        lab.sh("sh", "-c", case["before"])
    try:
        before = lab.fingerprint(), lab.processes()
        result = play(lab, case)
        assert (lab.fingerprint(), lab.processes()) == before
        assert all(host["changed"] == 0 for host in result.summary["hosts"].values())
    finally:
        if "after" in case:
            lab.sh("sh", "-c", case["after"])


def test_there_are_enough_cases():
    assert len(CASES) >= 30
