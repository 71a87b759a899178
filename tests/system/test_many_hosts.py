"""Many practice hosts in one run, as many as memory holds, up to twenty: what site.yml and tools/drift cost for each, what tools/drift says when
all is well, and when one differs and one is away.

They are provisioned for it, by bootstrap.yml and site.yml, in a lab of their own that is taken down afterwards.
"""

import contextlib
import json
import os
import subprocess
import time

import pytest
from practice import HOST, PLAYBOOK, ROOT, Lab, full_only

#: What a provisioned practice host takes, its file system in memory included.
HOST_BYTES = 256 << 20
HOSTS = [HOST, *(f"mx{number}.home.example" for number in range(12, 31))]
HOSTS = HOSTS[: max(4, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // HOST_BYTES)]
DRIFTED, AWAY = HOSTS[1], HOSTS[3]
FORKS = ("-f", str(len(HOSTS)))

pytestmark = full_only(f"{len(HOSTS)} hosts are provisioned for it, which takes minutes: under SOKUHAI_FULL=1")


class Many:
    """Several practice hosts of one lab, by an inventory of their own in *folder*."""

    hosts = HOSTS

    def __init__(self, lab, folder):
        self.lab, self.state, self.report, self.inventory = (
            lab,
            folder / "state",
            folder / "report",
            folder / "inventory",
        )
        self.inventory.mkdir()
        (self.inventory / "group_vars").symlink_to(ROOT / "lab" / "inventory" / "group_vars")
        rows = "".join(
            f"    {name}:\n      ansible_host: 192.0.2.{name[2:].partition('.')[0] or 10}\n" for name in self.hosts
        )
        (self.inventory / "hosts.yml").write_text(
            "all:\n  hosts:\n    localhost:\n      ansible_connection: local\n"
            '      ansible_python_interpreter: "{{ ansible_playbook_python }}"\nmailhosts:\n  hosts:\n' + rows
        )

    def run(self, command, *options):
        """Run *command* on all hosts at once; return the finished process with the seconds it took."""
        started = time.monotonic()
        done = subprocess.run(
            [str(word) for word in (*command, "-i", self.inventory, *FORKS, *options)],
            cwd=ROOT,
            env=self.lab.env,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=3600,
        )
        done.seconds = time.monotonic() - started
        return done

    def play(self, book, *options):
        done = self.run([PLAYBOOK, ROOT / "playbooks" / book], *options)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        return done

    def drift(self, *options):
        """As run(), for tools/drift, with its report."""
        self.report.unlink(missing_ok=True)
        done = self.run([ROOT / "tools" / "drift", "--state", self.state, "--json", self.report], *options)
        assert self.report.exists(), done.stdout + done.stderr
        done.report = json.loads(self.report.read_text())
        return done


@contextlib.contextmanager
def brought_up(name, kind, folder):
    """Within this, the hosts of *kind*, which is Many or made of it, are up and ready for Ansible in a lab *name* of their own."""
    lab = Lab(name)
    lab.command("down")
    try:
        up = lab.command("up", *(word for host in kind.hosts for word in ("--host", host)))
        assert up.returncode == 0, up.stdout + up.stderr
        made = kind(lab, folder)
        made.play("bootstrap.yml")
        yield made
    finally:
        lab.command("down")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    with brought_up("test-many", Many, tmp_path_factory.mktemp("many")) as made:
        yield made


def test_all_are_provisioned_in_one_run_and_the_next_changes_nothing(many, figures):
    bare, again = many.play("site.yml"), many.play("site.yml")
    assert again.stdout.count(" changed=0 ") == len(HOSTS), again.stdout[-6000:]
    for what, done in (("bare hosts", bare), ("nothing to do", again)):
        figures.append(
            "site.yml on %d hosts in one run, %s: %.0f s, %.1f s a host"
            % (len(HOSTS), what, done.seconds, done.seconds / len(HOSTS))
        )


def test_clean_hosts_are_a_line_and_each_has_its_time(many, figures):
    done = many.drift()
    assert done.returncode == 0 and done.report["findings"] == [], done.stdout + done.stderr
    assert {name: host["status"] for name, host in done.report["hosts"].items()} == dict.fromkeys(HOSTS, "clean")
    assert len(done.stdout.splitlines()) <= 3 and f"as declared: {len(HOSTS)} of {len(HOSTS)}" in done.stdout
    assert "spent on each" in done.stdout
    spent = [host["seconds"] for host in done.report["hosts"].values()]
    assert all(0 < seconds <= done.seconds for seconds in spent)
    figures.append(
        "drift of %d hosts in one run: %.0f s, %.1f s a host; %.1f to %.1f s spent on each"
        % (len(HOSTS), done.seconds, done.seconds / len(HOSTS), min(spent), max(spent))
    )


def test_rolling_goes_on_only_where_the_batch_before_is_proved(many):
    """One of four refuses its new named.conf: those before it have theirs, those after it are untouched, and the next run does the rest."""
    first, broken, *after = HOSTS[:4]
    few = ("--limit", ",".join(HOSTS[:4]), "-e", json.dumps({"bind_tcp_clients": 1234, "rolling_serial": [1, 1, 2]}))
    checker = "/usr/local/bin/named-checkconf"

    def have():
        return [
            name
            for name in HOSTS[:4]
            if "1234" in many.lab.sh("cat", "/usr/local/etc/namedb/named.conf", host=name).stdout
        ]

    many.lab.sh(
        "sh",
        "-c",
        f"mv {checker} {checker}.kept && printf '#!/bin/sh\\nexit 1\\n' >{checker} && chmod 755 {checker}",
        host=broken,
    )
    try:
        stopped = many.run([PLAYBOOK, ROOT / "playbooks" / "rolling.yml"], *few)
    finally:
        many.lab.sh("mv", f"{checker}.kept", checker, host=broken)
    assert stopped.returncode != 0 and have() == [first], stopped.stdout[-6000:]
    for name in after:
        assert f"changed: [{name}]" not in stopped.stdout, stopped.stdout[-6000:]
    many.play("rolling.yml", *few)
    assert have() == HOSTS[:4]
    # back to what the others have
    many.play("site.yml", *few[:2], "--tags", "bind")


def test_one_that_differs_and_one_that_is_away_do_not_hide_each_other(many):
    many.lab.sh("chmod", "666", "/usr/local/etc/postfix/main.cf", host=DRIFTED)
    drifted = many.drift("--changes")
    assert drifted.returncode == 2 and [entry["host"] for entry in drifted.report["findings"]] == [DRIFTED], (
        drifted.stdout + drifted.stderr
    )
    assert "mode of /usr/local/etc/postfix/main.cf" in drifted.stdout
    many.lab.command("halt", AWAY)
    both = many.drift("-e", "ansible_ssh_retries=0")
    assert both.returncode == 3, "a host that is away is worse than one that differs"
    status = {name: host["status"] for name, host in both.report["hosts"].items()}
    assert status == {**dict.fromkeys(HOSTS, "clean"), DRIFTED: "drift", AWAY: "unreachable"}
    assert [entry["id"] for entry in both.report["findings"]] == [
        f"{DRIFTED}/postfix/mode of /usr/local/etc/postfix/main.cf"
    ]
    assert f"as declared: {len(HOSTS) - 2} of {len(HOSTS)}" in both.stdout
    assert AWAY in both.stdout and len(both.stdout.splitlines()) < 10
