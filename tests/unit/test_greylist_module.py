# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module greylist_postgrey against services that are threads with real sockets: what it starts, what it leaves alone, how it goes back."""

import os
import pwd
import socket
import threading
import time

import pytest
import role_modules

greylist_postgrey = role_modules.load("roles/greylist/library/greylist_postgrey.py")
shared = role_modules.util("sokuhai.host")
Refused = shared.Refused
MARK = greylist_postgrey.MARK
PROBE = "free@probe.invalid"


class Server(threading.Thread):
    """postgrey as the module sees it: frees the probe's recipient, greylists everybody else; mute where it answers nothing."""

    def __init__(self, port, answer="DEFER_IF_PERMIT 4.2.0 Greylisted", mute=False):
        super().__init__(daemon=True)
        self.answer, self.mute, self.asked = answer, mute, []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(5)
        self.start()

    def run(self):
        while True:
            try:
                there = self.listener.accept()[0]
            except OSError:
                return
            request = b""
            while not request.endswith(b"\n\n"):
                request += there.recv(4096)
            self.asked.append(request.decode())
            if not self.mute:
                action = "DUNNO" if f"recipient={PROBE}\n" in request.decode() else self.answer
                there.sendall(f"action={action}\n\n".encode())
            there.close()

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Host:
    """Files, rc.conf, processes and the service command of a host."""

    def __init__(self, folder):
        self.folder, self.rc, self.running, self.calls, self.started = folder, {}, {}, [], 0
        self.broken, self.answer = lambda name: False, "DEFER_IF_PERMIT 4.2.0 Greylisted"
        self.ports = {}
        for name in ("mild", "harsh"):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.ports[name] = free.getsockname()[1]
        (folder / "run").mkdir()
        (folder / "maillog").write_text("")
        self.install()

    def install(self):
        program = self.folder / "postgrey"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        os.utime(program, (1, 1))

    def pidfile(self, name):
        return self.folder / "run" / f"svc.{name}.pid"

    def run(self, argv, *_rest, **_options):
        argv = [str(word) for word in argv]
        if argv[-1] == "--version":
            return 0, "postgrey 1.37\n", ""
        if argv[:3] == ["pkg", "info", "-e"]:
            return int(not (self.folder / "postgrey").exists()), "", ""
        if argv[:3] == ["pkg", "install", "-y"]:
            self.install()
            return 0, "", ""
        if argv[0] == "ps":
            wanted = int(argv[argv.index("-p") + 1])
            rows = [
                "%d 1 225 Ss perl 60 %s (perl)\n" % (pid, self.running[pid][0]) for pid in self.running if pid == wanted
            ]
            return int(not rows), "".join(rows), ""
        if argv[0] == "sysrc":
            if argv[1] == "-i":
                return 0, "".join("%s: %s\n" % (name, self.rc[name]) for name in argv[2:] if name in self.rc), ""
            if argv[1] == "-x":
                for name in argv[2:]:
                    del self.rc[name]
            else:
                self.rc.update(word.split("=", 1) for word in argv[1:])
            return 0, "", ""
        assert argv[0] == "service", argv
        self.calls.append(argv[2:])
        word, name = argv[2:]
        self.stop(name)
        if not word.endswith("stop") and not self.broken(name):
            self.launch(name)
        return 0, "", ""

    def stop(self, name):
        for pid, (title, server) in list(self.running.items()):
            if f"svc.{name}.pid" in title:
                server.end()
                del self.running[pid]

    def launch(self, name, **options):
        self.started += 1
        pid = 4000 + self.started
        flags = self.rc[f"svc_{name}_flags"]
        port = int(flags.partition("--inet=127.0.0.1:")[2].split()[0])
        server = Server(port, options.pop("answer", self.answer), **options)
        title = f"postgrey -d --pidfile={self.pidfile(name)} --dbdir={self.folder}/db/{name} {flags}"
        self.pidfile(name).write_text(f"{pid}\n")
        self.running[pid] = (title, server)
        return server

    def params(self, delay=15, clients="", state="present", **more):
        names = more.pop("names", ("mild", "harsh"))
        flags = {name: [f"--inet=127.0.0.1:{self.ports[name]}", f"--delay={delay}"] for name in names}
        return {
            "state": state,
            "program": str(self.folder / "postgrey"),
            "packages": ["postgrey"],
            "user": "root",
            "service": "svc",
            "script": str(self.folder / "rc"),
            "script_text": MARK + "\n",
            "address": "127.0.0.1",
            "probe": PROBE,
            "maillog": str(self.folder / "maillog"),
            "stock": [],
            "instances": [
                {
                    "name": name,
                    "port": self.ports[name],
                    "database": f"{self.folder}/db/{name}",
                    "run_directory": str(self.folder / "run"),
                    "flags": flags[name],
                    "rc": " ".join(flags[name]),
                }
                for name in names
            ],
            "lists": [{"path": str(self.folder / "etc/clients"), "text": f"{MARK}\n{clients}"}],
            **more,
        }

    def play(self, check=False, **options):
        self.calls.clear()
        params = self.params(**options)
        return getattr(greylist_postgrey.Postgrey(params), params["state"])(check)


def found(made):
    """{id: what was found} of a module's findings."""
    return {one["id"]: one["found"] for one in made["findings"]}


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(greylist_postgrey.pwd, "getpwnam", lambda name: pwd.getpwuid(os.geteuid()))
    made = Host(tmp_path)
    monkeypatch.setattr(shared, "run", lambda argv, *rest, **options: made.run(argv, *rest))
    monkeypatch.setattr(greylist_postgrey, "GONE", 0.3)
    monkeypatch.setattr(greylist_postgrey.Postgrey, "runs", lambda self, instance: self.process(instance) is not None)
    yield made
    for name in ("mild", "harsh"):
        made.stop(name)


MILD, HARSH = "service postgrey mild", "service postgrey harsh"


def test_both_are_started_and_asked_and_the_second_run_changes_nothing(host):
    made = host.play()
    assert made["changed"] and found(made) == {MILD: "not running", HARSH: "not running"}
    assert host.calls == [["start", "mild"], ["start", "harsh"]]
    assert host.rc["svc_enable"] == "YES" and host.rc["svc_instances"] == "mild harsh"
    assert (host.folder / "rc").stat().st_mode & 0o777 == 0o555
    for title, server in host.running.values():
        assert "sender=" in server.asked[0] and f"recipient={PROBE}" not in server.asked[0], (
            "the first request is about a stranger"
        )
    made = host.play()
    assert not made["changed"] and made["findings"] == made["diff"] == [] and host.calls == []
    for title, server in host.running.values():
        assert f"recipient={PROBE}\n" in server.asked[-1], "a service left alone is asked about nobody's address"


def test_check_mode_predicts_and_does_nothing(host):
    made = host.play(check=True)
    assert made["changed"] and set(found(made)) == {MILD, HARSH}
    assert host.calls == [] and host.rc == {} and not (host.folder / "rc").exists()


def test_other_arguments_restart_the_one_they_are_for(host):
    host.play()
    host.rc["svc_harsh_flags"] += " --delay=9"
    host.stop("harsh")
    host.launch("harsh")
    made = host.play()
    assert found(made) == {HARSH: "other arguments"} and host.calls == [["restart", "harsh"]]
    # what rc.conf says explains it
    assert made["findings"][0]["because"] == ["rc.conf: svc_harsh_flags"]
    assert [entry["after_header"] for entry in made["diff"]] == ["rc.conf"]


def test_a_new_allow_list_restarts_both(host):
    host.play()
    made = host.play(clients="192.0.2.1\n")
    path = str(host.folder / "etc/clients")
    assert found(made) == {MILD: f"older than {path}", HARSH: f"older than {path}"}
    assert [one["because"] for one in made["findings"]] == [[path], [path]]
    assert "192.0.2.1" in (host.folder / "etc/clients").read_text()
    assert not host.play(clients="192.0.2.1\n")["changed"]


def test_a_run_that_was_killed_after_writing_is_mended_by_the_next(host):
    host.play()
    (host.folder / "etc/clients").write_text(f"{MARK}\n192.0.2.1\n")
    for name in ("mild", "harsh"):
        os.utime(host.pidfile(name), (time.time() - 60,) * 2)
    made = host.play(clients="192.0.2.1\n")
    assert set(found(made)) == {MILD, HARSH} and made["diff"] == [], (
        "the files are as declared; the processes are older"
    )


def test_a_program_that_was_replaced_restarts_both(host):
    host.play()
    for name in ("mild", "harsh"):
        os.utime(host.pidfile(name), (time.time() - 60,) * 2)
    os.utime(host.folder / "postgrey", (1, 1))  # a package keeps the build's time of writing
    os.utime(host.folder / "etc/clients", (1, 1))
    made = host.play()
    assert found(made) == dict.fromkeys((MILD, HARSH), f"older than {host.folder / 'postgrey'}")


def test_a_mode_is_put_right_without_a_restart(host):
    host.play()
    script = host.folder / "rc"
    script.chmod(0o444)
    assert found(host.play(check=True)) == {f"mode of {script}": "0444"} and script.stat().st_mode & 0o777 == 0o444
    assert host.play()["changed"] and script.stat().st_mode & 0o777 == 0o555 and host.calls == []


def test_a_service_that_does_not_answer_is_ended_and_started(host, monkeypatch):
    host.play()
    host.stop("mild")
    server = host.launch("mild", mute=True)
    ended = []

    def kill(pid, number):
        ended.append((pid, number))
        server.end()
        host.running.pop(pid, None)
        raise ProcessLookupError

    monkeypatch.setattr(greylist_postgrey.os, "kill", kill)
    monkeypatch.setattr(
        greylist_postgrey.Postgrey.ask, "__defaults__", (0.5,)
    )  # s, which a service that is mute is waited for
    made = host.play()
    assert found(made) == {MILD: "no answer"} and len(ended) == 1


def test_a_failure_brings_the_former_configuration_back(host):
    host.play()
    former = dict(host.rc)
    host.broken = lambda name: name == "harsh" and "--delay=99" in host.rc["svc_harsh_flags"]
    (host.folder / "maillog").write_text("x postgrey[1]: FATAL: old\n")
    with pytest.raises(Refused) as refusal:
        host.play(delay=99)
    assert host.rc == former
    assert f"harsh does not answer on 127.0.0.1:{host.ports['harsh']}" in str(refusal.value)
    assert "old" not in str(refusal.value), "only what was logged since then is shown"
    assert not host.play()["changed"]


def test_a_failure_without_a_former_configuration_leaves_what_the_next_run_takes_up(host):
    host.broken = lambda name: True
    with pytest.raises(Refused):
        host.play()
    host.broken = lambda name: False
    assert set(found(host.play())) == {MILD, HARSH} and not host.play()["changed"]


def test_a_service_that_greylists_nobody_is_refused(host):
    host.answer = "DUNNO"
    with pytest.raises(Refused, match="'DUNNO'"):
        host.play()


def test_a_full_disk_stops_the_run_before_the_services(host, monkeypatch):
    host.play()

    def full(path, text, mode):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(shared, "write", full)
    with pytest.raises(Refused, match="No space left on device"):
        host.play(clients="192.0.2.1\n")
    assert "192.0.2.1" not in (host.folder / "etc/clients").read_text() and not [
        c for c in host.calls if c[0] == "start"
    ]


def test_a_port_that_somebody_else_holds_is_refused_first(host):
    other = Server(host.ports["harsh"])
    with pytest.raises(Refused, match=f"greylist_harsh_port: .*127.0.0.1:{host.ports['harsh']}"):
        host.play()
    assert not (host.folder / "rc").exists()
    other.end()


def test_a_foreign_file_is_left_alone(host):
    (host.folder / "rc").write_text("#!/bin/sh\n# the operator's\n")
    with pytest.raises(Refused, match=f"{host.folder}/rc "):
        host.play()
    assert "operator" in (host.folder / "rc").read_text()


def test_a_program_whose_modules_are_missing_is_refused(host, monkeypatch):
    run = host.run
    monkeypatch.setattr(
        host,
        "run",
        lambda argv, *rest: (2, "", "Can't locate BerkeleyDB.pm in @INC") if argv[-1] == "--version" else run(argv),
    )
    with pytest.raises(Refused, match="BerkeleyDB.pm.*pkg check -d postgrey"):
        host.play()


def test_a_package_that_is_missing_is_installed_and_predicted_in_check_mode(host):
    (host.folder / "postgrey").unlink()
    made = host.play(check=True)
    assert made["predicted"] and found(made) == {"package postgrey": "not installed"}
    assert {entry["after_header"] for entry in made["diff"]} == {
        str(host.folder / "rc"),
        str(host.folder / "etc/clients"),
    }
    assert set(found(host.play())) == {"package postgrey", MILD, HARSH}


def test_no_program_is_refused_where_no_package_brings_it(host):
    (host.folder / "postgrey").unlink()
    for check in (True, False):
        with pytest.raises(Refused, match="greylist_install"):
            host.play(check=check, packages=[])


def test_a_stock_list_that_is_not_there_is_named(host):
    with pytest.raises(Refused, match="greylist_stock_lists: .*/nowhere/list"):
        host.play(stock=["/nowhere/list"])


def test_removing_leaves_nothing_but_the_databases(host, monkeypatch):
    host.play()
    predicted = host.play(state="absent", check=True)
    assert predicted["changed"] and set(found(predicted)) == {MILD, HARSH} and host.running
    assert {entry["after_header"] for entry in predicted["diff"]} == {
        str(host.folder / "rc"),
        str(host.folder / "etc/clients"),
        "rc.conf",
    }
    assert host.play(state="absent")["changed"]
    assert (
        host.running == {}
        and host.rc == {}
        and not (host.folder / "rc").exists()
        and not (host.folder / "etc").exists()
    )
    assert not host.play(state="absent")["changed"]
