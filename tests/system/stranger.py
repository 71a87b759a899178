"""A client of port 25, and what it is answered."""

import json

#: argv: where, the client's address ("" for the machine's own), HELO, sender, message ("" for none), recipients
TALK = """
import contextlib, json, smtplib, sys
where, address, helo, sender, text, *recipients = sys.argv[1:]
s = smtplib.SMTP(local_hostname=helo, timeout=180, source_address=(address, 0) if address else None)
s.connect(where, 25)
answers = [s.ehlo(helo), s.mail(sender), *map(s.rcpt, recipients)]
if text and any(code == 250 for code, _said in answers[2:]):
    answers.append(s.data(text))
with contextlib.suppress(smtplib.SMTPServerDisconnected):
    s.quit()
print(json.dumps([[code, said.decode()] for code, said in answers]))
"""


def talk(
    lab, sender, *recipients, text="", client=("203.0.113.20", "mail.sender.test"), where="192.0.2.10", host="clients"
):
    """Return [[code, text]] of the replies to EHLO, MAIL, each RCPT and, for a message *text* of which a recipient was accepted, the end of data.

    client: (address, HELO), the address "" for the one of *host*, where it runs; where: the address that it connects to.
    """
    python = "python3" if host == "clients" else "/usr/local/bin/python3"
    return json.loads(lab.sh(python, "-", where, *client, sender, text, *recipients, host=host, stdin=TALK).stdout)
