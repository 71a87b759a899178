# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Small things that stand in many places of the page: numbers, times, levels, commands, bars."""

import datetime
import re

from .ceilings import NEAR
from .elements import el
from .language import say

MARKS = {"error": "⨯", "unreachable": "⨯", "drift": "▲", "near": "▲", "clean": "✓"}


def number(value):
    """A number with its thousands apart, or a dash where it is not known."""
    if value is None:
        return "–"
    return "{:,}".format(value) if isinstance(value, int) or value >= 1000 else "{:.3g}".format(value)


def percent(share):
    """A share as per cent: no more digits than it has meaning, and never 100 for what is below it."""
    value = 100 * share
    return "%.1f %%" % value if value < 10 else "%d %%" % value


def moment(seconds):
    """A time. It stands in UTC, and the page's script puts the reader's time zone in its place."""
    stamp = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return el(
        "time",
        stamp.strftime("%Y-%m-%d %H:%M UTC"),
        datetime=stamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
        data_at=int(seconds),
    )


def code(text):
    return el("code", text)


def link_name(row):
    """A link as an operator would say it: its name in the chain without the sign that compares, or the words for what is sampled."""
    return code(re.sub(r"\s*[<>]=$", "", row["name"])) if row["name"] else say(row["use"])


def level_mark(level):
    return el("span", MARKS[level] + " ", say(level), cls="level " + level)


def command(*lines):
    return el("pre", code("\n".join(lines)), cls="command")


def bar(row):
    """The picture of one link: what was used of it, and what a full delivery needs, up to its ceiling. The numbers stand beside it."""
    share = row["peak"]["share"] if row["peak"] else None
    kind = "bad" if row["ok"] is False else "warn" if share is not None and share >= NEAR else ""
    inside = [el("rect", cls="track", x=0, y=0, width=100, height=10)]
    if share is not None:
        width = "%.2f" % min(100, max(100 * share, 0.4))
        inside.append(el("rect", cls=("fill " + kind).strip(), x=0, y=0, width=width, height=10))
        if kind:
            # hatched: what is near a ceiling is shown without its colour, too
            inside += [
                el("line", cls="stripe", x1=at, x2=at + 3, y1=10, y2=0) for at in range(4, int(float(width)) - 2, 6)
            ]
    if row["needed"] is not None:
        at = "%.2f" % min(99.6, 100 * row["needed"])
        inside.append(el("line", cls="need", x1=at, x2=at, y1=0, y2=10))
    inside.append(el("rect", cls="frame", x=0, y=0, width=100, height=10))
    return el(
        "svg",
        *inside,
        cls="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def head(*columns):
    """The head of a table. columns: (key of the words or None, class or None) each."""
    return el(
        "thead",
        el("tr", *(el("th", say(key), scope="col", cls=kind) if key else el("td") for key, kind in columns)),
    )
