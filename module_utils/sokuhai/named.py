# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Where a host's named and its files are, and named.conf as named-checkconf prints it. Standard library only, Python 3.9."""

import os
import re

from ansible.module_utils.sokuhai import host, rc

#: rc.conf variables of named's rc script and what the script itself assumes for them
#: (freebsd-ports dns/bind920/files/named.in; login class: rc.subr's default is "daemon").
RC_DEFAULTS = {
    "named_enable": "NO",
    "named_program": "/usr/local/sbin/named",
    "named_conf": "/usr/local/etc/namedb/named.conf",
    "named_flags": "",
    "named_uid": "bind",
    "named_chrootdir": "",
    "named_auto_forward": "NO",
    "named_limits": "",
    "named_login_class": "daemon",
    "local_unbound_enable": "NO",
}
#: Types of a zone by their names of today.
OF_TODAY = {"master": "primary", "slave": "secondary"}


def rc_variables():
    """Return {name: value} of rc.conf's variables for named, with the rc script's defaults where rc.conf is silent."""
    return {**RC_DEFAULTS, **{name: value for name, value in rc.read(RC_DEFAULTS).items() if value}}


def beside(program, name):
    """Return the path of a tool that belongs to this named, or None: the port has named-checkconf in bin, older ones in sbin."""
    root = os.path.dirname(os.path.dirname(program))
    paths = (os.path.join(root, folder, name) for folder in ("bin", "sbin"))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def check(variables, path, *flags):
    """Have named-checkconf judge *path*; return (exit status, standard output, standard error), status 127 where there is none."""
    checkconf = beside(variables["named_program"], "named-checkconf")
    chroot = os.path.realpath(variables["named_chrootdir"] or "/")
    inside = ["-t", chroot] if chroot != "/" and os.path.realpath(path).startswith(chroot + "/") else []
    return host.run([checkconf or "named-checkconf", *flags, *inside, path])


def printed(variables, path, *flags):
    """Return named.conf as named-checkconf -p prints it, without its remarks about lines, or None where it is no named.conf."""
    status, out, _err = check(variables, path, "-p", *flags)
    # 9.18 prints "PATH:31: option 'files' is deprecated" before the first statement
    return re.sub(r"^\S+:\d+: .*\n", "", out, flags=re.M) if status == 0 else None


def listening():
    """Return the addresses at which a named listens on port 53, in sockstat's order; "*" for all of them."""
    rows = [line.split() for line in host.run(["sockstat", "-46l", "-p", "53"])[1].splitlines()]
    return list(
        dict.fromkeys(row[5].rpartition(":")[0].strip("[]") for row in rows if len(row) > 5 and row[1] == "named")
    )


def split_statements(text):
    """Return the statements (list of str) of one block level, white space folded, without their semicolons."""
    found, depth, word, quoted = [], 0, "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        if not quoted:
            depth += {"{": 1, "}": -1}.get(char, 0)
        if char == ";" and not quoted and depth == 0:
            statement = " ".join(word.split())
            if statement:
                found.append(statement)
            word = ""
        else:
            word += char
    return found


def option_statements(text):
    """Return {keyword: [statements]} of the options block."""
    found = {}
    for statement in split_statements(text):
        if statement.startswith("options {"):
            for inner in split_statements(statement[len("options {") : statement.rindex("}")]):
                found.setdefault(inner.split()[0], []).append(inner)
    return found


def zones(text):
    """Return {name: "primary" or "secondary"} of the zones of a configuration as -p prints it, but for those of views."""
    found = {}
    for statement in split_statements(text):
        match = re.match(r'zone "([^"]+)"[^{]*\{ (?:.* )?type (\w+);', statement)
        kind = match and OF_TODAY.get(match[2], match[2])
        if kind in OF_TODAY.values():
            found[match[1]] = kind
    return found
