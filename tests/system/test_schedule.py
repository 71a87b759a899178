"""The lines that docs/drift.md and docs/refresh.md give to cron, run by Debian's cron in a place of its own: who is mailed what, and when nobody is.

cron sees this machine's files, but no crontab except the test's, and /usr/sbin/sendmail is a program that keeps what it is given. Its own minute is
what one waits for."""

import datetime
import email
import email.policy
import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest
from practice import HOST, ROOT, applied_book, full_only, until

pytestmark = full_only("cron's minutes are waited for: under SOKUHAI_FULL=1")

YOU, OPS = "you@example.org", "ops@example.org"
TURN = 600  # seconds that one line may take on a busy machine
SENDMAIL = """#!/bin/sh
{ echo "$@"; cat; } > %s/.new.$$ && mv %s/.new.$$ %s/$(date +%%s%%N).mail
"""
#: /run stays empty for cron but for the lab's own; nothing of it is seen outside
PLACE = r"""set -e
mkdir -p "$1/memory" && mount -t tmpfs none "$1/memory" && mkdir "$1/memory/up" "$1/memory/work" "$1/memory/lab"
mount -t overlay none -o "lowerdir=/usr/sbin,upperdir=$1/memory/up,workdir=$1/memory/work" /usr/sbin
cp "$1/sendmail" /usr/sbin/sendmail
mount --bind /run/sokuhai-lab "$1/memory/lab"
mount -t tmpfs none /run && mkdir /run/sokuhai-lab && mount --move "$1/memory/lab" /run/sokuhai-lab
mount -t tmpfs none /var/spool && mkdir -p /var/spool/cron && ln -s "$1/crontabs" /var/spool/cron/crontabs
for path in /etc/crontab; do test ! -e $path || mount --bind /dev/null $path; done
test ! -d /etc/cron.d || mount -t tmpfs none /etc/cron.d
exec "$2" -f
"""


def cron_program():
    """Debian's cron: this machine's, or unpacked from its package, which is not installed for it since it would run then."""
    there = shutil.which("cron", path="/usr/sbin:/sbin")
    if there:
        return there
    cache = pathlib.Path(os.environ.get("SOKUHAI_CACHE") or os.path.expanduser("~/.cache/sokuhai")) / "cron"
    program = cache / "usr/sbin/cron"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(
            "apt-get -q download cron || { apt-get -q update && apt-get -q download cron; }",
            shell=True,
            cwd=cache,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
        for package in cache.glob("cron_*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, cache], check=False)
            package.unlink()
        if not program.exists():
            pytest.skip("no cron here, and its package cannot be had: " + " ".join(fetched.stderr.split())[-200:])
    return str(program)


def documented(name, old, new):
    """The lines that the page *name* gives to cron, with its places replaced, without their five fields of time."""
    lines = [
        line.strip()
        for line in (ROOT / "docs" / name).read_text().splitlines()
        if re.match(r" {4}[0-9*/]+ [0-9*/]+ \* \* \* +cd ", line)
    ]
    commands = [" ".join(line.split()[5:]) for line in lines]
    for was, will in zip(old, new):
        assert commands and all(was in command for command in commands), (was, commands)
        commands = [command.replace(was, str(will)) for command in commands]
    return commands


class Cron:
    def __init__(self, lab, folder):
        self.lab, self.folder, self.box, self.said = lab, folder, folder / "box", 0
        for name in ("box", "crontabs", "state"):
            (folder / name).mkdir()
        (folder / "sendmail").write_text(SENDMAIL % ((self.box,) * 3))
        (folder / "sendmail").chmod(0o755)
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", PLACE, "sh", folder, cron_program()],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(folder / "stderr", "w"),
            start_new_session=True,
        )
        time.sleep(1)
        assert self.process.poll() is None, (folder / "stderr").read_text()

    def children(self):
        return subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], text=True, capture_output=True, check=False
        ).stdout.split()

    def install(self, tab):
        """As crontab(1): root's alone, and moved there, since cron looks whether the folder has changed."""
        new = self.folder / "new"
        new.write_text(tab)
        new.chmod(0o600)
        new.rename(self.folder / "crontabs" / "root")

    def turn(self, *lines):
        """Have cron run *lines* (settings of a crontab, and commands) at the next minute, once; the mails that came of it as [(arguments, mail)]."""
        at = datetime.datetime.now() + datetime.timedelta(seconds=70)
        tab = "".join(
            line + "\n" if re.match(r"[A-Z_]+=", line) else f"{at.minute} {at.hour} * * *  {line}\n" for line in lines
        )
        self.install(tab)
        until(self.children, 130)
        until(lambda: not self.children(), TURN)
        self.install("")
        files = sorted(self.box.glob("*.mail"))
        fresh, self.said = files[self.said :], len(files)
        pairs = [path.read_bytes().partition(b"\n")[::2] for path in fresh]
        return [(words.decode(), email.message_from_bytes(text, policy=email.policy.default)) for words, text in pairs]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


@pytest.fixture(scope="module")
def cron(lab, tmp_path_factory):
    there = Cron(lab, tmp_path_factory.mktemp("cron"))
    yield there
    there.end()


@pytest.fixture(scope="module")
def checkout(cron):
    """A checkout of one's own, as the pages advise: what a run writes beside the playbooks lies there and not in this tree."""
    folder = cron.folder / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in (".git", "inventory"):
            (folder / path.name).symlink_to(path)
    (folder / "inventory" / "mine").mkdir(parents=True)
    source = ROOT / "lab" / "inventory"
    for name in ("hosts.yml", "group_vars"):
        (folder / "inventory" / "mine" / name).symlink_to(source / name)
    return folder


def settings(cron):
    return [f"MAILTO={OPS}", f"SOKUHAI_LAB={cron.lab.name}", f"XDG_STATE_HOME={cron.folder / 'state'}"]


def test_drift_is_mailed_in_the_first_turn_and_nothing_in_the_second(cron, checkout, figures):
    (line,) = documented("drift.md", ["/home/ops/sokuhai"], [checkout])
    assert " --changes --mail" in line and "-i inventory/mine" in line
    one = checkout / "inventory" / "mine" / "host_vars"
    one.mkdir()
    (one / f"{HOST}.yml").write_text(f"monitor_alert_to: {YOU}\n")
    kept = cron.folder / "state" / "sokuhai" / "drift"
    # the monitor mails to the same address, and one that it has not been told is drift as well
    applied_book("monitor_only.yml", cron.lab, monitor_alert_to=YOU)
    cron.lab.sh("chmod", "g-s", "/usr/local/sbin/postdrop")
    try:
        ((words, mail),) = cron.turn(*settings(cron), line)
        assert words.endswith(f"-- {YOU}") and mail["To"] == YOU and mail["Subject"] == f"drift: {HOST}: 1 new", (
            mail.as_string()
        )
        assert "mode of /usr/local/sbin/postdrop" in mail.get_content() and mail["Auto-Submitted"] == "auto-generated"
        first = (kept / "last.json").stat().st_mtime_ns
        assert cron.turn(*settings(cron), line) == [], "nothing is other than it was, and cron mails nothing either"
        assert (kept / "last.json").stat().st_mtime_ns > first, "there was a second run"
        # without the line in the inventory it is cron that mails what is printed
        (one / f"{HOST}.yml").unlink()
    finally:
        cron.lab.sh("chmod", "g+s", "/usr/local/sbin/postdrop")
        applied_book("monitor_only.yml", cron.lab)
    ((words, mail),) = cron.turn(*settings(cron), line)
    assert mail["To"] == OPS and "gone" in mail.get_content() and "postdrop" in mail.get_content(), mail.as_string()
    with open(kept / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    figures.append("drift by cron: three turns, one mail of drift, none, one of cron")


def test_refresh_mails_only_when_it_failed(cron, checkout):
    line, lists = documented("refresh.md", ["/home/you/sokuhai-refresh"], [checkout])
    before = cron.lab.fingerprint()
    for each, log in ((line, "refresh.log"), (lists, "lists.log")):
        assert cron.turn(*settings(cron), "ANSIBLE_INVENTORY=inventory/mine", each) == []
        assert "failed=0" in (checkout / log).read_text() and cron.lab.fingerprint() == before
    wrong = checkout / "inventory" / "wrong"
    wrong.mkdir()
    (wrong / "hosts.yml").write_text(
        f"mailhosts:\n  hosts:\n    {HOST}:\n      ansible_host: 192.0.2.10\n      access_dnsbl_deadline: soon\n"
    )
    (wrong / "group_vars").symlink_to(ROOT / "lab" / "inventory" / "group_vars")
    ((words, mail),) = cron.turn(*settings(cron), "ANSIBLE_INVENTORY=inventory/wrong", line)
    assert mail["To"] == OPS and "access_dnsbl_deadline" in mail.get_content(), mail.as_string()
