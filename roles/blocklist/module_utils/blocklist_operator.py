# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Where this call comes from, so that nobody locks himself out, and what the host was before this role."""

import collections
import ipaddress
import json
import os

from ansible.module_utils.sokuhai import host, process
from ansible.module_utils.sokuhai.host import Refused, run

STATE_FOLDER = "/var/db/sokuhai"
RECORD = STATE_FOLDER + "/blocklist.json"
LOOPBACK = ("127.0.0.0/8", "::1/128")
OPERATORS = 3  # addresses of plays that are exempt: a controller at home, one at work, and one more

#: An ssh connection: address and port (str) it comes from; since: before which moment it surely stood, s since 1970.
Connection = collections.namedtuple("Connection", "address port since")


# ---- the connection ----


def ancestors():
    """Return the Processes from this one upwards."""
    running, pid, chain = process.table(), os.getpid(), []
    while pid in running and len(chain) < 64:
        chain.append(running[pid])
        pid = running[pid].parent
    return chain


def connection():
    """Return the Connection this call came in by, or None where it came otherwise.

    doas(1) and su(1) do not hand SSH_CONNECTION on, so without it the socket of the sshd among our ancestors is looked for.
    """
    sessions = [one for one in ancestors() if one.name.startswith("sshd") and one.parent != 1]
    if not sessions:
        return None
    since = min(one.since[1] for one in sessions)
    words = os.environ.get("SSH_CONNECTION", "").split()
    if len(words) == 4:
        return Connection(words[0].split("%")[0], words[1], since)
    pids, found = {str(one.pid) for one in sessions}, []
    for line in run(["sockstat", "-46c", "-P", "tcp"])[1].splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 7 and fields[2] in pids and fields[3].isdigit():
            address, _colon, port = fields[6].rpartition(":")
            found.append((int(fields[3]), address.split("%")[0], port))
    # the lowest descriptor: the connection was there before anything that is forwarded through it
    return Connection(*min(found)[1:], since) if found else None


def operator(allow):
    """Return the Connection, or None where there is none and *allow*, networks as str, says who is to be let in. Raises Refused where neither is known."""
    found = connection()
    if found is None and not allow:
        raise Refused(
            "blocklist_allow: this play does not connect over ssh, so the address you log in from is unknown; add it here"
        )
    return found


# ---- the record ----


def record():
    """Return what was written down (dict), or None before the role's first run."""
    return json.loads(host.read(RECORD) or "null")


def remember(known, **more):
    """Write *more* down beside what is *known*, what record() gave."""
    os.makedirs(STATE_FOLDER, 0o755, exist_ok=True)
    host.write(RECORD, json.dumps(dict(known or {}, **more), indent=1, sort_keys=True) + "\n", 0o600)


def operators(now, allow, check_mode):
    """Return the addresses plays came from that are to be written, a list of str.

    Those on record, so that another controller or another day is not drift; today's takes the place of the oldest when nothing covers it. What a check
    would write is what is there. now: operator()'s answer; allow: networks as str.
    """
    kept = (record() or {}).get("operators", [])
    if now is None or (kept and check_mode):
        return kept
    today = ipaddress.ip_network(now.address)
    for text in (*LOOPBACK, *allow, *kept):
        one = ipaddress.ip_network(text)
        if today.version == one.version and today.subnet_of(one):
            return kept
    return [*kept, now.address][-OPERATORS:]
