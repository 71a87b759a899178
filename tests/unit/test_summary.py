# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The callbacks that count what a run costs, and spare it something."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILTER = """
import gc, os, pathlib

def note(name, words):
    with open(pathlib.Path(__file__).with_name(name), "a") as log:
        log.write(f"{words}\\n")

note("loaded", os.getpid())

class FilterModule:
    def filters(self):
        return {"same": self.same}

    def same(self, value):
        note("rounds", (gc.get_threshold()[0], gc.get_freeze_count() > 1000))
        return value
"""
TASK = "ansible.builtin.debug: {msg: \"{{ 'a' | same }}\"}"


def test_a_filter_is_loaded_once_and_garbage_seldom_looked_for_by_the_process_of_each_task(tmp_path):
    for role in ("one", "two"):
        for folder, name, text in (("filter_plugins", f"{role}.py", FILTER), ("tasks", "main.yml", f"- {TASK}\n")):
            (tmp_path / "roles" / role / folder).mkdir(parents=True)
            (tmp_path / "roles" / role / folder / name).write_text(text)
    included = "  - ansible.builtin.include_role: {name: two}\n"
    book = "- hosts: localhost\n  gather_facts: false\n  roles: [one]\n  tasks:\n" + included + f"  - {TASK}\n" * 2
    (tmp_path / "book.yml").write_text(book)
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "SOKUHAI_SUMMARY": str(tmp_path / "summary")}
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", "-c", "local", tmp_path / "book.yml"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary").read_text())
    assert (summary["tasks"], summary["remote_commands"]) == (5, 0) and summary["hosts"]["localhost"]["ok"] == 5
    for role in ("one", "two"):
        loaded = (tmp_path / "roles" / role / "filter_plugins" / "loaded").read_text().split()
        assert len(loaded) == 1, f"{role}: by {len(loaded)} processes"
    rounds = [*tmp_path.glob("roles/*/filter_plugins/rounds")]
    assert rounds and {line for path in rounds for line in path.read_text().splitlines()} == {"(100000, True)"}
