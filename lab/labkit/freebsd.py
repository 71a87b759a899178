"""FreeBSD's headers, sources and ports tree for a practice host, and the compiler that compiles for it.

The headers are FreeBSD's own, as the ziglang wheel carries them; they are cached as a layer that lies under a host's root. The wheel itself
appears in the host as /usr/libexec/ziglang, read-only. The ports tree is made of standins/ports at each `up`: the versions in
it are those of the daemons that the host's generation has.
"""

import gzip
import hashlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

from . import LabError, ns, rootfs
from .files import put
from .paths import LAB, REPOSITORY

PORTS = LAB / "standins" / "ports"
SOURCES = LAB / "standins" / "src"
OSVERSION = 1500068  # 15.0-RELEASE
BRANCH = "2026Q4"
COMMIT = "5f0c2d7e9a4b1836c7d2e5f8a9b0c1d2e3f40516"
TARGET = "x86_64-freebsd-none"


def files_of(top):
    """The files of a tree, without what an editor or Python left there."""
    return [p for p in sorted(top.rglob("*")) if p.is_file() and not p.name.endswith((".pyc", "~"))]


def compiler():
    """Path of the ziglang package (str), of the project's own venv or of the running Python; None where neither has it."""
    places = sorted((REPOSITORY / ".venv" / "lib").glob("python3*/site-packages"))
    places += [pathlib.Path(p) for p in sys.path if p.endswith("-packages")]
    return next((str(p / "ziglang") for p in places if os.access(p / "ziglang" / "zig", os.X_OK)), None)


def headers(wheel, in_use=tuple):
    """Path (str) of the cached layer with FreeBSD's /usr/include for amd64, made from the wheel when it is not there.

    in_use: a function that returns the paths that running labs stand on; they are not pruned.
    """
    include = pathlib.Path(wheel) / "lib" / "libc" / "include"
    parts = (include / "generic-freebsd", include / TARGET)
    digest = hashlib.sha256(f"{OSVERSION}".encode())
    for part in parts:
        for name in ("sys/param.h", "sys/select.h", "machine/param.h"):
            if (part / name).exists():
                digest.update((part / name).read_bytes())
    layer = rootfs.cache_dir() / f"headers-{digest.hexdigest()[:12]}"
    if layer.is_dir():
        return str(layer)
    with rootfs.locked():
        temp = layer.with_name(f".building-{layer.name}")
        shutil.rmtree(temp, ignore_errors=True)
        for part in parts:
            shutil.copytree(part, temp / "usr" / "include", symlinks=True, dirs_exist_ok=True)
        for name in ("sys/param.h", "osreldate.h"):
            version(temp / "usr" / "include" / name)
        keep(temp, layer, in_use)
    return str(layer)


def keep(temp, path, in_use=tuple):
    """Give what was made under another name its own in the cache, and remove what it replaces."""
    try:
        temp.rename(path)
    except OSError:  # another lab was quicker
        shutil.rmtree(temp)
    for old in path.parent.glob(f"{path.name.partition('-')[0]}-*"):
        if old != path and str(old) not in in_use():
            shutil.rmtree(old, ignore_errors=True)


def version(path):
    """Put the release's number back into a header, from where the wheel takes it because its own compiler driver defines it."""
    text = path.read_text()
    if not re.search(r"^#define\s+__FreeBSD_version\s", text, re.M):
        text, found = re.subn(
            r"^/\* zig patch: .*__FreeBSD_version.*\*/$",
            f"#undef __FreeBSD_version\n#define __FreeBSD_version {OSVERSION}",
            text,
            flags=re.M,
        )
        if found != 1:
            raise LabError(
                f"{path}: the wheel's header has __FreeBSD_version neither defined nor taken out as before: look at labkit/freebsd.py"
            )
        path.write_text(text)


def versions(root):
    """{name: version} of what a host's root file system can install, as its setup wrote it down."""
    with open(f"{root}/usr/share/standins/ports/versions") as f:
        return dict(line.split() for line in f)


def distfile(top):
    """Bytes of a .tar.gz of standins/ports/source under the directory `top`; the same bytes every time."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as raw, tarfile.open(fileobj=raw, mode="w") as archive:
        for path in sorted((PORTS / "source").iterdir()):
            entry = tarfile.TarInfo(f"{top}/{path.name}")
            entry.size = path.stat().st_size
            archive.addfile(entry, io.BytesIO(path.read_bytes()))
    return packed.getvalue()


def lay_ports(root):
    """Make /usr/ports of a host: the tree, its distfiles' home and checksums, and the two files by which git says what it is a checkout of."""
    have = versions(root)
    bind = have["bind"]
    words = {
        "@BIND_VERSION@": bind,
        "@BIND_SERIES@": "".join(bind.split(".")[:2]),
        "@POSTFIX_VERSION@": have["postfix"].split(",")[0],
        "@PCRE2_VERSION@": have["pcre2"],
        "@POLICYD_SPF_PERL_VERSION@": have["policyd-spf-perl"],
        "@PERL_VERSION@": have["perl"],
        "@PERL_SERIES@": ".".join(have["perl"].split(".")[:2]),
    }
    places = {"dns/bind/": f"dns/bind{words['@BIND_SERIES@']}/", "lang/perl/": f"lang/perl{words['@PERL_SERIES@']}/"}
    for path in files_of(PORTS):
        relative, text = str(path.relative_to(PORTS)), path.read_text()
        if relative.startswith("source/"):
            continue
        for word, value in words.items():
            text = text.replace(word, value)
        for place, named in places.items():
            relative = relative.replace(place, named)
        put(f"{root}/usr/ports/{relative}", text)
    for port, subdir, name in (
        (f"dns/bind{words['@BIND_SERIES@']}", "", f"bind-{bind}"),
        ("mail/postfix", "postfix/", f"postfix-{words['@POSTFIX_VERSION@']}"),
        ("mail/postfix-policyd-spf-perl", "", f"postfix-policyd-spf-perl-{have['policyd-spf-perl']}"),
        ("devel/pcre2", "", f"pcre2-{have['pcre2']}"),
        (f"lang/perl{words['@PERL_SERIES@']}", "", f"perl5-{have['perl']}"),
    ):
        content, file = distfile(name), f"{subdir}{name}.tar.gz"
        put(f"{root}/usr/share/standins/distfiles/{name}.tar.gz", content)
        sums = f"SHA256 ({file}) = {hashlib.sha256(content).hexdigest()}\nSIZE ({file}) = {len(content)}\n"
        put(f"{root}/usr/ports/{port}/distinfo", sums)
    put(f"{root}/usr/ports/.git/HEAD", f"ref: refs/heads/{BRANCH}\n")
    put(f"{root}/usr/ports/.git/refs/heads/{BRANCH}", COMMIT + "\n")


def lay_src(root, again):
    """Make /usr/src of a host; select.h and param.h are those of its /usr/include. again: leave select.h and newvers.sh as they are."""
    for path in files_of(SOURCES):
        relative = path.relative_to(SOURCES)
        if not (again and str(relative) == "sys/conf/newvers.sh"):
            put(f"{root}/usr/src/{relative}", path.read_bytes())
    for name in () if again else ("select.h", "param.h"):
        header = pathlib.Path(f"{root}/usr/include/sys/{name}")
        if header.exists():
            put(f"{root}/usr/src/sys/sys/{name}", header.read_bytes())


def lay(root, again=False):
    """Everything of FreeBSD's sources and ports that a host's root has beside the headers. again: over a host that is in use."""
    lay_ports(root)
    lay_src(root, again)


# --- the kernel that the host starts with


def kernel_path(host):
    """Where the cache has, or will have, the stock kernel for a host (str): it depends on sources, headers and compiler alone."""
    digest = hashlib.sha256(f"{host['headers']} {os.path.getsize(host['compiler'] + '/zig')}".encode())
    tools = LAB / "standins" / "root" / "usr"
    for path in (*files_of(SOURCES), tools / "sbin" / "config", tools / "libexec" / "standins" / "lib" / "kernel.py"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return str(rootfs.cache_dir() / f"kernel-{digest.hexdigest()[:12]}")


def stock_kernel(root, wheel, cached):
    """Put GENERIC, as buildkernel makes it, into /boot/kernel of a host's root; built there when the cache does not have it."""
    if not wheel:
        put(f"{root}/boot/kernel/kernel", "made without a compiler\n")
        return
    cached = pathlib.Path(cached)
    if not cached.is_dir():
        build_kernel(root, wheel)
        temp = cached.with_name(f".building-{cached.name}.{os.getpid()}")
        shutil.copytree(f"{root}/boot/stock", temp)
        keep(temp, cached)
        shutil.rmtree(f"{root}/boot/stock")
        shutil.rmtree(f"{root}/usr/obj")
    shutil.copytree(cached, f"{root}/boot/kernel", dirs_exist_ok=True)


def build_kernel(root, wheel):
    zig = f"{root}/usr/libexec/ziglang"
    make = "/usr/bin/make -C /usr/src buildkernel installkernel INSTKERNNAME=stock"
    os.makedirs(zig, exist_ok=True)
    ns.bind(wheel, zig)
    try:
        done = subprocess.run(
            ["chroot", root, *make.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            env={"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "HOME": "/root"},
        )
    finally:
        ns.umount(zig)
    if done.returncode:
        last = "\n  ".join(done.stdout.splitlines()[-12:])
        raise LabError(f"the practice host's own kernel could not be built:\n  {last}")
