# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is declared of the builder, what is there, and what differs between them.

poudriere keeps what it knows of a jail and of a ports tree in poudriere.d/jails/NAME and poudriere.d/ports/NAME, a file for each property (attr_set of its
src/share/poudriere/common.sh, 3.4.8).
"""

import hashlib
import os
import re

from ansible.module_utils.sokuhai import git, host, pkg
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.job import Job

PACKAGE, PROGRAM = "poudriere", "poudriere"
#: Files by which a package that is there already is another one than declared: poudriere sees neither flags nor headers change.
FLAGS = ("poudriere.d/make.conf", "poudriere.d/hooks/jail.sh")
OVERLAY = "overlay"


def sha(text):
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def attribute(p, kind, name, what):
    """Return a property (str) of the jail or ports tree (kind: jails, ports) *name*, "" for none."""
    return (host.read(os.path.join(p["etc"], "poudriere.d", kind, name, what)) or "").strip()


def own_release():
    """Return the release (str) of this host's userland without its patch level: 15.0-RELEASE."""
    return host.run(["freebsd-version", "-u"])[1].strip().split("-p")[0]


def release(p):
    """Return the release (str) that the jail is to have."""
    return own_release() if p["jail"]["release"] == "auto" else p["jail"]["release"]


def parts(p):
    """Return {part: hash} of all that a repository is made from; the jail is known by when poudriere last made or updated it."""
    files, jail = p["files"], p["jail"]["name"]
    return {
        "flags": sha("".join(files.get(name, "") for name in FLAGS)),
        "list": sha(files.get("list", "")),
        "conf": sha(files.get("poudriere.conf", "") + p["fetch"]),
        "jail": sha(attribute(p, "jails", jail, "version") + attribute(p, "jails", jail, "timestamp")),
        "tree": sha(p["tree"]["path"] + (git.head(p["tree"]["path"])[1] or "")),
    }


class Builder:
    """p: the module's parameters. look() fills in the rest."""

    def __init__(self, p):
        self.p = p
        self.job = Job(p["state_dir"], p["log"])
        self.missing, self.files, self.differences = [], [], {}
        self.flags_differ = False

    def look(self):
        """Read everything; changes nothing."""
        p = self.p
        self.missing = pkg.missing([PACKAGE], PROGRAM)
        self.files = [File(os.path.join(p["etc"], name), text) for name, text in sorted(p["files"].items())]
        record, now = self.job.read(), parts(p)
        built = record.get("parts", {})
        version = attribute(p, "jails", p["jail"]["name"], "version")
        if version.split("-p")[0] != release(p):
            self.differences["jail"] = release(p), version or "missing"
        if record.get("phase") != "done":
            ended = record.get("phase") == "failed"
            self.differences["failed" if ended else "missing"] = (
                "built",
                record["message"] if ended else ("broken off" if record else "none"),
            )
        elif not os.path.exists(os.path.join(p["packages"], "meta.conf")):
            self.differences["missing"] = "built", "none"
        else:
            for name in sorted(now):
                if built.get(name) != now[name]:
                    self.differences.setdefault(name, ("as at the last build", "another one"))
            if self.keyless:
                # what is served has the signature of the former one; poudriere signs in each build (build_repo() of src/share/poudriere/common.sh)
                self.differences["key"] = "there", "missing"
        self.flags_differ = record.get("built_flags") != now["flags"] or "jail" in self.differences

    @property
    def to_build(self):
        return bool(self.differences) or self.p["jail"]["update"]

    @property
    def keyless(self):
        """Whether the key that signs is still to be made."""
        return not os.path.exists(self.p["key"])

    @property
    def changed(self):
        return bool(
            self.to_build or self.missing or self.keyless or any(file.differs or file.findings() for file in self.files)
        )

    def start(self):
        """Return the record that a build starts from; what the last good one was made from stays known when this one fails, and in which phase (broken) the
        one before did or was killed."""
        former = self.job.read()
        kept = {name: former[name] for name in ("parts", "built_flags") if name in former}
        ended = former.get("failed_in", former.get("phase", ""))
        return {**kept, "phase": "begin", "flags": self.flags_differ, "broken": "" if ended == "done" else ended}

    def findings(self):
        """Return the differences as findings."""
        found = pkg.findings(self.missing)
        found += [
            finding("repository: " + kind, "repository: " + kind, expected, was)
            for kind, (expected, was) in self.differences.items()
        ]
        return found + [one for file in self.files for one in file.findings()]

    def diff(self):
        return [one for file in self.files for one in file.diff()]

    def problems(self):
        """Return messages (list of str) about what keeps a build from beginning; asked only where one is needed."""
        p, found = self.p, []
        if not self.to_build:
            return found
        tree = p["tree"]["path"]
        if not os.path.exists(os.path.join(tree, "Mk/bsd.port.mk")) and not p["tree"]["awaited"]:
            found.append("ports_tree: there is no ports tree in %s; set ports_tree_fetch to git, or fetch it" % tree)
        if not p["files"]["list"].strip():
            found.append(
                "rebuild_parts, ports_list: they declare no port for the builder; rebuild_parts has bind and postfix unless declared"
            )
        free = host.free_mib(p["base"])
        if free < p["min_disk_mb"]:
            found.append(
                "builder_min_disk_mb: %d MB free where %s is, %d are needed" % (free, p["base"], p["min_disk_mb"])
            )
        wanted, kernel = release(p), host.run(["uname", "-r"])[1].strip()
        if not re.fullmatch(r"\d+\.\d+-(RELEASE|BETA\d+|RC\d+)", wanted):
            found.append(
                "builder_release: auto gives %s, which poudriere cannot update; set it to a release, such as 15.0-RELEASE"
                % wanted
            )
        # jail_start() only warns of it, and expects failures
        if host.version_key(wanted)[:2] > host.version_key(kernel)[:2]:
            found.append(
                "builder_release: %s is newer than this host's kernel, %s: upgrade the builder first" % (wanted, kernel)
            )
        return found

    def prepare(self):
        """Install poudriere, write its files, and make the key where there is none."""
        p = self.p
        pkg.install(self.missing)
        # first, or poudriere looks through all of ZFS for jails of its earlier versions
        for name in ("poudriere.d/jails", "poudriere.d/ports"):
            os.makedirs(os.path.join(p["etc"], name), 0o755, exist_ok=True)
        if self.keyless:
            make_key(p["key"])
        for file in self.files:
            file.put()


def make_key(path):
    """Make the RSA key *path* that signs the repository (poudriere.conf, PKG_REPO_SIGNING_KEY), which root alone can read."""
    host.write(path, host.must(["openssl", "genrsa", "4096"], 600, what="openssl genrsa") + "\n", 0o600)


def public_key(path):
    """Return the public key (str, PEM) of the private key *path*, "" where there is none."""
    return host.must(["openssl", "rsa", "-in", path, "-pubout"]) + "\n" if os.path.exists(path) else ""
