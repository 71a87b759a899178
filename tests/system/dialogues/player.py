"""Plays SMTP dialogues over real sockets, each from a source address of its own. Runs where those addresses are local.

Standard input: {"parallel": n, "dialogues": [{"id", "source", "server", "port", "steps": [...]}]}. Standard output:
{id: [{"at", "code", "text", "seconds"}, ...]}, one entry for each reply, in order. A reply that did not come has code 0 and says
why in its text. The steps are bytes and waits, not SMTP commands, because some dialogues break the protocol on purpose:

    {"do": "connect", "tls": false}      a new connection, the old one is closed
    {"do": "send", "data": "latin-1"}    written as it stands
    {"do": "read", "at": "rcpt"}         one reply, all of its lines
    {"do": "rest", "at": "rest"}         every reply until the server closes or says nothing for "seconds"
    {"do": "tls"}                        handshake on the open connection
    {"do": "sleep", "seconds": 1.5}

Any step may have "needs": ["rcpt", ...]: it is left out unless one of these replies was below 400.
"""

import concurrent.futures
import json
import os
import socket
import ssl
import sys
import time

# on a slow machine a reply takes longer
TIMEOUT = 60 * float(os.environ.get("SOKUHAI_SLOW") or 1)


class Closed(Exception):
    """The connection is over; the text says how it ended."""


class Dialogue:
    def __init__(self, plan):
        self.plan = plan
        self.sock = None
        self.buffer = b""
        self.replies = []
        self.began = time.monotonic()

    def note(self, at, code, text):
        self.replies.append({"at": at, "code": code, "text": text, "seconds": round(time.monotonic() - self.began, 5)})

    def connect(self, step):
        self.close()
        self.buffer = b""
        family = socket.AF_INET6 if ":" in self.plan["source"] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        # each piece leaves as it is handed over: what is sent ahead of time must arrive ahead of time
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((self.plan["source"], 0))
        sock.connect((self.plan["server"], self.plan["port"]))
        self.sock = self.secured(sock) if step.get("tls") else sock

    @staticmethod
    def secured(sock):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(sock)

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def line(self, timeout):
        while b"\n" not in self.buffer:
            self.sock.settimeout(timeout)
            chunk = self.sock.recv(65536)
            if not chunk:
                raise Closed("closed by the server")
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("latin-1").rstrip("\r")

    def read(self, at, timeout=TIMEOUT):
        lines = [self.line(timeout)]
        while lines[-1][3:4] == "-":
            lines.append(self.line(timeout))
        code = int(lines[-1][:3]) if lines[-1][:3].isdigit() else 0
        self.note(at, code, "\n".join(line[4:] for line in lines))

    def passed(self, names):
        return any(reply["at"] in names and 0 < reply["code"] < 400 for reply in self.replies)

    def step(self, step):
        what = step["do"]
        if what == "sleep":
            time.sleep(step["seconds"])
        elif what == "connect":
            self.connect(step)
        elif what == "send":
            self.sock.sendall(step["data"].encode("latin-1"))
        elif what == "tls":
            self.sock.settimeout(TIMEOUT)
            self.sock = self.secured(self.sock)
        elif what == "read":
            self.read(step["at"])
        elif what == "rest":
            while True:
                try:
                    self.read(step["at"], step.get("seconds", 2))
                except TimeoutError:
                    return
        else:
            raise ValueError(f"{self.plan['id']}: no step is called {what}")

    def play(self):
        dead = False
        for step in self.plan["steps"]:
            if step["do"] == "connect":
                dead = False
            if dead and step["do"] != "sleep" or "needs" in step and not self.passed(step["needs"]):
                continue
            try:
                self.step(step)
            except (Closed, OSError) as error:
                self.note(step.get("at", step["do"]), 0, str(error) or type(error).__name__)
                dead = True
        self.close()
        return self.replies


def play(plan):
    return Dialogue(plan).play()


def main():
    order = json.load(sys.stdin)
    with concurrent.futures.ThreadPoolExecutor(order["parallel"]) as pool:
        results = dict(zip((d["id"] for d in order["dialogues"]), pool.map(play, order["dialogues"]), strict=True))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
