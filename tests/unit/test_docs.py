# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The documentation agrees with the code: tables of variables are fresh; links, variables, commands and tags exist."""

import functools
import pathlib
import re
import subprocess
import sys

import pytest
import yaml
from sampler_modules import alarms, samples

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
ROLES = sorted(path.parts[-3] for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "roles/*/README.md", "lab/**/README.md", "bench/README.md")
    for path in ROOT.glob(pattern)
)
# the changelog speaks of what was
TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]
EXAMPLE = sorted(ROOT.glob("inventory/*.example/**/*.yml"))


def test_the_tables_of_variables_are_what_the_specs_say():
    run = subprocess.run([sys.executable, ROOT / "tools/docs", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            broken.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            if anchor not in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]:
                broken.append(target)
    assert broken == []


@functools.cache
def declared():
    """Names of all variables that an inventory may set."""
    files = [ROOT / "roles" / role / "meta/argument_specs.yml" for role in ROLES]
    specs = [next(iter(yaml.safe_load(path.read_text())["argument_specs"].values())) for path in files]
    return {name for spec in specs for name in spec["options"]}


@functools.cache
def provided():
    """Names of the facts that roles set and of the filters that they bring: no variables, but named in texts all the same."""
    names = set()
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        names |= set(re.findall(r"^\s+(\w+):", path.read_text(), re.MULTILINE))
    for path in [*ROOT.glob("roles/*/filter_plugins/*.py"), *ROOT.glob("filter_plugins/*.py")]:
        names |= set(re.findall(r'"(\w+)": \w+', path.read_text()))
    # columns of the sampler's file, and its alarms
    names |= set(samples.COLUMNS) | set(alarms.BY_NAME)
    return names | {
        path.stem
        for path in [
            *ROOT.glob("roles/*/library/*.py"),
            *ROOT.glob("filter_plugins/*.py"),
            *ROOT.glob("callback_plugins/*.py"),
        ]
    }


def named_in(text):
    return set(re.findall(r"(?<![\w/.*-])((?:sokuhai|%s)_[a-z0-9_]+)(?![\w/*(-]|\.[a-z])" % "|".join(ROLES), text))


# rc.conf's own, a service of ours that is no variable, and what a misspelled one looks like
NOT_OURS = re.compile(
    r"postfix_(enable|limits|login_class)$|sokuhai_(postgrey|dkim|postfwd|postfwd_enable|domian)$|sasl_(passwd|username|method)$|dkim_clients$|mta_sts_(enable|config|down|running)$"
)


@pytest.mark.parametrize("page", [*TODAY, *EXAMPLE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_named_in_a_text_exists(page):
    unknown = {name for name in named_in(page.read_text()) - declared() - provided() if not NOT_OURS.match(name)}
    assert unknown == set()


@functools.cache
def tags(playbook):
    """Every tag that *playbook* knows: of its tasks, or in the list that rebuild.yml judges itself."""
    run = subprocess.run(
        [BIN / "ansible-playbook", "-i", ROOT / "inventory/home.example", "--list-tags", ROOT / "playbooks" / playbook],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    judged = re.findall(r"ansible_run_tags.* is subset\(\[(.*)\]\)", (ROOT / "playbooks" / playbook).read_text())
    return set(re.findall(r"\w+", " ".join(re.findall(r"TASK TAGS: \[(.*)\]", run.stdout) + judged)))


@pytest.mark.parametrize("page", [*TODAY, *EXAMPLE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_playbook_and_tag_named_in_a_text_exists(page):
    unknown = []
    for playbook, options in re.findall(r"playbooks/(\w+\.yml)((?: -{1,2}\w[^`|#\n]*)?)", page.read_text()):
        if not (ROOT / "playbooks" / playbook).exists():
            unknown.append(playbook)
            continue
        for listed in re.findall(r"--(?:skip-)?tags ([a-z_,]+)", options):
            unknown += ["%s --tags %s" % (playbook, tag) for tag in listed.split(",") if tag not in tags(playbook)]
    assert unknown == []


@pytest.mark.parametrize("page", TODAY, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_in_a_text_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^    |&& )make ([a-z][\w-]*)", page.read_text(), re.MULTILINE)
    # the targets of FreeBSD's own makefiles
    assert set(named) - targets - {"config", "depends", "package", "installkernel", "buildworld"} == set()


def test_the_example_inventory_is_read_by_ansible_and_holds_one_host():
    run = subprocess.run(
        [BIN / "ansible-inventory", "-i", ROOT / "inventory/home.example", "--list"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    data = yaml.safe_load(run.stdout)
    assert data["mailhosts"]["hosts"] == ["mx.home.example"]
    host = data["_meta"]["hostvars"]["mx.home.example"]
    assert host["sokuhai_domain"] == "home.example"
    # the roles' default stays article; whoever only reads sees what he would get
    assert host["sokuhai_profile"] == "current"
    for page in ("README.md", "README.ja.md"):
        assert set(re.findall(r"docs/examples/(\w+)/", (ROOT / page).read_text())) == {host["sokuhai_profile"]}
    assert re.match(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$", host["ansible_host"]), (
        "an address that belongs to somebody"
    )


def test_every_function_named_in_a_text_is_in_the_file_that_it_names():
    files = [*ROOT.glob("module_utils/**/*.py"), *ROOT.glob("filter_plugins/*.py"), *ROOT.glob("roles/**/*.py")]
    named = re.findall(r"`(\w+)(?:\(\))?` of `([\w/]+\.py)`", (ROOT / "docs/releases.md").read_text())
    gone = [
        (name, file)
        for name, file in named
        if not any(
            re.search(rf"^ *(?:def|class) {name}\b", path.read_text(), re.MULTILINE)
            for path in files
            if str(path).endswith("/" + file)
        )
    ]
    assert len(named) > 15 and gone == []


def test_both_readmes_give_the_same_commands():
    def commands(name):
        return [
            line.split("#")[0].strip() for line in re.findall(r"^    (.*)$", (ROOT / name).read_text(), re.MULTILINE)
        ]

    assert commands("README.md") == commands("README.ja.md")


def test_the_roles_that_one_tag_runs_together_say_so_with_all_of_their_tags():
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/mail.yml").read_text())
    together = {task["ansible.builtin.import_role"]["name"]: task["tags"] for task in tasks if len(task["tags"]) > 1}
    for role, tags_ in together.items():
        (row,) = re.findall(r"^\| tags \| (.*) \|$", (ROOT / "roles" / role / "README.md").read_text(), re.MULTILINE)
        assert set(tags_) <= set(re.findall(r"`(\w+)`", row)), role


def test_both_readmes_list_the_same_roles_in_one_order():
    english, japanese = (
        re.findall(r"roles/(\w+)/README", (ROOT / f"README{end}.md").read_text()) for end in ("", ".ja")
    )
    assert english == japanese and len(english) > 15


def test_what_modules_share_is_listed_where_one_looks_before_writing_it_again():
    table = re.findall(r"^  \| ((?:`\w+`(?:, )?)+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    listed = {name for names in table for name in re.findall(r"`(\w+)`", names)}
    assert {path.stem for path in (ROOT / "module_utils/sokuhai").glob("[!_]*.py")} == listed
