#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A host's own resolver: named enabled and in force with its named.conf, and the host's resolv.conf on it."""

DOCUMENTATION = r"""
---
module: bind_config
short_description: Put named.conf in force on FreeBSD, or leave the old one in force, and let the host ask its named
description:
  - Sets the variables of rc.conf. Writes the text beside named.conf, has named-checkconf judge it, swaps it in, loads it (rndc
    reconfig, a restart where an option needs one), and queries named over UDP. When the new named does not answer, the previous
    file comes back and named runs with it.
  - Repairs what a killed run or an operator left behind. A named that is not running, that runs an older configuration
    than the file, that does not answer, or whose descriptor limit is below the floor is restarted.
  - Then keeps one marked block with name_servers in /etc/resolvconf.conf and runs resolvconf -u. openresolv lists only local name
    servers as soon as one is configured, so a renewed lease changes nothing. Where resolvconf=NO keeps resolvconf away, the
    nameserver lines of /etc/resolv.conf itself are replaced. The name servers are queried before the switch and after it; when they
    do not answer the files come back as they were.
options:
  state:
    description: With V(absent), the host asks its former name servers again, and named is stopped and not started at boot; its files stay.
      With V(before), named.conf and rc.conf have what they had before the first run, and named runs if it was enabled then. With V(previous), named
      runs with the last files before these that worked.
    type: str
    choices: [present, absent, before, previous]
    default: present
  content:
    description: The whole text of named.conf; required with O(state=present).
    type: str
  hidden:
    description: Secrets of keys that are in O(content). Shown nowhere, whatever is returned.
    type: list
    elements: str
    default: []
  files:
    description:
      - Further files that named.conf names (path, content), such as root hints; swapped and brought back together with it.
      - A change in one of them restarts named.
    type: list
    elements: dict
    default: []
  directories:
    description: Directories that named writes to; made for named's user where they are missing.
    type: list
    elements: str
    default: []
  rc:
    description: Variables of rc.conf and their values, YES or NO; removed with O(state=absent).
    type: dict
    default: {}
  displaces:
    description: Services that hold port 53 of the loopback address; stopped right before named starts, started again when named
      cannot, and not started at boot once named runs.
    type: list
    elements: str
    default: []
  openfiles:
    description: Soft descriptor limit the running named must have at least; 0 asks nothing.
    type: int
    default: 0
  servers:
    description: Addresses at which named must answer afterwards.
    type: list
    elements: str
    default: [127.0.0.1]
  probe_name:
    description: Domain whose NS records prove recursion.
    type: str
    default: .
  timeout:
    description: Seconds named has to answer after a start, and to resolve O(probe_name) before the host is switched to it.
    type: int
    default: 20
  replace:
    description: Take the place of a named.conf that role bind did not write; it stays as C(.before-sokuhai).
    type: bool
    default: false
  predict:
    description: In check mode, predict what becomes of a host without named; false refuses it there, too.
    type: bool
    default: true
  use_for_host:
    description: Whether the host asks O(name_servers), or its former name servers.
    type: bool
    default: true
  name_servers:
    description: Addresses of the host's own named.
    type: list
    elements: str
    default: [127.0.0.1]
  require_recursion:
    description: Switch the host only when the first of O(name_servers) resolves O(probe_name); else an answer of any kind is enough.
    type: bool
    default: true
author: sokuhai
"""

RETURN = r"""
action: {description: "What was done to the process, one of none, start, restart, reconfig", type: str, returned: "state=present"}
findings: {description: What differs besides files, type: list, returned: always}
recurses: {description: Whether named resolves probe_name, type: bool, returned: "state=present, not in check mode"}
static: {description: "resolvconf.conf has resolvconf=NO: /etc/resolv.conf itself is written", type: bool, returned: success}
step: {description: "Where the transaction failed: checkconf, the action, recursion, zones, openfiles", type: str, returned: failure}
restored: {description: Whether named runs with the previous files, type: bool, returned: failure}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bind_former import former
from ansible.module_utils.bind_named import Named
from ansible.module_utils.bind_resolver import Resolver
from ansible.module_utils.sokuhai import rc
from ansible.module_utils.sokuhai.host import Refused, answer


def enable(named, wanted, check_mode):
    """Set *wanted*, variables of rc.conf, and return the diff's entries; what the rc script assumes already is not written."""
    changes = rc.compare({name: value for name, value in wanted.items() if named.rc.get(name, "").upper() != value})
    if not check_mode:
        rc.apply(changes)
    return rc.diff(changes)


def present(named, want, check_mode):
    resolver = Resolver(want, want["use_for_host"])
    if not named.installed and not (check_mode and want["predict"]):
        raise Refused("bind_install: there is no named at %s; set bind_install: true" % named.rc["named_program"])
    named.judge()
    if not check_mode:
        named.keep()
    before = enable(named, want["rc"], check_mode)
    result = named.put_in_force() if named.installed else named.predicted()
    after = enable(named, {name + "_enable": "NO" for name in want["displaces"]}, check_mode)
    if resolver.changed and not check_mode:
        resolver.switch()
    result["diff"] = before + result["diff"] + after + resolver.diff()
    result["changed"] = bool(result["changed"] or before or after or resolver.changed)
    return {**result, "static": resolver.static}


def absent(named, want, check_mode):
    """The host first: it must not ask a named that is gone."""
    resolver, runs = Resolver(want, False), named.process() is not None
    changes = rc.compare(dict.fromkeys(want["rc"]))
    if not check_mode:
        if resolver.changed:
            resolver.switch()
        if runs:
            named.stop()
        rc.apply(changes)
    return {
        "changed": bool(resolver.changed or runs or changes),
        "findings": [],
        "diff": resolver.diff() + rc.diff(changes),
        "static": resolver.static,
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "before", "previous"], "default": "present"},
            "content": {"type": "str"},
            "hidden": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "files": {"type": "list", "elements": "dict", "default": []},
            "directories": {"type": "list", "elements": "str", "default": []},
            "rc": {"type": "dict", "default": {}},
            "displaces": {"type": "list", "elements": "str", "default": []},
            "openfiles": {"type": "int", "default": 0},
            "servers": {"type": "list", "elements": "str", "default": ["127.0.0.1"]},
            "probe_name": {"type": "str", "default": "."},
            "timeout": {"type": "int", "default": 20},
            "replace": {"type": "bool", "default": False},
            "predict": {"type": "bool", "default": True},
            "use_for_host": {"type": "bool", "default": True},
            "name_servers": {"type": "list", "elements": "str", "default": ["127.0.0.1"]},
            "require_recursion": {"type": "bool", "default": True},
        },
        required_if=[("state", "present", ["content"])],
        supports_check_mode=True,
    )
    named = Named(module.params, module.check_mode)
    work = {"present": present, "absent": absent}.get(module.params["state"], former)
    answer(module, lambda: work(named, module.params, module.check_mode), named.outcome)


if __name__ == "__main__":
    main()
