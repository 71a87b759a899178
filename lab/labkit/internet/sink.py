"""Mail servers of the recipients: they take messages and write down every recipient once per message taken.

One protocol class on all addresses, no thread and no parsing of the body beyond its header, so that the sinks are not what
a delivery waits for.
"""

import asyncio
import fnmatch
import json
import os
import re
import time

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

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.messages = self.recipients = 0
        self.rules = {}

    def close(self):
        os.close(self.file)

    def set(self, pattern, **values):
        """reply: accept, defer or reject at RCPT; slow: seconds before the message is taken. Raises ValueError."""
        rule = dict(self.rules.get(pattern, {"reply": "accept", "slow": 0.0}))
        for key, value in values.items():
            if key == "reply":
                if value not in REPLIES:
                    raise ValueError(f"reply={value}: one of {', '.join(REPLIES)}")
                rule[key] = value
            elif key == "slow":
                if not 0 <= float(value) <= 3600:
                    raise ValueError(f"slow={value}: seconds from 0 to 3600")
                rule[key] = float(value)
            else:
                raise ValueError(f"{key}: a recipient's domain has reply ({', '.join(REPLIES)}) and slow (seconds)")
        self.rules[pattern] = rule

    def rule(self, recipient):
        if self.rules:
            domain = recipient.rpartition("@")[2].lower()
            for pattern, rule in self.rules.items():
                if fnmatch.fnmatchcase(domain, pattern):
                    return rule
        return None

    def write(self, sender, recipients, peer, local, header):
        now = time.time()
        lines = [
            json.dumps({"time": round(now, 3), **header, "sender": sender, "recipient": r, "peer": peer, "sink": local})
            + "\n"
            for r in recipients
        ]
        # in the file before the client hears 250: after a crash of the sink nothing counts as lost that was taken
        data = "".join(lines).encode()
        while data:
            data = data[os.write(self.file, data) :]
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
    def __init__(self, book, name):
        self.book, self.name = book, name
        self.buffer = bytearray()
        self.data = None
        self.waiting = False
        self.reset()

    def reset(self):
        self.sender, self.recipients = None, []

    def connection_made(self, transport):
        self.transport = transport
        self.peer = transport.get_extra_info("peername")[0]
        self.local = transport.get_extra_info("sockname")[0]
        transport.write(b"220 " + self.name + b" ESMTP\r\n")

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
            rule = self.book.rule(recipient)
            refusal = REPLIES[rule["reply"]] if rule else None
            if refusal:
                write(refusal)
                return
            self.recipients.append(recipient)
            write(b"250 2.1.5 Ok\r\n")
        elif verb == b"MAIL":
            match = PATH.search(line)
            if not match:
                write(b"501 5.5.4 Syntax: MAIL FROM:<address>\r\n")
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
            write(
                b"250-"
                + self.name
                + b"\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE %d\r\n"
                % MAX_DATA
            )
        elif verb == b"HELO":
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
        slow = max((rule["slow"] for rule in map(self.book.rule, self.recipients) if rule), default=0)
        if slow:
            self.waiting = True
            asyncio.get_running_loop().call_later(slow, self.taken, message)
        else:
            self.taken(message)
        return True

    def taken(self, message):
        if self.waiting and self.transport.is_closing():
            return  # the client left before it heard that the message was taken: it will come again
        self.book.write(self.sender, self.recipients, self.peer, self.local, header_of(message))
        self.transport.write(b"250 2.0.0 Ok: taken\r\n")
        self.reset()
        if self.waiting:
            self.waiting = False
            self.work()


def count(path, token):
    """What the log of the sinks has for a token: {recipients: distinct, copies: all, duplicates: [..], seen: set}."""
    copies = {}
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if token in line and line.endswith("\n"):
                    entry = json.loads(line)
                    if token in (entry.get("token"), entry.get("message_id", "").strip("<>"), entry.get("message_id")):
                        copies[entry["recipient"]] = copies.get(entry["recipient"], 0) + 1
    except FileNotFoundError:
        pass
    return {
        "recipients": len(copies),
        "copies": sum(copies.values()),
        "duplicates": sorted(r for r, n in copies.items() if n > 1),
        "seen": set(copies),
    }
