# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The documentation says what the code says: reference pages are fresh, links lead somewhere, named variables exist."""

import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.parts[-3] for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")])
EXAMPLE = sorted(ROOT.glob("inventory/home.example/**/*.yml"))


def test_the_reference_pages_are_what_the_specs_say():
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


def declared():
    """Names of all variables that an inventory may set: the roles' options and the shared ones that their defaults read."""
    names = set()
    for role in ROLES:
        names |= set(
            yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
                "options"
            ]
        )
        names |= set(re.findall(r"\bsokuhai_\w+", (ROOT / "roles" / role / "defaults/main.yml").read_text()))
    return names


def provided():
    """Names of the facts that roles set and of the filters that they bring: no variables, but named in texts all the same."""
    names = set()
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        names |= set(re.findall(r"^\s+(\w+):", path.read_text(), re.MULTILINE))
    for path in [*ROOT.glob("roles/*/filter_plugins/*.py"), *ROOT.glob("filter_plugins/*.py")]:
        names |= set(re.findall(r'"(\w+)": \w+', path.read_text()))
    # columns of the sampler's file
    names |= set(
        re.findall(
            r'"(\w+)"',
            (ROOT / "roles/monitor/files/monitor.py").read_text().partition("COLUMNS = (")[2].partition(")")[0],
        )
    )
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


# rc.conf's own, not ours
NOT_OURS = re.compile(r"postfix_(enable|limits|login_class)$")


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_named_in_a_text_exists(page):
    unknown = {name for name in named_in(page.read_text()) - declared() - provided() if not NOT_OURS.match(name)}
    assert unknown == set()


def tags():
    """Every tag that a playbook gives."""
    found = set()
    for path in [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml")]:
        found |= {
            tag
            for listed in re.findall(r"^\s+tags: \[(.*)\]$", path.read_text(), re.MULTILINE)
            for tag in re.split(r",\s*", listed)
        }
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_readme_ends_with_variables_tags_what_it_changes_and_the_way_back(role):
    text = (ROOT / "roles" / role / "README.md").read_text()
    assert text.startswith("# %s\n" % role)
    rows = dict(re.findall(r"^\| ([\w ]+) \| (.+) \|$", text.rpartition("\n## Reference\n")[2], re.MULTILINE))
    assert list(rows)[:4] == ["variables", "tags", "changes", "undo"]
    assert "docs/roles/%s.md" % role in rows["variables"]
    assert set(re.findall(r"`([a-z_]+)`", rows["tags"])) <= tags()
    for tag in re.findall(r"rollback.yml --tags (\w+)", rows["undo"]):
        assert tag in re.findall(
            r"\w+", " ".join(re.findall(r"tags: \[(.*)\]", (ROOT / "playbooks/rollback.yml").read_text()))
        )


def test_the_example_inventory_is_read_by_ansible_and_holds_one_host():
    run = subprocess.run(
        [pathlib.Path(sys.executable).parent / "ansible-inventory", "-i", ROOT / "inventory/home.example", "--list"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    data = yaml.safe_load(run.stdout)
    assert data["mailhosts"]["hosts"] == ["mx.home.example"]
    host = data["_meta"]["hostvars"]["mx.home.example"]
    assert host["sokuhai_domain"] == "home.example"
    assert re.match(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$", host["ansible_host"]), (
        "an address that belongs to somebody"
    )


def test_both_readmes_have_the_same_sections_and_commands():
    english, japanese = (ROOT / "README.md").read_text(), (ROOT / "README.ja.md").read_text()
    assert len(re.findall(r"^## ", english, re.MULTILINE)) == len(re.findall(r"^## ", japanese, re.MULTILINE))

    def commands(text):
        return [line.split("#")[0].strip() for line in re.findall(r"^    (.*)$", text, re.MULTILINE)]

    assert commands(english) == commands(japanese)
