# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Variables of rc.conf(5) through sysrc(8), which keeps the file's form: many read, set or removed in one call of it.

changes = rc.compare({"named_enable": "YES", "named_flags": None})
diff = rc.diff(changes)
rc.apply(changes)
"""

import os
import re
import shlex

from ansible.module_utils.sokuhai import before, host

RC_CONF = "/etc/rc.conf"

#: What rc.subr(8) reads after rc.conf's own files, and where the scripts are that read it (FreeBSD's libexec/rc/rc.subr, load_rc_config).
FOLDERS = ("/etc/rc.conf.d", "/usr/local/etc/rc.conf.d")
SCRIPTS = ("/etc/rc.d", "/usr/local/etc/rc.d")


def _sysrc(file, *words):
    return host.run(["sysrc"] + (["-f", file] if file else []) + list(words))


def _same(now, wanted):
    # rc.subr's checkyesno takes both words in any case
    return now == wanted or (wanted in ("YES", "NO") and (now or "").upper() == wanted)


def _lines(path, name):
    """Return "PATH:NUMBER" of each line of *path* that sets the variable *name*: of a file, or of the files of a directory, in their order."""
    if os.path.isdir(path):
        paths = sorted(os.path.join(path, one) for one in os.listdir(path))
        return [line for one in paths if os.path.isfile(one) for line in _lines(one, name)]
    lines = (host.read(path) or "").splitlines()
    return [
        "%s:%d" % (path, number) for number, line in enumerate(lines, 1) if re.match(r"\s*%s=" % re.escape(name), line)
    ]


def overriding(name):
    """Return "FILE:LINE" of each line of rc.conf.d that sets *name* after rc.conf's own files, which are all that sysrc(8) knows, in their order.

    load_rc_config of rc.subr reads /etc/rc.conf.d/SERVICE and then local_startup's, each a file or a directory of files. The service of local_unbound_enable
    is local_unbound, though there is one called local.
    """
    words = name.split("_")
    services = ["_".join(words[:count]) for count in range(len(words) - 1, 0, -1)]
    known = (one for one in services if any(os.path.exists(os.path.join(path, one)) for path in FOLDERS + SCRIPTS))
    service = next(known, None)
    return [line for path in FOLDERS if service for line in _lines(os.path.join(path, service), name)]


def place(name):
    """Return "FILE:LINE" of the line that has the last word about *name*, or "rc.conf" where none of the files that rc.subr(8) reads has it."""
    files = read(["rc_conf_files"]).get("rc_conf_files", "/etc/rc.conf /etc/rc.conf.local").split()
    return ([line for path in files for line in _lines(path, name)] + overriding(name) or ["rc.conf"])[-1]


def read(names, file=None):
    """Return {name: value} of those of *names* that are set, as the service reads them, or in *file*; what /etc/defaults/rc.conf sets counts."""
    found = {}
    if names:
        # -i leaves out what is not set, with exit status 1
        found.update(_values(_sysrc(file, "-i", *sorted(names))[1], names))
    for name in () if file else sorted(names):
        for line in overriding(name)[-1:]:
            found.update(_values(_sysrc(line.rpartition(":")[0], "-i", name)[1], [name]))
    return found


def yes(value):
    """Return whether *value* (str or None) switches something on: checkyesno of rc.subr(8)."""
    return (value or "").upper() in ("YES", "TRUE", "ON", "1")


def _values(printed, names):
    pairs = (line.partition(":") for line in printed.splitlines())
    return {name: value.strip() for name, colon, value in pairs if colon and name in names}


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


def compare(wanted, file=None):
    """Return {name: (value now, value wanted)} of what differs from *wanted*, {name: value}, in its order; None is a variable that is not set.

    Raises Refused for one that sysrc(8) could not change, since a later file has the last word.
    """
    now = read(wanted, file)
    changes = {name: (now.get(name), value) for name, value in wanted.items() if not _same(now.get(name), value)}
    later = {name: line for name in ([] if file else changes) for line in overriding(name)}
    if later:
        raise host.Refused(
            "%s: %s = %s there has the last word over rc.conf, where it is to be %s: remove that line"
            % (line, name, now.get(name), "gone" if wanted[name] is None else wanted[name])
            for name, line in later.items()
        )
    return changes


def apply(changes, file=None):
    """Set and remove what compare() found, in that order. Raises Refused where sysrc(8) does not, or where another file overrides it."""
    values = {name: value for name, (_now, value) in changes.items() if value is not None}
    gone = sorted(set(changes) - set(values))
    for words in (["%s=%s" % item for item in values.items()], ["-x", *gone] if gone else []):
        status, out, err = _sysrc(file, *words) if words else (0, "", "")
        if status:
            raise host.Refused("sysrc %s: %s" % (" ".join(words), (err or out).strip()))
    # sysrc(8) moves another file into its place (f_sysrc_set in bsdconfig's sysrc.subr), and leaves to the kernel when its text is on disk
    if changes and os.path.exists(file or RC_CONF):
        host.flush(file or RC_CONF)
    lost = compare(values, file)
    if lost:
        raise host.Refused(
            "%s: %s is %r after sysrc set it to %r: another file overrides it" % (file or "rc.conf", name, *pair)
            for name, pair in lost.items()
        )


def revert(changes):
    """Set and remove in rc.conf what leads back from *changes*, which apply() made, or some of them. Raises Refused as it does."""
    apply(compare({name: was for name, (was, _wanted) in changes.items()}))


def difference(changes, file=None):
    """Return the entry of a module's diff for what compare() found, under the name of *file* or rc.conf."""
    texts = (
        "".join('%s="%s"\n' % (name, pair[which]) for name, pair in changes.items() if pair[which] is not None)
        for which in (0, 1)
    )
    return host.difference(file or "rc.conf", *texts)


def diff(changes):
    """Return the entries of a module's diff for what compare() found, [] for nothing."""
    return [difference(changes)] if changes else []
