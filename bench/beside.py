#!/usr/local/bin/python3
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""beside FOLDER ARCHIVE USER… -- COMMAND…: run a mailer on a practice host whose package is not installed there.

It sees the host's own files with the archive laid over them and FOLDER/conf over that, and has FOLDER/spool for /var/spool; what it changes
is gone with it. Returns once COMMAND runs, which must stay in the foreground; its output is FOLDER/log, FOLDER/pid names the process
whose end ends all of it. Sent there as text; standard library only.
"""

import ctypes
import os
import pathlib
import shutil
import sys
import tarfile

NEWNS, NEWPID = 0x00020000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)
#: of the users that a package's own script would make; free on a practice host
FIRST_ID = 990


def checked(result, what):
    if result:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def mount(source, target, kind=None, flags=0, data=None):
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    checked(LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3]), "mount on %s" % target)


def tree(folder, archive, users):
    """Path of the root that the mailer sees."""
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    top = folder / "tree"
    top.mkdir()
    mount("tmpfs", top, "tmpfs")
    for part in ("lower", "upper", "work", "root"):
        (top / part).mkdir()
    with tarfile.open(archive) as packed:
        packed.extractall(top / "lower", filter="fully_trusted")
    root = top / "root"
    layers = "lowerdir=%s/lower:/,upperdir=%s/upper,workdir=%s/work" % (top, top, top)
    mount("overlay", root, "overlay", data=layers)
    mount("proc", root / "proc", "proc")
    mount("/dev", root / "dev", flags=MS_BIND)
    spool = folder / "spool"
    spool.mkdir()
    mount(spool, root / "var/spool", flags=MS_BIND)
    shutil.copytree(folder / "conf", root, dirs_exist_ok=True)
    with open(root / "etc/passwd", "a") as passwd, open(root / "etc/group", "a") as group:
        for number, user in enumerate(users, FIRST_ID):
            passwd.write("%s:x:%d:%d::/var/empty:/usr/sbin/nologin\n" % (user, number, number))
            group.write("%s:x:%d:\n" % (user, number))
    return root


def main():
    folder, archive = map(pathlib.Path, sys.argv[1:3])
    end = sys.argv.index("--")
    users, command = sys.argv[3:end], sys.argv[end + 1 :]
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        problem = os.read(reader, 4096)  # empty once COMMAND has taken over
        sys.exit(problem.decode() or 0)
    try:
        os.setsid()
        checked(LIBC.unshare(NEWNS | NEWPID), "unshare")
        child = os.fork()
        if child:
            (folder / "pid").write_text(str(child))
            os._exit(0)
        root = tree(folder, archive, users)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chroot(root)
        os.chdir("/")
        os.execv(command[0], command)
    except BaseException as e:
        os.write(writer, str(e).encode())
        os._exit(1)


if __name__ == "__main__":
    main()
