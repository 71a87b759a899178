# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""The ways of an alarm out of the host. sendmail(1) needs Postfix and named, which may be what is down; webhook and relay need neither: their addresses are given."""

import http.client
import json
import smtplib
import socket
import ssl
import subprocess
import time
import urllib.parse

from freebsd import ENV, within

SECONDS = 15  # that one try may take: nothing is measured meanwhile


def opened(settings):
    """The names of the ways that are declared."""
    return [name for name in ("mail", "webhook", "relay") if settings[{"mail": "alert_to"}.get(name, name)]]


def send(way, settings, host, alarm):
    """Try one way; whether it was taken. alarm: {name, over, value, limit, at, text}."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(alarm["at"]))
    if way == "webhook":
        return webhook(settings["webhook"], dict(alarm, host=host))
    line = "%s  %s" % (stamp, alarm["text"])
    if way == "relay":
        return relay(settings["relay"], host, alarm["text"], line)
    return mail(settings["alert_to"], alarm["text"], line)


def message(to, subject, text, more=""):
    return "%sTo: %s\nSubject: %s\nAuto-Submitted: auto-generated\n\n%s\n" % (more, ", ".join(to), subject, text)


def mail(to, subject, text, command="/usr/sbin/sendmail"):
    """Whether the host's own sendmail(1) took it."""
    try:
        return not subprocess.run(
            [command, "-i", "--", *to],
            input=message(to, subject, text).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENV,
            timeout=20,
            check=False,
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return False


def webhook(to, alarm):
    """Whether a web server took it, as JSON: {host, alarm, state, value, limit, time, text}. to: {url, address}; the certificate is for the name in the URL."""
    parts = urllib.parse.urlsplit(to["url"])
    secure = parts.scheme == "https"
    body = {
        "host": alarm["host"],
        "alarm": alarm["name"],
        "state": "raised" if alarm["over"] else "ended",
        "value": alarm["value"],
        "limit": alarm["limit"],
        "time": alarm["at"],
        # what Mattermost, Slack and others show
        "text": alarm["text"],
    }
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    headers = {"Host": parts.netloc.rpartition("@")[2], "Content-Type": "application/json"}
    there = http.client.HTTPConnection(parts.hostname)
    try:
        with within(SECONDS):
            # no name is resolved: a connection that has its socket makes none
            there.sock = socket.create_connection((to["address"], parts.port or (443 if secure else 80)), SECONDS)
            if secure:
                there.sock = ssl.create_default_context().wrap_socket(there.sock, server_hostname=parts.hostname)
            there.request("POST", path, json.dumps(body), headers)
            return 200 <= there.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        there.close()


class Pinned(smtplib.SMTP):
    """A session with an address, in which the name is the one that the certificate is for."""

    def __init__(self, address, name, port, local_hostname):
        self.address = address
        # with its own name nothing asks for the host's
        super().__init__(name or address, port, local_hostname, SECONDS)

    def _get_socket(self, host, port, timeout):
        return socket.create_connection((self.address, port), timeout)


def relay(to, host, subject, text):
    """Whether a relay took it for everybody. to: {address, port, name, to}; without a name there is no TLS."""
    sender = "root@" + host
    more = "From: %s\nDate: %s\n" % (sender, time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime()))
    try:
        with within(SECONDS), Pinned(to["address"], to["name"], to["port"], host) as session:
            if to["name"]:
                session.starttls(context=ssl.create_default_context())
            return not session.sendmail(sender, to["to"], message(to["to"], subject, text, more))
    except (OSError, smtplib.SMTPException):
        return False
