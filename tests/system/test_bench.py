"""The bench, quick: each arm serves everyone who is to be served, once, and the host is afterwards what it was, also where the bench is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from practice import ROOT, full_only, until

FOLDER = "/var/tmp/sokuhai-bench"
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "lab")))


@pytest.fixture(autouse=True)
def practice_host(lab):
    if lab.outside:
        pytest.skip("reads the processes of the host in Linux's /proc, and counts its CPU seconds there")
    # what other tests have left there may leave meanwhile
    lab.sh("postsuper", "-d", "ALL")


def state(lab):
    """What the bench may not change: the configuration, which daemons run, and what the queue holds."""
    queue = lab.sh("sh", "-c", "find /var/spool/postfix/*/ -type f | grep -v /pid/ | sort").stdout
    return lab.fingerprint(), sorted(lab.processes().values()), queue, lab.sh("ls", "/var/tmp").stdout


def words(lab, path, *more):
    return [sys.executable, "-m", "bench", "--instance", lab.name, "--quick", "--anyway", "--into", str(path), *more]


def test_every_arm_serves_everyone_once_and_the_host_is_as_before(lab, tmp_path, figures):
    before = state(lab)
    done = lab.run(*words(lab, tmp_path / "bench.json"), timeout=1200, PYTHONPATH=PATHS)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert sorted(run["arm"] for run in found["runs"]) == ["ceiling", "ours", "stock-free"]
    for run in found["runs"]:
        assert run["served"]["accepting"] == run["kinds"]["accepting"] > 200 and not run["over"], run
        assert run["twice"] == 0 and run["deferred_dns"] == 0, run
        assert 0 < run["tried"][-1][1] <= run["kinds"]["greylisted"], run
        for kind, points in run["curves"].items():
            assert (points[-1][1] if points else 0) == run["served"][kind], (kind, run)
            assert points == sorted(points) and all(at > 0 for at, _count in points)
        assert run["seconds"]["100"] == run["curves"]["accepting"][-1][0] and run["peaks"]["smtp"] > 0
        # of the name servers little is asked where no DNS is needed
        assert run["cpu"]["host"] > 0 < run["cpu"]["sinks"], run
        figures.append(
            f"bench, {run['arm']}: 99 % after {run['seconds']['99']} s, CPU of the host {run['cpu']['host']} s"
        )
    assert {goal.get("slow") for goal in found["judged"]} >= {"ours", "stock-free"}
    # a monitor may have mailed that Postfix was away
    until(lambda: state(lab) == before)


def test_a_bench_that_is_killed_leaves_the_host_as_it_was(lab, tmp_path):
    before = state(lab)
    command = words(lab, tmp_path / "bench.json", "--arms", "stock-free")
    process = subprocess.Popen(command, cwd=ROOT, env={**lab.env, "PYTHONPATH": PATHS}, stdout=subprocess.DEVNULL)
    try:
        until(lambda: "198.51.100.153" in lab.sh("cat", "/etc/resolv.conf").stdout)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: lab.sh("test", "-e", FOLDER, check=False).returncode and state(lab) == before)
    finally:
        process.kill()
        with contextlib.suppress(FileNotFoundError):
            (lab.state / "more.json").unlink()
        assert lab.command("internet").returncode == 0


@full_only(
    "fetches the packages of other mailers; make bench does it, too. tests/unit/test_bench_others.py has what is put onto the host"
)
def test_every_other_mailer_serves_everyone_once_and_leaves_the_host_as_it_was(lab, tmp_path, figures):
    lab.sh("sh", "-c", "rm -f /var/tmp/sokuhai-bench-*.tar")
    before = state(lab)[:3]
    done = lab.run(
        *words(lab, tmp_path / "bench.json", "--arms", "exim opensmtpd haraka"), timeout=1200, PYTHONPATH=PATHS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = {run["arm"]: run for run in json.loads((tmp_path / "bench.json").read_text())["runs"]}
    # haraka is not there where the machine has no npm, and says so
    assert {"exim", "opensmtpd"} <= {arm for arm, run in runs.items() if "failed" not in run}, runs
    for arm, run in runs.items():
        if "failed" in run:
            assert arm == "haraka" and "no npm" in run["failed"]
            continue
        assert run["served"]["accepting"] == run["kinds"]["accepting"] and not run["over"] and run["twice"] == 0, run
        assert run["peaks"]["smtp"] > 0 and run["cpu"]["host"] > 0, run
        figures.append(f"bench, {arm}: 99 % after {run['seconds']['99']} s, CPU of the host {run['cpu']['host']} s")
    until(lambda: state(lab)[:3] == before)


def own(lab, domain, tmp_path, *more):
    """The bench on one's own host, run where the operator is, who has a sink there; the finished process."""
    password = tmp_path / "password"
    password.write_text("practice\n")
    options = ("--domain", domain, "--through", "192.0.2.10", "--untrusted", "--resolver", "198.51.100.153")
    user = ("--user", "alert@home.example", "--sender", "postmaster@home.example", "--password-file", password)
    program = (sys.executable, "-m", "bench.own", *options, *user, "--recipients", "20", *more)
    return lab.command("sh", "operator", "--", "env", f"PYTHONPATH={PATHS}", *map(str, program))


def test_ones_own_host_to_a_sink_of_ones_own(lab, tmp_path):
    try:
        for record in ("bench MX 10 operator.home.example.", "*.bench MX 10 operator.home.example."):
            assert lab.internet("ctl", "record", "sender.test", *record.split()).returncode == 0
        done = own(lab, "bench.sender.test", tmp_path, "--domains", "3")
    finally:
        assert lab.internet("ctl", "reset").returncode == 0
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["served"], found["twice"], found["domains"]) == (20, 0, 3)
    assert found["curves"]["accepting"][-1][1] == 20


def test_nothing_goes_to_a_sink_of_somebody_else(lab, tmp_path):
    there = lab.state / "sink.jsonl"
    size = there.stat().st_size
    done = own(lab, "d0001.test", tmp_path)
    assert done.returncode == 1 and "d0001.test: its mail goes to 198.51.100.201" in done.stderr, done.stderr
    assert b"bench-" not in there.read_bytes()[size:]
