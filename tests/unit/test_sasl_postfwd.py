# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module sasl_postfwd against a service that is a thread with a real socket: when it starts it, what it leaves alone, how it goes back."""

import os
import socket
import time

import pytest
from fake_policy import PolicyHost, Server, found, free_port
from role_modules import load, util

sasl_postfwd = load("roles/sasl/library/sasl_postfwd.py")
shared = util("sokuhai.host")
Refused = shared.Refused
MARK = sasl_postfwd.MARK
RULES = (
    "id=over_200; sasl_username=~.+; action=rate(sasl_username/200/3600/450 x)\nid=end; request==none; action=DUNNO\n"
)
SERVICE = "service postfwd"


class Host(PolicyHost):
    """One service, whose answer is DUNNO. broken: it does not start; understands: how many rules it finds in a text."""

    def __init__(self, folder):
        super().__init__(folder, "postfwd")
        self.server, self.broken = None, False
        self.config, self.pidfile, self.port = folder / "rules.cf", folder / "svc.pid", free_port()
        self.version, self.understands = (1, "postfwd 1.35 (Perl)\n", ""), lambda text: text.count("id=")

    def answer(self, argv):
        match argv:
            case [_, "--showconfig", "--file", path]:
                with open(path, encoding="utf-8") as source:
                    number = self.understands(source.read())
                return 1, "".join('Rule %3d: id->"x"\n' % rule for rule in range(number)), "ignoring invalid line"
        return None

    def title(self, pid):
        return f"{self.program} --daemon" if self.server else ""

    def start(self):
        if not self.broken:
            self.server = Server(self.port, lambda _request: "DUNNO")
            self.pidfile.write_text(f"{self.pid()}\n")

    def stop(self):
        if self.server:
            self.server.end()
        self.server = None

    def play(self, check=False, state="present", rules=RULES, **more):
        """One run of the module; its answer."""
        self.calls.clear()
        params = {
            "program": str(self.program),
            "packages": ["postfix-postfwd"],
            "service": "svc",
            "config": str(self.config),
            "config_text": f"{MARK}\n{rules}",
            "script": str(self.script),
            "script_text": MARK + "\n",
            "address": "127.0.0.1",
            "port": self.port,
            "run_directory": str(self.folder),
            "maillog": str(self.log),
            **more,
        }
        return getattr(sasl_postfwd.Postfwd(params), state)(check)


@pytest.fixture
def host(tmp_path, monkeypatch):
    made = Host(tmp_path)
    monkeypatch.setattr(shared, "run", made.run)
    monkeypatch.setattr(sasl_postfwd, "PATIENCE", 0.3)
    yield made
    made.stop()


@pytest.fixture
def served(host):
    """A host where it runs as declared."""
    host.play()
    return host


def test_it_is_started_and_asked_and_the_second_run_changes_nothing(host):
    made = host.play()
    assert made["changed"] and found(made) == {SERVICE: "not running"} and host.calls == [["start"]]
    assert host.rc == {"svc_enable": "YES"} and host.script.stat().st_mode & 0o777 == 0o555
    assert not list(host.folder.glob("*.staged"))
    made = host.play()
    assert not made["changed"] and made["findings"] == made["diff"] == host.calls == []


def test_check_mode_predicts_and_does_nothing(host):
    before = host.files()
    os.utime(host.folder, (1, 1))
    assert host.play(check=True)["changed"] and host.files() == before and host.rc == {} and host.calls == []
    assert host.folder.stat().st_mtime == 1, "something was written beside the real files, be it for a moment"
    host.program.unlink()
    made = host.play(check=True)
    assert made["predicted"] and found(made) == {"package postfix-postfwd": "not installed"}


def test_new_rules_restart_it(served):
    made = served.play(rules=RULES.replace("200", "300"))
    assert found(made) == {SERVICE: f"older than {served.config}"} and served.calls == [["restart"]]
    assert "300" in served.config.read_text() and not served.play(rules=RULES.replace("200", "300"))["changed"]


def test_what_was_killed_or_written_before_a_run_ended_is_repaired_by_the_next(served):
    os.utime(served.pidfile, (time.time() - 60,) * 2)
    assert found(served.play()).keys() == {SERVICE} and served.calls == [["restart"]]
    served.stop()
    assert found(served.play()) == {SERVICE: "not running"} and served.calls == [["start"]]


def test_rules_that_postfwd_does_not_understand_are_refused_before_the_old_ones_go(served):
    before, served.understands = served.files(), lambda text: 1
    with pytest.raises(Refused, match="1 of 2 rules"):
        served.play(rules=RULES.replace("200", "300"))
    assert served.files() == before and served.calls == []


def test_a_failure_brings_the_former_rules_back(served, monkeypatch):
    served.broken = True
    with pytest.raises(Refused, match=f"does not answer on 127.0.0.1:{served.port}"):
        served.play(rules=RULES.replace("200", "300"))
    assert "300" not in served.config.read_text()
    served.broken = False
    assert found(served.play()) == {SERVICE: "not running"}


@pytest.mark.parametrize(
    "spoil, options, said",
    [
        (lambda host: host.config.write_text("id=mine\n"), {}, "/rules.cf is there"),
        (lambda host: host.program.unlink(), {"packages": []}, "sasl_recipients_per_hour: there is no"),
        (
            lambda host: setattr(host, "version", (2, "", "Can't locate Net/Server.pm in @INC")),
            {},
            "Server.pm.*pkg check -d",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(host, spoil, options, said):
    spoil(host)
    before = host.files()
    with pytest.raises(Refused, match=said):
        host.play(**options)
    assert host.files() == before


def test_a_port_that_somebody_else_holds_is_refused_first(host):
    with socket.create_server(("127.0.0.1", host.port)):
        with pytest.raises(Refused, match=f"sasl_recipients_port: something else listens on 127.0.0.1:{host.port}"):
            host.play()
    assert not host.script.exists()


def test_absent_stops_it_removes_what_is_ours_and_nothing_else(served):
    (served.folder / "postfwd.cf").write_text("the operator's\n")
    assert served.play(state="absent", check=True)["changed"] and served.script.exists()
    made = served.play(state="absent")
    assert found(made) == {SERVICE: "running"} and served.calls == [["onestop"]] and served.rc == {}
    assert not served.config.exists() and not served.script.exists() and (served.folder / "postfwd.cf").exists()
    assert not served.play(state="absent")["changed"] and served.calls == []
