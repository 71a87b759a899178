"""The transaction around named.conf, against a host that can refuse, fall silent, or be killed between any two steps."""

from __future__ import annotations

import os
import pathlib

import pytest
from role_modules import load, util

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "bind"


HOST = util("bind_host")
CONFIG = load(ROLE / "library" / "bind_config.py")


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
    """A named whose behaviour is written in its configuration: REFUSE, NOSTART, MUTE, DEAF."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.clock, self.running, self.limit, self.steps, self.die_at = (
            folder,
            2_000_000_000.0,
            None,
            65535,
            0,
            None,
        )
        self.services, self.did = {"local_unbound": False}, []
        self.conf = str(folder / "named.conf")
        program = folder / "sbin" / "named"
        program.parent.mkdir()
        program.write_text("")
        program.chmod(0o755)
        self.rc = dict(HOST.RC_DEFAULTS, named_program=str(program), named_conf=self.conf)
        for name, value in {
            "run": self.run,
            "rc_variables": lambda: dict(self.rc),
            "beside": lambda program, name: name,
            "running_named": lambda text, chroot="": self.running and {k: self.running[k] for k in ("pid", "started")},
            "loaded_at": lambda rndc, started: self.running["loaded"],
            "openfiles": lambda pid: (self.running["soft"],) * 2,
            "answers": lambda server: self.up() and "MUTE" not in self.running["text"],
            "recurses": lambda server, name: self.up() and "DEAF" not in self.running["text"],
            "sysctl_int": lambda name: 100000,
            "write": self.write,
            "time": self,
            "wait_until": self.wait_until,
        }.items():
            monkeypatch.setattr(CONFIG, name, value)

    # the module's clock
    def time(self):
        return self.clock

    def monotonic(self):
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds

    def wait_until(self, check, seconds, pause=0.25):
        end = self.clock + seconds
        while True:
            found = check()
            if found or self.clock >= end:
                return found or False
            self.clock += pause

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
        if "NOSTART" in self.text() or self.running or self.services["local_unbound"]:
            return 1
        self.running = {
            "pid": 7,
            "started": int(self.clock),
            "loaded": int(self.clock),
            "text": self.text(),
            "soft": self.limit,
        }
        return 0

    def run(self, argv, timeout=60):
        self.step()
        if argv[0] == "service" and argv[1] == "named":
            self.did.append(argv[2])
            if argv[2] == "restart":
                self.running = None
                self.step()
            return self.start(), "", ""
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
            text = pathlib.Path(argv[-1]).read_text()
            return (1, "named.conf:1: REFUSE", "") if "REFUSE" in text else (0, text if "-p" in argv else "", "")
        if argv[0] == "limits":
            return 0, "Resource limits (current):\n  openfiles              infinity\n", ""
        raise AssertionError(argv)


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
        "content": text,
        "openfiles": 65535,
        "servers": ["127.0.0.1"],
        "probe_name": ".",
        "timeout": 20,
        "directories": [],
        "files": [],
        "displaces": ["local_unbound"],
    }
    module = FakeModule(dict(wanted, **params), check_mode)
    monkeypatch.setattr(CONFIG, "AnsibleModule", lambda **kwargs: module)
    host.did = []
    host.clock += 100
    with pytest.raises(Ended) as end:
        CONFIG.main()
    return end.value


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
    assert end.failed and "named-checkconf refuses" in end.result["msg"]
    assert host.text() == conf() and host.did == [] and host.up()
    assert not os.path.exists(host.conf + ".staged")


@pytest.mark.parametrize("word", ["NOSTART", "MUTE", "DEAF"])
def test_a_named_that_does_not_prove_itself_gets_the_old_file_back(host, monkeypatch, word):
    go(host, monkeypatch, conf())
    end = go(host, monkeypatch, conf(word))
    assert end.failed and "runs with it" in end.result["msg"]
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
    "spoil, action",
    [
        (lambda host: setattr(host, "running", None), "start"),
        (lambda host: host.running.update(soft=1000), "restart"),
        (lambda host: os.utime(host.conf, (host.clock + 50,) * 2), "restart"),
        (lambda host: host.running.update(text="MUTE"), "restart"),
    ],
)
def test_what_drifted_is_mended_though_the_file_is_right(host, monkeypatch, spoil, action):
    go(host, monkeypatch, conf())
    spoil(host)
    assert go(host, monkeypatch, conf(), check_mode=True).result["changed"]
    assert host.did == []
    end = go(host, monkeypatch, conf())
    assert not end.failed and end.result["action"] == action and end.result["changed"]
    assert not go(host, monkeypatch, conf()).result["changed"]


def test_a_limit_that_a_restart_does_not_mend_names_the_links(host, monkeypatch):
    host.limit = 20000
    end = go(host, monkeypatch, conf())
    assert end.failed and end.result["msg"].startswith("bind_openfiles: ")
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
    assert not go(host, monkeypatch, conf()).failed
    assert not host.services["local_unbound"]


def end_state(host):
    return (
        host.text(),
        host.running and host.running["text"],
        host.services["local_unbound"],
        sorted(p.name for p in host.folder.iterdir()),
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
    assert CONFIG.option_statements(text) == {
        "files": ["files 65535"],
        "listen-on": ["listen-on { 127.0.0.1/32; }"],
        "version": ['version "a;b}"'],
    }
    assert CONFIG.needs_restart(text, text) == ""
    assert CONFIG.needs_restart(None, text) == "the previous file"
    assert CONFIG.needs_restart(text, text.replace("65535", "20000")) == "files"
    assert CONFIG.needs_restart(text, text.replace("a;b", "c")) == ""
    assert CONFIG.needs_restart(text, text.replace("hint", "mirror")) == "zone"
    assert CONFIG.needs_restart(text, text + 'trust-anchors {\n\t"." static-ds 1 13 2 "AB";\n};\n') == "trust-anchors"
    assert CONFIG.needs_restart(text, text + 'zone "home.example" {\n\ttype primary;\n};\n') == ""
