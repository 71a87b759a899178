"""Other mailers than Postfix and another resolver than named, as Debian packages them and as npm has them: archives of files that are laid over a practice
host's root.

They conflict with what is there as packages, so they are never installed: what apt would add to the host's base layer is unpacked beside it. Cached
as `others-<generation>-<key>/NAME.tar`.
"""

import os
import shutil
import subprocess

from . import LabError, rootfs
from .files import say
from .rootfs import cache_dir

PACKAGES = {"exim": "exim4-daemon-light", "opensmtpd": "opensmtpd", "haraka": "nodejs", "unbound": "unbound"}
#: A release, so that a figure belongs to it: https://github.com/haraka/Haraka/releases
HARAKA = "Haraka@3.3.4"
NPM = ("npm", "install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error")

# in an overlay over the base layer, whose Postfix thereby stays: --download-only removes nothing
FETCH = """\
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay "$1/root" -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work"
mount -t proc proc "$1/root/proc"
cp "$3/apt.conf" "$1/root/etc/apt/apt.conf.d/91lab-proxy"
chroot "$1/root" sh -euc '
	export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
	apt-get -q update
	for pair; do
		apt-get clean
		apt-get -q -y --no-install-recommends --download-only install "${pair#*=}"
		mkdir -p "/others/${pair%%=*}"
		for deb in /var/cache/apt/archives/*.deb; do
			dpkg -x "$deb" "/others/${pair%%=*}"
		done
		rm -rf "/others/${pair%%=*}/usr/share/doc" "/others/${pair%%=*}/usr/share/man" "/others/${pair%%=*}/etc/cron.d"
	done' sh $4
cp -a "$1/root/others/." "$3/"
"""


def fetched(generation):
    """Path of the directory with NAME.tar for each of PACKAGES, made when it is not there; haraka.tar only where this machine has npm. Raises LabError."""
    rootfs.ensure(generation)
    base = cache_dir() / rootfs.keys(generation)[0]
    npm = shutil.which("npm")
    done = cache_dir() / f"others-{generation}-{rootfs.digest(base.name, FETCH, str(PACKAGES), HARAKA if npm else '')}"
    if done.is_dir():
        return done
    with rootfs.locked():
        if done.is_dir():
            return done
        temp = done.with_name(f".building-{done.name}")
        shutil.rmtree(temp, ignore_errors=True)
        (temp / "scratch").mkdir(parents=True)
        try:
            with open(cache_dir() / f"build-others-{generation}.log", "w") as log:
                fetch(base, temp, npm, log)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise
        for old in cache_dir().glob(f"others-{generation}-*"):
            shutil.rmtree(old, ignore_errors=True)
        temp.rename(done)
    return done


def fetch(base, temp, npm, log):
    """The archives, into the directory temp, which has an empty one named scratch. npm: whether there is one. Raises LabError."""
    (temp / "apt.conf").write_text(rootfs.apt_proxy())
    pairs = " ".join(f"{name}={package}" for name, package in PACKAGES.items() if npm or name != "haraka")
    env = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    env.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root")
    words = ["/bin/sh", "-euc", FETCH, "sh", str(temp / "scratch"), str(base), str(temp), pairs]
    rootfs.run_alone("packages of others (once; about a minute)", words, log, env)
    if npm:
        say(f"{HARAKA} from npm")
        into = temp / "haraka" / "opt" / "haraka"
        into.mkdir(parents=True)
        try:
            subprocess.run([*NPM, "--prefix", into, HARAKA], check=True, stdout=log, stderr=log, timeout=300)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
            raise LabError(f"npm did not install {HARAKA}: {e}; log: {log.name}") from None
    for name in PACKAGES:
        if (temp / name).is_dir():
            tar = ["tar", "-C", temp / name, "--numeric-owner", "-cf", temp / f"{name}.tar", "."]
            subprocess.run(tar, check=True, stdout=log, stderr=log, timeout=120)
            shutil.rmtree(temp / name)
    (temp / "scratch").rmdir()
    (temp / "apt.conf").unlink()
