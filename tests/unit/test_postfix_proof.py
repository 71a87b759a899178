# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role postfix: the dialogues that prove a set, what a listener answers, what was logged, and the certificate."""

import itertools
import os
import pwd
import shutil
import socketserver
import stat
import threading
import types

import pytest
from role_modules import util

certificate, host, proof, smtp = (util("postfix_" + name) for name in ("certificate", "host", "proof", "smtp"))

SMTPD = """#!/bin/sh
# smtpd -S: knows one restriction of its own, and one with an argument
while [ $# -gt 0 ]; do case $1 in -o) case $2 in smtpd_helo_restrictions=*) list=${2#*=};; esac;; esac; shift; done
printf '220 here\r\n'
while read -r verb rest; do
    case $verb in
    EHLO)
        case $list in
        permit_tomorrow) printf '250-here\r\n250 DSN\r\n' ;;
        check_tomorrow) echo 'smtpd: warning: restriction check_tomorrow requires an argument' >&2; printf '250 here\r\n' ;;
        'check_tomorrow one.example') printf '250 here\r\n' ;;
        dies) echo 'smtpd: fatal: no' >&2; exit 1 ;;
        *) echo "smtpd: warning: unknown smtpd restriction: $list" >&2; printf '451 4.3.5 Server configuration error\r\n' ;;
        esac ;;
    QUIT*) printf '221 bye\r\n'; exit ;;
    esac
done
"""


@pytest.fixture
def by_hand(tmp_path):
    """A Proof with the smtpd above."""
    (tmp_path / "smtpd").write_text(SMTPD)
    (tmp_path / "smtpd").chmod(0o755)
    names = ("config_directory", "queue_directory", "command_directory", "daemon_directory")
    paths = dict.fromkeys(names, str(tmp_path)) | {"mail_owner": pwd.getpwuid(os.geteuid()).pw_name}
    postfix = host.Postfix(paths, "postfix", str(tmp_path / "maillog"))
    return proof.Proof(postfix, None, {"hostname": "mx.home.example", "domain": "home.example"})


def word(*words):
    return ("main.cf: smtpd_client_restrictions", *words)


@pytest.mark.skipif(os.geteuid() != 0, reason="smtpd is run as another user, by root")
@pytest.mark.parametrize(
    "unknown, refused",
    [
        ([word("permit_tomorrow", "")], []),
        ([word("permit_tomorrow", "reject")], []),
        ([word("permi", "reject")], ["permi"]),
        ([word("check_tomorrow", "one.example"), word("one.example", "")], []),
        ([word("check_tomorrow", ""), word("one.example", "")], ["one.example"]),
        ([word("permi", "permit_tomorrow"), word("permit_tomorrow", "")], ["permi"]),
    ],
)
def test_a_word_of_a_future_postfix_is_refused_only_by_its_smtpd(by_hand, tmp_path, unknown, refused):
    problems = by_hand.unknown_words(str(tmp_path), unknown)
    assert [problem.split(": ")[2].split()[0] for problem in problems] == refused


@pytest.mark.skipif(os.geteuid() != 0, reason="smtpd is run as another user, by root")
def test_an_smtpd_that_dies_says_why(by_hand, tmp_path):
    service = {"name": "a", "options": {"smtpd_helo_restrictions": "dies"}}
    replies, log = smtp.smtpd(by_hand.postfix, str(tmp_path), service, {}, ["EHLO a"])
    assert replies == [(220, "here")] and smtp.severe(log) == ["fatal: no"]


def test_an_smtpd_that_is_silent_is_ended(by_hand, tmp_path):
    (tmp_path / "smtpd").write_text("#!/bin/sh\nexec sleep 1000\n")
    replies, log = smtp.smtpd(by_hand.postfix, str(tmp_path), {"name": "a", "options": {}}, {}, ["QUIT"], seconds=0.2)
    assert replies == [] and len(smtp.severe(log, "fatal")) == 1


def test_a_cache_that_postfix_makes_itself_need_not_be_there():
    asked = []

    def tool(*words):
        asked.append(words[-1])
        return 1, "", "postmap: fatal: open database /x.db: No such file or directory"

    proved = proof.Proof(types.SimpleNamespace(tool=tool, config="/x"), None, {"tables": []})
    caches = ["smtp_tls_session_cache_database", "smtpd_tls_session_cache_database", "address_verify_map"]
    settings = [("main.cf", name, "btree:${data_directory}/%s" % name) for name in caches]
    assert proved.tables("/x", settings, {"btree"}) == [] and asked == []
    assert "no tables of type btree" in proved.tables("/x", settings[:1], {"lmdb"})[0]
    assert len(proved.tables("/x", [("main.cf", "relay_recipient_maps", "btree:/x")], {"btree"})) == 1


class Listener(socketserver.StreamRequestHandler):
    def handle(self):
        for line in itertools.chain([""], iter(lambda: self.rfile.readline().decode().strip(), "")):
            reply = self.server.replies.get(line.split(":")[0].split(" ")[0].upper(), "250 ok")
            if not reply:
                return
            self.wfile.write(reply.encode() + b"\r\n")


@pytest.fixture
def listening():
    """A function that starts a server of fixed replies, {verb: reply, "" for its greeting}, and says what listener() finds there."""
    servers = []

    def listen(**replies):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listener)
        server.replies = {"": "220 here", **replies}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return smtp.listener(*server.server_address, False, "mx.home.example", "home.example")

    yield listen
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "replies, shows",
    [
        ({}, ""),
        ({"RCPT": "550 5.1.1 unknown"}, ""),
        ({"RCPT": "451 4.3.5 Server configuration error"}, "451 4.3.5"),
        ({"MAIL": "451-4.3.0 twice\r\n451 4.3.0 told"}, "451 4.3.0"),
        ({"EHLO": "421 4.3.0 bye"}, "421"),
        ({"": "554 no"}, "554 no"),
        ({"EHLO": "250-here\r\n250 STARTTLS", "STARTTLS": "454 4.7.0 no"}, "454"),
    ],
)
def test_a_listener_is_judged_by_its_replies(listening, replies, shows):
    found = listening(**replies)
    assert (shows in found) if shows else found == ""


def test_a_listener_that_hangs_up_is_an_error(listening):
    with pytest.raises(OSError):
        listening(RCPT="")


def test_that_nothing_comes_in_time_is_told_from_other_errors(listening, monkeypatch):
    monkeypatch.setattr(smtp, "PATIENCE", 0.2)
    monkeypatch.setattr(Listener, "handle", lambda self: threading.Event().wait(1))
    with pytest.raises(OSError) as error:
        listening()
    assert smtp.timed_out(error.value)
    assert not smtp.timed_out(ConnectionResetError())


def test_what_was_logged_since_explains_a_failure(tmp_path):
    log = tmp_path / "maillog"
    postfix = host.Postfix({"config_directory": "/c", "queue_directory": "/q"}, "postfix", str(log))
    assert postfix.logged(postfix.log_end()) == ""
    log.write_text("Nov 30 00:00:01 mx postfix/smtpd[1]: fatal: before\n")
    since = postfix.log_end()
    assert postfix.logged(since) == ""
    with log.open("a") as out:
        out.write(
            "Nov 30 00:00:02 mx postfix/submission/smtpd[1]: fatal: no\nNov 30 00:00:02 mx postfix/qmgr[1]: active\n"
        )
    assert postfix.logged(since) == "; logged: submission/smtpd[1]: fatal: no"


# ---- the certificate, with this machine's openssl


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_a_certificate_is_made_kept_and_renewed(tmp_path):
    def found(name="a", key="a", hostname="mx.home.example", renew_days=30):
        return certificate.Certificate(
            str(tmp_path / f"tls/{name}.crt"), str(tmp_path / f"tls/{key}.key"), hostname, 825, renew_days
        )

    def ids(one):
        return [entry["id"] for entry in one.findings()]

    assert ids(found()) == ["certificate"]
    found().repair()
    assert ids(found()) == []
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["a.crt", "a.key"]
    assert stat.S_IMODE((tmp_path / "tls/a.key").stat().st_mode) == 0o600
    assert ids(found(hostname="mail.home.example")) == ids(found(renew_days=900)) == ["certificate"]
    found("b", "b").repair()
    assert ids(found(key="b")) == ["certificate"]

    (tmp_path / "tls/a.key").chmod(0o644)
    (entry,) = found().findings()
    assert (entry["id"], entry["expected"], entry["found"]) == (f"mode of {tmp_path}/tls/a.key", "0600", "0644")
    found().repair()
    assert ids(found()) == []
