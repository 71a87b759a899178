# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One mail of tools/drift: what it says, and how it is sent."""

import email.message
import email.policy
import email.utils
import getpass
import hashlib
import json
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess

#: Where sendmail(1) lives beside cron's PATH, which is /usr/bin:/bin
SBIN = "/usr/sbin:/usr/local/sbin:/usr/lib:/usr/local/bin"
#: Seconds that one mail may take to be sent, connection and dialogue each
PATIENCE = 60
#: Lines of one mail; a host that was reinstalled has hundreds of findings
LINES = 400
#: One address as an envelope has it, or a local name, in ASCII; never an option of sendmail(1), never a second header line
ADDRESS = re.compile(r"(?!-)[!#%*+./0-9=?@A-Z^_a-z{}~-]+")
#: Every mail server takes it, also one without 8BITMIME
POLICY = email.policy.SMTP.clone(cte_type="7bit")


class NotTaken(Exception):
    """A mail that nobody has taken, with the reason."""


def subject(moved):
    """Hosts and counts on one line: `drift: mx.home.example: 2 new, 1 gone`."""
    names = list(dict.fromkeys([entry["host"] for entry in moved["hosts"] + moved["new"] + moved["gone"]]))
    counts = ["%d %s" % (len(moved[key]), key) for key in ("new", "gone") if moved[key]]
    for word in ("unreachable", "error"):
        number = sum(entry["to"] == word for entry in moved["hosts"])
        counts += [word if len(names) == 1 else "%d %s" % (number, word)] if number else []
    back = sum(
        entry["from"] in ("unreachable", "error") and entry["to"] in ("clean", "drift") for entry in moved["hosts"]
    )
    counts += ["judged again" if len(names) == 1 else "%d judged again" % back] if back else []
    counts = counts or ["clean" if all(entry["to"] == "clean" for entry in moved["hosts"]) else "drift"]
    return "drift: %s: %s" % (", ".join(names) if len(names) <= 3 else "%d hosts" % len(names), ", ".join(counts))


def letter(to, sender, moved, lines, about):
    """The mail (email.message.EmailMessage). *about*: what stands under it.

    Its Message-ID is made of what it says, so that one that was taken although nobody could say so is known again when it comes twice.
    """
    mail = email.message.EmailMessage(policy=POLICY)
    mail["From"] = email.utils.formataddr(("sokuhai", sender)) if "@" in sender else "sokuhai <%s>" % sender
    mail["To"] = to
    mail["Subject"] = subject(moved)
    mail["Date"] = email.utils.localtime()
    said = [
        to,
        sorted(entry["id"] for entry in moved["new"]),
        sorted(entry["id"] for entry in moved["gone"]),
        moved["hosts"],
        moved["mail"],
    ]
    name = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]
    mail["Message-ID"] = "<%s.drift@%s>" % (name, domain(sender))
    # RFC 3834: no vacation program answers it
    mail["Auto-Submitted"] = "auto-generated"
    if len(lines) > LINES:
        lines = [*lines[:LINES], "… and %d lines more" % (len(lines) - LINES)]
    mail.set_content("\n".join([*lines, "", "-- ", *about]) + "\n", charset="utf-8")
    return mail


def domain(sender):
    return sender.rpartition("@")[2] if "@" in sender else socket.gethostname() or "localhost"


def own_address():
    """USER@FQDN of this machine; only USER where it has no domain, which sendmail(1) completes."""
    name = socket.getfqdn()
    return (
        "%s@%s" % (getpass.getuser(), name) if "." in name and not name.startswith("localhost") else getpass.getuser()
    )


def sendmail():
    """Path of sendmail(1), None without one."""
    return shutil.which("sendmail", path=os.pathsep.join([os.environ.get("PATH", ""), SBIN]))


def send(mail, to, sender, smtp=None, given=False):
    """Hand a mail over. *smtp*: (host, port), else sendmail(1) is called. *given*: the envelope's sender is *sender* with sendmail(1) as well,
    which knows a better one otherwise. Raises NotTaken."""
    try:
        if smtp:
            by_smtp(mail, to, sender if "@" in sender else "%s@%s" % (sender, socket.gethostname()), smtp)
            return
        program = sendmail()
        if not program:
            raise NotTaken("no sendmail(1) on this machine, and no --smtp HOST")
        # its lines end as text does here (sendmail(8) makes CRLF of them); -i: a lone dot ends nothing
        text = mail.as_bytes(policy=POLICY.clone(linesep="\n"))
        done = subprocess.run(
            [program, "-i", *(["-f", sender] if given else []), "--", to],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise NotTaken(
                "%s ended with %d: %s"
                % (program, done.returncode, " ".join(done.stdout.decode("utf-8", "replace").split())[:300])
            )
    except subprocess.TimeoutExpired:
        raise NotTaken("sendmail(1) did not end within %d s" % PATIENCE) from None
    except (OSError, smtplib.SMTPException) as problem:
        raise NotTaken(
            "%s: %s"
            % ("%s:%d" % smtp if smtp else "sendmail", " ".join(str(problem).split())[:300] or type(problem).__name__)
        ) from None


def by_smtp(mail, to, sender, smtp):
    with smtplib.SMTP(*smtp, timeout=PATIENCE) as server:
        server.ehlo_or_helo_if_needed()
        if server.has_extn("starttls"):
            # like smtp_tls_security_level = may: a certificate that nobody knows is still better than none
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            server.starttls(context=context)
            server.ehlo()
        server.sendmail(sender, [to], mail.as_bytes())


def place(text):
    """(host, port) of HOST[:PORT] or [IPv6]:PORT. Raises ValueError."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d+))?|([^:\[\]]+)(?::(\d+))?", text)
    port = int((match and (match[2] or match[4])) or 25)
    if not match or not 0 < port < 65536:
        raise ValueError("%r is not HOST[:PORT]" % text)
    return match[1] or match[3], port
