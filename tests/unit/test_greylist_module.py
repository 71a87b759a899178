# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module greylist_postgrey against services that are threads with real sockets: what it starts, what it leaves alone, how it goes back."""

import os
import pwd
import socket
import time

import pytest
from fake_policy import PolicyHost, Server, found, free_port
from role_modules import load, util

greylist_postgrey = load("roles/greylist/library/greylist_postgrey.py")
shared = util("sokuhai.host")
Refused = shared.Refused
MARK = greylist_postgrey.MARK
PROBE = "free@probe.invalid"
NAMES = ("mild", "harsh")
MILD, HARSH = "service postgrey mild", "service postgrey harsh"


class Host(PolicyHost):
    """Two services, which free the probe's recipient and greylist everybody else. broken(name): it does not start."""

    def __init__(self, folder):
        super().__init__(folder, "postgrey")
        self.running, self.clients = {}, folder / "etc/clients"
        self.broken, self.says = lambda name: False, "DEFER_IF_PERMIT 4.2.0 Greylisted"
        self.version = (0, "postgrey 1.37\n", "")
        self.ports = {name: free_port() for name in NAMES}
        (folder / "run").mkdir()

    def pidfile(self, name):
        return self.folder / "run" / f"svc.{name}.pid"

    def answer(self, argv):
        match argv:
            case ["perl", "-e", _code, "--", *patterns]:
                wrong = [one for one in patterns if one.count("(") != one.count(")")]
                said = "/%s/: Unmatched ( in regex; marked by <-- HERE in m/( <-- HERE %s/ at -e line 1.\n"
                return 0, "".join(said % (one, one) for one in wrong), ""
        return None

    def title(self, pid):
        return self.running.get(pid, ("", None))[0]

    def stop(self, name):
        for pid, (title, server) in list(self.running.items()):
            if f"svc.{name}.pid" in title:
                server.end()
                del self.running[pid]

    def start(self, name):
        if self.broken(name):
            return
        pid, flags = self.pid(), self.rc[f"svc_{name}_flags"]
        title = f"postgrey -d --pidfile={self.pidfile(name)} --dbdir={self.folder}/db/{name} {flags}"
        port = int(flags.partition("--inet=127.0.0.1:")[2].split()[0])
        server = Server(port, lambda request: "DUNNO" if f"recipient={PROBE}\n" in request else self.says)
        self.pidfile(name).write_text(f"{pid}\n")
        self.running[pid] = (title, server)

    def instance(self, name, delay):
        flags = [f"--inet=127.0.0.1:{self.ports[name]}", f"--delay={delay}"]
        return {
            "name": name,
            "port": self.ports[name],
            "database": f"{self.folder}/db/{name}",
            "run_directory": str(self.folder / "run"),
            "flags": flags,
            "rc": " ".join(flags),
        }

    def play(self, check=False, state="present", delay=15, clients="", **more):
        """One run of the module; its answer."""
        self.calls.clear()
        params = {
            "program": str(self.program),
            "packages": ["postgrey"],
            "user": "root",
            "service": "svc",
            "script": str(self.script),
            "script_text": MARK + "\n",
            "address": "127.0.0.1",
            "probe": PROBE,
            "maillog": str(self.log),
            "stock": [],
            "instances": [self.instance(name, delay) for name in NAMES],
            "lists": [{"path": str(self.clients), "variable": "greylist_clients", "text": f"{MARK}\n{clients}"}],
            **more,
        }
        return getattr(greylist_postgrey.Postgrey(params), state)(check)

    def age(self):
        """Have both services be started a minute ago."""
        for name in NAMES:
            os.utime(self.pidfile(name), (time.time() - 60,) * 2)


def headers(made):
    return {entry["after_header"] for entry in made["diff"]}


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(greylist_postgrey.pwd, "getpwnam", lambda name: pwd.getpwuid(os.geteuid()))
    made = Host(tmp_path)
    monkeypatch.setattr(shared, "run", made.run)
    monkeypatch.setattr(greylist_postgrey, "GONE", 0.3)
    monkeypatch.setattr(greylist_postgrey.Instance, "runs", lambda self: self.process() is not None)
    yield made
    for name in NAMES:
        made.stop(name)


@pytest.fixture
def served(host):
    """A host where both run as declared."""
    host.play()
    return host


def test_both_are_started_and_asked_and_the_second_run_changes_nothing(host):
    made = host.play()
    assert made["changed"] and found(made) == {MILD: "not running", HARSH: "not running"}
    assert host.calls == [["start", "mild"], ["start", "harsh"]]
    assert host.rc["svc_enable"] == "YES" and host.rc["svc_instances"] == "mild harsh"
    assert host.script.stat().st_mode & 0o777 == 0o555
    made = host.play()
    assert not made["changed"] and made["findings"] == made["diff"] == host.calls == []
    freed = [
        [f"recipient={PROBE}\n" in request for request in server.asked] for _title, server in host.running.values()
    ]
    # the first request after a start is about a stranger; a service left alone is asked about nobody's address
    assert [(asked[0], asked[-1]) for asked in freed] == [(False, True)] * 2


def test_check_mode_predicts_and_does_nothing(host):
    before = host.files()
    made = host.play(check=True)
    assert made["changed"] and set(found(made)) == {MILD, HARSH}
    assert host.calls == [] and host.rc == {} and host.files() == before


def test_other_arguments_restart_the_one_they_are_for(served):
    served.rc["svc_harsh_flags"] += " --delay=9"
    served.stop("harsh")
    served.start("harsh")
    made = served.play()
    assert found(made) == {HARSH: "other arguments"} and served.calls == [["restart", "harsh"]]
    # what rc.conf says explains it
    assert made["findings"][0]["because"] == ["rc.conf: svc_harsh_flags"] and headers(made) == {"rc.conf"}


def test_a_new_allow_list_restarts_both(served):
    made, path = served.play(clients="192.0.2.1\n"), str(served.clients)
    assert found(made) == dict.fromkeys((MILD, HARSH), f"older than {path}")
    assert [one["because"] for one in made["findings"]] == [[path], [path]]
    assert "192.0.2.1" in served.clients.read_text()
    assert not served.play(clients="192.0.2.1\n")["changed"]


def test_a_run_that_was_killed_after_writing_is_repaired_by_the_next(served):
    served.clients.write_text(f"{MARK}\n192.0.2.1\n")
    served.age()
    made = served.play(clients="192.0.2.1\n")
    assert set(found(made)) == {MILD, HARSH} and made["diff"] == [], (
        "the files are as declared; the processes are older"
    )


def test_a_program_that_was_replaced_restarts_both(served):
    served.age()
    for path in (served.program, served.clients):
        os.utime(path, (1, 1))  # a package keeps the build's time of writing
    assert found(served.play()) == dict.fromkeys((MILD, HARSH), f"older than {served.program}")


@pytest.mark.parametrize("name, mode", [("rc", 0o555), ("etc/clients", 0o644)])
def test_a_mode_is_put_right_without_a_restart_now_or_at_the_next_run(served, name, mode):
    file = served.script.parent / name
    file.chmod(0o400)
    assert found(served.play(check=True)) == {f"mode of {file}": "0400"} and file.stat().st_mode & 0o777 == 0o400
    assert served.play()["changed"] and file.stat().st_mode & 0o777 == mode and served.calls == []
    assert not served.play()["changed"]


def test_a_failure_brings_the_former_configuration_back(served):
    former = dict(served.rc)
    served.broken = lambda name: name == "harsh" and "--delay=99" in served.rc["svc_harsh_flags"]
    served.log.write_text("x postgrey[1]: FATAL: old\n")
    with pytest.raises(Refused, match=f"harsh does not answer on 127.0.0.1:{served.ports['harsh']}") as refusal:
        served.play(delay=99)
    assert served.rc == former
    assert "old" not in str(refusal.value), "only what was logged since then is shown"
    assert not served.play()["changed"]


def test_a_failure_without_a_former_configuration_leaves_nothing(host):
    before, host.broken = host.files(), lambda name: True
    with pytest.raises(Refused, match="no previous configuration"):
        host.play()
    assert host.files() == before and host.rc == {}
    host.broken = lambda name: False
    assert set(found(host.play())) == {MILD, HARSH} and not host.play()["changed"]


def test_a_service_that_greylists_nobody_is_refused(host):
    host.says = "DUNNO"
    with pytest.raises(Refused, match="'DUNNO'"):
        host.play()


def test_a_full_disk_stops_the_run_before_the_services(served, monkeypatch):
    def full(path, *_rest):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(shared, "write", full)
    with pytest.raises(Refused, match="No space left on device"):
        served.play(clients="192.0.2.1\n")
    assert "192.0.2.1" not in served.clients.read_text() and "start" not in [verb for verb, _name in served.calls]


@pytest.mark.parametrize(
    "spoil, options, said",
    [
        (lambda host: host.script.write_text("#!/bin/sh\n# the operator's\n"), {}, "/rc "),
        (lambda host: host.program.unlink(), {"packages": []}, "greylist_install"),
        (lambda host: host.program.unlink(), {"packages": [], "check": True}, "greylist_install"),
        (lambda host: None, {"stock": ["/nowhere/list"]}, "greylist_stock_lists: .*/nowhere/list"),
        (
            lambda host: None,
            {"clients": "/a\\z/\n/(mail/\n", "check": True},
            r"^greylist_clients: /\(mail/: Unmatched \( in regex; .*/$",
        ),
        (
            lambda host: setattr(host, "version", (2, "", "Can't locate BerkeleyDB.pm in @INC")),
            {},
            "BerkeleyDB.pm.*pkg check -d postgrey",
        ),
    ],
    ids=[
        "a foreign file",
        "no program",
        "no program, check mode",
        "no stock list",
        "an expression",
        "a missing module of Perl",
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(host, spoil, options, said):
    spoil(host)
    before = host.files()
    with pytest.raises(Refused, match=said):
        host.play(**options)
    assert host.files() == before


def test_a_port_that_somebody_else_holds_is_refused_first(host):
    with socket.create_server(("127.0.0.1", host.ports["harsh"])):
        with pytest.raises(Refused, match=f"greylist_harsh_port: .*127.0.0.1:{host.ports['harsh']}"):
            host.play()
    assert not host.script.exists()


def test_a_package_that_is_missing_is_installed_and_predicted_in_check_mode(host):
    host.program.unlink()
    made = host.play(check=True)
    assert made["predicted"] and found(made) == {"package postgrey": "not installed"}
    assert headers(made) == {str(host.script), str(host.clients)}
    assert set(found(host.play())) == {"package postgrey", MILD, HARSH}


def test_removing_leaves_nothing_but_the_databases(served):
    predicted = served.play(state="absent", check=True)
    assert predicted["changed"] and set(found(predicted)) == {MILD, HARSH} and served.running
    assert headers(predicted) == {str(served.script), str(served.clients), "rc.conf"}
    assert served.play(state="absent")["changed"]
    assert served.running == served.rc == {} and not served.script.exists() and not served.clients.parent.exists()
    assert not served.play(state="absent")["changed"]
