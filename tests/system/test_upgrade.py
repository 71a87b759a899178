"""From the former release to this one: its playbooks provision a host, and this site.yml takes it over with the former inventory.

Mail is handed in all the while, and none of it is lost, doubled or sent back."""

import contextlib
import io
import json
import subprocess
import tarfile
import threading

import pytest
from practice import HOST, PLAYBOOK, ROOT, bring_up, changed, full_only, message

pytestmark = full_only("two releases provision a host of their own: under SOKUHAI_FULL=1")

#: The last commit of 0.1.0.
FORMER = "257b637e46607f9f28da6bb3dddda62647bc76fd"


def play(release, lab, book, *options):
    """Run a playbook of the checkout *release* with the former inventory; return the finished process with .summary."""
    former, checkout, folder = release
    summary = folder / "summary.json"
    inventory, playbook = former / "molecule/default/inventory", checkout / "playbooks" / book
    # each release its own modules
    environment = {"SOKUHAI_SUMMARY": str(summary), "ANSIBLE_CALLBACK_PLUGINS": str(checkout / "callback_plugins")}
    done = lab.run(PLAYBOOK, "-i", inventory, playbook, *options, cwd=checkout, timeout=1800, **environment)
    done.summary = json.loads(summary.read_text()) if summary.exists() else None
    return done


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """The former release as its own checkout."""
    archive = subprocess.run(["git", "archive", FORMER], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"this clone has no commit {FORMER} (a shallow one?): {archive.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="tar")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture(scope="module")
def upgraded(lab, former, tmp_path_factory):
    """(lab, result of this site.yml, what was handed in, what came to root's mailbox)."""
    folder = tmp_path_factory.mktemp("upgrade")
    host = bring_up(f"{lab.name}-up")
    done = play((former, former, folder), host, "site.yml")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    with mail_flowing(host) as handed_in:
        result = play((former, ROOT, folder), host, "site.yml")
    yield host, result, handed_in
    host.command("down")


@contextlib.contextmanager
def mail_flowing(lab):
    """Hand one message after the other in by SMTP while the body runs; yields the list of subjects that were accepted."""
    accepted, over = [], threading.Event()

    def send():
        number = 0
        while not over.is_set():
            number += 1
            subject = f"upgrade {number}"
            script = (
                "import smtplib, sys, time\n"
                "for attempt in range(120):\n"
                "    try:\n"
                "        with smtplib.SMTP('127.0.0.1', 25, timeout=60) as s:\n"
                "            s.sendmail('root@home.example', ['root@home.example'], 'Subject: ' + sys.argv[1] + '\\n\\nx\\n')\n"
                "        break\n"
                "    except OSError:\n"
                "        time.sleep(1)\n"  # as any client does while the port is closed
                "else:\n"
                "    sys.exit('nobody took it')\n"
            )
            lab.sh("/usr/local/bin/python3", "-c", script, subject)
            accepted.append(subject)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield accepted
    finally:
        over.set()
        sender.join()


def test_the_former_inventory_is_taken_as_it_is(upgraded):
    _lab, result, _mail = upgraded
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr


def test_mail_flowed_throughout(upgraded):
    lab, _result, handed_in = upgraded
    assert len(handed_in) > 5
    wanted = {f"\nSubject: {subject}\n" for subject in handed_in}
    assert lab.mailed(lambda text: f"\nSubject: {handed_in[-1]}\n" in text, 300)
    box = lab.mailbox()
    assert {line: box.count(line) for line in wanted} == dict.fromkeys(wanted, 1)
    assert "Undelivered Mail" not in box


def test_a_second_run_changes_nothing(upgraded, former, tmp_path):
    done = play((former, ROOT, tmp_path), upgraded[0], "site.yml")
    assert done.returncode == 0 and changed(done) == 0, done.stdout[-4000:]


def test_a_variable_that_is_gone_is_refused_by_its_successors_name(upgraded, former, tmp_path):
    done = play((former, ROOT, tmp_path), upgraded[0], "site.yml", "-e", "preflight_openfiles=65535")
    assert done.returncode != 0 and "preflight_openfiles is gone: use sokuhai_openfiles" in message(done)
    assert done.summary["remote_commands"] == 0 and HOST in done.stdout


def test_nothing_of_the_former_layout_is_left(upgraded, lab):
    """With a new host's inventory, which declares more than the former one, it has what a new host has. The last, since this changes it."""
    host, _result, _mail = upgraded
    host.applied()
    assert sorted(host.fingerprint()) == sorted(lab.fingerprint())
