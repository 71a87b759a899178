"""pkg(8): what is installed, and how it answers about what is not."""
import re

import pytest


@pytest.fixture(scope="module")
def pkg(run):
    answer = run("pkg -N")
    if answer.rc:
        assert answer.err == "pkg: pkg is not installed\n"
        pytest.skip("pkg is not bootstrapped on this host")
    return answer


def test_bootstrapper_without_pkg(run):
    if run("pkg -N").rc == 0:
        pytest.skip("pkg is bootstrapped on this host")
    for command in ("pkg info", "pkg query %n"):
        answer = run(command + " < /dev/null")
        assert answer.rc == 1
        assert answer.err.splitlines() == [
            "The package management tool is not yet installed on your system.",
            "Please set ASSUME_ALWAYS_YES=yes environment variable to be able to bootstrap in non-interactive "
            "(stdin not being a tty)"]


def test_version_is_three_numbers(run, pkg):
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.\d+)?\n", run("pkg -v").out)


def test_list(run, pkg):
    answer = run("pkg info")
    assert answer.rc == 0
    assert all(re.match(r"\S+-\S+ +\S", line) for line in answer.lines()), answer
    assert any(line.startswith("pkg-") for line in answer.lines())


def test_query_formats(run, pkg):
    answer = run("pkg query '%n %v %o %R %k %a' pkg")
    assert answer.rc == 0
    assert re.fullmatch(r"pkg \S+ ports-mgmt/pkg \S+ [01] [01]\n", answer.out), answer
    assert run("pkg query %n").lines() == sorted(run("pkg query %n").lines())


def test_what_is_not_installed(run, pkg):
    assert run("pkg info -e no-such-package").rc == 1
    assert run("pkg query %n no-such-package").rc == 1
    assert run("pkg info no-such-package").rc != 0
    assert run("pkg info -e pkg").rc == 0
    assert run("pkg info -g -e 'pk*'").rc == 0


def test_what_does_not_exist_cannot_be_installed(run, pkg):
    answer = run("pkg install -U -y no-such-package")
    if "o such file" in answer.err or "update" in answer.err and "No packages" not in answer.err:
        pytest.skip("this host has no catalogue of packages")
    assert answer.rc == 1
    assert ("pkg: No packages available to install matching 'no-such-package' have been found in the repositories"
            in answer.err)


def test_files_of_a_package(run, pkg, needs):
    needs("postfix")
    if run("pkg info -e postfix").rc:
        pytest.skip("postfix is not installed as a package on this host")
    assert "/usr/local/sbin/postfix" in run("pkg query %Fp postfix").lines()
    assert run("pkg which -q /usr/local/sbin/postfix").out.startswith("postfix-")


def test_lock_and_annotation(run, pkg):
    names = [n for n in run("pkg query -a '%n %k'").lines() if n.endswith(" 0") and not n.startswith("pkg ")]
    if not names:
        pytest.skip("no unlocked package to try on")
    name = names[0].split()[0]
    try:
        assert run("pkg lock -y %s", name).rc == 0
        assert run("pkg query %%k %s", name).out == "1\n"
    finally:
        run("pkg unlock -y %s", name)
    assert run("pkg query %%k %s", name).out == "0\n"
    try:
        assert run("pkg annotate -y -A %s contract 1", name).rc == 0
        assert re.search(r"^\s*contract\s*: 1$", run("pkg info -A %s", name).out, re.MULTILINE)
    finally:
        run("pkg annotate -y -D %s contract", name)
    assert "contract" not in run("pkg info -A %s", name).out


def test_versions_are_ordered_as_ports_are(run, pkg):
    for left, sign, right in (("9.18.1", "<", "9.20.1"), ("3.10.13,1", ">", "3.11.1"), ("1.2_1", ">", "1.2"),
                              ("1.2", "=", "1.2")):
        assert run("pkg version -t %s %s", left, right).out == sign + "\n"
