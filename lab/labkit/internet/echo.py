"""An echo service: who sends it a message gets back what the receiver made of it, as Authentication-Results (RFC 8601) in the text.

Operators have such addresses tell them how their mail is seen; deliverability.yml reads the reply.
"""

import email.utils
import smtplib
import time

from .verdict import Names

TRIES, PAUSE = 30, 4  # a host that greylists takes it the second time


def results(name, sender, verdict):
    """The field Authentication-Results of *verdict*, what verdict.judge() returns, by the receiver *name*."""
    signed = [
        f"dkim={'pass' if good else 'fail'} header.d={domain} header.s={selector} header.a={algorithm}"
        for domain, selector, algorithm, good in verdict["signatures"]
    ]
    parts = [name, f"spf={verdict['spf']} smtp.mailfrom={sender or '<>'}", *(signed or ["dkim=none"])]
    return "Authentication-Results: " + ";\r\n\t".join([*parts, f"dmarc={verdict['dmarc']}"])


def reply(name, message, sender, recipient, verdict):
    """The message (bytes) that goes back to *sender* about *message*."""
    header = message.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    lines = [
        f"From: <{recipient}>",
        f"To: <{sender}>",
        "Subject: Re: what was made of your message",
        f"Message-ID: {email.utils.make_msgid(domain=name)}",
        f"Date: {email.utils.formatdate()}",
        "Auto-Submitted: auto-replied",
        "",
        results(name, sender, verdict),
        header,
        "",
    ]
    return "\r\n".join(lines).encode()


def send(name, address, names, recipient, data, pause=PAUSE):
    """Bring *data* to the best mail exchanger of *recipient* as the server *name* at *address*; return whether it was accepted. names: of a name server."""
    lookup = Names(names)
    exchangers = sorted(lookup.ask(recipient.rpartition("@")[2], "MX"), key=lambda one: one.preference)
    kind = "AAAA" if ":" in address else "A"
    targets = [found.address for one in exchangers for found in lookup.ask(one.exchange.to_text(), kind)]
    for _attempt in range(TRIES):
        for target in targets:
            try:
                with smtplib.SMTP(local_hostname=name, timeout=60, source_address=(address, 0)) as session:
                    session.connect(target, 25)
                    session.sendmail("", [recipient], data)
                return True
            except (OSError, smtplib.SMTPException):
                continue
        time.sleep(pause)
    return False
