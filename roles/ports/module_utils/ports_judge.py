# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What lies between a port that is installed and the declared one, by kind. Pure."""

import hashlib

from ansible.module_utils.sokuhai import host

#: Annotations (pkg-annotate(8)) that say how a package was built. They are part of its record in the package database, so a package that
#: replaces it does not have them.
TAGS = (
    "sokuhai_built",
    "sokuhai_fd_setsize",
    "sokuhai_header",
    "sokuhai_flag",
    "sokuhai_cflags",
    "sokuhai_options",
    "sokuhai_tree",
)
#: Kinds that a new build repairs, always and with `update`. Of the others some need a smaller step, and some only a word to the operator.
BUILDS = {"missing", "repository", "flavor", "options", "cflags", "header", "probe", "libraries", "interrupted"}
#: Phases of a job in which the installed package may be half replaced.
SWAPPING = ("swap", "record", "restart")


def sha(text, length=16):
    """Return the first hexadecimal digits of the SHA-256 of *text* (str)."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def hash_flags(flags):
    """Return a hash of compiler flags (str) that does not depend on white space."""
    return sha(" ".join(flags.split()))


def hash_options(options):
    """Return a hash of the options that are on (iterable of str)."""
    return sha(" ".join(sorted(options)))


def must_build(kinds, update):
    """Return whether a port with differences of these *kinds* is to be built. update (bool): whether one that is only behind the tree is."""
    return bool(BUILDS & set(kinds)) or (update and "behind" in kinds)


def full_name(package):
    """Return name-version of a package (dict)."""
    return "%(name)s-%(version)s" % package


def vulnerable(package):
    """Return {kind: (expected, found)} of a package that pkg audit knows; its lock keeps pkg upgrade from replacing it."""
    return {"vulnerable": ("no known vulnerability", "vulnerable%s" % (", and locked" if package["locked"] else ""))}


def differences(item, tree, package, settings, order=0, libraries=(), audited=False, job=None):
    """Return {kind: (expected, found)}, both str.

    item: the port. tree: ports_make.ask()'s answer. package: None, or an entry of pkg.installed() with annotations and options. settings: fd_setsize,
    header, lock. order: -1 where the package is behind the tree, 0, 1. libraries: names of missing ones. audited: whether pkg audit knows the
    package. job: the record of the last build, or {}.
    """
    found, job = {}, job or {}
    if job.get("phase") in SWAPPING:
        since = host.clock(job.get("since", 0))
        found["interrupted"] = "done", "an installation begun at %s" % since
    if package is None:
        found["missing"] = "%(PKGBASE)s-%(PKGVERSION)s" % tree, "not installed"
        return found
    notes = package["annotations"]
    if not package["local"]:
        found["repository"] = "built here", "%s of repository %s" % (full_name(package), package["repository"])
    elif not notes.get("sokuhai_built", "").isdigit():
        found["repository"] = (
            "built here",
            "%s from a file or a port, without a record of its build" % full_name(package),
        )
    else:
        found.update(built_otherwise(item, tree, package, settings, order))
    # what its own build left lacking the next would, too
    lacks = job.get("lacks", []) if job.get("phase") == "done" else []
    fresh = [library for library in libraries if library not in lacks]
    if libraries:
        kind, when = ("libraries", "missing") if fresh else ("lacking", "missing since it was built here")
        found[kind] = ", ".join(fresh or libraries), when
    if order < 0:
        found["behind"] = tree["PKGVERSION"], package["version"]
    if audited:
        found.update(vulnerable(package))
    if settings["lock"] and not package["locked"] and not BUILDS & set(found):
        found["unlocked"] = "locked", "unlocked"
    return found


def other_options(wanted, has):
    """Return {kind: (expected, found)} of options, {name: "on" or "off"}, that are not as *wanted*; what is not in *has* is off."""
    wrong = [name for name, value in wanted.items() if has.get(name, "off") != value]
    expected, found = (" ".join("%s=%s" % (name, of.get(name, "off")) for name in wrong) for of in (wanted, has))
    return {"options": (expected, found)} if wrong else {}


def built_otherwise(item, tree, package, settings, order):
    """Return the part of differences() that the record of a build here tells."""
    notes, found = package["annotations"], {}
    if tree["FLAVOR"] and notes.get("flavor", "") != tree["FLAVOR"]:
        found["flavor"] = tree["FLAVOR"], notes.get("flavor") or "(none)"
    on = set(tree["PORT_OPTIONS"].split())
    # the default of an option may have changed since; that is part of being behind
    asked = set(tree["COMPLETE_OPTIONS_LIST"].split() if order == 0 else item["options_set"] + item["options_unset"])
    known = sorted(asked & set(package["options"]))
    found.update(other_options({name: "on" if name in on else "off" for name in known}, package["options"]))
    if notes.get("sokuhai_cflags") != hash_flags(tree["CFLAGS"]):
        found["cflags"] = tree["CFLAGS"], "other flags"
    for kind, tag, asks in (
        ("header", "sokuhai_header", settings["header"]),
        ("probe", "sokuhai_fd_setsize", settings["fd_setsize"]),
    ):
        if asks and notes.get(tag) != str(settings["fd_setsize"]):
            found[kind] = str(settings["fd_setsize"]), notes.get(tag, "unknown")
    return found
