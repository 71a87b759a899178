# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How many clients may wait: the tarpit against the processes that hold them, and against what mail servers put up with."""

import pathlib
import sys

from ansible.errors import AnsibleFilterError

# Ansible loads a plugin by its path
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from sizing_numbers import part, whole

#: RFC 5321 4.5.3.2: a client waits 5 minutes for the answer to MAIL and RCPT; Postfix's own smtp(8) does. What else takes its time before the
#: answer (DNS, a policy service) has to fit into it as well.
CLIENT_WAITS = 300
LONGEST_WAIT = 270


def postfix_tarpit_problems(waits, process_limit, share=0.5, reason="", connections=None):
    """What is wrong with the waits of role access: a list of messages, each beginning with a variable's name.

    waits: list of {name, seconds: int, a_minute: int}: so many RCPT commands a minute are answered so many seconds late; each holds one smtpd(8)
    process for that long, so a_minute / 60 * seconds of them sleep at once (Little's law).
    process_limit: int, default_process_limit. share: 0..1, part of it that may sleep. reason: str, why a wait may outlast what mail servers wait.
    connections: int, what one client may hold at once (0 is no limit to Postfix), or None where that is not asked.
    """
    found = []
    try:
        for wait in waits:
            seconds = whole(wait["name"], wait["seconds"], 0)
            if seconds > LONGEST_WAIT and not str(reason).strip():
                found.append(
                    f"{wait['name']}: {seconds} s outlast the {CLIENT_WAITS} s that mail servers wait for an answer to RCPT (RFC 5321 4.5.3.2), so "
                    f"good mail is lost without a reply; at most {LONGEST_WAIT}, or give the reason in access_sleep_reason"
                )
        held_by = {
            wait["name"]: int(wait["seconds"]) * whole(f"{wait['name']}: a_minute", wait["a_minute"], 0) / 60
            for wait in waits
        }
        allowed = whole("sokuhai_process_limit", process_limit, 1) * part("access_sleep_share", share)
        most_held = None if connections is None else whole("access_client_connections", connections, 0)
    except AnsibleFilterError as error:
        return found + [str(error)]
    held = sum(held_by.values())
    if most_held is not None and any(int(wait["seconds"]) for wait in waits) and not 1 <= most_held <= allowed:
        found.append(
            f"access_client_connections: {most_held or 'no limit (0)'}: one client alone, made to wait, could hold more than the {allowed:.0f} of the "
            f"{process_limit} smtpd processes of sokuhai_process_limit that may sleep (access_sleep_share {share}); 1 to {int(allowed)}"
        )
    if held > allowed:
        wait = max(waits, key=lambda one: held_by[one["name"]])
        room = max(0, allowed - held + held_by[wait["name"]])
        rates = ", ".join(f"{one['name']}: {one['a_minute']} RCPT a minute, {one['seconds']} s each" for one in waits)
        found.append(
            f"{wait['name']}: waiting clients would hold {held:.0f} smtpd processes at once "
            f"({rates}), {allowed:.0f} of the {process_limit} of sokuhai_process_limit may (access_sleep_share {share}); "
            f"at {wait['a_minute']} a minute up to {int(room * 60 / max(1, int(wait['a_minute'])))} s fit"
        )
    return found


class FilterModule:
    def filters(self):
        return {"postfix_tarpit_problems": postfix_tarpit_problems}
