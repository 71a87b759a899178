# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""make bench: one message to very many recipients, by each of several arms; how an arm is made, and what a result holds: README.md."""


def arms():
    """All arms by name, in the order of the page."""
    from . import arms as own

    return own.ARMS
