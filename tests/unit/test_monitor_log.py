# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: what it makes of the lines of a mail log."""

import re

import pytest
from sampler_modules import FOLDER, maillog, samples

HEAD = "Nov 28 20:06:08 mx "
TO = "postfix/smtp[820]: 4F2A1: to=<a@d0001.test>, relay=none, delay=1, delays=0/0/1/0, dsn=%s, status=%s (%s)"


# ---- the log ----


@pytest.mark.parametrize(
    "line, columns",
    [
        (TO % ("2.0.0", "sent", "250 2.0.0 Ok: queued as 12"), ("mails_out",)),
        (
            "postfix/local[9]: A1: to=<root@home.example>, relay=local, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)",
            ("mails_out",),
        ),
        (TO % ("5.1.1", "bounced", "host a[192.0.2.1] said: 550 5.1.1 no"), ("mails_bounced",)),
        ("postfix/qmgr[9]: A1: from=<a@b>, status=expired, returned to sender", ("mails_bounced",)),
        (
            TO
            % (
                "4.4.3",
                "deferred",
                "Host or domain name not found. Name service error for name=d.test type=MX: Host not found, try again",
            ),
            ("mails_deferred", "deferred_dns"),
        ),
        (
            TO
            % (
                "4.3.5",
                "deferred",
                "delivery temporarily suspended: Host or domain name not found. Name service error for name=d type=A: x",
            ),
            ("mails_deferred", "deferred_dns"),
        ),
        (
            TO % ("4.4.1", "deferred", "connect to mx.d.test[192.0.2.9]:25: Connection timed out"),
            ("mails_deferred", "deferred_connect"),
        ),
        (
            TO
            % (
                "4.4.1",
                "deferred",
                "delivery temporarily suspended: connect to mx.d.test[192.0.2.9]:25: Connection refused",
            ),
            ("mails_deferred", "deferred_connect"),
        ),
        (
            TO
            % (
                "4.4.2",
                "deferred",
                "lost connection with mx.d.test[192.0.2.9] while receiving the initial server greeting",
            ),
            ("mails_deferred", "deferred_connect"),
        ),
        (
            TO
            % (
                "4.2.0",
                "deferred",
                "host mx.d.test[192.0.2.9] said: 450 4.2.0 <a@d>: Recipient address rejected: Greylisted, see x (in reply to RCPT TO command)",
            ),
            ("mails_deferred", "deferred_greylisted"),
        ),
        (
            TO
            % (
                "4.2.2",
                "deferred",
                "host mx.d.test[192.0.2.9] said: 452 4.2.2 mailbox full (in reply to RCPT TO command)",
            ),
            ("mails_deferred", "deferred_refused"),
        ),
        (
            TO
            % ("4.7.0", "deferred", "host mx.d.test[192.0.2.9] refused to talk to me: 421 4.7.0 too many connections"),
            ("mails_deferred", "deferred_refused"),
        ),
        # the other host's words about DNS are not this host's DNS
        (
            TO
            % (
                "4.1.8",
                "deferred",
                "host mx.d.test[192.0.2.9] said: 450 4.1.8 <a@b>: Sender address rejected: Domain not found, host not found",
            ),
            ("mails_deferred", "deferred_refused"),
        ),
        (TO % ("4.3.0", "deferred", "mail transport unavailable"), ("mails_deferred", "deferred_other")),
        ("postfix/cleanup[7]: 4F2A1: message-id=<1@home.example>", ("mails_in",)),
        (
            "postfix/cleanup[7]: 4F2A1: reject: header Subject: x from h[192.0.2.1]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>: 5.7.1 no",
            ("mails_rejected",),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 5.7.1 <c@d>: Relay access denied; from=<a@b> to=<c@d> proto=ESMTP helo=<x>",
            ("mails_rejected",),
        ),
        ("postfix/submission/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 554 5.7.1 x", ("mails_rejected",)),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 450 4.1.8 <a@b>: Sender address rejected: Domain not found",
            ("mails_put_off",),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 450 4.2.0 <c@d>: Recipient address rejected: Greylisted, please try again in 15 seconds",
            (),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject: RCPT from h[192.0.2.1]: 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test; x",
            ("mails_rejected", "dnsbl_hits"),
        ),
        ("postfix/smtpd[7]: NOQUEUE: reject_warning: RCPT from h[192.0.2.1]: 554 5.7.1 x", ()),
        ("postfix/postscreen[7]: DNSBL rank 3 for [192.0.2.1]:4711", ("dnsbl_hits",)),
        ("postfix/postscreen[7]: PREGREET 11 after 0.1 from [192.0.2.1]:4711: EHLO x", ("postscreen_hits",)),
        (
            "postfix/postscreen[7]: NOQUEUE: reject: RCPT from [192.0.2.1]:4711: 550 5.7.1 Service unavailable; client [192.0.2.1] blocked using bl.test; from=<a@b>",
            ("mails_rejected", "postscreen_hits"),
        ),
        ("postfix/postscreen[7]: PASS NEW [192.0.2.1]:4711", ()),
        (
            "postgrey[593]: action=greylist, reason=new, client_name=x, client_address=192.0.2.1, sender=a@b, recipient=c@d",
            ("greylist_hits",),
        ),
        ("postgrey[593]: action=pass, reason=triplet found, client_name=x", ()),
        (
            "policyd-spf[5]: prepend Received-SPF: Fail (mailfrom) identity=mailfrom; client-ip=192.0.2.1",
            ("spf_fails",),
        ),
        ("policyd-spf[5]: prepend Received-SPF: Softfail (mailfrom) identity=mailfrom", ()),
        ("policyd-spf[5]: 550 5.7.23 Message rejected due to: SPF fail - not authorized. Please see x", ("spf_fails",)),
        ("postfix/policy-spf[5]: Policy action=PREPEND Received-SPF: fail (x)", ("spf_fails",)),
        # of a warning only the senders count, and they count where they are rejected, too
        (
            "postfix/submission/smtpd[7]: NOQUEUE: reject_warning: RCPT from a[192.0.2.1]: 553 5.7.1 <b@c.test>: Sender address rejected: not owned by user "
            "alice; from=<b@c.test> to=<d@e.test> proto=ESMTP helo=<a>",
            ("sender_fails",),
        ),
        (
            "postfix/submission/smtpd[7]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 553 5.7.1 <b@c.test>: Sender address rejected: not owned by user alice; "
            "from=<b@c.test> to=<d@e.test> proto=ESMTP helo=<a>",
            ("mails_rejected", "sender_fails"),
        ),
        (
            "postfix/smtpd[7]: NOQUEUE: reject_warning: RCPT from a[192.0.2.1]: 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using x; from=<>",
            (),
        ),
        # a client may choose its HELO and addresses
        ("postfix/smtpd[7]: connect from status=sent.test[192.0.2.1]", ()),
        ("sshd[1]: x status=sent (250)", ()),
    ],
)
def test_what_a_line_counts_as(line, columns):
    assert maillog.classify(HEAD + line) == columns
    assert (
        maillog.classify(
            "<22>1 2026-11-28T20:06:08.1+09:00 mx.home.example " + re.sub(r"\[(\d+)\]:", r" \1 - -", line, count=1)
        )
        == columns
    )


def test_every_column_that_is_counted_is_one_of_the_file_and_what_a_line_counts_as_is_counted():
    said = re.findall(
        r'"((?:mails|deferred|greylist|dnsbl|postscreen|spf|sender)_\w+)"', (FOLDER / "maillog.py").read_text()
    )
    assert set(said) == set(samples.COUNTED) and len(set(samples.COLUMNS)) == len(samples.COLUMNS)


def test_repetitions_that_syslogd_folded_are_counted():
    counts = maillog.Counts()
    line = HEAD + "postgrey[1]: action=greylist, reason=new\n"
    counts.add((line + HEAD + "last message repeated 4 times\n").encode())
    counts.add(
        (
            HEAD
            + "last message repeated 2 times\n"
            + HEAD
            + "postfix/smtpd[1]: connect from x\n"
            + HEAD
            + "last message repeated 9 times\n"
        ).encode()
    )
    assert counts.take()["greylist_hits"] == 7
    assert not counts.take()


HIT = (
    "[RULES] rule=1, id=%s, client=c.test[192.0.2.1], user=%s, sender=<a@b>, recipient=<d@e>, helo=<x, user=y, sender=z>, proto=ESMTP, state=RCPT, "
    "rate=rate/8/0.00s, delay=0.00s, hits=over_10;near_10, action=DUNNO"
)


@pytest.mark.parametrize(
    "line, found",
    [
        ("postfwd[7]: " + HIT % ("near_10", "alice"), ("near", "alice", 10)),
        # from the second recipient on the mail has a name
        ("postfwd[7]: " + HIT % ("near_10, queue=14E4032A", "alice"), ("near", "alice", 10)),
        # postfwd 3 logs as a part of itself; a user with a figure of his own has rules of his own
        ("postfwd/policy[7]: " + HIT % ("over_2000_3", "list@home.example"), ("over", "list@home.example", 2000)),
        # the rules of an operator's own postfwd are none of ours
        ("postfwd[7]: " + HIT % ("RATE01", "alice"), None),
        ("postfix/smtpd[7]: " + HIT % ("near_10", "alice"), None),
    ],
)
def test_a_user_near_his_limit_of_recipients_is_found(line, found):
    counts = maillog.Counts()
    counts.add(2 * (HEAD + line + "\n").encode())
    assert counts.take_limits() == [found] * (found is not None) and counts.take_limits() == []
    assert not counts.take()
