"""What a practice host's processes take of memory, within a cgroup that ends them where it is too much."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import threading

import pytest
import sizing
from practice import HOST, ROOT

#: Small enough for any machine; what is counted for each process is the same.
LIMIT, SUBMISSION, CLIENTS = 60, 10, 5000
DECLARED = {
    "sokuhai_process_limit": LIMIT,
    "postfix_submission_maxproc": SUBMISSION,
    "sokuhai_recursive_clients": CLIENTS,
    "access_client_connections": 30,
    "access_sleep_ease": 0,
    "access_sleep_harsh": 0,
}
ASKED = sizing.Asked(
    20000, LIMIT, CLIENTS, submission=2 * SUBMISSION, spf="python", greylist=True, dkim="sign", sasl=True, monitor=True
)


def space(lab):
    """The pid namespace of the practice host: its process 1 is the keeper's child."""
    keeper = json.loads(lab.command("status", "--json").stdout)["pid"]
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (path / "status").read_text()
            if re.search(rf"^PPid:\s+{keeper}$", status, re.M) and re.search(r"^NSpid:.*\s1$", status, re.M):
                inside = (path / "ns/pid").readlink()
                # everything else on this machine is in its own
                assert inside != pathlib.Path("/proc/self/ns/pid").readlink()
                return inside
    pytest.skip("this machine does not show the practice host's processes")


def processes(inside):
    """The directories in /proc of all that runs in the pid namespace *inside*."""
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "ns/pid").readlink() == inside:
                yield path


class Group:
    """A memory cgroup, v1 or v2, of *limit* bytes for a lab's practice host."""

    def __init__(self, lab, limit):
        top = pathlib.Path("/sys/fs/cgroup")
        self.old = (top / "memory/memory.limit_in_bytes").exists()
        if not self.old and "memory" not in (top / "cgroup.subtree_control").read_text().split():
            pytest.skip("this machine has no memory cgroups for its processes")
        self.path = (top / "memory" if self.old else top) / f"sokuhai-test-memory-{lab.name}"
        self.path.mkdir(exist_ok=True)
        (self.path / ("memory.limit_in_bytes" if self.old else "memory.max")).write_text(str(limit))

    def restart(self, lab):
        """Start the services anew within the group: what a process had when it came is not counted."""
        again = "for name in named dovecot sokuhai_postgrey sokuhai_monitor postfix; do service $name restart </dev/null >/dev/null 2>&1; done"
        done = subprocess.run(
            [ROOT / "lab" / "lab", "sh", HOST, "--", "sh", "-c", again],
            env=lab.env,
            preexec_fn=lambda: (self.path / "cgroup.procs").write_text(str(os.getpid())),
        )
        assert done.returncode == 0

    def killed(self):
        text = (self.path / ("memory.oom_control" if self.old else "memory.events")).read_text()
        return int(re.search(r"^oom_kill (\d+)", text, re.M)[1])

    def end(self):
        above = self.path.parent / "cgroup.procs"
        # what forks meanwhile is there the next time
        while left := (self.path / "cgroup.procs").read_text().split():
            for pid in left:
                with contextlib.suppress(OSError):
                    above.write_text(pid)
        self.path.rmdir()


class Watch(threading.Thread):
    """Keeps all of the host's processes in *group*, and the most private memory that they had together, KiB, with what they were then."""

    def __init__(self, lab, group):
        super().__init__(daemon=True)
        self.space, self.group, self.peak, self.then, self.over = space(lab), group, 0, {}, threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            now = {}
            for path in processes(self.space):
                with contextlib.suppress(OSError):
                    (self.group.path / "cgroup.procs").write_text(path.name)
                    private = re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", (path / "smaps_rollup").read_text())
                    now.setdefault((path / "comm").read_text().strip(), []).append(sum(map(int, private)))
            total = sum(map(sum, now.values()))
            if total > self.peak:
                self.peak, self.then = total, now
