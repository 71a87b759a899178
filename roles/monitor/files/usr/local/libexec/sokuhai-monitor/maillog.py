# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""What a line of the mail log counts as. A new kind of line is a row of PROGRAMS."""

import collections
import re

# syslogd's formats (RFC 3164, with -v, RFC 5424) up to the program; Postfix's names hold its syslog_name and, for submission, the service
LINE = re.compile(
    r"^(?:<\d+>1 \S+ \S+ |[A-Z][a-z][a-z] [ \d]\d [\d:]{8} (?:<[\w.]+> )?\S+ |\d{4}-\S+ \S+ )"
    r"(?P<program>[\w./-]+)(?:\[\d+\]:| \d+ \S+ \S+) (?P<text>.*)"
)
REPEATED = re.compile(
    r"^(?:<\d+>1 \S+|[A-Z][a-z][a-z] [ \d]\d [\d:]{8}(?: <[\w.]+>)?|\d{4}-\S+) \S+ "
    r"(?:syslogd(?:: | \S+ \S+ \S+ ))?last message repeated (\d+) times?$"
)
# Postfix's own words (src/smtp/smtp_addr.c, smtp_connect.c, smtp_proto.c) and what other hosts say when they greylist
DNS = re.compile(
    r"name service error|host not found|domain name not found|malformed (?:or unexpected )?name server reply|unable to look up host",
    re.I,
)
GREYLISTED = re.compile(r"gr[ea]y-?list|postgrey|try again in \d+ (?:second|minute)", re.I)
SAID = re.compile(r"\bsaid: [45]|refused to talk to me: 4")
CONNECT = re.compile(
    r"^connect to |timed out|lost connection|connection (?:refused|reset)|network is unreachable|no route to host"
    r"|delivery temporarily suspended: (?:connect|conversation|lost)",
    re.I,
)
DNSBL = re.compile(r"blocked using ", re.I)
# what reject_authenticated_sender_login_mismatch says (src/smtpd/smtpd_check.c)
OWNED = re.compile(r"Sender address rejected: not owned by user ", re.I)
# the log of postfwd, 1 and 3, about a rule of role sasl (filter_plugins/recipients.py)
LIMIT = re.compile(
    r"\[RULES\] rule=\d+, id=(?P<kind>over|near)_(?P<limit>\d+)(?:_\d+)?, (?:queue=\S+, )?client=.*?, user=(?P<user>\S+), sender="
)


def reason(dsn, why):
    """The column that a delivery attempt which was deferred counts in. dsn: its status code; why: the text in parentheses."""
    if SAID.search(why):
        return "deferred_greylisted" if GREYLISTED.search(why) else "deferred_refused"
    if dsn == "4.4.3" or DNS.search(why):
        return "deferred_dns"
    return "deferred_connect" if CONNECT.search(why) else "deferred_other"


def delivered(match):
    """The columns of a delivery attempt."""
    if match["status"] == "deferred":
        return "mails_deferred", reason(match["dsn"], match["why"])
    return {"sent": ("mails_out",), "bounced": ("mails_bounced",)}.get(match["status"], ())


def refused(match):
    """The columns of a command that was refused."""
    if match["code"] == "5":
        return ("mails_rejected",)
    return () if GREYLISTED.search(match["why"]) else ("mails_put_off",)


def refused_by_smtpd(match):
    more = [column for column, words in (("dnsbl_hits", DNSBL), ("sender_fails", OWNED)) if words.search(match["why"])]
    return (*refused(match), *more)


def warned_by_smtpd(match):
    """Of what warn_if_reject lets through, only senders count."""
    return ("sender_fails",) if OWNED.search(match["why"]) else ()


def refused_by_postscreen(match):
    return (*refused(match), "postscreen_hits")


def rules(*pairs):
    return [(re.compile(pattern), columns) for pattern, columns in pairs]


ID = r"[0-9A-Za-z]+: "
REJECT = r"(?:NOQUEUE|[0-9A-Za-z]+): (?:milter-)?reject: \S+ from \S+ (?P<code>[45])\d\d[ -](?P<why>.*)"
WARNING = REJECT.replace("(?:milter-)?reject", "reject_warning")
#: What a program's text is matched with, and the columns of the first that matches, or what returns them.
PROGRAMS = {
    "cleanup": rules(
        (ID + r"(?:resent-)?message-id=", ("mails_in",)), (ID + r"(?:milter-)?reject: .*: 5\.\d", ("mails_rejected",))
    ),
    "postscreen": rules(
        (r"DNSBL rank ", ("dnsbl_hits",)),
        (r"(?:PREGREET|BARE NEWLINE|COMMAND PIPELINING|NON-SMTP COMMAND) ", ("postscreen_hits",)),
        (REJECT, refused_by_postscreen),
    ),
    "smtpd": rules((REJECT, refused_by_smtpd), (WARNING, warned_by_smtpd)),
    "qmgr": rules((ID + r"from=<.*>, status=(?:force-)?expired", ("mails_bounced",))),
}
DELIVERY = rules((ID + r"to=<.*, dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<why>.*)\)$", delivered))
POSTGREY = rules((r"action=greylist", ("greylist_hits",)))
# spf-engine logs its answer to Postfix, the Perl agent "Policy action=" before it; softfail does not count
SPF = rules(
    (r"(?i).*(?:Received-SPF: fail\b|\bspf=fail\b|due to: SPF fail\b)|Policy action=5\d\d ", ("spf_fails",)),
)


def classify(line):
    """The columns that *line* (str, of the mail log) counts in, as a tuple."""
    found = LINE.match(line)
    if not found:
        return ()
    name = found["program"].rpartition("/")[2]
    if name == "postgrey":
        known = POSTGREY
    elif "spf" in name:
        known = SPF
    else:
        known = PROGRAMS.get(name, DELIVERY) if found["program"].startswith("postfix") else ()
    for pattern, columns in known:
        match = pattern.match(found["text"])
        if match:
            return columns(match) if callable(columns) else columns
    return ()


def limit_of(line):
    """(near or over, user, limit in recipients an hour) of what postfwd logs of a user who comes near his limit or is over it, or None."""
    found = LINE.match(line)
    match = LIMIT.match(found["text"]) if found and found["program"].partition("/")[0] == "postfwd" else None
    return (match["kind"], match["user"], int(match["limit"])) if match else None


class Counts:
    """Counts of what the log said, over calls of add(); a repetition that syslogd folded counts for the line before it.

    limits: what limit_of() found since the last take_limits(), as a set.
    """

    def __init__(self):
        self.last, self.number, self.limits = (), collections.Counter(), set()

    def add(self, data):
        """data: bytes of whole lines."""
        for line in data.decode("utf-8", "replace").splitlines():
            again = REPEATED.match(line)
            if again:
                self.number.update({column: int(again[1]) for column in self.last})
            else:
                self.last = classify(line)
                self.number.update(self.last)
                self.limits.update(filter(None, [limit_of(line)]))

    def take(self):
        """A Counter of the columns since the last call."""
        taken, self.number = self.number, collections.Counter()
        return taken

    def take_limits(self):
        """Sorted list of what limit_of() found since the last call."""
        taken, self.limits = sorted(self.limits), set()
        return taken
