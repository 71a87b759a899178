"""Run a private named inside a practice host and load it, or keep it until stdin ends.

Sent there as text, like hostagent.py. The job on stdin: {conf, hints, source (of dnsload.py), port, address, load, warm, warm_ms} and, where they differ,
run and check, the words of another resolver's commands; earlier, {load, pause}: what is asked for before, and s until it is asked for again; count, of named
processes behind that one address, and descriptors, the limit of each; steps, the milliseconds that answers are to come late, one after the other, while it
is warmed: each is printed as {"late": ms}, and a line on stdin says that it is so. The named is this process's child and ends with it; its directory is removed.
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
import urllib.request

RUN = ["/usr/local/sbin/named", "-f", "-c", "@CONF@"]
CHECK = ["/usr/local/bin/named-checkconf", "@CONF@"]
PORTS = "/proc/sys/net/ipv4/ip_local_port_range"  # which stands for net.inet.ip.portrange.hifirst and hilast
# of named's counters, what is no sum: the most recursive clients at a time
GAUGES = ("RecursHighwater",)


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


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def start(job, folder, number=0):
    """A named that answers. number: which of several; each has a port for its statistics. Raises SystemExit with the end of its log when it does not
    within 20 s.
    """
    folder.mkdir(exist_ok=True)
    statistics = job["port"] + 1 + number
    log, stderr, conf = (folder / name for name in ("named.log", "stderr", "named.conf"))
    (folder / "hints").write_text(job["hints"])
    conf.write_text(job["conf"].replace("@FOLDER@", str(folder)).replace("@STATISTICS@", str(statistics)))
    check, run = (
        [word.replace("@CONF@", str(conf)) for word in job.get(what) or usual]
        for what, usual in (("check", CHECK), ("run", RUN))
    )
    check = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check.returncode:
        raise SystemExit("its checker rejects the private configuration: " + check.stdout.decode())

    def prepare():
        die_with_parent()
        if job.get("descriptors"):
            resource.setrlimit(resource.RLIMIT_NOFILE, (job["descriptors"], job["descriptors"]))

    with open(stderr, "w") as err:
        named = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=err, stderr=err, preexec_fn=prepare)
    until = time.monotonic() + 20
    # at an address that several have, another one might answer
    while not (accepts(statistics) if number else answers(job["address"].split(",")[0], job["port"])):
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


def counters(port):
    """{name: number} of a named's own counters of queries and of its resolver; {} where it has no statistics channel."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/v1/server", timeout=20) as reply:
            found = json.load(reply)
    except (OSError, ValueError):
        return {}
    every = collections.Counter(found.get("nsstats", {}))
    for name, view in found["views"].items():
        every.update({} if name == "_bind" else view["resolver"]["stats"])
    return every


def failures(log):
    """{why named answered SERVFAIL: how often}, from its category query-errors. log: where its messages are."""
    if not log.exists():
        return {}
    return dict(collections.Counter(re.findall(r"query failed \(([^)]+)\)", log.read_text(errors="replace"))))


def learn(job, dnsload):
    """Warm a named that a server's round trip grows for, step by step; returns whether it answered in time at the last one."""
    for late in job["steps"]:
        print(json.dumps({"late": late}), flush=True)
        sys.stdin.readline()
        for _try in range(3):
            found = dnsload.load(job["address"], job["port"], **job["warm"])
            known = found["noerror"] == found["sent"] and found["latency_ms"]["p90"] < late + 200
            if known:
                break
    return known


def measure(job, nameds, folders):
    """One load on all named, after a smaller one that warms it if the job says so: a dictionary of what came of it."""
    dnsload = types.ModuleType("dnsload")
    exec(job["source"], dnsload.__dict__)
    report = {"descriptor_limit": resource.prlimit(nameds[0].pid, resource.RLIMIT_NOFILE)[0]}
    first, last = map(int, pathlib.Path(PORTS).read_text().split())
    report["ports"] = last - first + 1
    if job.get("steps"):
        report["warm"] = learn(job, dnsload)
    elif job["warm"]:
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
    ports = [job["port"] + 1 + number for number in range(len(nameds))]
    before = [counters(port) for port in ports]
    report.update(dnsload.load(job["address"], job["port"], pids=[one.pid for one in nameds], **job["load"]))
    report["counters"] = collections.Counter()
    for port, earlier in zip(ports, before):
        now = collections.Counter(counters(port))
        now.subtract({name: count for name, count in earlier.items() if name not in GAUGES})
        report["counters"].update({name: count for name, count in now.items() if count})
    report["log"], report["failed_for"] = collections.Counter(), collections.Counter()
    for folder in folders:
        report["log"].update(seen_in(folder / "named.log"))
        report["failed_for"].update(failures(folder / "stderr"))
    return report


def main():
    job = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="labnamed.", dir="/var/tmp") as name:
        folders = [pathlib.Path(name) / str(number) for number in range(job.get("count", 1))]
        nameds = []
        try:
            for number, folder in enumerate(folders):
                nameds.append(start(job, folder, number))
            if "load" in job:
                print(json.dumps(measure(job, nameds, folders)), flush=True)
            else:
                print(json.dumps({"ready": nameds[0].pid}), flush=True)
                sys.stdin.read()
        finally:
            for named in nameds:
                named.kill()
                named.wait()


if __name__ == "__main__":
    main()
