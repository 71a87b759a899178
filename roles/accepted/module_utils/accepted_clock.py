# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Whether the host's clock is right, as the daemon that keeps it says. A signature or a certificate of tomorrow is none."""

import re

from ansible.module_utils.sokuhai import host

COMMANDS = {
    # FreeBSD's own ntpd(8): system variables of ntpq(8), offset in milliseconds
    "ntpd": ["ntpq", "-c", "rv 0 leap,stratum,offset"],
    # net/chrony, in seconds
    "chronyd": ["chronyc", "-n", "tracking"],
}


def of_ntpd(text):
    """Seconds that the clock is wrong by what ntpq prints, "unsynchronized", or None for no answer."""
    found = dict(re.findall(r"(\w+)=([^,\s]+)", text))
    if found.get("leap") in ("11", "3") or found.get("stratum") == "16":
        return "unsynchronized"
    return float(found["offset"]) / 1000 if re.fullmatch(r"[+-]?\d+(\.\d+)?", found.get("offset", "")) else None


def of_chronyd(text):
    """As of_ntpd(), of what chronyc tracking prints (chronyc(1))."""
    leap = re.search(r"^Leap status\s*: (.+)", text, re.MULTILINE)
    if leap and leap[1].strip() == "Not synchronised":
        return "unsynchronized"
    found = re.search(r"^System time\s*: ([\d.]+) seconds (slow|fast) of NTP time", text, re.MULTILINE)
    return float(found[1]) * (-1 if found[2] == "slow" else 1) if leap and found else None


def look(run=host.run):
    """Return (daemon, seconds or "unsynchronized") of the first that answers, or ("", None)."""
    for daemon, read in (("ntpd", of_ntpd), ("chronyd", of_chronyd)):
        status, out, _err = run(COMMANDS[daemon], 10)
        found = read(out) if status == 0 else None
        if found is not None:
            return daemon, found
    return "", None
