# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which process serves something, and whether it is older than its files, as far as whole seconds can tell."""

import os
import subprocess
import time

import pytest
from role_modules import util

host, process = util("sokuhai.host"), util("sokuhai.process")
NOW = 1_800_000_000.0


def one(since, **more):
    return process.Process(
        **{"pid": 7, "parent": 1, "uid": 0, "name": "named", "command": "named -u bind", "since": since, **more}
    )


def at(path, when):
    path.write_text("")
    os.utime(path, (when, when))
    return str(path)


@pytest.fixture
def ps(monkeypatch):
    """What ps(1) prints, its rows as (pid, ppid, uid, stat, etimes, comm, command); the clock stands at NOW."""
    rows = []

    def run(argv, *_rest):
        wanted = argv[argv.index("-p") + 1] if "-p" in argv else None
        shown = [(*row[:4], row[5], row[4], row[6]) for row in rows if wanted in (None, str(row[0]))]
        return (0 if shown else 1), "".join("%5d %5d %5d %-4s %-16s %7d %s\n" % row for row in shown), ""

    monkeypatch.setattr(host, "run", run)
    monkeypatch.setattr(process.time, "time", lambda: NOW)
    return rows


# ---- older ----


@pytest.mark.parametrize(
    "began, written, surely, perhaps",
    [
        # seconds from now: between which two the process began, and when the file was written
        ((-50, -50), -10, True, True),
        ((-5, -5), -10, False, False),
        # what the clocks cannot tell
        ((-13, -11), -10, True, True),
        ((-11, -9), -10, False, True),
        ((-9, -7), -10, False, False),
        # the same moment tells nothing
        ((-10, -10), -10, False, True),
        # nor does a file from the future
        ((-5, -5), 3600, False, False),
    ],
)
def test_a_file_that_came_after_the_start_is_newer(tmp_path, began, written, surely, perhaps):
    now = int(time.time())
    path, running = at(tmp_path / "a", now + written), one((now + began[0], now + began[1]))
    assert running.older_than(path) == (path if surely else None)
    assert running.perhaps_older_than(path) == (path if perhaps else None)


def test_the_newest_of_several_files_is_named(tmp_path):
    now = time.time()
    old, new = at(tmp_path / "old", now - 100), at(tmp_path / "new", now - 10)
    assert one((now - 200, now - 200)).older_than(old, new, str(tmp_path / "missing")) == new


def test_a_second_that_a_program_names_holds_the_whole_second(tmp_path):
    second = int(time.time()) - 10
    path = at(tmp_path / "a", second + 0.5)
    assert one((0, 0)).at_second(second).perhaps_older_than(path) == path
    assert one((0, 0)).at_second(second).older_than(path) is None
    assert one((0, 0)).at_second(second - 1).older_than(path) == path


def test_a_program_is_as_old_as_its_change_of_status(tmp_path):
    path = at(tmp_path / "a", 1000)  # as a package installs it: the time of its build
    began = time.time() - 60
    assert one((began, began)).older_than(path) is None
    assert one((began, began)).older_than(program=path) == path


@pytest.mark.parametrize("mine, older", [(True, False), (False, True)])
def test_a_program_whose_change_of_status_came_late_is_the_one_that_runs(tmp_path, monkeypatch, mine, older):
    path = at(tmp_path / "daemon", 1000)
    number = os.stat(path).st_ino + (0 if mine else 1)
    printed = (
        "USER     CMD          PID   FD MOUNT      INUM MODE         SZ|DV R/W\n"
        f"root     dovecot        7 text /        {number} -rwxr-xr-x  119848  r\n"
        f"root     dovecot        7   wd /        160705 drwxr-xr-x    1024  r\n"
    )
    monkeypatch.setattr(host, "run", lambda argv: (0, printed, "") if argv == ["fstat", "-p", "7"] else (127, "", ""))
    # the second: ps(1) took long to answer, and the clocks cannot tell
    for since in ((time.time() - 60, time.time() - 60), (time.time() - 60, time.time() + 60)):
        assert one(since).older_than(program=path) == (path if older else None)
        assert one(since).perhaps_older_than(program=path) == (path if older else None)
    began = time.time() + 60
    assert one((began, began)).older_than(program=path) is None


@pytest.mark.parametrize(
    "installed, written, older",
    [
        # seconds from now; the process began 60 ago
        (-90, -1000, False),
        (-30, -1000, True),
        # within the second of the start the clocks cannot tell, and the time of change does
        (-60, -1000, True),
        # written by hand, over what the package brought
        (-90, -30, True),
        # no package's
        (None, -1000, True),
    ],
)
def test_a_script_whose_change_of_status_came_late_is_as_old_as_its_package(
    tmp_path, monkeypatch, installed, written, older
):
    now = time.time()
    (tmp_path / "postgrey").write_text("#!/usr/local/bin/perl\n")
    path = str(tmp_path / "postgrey")
    os.utime(path, (now + written, now + written))
    began = int(now) - 60 + 0.5

    def run(argv, *_rest):
        if argv[0] == "fstat":
            return 0, "root     perl        7 text /        1 -rwxr-xr-x  119848  r\n", ""
        if argv[:2] == ["pkg", "which"]:
            return (0, "postgrey-1.37_2\n", "") if installed else (1, "was not found in the database\n", "")
        assert argv == ["pkg", "query", "%t", "postgrey-1.37_2"], argv
        return 0, "%d\n" % (int(now) + installed), ""

    monkeypatch.setattr(host, "run", run)
    for older_than in ("older_than", "perhaps_older_than"):
        assert getattr(one((began, began)), older_than)(program=path) == (path if older else None)


def test_the_identity_of_a_program_stays_while_its_change_of_status_moves(tmp_path):
    path = at(tmp_path / "daemon", 1000)
    before = one((0, 0)).identity(path)
    os.chmod(path, 0o700)
    assert not one((0, 0)).outlived(path, before)


def test_a_program_that_was_replaced_is_known_exactly(tmp_path):
    path, now = tmp_path / "program", time.time() + 10
    path.write_text("1")
    before = one((now, now)).identity(path)
    assert not one((now, now)).outlived(path, before) and not one((now, now)).outlived(path, None)
    host.write(path, "2")
    assert one((now, now)).outlived(path, before)
    assert not one((now, now), pid=8).outlived(path, before)


# ---- ps(1) ----


def test_the_start_lies_within_a_second_on_either_side(ps):
    ps.append((7, 1, 53, "Is", 100, "named", "/usr/local/sbin/named -u bind"))
    found = process.table()[7]
    assert found == one((NOW - 101, NOW - 99), uid=53, command="/usr/local/sbin/named -u bind")


def test_the_dead_are_left_out_and_a_title_with_spaces_is_kept_whole(ps):
    ps += [
        (7, 1, 0, "Z", 1, "named", "<defunct>"),
        (8, 7, 0, "S", 1, "postgrey --inet", "postgrey --inet=127.0.0.1:10027 -d (perl)"),
    ]
    found = process.table()
    assert list(found) == [8] and found[8].command == "postgrey --inet=127.0.0.1:10027 -d (perl)"


@pytest.mark.parametrize(
    "word, name, command",
    [
        ("named", "named", "/usr/local/sbin/named -u bind"),
        ("postgrey", "perl", "postgrey --inet=127.0.0.1:10027 (perl)"),
        ("daemon", "daemon", "daemon: /usr/local/libexec/sampler[99] (daemon)"),
        ("sshd", "x", "sshd: /usr/sbin/sshd [listener] 0 of 10-100 startups (sshd)"),
        ("/usr/local/libexec/sampler", "python3.11", "/usr/local/bin/python3.11 /usr/local/libexec/sampler -c x"),
        ("master", "master", "/usr/local/libexec/postfix/master -w"),
    ],
)
def test_what_a_process_is_known_as(word, name, command):
    assert one((0, 0), name=name, command=command).known_as(word)
    assert not one((0, 0), name="vi", command="vi /etc/%s.conf" % os.path.basename(word)).known_as(word)


def test_descendants_are_found_at_any_depth(ps):
    ps += [
        (pid, parent, 0, "S", 1, "x", "x") for pid, parent in ((1, 0), (10, 1), (30, 10), (20, 10), (15, 30), (99, 1))
    ]
    assert [found.pid for found in process.descendants(process.table(), 10)] == [20, 30, 15]


# ---- the ways to find it ----


def test_a_pid_file_tells_process_and_moment(ps, tmp_path):
    ps.append((7, 1, 53, "Ss", 100, "named", "named -u bind"))
    path = tmp_path / "pid"
    path.write_text(" 7\n")
    os.utime(path, (NOW - 42.5, NOW - 42.5))
    assert process.from_pidfile(path, "named").since == (NOW - 42.5, NOW - 42.5)
    assert process.from_pidfile(path, "named", written_once=False).since == (NOW - 101, NOW - 99)
    assert process.from_pidfile(path).pid == 7


def test_a_pid_file_that_was_left_behind_is_nobodys(ps, tmp_path):
    ps += [(7, 1, 0, "S", 1, "vi", "vi named.conf"), (8, 1, 0, "Z", 1, "named", "<defunct>")]
    for text in ("7", "8", "9", "", "no number", "-1"):
        (tmp_path / "pid").write_text(text)
        assert process.from_pidfile(tmp_path / "pid", "named") is None, text
    assert process.from_pidfile(tmp_path / "missing") is None and process.from_pidfile(tmp_path / "pid" / "x") is None


def test_a_service_is_what_its_rc_script_says(ps, monkeypatch):
    ps.append((7, 1, 53, "Ss", 100, "named", "named -u bind"))
    monkeypatch.setattr(host, "service_pid", {"named": 7, "gone": 9}.get)
    assert process.from_service("named").pid == 7
    assert process.from_service("gone") is None and process.from_service("other") is None


def test_a_process_that_really_runs(tmp_path):
    before = time.time()
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            found = process.table(child.pid)[child.pid]
            assert (found.parent, found.name, found.command) == (os.getpid(), "sleep", "sleep 600")
            assert found.uid == os.geteuid() and child.pid in process.table()
            assert found.since[0] <= before + 1 and found.since[1] >= before
        finally:
            child.kill()
