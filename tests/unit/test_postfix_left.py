# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Mail that the mailer before Postfix left in its queues."""

import fcntl
import os
import types

import pytest
from role_modules import util

left, host, process = util("postfix_left"), util("sokuhai.host"), util("sokuhai.process")


@pytest.fixture
def queues(tmp_path, monkeypatch):
    """A spool of dma's and two of sendmail's, and a Postfix that notes what it is given: {arguments: text}."""
    spool = tmp_path / "dma"
    spool.mkdir()
    (tmp_path / "dma.conf").write_text("# comment\nSPOOLDIR %s\nMAILNAME x\n" % spool)
    monkeypatch.setattr(left, "DMA_CONF", str(tmp_path / "dma.conf"))
    monkeypatch.setattr(left, "QUEUES", {str(tmp_path / "client"): "-Ac", str(tmp_path / "mqueue"): "-Am"})
    for queue in left.QUEUES:
        os.mkdir(queue)
    given = {}

    def run(argv, text=None, **_more):
        if argv[0] == left.SENDMAIL:
            if argv[1] == "-Ac":
                os.unlink(tmp_path / "client" / "qf1")
            return 0, "", "Deferred: Connection refused"
        given[tuple(argv)] = text
        return (75, "", "postdrop: no space") if "full@" in argv[-1] else (0, "", "")

    monkeypatch.setattr(host, "run", run)
    (tmp_path / "mailer.conf").touch()
    postfix = types.SimpleNamespace(paths={"sendmail_path": "/sendmail"})
    mailer = types.SimpleNamespace(path=str(tmp_path / "mailer.conf"), differs=True)
    return types.SimpleNamespace(spool=spool, path=tmp_path, given=given, mailer=mailer, postfix=postfix)


def queue(queues, name, sender, recipient, text="body\n"):
    (queues.spool / ("Q" + name)).write_text("ID: %s\nSender: %s\nRecipient: %s\n" % (name, sender, recipient))
    (queues.spool / ("M" + name)).write_text(text)


def test_dmas_messages_become_postfixs_with_sender_and_recipient(queues):
    queue(queues, "1.a", "me@here", "you@there", "Subject: x\n\n.\nend\n")
    queue(queues, "1.b", "", "root")
    queue(queues, "9", "", "")
    (queues.spool / "Q9").write_text("ID: 9\n")
    (queues.spool / "Q8").write_text("ID: 8\n")
    found = left.Left(queues.postfix, queues.mailer)
    assert [(one["thing"], one["found"]) for one in found.findings()] == [("mail in %s" % queues.spool, "3 messages")]
    (problem,) = found.hand_over()
    assert "1 messages wait in %s" % queues.spool in problem and "Q9" in problem
    assert queues.given == {
        ("/sendmail", "-i", "-f", "me@here", "--", "you@there"): "Subject: x\n\n.\nend\n",
        ("/sendmail", "-i", "-f", "<>", "--", "root"): "body\n",
    }
    assert sorted(os.listdir(queues.spool)) == ["M9", "Q8", "Q9"]


def test_what_postfix_does_not_take_stays(queues):
    queue(queues, "1", "me@here", "full@there")
    (problem,) = left.Left(queues.postfix, queues.mailer).hand_over()
    assert "no space" in problem and sorted(os.listdir(queues.spool)) == ["M1", "Q1"]


def test_a_dma_that_still_tries_is_ended_first(queues, monkeypatch):
    queue(queues, "1", "me@here", "you@there")
    holder = open(queues.spool / "Q1")
    fcntl.flock(holder, fcntl.LOCK_EX)
    table = {
        number: process.Process(number, parent, 0, name, name, since=(0, 1))
        for number, (parent, name) in enumerate([(1, "dma"), (1, "cron"), (5, "dma")], 100)
    }
    ended = []

    def kill(pid, _signal):
        ended.append(pid)
        holder.close()

    monkeypatch.setattr(process, "table", lambda: table)
    monkeypatch.setattr(os, "kill", kill)
    assert left.Left(queues.postfix, queues.mailer).hand_over() == []
    assert ended == [100] and len(queues.given) == 1 and not os.listdir(queues.spool)


def test_sendmails_queues_are_run_and_what_stays_is_said(queues):
    for name in ("client", "mqueue"):
        (queues.path / name / "qf1").touch()
    found = left.Left(queues.postfix, queues.mailer)
    assert [one["found"] for one in found.findings()] == ["1 messages"] * 2
    (problem,) = found.hand_over()
    assert (
        "1 messages wait in %s/mqueue" % queues.path in problem
        and "-Am -q" in problem
        and "Connection refused" in problem
    )


def test_after_the_switch_only_what_is_older_counts_and_another_mailers_mail_never(queues):
    queue(queues, "1", "me@here", "you@there")
    queue(queues, "2", "me@here", "them@there")
    os.utime(queues.spool / "Q1", (1000, 1000))
    os.utime(queues.mailer.path, (2000, 2000))
    queues.mailer.differs = False
    assert left.Left(queues.postfix, queues.mailer).waiting() == {str(queues.spool): [str(queues.spool / "Q1")]}
    assert left.Left(queues.postfix, None).waiting() == {}
