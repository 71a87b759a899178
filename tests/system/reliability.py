"""What make reliability keeps of its tests, one line of JSON each, until tools/reliability takes it into tests/results."""

import json

from practice import ASKED, ROOT

FOLDER = ROOT / ".cache" / "reliability"


def is_asked(item):
    """Whether a test belongs to a part that is asked for; it then says so itself, wherever it runs."""
    mark = item.get_closest_marker("reliability")
    if mark is None or not {"all", *mark.args} & set(ASKED):
        return False
    item.user_properties.append(("part", mark.args[0]))
    return True


def name(nodeid):
    """A test's name without its file, and without what xdist adds."""
    return nodeid.partition("::")[2].partition("@")[0]


def plan(items):
    """Write down what is to run, lest what does not come to it be forgotten."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    planned = sorted([item.get_closest_marker("reliability").args[0], name(item.nodeid)] for item in items)
    (FOLDER / "planned.json").write_text(json.dumps(planned, indent=1) + "\n")


def line(report):
    """What is kept of a test: its part and name, how it ended and why, how long it took, and the figures that it gave to record_property."""
    figures = dict(report.user_properties)
    told = {"part": figures.pop("part"), "test": name(report.nodeid)}
    if report.skipped:
        told["why"] = report.longrepr[2].removeprefix("Skipped: ")
    elif report.failed:
        told["why"] = report.longreprtext.strip().splitlines()[-1]
    return {**told, "outcome": report.outcome, "seconds": round(report.duration), "figures": figures}


def keep(report):
    """Write down how a test ended, of its phases the one that decides."""
    if "part" in dict(report.user_properties) and (report.when == "call" or not report.passed):
        FOLDER.mkdir(parents=True, exist_ok=True)
        with open(FOLDER / "results.jsonl", "a") as results:
            results.write(json.dumps(line(report)) + "\n")
