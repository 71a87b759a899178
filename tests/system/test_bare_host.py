"""A bare host: check mode says what would come, calls it predicted, and leaves the host as it was."""

import pytest
from practice import Lab, changed, changed_lines


@pytest.fixture(scope="module")
def bare(lab):
    """A second lab beside the first, whose host has Python and nothing else."""
    second = Lab(lab.name + "-bare")
    second.command("down")
    done = second.command("up")
    assert done.returncode == 0, done.stderr
    try:
        assert second.play("bootstrap.yml").returncode == 0
        yield second
    finally:
        second.command("down")


def test_check_mode_on_a_bare_host_predicts_and_changes_nothing(bare):
    before = bare.fingerprint(), bare.processes(), bare.sh("pkg", "query", "%n").stdout
    result = bare.play("site.yml", "--check", "--diff")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
    assert changed(result) > 0
    assert len(changed_lines(result)) >= 5
    assert "named 9.20 (predicted)" in result.stdout
    assert "predicted: Postfix is not installed" in result.stdout + result.stderr
    assert (bare.fingerprint(), bare.processes(), bare.sh("pkg", "query", "%n").stdout) == before


def test_check_mode_of_a_rebuild_predicts_what_would_be_brought_first(bare):
    """No ports tree, no sources: both are declared to be fetched."""
    bare.sh("rm", "-rf", "/usr/src", "/usr/ports")
    before = bare.fingerprint(), bare.sh("pkg", "query", "%n").stdout
    result = bare.play("rebuild.yml", "--check", variables={"fd_setsize_source_fetch": True, "ports_tree_fetch": "git"})
    said = " ".join(result.stdout.split())
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
    assert (
        "predicted: the ports tree is fetched to /usr/ports first" in said
        and "predicted: the sources are brought to /usr/src first" in said
    )
    assert changed(result) > 0
    assert (bare.fingerprint(), bare.sh("pkg", "query", "%n").stdout) == before
    # undeclared, it is refused with the command
    refused = bare.play("rebuild.yml", "--check", "--tags", "kernel")
    assert refused.returncode != 0 and "/usr/src: no sources of FreeBSD there" in " ".join(refused.stdout.split())
