# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One HTML file out of the bench's results: curves, medians, goals. It needs no script and asks the network for nothing; styles and elements are those of tools/page."""

import json
import pathlib
import sys

from drift_report import page as report_page
from drift_report.page.elements import Markup, el
from drift_report.page.pieces import number

from . import curves

STYLE = curves.LINE_STYLE + (
    ".curves { width: 100%; height: auto; overflow: visible; } .keys { display: flex; flex-wrap: wrap; gap: 0.1rem 1.2rem; list-style: none; padding: 0; margin: 0.3rem 0; }"
    ".keys svg { width: 34px; height: 10px; margin-right: 0.4rem; } .keys line { stroke-width: 2.4; } figure { margin: 1rem 0; }"
    ".beside .curves text { font-size: 20px; } @media (max-width: 44rem) { .curves text, .beside .curves text { font-size: 22px; } }"
    ".beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 1.5rem; } tbody th { min-width: 13rem; }"
    "tbody tr { border-bottom: 1px solid var(--grid); } h2 { margin-top: 1.6rem; }\n"
    + "".join(f".keys .k{n} {{ stroke: var(--s{n}); }}\n" for n in range(curves.LINES))
)
#: What a kind of recipients is, as the heading of its curves has it.
KINDS = {
    "accepting": "Served, of those whose server accepts the first attempt",
    "greylisted": "Served, of those whose server defers the first attempt (greylisting)",
    "limited": "Served, of those whose server limits a client's connections",
    "tried": "First attempt made, of those whose server defers it (greylisting)",
    "dead_tried": "First deferred, of those whose server does not answer",
}


def groups(results):
    """[(heading, names of arms), …]: as many in one picture as there are patterns of lines."""
    stock = [name for name in results["arms"] if name in curves.SHOWN]
    rest = [name for name in results["arms"] if name not in curves.SHOWN]
    beside = [name for name in ("ours", "ours-warm", "ceiling") if name in results["arms"]]
    # a bench of some arms may have nothing of stock Postfix
    found = [("stock Postfix against ours", stock if set(stock) - set(beside) or not rest else [])]
    room = curves.LINES - len(beside)
    found += [("other mailers against ours", beside + rest[at : at + room]) for at in range(0, len(rest), room)]
    return [(heading, names) for heading, names in found if names]


def key(position, name):
    dash = " ".join(map(str, curves.DASHES[position])) or None
    line = el("line", cls=f"k{position}", x1=0, x2=34, y1=5, y2=5, stroke_dasharray=dash)
    return el("li", el("svg", line, viewBox="0 0 34 10", aria_hidden="true"), name)


def figure(results, size, kind, heading, names):
    """The picture of some arms with its key, or None where none of them has such recipients."""
    lines = curves.lines_of(results, size, kind, names)
    if not lines:
        return None
    title = f"{KINDS[kind]}: {heading}"
    keys = [key(position, name) for name, position in curves.patterns([name for name, *_rest in lines]).items()]
    return el("figure", el("figcaption", title), curves.drawn(lines, title), el("ul", keys, cls="keys"))


def head(*columns):
    return el("thead", el("tr", *(el("th", name, scope="col", cls=kind) for name, kind in columns)))


def seconds(value, limit=None):
    return f"over {limit} s" if value is None and limit else "–" if value is None else f"{value:.1f} s"


def medians(results, size):
    """The table of what the runs of each arm come to, at a size."""
    sums = results["sums"].get(f"{size[0]} in {size[1]}", {})
    rows = []
    for name, one in sums.items():
        over = results["limit"] if one["over"] else None
        cells = [
            *(seconds(one["seconds"][percent], over) for percent in ("50", "95", "99", "100")),
            f"{number(int(one['served'] or 0))} of {number(one['accepting'])}",
            "–" if one["deferred_dns"] is None else number(one["deferred_dns"]),
            seconds(one["handed_in"]),
            seconds(one["cpu"]["host"]),
            "–" if one["per_cpu"] is None else number(one["per_cpu"]),
            number(one["runs"]),
        ]
        what = el("span", results["arms"][name]["what"], cls="small muted")
        rows.append(
            el(
                "tr",
                el("th", el("b", name), el("br"), what, scope="row"),
                *(el("td", cell, cls="number") for cell in cells),
            )
        )
    titles = (
        "50 %",
        "95 %",
        "99 %",
        "100 %",
        "served",
        "deferred for DNS",
        "handed in",
        "CPU of the host",
        "per CPU second",
        "runs",
    )
    return el(
        "div",
        el("table", head(("arm", None), *((title, "number") for title in titles)), el("tbody", rows)),
        cls="scroll",
        tabindex=0,
        role="region",
        aria_label="Medians",
    )


def goal(one):
    """(what is wanted, what was found) of an entry of `judged`."""
    if "deferred_dns" in one:
        return f"{one['deferred_dns']}: none deferred for a DNS reason", number(one["found"])
    found = "–" if one["found"] is None else f"{'more than ' if one['more'] else ''}{one['found']:.2f}"
    return f"{one['slow']} takes {one['how']} {one['times']:g} times as long as {one['fast']}", found


def goals(results):
    rows = []
    if not results["judged"]:
        return None
    for one in results["judged"]:
        wanted, found = goal(one)
        mark = el("span", "✓ reached" if one["met"] else "▲ missed", cls="level clean" if one["met"] else "level drift")
        cells = (el("td", one["size"]), el("td", found, cls="number"), el("td", mark))
        rows.append(el("tr", el("th", wanted, scope="row"), *cells))
    columns = (("goal, by the time to 99 %", None), ("recipients", None), ("found", "number"), ("", None))
    return el("div", el("table", head(*columns), el("tbody", rows)), cls="scroll")


def failures(results):
    return [
        el("p", f"{run['arm']}, round {run['round']}: {run['failed']}", cls="small")
        for run in results["runs"]
        if "failed" in run
    ]


def section(results, size):
    first, *others = ([figure(results, size, kind, *group) for group in groups(results)] for kind in KINDS)
    return el(
        "section",
        el("h2", f"{size[0]:,} recipients in {size[1]:,} domains"),
        first,
        medians(results, size),
        el(
            "p",
            "A curve is that of the run whose time to 99 % is the median; the table has medians of all.",
            cls="small muted",
        ),
        el("div", others, cls="beside"),
    )


def render(results):
    """The page (str) of results as README.md describes them."""
    style = (pathlib.Path(report_page.__file__).parent / "page.css").read_text() + STYLE
    reached = sum(one["met"] for one in results["judged"])
    wanted = len(results["judged"])
    about = [str(results[name]) for name in ("date", "commit", "machine") if results.get(name)]
    title = "sokuhai: one message to very many, by each way to send it"
    body = el(
        "body",
        el(
            "header",
            el("h1", title),
            el(
                "p",
                f"{reached} of {wanted} goals reached",
                cls="verdict level " + ("clean" if reached == wanted else "drift"),
            )
            if wanted
            else None,
            el("p", "; ".join(about), cls="muted small"),
        ),
        el(
            "main",
            goals(results),
            [section(results, size) for size in curves.sizes(results)],
            failures(results),
        ),
        el(
            "footer",
            el("p", "Made by python -m bench.page. How it was measured: docs/performance.md.", cls="small muted"),
        ),
    )
    policy = report_page.policy([], [style])
    head_ = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Markup(style)),
    )
    return f"<!DOCTYPE html>\n{el('html', head_, body, lang='en')}\n"


def main():
    """python -m bench.page RESULTS.json PAGE.html [PICTURE.svg]"""
    source, html, *svg = map(pathlib.Path, sys.argv[1:])
    results = json.loads(source.read_text())
    html.write_text(render(results))
    for path in svg:
        path.write_text(curves.picture(results))


if __name__ == "__main__":
    main()
