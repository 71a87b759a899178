"""QEMU's command line, the choice of the accelerator, waiting, and that nothing of an instance is left. No QEMU is needed."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest
from vm_modules import vmkit

machine, process, paths, cli, guest = (vmkit(name) for name in ("machine", "process", "paths", "cli", "guest"))
VmError = paths.VmError
STATE = pathlib.Path("/run/sokuhai-vm/x")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("FREEBSD_", "SOKUHAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SOKUHAI_CACHE", str(tmp_path / "cache"))


def command(**more):
    values = {"memory": 4096, "processors": 2, "offline": False, **more}
    return machine.command(
        STATE, pathlib.Path("/c/disk.qcow2"), "/f/CODE.fd", values.pop("accel", "kvm"), 2200, **values
    )


def value(arguments, option, which=0):
    return [arguments[index + 1] for index, one in enumerate(arguments) if one == option][which]


def test_nothing_but_ssh_is_reachable_and_only_from_here():
    network = value(command(), "-netdev")
    assert network == "user,id=net0,hostfwd=tcp:127.0.0.1:2200-:22"


def test_offline_reaches_nothing():
    assert value(command(offline=True), "-netdev").endswith(",restrict=on")


def test_accelerators():
    assert value(command(), "-accel") == "kvm" and value(command(), "-cpu") == "host"
    assert value(command(accel="tcg"), "-accel").startswith("tcg") and value(command(accel="tcg"), "-cpu") == "max"


def test_firmware_is_read_only_and_its_variables_are_the_instances_own():
    drives = [value(command(), "-drive", which) for which in range(4)]
    assert "readonly=on,file=/f/CODE.fd" in drives[0]
    assert drives[1].endswith("file=/run/sokuhai-vm/x/firmware.fd")
    assert drives[2].endswith("file=/c/disk.qcow2")
    assert "readonly=on" in drives[3] and drives[3].endswith("seed.iso")


def test_a_comma_in_a_path_is_no_option():
    disk = pathlib.Path("/c,readonly=off/d")
    arguments = machine.command(pathlib.Path("/a,b"), disk, "/f", "tcg", 1, memory=1, processors=1, offline=True)
    assert "file=/c,,readonly=off/d" in value(arguments, "-drive", 2)


def test_the_console_is_kept_on_disk():
    assert "logfile=/run/sokuhai-vm/x/console.log,logappend=on" in value(command(), "-chardev")


def test_clock():
    assert value(command(), "-rtc") == "base=utc"
    assert value(command(clock="2020-01-01T00:00:00"), "-rtc") == "base=2020-01-01T00:00:00"


# --- choices


def answer(code, error="", said="VM status: running\n"):
    return lambda *_, **__: types.SimpleNamespace(returncode=code, stderr=error, stdout=said)


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "kvm"
    path.touch()
    return str(path)


@pytest.fixture(autouse=True)
def a_firmware(monkeypatch, surroundings):
    monkeypatch.setenv("FREEBSD_UEFI", "/code,/variables")


def test_kvm_where_it_works(device):
    assert machine.accelerator(answer(0), device)[0] == "kvm"


def test_kvm_that_stops_its_guest_is_seen(device):
    accel, why = machine.accelerator(
        answer(
            0,
            "KVM internal error. Suberror: 3\nextra data\n",
            "(qemu) info status\r\nVM status: paused (internal-error)\r\n",
        ),
        device,
    )
    assert accel == "tcg" and "paused (internal-error)" in why and "KVM internal error" in why
    assert machine.accelerator(answer(0, "", ""), device)[0] == "tcg", "one that says nothing has run nothing"


def test_kvm_that_is_there_and_runs_no_guest(device):
    accel, why = machine.accelerator(answer(-6, "\nqemu: failed to set MSR 0x10a\nAssertion\n"), device)
    assert accel == "tcg" and "failed to set MSR" in why


def test_kvm_that_hangs(device):
    def hang(*_, **__):
        raise subprocess.TimeoutExpired("qemu", 20)

    assert machine.accelerator(hang, device)[0] == "tcg"


def test_no_kvm(tmp_path):
    assert machine.accelerator(answer(0), str(tmp_path / "none")) == ("tcg", f"there is no {tmp_path / 'none'}")


def test_the_accelerator_can_be_said(monkeypatch, device):
    monkeypatch.setenv("FREEBSD_ACCEL", "tcg")
    assert machine.accelerator(answer(0), device)[0] == "tcg"
    monkeypatch.setenv("FREEBSD_ACCEL", "fast")
    with pytest.raises(VmError, match="FREEBSD_ACCEL: fast"):
        machine.accelerator(answer(0), device)


def test_firmware_is_looked_for(monkeypatch):
    monkeypatch.delenv("FREEBSD_UEFI")
    pair = machine.FIRMWARE[2]
    assert machine.firmware(lambda path: path in pair) == pair
    with pytest.raises(VmError, match="apt-get install ovmf"):
        machine.firmware(lambda path: path == pair[0])
    monkeypatch.setenv("FREEBSD_UEFI", "/a,/b")
    assert machine.firmware(lambda _: False) == ("/a", "/b")


def test_boot_seconds(monkeypatch):
    assert machine.boot_seconds("tcg") > machine.boot_seconds("kvm") >= 180, "a boot may take three minutes"
    monkeypatch.setenv("FREEBSD_BOOT_SECONDS", "7")
    assert machine.boot_seconds("kvm") == 7
    monkeypatch.setenv("FREEBSD_BOOT_SECONDS", "soon")
    with pytest.raises(VmError, match="FREEBSD_BOOT_SECONDS: 'soon'"):
        machine.boot_seconds("kvm")


@pytest.mark.parametrize(("text", "number"), [("20G", 20 << 30), ("512M", 512 << 20), ("4096", 4096), ("1t", 1 << 40)])
def test_sizes(text, number):
    assert machine.in_bytes(text) == number


@pytest.mark.parametrize("text", ["", "G", "20GB", "-1G", "1.5G"])
def test_no_sizes(text):
    with pytest.raises(VmError):
        machine.in_bytes(text)


# --- waiting


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(
    ("ready_at", "dead_at", "outcome"), [(179, 999, "ready"), (999, 999, "timeout"), (999, 20, "ended")]
)
def test_waiting_is_bounded(ready_at, dead_at, outcome):
    clock = Clock()
    assert (
        machine.wait(lambda: clock.now >= ready_at, lambda: clock.now < dead_at, 180, clock=clock, pause=clock.pause)
        == outcome
    )
    assert clock.now <= 181


def test_a_boot_that_does_not_come_up_shows_the_console(monkeypatch, tmp_path):
    (tmp_path / "console.log").write_bytes(b"\x1b[2J\x1b[1;1HLoading kernel...\r\n\x1b[31mpanic: vm_fault\x1b[0m\r\n")
    monkeypatch.setattr(machine, "greets", lambda *_: False)
    monkeypatch.setattr(guest, "running", lambda _: True)
    with pytest.raises(VmError) as error:
        guest.wait_boot(tmp_path, {"port": 1}, 1)
    assert "FREEBSD_BOOT_SECONDS" in str(error.value)
    assert "\n  Loading kernel...\n  panic: vm_fault" in str(error.value)


def test_a_machine_that_ends_while_booting(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "greets", lambda *_: False)
    monkeypatch.setattr(guest, "running", lambda _: False)
    with pytest.raises(VmError, match="the machine has ended(.|\n)*nothing"):
        guest.wait_boot(tmp_path, {"port": 1}, 60)


@pytest.mark.parametrize(("code", "output"), [(1, ""), (255, ""), (0, "{ sec = 1 }")])
def test_not_yet_booted(monkeypatch, tmp_path, code, output):
    """A first boot that goes on, a login refused, and the boot before a restart: none is the boot that is waited for."""
    answers = [subprocess.CompletedProcess([], code, output, ""), subprocess.CompletedProcess([], 0, "{ sec = 2 }", "")]
    monkeypatch.setattr(machine, "greets", lambda *_: True)
    monkeypatch.setattr(guest, "running", lambda _: True)
    monkeypatch.setattr(guest, "there", lambda *_, **__: answers.pop(0))
    guest.wait_boot(tmp_path, {"port": 1}, 30, before="{ sec = 1 }")
    assert not answers


# --- what is left


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def test_another_process_with_the_same_pid_lives_on(sleeper):
    assert process.end(sleeper.pid, "12345") is False
    assert sleeper.poll() is None


def test_a_process_is_ended(sleeper):
    assert process.end(sleeper.pid, process.started(sleeper.pid)) is True
    assert process.started(sleeper.pid) is None


def test_one_that_ignores_term_is_killed():
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    child.stdout.readline()
    assert process.end(child.pid, process.started(child.pid), patience=0.5) is True
    child.wait()
    assert child.returncode == -9


@pytest.fixture
def instance(monkeypatch, tmp_path, sleeper):
    """An instance as `up` leaves it, with a sleeping process for QEMU."""
    state = tmp_path / "run" / "one"
    state.mkdir(parents=True)
    monkeypatch.setattr(paths, "state", lambda: state)
    disks = paths.disks("one")
    disks.mkdir(parents=True)
    (disks / "disk.qcow2").write_text("x")
    for name in ("console.log", "seed.iso", "firmware.fd", "known_hosts"):
        (state / name).write_text("x")
    cli.note(
        state,
        {"pid": sleeper.pid, "start": process.started(sleeper.pid), "image": "a", "accelerator": "tcg", "ready": True},
    )
    return state


def test_down_leaves_nothing(instance, sleeper, capsys):
    assert cli.main(["down"]) == 0
    assert "one is down" in capsys.readouterr().out
    assert process.started(sleeper.pid) is None
    assert not instance.parent.exists(), list(instance.parent.rglob("*"))
    assert not paths.disks("one").parent.exists()
    assert cli.main(["down"]) == 0
    assert "not up" in capsys.readouterr().out


def test_down_after_the_machine_ended_by_itself(instance, sleeper, capsys):
    sleeper.kill()
    sleeper.wait()
    assert cli.main(["down"]) == 0
    assert "leftovers are removed" in capsys.readouterr().out
    assert not instance.exists()


def test_down_of_a_broken_off_up_spares_a_stranger(instance, sleeper):
    """Only a pid is known, and the process there has nothing to do with us."""
    (instance / "machine.json").unlink()
    (instance / "qemu.pid").write_text(str(sleeper.pid))
    assert cli.main(["down"]) == 0
    assert sleeper.poll() is None
    assert not instance.exists()


def test_a_failed_up_keeps_the_logs_and_nothing_else(instance, sleeper):
    cli.abandon(instance)
    assert process.started(sleeper.pid) is None
    assert not paths.disks("one").exists()
    assert (instance / "console.log").exists()


def test_status_of_what_is_not_up(instance, sleeper, capsys):
    sleeper.kill()
    sleeper.wait()
    assert cli.main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_commands_need_a_machine(instance, sleeper, capsys):
    sleeper.kill()
    sleeper.wait()
    for one in (["sh", "--", "true"], ["reboot"]):
        assert cli.main(one) == 1
        assert "is not up: vm/vm up" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/b", "", " "])
def test_instance_names(monkeypatch, name):
    monkeypatch.setenv("SOKUHAI_VM", name)
    if name == "":
        assert paths.instance() == "vm"
    else:
        with pytest.raises(VmError, match="SOKUHAI_VM"):
            paths.instance()


def test_a_wrong_clock_is_set_unless_asked_for(monkeypatch, tmp_path):
    said = []

    def there(_state, script, **_):
        said.append(script)
        return subprocess.CompletedProcess([], 0, "15.0-RELEASE\n1577836800\n", "")

    monkeypatch.setattr(guest, "there", there)
    about = {"user": "root", "clock": ""}
    guest.settle(tmp_path, about)
    assert about["release"] == "15.0-RELEASE" and about["clock_off"] < -1000
    assert said[1].startswith("date -u 20")
    said.clear()
    guest.settle(tmp_path, {"user": "root", "clock": "2020-01-01T00:00:00"})
    assert len(said) == 1


def test_a_guest_that_qemu_stopped_is_told_from_one_that_is_slow(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ask", lambda state, *commands: {"return": {"status": "internal-error"}})
    assert "FREEBSD_ACCEL=tcg" in machine.stopped(tmp_path)
    monkeypatch.setattr(machine, "ask", lambda state, *commands: {"return": {"status": "running"}})
    assert machine.stopped(tmp_path) == ""
    monkeypatch.undo()
    assert machine.stopped(tmp_path) == "", "nobody listens: that is for others to judge"
