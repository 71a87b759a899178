# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""tools/drift --mail: each transition reaches each recipient once, whatever fails on the way; the mail is one that mail servers take."""

import email
import email.policy
import json
import os
import re
import socket

import drift_records
import pytest
from aiosmtpd.controller import Controller
from drift_records import probed, record
from drift_report import command, mail, run, state
from drift_report.mail import LINES
from role_modules import PYTHON

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


def read_mail(text):
    return email.message_from_bytes(text, policy=email.policy.default)


class Box:
    """A controller with a sendmail(1) that keeps what it is given, and hosts that are as one says."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.box, self.bin, self.said = folder, folder / "box", folder / "bin", 0
        self.box.mkdir()
        self.bin.mkdir()
        self.program("sendmail", SENDMAIL)
        monkeypatch.setattr(run, "ansible_playbook", lambda: self.program("ansible-playbook", self.ansible))
        self.ansible = FAKE
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        monkeypatch.setenv("BOX", str(self.box))
        monkeypatch.setenv("RECORDS", str(folder / "records"))

    def program(self, name, text):
        """Have that Python program, and return its path."""
        path = self.bin / name
        path.write_text(text % PYTHON)
        path.chmod(0o755)
        return str(path)

    def run(self, found, *options, to=None, away=()):
        """One run of the command: *found* is {host: [things]}, *to* {host: [addresses]}; its exit status."""
        to = {HOST: [YOU]} if to is None else to
        records = [{"event": "alert", "host": host, "to": list(names)} for host, names in to.items()]
        for host, things in found.items():
            findings = [drift_records.found(thing, "5", "四", role="postfix") for thing in things]
            unreachable = record(host, status="unreachable", msg="no route")
            records.append(unreachable if host in away else probed(*findings, host=host))
        records.append({"event": "end", "hosts": sorted(found), "seconds": {host: 5.0 for host in found}})
        (self.folder / "records").write_text("".join(json.dumps(record) + "\n" for record in records))
        return command.main(["--state", str(self.folder / "state"), "--json", str(self.folder / "report"), *options])

    def mails(self):
        """[(arguments of sendmail, mail)] since one asked last."""
        files = sorted(self.box.glob("*.mail"))
        fresh, self.said = files[self.said :], len(files)
        parts = [path.read_bytes().partition(b"\n") for path in fresh]
        return [(words.decode(), read_mail(text)) for words, _, text in parts]

    def subjects(self):
        return [mail["Subject"] for _words, mail in self.mails()]

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
    ids = []
    for things, away, status, transition in (
        # a clean host has nothing to report, not even at first
        ([], [], 0, None),
        (["a"], [], 2, "1 new"),
        (["a"], [], 2, None),
        ([], [HOST], 3, "unreachable"),
        ([], [HOST], 3, None),
        (["a"], [], 2, "judged again"),
        ([], [], 0, "1 gone"),
        (["a"], [], 2, "1 new"),
    ):
        assert box.run({HOST: things}, "--mail", "--changes", away=away) == status
        mails = [mail for _words, mail in box.mails()]
        assert [mail["Subject"] for mail in mails] == ([f"drift: {HOST}: {transition}"] if transition else [])
        if transition == "unreachable":
            assert "no route" in mails[0].get_content() and "gone" not in mails[0].get_content()
        ids += [mail["Message-ID"] for mail in mails]
    assert len(set(ids)) == len(ids) == 5, "a mailbox would throw the second of the same away"
    assert capsys.readouterr().out == "", "what was mailed is not printed: cron would mail it once more"


def test_a_run_by_hand_takes_nothing_from_the_next_mail_and_mails_nobody(box):
    assert box.run({HOST: ["a"]}) == 2 and box.run({HOST: ["a"]}, "--changes") == 2 and box.mails() == []
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 2 and box.subjects() == [f"drift: {HOST}: 1 new"]


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
    box.ansible = FAKE + "sys.exit(250)\n"
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


class Sink:
    """A mail server's recipients: the local part `no` is rejected, who else is sent something is in `taken`."""

    def __init__(self):
        self.taken = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("no@"):
            return "550 5.1.1 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 well"

    async def handle_DATA(self, server, session, envelope):
        self.taken.append(envelope)
        return "250 taken"


@pytest.fixture
def port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def server(port):
    controller = Controller(Sink(), "127.0.0.1", port)
    controller.start()
    yield controller
    controller.stop()


def test_by_smtp_where_it_is_asked_for(box, server, capsys):
    where = f"127.0.0.1:{server.port}"
    assert box.run({HOST: [".leading dot", "b"]}, "--mail", "--smtp", where, to={HOST: [YOU, "no@example.org"]}) == 1
    assert box.mails() == [], "--smtp says how"
    (taken,) = server.handler.taken
    assert "@" in taken.mail_from and taken.rcpt_tos == [YOU]
    assert b"\n" not in taken.original_content.replace(b"\r\n", b"")
    mail = read_mail(taken.content)
    assert "postfix: .leading dot" in mail.get_content() and mail["Auto-Submitted"] == "auto-generated"
    assert "5.1.1 nobody here" in capsys.readouterr().err


def test_a_mail_server_that_is_not_there_is_an_error(box, port, capsys):
    assert box.run({HOST: ["a"]}, "--mail", "--smtp", f"127.0.0.1:{port}") == 1
    assert "127.0.0.1" in capsys.readouterr().err


def test_without_any_way_to_mail_it_is_said(box, monkeypatch, capsys):
    monkeypatch.setattr(mail, "SBIN", "")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert box.run({HOST: ["a"]}, "--mail", "--changes") == 1
    assert "no sendmail(1) on this machine, and no --smtp HOST" in capsys.readouterr().err


def test_sendmail_is_found_beside_the_path_of_cron(box, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(mail, "SBIN", str(box.bin))
    assert mail.sendmail() == str(box.bin / "sendmail")


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
