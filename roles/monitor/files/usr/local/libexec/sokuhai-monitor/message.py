# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""What the lines of the mail log say about some messages, and which messages in it are large.

A message is given by its queue id or by its Message-ID; a list manager that hands in a message a hundred recipients at a time makes one with many queue ids.
Of a recipient the last attempt counts. Times are Postfix's `delay=`: seconds from the arrival of the message to the end of the attempt (postconf(5), delay_logging_resolution_limit).
"""

import re

from logs import moment
from maillog import LINE
from verdict import verdict

TEXT = re.compile(r"(?P<id>[0-9A-Za-z]+): (?P<rest>.*)")
ATTEMPT = re.compile(r"to=<(?P<to>.*?)>, (?P<how>.*?)dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<why>.*)\)$")
MESSAGE_ID = re.compile(r"(?:resent-)?message-id=(<.*>)$")
ACTIVE = re.compile(r"from=<(?P<sender>.*?)>, size=(?P<size>\d+), nrcpt=(?P<recipients>\d+) ")
EXPIRED = re.compile(r"from=<.*?>, status=(?:force-)?expired")
DELAY = re.compile(r"\bdelay=([\d.]+)")
#: delays=a/b/c/d: before the queue manager, in it, connecting (DNS, connection, EHLO, TLS), sending
DELAYS = re.compile(r"\bdelays=([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+)")
#: A transport with a name of its own in the log (syslog_name = postfix/$service_name), as a provider's has; relay is Postfix's own, urgent takes mail to everybody.
TRANSPORT = re.compile(r"postfix[^/]*/(?P<name>(?!(?:relay|urgent)/)[\w-]+)/(?:smtp|lmtp)$")


class Attempt:
    """The last attempt at a recipient, and how many there were."""

    # a hundred thousand of them at a time
    __slots__ = ("delay", "delays", "dsn", "number", "status", "transport", "verdict", "why")

    def __init__(self, to, found, before, program):
        self.status, self.dsn = found["status"], found["dsn"]
        # nobody asks why mail was delivered
        self.why = "" if self.status == "sent" else found["why"]
        delay, delays = DELAY.search(found["how"]), DELAYS.search(found["how"])
        self.delay = float(delay[1]) if delay else 0.0
        self.delays = tuple(map(float, delays.groups())) if delays else None
        self.number = before.number + 1 if before else 1
        self.verdict = verdict(self.status, self.dsn, self.why, to)
        transport = TRANSPORT.match(program)
        # error(8) and retry(8) say no transport
        self.transport = transport["name"] if transport else before.transport if before else None

    def expire(self):
        """The message has been in the queue for too long: who was deferred has bounced."""
        if self.status == "deferred":
            self.status = self.verdict = "expired"


class Message:
    """One queue file, while its lines are read. name: what it was found by; at: when its first line was logged, or None."""

    def __init__(self, name, at):
        self.name, self.at, self.removed, self.expired = name, at, False, False
        self.sender, self.size, self.expected, self.attempts = "", 0, 0, {}

    def add(self, program, text):
        """text: what *program* (postfix/smtp, postfix/qmgr, …) says about this queue id."""
        found = ATTEMPT.match(text)
        if found:
            to = found["to"]
            self.attempts[to] = Attempt(to, found, self.attempts.get(to), program)
        elif program.endswith("/qmgr"):
            found = ACTIVE.match(text)
            if found:
                self.sender, self.size = found["sender"], int(found["size"])
                self.expected = max(self.expected, int(found["recipients"]))
            self.expired = self.expired or bool(EXPIRED.match(text))
            self.removed = text == "removed"

    def ended(self):
        """This message, when all lines were read."""
        for one in self.attempts.values() if self.expired else ():
            one.expire()
        return self


def said(line):
    """(queue id, what is said about it, program) of a line of Postfix's, or None."""
    head = LINE.match(line)
    found = TEXT.match(head["text"]) if head and head["program"].startswith("postfix") else None
    return (found["id"], found["rest"], head["program"]) if found else None


def read(names, logs):
    """The messages (list of Message) that *names* are queue ids or, in <>, Message-IDs of. logs: iterable of lines, the oldest first.

    A short queue id is an inode's number and comes again: of a queue id that was given the last message counts.
    """
    by_id, by_message_id, current = {}, [], {}
    for line in logs:
        found = said(line)
        if not found:
            continue
        queue_id, text, program = found
        about = MESSAGE_ID.match(text) if program.endswith("/cleanup") else None
        ended = queue_id in current and current[queue_id].removed
        if queue_id in names and (ended or queue_id not in current):
            by_id[queue_id] = current[queue_id] = Message(queue_id, moment(line))
        elif about and about[1] in names and (ended or queue_id not in current):
            current[queue_id] = Message(about[1], moment(line))
            by_message_id.append(current[queue_id])
        elif ended:
            del current[queue_id]
        if queue_id in current:
            current[queue_id].add(program, text)
    return [one.ended() for one in (*by_id.values(), *by_message_id)]


def large(least, logs):
    """The Message-IDs (or queue ids, of messages that have none) of those with *least* recipients or more in all their queue files, the last one last."""
    of_id, count, sums = {}, {}, {}
    for line in logs:
        # most lines are about recipients, and need no look
        if "message-id=<" not in line and ", nrcpt=" not in line and not line.endswith(": removed"):
            continue
        found = said(line)
        if not found:
            continue
        queue_id, text, program = found
        about = MESSAGE_ID.match(text) if program.endswith("/cleanup") else None
        active = ACTIVE.match(text) if program.endswith("/qmgr") else None
        if about:
            of_id[queue_id], count[queue_id] = about[1] if about[1] != "<>" else queue_id, 0
        elif active:
            # once more each time that the queue file comes from deferred
            name, before, recipients = of_id.get(queue_id, queue_id), count.get(queue_id, 0), int(active["recipients"])
            if recipients > before:
                count[queue_id] = recipients
                sums[name] = sums.pop(name, 0) + recipients - before
        elif text == "removed":
            of_id.pop(queue_id, None)
            count.pop(queue_id, None)
    return [name for name, recipients in sums.items() if recipients >= least]
