"""docs/elsewhere.md: ansible-pull by cron on the host itself, as the page has it. The practice host has no network but the lab's, so what a host would
install (git, and the packages of requirements-run.txt) is this machine's, and the repository is a file."""

import importlib.metadata
import io
import re
import shutil
import subprocess
import tarfile

import pytest
from practice import HOST, ROOT, full_only

pytestmark = full_only("some ten runs of plays by the practice host itself: under SOKUHAI_FULL=1")

CHECKOUT, REPOSITORY, GIT = "/usr/local/sokuhai", "/root/mail.git", "/root/git"
SITE = CHECKOUT + "/.venv/lib/python3/site-packages"
#: git finds its parts beside itself, its libraries where they were put, and no templates
WRAPPER = f"""#!/bin/sh
exec env LD_LIBRARY_PATH={GIT} GIT_EXEC_PATH={GIT} GIT_TEMPLATE_DIR= {GIT}/git "$@"
"""
PROGRAM = """#!{checkout}/.venv/bin/python
import sys
from ansible.cli.{module} import main
sys.exit(main())
"""
VENV = """cd "$1" && mkdir -p .venv/bin && echo home = /usr/local/bin > .venv/pyvenv.cfg && ln -s /usr/local/bin/python3 .venv/bin/python
lib=.venv/lib/$(/usr/local/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
mkdir -p "$lib/site-packages" && ln -s "${lib##*/}" .venv/lib/python3"""
AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def git(*words, cwd):
    subprocess.run(["git", *AUTHOR, *map(str, words)], cwd=cwd, check=True, capture_output=True)


def pure():
    """(path on this machine, path in site-packages) of each file of a controller's packages but what is compiled."""
    lines = (ROOT / "requirements-run.txt").read_text().splitlines()
    for name in (re.match(r"[\w.-]+", line)[0] for line in lines if re.match(r"\w", line)):
        for file in importlib.metadata.distribution(name).files:
            if file.parts[0] != ".." and file.suffix not in (".so", ".pyc"):
                yield file.locate(), str(file)


def git_files():
    """As pure(), of git and its libraries; only what serves a repository in a file."""
    program = shutil.which("git")
    for name in ("git", "git-upload-pack", "git-receive-pack"):
        yield program, name
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (\S+)", listed, re.MULTILINE):
        if not name.startswith("libc."):
            yield path, name


class Puller:
    """A practice host with a checkout of its own, and the operator's repository, from which it pulls."""

    def __init__(self, lab, folder):
        self.lab = lab
        page = (ROOT / "docs/elsewhere.md").read_text()
        self.variables = re.findall(r"^    ([A-Z_]+=.*)$", page, re.MULTILINE)
        line = re.search(r"^    \S+ \* \* \* \*\s+(cd .*ansible-pull .*)$", page, re.MULTILINE)[1]
        self.line = line.replace("https://git.example.org/mail.git", REPOSITORY)
        assert REPOSITORY in self.line and CHECKOUT in self.line and len(self.variables) == 2
        self.put(git_files(), GIT)
        self.write("/usr/local/bin/git", WRAPPER)
        self.repository(folder)
        # make venv without a network; the host's own venv does not know the system that it plays
        lab.sh("sh", "-c", VENV, "sh", CHECKOUT)
        self.put(pure(), SITE)
        self.put([(ROOT / ".venv/collections", "collections")], CHECKOUT + "/.venv")
        for name, module in (("ansible", "adhoc"), ("ansible-pull", "pull"), ("ansible-playbook", "playbook")):
            self.write(f"{CHECKOUT}/.venv/bin/{name}", PROGRAM.format(checkout=CHECKOUT, module=module))
        # what the lab's inventory looks up
        self.put([(lab.state / name, name) for name in ("status.json", "dns.json", "id_ed25519.pub")], str(lab.state))

    def put(self, files, folder):
        """Copy (path on this machine, name) of *files* into *folder* of the host."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
            for path, name in files:
                archive.add(path, name)
        command = [ROOT / "lab/lab", "sh", HOST, "--", "sh", "-c", 'mkdir -p "$1" && tar xf - -C "$1"', "sh", folder]
        subprocess.run(command, env=self.lab.env, input=packed.getvalue(), check=True)

    def write(self, path, text):
        self.lab.sh("sh", "-c", 'cat > "$1" && chmod 0755 "$1"', "sh", path, stdin=text)

    def repository(self, folder):
        """The operator's repository: the project and an inventory, whose one host is this one; and the host's checkout of it."""
        mine = folder / "mail"
        shutil.copytree(
            ROOT, mine, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "tests", "docs")
        )
        (mine / "inventory/mine/host_vars").mkdir(parents=True)
        (mine / "inventory/mine/hosts.yml").write_text(f"mailhosts:\n  hosts:\n    {HOST}:\n")
        (mine / "inventory/mine/group_vars").symlink_to("../../lab/inventory/group_vars")
        git("init", "-q", "-b", "main", cwd=mine)
        git("add", "-A", cwd=mine)
        git("commit", "-qm", "as it is", cwd=mine)
        git("clone", "-q", "--bare", mine, folder / "mail.git", cwd=folder)
        self.put([(folder / "mail.git", "mail.git")], "/root")
        self.lab.sh("git", "clone", "-q", REPOSITORY, CHECKOUT)
        self.lab.sh("git", "clone", "-q", REPOSITORY, "/root/desk")

    def declare(self, text):
        """Commit *text* as what the inventory declares for this host, and push it."""
        path = f"/root/desk/inventory/mine/host_vars/{HOST}.yml"
        self.lab.sh("sh", "-c", 'mkdir -p "${1%/*}" && cat > "$1"', "sh", path, stdin=text)
        for words in (["add", "-A"], [*AUTHOR, "commit", "-qm", "declare"], ["push", "-q"]):
            self.lab.sh("git", "-C", "/root/desk", *words)

    def cron(self, line=None):
        """What cron does with a line of the page: (exit status, what it would mail, what is in the log)."""
        given = ["HOME=/root", "LOGNAME=root", "SHELL=/bin/sh", f"SOKUHAI_LAB={self.lab.name}", *self.variables]
        done = self.lab.command("sh", HOST, "--", "env", "-i", *given, "/bin/sh", "-c", line or self.line, timeout=900)
        return (
            done.returncode,
            done.stdout + done.stderr,
            self.lab.sh("cat", "/var/log/sokuhai-pull.log", check=False).stdout,
        )

    def remove(self):
        ours = [
            CHECKOUT,
            REPOSITORY,
            GIT,
            "/root/desk",
            "/usr/local/bin/git",
            "/var/log/sokuhai-pull.log",
            str(self.lab.state),
        ]
        self.lab.sh("rm", "-rf", *ours)


@pytest.fixture
def puller(lab, tmp_path):
    if lab.outside:
        pytest.skip("it would get this machine's git, which is Linux's")
    one = Puller(lab, tmp_path)
    yield one
    one.remove()


def changed(log):
    return int(re.search(rf"^{re.escape(HOST)} .* changed=(\d+) .* failed=0 ", log, re.MULTILINE)[1])


def test_a_host_that_pulls_is_what_its_inventory_declares(lab, puller):
    with lab.unchanged():
        status, mailed, log = puller.cron()
        assert (status, mailed, changed(log)) == (0, "", 0), (
            "what was provisioned by ssh is the same by a pull" + log[-3000:]
        )
    # what is refused before anything changes, and cron mails why
    puller.declare("sokuhai_process_limit: -5\n")
    with lab.unchanged():
        status, mailed, log = puller.cron()
        assert status == 0 and "sokuhai_process_limit" in mailed and "changed=0 " in mailed, mailed
    puller.declare("postfix_main_cf: [{name: message_size_limit, value: 12345678}]\n")
    status, mailed, log = puller.cron()
    assert (status, mailed) == (0, "") and changed(log) > 0, log[-3000:]
    assert lab.sh("sh", "-c", "PATH=$PATH:/usr/local/sbin postconf -h message_size_limit").stdout == "12345678\n"
    status, mailed, log = puller.cron()
    assert (status, mailed, changed(log)) == (0, "", 0), log[-3000:]
    # the other commands work there, without a key by which the host could come to itself
    proved = puller.line.replace("playbooks/site.yml", "playbooks/verify.yml")
    status, mailed, log = puller.cron(proved)
    assert (status, mailed) == (0, "") and re.search(r"\d+ passed", log) and HOST in log, mailed
    options = "-i inventory/mine -e ansible_connection=local -e ansible_become=false"
    status, mailed, _log = puller.cron(f"cd {CHECKOUT} && .venv/bin/python tools/drift {options}")
    assert status == 0 and "as declared: 1 of 1 host(s)" in mailed, mailed
    # back to what the lab's other tests expect
    puller.declare("{}\n")
    status, mailed, log = puller.cron()
    assert (status, mailed) == (0, "") and changed(log) > 0, log[-3000:]
