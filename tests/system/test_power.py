"""A loss of power in the middle of a run, with what was not on disk: every file is the old one or the new one, and the next run ends in the new state."""

import os

import pytest
from practice import KILLS, ROOT, changed, sized, until

pytestmark = pytest.mark.reliability("power")

OTHER = {"bind_recursive_clients": 15000, "sokuhai_process_limit": 300, "sokuhai_recursive_clients": 16000}
#: Where the power fails, and how many seconds after the task began.
PLACES = [
    ("Stage, prove, swap, prove again", 4),
    ("Run named, and let the host ask it", 3),
    ("limits : Put", 1),
]
KEPT = "find /etc /boot /usr/local/etc -name '*.before-sokuhai' -type f -exec sha256 {} +"


@pytest.fixture(scope="module")
def machine(request):
    """(lab, what its configuration is, what it is with OTHER)."""
    if not os.environ.get("SOKUHAI_LAB", "").startswith(
        "vm-"
    ):  # asked before a practice host is brought up for nothing
        pytest.skip(
            "a practice host's files are in memory: what was not on disk shows on a virtual machine (docs/vm.md)"
        )
    lab = request.getfixturevalue("lab")
    before = lab.fingerprint()
    lab.applied(variables=OTHER)
    other = lab.fingerprint()
    lab.applied()
    yield lab, before, other
    lab.applied()


@pytest.mark.parametrize("place", PLACES[: sized(1, 2, 3)], ids=str)
def test_power_fails_in_a_run(machine, place, monkeypatch, record_property):
    lab, before, other = machine
    machine_of_lab = lab.name.removeprefix("vm-")

    def power(lab, _process):
        done = lab.run(ROOT / "vm" / "vm", "reboot", "--hard", SOKUHAI_VM=machine_of_lab, timeout=1500)
        assert done.returncode == 0, done.stdout + done.stderr

    monkeypatch.setitem(KILLS, "power", power)
    kept, (words, pause) = lab.sh("sh", "-c", KEPT).stdout, place
    lab.play_killed(["TASK [", words], variables=OTHER, pause=pause, way="power")
    until(lambda: lab.sh("true", check=False).returncode == 0)
    after = lab.fingerprint()
    torn = [
        path
        for path in before.keys() | other.keys()
        if before.get(path) != other.get(path) and after.get(path) not in (before.get(path), other.get(path))
    ]
    record_property(
        "files that the run changes", sum(before.get(path) != other.get(path) for path in {*before, *other})
    )
    record_property("neither old nor new", len(torn))
    assert torn == [] and lab.sh("sh", "-c", KEPT).stdout == kept
    lab.applied(variables=OTHER)
    now = lab.fingerprint()
    assert {path for path in other if before.get(path) != other[path] and now.get(path) != other[path]} == set()
    assert changed(lab.applied()) > 0
