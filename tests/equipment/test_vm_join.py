"""How a virtual machine joins the simulated internet, and what is taken down with it. No QEMU and no root are needed."""

import ipaddress
import json
import os
import pathlib
import shutil
import socketserver
import subprocess
import threading

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
def run(tmp_path):
    """Run the script with the stubs: (exit status, what it called, stderr)."""
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def script(mac=machine.CARD_MAC, **env):
        text = join.script(join.place(HOST), mac).replace("PATH=/sbin:", f"PATH={tmp_path}:/sbin:", 1)
        log = tmp_path / "log"
        log.write_text("")
        done = subprocess.run(
            ["sh", "-c", text], env={**os.environ, "LOG": str(log), **env}, capture_output=True, text=True, check=False
        )
        return done.returncode, log.read_text().splitlines(), done.stderr

    return script


def test_the_card_gets_the_practice_hosts_place_now_and_at_every_boot(run):
    code, calls, _ = run()
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


def test_the_default_route_and_the_first_card_stay_as_they_are(run):
    _, calls, _ = run()
    assert not [
        call
        for call in calls
        if "vtnet0" in call or "default" in call or "0.0.0.0/0" in call or "::/0" in call.replace("db8::", "")
    ]
    assert all(
        call.startswith("sysrc static_routes+=") for call in calls if "static_routes" in call and "ipv6" not in call
    ), "routes of others were dropped"


def test_a_machine_that_hears_nothing_has_not_joined(run):
    code, _, said = run(PING="2")
    assert code == 1 and "no answer from 192.0.2.1 by vtnet1" in said
    code, calls, said = run(mac="52:54:00:00:00:00")
    assert code == 1 and "no network card has" in said and not calls


def test_every_simulated_net_is_reached():
    description = join.net.load()
    routes = dict(join.place(HOST)["routes"])
    nets = [ipaddress.ip_network(prefix) for prefix in routes]
    addresses = [ipaddress.ip_address(a) for entry in description["internet"] for a in entry["addresses"]]
    assert [address for address in addresses if not any(address in net for net in nets)] == []
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


@pytest.mark.parametrize(
    "user, why",
    [(1000, "a tap needs root"), (0, "/nonexistent/tun cannot be opened: No such file or directory")],
)
def test_no_tap_no_internet(monkeypatch, user, why):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(join.tap, "DEVICE", "/nonexistent/tun")
    assert join.impossible() == why


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
    second = set(command(tap=9)) - set(command())
    assert len(second) == 2 and any(machine.CARD_MAC in one for one in second)


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


@pytest.fixture
def labs(monkeypatch, tmp_path):
    """The directory of a lab that is up."""
    monkeypatch.setattr(join, "TOP", tmp_path / "labs")
    (tmp_path / "labs" / "vm-one").mkdir(parents=True)
    (tmp_path / "labs" / "vm-one" / "ready.json").write_text("{}")
    return tmp_path / "labs" / "vm-one"


def test_join(instance, labs, monkeypatch, capsys):
    state, _ = instance
    asked = []
    monkeypatch.setattr(machine, "ask", lambda _state, *commands: asked.extend(commands))
    answers = [(1, "", "no answer from 192.0.2.1 by vtnet1"), (0, "", "")]
    monkeypatch.setattr(guest, "there", lambda *_, **__: subprocess.CompletedProcess([], *answers.pop(0)))
    assert cli.main(["join"]) == 1 and "no answer from" in capsys.readouterr().err
    assert not cli.read(state)["joined"]
    assert cli.main(["join"]) == 0
    assert asked[-1] == ("set_link", {"name": machine.CARD, "up": True})
    assert cli.read(state)["joined"] == "vm-one"
    outside = json.loads((labs / f"{HOST}.outside").read_text())
    assert outside["run"][-2:] == ["sh", "--"] and outside["env"] == {"SOKUHAI_VM": "one"}


def test_join_without_a_lab_says_why(instance, capsys):
    state, _ = instance
    cli.note(state, {**cli.read(state), "lab": "", "alone": "a tap needs root"})
    assert cli.main(["join"]) == 1 and "a tap needs root" in capsys.readouterr().err


def test_a_user_who_is_not_root_there_becomes_so_for_the_labs_commands(labs):
    join.note("vm-one", HOST, "freebsd", "one")
    assert json.loads((labs / f"{HOST}.outside").read_text())["run"][-2:] == ["doas", "-n"]


class Monitor(socketserver.StreamRequestHandler):
    """A QEMU that answers by QMP: it knows every device but `gone`."""

    def handle(self):
        self.wfile.write(b'{"QMP": {}}\n')
        for line in self.rfile:
            self.server.heard.append(json.loads(line))
            bad = self.server.heard[-1]["arguments"].get("name") == "gone"
            answer = {"error": {"desc": "Device 'gone' not found"}} if bad else {"return": {}}
            self.wfile.write(b'{"event": "X"}\n' + json.dumps(answer).encode() + b"\n")


def test_the_monitor_says_when_it_refuses(tmp_path):
    with socketserver.UnixStreamServer(str(tmp_path / "monitor"), Monitor) as server:
        server.heard = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        machine.ask(tmp_path, ("set_link", {"name": "net1", "up": False}))
        assert server.heard[-1] == {"execute": "set_link", "arguments": {"name": "net1", "up": False}}
        with pytest.raises(VmError, match="refuses set_link: Device 'gone' not found"):
            machine.ask(tmp_path, ("set_link", {"name": "gone", "up": False}))
        server.shutdown()


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


def test_the_machine_joins_before_its_inventory_has_the_internet(tmp_path):
    commands = []
    assert scenario.join(context(tmp_path, commands))[0] == "passed"
    assert [one[0] for one in commands] == ["join", "site-joined"]


@pytest.mark.parametrize(
    "accelerator, asked, files, left_out",
    [
        ("tcg", "", scenario.QUICK_TESTS, "emulated"),
        ("tcg", "relay,spf", ("spf", "relay"), "FREEBSD_TESTS"),
        ("kvm", "", scenario.CLIENT_TESTS, ""),
    ],
)
def test_which_tests_run_and_why_the_others_do_not(tmp_path, monkeypatch, accelerator, asked, files, left_out):
    monkeypatch.delenv("SOKUHAI_FULL", raising=False)
    monkeypatch.setenv("FREEBSD_TESTS", asked)
    commands = []
    _, _, _, why = scenario.clients(context(tmp_path, commands, accelerator=accelerator))
    ((_, arguments, env),) = commands
    paths_of_files = [one for one in arguments if one.startswith("tests/")]
    assert paths_of_files == [f"tests/system/test_{name}.py" for name in files]
    assert all((paths.REPOSITORY / path).exists() for path in paths_of_files)
    assert len(files) + len(why) == len(scenario.CLIENT_TESTS) and all(left_out in one for one in why.values())
    wanted = {"SOKUHAI_LAB": "vm-one", "SOKUHAI_SLOW": "8" if accelerator == "tcg" else "1"}
    assert env | wanted == env and env["SOKUHAI_INVENTORY"].endswith("vm/inventory")


def test_a_misspelt_test_is_not_a_passed_one(tmp_path, monkeypatch):
    monkeypatch.setenv("FREEBSD_TESTS", "rellay")
    commands = []
    assert scenario.clients(context(tmp_path, commands))[0] == "failed" and not commands
