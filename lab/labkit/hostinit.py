"""Process 1 of a practice host. Copied to /sbin/init there; standard library only, Python 3.9 and newer.

It runs the boot sequence, adopts and reaps what is left by others, keeps sshd reachable, and ends the host's life:
SIGINT reboots (exit 0), SIGUSR1 and SIGUSR2 halt (exit 3), as FreeBSD's init(8) has them.
"""

import os
import signal
import subprocess
import sys
import time

BOOT = "/usr/libexec/standins/boot"
HALT = "/usr/libexec/standins/halt"
FIRSTBOOT = "/usr/libexec/lab-firstboot"
SSHD = "/usr/sbin/sshd"
BOOTED = "/run/lab.booted"
BOOT_LIMIT = 120
HALT_LIMIT = 40
SSHD_GRACE = 15

FATE = "/var/db/standins/fate"

EXIT_REBOOT, EXIT_HALT = 0, 3
BOOT_PANIC = 86
ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "HOME": "/root"}

wanted = None


def say(text):
    print(f"init: {text}", flush=True)


def fate():
    """What boot found that the kernel comes to: good, panic, hang, nonetwork or stuck."""
    try:
        with open(FATE) as f:
            return f.read().strip()
    except OSError:
        return "good"


def ask(number, _frame):
    global wanted
    if wanted is None and fate() != "stuck":
        wanted = EXIT_REBOOT if number == signal.SIGINT else EXIT_HALT


def reap(until_pid=None):
    """Reap every dead child; the status of until_pid if it was among them, else None."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == until_pid:
            found = status


def run(argv, limit, what, until=lambda: False):
    """Run a program, reaping all the while; its exit code, or None when it took longer than `limit` seconds or `until` came true."""
    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=ENVIRONMENT, start_new_session=True)
    except OSError as e:
        say(f"{what}: {e}")
        return 127
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline or fate() in ("hang", "stuck"):
        if until():
            return None
        status = reap(child.pid)
        if status is not None:
            child.returncode = code = os.waitstatus_to_exitcode(status)
            if code:
                say(f"{what}: exit {code}")
            return code
        time.sleep(0.02)
    say(f"{what}: not done after {limit} s; going on without it")
    return None


def listening(port):
    """True when some socket listens on the TCP port (state 0A in /proc/net/tcp and tcp6)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as f:
                next(f)
                for line in f:
                    fields = line.split()
                    if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                        return True
        except (OSError, StopIteration):
            pass
    return False


def main():
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, ask)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with open("/proc/self/comm", "w") as f:
        f.write("init")
    os.chdir("/")
    os.umask(0o022)
    try:
        os.unlink(FATE)  # the last boot's
    except OSError:
        pass
    failed = False
    if "--first" in sys.argv and os.access(FIRSTBOOT, os.X_OK):
        failed = run([FIRSTBOOT], BOOT_LIMIT, FIRSTBOOT) != 0
    if os.access(BOOT, os.X_OK):
        code = run([BOOT], BOOT_LIMIT, BOOT, until=lambda: wanted is not None)
        if code == BOOT_PANIC:
            os._exit(EXIT_REBOOT)
        failed = failed or code not in (0, None)
    with open(BOOTED, "w") as f:
        f.write("failed\n" if failed else "ok\n")
    say("boot sequence failed" if failed else "boot sequence done")

    missing_since = 0.0 if not os.access(BOOT, os.X_OK) else time.monotonic()
    next_look = 0.0
    while wanted is None:
        reap()
        now = time.monotonic()
        if now >= next_look:
            next_look = now + 2
            if listening(22):
                missing_since = None
            elif fate() != "good":
                pass  # it is to be found out that nobody can reach it
            elif missing_since is None:
                missing_since = now
            elif now - missing_since >= (SSHD_GRACE if missing_since else 0) and os.access(SSHD, os.X_OK):
                # a host that nobody can reach cannot be repaired either
                say("nothing listens on port 22: starting sshd")
                os.makedirs("/run/sshd", exist_ok=True)
                # in the foreground: a child of process 1 with a session of its own counts as a daemon already
                subprocess.Popen([SSHD, "-D"], stdin=subprocess.DEVNULL, env=ENVIRONMENT, start_new_session=True)
                missing_since = now
        time.sleep(0.1)

    say("going down")
    if os.access(HALT, os.X_OK):
        run([HALT], HALT_LIMIT, HALT)
    for number, pause in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 0.2)):
        try:
            os.kill(-1, number)
        except ProcessLookupError:
            break
        end = time.monotonic() + pause
        while time.monotonic() < end:
            reap()
            if not [p for p in os.listdir("/proc") if p.isdigit() and p != "1"]:
                break
            time.sleep(0.02)
    os._exit(wanted)


if __name__ == "__main__":
    main()
