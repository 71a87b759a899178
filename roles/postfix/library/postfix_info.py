#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask the host which Postfix it has."""

DOCUMENTATION = r"""
module: postfix_info
short_description: Ask the host which Postfix it has
description:
  - Reads paths and what it knows from the installed postconf(1), so that no role has to assume them.
  - A main.cf that Postfix cannot read is a failure in Postfix's own words.
  - Changes nothing. Works in check mode, and on a host without Postfix (installed is false then).
options:
  predicted:
    description: "The parameters to ask, from the present main.cf, else the compiled defaults, and default_database_type; with the values that are
      returned where Postfix is not installed."
    type: dict
    required: true
  optional:
    description: Parameters that only some releases know; what this one lacks is returned as unknown.
    type: list
    elements: str
    default: []
  required: {description: Fail where Postfix is not installed., type: bool, default: true}
author: sokuhai
"""

RETURN = r"""
installed: {description: Whether postconf was found., type: bool, returned: always}
paths: {description: "The asked parameters, by name.", type: dict, returned: always}
default_database_type: {description: The compiled default., type: str, returned: always}
unknown: {description: Names of optional that this Postfix does not know., type: list, returned: always}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host


def settled(postconf):
    """Wait for a main.cf that is younger than two seconds: it is read twice, and postconf forgets meanwhile where it was to look."""

    def old_enough():
        path = os.path.join(host.run([postconf, "-h", "config_directory"])[1].rstrip("\n"), "main.cf")
        return not os.path.exists(path) or abs(time.time() - os.stat(path).st_mtime) > 2.5

    host.wait_until(old_enough, 3)


def said(err):
    """Return what postconf(1) complained of, without its name: what it died of, else all of it."""
    lines = [line.partition("postconf: ")[2] or line for line in err.splitlines() if line.strip()]
    return "; ".join([line[7:] for line in lines if line.startswith("fatal: ")] or dict.fromkeys(lines))


def ask(postconf, predicted, optional):
    """Return (answer, paths): what this module returns of the Postfix whose command is *postconf*. Raises Refused where it does not answer.

    predicted, optional: the options of this module.
    """

    def printed(*arguments):
        status, out, err = host.run([postconf, *arguments])
        if status:
            raise host.Refused(said(err) or "postconf: exit status %d" % status)
        return out

    # The compiled defaults hold where there is no main.cf. Never where there is one that cannot be read: it may name another queue.
    source = [] if os.path.exists(os.path.join(predicted["config_directory"], "main.cf")) else ["-d"]
    values = printed(*source, "-hx", *predicted).splitlines()
    if len(values) != len(predicted):
        raise host.Refused("postconf -hx prints %d values of %s" % (len(values), " ".join(predicted)))
    # postconf(1) warns of a name it does not know and prints the others.
    known = printed("-d", *optional) if optional else ""
    known = {line.partition("=")[0].strip() for line in known.splitlines()}
    answer = {
        "installed": True,
        "default_database_type": printed("-d", "-h", "default_database_type").strip(),
        "unknown": [name for name in optional if name not in known],
    }
    return answer, dict(zip(predicted, values))


def main():
    module = AnsibleModule(
        argument_spec={
            "predicted": {"type": "dict", "required": True},
            "optional": {"type": "list", "elements": "str", "default": []},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    paths = dict(module.params["predicted"])
    answer = {"installed": False, "unknown": [], "default_database_type": paths.pop("default_database_type")}
    optional = module.params["optional"]
    postconf = module.get_bin_path("postconf", opt_dirs=host.PATH.split(":"))
    if postconf:
        settled(postconf)
        try:
            answer, paths = ask(postconf, paths, optional)
        except host.Refused as refused:
            module.fail_json(msg="postconf does not answer; mend what it names: %s" % refused)
    elif module.params["required"]:
        module.fail_json(
            msg="postfix_install: Postfix is not installed, there is no postconf; install it or set postfix_install: true"
        )
    else:
        module.warn("predicted: Postfix is not installed; its paths and its type of tables are those of the package")
    module.exit_json(changed=False, paths=paths, **answer)


if __name__ == "__main__":
    main()
