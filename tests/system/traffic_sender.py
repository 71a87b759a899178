"""Sends mails as servers, users and programs do: one after the other, each tried again until it is accepted. Standard library only; runs where it is sent to.

Its argument is the order as JSON: {"run", "way": smtp | submission | sendmail, "sources": […], "server", "to", "workers", "least", "pause", "most"}; {n} in "to" is
the mail's number modulo 1000. It sends until standard input ends, though never fewer than "least", and at most "most" mails. Then it prints {"accepted": [tokens],
"unsure": [tokens whose connection was lost between their last dot and the reply], "given up": [tokens], "again": {reason: tries}}.
"""

import collections
import concurrent.futures
import json
import smtplib
import ssl
import subprocess
import sys
import threading
import time

ORDER = json.loads(sys.argv[1])
OVER = threading.Event()
LOCK = threading.Lock()
ACCEPTED, UNSURE, GIVEN_UP, AGAIN = [], [], [], collections.Counter()
#: Seconds in which a mail must be accepted by somebody.
PATIENCE = 300
NUMBERS = iter(range(ORDER["most"]))


class Lost(Exception):
    """The reply to the last dot did not come: whether the mail was accepted is known to nobody here."""


def text(token):
    return "From: <traffic@sender.test>\r\nSubject: %s\r\nX-Lab-Token: %s\r\n\r\nx\r\n" % (token, token)


def by_sendmail(token, recipient, _source):
    done = subprocess.run(
        ["/usr/sbin/sendmail", "-f", "root@home.example", recipient],
        input=text(token).replace("\r\n", "\n"),
        universal_newlines=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise OSError("sendmail: exit %d" % done.returncode)


def by_smtp(token, recipient, source):
    submits = ORDER["way"] == "submission"
    where = {"source_address": (source, 0), "local_hostname": "mail.sender.test"}
    with smtplib.SMTP(ORDER["server"], 587 if submits else 25, timeout=60, **where) as session:
        if submits:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            session.starttls(context=context)
            session.login("alert@home.example", "practice")
        session.ehlo_or_helo_if_needed()
        for code, said in (
            session.mail("postmaster@home.example" if submits else "traffic@sender.test"),
            session.rcpt(recipient),
        ):
            if code >= 300:
                raise smtplib.SMTPResponseException(code, said)
        code, said = session.docmd("DATA")
        if code != 354:
            raise smtplib.SMTPResponseException(code, said)
        session.send((text(token) + ".\r\n").encode())
        try:
            code, said = session.getreply()
        except (OSError, smtplib.SMTPServerDisconnected) as error:
            raise Lost(str(error)) from error
        if code >= 300:
            raise smtplib.SMTPResponseException(code, said)


def send(number):
    token = "%s.%s.%d" % (ORDER["run"], ORDER["way"], number)
    recipient = ORDER["to"].replace("{n}", "%04d" % (number % 1000 + 1))
    source = ORDER["sources"][number % len(ORDER["sources"])] if ORDER["sources"] else None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            (by_sendmail if ORDER["way"] == "sendmail" else by_smtp)(token, recipient, source)
            break
        except Lost as error:
            with LOCK:
                UNSURE.append(token)
                AGAIN["lost after the dot: %s" % error] += 1
        except smtplib.SMTPResponseException as error:
            with LOCK:
                AGAIN["%d %s" % (error.smtp_code, bytes(error.smtp_error).decode("latin-1")[:120])] += 1
        except (OSError, smtplib.SMTPException) as error:
            with LOCK:
                AGAIN["%s: %s" % (type(error).__name__, error)] += 1
        time.sleep(1)
    else:
        GIVEN_UP.append(token)
        return
    ACCEPTED.append(token)


def work():
    while not OVER.is_set() or len(ACCEPTED) + len(GIVEN_UP) < ORDER["least"]:
        with LOCK:
            number = next(NUMBERS, None)
        if number is None:
            return
        send(number)
        time.sleep(ORDER["pause"])


def main():
    with concurrent.futures.ThreadPoolExecutor(ORDER["workers"]) as pool:
        workers = [pool.submit(work) for _ in range(ORDER["workers"])]
        # the other end says that it is enough
        sys.stdin.read()
        OVER.set()
        for worker in workers:
            worker.result()
    json.dump({"accepted": ACCEPTED, "unsure": UNSURE, "given up": GIVEN_UP, "again": AGAIN}, sys.stdout)


if __name__ == "__main__":
    main()
