# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What became of the last large messages: a line for each, and behind it the curve, the reasons, and each provider or domain."""

import shlex

from ..words import WORDS
from .elements import el
from .language import say
from .pieces import code, command, head, moment, number, percent

SHARES = ("50", "95", "99", "100")
WIDTH, HEIGHT = 300, 60  # of the curve's own space; it is stretched to its place


def seconds(value):
    return say("not_reached") if value is None else [number(value), " s"]


def share(part, whole):
    return percent(part / whole) if whole else "–"


def curve(mailing):
    """Recipients served over time: the line ends where the last of them was. The numbers stand beside it."""
    known = [(at, index) for index, at in enumerate(mailing["curve"]) if at is not None]
    if len(known) < 2:
        return None
    longest, steps = max(at for at, _ in known) or 1, len(mailing["curve"]) - 1
    # along the ground until the first is served
    points = " ".join(
        "%.1f,%.1f" % (WIDTH * at / longest, HEIGHT - HEIGHT * index / steps) for at, index in [(0, 0), *sorted(known)]
    )
    picture = el(
        "svg",
        el("rect", cls="track", x=0, y=0, width=WIDTH, height=HEIGHT),
        el("line", cls="half", x1=0, x2=WIDTH, y1=HEIGHT / 2, y2=HEIGHT / 2),
        el("polyline", cls="served", points=points),
        el("rect", cls="frame", x=0, y=0, width=WIDTH, height=HEIGHT),
        cls="curve",
        viewBox="0 0 %d %d" % (WIDTH, HEIGHT),
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
    ends = el("div", el("span", "0 s"), el("span", seconds(longest)), cls="ends small muted")
    return el("div", picture, ends, cls="over-time")


def reasons(counted, prefix):
    """{reason: recipients} in words; a reason of a later version by its own name."""
    return [
        ["; " if index else "", say(prefix + name) if prefix + name in WORDS else code(name), " ", number(recipients)]
        for index, (name, recipients) in enumerate(counted.items())
    ]


def group_row(name, group, provider):
    return el(
        "tr",
        el("th", code(name), [" ", el("span", say("provider"), cls="small muted")] if provider else None, scope="row"),
        *(el("td", number(group[key]), cls="number") for key in ("recipients", "delivered", "deferred", "bounced")),
        *(el("td", seconds(group["seconds"][key]), cls="number") for key in ("50", "99")),
    )


def table(mailing):
    columns = ("recipients", "delivered", "deferred", "bounced", "50", "99")
    return el(
        "div",
        el(
            "table",
            head(("col_group", None), *(("col_" + key, "number") for key in columns)),
            el(
                "tbody",
                [group_row(name, one, name in mailing["providers"]) for name, one in mailing["groups"].items()],
            ),
        ),
        cls="scroll",
    )


def one(mailing, index):
    """One message. The last one is open."""
    everyone = mailing["recipients"]
    when = moment(mailing["at"]) if mailing["at"] is not None else "–"
    senders = [[", " if place else "", code("<%s>" % sender)] for place, sender in enumerate(mailing["senders"])]
    line = say("mailing_line", when=when, n=number(everyone), share=share(mailing["delivered"], everyone))
    counts = {key: number(mailing[key]) for key in ("delivered", "deferred", "bounced", "unattempted")}
    times = [el("div", el("dt", key, " %"), el("dd", seconds(mailing["seconds"][key]))) for key in SHARES]
    return el(
        "details",
        el("summary", line, " ", el("span", say("col_99"), ": ", seconds(mailing["seconds"]["99"]), cls="muted")),
        el(
            "p",
            say("mailing_from", sender=senders, files=number(mailing["messages"]), left=number(mailing["in_queue"])),
            " ",
            code(mailing["name"]),
            cls="small muted",
        ),
        el("p", say("mailing_counts", first=number(mailing["at_the_first_attempt"]), **counts)),
        el("div", curve(mailing), el("dl", times), cls="times"),
        el(
            "p",
            say("mailing_spent", **{key: number(value) for key, value in mailing["spent"].items()}),
            cls="small muted",
        )
        if mailing["spent"]
        else None,
        [
            el("p", say("mailing_%s_by" % status, list=reasons(mailing[status + "_by"], prefix)))
            for status, prefix in (("deferred", "deferred_"), ("bounced", "bounce_"))
            if mailing[status + "_by"]
        ],
        [
            el("p", say("dead_addresses", n=number(mailing["dead"]))),
            command("sokuhai-report --dead %s > dead.txt" % shlex.quote(mailing["name"])),
        ]
        if mailing["dead"]
        else None,
        table(mailing) if mailing["groups"] else None,
        el("p", say("more_groups", n=number(mailing["other_groups"])), cls="small muted")
        if mailing["other_groups"]
        else None,
        cls="mailing",
        open=index == 0,
    )


def section(host):
    """The messages of a host, or None where there is none."""
    found = (host.get("mailings") or {}).get("mailings")
    if not found:
        return None
    return el(
        "section",
        el("h3", say("mailings")),
        el("p", say("mailings_why"), cls="small muted"),
        [one(mailing, index) for index, mailing in enumerate(found)],
        cls="mailings",
    )
