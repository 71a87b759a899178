# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What fits into memory and processors: the sum over SERVICES of sizing.py, named's cache and the kernel against what the host has.

Where the numbers come from: docs/memory.md.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

# Ansible loads a plugin by its path
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from sizing import MIB, SERVICES, largest, sizes
from sizing_numbers import number

#: Of the memory, what is the kernel's: gone when it has booted, and with the buffers of UFS or the least of ZFS's ARC. Of ZFS's ARC only that least,
#: arc_c_min, is not given back when memory is short.
KERNEL_BOOTED, KERNEL_SHARE = 0.06, 0.1
ARC_MIN = "kstat.zfs.misc.arcstats.c_min"
ARC_MIN_SET = ("vfs.zfs.arc.min", "vfs.zfs.arc_min")
#: A mail process mostly waits for the network; 500 of one service a processor is a judgement (the article's 500 on a one-processor machine of
#: 2008 still holds), not a measurement.
PROCESSES_PER_CPU = 500


def kernel_memory(physmem, arc_min=0):
    """Return the bytes of *physmem* that are not for processes. arc_min: bytes that ZFS's ARC keeps, 0 where there is no ZFS."""
    return max(int(physmem * KERNEL_SHARE), int(physmem * KERNEL_BOOTED) + arc_min)


def arc_min(running, explicit):
    """Return the bytes that ZFS's ARC keeps, 0 without ZFS. running, explicit: {sysctl: value} of the host, and as declared.

    At most one of the two names of the tunable counts; 0 is the kernel's own choice, a 32nd of the memory and at least 32 MiB (arc.c).
    """
    declared = [number(explicit[name]) for name in ARC_MIN_SET if number(explicit.get(name))]
    return max(declared or [number(running.get(ARC_MIN)) or 0])


def cache_memory(asked, physmem, kernel):
    """Return the bytes of named's cache: a share of the memory, less where other services need it, never below the floor."""
    wanted = min(physmem * asked.cache_share // 100, asked.cache_ceiling * MIB)
    left = physmem - kernel - sizes(asked).memory
    return max(asked.cache_floor * MIB, min(wanted, left)) // MIB * MIB


def shares(asked, physmem, kernel):
    """Return [(name, bytes, the variable with which it becomes less)] of all that has to fit into memory, the largest first."""
    rows = [(service.name, service.memory(asked), service.lower) for service in SERVICES]
    rows.append(("named's cache", cache_memory(asked, physmem, kernel), "bind_cache_floor_mib"))
    rows.append(("the kernel", kernel, "with ZFS vfs.zfs.arc.min" if kernel > physmem * KERNEL_SHARE else ""))
    return sorted((row for row in rows if row[1]), key=lambda row: -row[1])


def capacity(asked, physmem, ncpu, arc=0):
    """Judge what is *asked* against memory and processors.

    physmem: bytes (sysctl hw.physmem). ncpu: sysctl hw.ncpu. arc: bytes that ZFS's ARC keeps. Returns {ok: bool, field: of Asked, which has to fit,
    most: the largest of it that does, message}: the process limit, and of a host without the mail service the recursive clients.
    """
    field = "process_limit" if asked.process_limit else "recursive_clients"
    number, name, kernel = getattr(asked, field), f"sokuhai_{field}", kernel_memory(physmem, arc)
    by_cpu = PROCESSES_PER_CPU * ncpu if asked.process_limit else number

    def needs(number):
        return sum(row[1] for row in shares(dataclasses.replace(asked, **{field: number}), physmem, kernel))

    by_memory = largest(lambda number: needs(number) <= physmem, max(by_cpu, number))
    most = min(by_memory, by_cpu)
    if number > by_memory:
        listed = ", ".join(
            f"{share} {size / MIB:,.0f} MiB" + (f" ({lower})" if lower else "")
            for share, size, lower in shares(asked, physmem, kernel)
        )
        message = (
            f"{name}: {number} is more than this host can hold: at its busiest it needs {needs(number) / MIB:,.0f} MiB, but has {physmem / MIB:,.0f} MiB "
            f"RAM, and a host that swaps delivers nothing: {listed}. "
            + (
                f"At most {most} fits, or lower another of these."
                if most
                else "Not even one fits: this host has too little RAM for the rest."
            )
        )
    else:
        message = (
            f"{name}: {number} is more than this host's {ncpu} processor{'s' if ncpu > 1 else ''} can serve ({PROCESSES_PER_CPU} processes of one "
            f"service each). At most {most} fits."
        )
    return {"ok": number <= most, "field": field, "most": most, "message": "" if number <= most else message}


class FilterModule:
    def filters(self):
        return {}
