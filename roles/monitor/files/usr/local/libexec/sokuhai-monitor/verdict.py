# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""Why a recipient bounced: dead (take the address off the list), policy, full, expired, or something else.

Codes: RFC 3463 and the IANA registry "SMTP Enhanced Status Codes". An address that is called dead and is not gets no alert, so what is doubtful is not dead.
"""

import re

#: X.1.1 no such mailbox, X.1.2 no such host, X.1.3 no address, X.1.6 moved, X.1.10 null MX (RFC 7505), X.2.1 mailbox disabled.
DEAD = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")
#: X.2.2; over quota.
FULL = ("5.2.2",)
#: X.7.*: security and policy; X.1.7, X.1.8: the sender's address; X.2.3, X.3.4: size.
POLICY = re.compile(r"5\.7\.\d+|5\.1\.[78]")
SIZE = ("5.2.3", "5.3.4")
#: What says nothing by itself: Postfix writes 5.0.0 where the host gave no code (src/global/dsn_util.c), and X.1.0 and X.5.0 are "other".
VAGUE = ("5.0.0", "5.1.0", "5.3.0", "5.5.0")
UNKNOWN = re.compile(
    r"\b55\d[ -].*(?:unknown (?:user|recipient|mailbox)|(?:user|recipient|mailbox) unknown|no such (?:user|mailbox|recipient)"
    r"|user not found|user doesn't have|(?:user|recipient|mailbox|account|address) does not exist)",
    re.I,
)
#: The words of Postfix's smtp(8) for RFC 7505, which it bounces with 5.1.0 (src/dns/dns_lookup.c).
NULL_MX = re.compile(r"Domain \S+ does not accept mail \(nullMX\)")
#: And for a name that is not in the DNS, or has no MX and no address, with 5.4.4: the recipient's domain, not a smarthost that is misspelt.
NO_NAME = re.compile(
    r"Name service error for name=(?P<name>\S+) type=\S+: (?:Host not found|Host found but no data record of requested type)$"
)
#: What is called dead, or has 5.2.1, for another reason: the sender; too much mail (Google's 5.2.1).
NOT_DEAD = re.compile(
    r"\bsender|too (?:many|much|quickly)|at a rate|rate limit|\bspam|blacklist|block ?list|reputation", re.I
)


def dead(dsn, why, to):
    """Whether the other side knows nobody by this address, or the DNS not its domain. dsn: status code; why: the words behind it; to: the recipient."""
    if dsn == "5.4.4":
        name = NO_NAME.search(why)
        return bool(name) and name["name"].rstrip(".").lower() == to.rpartition("@")[2].lower()
    if NULL_MX.search(why):
        return True
    if NOT_DEAD.search(why):
        return False
    return dsn in DEAD or (dsn in VAGUE and bool(UNKNOWN.search(why)))


def verdict(status, dsn, why, to):
    """dead, policy, full, size or bounced, for a recipient with this *status*; another status is its own."""
    if status != "bounced":
        return status
    if dead(dsn, why, to):
        return "dead"
    if dsn in FULL:
        return "full"
    return "size" if dsn in SIZE else "policy" if POLICY.fullmatch(dsn) else "bounced"
