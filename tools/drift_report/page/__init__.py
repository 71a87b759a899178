# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The page that an operator looks at: one HTML file out of a report of tools/drift. docs/page.md says what it shows.

judgement   what is said of a host, by ceilings (the chain and what was used of it) and chart_data (its samples)
host        its section, of chain, charts and traps; summary has all hosts
elements, language, pieces   HTML, words in both languages, and what stands in many places
"""

import base64
import hashlib
import json
import pathlib

from ..words import WORDS, forms
from . import host, summary
from .ceilings import NEAR
from .chart_data import CHARTS, series
from .charts import DASHES
from .elements import Markup, el, embedded
from .judgement import SEVERITY, judge, seconds_of
from .language import label, say
from .pieces import code, moment, number

HERE = pathlib.Path(__file__).resolve().parent
UPLOT = HERE / "vendor" / "uplot"


def policy(scripts, styles):
    """A Content-Security-Policy that lets these scripts and styles run, by their digests, and nothing else; no network at all."""

    def digests(texts):
        return " ".join(
            "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts
        )

    return "default-src 'none'; script-src %s; style-src %s; base-uri 'none'; form-action 'none'" % (
        digests(scripts),
        digests(styles),
    )


def render(report):
    """The page of *report* (as docs/drift.schema.json has it) as str."""
    hosts = sorted(
        (judge(report, name) for name in report["hosts"]),
        key=lambda judged: (SEVERITY.index(judged["level"]), judged["name"]),
    )
    lines = [series(judged["columns"]) if judged["columns"] else None for judged in hosts]
    version = json.loads((UPLOT / "source.json").read_text())["version"]
    scripts = [(UPLOT / "uPlot.iife.min.js").read_text(), (HERE / "page.js").read_text()]
    styles = [(UPLOT / "uPlot.min.css").read_text() + (HERE / "page.css").read_text()]
    wanted = {chart: {"unit": unit, "series": [name for name, _ in columns]} for chart, unit, columns in CHARTS}
    data = {
        "hosts": lines,
        "charts": wanted,
        "dashes": DASHES,
        "near": 100 * NEAR,
        "words": {key: [WORDS[key][0], WORDS[key][-1]] for key in ("title", "ceiling")},
    }
    started = seconds_of(report["started"])
    body = el(
        "body",
        el("a", say("to_hosts"), cls="skip", href="#hosts"),
        el(
            "header",
            el(
                "div",
                el("h1", say("title")),
                el(
                    "div",
                    *(
                        el("button", name, type="button", lang=code_, data_language=code_, aria_pressed="false")
                        for code_, name in (("en", "English"), ("ja", "日本語"))
                    ),
                    cls="buttons",
                    role="group",
                    **label("language"),
                ),
                cls="top",
            ),
            summary.verdict(report, hosts),
            el(
                "p",
                say("as_of", when=moment(started)),
                "; ",
                say("took", seconds=number(report["seconds"])),
                cls="muted small",
            ),
            [el("pre", code(error), cls="command", lang="en") for error in report["errors"]],
            el("noscript", el("p", say("noscript"))),
        ),
        el(
            "main",
            summary.section(hosts) if len(hosts) > 1 else None,
            el(
                "div",
                [host.section(judged, index, len(hosts) == 1, lines[index]) for index, judged in enumerate(hosts)],
                id="hosts",
                tabindex=-1,
            ),
        ),
        el("footer", say("made_by", version=version)),
        el("script", embedded(data), type="application/json", id="data"),
        *(el("script", Markup(script)) for script in scripts),
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy(scripts, styles)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="robots", content="noindex"),
        el("title", forms("title")[0]),
        *(el("style", Markup(style)) for style in styles),
    )
    return "<!DOCTYPE html>\n%s\n" % el("html", head, body, lang="en")
