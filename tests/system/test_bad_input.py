"""Bad input: a clear message naming the variable, exit non-zero, nothing changed on the host."""

import json
import pathlib
import re

import pytest
import yaml
from practice import FULL, PLAYBOOK, ROOT, message, some

EVERY = 1 if FULL else 3
CASES = yaml.safe_load((pathlib.Path(__file__).parent / "bad_input.yml").read_text())
DECLARED = [case for case in CASES if not case.get("host")]
TRIED = DECLARED[::EVERY]
HOSTS = {case["name"]: f"bad{number}.home.example" for number, case in enumerate(TRIED)}


def said(case, text):
    for word in case["expect"]:
        assert str(word) in text, f"{word!r} is not in the message:\n{text[:3000]}"


@pytest.fixture(scope="module")
def refused(lab, tmp_path_factory):
    """({host: the messages about it}, summary, output) of one run of site.yml, a host for each bad value: a run each would take long."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "group_vars").symlink_to(ROOT / "lab" / "inventory" / "group_vars")
    hosts = {HOSTS[case["name"]]: case["variables"] for case in TRIED}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"mailhosts": {"hosts": hosts}}))
    summary = folder / "summary"
    command = [PLAYBOOK, "-i", folder / "hosts.yml", "-f", 10, ROOT / "playbooks" / "site.yml"]
    result = lab.run(*command, SOKUHAI_SUMMARY=str(summary))
    blocks = re.split(r"^fatal: \[([\w.]+)\]", result.stdout, flags=re.MULTILINE)
    texts = dict.fromkeys(hosts, "")
    for host, text in zip(blocks[1::2], blocks[2::2]):
        texts[host] += " ".join(re.split(r"^(?:TASK|PLAY) ", text, flags=re.MULTILINE)[0].split())
    return texts, json.loads(summary.read_text()), result.stdout


@pytest.mark.parametrize(
    "case", some(DECLARED, TRIED.__contains__, "one row of three suffices for make test"), ids=lambda c: c["name"]
)
def test_refused_before_any_command_on_the_host(refused, case):
    texts, summary, output = refused
    assert texts[HOSTS[case["name"]]], f"accepted:\n{output[-3000:]}"
    said(case, texts[HOSTS[case["name"]]])
    assert summary["remote_commands"] == 0, summary["remote_commands_by_task"]


def test_one_bad_value_on_the_command_line_ends_the_run(lab):
    result = lab.play("site.yml", variables={"bind_recursive_clients": "many"})
    assert result.returncode != 0, f"accepted:\n{result.stdout[-3000:]}"
    assert "bind_recursive_clients" in message(result)
    assert result.summary["remote_commands"] == 0, result.summary["remote_commands_by_task"]


def test_there_are_enough_cases():
    assert len(CASES) >= 80
