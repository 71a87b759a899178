#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Install the sampler, its user, its rc script and its rotation, and run it, as one transaction on the host."""

DOCUMENTATION = r"""
module: monitor_host
short_description: The sampler of a mail host, compared with what is declared by what it is
description:
  - With O(state=present), makes the user and the folder, writes the files and rc.conf's variable, and starts the sampler where it does not run, was started before
    its files were written, or has written nothing for a while. A start is proved by the first line of samples; when none comes, the former files come back.
  - With O(state=absent), stops it, ends what is left of it, and removes files, variable and user. The samples stay.
options:
  state: {type: str, choices: [present, absent], default: present}
  service: {type: str, required: true, description: Name of the rc script.}
  user: {type: str, required: true, description: Whom the sampler runs as.}
  directory: {type: path, required: true, description: Directory of the samples.}
  program: {type: path, required: true, description: Directory of the program. Nothing but its files stays there; a former version was a file of that name.}
  settings: {type: path, required: true, description: "That of the files with the settings. A file for Prometheus that it named, and does not any more, is removed."}
  patience: {type: int, default: 30, description: Seconds within which the first line has to come.}
  silence: {type: int, default: 180, description: Seconds without a line after which it is restarted.}
  hidden: {type: str, default: '', description: "What of the files' texts is a secret: shown nowhere, whatever is returned."}
  files:
    type: list
    elements: dict
    required: true
    description: The program's files, its settings, its rc script, and what newsyslog(8) reads.
    suboptions:
      path: {type: path, required: true}
      text: {type: str, default: ''}
      mode: {type: str, default: '0644'}
      restart: {type: bool, default: true, description: Whether the sampler reads it once, when it starts.}
author: sokuhai
"""
RETURN = r"""
findings: {description: "What no diff shows; the sampler was started or restarted for it.", type: list, returned: state=present}
"""

import json
import os
import pwd
import shutil
import stat
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, process, rc
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, difference, read, remove, write

MARK = "sokuhai's role monitor"
GECOS = "sokuhai monitor"


#: Of what is not there: no type, no size, written at no time.
NOTHING = os.stat_result([0] * 10)


def status(path):
    """Return os.stat_result of *path* itself, or NOTHING."""
    try:
        return os.lstat(path)
    except OSError:
        return NOTHING


def rights(path):
    """Return mode and owner of *path* as text."""
    found = status(path)
    return "%04o %s" % (stat.S_IMODE(found.st_mode), found.st_uid or "root")


def textfile(settings):
    """Return the file for Prometheus that the sampler's *settings* name (text or None), or ""."""
    try:
        return str(json.loads(settings or "")["textfile"])
    except (ValueError, KeyError, TypeError):
        return ""


class Monitor:
    def __init__(self, module):
        self.check_mode, self.p = module.check_mode, module.params
        self.files = {one["path"]: one for one in self.p["files"]}
        self.key = self.p["service"] + "_enable"
        self.pidfile = "/var/run/%s.pid" % self.p["service"]
        self.childfile = "/var/run/%s.child.pid" % self.p["service"]
        self.samples, self.state = (os.path.join(self.p["directory"], name) for name in ("samples.csv", "state"))

    # -- asking the host

    def watcher(self):
        """Return daemon(8)'s Process, or None. It writes its pid file once, when it starts."""
        return process.from_pidfile(self.pidfile, "daemon")

    def child(self):
        """Return the sampler's Process, or None."""
        return process.from_pidfile(self.childfile, self.p["program"])

    def user(self):
        try:
            return pwd.getpwnam(self.p["user"])
        except KeyError:
            return None

    def room(self):
        """Return whether a line could be written."""
        return not os.path.isdir(self.p["directory"]) or host.free_bytes(self.p["directory"]) > 0

    def faults(self):
        """Return the findings for which the sampler has to be started or restarted."""
        now = self.watcher()
        if now is None:
            return [finding("service monitor", "service monitor", "running", "not running")]
        once = [path for path, one in self.files.items() if one["restart"]]
        newer = now.older_than(*once)
        if newer:
            return [finding("process monitor", "process monitor", "started after %s" % newer, "older", once)]
        silent = time.time() - max(now.since[1], status(self.samples).st_mtime)
        if silent > self.p["silence"] and self.room():
            wanted = "a sample within %d s" % self.p["silence"]
            return [finding("service monitor", "service monitor", wanted, "none for %d s" % silent)]
        return []

    def former(self):
        """Return {path: (text, mode)} of the files that are there: those declared, and what former versions have left of the program."""
        folder, found = self.p["program"], {}
        left = [os.path.join(folder, name) for name in os.listdir(folder)] if os.path.isdir(folder) else [folder]
        for path in sorted({*self.files, *left}):
            text = read(path)
            if text is not None and (path in self.files or path == folder or MARK in text):
                found[path] = (text, stat.S_IMODE(os.stat(path).st_mode))
        return found

    def left(self, declared=""):
        """Return the file for Prometheus that the settings name that are there, where it is not the one *declared*: nothing writes it any more; or ""."""
        path = textfile(read(self.p["settings"]))
        return path if path != declared and MARK in (read(path) or "") else ""

    def folder(self):
        """Return what is wrong with the samples' folder, or "". It is root's, since newsyslog(8) renames and chowns in it as root: the sampler may write into its
        file and into folder state, and can put no link in the way."""
        user, top, *own = self.user(), *map(status, (self.p["directory"], self.samples, self.state))
        if NOTHING in (top, *own):
            return "missing"
        right = user is not None and top.st_uid == 0 and stat.S_IMODE(top.st_mode) == 0o755
        return "" if right and all(one.st_uid == user.pw_uid for one in own) else "of another owner or mode"

    # -- state=present

    def present(self):
        user, former, folder, findings = self.user(), self.former(), self.folder(), self.faults()
        for path, (text, _mode) in former.items():
            if MARK not in text:
                raise Refused(
                    "monitor: %s is there and was not written by this role; move it away, or name another path" % path
                )
        if user is not None and user.pw_uid == 0:
            raise Refused("monitor_user: %s is root; name a user that has no rights" % self.p["user"])
        gone = {path: difference(path, former[path][0], None) for path in former if path not in self.files}
        new = {path: entry for path in self.files if (entry := self.differs(path))}
        left = self.left(textfile(self.files[self.p["settings"]]["text"]))
        changes, diff = rc.compare({self.key: "YES"}), [*gone.values(), *new.values()]
        if left:
            diff.append(difference(left, read(left), None))
        if changes:
            diff.append(rc.difference(changes))
        if user is None:
            name = "user " + self.p["user"]
            findings.append(finding(name, name, "there", "missing"))
        elif folder:
            wanted = "root's, 0755, with samples.csv and state of %s's" % self.p["user"]
            findings.append(finding(self.p["directory"], self.p["directory"], wanted, folder))
        result = {"changed": bool(diff or findings), "findings": findings, "diff": diff}
        if self.check_mode or not result["changed"]:
            return result
        try:
            self.make_user_and_folder()
            self.forget(left)
            self.replace(gone, {path: (self.files[path]["text"], int(self.files[path]["mode"], 8)) for path in new})
            rc.apply(changes)
            if findings or gone or any(self.files[path]["restart"] for path in new):
                self.start()
        except (OSError, Refused) as problem:
            raise Refused("%s. %s" % (str(problem).rstrip("."), self.back(former))) from problem
        return result

    def differs(self, path):
        """Return an entry of the diff for the file *path*, or None where it is as declared."""
        there, text = read(path), self.files[path]["text"]
        if there != text:
            return difference(path, there, text)
        now, wanted = rights(path), "%s root" % self.files[path]["mode"]
        return difference("mode of " + path, now + "\n", wanted + "\n") if now != wanted else None

    def forget(self, left):
        """Remove the file *left*, while the settings still name it: a run that is killed here is repeated. The sampler would write it again."""
        if left:
            self.stop()
            remove(left, left + ".new")

    @staticmethod
    def replace(gone, files):
        """Remove the files *gone*, then write *files*, {path: (text, mode)}: a file may have been where a folder comes, or a folder that is empty then."""
        remove(*gone)
        for path, (text, mode) in files.items():
            if os.path.isdir(path):
                os.rmdir(path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write(path, text, mode)

    def make_user_and_folder(self):
        if self.user() is None:
            argv = ["pw", "useradd", "-n", self.p["user"], "-c", GECOS, "-d", "/nonexistent", "-s", "/usr/sbin/nologin"]
            code, out, err = host.run([*argv, "-w", "no"])
            if code or self.user() is None:
                raise Refused("pw useradd %s: %s" % (self.p["user"], (out + err).strip()))
        user = self.user()
        os.makedirs(self.p["directory"], exist_ok=True)
        os.chown(self.p["directory"], 0, 0)
        os.chmod(self.p["directory"], 0o755)
        # from here on nobody but root makes names in it
        if not stat.S_ISREG(status(self.samples).st_mode):
            remove(self.samples)
            os.close(os.open(self.samples, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        os.chmod(self.samples, 0o644)
        if not stat.S_ISDIR(status(self.state).st_mode):
            remove(self.state)
            os.mkdir(self.state, 0o755)
        for path in (self.samples, self.state):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def start(self):
        """Restart the sampler and wait for its first line."""
        self.stop()
        began, before = time.time(), status(self.samples)
        code, said = host.service(self.p["service"], "start")
        if code:
            raise Refused("service %s start: %s" % (self.p["service"], said))

        def wrote():
            # newsyslog may have rotated it meanwhile
            now = status(self.samples)
            return now.st_mtime >= began - 2 and now.st_size != before.st_size

        # without room it runs, and will write once there is some
        if self.room() and not host.wait_until(wrote, self.p["patience"], 0.5):
            raise Refused(
                "the sampler wrote nothing into %s within %d seconds; see /var/log/messages (sokuhai-monitor). %s"
                % (self.samples, self.p["patience"], said)
            )

    def stop(self):
        """End the watcher, and with it the sampler, whatever state they are in."""
        if self.watcher() is not None:
            host.service(self.p["service"], "onestop")
        # a script that was removed or a watcher that was killed leaves them; the watcher first, or it would restart the sampler
        for find in (self.watcher, self.child):
            for number in (15, 9):
                if self.ends(find, number):
                    break
            else:
                raise Refused("process %d of the sampler does not end" % find().pid)

    @staticmethod
    def ends(find, number):
        """Send the signal *number* until find() finds nothing, for three seconds; return whether it came to that."""

        def gone():
            found = find()
            if found:
                os.kill(found.pid, number)
            return not found

        return host.wait_until(gone, 3, 0.1)

    def back(self, former):
        """Put the former files back and start the sampler with them; return a sentence about it."""
        if not any(path.startswith(self.p["program"]) for path in former):
            return "There was no previous sampler to go back to."
        try:
            self.replace([path for path in self.files if path not in former], former)
            self.start()
        except (OSError, Refused) as problem:
            return "The way back failed as well: %s" % problem
        return "The previous sampler is back."

    # -- state=absent

    def absent(self):
        files = [path for path, (text, _mode) in self.former().items() if MARK in text]
        changes, user = rc.compare({self.key: None}), self.user()
        mine = user is not None and user.pw_gecos == GECOS
        running = self.watcher() or self.child()
        left = self.left()
        result = {"changed": bool(files or changes or mine or running or left)}
        if not result["changed"] or self.check_mode:
            return result
        self.stop()
        self.forget(left)
        rc.apply(changes)
        remove(self.pidfile, self.childfile)
        shutil.rmtree(self.state, ignore_errors=True)
        # the samples are nobody's then but root's, to be read
        for name in os.listdir(self.p["directory"]) if os.path.isdir(self.p["directory"]) else []:
            os.chown(os.path.join(self.p["directory"], name), 0, 0, follow_symlinks=False)
        if mine:
            code, out, err = host.run(["pw", "userdel", "-n", self.p["user"]])
            if code:
                raise Refused("pw userdel %s: %s" % (self.p["user"], (out + err).strip()))
        # the program last: while it is there, the next run knows that there is something to remove
        remove(*sorted(files, key=lambda path: path.startswith(self.p["program"])))
        try:
            os.rmdir(self.p["program"])
        except OSError:
            pass  # there is none, or somebody else's file in it
        return result


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "service": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "program": {"type": "path", "required": True},
            "settings": {"type": "path", "required": True},
            "patience": {"type": "int", "default": 30},
            "silence": {"type": "int", "default": 180},
            "hidden": {"type": "str", "default": "", "no_log": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "text": {"type": "str", "default": ""},
                    "mode": {"type": "str", "default": "0644"},
                    "restart": {"type": "bool", "default": True},
                },
            },
        },
        supports_check_mode=True,
    )
    host.answer(module, lambda: getattr(Monitor(module), module.params["state"])())


if __name__ == "__main__":
    main()
