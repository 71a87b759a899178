# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The role's filters. Ansible loads this file by its path, without a package, so it says itself where its parts lie."""

import pathlib
import sys

ROLE = pathlib.Path(__file__).resolve().parents[1]
# the role's own, what it shares with its module on the host, and what all roles share
sys.path[:0] = [str(ROLE / "plugin_utils"), str(ROLE / "module_utils"), str(ROLE.parents[1] / "module_utils")]

from sokuhai_access import countries, dnsbl, lists, problems, tables, verdict


def access_tables(declared):
    """Return the tables that are known on the controller (countries are not), [{name, type, entries}], for postfix_table_problems."""
    made, _ = tables.entries(declared)
    return [{"name": name, "type": tables.TYPES[name], "entries": entries} for name, entries in made.items() if entries]


class FilterModule:
    def filters(self):
        return {
            "access_problems": problems.problems,
            "access_set": lists.access_set,
            "access_asked": lists.access_asked,
            "access_tables": access_tables,
            "access_dnsbl_lists": dnsbl.lists,
            "country_actions": countries.country_actions,
            "registry_downloads": verdict.registry_downloads,
            "registry_verdict": verdict.registry_verdict,
        }
