"""poudriere(8): its files in a directory of -e, its hooks, its exit statuses, and what it publishes. A jail is not made: that takes FreeBSD's sets and an hour."""

import re

import pytest

CONF = "NO_ZFS=yes\nBASEFS={0}/base\nDISTFILES_CACHE={0}/base\nUSE_COLORS=no\nCOMMIT_PACKAGES_ON_FAILURE=no\nUSE_TMPFS=no\n"


@pytest.fixture(scope="module", autouse=True)
def installed(run):
    """A practice host has it for the tests; a real one where somebody wants it."""
    bring = run("test -d /usr/libexec/standins").rc == 0 and run("command -v poudriere").rc
    if bring:
        run("pkg install -yU poudriere")
    yield
    if bring:
        run("pkg delete -fy poudriere")


@pytest.fixture
def poudriere(run, needs, scratch):
    """Run poudriere with a configuration of its own."""
    needs("poudriere")
    run("mkdir -p %s/base %s/etc/poudriere.d/jails %s/etc/poudriere.d/ports", scratch, scratch, scratch)
    run("printf %%s %s > %s", CONF.format(scratch), f"{scratch}/etc/poudriere.conf")

    def runner(words):
        return run(f"poudriere -N -e {scratch}/etc {words} < /dev/null")

    return runner


def test_version(run, needs):
    needs("poudriere")
    answer = run("poudriere version")
    assert answer.rc == 0 and re.search(r"\d+\.\d+", answer.out), answer


def test_without_a_configuration_it_does_nothing(run, needs, scratch):
    needs("poudriere")
    answer = run(f"poudriere -e {scratch} jail -l")
    assert answer.rc == 1 and "Unable to find a readable poudriere.conf" in answer.err + answer.out
    assert run(f"poudriere -e {scratch}/none jail -l").rc == 1


def test_lists_of_what_there_is_not(poudriere):
    assert poudriere("jail -l -q -n").out.split() == []
    assert poudriere("ports -l -q -n").out.split() == []
    head = poudriere("jail -l").out.split()
    assert head[:4] == ["JAILNAME", "VERSION", "OSVERSION", "ARCH"] and head[-1] == "PATH"


def test_a_tree_of_somebody_elses_is_imported_and_let_go(run, poudriere, scratch):
    run("mkdir -p %s/tree/Mk", scratch)
    answer = poudriere(f"ports -c -p default -m null -M {scratch}/tree")
    assert answer.rc == 0, answer
    attributes = f"{scratch}/etc/poudriere.d/ports/default"
    assert run(f"cat {attributes}/mnt {attributes}/method").out.split() == [f"{scratch}/tree", "null"]
    assert poudriere("ports -l -q -n").out.split() == ["default"]
    assert poudriere(f"ports -c -p default -m null -M {scratch}/tree").rc == 2
    assert poudriere("ports -c -p my-tree -m null -M /tmp").rc == 1
    assert poudriere("ports -d -k -p default").rc == 0
    assert run(f"test -e {attributes}").rc == 1 and run(f"test -d {scratch}/tree/Mk").rc == 0
    assert poudriere("ports -d -k -p default").rc == 2


def test_jails_that_there_are_not(poudriere):
    assert poudriere("jail -u -j none").rc == 1
    assert poudriere("jail -c -j none").rc == 64  # no version
    assert poudriere("jail -c -j a.b -v 15.0-RELEASE").rc == 1
    assert poudriere("jail -c -j none -v 15.0-RELEASE -m no_such_method").rc == 64


def test_a_build_needs_its_jail_and_its_trees(run, poudriere, scratch):
    answer = poudriere("bulk -j none -p default misc/none")
    assert answer.rc == 1 and "No such jail" in answer.out + answer.err
    run(f"mkdir -p {scratch}/etc/poudriere.d/jails/one && echo {scratch}/one > {scratch}/etc/poudriere.d/jails/one/mnt")
    assert poudriere("bulk -j one -p none misc/none").rc == 2
    run("mkdir -p %s/tree", scratch)
    assert poudriere(f"ports -c -p default -m null -M {scratch}/tree").rc == 0
    assert poudriere("bulk -j one -p default -O none misc/none").rc == 2


# ---- what only a jail shows: one that role builder has made


ETC = "/usr/local/etc/sokuhai-builder"


@pytest.fixture(scope="module")
def built(run, needs):
    """The reference of a name in role builder's jail: how poudriere is called for it."""
    needs("poudriere")
    if run(f"test -s {ETC}/poudriere.d/jails/mail/mnt").rc:
        pytest.skip("this host is no builder")
    return f"poudriere -N -e {ETC}"


def test_a_jail_is_known_by_a_file_for_each_property(run, built):
    version, mnt, stamp = (
        run(f"cat {ETC}/poudriere.d/jails/mail/{name}").out.strip() for name in ("version", "mnt", "timestamp")
    )
    row = run(f"{built} jail -l -q").out.split()
    assert row[:2] == ["mail", version.split()[0]] and row[-1] == mnt
    assert stamp.isdigit() and re.match(r"\d+\.\d+-[A-Z]+", version)
    assert run(f"grep -c 'define.FD_SETSIZE' {mnt}/usr/include/sys/select.h").out.strip() == "1"


def test_the_repository_is_a_directory_behind_a_link(run, built):
    base = run(f"sed -n 's/^BASEFS=//p' {ETC}/poudriere.conf").out.strip()
    place = f"{base}/data/packages/mail-default"
    assert run(f"readlink {place}/.latest").out.startswith(".real_")
    for name in ("meta.conf", "packagesite.pkg", "All"):
        assert run(f"readlink {place}/{name}").out.strip() == f".latest/{name}"
    assert run(f"ls {place}/All").lines()


def test_a_hook_that_fails_ends_the_build_before_any_port(run, built, keep):
    hook = f"{ETC}/poudriere.d/hooks/jail.sh"
    keep(hook)
    base = run(f"sed -n 's/^BASEFS=//p' {ETC}/poudriere.conf").out.strip()
    link = f"readlink {base}/data/packages/mail-default/.latest"
    before = run(link).out
    run("printf %%s %s > %s", '[ "$1" != start ] || { echo "at $MASTERMNT"; exit 3; }\n', hook)
    answer = run(f"{built} bulk -j mail -p default -O sokuhai -C misc/sokuhai-fd-set-probe")
    assert answer.rc == 1 and "returned non-zero" in answer.out + answer.err
    assert re.search(r"^at /.*/ref$", answer.out, re.M), answer
    assert run(link).out == before
