# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which kernel the loader takes, whether a trial boot of another one can be taken back, and how that is done."""

import os
import re
import signal

from ansible.module_utils import kernel_file
from ansible.module_utils import kernel_places as places
from ansible.module_utils.sokuhai import environments, host, process
from ansible.module_utils.sokuhai.host import Refused

#: Drivers that register a hardware timer with watchdog(9): what attaches a handler to watchdog_list in FreeBSD 15's sys/dev.
WATCHDOGS = (
    "ichwd",
    "i6300esbwd",
    "ipmi",
    "amdsbwd",
    "viawd",
    "wdatwd",
    "wbwd",
    "ftwd",
    "itwd",
    "dwwdt",
    "aw_wdog",
    "bcmwd",
)


def loader_value(text, name):
    """Return (value, line) of the last `name=` in the text of a loader.conf (None: no text), or None."""
    found = None
    for count, line in enumerate((text or "").splitlines(), 1):
        match = re.match(r'^\s*%s\s*=\s*("([^"]*)"|\S+)' % re.escape(name), line)
        if match:
            found = (match.group(2) if match.group(2) is not None else match.group(1), count)
    return found


def _said():
    """Yield (path, kernel, line) of each of loader(8)'s files that says which kernel boots, in the order in which they are read.

    The directory's come before loader.conf.local where the defaults have that in local_loader_conf_files, and last before (FreeBSD 14.0; readConf() of
    stand/lua/config.lua).
    """
    folder, paths = places.LOADER_FOLDER, list(places.LOADER_FILES)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".conf")) if os.path.isdir(folder) else []
    at = -1 if loader_value(host.read(paths[0]), "local_loader_conf_files") else len(paths)
    paths[at:at] = [os.path.join(folder, name) for name in names]
    for path in paths:
        found = loader_value(host.read(path), "kernel")
        if found:
            yield (path, *found)


def default(without=None):
    """Return the kernel (str) of the next boot. without: a file that is going to be removed."""
    return ([name for path, name, _line in _said() if path != without] or ["kernel"])[-1]


def refuse_foreign(name):
    """Raise Refused where a line of ours would not decide that *name* boots."""
    for path, found, line in _said():
        if path not in (places.LOADER_FILES[0], places.LOADER) and found != name:
            raise Refused(
                '%s:%d says kernel="%s", but role kernel decides which one boots: remove the line there'
                % (path, line, found)
            )


def trial():
    """Return the kernel (str) that nextboot(8) has for the next boot, or ""."""
    return (loader_value(host.read(places.NEXTBOOT), "kernel") or ("",))[0]


def armed(name):
    """Return whether the next boot is a trial of *name*: loader and rc.d/root both take the file away once it has counted."""
    return trial() == name and 'nextboot_enable="NO"' not in host.read(places.NEXTBOOT)


def counts_once(name):
    """Return whether the next boot, and no other, is one of *name*."""
    if trial() != name:
        return False
    if file_system() != "zfs":
        # elsewhere nextboot(8) writes no such line, and the loader would boot the trial kernel again and again
        return 'nextboot_enable="YES"' in host.read(places.NEXTBOOT)
    # on ZFS the loader cannot write the file back: the flag in the pool's boot area is what makes it count once (sbin/reboot/reboot.c). The loader leaves
    # it there as NO after a trial
    status, out, _err = host.run(["zfsbootcfg", "-p"])
    return status == 0 and re.search(r"^\s*nextboot_enable = YES$", out, re.M) is not None


def file_system():
    """Return the type of the file system that holds /boot."""
    lines = host.run(["df", "-T", places.BOOT])[1].splitlines()
    return lines[-1].split()[1] if len(lines) > 1 else ""


def hardware_timer():
    """Return the name of a hardware timer that watchdog(4) could use, or ""."""
    for line in host.run(["sysctl", "-i"] + ["dev.%s.0.%%driver" % driver for driver in WATCHDOGS])[1].splitlines():
        return line.partition(":")[2].strip() or line.split(".")[1]
    return ""


def refuse_trial(name, console):
    """Raise Refused unless a trial boot of the kernel *name* can be taken back here. console: whether somebody can switch the machine off and on."""
    refuse_foreign(name)
    why = kernel_file.problem(os.path.join(places.folder(default()), "kernel"))
    if why:
        raise Refused(why)
    if os.path.exists(places.NOSHUTDOWN):
        raise Refused("%s exists: shutdown(8) would refuse" % places.NOSHUTDOWN)
    if not (console or hardware_timer()):
        raise Refused(
            "kernel_console_access: is false and this host has no hardware timer that watchdog(4) could use. A trial kernel that stops "
            "before rc(8) (the loader's prompt, the mountroot prompt, a hang) waits for somebody who can switch the machine off and on; "
            "then the old kernel boots. Set it to true when you can do that"
        )
    if file_system() == "zfs":
        if all("N" in flags for flags in environments.listed().values()):
            raise Refused(
                "/boot is on ZFS and there is no boot environment to return to: `bectl create before-%s`" % name
            )


# ---- what a trial boot leaves ----


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
    if trial() in names:
        host.run(["nextboot", "-D"])
        gone = True
    return host.remove(places.SCRIPT, places.state("trial.json"), places.state("expired")) or gone
