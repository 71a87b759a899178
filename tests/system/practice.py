"""A practice host for tests: one for each worker of pytest-xdist, provisioned when the first test asks for it, taken down when the session ends.

SOKUHAI_LAB names one that is up and provisioned already, and stays so (several, by commas: one for each worker). A machine that has joined the
lab in the practice host's place (docs/vm.md) is tested as well, by those tests that it can answer; SOKUHAI_INVENTORY is its inventory,
SOKUHAI_SLOW says how many times slower than a practice host it is.
"""

import contextlib
import fcntl
import functools
import inspect
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLAYBOOK = ROOT / ".venv" / "bin" / "ansible-playbook"
HOST = "mx.home.example"
INVENTORY = pathlib.Path(os.environ.get("SOKUHAI_INVENTORY") or ROOT / "lab" / "inventory")
SLOW = float(os.environ.get("SOKUHAI_SLOW") or 1)
#: Parts of make reliability that are asked for: names of marks, or all.
ASKED = os.environ.get("SOKUHAI_RELIABILITY", "").split()
#: Every test, and each at full size: make test-full.
FULL = bool(os.environ.get("SOKUHAI_FULL") or ASKED)

# What must be equal after two ways to the same state. Keys, certificates and databases hold time or chance and are named
# by path only; logs, queues and package databases are not configuration.
FINGERPRINT = r"""
import hashlib, os, re, stat
chance = ('.key', '.pem', '.db', '.lmdb', 'rndc.key', '.crt', 'resolv.conf.bak', 'ssl-parameters')
for top in ('/etc', '/boot', '/usr/local/etc'):
    for folder, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            # what a role keeps to return to is history, and differs with the way that led here
            if path.endswith(('.previous', '.before-sokuhai')) or '.before-sokuhai/' in path or '/.last/' in path:
                continue
            # so are former configurations of the SPF agent; master.cf names the one in force, by the hash of its text
            if '/python-policyd-spf/sokuhai-' in path:
                continue
            if os.path.islink(path):
                print(path, '->', os.readlink(path)); continue
            info = os.stat(path)
            text = b'' if path.endswith(chance) or '/ssh/' in path else open(path, 'rb').read()
            # a running kernel keeps a wider range of ports until it boots, and named.conf has a comment about it
            digest = hashlib.sha256(re.sub(rb'# \d+ to \d+. Another range', b'', text)).hexdigest() if text else ''
            print(path, oct(info.st_mode), info.st_uid, info.st_gid, digest)
"""

# program of each part that a machine's own build of the mail service may come without
PARTS = {
    "greylist": "/usr/local/sbin/postgrey",
    "spf": "/usr/local/bin/policyd-spf",
    "submission": "/usr/local/sbin/dovecot",
    "dkim": "/usr/local/bin/rspamd",
}


#: Where the plays of this process keep packed modules (plugins/kept_modules.py): the tree does not change under a run of the tests.
MODULES = tempfile.TemporaryDirectory(prefix="sokuhai-modules-")
KEPT_MODULES = {
    "ANSIBLE_CALLBACK_PLUGINS": f"{ROOT / 'callback_plugins'}:{HERE / 'plugins'}",
    "SOKUHAI_KEPT_MODULES": MODULES.name,
}


class Lab:
    """One instance of the lab: commands on its hosts and plays against it."""

    def __init__(self, name):
        self.name = name
        self.env = {
            **os.environ,
            **KEPT_MODULES,
            "SOKUHAI_LAB": name,
            "PYTHONPATH": str(ROOT / "lab"),
            "ANSIBLE_NOCOLOR": "1",
        }
        self.state = pathlib.Path("/run/sokuhai-lab") / name
        self.outside = (self.state / f"{HOST}.outside").exists()

    def run(self, *command, cwd=ROOT, stdin="", timeout=900, **env):
        """Run a program of the controller, which finds this lab by its environment; return the finished process."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**self.env, **env},
            text=True,
            input=stdin,
            capture_output=True,
            timeout=timeout * SLOW,
        )

    def command(self, *arguments, **options):
        """Run a command of lab/lab; return the finished process."""
        return self.run(ROOT / "lab" / "lab", *arguments, **options)

    def internet(self, *arguments):
        """Run a tool of the simulated internet; return the finished process."""
        return self.run(sys.executable, "-m", "labkit.internet", *arguments)

    def ssh(self):
        """How testinfra reaches the practice host: arguments for remote.reach()."""
        extra = (
            f"-o UserKnownHostsFile={self.state}/known_hosts -o ControlPath={self.state}/ssh-%C"
            f" -o {shlex.quote(f'ProxyCommand=env SOKUHAI_LAB={self.name} {shlex.quote(str(ROOT))}/lab/lab connect %h %p')}"
        )
        return {
            "hostspec": "ssh://root@192.0.2.10",
            "ssh_extra_args": extra,
            "ssh_identity_file": f"{self.state}/id_ed25519",
        }

    def sh(self, *command, host=HOST, stdin="", check=True):
        result = self.command("sh", host, "--", *command, stdin=stdin, timeout=300)
        assert not check or result.returncode == 0, (
            f"{command}: exit {result.returncode}\n{result.stdout}{result.stderr}"
        )
        return result

    def started(self, program, *words):
        """Start *program*, text of Python, on the practice host with the arguments *words*; return the process, whose output is piped."""
        command = [ROOT / "lab" / "lab", "sh", HOST, "--", "/usr/local/bin/python3", "-", *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([str(word) for word in command], env=self.env, text=True, **pipes)
        process.stdin.write(program)
        process.stdin.close()
        return process

    def end(self, pattern):
        """Kill every process whose arguments match *pattern*, which must not match itself; return whether there was one."""
        command = 'pids=$(pgrep -f "$1") && kill -KILL $pids'
        return not self.sh("sh", "-c", command, "sh", pattern, check=False).returncode

    def mailbox(self):
        """The text of root's mailbox, which the mail of every local address of the lab goes to."""
        return self.sh("sh", "-c", "cat /var/mail/root 2>/dev/null || true").stdout

    def mailed(self, wanted, seconds=60):
        """The mails in root's mailbox for which wanted(text) is true, each from its sender's address on, as soon as there is one."""

        def found():
            return [text for text in ("\n" + self.mailbox()).split("\nFrom ")[1:] if wanted(text)]

        return until(found, seconds)

    def playbook(self, book, options, variables):
        """The words of a run of ansible-playbook; *book* is one of playbooks/, or a path."""
        declared = [] if variables is None else ["-e", json.dumps(variables)]
        return [str(word) for word in (PLAYBOOK, "-i", INVENTORY, ROOT / "playbooks" / book, *options, *declared)]

    def play(self, book="site.yml", *options, variables=None, timeout=600):
        """Run a playbook; return the finished process, with .summary from the callback."""
        with tempfile.TemporaryDirectory() as folder:
            summary = pathlib.Path(folder) / "summary"
            command = self.playbook(book, options, variables)
            result = self.run(*command, timeout=timeout, SOKUHAI_SUMMARY=str(summary))
            result.summary = json.loads(summary.read_text()) if summary.exists() else None
        return result

    def applied(self, book="site.yml", *options, **more):
        """As play(), for a run that must succeed."""
        result = self.play(book, *options, **more)
        assert result.returncode == 0, result.stdout[-6000:] + result.stderr
        return result

    def play_killed(self, words, *options, book="site.yml", variables=None, pause=0.8, way="controller"):
        """Start *book* and end it in one of KILLS *pause* seconds after it has printed a line with all of *words*, or its task of that number; its children end with it."""
        process = subprocess.Popen(
            self.playbook(book, options, variables),
            cwd=ROOT,
            env={**self.env, "PYTHONUNBUFFERED": "1"},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        number, tasks = isinstance(words, int), 0
        try:
            for line in process.stdout:
                tasks += line.startswith(TASKS)
                if tasks == words if number else all(word in line for word in words):
                    break
            else:
                raise AssertionError(f"the run never came to {words}")
            time.sleep(pause)
            KILLS[way](self, process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            rest_of(process)

    @contextlib.contextmanager
    def unchanged(self):
        """Within this, neither the host's configuration nor its daemons may change."""
        before = self.fingerprint(), self.processes()
        yield
        assert (self.fingerprint(), self.processes()) == before

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


def rest_of(process):
    """Let a run come to its end; what it prints may be more than a pipe holds."""
    for _line in process.stdout:
        pass
    process.wait()


def end_module(lab, process):
    """Kill what the run has at work on the host, as soon as there is something, and let the run come to its end by that."""
    while process.poll() is None:
        # a module comes by ssh's stdin, and is nobody's child but the session's
        if lab.end("^/usr/local/bin/python3$"):
            break
        time.sleep(0.05)
    rest_of(process)


def cut_connection(lab, process):
    """End the host's side of every session of ssh, and what listens for new ones stays; the run comes to its end by that."""
    assert lab.end("^sshd(-session)?: root")
    rest_of(process)


def end_host(lab, _process):
    """End the host as a loss of power does, and have it boot."""
    lab.command("reboot", HOST, "--hard")


#: Ways in which a run ends that nobody meant to end.
KILLS = {
    "controller": lambda _lab, _process: None,
    "module": end_module,
    "connection": cut_connection,
    "host": end_host,
}
TASKS = ("TASK [", "RUNNING HANDLER [")


def play_book(book, lab, *options, **variables):
    """Run the playbook *book* of this folder with extra variables; return the finished process."""
    return lab.play(HERE / book, *options, variables=variables)


def applied_book(book, lab, *options, **variables):
    """As play_book, for a play that must succeed."""
    return lab.applied(HERE / book, *options, variables=variables)


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


def bring_up(name, generation="trixie", like=None):
    """Return a new Lab *name* whose practice host is ready for Ansible, and not provisioned yet, or as the one that was saved in *like*. down_all() ends it."""
    lab = Lab(name)
    lab.command("down")
    MADE[name] = lab
    kept = ("--like", like) if like else ()
    done = lab.command("up", "--generation", generation, *kept, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    if not like:
        lab.applied("bootstrap.yml")
    return lab


class Mould:
    """A practice host that site.yml has provisioned, as `lab save` keeps it: the first worker that needs one makes it, for all workers of a run."""

    TOP = pathlib.Path("/run")  # device nodes and extended attributes stay on a tmpfs

    def __init__(self):
        self.path = self.TOP / f"sokuhai-mould-{os.getppid()}"
        self.held = None

    @contextlib.contextmanager
    def locked(self, name, how):
        with open(self.path / name, "w") as file:
            fcntl.flock(file, how)
            yield

    def made(self):
        """Return the directory, for `lab up --like`."""
        for left in self.TOP.glob("sokuhai-mould-*"):
            if not pathlib.Path("/proc", left.name.rpartition("-")[2]).exists():
                shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        self.path.mkdir(exist_ok=True)
        self.held = open(self.path / "users", "w")
        fcntl.flock(self.held, fcntl.LOCK_SH)
        with self.locked("making", fcntl.LOCK_EX):
            if not (self.path / "done").exists():
                lab = bring_up("test-mould")
                lab.applied()
                for words in (("halt", HOST), ("save", HOST, self.path / "host"), ("down",)):
                    done = lab.command(*words)
                    assert done.returncode == 0, done.stderr
                del MADE[lab.name]
                (self.path / "done").touch()
        return self.path / "host"

    def left(self):
        """This worker needs it no more; the last one removes it."""
        if self.held:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(self.path)
            self.held.close()


MOULD = Mould()


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
        many = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1
        lab = bring_up(f"test-{worker}", like=MOULD.made() if many else None)
        if not many:
            lab.applied()
    os.environ["SOKUHAI_LAB"] = lab.name
    return lab


def down_all():
    """Take down what bring_up() brought up."""
    while MADE:
        MADE.popitem()[1].command("down")
    MOULD.left()


def full_only(reason):
    """Mark a test for make test-full alone; *reason* says what it costs. It is skipped before its fixtures prepare anything."""
    return pytest.mark.skipif(not FULL, reason=reason)


def some(rows, chosen, reason):
    """The rows of a parametrized test, of which make test takes those that are chosen(row), and make test-full all."""
    return [row if chosen(row) else pytest.param(row, marks=full_only(reason)) for row in rows]


def sized(short, full, reliability):
    """How much of something make test, make test-full and make reliability take."""
    return reliability if ASKED else full if FULL else short


def until(what, seconds=180):
    """what()'s first true answer, asked for again and again."""
    deadline = time.monotonic() + seconds * SLOW
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {inspect.getsource(what).strip()}"
        time.sleep(0.3)
    return found


FIGURES = pytest.StashKey[list]()
