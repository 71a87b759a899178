# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module monitor_host against made-up commands: what it changes, what it leaves alone, how it goes back, and that undo leaves nothing but the samples."""

import os
import pwd
import time
import types

import pytest
from role_modules import load, util

module = load("roles/monitor/library/monitor_host.py")
Refused = module.Refused
TEXT = "# Written by sokuhai's role monitor\n"
PROGRAM = ("__main__.py", "look.py")


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
        self.samples, self.program = folder / "db" / "samples.csv", folder / "libexec" / "monitor"
        self.p = {
            "service": "sokuhai_monitor",
            "user": "sampler",
            "directory": str(folder / "db"),
            "program": str(self.program),
            "patience": 2,
            "silence": 180,
            "files": [
                *(self.file(self.program / name) for name in PROGRAM),
                self.file(folder / "etc/settings"),
                self.file(folder / "etc/script", mode="0555"),
                self.file(folder / "etc/newsyslog", restart=False),
            ],
        }
        monkeypatch.setattr(util("sokuhai.host"), "run", self.run)
        monkeypatch.setattr(util("sokuhai.host").time, "sleep", lambda seconds: None)
        monkeypatch.setattr(module.pwd, "getpwnam", lambda name: self.users[name])
        monkeypatch.setattr(module.os, "kill", lambda pid, number: self.running.pop(pid, None))
        # a moment goes by with each look at the clock, so that waiting ends
        self.now, clock = time.time(), iter(range(10**6))
        monkeypatch.setattr(module.time, "time", lambda: self.now + next(clock) * 0.1)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now + next(clock) * 0.1)

    @staticmethod
    def file(path, mode="0644", restart=True):
        return {"path": str(path), "text": TEXT + path.name + "\n", "mode": mode, "restart": restart}

    def run(self, argv, **_options):
        self.calls.append(argv)
        if argv[:2] == ["sysrc", "-i"]:
            return 0, "".join("%s: %s\n" % item for item in self.rc.items()), ""
        if argv[:2] == ["sysrc", "-x"]:
            del self.rc[argv[2]]
        elif argv[0] == "sysrc":
            name, _equal, value = argv[1].partition("=")
            self.rc[name] = value
        elif argv[0] == "ps":
            pid = int(argv[argv.index("-p") + 1])
            command = self.running.get(pid)
            return (
                (0, "%d 1 0 Ss %s 5 %s\n" % (pid, command.split(":")[0].split()[0], command), "")
                if command
                else (1, "", "")
            )
        elif argv[:2] == ["pw", "useradd"]:
            self.users["sampler"] = types.SimpleNamespace(pw_uid=4711, pw_gid=4711, pw_gecos="sokuhai monitor")
        elif argv[:2] == ["pw", "userdel"]:
            del self.users["sampler"]
        elif argv[0] == "service" and argv[2] == "start":
            self.running = {71: "daemon: sokuhai_monitor", 72: "python3 -IB %s" % self.program}
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
        """Run the module with other texts of the files of these names."""
        for one in self.p["files"]:
            name = one["path"].rpartition("/")[2].partition(".")[0]
            one["text"] = TEXT + parts[name] if name in parts else one["text"]
        return self.monitor().present()

    def started(self):
        return [argv[2] for argv in self.calls if argv[0] == "service"]


def owned(found, user):
    """A stat_result of another owner."""
    return os.stat_result((*found[:4], user, *found[5:10]))


@pytest.fixture
def host(tmp_path, monkeypatch):
    # its file and its folder are the sampler's, all else is root's, as far as the module sees
    real = module.status

    def status(path):
        found = real(path)
        return found and owned(found, 4711 if str(path).endswith(("/samples.csv", "/db/state")) else 0)

    monkeypatch.setattr(module, "status", status)
    monkeypatch.setattr(module.os, "chown", lambda *arguments, **options: None)
    return Host(tmp_path, monkeypatch)


def ids(result):
    return [entry["id"] for entry in result["findings"]]


def test_first_run_makes_all_of_it_and_the_second_nothing(host):
    host.check_mode = True
    predicted = host.present()
    assert predicted["changed"] and not (host.folder / "etc").exists() and not host.started()
    host.check_mode = False
    done = host.present()
    assert done["changed"] and host.rc == {"sokuhai_monitor_enable": "YES"} and host.started() == ["start"]
    assert [oct((host.folder / "etc" / name).stat().st_mode)[-3:] for name in ("script", "settings")] == ["555", "644"]
    assert sorted(path.name for path in host.program.iterdir()) == sorted(PROGRAM)
    assert [entry["after_header"] for entry in done["diff"]] == [entry["after_header"] for entry in predicted["diff"]]
    host.calls.clear()
    again = host.present()
    assert again == {"changed": False, "findings": [], "diff": []} and not host.started()


def test_what_is_read_once_restarts_it_and_what_newsyslog_reads_does_not(host):
    host.present()
    host.calls.clear()
    assert host.present(newsyslog="other\n")["changed"] and not host.started()
    assert host.present(settings="other\n")["changed"] and host.started() == ["onestop", "start"]
    host.calls.clear()
    assert host.present(look="other\n")["changed"] and host.started() == ["onestop", "start"]


@pytest.mark.parametrize(
    "how, wanted", [("gone", "service monitor"), ("older", "process monitor"), ("silent", "service monitor")]
)
def test_one_that_does_not_run_as_declared_is_started_anew(host, how, wanted):
    host.present()
    host.calls.clear()
    if how == "gone":
        host.running = {}
    elif how == "older":
        os.utime(host.folder / "run" / "watcher", (1, 1))
    else:
        for path in (host.samples, host.folder / "run" / "watcher", *(one["path"] for one in host.p["files"])):
            os.utime(path, (host.now - 1000, host.now - 1000))
    found = host.present()
    assert found["changed"] and ids(found) == [wanted] and "start" in host.started(), found
    # that it is older than a file that a diff shows follows from that
    assert (str(host.program / "look.py") in found["findings"][0]["because"]) == (how == "older")
    assert host.present()["changed"] is False


def test_the_single_file_of_a_former_version_gives_way_to_the_folder_and_comes_back_where_that_fails(host):
    host.present()
    for path in host.program.iterdir():
        path.unlink()
    host.program.rmdir()
    host.program.write_text(TEXT + "former\n")
    host.works = False

    def former_works(argv, inner=host.run):
        host.works = host.works or argv[2:] == ["start"] and host.program.is_file()
        return inner(argv)

    util("sokuhai.host").run = former_works
    with pytest.raises(Refused, match="The previous sampler is back"):
        host.present()
    assert host.program.read_text() == TEXT + "former\n"
    host.works, util("sokuhai.host").run = True, host.run
    host.check_mode = True
    assert str(host.program) in [entry["after_header"] for entry in host.present()["diff"]] and host.program.is_file()
    host.check_mode = False
    host.calls.clear()
    assert host.present()["changed"] and host.started() == ["onestop", "start"]
    assert sorted(path.name for path in host.program.iterdir()) == sorted(PROGRAM)
    assert not host.present()["changed"]


def test_a_file_that_a_former_version_has_left_of_the_program_goes(host):
    host.present()
    (host.program / "old.py").write_text(TEXT)
    (host.program / "mine.py").write_text("somebody's\n")
    assert host.present()["changed"] and not host.present()["changed"]
    assert not (host.program / "old.py").exists() and (host.program / "mine.py").exists()


def test_a_mode_that_was_changed_is_put_back(host):
    host.present()
    (host.folder / "etc/settings").chmod(0o666)
    found = host.present()
    assert [entry["after_header"] for entry in found["diff"]] == ["mode of %s" % (host.folder / "etc/settings")]
    assert not host.present()["changed"]


def test_somebody_elses_file_is_refused_before_anything_changes(host):
    (host.folder / "etc").mkdir()
    (host.folder / "etc/script").write_text("#!/bin/sh\n")
    with pytest.raises(Refused, match="etc/script"):
        host.present()
    (host.folder / "etc/script").unlink()
    host.program.parent.mkdir()
    host.program.write_text("#!/bin/sh\n")
    with pytest.raises(Refused, match="libexec/monitor"):
        host.present()
    assert not host.users and not host.rc


def test_a_sampler_that_writes_nothing_gives_way_to_the_former_one(host):
    host.present()
    host.works = False

    def start_again(argv, inner=host.run):
        if argv[0] == "service" and argv[2] == "start" and "broken" not in (host.program / "look.py").read_text():
            host.works = True
        return inner(argv)

    util("sokuhai.host").run = start_again
    with pytest.raises(Refused, match="wrote nothing into .* The previous sampler is back"):
        host.present(look="broken\n")
    assert (host.program / "look.py").read_text() == TEXT + "look.py\n"


def test_the_first_one_that_writes_nothing_says_that_there_is_no_former_one(host):
    host.works = False
    with pytest.raises(Refused, match="no previous sampler"):
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
    assert not host.program.exists()


def test_undo_leaves_a_user_alone_that_it_has_not_made(host):
    host.users["sampler"] = types.SimpleNamespace(pw_uid=4711, pw_gid=4711, pw_gecos="somebody")
    host.present()
    host.monitor().absent()
    assert "sampler" in host.users
