"""Tables of docs/performance.md from tests/results/bench.json, which make bench writes; what it holds: bench/README.md."""

import json
import pathlib

from figures import cell

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "results" / "bench.json"
#: What bench/providers.py found.
PROVIDERS = RESULTS.with_name("providers.json")
#: What bench/lane.py found.
LANE = RESULTS.with_name("lane.json")
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"


def seconds(value, limit):
    return f"over {limit}" if value is None else f"{value:.1f}"


def row(name, about, found, limit):
    """The cells of an arm."""
    low, high = found["spread"]
    ninety_nine = seconds(found["seconds"]["99"], limit)
    if found["runs"] > 1 and low is not None:
        ninety_nine += f" ({low:.1f} to {seconds(high, limit)})"
    if found["over"]:
        ninety_nine += f", {found['served']:.0f} of {found['accepting']} served"
    deferred = "not read" if found["deferred_dns"] is None else str(found["deferred_dns"])
    cpu = found["cpu"]
    times = [seconds(found["seconds"][key], limit) for key in ("50", "95")]
    return [
        f"`{name}`",
        cell(about["what"]),
        *times,
        ninety_nine,
        "not all" if found["seconds"]["100"] is None and not found["over"] else seconds(found["seconds"]["100"], limit),
        f"{found['handed_in']:.1f}",
        deferred,
        f"{cpu['host']:.1f}",
        f"{cpu['sinks'] + cpu['names']:.1f}",
        f"{found['per_cpu']:.0f}",
    ]


HEAD = [
    "arm",
    "what it is",
    "50 %",
    "95 %",
    "99 %",
    "100 %",
    "handed in",
    "deferred for DNS",
    "CPU s, host",
    "CPU s, internet",
    "mails per CPU s",
]


def table(head, rows):
    return ["| %s |" % " | ".join(cells) for cells in (head, ["---"] * len(head), *rows)]


def arms(data):
    """A heading and a table for each size."""
    lines = [
        f"{data['date']}, commit {data['commit']}, {data['machine']}; others used {data['load_before']:.0%} of the CPUs before."
    ]
    for size, found in data["sums"].items():
        runs = max(one["runs"] for one in found.values())
        lines += ["", f"### {size.replace(' in ', ' recipients in ')} domains", ""]
        floor = ", ".join(f"{percent} % {at:.1f} s" for percent, at in data["floor"][size].items())
        lines += [f"How long the receivers let a message wait, whoever brings it: {floor}.", ""]
        lines += [f"Seconds, medians of {runs} rounds (lowest to highest)." if runs > 1 else "Seconds, one round.", ""]
        lines += table(HEAD, [row(name, data["arms"][name], one, data["limit"]) for name, one in found.items()])
    failed = [run for run in data["runs"] if "failed" in run]
    lines += (
        ["", *(f"Failed: `{run['arm']}`, round {run['round']}: {cell(run['failed'])}" for run in failed)]
        if failed
        else []
    )
    return lines


def goals(data):
    """A table of the goals."""
    rows = []
    for goal in data["judged"]:
        if "deferred_dns" in goal:
            words = [f"`{goal['deferred_dns']}`: nothing deferred for a DNS reason", str(goal["found"])]
        else:
            words = [f"`{goal['slow']}` takes {goal['how']} {goal['times']:g} times as long as `{goal['fast']}`"]
            words.append(
                "not measured" if goal["found"] is None else f"{'more than ' if goal['more'] else ''}{goal['found']:g}"
            )
        rows.append([goal["size"], *words, "reached" if goal["met"] else "**missed**"])
    return table(["recipients in domains", "goal, by the time to 99 %", "found", ""], rows)


def providers(data):
    """A table of what postfix_providers save, and the ratio."""
    judged, what = data["judged"], {"none": "without", "providers": "with"}
    rows = []
    for arm, seconds_of in judged["seconds"].items():
        runs = [run for run in data["runs"] if run["arm"] == arm]
        over = sum(run["over"] for run in runs)
        deferred = ", ".join(str(run["deferred"]) for run in runs)
        rows.append([what[arm], f"{seconds_of:.1f}", f"{over} of {len(runs)}", deferred])
    many = f"{data['recipients']} recipients, {data['date']}, commit {data['commit']}: "
    times = f"{'at least ' if judged['at_least'] else ''}{judged['ratio']:g} times as long without."
    head = ["", "seconds until all had it, median", f"runs ended at {data['limit']} s", "recipients deferred, by run"]
    return [many + times, "", *table(head, rows)]


def lane(data):
    """A table of how long an alert took, behind a mailing and before it, without postfix_urgent and with it."""
    what = {"none": "without", "lane": "with"}
    rows = []
    for run in sorted(data["runs"], key=lambda run: list(what).index(run["arm"])):
        spans = [
            f"over {data['limit']}" if run[at] is None else f"{run[at]:.1f}" for at in ("idle", "pressed", "behind")
        ]
        rows.append([what[run["arm"]], str(run["round"]), *spans, str(run["waiting"]), str(run["load"])])
    about = f"An alert to {data['alert']} people behind {data['mailing']} messages, {data['processes']} processes each, {data['date']}, commit {data['commit']}: "
    times = " and ".join(
        f"{data['judged'][arm]:g} times as long as on the idle host {words} the lane" for arm, words in what.items()
    )
    under = " and ".join(f"{data['under'][arm]:g} {words}" for arm, words in what.items())
    head = [
        "",
        "round",
        "seconds on the idle host",
        f"while {data['press']} strangers press",
        "behind the mailing",
        "messages that still waited",
        "load of the machine",
    ]
    return [about + times + f"; while {data['press']} strangers press, {under} (medians).", "", *table(head, rows)]


def parts():
    """{marker: lines} of the page."""
    made = {
        "bench": (RESULTS, arms),
        "goals": (RESULTS, goals),
        "providers": (PROVIDERS, providers),
        "lane": (LANE, lane),
    }
    return {
        name: lines(json.loads(path.read_text())) if path.exists() else ["Not run yet."]
        for name, (path, lines) in made.items()
    }
