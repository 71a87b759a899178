# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module sasl_dovecot against a file system of its own, programs that are shell scripts, and a server on a real socket."""

import base64
import os
import shutil
import socketserver
import threading

import pytest
from fake_dovecot import HASH, SYNTAXES, Host, base
from role_modules import util

sasl_socket = util("sasl_socket")
Refused = base.Refused

GREETING = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n"


@pytest.fixture
def host(monkeypatch):
    there = Host(monkeypatch)
    yield there
    shutil.rmtree(there.folder)


def ids(result):
    return [found["id"] for found in result["findings"]]


def replace_program(host):
    os.utime(host.folder / "etc/dovecot.conf", (0, 0))
    host.program("sbin/dovecot", "echo 2.4.2\n")
    os.utime(host.folder / "sbin/dovecot", (0, 0))  # a package keeps the build's mtime
    host.running_since(-0.5)


RESTART, START = ["service dovecot restart", "dialogue"], ["service dovecot start", "dialogue"]


@pytest.mark.parametrize(
    "damage, found, calls",
    [
        (lambda host: host.running_since(-3600), ["process dovecot: configuration"], RESTART),
        (replace_program, ["process dovecot: program"], RESTART),
        (lambda host: (host.folder / "run/master.pid").unlink(), ["service dovecot"], START),
        (lambda host: (host.folder / "etc/users").chmod(0o644), ["mode of users"], ["dialogue"]),
        (lambda host: (host.folder / "etc/dovecot.conf").chmod(0o600), ["mode of dovecot.conf"], ["dialogue"]),
    ],
    ids=["older than its file", "older than its program", "stopped", "users' mode", "dovecot.conf's mode"],
)
def test_what_differs_is_a_finding_and_put_right_with_no_more_than_it_needs(host, damage, found, calls):
    host().present()
    damage(host)
    predicted = host(check_mode=True).present()
    assert predicted["changed"] and host.calls == []
    assert [one.replace(f"{host.folder}/etc/", "") for one in ids(predicted)] == found
    assert ids(host().present()) == ids(predicted) and host.calls == calls
    assert not host().present()["changed"]


@pytest.mark.parametrize(
    "params, word",
    [
        ({"users": [{"name": "alice", "password_hash": "{ARGON2ID}$argon2id$x"}]}, "ARGON2ID"),
        ({"socket": "/nowhere/auth"}, "sokuhai_queue_directory"),
        ({"socket_owner": "nobody-has-this-name"}, "no user or group"),
    ],
)
def test_what_this_host_cannot_have_is_refused_before_anything_is_written(host, params, word):
    with pytest.raises(Refused, match=word):
        host(**params).present()
    assert host.files() == {}


@pytest.mark.parametrize(
    "damage, word",
    [
        (lambda host: host.program("sbin/dovecot", "echo '2.2.36 (1f10bfa63)'\n"), "2.2.36"),
        (lambda host: host.rc.update(dovecot_config="/usr/local/etc/dovecot/other.conf"), "other.conf"),
    ],
    ids=["too old for either syntax", "another instance in rc.conf"],
)
def test_a_host_where_dovecot_cannot_be_ours_is_refused(host, damage, word):
    damage(host)
    with pytest.raises(Refused, match=word):
        host().present()


@pytest.mark.parametrize("sample", ["dovecot.conf.sample", "example-config/dovecot.conf"])
def test_where_there_is_no_dovecot_the_package_is_installed_and_its_own_configuration_replaced(host, sample):
    (host.folder / "sbin/dovecot").unlink()
    host.packages.clear()
    for name in ("dovecot.conf", sample):
        (host.folder / "etc" / name).parent.mkdir(exist_ok=True)
        (host.folder / "etc" / name).write_text("protocols = imap\n")
    predicted = host(check_mode=True).present()
    assert predicted["predicted"] and ids(predicted)[0] == "package dovecot" and host.calls == []
    host().present()
    assert host.calls[:4] == ["pkg update", *("pkg install %s dovecot" % options for options in ("-yFU", "-nU", "-yU"))]


def test_a_dovecot_that_is_there_is_kept_whatever_its_package_is_called(host):
    host.packages.clear()
    host(packages=["dovecot24"]).present()
    assert not [call for call in host.calls if call.startswith("pkg")]


@pytest.mark.parametrize(
    "there",
    [
        lambda host: (host.folder / "etc/dovecot.conf").write_text("protocols = imap\n"),
        lambda host: host.rc.update(dovecot_config="/other.conf"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_there_is_judged_before_anything_is_installed(host, there, check_mode):
    (host.folder / "sbin/dovecot").unlink()
    host.packages.clear()
    there(host)
    with pytest.raises(Refused, match="sasl_replace_config|dovecot_config"):
        host(check_mode=check_mode).present()
    assert host.calls == []


def test_a_foreign_configuration_is_taken_over_only_when_asked(host):
    foreign = {"dovecot.conf": "protocols = imap\n"}
    (host.folder / "etc/dovecot.conf").write_text(foreign["dovecot.conf"])
    with pytest.raises(Refused, match="sasl_replace_config"):
        host().present()
    assert not host().absent()["changed"] and host.calls == [] and host.files() == foreign
    host(replace=True).present()
    assert host.files()["dovecot.conf.previous"] == foreign["dovecot.conf"]
    # the next change takes the place of .previous alone, and the way back leaves what is not ours
    (host.folder / "etc/dovecot.conf").write_text(SYNTAXES["2.4"] + "# by hand\n")
    host(replace=True).present()
    host().absent()
    assert host.files() == {"dovecot.conf.before-sokuhai": foreign["dovecot.conf"]}


def test_the_first_run_writes_starts_and_proves_and_the_second_changes_nothing(host):
    first = host().present()
    assert first["changed"] and not first["predicted"] and first["version"].startswith("2.4.1")
    assert ids(first) == ["service dovecot"] and first["findings"][0]["because"] == ["rc.conf: dovecot_enable"]
    assert host.files() == {"dovecot.conf": SYNTAXES["2.4"], "users": f"alice:{HASH}\n"}, "a staged file was left"
    assert (host.folder / "etc/users").stat().st_mode & 0o777 == 0o640
    # the rc script answers nothing before it is enabled
    assert host.calls == ["sysrc dovecot_enable=YES", "service dovecot start", "dialogue"]
    second = host().present()
    assert not second["changed"] and ids(second) == [] and second["diff"] == [] and host.calls == ["handshake"]


def test_check_mode_predicts_the_same_and_writes_nothing(host):
    os.utime(host.folder / "etc", (1, 1))
    result = host(check_mode=True).present()
    assert (host.folder / "etc").stat().st_mtime == 1, "not for a moment either"
    assert result["changed"] and result["diff"][0]["after"] == SYNTAXES["2.4"]
    assert host.files() == {} and host.calls == []


def test_check_mode_before_installation_predicts(host):
    (host.folder / "sbin/dovecot").unlink()
    host.packages.clear()
    result = host(check_mode=True).present()
    assert result["predicted"] and result["version"] == "2.4" and result["changed"] and host.calls == []
    assert ids(result) == ["package dovecot", "service dovecot"]
    with pytest.raises(Refused, match="sasl_install"):
        host(packages=[]).present()


@pytest.mark.parametrize(
    "version, key",
    [("2.3.19.1 (9b53102964)", "2.3"), ("2.4.1-4 (7d8c0e5759)", "2.4"), ("2.5.0", "2.4"), ("3.0.0", "2.4")],
)
def test_the_syntax_is_the_one_this_dovecot_reads(host, version, key):
    host.program("sbin/dovecot", f"echo '{version}'\n")
    host().present()
    assert host.files()["dovecot.conf"] == SYNTAXES[key]


def test_no_hash_is_in_a_diff_and_a_new_user_needs_no_restart(host):
    host().present()
    result = host(users=[{"name": name, "password_hash": HASH + "z"} for name in ("alice", "bob")]).present()
    (users,) = result["diff"]
    assert HASH not in repr(result) and users["after"].splitlines() == ["alice (new hash)", "bob (new hash)"]
    assert host.calls == ["dialogue"]


def test_what_doveconf_refuses_replaces_nothing(host):
    host().present()
    before, dovecot = host.files(), host(syntaxes={"2.4": SYNTAXES["2.4"] + "BROKEN\n"})
    with pytest.raises(Refused, match="Unknown setting: BROKEN"):
        dovecot.present()
    assert host.files() == before and host.calls == [] and dovecot.outcome == {"step": "doveconf", "restored": False}


def test_a_configuration_that_does_not_start_gives_way_to_the_previous_one(host):
    host().present()
    dovecot = host(syntaxes={"2.4": SYNTAXES["2.4"] + "NOSTART\n"})
    with pytest.raises(Refused):
        dovecot.present()
    assert dovecot.outcome == {"step": "socket", "restored": True}
    assert host.files()["dovecot.conf"] == SYNTAXES["2.4"] and host.calls[-1] == "service dovecot restart"
    assert not host().present()["changed"]


def test_without_a_previous_configuration_there_is_no_way_back(host):
    host.answers, dovecot = False, host()
    with pytest.raises(Refused):
        dovecot.present()
    assert dovecot.outcome == {"step": "socket", "restored": False}
    # the next run goes on where this one stopped
    host.answers = True
    host().present()
    assert host.calls == ["handshake"]


class Auth(socketserver.StreamRequestHandler):
    """Dovecot's side of the dialogue: a greeting, and the server's one answer to whoever wants to log in."""

    def handle(self):
        self.wfile.write(self.server.greeting.encode())
        for line in self.rfile:
            self.server.seen.append(line.decode().rstrip("\n").split("\t"))
            if line.startswith(b"AUTH"):
                self.wfile.write(self.server.answer.encode())


@pytest.fixture
def server(host):
    """A function that serves the socket, and returns what is read from it, line by line."""
    servers = []

    def start(greeting=GREETING, answer="", mode=0o660):
        made = socketserver.ThreadingUnixStreamServer(f"{host.folder}/queue/private/auth", Auth)
        made.daemon_threads, made.greeting, made.answer, made.seen = True, greeting, answer, []
        os.chmod(made.server_address, mode)
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(made)
        return made.seen

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


def proved(host, dialogue=False):
    sasl_socket.prove(f"{host.folder}/queue/private/auth", host.me, host.group, ["plain", "login"], dialogue)


def test_the_handshake_is_postfixs(host, server):
    seen = server()
    proved(host)
    # the answer came with the connection, so what was sent may still be on its way into the other thread
    assert base.wait_until(lambda: ["VERSION", "1", "1"] in seen, 60, 0.01)


@pytest.mark.parametrize("old, new", [("MECH\tLOGIN\tplaintext\n", ""), ("VERSION\t1", "VERSION\t9")])
def test_other_mechanisms_or_another_protocol_are_no_proof(host, server, old, new):
    server(GREETING.replace(old, new))
    with pytest.raises(Refused):
        proved(host)


def test_an_invented_user_must_be_rejected_for_good(host, server):
    seen = server(answer="FAIL\t1\tuser=x\n")
    proved(host, dialogue=True)
    (request,) = [fields for fields in seen if fields[0] == "AUTH"]
    user = base64.b64decode(request[-1].removeprefix("resp=")).split(b"\0")[1]
    assert user.startswith(b"nobody-"), "never a name that somebody has"


@pytest.mark.parametrize("answer", ["FAIL\t1\tuser=x\tcode=temp_fail\n", "FAIL\t1\tuser=x\ttemp\n", "OK\t1\tuser=x\n"])
def test_another_answer_to_an_invented_user_is_no_proof(host, server, answer):
    server(answer=answer)
    with pytest.raises(Refused):
        proved(host, dialogue=True)


def test_no_socket_and_one_that_is_open_to_all_are_no_proof_yet(host, server):
    with pytest.raises(OSError, match="No such file"):
        proved(host)
    server(mode=0o666)
    with pytest.raises(OSError, match="mode 666"):
        proved(host)


def test_it_is_taken_away(host):
    host().present()
    assert host(check_mode=True).absent()["changed"] and host.calls == []
    assert host().absent()["changed"]
    assert host.calls == ["service dovecot onestop", "sysrc dovecot_enable=NO"] and host.files() == {}
    assert not host().absent()["changed"]
