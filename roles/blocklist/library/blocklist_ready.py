#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the files of role blocklist are made from, and what keeps them from being written."""

DOCUMENTATION = r"""
module: blocklist_ready
short_description: Make a host ready for role blocklist, and say what its files are made from
description:
  - Refuses a host that cannot have what is declared, before anything is written; takes back a change of pf's rules that an earlier run left unconfirmed; loads pf's
    module, without which pf.conf cannot be read. Check mode does neither.
options:
  allow: {type: list, elements: str, default: [], description: Networks that are never cut off.}
  replace: {type: bool, default: false, description: Replace a configuration of the daemon that is neither this role's nor the stock one.}
  own_anchor: {type: bool, default: false, description: Leave it to pf.conf to evaluate the daemon's rules where it does so already, though pf then exempts nobody.}
  confirm_seconds: {type: int, default: 90, description: Seconds after which an unconfirmed change is taken back.}
author: sokuhai
"""

RETURN = r"""
daemon: {description: The daemon's name on this host., type: str, returned: always}
operators: {description: "Addresses plays came from, this one's among them, that are to be exempt.", type: list, returned: always}
own_anchor: {description: "The line by which pf.conf evaluates the daemon's rules itself, or empty.", type: str, returned: always}
postfix_reports: {description: "Whether smtpd is linked with the daemon's library, by which it reports; null where there is none to look at.", type: bool, returned: always}
"""

from ansible.module_utils import blocklist_change, blocklist_daemon, blocklist_operator
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.blocklist_pf import Pf
from ansible.module_utils.sokuhai.host import Refused, answer, read


def ready(p, check_mode):
    """Return the module's answer. p: its options. Raises Refused."""
    known = blocklist_operator.record()
    daemon, former = blocklist_daemon.find(known), blocklist_daemon.former(known)
    now = blocklist_operator.operator(p["allow"])
    pf = Pf()
    daemon.refuse_unseen(pf.conf)
    changed = blocklist_change.take_back_pending(check_mode, p["confirm_seconds"])
    if blocklist_daemon.is_foreign(read(daemon.config)) and not p["replace"]:
        raise Refused(
            "blocklist_replace_config: %s was written by somebody else; set blocklist_replace_config: true to replace it (a copy stays beside it)"
            % daemon.config
        )
    if former:
        changed = True
        if not check_mode:
            blocklist_operator.remember(known, **blocklist_daemon.leave(former, known))
    pf.loaded(load=not check_mode)
    own = pf.find_own_anchor(read(pf.conf), daemon.name)
    if own and not p["own_anchor"]:
        raise Refused(
            "blocklist_own_anchor: %s evaluates %s's rules in a line of its own (%s), and pf would apply them even to those who must never be blocked: "
            "blocklist_allow, mynetworks and you. Remove that line, the role's anchor evaluates them before your first rule; or set "
            "blocklist_own_anchor: true to keep it" % (pf.conf, daemon.name, own)
        )
    return {
        "changed": changed,
        "daemon": daemon.name,
        "operators": blocklist_operator.operators(now, p["allow"], check_mode),
        "own_anchor": own,
        "postfix_reports": blocklist_daemon.postfix_reports(),
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "allow": {"type": "list", "elements": "str", "default": []},
            "replace": {"type": "bool", "default": False},
            "own_anchor": {"type": "bool", "default": False},
            "confirm_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: ready(module.params, module.check_mode))


if __name__ == "__main__":
    main()
