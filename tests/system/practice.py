"""A practice host for tests: one for each worker of pytest-xdist, provisioned when the first test asks for it, taken down when the session ends.

SOKUHAI_LAB names one that is up and provisioned already, and stays so (several, by commas: one for each worker). A machine that has joined the
lab in the practice host's place (docs/vm.md) is tested as well, by those tests that it can answer; SOKUHAI_INVENTORY is its inventory,
SOKUHAI_SLOW says how many times slower than a practice host it is.
"""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PLAYBOOK = ROOT / ".venv" / "bin" / "ansible-playbook"
HOST = "mx.home.example"
INVENTORY = pathlib.Path(os.environ.get("SOKUHAI_INVENTORY") or ROOT / "lab" / "inventory")
SLOW = float(os.environ.get("SOKUHAI_SLOW") or 1)

# What must be equal after two ways to the same state. Keys, certificates and databases hold time or chance and are named
# by path only; logs, queues and package databases are not configuration.
FINGERPRINT = r"""
import hashlib, os, stat
chance = ('.key', '.pem', '.db', '.lmdb', 'rndc.key', '.crt', 'resolv.conf.bak', 'ssl-parameters')
for top in ('/etc', '/boot', '/usr/local/etc'):
    for folder, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            # what a role keeps to return to is history, and differs with the way that led here
            if path.endswith(('.previous', '.before-sokuhai')) or '.before-sokuhai/' in path:
                continue
            if os.path.islink(path):
                print(path, '->', os.readlink(path)); continue
            info = os.stat(path)
            digest = '' if path.endswith(chance) or '/ssh/' in path else hashlib.sha256(open(path, 'rb').read()).hexdigest()
            print(path, oct(info.st_mode), info.st_uid, info.st_gid, digest)
"""

# program of each part that a machine's own build of the mail service may come without
PARTS = {
    "greylist": "/usr/local/sbin/postgrey",
    "spf": "/usr/local/bin/policyd-spf",
    "submission": "/usr/local/sbin/dovecot",
}


class Lab:
    """One instance of the lab: commands on its hosts and plays against it."""

    def __init__(self, name):
        self.name = name
        self.env = dict(os.environ, SOKUHAI_LAB=name, PYTHONPATH=str(ROOT / "lab"), ANSIBLE_NOCOLOR="1")
        self.state = pathlib.Path("/run/sokuhai-lab") / name
        self.outside = (self.state / f"{HOST}.outside").exists()

    def command(self, *arguments, timeout=300, **options):
        return subprocess.run(
            [ROOT / "lab" / "lab", *arguments],
            env=self.env,
            text=True,
            capture_output=True,
            timeout=timeout * SLOW,
            **options,
        )

    def ssh(self):
        """How testinfra reaches the practice host: arguments for remote.reach()."""
        extra = (
            f"-o UserKnownHostsFile={self.state}/known_hosts -o ControlPath={self.state}/ssh-%C"
            f" -o 'ProxyCommand=env SOKUHAI_LAB={self.name} {ROOT}/lab/lab connect %h %p'"
        )
        return {
            "hostspec": "ssh://root@192.0.2.10",
            "ssh_extra_args": extra,
            "ssh_identity_file": f"{self.state}/id_ed25519",
        }

    def sh(self, *command, host=HOST, stdin=None, check=True):
        result = self.command("sh", host, "--", *command, input=stdin or "")
        assert not check or result.returncode == 0, (
            f"{command}: exit {result.returncode}\n{result.stdout}{result.stderr}"
        )
        return result

    def mailbox(self):
        """The text of root's mailbox, which the mail of every local address of the lab goes to."""
        return self.sh("sh", "-c", "cat /var/mail/root 2>/dev/null || true").stdout

    def mailed(self, wanted, seconds=60):
        """The mails in root's mailbox for which wanted(text) is true, each from its sender's address on; [] when none came in time."""
        deadline = time.monotonic() + seconds
        while True:
            found = [text for text in ("\n" + self.mailbox()).split("\nFrom ")[1:] if wanted(text)]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.3)

    def play(self, book="site.yml", *options, variables=None, timeout=600):
        """Run a playbook; return the finished process, with .summary from the callback."""
        with tempfile.TemporaryDirectory() as folder:
            summary = pathlib.Path(folder) / "summary"
            command = [PLAYBOOK, "-i", INVENTORY, ROOT / "playbooks" / book, *options]
            if variables is not None:
                extra = pathlib.Path(folder) / "extra.json"
                extra.write_text(json.dumps(variables))
                command += ["-e", f"@{extra}"]
            result = subprocess.run(
                [str(c) for c in command],
                cwd=ROOT,
                env=dict(self.env, SOKUHAI_SUMMARY=str(summary)),
                text=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout * SLOW,
            )
            result.summary = json.loads(summary.read_text()) if summary.exists() else None
        return result

    def play_killed(self, task, *options, timeout=600, book="site.yml"):
        """Start *book* and kill it, with its children, when it begins *task*; return whether it came to that task."""
        command = [PLAYBOOK, "-i", INVENTORY, ROOT / "playbooks" / book, *options]
        process = subprocess.Popen(
            [str(c) for c in command],
            cwd=ROOT,
            env=dict(self.env, PYTHONUNBUFFERED="1"),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout * SLOW
        try:
            for line in process.stdout:
                if line.startswith("TASK [") and task in line:
                    time.sleep(0.8)
                    return True
                if time.monotonic() > deadline:
                    break
            return False
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @functools.cached_property
    def lacks(self):
        """What a machine from elsewhere may do without, and does: names of those parts. A practice host lacks nothing."""
        if not self.outside:
            return frozenset()
        return frozenset(part for part, path in PARTS.items() if self.sh("test", "-x", path, check=False).returncode)

    def need(self, *parts):
        """Skip the test where the machine lacks one of these parts."""
        missing = sorted(self.lacks.intersection(parts))
        if missing:
            pytest.skip(f"the machine has no {' and no '.join(missing)}")

    def fingerprint(self):
        """Return {path: mode, owner and content} of the host's configuration as a dict."""
        lines = self.sh("/usr/local/bin/python3", "-", stdin=FINGERPRINT).stdout.splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def processes(self):
        """Return {pid: command} of the daemons that a play may restart; a session of sshd, by which the play comes, is none."""
        text = self.sh("ps", "-axo", "pid,ppid,comm").stdout.splitlines()[1:]
        rows = (line.split(None, 2) for line in text)
        daemons = ("named", "master", "dovecot", "sshd", "syslogd")
        return {
            int(pid): command.strip() for pid, parent, command in rows if parent == "1" and command.strip() in daemons
        }


def play_book(book, lab, *options, **variables):
    """Run the playbook *book* of this folder with extra variables; return the finished process."""
    return lab.play(str(ROOT / "tests" / "system" / book), *options, variables=variables or None)


def applied_book(book, lab, *options, **variables):
    """As play_book, for a play that must succeed."""
    result = play_book(book, lab, *options, **variables)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
    return result


def changed(result):
    """Return how many tasks of a play changed something on the host (int)."""
    return result.summary["hosts"][HOST]["changed"]


def message(result):
    """Return what a play says of its failure, on one line: the callback folds long ones."""
    return " ".join(result.stdout[result.stdout.find("fatal: [") :].split())


def changed_lines(result):
    """Return the `changed:` lines of a play with the task that each belongs to."""
    task, found = "", []
    for line in result.stdout.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line
        elif line.startswith("changed:"):
            found.append(f"{task}\n{line}")
    return found


MADE = {}


def bring_up(name, generation="trixie"):
    """Return a new Lab *name* whose practice host is ready for Ansible, and not provisioned yet. down_all() ends it."""
    lab = Lab(name)
    lab.command("down")
    MADE[name] = lab
    done = lab.command("up", "--generation", generation, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    done = lab.play("bootstrap.yml")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return lab


@functools.cache
def provisioned():
    """Return this worker's Lab, its practice host provisioned by site.yml."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if os.environ.get("SOKUHAI_LAB"):
        names = os.environ["SOKUHAI_LAB"].split(",")
        assert worker < len(names) and (pathlib.Path("/run/sokuhai-lab") / names[worker]).is_dir(), (
            f"SOKUHAI_LAB={os.environ['SOKUHAI_LAB']}: names no lab that is up for worker {worker}"
        )
        lab = Lab(names[worker])
    else:
        lab = bring_up(f"test-{worker}")
        done = lab.play()
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    os.environ["SOKUHAI_LAB"] = lab.name
    return lab


def down_all():
    """Take down what bring_up() brought up."""
    while MADE:
        MADE.popitem()[1].command("down")


def full_only(reason):
    """Mark a test for make test-full alone; *reason* says what it costs. It is skipped before its fixtures prepare anything."""
    return pytest.mark.skipif(not os.environ.get("SOKUHAI_FULL"), reason=reason)


FIGURES = pytest.StashKey[list]()


def run_module(lab, *arguments, timeout=900):
    """Run a tool of the simulated internet on the controller and return its finished process."""
    return subprocess.run(
        [sys.executable, "-m", "labkit.internet", *map(str, arguments)],
        cwd=ROOT,
        env=lab.env,
        text=True,
        capture_output=True,
        timeout=timeout * SLOW,
    )
