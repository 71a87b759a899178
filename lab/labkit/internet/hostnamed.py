"""Run a private named inside a practice host and load it, or keep it until told to stop.

Sent there as text, like hostagent.py. The job on stdin: {conf, hints, source (of dnsload.py), port, address, load, warm, warm_ms}. The named
is this process's child and ends with it; its folder is removed.
"""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import types

NAMED = ("/usr/local/sbin/named", "/usr/sbin/named")
CHECKERS = ("/usr/local/bin/named-checkconf", "/usr/local/sbin/named-checkconf", "/usr/bin/named-checkconf")


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
    log = os.path.join(folder, "named.log")
    with open(os.path.join(folder, "hints"), "w") as out:
        out.write(job["hints"])
    with open(os.path.join(folder, "named.conf"), "w") as out:
        out.write(job["conf"].replace("@FOLDER@", folder))
    program = next(p for p in NAMED if os.path.exists(p))
    checker = next((p for p in CHECKERS if os.path.exists(p)), None)
    if checker:
        check = subprocess.run(
            [checker, os.path.join(folder, "named.conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if check.returncode:
            raise SystemExit("named-checkconf refuses the private configuration: " + check.stdout.decode())
    with open(os.path.join(folder, "stderr"), "w") as err:
        named = subprocess.Popen(
            [program, "-f", "-c", os.path.join(folder, "named.conf")],
            stdin=subprocess.DEVNULL,
            stdout=err,
            stderr=err,
            preexec_fn=die_with_parent,
        )
    until = time.monotonic() + 20
    while not answers(job["address"], job["port"]):
        if named.poll() is not None or time.monotonic() > until:
            named.kill()
            text = "".join(open(f).read()[-1500:] for f in (log, os.path.join(folder, "stderr")) if os.path.exists(f))
            raise SystemExit("the private named does not answer: " + text)
        time.sleep(0.1)
    return named


def seen_in(log):
    """Messages of named about limits and troubles, and how often it wrote them (named itself thins repeated ones out)."""
    found = {}
    with open(log, errors="replace") as lines:
        for line in lines:
            match = re.search(
                r"no more recursive clients|recursive-clients (soft|hard) limit exceeded|quota reached|too many open[^:]*|out of memory",
                line,
            )
            if match:
                found[match.group(0)] = found.get(match.group(0), 0) + 1
    return found


def main():
    job = json.loads(sys.stdin.readline())
    folder = tempfile.mkdtemp(prefix="labnamed.", dir="/var/tmp")
    named = None
    try:
        named = start(job, folder)
        if not job.get("load"):
            print(json.dumps({"ready": named.pid}), flush=True)
            sys.stdin.read()
            return
        dnsload = types.ModuleType("dnsload")
        exec(job["source"], dnsload.__dict__)
        report = {"descriptor_limit": resource.prlimit(named.pid, resource.RLIMIT_NOFILE)[0]}
        if job.get("warm"):
            # until it has learnt the server's round trip, which shows in its answers; a named that never does is loaded all the same
            report["warm"] = False
            for report["warm_rounds"] in range(1, 11):
                found = dnsload.load(job["address"], job["port"], **job["warm"])
                if found["noerror"] == found["sent"] and found["latency_ms"]["p90"] < job["warm_ms"]:
                    report["warm"] = True
                    break
        report.update(dnsload.load(job["address"], job["port"], pid=named.pid, **job["load"]))
        report["log"] = seen_in(os.path.join(folder, "named.log"))
        print(json.dumps(report), flush=True)
    finally:
        if named:
            named.terminate()
            try:
                named.wait(10)
            except subprocess.TimeoutExpired:
                named.kill()
                named.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
