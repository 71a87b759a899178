# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module sasl_dovecot against a file system of its own, programs that are shell scripts, and a server on a real socket."""

import base64
import getpass
import grp
import os
import pathlib
import shutil
import socketserver
import tempfile
import threading
import time

import pytest
from fake_host import FakeRc
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
        self.rc, self.packages, self.calls, self.answers = FakeRc(), {"dovecot"}, [], True
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
        monkeypatch.setattr(os, "chown", lambda *_, **_more: None)
        monkeypatch.setattr(base, "rights", lambda mode, *_owner: "%04o" % mode)

    def program(self, name, body):
        (self.folder / name).write_text("#!/bin/sh\n" + body)
        (self.folder / name).chmod(0o755)

    def run(self, argv, *rest, **_options):
        if argv[0] not in ("service", "sysrc", "pkg"):
            return self.real_run(argv, *rest)
        if argv[:2] == ["sysrc", "-i"]:
            return self.rc.sysrc(argv[1:])
        if argv[:3] == ["pkg", "info", "-e"]:
            return int(argv[3] not in self.packages), "", ""
        self.calls.append(" ".join(argv))
        if argv[0] == "sysrc":
            self.rc.sysrc(argv[1:])
        elif argv[:3] == ["pkg", "install", "-yU"]:
            self.packages.update(argv[3:])
            self.program("sbin/dovecot", "echo '2.4.1-4 (7d8c0e5759)'\n")
        elif argv[0] == "pkg":
            pass
        elif argv[2] == "onestop" or "NOSTART" in (self.folder / "etc/dovecot.conf").read_text():
            (self.folder / "run/master.pid").unlink(missing_ok=True)
        else:
            self.running_since(0)
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
    assert host.calls[:3] == ["pkg install %s dovecot" % options for options in ("-yF", "-nU", "-yU")]


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
