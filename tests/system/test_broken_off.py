"""A run that is killed at any task: the next plain run ends in the same state."""

import pytest
from practice import changed, some

OTHER = {"bind_recursive_clients": 15000, "sokuhai_process_limit": 450, "sasl_client_limit": 2000}
#: Where the run is killed, and the tags of a run that changes what that part and the one before it have to put right.
PLACES = {
    "bind : ": "limits,bind",
    "postfix : ": "bind,postfix",
    "limits : Put": "limits",
    "sasl : ": "bind,sasl",
    "Run named, and let the host ask it": "limits,bind",
    "Stage, prove, swap, prove again": "bind,postfix",
}
FEW = ("bind : ", "postfix : ")


@pytest.mark.parametrize("place", some(PLACES, FEW.__contains__, "two of six places suffice for make test"))
def test_next_run_ends_in_the_same_state(lab, place):
    wanted, tags = lab.fingerprint(), ("--tags", PLACES[place])
    # something for the run to do, which the next run takes back
    lab.applied("site.yml", *tags, variables=OTHER)
    assert lab.fingerprint() != wanted
    lab.play_killed(["TASK [", place], *tags)
    lab.applied()
    assert lab.fingerprint() == wanted
    assert changed(lab.applied("site.yml", *tags)) == 0
