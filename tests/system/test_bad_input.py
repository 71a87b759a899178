"""Bad input: a clear message naming the variable, exit non-zero, nothing changed on the host."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml
from practice import PLAYBOOK, ROOT, message

EVERY = 1 if os.environ.get("SOKUHAI_FULL") else 3
CASES = yaml.safe_load((pathlib.Path(__file__).parent / "bad_input.yml").read_text())
DECLARED = [c for c in CASES if not c.get("host")]
TRIED = DECLARED[::EVERY]
HOSTS = {c["name"]: f"bad{number}.home.example" for number, c in enumerate(TRIED)}


def said(case, text):
    for word in case["expect"]:
        assert str(word) in text, f"{word!r} is not in the message:\n{text[:3000]}"


@pytest.fixture(scope="module")
def refused(lab, tmp_path_factory):
    """{host: what one run of site.yml said of it}, a host for each bad value: an inventory with only one of them would cost a run each."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "group_vars").symlink_to(ROOT / "lab" / "inventory" / "group_vars")
    hosts = {HOSTS[c["name"]]: c["variables"] for c in TRIED}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"mailhosts": {"hosts": hosts}}))
    summary = folder / "summary"
    result = subprocess.run(
        [str(PLAYBOOK), "-i", str(folder / "hosts.yml"), "-f", "10", str(ROOT / "playbooks" / "site.yml")],
        cwd=ROOT,
        text=True,
        env=dict(os.environ, **lab.env, SOKUHAI_SUMMARY=str(summary)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=900,
    )
    blocks = re.split(r"^fatal: \[([\w.]+)\]", result.stdout, flags=re.MULTILINE)
    texts = {}
    for host, text in zip(blocks[1::2], blocks[2::2]):
        texts[host] = texts.get(host, "") + " ".join(re.split(r"^(?:TASK|PLAY) ", text, flags=re.MULTILINE)[0].split())
    return texts, json.loads(summary.read_text()), result.stdout


@pytest.mark.parametrize("case", DECLARED, ids=lambda c: c["name"])
def test_refused_before_any_command_on_the_host(request, case):
    if case not in TRIED:
        pytest.skip("one row of three here, all in make test-full")
    refused = request.getfixturevalue("refused")
    texts, summary, output = refused
    assert HOSTS[case["name"]] in texts, f"accepted:\n{output[-3000:]}"
    said(case, texts[HOSTS[case["name"]]])
    assert summary["remote_commands"] == 0, summary["remote_commands_by_task"]


def test_one_bad_value_on_the_command_line_ends_the_run(lab):
    result = lab.play("site.yml", variables={"bind_recursive_clients": "many"})
    assert result.returncode != 0, f"accepted:\n{result.stdout[-3000:]}"
    assert "bind_recursive_clients" in message(result)
    assert result.summary["remote_commands"] == 0, result.summary["remote_commands_by_task"]


def test_there_are_enough_cases():
    assert len(CASES) >= 80
