"""How many queries named holds open at the same time: every answer comes seconds late, and its servers' round trip is known, so that a query is one socket.

One named, and several behind one address (SO_REUSEPORT, SO_REUSEPORT_LB on FreeBSD), each with a limit of descriptors of its own.
"""

import pathlib

from ..files import read_json, record
from .cold import RESULTS, Arm, common, measure

ARMS = {
    "one": Arm("one named", taught=True),
    "two": Arm("two behind one address", taught=True, count=2),
    "four": Arm("four behind one address", taught=True, count=4),
}


def arguments(parser):
    parser.add_argument("--arms", default="one")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rate", type=float, default=8000, help="queries a second")
    parser.add_argument("--seconds", type=float, default=10)
    common(parser, 2200, 8)
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "ceiling.json", help="file of results")


def main(options):
    found = measure(options, ARMS)
    for run in found["runs"]:
        print(
            f"  {run['arm']}: {opened(run)} open, {unheard(run)} lost before named; SERVFAIL for {run['failed_for'] or 'no query'}"
        )
    before = read_json(options.json).get("runs", [])
    measured = {same(run) for run in found["runs"]}
    found["runs"] = [run for run in before if same(run) not in measured] + found["runs"]
    record(options.json, found)
    return 0


def same(run):
    """By what one measurement replaces another in the file of results."""
    return run["arm"], run["rate"], run["late_ms"], run["descriptor_limit"], run["ports"]


def opened(run):
    """Highest number of recursive clients, of several named together."""
    return run["counters"].get("RecursHighwater", 0)


def unheard(run):
    """Queries that named never read: its receive buffer was full."""
    return run["sent"] - run["counters"].get("Requestv4", 0)
