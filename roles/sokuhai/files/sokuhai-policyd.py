# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Written by sokuhai. One process of a policy service for all smtpd(8) processes, instead of an interpreter for each.

    sokuhai-policyd-NAME PROGRAM CONFIGURATION     started by spawn(8) for each connection

It passes the connection to a server and ends; where none runs, it starts one. The server runs PROGRAM's own main(), unchanged, in a thread for
each connection. Who runs another program, another configuration or another resolv.conf gets another server; one that has no connection for a while
ends. So nothing has to be started, stopped or told of a change.
"""

# Every smtpd(8) starts this program, hundreds at the beginning of an attack, and most of what that costs is loading modules: who only passes a connection
# on has the least that can do it, and _socket in place of socket, which loads ten others.
import _socket
import os
import sys
import zlib

if sys.argv[1:2] == ["--server"]:
    import contextlib
    import io
    import runpy
    import socket
    import syslog
    import threading
    import time

NAME = os.path.basename(__file__)
#: The sockets' directory, the user's own: /var/db/sokuhai_NAME.
DIRECTORY = "/var/db/" + NAME.replace("sokuhai-policyd-", "sokuhai_")
#: Of one server. A DNS library that waits by select(2) fails from descriptor 1024 (FD_SETSIZE) on, and each connection may have a lookup.
CONNECTIONS = 400
SERVERS = 64
#: s that a server without connections stays, and that one may take for its answer to the helper.
IDLE = 30
PATIENCE = 20
LISTENER = 3
#: Bytes of a descriptor, an int, in a message (SCM_RIGHTS).
DESCRIPTOR = 4
TAKEN, FULL = b"y", b"n"


class PerThread:
    """Stands for sys.stdin or sys.stdout, each thread its own."""

    def __init__(self):
        self.own = threading.local()

    def __getattr__(self, name):
        return getattr(self.own.stream, name)


def place(program, config):
    """Return the beginning of the sockets' names. Raises OSError where the agent or its configuration is gone."""
    # not the time of change: on UFS with soft updates it moves once more, a minute after a file was put into its place (sokuhai/process.py)
    known = [
        (path, found.st_ino, found.st_mtime_ns) for path in (__file__, program, config) for found in [os.stat(path)]
    ]
    try:
        known.append(os.stat("/etc/resolv.conf").st_mtime_ns)
    except OSError:
        pass
    return os.path.join(DIRECTORY, "%08x" % zlib.crc32(repr(known).encode()))


def lock():
    """Return a file that whoever makes or removes a socket holds until it is closed."""
    import fcntl

    file = open(os.path.join(DIRECTORY, "lock"), "w", encoding="ascii")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


# ---- one connection: what spawn(8) starts ----


def offer(path, connection=0):
    """Pass the descriptor *connection* to the server at *path*; return TAKEN, FULL, b"" where it ends just now, or None where there is none."""
    server = _socket.socket(_socket.AF_UNIX)
    server.settimeout(PATIENCE)
    try:
        server.connect(path)
        descriptor = connection.to_bytes(DESCRIPTOR, sys.byteorder)
        server.sendmsg([b"\n"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor)])
        return server.recv(1)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (BrokenPipeError, ConnectionResetError):
        return b""
    finally:
        server.close()


def start(path, program, config):
    """Start a server at *path* unless another process just has."""
    with lock():
        for name in os.listdir(DIRECTORY):
            one = os.path.join(DIRECTORY, name)
            if "." in name and not answers(one):
                os.unlink(one)
        if os.path.exists(path):
            return
        listener = _socket.socket(_socket.AF_UNIX)
        listener.bind(path)
        listener.listen(128)
        if os.fork():
            return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.dup2(listener.fileno(), LISTENER)
    os.set_inheritable(LISTENER, True)  # dup2 of itself leaves it as it was
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    command = interpreter(program)
    os.execvp(command[0], [*command, "-IB", __file__, "--server", path, program, config])


def answers(path):
    """Return whether a server listens at *path*."""
    server = _socket.socket(_socket.AF_UNIX)
    try:
        server.connect(path)
    except OSError:
        return False
    finally:
        server.close()
    return True


def interpreter(program):
    """Return the words of *program*'s first line, which has the libraries' interpreter."""
    import re

    with open(program, "rb") as file:
        line = file.readline(200).decode(errors="replace")
    found = re.match(r"#!\s*(?:\S*/env\s+)?(\S.*)", line)
    if not found:
        raise OSError("%s: no interpreter in its first line" % program)
    return found[1].split()


def hand_over(program, config):
    """Pass standard input to a server that has room. Raises OSError where that fails."""
    beginning, tries, number = place(program, config), 0, 0
    while number < SERVERS:
        path = "%s.%d" % (beginning, number)
        answer = offer(path)
        if answer == TAKEN:
            return
        if answer == FULL:
            number += 1
            continue
        tries += 1
        if tries > 3:
            raise OSError("the server of %s does not stay; run it by hand: %s %s" % (program, program, config))
        if answer is None:
            start(path, program, config)
    raise OSError("%d servers of %d connections each are full" % (SERVERS, CONNECTIONS))


# ---- the server ----


class Server:
    def __init__(self, path, program, config):
        self.path, self.listener = path, socket.socket(fileno=LISTENER)
        self.mine, self.stdin, self.stdout = os.stat(path).st_ino, PerThread(), PerThread()
        self.answering = set()  # threads, beside which the program may have some of its own
        sys.argv, sys.stdin, sys.stdout = [program, config], self.stdin, self.stdout
        self.main = runpy.run_path(program, run_name="sokuhai")["main"]
        # once without a request: it reads the configuration before there are threads, and ends here if it cannot
        self.stdin.own.stream, self.stdout.own.stream = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        self.main()
        threading.excepthook = self.log

    @staticmethod
    def log(failed):
        if failed.exc_type is not SystemExit:
            syslog.syslog(syslog.LOG_ERR, "%s: %s" % (failed.exc_type.__name__, failed.exc_value))

    def run(self):
        self.listener.settimeout(IDLE)
        used = time.monotonic()
        while True:
            try:
                helper = self.listener.accept()[0]
            except socket.timeout:
                if self.answering:
                    used = time.monotonic()
                elif time.monotonic() - used >= IDLE:
                    return self.end()
                continue
            used = time.monotonic()
            with helper, contextlib.suppress(OSError):
                helper.settimeout(PATIENCE)
                # room for more than one, since FreeBSD drops what comes with padding (CMSG_SPACE) and does not fit
                received = socket.recv_fds(helper, 1, 4)[1]
                if received:
                    helper.sendall(self.take(socket.socket(fileno=received[0])))

    def take(self, connection):
        """Answer *connection* in a thread of its own; return TAKEN or FULL."""
        connection.setblocking(True)
        if len(self.answering) < CONNECTIONS:
            thread = threading.Thread(target=self.answer, args=(connection,), daemon=True)
            self.answering.add(thread)
            try:
                thread.start()
            except RuntimeError:
                self.answering.discard(thread)
            else:
                return TAKEN
        connection.close()
        return FULL

    def answer(self, connection):
        try:
            # smtpd(8) may go before it has its answer
            with contextlib.suppress(OSError), connection:
                self.stdin.own.stream = connection.makefile("r")
                self.stdout.own.stream = connection.makefile("w", encoding="utf-8", errors="surrogateescape")
                self.main()
        finally:
            self.answering.discard(threading.current_thread())

    def end(self):
        """Remove the socket, unless another server's is there. Who has connected meanwhile gets no answer, and tries again."""
        with lock(), contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self.mine:
                os.unlink(self.path)


def main(arguments):
    if arguments[0] == "--server":
        Server(*arguments[1:]).run()
        return 0
    try:
        hand_over(*arguments)
    except OSError as problem:
        import syslog

        syslog.openlog(NAME, syslog.LOG_PID, syslog.LOG_MAIL)
        syslog.syslog(syslog.LOG_ERR, str(problem))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
