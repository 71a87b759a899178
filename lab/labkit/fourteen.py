"""What a practice host of the older generation answers as FreeBSD 14 does, where 14 differs from 15.0 (docs/releases.md).

The stand-ins are written as 15.0's; each change here is a text of one of their files with the text that takes its place, and one that is not
there is an error: the two would drift apart otherwise. What a release has under another name is moved.
"""

import os
import pathlib
import struct

from . import LabError
from .tree import resolve_in

GENERATION = "bookworm"
RELEASE, OSVERSION = "14.4-RELEASE", 1404000  # sys/sys/param.h of releng/14.4
RELEASE_15, OSVERSION_15 = "15.0-RELEASE", 1500068
NAME = (RELEASE_15, RELEASE)
NUMBER = (str(OSVERSION_15), str(OSVERSION))

#: usr.sbin/pkg/FreeBSD.conf.quarterly of stable/14
REPOSITORY = """\
FreeBSD: {
  url: "pkg+https://pkg.FreeBSD.org/${ABI}/quarterly",
  mirror_type: "srv",
  signature_type: "fingerprints",
  fingerprints: "/usr/share/keys/pkg",
  enabled: yes
}
"""

#: {path in the host's root: ((text, its place), ...)}
TEXTS = {
    "usr/bin/freebsd-version": (NAME,),
    "usr/bin/uname": (NAME, NUMBER),
    "usr/libexec/standins/boot": (NAME, NUMBER),
    "usr/bin/cc": (("freebsd15.0", "freebsd14.4"),),
    "usr/libexec/standins/sitecustomize.py": (NAME, ("freebsd15", "freebsd14")),
    "usr/libexec/standins/pkg": (
        ('("VERSION_MAJOR", "15"), ("VERSION_MINOR", "0")', '("VERSION_MAJOR", "14"), ("VERSION_MINOR", "4")'),
    ),
    "usr/libexec/standins/lib/repository.py": (
        NUMBER,
        ("FreeBSD:15:", "FreeBSD:14:"),
        ('"FreeBSD-ports"', '"FreeBSD"'),
    ),
    # SB_MAX of sys/sys/sockbuf.h
    "usr/libexec/standins/lib/oid.py": (
        ('"kern.ipc.maxsockbuf", UL, "w", 8388608', '"kern.ipc.maxsockbuf", UL, "w", 2097152'),
    ),
    "etc/os-release": (("15.0", "14.4"),),
    "etc/defaults/rc.conf": (("blocklistd_", "blacklistd_"),),
    "usr/src/sys/conf/newvers.sh": (('REVISION="15.0"', 'REVISION="14.4"'),),
    "usr/src/sys/amd64/conf/GENERIC": (("options \tCOMPAT_FREEBSD14\n", ""),),
    # contrib/blocklist/libexec/blacklistd-helper
    "usr/libexec/blocklistd-helper": (("! /etc/rc.d/pf status >/dev/null 2>&1", "[ ! -f /etc/pf.conf ]"),),
}
#: What 15 calls blocklist and 14 blacklist, in name and text.
RENAMED = (
    "etc/blocklistd.conf",
    "etc/rc.d/blocklistd",
    "usr/libexec/blocklistd-helper",
    "usr/libexec/standins/lib/blocklist.py",
    "usr/sbin/blocklistctl",
    "usr/sbin/blocklistd",
)
HEADERS = ("usr/include/sys/param.h", "usr/include/osreldate.h", "usr/src/sys/sys/param.h")


def older(path, pairs, again=False):
    """Have the text of a file be 14's. again: it may be that already, or not be there. Raises LabError where it is not the text that *pairs* know."""
    if again and not path.exists():
        return
    text = path.read_text()
    for now, then in pairs:
        if now not in text and not again:
            raise LabError(f"{path}: {now!r} is not in it any more: look at labkit/fourteen.py")
        text = text.replace(now, then)
    path.write_text(text)


def lay(root, again=False):
    """Make the stand-ins, sources and headers that were laid over a host's root FreeBSD 14's. again: over a host that is in use, which keeps its configuration."""
    for relative, pairs in TEXTS.items():
        older(pathlib.Path(resolve_in(root, relative)), pairs, again)
    if not again:
        pathlib.Path(resolve_in(root, "etc/pkg/FreeBSD.conf")).write_text(REPOSITORY)
    for relative in RENAMED:
        path = pathlib.Path(resolve_in(root, relative))
        older(path, (("blocklist", "blacklist"),), again=True)
        if path.exists():
            os.rename(path, path.with_name(path.name.replace("blocklist", "blacklist")))
    for relative in HEADERS:
        header = pathlib.Path(resolve_in(root, relative))
        if header.exists():
            older(header, (NUMBER,), again)


def kernel(root):
    """Have the kernel that a host starts with say that it is 14's: its sources are 15.0's, and it is cached for both."""
    path = pathlib.Path(f"{root}/boot/kernel/kernel")
    content = path.read_bytes()
    for now, then in (
        (RELEASE_15.encode(), RELEASE.encode()),
        (struct.pack("<i", OSVERSION_15), struct.pack("<i", OSVERSION)),
    ):
        content = content.replace(now, then)
    path.write_bytes(content)
