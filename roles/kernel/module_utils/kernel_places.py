# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Where role kernel finds and leaves its files."""

import os

from ansible.module_utils.sokuhai.files import File

BOOT = "/boot"
#: Where installkernel puts the symbols of a kernel in BOOT.
DEBUG = "/usr/lib/debug/boot"
#: loader.conf(5), in the order in which they are read, but for those of a directory: see _said() of kernel_boot.
LOADER_FILES = ("/boot/defaults/loader.conf", "/boot/loader.conf", "/boot/loader.conf.local")
LOADER_FOLDER = "/boot/loader.conf.d"
#: Ours, which says the kernel that was kept.
LOADER = "/boot/loader.conf.d/sokuhai-kernel.conf"
NEXTBOOT = "/boot/nextboot.conf"
#: In a kernel's directory: what it was built from, and what became of its trial.
RECORD = "sokuhai.json"
STATE = "/var/db/sokuhai/kernel"
LOGS = "/var/log/sokuhai/kernel"
#: The rc script of a trial boot, and the pid files of what it starts.
SCRIPT = "/etc/rc.d/sokuhai_trial"
TIMER = "/var/run/sokuhai_trial.pid"
WATCHDOG = "/var/run/sokuhai_watchdogd.pid"
#: Has shutdown(8) refuse.
NOSHUTDOWN = "/var/run/noshutdown"


def folder(name):
    """Return the directory of the kernel *name*."""
    return os.path.join(BOOT, name)


def state(name):
    """Return the path of the file *name* of the role's state."""
    return os.path.join(STATE, name)


def put(path, text, mode=0o644):
    """Write *path*, in directories that are made where they are missing; return whether it was otherwise before."""
    return File(path, text, mode).put()
