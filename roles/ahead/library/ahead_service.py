#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The policy service that has recipients' domains looked up ahead of their delivery, proved by running it before Postfix asks it anything."""

DOCUMENTATION = r"""
module: ahead_service
short_description: Lookups ahead of the delivery, proved by an answer
description:
  - Installs dnspython where no Python of the host has it, writes the program, its configuration and the program that passes connections to it, and makes the directory
    of their sockets. Has a connection passed on as spawn(8) does it; what does not answer C(DUNNO) is refused, and the files are as before.
  - Installs the command that warms named's cache beside it, and the line of cron(8) that runs it.
  - Nothing has to be started or stopped. Another program or configuration is another process, to which all new connections go.
options:
  state: {type: str, default: present, choices: [present, absent], description: "absent: no line of cron(8), and none of what it kept; the programs stay, and nothing runs."}
  program: {type: path}
  text: {type: str, default: '', description: "Its text, Python; the first line, which names the interpreter, is put before it."}
  config: {type: path}
  config_text: {type: str, default: '', description: JSON.}
  server: {type: path, description: Path of the program that passes connections to one process for all.}
  server_text: {type: str, default: '', description: "Its text, Python; what sh(1) makes of it stands before."}
  directory: {type: path, description: "Directory of that program's sockets, the user's own."}
  user: {type: str, default: '', description: The user that the service runs as.}
  recipient: {type: str, default: '', description: Whom the proof asks about; its domain is looked up.}
  warm: {type: path, description: Path of the command that warms the cache.}
  warm_text: {type: str, default: '', description: "Its text, Python."}
  cron: {type: path, required: true, description: Path of the file of cron(8).}
  cron_text: {type: str, default: '', description: Its text; empty for no file.}
  numbers: {type: path, required: true, description: What the command keeps for role monitor.}
  packages: {type: list, elements: str, default: [], description: Packages that are installed where no Python has dnspython.}
author: sokuhai
"""

RETURN = r"""
predicted: {description: dnspython is not installed yet., type: bool, returned: success}
findings: {description: "package NAME; mode of a file; directory of the sockets.", type: list, elements: dict, returned: success}
"""

import glob

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, pkg, policy, policyd
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.host import Refused

#: lang/python3 first; without it those of lang/python3NN.
PYTHONS = ("/usr/local/bin/python3", "/usr/local/bin/python3.[0-9]*[0-9]")


def interpreter():
    """Return the path of the first Python of the ports that has dnspython, or None."""
    for path in (path for pattern in PYTHONS for path in sorted(glob.glob(pattern), reverse=True)):
        if host.run([path, "-I", "-c", "import dns.message"])[0] == 0:
            return path
    return None


def warming(p):
    """Return the files (list of File) that end with the line of cron(8): it, and, without it, the numbers that nobody renews any more."""
    files = [File(p["cron"], p["cron_text"] or None)]
    return files if p["cron_text"] else [*files, File(p["numbers"], None)]


def absent(p, check):
    """Have nothing run by cron(8); return the module's answer. What somebody else wrote there stays: this role is off."""
    files = [
        file
        for file in warming({**p, "cron_text": ""})
        if file.path == p["numbers"] or policyd.MARK in (file.former or "")
    ]
    diff = [one for file in files for one in file.diff()]
    for file in files if diff and not check else []:
        file.put()
    return {"predicted": False, "changed": bool(diff), "findings": [], "diff": diff}


def present(p, check):
    """Write what differs and prove it; return the module's answer. Raises Refused."""
    python = interpreter()
    missing = [] if python else pkg.missing(p["packages"])
    findings = pkg.findings(missing)
    for path in (p["program"], p["config"], p["server"], p["warm"], p["cron"]):
        policyd.refuse_foreign("ahead", path)
    if missing and not check:
        pkg.install(missing)
        python = interpreter()
    if not python and not (check and missing):
        raise Refused(
            "ahead_install: no Python of this host has dnspython; set ahead_install: true, or install dns/py-dnspython"
        )
    files = [
        File(p["server"], policyd.HEAD + p["server_text"], 0o755),
        File(p["config"], p["config_text"]),
        File(p["program"], "#!%s\n%s" % (python or PYTHONS[0], p["text"]), 0o755),
        # root runs it: nothing of the caller's environment or directory
        File(p["warm"], "#!%s -IB\n%s" % (python or PYTHONS[0], p["warm_text"]), 0o755),
        *warming(p),
    ]
    entry = policyd.account("ahead_user", p["user"])
    findings += [one for file in files for one in file.findings()]
    folder = policyd.folder(p["directory"], entry)
    findings += folder
    diff = [one for file in files for one in file.diff()]
    answer = {"predicted": bool(missing), "changed": bool(diff or findings), "findings": findings, "diff": diff}
    if check or not answer["changed"]:
        return answer
    if folder:
        policyd.make_folder(p["directory"], entry)
    try:
        for file in files:
            file.put()
        request = policy.request("probe.invalid", "probe@probe.invalid", p["recipient"], "probe.ahead")
        said = policyd.prove("ahead", [p["server"], p["program"], p["config"]], entry, request)
        if said != "action=DUNNO":
            raise Refused("ahead: %s answers %r where only action=DUNNO is right" % (p["program"], said))
    except (OSError, Refused):
        for file in files:
            file.restore()
        raise
    return answer


def main():
    paths = {name: {"type": "path"} for name in ("program", "config", "server", "directory", "warm")}
    texts = ("text", "config_text", "server_text", "warm_text", "cron_text", "user", "recipient")
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            **paths,
            **{name: {"type": "path", "required": True} for name in ("cron", "numbers")},
            **{name: {"type": "str", "default": ""} for name in texts},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[
            ("state", "present", [*paths, "text", "config_text", "server_text", "warm_text", "user", "recipient"])
        ],
        supports_check_mode=True,
    )
    have = present if module.params["state"] == "present" else absent
    host.answer(module, lambda: have(module.params, module.check_mode))


if __name__ == "__main__":
    main()
