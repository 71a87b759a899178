"""Root file systems for the practice hosts: built once from Debian's archive, cached, never seen half done.

Two layers of cache, because the second changes often: `base-<generation>-<key>` is Debian with the packages of
standins/packages; `rootfs-<generation>-<key>` is that with standins/setup.sh run in it. Both are built under a name that
starts with `.building-` and get their own name by one rename.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import time

from . import LabError
from .files import flock, say, tail
from .paths import LAB

STANDINS = LAB / "standins"
SETUP = STANDINS / "setup.sh"

# What a practice host cannot do without; standins/packages adds to it.
PACKAGES = ("ca-certificates", "iproute2", "openssh-server", "procps", "python3")

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

BUILD_TIMEOUT = 1500
FREE_BYTES = 2_500_000_000

# Documentation and translations are of no use here and half of the size.
DPKG_CONF = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
"""

APT_CONF = """\
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "3";
"""

INSTALL = """\
set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
apt-get -q update
apt-get -q -y dist-upgrade
apt-get -q -y --no-install-recommends install "$@"
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log /etc/ssh/ssh_host_*
"""


def cache_dir():
    """Path of the cache: $SOKUHAI_CACHE, else ~/.cache/sokuhai."""
    named = os.environ.get("SOKUHAI_CACHE")
    return pathlib.Path(named or os.path.expanduser("~/.cache/sokuhai"))


def packages():
    """Names of the Debian packages inside, sorted."""
    lines = (STANDINS / "packages").read_text().splitlines()
    return sorted({*PACKAGES, *(name for line in lines for name in line.partition("#")[0].split())})


def digest(*parts):
    return hashlib.sha256("".join(part + "\0" for part in parts).encode()).hexdigest()[:12]


def keys(generation):
    """(name of the base layer, name of the finished root file system) for a generation."""
    base = digest(*packages(), DPKG_CONF, APT_CONF, INSTALL)
    return f"base-{generation}-{base}", f"rootfs-{generation}-{digest(base, SETUP.read_text())}"


def mirrors():
    """(main archive, security archive) as SOKUHAI_MIRROR or this machine's own apt has them; LabError where neither does."""
    main, security = os.environ.get("SOKUHAI_MIRROR"), None
    if shutil.which("apt-get"):
        listing = subprocess.run(
            [
                "apt-get",
                "indextargets",
                "--format",
                "$(REPO_URI)|$(CODENAME)|$(COMPONENT)|$(LABEL)",
                "Created-By: Packages",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout
        for line in listing.splitlines():
            uri, codename, component, label = line.split("|")
            uri = uri.rstrip("/")
            if component != "main" or not re.match(r"https?://", uri):
                continue
            if not codename.endswith("-security"):
                if label == "Debian" or (not label and uri.endswith("/debian")):
                    main = main or uri
            elif label in ("", "Debian-Security"):
                security = security or uri
    if not main:
        raise LabError(
            "this machine's apt names no Debian archive to build the practice host from: set SOKUHAI_MIRROR to the URL of one "
            "(what stands behind deb in a Debian sources.list), its security archive beside it"
        )
    return main, security or f"{main.rstrip('/')}-security"


def apt_proxy():
    """apt.conf text with this machine's own proxy settings for apt, if it has any."""
    if not shutil.which("apt-config"):
        return ""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=60, check=False).stdout
    return "".join(line + "\n" for line in dump.splitlines() if re.match(r'Acquire::https?::(.*::)?Proxy ".+"', line))


def run_alone(title, argv, log, env, script=""):
    """Run one build step in namespaces of its own, so that nothing it mounts or leaves running outlives it, or us."""
    say(title)
    alone = (
        "setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --ipc --uts --propagation private".split()
    )
    try:
        done = subprocess.run(
            [*alone, *argv],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            timeout=BUILD_TIMEOUT,
            check=False,
            input=script,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{title}: not done after {BUILD_TIMEOUT} s; is the mirror reachable? log: {log.name}") from None
    if done.returncode:
        raise LabError(f"{title}: failed (exit {done.returncode}). The end of {log.name}:\n  {tail(log.name, 15)}")


def _chroot(root, title, script, args, log):
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    inner = 'root=$1; shift; mount -t proc proc "$root/proc" && exec chroot "$root" /bin/sh -s -- "$@"'
    run_alone(title, ["/bin/sh", "-c", inner, "sh", str(root), *args], log, env, script)


def _build_base(generation, target, log):
    for tool in ("debootstrap", "unshare", "setpriv"):
        if not shutil.which(tool):
            raise LabError(f"{tool} is missing: apt-get install debootstrap util-linux")
    if not os.path.exists(KEYRING):
        raise LabError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    main, security = mirrors()
    debs = target.with_name(".debs")
    debs.mkdir(exist_ok=True)
    argv = ["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", f"--cache-dir={debs}"]
    if main.startswith("https:"):
        argv.append("--include=ca-certificates")
    env = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    env.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C", HOME="/root")
    proxy = re.search(r'Acquire::http::Proxy "(.+)"', apt_proxy())
    if proxy and "http_proxy" not in env and proxy.group(1) != "DIRECT":
        env["http_proxy"] = proxy.group(1)
    run_alone(
        f"debootstrap {generation} from {main} (once; about a minute)",
        [*argv, generation, str(target), main],
        log,
        env,
    )
    (target / "etc/dpkg/dpkg.cfg.d/lab").write_text(DPKG_CONF)
    (target / "etc/apt/apt.conf.d/90lab").write_text(APT_CONF)
    (target / "etc/apt/apt.conf.d/91lab-proxy").write_text(apt_proxy())
    (target / "etc/apt/sources.list").write_text(
        f"deb {main} {generation} main\ndeb {main} {generation}-updates main\ndeb {security} {generation}-security main\n"
    )
    policy = target / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    for name in ("resolv.conf", "hosts"):
        with contextlib.suppress(OSError):
            (target / "etc" / name).write_bytes(pathlib.Path("/etc", name).read_bytes())
    _chroot(target, f"packages of the {generation} host (once; about a minute)", INSTALL, packages(), log)
    (target / "etc/apt/apt.conf.d/91lab-proxy").unlink()


def _remove(paths):
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked():
    """One at a time among all that build something in the cache."""
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise LabError(
            f"cannot make the cache {cache}: {e.strerror}; set SOKUHAI_CACHE to a directory that can be written"
        ) from None
    with open(cache / ".lock", "w") as lock:
        refusal = f"another build holds {lock.name} for too long"
        flock(lock, 2 * BUILD_TIMEOUT, refusal, "another lab builds a root file system; waiting for it")
        yield


def ensure(generation, in_use=tuple):
    """Path of the finished root file system of a generation, built when it is not there.

    in_use: a function that returns the paths that running labs stand on; they are not pruned. Raises LabError.
    """
    cache = cache_dir()
    base_name, name = keys(generation)
    done = cache / name
    if done.is_dir():
        return done
    with locked():
        if done.is_dir():
            return done
        _remove(cache.glob(".building-*"))
        if shutil.disk_usage(cache).free < FREE_BYTES:
            raise LabError(
                f"{cache} has less than {FREE_BYTES // 10**9} GB free; free some, or set SOKUHAI_CACHE to a larger disk"
            )
        started = time.monotonic()
        try:
            with open(cache / f"build-{generation}.log", "w") as log:
                build(generation, cache / base_name, done, log)
        except BaseException:
            _remove(cache.glob(".building-*"))
            if shutil.disk_usage(cache).free < 50_000_000:
                raise LabError(
                    f"the disk of {cache} is full; free some, or set SOKUHAI_CACHE to a larger disk"
                ) from None
            raise
        keep = {cache / base_name, done, *map(pathlib.Path, in_use())}
        _remove({*cache.glob(f"rootfs-{generation}-*"), *cache.glob(f"base-{generation}-*")} - keep)
        say(f"root file system {name} ready after {time.monotonic() - started:.0f} s")
    return done


def build(generation, base, done, log):
    """Make both layers, each under a name of its own until all of it is there."""
    if not base.is_dir():
        temp = base.with_name(f".building-{base.name}")
        _build_base(generation, temp, log)
        _remove([base.with_name(".debs")])
        temp.rename(base)
    temp = done.with_name(f".building-{done.name}")
    say(f"setting up the {generation} host")
    subprocess.run(["cp", "-a", base, temp], check=True, stdout=log, stderr=subprocess.STDOUT, timeout=300)
    _chroot(temp, "standins/setup.sh", SETUP.read_text(), [generation], log)
    temp.rename(done)
