"""daemon(8): what outlives the script that started it, and its pid files."""

import re
import time

import pytest


def alive(run, pid):
    """Whether a process runs; one that ended and was not yet reaped does not."""
    return run("ps -o state= -p %s", pid).out.strip()[:1] not in ("", "Z")


def until(what, seconds=20):
    """Wait for what() to be true; False when it does not come."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


@pytest.fixture
def end(run):
    """end(pid): that process is gone after the test."""
    pids = []
    yield pids.append
    for pid in pids:
        run("kill %s 2>/dev/null", pid)


def test_comes_back_at_once_and_leaves_the_program_running(run, scratch, end):
    started = time.monotonic()
    answer = run(f"daemon -f -p {scratch}/pid sleep 300")
    assert (answer.rc, answer.out, answer.err) == (0, "", "")
    assert time.monotonic() - started < 60
    pid = run(f"cat {scratch}/pid").out
    end(pid)
    # the file has the program's pid, not the watcher's, and no newline
    assert re.fullmatch(r"\d+", pid)
    assert run("ps -o comm= -p %s", pid).out.strip() == "sleep"
    assert int(run("ps -o ppid= -p %s", pid).out) != 1


def test_pid_file_goes_with_the_program(run, scratch):
    run(f"daemon -f -p {scratch}/pid sleep 300")
    pid = run(f"cat {scratch}/pid").out
    run("kill %s", pid)
    assert until(lambda: run(f"test -e {scratch}/pid").rc)


def test_a_second_one_is_refused_while_the_first_runs(run, scratch, end):
    run(f"daemon -f -p {scratch}/pid sleep 300")
    pid = run(f"cat {scratch}/pid").out
    end(pid)
    again = run(f"daemon -f -p {scratch}/pid sleep 300")
    assert again.rc == 3 and again.err == f"daemon: process already running, pid: {pid}\n"
    assert run(f"cat {scratch}/pid").out == pid


def test_ending_the_watcher_ends_the_program(run, scratch, end):
    assert run(f"daemon -f -P {scratch}/watcher -p {scratch}/pid sleep 300").rc == 0
    watcher, pid = run(f"cat {scratch}/watcher").out, run(f"cat {scratch}/pid").out
    end(pid)
    assert watcher != pid and run("ps -o ppid= -p %s", pid).out.strip() == watcher
    run("kill %s", watcher)
    assert until(lambda: not alive(run, pid) and not alive(run, watcher))


def test_restarts_what_ended(run, scratch):
    assert run(f"daemon -f -r -P {scratch}/watcher sh -c 'echo >> {scratch}/starts'").rc == 0
    try:
        assert until(lambda: int(run(f"wc -l < {scratch}/starts").out or 0) > 1)
    finally:
        run(f"kill $(cat {scratch}/watcher)")


def test_the_watcher_calls_itself_daemon_with_its_title(run, scratch):
    assert run(f"daemon -f -r -P {scratch}/watcher -t some_title sleep 300").rc == 0
    try:
        # rc.subr takes "daemon:" for /usr/sbin/daemon
        assert until(
            lambda: run(f"ps -ww -o command= -p $(cat {scratch}/watcher)").out.startswith("daemon: some_title")
        )
    finally:
        run(f"kill $(cat {scratch}/watcher)")


def test_without_pid_file_or_restart_nobody_watches(run, scratch, end):
    assert run(f"daemon -f sh -c 'echo $$ > {scratch}/pid; exec sleep 300'").rc == 0
    assert until(lambda: run(f"test -s {scratch}/pid").rc == 0)
    pid = run(f"cat {scratch}/pid").out.strip()
    end(pid)
    assert run("ps -o ppid= -p %s", pid).out.strip() == "1"


def test_program_not_given(run):
    answer = run("daemon")
    assert answer.rc == 1 and answer.err.startswith("usage: daemon ")


def test_unknown_user_shows_too_late_for_the_status(run):
    answer = run("daemon -u no_such_user true; sleep 1")
    assert answer.rc == 0 and answer.err == "daemon: unknown user: no_such_user\n"
