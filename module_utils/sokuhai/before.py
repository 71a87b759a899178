# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host had before the first run: kept once, for ever, beside what takes its place; on disk before that comes. Python 3.9."""

import os
import shutil

from ansible.module_utils.sokuhai import host

#: The end of its name.
SUFFIX = ".before-sokuhai"


def keep(path):
    """Copy *path*, a file or a directory, with modes, owners and times to path + SUFFIX, unless there is such a copy already or nothing to copy."""
    if not os.path.lexists(path + SUFFIX) and os.path.exists(path):
        put(path, path + SUFFIX)


def put(kept, path):
    """Have *path* as *kept* is, a file or a directory, which stays. A file is replaced in one rename, a directory in two."""
    scratch = os.path.join(os.path.dirname(path), ".%s.sokuhai-new" % os.path.basename(path))
    remove(scratch)
    umask = os.umask(0o077)  # a copy has its mode only once it is written
    try:
        if os.path.isdir(kept):
            shutil.copytree(kept, scratch, symlinks=True, copy_function=copy)
            like(kept, scratch)
            for directory, _inside, _files in os.walk(scratch):
                host.flush(directory)
        else:
            copy(kept, scratch)
    finally:
        os.umask(umask)
    if os.path.isdir(path):
        remove(path)
    os.rename(scratch, path)
    host.flush(os.path.dirname(path))


def same(one, other):
    """Return whether two files, or directories of files, have the same bytes, modes and owners."""
    if not os.path.exists(other) or os.path.isdir(one) != os.path.isdir(other):
        return False
    first, second = os.stat(one), os.stat(other)
    names = ("st_mode", "st_uid", "st_gid") + (() if os.path.isdir(one) else ("st_size",))
    if any(getattr(first, name) != getattr(second, name) for name in names):
        return False
    if os.path.isdir(one):
        inside = sorted(os.listdir(one))
        return inside == sorted(os.listdir(other)) and all(
            same(os.path.join(one, name), os.path.join(other, name)) for name in inside
        )
    with open(one, "rb") as left, open(other, "rb") as right:
        return left.read() == right.read()


def copy(source, target, follow_symlinks=True):
    """Copy a file with its mode, times and owner: mode last, since a change of owner takes bits of it."""
    shutil.copyfile(source, target, follow_symlinks=follow_symlinks)
    like(source, target, follow_symlinks)
    host.flush(target)
    return target


def like(source, target, follow_symlinks=True):
    """Give *target* owner, times and mode of *source*."""
    found = os.stat(source, follow_symlinks=follow_symlinks)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=follow_symlinks)
    shutil.copystat(source, target, follow_symlinks=follow_symlinks)


def remove(path):
    """Remove a file or a directory; one that is not there is fine."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
