# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Does a process limit fit the machine? Postfix's default_process_limit judged against RAM and CPUs.

default_process_limit counts per service, not for all of Postfix (TUNING_README), so the worst case is the sum over the
services that can fill: smtpd of every listener, one cleanup beside each smtpd that receives, and smtp. qmgr, anvil,
trivial-rewrite, proxymap, tlsmgr and the like serve many clients by one process; they are the flat part.

Where the numbers come from: Postfix 3.10.13 with TLS on, 100 sessions held open after RCPT and a running queue, private
memory (Private_Clean + Private_Dirty of /proc/PID/smaps_rollup): smtpd 2,163 KiB (2,070 without a TLS session), smtp
1,902 KiB, cleanup 649 to 658 KiB. Pages that processes share are not counted again. What the kernel holds for a process
(stack, page tables, descriptors, socket buffers) does not show there: 128 KiB each, a judgement, not a measurement.
"""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

MIB = 1024 * 1024
KIB = 1024

KERNEL_PER_PROCESS = 128 * KIB
PROCESS_BYTES = {
    "smtpd": 2163 * KIB + KERNEL_PER_PROCESS,
    "cleanup": 658 * KIB + KERNEL_PER_PROCESS,
    "smtp": 1902 * KIB + KERNEL_PER_PROCESS,
}
FLAT_BYTES = 64 * MIB

# A mail process mostly waits for the network; 500 of them a processor is a judgement (the article's 500 on a
# one-processor machine of 2008 still holds), not a measurement.
PROCESSES_PER_CPU = 500


def _mib(number):
    return f"{number / MIB:,.0f} MiB"


def _whole(name, value, least):
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"postfix_capacity: {name} is {value!r}, a whole number is needed") from None
    if isinstance(value, bool) or number < least:
        raise AnsibleFilterError(f"postfix_capacity: {name} is {value!r}, at least {least} is needed")
    return number


def postfix_capacity(
    process_limit,
    physmem_bytes,
    ncpu,
    share=0.75,
    reserved_bytes=0,
    submission_processes=100,
    per_cpu=PROCESSES_PER_CPU,
    variable="sokuhai_process_limit",
):
    """Judge default_process_limit.

    process_limit: int, processes a service may have (default_process_limit).
    physmem_bytes: int, bytes (sysctl hw.physmem). ncpu: int (sysctl hw.ncpu).
    share: 0..1, part of RAM that mail processes may fill; the rest is the kernel's, named's and the file cache's.
    reserved_bytes: int, bytes promised to others beyond that (a large max-cache-size of named).
    submission_processes: int, smtpd processes of the submission services together (they have a maxproc of their own).
    per_cpu: int, processes of one service that a processor is trusted with.
    variable: str, the name that the message begins with.

    Returns {ok: bool, needs_bytes: int, has_bytes: int, max_process_limit: int, bound_by: 'memory'|'cpu',
    message: str}. Raises AnsibleFilterError for a value that is no number.
    """
    limit = _whole(variable, process_limit, 1)
    physmem = _whole("physmem_bytes", physmem_bytes, 1)
    cpus = _whole("ncpu", ncpu, 1)
    reserved = _whole("reserved_bytes", reserved_bytes, 0)
    submission = _whole("submission_processes", submission_processes, 0)
    try:
        share = float(share)
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"postfix_capacity: share is {share!r}, a number between 0 and 1 is needed") from None
    if not 0 < share <= 1:
        raise AnsibleFilterError(f"postfix_capacity: share is {share}, a number between 0 and 1 is needed")

    receiving = PROCESS_BYTES["smtpd"] + PROCESS_BYTES["cleanup"]
    per_limit = receiving + PROCESS_BYTES["smtp"]
    fixed = FLAT_BYTES + submission * receiving
    needs = fixed + limit * per_limit
    has = max(0, int(physmem * share) - reserved)
    by_memory = max(0, (has - fixed) // per_limit)
    by_cpu = _whole("per_cpu", per_cpu, 1) * cpus
    most = min(by_memory, by_cpu)
    bound_by = "memory" if by_memory <= by_cpu else "cpu"

    if limit <= most:
        message = (
            f"{variable}: {limit} processes a service need {_mib(needs)} in the worst case, "
            f"{_mib(has)} of {_mib(physmem)} RAM are theirs; up to {most} would fit"
        )
    elif limit > by_memory:
        message = (
            f"{variable}: {limit} is more than this host can hold: {limit} smtpd with a cleanup each, {limit} smtp "
            f"and {submission} of submission need {_mib(needs)} in the worst case, but of {_mib(physmem)} RAM "
            f"only {_mib(has)} are theirs, and a host that swaps delivers nothing. "
            + (f"At most {most} fits." if most else "Not even one fits: this host has too little RAM.")
        )
    else:
        message = (
            f"{variable}: {limit} is more than this host's {cpus} processor{'s' if cpus > 1 else ''} can serve "
            f"({per_cpu} processes of one service each). At most {most} fits."
        )
    return {
        "ok": limit <= most,
        "needs_bytes": needs,
        "has_bytes": has,
        "max_process_limit": most,
        "bound_by": bound_by,
        "message": message,
    }


# RFC 5321 4.5.3.2: a client waits 5 minutes for the answer to MAIL and RCPT; Postfix's own smtp(8) does. What else takes its time
# before the answer (DNS, a policy service) has to fit into it as well.
CLIENT_WAITS = 300
LONGEST_WAIT = 270


def postfix_tarpit_capacity(waits, process_limit, share=0.5):
    """How many smtpd processes sleep for clients that are made to wait, against default_process_limit.

    waits: list of {name, seconds: int, a_minute: int}: so many RCPT commands a minute are answered so many seconds late; each
    holds one smtpd(8) process for that long, so a_minute / 60 * seconds of them sleep at once (Little's law).
    process_limit: int, default_process_limit. share: 0..1, part of it that may sleep.

    Returns {ok: bool, held: float, allowed: float, held_by: {name: float}}. Raises AnsibleFilterError for a value that is no number.
    """
    limit = _whole("process_limit", process_limit, 1)
    try:
        share = float(share)
    except (TypeError, ValueError):
        share = -1
    if not 0 < share <= 1:
        raise AnsibleFilterError("access_sleep_share: a number above 0 and up to 1 is needed")
    held_by = {
        wait["name"]: _whole(wait["name"], wait["seconds"], 0)
        * _whole(f"{wait['name']}: a_minute", wait["a_minute"], 0)
        / 60
        for wait in waits
    }
    held = sum(held_by.values())
    return {"ok": held <= limit * share, "held": held, "allowed": limit * share, "held_by": held_by}


def postfix_tarpit_problems(waits, process_limit, share=0.5, reason="", connections=None):
    """What is wrong with the waits of role access: a list of sentences, each beginning with a variable's name.

    waits, process_limit, share: as for postfix_tarpit_capacity. reason: str, why a wait may outlast what mail servers wait.
    connections: int, what one client may hold at once (0 is no limit to Postfix), or None where that is not asked.
    """
    found = []
    for wait in waits:
        try:
            seconds = _whole(wait["name"], wait["seconds"], 0)
        except AnsibleFilterError as error:
            return [f"{wait['name']}: {error}"]
        if seconds > LONGEST_WAIT and not str(reason).strip():
            found.append(
                f"{wait['name']}: {seconds} s outlast the {CLIENT_WAITS} s that mail servers wait for an answer to RCPT (RFC 5321 4.5.3.2), so "
                f"good mail is refused without a code; at most {LONGEST_WAIT}, or say in access_sleep_reason why"
            )
    try:
        result = postfix_tarpit_capacity(waits, process_limit, share)
    except AnsibleFilterError as error:
        return found + [str(error).removeprefix("postfix_capacity: ")]
    if connections is not None and any(int(wait["seconds"]) for wait in waits):
        try:
            held = _whole("access_client_connections", connections, 0)
        except AnsibleFilterError as error:
            return found + [str(error).removeprefix("postfix_capacity: ")]
        if not 1 <= held <= result["allowed"]:
            found.append(
                f"access_client_connections: {held or 'no limit (0)'}: one client alone, made to wait, could hold more than the {result['allowed']:.0f} of the "
                f"{process_limit} smtpd processes of sokuhai_process_limit that may sleep (access_sleep_share {share}); 1 to {int(result['allowed'])}"
            )
    if not result["ok"]:
        most = max(result["held_by"], key=result["held_by"].get)
        wait = next(one for one in waits if one["name"] == most)
        room = max(0, result["allowed"] - result["held"] + result["held_by"][most])
        rates = ", ".join(f"{one['name']}: {one['a_minute']} RCPT a minute, {one['seconds']} s each" for one in waits)
        found.append(
            f"{most}: waiting clients would hold {result['held']:.0f} smtpd processes at once "
            f"({rates}), {result['allowed']:.0f} of the {process_limit} of sokuhai_process_limit may (access_sleep_share {share}); "
            f"at {wait['a_minute']} a minute up to {int(room * 60 / max(1, int(wait['a_minute'])))} s fit"
        )
    return found


class FilterModule:
    def filters(self):
        return {
            "postfix_capacity": postfix_capacity,
            "postfix_tarpit_capacity": postfix_tarpit_capacity,
            "postfix_tarpit_problems": postfix_tarpit_problems,
        }
