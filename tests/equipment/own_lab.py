"""A lab of a test file's own, beside any other."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

LAB = pathlib.Path(__file__).resolve().parents[2] / "lab" / "lab"
MX = "mx.home.example"
MARKS = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(
        not shutil.which("debootstrap") and not shutil.which("unshare"), reason="the lab needs Linux with debootstrap"
    ),
]


class OwnLab:
    def __init__(self, name):
        instance = f"{name}-{os.getpid()}"
        self.state = pathlib.Path("/run/sokuhai-lab") / instance
        self.env = {**os.environ, "SOKUHAI_LAB": instance}

    def __call__(self, *arguments, check=True, timeout=120, stdin=""):
        """Run a command of the lab. Returns the finished process."""
        done = self.run(LAB, *arguments, timeout=timeout, stdin=stdin)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def ssh(self, command, *options):
        return self.run("ssh", "-F", self.state / "ssh_config", "-o", "BatchMode=yes", *options, MX, command)

    def run(self, *command, timeout=60, stdin=""):
        return subprocess.run(
            command, env=self.env, input=stdin, text=True, capture_output=True, timeout=timeout, check=False
        )

    def read(self, name):
        return json.loads((self.state / f"{name}.json").read_text())
