# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One port on this host: its declaration, what is there, and what is to be done."""

import json
import os
import tempfile

from ansible.module_utils import ports_judge, ports_make
from ansible.module_utils.ports_options import job_of, title
from ansible.module_utils.sokuhai import blocks, git, host, limits, pkg, process
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused


def installed(item, name, every):
    """Return the package of this port, with annotations and options, or None. name: the one that is meant where there are several; every: pkg.installed()."""
    mine = sorted((p for p in every if p["origin"] == item["origin"]), key=lambda p: p["name"] != name)
    if not mine:
        return None
    name = mine[0]["name"]
    return dict(mine[0], annotations=pkg.annotations(name), options=pkg.options(name))


def missing_libraries(name):
    """Return the libraries and dependencies that pkg check -d finds missing; its status says nothing about libraries (src/check.c)."""
    lines = host.run(["pkg", "check", "-dnq", name])[1].splitlines()
    return [line.split("\t")[1] for line in lines if line.count("\t") == 1]


def audited(package):
    """Return whether pkg audit knows a vulnerability of the package; without a database (pkg audit -F, which periodic(8) runs daily) it knows none."""
    return bool(host.run(["pkg", "audit", "-q", ports_judge.full_name(package)])[1].strip())


def served(item):
    """Return the main process of the port's daemon, or None; one whose program is gone cannot be compared."""
    there = item["service"] and item["program"] and os.path.exists(item["program"])
    return process.from_service(item["service"]) if there else None


def outdated(item, before=None):
    """Return the pid of the port's daemon where it is older than its program, or None. before: its identity() of before the program was replaced."""
    now = served(item)
    old = now and (now.outlived(item["program"], before) or now.older_than(program=item["program"]))
    return now.pid if old else None


def identity(item):
    """Return what outdated() takes as `before`."""
    now = served(item)
    return now and now.identity(item["program"])


def restart(item):
    """Restart the port's daemon, also one that runs without its X_enable. Raises Refused."""
    status, printed = host.service(item["service"], "onerestart")
    if status:
        raise Refused("service %s onerestart: %s" % (item["service"], printed or "exit status %d" % status))


class Port:
    """item, settings: as ports_options has them; every: pkg.installed(). look() fills in the rest."""

    def __init__(self, item, settings, every=None):
        self.item, self.settings = item, settings
        self.job = job_of(item, settings)
        self.every = pkg.installed() if every is None else every
        self.package, self.order, self.differences, self.diff = None, 0, {}, []
        self.tree = dict.fromkeys(ports_make.VARIABLES, "")
        self.make_conf = self.make_conf_wanted = ""

    def look(self):
        """Read everything; changes nothing. Raises Refused for a declaration that the port does not know."""
        if self.settings["method"] == "repository":
            self.look_at_repository()
        else:
            self.look_at_tree()
        pid = outdated(self.item)
        if pid:
            self.differences["process"] = "started after %s" % self.item["program"], "pid %d, older" % pid

    def look_at_repository(self):
        item, settings = self.item, self.settings
        flavor = "-" + item["flavor"] if item["flavor"] else ""
        name = self.tree["PKGBASE"] = item["package"] or os.path.basename(item["origin"]) + flavor
        self.package = package = installed(item, name, self.every)
        if package is None:
            self.differences["missing"] = name, "not installed"
            return
        if package["repository"] != settings["repository"] or package["name"] != name:
            self.differences["repository"] = (
                "%s of repository %s" % (name, settings["repository"]),
                "%s of repository %s" % (ports_judge.full_name(package), package["repository"]),
            )
        wanted = {**dict.fromkeys(item["options_set"], "on"), **dict.fromkeys(item["options_unset"], "off")}
        self.differences.update(ports_judge.other_options(wanted, package["options"]))
        libraries = missing_libraries(package["name"])
        if libraries:
            self.differences["libraries"] = ", ".join(libraries), "missing"
        if audited(package):
            self.differences.update(ports_judge.vulnerable(package))

    def look_at_tree(self):
        item, settings = self.item, self.settings
        place = os.path.join(settings["tree"], item["origin"])
        if not os.path.exists(os.path.join(place, "Makefile")):
            raise Refused("%s: %s/Makefile does not exist" % (title(item), place))
        path = settings["make_conf_file"]
        self.make_conf = host.read(path) or ""
        self.make_conf_wanted = blocks.set_block(
            self.make_conf, ports_make.mark(item), path, ports_make.block(item, settings)
        )
        staged = None
        if self.make_conf_wanted != self.make_conf:
            had = blocks.get_block(self.make_conf, ports_make.mark(item), path)
            self.differences["make_conf"] = "the declared block", "missing" if had is None else "another one"
            self.diff.append(host.difference(path, self.make_conf, self.make_conf_wanted))
            descriptor, staged = tempfile.mkstemp(prefix="sokuhai-make.conf-")
            os.close(descriptor)
            host.write(staged, self.make_conf_wanted)
        try:
            self.tree = ports_make.ask(item, settings, staged)
            self.compare()
            if self.to_build:
                ports_make.check_groups(item, settings, staged)
        finally:
            if staged:
                os.unlink(staged)

    def compare(self):
        """Compare what is installed with what the tree would give."""
        package = self.package = installed(self.item, self.tree["PKGBASE"], self.every)
        libraries, known = (), False
        if package:
            libraries, known = missing_libraries(package["name"]), audited(package)
            said = host.run(["pkg", "version", "-t", package["version"], self.tree["PKGVERSION"]])[1].strip()
            self.order = {"<": -1, ">": 1}.get(said, 0)
        self.differences.update(
            ports_judge.differences(
                self.item, self.tree, package, self.settings, self.order, libraries, known, self.job.read()
            )
        )

    @property
    def to_build(self):
        """Whether a package is to be put in the place of what is there."""
        if self.settings["method"] == "repository":
            # other options, or other libraries, are the builder's to give; the same package again would not repair them
            return bool({"missing", "repository"} & set(self.differences))
        return ports_judge.must_build(self.differences, self.settings["update"])

    def findings(self):
        """Return the differences as findings."""
        name = "port %s: " % title(self.item)
        # the file's own difference shows what is wrong in it
        causes = {"make_conf": [self.settings["make_conf_file"]]}
        return [
            finding(name + kind, name + kind, expected, found, causes.get(kind, ()), "rebuild")
            for kind, (expected, found) in self.differences.items()
        ]

    def key(self):
        """Return a hash (str) of what the result of a build depends on: a package that was built by the same is taken, not built again."""
        tree, settings = self.tree, self.settings
        parts = [self.item["origin"], self.item["flavor"], tree["PKGBASE"], tree["PKGVERSION"], tree["CFLAGS"].split()]
        parts += [sorted(tree["PORT_OPTIONS"].split()), settings["fd_setsize"], bool(settings["header"])]
        return ports_judge.sha(json.dumps(parts + [self.commit(), settings["method"]]), 32)

    def commit(self):
        """Return the commit (str) of the ports tree, or None."""
        return git.head(self.settings["tree"])[1]

    def start(self):
        """Return the record that a build starts from: a package that is ready by the same declaration is not built again."""
        former = self.job.read()
        # a package whose installation failed is built again: what was wrong with it may be gone
        ready = former.get("phase") in ("packaged", *ports_judge.SWAPPING) and former.get("key") == self.key()
        package = former.get("package")
        if ready and os.path.exists(package) and host.sha256(package) == former.get("package_sha256"):
            return former
        return {"phase": "begin", "key": self.key(), "tree": self.tree, "commit": self.commit()}

    def displaced(self):
        """Return a message about a package of somebody's choice in whose place this one would come, [] for none; a flavor that is declared is a choice, too."""
        item, package, name = self.item, self.package, self.tree["PKGBASE"]
        owner, instead = (
            "",
            "set its flavor in ports_list (%s)" % (", ".join(self.tree["FLAVORS"].split()) or "or package"),
        )
        if not self.to_build:
            return []
        if package is None and item["program"]:
            owner, instead = pkg.which(item["program"]), "remove it first, or leave this port out"
        elif package and package["name"] != name and not (item["flavor"] or item["package"]):
            owner = "" if "sokuhai_built" in package["annotations"] else ports_judge.full_name(package)
        return (
            ["%s: %s is installed, and %s would come in its place: %s" % (title(item), owner, name, instead)]
            if owner
            else []
        )

    def problems(self):
        """Return messages (list of str) about what keeps a build from beginning; asked only where one is needed."""
        settings, found, name = self.settings, self.displaced(), title(self.item)
        if settings["method"] == "repository" or not self.to_build:
            return found
        free = host.free_mib(settings["work_dir"])
        if free < settings["min_disk_mb"]:
            found.append(
                "ports_min_disk_mb: %d MB free where %s is, %d are needed to build %s"
                % (free, settings["work_dir"], settings["min_disk_mb"], name)
            )
        memory = sum(limits.memory())
        if memory < settings["min_memory_mb"]:
            found.append(
                "ports_min_memory_mb: %d MB of memory and swap, %d are needed to build %s: add swap"
                % (memory, settings["min_memory_mb"], name)
            )
        if self.order > 0:
            found.append(
                "%s: the ports tree has %s, %s is installed; update the tree (git -C %s pull --ff-only)"
                % (name, self.tree["PKGVERSION"], ports_judge.full_name(self.package), settings["tree"])
            )
        return found
