#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Install the sampler, its user, its rc script and its rotation, and run it, as one transaction on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitor_host
short_description: The sampler of a mail host, compared with what is declared by what it is
description:
  - With O(state=present), makes the user and the folder, writes the four files and rc.conf's variable, and starts the sampler where it does not run, was started before
    its files were written, or has written nothing for a while. A start is proved by the first line of samples; when none comes, the former files come back.
  - With O(state=absent), stops it, ends what is left of it, and removes files, variable and user. The samples stay.
options:
  state: {type: str, choices: [present, absent], default: present}
  service: {type: str, required: true, description: Name of the rc script.}
  user: {type: str, required: true, description: Whom the sampler runs as.}
  directory: {type: path, required: true, description: Folder of the samples.}
  patience: {type: int, default: 30, description: Seconds within which the first line has to come.}
  silence: {type: int, default: 180, description: Seconds without a line after which it is started anew.}
  program: &file
    type: dict
    required: true
    description: The program.
    suboptions:
      path: {type: path, required: true}
      text: {type: str, default: ''}
      mode: {type: str, default: '0644'}
  settings: {<<: *file, description: Its settings.}
  script: {<<: *file, description: The rc script.}
  newsyslog: {<<: *file, description: What newsyslog(8) reads.}
author: sokuhai
"""
RETURN = r"""
restarted: {description: "Why it was started or restarted, or empty.", type: str, returned: state=present}
"""

import os
import pwd
import shutil
import stat
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import Refused, difference, read, remove, run, write

MARK = "sokuhai's role monitor"
FILES = ("program", "settings", "script", "newsyslog")
# what a running sampler has read; newsyslog(8) reads the fourth by itself
READ_ONCE = ("program", "settings", "script")


def written(path):
    """Return when *path* was last written, s since 1970, or 0 where it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0


class Monitor:
    def __init__(self, module):
        self.module, self.p = module, module.params
        self.key = self.p["service"] + "_enable"
        self.pidfile = "/var/run/%s.pid" % self.p["service"]
        self.childfile = "/var/run/%s.child.pid" % self.p["service"]
        self.samples, self.state = (
            os.path.join(self.p["directory"], "samples.csv"),
            os.path.join(self.p["directory"], "state"),
        )

    # -- asking the host

    def files(self):
        """{path: (text, mode)} of what is declared."""
        return {self.p[part]["path"]: (self.p[part]["text"], int(self.p[part]["mode"], 8)) for part in FILES}

    def enabled(self):
        """Value of rc.conf's variable, or None."""
        rc, out, _err = run(["sysrc", "-n", self.key])
        return out.rstrip("\n") if rc == 0 else None

    def process(self, path, name):
        """pid that *path* holds, where such a process runs; else None. daemon(8) shows itself to ps(1) as "daemon: ..."."""
        text = (read(path) or "").strip()
        if not text.isdigit():
            return None
        rc, out, _err = run(["ps", "-ww", "-o", "command=", "-p", text])
        return int(text) if rc == 0 and name in out else None

    def watcher(self):
        return self.process(self.pidfile, "daemon")

    def child(self):
        return self.process(self.childfile, self.p["program"]["path"])

    def why(self):
        """Why the sampler has to be started or restarted, or "". What it reads once is its program, settings and rc script."""
        if self.watcher() is None:
            return "did not run"
        newest = max(written(self.p[part]["path"]) for part in READ_ONCE)
        # daemon(8) writes its pid file once, when it starts
        if written(self.pidfile) < newest:
            return "was older than its program or its settings"
        since = max(written(self.pidfile), written(self.samples))
        if time.time() - since > self.p["silence"] and self.room():
            return "has written nothing for %d seconds" % (time.time() - since)
        return ""

    def room(self):
        """Whether a line could be written."""
        return not os.path.isdir(self.p["directory"]) or os.statvfs(self.p["directory"]).f_bavail > 0

    def user(self):
        try:
            return pwd.getpwnam(self.p["user"])
        except KeyError:
            return None

    @staticmethod
    def rights(path):
        """Mode and owner of *path*, or "" where it is not there."""
        try:
            info = os.stat(path)
        except OSError:
            return ""
        return "%04o %s" % (stat.S_IMODE(info.st_mode), "root" if info.st_uid == 0 else info.st_uid)

    def folder(self):
        """What is wrong with the samples' folder, or "". It is root's, since newsyslog(8) renames and chowns in it as root: the sampler may write into its file and into
        folder state, and can put no link in the way."""
        user = self.user()
        try:
            top, samples, state = os.stat(self.p["directory"]), os.lstat(self.samples), os.lstat(self.state)
        except OSError:
            return "missing"
        if (
            top.st_uid
            or stat.S_IMODE(top.st_mode) != 0o755
            or user is None
            or samples.st_uid != user.pw_uid
            or state.st_uid != user.pw_uid
        ):
            return "of another owner or mode"
        return ""

    # -- state=present

    def present(self):
        files = self.files()
        for path in files:
            text = read(path)
            if text is not None and MARK not in text:
                raise Refused(
                    "monitor: %s is there and was not written by this role; move it away, or name another path" % path
                )
        user = self.user()
        if user is not None and user.pw_uid == 0:
            raise Refused("monitor_user: %s is root; name a user that has no rights" % self.p["user"])
        now = {path: self.rights(path) for path in files}
        new = [path for path, (text, mode) in files.items() if read(path) != text or now[path] != "%04o root" % mode]
        key, folder = self.enabled(), self.folder()
        why = self.why()
        restarts = [path for path in new if path != self.p["newsyslog"]["path"]]
        diff = [difference(path, read(path), files[path][0]) for path in new if read(path) != files[path][0]]
        diff += [
            difference("mode of " + path, now[path] + "\n", "%04o root\n" % files[path][1])
            for path in new
            if read(path) == files[path][0]
        ]
        if key != "YES":
            diff.append(
                difference("rc.conf", None if key is None else '%s="%s"\n' % (self.key, key), '%s="YES"\n' % self.key)
            )
        if user is None:
            diff.append(difference("user " + self.p["user"], None, self.p["user"] + "\n"))
        elif folder:
            diff.append(
                difference(self.p["directory"], folder + "\n", "root's, with %s's file and folder\n" % self.p["user"])
            )
        result = {"changed": bool(new or key != "YES" or user is None or folder or why), "restarted": why, "diff": diff}
        if self.module.check_mode or not result["changed"]:
            return result
        former = {path: (read(path), mode) for path, (text, mode) in files.items()}
        try:
            self.make_user_and_folder()
            for path in new:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write(path, *files[path])
            if key != "YES":
                self.sysrc("%s=YES" % self.key)
            if restarts or why or user is None or folder:
                result["restarted"] = why or "its files changed"
                self.start()
        except (OSError, Refused) as problem:
            raise Refused("%s. %s" % (str(problem).rstrip("."), self.back(former))) from problem
        return result

    def make_user_and_folder(self):
        if self.user() is None:
            rc, out, err = run(
                [
                    "pw",
                    "useradd",
                    "-n",
                    self.p["user"],
                    "-c",
                    "sokuhai monitor",
                    "-d",
                    "/nonexistent",
                    "-s",
                    "/usr/sbin/nologin",
                    "-w",
                    "no",
                ]
            )
            if rc or self.user() is None:
                raise Refused("pw useradd %s: %s" % (self.p["user"], (out + err).strip()))
        user = self.user()
        os.makedirs(self.p["directory"], exist_ok=True)
        os.chown(self.p["directory"], 0, 0)
        os.chmod(self.p["directory"], 0o755)
        # from here on nobody but root makes names in it
        if not stat.S_ISREG(self.kind(self.samples)):
            remove(self.samples)
            os.close(os.open(self.samples, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        os.chmod(self.samples, 0o644)
        if not stat.S_ISDIR(self.kind(self.state)):
            remove(self.state)
            os.mkdir(self.state, 0o755)
        for path in (self.samples, self.state):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    @staticmethod
    def kind(path):
        """File type bits of *path* itself, 0 where it is not there."""
        try:
            return os.lstat(path).st_mode
        except OSError:
            return 0

    def sysrc(self, *arguments):
        rc, out, err = run(["sysrc", *arguments])
        if rc:
            raise Refused("sysrc: %s" % (out + err).strip())

    def start(self):
        """Start the sampler anew and wait for its first line."""
        self.stop()
        began = time.time()
        size = os.path.getsize(self.samples) if os.path.exists(self.samples) else 0
        rc, out, err = run(["service", self.p["service"], "start"])
        said = " ".join((out + err).split())
        if rc:
            raise Refused("service %s start: %s" % (self.p["service"], said))
        if not self.room():
            # it runs, and will write once there is room
            return
        while time.time() - began < self.p["patience"]:
            # newsyslog may have turned it over meanwhile
            if (
                os.path.exists(self.samples)
                and written(self.samples) >= began - 2
                and os.path.getsize(self.samples) != size
            ):
                return
            time.sleep(0.5)
        raise Refused(
            "the sampler wrote nothing into %s within %d seconds; it says why in /var/log/messages (sokuhai-monitor). %s"
            % (self.samples, self.p["patience"], said)
        )

    def stop(self):
        """End the watcher, and with it the sampler, whatever state they are in."""
        if self.watcher() is not None and os.path.exists(self.p["script"]["path"]):
            run(["service", self.p["service"], "onestop"])
        # a script that was removed or a watcher that was killed leaves them; the watcher first, or it would start the sampler anew
        for find in (self.watcher, self.child):
            for number in (15, 9):
                for dummy in range(30):
                    pid = find()
                    if pid is None:
                        break
                    os.kill(pid, number)
                    time.sleep(0.1)
            if find() is not None:
                raise Refused("process %d of the sampler does not end" % find())

    def back(self, former):
        """Put the former files back and start the sampler with them; return a sentence about it."""
        if former[self.p["program"]["path"]][0] is None:
            return "There was no former sampler to go back to."
        try:
            for path, (text, mode) in former.items():
                if text is None:
                    remove(path)
                elif read(path) != text:
                    write(path, text, mode)
            self.start()
        except (OSError, Refused) as problem:
            return "The way back failed as well: %s" % problem
        return "The former sampler is back."

    # -- state=absent

    def absent(self):
        files = [path for path in self.files() if MARK in (read(path) or "")]
        key, user = self.enabled(), self.user()
        mine = user is not None and user.pw_gecos == "sokuhai monitor"
        running = [pid for pid in (self.watcher(), self.child()) if pid]
        changed = bool(files or key is not None or mine or running)
        if not changed or self.module.check_mode:
            return {"changed": changed}
        self.stop()
        if key is not None:
            self.sysrc("-x", self.key)
        remove(self.pidfile, self.childfile)
        shutil.rmtree(self.state, ignore_errors=True)
        # the samples are nobody's then but root's, to be read
        for name in os.listdir(self.p["directory"]) if os.path.isdir(self.p["directory"]) else []:
            os.chown(os.path.join(self.p["directory"], name), 0, 0, follow_symlinks=False)
        if mine:
            rc, out, err = run(["pw", "userdel", "-n", self.p["user"]])
            if rc:
                raise Refused("pw userdel %s: %s" % (self.p["user"], (out + err).strip()))
        # the program last: while it is there, the next run knows that there is something to remove
        for path in sorted(files, key=lambda path: path == self.p["program"]["path"]):
            remove(path)
        return {"changed": True}


def main():
    part = {
        "type": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "text": {"type": "str", "default": ""},
            "mode": {"type": "str", "default": "0644"},
        },
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "service": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "patience": {"type": "int", "default": 30},
            "silence": {"type": "int", "default": 180},
            **dict.fromkeys(FILES, part),
        },
        supports_check_mode=True,
    )
    monitor = Monitor(module)
    try:
        result = getattr(monitor, module.params["state"])()
    except Refused as reason:
        module.fail_json(msg=str(reason))
    except OSError as problem:
        module.fail_json(msg="monitor: %s" % problem)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
