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


class Machine(FakeHost):
    """A host whose pf is the file `on`; what pf was given is in loads(): mode and text of pf.conf, and the anchor's text."""

    def __init__(self, path, monkeypatch):
        super().__init__(path, monkeypatch)
        self.rules, self.anchor, self.on, self.run = (path / name for name in ("pf.conf", "anchor", "on", "run"))
        self.given, self.connection, self.started, self.command = path / "given", BEFORE, [], waits.run
        self.given.touch()
        self.rules.write_text("pass all\n")
        for name in ("logger", "sysrc"):
            self.program(name)
        self.pfctl()
        for module, name, value in (
            (waits, "RUN", str(self.run)),
            (pf, "ANCHOR_FILE", str(self.anchor)),
            (waits, "run", self.daemon_or),
            (waits, "connection", lambda: self.connection),
        ):
            monkeypatch.setattr(module, name, value)

    def pfctl(self, **more):
        """Have a pfctl that does so; *more*: {words of the command: what it does}, before what it does by itself."""
        notes = f'echo "$(ls -l "$3" | cut -c1-10) $(cat "$3"), $(cat {self.anchor} 2>/dev/null)" >> {self.given}'
        does = {
            '"-q -f"*': notes,
            **more,
            '"-s Running"': f"[ -e {self.on} ]",
            "*-e*": f": > {self.on}",
            "*-d*": f"rm -f {self.on}",
        }
        self.program("pfctl", 'case "$*" in %s esac' % " ".join("%s) %s ;;" % item for item in does.items()))

    def loads(self):
        return self.given.read_text().splitlines()

    def daemon_or(self, argv, **options):
        """daemon(8) returns at once, and what it starts lives on; any other command as it is."""
        if argv[0] != "/usr/sbin/daemon":
            return self.command(argv, **options)
        self.started.append(subprocess.Popen(argv[2:]))
        return 0, "", ""

    def arm(self, seconds=2, enabled=False, old="pass all\n", anchor="new anchor\n", old_anchor=None, flags=()):
        """Make a change as the module does, with shorter waits; return it while it waits."""
        if enabled:
            self.on.touch()
        self.pf = types.SimpleNamespace(
            conf=str(self.rules), flags=list(flags), enabled=pf.Pf.enabled, rules=pf.Pf.rules
        )
        quick = PROGRAM.replace("PATH=/sbin:/bin:/usr/sbin:/usr/bin", f"PATH={self.bin}:/bin:/usr/bin")
        quick = quick.replace("sleep 2", "sleep 0.3").replace("sleep 1", "sleep 0.1")
        return waits.Change(waits.arm(quick, self.pf, (old, "new rules\n"), (old_anchor, anchor), seconds))

    def ends(self):
        """Wait for the process of the change; return its exit status."""
        return self.started[-1].wait(timeout=60)

    def as_before(self):
        """Whether pf is off and its rules, and the anchor, are those of the beginning."""
        return not self.on.exists() and not self.anchor.exists() and self.rules.read_text() == "pass all\n"

    def logged(self):
        return [line for line in self.log() if line.startswith("logger -t sokuhai-blocklist -p ")]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    for process in made.started:
        process.kill()
        process.wait()


@pytest.fixture
def made(machine):
    """A change that was made and waits."""
    change = machine.arm(seconds=600)
    wait(machine.on.exists)
    return change


def wait(what):
    assert host.wait_until(what, 60, 0.05), "it did not happen"


def new(port="50001", since=2**40):
    return operator.Connection("198.51.100.9", port, since)


def test_an_unconfirmed_change_is_made_and_taken_back(machine):
    machine.arm(seconds=10)
    assert machine.ends() == 0 and machine.as_before()
    assert machine.loads() == ["-rw-r--r-- new rules, new anchor"]
    log = machine.log()
    assert "pfctl -q -e" in log and len([line for line in log if line.startswith("logger -t sokuhai-blocklist")]) == 1


def test_the_change_and_its_undo_read_pf_conf_with_its_flags(machine):
    machine.arm(enabled=True, flags=["-D", "desk=10.0.0.0/8", "-m"])
    machine.ends()
    loads = [line for line in machine.log() if " -f " in line]
    assert loads == [f"pfctl -q -f {machine.rules} -D desk=10.0.0.0/8 -m"] * 2


@pytest.mark.parametrize(
    "anchor, options, loads",
    [
        # where pf was on it stays on, with the former rules
        (None, {}, ["-rw-r--r-- new rules, new anchor", "-rw-r--r-- pass all, "]),
        # an anchor that is not needed any more goes and comes back
        (
            "old anchor\n",
            {"anchor": None, "old_anchor": "old anchor\n"},
            ["-rw-r--r-- new rules, ", "-rw-r--r-- pass all, old anchor"],
        ),
    ],
)
def test_a_pf_that_was_on_has_its_former_rules_again(machine, anchor, options, loads):
    if anchor:
        machine.anchor.write_text(anchor)
    machine.arm(enabled=True, **options)
    machine.ends()
    assert machine.loads() == loads and machine.on.exists()
    assert not any(" -d" in line for line in machine.log())


def test_rules_that_pf_does_not_take_are_taken_back_at_once(machine):
    machine.pfctl(**{'"-q -f"*': 'echo "cannot load" >&2; exit 1'})
    one = machine.arm(seconds=600)
    machine.ends()
    assert machine.rules.read_text() == "pass all\n"
    with pytest.raises(host.Refused, match="cannot load"):
        one.confirm(machine.pf)


def test_a_new_connection_confirms(machine):
    one = machine.arm(seconds=600)
    machine.connection = new()
    one.confirm(machine.pf)
    assert machine.ends() == 0
    assert machine.rules.read_text() == "new rules\n" and machine.on.exists()


@pytest.mark.parametrize("now", [new("50000"), new(since=0), None])
def test_an_old_connection_confirms_nothing(machine, now):
    one = machine.arm(seconds=600)
    machine.connection = now
    with pytest.raises(host.Refused, match="^pf: "):
        one.confirm(machine.pf)
    assert one.has("armed") and not one.has("confirmed")


def test_a_confirmation_that_comes_too_late_is_refused(machine):
    one = machine.arm(seconds=1)
    machine.ends()
    machine.connection = new()
    with pytest.raises(host.Refused, match="blocklist_confirm_seconds"):
        one.confirm(machine.pf)


def test_the_next_run_takes_back_what_was_broken_off(machine, made):
    assert waits.take_back_pending(False, 600) and machine.as_before()
    assert machine.ends() == 0 and made.has("undone", "finished")
    assert not waits.take_back_pending(False, 600)


@pytest.mark.parametrize("left", ["armed", "undone"])
def test_a_change_that_was_killed_is_taken_back_by_the_next_run(machine, made, left):
    """The process is gone: before its undo, and in the middle of it."""
    machine.started[-1].kill()
    machine.ends()
    if left == "undone":
        os.rename(made.path("armed"), made.path("undone"))
        machine.rules.write_text("pass all\n")
    with pytest.raises(host.Refused, match="still waits"):
        waits.take_back_pending(True, 600)
    waits.take_back_pending(False, 600)
    assert machine.as_before()
    # what is finished is no longer looked at: the file is the user's again
    machine.rules.write_text("block all\n")
    waits.take_back_pending(True, 600)
    waits.take_back_pending(False, 600)
    assert made.has("finished") and machine.rules.read_text() == "block all\n"


def test_the_next_run_waits_for_an_undo_that_is_on_its_way(machine):
    """pf is slow at the new rules: they come into force after the next run has decided to take them back, and even so they do not stay."""
    machine.pfctl(**{'"-q -f"*': "sleep 0.7"})
    machine.arm(seconds=600)
    wait(lambda: machine.rules.read_text() == "new rules\n")
    waits.take_back_pending(False, 600)
    assert machine.as_before()
    calls = [line for line in machine.log() if line.startswith("pfctl")]
    assert calls.index("pfctl -q -e") < calls.index("pfctl -q -d") and machine.ends() == 0


def test_an_undo_that_does_not_know_what_there_was_removes_nothing(machine, made):
    # as the next change does it
    waits.forget()
    assert machine.ends() == 1
    assert machine.rules.read_text() == "new rules\n" and machine.on.exists() and not machine.run.exists()
    assert machine.logged()


def test_a_folder_that_goes_while_pf_takes_its_rules_is_told_of(machine):
    """Nothing can be written there any more, and a failed redirection must not end the program before it has said so."""
    machine.pfctl(**{"*-e": f"rm -rf {machine.run}; : > {machine.on}"})
    machine.arm(seconds=600)
    assert machine.ends() == 1 and machine.logged()


def test_where_there_was_no_pf_conf_none_is_left(machine):
    machine.rules.unlink()
    machine.arm(old=None)
    assert machine.ends() == 0
    assert machine.loads() and not machine.rules.exists() and not machine.anchor.exists()


def test_the_mode_of_pf_conf_stays(machine):
    machine.rules.chmod(0o600)
    machine.arm()
    assert machine.ends() == 0
    assert machine.loads()[0].startswith("-rw------- new rules") and machine.rules.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("held, loads", [("pass all", True), ("", False)])
def test_a_pf_that_was_off_has_the_rules_again_that_it_had(machine, held, loads):
    machine.pfctl(**{'"-s rules"': f'echo "{held}"'})
    machine.arm()
    assert machine.ends() == 0
    log = [line.strip() for line in machine.log()]
    after = log[log.index("pfctl -q -d") :]
    assert (f"pfctl -q -f {machine.rules}" in after) is loads and ("pfctl -q -F rules" in after) is not loads


def test_a_change_of_a_former_version_is_undone_by_the_program_it_came_with(machine):
    """It has its paths in itself and no file settings beside it."""
    here = machine.run / "0123"
    here.mkdir(parents=True)
    (here / "change.sh").write_text(f'[ "$1" = undo ] && echo old > {machine.rules} && true > {here}/finished\n')
    (here / "armed").write_text("")
    waits.take_back_pending(False, 600)
    assert machine.rules.read_text() == "old\n"
