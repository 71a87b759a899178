# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the modules share: files replaced in one rename, commands that end, marked blocks; and that every way to run a play finds it."""

import ast
import configparser
import os
import pathlib
import subprocess
import sys

import pytest
import yaml
from role_modules import ROOT, util

host, blocks, limits, dns = util("sokuhai.host"), util("sokuhai.blocks"), util("sokuhai.limits"), util("sokuhai.dns")
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


def test_the_sum_and_the_room_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert host.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert host.free_mib(str(tmp_path / "not" / "yet")) == host.free_mib(str(tmp_path)) > 0
    assert (
        host.run(
            [
                sys.executable,
                "-B",
                "-c",
                "import sys; sys.path.insert(0, %r); import host; print(host.free_mib('not/yet') > 0)"
                % os.path.dirname(host.__file__),
            ],
            timeout=20,
        )[1]
        == "True\n"
    )


def test_odd_bytes_are_no_hindrance_to_a_diff():
    shown = host.difference("f", "a\udcff\n", None)
    assert shown == {"before_header": "f", "after_header": "f", "before": "a\ufffd\n", "after": ""}


# ---- commands ----


def test_a_command_answers_with_status_and_both_streams():
    assert host.run(["sh", "-c", "echo out; echo err >&2; cat; exit 3"]) == (3, "out\n", "err\n")


def test_what_cannot_be_run_has_the_status_that_sh_gives(tmp_path):
    (tmp_path / "text").write_text("")
    assert host.run(["/nonexistent/x"])[0] == 127
    assert host.run([str(tmp_path / "text")])[0] == 126
    status, out, err = host.run(["sleep", "60"], timeout=0.2)
    assert status == 124 and "no end" in err


def test_commands_are_found_and_speak_english_whatever_the_caller_has():
    assert host.run(["sh", "-c", "echo $PATH $LC_ALL"])[1].split() == [host.PATH, "C"]
    assert host.run(["sh", "-c", "echo $A $LC_ALL"], env={"A": "b", "PATH": host.PATH})[1] == "b\n"


# ---- marked blocks ----


@pytest.mark.parametrize("text", ["", "a\n", "a", "a\r\nb\n\n", "\n"])
def test_a_block_that_comes_and_goes_leaves_the_rest_byte_for_byte(text):
    there = blocks.set_block(text, "x", "f", ["one", "two"])
    assert there == text + ("" if text.endswith("\n") or not text else "\n") + "# BEGIN x\none\ntwo\n# END x\n"
    assert blocks.get_block(there, "x", "f") == ["one", "two"]
    assert blocks.set_block(there, "x", "f", ["one", "two"]) == there
    assert blocks.set_block(there, "x", "f", []) == text + ("" if text.endswith("\n") or not text else "\n")


def test_a_block_stays_in_its_place():
    assert blocks.set_block("a\n# BEGIN x\n1\n# END x\nb\n", "x", "f", ["2"]) == "a\n# BEGIN x\n2\n# END x\nb\n"
    assert blocks.set_block("a\n# BEGIN x\n1\n# END x", "x", "f", []) == "a\n"
    assert blocks.get_block("# BEGIN xy\n# END xy\n", "x", "f") is None


@pytest.mark.parametrize(
    "text", ["# BEGIN x\na\n", "a\n# END x\n", "# END x\n# BEGIN x\n", "# BEGIN x\n# BEGIN x\n# END x\n"]
)
@pytest.mark.parametrize("body", [[], ["b"]])
def test_a_damaged_block_is_refused_with_its_file(text, body):
    with pytest.raises(host.Refused) as caught:
        blocks.set_block(text, "x", "/etc/f", body)
    assert str(caught.value).startswith("/etc/f: ") and "damaged" in str(caught.value)


# ---- what FreeBSD prints ----


def test_limits_of_several_processes():
    text = (
        "  PID COMM             RLIMIT                  SOFT             HARD     \n  807 named            openfiles             65535           infinity     \n"
        "  807 named            maxprocesses           9000             9000     \n  911 master           openfiles             65535            65536     \n"
    )
    assert limits.parse_rlimits(text) == {807: (65535, None), 911: (65535, 65536)}


def test_swap_of_several_devices_without_their_total():
    text = (
        "Device          1K-blocks     Used    Avail Capacity\n/dev/ada0p3       2097152        0  2097152     0%\n"
        "/dev/ada1p3       1048576        0  1048576     0%\nTotal             3145728        0  3145728     0%\n"
    )
    assert limits.parse_swapinfo(text) == 3072 and limits.parse_swapinfo("") == 0


# ---- DNS ----


def test_a_question_on_the_wire():
    assert dns.question(258, "d1.test", "MX", "IN", True) == (
        b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02d1\x04test\x00\x00\x0f\x00\x01"
    )
    assert dns.question(1, ".", "NS", "IN", False)[12:] == b"\x00\x00\x02\x00\x01"


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
    assert '"unknown": ["kern.no.such.value"]' in done.stdout, done.stdout


def test_nothing_of_it_needs_more_than_python_and_itself():
    allowed = set(sys.stdlib_module_names) | {"ansible"}
    for path in sorted(ROOT.glob("module_utils/sokuhai/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for name in names:
                assert name.split(".")[0] in allowed and (
                    not name.startswith("ansible") or name.startswith("ansible.module_utils.sokuhai")
                ), (path, name)
