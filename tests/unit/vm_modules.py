"""Loads modules of molecule/freebsd/vmkit, whose folder is on no path."""

import importlib
import pathlib
import sys

SCENARIO = pathlib.Path(__file__).resolve().parents[2] / "molecule" / "freebsd"


def vmkit(name):
    if str(SCENARIO) not in sys.path:
        sys.path.append(str(SCENARIO))
    return importlib.import_module(f"vmkit.{name}")
