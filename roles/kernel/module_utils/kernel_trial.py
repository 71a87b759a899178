# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a trial boot leaves on the host, taken away again."""

from __future__ import annotations

import os
import signal

from ansible.module_utils import kernel_boot
from ansible.module_utils import kernel_places as places
from ansible.module_utils.sokuhai import host, process


def alive(pidfile):
    """Return the pid (int) of what daemon(8) or watchdogd(8) wrote into *pidfile*, or None where it is gone."""
    found = process.from_pidfile(pidfile)
    return found and found.pid


def stop(pidfile):
    """End the process group of a pid file's process: daemon(8), the shell below it and its sleep are one. Return whether it ran."""
    pid = alive(pidfile)
    if pid is not None:
        try:
            group = os.getpgid(pid)
            if group not in (0, 1, os.getpgid(0)):
                os.killpg(group, signal.SIGTERM)
        except ProcessLookupError:
            pass
    host.remove(pidfile)
    return pid is not None


def disarm(names):
    """Have no trial of the kernels *names* from here on, the timer first, so that nothing reboots what is judged good. Return whether there was one."""
    gone = host.remove(places.state("running"), places.state("armed"))
    for pidfile in (places.TIMER, places.WATCHDOG):
        gone = stop(pidfile) or gone
    if kernel_boot.trial() in names:
        host.run(["nextboot", "-D"])
        gone = True
    return host.remove(places.SCRIPT, places.state("trial.json"), places.state("expired")) or gone
