"""Mail servers of the recipients: they accept messages and record every recipient once per message.

One protocol class on all addresses, no thread and no parsing of the body beyond its header, so that the sinks are not what
a delivery waits for.
"""

import asyncio
import fnmatch
import json
import re
import time

from . import echo, verdict
from .settings import checked
from .throttle import REPLIES as BEYOND
from .throttle import Throttle

WANTED = {
    b"x-lab-token": "token",
    b"message-id": "message_id",
    b"received-spf": "received_spf",
    b"authentication-results": "authentication_results",
}
PATH = re.compile(rb"<([^>]*)>")
MAX_LINE = 4096
MAX_DATA = 64 << 20
REPLIES = {"accept": None, "defer": b"451 4.3.0 Try again later\r\n", "reject": b"550 5.1.1 No such user here\r\n"}


class Book:
    """What the sinks took, appended to a file; and how they treat recipients by domain."""

    def __init__(self, path, names=None):
        """names: address of a name server that knows all zones, for sinks that demand authentic mail."""
        self.file = open(path, "ab", buffering=0)
        self.names, self.unauthentic = names, []
        self.messages = self.recipients = 0
        self.rules = {}
        # by pattern, for the servers whose names it matches
        self.throttles = {}
        # who tried to log in, and whether over TLS
        self.logins = []
        # echoes on their way
        self.answers = set()

    def close(self):
        self.file.close()

    def set(self, pattern, **values):
        """reply: accept, defer or reject at RCPT; slow: seconds before the message is taken; demand: authentic (verdict.py) or nothing;
        answer: echo (echo.py) or nothing; starttls: on or off, of a server with TLS by its name; connections, recipients, messages, rate: limits
        (throttle.py) of servers by their names. Raises ValueError."""
        rule = {"reply": "accept", "slow": 0.0, "demand": "nothing", "answer": "nothing", **self.rules.get(pattern, {})}
        demands = {"demand": ["nothing", "authentic"], "answer": ["nothing", "echo"], "starttls": ["on", "off"]}
        limits = dict.fromkeys(BEYOND, (0, 1000000))
        self.rules[pattern] = rule | checked(values, {"reply": [*REPLIES], "slow": (0, 3600), **demands, **limits})
        if set(values) & set(BEYOND):
            self.throttles.setdefault(pattern, Throttle({})).rule = self.rules[pattern]

    def throttle(self, name):
        """The Throttle of a server by its name, or None."""
        found = (one for pattern, one in self.throttles.items() if fnmatch.fnmatchcase(name, pattern))
        return next(found, None)

    def rule(self, recipient):
        domain = recipient.rpartition("@")[2].lower()
        for pattern, rule in self.rules.items():
            if fnmatch.fnmatchcase(domain, pattern):
                return rule
        return None

    def judge(self, message, peer, sender, helo):
        """Return verdict.judge() of a message as it came over SMTP, with the dots that lines were given."""
        return verdict.judge(message.replace(b"\r\n..", b"\r\n.") + b"\r\n", peer, sender, helo, self.names)

    def answer(self, name, local, message, sender, recipient, verdict):
        """Send an echo, in a thread of its own; nobody waits for it."""
        data = echo.reply(name, message, sender, recipient, verdict)
        work = asyncio.get_running_loop().run_in_executor(None, echo.send, name, local, self.names, sender, data)
        self.answers.add(work)
        work.add_done_callback(self.answers.discard)

    def write(self, sender, recipients, peer, local, header):
        about = {"time": round(time.time(), 3), **header, "sender": sender, "peer": peer, "sink": local}
        lines = [json.dumps({**about, "recipient": recipient}) + "\n" for recipient in recipients]
        # in the file before the client hears 250: after a crash of the sink nothing counts as lost that was taken
        self.file.write("".join(lines).encode())
        self.messages += 1
        self.recipients += len(recipients)


def header_of(data):
    """The wanted fields of a message's header, unfolded."""
    end = data.find(b"\r\n\r\n")
    found = {}
    name = None
    for line in data[: end if end >= 0 else len(data)].split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            if name:
                found[name] += " " + line.strip().decode("utf-8", "replace")
            continue
        key, _, value = line.partition(b":")
        name = WANTED.get(key.strip().lower())
        if name:
            value = value.strip().decode("utf-8", "replace")
            # a hop may add its own field above the sender's; all are kept
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


class Smtp(asyncio.Protocol):
    #: what is recorded of the connection, beside who and where
    about = {}

    def __init__(self, book, name):
        self.book, self.name = book, name
        self.buffer = bytearray()
        self.data = None
        self.waiting = False
        self.helo = ""
        self.throttle, self.counted = None, {"recipients": 0, "messages": 0}
        self.reset()

    def reset(self):
        self.sender, self.recipients = None, []

    def connection_made(self, transport):
        self.transport = transport
        self.peer = transport.get_extra_info("peername")[0]
        self.local = transport.get_extra_info("sockname")[0]
        throttle = self.limits()
        if throttle and not throttle.enter(self.peer):
            self.end(BEYOND["connections"])
            return
        self.throttle = throttle
        transport.write(b"220 " + self.name + b" ESMTP\r\n")

    def limits(self):
        """The Throttle of this server, or None."""
        return self.book.throttle(self.name.decode())

    def connection_lost(self, _error):
        if self.throttle:
            self.throttle.leave(self.peer)

    def end(self, reply):
        self.transport.write(reply)
        self.transport.close()

    def data_received(self, chunk):
        self.buffer += chunk
        if not self.waiting:
            self.work()

    def work(self):
        while not self.waiting and not self.transport.is_closing():
            if self.data is not None:
                if not self.take_data():
                    return
                continue
            end = self.buffer.find(b"\n")
            if end < 0:
                if len(self.buffer) > MAX_LINE:
                    self.transport.write(b"500 5.5.2 Line too long\r\n")
                    self.transport.close()
                return
            line = bytes(self.buffer[:end]).rstrip(b"\r")
            del self.buffer[: end + 1]
            self.command(line)

    def command(self, line):
        verb = line[:4].upper()
        write = self.transport.write
        if verb == b"RCPT":
            match = PATH.search(line)
            if self.sender is None or not match:
                write(b"503 5.5.1 MAIL first\r\n")
                return
            recipient = match[1].decode("utf-8", "replace")
            refusal = self.refusal(recipient)
            if refusal:
                write(refusal)
                return
            self.counted["recipients"] += 1
            if self.throttle and not self.throttle.recipient(self.counted["recipients"]):
                self.end(BEYOND["recipients"])
                return
            self.recipients.append(recipient)
            write(b"250 2.1.5 Ok\r\n")
        elif verb == b"MAIL":
            match = PATH.search(line)
            if not match:
                write(b"501 5.5.4 Syntax: MAIL FROM:<address>\r\n")
                return
            if self.throttle and not self.throttle.message():
                self.end(BEYOND["rate"])
                return
            self.reset()
            self.sender = match[1].decode("utf-8", "replace")
            write(b"250 2.1.0 Ok\r\n")
        elif verb == b"DATA":
            if not self.recipients:
                write(b"554 5.5.1 No valid recipients\r\n")
                return
            self.data = True
            write(b"354 End with .\r\n")
        elif verb == b"EHLO":
            self.helo = line[4:].decode("ascii", "replace").strip()
            write(
                b"250-"
                + self.name
                + b"\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE %d\r\n"
                % MAX_DATA
            )
        elif verb == b"HELO":
            self.helo = line[4:].decode("ascii", "replace").strip()
            write(b"250 " + self.name + b"\r\n")
        elif verb in (b"RSET", b"NOOP"):
            if verb == b"RSET":
                self.reset()
            write(b"250 2.0.0 Ok\r\n")
        elif verb == b"QUIT":
            write(b"221 2.0.0 Bye\r\n")
            self.transport.close()
        else:
            write(b"502 5.5.2 Unknown command\r\n")

    def refusal(self, recipient):
        """The reply to a RCPT that is not accepted, or None."""
        rule = self.book.rule(recipient)
        return REPLIES[rule["reply"]] if rule else None

    def slow(self):
        """Seconds before the message is taken."""
        return max((rule["slow"] for rule in map(self.book.rule, self.recipients) if rule), default=0)

    def take_data(self):
        """The message, once all of it is there; True when it was."""
        if self.buffer[:3] == b".\r\n":
            end, skip = 0, 3
        else:
            end, skip = self.buffer.find(b"\r\n.\r\n"), 5
        if end < 0:
            if len(self.buffer) > MAX_DATA:
                self.transport.write(b"552 5.3.4 Too big\r\n")
                self.transport.close()
            return False
        message = bytes(self.buffer[:end])
        del self.buffer[: end + skip]
        self.data = None
        slow = self.slow()
        if slow:
            self.waiting = True
            asyncio.get_running_loop().call_later(slow, self.taken, message)
        else:
            self.taken(message)
        return True

    def taken(self, message):
        if self.waiting and self.transport.is_closing():
            return  # the client left before it heard that the message was taken: it will come again
        header = header_of(message)
        rules = [(one, self.book.rule(one) or {}) for one in self.recipients]
        demanding = any(rule.get("demand") == "authentic" for _one, rule in rules)
        echoing = [one for one, rule in rules if rule.get("answer") == "echo" and self.sender]
        if demanding or echoing:
            found = self.book.judge(message, self.peer, self.sender, self.helo)
            header["verdict"] = found
            if found["problem"] and demanding:
                self.book.unauthentic.append({**header, "sender": self.sender, "recipients": len(self.recipients)})
                self.refuse(found["problem"])
                return
        self.book.write(self.sender, self.recipients, self.peer, self.local, header | self.about)
        for one in echoing:
            self.book.answer(self.name.decode(), self.local, message, self.sender, one, found)
        self.transport.write(b"250 2.0.0 Ok: taken\r\n")
        self.counted["messages"] += 1
        if self.throttle and self.throttle.last(self.counted["messages"]):
            self.end(BEYOND["messages"])
        self.done()

    def refuse(self, problem):
        self.transport.write(verdict.REFUSED.format(problem).encode() + b"\r\n")
        self.done()

    def done(self):
        self.reset()
        if self.waiting:
            self.waiting = False
            self.work()
