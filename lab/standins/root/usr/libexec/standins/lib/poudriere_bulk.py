"""poudriere bulk: from the reference jail to the repository that is served, or not. The names, the order and the exit statuses are poudriere's."""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import time

import packages

HEADERS = ("sys/select.h", "sys/param.h")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000


class Error(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def msg(text):
    print(f"[00:00:00] {text}", flush=True)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with contextlib.suppress(OSError), open(path) as file:
        return file.read().rstrip("\n")
    return None


class Bulk:
    """One run: from the reference jail to the repository that is served, or not."""

    def __init__(self, p, jail, tree, overlays, clean, repo, commit, owns):
        self.p, self.jail, self.tree, self.overlays = p, jail, tree, overlays
        self.clean, self.repo, self.commit, self.owns, self.queued = clean, repo, commit, owns, set()
        self.master = f"{jail}-{tree}"
        self.ref = f"{p.data}/.m/{self.master}/ref"
        self.root = f"{p.data}/packages/{self.master}"
        self.building = f"{self.root}/.building"
        self.conf = f"{self.ref}/etc/make.conf"

    def env(self):
        return {
            "MASTERNAME": self.master,
            "MASTERMNT": self.ref,
            "JAILNAME": self.jail,
            "PTNAME": self.tree,
            "POUDRIERE_BUILD_TYPE": "bulk",
            "PACKAGES": self.building,
            "PACKAGES_ROOT": self.root,
        }

    def start(self):
        cache = self.p.set["DISTFILES_CACHE"]
        if cache != "no" and not os.path.isdir(cache):
            raise Error(1, "DISTFILES_CACHE directory does not exist. (cf.  poudriere.conf)")
        if not self.p.there("jails", self.jail):
            raise Error(1, f"No such jail: {self.jail}")
        msg("Creating the reference jail... done")
        shutil.rmtree(self.ref, ignore_errors=True)
        shutil.copytree(self.p.get("jails", self.jail, "mnt"), self.ref, symlinks=True)
        self.stash()
        lines = [
            "USE_PACKAGE_DEPENDS=yes",
            "BATCH=yes",
            "WRKDIRPREFIX=/wrkdirs",
            "PORTSDIR=/usr/ports",
            "PACKAGES=/packages",
            "DISTDIR=/distfiles",
        ]
        lines += [f"OVERLAYS+=/overlays/{one}" for one in self.overlays] + ["FORCE_PACKAGE=yes", "PACKAGE_BUILDING=yes"]
        for opt in ("", f"{self.tree}-", f"{self.jail}-", f"{self.jail}-{self.tree}-"):
            path = f"{self.p.d}/{opt}make.conf"
            if os.path.exists(path):
                msg(f"Appending to make.conf: {path}")
                lines.append(read(path))
        write(self.conf, "\n".join(lines) + "\n")
        msg(f"Starting jail {self.master}")
        self.p.hook("jail", "start", **self.env())

    def stash(self):
        if not os.path.islink(f"{self.root}/.latest"):
            os.makedirs(f"{self.root}/.real_0/All", exist_ok=True)
            os.symlink(".real_0", f"{self.root}/.latest")
        if os.path.isdir(self.building):
            msg(f"Warning: Using packages from previously failed, or uncommitted, build: {self.building}")
            return
        msg("Stashing existing package repository")
        # hard links of what lies in directories, copies of the catalogue's own files, which are written again
        top = os.path.realpath(f"{self.root}/.latest")

        def copy(source, goal):
            (shutil.copy2 if os.path.dirname(source) == top else os.link)(source, goal)

        shutil.copytree(top, self.building, symlinks=True, copy_function=copy)
        os.makedirs(f"{self.building}/All", exist_ok=True)

    def place(self, origin):
        """The directory of a port: an overlay's, else the tree's."""
        for name in (*self.overlays, self.tree):
            path = f"{self.p.get('ports', name, 'mnt')}/{origin}"
            if os.path.exists(f"{path}/Makefile"):
                return path
        raise Error(1, f"Nonexistent origin listed: {origin}")

    def make(self, origin, flavor, *words):
        argv = [
            "make",
            "-C",
            self.place(origin),
            f"__MAKE_CONF={self.conf}",
            f"PORTSDIR={self.p.get('ports', self.tree, 'mnt')}",
        ]
        argv += [f"WRKDIRPREFIX={self.ref}/wrkdirs", f"PACKAGES={self.building}", "BATCH=yes", *words]
        env = {**os.environ, **({"FLAVOR": flavor} if flavor else {})}
        return subprocess.run(argv, env=env, preexec_fn=self.inside, capture_output=True, text=True, check=False)

    def inside(self):
        """In the child: the reference jail's headers where this system's are."""
        calls = [LIBC.unshare(CLONE_NEWNS), LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)]
        for name in HEADERS:
            calls.append(
                LIBC.mount(
                    f"{self.ref}/usr/include/{name}".encode(), f"/usr/include/{name}".encode(), None, MS_BIND, None
                )
            )
        if any(calls):
            raise OSError(ctypes.get_errno(), "a mount namespace for the jail")

    def port(self, spec):
        """Build one port; return whether its package is there, and whether it was built."""
        origin, _, flavor = spec.partition("@")
        asked = self.make(origin, flavor, "-V", "PKGNAME", "-V", "SELECTED_OPTIONS")
        if asked.returncode:
            raise Error(1, f"{spec}: {asked.stderr.strip()}")
        name, wanted = (asked.stdout.split("\n") + ["", ""])[:2]
        file = f"{self.building}/All/{name}.pkg"
        self.queued.add(f"{name}.pkg")
        if os.path.exists(file) and not self.clean and self.options(file) == set(wanted.split()):
            return True, False
        packages.unlink(file)
        msg(f"[01] [00:00:00] Building {spec} | {name}")
        done = self.make(origin, flavor, "clean", "package")
        logs = f"{self.p.data}/logs/bulk/{self.master}/latest/logs"
        write(f"{logs}/{name}.log", done.stdout + done.stderr)
        if done.returncode:
            write(f"{logs}/errors/{name}.log", done.stdout + done.stderr)
            msg(f"[01] [00:00:00] Failed {spec} | {name}: build")
            return False, True
        msg(f"[01] [00:00:00] Finished {spec} | {name}: Success")
        return True, True

    @staticmethod
    def options(file):
        return {name for name, value in packages.Archive(file).manifest()["options"].items() if value == "on"}

    def sign(self):
        """pkg repo: what there is, and its signature (pkg-repo(8), signature_type pubkey)."""
        msg("Creating pkg repository")
        found = []
        for name in sorted(os.listdir(f"{self.building}/All")):
            found.append({**packages.Archive(f"{self.building}/All/{name}").manifest(), "repopath": f"All/{name}"})
        text = "".join(json.dumps(one) + "\n" for one in found)
        write(f"{self.building}/packagesite.pkg", text)
        write(f"{self.building}/data.pkg", text)
        write(f"{self.building}/meta.conf", 'version = 2;\npacking_format = "tzst";\n')
        key, signature = self.p.set["PKG_REPO_SIGNING_KEY"], f"{self.building}/packagesite.sig"
        packages.unlink(signature)
        if key:
            msg(f"Signing repository with key: {key}")
            argv = ["openssl", "dgst", "-sha256", "-sign", key, "-out", signature, f"{self.building}/packagesite.pkg"]
            if subprocess.run(argv, check=False).returncode:
                raise Error(1, "Failed to sign pkg repository")

    def publish(self, failed):
        if not self.commit:
            msg(f"Warning: Temporary build directory will not be removed or committed: {self.building}")
            return
        if self.p.set["COMMIT_PACKAGES_ON_FAILURE"] == "no" and failed:
            msg("Warning: Not committing packages to repository as failures were encountered")
            return
        former = os.path.realpath(f"{self.root}/.latest")
        new = max(int(time.time()), int(former.rpartition("_")[2]) + 1)
        msg(f"Committing packages to repository: {self.root}/.real_{new} via .latest symlink")
        for name in sorted(os.listdir(self.building)):
            if not name.startswith(".") and not os.path.islink(f"{self.root}/{name}"):
                os.symlink(f".latest/{name}", f"{self.root}/{name}")
        os.rename(self.building, f"{self.root}/.real_{new}")
        os.symlink(f".real_{new}", f"{self.root}/.latest_new")
        os.rename(f"{self.root}/.latest_new", f"{self.root}/.latest")
        msg("Removing old packages")
        if self.p.set["KEEP_OLD_PACKAGES"] != "yes":
            shutil.rmtree(former, ignore_errors=True)

    def run(self, specs):
        self.p.hook("bulk", "start", **self.env())
        try:
            self.start()
            results = [self.port(spec) for spec in specs]
            failed = [spec for spec, (good, _built) in zip(specs, results) if not good]
            if self.owns and self.p.set["DELETE_UNQUEUED_PACKAGES"] != "no" and not self.clean:
                for name in set(os.listdir(f"{self.building}/All")) - self.queued:
                    os.unlink(f"{self.building}/All/{name}")
            if self.repo:
                self.sign()
            self.publish(failed)
        except Error:
            self.p.hook("bulk", "crashed", **self.env())
            raise
        finally:
            shutil.rmtree(f"{self.p.data}/.m/{self.master}", ignore_errors=True)
        built = sum(1 for good, fresh in results if good and fresh)
        if failed:
            msg(f"Failed ports: {' '.join(failed)}")
        msg(
            f"[{self.master}] [done] Queued: {len(specs)} Built: {built} Failed: {len(failed)} Skipped: 0 Ignored: 0 Fetched: 0 Tobuild: 0"
        )
        return len(failed)
