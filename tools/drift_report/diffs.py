# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a module's diff says, one difference after the other. Pure."""

import difflib
import json

NOT_SET = "(not set)"
NOTHING = "(nothing)"


def logical_lines(text):
    """The lines of main.cf or master.cf: comments left out, what begins with white space joined to the line before (postconf(5), master(5))."""
    lines = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            lines.append(line)
        elif lines:
            lines[-1] += " " + line.strip()
    return lines


def parameters(text):
    """{name: value} of a main.cf."""
    pairs = (line.partition("=") for line in logical_lines(text))
    return {name.strip(): value.strip() for name, sign, value in pairs if sign and name.strip()}


def services(text):
    """{name/type: entry} of a master.cf, white space evened out."""
    entries = (line.split() for line in logical_lines(text))
    return {"/".join(fields[:2]): " ".join(fields) for fields in entries}


def keys(text):
    """{name: value} of lines as rc.conf has them."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.removeprefix("/etc/rc.conf: "): value.strip('"') for name, sign, value in pairs if sign}


#: Texts that are compared value by value: header of the diff's entry -> how to read it
BY_VALUE = {"main.cf": parameters, "master.cf": services, "rc.conf": keys}


def unified(before, after, label):
    """The unified diff from what is there to what is declared, every line ended."""
    names = "found: " + label, "declared: " + label
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names, n=1)
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def by_value(label, before, after):
    """Entries of a text that is compared value by value; [] where its values are the same, or there is no text yet."""
    was, will = BY_VALUE[label](before), BY_VALUE[label](after)
    if not was and label != "rc.conf":
        return []
    return [
        ("%s: %s" % (label, name), will.get(name, NOT_SET), was.get(name, NOT_SET), "")
        for name in sorted(set(was) | set(will))
        if was.get(name) != will.get(name)
    ]


def of_entry(label, before, after):
    """[(name, expected, found, unified diff)] of one entry of a diff, whose texts differ."""
    values = by_value(label, before, after) if label in BY_VALUE else []
    if values:
        return values
    if len(before.splitlines()) <= 1 and len(after.splitlines()) <= 1 and not label.startswith("/"):
        return [(label, after.strip() or NOTHING, before.strip() or NOTHING, "")]
    expected = "the text as declared" if after else "no such file"
    found = "missing" if not before else "another text" if after else "not declared"
    return [(label, expected, found, unified(before, after, label))]


def differences(diff, path=""):
    """[(name, expected, found, unified diff)] of a module's diff (dict or list of dicts), entry by entry.

    An entry is named by its header, a path mostly. *path*: the file of a module that names none; without one, an entry without a header is of
    rc.conf's keys.
    """
    found = []
    for entry in diff if isinstance(diff, list) else [diff]:
        before, after = (
            text if isinstance(text, str) else json.dumps(text, indent=1, sort_keys=True)
            for text in (entry.get("before", ""), entry.get("after", ""))
        )
        if before != after:
            header = str(entry.get("before_header") or path or entry.get("after_header") or "rc.conf")
            found += of_entry(header.partition(" (content)")[0], before, after)
    return found
