# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The places where the script draws, each with its legend: a table that says last and most without the script."""

from ..words import forms
from .chart_data import CHARTS
from .elements import el
from .language import label, say
from .pieces import moment, number, percent

# One pattern for each line of a chart, so that no line is known by its colour alone. Lengths in pixels, drawn and gap by turns.
DASHES = ([], [9, 4], [3, 3], [12, 4, 3, 4], [6, 3, 1, 3, 1, 3], [16, 5], [2, 6])

RANGES = (
    (3600, "range_hours", 1),
    (6 * 3600, "range_hours", 6),
    (86400, "range_days", 1),
    (3 * 86400, "range_days", 3),
)


def swatch(index):
    return el(
        "svg",
        el(
            "line",
            cls="c%d" % index,
            x1=0,
            x2=30,
            y1=5,
            y2=5,
            stroke_dasharray=" ".join(map(str, DASHES[index])) or None,
        ),
        cls="swatch",
        viewBox="0 0 30 10",
        aria_hidden="true",
        focusable="false",
    )


def legend_row(index, name, values, how):
    data = values["share"] if how == "share" else values
    known = [value for value in data if value is not None]
    last, most = (known[-1], max(known)) if known else (None, None)

    def shown(value):
        if value is None or how != "share":
            return number(value)
        used = values["used"][len(data) - 1 - data[::-1].index(value)]
        return [percent(value / 100), " ", el("span", "(%s)" % number(used), cls="muted")]

    return el(
        "tr",
        el(
            "th",
            el(
                "button",
                swatch(index),
                el("span", say(name)),
                type="button",
                aria_pressed="true",
                data_series=index + 1,
            ),
            scope="row",
        ),
        el("td", shown(last), cls="number"),
        el("td", shown(most), cls="number"),
        el("td", number(values["limit"]), cls="number") if how == "share" else None,
        el("td", "–", cls="number cursor", data_cursor=index + 1),
    )


def figure(chart, unit, wanted, data):
    """One chart: the place where the script draws, and its legend as a table that says last and most without it."""
    lines = [
        (index, name, data[name], unit if unit == "share" else how)
        for index, (name, how) in enumerate(wanted)
        if name in data
    ]
    share = unit == "share"
    # English, exchanged by the script; the caption says the same to the eye
    aloud = {
        "aria_label": "%s. %s" % (forms("chart_" + chart)[0], forms("chart_keys")[0]),
        "data_en": "%s. %s" % (forms("chart_" + chart)[0], forms("chart_keys")[0]),
        "data_ja": "%s。%s" % (forms("chart_" + chart)[2], forms("chart_keys")[2]),
    }
    return el(
        "figure",
        el(
            "figcaption",
            el("span", say("chart_" + chart)),
            el("span", say("unit_" + unit), cls="small muted"),
            el("button", say("zoom"), type="button", cls="zoom", aria_pressed="false") if share else None,
        ),
        el("div", cls="plot", tabindex=0, role="group", data_chart=chart, **aloud),
        el(
            "div",
            el(
                "table",
                el(
                    "thead",
                    el(
                        "tr",
                        el("th", say("col_line"), scope="col"),
                        *(
                            el("th", say(key), scope="col", cls="number")
                            for key in ("col_now", "col_most", *(["col_ceiling"] if share else []))
                        ),
                        el("th", say("col_at"), " ", el("span", cls="when"), scope="col", cls="number cursor"),
                    ),
                ),
                el("tbody", [legend_row(*line) for line in lines]),
                cls="legend",
            ),
            cls="scroll",
        ),
        el("p", cls="hidden aloud", aria_live="polite"),
    )


def section(judged, number_, series):
    times = series["time"]
    span = times[-1] - times[0]
    buttons = [
        el("button", say(key, n=count), type="button", data_span=seconds, aria_pressed="false")
        for seconds, key, count in RANGES
        if seconds < span
    ]
    return el(
        "section",
        el("h3", say("charts")),
        el("p", say("charts_span", **{"from": moment(times[0]), "to": moment(times[-1])}), cls="small muted"),
        el(
            "div",
            say("range"),
            " ",
            buttons,
            el("button", say("range_all"), type="button", data_span=0, aria_pressed="true"),
            cls="buttons",
            role="group",
            **label("range"),
        )
        if buttons
        else None,
        el(
            "div",
            [figure(chart, unit, wanted, series[chart]) for chart, unit, wanted in CHARTS if series.get(chart)],
            cls="plots",
        ),
        cls="charts",
        data_host=number_,
    )
