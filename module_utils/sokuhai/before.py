# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host had before the first run: kept once, for ever, beside what takes its place. Standard library only, Python 3.9."""

import os
import shutil

#: The end of its name.
SUFFIX = ".before-sokuhai"


def keep(path):
    """Copy *path*, a file or a directory, with modes, owners and times to path + SUFFIX, unless there is such a copy already or nothing to copy."""
    kept = path + SUFFIX
    if os.path.lexists(kept) or not os.path.exists(path):
        return
    scratch = os.path.join(os.path.dirname(path), ".%s.sokuhai-new" % os.path.basename(kept))
    remove(scratch)
    umask = os.umask(0o077)  # a copy has its mode only once it is written
    try:
        if os.path.isdir(path):
            shutil.copytree(path, scratch, symlinks=True, copy_function=copy)
            like(path, scratch)
        else:
            copy(path, scratch)
    finally:
        os.umask(umask)
    os.rename(scratch, kept)


def restore(path):
    """Have *path* as keep() found it; the copy stays. Return whether it was otherwise; False where there is no copy."""
    kept = path + SUFFIX
    if not os.path.lexists(kept) or same(kept, path):
        return False
    scratch = os.path.join(os.path.dirname(path), ".%s.sokuhai-new" % os.path.basename(path))
    remove(scratch)
    copy(kept, scratch)
    os.rename(scratch, path)
    return True


def same(one, other):
    """Return whether two files have the same bytes, mode and owner."""
    if not os.path.exists(other):
        return False
    first, second = os.stat(one), os.stat(other)
    if any(getattr(first, name) != getattr(second, name) for name in ("st_mode", "st_uid", "st_gid", "st_size")):
        return False
    with open(one, "rb") as left, open(other, "rb") as right:
        return left.read() == right.read()


def copy(source, target, follow_symlinks=True):
    """Copy a file with its mode, times and owner: mode last, since a change of owner takes bits of it."""
    shutil.copyfile(source, target, follow_symlinks=follow_symlinks)
    like(source, target, follow_symlinks)
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
