#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Postfix's way back to what it had before the first run, or before the set in force."""

DOCUMENTATION = r"""
module: postfix_former
short_description: Return to the configuration that Postfix had before the first run, or to the last one before this that worked
description:
  - The former set is staged and read by postconf(1) and postfix check, then swapped in with its modes and owners, and master(8) restarted. Where it does
    not come up, the set in force is back, and the module fails.
  - With V(before), the variables of rc.conf(5) and mailer.conf(5) have what they had, too. A Postfix that was not enabled is stopped, and sendmail(8)
    started as rc.conf has it.
options:
  state: {description: Which set., type: str, choices: [before, previous], required: true}
  paths: {description: As postfix_config has them., type: dict, required: true}
  service: {description: rc name., type: str, default: postfix}
  maillog: {description: "Read for what was logged when master does not come up.", type: path, default: /var/log/maillog}
  mailer_conf: {description: "Path of mailer.conf(5), empty where it was left alone.", type: str, default: ""}
  rc_conf:
    description: Variables of rc.conf(5) that postfix_config sets.
    type: list
    elements: dict
    default: []
    suboptions:
      file: {description: "The file, where it is not one of rc.conf's.", type: path}
      key: {description: Name., type: str, required: true}
      value: {description: Value., type: str}
author: sokuhai
"""

RETURN = r"""
findings: {description: Nothing., type: list, returned: success}
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postfix_files import CONFIGURATION, Files
from ansible.module_utils.postfix_host import REPLACES, Configuration, Postfix
from ansible.module_utils.sokuhai import before, host, rc
from ansible.module_utils.sokuhai.host import Refused

WORDS = {"before": "before the first run", "previous": "in the last set that worked"}


class Former:
    """p: the options. sources: {path: what it was, a file or directory that is kept, or None where there was none}."""

    def __init__(self, p):
        self.p, self.state = p, p["state"]
        self.postfix = Postfix(p["paths"], p["service"], p["maillog"])
        config = self.postfix.config
        self.files = Files(self.postfix, "", "", [])
        self.sources = {os.path.join(config, name): self.kept(name) for name in (*CONFIGURATION, "tables")}
        if self.sources[os.path.join(config, "main.cf")] is None:
            raise Refused(
                "rollback_to: %s: nothing is kept of what %s had %s; without rollback_to Postfix is switched off"
                % (self.state, config, WORDS[self.state])
            )
        self.names = {}  # of variables of rc.conf, by file
        if self.state == "before":
            for item in p["rc_conf"]:
                self.names.setdefault(item["file"], []).append(item["key"])
        self.mailer = p["mailer_conf"] if self.state == "before" else ""

    def kept(self, name):
        if self.state == "before":
            path = os.path.join(self.postfix.config, name) + before.SUFFIX
        else:
            path = os.path.join(self.files.last, name)
        return path if os.path.exists(path) else None

    @staticmethod
    def put(path, source):
        if source:
            before.put(source, path)
        else:
            before.remove(path)

    def differing(self):
        """Return {path: source} of what is not as it was."""
        sources = dict(self.sources)
        if self.mailer:
            kept = self.mailer + before.SUFFIX
            sources[self.mailer] = kept if os.path.exists(kept) else None
        return {
            path: source
            for path, source in sources.items()
            if (not before.same(source, path) if source else os.path.lexists(path))
        }

    def judge(self):
        """Raise Refused where Postfix cannot read the former set. It is staged outside the configuration's directory."""
        folder = tempfile.mkdtemp(prefix="sokuhai-postfix-")
        try:
            os.chmod(folder, 0o755)
            stage = os.path.join(folder, "set")
            texts = {os.path.basename(path): host.read(source) for path, source in self.sources.items() if source}
            self.files.wanted = {name: texts[name] for name in CONFIGURATION if texts.get(name) is not None}
            self.files.stage(stage)
            if self.sources[self.files.table_directory]:
                before.put(self.sources[self.files.table_directory], os.path.join(stage, "tables"))
            found = Configuration(self.postfix, stage)
            status, _out, said = self.postfix.postconf(stage, "-m")
            problems = found.problems if found.status else said if status else []
            if not problems:
                status, out, err = self.postfix.tool("postfix", "-c", stage, "check")
                problems = (
                    [line.replace(stage, self.postfix.config) for line in (out + err).splitlines()] if status else []
                )
        finally:
            shutil.rmtree(folder)
        if problems:
            raise Refused(["rollback_to: %s: %s" % (self.state, line) for line in problems])

    def run(self, check_mode):
        changes = {file: rc.compare_former(names, file) for file, names in self.names.items()}
        changes = {file: found for file, found in changes.items() if found}
        differs, running = self.differing(), self.postfix.running()
        runs = self.state == "previous" or rc.yes(rc.former(["postfix_enable"])["postfix_enable"])
        changed = bool(differs or changes or runs != bool(running))
        # no texts: what was there may hold a password
        diff = [host.difference(path, "as it is\n", "as it was %s\n" % WORDS[self.state]) for path in differs]
        diff += [rc.difference(found, file) for file, found in changes.items()]
        if changed:
            self.judge()
        if changed and not check_mode:
            self.carry_out(differs, changes, running, runs)
        return {"changed": changed, "findings": [], "diff": diff}

    def carry_out(self, differs, changes, running, runs):
        if host.hold(self.postfix.config, 600) is None:
            raise Refused("another run has been at work on %s for 10 minutes" % self.postfix.config)
        swapped = [path for path in self.sources if path in differs]
        self.files.keep()
        for path in swapped:
            self.put(path, differs[path])
        try:
            if not runs:
                self.postfix.rc("stop")
            elif swapped or not running:
                self.postfix.bring("restart" if running else "start")
        except Refused as refused:
            self.files.restore()
            if running:
                self.postfix.bring("restart" if self.postfix.running() else "start")
            raise Refused("rollback_to: %s: %s; the set in force before is back" % (self.state, refused)) from None
        shutil.rmtree(self.files.previous)
        if self.mailer in differs:
            self.put(self.mailer, differs[self.mailer])
        for file, found in changes.items():
            rc.apply(found, file)
        if not runs:
            host.service(REPLACES, "start")


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["before", "previous"], "required": True},
            "paths": {"type": "dict", "required": True},
            "service": {"type": "str", "default": "postfix"},
            "maillog": {"type": "path", "default": "/var/log/maillog"},
            "mailer_conf": {"type": "str", "default": ""},
            "rc_conf": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "file": {"type": "path"},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "value": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    host.answer(module, lambda: Former(module.params).run(module.check_mode))


if __name__ == "__main__":
    main()
