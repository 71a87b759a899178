# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module sasl_dovecot against a file system of its own, programs that are shell scripts, and a server on a real socket."""

import base64
import getpass
import grp
import os
import pathlib
import shutil
import socket
import tempfile
import threading
import time

import pytest
from role_modules import load, util

sasl_dovecot, sasl_socket = load("roles/sasl/library/sasl_dovecot.py"), util("sasl_socket")
base, process = util("sokuhai.host"), util("sokuhai.process")
Refused = base.Refused

SYNTAXES = {"2.3": sasl_dovecot.MARK + "\nold syntax\n", "2.4": sasl_dovecot.MARK + "\nnew syntax\n"}
HASH = "{SHA512-CRYPT}$6$x$y"
GREETING = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n"


class Host:
    """A host with Dovecot 2.4.1, in a folder short enough for a socket's path; service(8), sysrc(8) and pkg(8) are this class."""

    def __init__(self, monkeypatch):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sk", dir="/tmp"))
        for name in ("sbin", "bin", "etc", "run", "queue/private"):
            (self.folder / name).mkdir(parents=True)
        self.program("sbin/dovecot", "echo '2.4.1-4 (7d8c0e5759)'\n")
        # refuses a file that has BROKEN in it, answers base_dir
        self.program(
            "bin/doveconf",
            f'case "$*" in *-[ah]*) exit 89;; *base_dir*) echo base_dir = {self.folder}/run;; *) grep -q BROKEN "$3" && {{ echo "Unknown setting: BROKEN" >&2; exit 89; }}; exit 0;; esac\n',
        )
        self.program("bin/doveadm", "echo 'PLAIN SHA512-CRYPT BLF-CRYPT'\n")
        self.rc, self.packages, self.calls, self.answers = {}, {"dovecot"}, [], True
        self.real_run = base.run
        monkeypatch.setattr(base, "run", self.run)
        monkeypatch.setattr(process, "table", self.table)
        monkeypatch.setattr(sasl_dovecot, "prove", self.prove)
        monkeypatch.setattr(sasl_dovecot, "PATIENCE", 0)
        # files belong to root and to Dovecot's group on a host; here to whoever runs the tests
        self.me, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
        real = grp.getgrnam
        self.group = group
        monkeypatch.setattr(sasl_dovecot.grp, "getgrnam", lambda name: real(group) if name == "dovecot" else real(name))
        monkeypatch.setattr(os, "fchown", lambda *_: None)
        monkeypatch.setattr(os, "chown", lambda *_: None)
        monkeypatch.setattr(base, "rights", lambda mode, *_owner: "%04o" % mode)

    def program(self, name, body):
        (self.folder / name).write_text("#!/bin/sh\n" + body)
        (self.folder / name).chmod(0o755)

    def run(self, argv, *rest, **_options):
        if argv[0] not in ("service", "sysrc", "pkg"):
            return self.real_run(argv, *rest)
        if argv[:2] == ["sysrc", "-i"]:
            return 0, "".join("%s: %s\n" % (name, self.rc[name]) for name in argv[2:] if name in self.rc), ""
        if argv[:3] == ["pkg", "info", "-e"]:
            return int(argv[3] not in self.packages), "", ""
        self.calls.append(" ".join(argv))
        if argv[0] == "sysrc":
            self.rc.update(word.split("=", 1) for word in argv[1:])
        elif argv[0] == "pkg":
            self.packages.update(argv[3:])
        elif argv[2] == "onestop":
            (self.folder / "run/master.pid").unlink(missing_ok=True)
        elif "NOSTART" not in (self.folder / "etc/dovecot.conf").read_text():
            self.running_since(0)
        else:
            (self.folder / "run/master.pid").unlink(missing_ok=True)
        return 0, "", ""

    def table(self, pid=None):
        return {pid: process.Process(pid, 1, 0, "dovecot", "/usr/local/sbin/dovecot", (0, 0))}

    def prove(self, *_rest):
        self.calls.append("dialogue" if _rest[-1] else "handshake")
        if not self.answers or not (self.folder / "run/master.pid").exists():
            raise OSError("nobody is there")

    def running_since(self, seconds):
        """A master that wrote its pid file so many seconds from now."""
        path = self.folder / "run/master.pid"
        path.write_text("%d\n" % os.getpid())
        os.utime(path, (time.time() + seconds,) * 2)

    def __call__(self, check_mode=False, **params):
        self.calls.clear()
        wanted = {
            "packages": ["dovecot"],
            "prefix": str(self.folder),
            "config": f"{self.folder}/etc/dovecot.conf",
            "passwd_file": f"{self.folder}/etc/users",
            "syntaxes": SYNTAXES,
            "predicted_version": "2.4",
            "users": [{"name": "alice", "password_hash": HASH}],
            "replace": False,
            "socket": f"{self.folder}/queue/private/auth",
            "socket_owner": self.me,
            "socket_group": self.group,
            "mechanisms": ["plain", "login"],
        }
        return sasl_dovecot.Dovecot({**wanted, **params}, check_mode)

    def files(self):
        return {path.name: path.read_text() for path in (self.folder / "etc").iterdir()}


@pytest.fixture
def host(monkeypatch):
    there = Host(monkeypatch)
    yield there
    shutil.rmtree(there.folder)


def ids(result):
    return [found["id"] for found in result["findings"]]


def test_the_first_run_writes_starts_and_proves_and_the_second_changes_nothing(host):
    first = host().present()
    assert first["changed"] and not first["predicted"] and first["version"].startswith("2.4.1")
    assert ids(first) == ["service dovecot"]
    assert host.files() == {"dovecot.conf": SYNTAXES["2.4"], "users": f"alice:{HASH}\n"}, "a staged file was left"
    assert (host.folder / "etc/users").stat().st_mode & 0o777 == 0o640
    # the rc script answers nothing before it is enabled
    assert host.calls == ["sysrc dovecot_enable=YES", "service dovecot start", "dialogue"]
    second = host().present()
    assert not second["changed"] and ids(second) == [] and second["diff"] == [] and host.calls == ["handshake"]


def test_check_mode_predicts_the_same_and_writes_nothing(host):
    result = host(check_mode=True).present()
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


def test_a_missing_package_is_installed(host):
    host.packages.clear()
    assert ids(host().present())[0] == "package dovecot" and host.calls[0] == "pkg install -y dovecot"


@pytest.mark.parametrize(
    "version, key",
    [("2.3.19.1 (9b53102964)", "2.3"), ("2.4.1-4 (7d8c0e5759)", "2.4"), ("2.5.0", "2.4"), ("3.0.0", "2.4")],
)
def test_the_syntax_is_the_one_this_dovecot_reads(host, version, key):
    host.program("sbin/dovecot", f"echo '{version}'\n")
    host().present()
    assert host.files()["dovecot.conf"] == SYNTAXES[key]


def test_a_dovecot_too_old_for_either_syntax_is_refused(host):
    host.program("sbin/dovecot", "echo '2.2.36 (1f10bfa63)'\n")
    with pytest.raises(Refused, match="2.2.36"):
        host().present()


def test_no_hash_is_in_a_diff_and_a_new_user_needs_no_restart(host):
    host().present()
    dovecot = host(users=[{"name": "alice", "password_hash": HASH + "z"}, {"name": "bob", "password_hash": HASH}])
    result = dovecot.present()
    (users,) = result["diff"]
    assert HASH not in repr(result)
    assert users["after"].splitlines() == ["alice (new hash)", "bob (new hash)"]
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


def test_a_foreign_configuration_is_taken_over_only_when_asked(host):
    foreign = "protocols = imap\n"
    (host.folder / "etc/dovecot.conf").write_text(foreign)
    with pytest.raises(Refused, match="sasl_replace_config"):
        host().present()
    assert host.files() == {"dovecot.conf": foreign}
    host(replace=True).present()
    assert host.files()["dovecot.conf.previous"] == foreign


def test_an_unknown_scheme_is_refused_before_anything_is_written(host):
    with pytest.raises(Refused, match="ARGON2ID"):
        host(users=[{"name": "alice", "password_hash": "{ARGON2ID}$argon2id$x"}]).present()
    assert host.files() == {}


def test_a_missing_queue_directory_or_user_is_named(host):
    with pytest.raises(Refused, match="sokuhai_queue_directory"):
        host(socket=f"{host.folder}/nowhere/auth").present()
    with pytest.raises(Refused, match="no user or group"):
        host(socket_owner="nobody-has-this-name").present()


def test_another_instance_in_rc_conf_is_refused(host):
    host.rc["dovecot_config"] = "/usr/local/etc/dovecot/other.conf"
    with pytest.raises(Refused, match="other.conf"):
        host().present()


def test_a_master_older_than_its_configuration_is_restarted_though_nothing_changed(host):
    host().present()
    host.running_since(-3600)
    result = host(check_mode=True).present()
    assert ids(result) == ["process dovecot: configuration"] and result["changed"] and host.calls == []
    host().present()
    assert host.calls == ["service dovecot restart", "dialogue"]
    assert not host().present()["changed"]


def test_a_master_older_than_its_program_is_restarted(host):
    host().present()
    os.utime(host.folder / "etc/dovecot.conf", (0, 0))
    host.program("sbin/dovecot", "echo 2.4.2\n")
    os.utime(host.folder / "sbin/dovecot", (0, 0))  # a package keeps the build's mtime
    host.running_since(-0.5)
    assert ids(host().present()) == ["process dovecot: program"]


def test_a_master_that_was_stopped_is_started(host):
    host().present()
    (host.folder / "run/master.pid").unlink()
    result = host().present()
    assert ids(result) == ["service dovecot"] and result["findings"][0]["because"] == ["rc.conf: dovecot_enable"]
    assert host.calls == ["service dovecot start", "dialogue"]


def test_a_mode_that_was_changed_is_put_right_without_a_restart(host):
    host().present()
    (host.folder / "etc/users").chmod(0o644)
    (host.folder / "etc/dovecot.conf").chmod(0o600)
    assert ids(host().present()) == [f"mode of {host.folder}/etc/{name}" for name in ("users", "dovecot.conf")]
    assert host.calls == ["dialogue"] and not host().present()["changed"]


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


def proved(host, dialogue=False):
    sasl_socket.prove(f"{host.folder}/queue/private/auth", host.me, host.group, ["plain", "login"], dialogue)


def test_the_handshake_is_postfixs(host, server):
    seen = server()
    proved(host)
    # the answer came with the connection, so what was sent may still be on its way into the other thread
    deadline = time.monotonic() + 10
    while ["VERSION", "1", "1"] not in seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ["VERSION", "1", "1"] in seen


@pytest.mark.parametrize("old, new", [("MECH\tLOGIN\tplaintext\n", ""), ("VERSION\t1", "VERSION\t9")])
def test_other_mechanisms_or_another_protocol_are_no_proof(host, server, old, new):
    server(GREETING.replace(old, new))
    with pytest.raises(Refused):
        proved(host)


@pytest.mark.parametrize(
    "answer, good",
    [
        ("FAIL\t1\tuser=x\n", True),
        ("FAIL\t1\tuser=x\tcode=temp_fail\n", False),
        ("FAIL\t1\tuser=x\ttemp\n", False),
        ("OK\t1\tuser=x\n", False),
    ],
)
def test_an_invented_user_must_be_rejected_for_good(host, server, answer, good):
    seen = server(answer=answer)
    if good:
        proved(host, dialogue=True)
    else:
        with pytest.raises(Refused):
            proved(host, dialogue=True)
    (request,) = [fields for fields in seen if fields[0] == "AUTH"]
    user = base64.b64decode(request[-1].removeprefix("resp=")).split(b"\0")[1]
    assert user.startswith(b"nobody-"), "never a name that somebody has"


def test_an_open_socket_is_no_proof_yet(host, server):
    server(mode=0o666)
    with pytest.raises(OSError, match="mode 666"):
        proved(host)


def test_no_socket_is_no_proof_yet(host):
    with pytest.raises(OSError):
        proved(host)


def test_taking_it_away_touches_only_what_is_ours(host):
    (host.folder / "etc/dovecot.conf").write_text("protocols = imap\n")
    assert not host().absent()["changed"] and host.calls == []
    (host.folder / "etc/dovecot.conf").unlink()
    host().present()
    assert host(check_mode=True).absent()["changed"] and host.calls == []
    assert host().absent()["changed"]
    assert host.calls == ["service dovecot onestop", "sysrc dovecot_enable=NO"] and host.files() == {}
    assert not host().absent()["changed"]
