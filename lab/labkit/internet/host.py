"""Commands inside a practice host, by the lab's own command."""

import json
import os
import pathlib
import shlex
import subprocess

LAB = pathlib.Path(__file__).resolve().parents[2] / "lab"
HERE = pathlib.Path(__file__).parent
PYTHON = "for p in /usr/libexec/standins/python3 /usr/local/bin/python3; do [ -x $p ] && exec $p -I -c \"$@\"; done; echo 'no Python on this host' >&2; exit 127"


class HostError(OSError):
    """A command in a practice host failed; the text says which and what it said."""


class Host:
    """A practice host of an instance."""

    def __init__(self, instance, name="mx.home.example"):
        self.name = name
        self.env = {**os.environ, "SOKUHAI_LAB": instance}

    def popen(self, *command, **options):
        return subprocess.Popen([str(LAB), "sh", self.name, "--", *command], env=self.env, text=True, **options)

    def run(self, *command, stdin="", check=True, timeout=600):
        """(exit code, stdout) of a command; raises HostError when it fails and *check* is set."""
        done = subprocess.run(
            [str(LAB), "sh", self.name, "--", *command],
            env=self.env,
            text=True,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise HostError(
                f"{self.name}: {shlex.join(command)[:200]}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}"
            )
        return done.returncode, done.stdout

    def python(self, script, *arguments):
        """The command that runs a file of this directory by the host's own Python."""
        return ["sh", "-c", PYTHON, "python", (HERE / script).read_text(), *map(str, arguments)]

    def ask(self, mode, job=None, timeout=600):
        """One JSON answer of the agent."""
        _code, out = self.run(
            *self.python("hostagent.py", mode), stdin=json.dumps(job) if job is not None else "", timeout=timeout
        )
        return json.loads(out)
