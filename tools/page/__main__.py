# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A page out of a kept report: python3 tools/page REPORT.json PAGE.html (PYTHONPATH=tools python3 -m page does the same)."""

import json
import pathlib
import sys

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from page import render

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python3 tools/page REPORT.json PAGE.html")
    pathlib.Path(sys.argv[2]).write_text(render(json.loads(pathlib.Path(sys.argv[1]).read_text())))
