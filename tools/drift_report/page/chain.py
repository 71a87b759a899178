# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How near the ceilings are: the tightest link in a sentence and a figure, and the chain of limits as a table."""

from .ceilings import NEAR
from .elements import el
from .language import say
from .pieces import bar, head, link_name, moment, number, percent


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
    near, broken = bool(row["peak"]) and row["peak"]["share"] >= NEAR, row["ok"] is False
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
        el("b", percent(row["peak"]["share"]), cls="big warn" if row["peak"]["share"] >= NEAR else "big"),
        bar(dict(row, needed=None)),
        cls="gauge",
    )


def section(judged):
    rows = judged["rows"]
    table = (
        el(
            "table",
            el("caption", say("chain_why"), cls="small muted"),
            head(
                (None, None),
                ("col_link", None),
                ("col_use", "number"),
                ("col_ceiling", "number"),
                ("col_needs", "number needs"),
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
