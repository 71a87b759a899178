"""Tables of docs/reliability.md from tests/results, one file a part: what each of its tests measured, when, of which commit and on which machine."""

import datetime
import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "results"
#: Where tests/system/reliability.py keeps a run.
RUN = ROOT / ".cache" / "reliability" / "results.jsonl"
PLANNED = ROOT / ".cache" / "reliability" / "planned.json"
PAGE = ROOT / "docs" / "reliability.md"
#: The parts in the order of the page.
PARTS = ("mail", "kill", "power", "relay", "fuzz")


def machine():
    """What the figures were measured on, in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} CPUs, {memory} GiB, {platform.system()} {platform.release().partition('-')[0]}"


def commit():
    """The commit that ran, with what it had beside."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"


def take(asked):
    """Take the last run into tests/results. asked: names of parts that were asked for; of those without a result what is there stays."""
    lines = [json.loads(line) for line in RUN.read_text().splitlines()] if RUN.exists() else []
    planned = json.loads(PLANNED.read_text()) if PLANNED.exists() else []
    about = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine()}
    for part in asked:
        # the last word about each test
        tests = {line["test"]: line for line in lines if line["part"] == part}
        if tests:
            RESULTS.mkdir(exist_ok=True)
            found = [{key: tests[name][key] for key in tests[name] if key != "part"} for name in sorted(tests)]
            left = sum(where == part and test not in tests for where, test in planned)
            text = json.dumps({**about, "not run": left, "tests": found}, indent=1, ensure_ascii=False)
            (RESULTS / f"{part}.json").write_text(text + "\n")


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def lines(part):
    """The lines of a part in the page."""
    path = RESULTS / f"{part}.json"
    if not path.exists():
        return ["Not run yet."]
    data = json.loads(path.read_text())
    tests = data["tests"]
    counts = {how: sum(test["outcome"] == how for test in tests) for how in ("passed", "failed", "skipped")}
    counts["not run"] = data["not run"]
    said = ", ".join(f"{number} {how}" for how, number in counts.items() if number)
    rows = [f"{data['date']}, commit {data['commit']}, {data['machine']}: {said}.", ""]
    rows += ["| test | outcome | measured | took |", "| --- | --- | --- | --- |"]
    for test in tests:
        measured = "; ".join(f"{name} {figure}" for name, figure in test["figures"].items())
        why = "; ".join(filter(None, (measured, test.get("why"))))
        rows.append(f"| {cell(test['test'])} | {test['outcome']} | {cell(why)} | {test['seconds']} s |")
    return rows
