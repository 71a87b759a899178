#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Configure and prove Dovecot as an authentication service, as one transaction on the host."""

DOCUMENTATION = r"""
module: sasl_dovecot
short_description: Dovecot as Postfix's authentication service
description:
  - With O(state=present), asks the installed Dovecot for its version, stages the configuration in that version's syntax, has
    C(doveconf) read it, and only then replaces the old one, which is kept beside it. Writes the passwd-file. Says whether the
    running master is older than what it should have read.
  - With O(state=proved), connects to the socket as Postfix does and reads the handshake.
  - With O(state=reverted), puts back the configuration that the last O(state=present) replaced.
  - With O(state=absent), stops the service and removes both files, only where the configuration carries this role's mark.
options:
  state: {type: str, choices: [present, proved, reverted, absent], default: present}
  prefix: {type: path, required: true, description: Where the package lives.}
  config: {type: path, required: true, description: Dovecot's main configuration file.}
  passwd_file: {type: path, required: true}
  syntaxes: {type: dict, description: "Text of the configuration file by Dovecot's major.minor version, for state=present."}
  predicted_version: {type: str, default: '2.4', description: "Syntax shown in check mode where Dovecot is not installed yet."}
  users:
    type: list
    elements: dict
    suboptions:
      name: {type: str, required: true}
      password_hash: {type: str, required: true}
  replace: {type: bool, default: false, description: Take over a configuration that this role did not write.}
  socket: {type: path, required: true}
  socket_owner: {type: str, default: postfix}
  socket_group: {type: str, default: postfix}
  mechanisms: {type: list, elements: str}
  dialogue: {type: bool, default: false, description: "state=proved also has an invented user refused, which takes the two seconds of Dovecot's failure delay."}
"""

RETURN = r"""
version: {description: "Dovecot's version, or the predicted one followed by the word predicted.", type: str, returned: state=present}
predicted: {description: Dovecot is not installed yet., type: bool, returned: state=present}
running: {description: A master process runs., type: bool, returned: state=present}
stale: {description: The running master is older than its configuration or its program., type: bool, returned: state=present}
replaced: {description: A former configuration was kept for state=reverted., type: bool, returned: state=present}
mechanisms: {description: What the socket offers., type: list, returned: state=proved}
"""

import base64
import grp
import os
import pwd
import re
import secrets
import signal
import socket
import stat
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import Refused, difference, read, write

MARK = "# Written by sokuhai's role sasl"


def attributes_differ(path, mode, uid, gid):
    """Tell whether the file *path* has another mode (int), owner or group (ids) than wanted."""
    now = os.stat(path)
    return (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) != (mode, uid, gid)


class Dovecot:
    def __init__(self, module):
        self.module = module
        self.p = module.params
        self.program = os.path.join(self.p["prefix"], "sbin", "dovecot")
        self.doveconf = os.path.join(self.p["prefix"], "bin", "doveconf")
        self.doveadm = os.path.join(self.p["prefix"], "bin", "doveadm")
        self.previous = self.p["config"] + ".previous"

    def run(self, *argv):
        return self.module.run_command(list(argv), errors="surrogateescape")

    # -- asking -----------------------------------------------------------------------------------------------------

    def version(self):
        """Return Dovecot's version as it says it (``2.3.21.1``), or None where it is not installed."""
        if not os.access(self.program, os.X_OK):
            return None
        rc, out, err = self.run(self.program, "--version")
        found = re.match(r"\d+\.\d+[\w.]*", out)
        if rc or not found:
            raise Refused("%s --version answered %r" % (self.program, (out + err).strip()))
        return found.group(0)

    def syntax(self, version):
        """Return the configuration text for *version*: the newest syntax that is not newer than the program."""
        wanted = [int(part) for part in re.findall(r"\d+", version)[:2]]
        fitting = [
            (key, text)
            for key, text in (
                (tuple(int(n) for n in name.split(".")), text) for name, text in self.p["syntaxes"].items()
            )
            if list(key) <= wanted
        ]
        if not fitting:
            raise Refused(
                "Dovecot %s is older than the oldest syntax this role writes (%s)" % (version, min(self.p["syntaxes"]))
            )
        return max(fitting)[1]

    def master(self):
        """Return (pid, time the master wrote its pid file), or None where no master runs.

        Dovecot's master writes base_dir/master.pid once, when it starts, so the file's age is the age of the process.
        """
        # by name and with its name: 2.4 neither lists base_dir with -a nor shows it with -h
        rc, out, err = self.run(self.doveconf, "-c", self.p["config"], "base_dir")
        found = re.search(r"^base_dir = (/\S*)", out, re.MULTILINE)
        if rc or not found:
            return None
        path = os.path.join(found[1], "master.pid")
        try:
            with open(path) as source:
                pid = int(source.read())
            os.kill(pid, 0)
            return pid, os.stat(path).st_mtime
        except (OSError, ValueError):
            return None

    # -- state=present ------------------------------------------------------------------------------------------------

    def passwd_text(self):
        return "".join(
            "%s:%s\n" % (user["name"], user["password_hash"])
            for user in sorted(self.p["users"], key=lambda user: user["name"])
        )

    def refuse_foreign(self, old):
        if old is None or MARK in old or self.p["replace"]:
            return
        example = read(os.path.join(os.path.dirname(self.p["config"]), "example-config", "dovecot.conf"))
        if old == example:
            return
        raise Refused(
            "sasl_replace_config: %s was not written by this role. It may serve IMAP or POP3, which this role would end. "
            "Say sasl_replace_config: true to have it replaced (a copy stays beside it), or sokuhai_submission: false"
            % self.p["config"]
        )

    def refuse_other_instance(self):
        rc, out, err = self.run("sysrc", "-qn", "dovecot_config")
        declared = out.split() if rc == 0 else []
        if declared and self.p["config"] not in declared:
            raise Refused(
                "sasl_config: rc.conf starts Dovecot with dovecot_config=%r, not with %s; make them agree"
                % (" ".join(declared), self.p["config"])
            )

    def refuse_missing_postfix(self):
        directory = os.path.dirname(self.p["socket"])
        try:
            pwd.getpwnam(self.p["socket_owner"])
            grp.getgrnam(self.p["socket_group"])
        except KeyError:
            raise Refused(
                "sasl_socket_owner: this host has no user or group %s:%s; Postfix is installed before Dovecot"
                % (self.p["socket_owner"], self.p["socket_group"])
            ) from None
        if not os.path.isdir(directory):
            raise Refused(
                "sasl_queue_directory: %s does not exist; Postfix is installed before Dovecot, and its queue_directory must be this"
                % directory
            )

    def refuse_unknown_schemes(self):
        wanted = sorted(
            {re.match(r"\{([^}]*)\}", user["password_hash"]).group(1).split(".")[0] for user in self.p["users"]}
        )
        if not wanted:
            return
        rc, out, err = self.run(self.doveadm, "pw", "-l")
        known = out.split()
        missing = [scheme for scheme in wanted if scheme not in known]
        if rc == 0 and missing:
            raise Refused(
                "sasl_users: this Dovecot does not know %s; it knows %s"
                % (", ".join(missing), ", ".join(sorted(known)))
            )

    def check_staged(self, text):
        """Have doveconf read *text* from a file of its own, beside the real one so that relative includes mean the same."""
        staged = "%s.staged" % self.p["config"]
        write(staged, text, 0o600, (0, 0))
        try:
            rc, out, err = self.run(self.doveconf, "-n", "-c", staged)
        finally:
            os.unlink(staged)
        if rc:
            raise Refused(
                "doveconf refuses the new configuration, the old one stays: %s"
                % err.strip().replace(staged, self.p["config"])
            )

    def present(self):
        version = self.version()
        old = read(self.p["config"])
        if version is None:
            if not self.module.check_mode:
                raise Refused(
                    "sasl_install: there is no %s; say sasl_install: true, or install Dovecot under sasl_prefix"
                    % self.program
                )
            text = self.syntax(self.p["predicted_version"])
            self.refuse_foreign(old)
            return {
                "changed": True,
                "predicted": True,
                "version": self.p["predicted_version"] + " (predicted)",
                "running": False,
                "stale": False,
                "replaced": False,
                "diff": [self.config_diff(old, text), self.users_diff()],
            }
        text = self.syntax(version)
        uid, gid = 0, 0
        dovecot = grp.getgrnam("dovecot").gr_gid
        self.refuse_foreign(old)
        self.refuse_other_instance()
        if not self.module.check_mode:
            self.refuse_missing_postfix()
        self.refuse_unknown_schemes()
        config_changed = old != text
        if config_changed:
            self.check_staged(text)
        users_changed = read(self.p["passwd_file"]) != self.passwd_text()
        result = {"version": version, "predicted": False, "diff": [], "replaced": False}
        if config_changed:
            result["diff"].append(self.config_diff(old, text))
        if users_changed:
            result["diff"].append(self.users_diff())
        config_mode = old is not None and attributes_differ(self.p["config"], 0o644, uid, gid)
        users_mode = not users_changed and attributes_differ(self.p["passwd_file"], 0o640, uid, dovecot)
        if not self.module.check_mode:
            # the passwd-file first: a configuration that names a file which is not there would refuse everybody
            if users_changed:
                write(self.p["passwd_file"], self.passwd_text(), 0o640, (uid, dovecot))
            elif users_mode:
                os.chown(self.p["passwd_file"], uid, dovecot)
                os.chmod(self.p["passwd_file"], 0o640)
            if config_changed:
                if old is not None:
                    write(self.previous, old, 0o600, (uid, gid))
                    result["replaced"] = True
                write(self.p["config"], text, 0o644, (uid, gid))
            elif config_mode:
                os.chown(self.p["config"], uid, gid)
                os.chmod(self.p["config"], 0o644)
        master = self.master() if old is not None or not self.module.check_mode else None
        result["running"] = master is not None
        # ctime of the program: a package keeps the build's mtime
        newest = max(
            os.stat(self.p["config"]).st_mtime if os.path.exists(self.p["config"]) else 0,
            os.stat(self.program).st_ctime,
        )
        result["stale"] = master is not None and (master[1] < newest or (config_changed and self.module.check_mode))
        result["changed"] = config_changed or users_changed or config_mode or users_mode
        return result

    def config_diff(self, old, new):
        return difference(self.p["config"], old, new)

    def users_diff(self):
        """Names only. A hash in a diff would be in the log of whoever ran it."""

        def names(text):
            return "".join("%s\n" % line.split(":", 1)[0] for line in (text or "").splitlines())

        before, after = read(self.p["passwd_file"]), self.passwd_text()
        kept = set((before or "").splitlines())
        shown = "".join(
            "%s%s\n" % (line.split(":", 1)[0], "" if before is None or line in kept else " (new hash)")
            for line in after.splitlines()
        )
        return difference(self.p["passwd_file"], names(before), shown)

    # -- state=proved -------------------------------------------------------------------------------------------------

    def proved(self):
        """Speak Dovecot's authentication protocol over the socket, as Postfix's xsasl_dovecot client does."""
        path = self.p["socket"]
        deadline = time.monotonic() + 15
        while True:
            try:
                return self.conversation(path)
            except OSError as problem:
                # a service that was just started makes its sockets a moment later
                if time.monotonic() > deadline:
                    raise Refused(
                        "Dovecot's socket %s does not answer: %s. See /var/log/maillog" % (path, problem)
                    ) from problem
                time.sleep(0.25)

    def conversation(self, path):
        now = os.stat(path)
        owner, group = pwd.getpwnam(self.p["socket_owner"]).pw_uid, grp.getgrnam(self.p["socket_group"]).gr_gid
        if not stat.S_ISSOCK(now.st_mode):
            raise Refused("%s is not a socket" % path)
        if (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) != (0o660, owner, group):
            # Dovecot makes the socket, then gives it its owner: within that moment this is no error yet
            raise OSError(
                "it has mode %o, owner %d:%d instead of 660, %d:%d"
                % (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid, owner, group)
            )
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            lines = client.makefile("rw", encoding="utf-8", newline="\n")
            lines.write("VERSION\t1\t1\nCPID\t%d\n" % os.getpid())
            lines.flush()
            greeting = []
            for line in lines:
                greeting.append(line.rstrip("\n").split("\t"))
                if greeting[-1][0] == "DONE":
                    break
            else:
                raise OSError("connection closed within the handshake")
            if ["VERSION", "1"] not in [fields[:2] for fields in greeting]:
                raise Refused("%s does not speak version 1 of Dovecot's authentication protocol: %r" % (path, greeting))
            offered = sorted(fields[1].lower() for fields in greeting if fields[0] == "MECH")
            if offered != sorted(self.p["mechanisms"]):
                raise Refused(
                    "%s offers %s, declared are %s"
                    % (path, " ".join(offered) or "nothing", " ".join(sorted(self.p["mechanisms"])))
                )
            if self.p["dialogue"] and "plain" in offered:
                self.refusal(lines, path)
        return {"changed": False, "mechanisms": offered}

    def refusal(self, lines, path):
        """An invented user must be refused as unknown; a temporary failure means that Dovecot cannot read its passwd-file."""
        response = base64.b64encode(
            ("\0nobody-%s\0%s" % (secrets.token_hex(6), secrets.token_hex(6))).encode()
        ).decode()
        lines.write("AUTH\t1\tPLAIN\tservice=smtp\tsecured\tnologin\tresp=%s\n" % response)
        lines.flush()
        answer = next(iter(lines), "").rstrip("\n").split("\t")
        if answer[:2] != ["FAIL", "1"] or "temp" in answer or any(field.startswith("code=temp") for field in answer):
            raise Refused(
                "%s answers an unknown user with %s instead of a refusal; see /var/log/maillog"
                % (path, " ".join(answer[:1] + answer[2:]))
            )

    # -- the ways back ------------------------------------------------------------------------------------------------

    def reverted(self):
        old = read(self.previous)
        if old is None:
            raise Refused("%s does not exist, there is nothing to go back to" % self.previous)
        if not self.module.check_mode:
            write(self.p["config"], old, 0o644, (0, 0))
        return {"changed": True}

    def absent(self):
        old = read(self.p["config"])
        if old is None or MARK not in old:
            return {"changed": False}
        if not self.module.check_mode:
            # stop first: when this is broken off, the mark is still there and the next run goes on
            if self.master() is not None:
                rc, out, err = self.run("service", "dovecot", "onestop")
                self.end_master("service dovecot onestop: %s" % (out + err).strip())
            rc, out, err = self.run("sysrc", "dovecot_enable=NO")
            if rc:
                raise Refused("sysrc dovecot_enable=NO: %s" % (out + err).strip())
            for path in (self.p["passwd_file"], self.previous, self.p["config"]):
                if os.path.exists(path):
                    os.unlink(path)
        return {"changed": True, "diff": [self.config_diff(old, "")]}

    def end_master(self, complaint):
        """The port's rc script does nothing at all, not even onestop, once dovecot_enable is NO: then the master is asked itself."""
        for attempt in range(40):
            master = self.master()
            if master is None:
                return
            if attempt == 4:
                os.kill(master[0], signal.SIGTERM)
            time.sleep(0.25)
        raise Refused(complaint)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "proved", "reverted", "absent"], "default": "present"},
            "prefix": {"type": "path", "required": True},
            "config": {"type": "path", "required": True},
            "passwd_file": {"type": "path", "required": True, "no_log": False},
            "syntaxes": {"type": "dict"},
            "predicted_version": {"type": "str", "default": "2.4"},
            "users": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "password_hash": {"type": "str", "required": True, "no_log": True},
                },
            },
            "replace": {"type": "bool", "default": False},
            "socket": {"type": "path", "required": True},
            "socket_owner": {"type": "str", "default": "postfix"},
            "socket_group": {"type": "str", "default": "postfix"},
            "mechanisms": {"type": "list", "elements": "str", "default": []},
            "dialogue": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["syntaxes"])],
        supports_check_mode=True,
    )
    dovecot = Dovecot(module)
    try:
        result = getattr(dovecot, module.params["state"])()
    except Refused as reason:
        module.fail_json(msg=str(reason))
    except (OSError, KeyError) as problem:
        module.fail_json(msg="%s: %s" % (module.params["config"], problem))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
