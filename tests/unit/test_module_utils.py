# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the modules share: files replaced in one rename, commands that end, marked blocks; and that every way to run a play finds it."""

import configparser
import os
import pathlib
import signal
import subprocess
import sys
import types

import pytest
import yaml
from role_modules import ROOT, util

files, host, blocks, limits = (util("sokuhai." + name) for name in ("files", "host", "blocks", "limits"))
rc, findings, pkg = util("sokuhai.rc"), util("sokuhai.findings"), util("sokuhai.pkg")
OLD, NEW = "old\n", "new \udcff\r\n"


class Killed(BaseException):
    """The run ends here, as by kill -9."""


# ---- files ----


def test_a_file_comes_back_byte_for_byte(tmp_path):
    (tmp_path / "a").write_bytes(b"one\r\ntwo \xff\n")
    text = host.read(tmp_path / "a")
    host.write(tmp_path / "b", text)
    assert (tmp_path / "b").read_bytes() == b"one\r\ntwo \xff\n"


def test_what_is_no_file_reads_as_none(tmp_path):
    (tmp_path / "file").write_text("")
    assert (
        host.read(tmp_path / "nothing") is None
        and host.read(tmp_path / "file" / "below") is None
        and host.read(tmp_path) is None
    )


def test_mode_and_link_of_a_file_that_is_there_stay(tmp_path):
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_text(OLD)
    path.chmod(0o640)
    link.symlink_to(path)
    host.write(link, NEW)
    assert link.is_symlink() and host.read(path) == NEW and path.stat().st_mode & 0o777 == 0o640
    host.write(path, OLD, 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    host.write(tmp_path / "fresh", NEW)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays_or_is_the_one_that_is_asked_for(tmp_path):
    path = tmp_path / "a"
    path.write_text(OLD)
    os.chown(path, 4711, 4712)
    host.write(path, NEW)
    assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)
    host.write(path, NEW, 0o640, (1, 2))
    assert (path.stat().st_uid, path.stat().st_gid) == (1, 2)
    host.write(path, NEW, 0o640)
    assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())


def test_a_secret_is_nobody_elses_at_any_moment(tmp_path, monkeypatch):
    seen = []
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda old, new: (seen.append(os.stat(old).st_mode & 0o777), rename(old, new)))
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777: (seen.append(mode), opened(path, flags, mode))[1])
    host.write(tmp_path / "a", NEW, 0o600)
    assert seen == [0o600, 0o600]


@pytest.mark.parametrize("step", ["fsync", "fchmod", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    path.write_text(OLD)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError):
        host.write(path, NEW)
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and path.read_text() == OLD


def test_what_a_killed_write_left_is_hidden_and_replaced_by_the_next(tmp_path, monkeypatch):
    def kill(*_):
        raise Killed()

    path = tmp_path / "a.conf"
    path.write_text(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", kill)
        patch.setattr(host, "remove", lambda *paths: False)  # kill -9 leaves no time to clean up
        with pytest.raises(Killed):
            host.write(path, NEW)
    (left,) = [p for p in tmp_path.iterdir() if p != path]
    assert path.read_text() == OLD and left.name.startswith(".") and not left.name.endswith(".conf")
    host.write(path, NEW)
    assert list(tmp_path.iterdir()) == [path] and host.read(path) == NEW


def test_removing_says_whether_something_was_there(tmp_path):
    (tmp_path / "a").write_text("")
    assert host.remove(tmp_path / "a", tmp_path / "b") is True and host.remove(tmp_path / "a") is False


def test_rights_as_a_person_writes_them():
    assert host.rights(0o644, 0, 4711) == "0644 root:4711"


def test_a_declared_file_says_how_it_differs_and_goes_there_and_back(tmp_path):
    path, me = tmp_path / "etc" / "a", (os.geteuid(), os.getegid())

    def declared():
        return files.File(str(path), "new\n", 0o640, me)

    first = declared()
    assert first.differs and first.findings() == [] and first.diff()[0]["after"] == "new\n"
    first.put()
    assert host.read(path) == "new\n" and declared().findings() == declared().diff() == []
    path.chmod(0o600)
    (one,) = declared().findings()
    assert (one["expected"], one["found"]) == (host.rights(0o640, *me), host.rights(0o600, *me))
    declared().put()
    assert declared().findings() == []
    first.restore()
    assert not path.exists()


def test_a_log_is_read_from_where_it_ended_and_a_rotated_one_from_its_start(tmp_path):
    path = tmp_path / "log"
    assert (host.log_end(path), host.logged(path, 0, "x")) == (0, [])
    path.write_text("error: old, and long\n")
    end = host.log_end(path)
    with path.open("a") as log:
        log.write("error: new\nnoise\nerror: new\n")
    assert host.logged(path, end, "error: (.*)") == ["new"]
    path.write_text("error: next\n")
    assert host.logged(path, end, "error: (.*)") == ["next"]


def test_the_sum_and_the_room_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    assert host.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert host.free_mib(str(tmp_path / "not" / "yet")) == host.free_mib(str(tmp_path)) > 0
    monkeypatch.chdir(tmp_path)
    assert host.free_mib("not/yet") > 0
    # what root has taken of its own part of a file system has no sign on FreeBSD
    monkeypatch.setattr(host.os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=2**64 - 5, f_frsize=4096))
    assert host.free_mib("not/yet") == host.free_bytes(".") == 0


def test_odd_bytes_are_no_hindrance_to_a_diff():
    shown = host.difference("f", "a\udcff\n", None)
    assert shown == {"before_header": "f", "after_header": "f", "before": "a\ufffd\n", "after": ""}


# ---- commands ----


@pytest.mark.parametrize(
    "argv, more, answer",
    [
        (["sh", "-c", "echo out; echo err >&2; cat; exit 3"], {}, (3, "out\n", "err\n")),
        # what cannot be run, or takes too long, has the status that sh(1) and timeout(1) give
        (["/nonexistent/x"], {}, (127, "", "/nonexistent/x: not found")),
        (["/etc/passwd"], {}, (126, "", "/etc/passwd: Permission denied")),
        (["sleep", "60"], {"timeout": 0.2}, (124, "", "sleep: still running after 0 s")),
        (["pwd"], {"cwd": "/"}, (0, "/\n", "")),
        # commands are found and speak English whatever the caller has
        (["sh", "-c", "echo $PATH $LC_ALL"], {}, (0, f"{host.PATH} C\n", "")),
        # pkg(8) waits for another that is at work
        (["sh", "-c", "echo $LOCK_RETRIES"], {}, (0, "100\n", "")),
        (["sh", "-c", "echo $LOCK_RETRIES"], {"env": host.environment()}, (0, "100\n", "")),
        (["sh", "-c", "echo $A $LC_ALL"], {"env": {"A": "b", "PATH": host.PATH}}, (0, "b\n", "")),
    ],
)
def test_a_command_answers_with_status_and_both_streams(argv, more, answer):
    assert host.run(argv, **more) == answer


def test_a_service_has_started_though_its_daemon_keeps_the_output_open(tmp_path, monkeypatch):
    rc_script = tmp_path / "service"
    rc_script.write_text('#!/bin/sh\nsleep 600 &\necho $! >"%s/pid"\necho "$1 $2"\necho said >&2\n' % tmp_path)
    rc_script.chmod(0o755)
    monkeypatch.setattr(host, "ENV", {"PATH": "%s:%s" % (tmp_path, host.PATH)})
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    try:
        assert host.service("dovecot", "start") == (0, "dovecot start said")
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_check_is_called_until_it_is_true_or_time_is_over():
    answers = iter([None, 0, "there"])
    assert host.wait_until(lambda: next(answers), 60, 0) == "there"
    assert host.wait_until(lambda: "", 0) == ""


@pytest.mark.parametrize("name", [".", "lock"], ids=["a folder", "a file"])
def test_one_run_at_a_time(tmp_path, name):
    held = host.hold(tmp_path / name)
    assert held is not None and host.hold(tmp_path / name) is None
    os.close(held)
    again = host.hold(tmp_path / name)
    assert again is not None
    os.close(again)


def test_a_refusal_keeps_its_problems_apart():
    assert host.Refused("one").problems == ["one"] and str(host.Refused("one")) == "one"
    both = host.Refused(word for word in ("one", "two"))
    assert both.problems == ["one", "two"] and str(both) == "one; two"


def refuse():
    raise host.Refused(["a: is b", "c: is d"])


@pytest.mark.parametrize(
    "work, said",
    [
        (lambda: {"changed": False}, {"changed": False}),
        (refuse, {"failed": True, "msg": "a: is b; c: is d", "problems": ["a: is b", "c: is d"]}),
        (
            lambda: open("/nonexistent/file"),
            {"failed": True, "msg": "FileNotFoundError: [Errno 2] No such file or directory: '/nonexistent/file'"},
        ),
    ],
    ids=["answer", "refusal", "fault"],
)
def test_a_module_ends_with_its_answer_or_its_refusal(work, said):
    ended = []
    module = types.SimpleNamespace(
        exit_json=lambda **answer: ended.append(answer),
        fail_json=lambda **answer: ended.append({"failed": True, **answer}),
    )
    host.answer(module, work)
    assert ended == [said]


# ---- rc.conf ----


@pytest.fixture
def sysrc(monkeypatch):
    """A sysrc(8) with its values and its calls; readonly: names that another file overrides it on."""
    known = types.SimpleNamespace(values={"sshd_enable": "YES", "flags": "", "old": "1"}, calls=[], readonly=())

    def run(argv, *_rest):
        words = argv[1:]
        known.calls.append(words)
        if words[0] == "-f":
            words = words[2:]
        if words[0] == "-i":
            lines = ["%s: %s\n" % (name, known.values[name]) for name in words[1:] if name in known.values]
            return int(len(lines) < len(words) - 1), "".join(lines), ""
        if words[0] == "-x":
            for name in words[1:]:
                del known.values[name]
            return 0, "", ""
        if any("bad" in word for word in words):
            return 1, "", "sysrc: no\n"
        known.values.update(word.split("=", 1) for word in words if word.partition("=")[0] not in known.readonly)
        return 0, "", ""

    monkeypatch.setattr(host, "run", run)
    return known


def test_many_variables_are_read_in_one_call(sysrc):
    assert rc.read(["sshd_enable", "flags", "none"]) == {"sshd_enable": "YES", "flags": ""}
    assert rc.read([], "/etc/mail.conf") == {} and rc.read(["old"], "/etc/x") == {"old": "1"}
    assert sysrc.calls == [["-i", "flags", "none", "sshd_enable"], ["-f", "/etc/x", "-i", "old"]]


def test_what_differs_is_set_and_removed(sysrc):
    wanted = {"sshd_enable": "YES", "flags": "-4 -d", "new": "", "old": None, "none": None}
    changes = rc.compare(wanted)
    assert changes == {"flags": ("", "-4 -d"), "new": (None, ""), "old": ("1", None)}
    rc.apply(changes)
    assert sysrc.values == {"sshd_enable": "YES", "flags": "-4 -d", "new": ""} and rc.compare(wanted) == {}
    assert ["flags=-4 -d", "new="] in sysrc.calls and ["-x", "old"] in sysrc.calls
    rc.apply({})
    assert rc.difference(changes) == {
        "before_header": "rc.conf",
        "after_header": "rc.conf",
        "before": 'flags=""\nold="1"\n',
        "after": 'flags="-4 -d"\nnew=""\n',
    }
    assert rc.difference({}, "/etc/periodic.conf")["before_header"] == "/etc/periodic.conf"


def test_variables_come_into_the_file_in_the_order_in_which_they_are_declared(sysrc):
    rc.apply(rc.compare({"b_flags": "x", "a_enable": "YES"}))
    assert ["b_flags=x", "a_enable=YES"] in sysrc.calls


def test_a_word_of_checkyesno_counts_in_any_case(sysrc):
    sysrc.values["sshd_enable"] = "Yes"
    assert rc.compare({"sshd_enable": "YES"}) == {} and rc.compare({"sshd_enable": "NO"})


@pytest.mark.parametrize(
    "value, on",
    [("YES", True), ("true", True), ("On", True), ("1", True), ("NO", False), ("NONE", False), (None, False)],
)
def test_what_switches_a_service_on(value, on):
    assert rc.yes(value) is on


def test_a_variable_that_does_not_take_is_refused(sysrc):
    sysrc.readonly = ("sshd_enable", "flags")
    with pytest.raises(host.Refused) as caught:
        rc.apply(rc.compare({"sshd_enable": "NO", "flags": "x", "new": "1"}))
    assert len(caught.value.problems) == 2
    with pytest.raises(host.Refused):
        rc.apply({"bad": (None, "1")})


@pytest.fixture
def later(monkeypatch, tmp_path):
    """{path below rc.conf.d: text}; rc scripts are local, local_unbound and sshd."""
    (tmp_path / "rc.d").mkdir()
    for name in ("local", "local_unbound", "sshd"):
        (tmp_path / "rc.d" / name).touch()
    monkeypatch.setattr(rc, "FOLDERS", (f"{tmp_path}/etc", f"{tmp_path}/local"))
    monkeypatch.setattr(rc, "SCRIPTS", (f"{tmp_path}/rc.d",))

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return f"{tmp_path}/{path}"

    return write


def test_rc_conf_d_has_the_last_word(sysrc, later):
    assert rc.overriding("sshd_enable") == []
    first = later("etc/sshd/a", "# sshd_enable=NO\n\n  sshd_enable=NO\n")
    last = later("local/sshd", "sshd_enable=NO # why\nsshd_enabled=x\n")
    later("etc/local", "local_unbound_enable=NO\n")
    assert rc.overriding("sshd_enable") == [f"{first}:3", f"{last}:1"] and rc.place("sshd_enable") == f"{last}:1"
    assert rc.overriding("local_unbound_enable") == [] and rc.place("local_unbound_enable") == "rc.conf"
    rc.read(["sshd_enable", "old"])
    assert sysrc.calls[-2:] == [["-i", "old", "sshd_enable"], ["-f", last, "-i", "sshd_enable"]]


def test_what_rc_conf_d_sets_is_compared_and_never_written_past(sysrc, later):
    path = later("etc/sshd", "sshd_enable=YES\n")
    assert rc.compare({"sshd_enable": "YES", "flags": "x"}) == {"flags": ("", "x")}
    for wanted, word in (("NO", "it is to be NO"), (None, "it is to be gone")):
        with pytest.raises(host.Refused) as caught:
            rc.compare({"sshd_enable": wanted, "flags": "x"})
        (said,) = caught.value.problems
        assert said.startswith(f"{path}:1: sshd_enable = YES there has the last word") and word in said
    assert rc.compare({"sshd_enable": "NO"}, "/etc/periodic.conf")


# ---- findings ----


def test_a_finding_is_plain_data():
    assert findings.finding("main.cf: x", "x of main.cf", 5, None, because=("main.cf",)) == {
        "id": "main.cf: x",
        "thing": "x of main.cf",
        "expected": "5",
        "found": "None",
        "because": ["main.cf"],
        "remedy": "",
    }


# ---- marked blocks ----


@pytest.mark.parametrize("text", ["", "a\n", "a", "a\r\nb\n\n", "\n"])
def test_a_block_that_comes_and_goes_leaves_the_rest_byte_for_byte(text):
    there = blocks.set_block(text, "x", "f", ["one", "two"])
    assert there == text + ("" if text.endswith("\n") or not text else "\n") + "# BEGIN x\none\ntwo\n# END x\n"
    assert blocks.get_block(there, "x", "f") == ["one", "two"]
    assert blocks.set_block(there, "x", "f", ["one", "two"]) == there
    assert blocks.set_block(there, "x", "f", []) == text + ("" if text.endswith("\n") or not text else "\n")


@pytest.mark.parametrize(
    "text, body, after",
    [
        ("a\n# BEGIN x\n1\n# END x\nb\n", ["2"], "a\n# BEGIN x\n2\n# END x\nb\n"),
        ("a\n# BEGIN x\n1\n# END x", [], "a\n"),
        # another one's
        ("# BEGIN xy\n# END xy\n", [], "# BEGIN xy\n# END xy\n"),
    ],
)
def test_a_block_stays_in_its_place(text, body, after):
    assert blocks.set_block(text, "x", "f", body) == after


@pytest.mark.parametrize(
    "text", ["# BEGIN x\na\n", "a\n# END x\n", "# END x\n# BEGIN x\n", "# BEGIN x\n# BEGIN x\n# END x\n"]
)
@pytest.mark.parametrize("body", [[], ["b"]])
def test_a_damaged_block_is_refused_with_its_file(text, body):
    with pytest.raises(host.Refused) as caught:
        blocks.set_block(text, "x", "/etc/f", body)
    assert str(caught.value).startswith("/etc/f: ") and "damaged" in str(caught.value)


# ---- what FreeBSD prints ----


def test_limits_of_several_processes(monkeypatch):
    text = (
        "  PID COMM             RLIMIT                  SOFT             HARD     \n  807 named            openfiles             65535           infinity     \n"
        "  807 named            maxprocesses           9000             9000     \n  911 master           openfiles             65535            65536     \n"
    )
    assert limits.parse_rlimits(text) == {807: (65535, None), 911: (65535, 65536)}
    monkeypatch.setattr(host, "run", lambda argv: (0, text if argv == ["procstat", "rlimit", "807", "911"] else "", ""))
    assert limits.descriptors(807, 911)[807] == (65535, None)


def test_swap_of_several_devices_without_their_total():
    text = (
        "Device          1K-blocks     Used    Avail Capacity\n/dev/ada0p3       2097152        0  2097152     0%\n"
        "/dev/ada1p3       1048576        0  1048576     0%\nTotal             3145728        0  3145728     0%\n"
    )
    assert limits.parse_swapinfo(text) == 3072 and limits.parse_swapinfo("") == 0


# ---- found from everywhere ----


def test_ansible_and_molecule_look_in_the_same_folders():
    own = configparser.ConfigParser()
    own.read(ROOT / "ansible.cfg")
    names = ("roles_path", "module_utils", "filter_plugins", "callback_plugins", "collections_path")
    wanted = {name: "${MOLECULE_PROJECT_DIRECTORY}/" + own["defaults"][name] for name in names}
    for scenario in sorted(ROOT.glob("molecule/*/molecule.yml")):
        told = yaml.safe_load(scenario.read_text())["provisioner"]["config_options"]["defaults"]
        assert {name: told.get(name) for name in names} == wanted, scenario


def test_a_module_is_shipped_with_it_whatever_the_current_directory(tmp_path):
    """As tools/drift runs plays: ansible.cfg is named, and its paths are relative to itself."""
    program = pathlib.Path(sys.executable).parent / "ansible"
    done = subprocess.run(
        [
            program,
            "localhost",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-M",
            ROOT / "roles/preflight/library",
            "-m",
            "preflight_probe",
            "-a",
            "names=kern.no.such.value",
            "-o",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_STDOUT_CALLBACK": "oneline",
            "LC_ALL": "C.UTF-8",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"probe": {"system": ' in done.stdout, done.stdout + done.stderr
