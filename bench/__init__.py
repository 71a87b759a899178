# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""make bench: one message to very many recipients, by each of several arms; how an arm is made, and what a result holds: README.md."""

import importlib


def known():
    """All arms by name, in the order of the page; modules with more of them are named here."""
    for module in ("arms", "others"):
        importlib.import_module(f".{module}", __name__)
    return importlib.import_module(".arms", __name__).ARMS
