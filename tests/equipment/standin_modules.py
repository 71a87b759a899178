"""The lab's stand-ins as modules, for tests of their own logic without a host."""

import importlib.machinery
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2] / "lab/standins/root"
LIB = ROOT / "usr/libexec/standins/lib"


def module(path, monkeypatch):
    """A stand-in's functions, its main program left alone; the modules of lib/ are fresh ones."""
    # root/ is copied into hosts as it is: nothing generated may lie in it
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(LIB))
    for file in LIB.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    loader = importlib.machinery.SourceFileLoader("standin", str(ROOT / path))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader("standin", loader))
    loader.exec_module(made)
    return made
