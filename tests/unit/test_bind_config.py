"""The transaction around named.conf, against a host that can refuse, fall silent, or be killed between any two steps."""

from __future__ import annotations

import os
import pathlib
from email.utils import formatdate

import pytest
from role_modules import load, util

HOST, NAMED, STATEMENTS, RESOLVER = (util("bind_" + name) for name in ("host", "named", "statements", "resolver"))
CONFIG = load("roles/bind/library/bind_config.py")


class Ended(Exception):
    def __init__(self, failed, result):
        super().__init__(result)
        self.failed, self.result = failed, result


class Killed(BaseException):
    pass


class FakeModule:
    def __init__(self, params, check_mode=False):
        self.params, self.check_mode = params, check_mode

    def exit_json(self, **result):
        raise Ended(False, result)

    def fail_json(self, **result):
        raise Ended(True, result)


class FakeHost:
    """A named whose behaviour is written in its configuration: REFUSE, NOSTART, MUTE, DEAF. It keeps a clock of its own."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.clock, self.running, self.limit, self.steps, self.die_at = (
            folder,
            2_000_000_000.0,
            None,
            65535,
            0,
            None,
        )
        self.services, self.did, self.pids = {"local_unbound": False}, [], 7
        self.conf, self.pidfile = str(folder / "named.conf"), folder / "pid"
        for name in ("named", "named-checkconf", "rndc"):
            program = folder / "sbin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text("")
            program.chmod(0o755)
        self.rc = {"named_program": str(folder / "sbin" / "named"), "named_conf": self.conf, "named_enable": "YES"}
        host = util("sokuhai.host")
        for module in (host, util("sokuhai.process"), NAMED):
            monkeypatch.setattr(module, "time", self)
        for module, name, value in (
            (host, "run", self.run),
            (host, "write", self.write),
            (util("sokuhai.dns"), "ask", self.ask),
            (HOST, "DEFAULT_PIDFILE", str(self.pidfile)),
            (RESOLVER, "RESOLVCONF_CONF", str(folder / "resolvconf.conf")),
            (RESOLVER, "RESOLV_CONF", str(folder / "resolv.conf")),
        ):
            monkeypatch.setattr(module, name, value)

    # the clock
    def time(self):
        return self.clock

    def monotonic(self):
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds

    # DNS: version.bind is answered by a named that is not mute, NS of the probe by one that is not deaf either
    def ask(self, server, name, *_rest, **_more):
        deaf = ["MUTE"] if name == "version.bind" else ["MUTE", "DEAF"]
        if self.running is None or any(word in self.running["text"] for word in deaf):
            return None
        return {"rcode": "NOERROR", "recursion_available": True}

    def up(self):
        return self.running is not None

    def step(self):
        self.steps += 1
        if self.steps == self.die_at:
            raise Killed

    def write(self, path, text, mode=0o644):
        self.step()
        pathlib.Path(path).write_text(text)
        os.utime(path, (self.clock, self.clock))
        self.step()

    def text(self):
        return pathlib.Path(self.conf).read_text() if os.path.exists(self.conf) else ""

    def start(self):
        self.clock += 0.1
        if (
            "NOSTART" in self.text()
            or self.running
            or self.services["local_unbound"]
            or self.rc["named_enable"] != "YES"
        ):
            return 1
        self.pids += 1
        self.running = {
            "pid": self.pids,
            "started": int(self.clock),
            "loaded": int(self.clock),
            "text": self.text(),
            "soft": self.limit,
        }
        self.pidfile.write_text("%d\n" % self.pids)
        os.utime(self.pidfile, (self.clock, self.clock))
        return 0

    def run(self, argv, timeout=60, env=None, output=None):
        argv = [os.path.basename(argv[0]), *argv[1:]]
        reads = (
            argv[0] in ("ps", "procstat", "sysctl", "limits") or argv[1:2] == ["status"] or argv[:2] == ["sysrc", "-i"]
        )
        if reads:
            return self.shown(argv)
        self.step()
        if argv[:2] == ["service", "named"]:
            self.did.append(argv[2])
            if argv[2] in ("restart", "onestop"):
                self.running = None
                self.step()
            return (0 if argv[2] == "onestop" else self.start()), "", ""
        if argv[0] == "service":
            if argv[2] == "onestatus":
                return (0 if self.services[argv[1]] else 1), "", ""
            self.services[argv[1]] = argv[2] == "onestart"
            self.did.append("%s %s" % (argv[1], argv[2]))
            return 0, "", ""
        if argv[0] == "rndc":
            self.did.append("reconfig")
            if "NOSTART" in self.text():
                return 1, "", "failure"
            self.running.update(loaded=int(self.clock), text=self.text())
            return 0, "", ""
        if argv[0] == "named-checkconf":
            text = pathlib.Path(argv[-1]).read_text() if os.path.exists(argv[-1]) else "REFUSE"
            # as 9.18 does, on standard output and with the path
            remark = "%s:3: option 'files' is deprecated\n" % argv[-1]
            return (1, "named.conf:1: REFUSE", "") if "REFUSE" in text else (0, remark + text * ("-p" in argv), "")
        if argv[0] == "sysrc":
            if argv[1] == "-x":
                for name in argv[2:]:
                    del self.rc[name]
            else:
                self.rc.update(word.split("=", 1) for word in argv[1:])
            return 0, "", ""
        raise AssertionError(argv)

    def shown(self, argv):
        """What the commands print that only read."""
        if argv[0] == "sysrc":
            return 1, "".join("%s: %s\n" % (name, self.rc[name]) for name in argv[2:] if name in self.rc), ""
        if argv[0] == "sysctl":
            return 0, "100000\n", ""
        if argv[0] == "limits":
            return 0, "Resource limits (current):\n  openfiles              infinity\n", ""
        if not self.running:
            return 1, "", ""
        if argv[0] == "ps":
            return 0, "%(pid)d 1 53 Ss named 1 /usr/local/sbin/named -u bind\n" % self.running, ""
        if argv[0] == "procstat":
            return 0, "  %(pid)d named   openfiles   %(soft)d   %(soft)d\n" % self.running, ""
        return 0, "last configured: %s\n" % formatdate(self.running["loaded"], usegmt=True), ""


@pytest.fixture
def host(tmp_path, monkeypatch):
    return FakeHost(tmp_path, monkeypatch)


def conf(*words, listen="127.0.0.1", clients=1000):
    return "options {\n\tlisten-on { %s; };\n\trecursive-clients %d;\n};\n%s" % (
        listen,
        clients,
        "".join('include "%s";\n' % word for word in words),
    )


def go(host, monkeypatch, text, check_mode=False, **params):
    wanted = {
        "state": "present",
        "content": text,
        "openfiles": 65535,
        "servers": ["127.0.0.1"],
        "probe_name": ".",
        "timeout": 20,
        "directories": [],
        "files": [],
        "rc": {"named_enable": "YES", "named_auto_forward": "NO"},
        "displaces": ["local_unbound"],
        "predict": True,
        "use_for_host": False,
        "name_servers": ["127.0.0.1"],
        "require_recursion": True,
    }
    module = FakeModule(dict(wanted, **params), check_mode)
    monkeypatch.setattr(CONFIG, "AnsibleModule", lambda **kwargs: module)
    host.did = []
    host.clock += 100
    with pytest.raises(Ended) as end:
        CONFIG.main()
    return end.value


def ids(end):
    return [found["id"] for found in end.result["findings"]]


def test_first_start_then_nothing_to_do(host, monkeypatch):
    end = go(host, monkeypatch, conf())
    assert not end.failed and end.result["changed"] and end.result["action"] == "start"
    end = go(host, monkeypatch, conf())
    assert not end.failed and not end.result["changed"] and host.did == []


def test_only_what_named_does_not_take_over_restarts_it(host, monkeypatch):
    go(host, monkeypatch, conf())
    assert go(host, monkeypatch, conf(clients=2000)).result["action"] == "reconfig"
    assert host.running["text"] == conf(clients=2000)
    assert go(host, monkeypatch, conf(clients=2000, listen="127.0.0.2")).result["action"] == "restart"


def test_what_the_checker_refuses_never_reaches_the_file(host, monkeypatch):
    go(host, monkeypatch, conf())
    end = go(host, monkeypatch, conf("REFUSE"))
    assert end.failed and end.result["step"] == "checkconf" and not end.result["restored"]
    assert host.text() == conf() and host.did == [] and host.up()
    assert not os.path.exists(host.conf + ".staged")


@pytest.mark.parametrize("word, step", [("NOSTART", "restart"), ("MUTE", "restart"), ("DEAF", "recursion")])
def test_a_named_that_does_not_prove_itself_gets_the_old_file_back(host, monkeypatch, word, step):
    go(host, monkeypatch, conf())
    end = go(host, monkeypatch, conf(word))
    assert end.failed and (end.result["step"], end.result["restored"]) == (step, True)
    assert host.text() == conf() and host.running["text"] == conf()
    end = go(host, monkeypatch, conf())
    assert not end.failed and not end.result["changed"]


def test_a_failed_start_does_not_wait_for_the_whole_timeout(host, monkeypatch):
    go(host, monkeypatch, conf())
    before = host.clock
    go(host, monkeypatch, conf("NOSTART"), timeout=60)
    assert host.clock - before - 100 < 20


def test_recursion_that_never_worked_is_no_reason_to_go_back(host, monkeypatch):
    end = go(host, monkeypatch, conf("DEAF"))
    assert not end.failed and end.result["recurses"] is False


@pytest.mark.parametrize(
    "spoil, action, thing",
    [
        (lambda host: setattr(host, "running", None), "start", "service named"),
        (lambda host: host.running.update(soft=1000), "restart", "process named: openfiles"),
        (lambda host: os.utime(host.conf, (host.clock + 50,) * 2), "restart", "process named: configuration"),
        (lambda host: host.running.update(text="MUTE"), "restart", "service named"),
    ],
)
def test_what_drifted_is_repaired_though_the_file_is_right(host, monkeypatch, spoil, action, thing):
    assert ids(go(host, monkeypatch, conf())) == ["service named"]
    spoil(host)
    end = go(host, monkeypatch, conf(), check_mode=True)
    assert end.result["changed"] and ids(end) == [thing] and end.result["diff"] == []
    assert host.did == []
    end = go(host, monkeypatch, conf())
    assert not end.failed and end.result["action"] == action and end.result["changed"]
    end = go(host, monkeypatch, conf())
    assert not end.result["changed"] and ids(end) == []


def test_what_a_changed_file_will_do_anyway_is_no_finding_of_its_own(host, monkeypatch):
    go(host, monkeypatch, conf())
    os.utime(host.conf, (host.clock + 50,) * 2)
    end = go(host, monkeypatch, conf(clients=2000), check_mode=True)
    assert ids(end) == [] and [entry["after_header"] for entry in end.result["diff"]] == [host.conf]


def test_rc_conf_is_set_first_and_removed_in_the_end(host, monkeypatch):
    host.rc["named_enable"] = "NO"
    end = go(host, monkeypatch, conf(), check_mode=True)
    assert host.rc["named_enable"] == "NO" and end.result["diff"][0]["after_header"] == "rc.conf"
    end = go(host, monkeypatch, conf())
    assert not end.failed and end.result["changed"] and host.rc["named_enable"] == "YES" and host.up()
    # what the rc script assumes already is not written
    assert "named_auto_forward" not in host.rc
    end = go(host, monkeypatch, None, state="absent")
    assert end.result["changed"] and not host.up() and "named_enable" not in host.rc and host.text() == conf()
    assert not go(host, monkeypatch, None, state="absent").result["changed"]


def test_a_host_without_named_is_predicted_in_check_mode_alone(host, monkeypatch):
    os.unlink(host.rc["named_program"])
    end = go(host, monkeypatch, conf(), check_mode=True)
    assert not end.failed and end.result["changed"] and ids(end) == ["service named"]
    assert go(host, monkeypatch, conf()).failed and go(host, monkeypatch, conf(), check_mode=True, predict=False).failed


def test_a_limit_that_a_restart_does_not_raise_names_the_links(host, monkeypatch):
    host.limit = 20000
    end = go(host, monkeypatch, conf())
    assert end.failed and end.result["msg"].startswith("bind_openfiles: ") and end.result["step"] == "openfiles"
    for part in (
        "20000",
        "65535",
        "kern.maxfilesperproc = 100000",
        "login class daemon: openfiles = infinity",
        "no files statement",
    ):
        assert part in end.result["msg"]
    assert host.up()


def test_check_mode_writes_and_starts_nothing(host, monkeypatch):
    pathlib.Path(host.conf).write_text("old")
    end = go(host, monkeypatch, conf(), check_mode=True)
    assert (
        end.result["changed"] and end.result["diff"][0]["before"] == "old" and end.result["diff"][0]["after"] == conf()
    )
    assert (
        host.text() == "old"
        and host.did == []
        and sorted(p.name for p in host.folder.iterdir()) == ["named.conf", "sbin"]
    )
    assert go(host, monkeypatch, conf("REFUSE"), check_mode=True).failed


def test_hints_travel_with_the_file(host, monkeypatch):
    hints = str(host.folder / "hints")
    go(host, monkeypatch, conf(), files=[{"path": hints, "content": "one"}])
    end = go(host, monkeypatch, conf(), files=[{"path": hints, "content": "two"}])
    assert end.result["action"] == "restart" and pathlib.Path(hints).read_text() == "two"
    end = go(host, monkeypatch, conf("NOSTART"), files=[{"path": hints, "content": "three"}])
    assert end.failed and pathlib.Path(hints).read_text() == "two" and host.text() == conf() and host.up()


def test_local_unbound_makes_room_and_returns_when_named_cannot_start(host, monkeypatch):
    host.services["local_unbound"] = True
    assert go(host, monkeypatch, conf("NOSTART")).failed
    assert host.services["local_unbound"]
    host.rc["local_unbound_enable"] = "YES"
    assert not go(host, monkeypatch, conf()).failed
    assert not host.services["local_unbound"] and host.rc["local_unbound_enable"] == "NO"


def end_state(host):
    return (
        host.text(),
        host.running and host.running["text"],
        host.services["local_unbound"],
        sorted(p.name for p in host.folder.iterdir() if p != host.pidfile),
    )


@pytest.mark.parametrize("old, new", [(None, conf()), (conf(), conf(clients=2000)), (conf(), conf(listen="127.0.0.2"))])
def test_killed_anywhere_the_next_run_ends_in_the_same_state(tmp_path, monkeypatch, old, new):
    reached, steps = None, 0
    for die_at in range(0, 200):
        folder = tmp_path / str(die_at)
        folder.mkdir()
        host = FakeHost(folder, monkeypatch)
        if old:
            go(host, monkeypatch, old)
        host.steps, host.die_at = 0, die_at or None
        try:
            end = go(host, monkeypatch, new)
        except Killed:
            host.die_at = None
            end = go(host, monkeypatch, new)
        assert not end.failed, (die_at, end.result)
        if reached is None:
            reached, steps = end_state(host), host.steps
        assert end_state(host) == reached, die_at
        assert not go(host, monkeypatch, new).result["changed"]
        if die_at > steps:
            break
    assert steps > 5 and die_at == steps + 1


@pytest.mark.parametrize("word", ["NOSTART", "MUTE"])
def test_killed_on_the_way_to_a_bad_file_dns_is_back_after_the_next_run(tmp_path, monkeypatch, word):
    """Whether the next run has the bad file again, another bad one or the good one, the host ends with a named that answers."""
    for number, again in enumerate((conf(word), conf(word, clients=3000), conf())):
        for die_at in range(1, 60):
            folder = tmp_path / ("%d-%d" % (number, die_at))
            folder.mkdir()
            host = FakeHost(folder, monkeypatch)
            go(host, monkeypatch, conf())
            host.steps, host.die_at = 0, die_at
            try:
                go(host, monkeypatch, conf(word))
                break
            except Killed:
                host.die_at = None
            end = go(host, monkeypatch, again)
            assert end.failed == (again != conf()), die_at
            assert host.up() and host.running["text"] == host.text() == conf(), die_at
        assert die_at > 5


def test_statements_of_a_printed_configuration():
    text = 'options {\n\tfiles 65535;\n\tlisten-on  {\n\t\t127.0.0.1/32;\n\t};\n\tversion "a;b}";\n};\nzone "." {\n\ttype hint;\n};\n'
    assert STATEMENTS.option_statements(text) == {
        "files": ["files 65535"],
        "listen-on": ["listen-on { 127.0.0.1/32; }"],
        "version": ['version "a;b}"'],
    }
    assert STATEMENTS.needs_restart(text, text) == ""
    assert STATEMENTS.needs_restart(text, text.replace("65535", "20000")) == "files"
    assert STATEMENTS.needs_restart(text, text.replace("a;b", "c")) == ""
    assert STATEMENTS.needs_restart(text, text.replace("hint", "mirror")) == "zone"
    assert (
        STATEMENTS.needs_restart(text, text + 'trust-anchors {\n\t"." static-ds 1 13 2 "AB";\n};\n') == "trust-anchors"
    )
    assert STATEMENTS.needs_restart(text, text + 'zone "home.example" {\n\ttype primary;\n};\n') == ""
