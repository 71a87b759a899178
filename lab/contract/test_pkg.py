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
            "(stdin not being a tty)",
        ]


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


def test_which_release_a_package_was_built_for(run, pkg):
    assert all(re.fullmatch(r"\S+ FreeBSD:\d+:\S+", line) for line in run("pkg query '%n %q'").lines())


def test_what_the_repositories_have_by_the_catalogues_that_are_here(run, pkg):
    answer = run("pkg rquery -U %%n %s %s", "pkg", "no-such-package")
    if answer.rc:
        pytest.skip("this host has no catalogue of packages")
    assert set(answer.lines()) == {"pkg"}
    assert run("pkg rquery -U %%n %s", "no-such-package").rc == 1


def test_what_is_not_installed(run, pkg):
    assert run("pkg info -e no-such-package").rc == 1
    assert run("pkg query %n no-such-package").rc == 1
    assert run("pkg info no-such-package").rc != 0
    assert run("pkg info -e pkg").rc == 0
    assert run("pkg info -g -e 'pk*'").rc == 0


def test_what_does_not_exist_cannot_be_installed(run, pkg):
    answer = run("pkg install -U -y no-such-package no-other-package pkg")
    if "o such file" in answer.err or "update" in answer.err and "No packages" not in answer.err:
        pytest.skip("this host has no catalogue of packages")
    assert answer.rc == 1
    # each is named, and nothing is said of what there is
    assert [line for line in answer.err.splitlines() if "matching" in line] == [
        f"pkg: No packages available to install matching '{name}' have been found in the repositories"
        for name in ("no-such-package", "no-other-package")
    ]


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
    for left, sign, right in (
        ("9.18.1", "<", "9.20.1"),
        ("3.10.13,1", ">", "3.11.1"),
        ("1.2_1", ">", "1.2"),
        ("1.2", "=", "1.2"),
    ):
        assert run("pkg version -t %s %s", left, right).out == sign + "\n"


@pytest.fixture(scope="module")
def some(run, pkg):
    """A package that nothing depends on, and whose loss for a moment would hurt nobody: its name."""
    names = [
        n.split()[0] for n in run("pkg query -a '%n %k %?r'").lines() if n.endswith(" 0 0") and not n.startswith("pkg ")
    ]
    if not names:
        pytest.skip("no unlocked package that nothing depends on")
    return names[0]


def test_where_a_package_came_from_and_what_it_was_built_with(run, pkg, some):
    assert re.fullmatch(r"[\w.-]+\n", run("pkg query %%R %s", some).out)
    for line in run("pkg query '%%Ok=%%Ov' %s", some).lines():
        assert re.fullmatch(r"\w+=(on|off)", line), line
    notes = dict(line.partition("=")[::2] for line in run("pkg query '%%At=%%Av' %s", some).lines())
    assert notes.get("repository", "unknown-repository") == run("pkg query %%R %s", some).out.strip()


def test_lists_give_one_line_each(run, pkg):
    # beside a list of nothing the rest of a line stays; options come before the format
    assert all(re.fullmatch(r"\S+ (\S+ \S+/\S+| )", line) for line in run("pkg query -a '%n %dn %do'").lines())
    answer = run("pkg query '%n %dn %do' -a")
    assert (answer.rc, answer.out) == (1, "")
    assert run("pkg query -a '%n|%v|%o|%R|%k|%t'").rc == 0


def test_when_the_package_of_a_file_was_installed(run, pkg, some):
    title = run("pkg query '%%n-%%v' %s", some).out.strip()
    assert 0 < int(run("pkg query %%t %s", title).out) <= int(run("date +%s").out)


def test_a_locked_package_stays(run, pkg, some):
    try:
        assert run("pkg lock -yq %s", some).out == ""
        assert run("pkg lock -y %s", some).out.rstrip().endswith(": already locked")
        answer = run("pkg delete -fy %s", some)
        assert answer.rc == 7 and "are locked or vital and may not be removed" in answer.out
        assert "1 packages requested for removal: 1 locked, 0 missing" in answer.out
        assert run("pkg info -e %s", some).rc == 0
    finally:
        run("pkg unlock -yq %s", some)
    assert run("pkg unlock -y %s", some).out.rstrip().endswith(": already unlocked")


def test_annotations_are_added_once_and_changed_by_name(run, pkg, some):
    try:
        added = run("pkg annotate -y -A %s contract one", some)
        assert added.rc == 0 and added.out.rstrip().endswith(": added annotation tagged: contract")
        assert run("pkg annotate -yq -A %s contract two", some).rc == 1
        assert run("pkg annotate -q -S %s contract", some).out == "one\n"
        assert run("pkg annotate -yq -M %s contract two", some).out == ""
        assert "contract=two" in run("pkg query '%%At=%%Av' %s", some).lines()
        # without a terminal, and without -y, the answer to the question is no
        assert run("pkg annotate -q -M %s contract three < /dev/null", some).rc == 0
        assert run("pkg annotate -q -S %s contract", some).out == "two\n"
    finally:
        run("pkg annotate -yq -D %s contract", some)
    assert run("pkg annotate -yq -D %s contract", some).rc == 1


def test_vulnerable_versions_by_a_file(run, pkg, scratch):
    missing = run(f"pkg audit -f {scratch}/none -q no-such-1.0")
    assert missing.rc == 1 and missing.out == ""
    run(
        "printf %%s %s > %s",
        '<?xml version="1.0"?><vuxml xmlns="http://www.vuxml.org/apps/vuxml-1"><vuln vid="00000000-0000-0000-0000-000000000000">'
        "<topic>contract</topic><affects><package><name>sokuhai-contract</name><range><lt>1.5</lt></range></package></affects>"
        "<references/></vuln></vuxml>",
        f"{scratch}/vuln.xml",
    )
    hit = run(f"pkg audit -f {scratch}/vuln.xml -q sokuhai-contract-1.4")
    assert (hit.rc, hit.out) == (1, "sokuhai-contract-1.4\n")
    assert run(f"pkg audit -f {scratch}/vuln.xml -q sokuhai-contract-1.5").rc == 0
    assert "0 problem(s) in 0" in run(f"pkg audit -f {scratch}/vuln.xml sokuhai-contract-1.5").out


def test_dependencies_and_libraries_are_there(run, pkg, some):
    answer = run("pkg check -dnq %s", some)
    assert answer.rc == 0 and all(re.fullmatch(r"\S+\t\S+", line) for line in answer.lines())


def test_a_package_file_can_be_made_of_what_is_installed(run, pkg, some, scratch):
    assert run(f"pkg create -o {scratch} %s", some).rc == 0
    title = run("pkg query '%%n-%%v' %s", some).out.strip()
    assert run("test -s %s", f"{scratch}/{title}.pkg").rc == 0


def test_repositories(run, pkg):
    text = run("pkg -vv").out
    assert re.search(r'^  FreeBSD(-ports)?: \{ ?\n    url +: "\S+",\n    enabled +: (yes|no),$', text, re.MULTILINE), (
        text
    )


def test_a_repository_out_of_reach_stops_what_does_not_go_by_the_catalogues_that_are_here(run, pkg):
    # the last one decides, as FreeBSD-ports-kmods does beside FreeBSD-ports (pkgcli_update in pkg's src/update.c)
    conf = "/usr/local/etc/pkg/repos/zz-contract.conf"
    try:
        run("mkdir -p /usr/local/etc/pkg/repos")
        run("echo %s > %s", 'zz-contract: { url: "file:///nonexistent", enabled: yes }', conf)
        updated = run("pkg update")
        assert updated.rc == 1
        assert re.search(r"^Unable to update repository zz-contract$", updated.out + updated.err, re.MULTILINE)
        assert updated.out.endswith("Error updating repositories!\n")
        assert run("pkg install -y no-such-package").rc == 3
        assert run("pkg install -yU no-such-package").rc == 1
        planned = run("pkg install -nU no-such-package")
        assert (planned.rc, planned.out, planned.err) == (1, "", ""), "a plan needs every catalogue, and says nothing"
        named = re.search(r"^Updating (\S+) repository", updated.out, re.MULTILINE)[1]
        planned = run("pkg install -nU -r %s no-such-package", named)
        assert planned.rc == 1 and "No packages available to install matching 'no-such-package'" in planned.err
    finally:
        run("rm -f %s", conf)


@pytest.fixture
def pair(run, pkg, scratch):
    """Two package files with one file in common, which is at that path of the scratch directory once one is installed."""
    paths = []
    for letter in "ab":
        name, here = f"sokuhai-contract-{letter}", f"{scratch}/{letter}"
        manifest = (
            f'{{"name": "{name}", "version": "1.0", "origin": "mail/{name}", "comment": "contract", "desc": "contract", '
            f'"maintainer": "root@localhost", "www": "https://localhost/", "prefix": "{scratch}"}}'
        )
        run(f"mkdir -p {here}/meta {here}/root{scratch} && echo {letter} > {here}/root{scratch}/common")
        run("printf %%s %s > %s", manifest, f"{here}/meta/+MANIFEST")
        run("echo %s > %s", f"{scratch}/common", f"{here}/plist")
        made = run(f"pkg create -m {here}/meta -r {here}/root -p {here}/plist -o {scratch}")
        assert made.rc == 0, made
        paths.append(f"{scratch}/{name}-1.0.pkg")
    yield paths
    run("pkg delete -fy sokuhai-contract-a sokuhai-contract-b")


@pytest.mark.parametrize("locked", [False, True])
def test_a_package_in_the_way_of_a_file_is_not_seen_and_stays(run, pair, scratch, locked):
    # of a repository's package the plan says what goes, and it goes (pkg 2.8.4)
    first, second = pair
    assert run("pkg install -yU %s", first).rc == 0
    assert run("pkg which -q %s", f"{scratch}/common").out == "sokuhai-contract-a-1.0\n"
    if locked:
        run("pkg lock -yq sokuhai-contract-a")
    try:
        planned = run("pkg install -nU %s", second)
        assert planned.rc == 1 and "REMOVED" not in planned.out, planned
        refused = run("pkg install -yU %s", second)
        assert refused.rc == 3 and "conflicts with sokuhai-contract-a-1.0 (installs files into the same" in refused.err
        assert run("pkg info -e sokuhai-contract-a").rc == 0 and run("cat %s", f"{scratch}/common").out == "a\n"
    finally:
        run("pkg unlock -yq sokuhai-contract-a")
