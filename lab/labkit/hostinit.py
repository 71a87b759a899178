"""Process 1 of a practice host. Copied to /sbin/init there; standard library only, Python 3.9 and newer.

It runs the boot sequence, adopts and reaps what is left by others, keeps sshd reachable, and ends the host's life:
SIGINT reboots (exit 0), SIGUSR1 and SIGUSR2 halt (exit 3), as FreeBSD's init(8) has them.
"""

import contextlib
import os
import signal
import subprocess
import time

BOOT = "/usr/libexec/standins/boot"
HALT = "/usr/libexec/standins/halt"
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
    """What becomes of the kernel, as boot found out: good, panic, hang, nonetwork or stuck."""
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
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == until_pid:
                found = ended[1]
    return found


def run(program, limit, until=lambda: False):
    """Run a program, reaping all the while; its exit code, or None when it took longer than `limit` seconds or `until` came true."""
    try:
        child = subprocess.Popen([program], stdin=subprocess.DEVNULL, env=ENVIRONMENT, start_new_session=True)
    except OSError as e:
        say(f"{program}: {e}")
        return 127
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline or fate() in ("hang", "stuck"):
        if until():
            return None
        status = reap(child.pid)
        if status is not None:
            child.returncode = code = os.waitstatus_to_exitcode(status)
            if code:
                say(f"{program}: exit {code}")
            return code
        time.sleep(0.02)
    say(f"{program}: not done after {limit} s; going on without it")
    return None


def listening(port):
    """True when some socket listens on the TCP port (state 0A in /proc/net/tcp and tcp6)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as f:
            for _, local, _, state, *_ in map(str.split, f):
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    return True
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
    with contextlib.suppress(OSError):
        os.unlink(FATE)  # the last boot's
    code = run(BOOT, BOOT_LIMIT, until=lambda: wanted is not None)
    if code == BOOT_PANIC:
        os._exit(EXIT_REBOOT)
    failed = code not in (0, None)
    with open(BOOTED, "w") as f:
        f.write("failed\n" if failed else "ok\n")
    say("boot sequence failed" if failed else "boot sequence done")

    missing_since = time.monotonic()
    next_look = 0.0
    while wanted is None:
        reap()
        now = time.monotonic()
        if now >= next_look:
            next_look = now + 2
            # whether nobody can reach a kernel that is not good is what a trial boot is to find out
            if listening(22) or fate() != "good":
                missing_since = now
            elif now - missing_since >= SSHD_GRACE and os.access(SSHD, os.X_OK):
                # a host that nobody can reach cannot be repaired either
                say("nothing listens on port 22: starting sshd")
                os.makedirs("/run/sshd", exist_ok=True)
                # in the foreground: a child of process 1 with a session of its own counts as a daemon already
                subprocess.Popen([SSHD, "-D"], stdin=subprocess.DEVNULL, env=ENVIRONMENT, start_new_session=True)
                missing_since = now
        time.sleep(0.1)

    say("going down")
    run(HALT, HALT_LIMIT)
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
