# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What docs/troubleshoot.md and docs/upgrade.md give as printed by this project is in the code, word for word."""

import ast
import functools
import re

import pytest
from role_modules import ROOT

FOLDERS = ("roles", "module_utils", "playbooks", "filter_plugins", "action_plugins", "tools", "verify")


def texts(path):
    """Yield the texts in a file: of Python each string, a gap for what is put in; of YAML all of it, as folded scalars have it."""
    if path.suffix == ".yml":
        yield " ".join(path.read_text().split())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)


@functools.cache
def printed():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml")]
    return "\n".join(text for path in sorted(files) for text in texts(path))


def quoted(markdown):
    """Return what stands in quotation marks outside of code, each in the parts that "…" leaves."""
    prose = re.sub(r"^(    |\t).*$|`[^`]*`", "", markdown, flags=re.M)
    return [part.strip() for quote in re.findall(r'"([^"]+)"', prose) for part in quote.split("…") if part.strip()]


@pytest.mark.parametrize("name", ["troubleshoot", "upgrade"])
def test_a_message_in_quotation_marks_is_one_that_the_code_prints(name):
    found = quoted((ROOT / f"docs/{name}.md").read_text())
    assert len(found) > 15
    assert [part for part in found if part not in printed()] == []


def test_what_is_code_or_left_out_is_not_looked_for():
    assert quoted('see "one … two", `"three"`\n\n    echo "four"\n') == ["one", "two"]
