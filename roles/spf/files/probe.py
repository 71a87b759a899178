# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Runs an SPF agent written in Python with the lookup replaced: the result is the sender's local part, and for HELO the first label of its name.

The agent's own libraries are loaded and its own code decides; no name is asked. What it logs comes on standard error. It is run as
sokuhai-policyd-spf runs it: by its main().
"""

import runpy
import sys
import syslog

import spf


def say(*words):
    print(words[-1], file=sys.stderr)


def check(self, *_):
    local = self.s.partition("@")[0]
    return (self.h.partition(".")[0] if local == "postmaster" else local), 550, "probe"


syslog.syslog, syslog.openlog, spf.query.check = say, lambda *_, **__: None, check
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="sokuhai")["main"]()
