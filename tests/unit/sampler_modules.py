# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler's own modules, imported as the host's Python finds them: beside each other, in the program's folder."""

import sys

from role_modules import ROOT

FOLDER = ROOT / "roles/monitor/files/usr/local/libexec/sokuhai-monitor"
sys.path.insert(0, str(FOLDER))
wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
import alarms
import alerts
import certificate
import freebsd
import logs
import look
import maillog
import message
import prometheus
import report
import sampler
import samples
import verdict
import watch
import ways

sys.dont_write_bytecode = wrote

#: What the sampler is told by its file, as far as alarms go.
SETTINGS = {
    "ceiling_percent": 80,
    "disk_percent": 90,
    "memory_percent": 95,
    "down_seconds": 60,
    "incoming_seconds": 1800,
    "deferred_seconds": 0,
    "deferred_dns": 50,
    "certificate_days": 14,
    "quiet": 60,
    "alert_to": [],
    "webhook": None,
    "relay": None,
    "textfile": "",
    "greylist": [],
    "mta_sts": [],
    "named": "",
    "recipients": [],
    "dkim": "",
    "warm": "",
}

__all__ = [
    "FOLDER",
    "SETTINGS",
    "alarms",
    "alerts",
    "certificate",
    "freebsd",
    "logs",
    "look",
    "maillog",
    "message",
    "prometheus",
    "report",
    "sampler",
    "samples",
    "verdict",
    "watch",
    "ways",
]
