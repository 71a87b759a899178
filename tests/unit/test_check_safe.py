# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Check mode answers what a run would find: no task whose result others decide on is one that check mode skips.

tools/drift is site.yml in check mode; what hides behind a skipped command would be drift that nobody is told."""

import ast
import functools
import json
import pathlib
import re

import pytest
import yaml
from ansible.modules import __path__ as BUILTIN

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".venv" / "collections" / "ansible_collections"
KEYWORDS = {
    "name",
    "vars",
    "loop",
    "loop_control",
    "when",
    "tags",
    "register",
    "changed_when",
    "failed_when",
    "no_log",
    "run_once",
    "delegate_to",
    "become",
    "become_user",
    "check_mode",
    "notify",
    "args",
    "environment",
    "until",
    "retries",
    "delay",
    "listen",
    "ignore_errors",
    "async",
    "poll",
    "diff",
    "throttle",
    "ignore_unreachable",
    "delegate_facts",
    "module_defaults",
    "any_errors_fatal",
    "block",
    "rescue",
    "always",
}
#: They start no module on the host, whatever the mode.
CONTROLLER = {
    "ansible.builtin." + name
    for name in (
        "assert",
        "debug",
        "fail",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "set_fact",
        "add_host",
        "group_by",
        "pause",
    )
} | {"preflight_declared"}
#: What they answer in check mode depends on the system, of which FreeBSD's branch predicts, or is what the module answers that is followed.
PREDICTS = {"ansible.builtin.service", "followed"}
#: Registered, and left out of check mode, since there is nothing to be asked there: what a run would have installed or built only then.
NOT_THERE_YET = {
    "Ask the named that was just installed",
    "Prepare one boot of the new kernel",
    "Prove that Python runs and that the administrator becomes root",
}
FILES = sorted(
    {
        *ROOT.glob("roles/*/tasks/*.yml"),
        *ROOT.glob("roles/*/handlers/*.yml"),
        *ROOT.glob("playbooks/*.yml"),
        *ROOT.glob("playbooks/tasks/*.yml"),
    }
)
EVERYWHERE = sorted(
    {
        *FILES,
        *ROOT.glob("roles/*/vars/*.yml"),
        *ROOT.glob("playbooks/vars/*.yml"),
        *ROOT.glob("roles/*/templates/**/*.j2"),
    }
)
OWN = sorted(ROOT.glob("roles/*/library/*.py"))


def flat(entries):
    """The tasks of a list of tasks or plays, those in blocks with the conditions and check_mode of their blocks."""
    for entry in entries or []:
        for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers"):
            for task in flat(entry.get(part)):
                inherited = {"check_mode": entry["check_mode"]} if "check_mode" in entry else {}
                yield {**inherited, **task, "when": conditions(entry) + conditions(task)}
        if set(entry) - KEYWORDS and "hosts" not in entry and "block" not in entry:
            yield entry


def conditions(task):
    when = task.get("when", [])
    return [str(text) for text in (when if isinstance(when, list) else [when])]


@functools.cache
def support(module):
    """`full`, `partial` or `none`: what a module says of check mode, in its source (own) or in its documentation."""
    own = [path for path in OWN if path.stem == module]
    if own:
        calls = [
            node
            for node in ast.walk(ast.parse(own[0].read_text()))
            if isinstance(node, ast.keyword) and node.arg == "supports_check_mode"
        ]
        return (
            "full"
            if calls and all(isinstance(node.value, ast.Constant) and node.value.value is True for node in calls)
            else "none"
        )
    space, name = module.rpartition(".")[::2]
    paths = (
        [pathlib.Path(folder, name + ".py") for folder in BUILTIN]
        if space == "ansible.builtin"
        else [COLLECTIONS.joinpath(*space.split("."), "plugins", "modules", name + ".py")]
    )
    for path in filter(pathlib.Path.exists, paths):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "DOCUMENTATION":
                return (
                    yaml.safe_load(ast.literal_eval(node.value))
                    .get("attributes", {})
                    .get("check_mode", {})
                    .get("support", "none")
                )
    raise AssertionError(f"{module}: its documentation is not there to be asked")


def answers(task):
    """Whether a task gives in check mode the answer that it gives in a run, or runs all the same."""
    (module,) = set(task) - KEYWORDS
    return module in CONTROLLER | PREDICTS or task.get("check_mode") is False or support(module) == "full"


def decided_on(path):
    """The tasks of a file whose result something beside themselves looks at."""
    tasks = list(flat(yaml.safe_load(path.read_text())))
    others = "\n".join(text.read_text() for text in EVERYWHERE if text != path)
    for task in tasks:
        if "register" in task:
            name = re.compile(r"\b%s\b" % re.escape(task["register"]))
            # a name that begins with __ is one role's, or one playbook's, and may be looked at in any of its files
            if name.search(others) or any(
                name.search(json.dumps(other, default=str)) for other in tasks if other is not task
            ):
                yield task


def test_the_documentation_says_what_is_known_of_it():
    assert (
        support("ansible.builtin.command"),
        support("ansible.builtin.wait_for_connection"),
        support("ansible.builtin.template"),
    ) == ("partial", "none", "full")


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_every_module_of_ours_has_a_check_mode(path):
    assert support(path.stem) == "full"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_others_decide_on_is_asked_in_check_mode_too(path):
    unsafe = {task["name"] for task in decided_on(path) if not answers(task)}
    assert unsafe <= NOT_THERE_YET, "skipped or guessed in check mode: they need check_mode: false"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_decided_on_is_left_out_of_check_mode(path):
    left_out = {
        task["name"] for task in decided_on(path) if any("ansible_check_mode" in text for text in conditions(task))
    }
    assert left_out <= NOT_THERE_YET


@pytest.mark.parametrize(
    "text, safe",
    [
        ("- {name: a, ansible.builtin.command: x, register: y}", False),
        ("- {name: a, ansible.builtin.command: x, register: y, check_mode: false}", True),
        ("- {name: b, block: [{name: a, ansible.builtin.command: x, register: y}], check_mode: false}", True),
        ("- {name: b, block: [{name: a, ansible.builtin.uri: {url: x}, register: y}]}", False),
        ("- {name: a, ansible.builtin.command: x}", True),
        ("- {name: a, limits_apply: {}, register: y}", True),
        ("- {name: a, community.general.sysrc: {}, register: y}", True),
    ],
)
def test_an_unsafe_task_would_be_seen(text, safe):
    assert all(answers(task) for task in flat(yaml.safe_load(text)) if "register" in task) == safe
