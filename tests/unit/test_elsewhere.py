# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Other controllers than the one this was written on: a path with spaces, a locale without UTF-8, BSD make, FreeBSD, an execution environment."""

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys

import packaging.requirements
import pytest
import yaml
from role_modules import ROOT

PLAYBOOK = pathlib.Path(sys.executable).parent / "ansible-playbook"
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def run(*words, cwd=ROOT, **env):
    """Return the finished process of *words*, with its output."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """A checkout in a path with spaces; a link to one would not do, since every command looks where it really is."""
    checkout = tmp_path_factory.mktemp("a folder") / "so kuhai"
    left_out = shutil.ignore_patterns(".git", ".venv", ".cache", "__pycache__", "tests", "results")
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=left_out)
    return checkout


# ---- a path with spaces ----


def test_ssh_finds_the_labs_command_in_a_path_with_spaces(tmp_path):
    """What ssh runs to come to the practice host, by the lab's inventory: here it notes that it was run, and connects to nothing."""
    lab, called = tmp_path / "so kuhai" / "lab", tmp_path / "called"
    shutil.copytree(ROOT / "lab/inventory", lab / "inventory")
    (lab / "lab").write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    (lab / "lab").chmod(0o755)
    ansible = PLAYBOOK.with_name("ansible")
    done = run(
        *(ansible, "-i", lab / "inventory", "mx.home.example", "-m", "ansible.builtin.raw", "-a", "true"),
        cwd=tmp_path,
        SOKUHAI_LAB="never-up",
        ANSIBLE_CONFIG=str(tmp_path / "none.cfg"),
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert called.read_text().splitlines() == ["connect 192.0.2.10 22"]


def test_every_command_starts_in_a_path_with_spaces(spaced, tmp_path):
    for program in ("lab/lab", "vm/vm"):
        done = run(spaced / program, "help")
        assert done.returncode == 0 and program.rpartition("/")[2] in done.stdout, done.stderr
    done = run(sys.executable, spaced / "tools/drift", "-i", "localhost,", "--state", tmp_path)
    assert "no hosts matched" in done.stdout + done.stderr, done.stdout + done.stderr
    done = run(PLAYBOOK, "--syntax-check", spaced / "playbooks/site.yml", ANSIBLE_CONFIG=str(spaced / "ansible.cfg"))
    assert done.returncode == 0, done.stdout + done.stderr


# ---- tools/setup, with stand-ins for what it installs by ----

INSTALLER = """#!/bin/sh
echo "${0##*/} $*" >> "$SAID"
case $* in
"install -y"*|"-q -y install"*) : > "$SAID.installed" ;;
"info -e"*) [ -e "$SAID.installed" ] ;;
esac
"""
PYTHON = """#!/bin/sh
# a Python whose venv is a copy of itself, and whose pip notes what it is asked for
case $* in
-) cat >/dev/null ;;
-c*) echo 311 ;;
"-m venv"*)
    for venv; do :; done
    mkdir -p "$venv/bin" "$venv/collections/ansible_collections/community/general"
    cp "$0" "$venv/bin/python"
    : > "$venv/collections/ansible_collections/community/general/MANIFEST.json"
    echo "$*" >> "$SAID" ;;
"-m pip"*) echo "$*" >> "$SAID"; cp "$0" "${0%/*}/ansible-playbook" ;;
esac
"""


@pytest.fixture
def setup(tmp_path, spaced):
    """Run tools/setup on a machine of that system; return what it had others do, a line each."""

    def go(system):
        tools, said = tmp_path / "bin", tmp_path / "said"
        tools.mkdir()
        stand_ins = {"apt-get": INSTALLER, "pkg": INSTALLER, "python": PYTHON}
        stand_ins |= {"uname": f"#!/bin/sh\necho {system}\n", "id": "#!/bin/sh\necho 0\n"}
        if system == "Linux":
            stand_ins["dpkg-query"] = "#!/bin/sh\nexit 1\n"
        for name, text in stand_ins.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        # nothing of Debian's may be found on what plays FreeBSD
        for name in ("sh", "sed", "cat", "cmp", "cp", "mkdir", "grep"):
            (tools / name).symlink_to(shutil.which(name))
        done = run(
            *(tools / "sh", "tools/setup", tools / "python", tmp_path / "a venv"),
            cwd=spaced,
            PATH=str(tools),
            SAID=str(said),
        )
        assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
        return said.read_text().splitlines()

    return go


def test_setup_installs_what_bindep_has_for_debian(setup):
    said = "\n".join(setup("Linux"))
    installed = re.search("apt-get -q -y install --no-install-recommends (.*)", said)[1].split()
    assert {"openssh-client", "python3-venv", "nftables"} <= set(installed) and "openssh-clients" not in installed
    assert "-r requirements.txt" in said and "pkg" not in said and "--system-site-packages" not in said


def test_setup_on_freebsd_takes_what_is_compiled_from_packages_and_leaves_the_lab_out(setup):
    said = "\n".join(setup("FreeBSD"))
    assert "pkg install -y py311-cryptography py311-markupsafe py311-pyyaml" in said
    assert "-m venv --system-site-packages " in said and "-r requirements-run.txt" in said and "apt-get" not in said


def test_what_a_controller_on_freebsd_takes_by_pip_is_pure_python():
    names = pinned(lambda line: "FreeBSD" not in line)
    compiled = [
        name
        for name in names
        if any(str(file).endswith((".so", ".pyd")) for file in importlib.metadata.distribution(name).files)
    ]
    assert names and compiled == []


# ---- what a controller needs to run plays, in one place for all ways to have it ----


def pinned(wanted=lambda line: True):
    """Names of the distributions in requirements-run.txt whose lines are *wanted*."""
    lines = (ROOT / "requirements-run.txt").read_text().splitlines()
    return [re.match(r"[\w.-]+", line)[0].lower() for line in lines if re.match(r"\w", line) and wanted(line)]


def test_the_pins_of_a_controller_lack_nothing():
    """Every distribution has all that it requires by itself, so that an image or a FreeBSD host gets no version by chance."""
    missing, names = {}, {name.replace("_", "-") for name in pinned()}
    for name in names:
        for line in importlib.metadata.requires(name) or []:
            one = packaging.requirements.Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                if one.name.lower().replace("_", "-") not in names:
                    missing.setdefault(name, []).append(line)
    assert missing == {} and {"ansible-core", "pytest", "pytest-testinfra"} <= names


def test_the_execution_environment_has_what_setup_installs_for_a_controller():
    given = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
    needs = given["dependencies"]
    files = [needs[kind] for kind in ("python", "system", "galaxy")]
    assert files == ["requirements-run.txt", "bindep.txt", "requirements.yml"], "by reference: a copy would be stale"
    assert all((ROOT / name).is_file() for name in files)
    # ansible-core is installed before the files are read: its version is held by the same one
    constraint, core = re.fullmatch(r"-c (\S+) (\S+)", needs["ansible_core"]["package_pip"]).groups()
    assert core == "ansible-core" and pathlib.Path(constraint).name == needs["python"]
    assert f"COPY _build/{needs['python']} {constraint}" in given["additional_build_steps"]["prepend_base"]
    assert {"src": needs["python"], "dest": "."} in given["additional_build_files"]
    assert re.fullmatch(r"ansible-runner==[\d.]+", needs["ansible_runner"]["package_pip"])
    assert re.fullmatch(r"\S+/ubi9:9\.\d+", given["images"]["base_image"]["name"]), "a tag that moves is no version"
    packages = re.findall(r"^(\S+) \[platform:rpm\]$", (ROOT / needs["system"]).read_text(), re.MULTILINE)
    assert {"openssh-clients", "git"} <= set(packages)
    assert needs["python_interpreter"]["python_path"] == "/usr/bin/" + needs["python_interpreter"]["package_system"]
    minimum = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert int(needs["python_interpreter"]["package_system"].removeprefix("python3.")) >= int(minimum)
    # where ansible-builder installs collections, after make venv's own
    paths = re.search(r"^collections_path = (.*)$", (ROOT / "ansible.cfg").read_text(), re.MULTILINE)[1].split(":")
    assert paths == [".venv/collections", "/usr/share/ansible/collections"]


# ---- make, and a locale ----


def test_make_help_has_every_target():
    lines = re.findall(r"^\t@echo '(make .*)'$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    said = {target for line in lines for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert set(TARGETS) - {"help"} == said


@pytest.mark.parametrize("target", TARGETS)
def test_bsd_make_does_what_gnu_make_does(target):
    for make in ("bmake", "make"):
        if not shutil.which(make):
            pytest.skip(f"{make} is not installed")
    # neither may know of the other, or of the make that runs this test
    env = {"MAKEFLAGS": "", "MAKELEVEL": "", "MFLAGS": ""}
    bsd, gnu = run("bmake", "-n", target, **env), run("make", "-n", "--no-print-directory", target, **env)
    assert bsd.returncode == gnu.returncode == 0, bsd.stderr + gnu.stderr
    assert bsd.stdout == gnu.stdout != ""


@pytest.mark.parametrize("target", ["lab", "unit", "test", "lint", "drift"])
def test_make_runs_what_needs_a_locale_by_a_command_that_sets_one(target):
    """ansible-playbook refuses LC_ALL=C; test_drift_command.py has what these commands do about it."""
    done = run("make", "-n", target, MAKEFLAGS="") if shutil.which("make") else pytest.skip("make is not installed")
    assert re.search(r"tools/(run|drift)\b", done.stdout), done.stdout
