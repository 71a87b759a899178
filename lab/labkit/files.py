"""Files of an instance: JSON that nobody sees half written, the end of a log, locks; and what the command says."""

import datetime
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import time

from . import LabError
from .paths import REPOSITORY


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def read_json(path):
    """The content of a JSON file; {} where there is none."""
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def record(path, value):
    """Write a JSON file so that a reader sees the old one or the new one, never half of it."""
    with open(f"{path}.new", "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")
    os.replace(f"{path}.new", path)


def about():
    """What a file of results says of when and of what it was measured."""
    words = ["git", "rev-parse", "--short=10", "HEAD"]
    commit = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "commit": commit}


def tail(path, lines=12):
    """The last lines of a log, each after the first indented."""
    try:
        with open(path, errors="replace") as f:
            return "\n  ".join(f.read().splitlines()[-lines:])
    except OSError:
        return "(nothing)"


def put(path, content, mode=0o644):
    """Write text or bytes in directories that are made where they are missing; what was there is replaced, also a link."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def flock(file, limit, refusal, waiting=""):
    """Lock an open file; `waiting` is said when another process has it. Raises LabError with `refusal` after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabError(refusal) from None
            if waiting:
                say(waiting)
                waiting = ""
            time.sleep(0.1)
