"""How a virtual machine comes into the simulated internet: what it is told there, and what is taken down with it. No QEMU and no root are needed."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from vm_modules import vmkit

join, cli, machine, paths, process, scenario, guest = (
    vmkit(name) for name in ("join", "cli", "machine", "paths", "process", "scenario", "guest")
)
VmError = paths.VmError
HOST = "mx.home.example"

# Commands of FreeBSD, each of which writes down how it was called; two cards are there.
STUBS = {
    "ifconfig": f"""
case "$*" in
"-l ether") echo "vtnet0 vtnet1";;
vtnet0) echo "	ether {machine.MAC}";;
vtnet1) echo "	ether {machine.CARD_MAC.upper()}";;
*) echo "ifconfig $*" >>"$LOG";;
esac""",
    "sysrc": 'for word; do echo "sysrc $word" >>"$LOG"; done',
    "route": 'echo "route $*" >>"$LOG"; case "$*" in *delete*) exit 1;; esac',
    "ping": 'echo "ping $*" >>"$LOG"; exit ${PING:-0}',
}


@pytest.fixture
def told(tmp_path):
    """Run the script with the stubs: (exit status, what it called, stderr)."""
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def run(mac=machine.CARD_MAC, **env):
        text = join.script(join.place(HOST), mac).replace("PATH=/sbin:", f"PATH={tmp_path}:/sbin:", 1)
        log = tmp_path / "log"
        log.write_text("")
        done = subprocess.run(
            ["sh", "-c", text], env={**os.environ, "LOG": str(log), **env}, capture_output=True, text=True, check=False
        )
        return done.returncode, log.read_text().splitlines(), done.stderr

    return run


def test_the_card_gets_the_practice_hosts_place_now_and_at_every_boot(told):
    code, calls, _ = told()
    assert code == 0
    for wanted in (
        "ifconfig vtnet1 inet 192.0.2.10/24 up",
        "ifconfig vtnet1 inet6 2001:db8::10/64 alias",
        "sysrc ifconfig_vtnet1=inet 192.0.2.10/24",
        "sysrc ifconfig_vtnet1_ipv6=inet6 2001:db8::10/64",
        "route -n add -net 203.0.113.0/24 192.0.2.1",
        "route -6 -n add -net 2001:db8:1::/64 2001:db8::1",
    ):
        assert wanted in calls, calls
    named = {call.split("=")[0].removeprefix("sysrc route_") for call in calls if call.startswith("sysrc route_")}
    assert named == {call.split()[-1] for call in calls if call.startswith("sysrc static_routes+=")}


def test_the_default_route_and_the_first_card_stay_as_they_are(told):
    _, calls, _ = told()
    assert not [
        call
        for call in calls
        if "vtnet0" in call or "default" in call or "0.0.0.0/0" in call or "::/0" in call.replace("db8::", "")
    ]
    assert all(
        call.startswith("sysrc static_routes+=") for call in calls if "static_routes" in call and "ipv6" not in call
    ), "routes of others were dropped"


def test_a_machine_that_hears_nothing_has_not_joined(told):
    code, _, said = told(PING="2")
    assert code == 1 and "no answer from 192.0.2.1 by vtnet1" in said
    code, calls, said = told(mac="52:54:00:00:00:00")
    assert code == 1 and "no network card has" in said and not calls


def test_every_simulated_net_is_reached():
    description = join.net.load()
    routes = dict(join.place(HOST)["routes"])
    for entry in description["internet"]:
        for address in entry["addresses"]:
            assert any(
                join.tap.ipaddress.ip_address(address) in join.tap.ipaddress.ip_network(prefix) for prefix in routes
            ), address
    assert set(description["net"]["clients"]["own"]) <= set(routes)


@pytest.mark.parametrize("shell", ["sh", "csh", "tcsh"])
@pytest.mark.parametrize(
    "script",
    ["echo plain; echo 'quoted'", "printf '%s\\n' \"a\nb\" 'c!d' \"$((1+2))\" 'ä' '\\0101' 'e''f' \"g'h\"", "exit 7"],
)
def test_a_script_reaches_sh_by_any_login_shell(shell, script):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here")
    wanted = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    found = subprocess.run([shell, "-c", guest.in_any_shell(script)], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (wanted.returncode, wanted.stdout)


@pytest.mark.parametrize("script", ["a\nb", "echo '!'", "it's"])
def test_csh_gets_nothing_that_it_would_read_otherwise(script):
    line = guest.in_any_shell(script)
    assert "\n" not in line and "!" not in line and line.count("'") == 2


@pytest.mark.parametrize("instance, lab", [("vm", "vm-vm"), ("A.b_c", "vm-a-b-c"), ("x" * 32, "vm-" + "x" * 28)])
def test_a_lab_of_its_own(instance, lab):
    assert join.lab_of(instance) == lab


def test_who_is_not_root_has_none_and_hears_why(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert join.impossible() == "a tap needs root"


def test_no_tap_no_internet(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(join.tap, "DEVICE", "/nonexistent/tun")
    assert join.impossible() == "/nonexistent/tun cannot be opened: No such file or directory"


def test_a_lab_that_does_not_come_up_costs_the_internet_not_the_machine(monkeypatch, capsys):
    lowered = []
    monkeypatch.setattr(join, "lower_lab", lowered.append)

    def fail(*_):
        raise VmError("no zones today")

    monkeypatch.setattr(join, "raise_lab", fail)
    about = {"instance": "x", "host": HOST}
    assert cli.internet(about, "") is None
    assert about["lab"] == "" and about["alone"] == "no zones today" and lowered == ["vm-x", "vm-x"]
    assert "no zones today" in capsys.readouterr().err


def test_the_second_card_is_the_tap_that_qemu_inherits():
    def command(**more):
        return machine.command(
            pathlib.Path("/s"), pathlib.Path("/d"), "/f", "tcg", 1, memory=1, processors=1, offline=True, **more
        )

    assert f"tap,id={machine.CARD},fd=9" in command(tap=9)
    assert any(machine.CARD_MAC in one for one in command(tap=9))
    assert not [one for one in command() if "tap" in one or machine.CARD_MAC in one]
    assert machine.MAC != machine.CARD_MAC


@pytest.fixture
def instance(monkeypatch, tmp_path):
    """A machine whose process is a sleeping program, with a lab; (its folder, the labs that were taken down)."""
    monkeypatch.setenv("SOKUHAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOKUHAI_VM", "one")
    sleeper = subprocess.Popen(["sleep", "60"])
    state = tmp_path / "run" / "one"
    state.mkdir(parents=True)
    monkeypatch.setattr(paths, "state", lambda: state)
    lowered = []
    monkeypatch.setattr(join, "lower_lab", lambda name: lowered.append((name, process.started(sleeper.pid) is None)))
    about = {
        "pid": sleeper.pid,
        "start": process.started(sleeper.pid),
        "image": "a",
        "accelerator": "tcg",
        "ready": True,
        "host": HOST,
        "user": "root",
        "lab": "vm-one",
        "joined": "",
        "alone": "",
    }
    cli.note(state, about)
    yield state, lowered
    sleeper.kill()
    sleeper.wait()


def test_down_takes_the_lab_along_after_the_machine(instance):
    _, lowered = instance
    assert cli.main(["down"]) == 0
    assert lowered == [("vm-one", True)], "a tap is gone when its machine has ended"


def test_a_failed_up_takes_the_lab_along(instance):
    state, lowered = instance
    cli.abandon(state)
    assert lowered == [("vm-one", True)]


def test_join(instance, monkeypatch, tmp_path, capsys):
    state, _ = instance
    asked, ran = [], []
    monkeypatch.setattr(join, "TOP", tmp_path / "labs")
    (tmp_path / "labs" / "vm-one").mkdir(parents=True)
    (tmp_path / "labs" / "vm-one" / "ready.json").write_text("{}")
    monkeypatch.setattr(machine, "ask", lambda _state, *commands: asked.extend(commands))
    answers = [
        subprocess.CompletedProcess([], 1, "", "no answer from 192.0.2.1 by vtnet1"),
        subprocess.CompletedProcess([], 0, "", ""),
    ]
    monkeypatch.setattr(guest, "there", lambda _state, script, **_: ran.append(script) or answers[min(len(ran), 2) - 1])
    assert cli.main(["join"]) == 1 and "no answer from" in capsys.readouterr().err
    assert not cli.read(state)["joined"]
    assert cli.main(["join"]) == 0
    assert asked[-1] == ("set_link", {"name": machine.CARD, "up": True})
    assert cli.read(state)["joined"] == "vm-one"
    told = json.loads((tmp_path / "labs" / "vm-one" / f"{HOST}.outside").read_text())
    assert told["run"][-2:] == ["sh", "--"] and told["env"] == {"SOKUHAI_VM": "one"}
    cli.note(state, {**cli.read(state), "lab": "", "alone": "a tap needs root"})
    assert cli.main(["join"]) == 1 and "a tap needs root" in capsys.readouterr().err


def test_who_is_not_root_there_becomes_so_for_the_labs_commands(monkeypatch, tmp_path):
    monkeypatch.setattr(join, "TOP", tmp_path)
    (tmp_path / "l").mkdir()
    join.note("l", HOST, "freebsd", "one")
    assert json.loads((tmp_path / "l" / f"{HOST}.outside").read_text())["run"][-2:] == ["doas", "-n"]


def test_the_monitor_says_when_it_refuses(tmp_path):
    """A QEMU that answers by QMP, over a real socket."""
    import socket
    import threading

    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "monitor"))
    server.listen(2)
    heard = []

    def serve():
        for _ in range(2):
            line, _address = server.accept()
            with line, line.makefile("rw") as stream:
                stream.write('{"QMP": {}}\n')
                stream.flush()
                while text := stream.readline():
                    heard.append(json.loads(text))
                    bad = heard[-1].get("arguments", {}).get("name") == "gone"
                    stream.write(
                        '{"event": "X"}\n'
                        + json.dumps({"error": {"desc": "Device 'gone' not found"}} if bad else {"return": {}})
                        + "\n"
                    )
                    stream.flush()

    threading.Thread(target=serve, daemon=True).start()
    machine.ask(tmp_path, ("set_link", {"name": "net1", "up": False}))
    assert heard[-1] == {"execute": "set_link", "arguments": {"name": "net1", "up": False}}
    with pytest.raises(VmError, match="refuses set_link: Device 'gone' not found"):
        machine.ask(tmp_path, ("set_link", {"name": "gone", "up": False}))
    server.close()


# --- the scenario


def context(tmp_path, commands, **about):
    class Here(scenario.Context):
        def command(self, name, arguments, **more):
            commands.append((name, [str(one) for one in arguments], more))
            return 0

        def play(self, name, book, *options, **more):
            commands.append((name, [book, *options], more))
            return 0, {"changed": 3, "remote_commands": 20}

    return Here({"host": HOST, "accelerator": "kvm", "lab": "vm-one", **about}, {}, tmp_path, tmp_path)


def test_without_an_internet_the_step_says_why(tmp_path):
    step = next(one for one in scenario.STEPS if one.name == "site in the simulated internet")
    assert step.needs(context(tmp_path, [])) == ""
    assert "/dev/net/tun cannot be opened" in step.needs(
        context(tmp_path, [], lab="", alone="/dev/net/tun cannot be opened: x")
    )
    assert "mail and DNS of real clients" in [
        one.name for one in scenario.STEPS if "site in the simulated internet" in one.after
    ]


def test_the_machine_joins_before_it_is_told_of_the_internet(tmp_path):
    commands = []
    assert scenario.join(context(tmp_path, commands))[0] == "passed"
    assert [one[0] for one in commands] == ["join", "site-joined"]


def test_an_emulated_machine_is_asked_less_and_the_rest_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("SOKUHAI_FULL", raising=False)
    commands = []
    _, _, _, why = scenario.clients(context(tmp_path, commands, accelerator="tcg"))
    name, arguments, env = commands.pop()
    files = [one for one in arguments if one.startswith("tests/")]
    assert len(files) + len(why) == len(scenario.CLIENT_TESTS) and all("emulated" in one for one in why.values())
    assert (
        env["SOKUHAI_LAB"] == "vm-one"
        and env["SOKUHAI_SLOW"] == str(scenario.SLOW)
        and env["SOKUHAI_INVENTORY"].endswith("vm/inventory")
    )
    monkeypatch.setenv("FREEBSD_TESTS", "relay,spf")
    _, _, _, why = scenario.clients(context(tmp_path, commands, accelerator="tcg"))
    assert [one for one in commands.pop()[1] if one.startswith("tests/")] == [
        "tests/system/test_spf.py",
        "tests/system/test_relay.py",
    ]
    assert "test_delivery" in why and all("FREEBSD_TESTS" in one for one in why.values())
    monkeypatch.setenv("FREEBSD_TESTS", "rellay")
    assert scenario.clients(context(tmp_path, commands))[0] == "failed" and not commands
    monkeypatch.delenv("FREEBSD_TESTS")
    _, _, _, why = scenario.clients(context(tmp_path, commands))
    assert why == {} and commands[-1][2]["SOKUHAI_SLOW"] == "1"
    for file in (one for one in commands[-1][1] if one.startswith("tests/")):
        assert (paths.REPOSITORY / file).exists(), file
