# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""tools/drift --mail: each transition reaches each recipient once, whatever fails on the way; the mail is one that mail servers take."""

import email
import email.policy
import json
import os
import re
import socketserver
import sys
import threading

import drift_records
import pytest
from drift_records import probed, record
from drift_report import command, mail, run, state
from drift_report.mail import LINES

HOST, OTHER = "mx.home.example", "mx2.home.example"
YOU, SHE = "you@example.org", "she@example.org"


SENDMAIL = r"""#!%s
import os, pathlib, sys, time
box = pathlib.Path(os.environ["BOX"])
words = (box / "refuses").read_text().split() if (box / "refuses").exists() else []
if sys.argv[-1] in words:
    print("sendmail: fatal: no room\nfor it")
    sys.exit(75)
text = sys.stdin.buffer.read()
(box / ("%%d.mail" %% time.time_ns())).write_bytes(repr(sys.argv[1:]).encode() + b"\n" + text)
"""
FAKE = """#!%s
import os, sys
open(os.environ["SOKUHAI_DRIFT"], "a").write(open(os.environ["RECORDS"]).read())
"""


class Box:
    """A controller with a sendmail(1) that keeps what it is given, and hosts that are as one says."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.box, self.said = folder, folder / "box", 0
        self.box.mkdir()
        bin_ = folder / "bin"
        bin_.mkdir()
        for path, text in ((bin_ / "sendmail", SENDMAIL), (bin_ / "ansible-playbook", FAKE)):
            path.write_text(text % sys.executable)
            path.chmod(0o755)
        monkeypatch.setattr(run, "ansible_playbook", lambda: str(bin_ / "ansible-playbook"))
        for name, value in (
            ("PATH", f"{bin_}:/usr/bin:/bin"),
            ("BOX", str(self.box)),
            ("RECORDS", str(folder / "records")),
        ):
            monkeypatch.setenv(name, value)

    def run(self, found, *options, to=None, away=()):
        """One run of the command: *found* is {host: [things]}, *to* {host: [addresses]}; its exit status."""
        to = {HOST: [YOU]} if to is None else to
        records = [{"event": "alert", "host": host, "to": list(names)} for host, names in to.items()]
        for host, things in found.items():
            if host in away:
                records.append(record(host, status="unreachable", msg="no route"))
            else:
                records.append(
                    probed(*(drift_records.found(thing, "5", "四", role="postfix") for thing in things), host=host)
                )
        records.append({"event": "end", "hosts": sorted(found), "seconds": {host: 5.0 for host in found}})
        (self.folder / "records").write_text("".join(json.dumps(record) + "\n" for record in records))
        return command.main(["--state", str(self.folder / "state"), "--json", str(self.folder / "report"), *options])

    def mails(self):
        """[(arguments of sendmail, mail)] since one asked last."""
        files = sorted(self.box.glob("*.mail"))
        fresh, self.said = files[self.said :], len(files)
        told = []
        for path in fresh:
            words, _, text = path.read_bytes().partition(b"\n")
            told.append((words.decode(), email.message_from_bytes(text, policy=email.policy.default)))
        return told

    def refuse(self, *addresses):
        (self.box / "refuses").write_text(" ".join(addresses))


@pytest.fixture
def box(tmp_path, monkeypatch):
    return Box(tmp_path, monkeypatch)


def test_a_mail_is_one_that_mail_servers_and_people_can_read(box):
    assert box.run({HOST: ["main.cf: a", "main.cf: b"]}, "--mail") == 2
    ((words, mail),) = box.mails()
    assert words == repr(["-i", "--", YOU])
    assert mail["Subject"] == f"drift: {HOST}: 2 new" and mail["To"] == YOU and "@" in mail["Message-ID"]
    assert (
        mail["Auto-Submitted"] == "auto-generated"
        and mail["Date"].datetime.tzinfo
        and mail["From"].startswith("sokuhai <")
    )
    assert (
        mail["Content-Type"].startswith('text/plain; charset="utf-8"') and mail["Content-Transfer-Encoding"] != "8bit"
    )
    text = mail.get_content()
    assert "main.cf: a" in text and "found 四; declared 5" in text and "| " not in text and "-> " not in text
    assert all(len(line) <= 998 and line.isascii() for line in mail.as_string().splitlines())
    assert box.run({HOST: ["main.cf: c"]}, "--mail", "-d", "--from", "drift@ops.example.org") == 2
    ((words, mail),) = box.mails()
    assert (
        words == repr(["-i", "-f", "drift@ops.example.org", "--", YOU])
        and mail["From"] == "sokuhai <drift@ops.example.org>"
    )
    assert mail["Subject"] == f"drift: {HOST}: 1 new, 2 gone" and "-> ansible-playbook" in mail.get_content()


def test_only_transitions_are_mailed_and_each_once(box, capsys):
    assert box.run({HOST: []}, "--mail", "--changes") == 0 and box.mails() == [], (
        "a clean host has nothing to say, not even at first"
    )
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 2
    (first,) = box.mails()
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 2 and box.mails() == []
    assert box.run({HOST: []}, "--mail", "--changes", away=[HOST]) == 3
    ((_, away),) = box.mails()
    assert (
        away["Subject"] == f"drift: {HOST}: unreachable"
        and "no route" in away.get_content()
        and "gone" not in away.get_content()
    )
    assert box.run({HOST: []}, "--mail", "--changes", away=[HOST]) == 3 and box.mails() == []
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 2
    ((_, back),) = box.mails()
    assert back["Subject"] == f"drift: {HOST}: judged again"
    assert box.run({HOST: []}, "--mail", "--changes") == 0
    ((_, gone),) = box.mails()
    assert gone["Subject"] == f"drift: {HOST}: 1 gone"
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 2
    ((_, again),) = box.mails()
    assert again["Subject"] == first[1]["Subject"] and again["Message-ID"] != first[1]["Message-ID"], (
        "a mailbox would throw the second away"
    )
    assert capsys.readouterr().out == "", "what was mailed is not printed: cron would mail it once more"


def test_a_run_by_hand_takes_nothing_from_the_next_mail_and_mails_nobody(box):
    assert box.run({HOST: ["a"]}) == 2 and box.run({HOST: ["a"]}, "--changes") == 2 and box.mails() == []
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 2
    assert [mail["Subject"] for _, mail in box.mails()] == [f"drift: {HOST}: 1 new"]


def test_a_mail_that_is_not_taken_is_tried_again_and_the_others_are_not_sent_twice(box, capsys):
    to = {HOST: [YOU, SHE]}
    box.refuse(YOU)
    assert box.run({HOST: ["a"]}, "--mail", "--changes", to=to) == 1, "an alert that nobody hears is an error"
    assert [words for words, _ in box.mails()] == [repr(["-i", "--", SHE])]
    printed = capsys.readouterr()
    assert (
        printed.out == ""
        and f"no mail to {YOU}" in printed.err
        and "ended with 75: sendmail: fatal: no room for it" in printed.err
        and "postfix: a" in printed.err
    )
    report = json.loads((box.folder / "report").read_text())
    assert report["exit"] == 1 and [(mail["to"], mail["taken"]) for mail in report["mails"]] == [
        (SHE, True),
        (YOU, False),
    ]
    # meanwhile something else happens: the one who heard nothing hears of both in one mail, the other of what is new
    box.refuse()
    assert box.run({HOST: ["a", "b"]}, "--mail", "--changes", to=to) == 2
    assert [(words, mail["Subject"]) for words, mail in box.mails()] == [
        (repr(["-i", "--", SHE]), f"drift: {HOST}: 1 new"),
        (repr(["-i", "--", YOU]), f"drift: {HOST}: 2 new"),
    ]
    assert box.run({HOST: ["a", "b"]}, "--mail", "--changes", to=to) == 2 and box.mails() == []
    assert capsys.readouterr() == ("", "")


def test_a_run_that_ends_between_sending_and_noting_sends_the_same_mail(box, monkeypatch):
    """The one gap that cannot be closed: the second has the first one's Message-ID."""
    rename = os.rename

    def dies(source, target):
        if str(target).endswith("mailed.json") and list(box.box.glob("*.mail")):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", dies)
    # something that was told before, so that there is a file to come back to
    (box.folder / "state").mkdir()
    (box.folder / "state" / "mailed.json").write_text('{"seed": "s", "count": 1, "to": {}}')
    with pytest.raises(KeyboardInterrupt):
        box.run({HOST: ["a"]}, "--mail")
    monkeypatch.setattr(os, "rename", rename)
    assert box.run({HOST: ["a"]}, "--mail") == 2
    (_, first), (_, second) = box.mails()
    assert first["Message-ID"] == second["Message-ID"]
    assert not [path for path in (box.folder / "state").iterdir() if path.name.startswith(".drift-")]


def test_nothing_is_sent_that_could_not_be_noted(box, monkeypatch, capsys):
    written = state.written

    def full(path, text):
        if path.name == "mailed.json":
            raise OSError(28, "No space left on device")
        return written(path, text)

    monkeypatch.setattr(state, "written", full)
    for _ in range(2):
        assert box.run({HOST: ["a"]}, "--mail", "--changes") == 1 and box.mails() == []
    printed = capsys.readouterr()
    assert "No space left" in printed.err and "postfix: a" in printed.out, "what cannot be mailed is printed"


def test_each_hears_of_his_own_hosts_and_the_rest_is_printed(box, capsys):
    found = {HOST: ["a"], OTHER: ["b"], "mx3.home.example": ["c"]}
    assert box.run(found, "--mail", "--changes", to={HOST: [YOU, SHE], OTHER: [SHE], "mx3.home.example": []}) == 2
    mails = {mail["To"]: mail for _, mail in box.mails()}
    assert (
        mails[YOU]["Subject"] == f"drift: {HOST}: 1 new" and mails[SHE]["Subject"] == f"drift: {HOST}, {OTHER}: 2 new"
    )
    assert "postfix: b" not in mails[YOU].get_content() and "postfix: c" not in mails[SHE].get_content()
    out = capsys.readouterr().out
    assert "postfix: c" in out and "postfix: a" not in out and "postfix: b" not in out


def test_a_run_that_broke_off_mails_nothing_and_is_printed(box, capsys):
    box.run({HOST: ["a"]}, "--mail", "--changes")
    box.mails()
    (box.folder / "bin" / "ansible-playbook").write_text(FAKE % sys.executable + "sys.exit(250)\n")
    assert command.main(["--state", str(box.folder / "state"), "--mail", "--changes"]) == 1 and box.mails() == []
    assert "ended with 250" in capsys.readouterr().out


@pytest.mark.parametrize(
    "address", ["-oQ/tmp", "a b@example.org", "a@example.org\nBcc: b@example.org", "", "a,b@example.org"]
)
def test_what_is_no_address_is_never_handed_on(box, capsys, address):
    assert box.run({HOST: ["a"]}, "--mail", to={HOST: [address]}) == 1
    assert box.mails() == [] and "not an address" in capsys.readouterr().err


def test_a_limited_run_forgets_nobody(box):
    to = {HOST: [YOU], OTHER: [SHE]}
    box.run({HOST: ["a"], OTHER: ["b"]}, "--mail", to=to)
    assert len(box.mails()) == 2
    box.run({HOST: ["a"]}, "--mail", "--limit", HOST, to={HOST: [YOU]})
    assert box.run({HOST: ["a"], OTHER: ["b"]}, "--mail", to=to) == 2 and box.mails() == []


def test_a_long_list_is_cut_and_many_hosts_are_counted(box):
    hosts = {f"mx{n}.home.example": [f"thing {n}.{m}" for m in range(60)] for n in range(5)}
    box.run(hosts, "--mail", to={host: [YOU] for host in hosts})
    ((_, mail),) = box.mails()
    assert mail["Subject"] == "drift: 5 hosts: 300 new" and re.search(r"… and \d+ lines more", mail.get_content())
    assert len(mail.get_content().splitlines()) < LINES + 10


class Server(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs; the recipient's local part `no` is refused."""

    def handle(self):
        self.wfile.write(b"220 sink ESMTP\r\n")
        data = None
        for line in self.rfile:
            if data is not None:
                if line == b".\r\n":
                    self.server.taken.append((self.server.envelope, b"".join(data)))
                    data = None
                    self.wfile.write(b"250 taken\r\n")
                else:
                    data.append(line[1:] if line.startswith(b"..") else line)
                continue
            verb = line[:4].upper()
            if verb == b"MAIL":
                self.server.envelope = [line.strip().decode()]
            elif verb == b"RCPT":
                self.server.envelope.append(line.strip().decode())
                if b"<no@" in line:
                    self.wfile.write(b"550 5.1.1 nobody here\r\n")
                    continue
            elif verb == b"DATA":
                data = []
                self.wfile.write(b"354 go on\r\n")
                continue
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 well\r\n")


@pytest.fixture
def server():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as sink:
        sink.taken, sink.daemon_threads = [], True
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        yield sink
        sink.shutdown()


def test_by_smtp_where_it_is_asked_for(box, server, capsys):
    where = "127.0.0.1:%d" % server.server_address[1]
    assert box.run({HOST: [".leading dot", "b"]}, "--mail", "--smtp", where, to={HOST: [YOU, "no@example.org"]}) == 1
    assert box.mails() == [], "--smtp says how"
    ((envelope, text),) = server.taken
    assert envelope[0].startswith("mail FROM:<") and "@" in envelope[0] and envelope[1].lower() == f"rcpt to:<{YOU}>"
    mail = email.message_from_bytes(text, policy=email.policy.default)
    assert (
        b"\n" not in text.replace(b"\r\n", b"")
        and "postfix: .leading dot" in mail.get_content()
        and mail["Auto-Submitted"] == "auto-generated"
    )
    assert "5.1.1 nobody here" in capsys.readouterr().err
    server.shutdown()
    server.server_close()
    assert box.run({HOST: []}, "--mail", "--smtp", where) == 1 and "127.0.0.1" in capsys.readouterr().err


def test_without_any_way_to_mail_it_is_said(box, monkeypatch, capsys):
    monkeypatch.setattr(mail, "SBIN", "")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 1
    assert "no sendmail(1) on this machine, and no --smtp HOST" in capsys.readouterr().err


def test_sendmail_is_found_beside_the_path_of_cron(tmp_path, monkeypatch):
    (tmp_path / "sendmail").write_text("#!/bin/sh\n")
    (tmp_path / "sendmail").chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(mail, "SBIN", str(tmp_path))
    assert mail.sendmail() == str(tmp_path / "sendmail")


@pytest.mark.parametrize(
    "text, where",
    [
        ("h", ("h", 25)),
        ("h.example:587", ("h.example", 587)),
        ("[::1]:26", ("::1", 26)),
        ("192.0.2.1", ("192.0.2.1", 25)),
    ],
)
def test_a_place_to_hand_mail_to(text, where):
    assert mail.place(text) == where


@pytest.mark.parametrize(
    "words",
    [
        ["--mail", "--smtp", "h:0"],
        ["--mail", "--smtp", "h:x"],
        ["--mail", "--smtp", "::1"],
        ["--smtp", "h"],
        ["--from", "a@b"],
        ["--mail", "--from", "a b"],
    ],
)
def test_options_that_make_no_sense_are_refused(words):
    with pytest.raises(SystemExit) as end:
        command.arguments(words)
    assert end.value.code == 1
