# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler's own modules, imported as the host's Python finds them: beside each other, in the program's folder."""

import sys

from role_modules import ROOT

FOLDER = ROOT / "roles/monitor/files/usr/local/libexec/sokuhai-monitor"
sys.path.insert(0, str(FOLDER))
wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
import alerts
import freebsd
import look
import maillog
import sampler
import samples

sys.dont_write_bytecode = wrote

__all__ = ["FOLDER", "alerts", "freebsd", "look", "maillog", "sampler", "samples"]
