# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What pkg(8) knows of a host's packages; and those that a module needs before it can do its work, asked for and installed in the same remote command.

A program that is there is somebody's choice, of whichever package or of none: beside it nothing is installed. pkg(8) removes without a question what has
files of what it installs, as postfix has those of postfix-sasl; install() does not let it, unless told to.
"""

import re
import shutil

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.repositories import trouble

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


def installed_at(path):
    """Return the second since 1970 in which the package of the file *path* was installed or upgraded, or None where no package has it (pkg-query(8), %t)."""
    package = which(path)
    said = host.run(["pkg", "query", "%t", package])[1].strip() if package else ""
    return int(said) if said.isdigit() else None


def base_packages():
    """Return whether this host's base system is of packages (pkgbase)."""
    return host.run(["pkg", "info", "-e", "FreeBSD-runtime"])[0] == 0


def program(name):
    """Return where the program *name*, a path or a command, can be run, or None."""
    return shutil.which(name, path=host.PATH)


def missing(names, instead=""):
    """Return those of *names* (of packages, or their ports' origins) that are to be installed: none where the program *instead* is there already."""
    if not names or (instead and program(instead)):
        return []
    return [name for name in names if host.run(["pkg", "info", "-e", name])[0]]


def planned(names, repositories):
    """Return what pkg(8) prints of an installation of *names*, (standard output, standard error), without doing it.

    repositories: as catalogues() has them. With one whose catalogue is not here `pkg install -nU` prints nothing at all and ends with 1 (2.8.4: it opens
    them to be read only, src/install.c), so those that there are are named.
    """
    here, lost, _unsigned = repositories
    only = [word for name in here for word in ("-r", name)] if lost else []
    return host.run(["pkg", "install", "-nU", *only, *names], None)[1:]


def removed_by(names, repositories):
    """Return {name: version} of the installed packages that would go if *names*, which were fetched, were installed. repositories: of catalogues().

    pkg(8) sees such a conflict in the files of the packages, so it must have them (libpkg's pkg_jobs_solve).
    """
    printed = planned(names, repositories)[0]
    block = re.search(r"^Installed packages to be REMOVED:\n((?:\t.*\n)+)", printed, re.M)
    return dict(re.findall(r"^\t(\S+): (\S+)", block[1], re.M)) if block else {}


def catalogues():
    """Fetch the catalogues of the enabled repositories. Return (names of those that answer, of those out of reach, whether a signature is not valid).

    By itself pkg install installs nothing when the last of them is out of reach, also of what another one has (pkgcli_update in its src/update.c), and
    FreeBSD enables one that few mirrors have: FreeBSD-ports-kmods. With -U it goes by the catalogues that are here.
    """
    _status, out, err = host.run(["pkg", "update"], None, {**host.ENV, "ASSUME_ALWAYS_YES": "yes"})
    lost = list(dict.fromkeys(re.findall(r"^Unable to update repository (\S+)", out + "\n" + err, re.M)))
    here = [name for name in re.findall(r"^Updating (\S+) repository catalogue", out, re.M) if name not in lost]
    # pkg removes its catalogue, and ends well (2.8.4)
    return here, lost, "Invalid signature, removing" in err


def update():
    """Fetch the catalogues, and return trouble() of them."""
    return trouble(*catalogues()[1:])


def unavailable(names):
    """Return why *names* or what they depend on cannot be installed now, {} where they can.

    Else {packages: those that no repository which answers has, lost: repositories out of reach (lists of str), unsigned: whether a signature is not valid
    (bool)}. Fetches the catalogues of the repositories, and nothing else.
    """
    if not names:
        return {}
    repositories = catalogues()
    here, lost, unsigned = repositories
    unknown = names
    if here or not lost:
        said = "".join(planned(names, repositories))
        unknown = re.findall(r"No packages available to install matching '([^']+)'", said)
        unknown += re.findall(r"has a missing dependency: (\S+)", said)
    return {"packages": list(dict.fromkeys(unknown)), "lost": lost, "unsigned": unsigned} if unknown else {}


def install(names, replace=False):
    """Install *names* and what they depend on; [] does nothing. Raises Refused, also where another package would go, unless *replace*.

    A repository may take its time, so there is no limit to it.
    """
    if not names:
        return
    repositories = catalogues()
    wrong = trouble(*repositories[1:])

    def pkg_install(options):
        status, out, err = host.run(["pkg", "install", options, *names], None, {**host.ENV, "ASSUME_ALWAYS_YES": "yes"})
        if status:
            said = " ".join((err or out).split()[-60:])
            raise host.Refused("pkg install %s: %s%s" % (" ".join(names), said, wrong))
        return err or out

    pkg_install("-yFU")
    gone = {} if replace else removed_by(names, repositories)
    if gone:
        raise host.Refused(
            "pkg install %s would remove %s, which has the same files: nothing was installed; remove it first, if it is to go"
            % (" ".join(names), ", ".join("%s-%s" % one for one in sorted(gone.items())))
        )
    said = pkg_install("-yU")
    if missing(names):
        raise host.Refused("pkg install %s: %s" % (" ".join(names), " ".join(said.split()[-60:])))


def findings(names):
    """Return a finding for each of *names*, which missing() gave."""
    return [finding("package " + name, "package " + name, "installed", "not installed") for name in names]
