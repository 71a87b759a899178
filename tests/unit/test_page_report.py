# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How chain, samples and traps come into the report: what the callback records, what tools/drift makes of it, and that none of it is taken for drift."""

import json
import pathlib
import subprocess
import sys
import types

import pytest
import sample_report
from drift_report import command, samples
from role_modules import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "mx.home.example"

PROBED = {
    "event": "result",
    "host": HOST,
    "role": "drift",
    "task": "T",
    "action": "drift_probe",
    "path": "",
    "status": "ok",
    "changed": False,
    "findings": [],
}
END = {"event": "end", "hosts": [HOST], "seconds": {HOST: 1.5}}


def shown(what, value):
    return {"event": "shown", "host": HOST, "what": what, "value": value}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command as if ansible-playbook had left these records; return (status, report, page, the command that was run)."""

    def runs(records, *options):
        commands = []

        def fake(words, env):
            commands.append(words)
            pathlib.Path(env["SOKUHAI_DRIFT"]).write_text("".join(json.dumps(one) + "\n" for one in records))
            return 0, ""

        monkeypatch.setattr(command.run, "output_of", fake)
        files = [tmp_path / "report.json", tmp_path / "report.html"]
        status = command.main(["--state", str(tmp_path / "state"), *[option.format(*files) for option in options]])
        return status, *[path.read_text() if path.exists() else None for path in files], commands[0]

    return runs


def test_the_page_and_the_report_hold_what_was_shown(run):
    records = [
        shown("chain", sample_report.chain()),
        shown("samples", sample_report.samples(1, points=9000)),
        shown("traps", sample_report.TRAPS),
        shown("mailings", sample_report.MAILINGS),
        PROBED,
        END,
    ]
    status, report, page, _ = run(records, "--json", "{0}", "--html", "{1}")
    assert status == 0 and "Content-Security-Policy" in page and HOST in page
    sample_report.validate(json.loads(report))
    host = json.loads(report)["hosts"][HOST]
    assert host["status"] == "clean" and host["chain"]["links"] and host["traps"]["rules"]
    assert [one["recipients"] for one in host["mailings"]["mailings"]] == [20000, 500, 2000]
    assert 0 < len(host["samples"]["columns"]["time"]) <= samples.POINTS and host["samples"]["rows_read"] == 10080


def test_what_could_not_be_read_is_said_and_is_no_drift(run):
    errors = [shown("samples", {"error": "no such folder"}), shown("traps", {"error": "not readable"})]
    status, report, page, _ = run([*errors, PROBED, END], "--json", "{0}", "--html", "{1}")
    assert status == 0 and json.loads(report)["findings"] == []
    assert "no such folder" in page and "not readable" in page


def test_both_are_written_when_the_report_goes_to_standard_output(run, capsys):
    _, _, page, _ = run([PROBED, END], "--json", "-", "--html", "{1}")
    assert page and json.loads(capsys.readouterr().out)["exit"] == 0


@pytest.mark.parametrize(
    "options,asked",
    [
        ([], None),
        (["--changes"], None),
        (["--json", "{0}"], 7),
        (["--html", "{1}"], 7),
        (["--html", "{1}", "--days", "14"], 14),
    ],
)
def test_samples_are_collected_only_when_they_are_wanted(run, options, asked):
    command = run([PROBED, END], *options)[3]
    given = [json.loads(word) for word in command if word.startswith("{")]
    assert given == ([] if asked is None else [{"page_seconds": asked * 86400, "page_points": asked * 1440}])


@pytest.mark.parametrize(
    "options,words",
    [(["--html", "/nowhere/at/all.html"], "--html"), (["--html", "x", "--days", "99"], "invalid choice")],
)
def test_what_cannot_be_written_or_read_is_refused_before_the_run(options, words, capsys):
    with pytest.raises(SystemExit) as end:
        command.arguments(options)
    assert end.value.code == 1 and words in capsys.readouterr().err


def result(action, shows=None, **data):
    """What the callback gets of a task: its result, and its variables."""
    given = {"page_shows": shows} if shows else {}
    task = types.SimpleNamespace(
        action=action, resolved_action=action, _role=None, get_name=lambda: "T", get_vars=lambda: given
    )
    return types.SimpleNamespace(_result=data, _task=task, _host=types.SimpleNamespace(get_name=lambda: HOST))


CHAIN = {"links": [{"name": "kern.maxfiles >="}], "problems": [], "floors": {"a": 1}}
SAMPLES = {"columns": {"time": [1]}, "from": 1, "to": 1, "rows_read": 1, "broken": 0, "over": {}}


@pytest.mark.parametrize(
    "status, given, recorded",
    [
        (
            "ok",
            result("ansible.builtin.set_fact", ansible_facts={"preflight_chain": CHAIN}),
            {"event": "shown", "what": "chain", "value": {"links": CHAIN["links"], "problems": []}},
        ),
        (
            "ok",
            result("monitor_read", "samples", **SAMPLES),
            {"event": "shown", "what": "samples", "value": SAMPLES},
        ),
        (
            "failed",
            result("access_report", "traps", msg="not readable", failed=True),
            {"event": "shown", "what": "traps", "value": {"error": "not readable"}},
        ),
        (
            "unreachable",
            result("monitor_read", "samples", msg="no route", unreachable=True),
            {"event": "result", "status": "unreachable"},
        ),
    ],
    ids=["chain", "samples", "traps that cannot be read", "unreachable"],
)
def test_the_callback_records_what_is_shown_by_itself(tmp_path, status, given, recorded):
    callback = load(ROOT / "callback_plugins" / "sokuhai_drift.py", "sokuhai_drift_for_page").CallbackModule()
    callback.target = str(tmp_path / "records")
    callback.record(given, status)
    assert json.loads((tmp_path / "records").read_text()).items() >= recorded.items()


def test_a_kept_report_can_be_drawn_again(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(sample_report.well()))
    subprocess.run(
        [sys.executable, ROOT / "tools" / "page", tmp_path / "report.json", tmp_path / "page.html"], check=True
    )
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
