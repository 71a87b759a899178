# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A locale with UTF-8 for a command that runs Ansible, which accepts no other, or that reads and prints our texts."""

import locale
import os
import sys

#: The caller's own, then what FreeBSD, Debian and macOS have.
NAMES = ("", "C.UTF-8", "en_US.UTF-8")


def works(name):
    """Return whether the locale *name* is here, and is one of UTF-8, as Ansible asks (initialize_locale() of ansible.cli)."""
    try:
        locale.setlocale(locale.LC_ALL, name)
        return (locale.getlocale()[1] or "").lower() in ("utf-8", "utf8")
    except (locale.Error, ValueError):
        return False


def ensure():
    """Start this program again in a locale that works, for itself and what it starts, where the caller's does not."""
    name = next((name for name in NAMES if works(name)), "")
    if name:
        os.environ["LC_ALL"] = name
        # orig_argv, from Python 3.10 on, has the interpreter's own options as well
        os.execv(sys.executable, getattr(sys, "orig_argv", [sys.executable, *sys.argv]))
