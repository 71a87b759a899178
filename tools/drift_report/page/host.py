# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The section of one host: what is wrong, what to do, what could not be known."""

from .. import remedies
from ..terminal import refusal, short
from . import alarms, chain, charts, mailings, traps
from .chain import headline
from .elements import el
from .language import say, spoken
from .pieces import MARKS, code, command, level_mark, link_name, moment, number, percent

SHOWN = 8  # items of a host before the rest is folded away: what is below must not be pushed out of sight
KINDS = {"+": "add", "-": "del", "@": "hunk"}


def diff_lines(text):
    for line in text.splitlines():
        yield el("span", line, "\n", cls=KINDS.get(line[:1]))


def advice(step):
    """What a step of remedies.steps() says: its command, and the sentence about it."""
    text, both, _ = step
    return [command(text) if text else None, el("p", spoken(*both), cls="small muted" if text else None)]


def named(entry):
    """A finding by role and thing."""
    return code("%s: %s" % (entry["role"] or "playbook", entry["thing"]))


def item(entry):
    """One finding: a line, and behind it what is there, what is declared, the difference and what to do."""
    values = [("found", entry["found"])] + ([] if refusal(entry) else [("declared", entry["expected"])])
    line = [["; " if index else "", say(key), " ", code(short(value, 90))] for index, (key, value) in enumerate(values)]
    return el(
        "details",
        el(
            "summary",
            el("span", say(entry["since"]), cls="mark warn" if entry["since"] == "new" else "mark muted"),
            " ",
            el("b", named(entry)),
            " ",
            el("span", line, cls="small") if any(value for _, value in values) else None,
        ),
        el("dl", [[el("dt", say(key)), el("dd", code(value))] for key, value in values if value]),
        el("p", say("part_" + entry["part"]), ", ", say("since_" + entry["since"]), cls="small muted"),
        el(
            "div",
            el("p", say("difference"), cls="small muted"),
            el("pre", el("code", diff_lines(entry["diff"])), cls="diff", tabindex=0),
        )
        if entry["diff"]
        else None,
        [el("div", advice(step), cls="advice") for step in remedies.steps([entry])],
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
    host, items = judged["host"], []
    if host["messages"]:
        messages = el("pre", code("\n".join(host["messages"])), cls="command", lang="en")
        items.append([el("b", say("is_" + host["status"]), cls="bad"), messages])
    items += [
        el("b", say("broken_link", link=link_name(row), has=number(row["has"]), needs=number(row["needs"])), cls="bad")
        for row in judged["broken"]
    ]
    items += [
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
        items.append(el("b", say("dns_waiting", n=number(judged["dns"]), when=moment(judged["dns_over"])), cls="warn"))
    items += alarms.wrong(judged)
    if judged["senders"]:
        items.append(say("senders_not_own", n=number(judged["senders"])))
    if judged["stale"]:
        items.append(el("b", say("stale", when=moment(judged["stale"])), cls="warn"))
    findings = sorted(judged["findings"], key=lambda entry: entry["since"] != "new")
    if findings:
        new = sum(entry["since"] == "new" for entry in findings)
        count = el("b", say("items_differ", n=len(findings)), " (", say("new_of", n=new), ")", cls="warn")
        items.append([count, folded(findings, item)])
    return el(
        "section",
        el("h3", say("wrong")),
        el("ul", [el("li", one) for one in items], cls="plain")
        if items
        else el("p", MARKS["clean"] + " ", say("nothing_wrong"), cls="good"),
        cls="wrong",
    )


def todo(judged):
    host, items = judged["host"], []
    name = judged["name"]
    if host["status"] == "unreachable":
        items.append([say("do_reach"), command("ssh %s uptime" % name)])
    if host["status"] == "error":
        items.append([say("do_error"), command("tools/drift --limit %s --diffs" % name)])
    for row in judged["broken"]:
        items.append(say("do_mend", link=link_name(row), mend=code(row["mend"])) if row["mend"] else say("do_broken"))
    for row in judged["near"]:
        items.append(
            say("do_raise", link=link_name(row), variable=code(row["raise_"])) if row["raise_"] else say("do_swap")
        )
    if judged["dns_over"]:
        items.append(
            [
                say("do_dns"),
                command(
                    "drill -t mx example.org @127.0.0.1", "rndc status", "grep -E 'soft limit|quota' /var/log/messages"
                ),
            ]
        )
    items += alarms.todo(judged)
    if judged["senders"]:
        items.append([say("do_senders"), command("grep 'not owned by user' /var/log/maillog")])
    if judged["stale"]:
        items.append(
            [say("do_monitor"), command("ansible-playbook playbooks/site.yml --limit %s --tags monitor" % name)]
        )
    for step in judged["steps"]:
        entries = step[-1]
        things = el(
            "details",
            el("summary", say("for_items", n=len(entries))),
            el("ul", [el("li", named(entry)) for entry in entries]),
        )
        items.append([*advice(step), things])
    return el(
        "section",
        el("h3", say("todo")),
        el("ol", [el("li", one) for one in items]) if items else el("p", say("nothing_todo")),
        cls="todo",
    )


def unknown(judged):
    host, columns = judged["host"], judged["columns"]
    asked = host["status"] != "unreachable"
    samples, found, sent = (host.get(what) or {} for what in ("samples", "traps", "mailings"))
    empty = [name for name, values in columns.items() if values and all(value is None for value in values)]
    unread = asked and samples.get("error")
    run = command("ansible-playbook playbooks/site.yml --limit %s --tags monitor" % judged["name"])
    names = [[", " if index else "", code(name)] for index, name in enumerate(empty)]
    lacking = (
        (unread, say("no_samples_error", why=code(samples.get("error")))),
        (asked and not unread and not columns, [say("no_samples"), run]),
        (asked and not judged["rows"], say("no_chain")),
        (empty, say("column_unknown", list=names)),
        (found.get("error"), say("no_traps_error", why=code(found.get("error")))),
        (sent.get("error"), say("no_mailings_error", why=code(sent.get("error")))),
        (sent.get("left_out"), say("logs_left_out", list=code(", ".join(sent.get("left_out") or ())))),
        (found.get("missing"), say("log_missing", list=code(", ".join(found.get("missing") or ())))),
    )
    items = [item for applies, item in lacking if applies]
    items += [el("span", note, lang="en") for note in host["notes"]]
    return el(
        "section",
        el("h3", say("unknown")),
        el("ul", [el("li", one) for one in items]) if items else el("p", say("nothing_unknown")),
        cls="unknown",
    )


def section(judged, index, alone, series):
    head = [
        el("h2", judged["name"]),
        level_mark(judged["level"]),
        el("span", headline(judged), cls="near-line small muted") if not alone else None,
    ]
    body = [
        el("div", wrong(judged), chain.section(judged), todo(judged), cls="columns"),
        mailings.section(judged["host"]),
        charts.section(judged, index, series) if series else None,
        traps.section(judged["host"]),
        unknown(judged),
    ]
    if alone:
        return el("section", el("div", head, cls="head"), body, cls="host", id="h%d" % index)
    return el("details", el("summary", head), body, cls="host", id="h%d" % index, open=judged["level"] != "clean")
