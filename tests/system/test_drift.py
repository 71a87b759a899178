"""tools/drift on a provisioned host: nothing to say of a clean one, every tampering found by its name, nothing changed by looking."""

import collections
import fnmatch
import json
import os
import pathlib
import shlex
import time
import uuid

import pytest
import yaml
from practice import FULL, HOST, ROOT, full_only, some

EVERY = yaml.safe_load((pathlib.Path(__file__).parent / "drift_tamperings.yml").read_text())
# those that need more to be declared than the practice host has are test_drift_more.py's
TAMPERINGS = [entry for entry in EVERY if "needs" not in entry]
BATCHES = sorted({entry["batch"] for entry in TAMPERINGS})
KEPT = "/var/tmp/drift-kept"
# every file that a run could touch, with its times: the other tests' fingerprint leaves keys and databases out
LOOK = r"""
import os
for top in ('/etc', '/boot', '/usr/local', '/var/db', '/var/cron', '/var/spool/postfix/pid'):
    for folder, dirs, files in os.walk(top):
        if '__pycache__' in folder:
            continue
        for name in files:
            info = os.lstat(os.path.join(folder, name))
            print(os.path.join(folder, name), oct(info.st_mode), info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
"""
# as the process' own user: without CAP_SYS_RESOURCE even root may not touch another user's limits; 0 puts back what it had
LOWER = """
import os, resource, subprocess, sys
pid = int(subprocess.check_output(["pgrep", "-xo", sys.argv[1]]))
uid, gid = map(int, subprocess.check_output(["ps", "-o", "uid=", "-o", "gid=", "-p", str(pid)]).split())
os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
resource.prlimit(pid, resource.RLIMIT_NOFILE, (int(sys.argv[2]) or hard, hard))
"""
# read at times by the daemons themselves, not by a run
ALIVE = (
    "/var/db/entropy",
    "/var/db/postfix/",
    # locks of Postfix's daemons, which end after max_idle and start again when they are asked
    "/var/spool/postfix/pid/unix.",
    "/var/spool/postfix/pid/inet.",
    "/var/db/postgrey",
    "/var/db/blocklistd.db",
    "/var/db/sokuhai_monitor/",
    "/var/db/sokuhai_ahead/",
    "/var/db/sokuhai_spf/",
    "/etc/resolv.conf.bak",
)


class Drift:
    def __init__(self, lab, folder, *always):
        self.lab, self.folder, self.state, self.last, self.always = lab, folder, folder / "state", [], always

    def run(self, *options, first_in_path=None):
        """Run the command; return the finished process with .report. Programs in the folder *first_in_path* go before the controller's."""
        path = os.pathsep.join(filter(None, [first_in_path and str(first_in_path), self.lab.env["PATH"]]))
        target = self.folder / "report.json"
        target.unlink(missing_ok=True)
        always = ("-i", ROOT / "lab" / "inventory", "--state", self.state, "--json", target, *self.always)
        done = self.lab.run(ROOT / "tools" / "drift", *always, *options, cwd=self.folder, PATH=path)
        done.report = json.loads(target.read_text()) if target.exists() else None
        return done


def on_fresh_daemons(lab, folder):
    """The command, after named and Postfix were restarted: other tests exchange programs, and a daemon that is older than its program is drift."""
    lab.sh("sh", "-c", "{ service named onerestart; service postfix onerestart; } > /dev/null 2>&1 < /dev/null")
    return Drift(lab, folder)


@pytest.fixture(scope="module")
def drift(lab, tmp_path_factory):
    """One for all tests of this file: what a run finds is new, and what the run before it found is gone."""
    return on_fresh_daemons(lab, tmp_path_factory.mktemp("drift"))


def look(lab):
    lines = lab.sh("/usr/local/bin/python3", "-", stdin=LOOK).stdout.splitlines()
    return {line for line in lines if not line.startswith(ALIVE)}, lab.processes()


def things(report):
    """How often each "role: name" is found; a finding's id is host/role/name."""
    return collections.Counter(entry["id"].split("/", 1)[1].replace("/", ": ", 1) for entry in report["findings"])


def judge(report, expected):
    """What is missing and what is too much, as two lists."""
    found = list(things(report).elements())
    missing = []
    for pattern in expected:
        hit = next((thing for thing in found if fnmatch.fnmatchcase(thing, pattern)), None)
        if hit is None:
            missing.append(pattern)
        else:
            found.remove(hit)
    return missing, found


class Tampered:
    """Tampers with the host, all in one call, and undoes it in another, from the last to the first; with the world around it before and after."""

    def __init__(self, lab, entries):
        self.lab, self.todo, self.undo = lab, ["set -e; mkdir -p %s" % KEPT], []
        self.zones = [entry["sick"] for entry in entries if entry.get("sick")]
        self.records = [entry["record"].split(None, 1) for entry in entries if entry.get("record")]
        self.boot = any(entry.get("reboot") for entry in entries)
        for number, entry in enumerate(entries):
            tamper, steps = entry.get("tamper"), []
            if entry.get("keep"):
                kept = "%s/%d" % (KEPT, number)
                self.todo.append(
                    'for f in %s; do echo "$f" >> %s; cp -p "$f" "%s$(echo "$f" | tr / _)"; done'
                    % (" ".join(entry["keep"]), kept, kept)
                )
                steps.append('while read -r f; do cp -p "%s$(echo "$f" | tr / _)" "$f"; done < %s' % (kept, kept))
            if entry.get("lower"):
                tamper = "/usr/local/bin/python3 -c '%s' %s 2000" % (LOWER, entry["lower"])
                steps.append("/usr/local/bin/python3 -c '%s' %s 0" % (LOWER, entry["lower"]))
            if entry.get("restore"):
                steps.append(entry["restore"])
            self.todo.append(
                "(\n%s\n) || { echo 'this did not tamper: %s'; exit 1; }" % (tamper, entry["name"].replace("'", ""))
            )
            self.undo = steps + self.undo

    def __enter__(self):
        try:
            self.around("answer=servfail")
            for zone, record in self.records:
                self.internet("record", zone, record)
            self.lab.sh("sh", "-s", stdin="\n".join(self.todo))
            self.reboot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def around(self, how):
        for zone in self.zones:
            self.internet("set", zone, how)

    def internet(self, *words):
        done = self.lab.internet("ctl", *words)
        assert done.returncode == 0, done.stderr

    def reboot(self):
        if self.boot:
            done = self.lab.command("reboot", HOST)
            assert done.returncode == 0, done.stdout + done.stderr

    def __exit__(self, *_):
        self.around("answer=normal")
        if self.records:
            self.internet("reset")
        # a daemon that is started keeps what it inherits, and would hold this command's output open
        self.lab.sh(
            "sh",
            "-s",
            stdin="\n".join(
                "{\n%s\n} > /dev/null 2>&1 < /dev/null" % step for step in [*self.undo, "rm -rf %s" % KEPT]
            ),
        )
        self.reboot()


def try_out(lab, drift, entries):
    """Tamper, run, undo; assert what is found, and that looking changed nothing."""
    expected = [thing for entry in entries for thing in entry["expect"]]
    with Tampered(lab, entries):
        before = look(lab)
        done = drift.run()
        after = look(lab)
    assert done.report, done.stdout + done.stderr
    # kept first: what fails below is this run's fault and not the next one's
    last, drift.last = drift.last, [entry["id"] for entry in done.report["findings"]]
    missing, more = judge(done.report, expected)
    assert not missing and not more, "not found: %s\nnot expected: %s\n%s%s" % (missing, more, done.stdout, done.stderr)
    assert done.returncode == done.report["exit"] == 2, done.stdout + done.stderr
    assert done.report["hosts"][HOST]["status"] == "drift"
    now = {entry["id"]: entry["since"] for entry in done.report["findings"]}
    assert now == {name: "still" if name in last else "new" for name in now}
    assert set(done.report["transitions"]["gone"]) == set(last) - set(now), (
        "what the run before found, and no more, is gone"
    )
    for part in (0, 1):
        assert before[part] == after[part], sorted(set(before[part]) ^ set(after[part]))
    return done


def test_a_clean_host_has_nothing_to_say_and_is_not_changed_by_being_asked(lab, drift, figures):
    # in a lab that began as a copy of another (up --like), pkg's first look has the file system copy its database
    lab.sh("pkg", "info")
    before, seconds = look(lab), []
    for _ in range(10 if FULL else 1):
        start = time.monotonic()
        done = drift.run()
        seconds.append(time.monotonic() - start)
        assert done.returncode == 0 and done.report["findings"] == [], done.stdout + done.stderr
        assert len(done.stdout.splitlines()) == 1 and HOST in done.stdout
    after = look(lab)
    for part in (0, 1):
        assert before[part] == after[part], sorted(set(before[part]) ^ set(after[part]))
    figures.append("drift of a clean host: %d runs, %.1f s each" % (len(seconds), sum(seconds) / len(seconds)))


@pytest.mark.parametrize(
    "batch", some(BATCHES, (1, 2).__contains__, "services that stop, one of them slowly: under SOKUHAI_FULL=1")
)
def test_everything_tampered_with_is_found_and_nothing_else(lab, drift, batch):
    entries = [entry for entry in TAMPERINGS if entry["batch"] == batch]
    done = try_out(lab, drift, entries)
    assert "intruder" in done.stdout + json.dumps(done.report) or batch != 1
    assert "{PLAIN}x" not in done.stdout + json.dumps(done.report), "a password in the report"


@pytest.fixture
def own_postfix(lab, tmp_path):
    """A folder with a sendmail(1) that is the practice host's, so that what is mailed goes through its Postfix."""
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(ROOT))}/lab/lab sh {HOST} -- /usr/sbin/sendmail "$@"\n')
    program.chmod(0o755)
    return tmp_path


def test_a_host_that_is_away_is_worse_than_drift_is_mailed_once_and_what_was_known_of_it_stays(lab, drift, own_postfix):
    # an address of the lab's network that nobody has
    options = (
        "--changes",
        "-e",
        "ansible_host=192.0.2.199",
        "-e",
        "ansible_ssh_retries=0",
        "-e",
        "ansible_ssh_timeout=3",
    )
    sender = f"drift-{uuid.uuid4().hex[:8]}@home.example"
    mail = ("--mail", "--from", sender, "-e", "monitor_alert_to=root@home.example")

    def ours(text):
        return text.startswith(sender + " ")

    away = drift.run(*options, *mail, first_in_path=own_postfix)
    assert away.returncode == 3 and away.stdout == "", (
        "who is mailed is not told by cron as well: " + away.stdout + away.stderr
    )
    assert away.report["hosts"][HOST]["status"] == "unreachable" and [
        mail["taken"] for mail in away.report["mails"]
    ] == [True]
    assert away.report["transitions"]["gone"] == [], "what nobody looked at is not gone"
    (text,) = lab.mailed(ours)
    assert f"Subject: drift: {HOST}: unreachable\n" in text and "Auto-Submitted: auto-generated\n" in text, text
    again = drift.run(*options, *mail, first_in_path=own_postfix)
    assert again.returncode == 3 and again.stdout == "" and again.report["mails"] == []
    assert len(lab.mailed(ours)) == 1
    nobody = drift.run("--limit", "nobody.example")
    assert nobody.returncode == 1 and nobody.report["errors"] and "error" in nobody.stdout


@full_only("five runs: under SOKUHAI_FULL=1; tests/unit/test_drift_state.py has the transitions")
def test_cron_hears_of_changes_only(lab, drift):
    drift.last = []
    assert drift.run().returncode == 0
    entry = next(entry for entry in TAMPERINGS if entry["name"] == "postdrop without its group")
    with Tampered(lab, [entry]):
        first = drift.run("--changes")
        again = drift.run("--changes")
    assert first.returncode == 2 and "new" in first.stdout and "postdrop" in first.stdout
    assert again.returncode == 2 and again.stdout == "" and [e["since"] for e in again.report["findings"]] == ["still"]
    back = drift.run("--changes")
    assert (
        back.returncode == 0
        and "gone" in back.stdout
        and back.report["transitions"]["gone"] == [f"{HOST}/{entry['expect'][0].replace(': ', '/', 1)}"]
    )
    assert drift.run("--changes").stdout == ""


@full_only("a whole run: under SOKUHAI_FULL=1; tests/unit/test_drift_digest.py has the judgement")
def test_a_wrong_declaration_is_an_error_and_never_clean(lab, drift):
    wrong = drift.run("-e", "postfix_domain=-")
    assert wrong.returncode == 1 and "postfix_domain" in wrong.stdout, wrong.stdout + wrong.stderr
