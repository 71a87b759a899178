# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a kernel build needs of a host: sources of its own patch level, room, memory; and how long it takes."""

import os
import re

from ansible.module_utils import kernel_file
from ansible.module_utils import kernel_places as places
from ansible.module_utils.sokuhai import host, limits, sources
from ansible.module_utils.sokuhai.host import Refused

#: Minutes that one CPU needs for GENERIC with its modules: an assumption, used only for the first build on a host; the next one is computed
#: from what the last one took.
CPU_MINUTES = 75
#: MiB that one compiler process is given: clang needs 300 to 500 for a kernel file, the linker more, once.
JOB_MIB = 768


def jobs_for(cpus, memory_mib):
    """Return make -j (int) that neither swaps nor idles."""
    return max(1, min(cpus, memory_mib // JOB_MIB))


def estimate(last, jobs):
    """Return the minutes (int) that a build takes. last: seconds that the last build on this host took, or None."""
    return max(1, round(last / 60 if last else CPU_MINUTES / jobs))


def jobs(want):
    """Return (compilers at a time, CPUs), both int. want: kernel_host.OPTIONS' values."""
    cpus, (ram, swap) = host.sysctl_int("hw.ncpu") or 1, limits.memory()
    return want["jobs"] or jobs_for(cpus, ram + swap // 2), cpus


def refuse_build(kernel):
    """Raise Refused unless a build can succeed here. kernel: kernel_host.Kernel."""
    want = kernel.want
    if kernel.name in (kernel.running, kernel.default):
        raise Refused(
            "%s/%s is missing or the kernel changed since: it runs or boots next, so it is not built over. Boot the stock kernel first "
            "(playbooks/rollback.yml --tags kernel), then build" % (kernel.folder, places.RECORD)
        )
    if not awaited(want):
        refuse_source(want, kernel.userland)
    left = kernel.job.read()
    # a build that was broken off goes on in what it has already written
    goes_on = left.get("name") == kernel.name and left.get("phase") not in ("done", "failed")
    for path, need, variable in (
        (want["objects"], 0 if goes_on else want["disk_objects_mib"], "kernel_disk_objects_mib"),
        (places.BOOT, want["disk_boot_mib"], "kernel_disk_boot_mib"),
    ):
        free = host.free_mib(path)
        if free < need:
            raise Refused("%s has %d MiB free, a kernel build needs %d MiB there (%s)" % (path, free, need, variable))
    ram, swap = limits.memory()
    if ram + swap < 1024:
        raise Refused(
            "%d MiB of memory and %d MiB of swap: the linker alone needs 1 GiB for a kernel with debug symbols"
            % (ram, swap)
        )


def awaited(want):
    """Return whether the sources are brought before the build and are not there yet, so that nothing can be asked of them."""
    return want["source_awaited"] and not os.path.exists(want["source"] + "/Makefile.inc1")


def refuse_source(want, userland):
    """Raise Refused unless the sources are of *userland*, this host's version, and give the declared kernel."""
    source, machine, base = want["source"], os.uname().machine, want["base"]
    if not os.path.exists(source + "/Makefile.inc1") or not os.path.isdir(source + "/sys"):
        raise Refused(
            "%s: no sources of FreeBSD there. Bring exactly those of %s: on a host with base packages `pkg install -r FreeBSD-base "
            "FreeBSD-src FreeBSD-src-sys`, else `fetch https://download.freebsd.org/releases/%s/%s/src.txz && tar -C / -xpf src.txz` and then "
            "`freebsd-update fetch install`" % (source, userland, machine, re.sub(r"-p\d+$", "", userland))
        )
    found = sources.release(source)
    if found != userland:
        raise Refused(
            "%s/sys/conf/newvers.sh says %s, this host runs %s: a kernel of other sources is not what the host was patched to. "
            "`freebsd-update fetch install` brings both to the same level where src is among its Components; base packages: `pkg "
            "upgrade -r FreeBSD-base`" % (source, found, userland)
        )
    conf = "%s/sys/%s/conf" % (source, machine)
    if not os.path.exists(os.path.join(conf, base)):
        raise Refused("kernel_base: %s has no %s" % (conf, base))
    ours = "include %s\n%s" % (base, "\n".join(want["lines"]))

    def text_of(name):
        texts = (host.read(os.path.join(at, name)) for at in (want["configurations"], conf, source + "/sys/conf"))
        return next((text for text in texts if text is not None), None)

    if kernel_file.says_option(lambda name: text_of(name) if name else ours, "", "INCLUDE_CONFIG_FILE") is False:
        raise Refused(
            "kernel_base: %s has no INCLUDE_CONFIG_FILE, by which a trial boot is proved. Add `options INCLUDE_CONFIG_FILE` to "
            "kernel_options" % base
        )
