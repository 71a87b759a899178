# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host answered to be shown and not judged, in the form of docs/drift.schema.json: it comes from another machine, and may be anything. Pure."""

from .mailings import mailings
from .samples import of_kind, samples, traps

#: By what a task's variable page_shows says.
FORMS = {"samples": samples, "traps": traps, "mailings": mailings}


def sane(what, value):
    """*value*, whatever it is, in the form of *what*, a key of FORMS."""
    value = of_kind(dict, value)
    if value.get("error"):
        return {"error": str(value["error"])}
    return FORMS[what](value)
