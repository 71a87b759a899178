"""The scenario's order and what it leaves out by name; the probe; the page made from the results."""

import json
import pathlib
import re
import subprocess
import types

import pytest
from vm_modules import VM, vmkit

probe, scenario, proved = (vmkit(name) for name in ("probe", "scenario", "proved"))
ANSWER = {
    **{key: "x" for key in probe.TEXTS},
    **{key: "no" for key in probe.FLAGS},
    "disk_mib": "6000",
    "kernel_mib": "100",
    "memory_mib": "4044",
}


def answer(**more):
    return probe.read("".join(f"{key}={value}\n" for key, value in {**ANSWER, **more}.items()))


def context(has=None, rebuild=False):
    return types.SimpleNamespace(has=has or answer(), rebuild=rebuild, about={"host": "mx.home.example"})


# --- probe


def test_the_probe_is_one_line_of_sh():
    line = probe.script(True)
    assert "\n" not in line
    assert subprocess.run(["sh", "-n", "-c", line], check=False).returncode == 0


def test_the_probe_answers_everywhere(tmp_path):
    """Run here, where most is missing: every key is answered, so that a bare host is no error."""
    done = subprocess.run(
        ["sh", "-c", probe.script(True)], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(said) == set(probe.TEXTS) | set(probe.FLAGS)
    assert said["pkg_reaches"] == "no", "offline means that no repository is asked"


@pytest.mark.parametrize(
    "said, key, value",
    [
        ({"named": "9.18.49"}, "named", "9.18.49"),
        ({}, "disk_mib", 6000),
        ({"disk_mib": "-12"}, "disk_mib", -12),
        ({"pkg_reaches": "yes"}, "pkg", True),
        # a repository of one's own is enough
        ({"pkg_own": "yes"}, "pkg", True),
        # a pkg that reaches nothing installs nothing
        ({"pkg_there": "yes", "pkg_reaches": "no"}, "pkg", False),
    ],
)
def test_what_the_probe_makes_of_it(said, key, value):
    assert answer(**said)[key] == value


@pytest.mark.parametrize("output, missing", [("", "disk_mib"), ("".join(f"{key}=\n" for key in ANSWER), "release")])
def test_a_silent_machine_is_an_error(output, missing):
    with pytest.raises(ValueError, match=missing):
        probe.read(output)


# --- what is left out


def test_the_order_is_the_one_that_proves_something():
    names = [step.name for step in scenario.STEPS]
    wanted = [
        "bootstrap",
        "site",
        "idempotence",
        "verify",
        "drift",
        "contract",
        "reboot",
        "verify after the reboot",
        "trial boot of a copied kernel",
        "rollback",
    ]
    assert [name for name in names if name in wanted] == wanted


PROGRAMS = {"python": "3.11", "named": "9.18", "postfix": "3.10"}
SOURCES = {"compiler": "yes", "sources": "yes", "ports": "yes"}
REBUILD, TRIAL = "rebuild of the ports and the kernel", "trial boot of a copied kernel"


@pytest.mark.parametrize(
    "step, has, rebuild, why",
    [
        # without pkg, what is there is configured; without the programs, too, nothing can be provisioned
        ("bootstrap", PROGRAMS, False, "repository"),
        ("site", PROGRAMS, False, ""),
        ("site", {"postfix": ""}, False, "postfix"),
        # a disk that is nearly full has room where nothing is to be installed
        ("site", {**PROGRAMS, "disk_mib": "240"}, False, "vm up --size"),
        ("site", {**PROGRAMS, "disk_mib": "300"}, False, ""),
        ("site", {**PROGRAMS, "disk_mib": "300", "pkg_reaches": "yes"}, False, "1500 are needed"),
        (TRIAL, {"disk_mib": "300"}, False, "a copy of the kernel takes 100"),
        # nothing is built unless asked for
        (REBUILD, SOURCES, False, "REBUILD=1"),
        (REBUILD, SOURCES, True, ""),
        (REBUILD, {**SOURCES, "compiler": "no"}, True, "no compiler"),
        # a kernel is tried once: the one that was built, or a copy where none could be
        (TRIAL, {}, False, ""),
        (TRIAL, SOURCES, True, "had its trial"),
        (TRIAL, {}, True, ""),
    ],
)
def test_what_a_machine_lacks_decides_what_is_tried(step, has, rebuild, why):
    needs = next(one.needs for one in scenario.STEPS if one.name == step)
    found = needs(context(answer(**has), rebuild))
    assert why in found and bool(why) == bool(found)


def test_a_failed_step_takes_with_it_what_means_nothing_without_it():
    outcomes = {"site": "failed"}
    mine = [
        scenario.Step(
            step.name, lambda _, name=step.name: (outcomes.get(name, "passed"), "", {}), step.needs, step.after
        )
        for step in scenario.STEPS
    ]
    found = scenario.run(mine, context(answer(**PROGRAMS)))
    by = {one["step"]: one for one in found}
    assert len(found) == len(scenario.STEPS), "a step vanished"
    assert by["verify"]["outcome"] == "skipped" and by["verify"]["detail"] == "site failed"
    assert by["bootstrap"]["outcome"] == "skipped" and by["site"]["outcome"] == "failed", (
        "no pkg must not stop site.yml"
    )
    assert by["contract"]["outcome"] == by["reboot"]["outcome"] == "passed"
    assert all(one["detail"] for one in found if one["outcome"] == "skipped"), "skipped without a reason"


def fake(plays, runs):
    """A context whose plays give these (code, counts) in order and whose machine runs that kernel."""
    return types.SimpleNamespace(
        **vars(context()),
        play=lambda *_, **__: plays.pop(0),
        command=lambda *_, **__: 0,
        there=lambda script: (0, runs),
        vm="vm",
    )


STOCK, COPY = "/boot/kernel/kernel", f"/boot/{scenario.COPY}/kernel"


@pytest.mark.parametrize(
    "step, plays, runs, outcome",
    [
        (scenario.idempotence, [(0, {"changed": 0})], "", "passed"),
        (scenario.idempotence, [(0, {"changed": 1})], "", "failed"),
        (scenario.idempotence, [(0, {})], "", "failed"),  # nothing was counted
        (scenario.idempotence, [(2, {"changed": 0})], "", "failed"),
        (scenario.trial, [(0, {})], COPY, "passed"),
        (scenario.trial, [(0, {})], STOCK, "failed"),
        # proved by the running kernel and by a run without changes
        (scenario.rollback, [(0, {}), (0, {}), (0, {"changed": 0})], STOCK, "passed"),
        (scenario.rollback, [(0, {}), (0, {}), (0, {"changed": 2})], STOCK, "failed"),
        (scenario.rollback, [(0, {})], COPY, "failed"),
    ],
)
def test_what_a_step_is_proved_by(step, plays, runs, outcome):
    assert step(fake(list(plays), runs))[0] == outcome


def test_pytests_report(tmp_path):
    path = tmp_path / "r.xml"
    path.write_text(
        '<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1"><testcase classname="a.test_pf" name="t1"/>'
        '<testcase classname="a.test_pf" name="t2"><skipped message="pf is not loaded&#10;x"/></testcase>'
        '<testcase classname="a.test_pf" name="t3"><failure message="no"/></testcase></testsuite></testsuites>'
    )
    counts, why = scenario.report(path)
    assert counts == {"tests": 3, "failures": 1, "errors": 0, "skipped": 1}
    assert why == {"test_pf::t2": "skipped: pf is not loaded", "test_pf::t3": "failure: no"}
    assert scenario.report(tmp_path / "none.xml") == ({}, {})


def test_results_of_one_machine_come_together(tmp_path):
    def one(step, outcome):
        return {"step": step, "outcome": outcome, "detail": "", "seconds": 1, "counts": {}, "tests": {}}

    def outcomes():
        return [(step["step"], step["outcome"]) for step in json.loads(path.read_text())["steps"]]

    path, here = tmp_path / "r.json", context()
    here.about = {"pid": 1, "start": "7"}
    scenario.record(here, [one("site", "passed"), one("reboot", "failed")], path, "2026-01-02")
    scenario.record(here, [one("contract", "passed"), one("reboot", "passed")], path, "2026-01-02")
    assert outcomes() == [("site", "passed"), ("contract", "passed"), ("reboot", "passed")]
    here.about = {"pid": 2, "start": "9"}
    scenario.record(here, [one("contract", "failed")], path, "2026-01-02")
    assert outcomes() == [("contract", "failed")], "another machine's results were kept"


# --- the page


def test_the_page_says_what_the_results_say(tmp_path):
    one = context(answer(release="15.0-RELEASE", python="3.11", named="", postfix="3.10.13"))
    one.about = {
        "image": "own.qcow2",
        "accelerator": "tcg",
        "offline": True,
        "boot_took": 90,
        "clock_off": 0,
        "key": "/secret/key",
    }
    results = [
        {
            "step": "site",
            "outcome": "passed",
            "detail": "",
            "seconds": 300,
            "counts": {"changed": 9, "remote_commands": 20, "tasks": 5},
            "tests": {},
        },
        {
            "step": "contract",
            "outcome": "failed",
            "detail": "exit 1",
            "seconds": 60,
            "counts": {"tests": 10, "failures": 1, "errors": 0, "skipped": 2},
            "tests": {"test_pf::t": "failure: a | b"},
        },
        {"step": "drift", "outcome": "skipped", "detail": "there is none", "seconds": 0, "counts": {}, "tests": {}},
    ]
    data = scenario.record(one, results, tmp_path / "r.json", "2026-01-02")
    text = proved.page([json.loads((tmp_path / "r.json").read_text())])
    assert "/secret" not in json.dumps(data)
    for line in (
        "## 15.0-RELEASE, 2026-01-02",
        "| site | passed | 9 changed, 20 remote commands | 5 min |",
        "| contract | failed | 7 tests passed, 1 failed, 2 skipped; exit 1 | 60 s |",
        "| drift | skipped | there is none |  |",
        "- `test_pf::t`: failure: a | b",
        # what a broken-off run did not reach is not left out
        "| rollback | not run |",
        "lacks a package repository, a compiler",
    ):
        assert line in text
    assert "| site | not run |" not in text


def test_reasons_are_given_once():
    lines = proved.reasons(
        {
            "test_a::one": "skipped: no pf",
            "test_b::two": "skipped: no pf",
            "test_a::x": "failure: bad",
            "test_a::y": "skipped: alone",
        }
    )
    assert lines == [
        "- `test_a::x`: failure: bad",
        "- `test_a::y`: skipped: alone",
        "- 2 tests of `test_a`, `test_b`: skipped: no pf",
    ]


def test_the_committed_page_is_made_from_the_committed_results():
    assert proved.PAGE.read_text() == proved.page(proved.committed()), "run: vm/vm proved FILE"


def test_results_hold_no_path_of_a_workplace():
    for path in proved.RESULTS.glob("*.json"):
        for word in ("/home/", "/opt/", "/root/.", "/tmp/", "id_ed25519"):
            assert word not in path.read_text(), f"{path.name}: {word}"


def test_the_inventory_reads_only_what_is_written():
    text = "".join(path.read_text() for path in pathlib.Path(VM / "inventory").rglob("*.yml"))
    asked = set(re.findall(r"vm_has\.(\w+)", text))
    assert asked and asked <= set(answer())
