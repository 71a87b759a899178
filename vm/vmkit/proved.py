"""docs/proved-on-freebsd.md from the results in vm/results: what was proved on which release, what was skipped and why."""

import json
import re

from .paths import REPOSITORY, VM

RESULTS = VM / "results"
PAGE = REPOSITORY / "docs" / "proved-on-freebsd.md"
HEAD = """# Proved on FreeBSD

Made by `vm/vm proved` from `vm/results/`; not written by hand. One chapter a run: the newest of a release, an
image and an accelerator. How to make one: [vm.md](vm.md).
"""


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def duration(seconds):
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def counted(step):
    counts = step["counts"]
    if "tests" in counts:
        passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
        bad = counts["failures"] + counts["errors"]
        return (
            f"{passed} tests passed"
            + (f", {bad} failed" if bad else "")
            + (f", {counts['skipped']} skipped" if counts["skipped"] else "")
        )
    if "changed" in counts:
        return f"{counts['changed']} changed, {counts['remote_commands']} remote commands"
    return ""


def reasons(tests):
    """One line a reason, failures first: with the test's name where it is one, with the files where it is many."""
    by_reason = {}
    for test, why in tests.items():
        by_reason.setdefault(why, []).append(test)
    lines = []
    for why, names in sorted(by_reason.items(), key=lambda pair: (pair[0].startswith("skipped"), pair[0])):
        files = sorted({test.partition("::")[0] for test in names})
        who = f"`{names[0]}`" if len(names) == 1 else f"{len(names)} tests of " + ", ".join(f"`{one}`" for one in files)
        lines.append(f"- {who}: {why}")
    return lines


def chapter(data):
    """One run as Markdown."""
    machine, has = data["machine"], data["has"]
    accel = "KVM" if machine["accelerator"] == "kvm" else "emulated processor"
    brought = [
        f"{label} {has[key]}".strip()
        for key, label in (("python", "Python"), ("named", "BIND"), ("postfix", "Postfix"))
        if has[key]
    ]
    names = {
        "pkg": "a package repository",
        "compiler": "a compiler",
        "sources": "/usr/src",
        "ports": "/usr/ports",
        "zfs": "ZFS",
        "nuageinit": "nuageinit",
    }
    lacks = [label for key, label in names.items() if not has[key]]
    lines = [
        f"## {data['release']}, {data['date']}",
        "",
        f"Image `{machine['image']}`, {accel}, kernel {has['ident']} on {has['root']}; its last boot took {machine['boot_took']} s"
        f"{', no network' if machine['offline'] else ''}. When the run was over it had {', '.join(brought) or 'no programs of ours'}"
        f"; it lacks {', '.join(lacks) or 'nothing that is asked for'}.",
        "",
        "| step | came out | | took |",
        "| --- | --- | --- | --- |",
    ]
    for step in data["steps"]:
        text = "; ".join(part for part in (counted(step), step["detail"]) if part)
        took = "" if step["outcome"] == "skipped" else duration(step["seconds"])
        lines.append(f"| {cell(step['step'])} | {step['outcome']} | {cell(text)} | {took} |")
    done = {step["step"] for step in data["steps"]}
    lines += [
        f"| {cell(name)} | not run | this run ended before, or was asked for other steps | |"
        for name in data["planned"]
        if name not in done
    ]
    for step in data["steps"]:
        if step["tests"]:
            lines += ["", f"Of *{step['step']}*, not passed:", ""]
            lines += reasons(step["tests"])
    return "\n".join(lines) + "\n"


def page(results):
    """The whole page. results: list of dicts as scenario.record writes them."""
    order = sorted(
        results, key=lambda data: (data["release"], data["machine"]["image"], data["machine"]["accelerator"])
    )
    body = "\n".join(chapter(data) for data in order)
    return HEAD + "\n" + (body or "Nothing yet.\n")


def committed():
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def name(data):
    """A result's file name, the same for a later run of the same release, image and accelerator."""
    machine = data["machine"]
    image = re.sub(r"[^A-Za-z0-9-]", "-", machine["image"].split(".qcow2")[0].split(".raw")[0])
    kind = "official" if "BASIC-CLOUDINIT" in machine["image"] else image
    return f"{data['release']}-{kind}-{machine['accelerator']}.json"


def add(path):
    """Take a run's results in and write the page again. Returns the file's new place."""
    data = json.loads(path.read_text())
    data.pop("run", None)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / name(data)
    target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(committed()))
    return target
