# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One host, its kernels, and the declared one."""

import hashlib
import json
import os
import shutil

from ansible.module_utils import kernel_boot, kernel_file
from ansible.module_utils import kernel_places as places
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import version_key
from ansible.module_utils.sokuhai.job import Job

#: What is declared: option `kernel` of every module of the role.
OPTIONS = dict(
    name=dict(type="str", default=""),
    ident=dict(type="str", default="SOKUHAI"),
    base=dict(type="str", default="GENERIC"),
    lines=dict(type="list", elements="str", default=[]),
    configuration=dict(type="str", default=""),
    make_variables=dict(type="list", elements="str", default=[]),
    fd_setsize=dict(type="int", default=0),
    source=dict(type="path", default="/usr/src"),
    objects=dict(type="path", default="/usr/obj"),
    configurations=dict(type="path", default="/root/kernels"),
    jobs=dict(type="int", default=0),
    disk_objects_mib=dict(type="int", default=6144),
    disk_boot_mib=dict(type="int", default=512),
    console_access=dict(type="bool", default=False),
    reboot=dict(type="bool", default=False),
    retry=dict(type="bool", default=False),
    source_awaited=dict(type="bool", default=False),
)


def name_of(ident, inputs):
    """Return kernel.IDENT-HASH: kernels_autodetect of the loader finds every /boot/*/kernel, so it is in the boot menu under this name."""
    text = json.dumps(inputs, sort_keys=True).encode()
    return "kernel.%s-%s" % (ident, hashlib.sha256(text).hexdigest()[:8])


class Kernel:
    """want: OPTIONS' values. running, default: names of kernels; inputs: what the wanted one is made of."""

    def __init__(self, want):
        self.want = want
        bootfile = host.sysctl("kern.bootfile") or "/boot/kernel/kernel"
        self.running = os.path.basename(os.path.dirname(bootfile))
        self.userland = host.run(["freebsd-version", "-u"])[1].strip()
        self.inputs = {
            "configuration": want["configuration"],
            "version": self.userland,
            "machine": os.uname().machine,
            "fd_setsize": want["fd_setsize"],
            "make": sorted(want["make_variables"]),
        }
        self.builds = not want["name"]
        self.name = want["name"] or name_of(want["ident"], self.inputs)
        self.folder = places.folder(self.name)
        self.file = os.path.join(self.folder, "kernel")
        self.configuration = os.path.join(want["configurations"], want["ident"])
        self.job = Job(places.STATE, os.path.join(places.LOGS, self.name + ".log"))

    @property
    def default(self):
        """The kernel of the next boot, unless it is a trial."""
        return kernel_boot.default()

    def record(self, name=None):
        """Return what the role recorded of a kernel, the wanted one where *name* is None."""
        return host.load(os.path.join(places.folder(name or self.name), places.RECORD))

    def there(self):
        """Return whether the wanted kernel is installed whole: the record is written last, so a broken-off install has none."""
        if kernel_file.problem(self.file):
            return False
        record = self.record()
        same = record.get("inputs") == self.inputs and record.get("size") == os.stat(self.file).st_size
        return same or not self.builds

    def mark(self, result, reason=""):
        """Record what became of the wanted kernel's trial ("kept" or "failed"); return whether that is new."""
        record = self.record()
        # of which file: one that was put in its place since is another kernel
        verdict = {"result": result, "reason": reason, "sha256": host.sha256(self.file)}
        if record.get("trial") == verdict:
            return False
        return places.put(os.path.join(self.folder, places.RECORD), json.dumps(dict(record, trial=verdict), indent=1))

    def failed(self):
        """Return why this very kernel failed its trial, or ""."""
        trial = self.record().get("trial") or {}
        if trial.get("result") != "failed" or kernel_file.problem(self.file):
            return ""
        return trial["reason"] if trial.get("sha256", "") in ("", host.sha256(self.file)) else ""

    def own(self):
        """Return the names of the kernels that this role built."""
        return [name for name in sorted(os.listdir(places.BOOT)) if self.record(name).get("built")]


def stock_behind(userland):
    """Return (version, whether it is of another release than *userland*) of the stock kernel where it is not of that version, or ("", False).

    freebsd-update(8) looks at the files of the running kernel's ident alone. freebsd-version -k does not read loader.conf.d, so our
    kernel= there does not hide the stock one from it.
    """
    stock = host.run(["freebsd-version", "-k"])[1].strip()
    if stock in ("", userland):
        return "", False
    return stock, version_key(stock)[:2] != version_key(userland)[:2]


def discard(name):
    """Take a kernel away, with its modules and its symbols."""
    if os.path.isdir(places.folder(name)):
        shutil.rmtree(places.folder(name))
        shutil.rmtree(os.path.join(places.DEBUG, name), ignore_errors=True)
