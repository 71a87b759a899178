# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What every role owes: specs that say all its defaults, equal entry points, and no reading of a neighbour's variables."""

import functools
import pathlib
import re
import subprocess

import pytest
import yaml
from role_modules import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
#: Those that do something; the one that does not holds what they share.
ACTING = [role for role in ROLES if role != "sokuhai"]


FILTERS = [*ROOT.glob("roles/*/filter_plugins/*.py"), *ROOT.glob("filter_plugins/*.py")]
#: Words of another system, and of the lab.
OTHERS = re.compile(r"\b(?:linux|debian|ubuntu|trixie|bookworm|systemd|apt)\b|\blab_|sokuhai-lab", re.IGNORECASE)


@functools.cache
def specs(role):
    return yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]


def options(role):
    return next(iter(specs(role).values()))["options"]


@functools.cache
def defaults(role):
    return yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text()) or {}


def walk(keys, path=""):
    for name, option in keys.items():
        yield path + name, option
        yield from walk(option.get("options", {}), path + name + ".")


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_declared_and_every_option_has_its_default_in_one_place(role):
    assert set(defaults(role)) == {name for name, option in options(role).items() if not option.get("required")}
    assert [name for name, option in options(role).items() if "default" in option] == [], "defaults/main.yml has it"


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_carries_the_roles_name(role):
    prefixes = (role + "_", "rebuild_") if role == "sokuhai" else (role + "_",)
    assert [name for name in options(role) if not name.startswith(prefixes)] == []


@pytest.mark.parametrize("role", ACTING)
def test_every_role_knows_the_shared_variables_and_sets_no_fallback_of_its_own(role):
    assert yaml.safe_load((ROOT / "roles" / role / "meta/main.yml").read_text()) == {"dependencies": ["sokuhai"]}
    text = (ROOT / "roles" / role / "defaults/main.yml").read_text()
    assert [name for name in options("sokuhai") if re.search(name + r" *\| *default", text)] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_option_has_a_type_and_a_description(role):
    for path, option in walk(options(role)):
        assert option.get("type") in {"str", "int", "float", "bool", "list", "dict", "path", "raw"}, path
        assert str(option.get("description", "")).strip(), path
        assert option["type"] != "list" or option.get("elements"), path + ": a list says what it is a list of"


@pytest.mark.parametrize("role", ROLES)
def test_a_plain_default_has_the_declared_type(role):
    kinds = {"str": str, "path": str, "int": int, "bool": bool, "list": list, "dict": dict, "float": (int, float)}
    for name, value in defaults(role).items():
        option = options(role)[name]
        if option["type"] == "raw" or (isinstance(value, str) and "{{" in value):
            continue
        assert isinstance(value, kinds[option["type"]]) and (option["type"] == "bool") == isinstance(value, bool), name
        if option.get("choices"):
            assert set(value if isinstance(value, list) else [value]) <= set(option["choices"]), name


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_no_neighbours_variables(role):
    neighbours = {name for other in ACTING if other != role for name in options(other)}
    found = set()
    for path in (ROOT / "roles" / role).rglob("*"):
        if path.suffix not in (".yml", ".j2"):
            continue
        text = path.read_text()
        code = re.sub("#.*", "", text) if path.suffix == ".yml" else text
        # in a sentence for the reader a neighbour may be named; in an expression it may not
        expressions = re.findall(r"\{\{.*?\}\}|\{%.*?%\}|\b(?:when|that|loop):.*", code)
        named = neighbours & set(re.findall(r"\w+", " ".join(expressions)))
        found |= {"%s: %s" % (path.relative_to(ROOT), name) for name in named}
    assert found == set()


def test_no_role_playbook_or_filter_names_another_system():
    """One code path, FreeBSD's: what makes the practice host different is in the lab's own inventory."""
    found = set()
    for folder in ("roles", "playbooks", "filter_plugins", "callback_plugins"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".yml", ".j2", ".py"):
                # a sysctl tree of FreeBSD itself
                text = re.sub(r".*compat\.linux.*", "", path.read_text())
                found |= {(path.relative_to(ROOT), word) for word in OTHERS.findall(text)}
    assert found == set()


def test_nothing_is_left_for_later():
    words = ["TO" + "DO", "FIX" + "ME", "X" * 3]
    command = ["git", "grep", "-InwE", "|".join(words)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode > 1:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    assert run.stdout.splitlines() == []


def test_the_collections_are_pinned_to_the_same_versions_twice():
    pinned = load("tools/collections").WANTED
    wanted = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {item["name"]: item["version"] for item in wanted} == pinned
    assert [version for version in pinned.values() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


def test_every_python_requirement_is_pinned():
    files = [(ROOT / name).read_text().splitlines() for name in ("requirements.txt", "requirements-run.txt")]
    lines = [line for text in files for line in text if line and not line.startswith("#")]
    lines.remove("-r requirements-run.txt")
    # of FreeBSD's packages is what is compiled there
    pin = re.compile(r'[A-Za-z0-9._-]+==[0-9][\w.]*( ; platform_system != "FreeBSD")?')
    assert [line for line in lines if not pin.fullmatch(line)] == []
    names = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    pinned = set(names)
    assert len(pinned) == len(names)
    direct = {
        re.match(r"[\w.-]+", line)[0].lower()
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if re.match(r"\w", line)
    }
    assert direct <= pinned


def test_no_filter_is_named_like_a_variable():
    filters = {name for path in FILTERS for name in load(path).FilterModule().filters()}
    assert filters & {name for role in ROLES for name in options(role)} == set()


def test_modules_and_filters_say_what_they_take():
    """A reader of a module or a filter finds its types, units and sources in the docstring."""
    filters = {name: one for path in FILTERS for name, one in load(path).FilterModule().filters().items()}
    assert [name for name, function in filters.items() if not function.__doc__] == []
    modules = ROOT.glob("roles/*/library/*.py")
    assert [path for path in modules if "DOCUMENTATION" not in path.read_text()] == []


@pytest.mark.parametrize("script", sorted(ROOT.glob("roles/*/templates/**/rc.d/*")), ids=lambda path: path.stem)
def test_no_rc_script_lets_its_service_be_put_into_a_jail_of_its_own(script):
    """rc.conf(5) of FreeBSD 15 has svcj_all_enable for that: from there the sampler sees no other process, and a kernel's trial cannot reboot."""
    text = script.read_text()
    name = re.search(r'^name="?(\w+)', text, re.M)[1]
    rest = text.partition("\nload_rc_config ")[2]
    assert re.search(r"^(?:: \$\{%s_svcj:=NO\}|%s_svcj=NO)$" % (name, name), rest, re.M)
