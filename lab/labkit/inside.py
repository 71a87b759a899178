"""A command inside a practice host or one of the lab's places, with or without a terminal.

All modules are loaded before: behind the change of namespaces there is another file system.
"""

import contextlib
import fcntl
import os
import resource
import select
import signal
import struct
import sys
import termios
import tty

from . import LabError, ns


def enter_host(pid, name, info):
    """Enter a practice host's namespaces; children are in them, chrooted, with the limits of its process 1.

    pid: the keeper's. info: the host's record, with its process 1 (pid, start).
    """
    base = f"/proc/{pid}/root/proc"
    if not info.get("pid") or ns.start_time(info["pid"], base) != info["start"]:
        raise LabError(f"{name} is not running; start it with: lab reboot {name}")
    inner = f"{base}/{info['pid']}"
    with open(f"{inner}/limits") as f:
        files = next(line.split()[3:5] for line in f if line.startswith("Max open files"))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(int(n) for n in files))
    ns.enter({f"{inner}/ns/{kind}": flag for kind, flag in {**ns.KINDS, "net": ns.NEWNET}.items()})


def become(command, env):
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        print(f"lab: {command[0]}: not found", file=sys.stderr, flush=True)
        os._exit(127)
    except OSError as e:
        print(f"lab: {command[0]}: {e.strerror}", file=sys.stderr, flush=True)
        os._exit(126)


def exit_code(status):
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def plainly(command, env):
    forwarded = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        # a session of its own: signals come through us alone, once, and reach all that the command has started
        os.setsid()
        ns.prctl(ns.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
        os.close(write_end)
        become(command, env)

    def forward(number, _frame):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, number)

    for number in forwarded:
        signal.signal(number, forward)
    os.close(write_end)
    os.read(read_end, 1)  # ends when the child has its session: from then on there is a group to signal
    signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
    return exit_code(os.waitpid(child, 0)[1])


def in_terminal(command, env):
    """Run with a terminal of the place itself, so that job control works there."""
    TIOCGPTN, TIOCSPTLCK = 0x80045430, 0x40045431
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, b"\0" * 4))[0]
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)

    def resize(*_):
        with contextlib.suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))

    resize()
    child = os.fork()
    if child == 0:
        os.close(master)
        os.login_tty(slave)
        become(command, env)
    os.close(slave)
    signal.signal(signal.SIGWINCH, resize)
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        readers = [0, master]
        while True:
            ready, _, _ = select.select(readers, [], [])
            if 0 in ready:
                data = os.read(0, 4096)
                if data:
                    os.write(master, data)
                else:
                    readers.remove(0)
            if master in ready:
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break  # EIO: the last one has closed the terminal
                if not data:
                    break
                os.write(1, data)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
    return exit_code(os.waitpid(child, 0)[1])
