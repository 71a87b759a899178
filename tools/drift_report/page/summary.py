# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""All hosts: a line for each, and the verdict over them."""

from ..samples import rounded
from .chart_data import peak_rate, queue_total
from .elements import el
from .judgement import SEVERITY
from .language import say
from .pieces import MARKS, bar, head, level_mark, link_name, number, percent


def summary_row(judged, index):
    row, columns = judged["tight"], judged["columns"]
    now, most = queue_total(columns) if columns else (None, None)
    out = peak_rate(columns, "mails_out") if columns else None
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
        el("td", named("col_out"), number(rounded(out)), cls="number") if out is not None else el("td", cls="number"),
    )


def section(hosts):
    return el(
        "section",
        el("h2", say("summary")),
        el(
            "table",
            head(
                ("col_host", None),
                ("col_state", None),
                ("col_items", "number"),
                ("col_tight", None),
                ("col_queue", "number"),
                ("col_dns", "number"),
                ("col_out", "number"),
            ),
            el("tbody", [summary_row(judged, index) for index, judged in enumerate(hosts)]),
        ),
        cls="summary",
    )


def verdict(report, hosts):
    bad = [judged for judged in hosts if judged["level"] != "clean"]
    worst = min((judged["level"] for judged in hosts), key=SEVERITY.index, default="error")
    if report["errors"]:
        text, worst = say("run_errors"), "error"
    elif not hosts:
        text = say("no_host")
    elif bad:
        text = say("attention", n=len(bad), all=len(hosts)) if len(hosts) > 1 else say("attention_one")
    else:
        text = say("all_well" if all(judged["columns"] for judged in hosts) else "all_declared")
    return el("p", MARKS[worst] + " ", text, cls="verdict level " + worst)
