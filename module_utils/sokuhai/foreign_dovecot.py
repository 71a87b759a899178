# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A Dovecot of the host's owner, which serves his users: whose a configuration is, and where one more file comes into it. Python 3.9."""

import fnmatch
import glob
import os
import re

from ansible.module_utils.sokuhai import host, rc

#: Where the port has it, and what is read unless rc.conf names another (dovecot_config, files/dovecot.in of mail/dovecot24).
CONFIG = "/usr/local/etc/dovecot/dovecot.conf"
PROGRAM = "/usr/local/sbin/dovecot"
#: What every file of role sasl begins with.
MARK = "# Written by sokuhai's role sasl"
#: The package's own dovecot.conf, beside the one in force: of 2.4 (mail/dovecot24), of 2.3 (mail/dovecot).
SAMPLES = ("dovecot.conf.sample", "example-config/dovecot.conf")
#: What the file is called that is added: where conf.d is included, and where nothing is and the owner adds a line.
FILES = ("conf.d/99-sokuhai.conf", "sokuhai.conf")
INCLUDE = re.compile(r"\s*!include(?:_try)?\s+(\S+)\s*$")


def config(standard=CONFIG):
    """Return the configuration that Dovecot is started with, or would be: *standard* unless rc.conf names another one that is there."""
    declared = rc.read(["dovecot_config"]).get("dovecot_config", "").split()
    return declared[0] if len(declared) == 1 and os.path.exists(declared[0]) else standard


def enabled():
    return rc.yes(rc.read(["dovecot_enable"]).get("dovecot_enable"))


def owners(path):
    """Return whether *path* is neither ours nor as the package left it. What the package ships serves IMAP as well, where it is enabled."""
    text = host.read(path)
    if text is None or MARK in text:
        return False
    samples = [host.read(os.path.join(os.path.dirname(path), name)) for name in SAMPLES]
    return text not in samples or enabled()


def candidates(path):
    return [os.path.join(os.path.dirname(path), name) for name in FILES]


def added(path):
    """Return the first file that a line of the configuration *path* includes, once it is there, or None."""
    lines = (host.read(path) or "").splitlines()
    return next((one for one in candidates(path) if any(_pattern(path, line, one) for line in lines)), None)


def present(path):
    """Return the files of ours that are beside the configuration *path*."""
    return [one for one in candidates(path) if (host.read(one) or "").startswith(MARK)]


def _pattern(path, line, wanted):
    """Return what *line* of *path* includes, where *wanted* is of that, or None."""
    found = INCLUDE.match(line)
    pattern = os.path.join(os.path.dirname(path), found[1]) if found else ""
    covers = fnmatch.fnmatchcase(wanted, pattern) and pattern.count("/") == wanted.count("/")
    return pattern if covers else None


def together(path, text):
    """Return what the configuration *path* comes to with *text* as the added file, or without any where *text* is "".

    The line that includes it becomes one for each other file and the text itself, in glob(3)'s order: so doveconf(1) can be asked before it is there.
    """
    wanted, lines, done = added(path), [], False
    for line in (host.read(path) or "").splitlines(keepends=True):
        pattern = wanted and not done and _pattern(path, line, wanted)
        if not pattern:
            lines.append(line)
            continue
        done = True
        for one in sorted({*glob.glob(pattern), wanted}):
            lines.append(text if one == wanted else "!include %s\n" % one)
    return "".join(lines)


def former_language(path, program):
    """Return the version (str) of an installed Dovecot that does not read the configuration *path*, or "" where it does, or doveconf is to say.

    2.4's first setting is dovecot_config_version, without which it starts nothing (config_apply_line() of src/config/config-parser.c), and what 2.3 read it
    reads not. What the file includes first may have it.
    """
    found = re.match(r"(\d+)\.(\d+)\S*", host.run([program, "--version"])[1])
    if not found or (int(found[1]), int(found[2])) < (2, 4):
        return ""
    lines = [line.strip() for line in (host.read(path) or "").splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return "" if re.match(r"dovecot_config_version\s*=|!include", first) else found[0]


def refusal(path, program=PROGRAM):
    """Return why AUTH cannot be had of the owner's Dovecot unasked, as text of several lines, or "" where it can, or the configuration is not his."""
    if not owners(path):
        return ""
    whole = "sasl_replace_config: true replaces it (it stays beside it as dovecot.conf.before-sokuhai), and sokuhai_submission: false leaves AUTH out"
    if not os.access(program, os.X_OK):
        return "sasl_replace_config: %s was not written by this role, and there is no %s that reads it: %s" % (
            path,
            program,
            whole,
        )
    if not enabled():
        return (
            "sasl_replace_config: %s was not written by this role, and rc.conf does not enable that Dovecot: enable it (sysrc dovecot_enable=YES) and AUTH "
            "is had of it; %s" % (path, whole)
        )
    version = former_language(path, program)
    if version:
        return (
            "sasl_replace_config: %s is for Dovecot 2.3, since its first setting is not dovecot_config_version, and Dovecot is %s: it does not start with that "
            "file. Rewrite it as https://doc.dovecot.org/latest/installation/upgrade/2.3-to-2.4.html says, doveconf -n tries it; %s"
            % (path, version, whole)
        )
    if not added(path):
        return (
            "sasl_replace_config: %s was not written by this role. It serves its owner's users, and AUTH can be had of it by one more file, which nothing "
            "there includes yet. Add as its last line\n!include_try %s\nor, to end what it serves: %s"
            % (path, FILES[1], whole)
        )
    return ""
