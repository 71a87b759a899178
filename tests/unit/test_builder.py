# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role builder: what is declared wrongly, what decides that something is built, and in which order, with commands that are only written down."""

import pathlib
import shutil
import subprocess
import types

import pytest
import yaml
from role_modules import ROOT, load, rendered, shellcheck, util

state, make = util("builder_state"), util("builder_build")
shared, job, pkg = (util("sokuhai." + name) for name in ("host", "job", "pkg"))
filters = load("roles/builder/filter_plugins/builder.py")
module = load("roles/builder/library/builder.py")
DECLARED = yaml.safe_load((ROOT / "roles/builder/defaults/main.yml").read_text())
TEMPLATES = "usr/local/etc/sokuhai-builder"


@pytest.mark.parametrize(
    "name,value",
    [
        ("release", "15.0"),
        ("release", "15.0-STABLE"),
        ("listen", "::"),
        ("listen", "pkg.example.org"),
        ("port", 80),
        ("timeout", 0),
        ("base", "/"),
        ("base", "/usr"),
        ("base", "/usr/local/a:b"),
        ("zpool", "zroot/x y"),
        ("conf", ["A=1\nB=2"]),
        ("conf", ["export PKG_REPO_SIGNING_KEY=/tmp/x"]),
    ],
)
def test_a_bad_value_is_refused_by_its_name(name, value):
    problems = filters.builder_problems({**DECLARED, "builder_" + name: value})
    assert len(problems) == 1 and problems[0].startswith("builder_" + name)


def test_the_defaults_and_what_is_common_are_accepted():
    good = {
        "builder_conf": ["PARALLEL_JOBS=2", 'USE_TMPFS="wrkdir data"'],
        "builder_listen": "2001:db8::20",
        "builder_zpool": "zroot",
    }
    assert filters.builder_problems(DECLARED) == filters.builder_problems({**DECLARED, **good}) == []


def test_what_poudriere_is_told_of_the_ports():
    ports = [
        {"origin": "dns/bind920", "flavor": ""},
        {"origin": "mail/postfix", "flavor": "sasl", "package": ""},
        {"origin": "a/b", "package": "c"},
    ]
    assert filters.builder_origins(ports) == ["dns/bind920", "mail/postfix@sasl", "a/b"]
    # by its package: one of FreeBSD's own would have neither flags nor options
    assert filters.builder_own(ports) == ["b", "bind920", "c", "postfix-sasl"]
    assert filters.builder_url("2001:db8::20", 8017) == "http://[2001:db8::20]:8017/"


def hook(tmp_path, text, event="start", number=16384):
    """(exit status, the header afterwards) of the hook in a jail whose header is *text*."""
    header = tmp_path / "usr/include/sys/select.h"
    header.parent.mkdir(parents=True)
    header.write_text(text)
    script = tmp_path / "jail.sh"
    script.write_text(
        rendered("builder", TEMPLATES + "/poudriere.d/hooks/jail.sh.j2", __builder_declared={"fd_setsize": number})
    )
    done = subprocess.run(
        ["sh", script, event], env={"MASTERMNT": str(tmp_path), "PATH": shared.PATH}, capture_output=True, check=False
    )
    return done.returncode, header.read_text()


@pytest.mark.parametrize(
    "define,raised",
    [
        ("#define\tFD_SETSIZE\t1024", "#define\tFD_SETSIZE\t16384"),
        ("#define\tFD_SETSIZE\t1024U", "#define\tFD_SETSIZE\t16384U"),
    ],
)
def test_the_hook_raises_one_number_and_nothing_else(tmp_path, define, raised):
    text = "/* FD_SETSIZE may be defined */\n#ifndef\tFD_SETSIZE\n%s\n#endif\nint a[FD_SETSIZE];\n"
    assert hook(tmp_path, text % define) == (0, text % raised)


@pytest.mark.parametrize(
    "text", ["", "#define FD_SETSIZE 1024\n#define FD_SETSIZE 64\n", "#define FD_SETSIZE (1024)\n"]
)
def test_the_hook_fails_where_there_is_no_single_number(tmp_path, text):
    assert hook(tmp_path, text)[0] == 1


def test_the_hook_does_nothing_at_another_event_or_without_a_number(tmp_path):
    text = "#define FD_SETSIZE 1024\n"
    assert hook(tmp_path / "a", text, event="mount") == hook(tmp_path / "b", text, number=0) == (0, text)


def test_the_scripts_are_sound():
    shellcheck(
        rendered("builder", TEMPLATES + "/poudriere.d/hooks/jail.sh.j2", __builder_declared={"fd_setsize": 16384})
    )
    values = {"builder_listen": "2001:db8::20", "builder_port": 8017, "__builder_packages": "/p"}
    assert " /p --addr 2001:db8::20 --port 8017 --ipv6 " in rendered(
        "builder", "usr/local/etc/rc.d/sokuhai_builder.j2", **values
    ).replace("\\\n", "")


def test_poudriere_conf_keeps_what_is_served_by_a_build_that_failed():
    values = {
        **DECLARED,
        "__builder_key": "/k",
        "__builder_declared": {"ports": [{"origin": "mail/postfix", "flavor": "sasl"}]},
    }
    text = rendered("builder", TEMPLATES + "/poudriere.conf.j2", **values)
    assert {
        "COMMIT_PACKAGES_ON_FAILURE=no",
        "ATOMIC_PACKAGE_REPOSITORY=yes",
        "PKG_REPO_SIGNING_KEY=/k",
        "NO_ZFS=yes",
    } <= set(text.splitlines())
    assert 'PACKAGE_FETCH_BLACKLIST="postfix-sasl"' in text
    other = rendered(
        "builder",
        TEMPLATES + "/poudriere.conf.j2",
        **{**values, "builder_zpool": "zroot", "builder_dependencies": "build"},
    )
    assert "NO_ZFS" not in other and "ZPOOL=zroot" in other.splitlines() and "BLACKLIST" not in other


class Stage:
    """A builder whose commands are only written down; what poudriere would know is in poudriere.d."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.done, self.fails = folder, [], ""
        (folder / "tree/Mk").mkdir(parents=True)
        (folder / "tree/Mk/bsd.port.mk").write_text("")
        self.p = {
            "etc": str(folder / "etc"),
            "base": str(folder / "base"),
            "packages": str(folder / "packages"),
            "files": {"list": "mail/postfix\n", "poudriere.conf": "x\n", "poudriere.d/make.conf": "CFLAGS\n"},
            "jail": {"name": "mail", "release": "15.0-RELEASE", "update": False},
            "tree": {"name": "default", "path": str(folder / "tree"), "awaited": False},
            "overlay": "sokuhai",
            "probe": "misc/probe",
            "fetch": "quarterly",
            "key": str(folder / "etc/repo.key"),
            "state_dir": str(folder / "state"),
            "log": str(folder / "log/builder.log"),
            "min_disk_mb": 1,
            "timeout": 60,
        }
        answers = {"uname": "15.0-RELEASE-p1", "freebsd-version": "15.0-RELEASE-p3"}
        self.runs = set()  # names of jails

        def run(argv, *more, **named):
            return int(argv[0] == "jls" and argv[-1] not in self.runs), answers.get(argv[0], "KEY"), ""

        monkeypatch.setattr(shared, "run", run)
        monkeypatch.setattr(pkg, "missing", lambda names, instead="": [])
        monkeypatch.setattr(job, "detach", lambda function: function())
        monkeypatch.setattr(job.Work, "command", self.command)

    def command(self, argv, what=None, hold=False):
        words = " ".join(argv[3:])
        self.done.append(words)
        if self.fails and self.fails in words:
            raise shared.Refused("%s ended with status 1" % what)
        distfiles = pathlib.Path(self.p["base"], "distfiles").exists()
        # poudriere's file systems would cover it, and a build does not begin without it
        assert not words.startswith("jail -c") or len(self.done) > 1 or not distfiles
        assert not words.startswith("bulk") or distfiles
        if words.startswith("jail -d"):
            shutil.rmtree(pathlib.Path(self.p["etc"], "poudriere.d/jails/mail"))
        elif words.startswith(("jail -c", "jail -u")):
            self.put(
                "jails/mail",
                version=words.split()[-1] if "-u" not in words or "-t" in words else "15.0-RELEASE-p3",
                timestamp=len(self.done),
            )
        if words.startswith("ports -c"):
            self.put("ports/" + words.split()[3], mnt=words.split()[-1])
        if "-f" in words:
            pathlib.Path(self.p["packages"]).mkdir(exist_ok=True)
            pathlib.Path(self.p["packages"], "meta.conf").write_text("")

    def put(self, name, **what):
        folder = pathlib.Path(self.p["etc"], "poudriere.d", name)
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in what.items():
            (folder / key).write_text("%s\n" % value)

    def apply(self, check=False):
        """(whether it changed, kinds of findings, what poudriere was called for)."""
        self.done.clear()
        answer = module.apply(self.p, check)
        return answer["changed"], {one["id"].partition(": ")[2] for one in answer["findings"]}, list(self.done)

    def builds(self):
        return [words for words in self.done if words.startswith("bulk")]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return Stage(tmp_path, monkeypatch)


def test_the_first_run_makes_all_proves_the_jail_and_the_second_does_nothing(stage):
    assert stage.apply(check=True) == (True, {"jail", "missing"}, [])
    assert not pathlib.Path(stage.p["etc"]).exists()
    changed, _kinds, done = stage.apply()
    assert changed and [words.split()[0:2] for words in done[:3]] == [["jail", "-c"], ["ports", "-c"], ["ports", "-c"]]
    probe, listed = done[3:]
    assert probe == "bulk -j mail -p default -O sokuhai -C -NN misc/probe"
    assert listed == "bulk -j mail -p default -C -b quarterly -f %s/list" % stage.p["etc"]
    key = pathlib.Path(stage.p["key"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert stage.apply() == (False, set(), [])


@pytest.mark.parametrize(
    "what,kind,again",
    [
        (lambda s: s.p["files"].update({"poudriere.d/make.conf": "other"}), "flags", True),
        (lambda s: s.p["files"].update({"poudriere.d/hooks/jail.sh": "other"}), "flags", True),
        (lambda s: s.p["files"].update({"list": "dns/bind920\n"}), "list", False),
        (lambda s: s.p["files"].update({"poudriere.conf": "y\n"}), "conf", False),
        (lambda s: s.put("jails/mail", timestamp="999"), "jail", True),
        (lambda s: s.p["jail"].update(release="14.3-RELEASE"), "jail", True),
        (lambda s: pathlib.Path(s.p["packages"], "meta.conf").unlink(), "missing", False),
        (lambda s: pathlib.Path(s.p["key"]).unlink(), "key", False),
    ],
)
def test_what_changes_is_built_again_and_all_of_the_list_where_poudriere_would_not_see_it(stage, what, kind, again):
    stage.apply()
    what(stage)
    assert stage.apply(check=True)[1] == {kind}
    changed, _kinds, done = stage.apply()
    assert changed and (" -C -b " in done[-1]) == again
    assert stage.apply() == (False, set(), [])


def test_another_commit_of_the_tree_is_built(stage):
    stage.apply()
    git = pathlib.Path(stage.p["tree"]["path"], ".git")
    git.mkdir()
    (git / "HEAD").write_text("0" * 40 + "\n")
    assert stage.apply(check=True)[1] == {"tree"}


@pytest.mark.parametrize("fails,called", [("-NN", 1), ("-f ", 2)])
def test_a_failure_ends_there_is_reported_and_tried_again(stage, fails, called):
    stage.apply()
    stage.p["files"]["list"] = "dns/bind920\n"
    stage.fails = fails
    stage.apply()
    assert len(stage.builds()) == called
    with pytest.raises(shared.Refused, match="what is served is as it was"):
        job.Job(stage.p["state_dir"], stage.p["log"]).outcome()
    stage.fails = ""
    changed, kinds, done = stage.apply()
    # what the last good build was made from is still known
    assert changed and kinds == {"failed"} and " -C -b " not in done[-1]


def killed(stage, phase):
    """Leave the record as a run that was killed in *phase* does."""
    there = job.Job(stage.p["state_dir"], stage.p["log"])
    pathlib.Path(there.folder).mkdir(exist_ok=True)
    there.write({**there.read(), "phase": phase})


def test_a_jail_whose_making_was_killed_is_made_anew(stage):
    stage.put("jails/mail", version="15.0-RELEASE", timestamp=1)
    killed(stage, "new jail")
    assert stage.apply()[2][:2] == ["jail -d -y -j mail", "jail -c -j mail -v 15.0-RELEASE"]
    # one that was never begun has nothing to be deleted, and one that is whole stays
    for gone in (stage.p["etc"] + "/poudriere.d/jails/mail", stage.p["base"] + "/distfiles"):
        shutil.rmtree(gone)
    killed(stage, "new jail")
    assert stage.apply()[2][0] == "jail -c -j mail -v 15.0-RELEASE"
    killed(stage, "jail")
    assert [words for words in stage.apply()[2] if words.startswith("jail")] == []


def test_a_jail_that_a_killed_build_left_running_is_stopped_and_nobody_elses(stage):
    stage.apply()
    stage.runs = {"mail-default"}
    stage.p["files"]["list"] = "dns/bind920\n"
    assert stage.apply()[2][0].startswith("bulk"), "after a good build it is somebody's own"
    killed(stage, "building")
    assert stage.apply()[2][0] == "jail -k -j mail -p default"
    stage.fails = "-f "
    killed(stage, "building")
    stage.apply()
    stage.fails = ""
    assert stage.apply()[2][0] == "jail -k -j mail -p default"


def test_an_update_updates_the_jail_and_a_new_release_upgrades_it(stage):
    stage.apply()
    stage.p["jail"]["update"] = True
    assert stage.apply()[2][0] == "jail -u -j mail"
    stage.p["jail"].update(release="14.3-RELEASE", update=False)
    assert stage.apply()[2][:2] == ["jail -d -y -j mail", "jail -c -j mail -v 14.3-RELEASE"]
    stage.p["jail"]["release"] = "auto"
    assert stage.apply()[2][0] == "jail -u -j mail -t 15.0-RELEASE"


@pytest.mark.parametrize(
    "changes,why",
    [
        (
            {"jail": {"name": "mail", "release": "15.1-RELEASE", "update": False}},
            "builder_release: 15.1-RELEASE is newer",
        ),
        (
            {"tree": {"name": "default", "path": "/nonexistent/ports", "awaited": False}},
            "ports_tree: there is no ports tree",
        ),
        ({"min_disk_mb": 10**9}, "builder_min_disk_mb: "),
        ({"files": {"list": "\n"}}, "rebuild_parts, ports_list: they declare no port"),
    ],
)
def test_what_the_host_cannot_carry_is_refused_before_anything_changes(stage, changes, why):
    stage.p.update(changes)
    with pytest.raises(shared.Refused, match="nothing was changed: " + why):
        module.apply(stage.p, False)
    assert stage.done == [] and not pathlib.Path(stage.p["etc"]).exists()


def test_a_tree_that_was_moved_is_registered_again(stage):
    stage.apply()
    stage.put("ports/default", mnt="/usr/other")
    work = types.SimpleNamespace(
        phase=lambda name: None, record={}, command=lambda argv, what, hold: stage.command(argv, what)
    )
    stage.done.clear()
    make.build(stage.p, work)
    assert stage.done[0] == "ports -d -k -p default" and stage.done[1].startswith("ports -c -p default -m null -M ")
