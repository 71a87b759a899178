"""What an installation by pkg(8) brings and takes away, before anything is done."""

import os
import re
import tarfile

import packages
import remote
import repository
from packages import title

LOCKED = 7  # EPKG_LOCKED
UNKNOWN = "No packages available to install matching '%s' have been found in the repositories"


class Refused(Exception):
    """What was asked for is not done; code: the exit status."""

    def __init__(self, text, code=1):
        super().__init__(text)
        self.code = code


def compare(a, b):
    """-1, 0 or 1 as pkg_version_cmp orders two versions: epoch, then the version, then the revision."""

    def key(text):
        text, _, epoch = text.partition(",")
        text, _, revision = text.partition("_")
        parts = [(0, int(p), "") if p.isdigit() else (-1, 0, p) for p in re.findall(r"\d+|[a-z]+", text)]
        return int(epoch or 0), parts, int(revision or 0)

    x, y = key(a), key(b)
    return (x > y) - (x < y)


class Plan:
    """What an installation brings: steps are (manifest, where its files are, automatic), in their order."""

    def __init__(self, db, force, own=None, only=False):
        """own: {name: keys} of the repositories that are asked before FreeBSD's; only: and no other is (-r)."""
        self.db, self.force, self.own, self.only, self.steps = db, force, own or {}, only, []
        self.keys = {}

    def names(self):
        return {manifest["name"] for manifest, *_ in self.steps}

    def file(self, path, automatic):
        """A package file. No lock keeps it out (pkg 2.8.4)."""
        try:
            archive = packages.Archive(path)
            manifest = archive.manifest()
        except (OSError, KeyError, ValueError, tarfile.TarError, EOFError) as problem:
            raise Refused(f"{path} is not a valid package: {problem}") from None
        self.add(manifest, archive, automatic)

    def offer(self, name):
        """What the repository of the ports has by a name, name-version or origin, or None."""
        offers = [] if self.only else repository.catalogue().values()
        return next((one for one in offers if name in (one.name, f"{one.name}-{one.version}", one.origin)), None)

    def knows(self, name):
        """Whether a repository that is asked has a package of that name."""
        return bool(remote.offers(self.own, name)) or self.offer(name) is not None

    def name(self, name, automatic):
        """A package of the repository, where it is newer than what is installed, or forced."""
        for manifest, keys in remote.offers(self.own, name)[:1]:
            package = self.db.get(manifest["name"])
            if package and not self.force and compare(package["version"], manifest["version"]) >= 0:
                return
            if package and package["locked"]:
                raise Refused(f"{title(package)} is locked and may not be modified")
            self.add(manifest, remote.package(manifest), automatic, keys)
            return
        offer = self.offer(name)
        if offer is None:
            raise Refused(UNKNOWN % name)
        package = self.db.get(offer.name)
        if package and not self.force and compare(package["version"], offer.version) >= 0:
            return
        if package and package["locked"]:
            raise Refused(f"{title(package)} is locked and may not be modified")
        self.add(repository.manifest(offer.name), packages.Tree(repository.tree(offer)), automatic)

    def add(self, manifest, source, automatic, keys=None):
        for need in manifest["deps"]:
            if need not in self.names() and not self.db.get(need):
                self.name(need, automatic=True)
        if manifest["name"] not in self.names():
            self.steps.append((manifest, source, automatic))
            self.keys[manifest["name"]] = keys

    def in_the_way(self):
        """Installed packages of other names that have a file which one of the repository's brings. Neither a locked one nor a package file's conflict is seen."""
        ours = [step for step in self.steps if type(step[1]) is not packages.Archive]
        return [package for package in self.sharing(ours) if not package["locked"]]

    def sharing(self, steps):
        paths = {path for manifest, *_ in steps for path in manifest["files"]}
        return self.db.installed(self.db.owners(paths) - self.names())

    def unseen(self, gone):
        """Refuse, as late as pkg 2.8.4 does, what would take a file of a package that is not *gone* by then."""
        for step in self.steps:
            for package in [one for one in self.sharing([step]) if one not in gone]:
                path = min(set(self.db.files(package)) & set(step[0]["files"]))
                raise Refused(
                    f"{title(step[0])} conflicts with {title(package)} (installs files into the same place).  Problematic file: {path}",
                    3,
                )

    def remote(self):
        """Where those that are of a repository lie once they were fetched."""
        steps = [step for step in self.steps if type(step[1]) is not packages.Archive]
        return [
            source.path if isinstance(source, remote.Package) else f"{repository.CACHE}/{title(manifest)}.pkg"
            for manifest, source, _automatic in steps
        ]

    def fetched(self):
        return all(os.path.exists(path) for path in self.remote())

    def fetch(self):
        own = {source.path for _manifest, source, _automatic in self.steps if isinstance(source, remote.Package)}
        for manifest, source, _automatic in self.steps:
            if isinstance(source, remote.Package):
                remote.fetch(manifest, self.keys[manifest["name"]])
        for path in set(self.remote()) - own:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w"):
                pass
