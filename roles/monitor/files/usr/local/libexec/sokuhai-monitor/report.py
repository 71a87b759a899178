# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""sokuhai-report: what became of a message, from the mail log alone.

A message is given by its queue id or by its Message-ID; a list manager that hands in a message a hundred recipients at a time makes one with many queue ids.
Of a recipient the last attempt counts. Times are Postfix's `delay=`: seconds from the arrival of the message to the end of the attempt (postconf(5), delay_logging_resolution_limit).
"""

import argparse
import bz2
import collections
import gzip
import json
import lzma
import math
import os
import re

from maillog import LINE, reason

LOGS = (
    "/var/log/maillog.0.bz2",
    "/var/log/maillog.0",
    "/var/log/maillog.0.gz",
    "/var/log/maillog.0.xz",
    "/var/log/maillog",
)
OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
SHARES = (50, 95, 99, 100)  # per cent of all recipients
MOST = 10  # domains and reasons that are named one by one in the text

TEXT = re.compile(r"(?P<id>[0-9A-Za-z]+): (?P<rest>.*)")
ATTEMPT = re.compile(r"to=<(?P<to>.*?)>, (?P<how>.*?)dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<why>.*)\)$")
MESSAGE_ID = re.compile(r"(?:resent-)?message-id=(<.*>)$")
ACTIVE = re.compile(r"from=<(?P<sender>.*?)>, size=(?P<size>\d+), nrcpt=(?P<recipients>\d+) ")
EXPIRED = re.compile(r"from=<.*?>, status=(?:force-)?expired")
DELAY = re.compile(r"\bdelay=([\d.]+)")
#: RFC 3463 3.2 and 3.3: no such mailbox, no such host, bad address, moved, disabled; RFC 7505: takes no mail; 5.4.4 is Postfix's for a name that is not in the DNS.
DEAD = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4")
#: What hosts without such codes say (Postfix then writes 5.0.0, or 5.x.x of its own).
UNKNOWN = re.compile(
    r"\b55\d[ -].*(?:unknown (?:user|recipient)|user unknown|no such (?:user|mailbox)|user not found|does not exist)",
    re.I,
)


def lines(path):
    """The lines (str) of a log, compressed or not."""
    with OPENERS.get(os.path.splitext(path)[1], open)(path, "rb") as source:
        for line in source:
            yield line.decode("utf-8", "replace").rstrip("\n")


class Attempt:
    """The last attempt at a recipient, and how many there were."""

    def __init__(self, found, before):
        self.status, self.dsn, self.why = found["status"], found["dsn"], found["why"]
        delay = DELAY.search(found["how"])
        self.delay = float(delay[1]) if delay else 0.0
        self.number = before.number + 1 if before else 1

    @property
    def dead(self):
        return self.status == "bounced" and (self.dsn in DEAD or bool(UNKNOWN.search(self.why)))


class Message:
    """One queue file, while its lines are read."""

    def __init__(self):
        self.removed = self.expired = False
        self.sender, self.size, self.expected, self.attempts = "", 0, 0, {}

    def add(self, program, text):
        """text: what *program* (smtp, qmgr, …) says about this queue id."""
        found = ATTEMPT.match(text)
        if found:
            self.attempts[found["to"]] = Attempt(found, self.attempts.get(found["to"]))
        elif program == "qmgr":
            found = ACTIVE.match(text)
            if found:
                self.sender, self.size = found["sender"], int(found["size"])
                self.expected = max(self.expected, int(found["recipients"]))
            self.expired = self.expired or bool(EXPIRED.match(text))
            self.removed = text == "removed"


def read(names, logs):
    """The messages (list of Message) that *names* are queue ids or, in <>, Message-IDs of. logs: iterable of lines, the oldest first.

    A short queue id is an inode's number and comes again: of a queue id that was given the last message counts.
    """
    by_id, by_message_id, current = {}, [], {}
    for line in logs:
        head = LINE.match(line)
        found = TEXT.match(head["text"]) if head and head["program"].startswith("postfix") else None
        if not found:
            continue
        queue_id, said, program = found["id"], found["rest"], head["program"].rpartition("/")[2]
        about = MESSAGE_ID.match(said) if program == "cleanup" else None
        ended = queue_id in current and current[queue_id].removed
        if queue_id in names and (ended or queue_id not in current):
            by_id[queue_id] = current[queue_id] = Message()
        elif about and about[1] in names and (ended or queue_id not in current):
            current[queue_id] = Message()
            by_message_id.append(current[queue_id])
        elif ended:
            del current[queue_id]
        if queue_id in current:
            current[queue_id].add(program, said)
    return [*by_id.values(), *by_message_id]


def seconds(delays, share, recipients):
    """The seconds until *share* per cent of *recipients* were served, or None when so many were not. delays: those of the served ones, sorted."""
    place = math.ceil(recipients * share / 100)
    return delays[place - 1] if 0 < place <= len(delays) else None


def times(attempts, recipients):
    delays = sorted(one.delay for one in attempts if one.status == "sent")
    return {str(share): seconds(delays, share, recipients) for share in SHARES}


def summary(attempts, recipients):
    """What became of *recipients* people, of whom *attempts* (list of Attempt) are known."""
    by = collections.Counter(one.status for one in attempts)
    return {
        "recipients": recipients,
        "delivered": by["sent"],
        "at_the_first_attempt": sum(one.status == "sent" and one.number == 1 for one in attempts),
        "deferred": by["deferred"],
        "bounced": by["bounced"] + by["expired"],
        "seconds": times(attempts, recipients),
    }


def report(messages):
    """All that is said about *messages*, as data: see docs/operate.md."""
    attempts = [(to, one) for message in messages for to, one in message.attempts.items()]
    for one in (one for message in messages if message.expired for one in message.attempts.values()):
        if one.status == "deferred":
            one.status = "expired"
    domains, why = {}, {"deferred": collections.Counter(), "bounced": collections.Counter()}
    for to, one in attempts:
        domains.setdefault(to.rpartition("@")[2].lower(), []).append(one)
        if one.status == "deferred":
            why["deferred"][reason(one.dsn, one.why).replace("deferred_", ""), one.why] += 1
        elif one.status in ("bounced", "expired"):
            why["bounced"]["dead" if one.dead else one.status, one.why] += 1
    known = len(attempts)
    expected = sum(max(message.expected, len(message.attempts)) for message in messages)
    return {
        "messages": len(messages),
        "senders": sorted({message.sender for message in messages}),
        "size": max(message.size for message in messages),
        "in_queue": sum(not message.removed for message in messages),
        "unattempted": expected - known,
        **summary([one for _to, one in attempts], expected),
        "domains": {
            name: summary(ones, len(ones))
            for name, ones in sorted(domains.items(), key=lambda item: (-len(item[1]), item[0]))
        },
        **{
            "%s_by" % status: [
                {"reason": kind, "text": text, "recipients": number} for (kind, text), number in counted.most_common()
            ]
            for status, counted in why.items()
        },
        "dead": sorted(to for to, one in attempts if one.dead),
    }


def said(value):
    return "not reached" if value is None else "%.1f s" % value


def text(about):
    """*about* (of report()) for a terminal: a list of lines."""
    shown = [
        "from <%s>, %d bytes, %d recipients in %d queue file(s), %d of them still in the queue"
        % (">, <".join(about["senders"]), about["size"], about["recipients"], about["messages"], about["in_queue"]),
        "delivered %d (%d at the first attempt), deferred %d, bounced %d, not yet tried %d"
        % tuple(about[key] for key in ("delivered", "at_the_first_attempt", "deferred", "bounced", "unattempted")),
        ", ".join("%s %%: %s" % (share, said(value)) for share, value in about["seconds"].items()),
        "",
        "%-32s %10s %10s %9s %8s %12s %12s"
        % ("domain", "recipients", "delivered", "deferred", "bounced", "50 %", "99 %"),
    ]
    row = "%-32s %10d %10d %9d %8d %12s %12s"
    for name, one in list(about["domains"].items())[:MOST]:
        shown.append(
            row
            % (
                name,
                one["recipients"],
                one["delivered"],
                one["deferred"],
                one["bounced"],
                *(said(one["seconds"][key]) for key in ("50", "99")),
            )
        )
    if len(about["domains"]) > MOST:
        shown.append("and %d more domains (--json has them)" % (len(about["domains"]) - MOST))
    for status in ("deferred", "bounced"):
        reasons = about["%s_by" % status]
        if reasons:
            shown += ["", "%s by" % status]
            shown += ["%7d  %-11s %s" % (one["recipients"], one["reason"], one["text"]) for one in reasons[:MOST]]
            if len(reasons) > MOST:
                shown.append("and %d more texts (--json has them)" % (len(reasons) - MOST))
    if about["dead"]:
        shown += ["", "%d address(es) that do not exist (--dead lists them)" % len(about["dead"])]
    return shown


def main(arguments):
    """Be sokuhai-report; return the exit status: 0, or 1 when no log has the message, 2 when wrongly called or a log cannot be read."""
    parser = argparse.ArgumentParser(
        prog="sokuhai-report", description="What became of a message, from the mail log alone."
    )
    parser.add_argument("message", nargs="+", help="queue id, or <Message-ID> in quotes")
    parser.add_argument(
        "--log",
        action="append",
        help="a log, compressed or not, the oldest first; default: /var/log/maillog and the one before it",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, as JSON")
    form.add_argument("--dead", action="store_true", help="only the addresses that do not exist, one a line")
    options = parser.parse_args(arguments)
    logs = options.log or [path for path in LOGS if os.path.exists(path)]
    try:
        messages = read(set(options.message), (line for path in logs for line in lines(path)))
    except (OSError, EOFError, lzma.LZMAError) as problem:
        parser.exit(2, "sokuhai-report: %s\n" % problem)
    if not messages:
        parser.exit(1, "sokuhai-report: %s: not in %s\n" % (" ".join(options.message), ", ".join(logs) or "any log"))
    about = report(messages)
    if options.json:
        print(json.dumps(about, indent=1, ensure_ascii=False))
    else:
        print("\n".join(about["dead"] if options.dead else text(about)))
    return 0
