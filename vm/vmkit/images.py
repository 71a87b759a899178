"""Images: one given by path, or the official one of a release, fetched once, checked and kept in the cache."""

import contextlib
import fcntl
import hashlib
import http.client
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tomllib
import urllib.error
import urllib.parse
import urllib.request

from . import VmError
from .paths import VM, cache

CHUNK = 1 << 20
QCOW2 = b"QFI\xfb"
TIMEOUT = 60
WITHOUT_NETWORK = "Without a network name an image that is here: FREEBSD_IMAGE=/path/to/freebsd.qcow2 FREEBSD_SSH_KEY=/path/to/key make vm"


@contextlib.contextmanager
def locked(folder):
    """One at a time works in a folder of the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def form(path):
    """qcow2 or raw, by the file's first bytes."""
    with open(path, "rb") as file:
        return "qcow2" if file.read(4) == QCOW2 else "raw"


def room(folder, needed, what):
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise VmError(
            f"{folder}: {free >> 20} MiB free, {what} needs about {needed >> 20} MiB; SOKUHAI_CACHE names another place"
        )


# --- an image by path


def given(path):
    """The image to use for a path: itself, or what it holds, unpacked once. Returns a pathlib.Path. Raises VmError."""
    source = pathlib.Path(path).expanduser()
    if not source.is_file():
        raise VmError(f"FREEBSD_IMAGE: {source} is no file")
    if source.suffix not in (".xz", ".zst"):
        return source.resolve()
    source = source.resolve()
    about = source.stat()
    key = hashlib.sha256(f"{source}\0{about.st_size}\0{about.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache() / "unpacked"
    name = source.name.removesuffix(source.suffix)
    place = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    target = folder / f"{place}-{key}-{name}"
    with locked(folder):
        if not target.exists():
            for old in folder.glob(f"{place}-*"):
                old.unlink()
            room(folder, 5 * about.st_size, f"unpacking {source.name}")
            unpack(source, target)
    return target


def unpack(source, target):
    """Write what a .xz or .zst file holds to *target*, all or nothing."""
    part = target.with_name(target.name + ".part")
    try:
        if source.suffix == ".xz":
            with lzma.open(source) as packed, open(part, "wb") as plain:
                while chunk := packed.read(CHUNK):
                    # holes stay holes: raw images are mostly empty
                    if chunk.count(0) == len(chunk):
                        plain.seek(len(chunk), os.SEEK_CUR)
                    else:
                        plain.write(chunk)
                plain.truncate()
        else:
            if not shutil.which("zstd"):
                raise VmError(f"{source.name}: zstd is missing to unpack it: apt-get install zstd (or the like)")
            done = subprocess.run(
                ["zstd", "-q", "-d", "-f", "-o", str(part), str(source)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise VmError(f"{source}: {done.stderr.strip() or 'zstd failed'}")
    except (lzma.LZMAError, EOFError) as error:
        part.unlink(missing_ok=True)
        raise VmError(f"{source}: cannot be unpacked ({error}); is it complete?") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.rename(target)


# --- official images


def releases():
    """images.toml: {release: {"file": name, "folder": URL, "sha512": text or ""}}; MIRROR replaces the server.

    A release is called by its version, and with another root than UFS by that as well: 15.1-zfs.
    """
    with open(VM / "images.toml", "rb") as file:
        data = tomllib.load(file)
    server = (os.environ.get("FREEBSD_MIRROR") or data["server"]).rstrip("/")
    found = {}
    for release in data["release"]:
        filesystem = release.get("filesystem", "ufs")
        values = {"version": release["version"], "server": server, "filesystem": filesystem}
        found[release["version"] + ("" if filesystem == "ufs" else f"-{filesystem}")] = {
            "file": data["file"].format(**values),
            "folder": data["folder"].format(**values),
            "sha512": release.get("sha512", ""),
        }
    return found


def official(release=None, say=print):
    """The unpacked official image of a release (default: the newest in images.toml, on UFS). Raises VmError."""
    known = releases()
    release = release or max(
        (name for name in known if "-" not in name), key=lambda text: [int(part) for part in text.split(".")]
    )
    if release not in known:
        raise VmError(f"FREEBSD_RELEASE: {release} is not in images.toml, which has {', '.join(known)}")
    entry = known[release]
    folder = cache() / "official"
    with locked(folder):
        target = folder / entry["file"].removesuffix(".xz")
        if target.exists():
            return target
        packed = folder / entry["file"]
        if not packed.exists():
            digest, where = expected(entry, folder, say)
            download(f"{entry['folder']}/{entry['file']}", packed, digest, where, say)
        room(folder, 5 * packed.stat().st_size, f"unpacking {packed.name}")
        say(f"unpacking {packed.name}")
        unpack(packed, target)
        packed.unlink()
    return target


def present(release=None):
    """True when the release's image needs no network any more."""
    known = releases()
    names = [release] if release else known
    return any(
        (cache() / "official" / known[name]["file"].removesuffix(".xz")).exists() for name in names if name in known
    )


def expected(entry, folder, say):
    """(SHA-512, where it is from): the pinned one; else what an earlier fetch recorded; else the release folder's own list."""
    if entry["sha512"]:
        return entry["sha512"], "images.toml"
    pin = folder / (entry["file"] + ".sha512")
    if pin.exists():
        return pin.read_text().split()[0], str(pin)
    url = f"{entry['folder']}/CHECKSUM.SHA512"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise VmError(
            f"{entry['file']}: images.toml pins no checksum, and one fetched without https proves nothing; use an https mirror"
        )
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            text = answer.read(CHUNK).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise VmError(f"{url}: {getattr(error, 'reason', error)}. {WITHOUT_NETWORK}") from None
    digest = listed(text, entry["file"])
    if not digest:
        raise VmError(f"{url}: has no SHA-512 for {entry['file']}")
    pin.write_text(f"{digest}  {entry['file']}\n")
    say(f"{entry['file']}: images.toml pins no checksum; trusting {url} this once, recorded in {pin}")
    return digest, str(pin)


def listed(text, name):
    """The SHA-512 of a file in a list of BSD's form, `SHA512 (NAME) = HEX`, or None."""
    match = re.search(rf"^SHA512 \({re.escape(name)}\) = ([0-9a-f]{{128}})\s*$", text, re.M)
    return match.group(1) if match else None


def download(url, target, digest, where, say):
    """Fetch *url* into *target*, going on where an earlier try broke off. Nothing but the right content gets the name."""
    part = target.with_name(target.name + ".part")
    resumed = part.exists() and part.stat().st_size > 0
    say(f"fetching {url}" + (f", from byte {part.stat().st_size} on" if resumed else ""))
    transfer(url, part)
    if sha512(part) != digest and resumed:
        # what was there may have been another version's beginning
        say("the resumed file is not the right one; fetching it again")
        part.unlink()
        transfer(url, part)
    found = sha512(part)
    if found != digest:
        part.unlink()
        raise VmError(f"{url}: SHA-512 is {found[:16]}…, {where} says {digest[:16]}…; the file was thrown away")
    part.rename(target)


def transfer(url, part):
    """Append what is missing of *url* to *part*. Raises VmError; what has come so far stays for the next time."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            again = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            length = answer.headers.get("Content-Length")
            whole = int(length) + (have if again else 0) if length else None
            if whole:
                room(part.parent, whole - have if again else whole, part.name)
            with open(part, "ab" if again else "wb") as file:
                shutil.copyfileobj(answer, file, CHUNK)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            return
        raise VmError(f"{url}: {error}") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.URLError):
            raise VmError(f"{url}: {error.reason}. {WITHOUT_NETWORK}") from None
        raise VmError(f"{url}: broken off ({error}); the next try goes on from there") from None
    if whole is not None and part.stat().st_size < whole:
        raise VmError(f"{url}: broken off at {part.stat().st_size} of {whole} bytes; the next try goes on from there")


def sha512(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
