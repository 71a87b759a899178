"""Tables of the roles' pages from tests/results: what labkit.internet cold and ceiling and bench/verp.py found."""

import json
import pathlib

from performance import table

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "results"


def by_round(runs, value):
    return ", ".join(map(value, runs))


def percent(run, *names):
    """The share of a run's queries that came to one of *names*."""
    return f"{100 * sum(run[name] for name in names) / run['sent']:.1f} %"


def thousands(number):
    return f"{number:,.0f}"


def milliseconds(value):
    return "none" if value is None else "below 1" if value < 1 else thousands(value)


def about(data):
    """When, of what commit and on what machine it was measured."""
    runs = data["runs"]
    dates, commits = (sorted({run[name] for run in runs}) for name in ("date", "commit"))
    loads = [run["load"] for run in runs]
    load = f"a load of {min(loads):.0f} to {max(loads):.0f}"
    return f"{', '.join(dates)}, commit {', '.join(commits)}, {data['cpus']} CPUs with {load}; {', '.join(data['versions'])}."


def cold(data):
    """A table of the shares that resolvers which know nothing, or something, answer in time."""
    runs = data["runs"]
    first = runs[0]
    asked = f"{thousands(first['rate'])} queries a second for {first['seconds']:g} s, each for a new name, every answer {thousands(first['late_ms'])} ms late; in time is within {first['timeout_s']:g} s. "
    rows = []
    for arm, what in data["arms"].items():
        of = [run for run in runs if run["arm"] == arm]
        if of:
            shares = [
                by_round(of, lambda run, names=names: percent(run, *names))
                for names in (("noerror",), ("late", "timeout"), ("servfail",))
            ]
            rows.append([what, *shares, by_round(of, lambda run: milliseconds(run["p50_ms"]))])
    head = ["", "in time, by round", "later or not at all", "SERVFAIL", "median ms"]
    return [asked + about(data), "", *table(head, rows)]


def ceiling(data):
    """A table of how many queries named held open."""
    rows = []
    for run in sorted(data["runs"], key=lambda run: (-run["descriptor_limit"], -run["rate"])):
        why = ", ".join(f"{name}: {count}" for name, count in run["failed_for"].items())
        rows.append(
            [
                data["arms"][run["arm"]],
                thousands(run["rate"]),
                thousands(run["late_ms"]),
                thousands(run["descriptor_limit"]),
                thousands(run["ports"]),
                thousands(run["counters"].get("RecursHighwater", 0)),
                percent(run, "noerror"),
                thousands(run["counters"].get("QrySERVFAIL", 0)) + (f" ({why})" if why else ""),
                thousands(run["sent"] - run["counters"].get("Requestv4", 0)),
                thousands(run["counters"].get("QueryTimeout", 0)),
                f"{run['load']:.0f}",
            ]
        )
    head = [
        "",
        "queries a second",
        "answers late by ms",
        "descriptors of each",
        "source ports",
        "open at a time",
        "in time",
        "SERVFAIL",
        "lost before named",
        "given up and sent again",
        "load",
    ]
    return [about(data), "", *table(head, rows)]


def verp(data):
    """A table of how long a message took with VERP and without."""
    rows = []
    for domains, times in data["judged"].items():
        of = [run for run in data["runs"] if run["domains"] == int(domains)]
        each = data["recipients"] // int(domains)
        seconds = [
            by_round(
                [run for run in of if run["arm"] == arm],
                lambda run: f"over {data['limit']}" if run["seconds"] is None else f"{run['seconds']:.1f}",
            )
            for arm in ("without", "with")
        ]
        what = (
            f"{domains} domains, {each} recipients in each ({domains} transactions, or {thousands(data['recipients'])})"
        )
        rows.append([what, *seconds, f"{times:g} times"])
    loads = [run["load"] for run in data["runs"]]
    said = f"{thousands(data['recipients'])} recipients, {data['date']}, commit {data['commit']}, a load of {min(loads):.0f} to {max(loads):.0f}:"
    return [said, "", *table(["", "seconds without", "with", "medians"], rows)]


#: {role: {marker of its page: (file of results, its table)}}
PAGES = {"bind": {"cold": cold, "ceiling": ceiling}, "postfix": {"verp": verp}}


def parts(role):
    """{marker: lines} of the page of *role*."""
    return {
        name: lines(json.loads(path.read_text())) if (path := RESULTS / f"{name}.json").exists() else ["Not run yet."]
        for name, lines in PAGES.get(role, {}).items()
    }
