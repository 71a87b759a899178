# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What each folder may import, as docs/architecture.md has it: nothing of another role, and what runs on the host needs nothing installed."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = {"ansible.module_utils.basic", "ansible.module_utils.sokuhai"}
#: {files: what they may import beside the standard library and their own folder or role}
RULES = {
    "module_utils/sokuhai/*.py": {"ansible.module_utils.sokuhai"},
    "roles/*/library/*.py": MODULE,
    "roles/*/module_utils/*.py": MODULE,
    # the SPF agent's own library, which the probe replaces a part of; dnspython, which role ahead installs
    "roles/*/files/**/*.py": {"spf", "dns"},
    "roles/*/filter_plugins/*.py": {"ansible.errors", "sokuhai"},
    "roles/*/plugin_utils/**/*.py": {"ansible.errors", "sokuhai"},
    "roles/*/action_plugins/*.py": {"ansible"},
    "filter_plugins/*.py": {"ansible.errors"},
    "action_plugins/*.py": {"ansible"},
    "lookup_plugins/*.py": {"ansible"},
    "callback_plugins/*.py": {"ansible"},
    "verify/*.py": {"pytest", "testinfra", "yaml"},
    "tools/drift_report/**/*.py": set(),
    "lab/labkit/**/*.py": {"dns", "cryptography", "yaml", "labkit", "authheaders", "authres", "dkim", "spf"},
    "bench/*.py": {"labkit", "yaml", "dns", "drift_report"},
    "vm/vmkit/*.py": {"labkit", "vmkit"},
}


def imported(path):
    """Full names of what *path* imports: {"ansible.module_utils.sokuhai.host", …}."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {"%s.%s" % (node.module, alias.name) for alias in node.names}
    return names


def own(path):
    """Names of the modules beside *path*, and of all of its role."""
    inside = ROOT.joinpath(*path.relative_to(ROOT).parts[:2]) if "roles" in path.parts else None
    return {found.stem for found in [*path.parent.glob("*.py"), *(inside.glob("*/*") if inside else [])]}


@pytest.mark.parametrize("files", RULES)
def test_nothing_is_imported_sideways(files):
    assert list(ROOT.glob(files)), "nothing is there any more: the rule goes, too"
    found = set()
    for path in ROOT.glob(files):
        for name in imported(path):
            short = name.removeprefix("ansible.module_utils.").split(".")[0]
            given = any(name == prefix or name.startswith(prefix + ".") for prefix in RULES[files])
            if not given and short not in sys.stdlib_module_names and short not in own(path):
                found.add("%s: %s" % (path.relative_to(ROOT), name))
    assert found == set()
