# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The check run: playbooks/drift.yml, and what the callback recorded of it."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Seconds that ansible-playbook may take to end what it is doing when the run is broken off
PATIENCE = 10


def ansible_playbook():
    beside = [ROOT / ".venv" / "bin" / "ansible-playbook", pathlib.Path(sys.executable).parent / "ansible-playbook"]
    return str(next((path for path in beside if path.exists()), "ansible-playbook"))


def command(options):
    """The command line (list of str); options as command.py reads them."""
    words = [ansible_playbook(), "--check", "--diff", str(ROOT / "playbooks" / "drift.yml")]
    for inventory in options.inventory or []:
        words += ["-i", inventory]
    if options.limit:
        words += ["--limit", options.limit]
    if options.json or options.html:
        # samples of a minute: the role's own pace while nothing is delivered
        words += ["-e", json.dumps({"page_seconds": options.days * 86400, "page_points": options.days * 1440})]
    return words + options.ansible


def output_of(words, env):
    """(exit status, standard output and error) of a command, which is ended when this process is."""
    with subprocess.Popen(
        words,
        env=env,
        # a password is asked for on the terminal, never on standard input
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            output = process.communicate()[0]
        except BaseException:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, output


def play(options, folder):
    """Run drift.yml in check mode, with *folder* for the records; return (records, exit status, what it printed)."""
    target = pathlib.Path(folder) / "records"
    target.touch(mode=0o600)
    words = command(options)
    # what the caller's environment has beside outranks ansible.cfg: AWX's own callbacks would report this run as theirs, and ours would not be found
    callbacks = [str(ROOT / "callback_plugins"), *filter(None, [os.environ.get("ANSIBLE_CALLBACK_PLUGINS")])]
    env = dict(
        os.environ,
        ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
        ANSIBLE_CALLBACK_PLUGINS=os.pathsep.join(callbacks),
        ANSIBLE_STDOUT_CALLBACK="sokuhai",
        ANSIBLE_CALLBACKS_ENABLED="sokuhai_drift",
        SOKUHAI_DRIFT=str(target),
        ANSIBLE_NOCOLOR="1",
    )
    try:
        status, output = output_of(words, env)
    except OSError as problem:
        sys.exit("sokuhai: %s does not run: %s. make venv" % (words[0], problem))
    return [json.loads(line) for line in target.read_text().splitlines()], status, output
