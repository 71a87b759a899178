# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A host with a policy service in Perl, for the tests of the modules that run one: its files, rc.conf, commands, and services that are threads with real sockets."""

import os
import socket
import socketserver
import threading

from fake_host import FakeRc


class Server(socketserver.ThreadingTCPServer):
    """A policy service: answers each request (list of lines) with the action that *action* gives of it. asked: the requests."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port, action):
        super().__init__(("127.0.0.1", port), Request)
        self.action, self.asked = action, []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def end(self):
        self.shutdown()
        self.server_close()


class Request(socketserver.StreamRequestHandler):
    def handle(self):
        request = []
        for line in self.rfile:
            if line == b"\n":
                break
            request.append(line.decode())
        self.server.asked.append(request)
        self.wfile.write(f"action={self.server.action(request)}\n\n".encode())


class PolicyHost:
    """calls: what service(8) was asked. A module's own commands, its processes and its service are a subclass': answer(), title(), start(), stop()."""

    version = (0, "", "")

    def __init__(self, folder, program):
        self.folder, self.program, self.script, self.log = folder, folder / program, folder / "rc", folder / "maillog"
        self.rc, self.calls, self.started = FakeRc(), [], 0
        self.log.touch()
        self.install()

    def install(self):
        self.program.touch(0o755)
        os.utime(self.program, (1, 1))

    def answer(self, argv):
        """Return (status, out, err) of a command that only this module has, None for another."""
        return None

    def title(self, pid):
        """Return what ps(1) shows of the process *pid* as its arguments, "" where there is none."""
        raise NotImplementedError

    def run(self, argv, *_rest, **_options):
        argv = [str(word) for word in argv]
        match argv:
            case [*_, "--version"]:
                return self.version
            case ["pkg", "info", "-e", *_]:
                return int(not self.program.exists()), "", ""
            case ["pkg", "update" | "install", *words]:
                if "-yU" in words:
                    self.install()
                return 0, "", ""
            case ["pkg", "which", *_]:
                return 1, "", ""
            case ["ps", *words]:
                pid = words[words.index("-p") + 1]
                title = self.title(int(pid))
                return (0, f"{pid} 1 225 Ss perl 60 {title} (perl)\n", "") if title else (1, "", "")
            case ["fstat", *_]:
                # a script's text is its interpreter's
                return 0, "", ""
            case ["sysrc", *words]:
                return self.rc.sysrc(words)
            case ["service", "svc", verb, *names]:
                self.calls.append([verb, *names])
                self.stop(*names)
                if not verb.endswith("stop"):
                    self.start(*names)
                return 0, "", ""
        found = self.answer(argv)
        assert found is not None, argv
        return found

    def pid(self):
        """Return a number that no process of this machine has."""
        self.started += 1
        return 2**30 + self.started

    def files(self):
        return {path: path.read_text() for path in self.folder.rglob("*") if path.is_file()}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def found(made):
    """{id: what was found} of a module's findings."""
    return {one["id"]: one["found"] for one in made["findings"]}
