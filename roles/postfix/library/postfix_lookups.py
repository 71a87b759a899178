#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask the installed Postfix about declared expressions and samples, before anything changes."""

DOCUMENTATION = r"""
module: postfix_lookups
short_description: Ask the installed Postfix about declared expressions and samples
description:
  - Writes the tables into a temporary directory, asks postmap(1), and fails with every entry that Postfix would skip and every sample that is answered
    otherwise. Nothing else can tell what the host's regular expressions take.
  - Changes nothing. Where Postfix is not installed, or cannot read its main.cf, judged is false; postfix_config asks again before anything is replaced.
options:
  tables:
    description: The tables.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name., type: str, required: true}
      type: {description: Postfix's type of a table that needs no database., type: str, required: true}
      lines: {description: "Its entries, each a line.", type: list, elements: str, required: true}
      origins: {description: What a sentence about each line begins with., type: list, elements: str, required: true}
  samples:
    description: >-
      What must be answered: {origin, asked: [[table, key], …], past, expect}. The first answer that is not past counts, and may go on behind expect;
      an empty one is none.
    type: list
    elements: dict
    default: []
author: sokuhai
"""

RETURN = r"""
judged: {description: Whether Postfix could be asked., type: bool, returned: always}
problems: {description: "What is wrong, one sentence each.", type: list, elements: str, returned: on failure}
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postfix_lookup import keys_of, lookup, named, wrong
from ansible.module_utils.sokuhai import host


def judged(postmap, tables, samples):
    """Ask about the *tables* and *samples* of the module's options; return whether Postfix could be asked. Raises Refused with all that is wrong.

    postmap: as postfix_lookup.lookup() takes it.
    """
    if postmap("-q", "x", "static:y", text="")[1].strip() != "y":
        return False
    problems, answers, keys = [], {}, keys_of(samples)
    with tempfile.TemporaryDirectory() as directory:
        for table in tables:
            path = os.path.join(directory, table["name"])
            host.write(path, "".join("%s\n" % line for line in table["lines"]), 0o600)
            spec = "%s:%s" % (table["type"], path)
            answers[table["name"]], complaints = lookup(postmap, spec, keys.get(table["name"], []))
            problems += [named(complaint, table["name"], table["origins"]) for complaint in complaints]
    if not problems:
        # where an entry is skipped, a sample would only repeat that
        problems = wrong(samples, answers)
    if problems:
        raise host.Refused(list(dict.fromkeys(problems)))
    return True


def main():
    module = AnsibleModule(
        argument_spec={
            "tables": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "lines": {"type": "list", "elements": "str", "required": True},
                    "origins": {"type": "list", "elements": "str", "required": True},
                },
            },
            "samples": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    p = module.params
    postmap = module.get_bin_path("postmap", opt_dirs=host.PATH.split(":"))

    def ask():
        found = postmap and judged(
            lambda *arguments, text: host.run([postmap, *arguments], text=text), p["tables"], p["samples"]
        )
        if not found and module.check_mode:
            module.warn("predicted: expressions and samples are judged by Postfix itself, which cannot be asked yet")
        return {"judged": bool(found), "changed": False}

    host.answer(module, ask)


if __name__ == "__main__":
    main()
