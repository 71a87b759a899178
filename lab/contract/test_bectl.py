"""bectl(8): on a root that is not on ZFS, and the boot environments of one that is."""

import re

import pytest

NAME = "sokuhai-contract"


@pytest.fixture(scope="module")
def zfs(run):
    """Whether the root is on ZFS. A practice host's is not: there the stand-in is told that it is, for as long as these tests last."""
    standin = run("test -d /usr/libexec/standins").rc == 0
    if standin:
        run("printf 'default\\tNR\\t/\\t270M\\t2026-11-30 19:12\\n' > /var/db/standins/environments")
    elif run("df -T /").lines()[-1].split()[1] != "zfs":
        pytest.skip("this host's root is not on ZFS")
    yield
    run(f"bectl destroy -o {NAME}")
    if standin:
        run("rm /var/db/standins/environments")


def test_a_root_on_ufs_has_none(run):
    if run("df -T /").lines()[-1].split()[1] == "zfs":
        pytest.skip("this host's root is on ZFS")
    for words in ("list -H", f"create -r {NAME}", f"destroy {NAME}"):
        answer = run(f"bectl {words}")
        assert (answer.rc, answer.out, answer.err) == (255, "", 'libbe_init("") failed.\n')
    answer = run("bectl check")
    assert (answer.rc, answer.out, answer.err) == (255, "", "")


def test_one_runs_and_one_boots_next(run, zfs):
    assert run("bectl check").rc == 0
    answer = run("bectl list -H")
    assert answer.rc == 0 and answer.err == ""
    rows = [line.split("\t") for line in answer.lines()]
    assert all(len(row) == 5 and re.fullmatch(r"[NRT]+|-", row[1]) and row[2].startswith(("/", "-")) for row in rows)
    for flag in "NR":
        assert len([row for row in rows if flag in row[1]]) == 1


def test_one_is_made_once(run, zfs):
    done = run(f"bectl create -r {NAME}")
    assert (done.rc, done.out, done.err) == (0, "", "")
    assert [line.split("\t")[1:3] for line in run("bectl list -H").lines() if line.startswith(NAME + "\t")] == [
        ["-", "-"]
    ]
    again = run(f"bectl create -r {NAME}")
    assert (again.rc, again.err) == (2, f"boot environment name already taken\nFailed to create bootenv {NAME}\n")


def test_what_is_no_name_is_refused(run, zfs):
    answer = run("bectl create 'a b'")
    assert answer.rc == 1 and answer.err.startswith("invalid boot environment name\n")


def test_the_one_that_runs_stays(run, zfs):
    running = next(line.split("\t")[0] for line in run("bectl list -H").lines() if "N" in line.split("\t")[1])
    answer = run(f"bectl destroy {running}")
    assert (answer.rc, answer.err) == (5, "cannot destroy active boot environment\n")
    missing = run("bectl destroy no_such_environment")
    assert missing.rc == 3 and missing.err.endswith("specified boot environment does not exist\n")
