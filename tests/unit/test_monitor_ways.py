# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: the ways of an alarm out of the host that need neither named nor its queue, against servers that are there."""

import contextlib
import http.server
import json
import socketserver
import ssl
import subprocess
import threading

import pytest
from sampler_modules import SETTINGS, alerts, ways

NAME = "alerts.example.org"
DOWN = {"time": 1795897000, "named_running": 0}


@pytest.fixture(autouse=True)
def nothing_is_resolved_or_logged(monkeypatch):
    """A name that is looked up anyway is a failure: named may be what is down."""

    def looked_up(host, *_arguments, **_options):
        assert not any(letter in "ghijklmnopqrstuvwxyz" for letter in host), host
        return real(host, *_arguments, **_options)

    real = ways.socket.getaddrinfo
    monkeypatch.setattr(ways.socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(alerts.syslog, "syslog", lambda *what: None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A context that serves NAME, and the file with its certificate."""
    folder = tmp_path_factory.mktemp("certificate")
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    argv += ["-subj", "/CN=" + NAME, "-addext", "subjectAltName=DNS:" + NAME]
    subprocess.run([*argv, "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context, folder / "crt"


@pytest.fixture
def trusted(certificate, monkeypatch):
    """As if that certificate were among those that the host trusts."""
    real = ssl.create_default_context
    monkeypatch.setattr(ways.ssl, "create_default_context", lambda: real(cafile=certificate[1]))


@contextlib.contextmanager
def serving(server):
    with server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.headers["Host"], self.path, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, status=204, context=None):
        super().__init__(("127.0.0.1", 0), Hook)
        self.got, self.status = [], status
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_arguments):
        """A client that hangs up is no traceback."""


class Session(socketserver.StreamRequestHandler):
    """As much of an SMTP server as a relay needs."""

    def answer(self, *lines):
        for line in lines:
            self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.answer("220 relay ESMTP")
        secure = False
        with contextlib.suppress(OSError):
            while line := self.rfile.readline():
                verb = line.strip().decode()
                self.server.got.append(verb)
                verb = verb.upper()
                if verb.startswith("EHLO"):
                    self.answer("250-relay", "250 STARTTLS" if self.server.context and not secure else "250 8BITMIME")
                elif verb == "STARTTLS":
                    self.answer("220 go")
                    self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
                    self.rfile, self.wfile, secure = (
                        self.connection.makefile("rb"),
                        self.connection.makefile("wb", 0),
                        True,
                    )
                elif verb == "DATA":
                    self.answer("354 go")
                    self.server.got += iter(lambda: self.rfile.readline().strip().decode(), ".")
                    self.answer("250 queued")
                elif verb.startswith("RCPT") and "UNKNOWN" in verb:
                    self.answer("550 who?")
                elif verb == "QUIT":
                    self.answer("221 bye")
                    return
                else:
                    self.answer("250 ok")


class Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Session)
        self.got, self.context = [], context

    def handle_error(self, *_arguments):
        """A client that hangs up is no traceback."""


def alarm(tmp_path, rows=(DOWN, {**DOWN, "time": DOWN["time"] + 60}), **settings):
    made = alerts.Alerts(str(tmp_path / "state.json"), "mx", {**SETTINGS, **settings})
    for row in rows:
        made.judge(row)
    return made


def test_a_webhook_gets_each_alarm_and_its_end_as_json(tmp_path):
    server = Server()
    with serving(server) as port:
        made = alarm(tmp_path, webhook={"url": f"http://{NAME}:{port}/hook?key=1", "address": "127.0.0.1"})
        made.judge({"time": DOWN["time"] + 65, "named_running": 1})
        made.judge({"time": DOWN["time"] + 130, "named_running": 1})
    assert [(host, path, body["state"]) for host, path, body in server.got] == [
        (f"{NAME}:{port}", "/hook?key=1", "raised"),
        (f"{NAME}:{port}", "/hook?key=1", "ended"),
    ]
    assert server.got[0][2] == {
        "host": "mx",
        "alarm": "named_down",
        "state": "raised",
        "value": 0,
        "limit": 60,
        "time": DOWN["time"] + 60,
        "text": "mx: down: named does not run, for 60 seconds or more",
    }
    assert made.mails == []


def test_a_webhook_is_tried_again_where_it_was_not_taken_and_the_other_way_is_not(tmp_path, monkeypatch):
    mailed = []
    monkeypatch.setattr(ways, "mail", lambda to, *_text: mailed.append(to) or True)
    server = Server(500)
    with serving(server) as port:
        made = alarm(tmp_path, webhook={"url": f"http://{NAME}:{port}", "address": "127.0.0.1"}, alert_to=["root"])
        assert len(server.got) == 1 and [one["ways"] for one in made.mails] == [["webhook"]]
        server.status = 200
        made = alarm(tmp_path, [{"time": DOWN["time"] + 200}], **made.settings)
    assert [path for _host, path, _body in server.got] == ["/", "/"] and made.mails == [] and mailed == [["root"]]


def test_a_webhooks_certificate_is_verified_by_the_name_in_its_url(trusted, certificate, tmp_path):
    server = Server(context=certificate[0])
    with serving(server) as port:
        for name, left in ((NAME, 0), ("other.example.org", 1)):
            (tmp_path / name).mkdir()
            made = alarm(tmp_path / name, webhook={"url": f"https://{name}:{port}/", "address": "127.0.0.1"})
            assert len(made.mails) == left
    assert len(server.got) == 1


def test_one_that_does_not_answer_costs_no_more_than_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(ways, "SECONDS", 1)
    with ways.socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        to = {"address": "127.0.0.1", "port": port, "name": "", "to": ["ops@home.example"]}
        made = alarm(tmp_path, webhook={"url": f"http://{NAME}:{port}/", "address": "127.0.0.1"}, relay=to)
    assert [one["ways"] for one in made.mails] == [["webhook", "relay"]]


@pytest.mark.parametrize("name, taken", [("", True), (NAME, True), ("other.example.org", False)])
def test_a_relay_gets_a_mail_and_with_a_name_only_over_tls(trusted, certificate, tmp_path, name, taken):
    server = Relay(certificate[0])
    with serving(server) as port:
        to = {"address": "127.0.0.1", "port": port, "name": name, "to": ["ops@home.example"]}
        made = alarm(tmp_path, relay=to)
    assert bool(made.mails) != taken and ("STARTTLS" in server.got) == bool(name)
    assert server.got[0] == "ehlo mx"
    if taken:
        assert {"mail from:<root@mx>", "rcpt to:<ops@home.example>"} <= {line.lower() for line in server.got}
        assert "Subject: mx: down: named does not run, for 60 seconds or more" in server.got
        assert "From: root@mx" in server.got and any(line.startswith("Date: ") for line in server.got)


def test_a_relay_without_tls_gets_nothing_where_a_name_is_declared(tmp_path):
    server = Relay()
    with serving(server) as port:
        assert alarm(tmp_path, relay={"address": "127.0.0.1", "port": port, "name": NAME, "to": ["a@b"]}).mails
    assert not any(line.lower().startswith("mail") for line in server.got)


def test_a_relay_that_takes_it_for_some_is_tried_again(tmp_path):
    server = Relay()
    with serving(server) as port:
        to = {"address": "127.0.0.1", "port": port, "name": "", "to": ["ops@home.example", "unknown@home.example"]}
        assert alarm(tmp_path, relay=to).mails
