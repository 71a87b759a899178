# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The words of the page as elements, both languages side by side: the style sheet shows the one that <html lang> names."""

import re

from ..words import forms
from .elements import el


def filled(text, given):
    """*text* with {name} replaced by given[name], which may be an element: a list of children for el()."""
    return [given[part[1:-1]] if part[:1] == "{" else part for part in re.split(r"(\{\w+\})", text) if part]


def spoken(english, japanese):
    """Both languages of a text, or of lists of children, side by side; once where they are the same."""
    if english == japanese:
        return el("span", english)
    return [el("span", english, cls="w", lang="en"), el("span", japanese, cls="w", lang="ja")]


def say(key, **given):
    """The words of *key* (words.py), with *given* in their places."""
    one, many, japanese = forms(key)
    english = one if str(given.get("n")) == "1" else many
    return spoken(*(filled(text, given) for text in (english, japanese)))


def label(key):
    """Attributes for what is read aloud and not seen; the script exchanges them with the language."""
    english, _, japanese = forms(key)
    return {"aria_label": english, "data_en": english, "data_ja": japanese}
