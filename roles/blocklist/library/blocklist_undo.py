#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Take everything that role blocklist did back to what there was before its first run."""

DOCUMENTATION = r"""
module: blocklist_undo
short_description: Go back to a host without role blocklist
description:
  - Puts back pf.conf, pf_enable, whether pf was on, the daemon's configuration, its flags and whether it ran, and sshd_config, as they were before the role's first
    run, by what it wrote down then. A host without that record and without the role's files stays as it is.
options: {}
author: sokuhai
"""

import contextlib
import os

from ansible.module_utils import blocklist_change, blocklist_daemon, blocklist_operator, blocklist_pf
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.blocklist_daemon import MARK
from ansible.module_utils.blocklist_pf import ANCHOR, Pf, pfctl, place_of, without_block
from ansible.module_utils.blocklist_sshd import Sshd
from ansible.module_utils.sokuhai import host, rc
from ansible.module_utils.sokuhai.host import answer, difference, read, remove, run, write

STATE = blocklist_operator.STATE_FOLDER + "/blocklist-rejects.json"
FILES = (
    "/usr/local/etc/cron.d/sokuhai-blocklist",
    "/usr/local/libexec/sokuhai-blocklist",
    "/usr/local/etc/sokuhai-blocklist.json",
    STATE,
    STATE + ".lock",
)
# of a host that has our part and no record
UNKNOWN = {"pf_enable": "YES", "pf_was_on": True, "pf_conf": True, "daemon_enable": "NO", "daemon_flags": ""}


def undo(check_mode):
    """Return the module's answer. Raises Refused."""
    before, pf = blocklist_operator.record(), Pf()
    # a base system may have lost it since, or have it under another name
    installed = blocklist_daemon.installed()
    name = (before or {}).get("daemon") or (installed.name if installed else blocklist_daemon.NAMES[0])
    daemon = installed if installed and installed.name == name else blocklist_daemon.Daemon(name)
    text = read(pf.conf)
    ours = text is not None and place_of(text) is not None
    if before is None and not ours and not os.path.exists(blocklist_pf.ANCHOR_FILE):
        return {"changed": False, "diff": []}
    before = before or UNKNOWN
    rest = without_block(text) if ours else text
    # a file that this role made, and nobody has written anything into
    made = ours and not before["pf_conf"] and is_minimal(rest)
    result = {"changed": True, "diff": [difference(pf.conf, text, "" if made else rest)] if ours else []}
    if check_mode:
        return result
    blocklist_change.take_back_pending(False, 0)
    # the counter first, then the daemon: neither may list anybody while pf's part goes
    remove(*FILES)
    sshd = Sshd(False)
    if sshd.old is not None and (sshd.new != sshd.old or sshd.is_stale()):
        sshd.put()
    put_daemon_back(daemon, before, os.access(daemon.program, os.X_OK))
    loaded = pf.loaded()
    if loaded and os.access(daemon.helper, os.X_OK):
        run([daemon.helper, "flush", daemon.name])
    if made:
        remove(pf.conf)
    elif ours:
        write(pf.conf, rest)
    if loaded:
        put_rules_back(pf, before, ours)
    rc.apply(rc.compare({"pf_enable": before["pf_enable"]}))
    remove(blocklist_pf.ANCHOR_FILE, pf.conf + ".previous", blocklist_operator.RECORD)
    blocklist_change.forget()
    # what is in it is another role's
    with contextlib.suppress(OSError):
        os.rmdir(blocklist_operator.STATE_FOLDER)
    return result


def is_minimal(rest):
    """Return whether the pf.conf *rest*, without our block, is that of a host that had none: our first line, and what skips lo0."""
    lines = rest.splitlines()
    return len(lines) == 2 and MARK in lines[0] and lines[1] == "set skip on lo0"


def put_daemon_back(daemon, before, installed):
    ran = rc.yes(before["daemon_enable"])
    if not ran and daemon.process():
        host.service(daemon.name, "onestop")
    rc.apply(rc.compare({daemon.enable: before["daemon_enable"], daemon.flags: before["daemon_flags"]}))
    daemon.restore()
    if ran and installed:
        host.service(daemon.name, "restart")


def put_rules_back(pf, before, ours):
    """Have pf hold what it held: ours, whether pf.conf had our block."""
    if not before["pf_was_on"]:
        if pf.enabled():
            pfctl("-q", "-d")
        # what pf held while it was off came from this file, or from nowhere
        had = before.get("pf_had_rules") and os.path.exists(pf.conf)
        if not had or run(["pfctl", "-q", "-f", pf.conf, *pf.flags])[0]:
            run(["pfctl", "-q", "-F", "rules"])
    elif ours:
        pf.reload()
    run(["pfctl", "-q", "-a", ANCHOR, "-F", "all"])


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    answer(module, lambda: undo(module.check_mode))


if __name__ == "__main__":
    main()
