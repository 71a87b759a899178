"""Loads what is no package by its path: modules and filters of the roles, tools.

Ansible ships a module together with what it imports from ansible.module_utils; here that name finds the project's own folder and the roles'.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys

import ansible.module_utils
import jinja2
import jinja2.nativetypes
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible.plugins.filter import core

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: For the first line of a stand-in that needs Python's own library: the virtual environment may be in a path with a space, which no such line can name.
PYTHON = os.path.realpath(sys.executable)
for folder in (ROOT / "module_utils", *sorted(ROOT.glob("roles/*/module_utils"))):
    if str(folder) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(folder))


def load(path, name=None):
    """Run the Python file *path* (below the repository, with or without .py) as the module *name* and return it.

    name: what it is known as afterwards; made of the path where it is None, so that files of the same name do not meet.
    """
    path = ROOT / path
    name = name or "_".join(path.relative_to(ROOT).with_suffix("").parts)
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = wrote
    return module


def util(name):
    """Return ansible.module_utils.NAME as the modules import it, so that what a test replaces there is replaced for them."""
    return importlib.import_module("ansible.module_utils." + name)


def answer_of(module, check_mode=False, **params):
    """Run main() of an Ansible module with these parameters, and its own defaults for others; return its answer (dict), with `failed` in any case."""
    params = {**params, "_ansible_check_mode": check_mode, "_ansible_no_log": True}
    with patch_module_args(params), contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        module.main()
    return {"failed": False, **json.loads(printed.getvalue())}


def rendered(role, template, **variables):
    """Return the text of a role's template as Ansible makes it, with the role's own filters and Ansible's.

    template: its path below the role's templates/. variables: all that it needs; one that is missing is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "roles" / role / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    # of two with one name Jinja's: Ansible's default wants Ansible's own undefined values
    environment.filters = {**core.FilterModule().filters(), **environment.filters}
    for path in sorted((ROOT / "roles" / role).glob("filter_plugins/*.py")):
        environment.filters.update(load(path).FilterModule().filters())
    return environment.get_template(template).render(**variables)


def defaults(*roles, **variables):
    """Return {name: value} of the roles' defaults as Ansible would have them where *variables* are declared; what needs a host stays as it is written."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters = {**core.FilterModule().filters(), **environment.filters}
    for path in sorted((ROOT / "filter_plugins").glob("*.py")):
        environment.filters.update(getattr(load(path), "FilterModule", lambda: None)().filters())
    found = {}
    for role in ("sokuhai", *roles):
        found |= yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    found |= variables

    def value(raw):
        if isinstance(raw, list):
            return [value(one) for one in raw]
        if not isinstance(raw, str) or "{{" not in raw:
            return raw
        with contextlib.suppress(jinja2.UndefinedError):
            return environment.from_string(raw).render(found)
        return raw

    # a default may follow one that follows another; the shared ones come first, and are values when a filter gets them
    for _ in range(3):
        for name, raw in found.items():
            found[name] = value(raw)
    return found


def shellcheck(script, severity="style"):
    """Fail with what shellcheck has to say of the text of a script of sh(1), from *severity* on."""
    program = pathlib.Path(sys.executable).with_name("shellcheck")
    command = [program, "-s", "sh", "-S", severity, "--rcfile", ROOT / ".shellcheckrc", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
