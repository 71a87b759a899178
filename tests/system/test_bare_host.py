"""A bare host: check mode says what would come, calls it predicted, and leaves the host as it was."""

import contextlib

import pytest
from practice import bring_up, changed, changed_lines, full_only, message

#: What only Postfix can judge.
UNCLOSED = {"access_helo": [{"name": "mine", "pattern": "/(unclosed/"}]}


@pytest.fixture(scope="module")
def bare(lab):
    """A second lab beside the first, whose host has Python and nothing else."""
    second = bring_up(lab.name + "-bare")
    yield second
    second.command("down")


@contextlib.contextmanager
def untouched(bare):
    packages = bare.sh("pkg", "query", "%n").stdout
    with bare.unchanged():
        yield
    assert bare.sh("pkg", "query", "%n").stdout == packages


def test_check_mode_on_a_bare_host_predicts_and_changes_nothing(bare):
    with untouched(bare):
        result = bare.applied("site.yml", "--check", "--diff", variables=UNCLOSED)
    assert "predicted: expressions and samples are judged by Postfix itself" in result.stdout + result.stderr
    assert changed(result) > 0
    assert len(changed_lines(result)) >= 5
    assert "named 9.20 (predicted)" in result.stdout
    assert "predicted: Postfix is not installed" in result.stdout + result.stderr


def test_check_mode_of_a_rebuild_predicts_what_would_be_brought_first(bare):
    """No ports tree, no sources: both are declared to be fetched."""
    bare.sh("rm", "-rf", "/usr/src", "/usr/ports")
    fetched = {"fd_setsize_source_fetch": True, "ports_tree_fetch": "git"}
    with untouched(bare):
        result = bare.applied("rebuild.yml", "--check", variables=fetched)
    said = " ".join(result.stdout.split())
    assert "predicted: the ports tree is fetched to /usr/ports first" in said
    assert "predicted: the sources are brought to /usr/src first" in said
    assert changed(result) > 0
    # undeclared, it is refused with the command
    refused = bare.play("rebuild.yml", "--check", "--tags", "kernel")
    assert refused.returncode != 0 and "/usr/src: no sources of FreeBSD there" in " ".join(refused.stdout.split())


@full_only("a bare host provisioned up to Postfix")
def test_expressions_are_judged_once_postfix_is_installed_and_before_the_mail_service_is_written(bare):
    result = bare.play("site.yml", variables=UNCLOSED)
    assert result.returncode != 0 and "access_helo: mine (/(unclosed/)" in message(result), result.stdout[-3000:]
    installed = bare.sh("pkg", "query", "%n").stdout.split()
    assert "postfix" in installed and "dovecot" not in installed
    assert "sokuhai" not in bare.sh("cat", "/usr/local/etc/postfix/main.cf").stdout
