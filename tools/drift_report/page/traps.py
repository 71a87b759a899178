# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the traps caught, by rule and by trap."""

from .ceilings import NEAR
from .elements import el
from .language import say
from .pieces import bar, code, head, number


def section(host):
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
            el("td", bar(dict(share, peak={"share": min(count / most, NEAR - 0.01) if most else 0})), cls="use"),
            el("td", number(count), cls="number"),
        )

    return el(
        "section",
        el("h3", say("traps")),
        el("p", say("traps_why"), cls="small muted"),
        el(
            "table",
            head(("col_rule", None), (None, None), ("col_count", "number")),
            el("tbody", [row(name, count) for name, count in rules.items()]),
        )
        if rules
        else el("p", say("no_hits")),
        el(
            "table",
            head(("col_trap", None), ("col_taken", "number"), ("col_refused", "number")),
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
