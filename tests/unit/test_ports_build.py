# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role ports: from the declaration to the running daemon and the way back, with commands that are only written down."""

import os
import pathlib
import time
import types

import pytest
from role_modules import load, util
from test_ports_judge import DEPENDS, ITEM, SETTINGS, TREE, kinds, package

build, swap, probe, make, state = (util("ports_" + name) for name in ("build", "swap", "probe", "make", "state"))
shared, job, pkg, process = (util("sokuhai." + name) for name in ("host", "job", "pkg", "process"))
port, undo = load("roles/ports/library/ports_port.py"), load("roles/ports/library/ports_undo.py")
Refused = shared.Refused
MEASURED = {"sokuhai_fd_setsize": 16384, "sokuhai_header": 16384, "sokuhai_flag": 16384}


def installed(**changes):
    """An entry of pkg.installed(): the repository's Postfix, locked."""
    return {
        "name": "postfix",
        "version": "3.11.4,1",
        "origin": "mail/postfix",
        "repository": "FreeBSD-ports",
        "local": False,
        "locked": True,
        "installed": 1,
        **changes,
    }


class Stage:
    """A job whose commands are only written down; what pkg would know is in .packages."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.settings = {
            **SETTINGS,
            **{name: str(folder / name) for name in ("work_dir", "package_dir", "saved_dir", "state_dir", "log_dir")},
            "fd_setsize": 16384,
            "header": "/x",
            "answer_timeout": 0.1,
        }
        self.item = ITEM
        self.fails, self.done, self.packages, self.serving = {}, [], [installed()], True
        monkeypatch.setattr(pkg, "installed", lambda: [dict(one) for one in self.packages])
        monkeypatch.setattr(shared, "run", lambda argv, *more: (0, "", ""))
        monkeypatch.setattr(shared, "service_pid", lambda name: 7 if self.serving else None)
        monkeypatch.setattr(job, "detach", lambda function: function())
        monkeypatch.setattr(job.Work, "command", self.command)
        monkeypatch.setattr(probe, "prove", lambda work, settings, tree: dict(MEASURED))

    def command(self, argv, what=None, hold=False):
        words = " ".join(argv)
        self.done.append(words)
        for text, count in list(self.fails.items()):
            if text in words and count:
                self.fails[text] = count - 1
                raise Refused("%s ended with status 1" % words)
        if argv[0] == "make" and "package" in argv:
            self.package("package_dir/All/postfix-3.11.5,1.pkg")
        if argv[:2] == ["pkg", "create"]:
            self.package("saved_dir/postfix-3.11.4,1.pkg")
        if argv[:2] == ["pkg", "install"] and argv[-1].endswith(".pkg"):
            version = pathlib.Path(argv[-1]).name[len("postfix-") : -len(".pkg")]
            self.packages[0] = {**self.packages[0], "version": version, "local": True}
        if argv[:2] in (["pkg", "lock"], ["pkg", "unlock"]):
            self.packages[0]["locked"] = argv[1] == "lock"

    def package(self, name):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("package")

    def work(self):
        """Do the job; return its record."""
        one = port.job_of(self.item, self.settings)
        places = {"WRKDIR": str(self.folder / "work_dir/x"), "STAGEDIR": str(self.folder / "work_dir/x/stage")}
        record = {"phase": "begin", "key": "k", "commit": "c" * 40, "tree": {**TREE, **places}}
        assert one.begin(record, lambda work: port.build(self.item, self.settings, work))
        return one.read()

    def lines(self, *words):
        return [line for line in self.done if any(word in line for word in words)]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return Stage(tmp_path, monkeypatch)


def test_the_package_is_ready_and_the_old_one_saved_before_anything_is_touched(stage):
    record = stage.work()
    assert record["phase"] == "done", record
    order = [
        next(number for number, line in enumerate(stage.done) if text in line)
        for text in (
            " checksum",
            " package",
            "pkg create",
            "pkg unlock",
            "pkg install",
            "pkg annotate",
            "pkg lock",
            "service postfix onerestart",
        )
    ]
    assert order == sorted(order)
    assert [line.split()[-2:] for line in stage.lines(" checksum", " package ")] == [
        ["checksum", "USE_PACKAGE_DEPENDS_ONLY=yes"],
        ["package", "USE_PACKAGE_DEPENDS_ONLY=yes"],
    ]
    assert stage.packages[0]["version"] == "3.11.5,1" and stage.packages[0]["locked"]


@pytest.mark.parametrize("step, phase", [(" checksum", "fetch"), (" package", "build"), ("pkg create", "packaged")])
def test_what_fails_before_the_swap_touches_nothing(stage, step, phase):
    stage.fails = {step: 1}
    record = stage.work()
    assert (record["phase"], record["failed_in"]) == ("failed", phase)
    assert not stage.lines("install", "unlock", "onerestart")
    assert not os.path.exists(stage.folder / "work_dir/x")


@pytest.mark.parametrize("step", ["pkg install", "pkg annotate", "service postfix onerestart"])
def test_what_fails_in_the_swap_brings_the_former_package_back(stage, step):
    stage.fails = {step: 1}
    record = stage.work()
    assert record["phase"] == "failed" and record["failed_in"] in ("swap", "record", "restart")
    assert stage.packages[0]["version"] == "3.11.4,1" and stage.packages[0]["locked"]
    assert stage.done[-1] == "service postfix onerestart"


def test_what_a_build_leaves_lacking_is_remembered(stage):
    lines = "postfix\tliba.so.1\n"
    answer = lambda argv, *more: (0, lines if argv[:3] == ["pkg", "check", "-dnq"] else "", "")  # noqa: E731
    stage.monkeypatch.setattr(shared, "run", answer)
    record = stage.work()
    assert (record["phase"], record["lacks"]) == ("done", ["liba.so.1"])
    assert kinds(there=package(), libraries=["liba.so.1"], job=record) == ["lacking"]


def test_a_daemon_that_was_not_running_is_not_started(stage):
    stage.serving = False
    assert stage.work()["phase"] == "done"
    assert not stage.lines("service ")


@pytest.mark.parametrize("kept", [True, False])
def test_a_package_that_is_ready_is_not_built_again(stage, kept):
    stage.fails = {"pkg create": 1}
    stage.work()
    one = state.Port(stage.item, stage.settings, [])
    one.tree = TREE
    one.job.write({**one.job.read(), "phase": "packaged", "key": one.key()})
    if not kept:
        pathlib.Path(one.job.read()["package"]).write_text("another")
    assert one.start()["phase"] == ("packaged" if kept else "begin")


def depending(stage, lacks):
    """make depends fails for each of lacks (files of packages) in turn, then finds everything."""
    left = list(lacks)

    def run(argv, *more):
        if argv[-2:] == ["depends", "USE_PACKAGE_DEPENDS_ONLY=yes"] and left:
            return 1, "", DEPENDS % left.pop(0)
        return 0, "", ""

    stage.monkeypatch.setattr(shared, "run", run)
    return stage.work()


@pytest.mark.parametrize(
    "there, lacks, installs",
    [
        ([], ["pcre2-10.47.pkg", "lmdb-0.9.33,1.pkg"], ["pkg install -yAU pcre2", "pkg install -yAU lmdb"]),
        # one that is there and too old is not made automatic
        (["pcre2"], ["pcre2-10.47.pkg"], ["pkg install -yU pcre2"]),
    ],
)
def test_dependencies_come_as_packages_one_by_one(stage, there, lacks, installs):
    stage.packages += [installed(name=name, origin="devel/" + name) for name in there]
    assert depending(stage, lacks)["phase"] == "done"
    assert stage.lines("pkg install -y")[: len(installs)] == installs


@pytest.mark.parametrize("refused, tries", [(True, 1), (False, 2)])
def test_dependencies_are_never_built_with_the_raised_header(stage, refused, tries):
    stage.fails = {"pkg install -yAU": 1} if refused else {}
    record = depending(stage, ["pcre2-10.47.pkg"] * 9)
    assert (record["phase"], record["failed_in"]) == ("failed", "dependencies") and "pcre2" in record["message"]
    assert stage.lines("pkg install -y") == ["pkg install -yAU pcre2"] * tries
    assert not stage.lines(" checksum", " package")


@pytest.mark.parametrize("plain, header, recorded", [(16384, "/x", 16384), (16384, "", 16384), (1024, "", 1024)])
def test_flag_and_header_are_each_proved(monkeypatch, plain, header, recorded):
    assert proof(monkeypatch, plain, header) == {**MEASURED, "sokuhai_header": recorded}


def test_a_header_that_does_not_give_the_declared_number_is_refused(monkeypatch):
    with pytest.raises(Refused, match="1024"):
        proof(monkeypatch, 1024, "/x")


PROVE = probe.prove


def proof(monkeypatch, plain, header):
    """What is proved where a program has 16384 with the flag, and *plain* by the header alone."""
    measured = iter([(16384, 16384, 16384), (plain, plain, 0)])
    monkeypatch.setattr(probe, "compiled", lambda work, source, compiler, flags: next(measured))
    silent = types.SimpleNamespace(say=lambda text: None)
    return PROVE(silent, {**SETTINGS, "fd_setsize": 16384, "header": header}, TREE)


# ---- a daemon and its program ----


def running(program, pid, since):
    """What process.from_service gives."""
    return process.Process(pid, 1, 0, program.name, str(program), (since, since))


@pytest.mark.parametrize("since, found", [(1, None), (-1, 7), (None, None)], ids=["younger", "older", "stopped"])
def test_a_running_daemon_older_than_its_program_is_outdated(tmp_path, monkeypatch, since, found):
    program = tmp_path / "named"
    program.write_text("")
    there = None if since is None else running(program, 7, program.stat().st_ctime + since)
    monkeypatch.setattr(process, "from_service", lambda name: there)
    assert state.outdated({**ITEM, "service": "named", "program": str(program)}) == found


@pytest.mark.parametrize("restarted", [False, True], ids=["it still runs", "the package restarted it"])
def test_a_daemon_whose_program_was_replaced_is_restarted_however_young_it_is(tmp_path, monkeypatch, restarted):
    program, pid, done = tmp_path / "named", [7], []
    program.write_text("ours")
    item = {**ITEM, "service": "named", "program": str(program)}
    monkeypatch.setattr(process, "from_service", lambda name: running(program, pid[0], time.time()))

    def must(argv):
        done.append(argv)
        if argv[:2] == ["pkg", "install"]:
            (tmp_path / "new").write_text("the repository's")
            (tmp_path / "new").rename(program)
            pid[0] = 8 if restarted else 7

    monkeypatch.setattr(port, "must", must)
    # by what waits for the rc script alone, not for a daemon that keeps its output open
    monkeypatch.setattr(shared, "service", lambda *words: done.append(words) or (0, ""))
    one = state.Port(item, {**SETTINGS, "repository": "mine"}, [])
    port.from_repository(one)
    assert (("named", "onerestart") in done) != restarted
    monkeypatch.setattr(shared, "service", lambda *words: (1, "no such key"))
    with pytest.raises(Refused, match="service named onerestart: no such key"):
        state.restart(item)


# ---- the way back ----


BLOCK = "A=1\n# BEGIN sokuhai ports mail/postfix\nx\n# END sokuhai ports mail/postfix\n"


@pytest.fixture
def undoing(tmp_path, monkeypatch):
    """A port to be undone: its package, what was done, make.conf, and whether a repository's package takes its place."""
    one = types.SimpleNamespace(there=package(), done=[], conf=tmp_path / "make.conf", takes=True)
    one.conf.write_text(BLOCK)
    settings = {**SETTINGS, "make_conf_file": str(one.conf), "state_dir": str(tmp_path), "log_dir": str(tmp_path)}
    one.undo = lambda check: undo.undo(ITEM, settings, check)

    def must(argv):
        one.done.append(argv[1])
        if argv[1] == "install" and one.takes:
            one.there["local"] = False
        if argv[1] in ("lock", "unlock"):
            one.there["locked"] = argv[1] == "lock"

    monkeypatch.setattr(undo, "must", must)
    monkeypatch.setattr(pkg, "update", lambda: "; out of reach: x")
    monkeypatch.setattr(pkg, "installed", lambda: [dict(one.there)])
    monkeypatch.setattr(pkg, "annotations", lambda name: {"sokuhai_built": "1", "flavor": "x"})
    monkeypatch.setattr(pkg, "options", lambda name: {})
    return one


def test_undo_brings_the_repositorys_package_and_takes_the_block_away(undoing):
    assert undoing.undo(True)["after"] == "A=1\n" and undoing.done == [] and undoing.conf.read_text() == BLOCK
    assert undoing.undo(False)["after"] == "A=1\n" and undoing.done == ["unlock", "install", "annotate"]
    assert undoing.conf.read_text() == "A=1\n" and not undoing.there["locked"]


def test_undo_touches_nothing_more_when_no_repository_took_the_packages_place(undoing):
    undoing.takes = False
    with pytest.raises(Refused, match="pkg install -f postfix .*; out of reach: x"):
        undoing.undo(False)
    assert undoing.done == ["unlock", "install", "lock"]
    assert undoing.conf.read_text() == BLOCK and undoing.there["locked"]
