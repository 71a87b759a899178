"""What pkg(8) knows of the installed packages, in local.sqlite, and what it does with their files.

A package is a dictionary: its manifest, and beside that locked, automatic and time, which say what happened to it here. A package file is a tar
archive that begins with +MANIFEST, here in JSON.
"""

import fnmatch
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import time

import repository

DB = "/var/db/pkg/local.sqlite"
SCHEMA = """
create table if not exists packages (name text primary key, package text);
create table if not exists files (path text, package text);
"""
# what a manifest need not say
BARE = {"deps": {}, "options": {}, "annotations": {}, "shlibs_required": [], "shlibs_provided": []}
PROGRAM, LINK = "/usr/libexec/standins/pkg", "/usr/local/sbin/pkg"


def title(package):
    return f"{package['name']}-{package['version']}"


def origin(package):
    """The name of the repository that a package is of."""
    return package["annotations"].get("repository", "unknown-repository")


class Database:
    def __init__(self):
        os.makedirs(os.path.dirname(DB), exist_ok=True)
        fresh = not os.path.exists(DB)
        self.sql = sqlite3.connect(DB, timeout=60)
        self.sql.executescript(SCHEMA)
        for name in repository.catalogue() if fresh else []:
            # a bootstrapped host has Python
            if name == "pkg" or name.startswith("python"):
                self.register(repository.manifest(name), automatic=name not in ("pkg", "python3"))

    def installed(self, patterns=None, globs=False):
        """Packages by name: all, or those that a name, name-version or origin matches."""
        rows = self.sql.execute("select package from packages order by name").fetchall()
        packages = [json.loads(text) for (text,) in rows]

        def match(package, pattern):
            names = (package["name"], title(package), package["origin"])
            return pattern in names or globs and bool(fnmatch.filter(names, pattern))

        return [one for one in packages if patterns is None or any(match(one, pattern) for pattern in patterns)]

    def get(self, name):
        """A package, None where it is not installed."""
        return next(iter(self.installed([name])), None)

    def files(self, package):
        rows = self.sql.execute("select path from files where package=? order by path", (package["name"],))
        return [path for (path,) in rows]

    def owners(self, paths):
        """Names of the packages that have one of these files."""
        return {name for path, name in self.sql.execute("select path, package from files") if path in paths}

    def put(self, package):
        """Write a package down. Its files are kept apart, and stay where it comes without."""
        rest = {key: value for key, value in package.items() if key != "files"}
        with self.sql:
            self.sql.execute("insert or replace into packages values (?,?)", (package["name"], json.dumps(rest)))
            if "files" in package:
                self.sql.execute("delete from files where package=?", (package["name"],))
                rows = [(path, package["name"]) for path in package["files"]]
                self.sql.executemany("insert into files values (?,?)", rows)

    def register(self, manifest, automatic=False):
        self.put({**manifest, "locked": 0, "automatic": int(automatic), "time": int(time.time())})

    def forget(self, package):
        with self.sql:
            self.sql.execute("delete from packages where name=?", (package["name"],))
            self.sql.execute("delete from files where package=?", (package["name"],))


class Tree:
    """Where a package's files are to be had from: a directory that looks like /."""

    def __init__(self, top):
        self.top = top

    def put(self, path, goal):
        """Copy one file or link to goal, which does not exist."""
        shutil.copy2(self.top + path, goal, follow_symlinks=False)
        info = os.lstat(self.top + path)
        os.chown(goal, info.st_uid, info.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(goal, stat.S_IMODE(info.st_mode))

    def directory(self, path):
        info = os.lstat(self.top + path)
        return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid


class Archive:
    """The same out of a package file."""

    def __init__(self, path):
        self.archive = tarfile.open(path)
        self.members = {member.name: member for member in self.archive.getmembers()}

    def manifest(self):
        return json.load(self.archive.extractfile("+MANIFEST"))

    def put(self, path, goal):
        member = self.members[path]
        if member.issym():
            os.symlink(member.linkname, goal)
        else:
            with self.archive.extractfile(member) as source, open(goal, "wb") as f:
                shutil.copyfileobj(source, f)
        os.chown(goal, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            os.chmod(goal, member.mode)
            os.utime(goal, (member.mtime, member.mtime))

    def directory(self, path):
        member = self.members[path]
        return member.mode, member.uid, member.gid


def drop_unchanged(paths):
    """Remove the configuration files that are still their package's: what their samples are."""
    for sample in paths:
        mine = sample.removesuffix(".sample")
        if mine != sample and os.path.isfile(sample) and os.path.isfile(mine):
            with open(sample, "rb") as left, open(mine, "rb") as right:
                unchanged = left.read() == right.read()
            if unchanged:
                os.unlink(mine)


def unlink(path):
    if os.path.lexists(path):
        os.unlink(path)


def link():
    """pkg(8) itself, which no tree has."""
    os.makedirs(os.path.dirname(LINK), exist_ok=True)
    unlink(LINK)
    os.symlink(PROGRAM, LINK)


def lay(db, manifest, source, automatic=False):
    """Put a package's files in place of what its name had, each by one rename, then write it down."""
    former = db.get(manifest["name"])
    had = db.files(former) if former else []
    drop_unchanged(had)
    for path in manifest["directories"]:
        if not os.path.isdir(path):
            mode, user, group = source.directory(path)
            os.mkdir(path)
            os.chown(path, user, group)
            os.chmod(path, mode)
    for path in manifest["files"]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temp = f"{os.path.dirname(path)}/.pkgtemp.{os.path.basename(path)}"
        unlink(temp)
        source.put(path, temp)
        os.rename(temp, path)
    for path in manifest["files"]:
        # a configuration file of one's own is never replaced
        if path.endswith(".sample") and not os.path.exists(path.removesuffix(".sample")):
            shutil.copy2(path, path.removesuffix(".sample"))
    for path in set(had) - set(manifest["files"]):
        unlink(path)
    if manifest["name"] == "pkg":
        link()
    db.register(manifest, former["automatic"] if former else automatic)


def remove(db, package):
    """Take an installed package's files away, and the directories that are empty then."""
    paths = db.files(package)
    drop_unchanged(paths)
    for path in paths:
        unlink(path)
    for folder in sorted({os.path.dirname(path) for path in paths}, reverse=True):
        while folder.startswith(("/usr/local/", "/var/")) and folder.count("/") > 3:
            try:
                os.rmdir(folder)
            except OSError:
                break
            folder = os.path.dirname(folder)
    db.forget(package)


def write(manifest, top, directory):
    """Write DIRECTORY/NAME-VERSION.pkg of the files below top."""
    os.makedirs(directory, exist_ok=True)
    path = f"{directory}/{title(manifest)}.pkg"
    temp = f"{directory}/.{os.path.basename(path)}.new"
    with tarfile.open(temp, "w:gz", compresslevel=1) as archive:
        text = json.dumps(manifest).encode()
        entry = tarfile.TarInfo("+MANIFEST")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
        for name in manifest["directories"] + manifest["files"]:
            entry = archive.gettarinfo(top + name)
            entry.name, entry.uname, entry.gname = name, "", ""
            if entry.islnk():  # a hard link of a tree is a file of its own here
                entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", os.path.getsize(top + name)
            if entry.isreg():
                with open(top + name, "rb") as f:
                    archive.addfile(entry, f)
            else:
                archive.addfile(entry)
    os.rename(temp, path)


def staged(folder, plist, root):
    """The manifest of what the ports tree staged below root: its metadata, and the files that the list names."""
    with open(f"{folder}/+MANIFEST") as f:
        manifest = json.load(f)
    with open(plist) as f:
        manifest["files"] = f.read().splitlines()
    return {**BARE, **manifest, "directories": repository.paths(root)[1]}
