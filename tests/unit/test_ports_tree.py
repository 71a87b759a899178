# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module ports_tree with a real git and a repository of its own: the right commit of the right branch, or nothing."""

import pathlib
import shutil
import subprocess

import pytest
from role_modules import answer_of, load, util

git_head, shared = util("sokuhai.git").head, util("sokuhai.host")
module = load("roles/ports/library/ports_tree.py")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def git(folder, *words):
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", folder, *author, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def upstream(tmp_path):
    """A ports repository with main and three quarters."""
    folder = tmp_path / "upstream"
    (folder / "Mk").mkdir(parents=True)

    def commit(branch, text):
        (folder / "Mk/bsd.port.mk").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", text)
        git(folder, "branch", "-f", branch)
        return git(folder, "rev-parse", "HEAD")

    git(folder, "init", "-q", "-b", "work")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    commits = {branch: commit(branch, branch) for branch in ("2025Q4", "2026Q3", "2026Q4", "main")}
    return {"url": f"file://{folder}", "commits": commits, "commit": commit, "tree": str(tmp_path / "ports")}


def test_the_newest_quarter_comes_whole_and_twice_is_no_change(upstream):
    want = {"tree": upstream["tree"], "url": upstream["url"], "branch": "quarterly"}
    assert answer_of(module, check_mode=True, **want)["changed"] and not pathlib.Path(upstream["tree"]).exists()
    answer = answer_of(module, **want)
    assert (answer["changed"], answer["branch"], answer["commit"]) == (True, "2026Q4", upstream["commits"]["2026Q4"])
    assert git_head(upstream["tree"]) == ("2026Q4", upstream["commits"]["2026Q4"])
    assert pathlib.Path(upstream["tree"], "Mk/bsd.port.mk").read_text() == "2026Q4"
    assert answer_of(module, **want)["changed"] is False
    assert list(pathlib.Path(upstream["tree"]).parent.glob("*.sokuhai-new")) == []


def test_the_branch_is_that_of_the_packages(upstream, monkeypatch):
    line = '  FreeBSD: {\n    url             : "pkg+https://pkg.FreeBSD.org/FreeBSD:15:amd64/%s",\n    enabled         : yes\n  }\n'
    real, said = shared.run, [line % "latest"]
    answer = lambda argv, *more: (0, said[0], "") if argv[0] == "pkg" else real(argv, *more)  # noqa: E731
    monkeypatch.setattr(shared, "run", answer)
    assert answer_of(module, tree=upstream["tree"], url=upstream["url"])["branch"] == "main"
    said[0] = ""
    assert "ports_branch" in answer_of(module, tree=upstream["tree"] + "2", url=upstream["url"])["msg"]


def test_a_pinned_commit_or_none(upstream):
    older = upstream["commits"]["2026Q3"]
    want = {"tree": upstream["tree"], "url": upstream["url"], "branch": "2026Q4", "commit": older}
    assert answer_of(module, **want)["commit"] == older
    other = answer_of(module, **{**want, "commit": "0" * 40})
    assert other["failed"] and "ports_tree_commit" in other["msg"]
    missing = answer_of(module, **{**want, "tree": upstream["tree"] + "2", "commit": "0" * 40})
    assert missing["failed"] and not pathlib.Path(upstream["tree"] + "2").exists()


def test_update_brings_what_is_new_and_keeps_off_what_was_changed_by_hand(upstream):
    want = {"tree": upstream["tree"], "url": upstream["url"], "branch": "main"}
    answer_of(module, **want)
    newer = upstream["commit"]("main", "newer")
    assert answer_of(module, **want)["commit"] == upstream["commits"]["main"]
    assert answer_of(module, check_mode=True, update=True, **want)["changed"]
    answer = answer_of(module, update=True, **want)
    assert (answer["changed"], answer["commit"]) == (True, newer)
    assert answer_of(module, update=True, **want)["changed"] is False
    pathlib.Path(upstream["tree"], "Mk/bsd.port.mk").write_text("mine")
    assert "by hand" in answer_of(module, update=True, **want)["msg"]
    assert pathlib.Path(upstream["tree"], "Mk/bsd.port.mk").read_text() == "mine"


def test_what_is_no_tree_is_neither_replaced_nor_made_one(upstream, tmp_path):
    tree, empty = pathlib.Path(upstream["tree"]), tmp_path / "empty"
    (tree / "distfiles").mkdir(parents=True)
    want = {"tree": str(tree), "url": upstream["url"], "branch": "main"}
    assert "distfiles" in answer_of(module, **want)["msg"]
    (tree / "distfiles").rmdir()
    empty.mkdir()
    git(empty, "init", "-q", "-b", "main")
    git(empty, "commit", "-q", "--allow-empty", "-m", "x")
    assert "not a ports tree" in answer_of(module, **{**want, "url": f"file://{empty}"})["msg"]
    assert list(tree.iterdir()) == []
    assert answer_of(module, **want)["changed"]


def test_without_git_and_without_a_way_to_it_nothing_happens(upstream, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(shared, "run", lambda argv, *more: (1, "", "pkg: no repository"))
    answer = answer_of(module, tree=upstream["tree"], url=upstream["url"], branch="main")
    assert answer["failed"] and "git-lite" in answer["msg"] and not pathlib.Path(upstream["tree"]).exists()
