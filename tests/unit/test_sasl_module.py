# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module sasl_dovecot against a file system of its own, programs that are shell scripts, and a server on a real socket."""

import base64
import getpass
import grp
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import pytest
from role_modules import load

sasl_dovecot = load("roles/sasl/library/sasl_dovecot.py")
Refused = sasl_dovecot.Refused

SYNTAXES = {"2.3": sasl_dovecot.MARK + "\nold syntax\n", "2.4": sasl_dovecot.MARK + "\nnew syntax\n"}
HASH = "{SHA512-CRYPT}$6$x$y"
GREETING = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n"


class Module:
    check_mode = False

    def __init__(self, **params):
        self.params = params

    def run_command(self, argv, errors=None):
        run = subprocess.run(argv, capture_output=True, text=True)
        return run.returncode, run.stdout, run.stderr


@pytest.fixture
def host(monkeypatch):
    """A host with Dovecot 2.4.1, in a folder short enough for a socket's path."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sk", dir="/tmp"))
    for name in ("sbin", "bin", "etc", "run", "queue/private"):
        (folder / name).mkdir(parents=True)

    def program(name, body):
        (folder / name).write_text("#!/bin/sh\n" + body)
        (folder / name).chmod(0o755)

    program("sbin/dovecot", "echo '2.4.1-4 (7d8c0e5759)'\n")
    # refuses a file that says so, answers base_dir
    program(
        "bin/doveconf",
        f'case "$*" in *-[ah]*) exit 89;; *base_dir*) echo base_dir = {folder}/run;; *) grep -q BROKEN "$3" && {{ echo "Unknown setting: BROKEN" >&2; exit 89; }}; exit 0;; esac\n',
    )
    program("bin/doveadm", "echo 'PLAIN SHA512-CRYPT BLF-CRYPT'\n")
    program("bin/sysrc", "exit 1\n")
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    me, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    # files belong to root and to Dovecot's group on a host; here to whoever runs the tests
    monkeypatch.setattr(sasl_dovecot.os, "fchown", lambda *_: None)
    monkeypatch.setattr(sasl_dovecot.os, "chown", lambda *_: None)
    real = sasl_dovecot.grp.getgrnam
    monkeypatch.setattr(sasl_dovecot.grp, "getgrnam", lambda name: real(group) if name == "dovecot" else real(name))
    monkeypatch.setattr(
        sasl_dovecot, "attributes_differ", lambda path, mode, uid, gid: os.stat(path).st_mode & 0o7777 != mode
    )

    def dovecot(check_mode=False, **params):
        module = Module(
            **{
                "prefix": str(folder),
                "config": f"{folder}/etc/dovecot.conf",
                "passwd_file": f"{folder}/etc/users",
                "syntaxes": SYNTAXES,
                "predicted_version": "2.4",
                "users": [{"name": "alice", "password_hash": HASH}],
                "replace": False,
                "socket": f"{folder}/queue/private/auth",
                "socket_owner": me,
                "socket_group": group,
                "mechanisms": ["plain", "login"],
                "dialogue": False,
                **params,
            }
        )
        module.check_mode = check_mode
        return sasl_dovecot.Dovecot(module)

    dovecot.folder, dovecot.program = folder, program
    yield dovecot
    shutil.rmtree(folder)


def test_the_first_run_writes_and_the_second_changes_nothing(host):
    first = host().present()
    assert first["changed"] and not first["predicted"] and first["version"].startswith("2.4.1")
    assert (host.folder / "etc/dovecot.conf").read_text() == SYNTAXES["2.4"]
    assert (host.folder / "etc/users").read_text() == f"alice:{HASH}\n"
    assert (host.folder / "etc/users").stat().st_mode & 0o777 == 0o640
    assert not host().present()["changed"]
    assert sorted(path.name for path in (host.folder / "etc").iterdir()) == ["dovecot.conf", "users"], (
        "a staged file was left"
    )


def test_check_mode_says_the_same_and_writes_nothing(host):
    result = host(check_mode=True).present()
    assert result["changed"] and result["diff"][0]["after"] == SYNTAXES["2.4"]
    assert list((host.folder / "etc").iterdir()) == []


def test_check_mode_before_installation_predicts(host):
    (host.folder / "sbin/dovecot").unlink()
    result = host(check_mode=True).present()
    assert result["predicted"] and result["version"] == "2.4 (predicted)" and result["changed"]
    with pytest.raises(Refused, match="sasl_install"):
        host().present()


@pytest.mark.parametrize(
    "version, key",
    [("2.3.19.1 (9b53102964)", "2.3"), ("2.4.1-4 (7d8c0e5759)", "2.4"), ("2.5.0", "2.4"), ("3.0.0", "2.4")],
)
def test_the_syntax_is_the_one_this_dovecot_reads(host, version, key):
    host.program("sbin/dovecot", f"echo '{version}'\n")
    host().present()
    assert (host.folder / "etc/dovecot.conf").read_text() == SYNTAXES[key]


def test_a_dovecot_too_old_for_either_syntax_is_refused(host):
    host.program("sbin/dovecot", "echo '2.2.36 (1f10bfa63)'\n")
    with pytest.raises(Refused, match="2.2.36"):
        host().present()


def test_no_hash_is_in_a_diff(host):
    host().present()
    result = host(
        users=[{"name": "alice", "password_hash": HASH + "z"}, {"name": "bob", "password_hash": HASH}]
    ).present()
    (users,) = result["diff"]
    assert HASH not in repr(result)
    assert users["after"].splitlines() == ["alice (new hash)", "bob (new hash)"]


def test_what_doveconf_refuses_replaces_nothing(host):
    host().present()
    with pytest.raises(Refused, match="Unknown setting: BROKEN"):
        host(syntaxes={"2.4": SYNTAXES["2.4"] + "BROKEN\n"}).present()
    assert (host.folder / "etc/dovecot.conf").read_text() == SYNTAXES["2.4"]
    assert sorted(path.name for path in (host.folder / "etc").iterdir()) == ["dovecot.conf", "users"]


def test_a_foreign_configuration_is_taken_over_only_when_asked(host):
    foreign = "protocols = imap\n"
    (host.folder / "etc/dovecot.conf").write_text(foreign)
    with pytest.raises(Refused, match="sasl_replace_config"):
        host().present()
    assert (host.folder / "etc/dovecot.conf").read_text() == foreign
    assert not (host.folder / "etc/users").exists()
    assert host(replace=True).present()["replaced"]
    assert host().reverted()["changed"]
    assert (host.folder / "etc/dovecot.conf").read_text() == foreign


def test_an_unknown_scheme_is_refused_before_anything_is_written(host):
    with pytest.raises(Refused, match="ARGON2ID"):
        host(users=[{"name": "alice", "password_hash": "{ARGON2ID}$argon2id$x"}]).present()
    assert list((host.folder / "etc").iterdir()) == []


def test_a_missing_queue_directory_or_user_is_named(host):
    with pytest.raises(Refused, match="Postfix is installed before Dovecot"):
        host(socket=f"{host.folder}/nowhere/auth").present()
    with pytest.raises(Refused, match="sasl_socket_owner"):
        host(socket_owner="nobody-has-this-name").present()


def test_another_instance_in_rc_conf_is_refused(host):
    host.program("bin/sysrc", 'test "$1" = -qn && echo /usr/local/etc/dovecot/other.conf\n')
    with pytest.raises(Refused, match="other.conf"):
        host().present()


def running_since(host, seconds):
    (host.folder / "run/master.pid").write_text("%d\n" % os.getpid())
    os.utime(host.folder / "run/master.pid", (time.time() + seconds,) * 2)


def test_a_master_older_than_its_configuration_is_stale_though_nothing_changed(host):
    host().present()
    assert not host().present()["running"]
    running_since(host, -3600)
    result = host().present()
    assert result["running"] and result["stale"] and not result["changed"]
    running_since(host, 1)
    assert not host().present()["stale"]


def test_a_master_older_than_its_program_is_stale(host):
    host().present()
    running_since(host, 1)
    assert not host().present()["stale"]
    time.sleep(1.1)
    running_since(host, 0)
    host.program("sbin/dovecot", "echo 2.4.2\n")
    os.utime(host.folder / "sbin/dovecot", (0, 0))  # a package keeps the build's mtime
    running_since(host, -0.5)
    assert host().present()["stale"]


@pytest.fixture
def server(host):
    """Answer on the socket with given text; *answer* is what an AUTH line gets."""
    sockets = []

    def start(greeting=GREETING, answer=None, mode=0o660):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{host.folder}/queue/private/auth")
        os.chmod(f"{host.folder}/queue/private/auth", mode)
        listener.listen()
        sockets.append(listener)
        seen = []

        def serve():
            try:
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.sendall(greeting.encode())
                        for line in client.makefile(encoding="utf-8"):
                            seen.append(line.rstrip("\n").split("\t"))
                            if answer and line.startswith("AUTH"):
                                client.sendall(answer.encode())
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return seen

    yield start
    for listener in sockets:
        listener.close()


def test_the_handshake_is_postfixs(host, server):
    seen = server()
    assert host().proved() == {"changed": False, "mechanisms": ["login", "plain"]}
    # the answer came with the connection, so what was sent may still be on its way into the other thread
    deadline = time.monotonic() + 10
    while ["VERSION", "1", "1"] not in seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ["VERSION", "1", "1"] in seen


def test_other_mechanisms_than_declared_are_no_proof(host, server):
    server(GREETING.replace("MECH\tLOGIN\tplaintext\n", ""))
    with pytest.raises(Refused, match="offers plain, declared are login plain"):
        host().proved()


def test_another_protocol_is_no_proof(host, server):
    server(GREETING.replace("VERSION\t1", "VERSION\t9"))
    with pytest.raises(Refused, match="version 1"):
        host().proved()


@pytest.mark.parametrize(
    "answer, good",
    [
        ("FAIL\t1\tuser=x\n", True),
        ("FAIL\t1\tuser=x\tcode=temp_fail\n", False),
        ("FAIL\t1\tuser=x\ttemp\n", False),
        ("OK\t1\tuser=x\n", False),
    ],
)
def test_an_invented_user_must_be_refused_for_good(host, server, answer, good):
    seen = server(answer=answer)
    if good:
        host(dialogue=True).proved()
    else:
        with pytest.raises(Refused, match="instead of a refusal"):
            host(dialogue=True).proved()
    (request,) = [fields for fields in seen if fields[0] == "AUTH"]
    user = base64.b64decode(request[-1].removeprefix("resp=")).split(b"\0")[1]
    assert user.startswith(b"nobody-"), "never a name that somebody has"


def test_an_open_socket_is_no_proof(host, server, monkeypatch):
    server(mode=0o666)
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr(sasl_dovecot.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(sasl_dovecot.time, "sleep", lambda _: None)
    with pytest.raises(Refused, match="mode 666"):
        host().proved()


def test_no_socket_is_no_proof(host, monkeypatch):
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr(sasl_dovecot.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(sasl_dovecot.time, "sleep", lambda _: None)
    with pytest.raises(Refused, match="does not answer"):
        host().proved()


def test_taking_it_away_touches_only_what_is_ours(host):
    log = host.folder / "calls"
    host.program("bin/sysrc", f'echo "sysrc $*" >> {log}\nexit 0\n')
    host.program("bin/service", f'echo "service $*" >> {log}\nrm -f {host.folder}/run/master.pid\n')
    (host.folder / "etc/dovecot.conf").write_text("protocols = imap\n")
    assert host().absent() == {"changed": False}
    assert not log.exists()
    (host.folder / "etc/dovecot.conf").unlink()
    host.program("bin/sysrc", f'echo "sysrc $*" >> {log}\ncase "$1" in -qn) exit 1;; esac\n')
    host().present()
    running_since(host, 1)
    log.unlink()
    assert host(check_mode=True).absent()["changed"] and not log.exists()
    assert host().absent()["changed"]
    assert log.read_text().splitlines() == ["service dovecot onestop", "sysrc dovecot_enable=NO"]
    assert list((host.folder / "etc").iterdir()) == []
    assert host().absent() == {"changed": False}
