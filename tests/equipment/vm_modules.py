"""Loads modules of vm/vmkit, whose folder is on no path."""

import importlib
import pathlib
import sys

VM = pathlib.Path(__file__).resolve().parents[2] / "vm"


def vmkit(name):
    if str(VM) not in sys.path:
        sys.path.append(str(VM))
    return importlib.import_module(f"vmkit.{name}")
