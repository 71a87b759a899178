# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module monitor_host against made-up commands: what it changes, what it leaves alone, how it goes back, and that undo leaves nothing but the samples."""

import json
import os
import pwd
import shutil
import time
import types

import pytest
from fake_host import FakeRc
from role_modules import answer_of, load, util

module = load("roles/monitor/library/monitor_host.py")
Refused = module.Refused
TEXT = "# Written by sokuhai's role monitor\n"
PROGRAM = ("__main__.py", "look.py")


class Host:
    """rc.conf, users, processes and the service command of a host."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.rc, self.users, self.calls, self.running = folder, FakeRc(), {}, [], {}
        self.works = lambda: True  # whether the sampler that is there would write
        self.samples, self.program = folder / "db" / "samples.csv", folder / "libexec" / "monitor"
        self.p = {
            "service": "sokuhai_monitor",
            "user": "sampler",
            "directory": str(folder / "db"),
            "program": str(self.program),
            "patience": 2,
            "silence": 180,
            "settings": str(folder / "etc/settings"),
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
        for name in ("time", "monotonic"):
            monkeypatch.setattr(module.time, name, lambda: self.now + next(clock) * 0.1)

    @staticmethod
    def file(path, mode="0644", restart=True):
        return {"path": str(path), "text": TEXT + path.name + "\n", "mode": mode, "restart": restart}

    def run(self, argv, **_options):
        self.calls.append(argv)
        if argv[0] == "sysrc":
            return self.rc.sysrc(argv[1:])
        if argv[0] == "ps":
            pid = int(argv[argv.index("-p") + 1])
            command = self.running.get(pid, "")
            name = command.partition(":")[0].partition(" ")[0]
            return (0, "%d 1 0 Ss %s 5 %s\n" % (pid, name, command), "") if command else (1, "", "")
        if argv[:2] == ["pw", "useradd"]:
            self.users["sampler"] = types.SimpleNamespace(pw_uid=4711, pw_gid=4711, pw_gecos="sokuhai monitor")
        elif argv[:2] == ["pw", "userdel"]:
            del self.users["sampler"]
        elif argv[0] == "service":
            self.running = {}
            if argv[2] == "start":
                self.start()
        return 0, "", ""

    def start(self):
        self.running = {71: "daemon: sokuhai_monitor", 72: "python3 -IB %s" % self.program}
        (self.folder / "run").mkdir(exist_ok=True)
        for name, pid in zip(("watcher", "child"), self.running):
            (self.folder / "run" / name).write_text(str(pid))
        if self.works():
            self.samples.write_text(self.samples.read_text() + "a line\n")
            os.utime(self.samples, (time.time(), time.time()))

    def monitor(self, check_mode=False):
        made = module.Monitor(types.SimpleNamespace(params=self.p, check_mode=check_mode))
        made.pidfile, made.childfile = str(self.folder / "run" / "watcher"), str(self.folder / "run" / "child")
        return made

    def present(self, check_mode=False, **parts):
        """Run the module with other texts of the files of these names, and forget the commands of earlier runs."""
        for one in self.p["files"]:
            name = one["path"].rpartition("/")[2].partition(".")[0]
            one["text"] = TEXT + parts[name] if name in parts else one["text"]
        self.calls.clear()
        return self.monitor(check_mode).present()

    def started(self):
        return [argv[2] for argv in self.calls if argv[0] == "service"]


@pytest.fixture
def host(tmp_path, monkeypatch):
    # its file and its folder are the sampler's, all else is root's, as far as the module sees
    real = module.status

    def status(path):
        found = real(path)
        owner = 4711 if str(path).endswith(("/samples.csv", "/db/state")) else 0
        return found and os.stat_result((*found[:4], owner, *found[5:10]))

    monkeypatch.setattr(module, "status", status)
    monkeypatch.setattr(module.os, "chown", lambda *arguments, **options: None)
    return Host(tmp_path, monkeypatch)


def ids(result):
    return [entry["id"] for entry in result["findings"]]


def test_first_run_makes_all_of_it_and_the_second_nothing(host):
    predicted = host.present(check_mode=True)
    assert predicted["changed"] and not (host.folder / "etc").exists() and not host.started()
    done = host.present()
    assert done["changed"] and host.rc == {"sokuhai_monitor_enable": "YES"} and host.started() == ["start"]
    assert [oct((host.folder / "etc" / name).stat().st_mode)[-3:] for name in ("script", "settings")] == ["555", "644"]
    assert sorted(path.name for path in host.program.iterdir()) == sorted(PROGRAM)
    assert [entry["after_header"] for entry in done["diff"]] == [entry["after_header"] for entry in predicted["diff"]]
    assert host.present() == {"changed": False, "findings": [], "diff": []} and not host.started()


@pytest.mark.parametrize(
    "name, started", [("newsyslog", []), ("settings", ["onestop", "start"]), ("look", ["onestop", "start"])]
)
def test_what_is_read_once_restarts_it_and_what_newsyslog_reads_does_not(host, name, started):
    host.present()
    assert host.present(**{name: "other\n"})["changed"] and host.started() == started


def fall_silent(host):
    for path in (host.samples, host.folder / "run" / "watcher", *(one["path"] for one in host.p["files"])):
        os.utime(path, (host.now - 1000, host.now - 1000))


@pytest.mark.parametrize(
    "damage, found",
    [
        (lambda host: host.running.clear(), "service monitor"),
        (lambda host: os.utime(host.folder / "run" / "watcher", (1, 1)), "process monitor"),
        (fall_silent, "service monitor"),
    ],
    ids=["gone", "older", "silent"],
)
def test_one_that_does_not_run_as_declared_is_restarted(host, damage, found):
    host.present()
    damage(host)
    answer = host.present()
    assert answer["changed"] and ids(answer) == [found] and "start" in host.started(), answer
    # that it is older than a file that a diff shows follows from that
    because = answer["findings"][0]["because"]
    assert (str(host.program / "look.py") in because) == (found == "process monitor")
    assert host.present()["changed"] is False


def test_the_single_file_of_a_former_version_gives_way_to_the_folder_and_comes_back_where_that_fails(host):
    host.present()
    shutil.rmtree(host.program)
    host.program.write_text(TEXT + "former\n")
    host.works = host.program.is_file
    with pytest.raises(Refused, match="The previous sampler is back"):
        host.present()
    assert host.program.read_text() == TEXT + "former\n"
    host.works = lambda: True
    predicted = host.present(check_mode=True)
    assert str(host.program) in [entry["after_header"] for entry in predicted["diff"]] and host.program.is_file()
    assert host.present()["changed"] and host.started() == ["onestop", "start"]
    assert sorted(path.name for path in host.program.iterdir()) == sorted(PROGRAM)
    assert not host.present()["changed"]


def test_a_file_that_a_former_version_has_left_of_the_program_goes(host):
    host.present()
    (host.program / "old.py").write_text(TEXT)
    (host.program / "mine.py").write_text("somebody's\n")
    assert host.present()["changed"] and not host.present()["changed"]
    assert not (host.program / "old.py").exists() and (host.program / "mine.py").exists()


def test_a_webhooks_url_is_in_no_answer(host):
    url = "https://alerts.example.org/hook/K3y"
    host.p["files"][2]["text"] = TEXT + '{"webhook": {"url": "%s"}}\n' % url
    shown = [answer_of(module, check_mode=True, hidden=hidden, **host.p) for hidden in (url, "")]
    assert [url in json.dumps(answer) for answer in shown] == [False, True] and shown[0]["changed"]


def test_a_mode_that_was_changed_is_put_back(host):
    host.present()
    path = host.folder / "etc/settings"
    path.chmod(0o666)
    assert [entry["after_header"] for entry in host.present()["diff"]] == ["mode of %s" % path]
    assert not host.present()["changed"]


@pytest.mark.parametrize("name", ["etc/script", "libexec/monitor"])
def test_somebody_elses_file_is_refused_before_anything_changes(host, name):
    (host.folder / name).parent.mkdir()
    (host.folder / name).write_text("#!/bin/sh\n")
    with pytest.raises(Refused, match=name):
        host.present()
    assert not host.users and not host.rc


def test_a_sampler_that_writes_nothing_gives_way_to_the_former_one(host):
    host.present()
    host.works = lambda: "broken" not in (host.program / "look.py").read_text()
    with pytest.raises(Refused, match="wrote nothing into .* The previous sampler is back"):
        host.present(look="broken\n")
    assert (host.program / "look.py").read_text() == TEXT + "look.py\n"


def test_the_first_one_that_writes_nothing_says_that_there_is_no_former_one(host):
    host.works = lambda: False
    with pytest.raises(Refused, match="no previous sampler"):
        host.present()


def test_root_is_no_user_for_it(host):
    host.users["sampler"] = pwd.struct_passwd(("sampler", "*", 0, 0, "x", "/", "/bin/sh"))
    with pytest.raises(Refused, match="monitor_user"):
        host.present()


@pytest.mark.parametrize("name", ["", "other.prom"])
def test_a_file_for_prometheus_that_is_no_longer_declared_goes(host, name):
    file = host.folder / "old.prom"
    host.p["files"][2]["text"] = json.dumps({"written_by": module.MARK, "textfile": str(file)})
    host.present()
    file.write_text("# Written by %s.\nsokuhai_files 5\n" % module.MARK)
    assert not host.present()["changed"] and file.exists(), "what is declared stays"
    new = str(host.folder / name) if name else ""
    host.p["files"][2]["text"] = json.dumps({"written_by": module.MARK, "textfile": new})
    predicted = host.present(check_mode=True)
    assert file.exists() and str(file) in json.dumps(predicted["diff"])
    assert host.present()["diff"] == predicted["diff"] and not file.exists()
    assert not host.present()["changed"]


def test_undo_removes_the_file_for_prometheus_and_leaves_somebody_elses(host):
    file, other = host.folder / "old.prom", host.folder / "other.prom"
    host.p["files"][2]["text"] = json.dumps({"written_by": module.MARK, "textfile": str(file)})
    host.present()
    file.write_text("# Written by %s.\n" % module.MARK)
    host.monitor().absent()
    assert not file.exists()
    host.p["files"][2]["text"] = json.dumps({"written_by": module.MARK, "textfile": str(other)})
    host.present()
    other.write_text("node_boot_time_seconds 5\n")
    host.monitor().absent()
    assert other.exists()


def test_undo_leaves_the_samples_alone_and_nothing_else_and_can_be_repeated(host):
    host.present()
    (host.folder / "db" / "state" / "state.json").write_text("{}")
    assert host.monitor(check_mode=True).absent()["changed"] and host.running
    assert host.monitor().absent() == {"changed": True}
    assert not host.running and not host.rc and not host.users
    assert sorted(path.name for path in host.folder.rglob("*") if path.is_file()) == ["samples.csv"]
    assert host.monitor().absent() == {"changed": False}


def test_undo_finishes_what_a_broken_off_undo_left(host):
    host.present()
    # the script is gone, the processes are not
    (host.folder / "etc/script").unlink()
    host.rc.clear()
    assert host.monitor().absent()["changed"] and not host.running and not host.program.exists()


def test_undo_leaves_a_user_alone_that_it_has_not_made(host):
    host.users["sampler"] = types.SimpleNamespace(pw_uid=4711, pw_gid=4711, pw_gecos="somebody")
    host.present()
    host.monitor().absent()
    assert "sampler" in host.users
