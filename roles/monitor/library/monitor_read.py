#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Read the sampler's files on the host, thinned so that peaks stay."""

DOCUMENTATION = r"""
module: monitor_read
short_description: What the sampler measured, as columns
description:
  - Reads C(samples.csv) and what newsyslog(8) rotated it to, compressed or not. Reads only; check mode is the same as a real run.
  - The time asked for is cut into O(points) equal parts. A part in which nothing was measured is left out; of the others a number that counts something
    in an interval is added up, of a gauge the greatest stays, and the least of a limit, a total, of free memory and of what runs.
  - A line that is broken (a disk was full, the sampler was killed in the middle of it) is left out, and an empty field is unknown, V(null).
options:
  directory: {type: path, default: /var/db/sokuhai_monitor, description: Directory of the samples.}
  since: {type: int, default: 86400, description: Seconds back from now.}
  points: {type: int, default: 400, description: Rows at most.}
author: sokuhai
"""
RETURN = r"""
columns: {description: "{name: [a number or null for each row]}; V(time) is that of the last sample in a part, V(seconds) how long the samples in it lasted.", type: dict, returned: always}
from: {description: "Time of the first sample read, s since 1970, or null.", type: int, returned: always}
to: {description: Time of the last., type: int, returned: always}
rows_read: {description: Samples in that time., type: int, returned: always}
broken: {description: Lines left out., type: int, returned: always}
over: {description: "Ceilings that are near, {name: since when}.", type: dict, returned: always}
"""

import bz2
import glob
import gzip
import json
import lzma
import os
import stat
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
MOST = 64 * 2**20  # bytes read of one file; the sampler's own bound is 8 MB
MOST_STATE = 2**20  # of its state, which holds twenty mails of one line at most


def added(column):
    """Whether the column counts something within its interval, so that several values are added up."""
    ends = ("_hits", "_fails", "_servfail", "_queries", "_starts")
    return column == "seconds" or column.startswith(("deferred_", "mails_")) or column.endswith(ends)


def least(column):
    """Whether the smallest of several values is the one that counts."""
    return column in ("memory_free", "certificate_days", "warm_cached") or column.endswith(
        ("_limit", "_total", "_running", "_answering")
    )


def order(path):
    """Age of a rotated file: samples.csv is 0, samples.csv.0.bz2 is 1."""
    number = os.path.basename(path).replace("samples.csv", "", 1).strip(".").split(".")[0]
    return int(number) + 1 if number.isdigit() else 0


def lines(path):
    """The lines (str) of a file; what cannot be read or ends too early ends them."""
    ending = os.path.splitext(path)[1]
    if ending == ".zst":
        # newsyslog.conf may name another compression for all files; the base system can read it, Python 3.9 cannot
        try:
            text = subprocess.run(
                ["/usr/bin/zstd", "-dcq", path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=False,
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return
        yield from text[:MOST].decode("utf-8", "replace").splitlines()
        return
    left = MOST
    try:
        with OPENERS.get(ending, open)(path, "rb") as source:
            while left > 0:
                line = source.readline(65536)
                if not line:
                    return
                left -= len(line)
                yield line.decode("utf-8", "replace").rstrip("\n") if line.endswith(b"\n") else "broken"
    except (OSError, EOFError, ValueError, lzma.LZMAError):
        return


def number(text):
    """int or float of a field, None of an empty one; ValueError for anything else."""
    if text == "":
        return None
    return float(text) if "." in text else int(text)


class Parts:
    """The time from *start* (s since 1970) on, in parts of *width* seconds."""

    def __init__(self, start, width):
        self.start, self.width, self.rows, self.names = start, width, {}, []
        self.read, self.broken, self.first, self.last = 0, 0, None, None

    def add(self, names, fields):
        """One line. names: its columns."""
        try:
            row = dict(zip(names, map(number, fields)))
            at = row["time"]
            if len(fields) != len(names) or not isinstance(at, int):
                raise ValueError
        except (ValueError, KeyError):
            self.broken += 1
            return
        if at < self.start:
            return
        self.read += 1
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        self.names += [name for name in names if name not in self.names]
        part = self.rows.setdefault(int((at - self.start) / self.width), {})
        for name, value in row.items():
            had = part.get(name)
            if value is None or had is None:
                part[name] = value if had is None else had
            elif added(name):
                part[name] = round(had + value, 1)
            else:
                part[name] = min(had, value) if least(name) else max(had, value)

    def columns(self):
        kept = [self.rows[part] for part in sorted(self.rows)]
        return {name: [row.get(name) for row in kept] for name in self.names}


def files(directory, start):
    """The files that may hold a sample since *start*, the oldest first: one that was last written before it holds none."""
    found = sorted(glob.glob(os.path.join(glob.escape(directory), "samples.csv*")), key=order, reverse=True)
    kept, seen = [], set()
    for path in reversed(found):
        try:
            if os.stat(path).st_mtime < start - 1:
                break
        except OSError:
            continue
        # newsyslog compresses beside the file it compresses
        if order(path) in seen:
            continue
        seen.add(order(path))
        kept.append(path)
    return kept[::-1]


def collect(directory, since, points, now):
    """The module's answer, without C(over)."""
    start = now - since
    # a sample of this very second belongs to the last part
    parts = Parts(start, (since + 1) / points)
    for path in files(directory, start):
        names = None
        for line in lines(path):
            fields = line.split(",")
            if fields[0] == "time":
                names = fields
            elif names and line:
                parts.add(names, fields)
            elif line:
                parts.broken += 1
    return {
        "columns": parts.columns(),
        "from": parts.first,
        "to": parts.last,
        "rows_read": parts.read,
        "broken": parts.broken,
    }


def near(directory):
    """{name: since when} of the sampler's own state. That folder is the unprivileged user's: neither is a link followed nor a pipe waited for, as root."""
    try:
        handle = os.open(
            os.path.join(directory, "state", "state.json"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return {}
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return {}
        return dict(json.loads(os.read(handle, MOST_STATE))["ceilings"].get("over") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    finally:
        os.close(handle)


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/db/sokuhai_monitor"},
            "since": {"type": "int", "default": 86400},
            "points": {"type": "int", "default": 400},
        },
        supports_check_mode=True,
    )
    p = module.params
    module.exit_json(
        changed=False, over=near(p["directory"]), **collect(p["directory"], p["since"], p["points"], time.time())
    )


if __name__ == "__main__":
    main()
