# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module monitor_host against made-up commands: what it changes, what it leaves alone, how it goes back, and that undo leaves nothing but the samples."""

import os
import pwd
import time
import types

import pytest
from role_modules import load

module = load("roles/monitor/library/monitor_host.py")
Refused = module.Refused
TEXT = "# Written by sokuhai's role monitor\n"


class Host:
    """rc.conf, users, processes and the service command of a host."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.rc, self.users, self.calls, self.running, self.works, self.check_mode = (
            folder,
            {},
            {},
            [],
            {},
            True,
            False,
        )
        self.samples = folder / "db" / "samples.csv"
        self.p = {
            "service": "sokuhai_monitor",
            "user": "sampler",
            "directory": str(folder / "db"),
            "patience": 2,
            "silence": 180,
            **{
                part: {
                    "path": str(folder / "etc" / part),
                    "text": TEXT + part + "\n",
                    "mode": "0555" if part in ("program", "script") else "0644",
                }
                for part in module.FILES
            },
        }
        monkeypatch.setattr(module, "run", self.run)
        monkeypatch.setattr(module.pwd, "getpwnam", lambda name: self.users[name])
        monkeypatch.setattr(module.os, "kill", lambda pid, number: self.running.pop(pid, None))
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
        self.now, clock = time.time(), iter(range(10**6))
        # each look at it costs a tenth of a second, so that waiting ends
        monkeypatch.setattr(module.time, "time", lambda: self.now + next(clock) * 0.1)

    def run(self, argv, **_options):
        self.calls.append(argv)
        if argv[:2] == ["sysrc", "-n"]:
            return (0, self.rc[argv[2]] + "\n", "") if argv[2] in self.rc else (1, "", "unknown")
        if argv[:2] == ["sysrc", "-x"]:
            del self.rc[argv[2]]
        elif argv[0] == "sysrc":
            name, _equal, value = argv[1].partition("=")
            self.rc[name] = value
        elif argv[0] == "ps":
            command = self.running.get(int(argv[-1]))
            return (0, command + "\n", "") if command else (1, "", "")
        elif argv[:2] == ["pw", "useradd"]:
            self.users["sampler"] = types.SimpleNamespace(pw_uid=4711, pw_gid=4711, pw_gecos="sokuhai monitor")
        elif argv[:2] == ["pw", "userdel"]:
            del self.users["sampler"]
        elif argv[0] == "service" and argv[2] == "start":
            self.running = {71: "daemon: sokuhai_monitor", 72: "python3 -I %s" % self.p["program"]["path"]}
            (self.folder / "run").mkdir(exist_ok=True)
            (self.folder / "run" / "watcher").write_text("71")
            (self.folder / "run" / "child").write_text("72")
            if self.works:
                with self.samples.open("a") as target:
                    target.write("a line\n")
                os.utime(self.samples, (time.time(), time.time()))
        elif argv[0] == "service":
            self.running = {}
        return 0, "", ""

    def monitor(self):
        made = module.Monitor(types.SimpleNamespace(params=self.p, check_mode=self.check_mode))
        made.pidfile, made.childfile = str(self.folder / "run" / "watcher"), str(self.folder / "run" / "child")
        return made

    def present(self, **parts):
        for part, text in parts.items():
            self.p[part]["text"] = TEXT + text
        return self.monitor().present()

    def started(self):
        return [argv[2] for argv in self.calls if argv[0] == "service"]


def owned(found, user):
    """A stat_result of another owner."""
    return os.stat_result((*found[:4], user, *found[5:10]))


@pytest.fixture
def host(tmp_path, monkeypatch):
    # the folder belongs to the sampler's user as far as the module sees
    monkeypatch.setattr(module.os, "chown", lambda *arguments, **options: None)
    real = os.stat

    def stat(path, *arguments, **options):
        found = real(path, *arguments, **options)
        owner = 0 if str(path).endswith("/db") or "/etc/" in str(path) else None
        return found if owner is None else owned(found, owner)

    monkeypatch.setattr(module.os, "stat", stat)
    own = os.lstat
    monkeypatch.setattr(
        module.os,
        "lstat",
        lambda path, *arguments, **options: (
            owned(own(path, *arguments, **options), 4711)
            if str(path).endswith(("/samples.csv", "/db/state"))
            else own(path, *arguments, **options)
        ),
    )
    return Host(tmp_path, monkeypatch)


def test_first_run_makes_all_of_it_and_the_second_nothing(host):
    host.check_mode = True
    predicted = host.present()
    assert predicted["changed"] and not (host.folder / "etc").exists() and not host.started()
    host.check_mode = False
    done = host.present()
    assert done["changed"] and host.rc == {"sokuhai_monitor_enable": "YES"} and host.started() == ["start"]
    assert (
        oct((host.folder / "etc/program").stat().st_mode)[-3:] == "555"
        and oct((host.folder / "etc/settings").stat().st_mode)[-3:] == "644"
    )
    assert [entry["after_header"] for entry in done["diff"]] == [entry["after_header"] for entry in predicted["diff"]]
    host.calls.clear()
    again = host.present()
    assert again == {"changed": False, "restarted": "", "diff": []} and not host.started()


def test_what_is_read_once_restarts_it_and_what_newsyslog_reads_does_not(host):
    host.present()
    host.calls.clear()
    assert host.present(newsyslog="other\n")["changed"] and not host.started()
    assert host.present(settings="other\n")["restarted"] and host.started() == ["onestop", "start"]


@pytest.mark.parametrize(
    "how, why",
    [
        ("gone", "did not run"),
        ("older", "was older than its program or its settings"),
        ("silent", "has written nothing for"),
    ],
)
def test_one_that_does_not_run_as_declared_is_started_anew(host, how, why):
    host.present()
    host.calls.clear()
    if how == "gone":
        host.running = {}
    elif how == "older":
        os.utime(host.folder / "run" / "watcher", (1, 1))
    else:
        for path in (
            host.samples,
            host.folder / "run" / "watcher",
            *(host.folder / "etc" / part for part in module.FILES),
        ):
            os.utime(path, (host.now - 1000, host.now - 1000))
    found = host.present()
    assert found["changed"] and found["restarted"].startswith(why) and "start" in host.started(), found
    assert host.present()["changed"] is False


def test_a_mode_that_was_changed_is_put_back(host):
    host.present()
    (host.folder / "etc/settings").chmod(0o666)
    found = host.present()
    assert [entry["after_header"] for entry in found["diff"]] == ["mode of %s" % (host.folder / "etc/settings")]
    assert not host.present()["changed"]


def test_somebody_elses_file_is_refused_before_anything_changes(host):
    (host.folder / "etc").mkdir()
    (host.folder / "etc/program").write_text("#!/bin/sh\n")
    with pytest.raises(Refused, match="was not written by this role"):
        host.present()
    assert not host.users and not host.rc


def test_a_sampler_that_writes_nothing_gives_way_to_the_former_one(host):
    host.present()
    host.works = False

    def start_again(argv, inner=host.run):
        if argv[0] == "service" and argv[2] == "start" and "broken" not in (host.folder / "etc/program").read_text():
            host.works = True
        return inner(argv)

    module.run = start_again
    with pytest.raises(Refused, match="wrote nothing into .* The former sampler is back"):
        host.present(program="broken\n")
    assert (host.folder / "etc/program").read_text() == TEXT + "program\n"


def test_the_first_one_that_writes_nothing_says_that_there_is_no_former_one(host):
    host.works = False
    with pytest.raises(Refused, match="no former sampler"):
        host.present()


def test_root_is_no_user_for_it(host):
    host.users["sampler"] = pwd.struct_passwd(("sampler", "*", 0, 0, "x", "/", "/bin/sh"))
    with pytest.raises(Refused, match="monitor_user"):
        host.present()


def test_undo_leaves_the_samples_alone_and_nothing_else_and_can_be_repeated(host):
    host.present()
    (host.folder / "db" / "state" / "state.json").write_text("{}")
    host.check_mode = True
    assert host.monitor().absent()["changed"] and host.running
    host.check_mode = False
    assert host.monitor().absent() == {"changed": True}
    assert not host.running and not host.rc and not host.users
    assert sorted(path.name for path in host.folder.rglob("*") if path.is_file()) == ["samples.csv"]
    assert host.monitor().absent() == {"changed": False}


def test_undo_mends_what_a_broken_off_undo_left(host):
    host.present()
    # the script is gone, the processes are not
    (host.folder / "etc/script").unlink()
    host.rc.clear()
    assert host.monitor().absent()["changed"] and not host.running
    assert not (host.folder / "etc/program").exists()


def test_undo_leaves_a_user_alone_that_it_has_not_made(host):
    host.users["sampler"] = types.SimpleNamespace(pw_uid=4711, pw_gid=4711, pw_gecos="somebody")
    host.present()
    host.monitor().absent()
    assert "sampler" in host.users
