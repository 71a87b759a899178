# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""sokuhai-report: what became of a message, or of the last large ones, from the mail log alone."""

import argparse
import collections
import json
import lzma
import math
import statistics
import sys

import message
import printed
from logs import found, lines
from maillog import reason

SHARES = (50, 95, 99, 100)  # per cent of all recipients
STEPS = range(5, 101, 5)  # per cent of all recipients at which the curve has a point, after that of the first one
SPENT = ("before", "queue", "connection", "sending")  # Postfix's delays=a/b/c/d
GROUPS = 10  # providers or domains, and reasons, of a message in the list of the last ones


def seconds(delays, share, recipients):
    """The seconds until *share* per cent of *recipients* were served, or None when so many were not. delays: those of the served ones, sorted."""
    place = math.ceil(recipients * share / 100)
    return delays[place - 1] if 0 < place <= len(delays) else None


def served(attempts):
    """The seconds after which each of those who were served was, sorted. attempts: list of (when the first queue file arrived to when this one did, Attempt)."""
    return sorted(round(late + one.delay, 2) for late, one in attempts if one.status == "sent")


def summary(attempts, recipients):
    """What became of *recipients* people, of whom *attempts* (list of (late, Attempt)) are known."""
    by = collections.Counter(one.status for _late, one in attempts)
    delays = served(attempts)
    return {
        "recipients": recipients,
        "delivered": by["sent"],
        "at_the_first_attempt": sum(one.status == "sent" and one.number == 1 for _late, one in attempts),
        "deferred": by["deferred"],
        "bounced": by["bounced"] + by["expired"],
        "dead": sum(one.verdict == "dead" for _late, one in attempts),
        "seconds": {str(share): seconds(delays, share, recipients) for share in SHARES},
    }


def spent(attempts):
    """Where the seconds went: {part: median of those who were served}, or None where the log does not say."""
    parts = [one.delays for _late, one in attempts if one.status == "sent" and one.delays]
    return dict(zip(SPENT, map(statistics.median, zip(*parts)))) if parts else None


def largest_first(groups):
    return {
        name: summary(ones, len(ones))
        for name, ones in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    }


def grouped(domains):
    """(by provider or domain, names of the providers) of {domain: attempts}: a domain whose mail goes through a transport that the log names is that provider's."""
    groups, providers = {}, set()
    for domain, ones in domains.items():
        transport = next((one.transport for _late, one in ones if one.transport), None)
        groups.setdefault(transport or domain, []).extend(ones)
        providers.update(filter(None, [transport]))
    # where all of it went one way, as in the urgent lane, that says nothing
    return (domains, set()) if len(groups) == 1 else (groups, providers)


def report(messages):
    """All that is said about *messages* (list of Message, not empty), as data: see docs/operate.md."""
    known_at = [one.at for one in messages if one.at is not None]
    began = min(known_at, default=None)
    domains, why = {}, {"deferred": collections.Counter(), "bounced": collections.Counter()}
    attempts, dead = [], []
    for one in messages:
        late = one.at - began if one.at is not None else 0
        for to, attempt in one.attempts.items():
            attempts.append((late, attempt))
            domains.setdefault(to.rpartition("@")[2].lower(), []).append((late, attempt))
            if attempt.status == "deferred":
                why["deferred"][reason(attempt.dsn, attempt.why).replace("deferred_", ""), attempt.why] += 1
            elif attempt.status in ("bounced", "expired"):
                why["bounced"][attempt.verdict, attempt.why] += 1
            if attempt.verdict == "dead":
                dead.append(to)
    expected = sum(max(one.expected, len(one.attempts)) for one in messages)
    groups, providers = grouped(domains)
    delays = served(attempts)
    return {
        "at": began,
        "messages": len(messages),
        "senders": sorted({one.sender for one in messages}),
        "size": max(one.size for one in messages),
        "in_queue": sum(not one.removed for one in messages),
        "unattempted": expected - len(attempts),
        **summary(attempts, expected),
        "curve": [delays[0] if delays else None, *(seconds(delays, share, expected) for share in STEPS)],
        "spent": spent(attempts),
        "providers": sorted(providers),
        "groups": largest_first(groups),
        "domains": largest_first(domains),
        **{
            "%s_by" % status: [
                {"reason": kind, "text": text, "recipients": number} for (kind, text), number in counted.most_common()
            ]
            for status, counted in why.items()
        },
        "dead_addresses": sorted(dead),
    }


def brief(about, name):
    """*about* (of report()) for the page: without domains and addresses, reasons without texts."""
    kept = {key: value for key, value in about.items() if key not in ("domains", "groups", "dead_addresses")}
    for key in ("deferred_by", "bounced_by"):
        counted = collections.Counter()
        for one in about[key]:
            counted[one["reason"]] += one["recipients"]
        kept[key] = dict(counted.most_common())
    shown = dict(list(about["groups"].items())[:GROUPS])
    return {
        **kept,
        "name": name,
        "groups": shown,
        "other_groups": len(about["groups"]) - len(shown),
    }


def last(logs, least, number, since):
    """{name: messages} of the last *number* messages with *least* recipients or more that arrived after *since*, the last one first. logs: a function that reads them again."""
    names = message.large(least, logs())[-number:]
    by_name = {name: [] for name in reversed(names)}
    for one in message.read(set(names), logs()) if names else ():
        by_name[one.name].append(one)
    return {
        name: ones
        for name, ones in by_name.items()
        if ones and not any(one.at is not None and one.at < since for one in ones)
    }


def parser():
    given = argparse.ArgumentParser(
        prog="sokuhai-report",
        description="What became of a message, or without one of the last large ones, from the mail log alone.",
    )
    given.add_argument("message", nargs="*", help="queue id, or <Message-ID> in quotes")
    given.add_argument("--last", type=int, default=5, help="without a message: so many of the last (default: 5)")
    given.add_argument("--least", type=int, default=100, help="with so many recipients or more (default: 100)")
    given.add_argument("--since", type=int, default=0, help="that arrived after this time, seconds since 1970")
    given.add_argument(
        "--maillog", default="/var/log/maillog", help="the log; those that newsyslog(8) has rotated lie beside it"
    )
    given.add_argument(
        "--log", action="append", help="only this log, compressed or not; may be given again, the oldest first"
    )
    given.add_argument(
        "--megabytes",
        type=int,
        default=1024,
        help="read so much of the logs at most, the youngest first (default: 1024)",
    )
    form = given.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, as JSON")
    form.add_argument("--dead", action="store_true", help="only the addresses that do not exist, one a line")
    return given


def collected(options):
    """({name: messages} that *options* ask for, paths of the logs that were read, those that were left out). Raises what lines() does."""
    most = options.megabytes * 2**20
    paths, left_out = (options.log, []) if options.log else found(options.maillog, most)

    def logs():
        return (line for path in paths for line in lines(path, most))

    if options.message:
        return {" ".join(options.message): message.read(set(options.message), logs())}, paths, left_out
    return last(logs, options.least, options.last, options.since), paths, left_out


def main(arguments):
    """Be sokuhai-report; return the exit status: 0, or 1 when no log has the message, 2 when wrongly called or a log cannot be read."""
    given = parser()
    options = given.parse_args(arguments)
    if min(options.last, options.least, options.megabytes) < 1:
        given.error("--last, --least and --megabytes are 1 or more")
    try:
        try:
            messages, paths, left_out = collected(options)
        except FileNotFoundError:
            # newsyslog(8) has renamed it, or put the compressed one in its place
            messages, paths, left_out = collected(options)
    except (OSError, EOFError, lzma.LZMAError) as problem:
        given.exit(2, "sokuhai-report: %s\n" % problem)
    if left_out and not options.json:
        print("sokuhai-report: not read: %s (--megabytes)" % ", ".join(left_out), file=sys.stderr)
    if options.message and not any(messages.values()):
        given.exit(1, "sokuhai-report: %s: not in %s\n" % (" ".join(options.message), ", ".join(paths) or "any log"))
    about = {name: report(ones) for name, ones in messages.items()}
    if options.dead:
        shown = sorted({to for one in about.values() for to in one["dead_addresses"]})
    elif options.json:
        whole = (
            next(iter(about.values()))
            if options.message
            else {"mailings": [brief(one, name) for name, one in about.items()]}
        )
        shown = [json.dumps({**whole, "left_out": left_out}, indent=1, ensure_ascii=False)]
    else:
        shown = printed.one(next(iter(about.values()))) if options.message else printed.many(about, options.least)
    for line in shown:
        print(line)
    return 0
