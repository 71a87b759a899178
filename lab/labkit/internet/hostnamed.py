"""Run a private named inside a practice host and load it, or keep it until stdin ends.

Sent there as text, like hostagent.py. The job on stdin: {conf, hints, source (of dnsload.py), port, address, load, warm, warm_ms} and, where they differ,
run and check, the words of another resolver's commands, and earlier, {load, pause}: what is asked for before, and s until it is asked for again. The named
is this process's child and ends with it; its directory is removed.
"""

import collections
import ctypes
import json
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import types

RUN = ["/usr/local/sbin/named", "-f", "-c", "@CONF@"]
CHECK = ["/usr/local/bin/named-checkconf", "@CONF@"]


def answers(address, port):
    """Whether something answers DNS there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        try:
            sock.sendto(
                struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x07version\x04bind\x00" + struct.pack("!HH", 16, 3),
                (address, port),
            )
            return len(sock.recv(4096)) > 12
        except OSError:
            return False


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(job, folder):
    """A named that answers. Raises SystemExit with the end of its log when it does not within 20 s."""
    log, stderr, conf = (folder / name for name in ("named.log", "stderr", "named.conf"))
    (folder / "hints").write_text(job["hints"])
    conf.write_text(job["conf"].replace("@FOLDER@", str(folder)))
    check, run = (
        [word.replace("@CONF@", str(conf)) for word in job.get(what) or usual]
        for what, usual in (("check", CHECK), ("run", RUN))
    )
    check = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check.returncode:
        raise SystemExit("its checker rejects the private configuration: " + check.stdout.decode())
    with open(stderr, "w") as err:
        named = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=err, stderr=err, preexec_fn=die_with_parent)
    until = time.monotonic() + 20
    while not answers(job["address"].split(",")[0], job["port"]):
        if named.poll() is not None or time.monotonic() > until:
            named.kill()
            text = "".join(path.read_text()[-1500:] for path in (log, stderr) if path.exists())
            raise SystemExit("the private named does not answer: " + text)
        time.sleep(0.1)
    return named


def seen_in(log):
    """Messages of named about limits and troubles, and how often it wrote them (named itself thins repeated ones out)."""
    pattern = r"no more recursive clients|recursive-clients (?:soft|hard) limit exceeded|quota reached|too many open[^:\n]*|out of memory"
    return collections.Counter(re.findall(pattern, log.read_text(errors="replace"))) if log.exists() else {}


def measure(job, named, log):
    """One load on a named, after a smaller one that warms it if the job says so: a dictionary of what came of it."""
    dnsload = types.ModuleType("dnsload")
    exec(job["source"], dnsload.__dict__)
    report = {"descriptor_limit": resource.prlimit(named.pid, resource.RLIMIT_NOFILE)[0]}
    if job["warm"]:
        # until it has learnt the server's round trip, which shows in its answers; a named that never does is loaded all the same
        report["warm"] = False
        for report["warm_rounds"] in range(1, 11):
            found = dnsload.load(job["address"], job["port"], **job["warm"])
            report["warm"] = found["noerror"] == found["sent"] and found["latency_ms"]["p90"] < job["warm_ms"]
            if report["warm"]:
                break
    if job.get("earlier"):
        report["earlier"] = dnsload.load(job["address"], job["port"], **job["earlier"]["load"])["noerror"]
        time.sleep(job["earlier"]["pause"])
    report.update(dnsload.load(job["address"], job["port"], pid=named.pid, **job["load"]))
    report["log"] = seen_in(log)
    return report


def main():
    job = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="labnamed.", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        named = start(job, folder)
        try:
            if "load" in job:
                print(json.dumps(measure(job, named, folder / "named.log")), flush=True)
            else:
                print(json.dumps({"ready": named.pid}), flush=True)
                sys.stdin.read()
        finally:
            named.kill()
            named.wait()


if __name__ == "__main__":
    main()
