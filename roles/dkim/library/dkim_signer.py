#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Run an rspamd that signs and verifies, with keys made here, proved before Postfix sends it anything."""

DOCUMENTATION = r"""
module: dkim_signer
short_description: A signer for Postfix, its keys, and what the DNS must say of them
description:
  - With O(state=present), installs the package where it is missing, makes the keys that are missing, writes the files, and starts the signer, or has it
    read its files again, where what runs is not as declared. It is proved by messages - one of each domain must come back with that domain's
    signature, one from outside without any. When that fails, the former files come back.
  - No key is ever replaced, shown or sent anywhere. Keys are rotated with O(rotate) alone.
  - With O(state=absent), stops it and removes what it wrote. The keys stay.
  - With O(state=read), changes nothing and returns the records.
options:
  state: {type: str, choices: [present, absent, read], default: present}
  packages: {type: list, elements: str, default: [], description: Packages that are installed where they are missing.}
  program: {type: path, default: /usr/local/bin/rspamd}
  checker: {type: path, default: /usr/local/bin/rspamadm}
  user: {type: str, default: rspamd}
  service: {type: str, default: sokuhai_dkim}
  directory: {type: path, required: true, description: "Of the keys, the user's own."}
  socket: {type: path, required: true}
  domains: {type: list, elements: dict, default: [], description: "{name, selector, key}."}
  prefix: {type: str, default: '', description: What selectors begin with.}
  bits: {type: int, default: 2048}
  ed25519: {type: bool, default: false}
  verify: {type: bool, default: false}
  rotate: {type: list, elements: str, default: [], description: Domains whose waiting key is to sign.}
  drop: {type: list, elements: str, default: [], description: Domains whose former key is to go.}
  resolver: {type: str, default: 127.0.0.1, description: The name server that is asked about records before a rotation.}
  files: {type: dict, default: {}, description: "{path: text}; the rc script's is O(script)."}
  conf: {type: path, required: true, description: Which of them is the configuration.}
  script: {type: path, required: true}
author: sokuhai
"""

RETURN = r"""
predicted: {description: The signer is not installed yet., type: bool, returned: success}
records:
  description: "{domain, selector, role, name, type, bits, value} of each key: the TXT record that the DNS must have. role: signing, next or former."
  type: list
  elements: dict
  returned: success
findings:
  description: "package NAME; user NAME; mode of PATH; key DOMAIN; service sokuhai_dkim."
  type: list
  elements: dict
  returned: success
"""

import os
import pwd
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.dkim_keys import Domain
from ansible.module_utils.dkim_milter import Milter, signed_by
from ansible.module_utils.sokuhai import host, process
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused
from ansible.module_utils.sokuhai.service import Service, Unit

# s: how long a start or another reading of the files may take. With all public suffixes it takes ten and more on a slow machine.
PATIENCE = 120
#: Nobody's, and no address of a host (RFC 5737).
STRANGER = "203.0.113.254"
HEADERS = (
    ("To", "probe@probe.invalid"),
    ("Subject", "A test"),
    ("Date", "Mon, 30 Nov 2026 11:00:00 +0000"),
    ("Message-ID", "<probe@probe.invalid>"),
)


class Signer(Service, Unit):
    """What the module's parameters *p* declare, and its one Unit: a main process and the workers that it started."""

    ROLE, MARK = "dkim", "Written by sokuhai's role dkim"

    def __init__(self, p):
        super().__init__(p)
        self.title = self.name
        self.keys = os.path.join(p["directory"], "keys")
        self.signing = os.path.join(p["directory"], "signing.conf")
        self.pidfile = os.path.join(os.path.dirname(p["socket"]), "rspamd.pid")
        #: the domains, once there is whom their keys belong to; whether keys are to change their roles
        self.made, self.rotating = [], False

    # -- what is declared

    def declared(self):
        """The rc script last."""
        paths = sorted(self.p["files"], key=lambda path: path == self.p["script"])
        written = [(path, self.p["files"][path], 0o555 if path == self.p["script"] else 0o644) for path in paths]
        return [(self.signing, self.signers(), 0o644), *written]

    def signers(self):
        """Return the text that tells the signer which keys sign."""
        lines = ["# %s; a change made here is gone at the next run." % self.MARK, "domain {"]
        for domain in self.domains:
            listed = ['    { selector = "%s"; path = "%s"; }' % one for one in domain.signers()]
            lines += ['  "%s" {' % domain.name, "    selectors = [", ",\n".join(listed), "    ];", "  }"]
        return "\n".join([*lines, "}", ""])

    def variables(self):
        return {"%s_enable" % self.name: "YES"}

    def units(self):
        return [self]

    def absence(self):
        return "dkim_install: there is no %s; set dkim_install: true, or install rspamd" % self.p["program"]

    def owner(self):
        """Return (uid, gid) of the signer's user, None where there is none yet."""
        try:
            entry = pwd.getpwnam(self.p["user"])
        except KeyError:
            return None
        if entry.pw_uid == 0:
            raise Refused("dkim_user: root signs nothing; rspamd, the package's own user, works")
        return entry.pw_uid, entry.pw_gid

    def judge(self, files):
        if self.owner() is None:
            raise Refused("dkim_user: this host has no user %s; the package makes rspamd" % self.p["user"])

    @property
    def domains(self):
        """A list of Domain; [] as long as there is nobody whom their keys would belong to."""
        if not self.made and self.owner():
            self.made = [
                Domain(self.keys, one["name"], self.owner(), self.p["prefix"], self.p["bits"], self.p["ed25519"])
                for one in self.p["domains"]
            ]
        return self.made

    # -- the process

    def process(self):
        """Return the signer's main Process, or None."""
        return process.from_pidfile(self.pidfile, known_as="rspamd", written_once=False)

    def workers(self):
        now = self.process()
        return process.descendants(process.table(), now.pid) if now else []

    def stop(self, _unit):
        """The rc script may be gone already, where a run was killed; and a worker does not end with a main process that is killed."""
        running = self.process()
        left = [running, *self.workers()] if running else []
        if left and os.path.exists(self.p["script"]):
            host.service(self.name, "onestop")
        for one in left if self.process() else []:
            process.end(one.pid)

    # -- what is wrong with what runs

    def differs(self, fresh=()):
        paths = [path for path, _text, _mode in self.declared()]
        written = [path for path in paths if path in fresh]
        if written:
            return "older than %s" % written[0], written[:1]
        now = self.process()
        if now is None:
            return "not running", []
        if now.older_than(program=self.p["program"]):
            return "older than %s" % self.p["program"], []
        # a worker that has been replaced stays for a minute, as at a stop; one that is as new as the files is what serves
        read = [path for path in paths if path != self.p["script"]]
        newer = [worker.older_than(*read) for worker in self.workers()]
        if newer and all(newer):
            return "older than %s" % newer[0], [newer[0]]
        wrong = self.judged()
        return (wrong, []) if wrong else None

    def judged(self):
        """Return what is wrong with what the signer does with a message of each domain, and with a stranger's; None for nothing."""
        try:
            for domain in self.domains:
                sender = "postmaster@%s" % domain.name
                end, added, text = self.message("127.0.0.1", sender)
                wanted, found = [(domain.name, one) for one, _path in domain.signers()], signed_by(added)
                if found != wanted or end not in ("accept", "continue"):
                    return "%s: signed by %s instead of %s%s" % (
                        domain.name,
                        ", ".join(one for _domain, one in found) or "nobody",
                        ", ".join(one for _domain, one in wanted),
                        " (%s %s)" % (end, text) if end not in ("accept", "continue") else "",
                    )
            if self.p["verify"]:
                names = [domain.name for domain in self.domains] or ["probe.invalid"]
                end, added, _text = self.message(STRANGER, "postmaster@%s" % names[0])
                if signed_by(added):
                    return "a stranger's mail is signed"
                if end != "reply" and "authentication-results" not in [name.lower() for name, _value in added]:
                    return "a stranger's mail gets no Authentication-Results"
        except OSError as problem:
            return "no answer (%s)" % problem
        return None

    def answers(self):
        """Return whether the signer speaks at its socket."""
        try:
            Milter(self.p["socket"], 10).close()
        except OSError:
            return False
        return True

    def message(self, client, sender):
        milter = Milter(self.p["socket"])
        try:
            return milter.message(client, sender, [("From", "<%s>" % sender), *HEADERS])
        finally:
            milter.close()

    # -- state=present

    def present(self, check):
        answer = super().present(check)
        records = [] if answer["predicted"] else [record for domain in self.domains for record in domain.records()]
        return {**answer, "changed": answer["changed"] or self.rotating, "records": records}

    def prepare(self, files, check):
        """Have the keys, of which the file that names them is made."""
        findings = [self.key_finding(one) for one in self.domains if one.missing()]
        findings += self.folder_findings(not check)
        findings += [found for one in self.domains for found in one.findings(not check)]
        states = self.new_states()
        self.rotating = bool(states)
        if not check:
            self.make_keys()
        for domain, (act, state) in states.items():
            if check:
                domain.state = state
            else:
                act(state)
        return self.files(), findings

    def put(self, files, changes, due):
        self.staged([file for file in files if file.differs])
        super().put(files, changes, due)

    @staticmethod
    def key_finding(domain):
        name = "key %s" % domain.name
        return finding(name, name, "keys of %s" % ", ".join(domain.missing()), "missing")

    def folder_findings(self, repair):
        """Return the finding of the keys' directory that is not the user's alone; repair: make it so."""
        found, owner = [], self.owner()
        for path, mode in ((self.p["directory"], 0o755), (self.keys, 0o700)):
            wanted, now = host.rights(mode, *(owner if path == self.keys else (0, 0))), "missing"
            if os.path.isdir(path):
                status = os.stat(path)
                now = host.rights(status.st_mode & 0o7777, status.st_uid, status.st_gid)
            if now != wanted:
                if now != "missing":
                    found.append(finding("mode of " + path, path, wanted, now))
                if repair:
                    os.makedirs(path, mode, exist_ok=True)
                    os.chmod(path, mode)
                    os.chown(path, *(owner if path == self.keys else (0, 0)))
        return found

    def new_states(self):
        """Return {Domain: (its method, the state it is to be called with)} of the rotations that are asked for; all are judged before any is made."""
        states = {}
        for domain in self.domains:
            if domain.name in self.p["rotate"]:
                states[domain] = (domain.rotate, domain.rotated(self.p["resolver"]))
            elif domain.name in self.p["drop"] and domain.state.get("former"):
                states[domain] = (domain.drop, domain.dropped(self.p["resolver"]))
        return states

    def make_keys(self):
        for domain, declared in zip(self.domains, self.p["domains"]):
            if domain.missing():
                domain.ready((declared["selector"], declared["key"]) if declared.get("key") else None)

    def staged(self, files):
        """Have the checker read what is to be written, where only it looks. Raises Refused."""
        if not files:
            return
        folder = tempfile.mkdtemp(prefix="sokuhai-dkim-")
        try:
            texts = {file.path: file.text for file in files}
            conf = texts.get(self.p["conf"]) or host.read(self.p["conf"]) or ""
            for number, (path, text) in enumerate(texts.items()):
                place = os.path.join(folder, "%d-%s" % (number, os.path.basename(path)))
                if path != self.p["conf"]:
                    host.write(place, text, 0o644)
                    conf = conf.replace('"%s"' % path, '"%s"' % place)
            host.write(os.path.join(folder, "rspamd.conf"), conf, 0o644)
            argv = [self.p["checker"], "configtest", "-c", os.path.join(folder, "rspamd.conf")]
            status, out, err = host.run(argv, PATIENCE)
            if status:
                raise Refused("rspamadm configtest: %s" % host.last_lines(out + err, 3).replace("\n", " "))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def restart(self):
        """Start the signer, or have it read its files again, which ends no message; wait until it does as declared. Raises Refused."""
        now, workers = self.process(), {one.pid for one in self.workers()}
        # one that does not answer hangs, or is ending since a run was killed: it reads nothing again
        kept = now and not now.older_than(program=self.p["program"]) and self.answers()
        verb = "reload" if kept else "restart" if now else "start"
        code, said = host.service(self.name, verb)
        if code:
            raise Refused("service %s %s: %s" % (self.name, verb, said))

        def done():
            fresh = {one.pid for one in self.workers()} - workers
            return bool(fresh) and self.judged() is None

        if not host.wait_until(done, PATIENCE, 0.5):
            raise Refused(
                "the signer was given %d s for its %s, and it is not as declared: %s"
                % (PATIENCE, verb, self.judged() or "it goes on with what it had read before")
            )

    # -- state=absent, state=read

    def clear(self):
        folder = os.path.dirname(self.p["conf"])
        if os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)

    def absent(self, check):
        return {**super().absent(check), "records": []}

    def read(self, _check):
        domains = [one for one in self.domains if one.state]
        return {"changed": False, "records": [record for one in domains for record in one.records()], "findings": []}


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "read"], "default": "present"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "program": {"type": "path", "default": "/usr/local/bin/rspamd"},
            "checker": {"type": "path", "default": "/usr/local/bin/rspamadm"},
            "user": {"type": "str", "default": "rspamd"},
            "service": {"type": "str", "default": "sokuhai_dkim"},
            "directory": {"type": "path", "required": True},
            "socket": {"type": "path", "required": True},
            "domains": {"type": "list", "elements": "dict", "default": []},
            "prefix": {"type": "str", "default": ""},
            "bits": {"type": "int", "default": 2048},
            "ed25519": {"type": "bool", "default": False},
            "verify": {"type": "bool", "default": False},
            "rotate": {"type": "list", "elements": "str", "default": []},
            "drop": {"type": "list", "elements": "str", "default": []},
            "resolver": {"type": "str", "default": "127.0.0.1"},
            "files": {"type": "dict", "default": {}},
            "conf": {"type": "path", "required": True},
            "script": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    signer = Signer(module.params)
    host.answer(module, lambda: getattr(signer, module.params["state"])(module.check_mode))


if __name__ == "__main__":
    main()
