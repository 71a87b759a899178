# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A change of pf's rules that waits to be confirmed: made, taken back, confirmed, broken off at every point, by change.sh as sh(1) runs it."""

import os
import subprocess
import types

import pytest
from fake_host import FakeHost
from role_modules import ROOT, util

host = util("sokuhai.host")
waits, operator, pf = util("blocklist_change"), util("blocklist_operator"), util("blocklist_pf")
PROGRAM = (ROOT / "roles/blocklist/files/var/run/sokuhai-blocklist/change.sh").read_text()
BEFORE = operator.Connection("198.51.100.9", "50000", 0)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose commands are shell scripts that note how they were called, whose pf is the file .on, and that notes what pf was given in .loads."""
    made = FakeHost(tmp_path, monkeypatch)
    made.rules, made.anchor, made.on = tmp_path / "pf.conf", tmp_path / "anchor", tmp_path / "on"
    made.run, given = tmp_path / "run", tmp_path / "given"
    given.write_text("")
    made.loads = lambda: given.read_text().splitlines()
    made.program("logger")
    made.program("sysrc")
    notes = f'echo "$(ls -l "$3" | cut -c1-10) $(cat "$3"), $(cat {made.anchor} 2>/dev/null)" >> {given}'
    # words of the command: what it does; what comes first counts
    made.pfctl = lambda **more: made.program(
        "pfctl",
        'case "$*" in %s esac'
        % " ".join(
            "%s) %s ;;" % item
            for item in {
                **{'"-q -f"*': notes, **more},
                '"-s Running"': f"[ -e {made.on} ]",
                "*-e*": f": > {made.on}",
                "*-d*": f"rm -f {made.on}",
            }.items()
        ),
    )
    made.pfctl()
    made.rules.write_text("pass all\n")
    monkeypatch.setattr(waits, "RUN", str(made.run))
    monkeypatch.setattr(pf, "ANCHOR_FILE", str(made.anchor))
    return made


@pytest.fixture
def change(machine, monkeypatch):
    """change(...): a change as the host makes it, with shorter waits; it returns the waiting one. change.started has the processes."""
    quick = (
        PROGRAM.replace("PATH=/sbin:/bin:/usr/sbin:/usr/bin", f"PATH={machine.path}/bin:/bin:/usr/bin")
        .replace("sleep 2", "sleep 0.3")
        .replace("sleep 1", "sleep 0.1")
    )
    started, run = [], waits.run

    def daemon_or(argv, **options):
        # daemon(8) returns at once, and what it starts lives on
        if argv[0] != "/usr/sbin/daemon":
            return run(argv, **options)
        started.append(subprocess.Popen(argv[2:]))
        return 0, "", ""

    monkeypatch.setattr(waits, "run", daemon_or)

    def arm(seconds=10, enabled=False, old="pass all\n", anchor="new anchor\n", old_anchor=None, flags=()):
        if enabled:
            machine.on.write_text("")
        monkeypatch.setattr(waits, "connection", lambda: BEFORE)
        change.pf = types.SimpleNamespace(
            conf=str(machine.rules), flags=list(flags), enabled=pf.Pf.enabled, rules=pf.Pf.rules
        )
        token = waits.arm(quick, change.pf, (old, "new rules\n"), (old_anchor, anchor), seconds)
        return waits.Change(token)

    change = types.SimpleNamespace(
        started=started, arm=arm, ends=lambda: started[-1].wait(timeout=60), on=lambda: wait(machine.on.exists)
    )

    def comes_from(one):
        monkeypatch.setattr(waits, "connection", lambda: one)

    change.comes_from = comes_from
    yield change
    for process in started:
        process.kill()
        process.wait()


def wait(what):
    assert host.wait_until(what, 60, 0.05), "it did not happen"


def new(port="50001", since=2**40):
    return operator.Connection("198.51.100.9", port, since)


def test_an_unconfirmed_change_is_made_and_taken_back(change, machine):
    change.arm(seconds=10)
    assert change.ends() == 0
    log = machine.log()
    assert machine.loads() == ["-rw-r--r-- new rules, new anchor"] and "pfctl -q -e" in log
    assert machine.rules.read_text() == "pass all\n" and not machine.on.exists() and not machine.anchor.exists()
    assert [line.split()[:4] for line in log if line.startswith("logger")] == [
        ["logger", "-t", "sokuhai-blocklist", "-p"]
    ]


def test_the_change_and_its_undo_read_pf_conf_with_its_flags(change, machine):
    change.arm(seconds=2, enabled=True, flags=["-D", "desk=10.0.0.0/8", "-m"])
    change.ends()
    assert [line for line in machine.log() if " -f " in line] == [
        f"pfctl -q -f {machine.rules} -D desk=10.0.0.0/8 -m"
    ] * 2


def test_an_anchor_that_is_not_needed_any_more_goes_and_comes_back(change, machine):
    machine.anchor.write_text("old anchor\n")
    change.arm(seconds=2, enabled=True, anchor=None, old_anchor="old anchor\n")
    change.ends()
    assert machine.loads() == ["-rw-r--r-- new rules, ", "-rw-r--r-- pass all, old anchor"]


def test_where_pf_was_on_it_stays_on_with_the_former_rules(change, machine):
    change.arm(seconds=2, enabled=True)
    change.ends()
    assert machine.loads() == ["-rw-r--r-- new rules, new anchor", "-rw-r--r-- pass all, "] and machine.on.exists()
    assert not any(" -d" in line for line in machine.log())


def test_rules_that_pf_does_not_take_are_taken_back_at_once(change, machine):
    machine.pfctl(**{'"-q -f"*': 'echo "cannot load" >&2; exit 1'})
    one = change.arm(seconds=600)
    change.ends()
    assert machine.rules.read_text() == "pass all\n"
    with pytest.raises(host.Refused, match="cannot load"):
        one.confirm(change.pf)


def test_a_new_connection_confirms(change, machine):
    one = change.arm(seconds=600)
    change.comes_from(new())
    one.confirm(change.pf)
    assert change.ends() == 0
    assert machine.rules.read_text() == "new rules\n" and machine.on.exists()


@pytest.mark.parametrize("now", [new("50000"), new(since=0), None])
def test_an_old_connection_confirms_nothing(change, now):
    one = change.arm(seconds=600)
    change.comes_from(now)
    with pytest.raises(host.Refused, match="^pf: "):
        one.confirm(change.pf)
    assert one.has("armed") and not one.has("confirmed")


def test_a_confirmation_that_comes_too_late_is_refused(change):
    one = change.arm(seconds=1)
    change.ends()
    change.comes_from(new())
    with pytest.raises(host.Refused, match="blocklist_confirm_seconds"):
        one.confirm(change.pf)


def test_the_next_run_takes_back_what_was_broken_off(change, machine):
    one = change.arm(seconds=600)
    change.on()
    assert waits.take_back_pending(False, 600)
    assert not machine.on.exists() and machine.rules.read_text() == "pass all\n"
    assert change.ends() == 0 and one.has("undone", "finished")
    assert not waits.take_back_pending(False, 600)


@pytest.mark.parametrize("left", ["armed", "undone"])
def test_a_change_that_was_killed_is_taken_back_by_the_next_run(change, machine, left):
    """The process is gone: before its undo, and in the middle of it."""
    one = change.arm(seconds=600)
    change.on()
    change.started[-1].kill()
    change.ends()
    if left == "undone":
        os.rename(one.path("armed"), one.path("undone"))
        machine.rules.write_text("pass all\n")
    with pytest.raises(host.Refused, match="still waits"):
        waits.take_back_pending(True, 600)
    waits.take_back_pending(False, 600)
    assert not machine.on.exists() and not machine.anchor.exists() and machine.rules.read_text() == "pass all\n"
    # what is finished is no longer looked at: the file is the user's again
    machine.rules.write_text("block all\n")
    waits.take_back_pending(True, 600)
    waits.take_back_pending(False, 600)
    assert one.has("finished") and machine.rules.read_text() == "block all\n"


def test_the_next_run_waits_for_an_undo_that_is_on_its_way(change, machine):
    """pf is slow at the new rules: they come into force after the next run has decided to take them back, and even so they do not stay."""
    machine.pfctl(**{'"-q -f"*': "sleep 0.7"})
    change.arm(seconds=600)
    wait(lambda: machine.rules.read_text() == "new rules\n")
    waits.take_back_pending(False, 600)
    assert not machine.on.exists() and machine.rules.read_text() == "pass all\n"
    calls = [line for line in machine.log() if line.startswith("pfctl")]
    assert calls.index("pfctl -q -e") < calls.index("pfctl -q -d") and change.ends() == 0


def test_an_undo_that_does_not_know_what_there_was_removes_nothing(change, machine):
    change.arm(seconds=600)
    change.on()
    # as the next change does it
    waits.forget()
    assert change.ends() == 1
    assert machine.rules.read_text() == "new rules\n" and machine.on.exists() and not machine.run.exists()
    assert any(line.startswith("logger") for line in machine.log())


def test_a_folder_that_goes_while_pf_takes_its_rules_is_told_of(change, machine):
    """Nothing can be written there any more, and a failed redirection must not end the program before it has said so."""
    machine.pfctl(**{"*-e": f"rm -rf {machine.run}; : > {machine.on}"})
    change.arm(seconds=600)
    assert change.ends() == 1
    assert any(line.startswith("logger") for line in machine.log())


def test_where_there_was_no_pf_conf_none_is_left(change, machine):
    machine.rules.unlink()
    change.arm(seconds=2, old=None)
    assert change.ends() == 0
    assert machine.loads() and not machine.rules.exists() and not machine.anchor.exists()


def test_the_mode_of_pf_conf_stays(change, machine):
    machine.rules.chmod(0o600)
    change.arm(seconds=2)
    assert change.ends() == 0
    assert machine.loads()[0].startswith("-rw------- new rules") and machine.rules.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("held, loads", [("pass all", True), ("", False)])
def test_a_pf_that_was_off_has_the_rules_again_that_it_had(change, machine, held, loads):
    machine.pfctl(**{'"-s rules"': f'echo "{held}"'})
    change.arm(seconds=2)
    assert change.ends() == 0
    log = machine.log()
    after = log[log.index("pfctl -q -d") :]
    assert (f"pfctl -q -f {machine.rules}" in [line.strip() for line in after], "pfctl -q -F rules" in after) == (
        loads,
        not loads,
    )


def test_check_mode_touches_no_pending_change(change):
    one = change.arm(seconds=600)
    with pytest.raises(host.Refused, match="still waits"):
        waits.take_back_pending(True, 600)
    assert one.has("armed")


def test_a_change_of_a_former_version_is_undone_by_the_program_it_came_with(machine):
    """It has its paths in itself and no file settings beside it."""
    here = machine.run / "0123"
    here.mkdir(parents=True)
    (here / "change.sh").write_text(f'[ "$1" = undo ] && echo old > {machine.rules} && true > {here}/finished\n')
    (here / "armed").write_text("")
    waits.take_back_pending(False, 600)
    assert machine.rules.read_text() == "old\n"
