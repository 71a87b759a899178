# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Hold a practice host as an arm needs it until stdin ends, and then put back what was there.

Sent there as text; standard library only. The first line of stdin is the job (README.md, "An arm"). Whoever started this may be killed: what
works here is a process in a session of its own, whose stdin ends with the last process that could still tell it something.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

FOLDER = pathlib.Path("/var/tmp/sokuhai-bench")
# as in a login on the host: rc scripts and Postfix's own are found by it
PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


def run(*words):
    """Run a command; RuntimeError with the end of what it prints where it fails."""
    words = [word.replace("@FOLDER@", str(FOLDER)) for word in words]
    # a daemon keeps the descriptors that it was started with: no pipe
    with open(FOLDER / "out", "w+") as out:
        code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode
        out.seek(0)
        if code:
            raise RuntimeError("%s: exit code %d: %s" % (" ".join(words), code, out.read()[-800:]))


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("@FOLDER@", str(FOLDER)))
    path.chmod(mode)


def put(path, text):
    """Have *text* in a file of the host's; return the function that puts back what was there, with its owner and mode."""
    try:
        before, info = path.read_bytes(), path.stat()
    except FileNotFoundError:
        write(path, text)
        return path.unlink

    def back():
        path.write_bytes(before)
        os.chown(path, info.st_uid, info.st_gid)
        path.chmod(info.st_mode & 0o7777)
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    path.write_text(text)
    return back


def greeted(address, port, seconds=60):
    """Wait until SMTP is spoken there."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 5) as sock:
            sock.settimeout(15)
            if sock.recv(512).startswith(b"220"):
                sock.sendall(b"QUIT\r\n")
                return
        if time.monotonic() > deadline:
            raise RuntimeError("nothing speaks SMTP on %s port %d" % (address, port))
        time.sleep(0.1)


def hold(job, told):
    """Bring the host into the job's state, tell so, and put everything back once stdin has ended, in the reverse order."""
    with contextlib.ExitStack() as back:
        FOLDER.mkdir(mode=0o755)
        back.callback(shutil.rmtree, FOLDER, ignore_errors=True)
        for service in job.get("stop", []):
            back.callback(run, "service", service, "start")
            run("service", service, "stop")
        for path, text in job.get("put", {}).items():
            back.callback(put(pathlib.Path(path), text))
        for name, text in job.get("files", {}).items():
            write(FOLDER / name, text, 0o755 if text.startswith("#!") else 0o644)
        for words in reversed(job.get("end", [])):
            back.callback(run, *words)
        for words in job.get("start", []):
            run(*words)
        greeted(job.get("address", "127.0.0.1"), job.get("port", 25))
        told({"ready": True})
        sys.stdin.read()


def main():
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.read(reader, 1)  # ends with the child, or when it is out of the reach of what ends this process
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.close(reader)
    os.close(writer)
    os.environ["PATH"] = PATH

    def told(answer):
        with contextlib.suppress(OSError):
            print(json.dumps(answer), flush=True)

    try:
        hold(json.loads(sys.stdin.readline()), told)
    except Exception as error:
        while error.__context__:
            error = error.__context__  # what went wrong first; putting back is then not always possible
        told({"error": str(error)})
        sys.exit(1)
    told({"back": True})


if __name__ == "__main__":
    main()
