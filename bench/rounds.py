# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the benchmarks with two arms share: a practice host that is up and provisioned has something declared, is measured in rounds, and is left as site.yml
makes it."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys

from labkit.internet.host import HostError

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROUNDS = {"rounds": (3, 1, 5, "how often each arm is measured")}


def options_of(name, description, numbers):
    """Return the options of `python -m bench.NAME`; ends the process where one makes no sense. numbers: {option: (default, least, most, what it is)}."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    parser.add_argument("--instance", default=os.environ.get("SOKUHAI_LAB", "lab"))
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / f"tests/results/{name}.json")
    numbers = {**numbers, **ROUNDS}
    for option, (default, least, most, what) in numbers.items():
        parser.add_argument(f"--{option}", type=int, default=default, help=f"{what}, {least} to {most}")
    options = parser.parse_args()
    for option, (_default, least, most, _what) in numbers.items():
        if not least <= getattr(options, option) <= most:
            parser.error(f"--{option}: {least} to {most}")
    os.environ["SOKUHAI_LAB"] = options.instance
    return options


def played(*arguments):
    """Run site.yml for role postfix. Raises HostError."""
    words = [
        pathlib.Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        ROOT / "lab/inventory",
        ROOT / "playbooks/site.yml",
    ]
    done = subprocess.run(
        [*words, "--tags", "postfix", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise HostError(done.stdout[-2000:] + done.stderr[-500:])


@contextlib.contextmanager
def declared(variables):
    """Within this, *variables* are declared for role postfix."""
    played("-e", json.dumps(variables))
    try:
        yield
    finally:
        played()


def in_turn(number, arms):
    """Return *arms* in the order of round *number*: every other one goes backwards, so that none always has what another left."""
    return list(arms) if number % 2 else list(arms)[::-1]
