# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Variables of rc.conf(5) through sysrc(8), which keeps the file's form: many read, set or removed in one call of it.

changes = rc.compare({"named_enable": "YES", "named_flags": None})
diff = [rc.difference(changes)] if changes else []
rc.apply(changes)
"""

import os
import re
import shlex

from ansible.module_utils.sokuhai import before, host

RC_CONF = "/etc/rc.conf"


def _sysrc(file, *words):
    return host.run(["sysrc"] + (["-f", file] if file else []) + list(words))


def _same(now, wanted):
    # rc.subr's checkyesno takes both words in any case
    return now == wanted or (wanted in ("YES", "NO") and (now or "").upper() == wanted)


def read(names, file=None):
    """Return {name: value} of those of *names* that are set, in rc.conf's files or in *file*; what /etc/defaults/rc.conf sets counts."""
    found = {}
    if names:
        # -i leaves out what is not set, with exit status 1
        for line in _sysrc(file, "-i", *sorted(names))[1].splitlines():
            name, colon, value = line.partition(":")
            if colon and name in names:
                found[name] = value.strip()
    return found


def stated(names, path):
    """Return {name: value, None for not set} of what *path* itself sets: without /etc/defaults/rc.conf, which read() counts."""
    found = dict.fromkeys(names)
    for line in (host.read(path) or "").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name in found:
            found[name] = " ".join(shlex.split(value, comments=True))
    return found


def former(names, file=None):
    """Return {name: value, None for not set} that *file*, rc.conf where it is None, had before the first run, as before.keep() has it."""
    return stated(names, (file or RC_CONF) + before.SUFFIX)


def compare_former(names, file=None):
    """Return as compare() does what differs from former()."""
    now = stated(names, file or RC_CONF)
    return {name: (now[name], was) for name, was in former(names, file).items() if not _same(now[name], was)}


def place(name, service):
    """Return "FILE:LINE" of the line that has the last word about *name*, or "rc.conf" where none of the files that rc.subr reads has it."""
    found = "rc.conf"
    for path in (
        "/etc/rc.conf",
        "/etc/rc.conf.local",
        "/etc/rc.conf.d/" + service,
        "/usr/local/etc/rc.conf.d/" + service,
    ):
        for number, line in enumerate((host.read(path) or "").splitlines() if not os.path.isdir(path) else [], 1):
            if re.match(r"\s*%s=" % re.escape(name), line):
                found = "%s:%d" % (path, number)
    return found


def compare(wanted, file=None):
    """Return {name: (value now, value wanted)} of what differs from *wanted*, {name: value}, in its order; None is a variable that is not set."""
    now = read(wanted, file)
    return {name: (now.get(name), value) for name, value in wanted.items() if not _same(now.get(name), value)}


def apply(changes, file=None):
    """Set and remove what compare() found, in that order. Raises Refused where sysrc(8) does not, or where another file overrides it."""
    values = {name: value for name, (_now, value) in changes.items() if value is not None}
    gone = sorted(set(changes) - set(values))
    for words in (["%s=%s" % item for item in values.items()], ["-x", *gone] if gone else []):
        status, out, err = _sysrc(file, *words) if words else (0, "", "")
        if status:
            raise host.Refused("sysrc %s: %s" % (" ".join(words), (err or out).strip()))
    lost = compare(values, file)
    if lost:
        raise host.Refused(
            "%s: %s is %r after sysrc set it to %r: another file overrides it" % (file or "rc.conf", name, *pair)
            for name, pair in lost.items()
        )


def difference(changes, file=None):
    """Return the entry of a module's diff for what compare() found, under the name of *file* or rc.conf."""
    texts = (
        "".join('%s="%s"\n' % (name, pair[which]) for name, pair in changes.items() if pair[which] is not None)
        for which in (0, 1)
    )
    return host.difference(file or "rc.conf", *texts)
