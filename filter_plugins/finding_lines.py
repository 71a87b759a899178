# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Findings in a playbook's own output. The report is tools/drift's."""


def finding_lines(findings):
    """One line (str) for each of a module's `findings` (module_utils/sokuhai/findings.py) that does not follow from another one of them."""
    ids = {entry["id"] for entry in findings}
    return [
        f"{entry['thing']}: found {entry['found'] or 'nothing'}, declared {entry['expected'] or 'nothing'}"
        for entry in findings
        if not ids.intersection(entry["because"])
    ]


class FilterModule:
    def filters(self):
        return {"finding_lines": finding_lines}
