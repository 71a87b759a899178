# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The curves of results as SVG: recipients served over time, a line for each arm, as the page and as docs/performance.svg have them."""

import math

from drift_report.page import DASHES
from drift_report.page.elements import Markup, el

#: Of the picture, in its own units.
WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 836, 16, 334
#: The axis of time is logarithmic, in seconds: what takes 8 s and what takes 200 s are in one picture.
TICKS = (1, 2, 5, 10, 20, 60, 120, 240)
#: Which pattern an arm's line has; others take what is free, in their order.
PATTERNS = {
    "ours": 0,
    "stock-provider": 1,
    "stock-free": 2,
    "stock-named": 3,
    "article": 4,
    "ours-warm": 5,
    "ceiling": 6,
}
LINES = len(DASHES)
#: Whom a curve counts that is not named by its kind.
OF = {"tried": "greylisted", "dead_tried": "dead"}

#: For a picture that stands alone; in the page, page.css has the colours under the same names.
STYLE = """\
svg { --ground: #fff; --text: #1b2027; --muted: #545d69; --grid: #e1e5ea;
  --s0: #0b5fb0; --s1: #b3261e; --s2: #00735c; --s3: #7a3b93; --s4: #7a5600; --s5: #2f3a46; --s6: #b0146b; font-family: system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --ground: #12161b; --text: #e6eaef; --muted: #a9b3bf; --grid: #29313b;
  --s0: #6cb6ff; --s1: #ffa07a; --s2: #4fd6ab; --s3: #d7a6ff; --s4: #f0c64a; --s5: #d5dce4; --s6: #ff9ad0; } }
"""
#: What the lines need, in the page and alone.
LINE_STYLE = (
    ".curves text { fill: var(--muted); font-size: 13px; } .curves .grid { stroke: var(--grid); } .curves .ground { fill: var(--ground); }"
    ".curves polyline { fill: none; stroke-width: 2.4; stroke-linejoin: round; } .curves .name { fill: var(--text); }\n"
    + "".join(f".curves .k{n} {{ stroke: var(--s{n}); }}\n" for n in range(LINES))
)


def median_run(runs):
    """Of an arm's runs the one whose time to 99 % is the median; a run that did not come there is longer than any. None of none."""
    runs = [run for run in runs if "failed" not in run]
    if not runs:
        return None
    ordered = sorted(
        runs, key=lambda run: (run["seconds"]["99"] is None, run["seconds"]["99"] or 0, -run["served"]["accepting"])
    )
    return ordered[(len(ordered) - 1) // 2]


def sizes(results):
    """[(recipients, domains), …] of the runs, the smallest first."""
    return sorted({(run["recipients"], run["domains"]) for run in results["runs"]})


def lines_of(results, size, kind="accepting", names=None):
    """[(name of an arm, [[seconds, recipients], …], count of recipients of that kind), …] in the order of the page, of the median runs at a size."""
    found = []
    for name in results["arms"]:
        if names is not None and name not in names:
            continue
        of = [run for run in results["runs"] if run["arm"] == name and (run["recipients"], run["domains"]) == size]
        run = median_run(of)
        points = run and (run["curves"].get(kind) or run.get(kind))
        if points:
            found.append((name, points, run["kinds"][OF.get(kind, kind)]))
    return found


def end_of(lines):
    """Where the axis of time ends, in seconds: the first tick past the last point of any line."""
    last = max((points[-1][0] for _name, points, _count in lines), default=0)
    return next((tick for tick in TICKS[2:] if tick >= last), TICKS[-1])


def across(seconds, end):
    """Where a moment is in the picture; the first second is its edge."""
    return LEFT + (RIGHT - LEFT) * math.log(min(max(seconds, TICKS[0]), end)) / math.log(end)


def path(points, end, top):
    """Points of a polyline: a staircase, since nobody more was served between two moments; it ends where the run ended, or goes on level."""

    def y(count):
        return f"{BOTTOM - (BOTTOM - TOP) * count / top:.1f}"

    steps, before = [f"{LEFT},{y(0)}"], 0
    for seconds, count in points:
        if seconds > end:
            break
        x = f"{across(seconds, end):.1f}"
        steps += [f"{x},{y(before)}", f"{x},{y(count)}"]
        before = count
    return " ".join([*steps, f"{RIGHT},{y(before)}"])


def axes(end, top):
    parts = []
    for at in TICKS[: TICKS.index(end) + 1]:
        x = f"{across(at, end):.1f}"
        parts += [el("line", cls="grid", x1=x, x2=x, y1=TOP, y2=BOTTOM)]
        parts += [el("text", f"{at} s", x=x, y=BOTTOM + 20, text_anchor="middle")]
    for quarter in range(5):
        y = f"{BOTTOM - (BOTTOM - TOP) * quarter / 4:.1f}"
        parts += [el("line", cls="grid", x1=LEFT, x2=RIGHT, y1=y, y2=y)]
        parts += [el("text", f"{top * quarter // 4:,}", x=LEFT - 8, y=f"{float(y) + 4:.1f}", text_anchor="end")]
    return parts


def patterns(names):
    """{name: number of its pattern}, none twice as long as there are enough."""
    kept = {name: PATTERNS[name] for name in names if name in PATTERNS}
    free = [n for n in range(LINES) if n not in kept.values()]
    rest = [name for name in names if name not in kept]
    return kept | {name: (free or list(range(LINES)))[n % len(free or range(LINES))] for n, name in enumerate(rest)}


def drawn(lines, title, alone=False):
    """One picture (Markup). lines: as lines_of() has them. alone: with its own colours and the names of the lines below, for a file."""
    numbers = patterns([name for name, _points, _count in lines])
    end, top = end_of(lines), max((count for _name, _points, count in lines), default=1)
    rows = -(-len(lines) // 3) if alone else 0
    height = HEIGHT + 24 * rows
    parts = [
        el("title", title),
        el("style", Markup(STYLE + LINE_STYLE)) if alone else None,
        el("rect", cls="ground", x=0, y=0, width=WIDTH, height=height),
        *axes(end, top),
    ]
    for name, points, _count in lines:
        n = numbers[name]
        dash = " ".join(map(str, DASHES[n])) or None
        parts.append(el("polyline", cls=f"k{n}", points=path(points, end, top), stroke_dasharray=dash))
    for position, (name, _points, _count) in enumerate(lines if alone else []):
        n = numbers[name]
        x, y = LEFT + 262 * (position % 3), HEIGHT + 24 * (position // 3)
        dash = " ".join(map(str, DASHES[n])) or None
        parts.append(el("polyline", cls=f"k{n}", points=f"{x},{y} {x + 34},{y}", stroke_dasharray=dash))
        parts.append(el("text", name, cls="name", x=x + 42, y=y + 4))
    return el(
        "svg",
        *parts,
        cls="curves",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_label=title,
        width=WIDTH if alone else None,
        height=height if alone else None,
    )


#: README's picture: stock Postfix against ours.
SHOWN = ("stock-provider", "stock-free", "stock-named", "article", "ours", "ours-warm", "ceiling")


def picture(results):
    """The text of docs/performance.svg: README's picture, stock Postfix against ours, at the smallest size."""
    size = sizes(results)[0]
    lines = lines_of(results, size, names=SHOWN)
    title = f"Recipients served over time: {size[0]:,} recipients in {size[1]:,} domains, of whom {lines[0][2]:,} are at servers that accept at once"
    return drawn(lines, title, alone=True) + "\n"
