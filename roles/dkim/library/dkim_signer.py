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
from ansible.module_utils.sokuhai import host, pkg, process, rc
from ansible.module_utils.sokuhai.files import File, refuse_strangers
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused

MARK = "Written by sokuhai's role dkim"
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


class Signer:
    """What the module's parameters *p* declare."""

    def __init__(self, p):
        self.p = p
        self.keys = os.path.join(p["directory"], "keys")
        self.signing = os.path.join(p["directory"], "signing.conf")
        self.pidfile = os.path.join(os.path.dirname(p["socket"]), "rspamd.pid")

    # -- the host

    def owner(self):
        """Return (uid, gid) of the signer's user, None where there is none yet."""
        try:
            entry = pwd.getpwnam(self.p["user"])
        except KeyError:
            return None
        if entry.pw_uid == 0:
            raise Refused("dkim_user: root signs nothing; rspamd, the package's own user, works")
        return entry.pw_uid, entry.pw_gid

    def domain(self, name):
        return Domain(self.keys, name, self.owner(), self.p["prefix"], self.p["bits"], self.p["ed25519"])

    def domains(self):
        return [self.domain(one["name"]) for one in self.p["domains"]]

    def files(self):
        """Return the Files of configuration and rc script; the script last. Raises Refused for one that somebody else wrote."""
        paths = sorted(self.p["files"], key=lambda path: path == self.p["script"])
        files = [File(path, self.p["files"][path], 0o555 if path == self.p["script"] else 0o644) for path in paths]
        refuse_strangers(files, MARK, "dkim")
        return files

    def signing_file(self, domains):
        """Return the File that tells the signer which keys sign. domains: list of Domain."""
        lines = ["# %s; a change made here is gone at the next run." % MARK, "domain {"]
        for domain in domains:
            listed = ['    { selector = "%s"; path = "%s"; }' % one for one in domain.signers()]
            lines += ['  "%s" {' % domain.name, "    selectors = [", ",\n".join(listed), "    ];", "  }"]
        return File(self.signing, "\n".join([*lines, "}", ""]), 0o644)

    def main(self):
        """Return the signer's main Process, or None."""
        return process.from_pidfile(self.pidfile, known_as="rspamd", written_once=False)

    def workers(self):
        now = self.main()
        return process.descendants(process.table(), now.pid) if now else []

    # -- what is wrong with what runs

    def differs(self, paths, domains):
        """Return (what is wrong with the running signer, ids of the findings it follows from), or None. paths: files it has read; domains: list of Domain."""
        now = self.main()
        if now is None:
            return "not running", []
        if now.older_than(program=self.p["program"]):
            return "older than %s" % self.p["program"], []
        # a worker that has been replaced stays for a minute, as at a stop; one that is as new as the files is what serves
        newer = [worker.older_than(*paths) for worker in self.workers()]
        if newer and all(newer):
            return "older than %s" % newer[0], [newer[0]]
        wrong = self.judged(domains)
        return (wrong, []) if wrong else None

    def judged(self, domains):
        """Return what is wrong with what the signer does with a message of each of *domains*, and with a stranger's; None for nothing."""
        try:
            for domain in domains:
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
                names = [domain.name for domain in domains] or ["probe.invalid"]
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

    def predicted(self, files, missing):
        """Return the answer for a host without the package, in check mode."""
        return {
            "changed": True,
            "predicted": True,
            "records": [],
            "findings": pkg.findings(missing),
            "diff": [one for file in files for one in file.diff()],
        }

    def present(self, check):
        missing, files = pkg.missing(self.p["packages"], self.p["program"]), self.files()
        if not check:
            pkg.install(missing)
        if not pkg.program(self.p["program"]):
            if check and missing:
                return self.predicted(files, missing)
            raise Refused("dkim_install: there is no %s; set dkim_install: true, or install rspamd" % self.p["program"])
        if self.owner() is None:
            raise Refused("dkim_user: this host has no user %s; the package makes rspamd" % self.p["user"])
        domains, findings = self.domains(), pkg.findings(missing)
        findings += [self.key_finding(one) for one in domains if one.missing()]
        findings += self.folder_findings(not check) + [found for one in domains for found in one.findings(not check)]
        states = self.new_states(domains)
        rotating = bool(states)
        if not check:
            self.make_keys(domains)
            for domain, (act, state) in states.items():
                act(state)
        elif rotating:
            for domain, (_act, state) in states.items():
                domain.state = state
        signing = self.signing_file(domains)
        changes = rc.compare({"%s_enable" % self.p["service"]: "YES"})
        due = [file for file in [*files, signing] if file.differs or file.findings()]
        findings += [found for file in due for found in file.findings()]
        fresh = [file.path for file in due if file.differs]
        read = [path for path in [*self.p["files"], self.signing] if path != self.p["script"]]
        wrong = (("older than %s" % fresh[0], fresh[:1]) if fresh else None) or self.differs(read, domains)
        if wrong:
            name = "service %s" % self.p["service"]
            findings.append(finding(name, self.p["service"], "running as declared", *wrong))
        if not check:
            try:
                self.staged(due)
                for file in due:
                    file.put()
                rc.apply(changes)
                if wrong:
                    self.take_up(domains)
            except (OSError, Refused) as problem:
                raise Refused("%s. %s" % (str(problem).rstrip("."), self.back(due, changes))) from problem
        return {
            "changed": bool(fresh or changes or findings or rotating),
            "predicted": False,
            "records": [record for domain in domains for record in domain.records()],
            "findings": findings,
            "diff": [one for file in due for one in file.diff()] + rc.diff(changes),
        }

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

    def new_states(self, domains):
        """Return {Domain: (its method, the state it is to be called with)} of the rotations that are asked for; all are judged before any is made."""
        states = {}
        for domain in domains:
            if domain.name in self.p["rotate"]:
                states[domain] = (domain.rotate, domain.rotated(self.p["resolver"]))
            elif domain.name in self.p["drop"] and domain.state.get("former"):
                states[domain] = (domain.drop, domain.dropped(self.p["resolver"]))
        return states

    def make_keys(self, domains):
        for domain, declared in zip(domains, self.p["domains"]):
            if domain.missing():
                domain.ready((declared["selector"], declared["key"]) if declared.get("key") else None)

    def staged(self, due):
        """Have the checker read what is to be written, where only it looks. Raises Refused."""
        if not due:
            return
        folder = tempfile.mkdtemp(prefix="sokuhai-dkim-")
        try:
            texts = {file.path: file.text for file in due}
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

    def take_up(self, domains):
        """Start the signer, or have it read its files again, which ends no message; wait until it does as declared. Raises Refused."""
        now, workers = self.main(), {one.pid for one in self.workers()}
        # one that does not answer hangs, or is ending since a run was killed: it reads nothing again
        kept = now and not now.older_than(program=self.p["program"]) and self.answers()
        verb = "reload" if kept else "restart" if now else "start"
        code, said = host.service(self.p["service"], verb)
        if code:
            raise Refused("service %s %s: %s" % (self.p["service"], verb, said))

        def done():
            fresh = {one.pid for one in self.workers()} - workers
            return bool(fresh) and self.judged(domains) is None

        if not host.wait_until(done, PATIENCE, 0.5):
            raise Refused(
                "the signer was given %d s for its %s, and it is not as declared: %s"
                % (PATIENCE, verb, self.judged(domains) or "it goes on with what it had read before")
            )

    def back(self, files, changes):
        """Restore the former files and variables, and have the signer take them up; return a sentence about it."""
        new = any(file.path == self.p["script"] and file.former is None for file in files)
        try:
            if new:
                self.stop()
            for file in files:
                file.restore()
            rc.revert(changes)
            if new:
                return "There was no previous signer to go back to."
            code, _said = host.service(self.p["service"], "restart")
        except (OSError, Refused) as problem:
            return "The way back failed as well: %s." % problem
        return "The previous configuration is %s." % ("back, but does not start" if code else "back in force")

    # -- state=absent, state=read

    def stop(self):
        """Stop what runs of the signer; the rc script may be gone already, where a run was killed."""
        running = self.main()
        left = [running, *self.workers()] if running else []
        if left and os.path.exists(self.p["script"]):
            host.service(self.p["service"], "onestop")
        for one in left if self.main() else []:
            process.end(one.pid)

    def absent(self, check):
        paths = [*sorted(self.p["files"], key=lambda path: path == self.p["script"]), self.signing]
        files = [path for path in paths if MARK in (host.read(path) or "")]
        changes, running = rc.compare({"%s_enable" % self.p["service"]: None}), self.main()
        diff = [host.difference(path, host.read(path), None) for path in files]
        if not check:
            self.stop()
            rc.apply(changes)
            host.remove(*[path for path in files if path != self.p["script"]])
            folder = os.path.dirname(self.p["conf"])
            if os.path.isdir(folder) and not os.listdir(folder):
                os.rmdir(folder)
            # the script last: while it is there, the next run knows that there is something to remove
            host.remove(*[path for path in files if path == self.p["script"]])
        name = "service %s" % self.p["service"]
        findings = [finding(name, self.p["service"], "not running", "running")] if running else []
        return {"changed": bool(files or changes or running), "records": [], "findings": findings, "diff": diff}

    def read(self, _check):
        domains = [one for one in self.domains() if one.state] if self.owner() else []
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
