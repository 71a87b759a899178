# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What only the outside can answer: is port 25 open, and what becomes of a mail?"""

import contextlib
import ipaddress
import re
import socket
import uuid

from ansible.module_utils.accepted_tls import said
from ansible.module_utils.sokuhai import host

METHODS = ("spf", "dkim", "dmarc")


def exchangers(domain, ask):
    """Addresses of the hosts that mail for *domain* goes to, the best ones first, or None where nobody answers. ask: function (name, type) -> values or None."""
    answers = ask(domain, "MX")
    if answers is None:
        return None
    names = [one.partition(" ")[2] for one in sorted(answers, key=lambda one: int(one.split()[0]))] or [domain]
    found = []
    for name in names[:3]:
        for kind in ("A", "AAAA"):
            found += ask(name, kind) or []
    return found


def greet(address, source, timeout):
    """Connect to port 25 of *address* from *source*, where this host has it, and read the greeting. Raises OSError."""
    with socket.create_connection((address, 25), timeout, (source, 0) if is_own(source) else None) as sock:
        said(sock.makefile("rb"))
        with contextlib.suppress(OSError):
            sock.sendall(b"QUIT\r\n")


def is_own(address):
    """Whether this host has *address* itself; behind address translation it has not."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def port25(targets, sources, timeout=10, greeting=greet):
    """Return [(family, fault, what was tried)] for each family of *sources* (addresses of this host): fault is "" where a target answers."""
    found = []
    for source in sources:
        version = ipaddress.ip_address(source).version
        why = []
        for target in [one for one in targets if ipaddress.ip_address(one).version == version][:3]:
            try:
                greeting(target, source, timeout)
            except OSError as problem:
                why.append("%s: %s" % (target, problem.strerror or problem))
            else:
                found.append(("ipv%d" % version, "", target))
                break
        else:
            found.append(("ipv%d" % version, "blocked" if why else "nobody", "; ".join(why)))
    return found


def message(sender, recipient, token, name):
    """Return the test mail (str)."""
    lines = [
        "From: %s" % sender,
        "To: %s" % recipient,
        "Subject: sokuhai: would this be accepted? %s" % token,
        "Message-ID: <%s@%s>" % (token, name),
        "Auto-Submitted: auto-generated",
        "",
        "A test of playbooks/deliverability.yml. What matters is the Authentication-Results in the header of this mail.",
        "",
    ]
    return "\n".join(lines)


def fate(log, since, token, name):
    """Return (status, dsn, text) of the mail with that Message-ID by what the mail log got since, or None."""
    ids = host.logged(log, since, r"cleanup\[\d+\]: (\w+): message-id=<%s@%s>" % (token, re.escape(name)))
    for one in ids[-1:]:
        lines = host.logged(log, since, r"\b%s: to=<.*? dsn=([\d.]+), status=(\w+) \((.*)\)" % one)
        if lines:
            dsn, status, text = lines[-1]
            return status, dsn, text
    return None


def results(mailbox, token):
    """Return {method: result} of the first Authentication-Results in the mail of *mailbox* (text of an mbox) that has *token* in it, or None."""
    for mail in re.split(r"^From ", mailbox, flags=re.MULTILINE):
        if token in mail:
            # a reply carries them in its text; its own header's are about the reply
            body = re.split(r"\n\r?\n", mail, maxsplit=1)[-1]
            found = re.search(r"Authentication-Results:(.*?)(?:\n(?![ \t>|])|\Z)", body, re.DOTALL | re.IGNORECASE)
            if found:
                pairs = re.findall(r"\b(spf|dkim|dmarc)\s*=\s*(\w+)", found[1], re.IGNORECASE)
                answers = {}
                for method, result in pairs:
                    # several signatures: one that passes is enough
                    if answers.get(method.lower()) != "pass":
                        answers[method.lower()] = result.lower()
                return answers
    return None


def send(p, name):
    """Send the test mail; return (token, where the log ended before)."""
    token = "sokuhai-%s" % uuid.uuid4().hex[:16]
    since = host.log_end(p["maillog"])
    text = message(p["test_from"], p["test_address"], token, name)
    status, out, err = host.run(["sendmail", "-i", "-f", p["test_from"], "--", p["test_address"]], text=text)
    if status:
        raise host.Refused("sendmail: %s" % host.last_lines(out + err, 3))
    return token, since
