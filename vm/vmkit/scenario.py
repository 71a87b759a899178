"""The scenario: what is tried on the machine, in which order, what each step needs, and what came of it."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree

from labkit.files import read_json

from .paths import REPOSITORY, VM

BIN = REPOSITORY / ".venv" / "bin"
BOOKS = REPOSITORY / "playbooks"
INVENTORY = VM / "inventory"
COPY = "kernel.sokuhai-copy"
# packages, logs and a queue; what is there already needs only the latter two
INSTALL_MIB, CONFIGURE_MIB = 1500, 250
# Tests of a practice host that a machine in its place answers as well, and those that an emulated one answers within an hour: each play of the
# others takes minutes there.
CLIENT_TESTS = (
    "strangers",
    "delivery",
    "dialogues",
    "auth",
    "spf",
    "greylist",
    "relay",
    "access",
    "full_disk",
    "power",
)
QUICK_TESTS = ("strangers", "delivery", "dialogues")
# a practice host answers that many times faster than an emulated processor
SLOW = 8


class Step:
    """name: as in the page. run(context) -> (outcome, detail, counts); needs(context) -> why it cannot be tried, or "".

    after: names of the steps without whose success it means nothing.
    """

    def __init__(self, name, run, needs=lambda context: "", after=()):
        self.name, self.run, self.needs, self.after = name, run, needs, after


class Context:
    """What the steps share: the machine, what it has, where logs and reports go."""

    def __init__(self, about, has, state, folder, rebuild=False, vm=VM / "vm"):
        self.about, self.has, self.state, self.folder, self.rebuild, self.vm = about, has, state, folder, rebuild, vm

    def environment(self, **more):
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
        keep.update(
            PATH=f"{BIN}:{os.environ['PATH']}",
            PYTHONDONTWRITEBYTECODE="1",
            PYTHONUNBUFFERED="1",
            SOKUHAI_VM_STATE=str(self.state),
            ANSIBLE_TIMEOUT="180",
        )
        return {**keep, **more}

    def command(self, name, arguments, **more):
        """Run it with its output shown and kept in NAME.log. Returns the exit code."""
        with open(self.folder / f"{name}.log", "w") as log:
            child = subprocess.Popen(
                [str(one) for one in arguments],
                cwd=REPOSITORY,
                env=self.environment(**more),
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for line in child.stdout:
                log.write(line)
                sys.stdout.write(line)
                sys.stdout.flush()
            return child.wait()

    def play(self, name, book, *options, **more):
        """One playbook. Returns (exit code, what callback sokuhai_summary counted on the machine)."""
        summary = self.folder / f"{name}.json"
        code = self.command(
            name,
            [BIN / "ansible-playbook", "-i", INVENTORY, BOOKS / book, *options],
            SOKUHAI_SUMMARY=str(summary),
            **more,
        )
        data = read_json(summary)
        counted = {}
        if self.about["host"] in data.get("hosts", {}):
            counted = {key: data[key] for key in ("remote_commands", "tasks")}
            counted["changed"] = data["hosts"][self.about["host"]]["changed"]
        return code, counted

    def there(self, script):
        """A line of sh(1) on the machine: (exit code, output)."""
        done = subprocess.run(
            [str(self.vm), "sh", "--", script],
            env=self.environment(),
            text=True,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout.strip()


def verdict(code, counts=None, detail=""):
    return ("passed" if code == 0 else "failed"), detail or ("" if code == 0 else f"exit {code}"), counts or {}


def report(path):
    """Of pytest's junit report: (counts, {skipped or failed test: why})."""
    try:
        suite = xml.etree.ElementTree.parse(path).getroot().find("testsuite")
    except (OSError, xml.etree.ElementTree.ParseError):
        return {}, {}
    counts = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    why = {}
    for case in suite.iter("testcase"):
        for kind in ("skipped", "failure", "error"):
            found = case.find(kind)
            if found is not None:
                first = (found.get("message") or "no reason given").splitlines()[0][:200]
                why[f"{case.get('classname').rsplit('.', 1)[-1]}::{case.get('name')}"] = f"{kind}: {first}"
    return counts, why


# --- the steps


def bootstrap(context):
    return verdict(*context.play("bootstrap", "bootstrap.yml"))


def needs_pkg(context):
    return "" if context.has["pkg"] else "the machine has no package repository within reach to fetch from"


def needs_programs(context):
    room = INSTALL_MIB if context.has["pkg"] else CONFIGURE_MIB
    if context.has["disk_mib"] < room:
        return f"{context.has['disk_mib']} MiB are free, {room} are needed: vm/vm up --size 20G grows the disk"
    missing = [name for name in ("python", "named", "postfix") if not context.has[name]]
    if context.has["pkg"] or not missing:
        return ""
    return f"the machine has neither a package repository within reach nor {', '.join(missing)}"


def site(context):
    return verdict(*context.play("site", "site.yml"))


def idempotence(context):
    code, counted = context.play("idempotence", "site.yml")
    changed = counted.get("changed", -1)
    return verdict(code or int(changed != 0), counted, f"{changed} changed" if code == 0 and changed else "")


def proof(name):
    def run(context):
        path = context.folder / f"{name}.xml"
        path.unlink(missing_ok=True)
        code, _ = context.play(name, "verify.yml", "-e", json.dumps({"verify_options": [f"--junitxml={path}"]}))
        counts, why = report(path)
        return (*verdict(code, counts), why)

    return run


def drift(context):
    code = context.command(
        "drift", [BIN / "python", REPOSITORY / "tools" / "drift", "-i", INVENTORY, "--state", context.folder / "drift"]
    )
    return verdict(code)


def pytest(context, name, *arguments, **more):
    """A run of pytest: (outcome, detail, counts, {test that did not pass: why})."""
    path = context.folder / f"{name}.xml"
    path.unlink(missing_ok=True)
    options = ["-p", "no:cacheprovider", "--tb=short", f"--junitxml={path}"]
    code = context.command(name, [BIN / "python", "-m", "pytest", *options, *arguments], **more)
    counts, why = report(path)
    return (*verdict(code, counts), why)


def contract(context):
    about = context.about
    extra = f"-o UserKnownHostsFile={context.state}/known_hosts -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={context.state}/c-%C"
    given = {
        "hostspec": f"ssh://{about['user']}@127.0.0.1:{about['port']}",
        "ssh_extra_args": extra,
        "ssh_identity_file": about["key"],
    }
    return pytest(context, "contract", "-q", "lab/contract", SOKUHAI_SSH=json.dumps(given))


def reboot(context):
    return verdict(context.command("reboot", [context.vm, "reboot"]))


def no_internet(context):
    if context.about.get("lab"):
        return ""
    return f"user networking hides the clients' addresses, and there is no simulated internet: {context.about.get('alone') or 'nobody asked for one'}"


def join(context):
    """The machine becomes the mail host of the simulated internet: its own named asks the root there, its clients have addresses there."""
    code = context.command("join", [context.vm, "join"])
    return verdict(code) if code else verdict(*context.play("site-joined", "site.yml"))


def chosen(emulated):
    """(names of the tests with real clients to run, why the others are left out)"""
    asked = os.environ.get("FREEBSD_TESTS", "").replace(",", " ").split()
    if asked:
        return [name for name in CLIENT_TESTS if name in asked], "FREEBSD_TESTS names others"
    if emulated and os.environ.get("SOKUHAI_FULL") != "1":
        return QUICK_TESTS, "each of its plays takes minutes on an emulated processor; SOKUHAI_FULL=1 runs them"
    return CLIENT_TESTS, ""


def clients(context):
    emulated = context.about["accelerator"] == "tcg"
    names, left_out = chosen(emulated)
    if not names:
        return "failed", f"FREEBSD_TESTS: none of {os.environ['FREEBSD_TESTS']} is one of {' '.join(CLIENT_TESTS)}", {}
    *came_out, why = pytest(
        context,
        "clients",
        "-v",
        *(f"tests/system/test_{name}.py" for name in names),
        SOKUHAI_LAB=context.about["lab"],
        SOKUHAI_INVENTORY=str(INVENTORY),
        SOKUHAI_SLOW=str(SLOW if emulated else 1),
        PYTHONPATH=str(REPOSITORY / "lab"),
    )
    why.update({f"test_{name}": f"skipped: {left_out}" for name in CLIENT_TESTS if name not in names})
    return (*came_out, why)


def no_rebuild(context):
    if not context.rebuild:
        return "REBUILD=1 asks for it: it takes hours"
    missing = [name for name in ("compiler", "sources", "ports") if not context.has[name]]
    return f"the machine has no {', '.join(missing)}" if missing else ""


def rebuild(context):
    return verdict(*context.play("rebuild", "rebuild.yml", "-e", "kernel_reboot=true"))


def no_trial(context):
    if context.rebuild and not no_rebuild(context):
        return "the kernel that was built has had its trial"
    if context.has["disk_mib"] < context.has["kernel_mib"] + CONFIGURE_MIB:
        return f"{context.has['disk_mib']} MiB are free, a copy of the kernel takes {context.has['kernel_mib']}"
    return ""


def trial(context):
    """A copy of the machine's own kernel is tried for one boot and kept: all of role kernel but the compiler."""
    code, output = context.there(f"rm -rf /boot/{COPY} && mkdir /boot/{COPY} && cp -p /boot/kernel/* /boot/{COPY}/")
    if code:
        return "failed", f"the kernel cannot be copied: {output}", {}
    if context.has["root"] == "zfs":
        code, output = context.there(f"bectl list -H | grep -q '^before-{COPY}	' || bectl create -r before-{COPY}")
        if code:
            return "failed", f"no boot environment to return to: {output}", {}
    # nothing is compiled, so no header need be raised, nor be there
    values = {
        "kernel_build": False,
        "kernel_name": COPY,
        "kernel_fd_setsize": 0,
        "kernel_reboot": True,
        "fd_setsize_restore_after_build": True,
    }
    code, counted = context.play("trial", "rebuild.yml", "--tags", "kernel", "-e", json.dumps(values))
    _, runs = context.there("sysctl -n kern.bootfile")
    wanted = f"/boot/{COPY}/kernel"
    return verdict(code or int(runs != wanted), counted, f"runs {runs}" if runs != wanted else "")


def rollback(context):
    code, counted = context.play("rollback", "rollback.yml")
    if code == 0:
        code = context.command("rollback-reboot", [context.vm, "reboot"])
    _, runs = context.there("sysctl -n kern.bootfile")
    if code == 0 and runs != "/boot/kernel/kernel":
        return "failed", f"runs {runs}", counted
    if code == 0:
        # removes the kernel that could not be removed while it ran; from then on nothing is left to do
        code, _ = context.play("rollback-again", "rollback.yml")
    if code == 0:
        code, again = context.play("rollback-third", "rollback.yml")
        if code == 0 and again.get("changed") != 0:
            return "failed", f"a further run changed {again.get('changed')}", counted
    return verdict(code, counted)


STEPS = [
    Step("bootstrap", bootstrap, needs_pkg),
    Step("site", site, needs_programs, ("bootstrap",)),
    Step("idempotence", idempotence, after=("site",)),
    Step("verify", proof("verify"), after=("site",)),
    Step("drift", drift, after=("site",)),
    Step("contract", contract),
    Step("site in the simulated internet", join, no_internet, ("site",)),
    Step("mail and DNS of real clients", clients, after=("site in the simulated internet",)),
    Step("reboot", reboot),
    Step("verify after the reboot", proof("verify-again"), after=("site", "reboot")),
    Step("rebuild of the ports and the kernel", rebuild, no_rebuild, ("site",)),
    Step("trial boot of a copied kernel", trial, no_trial, ("site",)),
    Step("rollback", rollback, after=("site",)),
]


def without(step, outcomes):
    """Why a step means nothing after what came of those before it, or "". Without bootstrap a machine may still be provisioned."""
    for name in step.after:
        outcome = outcomes.get(name)
        if outcome == "failed":
            return f"{name} failed"
        if outcome == "skipped" and name != "bootstrap":
            return f"{name} could not be tried"
    return ""


def run(steps, context, only=(), save=lambda results: None):
    """All steps in order, each followed by save(). Returns a list of {step, outcome, detail, seconds, counts, tests}; a step that failed
    or could not be tried takes those with it that mean nothing without it, by name."""
    # a step takes minutes, and a pipe or a file would show only then what is buffered
    say = functools.partial(print, flush=True)
    results, outcomes = [], {}
    for step in steps:
        if only and step.name not in only:
            continue
        began = time.monotonic()
        outcome, detail, counts, tests = "skipped", step.needs(context) or without(step, outcomes), {}, {}
        if not detail:
            say(f"== {step.name}")
            outcome, detail, counts, *more = step.run(context)
            tests = more[0] if more else {}
        outcomes[step.name] = outcome
        seconds = round(time.monotonic() - began)
        about = {"step": step.name, "outcome": outcome, "detail": detail, "seconds": seconds}
        results.append({**about, "counts": counts, "tests": tests})
        save(results)
        say(f"== {step.name}: {outcome}" + (f" ({detail})" if detail else ""))
    return results


def merge(earlier, results):
    """Results of several `vm test` on one machine, in the scenario's order; a step that was run again counts as it came out last."""
    found = {one["step"]: one for one in [*earlier, *results]}
    return [found[step.name] for step in STEPS if step.name in found]


def record(context, results, path, when):
    """The results as JSON, of which the page is made, without a path of this machine. Earlier ones of the same machine stay."""
    run_id = f"{context.about.get('pid')} {context.about.get('start')}"
    former = read_json(path)
    if former.get("run") == run_id:
        results = merge(former["steps"], results)
    about = {key: context.about.get(key) for key in ("image", "accelerator", "offline", "boot_took", "clock_off")}
    data = {
        "date": when,
        "release": context.has["release"],
        "machine": about,
        "has": {key: value for key, value in context.has.items() if key not in ("kernel", "disk_mib", "kernel_mib")},
        "planned": [step.name for step in STEPS],
        "run": run_id,
        "steps": results,
    }
    pathlib.Path(path).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    return data
