"""A run that is killed at any task: the next plain run ends in the same state."""

import pytest
from practice import changed

FEW = ["bind : ", "postfix : "]


@pytest.mark.parametrize(
    "role", FEW + ["limits : Put", "sasl : ", "Run named, and let the host ask it", "Stage, prove, swap, prove again"]
)
def test_next_run_ends_in_the_same_state(lab, full, role):
    if role not in FEW and not full:
        pytest.skip("two of six places here, all in make test-full")
    wanted = lab.fingerprint()
    # something for the run to do: a change of every file, taken back by the next run
    lab.play(
        "site.yml", variables={"bind_recursive_clients": 15000, "sokuhai_process_limit": 450, "sasl_client_limit": 2000}
    )
    other = lab.fingerprint()
    assert other != wanted
    assert lab.play_killed(role), f"the run never came to {role}"
    healed = lab.play()
    assert healed.returncode == 0, healed.stdout[-4000:]
    assert lab.fingerprint() == wanted
    assert changed(lab.play()) == 0
