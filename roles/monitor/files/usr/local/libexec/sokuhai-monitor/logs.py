# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The mail log and what newsyslog(8) has made of it: maillog.0.bz2 of yesterday, maillog.1.bz2 of the day before."""

import bz2
import datetime
import glob
import gzip
import lzma
import os
import re
import subprocess
import time

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
#: newsyslog.conf(5) of FreeBSD 15 may name zstd for all files; the base system can read it, Python before 3.14 cannot.
ZSTD = ("zstd", "-dcq")
PACKED = (
    16  # how many times as large a compressed log is taken for; bzip2 makes one of Postfix's 12 to 20 times smaller
)
DAY = 86400

# syslogd's times: RFC 5424's, those of other syslogds in front of a line, and RFC 3164's, which has no year
STAMP = re.compile(
    r"(?:<\d+>1 )?(?:(?P<iso>\d{4}-\d\d-\d\dT[\d:]{8})(?:\.\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)|(?P<bsd>[A-Z][a-z]{2} [ \d]\d [\d:]{8})) "
)


def age(path, current):
    """Which of *current*'s logs *path* is: 0 itself, 1 the youngest that was rotated; None where it is none of them."""
    if path == current:
        return 0
    found = re.fullmatch(re.escape(current) + r"\.(\d+)(?:\.(?:bz2|gz|xz|zst))?", path)
    return int(found[1]) + 1 if found else None


def found(current, most):
    """(logs that are there, the oldest first, as many as hold some *most* bytes, those that are left out) of the log *current*."""
    by_age = {}
    for path in sorted(glob.glob(glob.escape(current) + "*")):
        if age(path, current) is not None:
            # newsyslog compresses beside the file that it compresses: the plain one, which sorts first, is whole
            by_age.setdefault(age(path, current), path)
    taken, left = [], most
    for number in sorted(by_age):
        path = by_age[number]
        packed = os.path.splitext(path)[1] in (*OPENERS, ".zst")
        left -= os.path.getsize(path) * (PACKED if packed else 1)
        if left < 0 and taken:
            break
        taken.append(path)
    return taken[::-1], [by_age[number] for number in sorted(by_age)][len(taken) :]


def unpacked(path, most):
    """An open file (bytes) of a log, compressed or not; of a plain one the last *most* bytes, if a number is given."""
    ending = os.path.splitext(path)[1]
    if ending == ".zst":
        # a pipe's end is a file's: a failure of zstd is one of read(), see lines()
        return subprocess.Popen([*ZSTD, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    source = OPENERS.get(ending, open)(path, "rb")
    if most and ending not in OPENERS and os.path.getsize(path) > most:
        source.seek(-most, os.SEEK_END)
        source.readline()
    return source


def lines(path, most=None):
    """The lines (str) of a log, compressed or not. most: bytes of its end, where it is not compressed. OSError, EOFError or lzma.LZMAError where it cannot be read."""
    with unpacked(path, most) as source:
        for line in source.stdout if isinstance(source, subprocess.Popen) else source:
            yield line.decode("utf-8", "replace").rstrip("\n")
    if isinstance(source, subprocess.Popen) and source.returncode:
        raise OSError("%s: zstd ended with %d" % (path, source.returncode))


def moment(line, now=None):
    """The time of *line* in seconds since 1970 (float or int), or None. Without a year it is the last such day that is not in the future."""
    stamp = STAMP.match(line)
    if not stamp:
        return None
    now = time.time() if now is None else now
    try:
        if stamp["iso"]:
            zone = "+00:00" if stamp["zone"] == "Z" else stamp["zone"]
            zone = zone if ":" in zone else zone[:3] + ":" + zone[3:]
            return datetime.datetime.fromisoformat(stamp["iso"] + zone).timestamp()
    except ValueError:
        return None
    year = time.localtime(now).tm_year
    for one in (year, year - 1):
        try:
            at = time.mktime(time.strptime("%d %s" % (one, stamp["bsd"]), "%Y %b %d %H:%M:%S"))
        except ValueError:
            # February 29 of a year that has none
            continue
        if at <= now + DAY:
            return at
    return None
