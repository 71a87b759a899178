"""What make lint runs."""

import subprocess

import pytest
from role_modules import ROOT, load

RUN = load("tools/run")


@pytest.mark.parametrize(
    ("what", "command", "advice"), RUN.linters(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_lint(what, command, advice):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=RUN.environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{what} ({advice})\n{done.stdout}{done.stderr}"
