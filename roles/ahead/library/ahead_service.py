#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The policy service that has recipients' domains looked up ahead of their delivery, proved by running it before Postfix asks it anything."""

DOCUMENTATION = r"""
module: ahead_service
short_description: Lookups ahead of the delivery, proved by an answer
description:
  - Installs dnspython where no Python of the host has it, writes the program, its configuration and the program that passes connections to it, and makes the directory
    of their sockets. Has a connection passed on as spawn(8) does it; what does not answer C(DUNNO) is refused, and the files are as before.
  - Nothing has to be started or stopped. Another program or configuration is another process, to which all new connections go.
options:
  program: {type: path, required: true}
  text: {type: str, required: true, description: "Its text, Python; the first line, which names the interpreter, is put before it."}
  config: {type: path, required: true}
  config_text: {type: str, required: true, description: JSON.}
  server: {type: path, required: true, description: Path of the program that passes connections to one process for all.}
  server_text: {type: str, required: true, description: "Its text, Python; what sh(1) makes of it stands before."}
  directory: {type: path, required: true, description: "Directory of that program's sockets, the user's own."}
  user: {type: str, required: true, description: The user that the service runs as.}
  recipient: {type: str, required: true, description: Whom the proof asks about; its domain is looked up.}
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


def present(p, check):
    """Write what differs and prove it; return the module's answer. Raises Refused."""
    python = interpreter()
    missing = [] if python else pkg.missing(p["packages"])
    findings = pkg.findings(missing)
    for path in (p["program"], p["config"], p["server"]):
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
    paths = {name: {"type": "path", "required": True} for name in ("program", "config", "server", "directory")}
    texts = ("text", "config_text", "server_text", "user", "recipient")
    module = AnsibleModule(
        argument_spec={
            **paths,
            **{name: {"type": "str", "required": True} for name in texts},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host.answer(module, lambda: present(module.params, module.check_mode))


if __name__ == "__main__":
    main()
