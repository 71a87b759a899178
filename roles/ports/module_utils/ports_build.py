# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A port built as a package and proved, before anything of the installed one is touched."""

import os
import shutil
import time

from ansible.module_utils import ports_make, ports_probe
from ansible.module_utils.ports_judge import hash_flags, hash_options
from ansible.module_utils.ports_make import PACKAGES_ONLY
from ansible.module_utils.ports_options import title
from ansible.module_utils.sokuhai import host, pkg
from ansible.module_utils.sokuhai.host import Refused


class Build:
    """item, settings: as ports_options has them; work: the job's process. Every step raises Refused."""

    def __init__(self, item, settings, work):
        self.item, self.settings, self.work, self.tree = item, settings, work, work.record["tree"]

    def package(self):
        """Build the package and prove it; phase `packaged` has its path, its sum and its annotations."""
        work, settings, tree = self.work, self.settings, self.tree
        for folder in (settings["work_dir"], os.path.join(settings["package_dir"], "All")):
            os.makedirs(folder, 0o755, exist_ok=True)
        work.phase("dependencies")
        self.dependencies()
        self.clean()
        work.phase("fetch")
        self.make("checksum")
        work.phase("build")
        try:
            self.make("package")
            path = os.path.join(settings["package_dir"], "All", "%(PKGBASE)s-%(PKGVERSION)s.pkg" % tree)
            if not os.path.exists(path):
                raise Refused("make package left no %s" % path)
            work.phase("probe")
            notes = ports_probe.prove(work, settings, tree)
            self.prove_programs()
        finally:
            self.clean()
        notes.update(
            sokuhai_built=int(time.time()),
            sokuhai_cflags=hash_flags(tree["CFLAGS"]),
            sokuhai_options=hash_options(tree["PORT_OPTIONS"].split()),
            sokuhai_tree=work.record["commit"] or "unknown",
        )
        work.phase("packaged", package=path, notes=notes, package_sha256=host.sha256(path))

    def make(self, target):
        argv = ports_make.argv(self.item, self.settings, target, PACKAGES_ONLY)
        self.work.command(argv, "make %s" % target, hold=True)

    def dependencies(self):
        """Install what the port itself needs as packages: built here, it would be compiled with the raised header, too.

        make says which pattern (file, library, version) nothing satisfies, one at a time; pkg brings that package and what it needs to run. Not
        by `make missing` and install-missing-packages: they go down into what would be needed to build a missing dependency, and to test it
        (Mk/Scripts/depends-list.sh -m with _UNIFIED_DEPENDS), and hand all of it to one pkg install, which one unknown name fails.
        """
        tried = []
        while True:
            status, out, err = ports_make.run(self.item, self.settings, "depends", PACKAGES_ONLY, timeout=1800)
            self.work.say((out + err).rstrip())
            if not status:
                return
            name = ports_make.lacking(out + err)
            # twice, for a pkg(8) that first updated itself
            if name is None or tried.count(name) > 1:
                more = ". pkg install %s did not change that" % name if name else ""
                raise Refused("make depends: %s%s" % (host.last_lines(err or out, 3), more))
            lost = pkg.update()
            tried.append(name)
            there = any(package["name"] == name for package in pkg.installed())
            try:
                # what is there already, too old, stays the operator's own
                self.work.command(["pkg", "install", "-yU" if there else "-yAU", name])
            except Refused as reason:
                raise Refused(
                    "%s needs %s, which no repository gives (%s%s), and it would be compiled with the raised sys/select.h if it were built "
                    "here. Install it, or unset the option that needs it" % (title(self.item), name, reason, lost)
                ) from reason

    def clean(self):
        """Remove the port's work directory, whose name is make's own answer. Not by `make clean`, which needs space to start."""
        folder, top = os.path.realpath(self.tree["WRKDIR"]), os.path.realpath(self.settings["work_dir"])
        if top.strip("/") and folder.startswith(top + "/"):
            shutil.rmtree(folder, ignore_errors=True)

    def prove_programs(self):
        """Raise Refused unless the built programs themselves say the flags, before anything is installed."""
        for path in self.item["proof"] if self.settings["prove_programs"] else ():
            try:
                with open(self.tree["STAGEDIR"] + path, "rb") as handle:
                    data = handle.read()
            except OSError as error:
                raise Refused("no proof that the flags arrived: %s" % error) from error
            absent = [flag for flag in self.item["cflags"] if flag.encode() not in data]
            if absent:
                raise Refused(
                    "%s was built without %s: something between make.conf and the compiler drops it"
                    % (path, " ".join(absent))
                )
