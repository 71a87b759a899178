# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module ports_tree with a real git and a repository of its own: the right commit of the right branch, or nothing."""

import pathlib
import shutil
import subprocess
import types

import pytest
import role_modules

branch, shared = role_modules.util("ports_branch"), role_modules.util("sokuhai.host")
module = role_modules.load("roles/ports/library/ports_tree.py")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def call(monkeypatch, check=False, **want):
    """Run the module; return its answer, with `failed` where it failed."""
    answers = []

    def made(argument_spec, supports_check_mode):
        defaults = {name: option.get("default") for name, option in argument_spec.items()}
        return types.SimpleNamespace(
            params=defaults | want,
            check_mode=check,
            exit_json=lambda **answer: answers.append(answer),
            fail_json=lambda **answer: answers.append({**answer, "failed": True}),
        )

    monkeypatch.setattr(module, "AnsibleModule", made)
    module.main()
    (answer,) = answers
    return answer


def git(folder, *words):
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", folder, *author, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def upstream(tmp_path, monkeypatch):
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


def test_the_newest_quarter_comes_whole_and_twice_is_no_change(upstream, monkeypatch):
    want = {"tree": upstream["tree"], "url": upstream["url"], "branch": "quarterly"}
    assert call(monkeypatch, check=True, **want)["changed"] and not pathlib.Path(upstream["tree"]).exists()
    answer = call(monkeypatch, **want)
    assert (answer["changed"], answer["branch"], answer["commit"]) == (True, "2026Q4", upstream["commits"]["2026Q4"])
    assert branch.head(upstream["tree"]) == ("2026Q4", upstream["commits"]["2026Q4"])
    assert pathlib.Path(upstream["tree"], "Mk/bsd.port.mk").read_text() == "2026Q4"
    assert call(monkeypatch, **want)["changed"] is False
    assert list(pathlib.Path(upstream["tree"]).parent.glob("*.sokuhai-new")) == []


def test_the_branch_is_that_of_the_packages(upstream, monkeypatch):
    line = '  FreeBSD: {\n    url             : "pkg+https://pkg.FreeBSD.org/FreeBSD:15:amd64/%s",\n    enabled         : yes\n  }\n'
    real, said = shared.run, [line % "latest"]
    answer = lambda argv, *more: (0, said[0], "") if argv[0] == "pkg" else real(argv, *more)  # noqa: E731
    monkeypatch.setattr(shared, "run", answer)
    assert call(monkeypatch, tree=upstream["tree"], url=upstream["url"])["branch"] == "main"
    said[0] = ""
    assert "ports_branch" in call(monkeypatch, tree=upstream["tree"] + "2", url=upstream["url"])["msg"]


def test_a_pinned_commit_or_none(upstream, monkeypatch):
    older = upstream["commits"]["2026Q3"]
    want = {"tree": upstream["tree"], "url": upstream["url"], "branch": "2026Q4", "commit": older}
    assert call(monkeypatch, **want)["commit"] == older
    other = call(monkeypatch, **{**want, "commit": "0" * 40})
    assert other["failed"] and "ports_tree_commit" in other["msg"]
    missing = call(monkeypatch, **{**want, "tree": upstream["tree"] + "2", "commit": "0" * 40})
    assert missing["failed"] and not pathlib.Path(upstream["tree"] + "2").exists()


def test_update_brings_what_is_new_and_keeps_off_what_was_changed_by_hand(upstream, monkeypatch):
    want = {"tree": upstream["tree"], "url": upstream["url"], "branch": "main"}
    call(monkeypatch, **want)
    newer = upstream["commit"]("main", "newer")
    assert call(monkeypatch, **want)["commit"] == upstream["commits"]["main"]
    assert call(monkeypatch, check=True, update=True, **want)["changed"]
    answer = call(monkeypatch, update=True, **want)
    assert (answer["changed"], answer["commit"]) == (True, newer)
    assert call(monkeypatch, update=True, **want)["changed"] is False
    pathlib.Path(upstream["tree"], "Mk/bsd.port.mk").write_text("mine")
    assert "by hand" in call(monkeypatch, update=True, **want)["msg"]
    assert pathlib.Path(upstream["tree"], "Mk/bsd.port.mk").read_text() == "mine"


def test_what_is_no_tree_is_neither_replaced_nor_made_one(upstream, monkeypatch, tmp_path):
    tree, empty = pathlib.Path(upstream["tree"]), tmp_path / "empty"
    (tree / "distfiles").mkdir(parents=True)
    want = {"tree": str(tree), "url": upstream["url"], "branch": "main"}
    assert "distfiles" in call(monkeypatch, **want)["msg"]
    (tree / "distfiles").rmdir()
    empty.mkdir()
    git(empty, "init", "-q", "-b", "main")
    git(empty, "commit", "-q", "--allow-empty", "-m", "x")
    assert "not a ports tree" in call(monkeypatch, **{**want, "url": f"file://{empty}"})["msg"]
    assert list(tree.iterdir()) == []
    assert call(monkeypatch, **want)["changed"]


def test_without_git_and_without_a_way_to_it_nothing_happens(upstream, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(shared, "run", lambda argv, *more: (1, "", "pkg: no repository"))
    answer = call(monkeypatch, tree=upstream["tree"], url=upstream["url"], branch="main")
    assert answer["failed"] and "git-lite" in answer["msg"] and not pathlib.Path(upstream["tree"]).exists()
