# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module fd_setsize_sources with a real git: the host's own patch level, or nothing."""

import pathlib
import shutil
import subprocess

import pytest
import role_modules

ROOT = pathlib.Path(__file__).resolve().parents[2]
module = role_modules.load("roles/fd_setsize/library/fd_setsize_sources.py")
sources = role_modules.util("sokuhai.sources")
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


class Host:
    def __init__(self, folder, monkeypatch):
        self.src, self.upstream, self.new = folder / "src", folder / "upstream", folder / "src.sokuhai-new"
        self.version, self.said, self.base_packages = "15.0-RELEASE-p1", [], False
        (self.upstream / "sys/conf").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self.commits = {level: self.commit(level) for level in ("RELEASE", "RELEASE-p1")}
        shared = role_modules.util("sokuhai.host")
        real = shared.run
        monkeypatch.setattr(
            shared, "run", lambda argv, *more: real(argv, *more) if argv[0] == "git" else self.answer(tuple(argv))
        )

    def git(self, *words):
        return subprocess.run(
            ["git", "-C", self.upstream, "-c", "user.name=a", "-c", "user.email=a@example.org", *words],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self, level):
        (self.upstream / "sys/conf/newvers.sh").write_text(f'TYPE="FreeBSD"\nREVISION="15.0"\nBRANCH="{level}"\n')
        self.git("add", ".")
        self.git("commit", "-q", "-m", level)
        self.git("branch", "-f", "releng/15.0")
        return self.git("rev-parse", "HEAD")

    def answer(self, argv):
        self.said.append(" ".join(argv))
        if argv[0] == "freebsd-version":
            return 0, self.version, ""
        if argv[:2] == ("pkg", "info"):
            return (0 if self.base_packages else 1), "", ""
        if argv[:2] == ("pkg", "install") and self.base_packages:
            shutil.copytree(self.upstream, self.src, dirs_exist_ok=True)
            return 0, "", ""
        return 1, "", "no"

    def call(self, check=False, commit=""):
        """One run of the module; its answer."""
        url = f"file://{self.upstream}"
        return role_modules.answer_of(module, check, path=str(self.src), url=url, commit=commit)


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def test_the_hosts_own_patch_level_comes_and_stays(host):
    host.src.mkdir()
    assert host.call(check=True)["changed"] and not list(host.src.iterdir())
    for changed in (True, False):
        answer = host.call()
        assert (answer["changed"], answer["release"]) == (changed, "15.0-RELEASE-p1")
    assert not host.new.exists()


def test_another_patch_level_is_refused_and_nothing_is_left(host):
    host.version = "15.0-RELEASE"
    answer = host.call()
    assert answer["failed"] and "RELEASE-p1" in answer["msg"] and "freebsd-update" in answer["msg"]
    assert not host.src.exists() and not host.new.exists()
    assert host.call(commit=host.commits["RELEASE"])["release"] == "15.0-RELEASE"


def test_sources_that_are_there_are_judged_and_never_replaced(host):
    host.call()
    host.version = "15.0-RELEASE-p2"
    answer = host.call()
    assert answer["failed"] and "15.0-RELEASE-p1" in answer["msg"] and "15.0-RELEASE-p2" in answer["msg"]
    assert sources.release(str(host.src)) == "15.0-RELEASE-p1"


def test_base_packages_bring_them_where_they_are(host):
    host.base_packages = True
    assert host.call()["changed"]
    assert "pkg install -y -r FreeBSD-base FreeBSD-src FreeBSD-src-sys" in host.said


def test_a_branch_in_development_is_not_guessed(host):
    host.version = "16.0-CURRENT"
    answer = host.call()
    assert answer["failed"] and "16.0-CURRENT" in answer["msg"] and not host.src.exists()


@pytest.mark.parametrize(
    "text, found",
    [
        ('REVISION="15.0"\nBRANCH="RELEASE-p3"\n', "15.0-RELEASE-p3"),
        ('REVISION="14.4"\nBRANCH="STABLE"\n', "14.4-STABLE"),
        ("", None),
    ],
)
def test_sources_say_their_release(tmp_path, text, found):
    (tmp_path / "sys/conf").mkdir(parents=True)
    more = 'if [ -n "${BRANCH_OVERRIDE}" ]; then\n\tBRANCH=${BRANCH_OVERRIDE}\nfi\n'
    (tmp_path / "sys/conf/newvers.sh").write_text('TYPE="FreeBSD"\n' + text + more)
    assert sources.release(str(tmp_path)) == found
    assert sources.release(str(tmp_path / "nothing")) is None
