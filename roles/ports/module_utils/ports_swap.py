# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A package that is ready put in the place of the installed one, and the way back where its daemon does not answer."""

import os
import socket
import time

from ansible.module_utils.ports_judge import TAGS, full_name
from ansible.module_utils.sokuhai import host, pkg
from ansible.module_utils.sokuhai.host import Refused

#: A daemon may have one family alone.
LOOPBACK = ("127.0.0.1", "::1")
#: Seconds that the way back has at least, whatever is left of the job's time.
WAY_BACK = 600


def answers(listen):
    """Return whether something accepts on this port of a loopback address, and greets as it should. listen: {port, greeting}."""
    return any(answers_at(address, listen) for address in LOOPBACK)


def answers_at(address, listen):
    """Return the same of one *address*."""
    try:
        with socket.create_connection((address, int(listen["port"])), timeout=10) as connection:
            if not listen.get("greeting"):
                return True
            connection.settimeout(20)
            return connection.recv(200).decode("utf-8", "replace").startswith(listen["greeting"])
    except OSError:
        return False


class Swap:
    """item, settings: as ports_options has them; work: the job's process. Every step may be done twice, and raises Refused."""

    def __init__(self, item, settings, work):
        self.item, self.settings, self.work = item, settings, work

    def mine(self):
        return [package for package in pkg.installed() if package["origin"] == self.item["origin"]]

    def save(self):
        """Keep what is installed as a package of its own, and note what answers: the way back. Phase `swap` has both."""
        saved, folder = [], self.settings["saved_dir"]
        os.makedirs(folder, 0o755, exist_ok=True)
        for package in self.mine():
            name, path = package["name"], os.path.join(folder, full_name(package) + ".pkg")
            self.work.command(["pkg", "create", "-o", folder, name])
            if not os.path.exists(path):
                raise Refused("pkg create left no %s" % path)
            notes = {tag: value for tag, value in pkg.annotations(name).items() if tag in TAGS}
            saved.append({"name": name, "path": path, "locked": package["locked"], "annotations": notes})
        self.work.phase(
            "swap",
            saved=saved,
            listens=[listen for listen in self.item["listens"] if answers(listen)],
            served=bool(self.item["service"]) and host.service_pid(self.item["service"]) is not None,
        )

    def swap(self):
        """From the proved package to the running daemon."""
        name, record = self.work.record["tree"]["PKGBASE"], self.work.record
        try:
            self.install(record["package"], name)
            self.work.phase("record")
            self.annotate(name, record["notes"])
            if self.settings["lock"]:
                self.work.command(["pkg", "lock", "-yq", name])
            self.work.phase("restart")
            self.serve()
        except Refused as reason:
            raise Refused("%s. %s" % (reason, self.back())) from reason

    def back(self):
        """Return to the saved package; give a sentence about how that went."""
        saved = self.work.record["saved"]
        if not saved:
            return "Nothing of this port was installed before, so there is nothing to return to"
        self.work.allow(WAY_BACK)
        try:
            for one in saved:
                self.install(one["path"], one["name"])
                self.annotate(one["name"], one["annotations"])
                if one["locked"]:
                    self.work.command(["pkg", "lock", "-yq", one["name"]])
            self.serve()
        except Refused as reason:
            return "Returning to %s failed, too: %s" % (", ".join(one["path"] for one in saved), reason)
        return "%s is back" % ", ".join(os.path.basename(one["path"])[: -len(".pkg")] for one in saved)

    def install(self, path, name):
        """Put the package of a file in the place of whatever this port had."""
        for package in self.mine():
            if package["locked"]:
                self.work.command(["pkg", "unlock", "-yq", package["name"]])
            if package["name"] != name:
                self.work.command(["pkg", "delete", "-fy", package["name"]])
        # not pkg add -f: that leaves behind the files which only the former version had
        self.work.command(["pkg", "install", "-fyU", path])
        # pkg install says 0 also when it left a locked package as it was
        if os.path.basename(path) not in [full_name(package) + ".pkg" for package in self.mine()]:
            raise Refused("pkg install of %s left no such package" % path)

    def annotate(self, name, notes):
        have = pkg.annotations(name)
        for tag, value in sorted(notes.items()):
            if have.get(tag) != str(value):
                how = "-qyM" if tag in have else "-qyA"
                self.work.command(["pkg", "annotate", how, name, tag, str(value)])

    def serve(self):
        """Restart the daemon on what is installed now, if it ran. Raises Refused unless everything that answered before answers again."""
        service, seconds = self.item["service"], self.settings["answer_timeout"]
        if not self.work.record["served"]:
            return
        # "one": a daemon that runs without its X_enable is restarted, too
        self.work.command(["service", service, "onerestart"])
        end, silent = time.monotonic() + seconds, list(self.work.record["listens"])
        while time.monotonic() < end:
            silent = [listen for listen in silent if not answers(listen)]
            if not silent and host.service_pid(service) is not None:
                return
            time.sleep(0.5)
        raise Refused(
            "%s does not run, or does not answer on port %s, %d s after its restart"
            % (service, ", ".join(str(listen["port"]) for listen in silent) or "(any)", seconds)
        )
