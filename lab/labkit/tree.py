"""The stand-ins' tree, laid over the root of a practice host."""

import os
import shutil


def is_configuration(path):
    """True for a file of the stand-ins' tree that an operator or a role changes on a running host."""
    programs = ("etc/rc", "etc/rc.subr", "etc/rc.shutdown", "etc/rc.d/", "etc/defaults/")
    return path.startswith(("etc/", "boot/", "root/", "var/")) and not any(
        path == p or p.endswith("/") and path.startswith(p) for p in programs
    )


def copy_tree(source, target, skip=lambda path: False):
    """Copy the stand-ins' tree over a root: modes kept, owner root, nothing that an editor or Python left there.

    skip: says of a path relative to source whether it is left out.
    """
    for directory, dirs, files in os.walk(source):
        dirs[:] = [d for d in dirs if d != "__pycache__"]
        # a directory of the tree may be a link in the root (/bin, /sbin, /var/run): follow it, inside the root
        there = resolve_in(target, os.path.relpath(directory, source))
        os.makedirs(there, exist_ok=True)
        for name in [*files, *(d for d in dirs if os.path.islink(os.path.join(directory, d)))]:
            if name.endswith((".pyc", "~", ".swp")) or skip(os.path.relpath(os.path.join(directory, name), source)):
                continue
            origin, goal = os.path.join(directory, name), os.path.join(there, name)
            temp = goal + ".lab-new"
            if os.path.islink(origin):
                os.symlink(os.readlink(origin), temp)
            else:
                shutil.copyfile(origin, temp)
                os.chmod(temp, os.stat(origin).st_mode & 0o7777)
            os.chown(temp, 0, 0, follow_symlinks=False)
            os.rename(temp, goal)


def resolve_in(root, relative):
    """Path of `relative` below `root` with symbolic links followed as a process chrooted there would."""
    done, todo, seen = [], [p for p in relative.split("/") if p not in ("", ".")], 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        path = "/".join([root, *done, part])
        if os.path.islink(path) and seen < 40:
            seen += 1
            link = os.readlink(path)
            if link.startswith("/"):
                done = []
            todo = [p for p in link.split("/") if p not in ("", ".")] + todo
        else:
            done.append(part)
    return "/".join([root, *done])
