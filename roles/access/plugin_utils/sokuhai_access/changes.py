# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""access_changes: items of the lists and classes inserted, removed, moved and replaced by name."""

import re

from .declared import near
from .tables import SAFE_YES

VERBS = ("insert", "remove", "move", "replace")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
#: Nothing is evaluated after one of these.
ENDS = ("permit", "reject", "defer")


def value_of(item):
    """Return what Postfix reads of an item that names it itself: its value, else its name."""
    return str(item.get("value") or item["name"])


def changed(lists, changes):
    """Return (lists, problems): {list or class: [items]} with *changes* carried out in order; what cannot be done is a problem and changes nothing.

    changes: [{list, and one of insert: {name, value, reason}, remove: name, move: name, replace: {name, value, reason};
    before or after: name}]. problems: sentences that begin with access_changes.
    """
    lists, problems = dict(lists), []
    for number, change in enumerate(changes or [], 1):
        try:
            name, items = _change(lists, change)
            lists[name] = items
        except ValueError as problem:
            problems.append(f"access_changes[{number}]: {problem}")
    for name, items in lists.items():
        cut = next((pair for pair in zip(items, items[1:]) if value_of(pair[0]).lower() in ENDS), None)
        if cut:
            problems.append(
                f"access_changes: {name}: {cut[1]['name']} stands after {cut[0]['name']}, which Postfix never gets to"
            )
    return lists, problems


def _change(lists, change):
    """Return (list, its items) after one change. Raises ValueError."""
    target = str(change.get("list") or "")
    if target in ("relay", "smtpd_relay_restrictions"):
        raise ValueError("the relay list is not changed here: postfix_restrictions.smtpd_relay_restrictions")
    target = re.sub(r"^smtpd_(.*)_restrictions$", r"\1", target)
    if target not in lists:
        raise ValueError(f"{target!r} is not a list or a class{near(target, lists)}")
    verbs = [verb for verb in VERBS if change.get(verb)]
    if len(verbs) != 1:
        raise ValueError(f"one of {', '.join(VERBS)} is needed, here are {', '.join(verbs) or 'none'}")
    (verb,) = verbs
    given = change[verb] if isinstance(change[verb], dict) else {"name": change[verb]}
    name = str(given.get("name") or "")
    items = lists[target]
    names = [item["name"] for item in items]
    if verb in ("insert", "replace") and not (NAME.fullmatch(name) and value_of(given).strip()):
        raise ValueError(
            f"{verb} needs an item {{name, value}}; {name!r} is not a name of letters, digits, . _ - or has no value"
        )
    if verb == "insert" and name in names:
        raise ValueError(f"{target} has an item {name} already; replace or move it")
    if verb != "insert" and name not in names:
        raise ValueError(f"{target} has no item {name!r}{near(name, names)}")
    if verb == "replace":
        return target, [dict(given) if item["name"] == name else item for item in items]
    rest = [item for item in items if item["name"] != name]
    if verb == "remove":
        return target, rest
    if verb == "move" and not (change.get("before") or change.get("after")):
        raise ValueError(f"move {name} needs before or after")
    place = _place(rest, change)
    item = dict(given) if verb == "insert" else items[names.index(name)]
    return target, [*rest[:place], item, *rest[place:]]


def _place(items, change):
    """Return the index that a change puts its item at: beside its anchor, else last, but before what ends the list. Raises ValueError."""
    anchors = [key for key in ("before", "after") if change.get(key)]
    if not anchors:
        return len(items) - (bool(items) and value_of(items[-1]).lower() in (*ENDS, SAFE_YES))
    if len(anchors) > 1:
        raise ValueError("before and after exclude each other")
    names, anchor = [item["name"] for item in items], change[anchors[0]]
    if anchor not in names:
        raise ValueError(f"the list has no other item {anchor!r}{near(anchor, names)}")
    return names.index(anchor) + (anchors[0] == "after")
