# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The scripts of bootstrap.yml reach /bin/sh whole, whatever root's login shell is."""

import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
(PLAY,) = yaml.safe_load((ROOT / "playbooks/bootstrap.yml").read_text())


def raws(tasks):
    for task in tasks:
        if "ansible.builtin.raw" in task:
            yield task
        for part in ("block", "rescue", "always"):
            yield from raws(task.get(part, []))


RAWS = list(raws(PLAY["tasks"]))


def script(task):
    """The script with its expressions filled in by a word that needs quoting."""
    text = re.sub(r"\{%.*?%\}", "", task["ansible.builtin.raw"])
    text = text.replace("{{ __bootstrap_path }}", PLAY["vars"]["__bootstrap_path"])
    return re.sub(r"\{\{.*?\}\}", "'a \"b'", text)


def test_it_is_all_raw_since_there_is_no_python():
    modules = {
        key
        for task in PLAY["tasks"]
        for part in [task, *task.get("block", []), *task.get("rescue", [])]
        for key in part
        if "." in key
    }
    # the others run on the controller
    assert modules == {"ansible.builtin.raw", "ansible.builtin.assert", "ansible.builtin.debug", "ansible.builtin.fail"}
    assert PLAY["gather_facts"] is False
    assert len(RAWS) >= 6


@pytest.mark.parametrize("task", RAWS, ids=lambda task: task["name"])
def test_one_line_for_sh_without_what_csh_would_expand(task):
    assert task["args"]["executable"] == "/bin/sh"
    assert "\n" not in task["ansible.builtin.raw"].strip(), "csh ends a quoted string at the line's end"
    assert "!" not in task["ansible.builtin.raw"], "csh expands it within single quotes, too"


@pytest.mark.parametrize("task", RAWS, ids=lambda task: task["name"])
def test_sh_can_parse_it(task):
    run = subprocess.run(["/bin/sh", "-n", "-c", script(task)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("task", RAWS, ids=lambda task: task["name"])
def test_csh_hands_it_over_unchanged(task):
    csh = shutil.which("tcsh") or shutil.which("csh")
    if csh is None:
        pytest.skip("no csh on this machine: what csh would do with the quoted script is not tried")
    run = subprocess.run([csh, "-f", "-c", "printf %s " + shlex.quote(script(task))], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, script(task)), run.stderr


@pytest.mark.parametrize("task", RAWS, ids=lambda task: task["name"])
def test_changed_is_said_by_the_script_itself(task):
    assert task["changed_when"] is False or "sokuhai=changed" in str(task["changed_when"])
    if task["changed_when"] is not False:
        assert "echo sokuhai=changed" in task["ansible.builtin.raw"]


def test_su_is_not_given_what_the_inventory_says_of_doas():
    """Ansible's plugin for su reads ansible_become_exe and ansible_become_flags, too."""
    inventory = yaml.safe_load((ROOT / "inventory/home.example/group_vars/mailhosts/main.yml").read_text())
    declared = {name for name in inventory if name.startswith("ansible_become")}
    assert {"ansible_become_exe", "ansible_become_flags"} <= declared <= set(PLAY["vars"])
    assert PLAY["vars"]["ansible_become_exe"] == "su" and PLAY["vars"]["ansible_become_flags"] == ""
