"""tools/release, in a repository of its own: what is in the way of a release, what is built, and that only --really makes a tag."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile

import pytest
from role_modules import ROOT

CHANGELOG = """\
# Changelog

## [0.2.0] - 2026-12-01

### Added

- A thing.

## [0.1.0] - 2026-11-29

- The first.
"""


class Repository:
    def __init__(self, path):
        self.path = path
        (path / "tools").mkdir(parents=True)
        shutil.copy(ROOT / "tools/release", path / "tools/release")
        (path / ".gitignore").write_text(".cache/\n")
        (path / "pyproject.toml").write_text('[project]\nname = "sokuhai"\nversion = "0.2.0"\n')
        (path / "CHANGELOG.md").write_text(CHANGELOG)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "me")
        self.git("config", "user.email", "me@home.example")
        self.git("config", "commit.gpgsign", "false")
        self.git("config", "tag.gpgsign", "false")
        self.commit()

    def git(self, *words):
        return subprocess.run(["git", *words], cwd=self.path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, full=True):
        """Commit all, and have its tests passed."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        (self.path / ".cache").mkdir(exist_ok=True)
        head = self.git("rev-parse", "--short=10", "HEAD")
        (self.path / ".cache/tests.json").write_text(json.dumps({"commit": head, "date": "2026-12-01", "full": full}))

    def release(self, *words):
        return subprocess.run(
            [sys.executable, self.path / "tools/release", *words], cwd=self.path, capture_output=True, text=True
        )

    def built(self, ending):
        return self.path / ".cache/release" / f"sokuhai-0.2.0.{ending}"


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def test_a_dry_run_builds_all_and_tags_nothing(repository):
    done = repository.release("0.2.0")
    assert done.returncode == 0, done.stderr
    assert "make test-full passed on 2026-12-01" in done.stdout and "dry run" in done.stdout
    with tarfile.open(repository.built("tar.gz")) as tarball:
        names = tarball.getnames()
    assert "sokuhai-0.2.0/CHANGELOG.md" in names and not [name for name in names if ".cache" in name]
    digest = hashlib.sha256(repository.built("tar.gz").read_bytes()).hexdigest()
    assert repository.built("sha256").read_text() == f"SHA256 (sokuhai-0.2.0.tar.gz) = {digest}\n"
    assert repository.built("md").read_text() == "# sokuhai 0.2.0\n\n### Added\n\n- A thing.\n"
    assert repository.git("tag") == ""


def test_really_tags_with_the_notes(repository):
    done = repository.release("--really")
    assert done.returncode == 0, done.stderr
    assert repository.git("cat-file", "-t", "v0.2.0") == "tag"
    assert repository.git("tag", "-l", "--format=%(contents)", "v0.2.0") == repository.built("md").read_text().strip()
    # and not a second time
    done = repository.release("--really")
    assert done.returncode == 1 and "there is a tag v0.2.0 already" in done.stderr


def edit(name, old, new):
    def change(repository):
        path = repository.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        repository.commit()

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit("CHANGELOG.md", "2026-12-01", "unreleased"), "[0.2.0] is 'unreleased', a release has its date there"),
        (edit("CHANGELOG.md", "[0.2.0]", "[0.3.0]"), "CHANGELOG.md has no section [0.2.0]"),
        (edit("pyproject.toml", "0.2.0", "0.2.1"), "pyproject.toml says 0.2.1, not 0.2.0"),
        (lambda repository: (repository.path / "new").write_text(""), "not committed: new"),
        (lambda repository: (repository.path / "CHANGELOG.md").write_text(CHANGELOG + "x"), "committed: CHANGELOG.md"),
        (lambda repository: repository.git("checkout", "-q", "-b", "next"), "on next, not on main"),
        (lambda repository: repository.git("commit", "-q", "--allow-empty", "-m", "y"), "are another commit's"),
        (lambda repository: repository.commit(full=False), "in a reduced number: make test passed"),
        (lambda repository: (repository.path / ".cache/tests.json").unlink(), "no run of make test-full has passed"),
    ],
)
def test_what_is_in_the_way_is_named_and_nothing_is_tagged(repository, change, words):
    change(repository)
    done = repository.release("0.2.0", "--really")
    assert done.returncode == 1
    assert words in done.stderr
    assert repository.git("tag") == ""
