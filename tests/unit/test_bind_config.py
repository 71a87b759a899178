"""The transaction around named.conf, against a host that can refuse, fall silent, or be killed between any two steps."""

import os
import pathlib
from email.utils import formatdate

import pytest
from fake_host import FakeRc
from role_modules import answer_of, load, util

HOST, NAMED, STATEMENTS, RESOLVER = (util("bind_" + name) for name in ("host", "named", "statements", "resolver"))
CONFIG = load("roles/bind/library/bind_config.py")


class Killed(BaseException):
    """The run ends here, as by kill -9."""


class Host:
    """A named whose behaviour is written in its configuration: REFUSE, NOSTART, MUTE, DEAF. It keeps a clock of its own."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.conf, self.pidfile = folder, folder / "named.conf", folder / "pid"
        self.clock, self.limit, self.pids = 2_000_000_000.0, 65535, 7
        self.running, self.steps, self.die_at, self.did = None, 0, None, []
        self.services = {"local_unbound": False}
        (folder / "sbin").mkdir(parents=True)
        for name in ("named", "named-checkconf", "rndc"):
            (folder / "sbin" / name).touch(0o755)
        self.rc = FakeRc(named_program=f"{folder}/sbin/named", named_conf=str(self.conf), named_enable="YES")
        host = util("sokuhai.host")
        for module, name, value in (
            (host, "time", self),
            (util("sokuhai.process"), "time", self),
            (NAMED, "time", self),
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

    monotonic = time

    def sleep(self, seconds):
        self.clock += seconds

    # DNS: version.bind is answered by a named that is not mute, NS of the probe by one that is not deaf either
    def ask(self, server, name, *_rest, **_more):
        deaf = ["MUTE"] if name == "version.bind" else ["MUTE", "DEAF"]
        if self.running is None or any(word in self.running["text"] for word in deaf):
            return None
        return {"rcode": "NOERROR", "recursion_available": True}

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
        return self.conf.read_text() if self.conf.exists() else ""

    def start(self):
        """Start named; return the exit status."""
        self.clock += 0.1
        taken = self.running or self.services["local_unbound"]
        if "NOSTART" in self.text() or taken or self.rc["named_enable"] != "YES":
            return 1
        self.pids += 1
        now = int(self.clock)
        self.running = {"pid": self.pids, "started": now, "loaded": now, "text": self.text(), "soft": self.limit}
        self.pidfile.write_text("%d\n" % self.pids)
        os.utime(self.pidfile, (self.clock, self.clock))
        return 0

    def run(self, argv, timeout=60, env=None, output=None):
        argv = [os.path.basename(argv[0]), *argv[1:]]
        if (
            argv[0] in ("ps", "procstat", "sysctl", "limits", "sockstat")
            or argv[-1] == "status"
            or argv[:2] == ["sysrc", "-i"]
        ):
            return self.shown(argv)
        self.step()
        match argv:
            case ["sysrc", *words]:
                return self.rc.sysrc(words)
            case ["named-checkconf", *flags, path]:
                text = pathlib.Path(path).read_text() if os.path.exists(path) else "REFUSE"
                # as 9.18 does, on standard output and with the path
                remark = "%s:3: option 'files' is deprecated\n" % path
                text = text.replace(OURS, "")
                return (1, "named.conf:1: REFUSE", "") if "REFUSE" in text else (0, remark + text * ("-p" in flags), "")
            case ["rndc", *_]:
                self.did.append("reconfig")
                if "NOSTART" in self.text() or self.running.get("old"):
                    return 1, "", "rndc: 'reconfig' failed: failure"
                self.running.update(loaded=int(self.clock), text=self.text())
                return 0, "", ""
            case ["service", "named", verb]:
                self.did.append(verb)
                if verb in ("restart", "onestop"):
                    self.running = None
                    self.step()
                return (0 if verb == "onestop" else self.start()), "", ""
            case ["service", name, "onestatus"]:
                return (0 if self.services[name] else 1), "", ""
            case ["service", name, verb]:
                self.services[name] = verb == "onestart"
                self.did.append("%s %s" % (name, verb))
                return 0, "", ""
        raise AssertionError(argv)

    def shown(self, argv):
        """What the commands print that only read."""
        if argv[0] == "sysrc":
            return self.rc.sysrc(argv[1:])
        named = self.running or {}
        printed = {
            "sysctl": "100000\n",
            "sockstat": "bind named 7 4 udp4 127.0.0.1:53 *:*\n" if named else "",
            "limits": "Resource limits (current):\n  openfiles              infinity\n",
        }
        if named:
            printed |= {
                "ps": "%(pid)d 1 53 Ss named 1 /usr/local/sbin/named -u bind\n" % named,
                "procstat": "  %(pid)d named   openfiles   %(soft)d   %(soft)d\n" % named,
                "rndc": "last configured: %s\n" % formatdate(named["loaded"], usegmt=True),
            }
        return (0, printed[argv[0]], "") if argv[0] in printed else (1, "", "")

    def go(self, text, check_mode=False, **params):
        """One run of the module, 100 s after the last; its answer."""
        declared = {
            "content": text,
            "openfiles": 65535,
            "rc": {"named_enable": "YES", "named_auto_forward": "NO"},
            "displaces": ["local_unbound"],
            "use_for_host": False,
        }
        self.did = []
        self.clock += 100
        return answer_of(CONFIG, check_mode, **declared, **params)

    def killed(self, text, step):
        """Whether a run was killed at that step."""
        self.steps, self.die_at = 0, step
        try:
            self.go(text)
        except Killed:
            return True
        finally:
            self.die_at = None
        return False


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


OURS = "# Role bind writes this whole file; the rest of a header.\n"


def conf(*words, listen="127.0.0.1", clients=1000):
    return OURS + "options {\n\tlisten-on { %s; };\n\trecursive-clients %d;\n};\n%s" % (
        listen,
        clients,
        "".join('include "%s";\n' % word for word in words),
    )


def ids(answer):
    return [found["id"] for found in answer["findings"]]


@pytest.mark.parametrize(
    "servers, there",
    [
        (["127.0.0.1", "::1"], []),
        (["::1"], ["-s", "::1"]),
        (["127.0.1.2", "::1"], ["-s", "127.0.1.2"]),
        (["192.0.2.10"], []),
    ],
)
def test_rndc_speaks_to_the_family_that_is_there(host, monkeypatch, servers, there):
    host.go(conf(), servers=servers)
    asked, run = [], host.run
    monkeypatch.setattr(util("sokuhai.host"), "run", lambda argv, **more: asked.append(argv) or run(argv, **more))
    assert host.go(conf(clients=900), servers=servers)["action"] == "reconfig"
    assert {tuple(argv[1:-1]) for argv in asked if argv[0].endswith("rndc")} == {tuple(there)}


# What the checker refuses, what a reconfig does and what a restart, a limit that cannot be reached: tests/system/test_bind_transaction.py.


@pytest.mark.parametrize("word, step", [("NOSTART", "restart"), ("MUTE", "restart"), ("DEAF", "recursion")])
def test_a_named_that_does_not_prove_itself_gets_the_old_file_back(host, word, step):
    host.go(conf())
    answer = host.go(conf(word))
    assert (answer["failed"], answer["step"], answer["restored"]) == (True, step, True)
    assert host.text() == host.running["text"] == conf()
    assert not host.go(conf())["changed"]


def test_a_named_older_than_its_program_that_refuses_is_not_called_silent(host):
    host.go(conf())
    host.running["old"] = True
    answer = host.go(conf(clients=2000))
    assert (answer["failed"], answer["step"], answer["restored"]) == (True, "reconfig", True)
    assert "refuses what named-checkconf accepts" in answer["msg"] and "'reconfig' failed" in answer["msg"]
    assert host.text() == host.running["text"] == conf()


def test_a_failed_start_does_not_wait_for_the_whole_timeout(host):
    host.go(conf())
    before = host.clock
    host.go(conf("NOSTART"), timeout=60)
    assert host.clock - before - 100 < 20


def test_recursion_that_never_worked_is_no_reason_to_go_back(host):
    answer = host.go(conf("DEAF"))
    assert not answer["failed"] and answer["recurses"] is False


@pytest.mark.parametrize(
    "spoil, action, thing",
    [
        (lambda host: setattr(host, "running", None), "start", "service named"),
        (lambda host: host.running.update(soft=1000), "restart", "process named: openfiles"),
        (lambda host: os.utime(host.conf, (host.clock + 50,) * 2), "restart", "process named: configuration"),
        (lambda host: host.running.update(text="MUTE"), "restart", "service named"),
    ],
)
def test_what_drifted_is_repaired_though_the_file_is_right(host, spoil, action, thing):
    assert ids(host.go(conf())) == ["service named"]
    spoil(host)
    found = host.go(conf(), check_mode=True)
    assert (found["changed"], ids(found), found["diff"], host.did) == (True, [thing], [], [])
    repaired = host.go(conf())
    assert (repaired["failed"], repaired["changed"], repaired["action"]) == (False, True, action)
    again = host.go(conf())
    assert (again["changed"], ids(again), host.did) == (False, [], [])


def test_what_a_changed_file_will_do_anyway_is_no_finding_of_its_own(host):
    host.go(conf())
    os.utime(host.conf, (host.clock + 50,) * 2)
    found = host.go(conf(clients=2000), check_mode=True)
    assert ids(found) == [] and [entry["after_header"] for entry in found["diff"]] == [str(host.conf)]


def test_rc_conf_is_set_first_and_removed_in_the_end(host):
    host.rc["named_enable"] = "NO"
    found = host.go(conf(), check_mode=True)
    assert host.rc["named_enable"] == "NO" and found["diff"][0]["after_header"] == "rc.conf"
    assert host.go(conf())["changed"] and host.running
    # what the rc script assumes already is not written
    assert host.rc["named_enable"] == "YES" and "named_auto_forward" not in host.rc
    assert host.go(None, state="absent")["changed"]
    assert not host.running and "named_enable" not in host.rc and host.text() == conf()
    assert not host.go(None, state="absent")["changed"]


def test_a_host_without_named_is_predicted_in_check_mode_alone(host):
    os.unlink(host.rc["named_program"])
    predicted = host.go(conf(), check_mode=True)
    assert (predicted["failed"], predicted["changed"], ids(predicted)) == (False, True, ["service named"])
    assert host.go(conf())["failed"] and host.go(conf(), check_mode=True, predict=False)["failed"]


def test_check_mode_writes_and_starts_nothing(host):
    host.conf.write_text(OURS + "old")
    found = host.go(conf(), check_mode=True)
    assert found["changed"] and (found["diff"][0]["before"], found["diff"][0]["after"]) == (OURS + "old", conf())
    assert host.go(conf("REFUSE"), check_mode=True)["failed"]
    assert host.text() == OURS + "old" and host.did == []
    assert {path.name for path in host.folder.iterdir()} == {"named.conf", "sbin"}


def test_hints_travel_with_the_file(host):
    hints = host.folder / "hints"

    def go(content, *words):
        return host.go(conf(*words), files=[{"path": str(hints), "content": content}])

    go("one")
    assert go("two")["action"] == "restart" and hints.read_text() == "two"
    assert go("three", "NOSTART")["failed"] and hints.read_text() == "two"
    assert host.running["text"] == host.text() == conf()


def test_local_unbound_makes_room_and_returns_when_named_cannot_start(host):
    host.services["local_unbound"] = True
    assert host.go(conf("NOSTART"))["failed"] and host.services["local_unbound"]
    host.rc["local_unbound_enable"] = "YES"
    assert not host.go(conf())["failed"]
    assert not host.services["local_unbound"] and host.rc["local_unbound_enable"] == "NO"


OWN_ZONE = 'zone "club.test" { type primary; file "/club"; };\n'


def test_a_named_conf_of_somebody_else_is_replaced_by_the_operators_word_alone_and_kept(host):
    host.conf.write_text("options { };\n" + OWN_ZONE)
    host.conf.chmod(0o640)
    for check_mode in (True, False):
        answer = host.go(conf(), check_mode=check_mode)
        assert answer["failed"] and answer["msg"].startswith("bind_replace_config: ") and host.did == []
    assert not host.go(conf(), replace=True)["failed"]
    host.go(conf(clients=2000))
    kept = host.folder / "named.conf.before-sokuhai"
    assert kept.read_text() == "options { };\n" + OWN_ZONE and kept.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("enabled", ["YES", "NO"])
def test_the_way_back_leads_to_what_was_there_before_the_first_run(host, monkeypatch, enabled):
    monkeypatch.setattr(util("sokuhai.rc"), "RC_CONF", str(host.folder / "rc.conf"))
    (host.folder / "rc.conf").write_text('named_enable="%s"\n' % enabled)
    host.rc["named_enable"] = enabled
    own = "options { own; };\n"
    host.conf.write_text(own)
    host.conf.chmod(0o640)
    host.go(conf(), replace=True)
    host.go(conf(clients=2000))
    back = {"state": "before"}
    (host.folder / "rc.conf").write_text('named_enable="%s"\n' % host.rc["named_enable"])
    predicted = host.go(None, check_mode=True, **back)
    assert predicted["changed"] and host.text() == conf(clients=2000)
    answer = host.go(None, **back)
    assert answer["changed"] and host.text() == own and host.conf.stat().st_mode & 0o777 == 0o640
    assert (host.running or {}).get("text") == (own if enabled == "YES" else None)
    assert host.rc["named_enable"] == enabled
    (host.folder / "rc.conf").write_text('named_enable="%s"\n' % enabled)
    assert not host.go(None, **back)["changed"]


def test_the_way_back_leads_to_the_last_files_that_worked(host):
    host.go(conf())
    assert host.go(None, state="previous")["failed"]
    host.go(conf(clients=2000))
    answer = host.go(None, state="previous")
    assert answer["changed"] and host.running["text"] == host.text() == conf() and host.did == ["restart"]
    assert not host.go(None, state="previous")["changed"]


def test_a_way_back_that_does_not_lead_anywhere_is_not_taken(host):
    host.go(conf())
    host.go(conf(clients=2000))
    for word in ("REFUSE", "MUTE"):
        (host.folder / "named.conf.previous").write_text(conf(word))
        answer = host.go(None, state="previous", timeout=5)
        assert answer["failed"] and host.running["text"] == host.text() == conf(clients=2000)


def test_a_named_with_another_pid_file_is_stopped_while_rc_finds_it(host):
    host.go(conf() + 'pid-file "%s/./pid";\n' % host.folder)
    host.go(conf())
    assert host.did == ["onestop", "restart"]


def test_primary_zones_are_loaded_by_the_checker_with_the_files_that_go_in_with_them(host, monkeypatch):
    hints, judged = host.folder / "hints", []
    run = host.run

    def seen(argv, **more):
        if "-z" in argv:
            judged.append(pathlib.Path(argv[-1]).read_text())
            assert hints.with_name("hints.staged").read_text() == "one"
        return run(argv, **more)

    monkeypatch.setattr(util("sokuhai.host"), "run", seen)
    text = conf() + OWN_ZONE + 'zone "." { type hint; file "%s"; };\n' % hints
    assert not host.go(text, files=[{"path": str(hints), "content": "one"}])["failed"]
    assert judged == [text.replace(str(hints), "%s.staged" % hints)] and host.text() == text
    assert not list(host.folder.glob("*.staged"))


@pytest.mark.parametrize("there", [True, False])
def test_a_zone_that_is_served_no_more_brings_the_old_file_back(host, monkeypatch, there):
    ask = host.ask

    def answers(server, name, *rest, **more):
        if name == "club.test":
            return {
                "rcode": "NOERROR" if there or "UNLOADED" not in host.running["text"] else "SERVFAIL",
                "authoritative": True,
            }
        return ask(server, name, *rest, **more)

    monkeypatch.setattr(util("sokuhai.dns"), "ask", answers)
    host.go(conf() + OWN_ZONE)
    answer = host.go(conf("UNLOADED") + OWN_ZONE)
    assert answer["failed"] != there and (there or (answer["step"], answer["restored"]) == ("zones", True))
    assert ("UNLOADED" in host.text()) == there


@pytest.mark.parametrize("old, new", [(None, conf()), (conf(), conf(clients=2000)), (conf(), conf(listen="127.0.0.2"))])
def test_killed_anywhere_the_next_run_ends_in_the_same_state(tmp_path, monkeypatch, old, new):
    states = []
    for step in range(1, 200):
        host = Host(tmp_path / str(step), monkeypatch)
        if old:
            host.go(old)
        killed = host.killed(new, step)
        assert not (killed and host.go(new)["failed"]), step
        assert not host.go(new)["changed"], step
        files = {path.name for path in host.folder.iterdir()} - {host.pidfile.name}
        states.append((host.text(), host.running["text"], host.services, files))
        if not killed:
            break
    assert 5 < step < 199 and all(state == states[-1] for state in states)


@pytest.mark.parametrize("word", ["NOSTART", "MUTE"])
@pytest.mark.parametrize("clients, again", [(1000, True), (3000, True), (1000, False)])
def test_killed_on_the_way_to_a_bad_file_dns_is_back_after_the_next_run(tmp_path, monkeypatch, word, clients, again):
    """Whether the next run has the bad file again, another bad one or the good one, the host ends with a named that answers."""
    for step in range(1, 60):
        host = Host(tmp_path / str(step), monkeypatch)
        host.go(conf())
        if not host.killed(conf(word), step):
            break
        assert host.go(conf(*[word] * again, clients=clients))["failed"] == again, step
        assert host.running["text"] == host.text() == conf(), step
    assert 5 < step < 59


PRINTED = 'options {\n\tfiles 65535;\n\tlisten-on  {\n\t\t127.0.0.1/32;\n\t};\n\tversion "a;b}";\n};\nzone "." {\n\ttype hint;\n};\n'


def test_statements_of_a_printed_configuration():
    assert STATEMENTS.option_statements(PRINTED) == {
        "files": ["files 65535"],
        "listen-on": ["listen-on { 127.0.0.1/32; }"],
        "version": ['version "a;b}"'],
    }


@pytest.mark.parametrize(
    "new, statement",
    [
        (PRINTED, ""),
        (PRINTED.replace("65535", "20000"), "files"),
        (PRINTED.replace("a;b", "c"), ""),
        (PRINTED.replace("hint", "mirror"), "zone"),
        (PRINTED + 'trust-anchors {\n\t"." static-ds 1 13 2 "AB";\n};\n', "trust-anchors"),
        (PRINTED + 'zone "home.example" {\n\ttype primary;\n};\n', ""),
    ],
)
def test_what_needs_a_restart(new, statement):
    assert STATEMENTS.needs_restart(PRINTED, new) == statement


@pytest.mark.parametrize(
    "text, places",
    [
        ("options {\n\tforwarders {\n\t\t198.51.100.153 ;\n\t};\n};\n", ["options"]),
        ('view "v" {\n\tforwarders {\n\t\t198.51.100.153 ;\n\t};\n};\n', ['view "v"']),
        ('zone "." {\n\ttype forward;\n\tforwarders {\n\t\t198.51.100.153 ;\n\t};\n};\n', ['zone "."']),
        ('view "v" {\n\tzone "." {\n\t\tforwarders {\n\t\t\t::1 ;\n\t\t};\n\t};\n};\n', ['zone "."']),
        # a zone of one's own, and an empty list, take nothing away from this named
        ('zone "corp.example" {\n\ttype forward;\n\tforwarders {\n\t\t192.0.2.1 ;\n\t};\n};\n', []),
        ("options {\n\tforwarders {\n\t};\n};\n", []),
        ('options {\n\tdirectory "forwarders { x; }";\n};\n', []),
    ],
)
def test_forwarders_are_found_in_what_named_checkconf_prints(text, places):
    assert [found.partition(" of ")[2] for found in STATEMENTS.forwarders(text)] == places


@pytest.mark.parametrize("check_mode", [False, True])
def test_forwarders_that_came_with_pasted_text_are_refused_before_the_swap(host, check_mode):
    assert host.go(conf())["changed"]
    before = host.text()
    answer = host.go(conf() + 'zone "." { type forward; forwarders { 198.51.100.153; }; };\n', check_mode=check_mode)
    assert answer["failed"] and answer["msg"].startswith("bind_extra_options, bind_extra_config: forwarders ")
    assert host.text() == before
