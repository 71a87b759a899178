# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What can be said about the declared sampler without asking the host."""

from __future__ import annotations

import re

#: (least, most, why) of each number
RANGES = {
    "monitor_busy_seconds": (2, 60, "seconds; a sample runs five small commands"),
    "monitor_idle_seconds": (10, 3600, "seconds"),
    "monitor_ceiling_percent": (20, 99, "per cent of a limit; back to normal 10 points lower"),
    "monitor_deferred_dns": (0, 1000000, "attempts in ten minutes, 0 for never"),
    "monitor_alert_quiet": (0, 86400, "seconds"),
    "monitor_file_kilobytes": (
        64,
        4096,
        "kilobytes; at 8192 the sampler takes newsyslog for dead and begins the file anew",
    ),
    "monitor_files_kept": (1, 100, "files"),
    "monitor_read_since": (60, 31622400, "seconds back from now"),
    "monitor_read_points": (1, 20160, "rows; two weeks by the minute"),
    "monitor_statistics_port": (0, 65535, "a port, or 0 for none"),
}
PATHS = (
    "monitor_directory",
    "monitor_program",
    "monitor_config",
    "monitor_newsyslog",
    "monitor_maillog",
    "monitor_queue_directory",
    "monitor_main_cf",
    "monitor_named_conf",
)


def problems(declared):
    """Return what is wrong with *declared* ({variable: value}), one message each, beginning with the variable's name."""
    found = []
    for name, (least, most, meaning) in RANGES.items():
        if not least <= declared[name] <= most:
            found.append(f"{name}: {declared[name]} is outside {least} to {most} ({meaning})")
    if declared["monitor_idle_seconds"] < declared["monitor_busy_seconds"]:
        found.append(
            f"monitor_idle_seconds: {declared['monitor_idle_seconds']} is less than monitor_busy_seconds, {declared['monitor_busy_seconds']}"
        )
    for address in declared["monitor_alert_to"]:
        # it is an argument of sendmail(1), and a header
        if not re.fullmatch(r"[A-Za-z0-9_][^\s@<>,;:\"()\\]*(@[A-Za-z0-9.-]+)?", str(address)):
            found.append(f"monitor_alert_to: {address!r} is no address, as admin@example.org, or a local name")
    # the name of a variable of sh(1) is made of it
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", declared["monitor_service"]):
        found.append(
            f"monitor_service: {declared['monitor_service']!r} is to be small letters, digits and _, beginning with a letter"
        )
    # pw(8): 32 characters less the end, no upper case
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", declared["monitor_user"]):
        found.append(
            f"monitor_user: {declared['monitor_user']!r} is no name that pw(8) takes: small letters, digits, _ and -, up to 31"
        )
    elif declared["monitor_user"] in ("root", "toor", "postfix", "bind"):
        found.append(
            f"monitor_user: {declared['monitor_user']} has rights that the sampler is not to have; a user of its own is made"
        )
    for name in PATHS:
        # they stand unquoted in the rc script and in newsyslog.conf
        if not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", declared[name]):
            found.append(f"{name}: {declared[name]!r} is to be an absolute path of letters, digits and . _ + -")
    kilobytes = declared["monitor_file_kilobytes"] * (1 + declared["monitor_files_kept"])
    if kilobytes > 1048576:
        found.append(
            f"monitor_files_kept: {declared['monitor_files_kept']} files of {declared['monitor_file_kilobytes']} kilobytes could take more than a gigabyte before they are compressed"
        )
    return found


class FilterModule:
    """Filters of role monitor."""

    def filters(self):
        return {"monitor_problems": problems}
