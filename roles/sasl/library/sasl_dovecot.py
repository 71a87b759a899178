#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Dovecot as an authentication service, as one transaction on the host."""

DOCUMENTATION = r"""
module: sasl_dovecot
short_description: Dovecot as Postfix's authentication service
description:
  - With O(state=present), installs the packages where there is no Dovecot, asks it for its version, stages the configuration in that version's syntax, has
    C(doveconf) read it, and only then replaces the old one, which is kept beside it. Writes the passwd-file and rc.conf's variable. Starts the
    master, or restarts it where it is older than its configuration or its program, and connects to the socket as Postfix does. Where
    that fails, the previous configuration comes back.
  - A Dovecot that serves with a configuration of its owner's is kept: one file with a listener is added where the configuration includes it, C(doveconf) reads
    both together before, and Dovecot reloads. Users and passwords are its own.
  - With O(state=absent), stops the service and removes both files, only where the configuration carries this role's mark; or removes the file that was added.
options:
  state: {type: str, choices: [present, absent], default: present}
  packages: {type: list, elements: str, description: Packages that are installed where there is no Dovecot.}
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
      password_hash: {type: str, default: "", description: "Empty for all where the users are those of the owner's Dovecot."}
  replace: {type: bool, default: false, description: Take over a configuration that this role did not write.}
  listener: {type: str, description: "Text of the file that is added to the configuration of the owner's Dovecot; CLIENT_LIMIT stands for the number."}
  client_limit: {type: int, description: "Connections that Postfix may have, beside those of the owner's Dovecot."}
  socket: {type: path, description: "Where Postfix connects, for state=present."}
  socket_owner: {type: str, default: postfix}
  socket_group: {type: str, default: postfix}
  mechanisms: {type: list, elements: str, description: What the socket has to offer.}
"""

RETURN = r"""
version: {description: "Dovecot's version, or the predicted one.", type: str, returned: state=present}
predicted: {description: Dovecot is not installed yet., type: bool, returned: state=present}
findings: {description: What differs besides texts of files., type: list, returned: always}
step: {description: "Where a change failed: doveconf, socket.", type: str, returned: failure}
restored: {description: The previous configuration is in force again., type: bool, returned: failure}
"""

import grp
import os
import pwd
import re
import signal
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sasl_beside import Beside
from ansible.module_utils.sasl_socket import prove
from ansible.module_utils.sokuhai import before, foreign_dovecot, host, leftovers, pkg, process, rc
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, difference, read, write

MARK = foreign_dovecot.MARK
ENABLED = {"dovecot_enable": "YES"}
#: Seconds that a start may take until the socket answers.
PATIENCE = 15


class Dovecot:
    """outcome: what a failure leaves, as data: the step that failed, and whether the previous configuration is in force again."""

    def __init__(self, params, check_mode):
        self.p, self.check_mode, self.outcome = params, check_mode, {}
        self.program = os.path.join(params["prefix"], "sbin", "dovecot")
        self.doveconf, self.doveadm = (os.path.join(params["prefix"], "bin", name) for name in ("doveconf", "doveadm"))
        self.config, self.passwd_file = params["config"], params["passwd_file"]
        self.previous = self.config + ".previous"

    # -- asking -----------------------------------------------------------------------------------------------------

    def version(self):
        """Return Dovecot's version as it prints it (``2.3.21.1``), or None where it is not installed."""
        if not os.access(self.program, os.X_OK):
            return None
        status, out, err = host.run([self.program, "--version"])
        found = re.match(r"\d+\.\d+[\w.]*", out)
        if status or not found:
            raise Refused("%s --version answered %r" % (self.program, (out + err).strip()))
        return found.group(0)

    def syntax(self, version):
        """Return the configuration text for *version*: the newest syntax that is not newer than the program."""

        def key(text):
            return tuple(int(part) for part in re.findall(r"\d+", text)[:2])

        fitting = [name for name in self.p["syntaxes"] if key(name) <= key(version)]
        if not fitting:
            raise Refused(
                "Dovecot %s is older than the oldest syntax this role writes (%s)" % (version, min(self.p["syntaxes"]))
            )
        return self.p["syntaxes"][max(fitting, key=key)]

    def master(self):
        """Return the master's Process, or None: it writes base_dir/master.pid once, when it starts."""
        # by name and with its name: 2.4 neither lists base_dir with -a nor shows it with -h
        status, out, _err = host.run([self.doveconf, "-c", self.config, "base_dir"])
        found = re.search(r"^base_dir = (/\S*)", out, re.MULTILINE)
        return process.from_pidfile(os.path.join(found[1], "master.pid"), "dovecot") if found and not status else None

    # -- what is refused --------------------------------------------------------------------------------------------

    def refuse_what_is_there(self):
        """Before anything is installed."""
        wrong = leftovers.dovecot(self.config)
        wrong += [
            "sasl_users: %s has no password_hash; only the users of a Dovecot that was here before have passwords of their own"
            % user["name"]
            for user in self.p["users"]
            if not user["password_hash"]
        ]
        if wrong:
            raise Refused(wrong)

    def refuse_missing_postfix(self):
        directory = os.path.dirname(self.p["socket"])
        try:
            pwd.getpwnam(self.p["socket_owner"])
            grp.getgrnam(self.p["socket_group"])
        except KeyError:
            raise Refused(
                "this host has no user or group %s:%s; Postfix is installed before Dovecot"
                % (self.p["socket_owner"], self.p["socket_group"])
            ) from None
        if not os.path.isdir(directory):
            raise Refused(
                "sokuhai_queue_directory: %s does not exist; Postfix is installed before Dovecot, and its queue_directory must be this"
                % directory
            )

    def refuse_unknown_schemes(self):
        wanted = {re.match(r"\{([^}.]*)", user["password_hash"]).group(1) for user in self.p["users"]}
        status, out, _err = host.run([self.doveadm, "pw", "-l"]) if wanted else (1, "", "")
        missing = sorted(wanted - set(out.split()))
        if status == 0 and missing:
            raise Refused(
                "sasl_users: this Dovecot does not know %s; it knows %s"
                % (", ".join(missing), ", ".join(sorted(out.split())))
            )

    def check_staged(self, text, what="the new configuration, the old one stays", beside=False):
        """Have doveconf read *text* from a file of its own, *beside* the real one where relative names in it are to mean the same; return what it prints."""
        with tempfile.TemporaryDirectory(prefix="sokuhai-") as folder:
            staged = "%s.staged" % (self.config if beside else os.path.join(folder, "dovecot.conf"))
            write(staged, text, 0o600, (0, 0))
            try:
                status, out, err = host.run([self.doveconf, "-n", "-c", staged])
            finally:
                os.unlink(staged)
        if status:
            self.outcome.update(step="doveconf", restored=False)
            raise Refused("doveconf refuses %s: %s" % (what, err.strip().replace(staged, self.config)))
        return out

    # -- state=present ----------------------------------------------------------------------------------------------

    def present(self):
        owners = foreign_dovecot.config(self.config)
        if not self.p["replace"] and foreign_dovecot.owners(owners):
            self.config = owners
            return Beside(self).present()
        self.refuse_what_is_there()
        missing = pkg.missing(self.p["packages"], self.program)
        if not self.check_mode:
            pkg.install(missing)
        version = self.version()
        if version is None and not self.check_mode:
            raise Refused("sasl_install: there is no %s; set sasl_install: true, or install Dovecot" % self.program)
        config = File(self.config, self.syntax(version or self.p["predicted_version"]), 0o644, (0, 0))
        # the passwd-file first: a configuration that names a file which is not there would reject everybody
        files = [self.passwd(), config] if version else []
        if version:
            if not self.check_mode:
                self.refuse_missing_postfix()
            self.refuse_unknown_schemes()
            if config.differs:
                self.check_staged(config.text)
        enable = rc.compare(ENABLED)
        findings = pkg.findings(missing) + [one for file in files for one in file.findings()]
        findings += self.wrong_process(config.differs)
        # of a configuration that was not ours, and is replaced now
        beside = foreign_dovecot.present(self.config)
        diff = (
            config.diff()
            + [difference(path, read(path), None) for path in beside]
            + self.users_diff()
            + rc.diff(enable)
        )
        result = {
            "changed": bool(findings or diff),
            "version": version or self.p["predicted_version"],
            "predicted": version is None,
            "findings": findings,
            "diff": diff,
        }
        if not self.check_mode:
            former = config.former if config.differs else None
            if former is not None:
                if MARK not in former:
                    before.keep(self.config)
                write(self.previous, former, 0o600, (0, 0))
            for file in files:
                file.put()
            host.remove(*beside)
            # before the service: the port's rc script answers nothing, not even status, while this is NO
            rc.apply(enable)
            self.run(former, result["changed"])
        return result

    def passwd_text(self):
        users = sorted(self.p["users"], key=lambda user: user["name"])
        return "".join("%s:%s\n" % (user["name"], user["password_hash"]) for user in users)

    def passwd(self):
        return File(self.passwd_file, self.passwd_text(), 0o640, (0, grp.getgrnam("dovecot").gr_gid))

    def wrong_process(self, new):
        """Return the findings of a master that does not run, or is older than what it should have read. new: the configuration is to be another."""
        master = self.master()
        if master is None:
            thing = "service dovecot"
            return [finding(thing, thing, "running", "not running", because=["rc.conf: dovecot_enable"])]
        older = not new and master.older_than(self.config, program=self.program)
        if not older:
            return []
        thing = "process dovecot: %s" % ("program" if older == self.program else "configuration")
        return [finding(thing, thing, "started after %s" % older, "started before")]

    def users_diff(self):
        """Return the diff's entry of the users, [] for none: their names only, since a hash would be in the log of whoever ran it."""
        before, after = read(self.passwd_file), self.passwd_text()
        if before == after:
            return []
        kept = (before or "").splitlines()
        names = "".join("%s\n" % line.split(":", 1)[0] for line in kept)
        shown = "".join(
            "%s%s\n" % (line.split(":", 1)[0], "" if before is None or line in kept else " (new hash)")
            for line in after.splitlines()
        )
        return [difference(self.passwd_file, names, shown)]

    def run(self, former, dialogue):
        """Start Dovecot, or restart it where it is older than its files, and prove it; else bring the text *former* back. Raises Refused."""
        master, printed = self.master(), ""
        if master is None or master.older_than(self.config, program=self.program):
            printed = host.service("dovecot", "start" if master is None else "restart")[1]
        try:
            self.prove(dialogue)
        except Refused as reason:
            self.outcome.update(step="socket", restored=former is not None and self.restore(former))
            end = (
                "The previous configuration is back in force." if former else "There was no previous one to return to."
            )
            raise Refused(
                "sasl: %s. service dovecot printed: %s. %s" % (str(reason).rstrip("."), printed or "nothing", end)
            ) from None

    def restore(self, former):
        """Return whether a master runs with the text *former*."""
        write(self.config, former, 0o644, (0, 0))
        host.service("dovecot", "restart")
        return bool(host.wait_until(self.master, PATIENCE))

    def prove(self, dialogue):
        """Ask at the socket, which a service that was just started makes a moment later. Raises Refused."""
        where = (self.p["socket"], self.p["socket_owner"], self.p["socket_group"])
        try:
            host.retry(lambda: prove(*where, self.p["mechanisms"], dialogue), PATIENCE)
        except OSError as problem:
            raise Refused(
                "Dovecot's socket %s does not answer: %s. See /var/log/maillog" % (where[0], problem)
            ) from None

    # -- state=absent -----------------------------------------------------------------------------------------------

    def absent(self):
        old = read(self.config)
        if old is None or MARK not in old:
            self.config = foreign_dovecot.config(self.config)
            return Beside(self).absent()
        if not self.check_mode:
            # stop first: when this is broken off, the mark is still there and the next run goes on
            if self.master() is not None:
                self.end_master()
            rc.apply(rc.compare({"dovecot_enable": "NO"}))
            host.remove(self.passwd_file, self.previous, self.config)
        return {"changed": True, "findings": [], "diff": [difference(self.config, old, "")]}

    def end_master(self):
        """The port's rc script does nothing at all, not even onestop, once dovecot_enable is NO: then the master is asked itself."""
        printed = host.service("dovecot", "onestop")[1]

        def gone():
            return self.master() is None

        if not host.wait_until(gone, 1):
            master = self.master()
            if master is not None:
                os.kill(master.pid, signal.SIGTERM)
            if not host.wait_until(gone, 10):
                raise Refused("service dovecot onestop: %s" % printed)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "packages": {"type": "list", "elements": "str", "default": []},
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
                    "password_hash": {"type": "str", "default": "", "no_log": True},
                },
            },
            "replace": {"type": "bool", "default": False},
            "listener": {"type": "str", "default": ""},
            "client_limit": {"type": "int", "default": 0},
            "socket": {"type": "path"},
            "socket_owner": {"type": "str", "default": "postfix"},
            "socket_group": {"type": "str", "default": "postfix"},
            "mechanisms": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("state", "present", ["syntaxes", "socket"])],
        supports_check_mode=True,
    )
    dovecot = Dovecot(module.params, module.check_mode)
    host.answer(module, getattr(dovecot, module.params["state"]), dovecot.outcome)


if __name__ == "__main__":
    main()
