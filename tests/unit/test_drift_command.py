# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""tools/drift as a command: exit status, options, files, what becomes of a run that is broken off; and the callback that records for it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from drift_records import END, found, probed, record
from drift_report import command, run
from role_modules import PYTHON, ROOT

FAKE = """#!%s
import json, os, sys
with open(os.environ["SOKUHAI_DRIFT"], "a") as out:
    for line in json.loads(os.environ["FAKE_RECORDS"]):
        out.write(json.dumps(line) + "\\n")
sys.exit(int(os.environ["FAKE_STATUS"]))
"""


@pytest.mark.parametrize(
    "records, status, code",
    [
        ([probed(), END], 0, 0),
        ([record(changed=True, findings=[found("service postfix")]), probed(), END], 0, 2),
        ([record(status="unreachable", msg="no route"), END], 4, 3),
        ([probed()], 137, 1),
        ([probed(), END], 250, 1),
    ],
)
def test_the_command_ends_with_the_documented_status_and_writes_what_the_schema_says(
    tmp_path, monkeypatch, capsys, records, status, code
):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed beside molecule")
    fake = tmp_path / "ansible-playbook"
    fake.write_text(FAKE % PYTHON)
    fake.chmod(0o755)
    monkeypatch.setattr(run, "ansible_playbook", lambda: str(fake))
    monkeypatch.setenv("FAKE_RECORDS", json.dumps(records))
    monkeypatch.setenv("FAKE_STATUS", str(status))
    assert command.main(["--state", str(tmp_path / "state"), "--json", str(tmp_path / "report")]) == code
    report = json.loads((tmp_path / "report").read_text())
    schema = json.loads((ROOT / "docs" / "drift.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(report)
    assert report["exit"] == code and capsys.readouterr().out
    assert (tmp_path / "state" / "last.json").exists() == (not report["errors"]), "a broken run is no last run"


def test_the_callers_callbacks_do_not_keep_ours_away(tmp_path, monkeypatch):
    """A job of AWX has callbacks in its environment, which outranks ansible.cfg; they would also report this run as part of the job."""
    seen = {}
    monkeypatch.setenv("ANSIBLE_CALLBACK_PLUGINS", "/theirs")
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "awx_display")
    monkeypatch.setattr(run, "output_of", lambda words, env: (seen.update(env), (0, ""))[1])
    run.play(command.arguments([]), tmp_path)
    folders = seen["ANSIBLE_CALLBACK_PLUGINS"].split(os.pathsep)
    assert folders == [str(ROOT / "callback_plugins"), "/theirs"] and seen["ANSIBLE_STDOUT_CALLBACK"] == "sokuhai"


JOB = """import sys
print(sys.argv[1:])
sys.exit(%d)
"""


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, "an error"), (2, "2: drift"), (3, "3: a host is unreachable")])
def test_a_job_of_awx_ends_as_tools_drift_did(tmp_path, code, said):
    for folder in ("playbooks", "tools"):
        (tmp_path / folder).mkdir()
    book = tmp_path / "playbooks" / "drift_job.yml"
    book.write_text((ROOT / "playbooks" / "drift_job.yml").read_text())
    (tmp_path / "tools" / "drift").write_text(JOB % code)
    (tmp_path / "hosts").write_text("[mailhosts]\nmx.home.example\n")
    done = subprocess.run(
        [
            *(pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", tmp_path / "hosts", book),
            *("-e", '{"job_options": ["--limit", "mx.home.example"]}'),
        ],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_SHOW_CUSTOM_STATS": "1"},
        capture_output=True,
        text=True,
    )
    words = [f"--inventory={tmp_path}/hosts", "--limit", "mx.home.example"]
    assert str(words) in " ".join(done.stdout.split()).replace("''", "'"), done.stdout
    assert done.returncode == (2 if code else 0) and said in done.stdout and f"job_drift_exit: {code}" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--skip-tags", "bind"],
        ["--tags=bind"],
        ["-t", "bind"],
        ["--start-at-task", "x"],
        ["--list-tasks"],
        ["--syntax-check"],
    ],
)
def test_an_option_that_would_leave_something_out_is_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        command.arguments(words)
    assert end.value.code == 1 and "half a run" in capsys.readouterr().err


def test_what_is_ansibles_is_handed_on_in_its_order(tmp_path):
    options = command.arguments(
        ["-i", "here", "-e", "a=1", "--ask-vault-pass", "-u", "ops", "--limit", "x", "--vault-password-file", "f"]
    )
    assert options.ansible == ["-e", "a=1", "--ask-vault-pass", "-u", "ops", "--vault-password-file", "f"] and (
        options.inventory,
        options.limit,
    ) == (["here"], "x")


def test_the_callback_refuses_a_run_that_would_change_something(tmp_path):
    book = tmp_path / "book.yml"
    book.write_text("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n")
    run = subprocess.run(
        [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", book],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACKS_ENABLED": "sokuhai_drift",
            "SOKUHAI_DRIFT": str(tmp_path / "records"),
        },
    )
    assert run.returncode != 0 and "SOKUHAI_DRIFT" in run.stdout + run.stderr, run.stdout + run.stderr


@pytest.mark.parametrize("given", ["C", "POSIX", "xx_XX.ISO8859-1", "C.UTF-8"])
def test_the_check_run_has_a_locale_of_utf8_whatever_the_callers_is(tmp_path, given):
    """Ansible accepts no other; cron's is C, and ssh brings the name of a locale that is not installed here."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "drift", "-i", "localhost,", "--state", tmp_path / "state"],
        env=dict(os.environ, LC_ALL=given),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "no hosts matched" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("program", ["drift", "page", "run", "docs"])
def test_a_command_that_runs_ansible_or_writes_our_texts_starts_again_in_a_locale_of_utf8(tmp_path, program):
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nwith open(os.environ['STARTS'], 'a') as starts:\n    print(os.environ['LC_ALL'], file=starts)\n"
    )
    starts = tmp_path / "starts"
    # --help is no word of two of them, which is as good: they end with their usage
    subprocess.run(
        [sys.executable, ROOT / "tools" / program, "--help"],
        env=dict(os.environ, LC_ALL="C", PYTHONPATH=str(tmp_path), STARTS=str(starts)),
        capture_output=True,
    )
    first, second = starts.read_text().split()
    assert first == "C" and second.endswith("UTF-8")


SLOW = """#!%s
import os, sys, time
open(os.environ["STARTED"], "w").write("%%d" %% os.getpid())
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_broken_off_ends_ansible_and_leaves_nothing_behind(tmp_path, number):
    """The command itself, with an ansible-playbook that does not end; what it recorded is not for others to read."""
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    bin_, folder, started = tmp_path / ".venv" / "bin", tmp_path / "tmp", tmp_path / "started"
    bin_.mkdir(parents=True)
    folder.mkdir()
    (bin_ / "ansible-playbook").write_text(SLOW % PYTHON)
    (bin_ / "ansible-playbook").chmod(0o755)
    one = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, %r); import drift_report.run as run, pathlib; "
            "run.ROOT = pathlib.Path(%r); import runpy; sys.argv[0] = 'drift'; runpy.run_path(%r, run_name='__main__')"
            % (str(ROOT / "tools"), str(tmp_path), str(ROOT / "tools" / "drift")),
            "--state",
            tmp_path / "state",
        ],
        env=dict(os.environ, TMPDIR=str(folder), STARTED=str(started)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a shell that runs the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text()):
        assert one.poll() is None and time.monotonic() < deadline, one.communicate()
        time.sleep(0.05)
    assert list(folder.iterdir())
    one.send_signal(number)
    one.communicate(timeout=60)
    assert one.returncode != 0 and not list(folder.iterdir()) and not (tmp_path / "state" / "last.json").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_builder_is_looked_at_whether_it_is_a_mail_host_or_not(tmp_path):
    """With an ssh that reaches nobody, after the declared values were judged."""
    away = tmp_path / "ssh"
    away.write_text("#!/bin/sh\nexit 255\n")
    away.chmod(0o755)
    (tmp_path / "hosts.yml").write_text(
        "builders: {hosts: {pkg.home.example: {}, mine.home.example: {builder_port: 80}}}\n"
    )
    words = ("-i", tmp_path / "hosts.yml", "--state", tmp_path / "state", "--json", tmp_path / "report")
    subprocess.run(
        [sys.executable, ROOT / "tools" / "drift", *words, "-e", f"ansible_ssh_executable={away}"],
        env={**os.environ, "ANSIBLE_SSH_RETRIES": "0"},
        capture_output=True,
    )
    hosts = json.loads((tmp_path / "report").read_text())["hosts"]
    assert {name: host["status"] for name, host in hosts.items()} == {
        "pkg.home.example": "unreachable",
        "mine.home.example": "error",
    }
    assert "builder_port = 80" in hosts["mine.home.example"]["messages"][0]
