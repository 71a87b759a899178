# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What pkg(8) knows of a host's packages; and those that a module needs before it can do its work, asked for and installed in the same remote command."""

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding

_FIELDS = ("name", "version", "origin", "repository", "locked", "installed")


def installed():
    """Return [{name, version, origin, repository (str), locked (bool), installed (int, s since 1970), local (bool)}] of every package.

    local: it came from a file or a port. pkg(8) up to 2.8.4 prints `unknown-repository` for its repository, later ones nothing; what was
    built on this host and what came as a file look the same (pkg-query(8), %R).
    """
    found = []
    for line in host.run(["pkg", "query", "-a", "%n|%v|%o|%R|%k|%t"], 300)[1].splitlines():
        package = dict(zip(_FIELDS, line.split("|")))
        if len(package) == len(_FIELDS) and package["installed"].isdigit():
            package.update(
                locked=package["locked"] == "1",
                installed=int(package["installed"]),
                local=package["repository"] in ("", "unknown-repository"),
            )
            found.append(package)
    return found


def _pairs(name, form):
    lines = host.run(["pkg", "query", form, name])[1].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def annotations(name):
    """Return {tag: value} of the package *name* (pkg-annotate(8))."""
    return _pairs(name, "%At=%Av")


def options(name):
    """Return {option: "on" or "off"} that the package *name* was built with."""
    return _pairs(name, "%Ok=%Ov")


def which(path):
    """Return the package that the file *path* came with, NAME-VERSION, or ""; pkg-which(8) says on standard output that there is none."""
    status, out, _err = host.run(["pkg", "which", "-q", path])
    return "" if status else out.strip()


def base_packages():
    """Return whether this host's base system is of packages (pkgbase)."""
    return host.run(["pkg", "info", "-e", "FreeBSD-runtime"])[0] == 0


def missing(names):
    """Return those of *names* (of packages, or their ports' origins) that are not installed."""
    return [name for name in names if host.run(["pkg", "info", "-e", name])[0]]


def install(names):
    """Install *names* and what they depend on; [] does nothing. Raises Refused. A repository may take its time, so there is no limit to it."""
    if not names:
        return
    status, out, err = host.run(["pkg", "install", "-y", *names], None, {**host.ENV, "ASSUME_ALWAYS_YES": "yes"})
    if status or missing(names):
        raise host.Refused("pkg install %s: %s" % (" ".join(names), " ".join((err or out).split()[-60:])))


def findings(names):
    """Return a finding for each of *names*, which missing() gave."""
    return [finding("package " + name, "package " + name, "installed", "not installed") for name in names]
