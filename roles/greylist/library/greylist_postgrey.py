#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Run several instances of postgrey from one rc script, as one transaction on the host."""

DOCUMENTATION = r"""
module: greylist_postgrey
short_description: Instances of postgrey, compared with what is declared by what they are, not by what changed
description:
  - With O(state=present), writes white lists, rc script and rc.conf, and starts or restarts each instance that does not run, runs with other arguments, was
    started before its white lists or its program were last written, or does not answer. Each one started is asked about a stranger and must put him off, which
    needs its database; each one left alone is asked about an address that its white list frees. When one fails, the former files come back.
  - With O(state=absent), stops them and removes what it wrote. The databases stay.
options:
  state: {type: str, choices: [present, absent], default: present}
  program: {type: path, required: true}
  install: {type: bool, default: true, description: "The package is installed by the role: in check mode its absence is no error."}
  user: {type: str, default: postgrey}
  service: {type: str, required: true, description: Name of the rc script.}
  script: {type: path, required: true, description: Its path.}
  script_text: {type: str, default: ''}
  address: {type: str, default: 127.0.0.1}
  instances:
    type: list
    elements: dict
    required: true
    description: "{name, port, database, run_directory, flags (a list of arguments), rc (the same for rc.conf)}."
  lists:
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true}
      text: {type: str, default: ''}
  stock: {type: list, elements: path, default: [], description: White lists that the package brings.}
  probe: {type: str, default: '', description: The recipient that the white list frees.}
  maillog: {type: path, default: /var/log/maillog}
"""

RETURN = r"""
predicted: {description: postgrey is not installed yet., type: bool, returned: state=present}
restarted: {description: "Why an instance was started or restarted, by name.", type: dict, returned: state=present}
"""

import errno
import os
import pwd
import re
import secrets
import socket
import stat
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import Refused, difference, read, write

MARK = "# Written by sokuhai's role greylist"
# Seconds: how long a start may take, and after how many a service whose process is not there is given up.
PATIENCE, GONE = 20, 5
OLDEST = (1, 32)  # --privacy, --ipv4cidr and several --whitelist-x


def changed_at(path):
    """Return when *path* was last written, in seconds, or 0 where it is not there."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0


class Postgrey:
    def __init__(self, module):
        self.module = module
        self.p = module.params

    def run(self, *argv):
        return self.module.run_command(list(argv), errors="surrogateescape")

    # -- asking the host ----------------------------------------------------------------------------------------------

    def version(self):
        """Return postgrey's version, or None where it is not installed. Its Perl modules are loaded for that."""
        if not os.access(self.p["program"], os.X_OK):
            return None
        rc, out, err = self.run(self.p["program"], "--version")
        found = re.search(r"^postgrey (\d+)\.(\d+)", out, re.MULTILINE)
        if rc or not found:
            raise Refused(
                "%s does not run: %s. A module of Perl that it needs may be missing (pkg check -d postgrey)"
                % (self.p["program"], " ".join((err or out).split())[:400])
            )
        if (int(found[1]), int(found[2])) < OLDEST:
            raise Refused(
                "%s is postgrey %s.%s; this role needs 1.%d or newer"
                % (self.p["program"], found[1], found[2], OLDEST[1])
            )
        return found[0].split()[1]

    def rc(self, names):
        """Return {name: value} of the variables of rc.conf that are set, of *names*."""
        found = {}
        for name in names:
            rc, out, err = self.run("sysrc", "-n", name)
            if rc == 0:
                found[name] = out.rstrip("\n")
        return found

    def arguments(self, instance):
        """Return what the rc script starts *instance* with, as a list."""
        return ["-d", "--pidfile=%s" % self.pidfile(instance), "--dbdir=%s" % instance["database"], *instance["flags"]]

    def pidfile(self, instance):
        return "%s/%s.%s.pid" % (instance["run_directory"], self.p["service"], instance["name"])

    def process(self, instance):
        """Return (pid, what it calls itself, when it started), or None where *instance* does not run.

        postgrey names itself by its arguments. The pid file is written once, after the white lists were read.
        """
        path = self.pidfile(instance)
        try:
            started = os.stat(path).st_mtime
            pid = int((read(path) or "").strip())
        except (FileNotFoundError, ValueError):
            return None
        rc, out, err = self.run("ps", "-ww", "-o", "command=", "-p", str(pid))
        title = out.strip()
        if rc or not title.startswith("postgrey "):
            return None
        return pid, title, started

    def ask(self, instance, sender, recipient, timeout=5):
        """Send one policy request and return the answer's action, as Postfix reads it; OSError where there is none."""
        attributes = {
            "request": "smtpd_access_policy",
            "protocol_state": "RCPT",
            "protocol_name": "ESMTP",
            "client_address": "192.0.2.250",
            "client_name": "unknown",
            "helo_name": "probe.invalid",
            "sender": sender,
            "recipient": recipient,
            "instance": secrets.token_hex(4),
            "etrn_domain": "",
        }
        with socket.create_connection((self.p["address"], instance["port"]), timeout=timeout) as there:
            there.settimeout(timeout)
            there.sendall(("".join("%s=%s\n" % item for item in attributes.items()) + "\n").encode())
            answer = b""
            while not answer.endswith(b"\n\n"):
                part = there.recv(4096)
                if not part:
                    raise OSError("it closed the connection after %r" % answer.decode(errors="replace"))
                answer += part
        return answer.decode(errors="replace").strip().partition("action=")[2]

    def why(self, instance, newest):
        """Return why *instance* has to be started or restarted, or None where it is as it should be. *newest*: when its files were written."""
        now = self.process(instance)
        if now is None:
            return "did not run"
        pid, title, started = now
        # ps(1) adds the program's own name, perl, in parentheses
        if not re.fullmatch(re.escape("postgrey %s" % " ".join(self.arguments(instance))) + r"( \(\S+\))?", title):
            return "ran with other arguments"
        if started < newest:
            return "was older than its white lists or its program"
        try:
            if not self.ask(instance, "probe@probe.invalid", self.p["probe"]).startswith("DUNNO"):
                return "had not read its white list"
        except OSError:
            return "did not answer"
        return None

    # -- state=present ------------------------------------------------------------------------------------------------

    def wanted(self):
        """Return {path: (text, mode)} of the files and {name: value} of rc.conf's variables."""
        service = self.p["service"]
        files = {item["path"]: (item["text"], 0o644) for item in self.p["lists"]}
        files[self.p["script"]] = (self.p["script_text"], 0o555)
        keys = {"%s_%s_flags" % (service, instance["name"]): instance["rc"] for instance in self.p["instances"]}
        keys["%s_instances" % service] = " ".join(instance["name"] for instance in self.p["instances"])
        keys["%s_enable" % service] = "YES"
        return files, keys

    def refuse_foreign(self):
        for path in [self.p["script"], *(item["path"] for item in self.p["lists"])]:
            text = read(path)
            if text is not None and MARK not in text:
                raise Refused(
                    "greylist_service: %s is there and was not written by this role; move it away, or choose another name"
                    % path
                )

    def refuse_taken_ports(self, names):
        """Nobody else may listen where an instance of *names* is to be started; itself it may be there already."""
        for instance in self.p["instances"]:
            now = self.process(instance)
            place = "%s:%d" % (self.p["address"], instance["port"])
            if instance["name"] not in names or (now is not None and "--inet=%s" % place in now[1].split()):
                continue
            with socket.socket() as here:
                here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    here.bind((self.p["address"], instance["port"]))
                except OSError as problem:
                    if problem.errno == errno.EADDRINUSE:
                        raise Refused(
                            "greylist_%s_port: something else listens on %s (sockstat -l)" % (instance["name"], place)
                        ) from None
                    raise Refused("greylist_address: %s: %s" % (place, problem.strerror)) from None

    def present(self):
        check = self.module.check_mode
        files, keys = self.wanted()
        version = self.version()
        if version is None:
            if not (check and self.p["install"]):
                raise Refused(
                    "greylist_install: there is no %s; say greylist_install: true, or install postgrey under greylist_prefix"
                    % self.p["program"]
                )
            return {"changed": True, "predicted": True, "restarted": {}, "diff": self.diff(files, keys, {})}
        try:
            pwd.getpwnam(self.p["user"])
        except KeyError:
            raise Refused(
                "greylist_user: this host has no user %s; the package makes postgrey" % self.p["user"]
            ) from None
        missing = [path for path in self.p["stock"] if not os.path.exists(path)]
        if missing:
            raise Refused(
                "greylist_stock_lists: there is no %s; the package brings it. Say greylist_stock_lists: false to do without"
                % missing[0]
            )
        self.refuse_foreign()

        former_files = {path: (read(path), mode) for path, (text, mode) in files.items()}
        former_keys = self.rc(keys)
        new_files = [
            path
            for path, (text, mode) in files.items()
            if former_files[path][0] != text or stat.S_IMODE(os.stat(path).st_mode) != mode
        ]
        new_keys = {name: value for name, value in keys.items() if former_keys.get(name) != value}
        diff = self.diff({path: files[path] for path in new_files}, new_keys, former_keys)
        lists = [item["path"] for item in self.p["lists"]]
        # ctime of the program: a package keeps the build's mtime
        newest = max([os.stat(self.p["program"]).st_ctime, *(changed_at(path) for path in lists + self.p["stock"])])
        if any(path in new_files for path in lists):
            newest = time.time() + 1
        restarted = {
            instance["name"]: reason
            for instance in self.p["instances"]
            for reason in [self.why(instance, newest)]
            if reason
        }
        result = {
            "changed": bool(new_files or new_keys or restarted),
            "predicted": False,
            "version": version,
            "restarted": restarted,
            "diff": diff,
        }
        self.refuse_taken_ports(restarted)
        if check or not result["changed"]:
            return result
        try:
            for path in new_files:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write(path, *files[path])
            if new_keys:
                self.set_keys(new_keys)
            for instance in self.p["instances"]:
                if instance["name"] in restarted:
                    self.restart(instance)
        except (OSError, Refused) as problem:
            raise Refused("%s. %s" % (problem, self.back(former_files, former_keys, keys, restarted))) from problem
        return result

    def set_keys(self, keys):
        rc, out, err = self.run("sysrc", *("%s=%s" % item for item in keys.items()))
        if rc:
            raise Refused("sysrc: %s" % (out + err).strip())

    def restart(self, instance):
        """Start *instance* anew and have it put a stranger off, which it can only do with its database."""
        began = os.stat(self.p["maillog"]).st_size if os.path.exists(self.p["maillog"]) else 0
        word = "restart" if self.process(instance) else "start"
        # forced: a stop that waits for ever for a process that hangs would hold the run
        self.end_hanging(instance)
        rc, out, err = self.run("service", self.p["service"], word, instance["name"])
        start = time.monotonic()
        said = "%s %s: %s" % (self.p["service"], word, " ".join((out + err).split()))
        while True:
            try:
                answer = self.ask(instance, "%s@probe.invalid" % secrets.token_hex(6), "postmaster-probe@probe.invalid")
                break
            except OSError as problem:
                trouble = problem
            spent = time.monotonic() - start
            if spent > PATIENCE or (spent > GONE and self.process(instance) is None):
                raise Refused(
                    "postgrey %s does not answer on %s:%d (%s). %s%s"
                    % (instance["name"], self.p["address"], instance["port"], trouble, said, self.logged(began))
                )
            time.sleep(0.1)
        if not re.match(r"(?i)(defer|4\d\d)", answer):
            raise Refused(
                "postgrey %s answers a stranger's first attempt with “%s” and does not put it off.%s"
                % (instance["name"], answer, self.logged(began))
            )
        if self.why(instance, 0):
            raise Refused(
                "postgrey %s %s after it was started.%s" % (instance["name"], self.why(instance, 0), self.logged(began))
            )

    def end_hanging(self, instance):
        """A process that no longer answers need not take a TERM either; rc.subr would wait for it without end."""
        now = self.process(instance)
        if now is None:
            return
        try:
            self.ask(instance, "probe@probe.invalid", self.p["probe"])
        except OSError:
            for number in (15, 9):
                for _ in range(30):
                    try:
                        os.kill(now[0], number if _ == 0 else 0)
                    except ProcessLookupError:
                        return
                    time.sleep(0.1)

    def logged(self, began):
        """Return what postgrey said in the log since its size was *began* bytes."""
        try:
            with open(self.p["maillog"], errors="replace") as source:
                source.seek(began)
                lines = re.findall(r"postgrey\[\d+\]: (.*(?:FATAL|ERROR|WARNING).*)", source.read())
        except OSError:
            return ""
        return " Its log: %s" % "; ".join(dict.fromkeys(lines[-4:])) if lines else ""

    def back(self, former_files, former_keys, keys, restarted):
        """Put the former files and variables back and run the instances with them; return a sentence about it."""
        if former_files[self.p["script"]][0] is None:
            return "There was no former configuration to go back to."
        try:
            for path, (text, mode) in former_files.items():
                if text is None:
                    if os.path.exists(path):
                        os.unlink(path)
                elif read(path) != text:
                    write(path, text, mode)
            now = self.rc(keys)
            self.set_keys(
                {name: value for name, value in former_keys.items() if now.get(name) != value}
                or dict(list(former_keys.items())[:1])
            )
            gone = [name for name in keys if name in now and name not in former_keys]
            if gone:
                self.run("sysrc", "-x", *gone)
            silent = []
            for name in restarted:
                self.run("service", self.p["service"], "restart", name)
                # on which port it is to listen is in the former variables, which the rc script read: that it runs is what can be asked
                if not self.runs(next(instance for instance in self.p["instances"] if instance["name"] == name)):
                    silent.append(name)
        except (OSError, Refused) as problem:
            return "The way back failed as well: %s." % problem
        if silent:
            return "The former configuration is back, but with it %s does not run either." % " and ".join(silent)
        return "The former configuration is back in force."

    def runs(self, instance):
        """Tell whether *instance* is there and still there a second later: postgrey opens its database after it has gone into the background."""
        time.sleep(1)
        return self.process(instance) is not None

    def diff(self, files, keys, former_keys):
        made = [difference(path, read(path), text) for path, (text, _mode) in sorted(files.items())]
        if keys:
            made.append(
                difference(
                    "rc.conf",
                    "".join('%s="%s"\n' % (name, former_keys[name]) for name in sorted(keys) if name in former_keys),
                    "".join('%s="%s"\n' % item for item in sorted(keys.items())),
                )
            )
        return made

    # -- state=absent -------------------------------------------------------------------------------------------------

    def absent(self):
        files = [
            path
            for path in [self.p["script"], *(item["path"] for item in self.p["lists"])]
            if MARK in (read(path) or "")
        ]
        names = ["%s_%s_flags" % (self.p["service"], instance["name"]) for instance in self.p["instances"]]
        names += ["%s_instances" % self.p["service"], "%s_enable" % self.p["service"]]
        keys = list(self.rc(names))
        running = [instance for instance in self.p["instances"] if self.process(instance)]
        changed = bool(files or keys or running)
        if changed and not self.module.check_mode:
            for instance in running:
                # the rc script may be gone already, where a run was broken off
                if os.path.exists(self.p["script"]):
                    self.run("service", self.p["service"], "onestop", instance["name"])
                self.end(instance)
            if keys:
                rc, out, err = self.run("sysrc", "-x", *keys)
                if rc:
                    raise Refused("sysrc -x: %s" % (out + err).strip())
            # the script last: while it is there, the next run knows that there is something to remove
            for path in sorted(files, key=lambda path: path == self.p["script"]):
                os.unlink(path)
            for folder in {os.path.dirname(item["path"]) for item in self.p["lists"]}:
                if os.path.isdir(folder) and not os.listdir(folder):
                    os.rmdir(folder)
        return {"changed": changed}

    def end(self, instance):
        for number in (15, 9):
            for _ in range(30):
                now = self.process(instance)
                if now is None:
                    return
                os.kill(now[0], number)
                time.sleep(0.1)
        raise Refused("postgrey %s does not end" % instance["name"])


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "program": {"type": "path", "required": True},
            "install": {"type": "bool", "default": True},
            "user": {"type": "str", "default": "postgrey"},
            "service": {"type": "str", "required": True},
            "script": {"type": "path", "required": True},
            "script_text": {"type": "str", "default": ""},
            "address": {"type": "str", "default": "127.0.0.1"},
            "instances": {"type": "list", "elements": "dict", "required": True},
            "lists": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "path", "required": True}, "text": {"type": "str", "default": ""}},
            },
            "stock": {"type": "list", "elements": "path", "default": []},
            "probe": {"type": "str", "default": ""},
            "maillog": {"type": "path", "default": "/var/log/maillog"},
        },
        required_if=[("state", "present", ["script_text", "probe"])],
        supports_check_mode=True,
    )
    postgrey = Postgrey(module)
    try:
        result = getattr(postgrey, module.params["state"])()
    except Refused as reason:
        module.fail_json(msg=str(reason))
    except OSError as problem:
        module.fail_json(msg="greylist: %s" % problem)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
