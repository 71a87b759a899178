# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""HTML by elements. Whatever is not an element is text and is escaped, so nothing that came from a host can become markup."""

import html
import json
import re

VOID = {"br", "hr", "meta", "link", "input", "img"}
# Control characters, and those that turn the direction of what follows: shown by their code, or a name could read as another one.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


class Markup(str):
    """Finished HTML. Made by el() and by nothing else; a plain str is text."""

    __slots__ = ()


def visible(text):
    """*text* (anything) as str, with every character that would not be seen written as its code: <U+202E>."""
    return UNSEEN.sub(lambda match: "<U+%04X>" % ord(match.group()), str(text).replace("\r\n", "\n"))


def markup(child):
    """Finished HTML of an element, of text, or of a list of both; None and False are nothing."""
    if child is None or child is False:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, (list, tuple)) or hasattr(child, "__next__"):
        return Markup("".join(markup(one) for one in child))
    return Markup(html.escape(visible(child), quote=False))


def el(tag, *children, **attributes):
    """An element. cls is the attribute class, data_x is data-x; True is an attribute without a value, None and False leave one out."""
    given = ""
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = {"cls": "class"}.get(name, name.rstrip("_").replace("_", "-"))
        given += " %s" % name if value is True else ' %s="%s"' % (name, html.escape(visible(value)))
    inner = "".join(markup(child) for child in children)
    return Markup("<%s%s>" % (tag, given) if tag in VOID else "<%s%s>%s</%s>" % (tag, given, inner, tag))


def embedded(data):
    """*data* as JSON that can stand inside <script type="application/json">: no character in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
