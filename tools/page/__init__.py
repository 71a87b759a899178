# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The page that an operator looks at: one HTML file out of a report of tools/drift. docs/page.md says what it shows.

It needs Python's standard library only, since tools/drift runs with whatever python3 is there.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import pathlib
import re

from . import model
from .elements import Markup, el, embedded
from .words import WORDS, forms, label, say

HERE = pathlib.Path(__file__).resolve().parent
UPLOT = HERE / "vendor" / "uplot"
SHOWN = 8  # items of a host before the rest is folded away: what is below must not be pushed out of sight
MARKS = {"error": "⨯", "unreachable": "⨯", "drift": "▲", "near": "▲", "clean": "✓"}
# One pattern for each line of a chart, so that no line is known by its colour alone. Lengths in pixels, drawn and gap by turns.
DASHES = ([], [9, 4], [3, 3], [12, 4, 3, 4], [6, 3, 1, 3, 1, 3], [16, 5], [2, 6])
RANGES = (
    (3600, "range_hours", 1),
    (6 * 3600, "range_hours", 6),
    (86400, "range_days", 1),
    (3 * 86400, "range_days", 3),
)


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
    kind = "bad" if row["ok"] is False else "warn" if share is not None and share >= model.NEAR else ""
    inside = [el("rect", cls="track", x=0, y=0, width=100, height=10)]
    if share is not None:
        width = "%.2f" % min(100, max(100 * share, 0.4))
        inside.append(el("rect", cls=("fill " + kind).strip(), x=0, y=0, width=width, height=10))
        if kind:
            # hatched: what is near a ceiling is told without its colour, too
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


# ---- one host ----


def shortened(text, width=90):
    text = " ".join(str(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def diff_lines(text):
    for line in text.splitlines():
        kind = (
            "add"
            if line.startswith("+")
            else "del"
            if line.startswith("-")
            else "hunk"
            if line.startswith("@@")
            else None
        )
        yield el("span", line, "\n", cls=kind)


def advice(text):
    match = model.COMMAND.match(text)
    return (
        [command(match.group(1)), el("p", say("or_declare"), cls="small muted")] if match else el("p", text, lang="en")
    )


def item(entry):
    """One finding: a line, and behind it what is there, what is declared, the difference and what to do."""
    refused = entry["thing"].startswith("refused")
    facts = [(say("found"), entry["found"])] + ([] if refused else [(say("declared"), entry["expected"])])
    return el(
        "details",
        el(
            "summary",
            el("span", say(entry["since"]), cls="mark warn" if entry["since"] == "new" else "mark muted"),
            " ",
            el("b", code("%s: %s" % (entry["role"] or "playbook", entry["thing"]))),
            " ",
            el(
                "span",
                say("found"),
                " ",
                code(shortened(entry["found"])),
                *([] if refused else ["; ", say("declared"), " ", code(shortened(entry["expected"]))]),
                cls="small",
            )
            if entry["found"] or entry["expected"]
            else None,
        ),
        el("dl", [[el("dt", name), el("dd", code(value))] for name, value in facts if value]),
        el("p", say("part_" + entry["part"]), ", ", say("since_" + entry["since"]), cls="small muted"),
        el(
            "div",
            el("p", say("difference"), cls="small muted"),
            el("pre", el("code", diff_lines(entry["diff"])), cls="diff", tabindex=0),
        )
        if entry["diff"]
        else None,
        el("div", advice(entry["advice"]), cls="advice"),
        cls="item",
    )


def folded(entries, make):
    """*entries* as elements; those beyond SHOWN behind one more line."""
    rest = entries[SHOWN:]
    return [
        [make(entry) for entry in entries[:SHOWN]],
        el("details", el("summary", say("more_items", n=len(rest))), [make(entry) for entry in rest], cls="more")
        if rest
        else None,
    ]


def wrong(judged):
    host, told = judged["host"], []
    if host["status"] == "unreachable":
        told.append(
            [
                el("b", say("is_unreachable"), cls="bad"),
                el("pre", code("\n".join(host["messages"])), cls="command", lang="en"),
            ]
        )
    if host["status"] == "error":
        told.append(
            [
                el("b", say("is_error"), cls="bad"),
                el("pre", code("\n".join(host["messages"])), cls="command", lang="en"),
            ]
        )
    told += [
        el("b", say("broken_link", link=link_name(row), has=number(row["has"]), needs=number(row["needs"])), cls="bad")
        for row in judged["broken"]
    ]
    told += [
        el(
            "b",
            say(
                "near_link",
                link=link_name(row),
                share=percent(row["peak"]["share"]),
                used=number(row["peak"]["used"]),
                limit=number(row["peak"]["limit"]),
                when=moment(row["peak"]["at"]),
                now=percent(row["now"]["share"]),
            ),
            cls="warn",
        )
        for row in judged["near"]
    ]
    if judged["dns_over"]:
        told.append(el("b", say("dns_waiting", n=number(judged["dns"]), when=moment(judged["dns_over"])), cls="warn"))
    if judged["stale"]:
        told.append(el("b", say("stale", when=moment(judged["stale"])), cls="warn"))
    findings = sorted(judged["findings"], key=lambda entry: entry["since"] != "new")
    if findings:
        new = sum(entry["since"] == "new" for entry in findings)
        told.append(
            [
                el(
                    "b",
                    say("items_differ", n=len(findings)),
                    " (",
                    say("new_of", n=new),
                    ")" if new else ")",
                    cls="warn",
                ),
                folded(findings, item),
            ]
        )
    return el(
        "section",
        el("h3", say("wrong")),
        el("ul", [el("li", one) for one in told], cls="plain")
        if told
        else el("p", MARKS["clean"] + " ", say("nothing_wrong"), cls="good"),
        cls="wrong",
    )


def headline(judged):
    """The tightest link and how near it is, in one sentence."""
    row = judged["tight"]
    if row is None:
        return say("tight_unknown")
    if row["ok"] is False:
        return say("tight_broken", link=link_name(row), has=number(row["has"]), needs=number(row["needs"]))
    if row["peak"]:
        return say(
            "tight_measured",
            link=link_name(row),
            share=percent(row["peak"]["share"]),
            used=number(row["peak"]["used"]),
            limit=number(row["peak"]["limit"]),
            when=moment(row["peak"]["at"]),
            now=percent(row["now"]["share"]),
        )
    return say("tight_reckoned", link=link_name(row), needs=number(row["needs"]), limit=number(row["has"]))


def chain_row(row, tight):
    near, broken = bool(row["peak"]) and row["peak"]["share"] >= model.NEAR, row["ok"] is False
    kinds = [name for name, given in (("tightest", tight and not broken), ("near", near), ("broken", broken)) if given]
    flags = [
        el("span", " ⨯ ", say("broken"), cls="flag bad") if broken else None,
        el("span", " ▲ ", say("near_here"), cls="flag warn") if near else None,
        el("span", " ◀ ", say("tight_here"), cls="flag") if tight and not broken else None,
    ]
    pending = not broken and row["will"] is not None and row["will"] != row["has"]
    why = [
        el("p", row["because"], cls="why", lang="en") if row["because"] else None,
        el("p", say("becomes", value=number(row["will"])), cls="why") if pending else None,
    ]
    name = el("details", el("summary", link_name(row), flags), why) if any(why) else [link_name(row), flags]

    def phone(key):
        return el("span", say(key), " ", cls="phone")

    return el(
        "tr",
        el("td", el("span", cls="ring"), cls="picture", aria_hidden="true"),
        el("th", name, bar(row) if row["peak"] or row["needed"] is not None else None, scope="row"),
        el(
            "td",
            [
                phone("col_use"),
                number(row["peak"]["used"]),
                " ",
                el("span", percent(row["peak"]["share"]), cls="small muted part"),
            ]
            if row["peak"]
            else None,
            cls="number",
        ),
        el("td", phone("col_ceiling"), number(row["has"]), cls="number"),
        el("td", number(row["needs"]), cls="number needs"),
        cls=" ".join(kinds) or None,
    )


def gauge(judged):
    """The one number of a host: how much of its tightest link was in use, as a figure and as a bar."""
    row = judged["tight"]
    if row is None or row["ok"] is False or not row["peak"]:
        return None
    return el(
        "div",
        el("b", percent(row["peak"]["share"]), cls="big warn" if row["peak"]["share"] >= model.NEAR else "big"),
        bar(dict(row, needed=None)),
        cls="gauge",
    )


def chain(judged):
    rows = judged["rows"]
    table = (
        el(
            "table",
            el("caption", say("chain_why"), cls="small muted"),
            el(
                "thead",
                el(
                    "tr",
                    el("td"),
                    *(
                        el("th", say(key), scope="col", cls=kind)
                        for key, kind in (
                            ("col_link", None),
                            ("col_use", "number"),
                            ("col_ceiling", "number"),
                            ("col_needs", "number needs"),
                        )
                    ),
                ),
            ),
            el("tbody", [chain_row(row, row is judged["tight"]) for row in rows]),
            cls="chain",
        )
        if rows
        else None
    )
    # the script folds it on a phone, where it would stand between what is wrong and what to do
    return el(
        "section",
        el("h3", say("ceilings")),
        gauge(judged),
        el("p", headline(judged)),
        el("details", el("summary", say("chain")), table, cls="links", open=True) if table else None,
        cls="ceilings",
    )


def todo(judged):
    host, told = judged["host"], []
    name = judged["name"]
    if host["status"] == "unreachable":
        told.append([say("do_reach"), command("ssh %s uptime" % name)])
    if host["status"] == "error":
        told.append([say("do_error"), command("tools/drift --limit %s --diffs" % name)])
    for row in judged["broken"]:
        told.append(say("do_mend", link=link_name(row), mend=code(row["mend"])) if row["mend"] else say("do_broken"))
    for row in judged["near"]:
        told.append(
            say("do_raise", link=link_name(row), variable=code(row["raise_"])) if row["raise_"] else say("do_swap")
        )
    if judged["dns_over"]:
        told.append(
            [
                say("do_dns"),
                command(
                    "drill -t mx example.org @127.0.0.1", "rndc status", "grep -E 'soft limit|quota' /var/log/messages"
                ),
            ]
        )
    if judged["stale"]:
        told.append(
            [say("do_monitor"), command("ansible-playbook playbooks/site.yml --limit %s --tags monitor" % name)]
        )
    for given, text, entries in judged["steps"]:
        things = el(
            "details",
            el("summary", say("put_back" if given else "for_items", n=len(entries))),
            el("ul", [el("li", code("%s: %s" % (entry["role"] or "playbook", entry["thing"]))) for entry in entries]),
        )
        told.append(
            [command(given), things, el("p", say("or_declare"), cls="small muted")]
            if given
            else [el("p", text, lang="en"), things]
        )
    return el(
        "section",
        el("h3", say("todo")),
        el("ol", [el("li", one) for one in told]) if told else el("p", say("nothing_todo")),
        cls="todo",
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
    lines = [(index, name, data[name], how) for index, (name, how) in enumerate(wanted) if name in data]
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


def charts(judged, number_, series):
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
            [figure(chart, unit, wanted, series[chart]) for chart, unit, wanted in model.CHARTS if series.get(chart)],
            cls="plots",
        ),
        cls="charts",
        data_host=number_,
    )


def traps(host):
    found = host.get("traps")
    if not found or found.get("error") or not found.get("traps"):
        return None
    rules = found.get("rules") or {}
    most = max(rules.values(), default=0)
    named = sorted((found.get("clients") or {}).items(), key=lambda pair: (-pair[1], pair[0]))[:10]

    def row(name, count):
        share = {"peak": {"share": count / most}, "needed": None, "ok": True}
        return el(
            "tr",
            el("th", code(name), scope="row"),
            el("td", bar(dict(share, peak={"share": min(count / most, model.NEAR - 0.01) if most else 0})), cls="use"),
            el("td", number(count), cls="number"),
        )

    return el(
        "section",
        el("h3", say("traps")),
        el("p", say("traps_why"), cls="small muted"),
        el(
            "table",
            el(
                "thead",
                el(
                    "tr",
                    el("th", say("col_rule"), scope="col"),
                    el("td"),
                    el("th", say("col_count"), scope="col", cls="number"),
                ),
            ),
            el("tbody", [row(name, count) for name, count in rules.items()]),
        )
        if rules
        else el("p", say("no_hits")),
        el(
            "table",
            el(
                "thead",
                el(
                    "tr",
                    *(
                        el("th", say(key), scope="col", cls=kind)
                        for key, kind in (("col_trap", None), ("col_taken", "number"), ("col_refused", "number"))
                    ),
                ),
            ),
            el(
                "tbody",
                [
                    el(
                        "tr",
                        el("th", code(name), scope="row"),
                        el("td", number(entry.get("taken")), cls="number"),
                        el("td", number(entry.get("refused")), cls="number"),
                    )
                    for name, entry in found["traps"].items()
                ],
            ),
        ),
        el(
            "p",
            say(
                "clients",
                list=[
                    [", " if index else "", code(name), " (%s)" % number(count)]
                    for index, (name, count) in enumerate(named)
                ],
            ),
            cls="small muted",
        )
        if named
        else None,
        cls="traps",
    )


def unknown(judged):
    host, told = judged["host"], []
    asked = host["status"] not in ("unreachable",)
    samples, found = host.get("samples") or {}, host.get("traps") or {}
    if asked and samples.get("error"):
        told.append(say("no_samples_error", why=code(samples["error"])))
    elif asked and not judged["columns"]:
        told.append(
            [
                say("no_samples"),
                command("ansible-playbook playbooks/site.yml --limit %s --tags monitor" % judged["name"]),
            ]
        )
    if asked and not judged["rows"]:
        told.append(say("no_chain"))
    empty = [name for name, values in judged["columns"].items() if values and all(value is None for value in values)]
    if empty:
        told.append(
            say("column_unknown", list=[[", " if index else "", code(name)] for index, name in enumerate(empty)])
        )
    if found.get("error"):
        told.append(say("no_traps_error", why=code(found["error"])))
    if found.get("missing"):
        told.append(say("log_missing", list=code(", ".join(found["missing"]))))
    told += [el("span", note, lang="en") for note in host["notes"]]
    return el(
        "section",
        el("h3", say("unknown")),
        el("ul", [el("li", one) for one in told]) if told else el("p", say("nothing_unknown")),
        cls="unknown",
    )


def host_section(judged, index, alone, series):
    head = [
        el("h2", judged["name"]),
        level_mark(judged["level"]),
        el("span", headline(judged), cls="near-line small muted") if not alone else None,
    ]
    body = [
        el("div", wrong(judged), chain(judged), todo(judged), cls="columns"),
        charts(judged, index, series) if series else None,
        traps(judged["host"]),
        unknown(judged),
    ]
    if alone:
        return el("section", el("div", head, cls="head"), body, cls="host", id="h%d" % index)
    return el("details", el("summary", head), body, cls="host", id="h%d" % index, open=judged["level"] != "clean")


# ---- all hosts ----


def summary_row(judged, index):
    row, columns = judged["tight"], judged["columns"]
    now, most = model.queue_total(columns) if columns else (None, None)
    out = model.peak_rate(columns, "mails_out") if columns else None
    new = sum(entry["since"] == "new" for entry in judged["findings"])

    def named(key):
        return el("span", say(key), " ", cls="phone")

    if row is None:
        tight = el("span", say("tight_unknown"), cls="muted")
    elif row["ok"] is False:
        tight = el("span", el("span", "⨯ ", say("broken"), cls="flag bad"), link_name(row), cls="tight")
    elif row["peak"]:
        tight = el(
            "span", bar(dict(row, needed=None)), el("b", percent(row["peak"]["share"])), link_name(row), cls="tight"
        )
    else:
        tight = el("span", say("not_measured"), cls="muted")
    return el(
        "tr",
        el("th", el("a", judged["name"], href="#h%d" % index), scope="row"),
        el("td", level_mark(judged["level"])),
        el(
            "td",
            named("col_items"),
            len(judged["findings"]),
            [" (", say("new_of", n=new), ")"] if new else None,
            cls="number",
        )
        if judged["findings"]
        else el("td", cls="number"),
        el("td", tight, cls="wide"),
        el("td", named("col_queue"), "%s (%s)" % (number(now), number(most)), cls="number")
        if now is not None
        else el("td", cls="number"),
        el("td", named("col_dns"), number(judged["dns"]), cls="number" + (" warn" if judged["dns_over"] else ""))
        if columns
        else el("td", cls="number"),
        el("td", named("col_out"), number(model.rounded(out)), cls="number")
        if out is not None
        else el("td", cls="number"),
    )


def summary(hosts):
    return el(
        "section",
        el("h2", say("summary")),
        el(
            "table",
            el(
                "thead",
                el(
                    "tr",
                    *(
                        el("th", say("col_" + key), scope="col", cls=kind)
                        for key, kind in (
                            ("host", None),
                            ("state", None),
                            ("items", "number"),
                            ("tight", None),
                            ("queue", "number"),
                            ("dns", "number"),
                            ("out", "number"),
                        )
                    ),
                ),
            ),
            el("tbody", [summary_row(judged, index) for index, judged in enumerate(hosts)]),
        ),
        cls="summary",
    )


def verdict(report, hosts):
    bad = [judged for judged in hosts if judged["level"] != "clean"]
    worst = min((judged["level"] for judged in hosts), key=model.SEVERITY.index, default="error")
    if report["errors"]:
        text, worst = say("run_errors"), "error"
    elif not hosts:
        text = say("no_host")
    elif bad:
        text = say("attention", n=len(bad), all=len(hosts)) if len(hosts) > 1 else say("attention_one")
    else:
        text = say("all_well" if all(judged["columns"] for judged in hosts) else "all_declared")
    return el("p", MARKS[worst] + " ", text, cls="verdict level " + worst)


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


def kept(what, value):
    """What of a host's samples, chain or traps goes into a report. The chain was reckoned here; the others are what a host says."""
    if what == "chain":
        return value
    value = model.sane(what, value)
    if value.get("columns"):
        value["columns"] = model.thinned(value["columns"])
    return value


def render(report):
    """The page of *report* (as docs/drift.schema.json has it) as str."""
    hosts = sorted(
        (model.judge(report, name) for name in report["hosts"]),
        key=lambda judged: (model.SEVERITY.index(judged["level"]), judged["name"]),
    )
    series = [model.series(judged["columns"]) if judged["columns"] else None for judged in hosts]
    version = json.loads((UPLOT / "source.json").read_text())["version"]
    scripts = [(UPLOT / "uPlot.iife.min.js").read_text(), (HERE / "page.js").read_text()]
    styles = [(UPLOT / "uPlot.min.css").read_text() + (HERE / "page.css").read_text()]
    wanted = {chart: {"unit": unit, "series": [name for name, _ in columns]} for chart, unit, columns in model.CHARTS}
    data = {
        "hosts": series,
        "charts": wanted,
        "dashes": DASHES,
        "near": 100 * model.NEAR,
        "words": {key: [WORDS[key][0], WORDS[key][-1]] for key in ("title", "ceiling")},
    }
    started = model.seconds_of(report["started"])
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
            verdict(report, hosts),
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
            summary(hosts) if len(hosts) > 1 else None,
            el(
                "div",
                [host_section(judged, index, len(hosts) == 1, series[index]) for index, judged in enumerate(hosts)],
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
