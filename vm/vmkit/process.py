"""One process, known by its pid together with its start time: for as long as the machine runs no other has both."""

import os
import signal
import subprocess
import time

from . import VmError


def started(pid):
    """When a process started, as text that only that process has; None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError):
        if os.path.exists("/proc/self/stat"):
            return None
    # FreeBSD and macOS have no such /proc
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    line = done.stdout.strip()
    return None if done.returncode or not line or line.startswith("Z") else line.split(None, 1)[1]


def runs(pid, start):
    return bool(pid) and start is not None and started(pid) == start


def end(pid, start, patience=10):
    """End the process, and only that one. False when it did not run. Raises VmError when it outlives SIGKILL."""
    if not runs(pid, start):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not runs(pid, start):
                return True
            time.sleep(0.05)
    raise VmError(f"process {pid} does not end")
