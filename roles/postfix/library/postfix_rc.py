#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Keys of rc.conf(5) style files through sysrc(8), many in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postfix_rc
short_description: Set keys of rc.conf style files through sysrc
description:
  - One call sets keys in several files; sysrc(8) itself compares and writes, so that /etc/rc.conf keeps its form.
options:
  settings:
    description: The keys. Without file sysrc chooses (/etc/rc.conf, and the defaults count as set).
    type: list
    elements: dict
    required: true
    suboptions:
      file: {description: A file other than rc.conf., type: path}
      key: {description: Name of the key., type: str, required: true}
      value: {description: Wanted value., type: str, required: true}
author: sokuhai
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "settings": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "file": {"type": "path"},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "value": {"type": "str", "required": True},
                },
            }
        },
        supports_check_mode=True,
    )
    sysrc = module.get_bin_path("sysrc", required=True, opt_dirs=["/usr/sbin"])
    before, after = [], []
    for setting in module.params["settings"]:
        where = ["-f", setting["file"]] if setting["file"] else []
        code, out, dummy = module.run_command([sysrc, *where, "-n", setting["key"]])
        now = out.strip() if code == 0 else None
        if now == setting["value"]:
            continue
        label = "%s%s" % (setting["file"] + ": " if setting["file"] else "", setting["key"])
        before.append("%s=%s" % (label, "(not set)" if now is None else now))
        after.append("%s=%s" % (label, setting["value"]))
        if not module.check_mode:
            code, out, err = module.run_command([sysrc, *where, "%s=%s" % (setting["key"], setting["value"])])
            if code != 0:
                module.fail_json(msg="sysrc does not set %s: %s" % (label, (err or out).strip()), rc=code)
            code, out, dummy = module.run_command([sysrc, *where, "-n", setting["key"]])
            if out.strip() != setting["value"]:
                module.fail_json(
                    msg="%s is %r after sysrc set it to %r: another file overrides it"
                    % (label, out.strip(), setting["value"])
                )
    module.exit_json(changed=bool(after), diff={"before": "\n".join(before + [""]), "after": "\n".join(after + [""])})


if __name__ == "__main__":
    main()
