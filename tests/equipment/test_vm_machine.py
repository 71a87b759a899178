"""QEMU's command line, the choice of the accelerator, waiting, and that nothing of an instance is left. No QEMU is needed."""

import json
import os
import pathlib
import subprocess
import sys

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


SSH_ONLY = "user,id=net0,hostfwd=tcp:127.0.0.1:2200-:22"


@pytest.mark.parametrize(
    "more, option, wanted",
    [
        ({}, "-netdev", SSH_ONLY),
        ({"offline": True}, "-netdev", SSH_ONLY + ",restrict=on"),
        ({}, "-accel", "kvm"),
        ({}, "-cpu", "host"),
        ({"accel": "tcg"}, "-accel", "tcg,thread=multi"),
        ({"accel": "tcg"}, "-cpu", "max"),
        ({}, "-rtc", "base=utc"),
        ({"clock": "2020-01-01T00:00:00"}, "-rtc", "base=2020-01-01T00:00:00"),
    ],
)
def test_what_is_asked_for_reaches_the_command_line(more, option, wanted):
    assert value(command(**more), option) == wanted


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


# --- choices


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "kvm"
    path.touch()
    return str(path)


@pytest.fixture(autouse=True)
def a_firmware(monkeypatch, surroundings):
    monkeypatch.setenv("FREEBSD_UEFI", "/code,/variables")


RUNNING, PAUSED = "VM status: running\n", "(qemu) info status\r\nVM status: paused (internal-error)\r\n"


@pytest.mark.parametrize(
    "code, error, said, accel, why",
    [
        (0, "", RUNNING, "kvm", "works"),
        (
            0,
            "KVM internal error. Suberror: 3\nextra data\n",
            PAUSED,
            "tcg",
            "paused (internal-error): KVM internal error",
        ),
        (0, "", "", "tcg", "silent"),
        (-6, "\nqemu: failed to set MSR 0x10a\nAssertion\n", RUNNING, "tcg", "failed to set MSR"),
    ],
)
def test_kvm_is_used_where_it_runs_a_guest(device, code, error, said, accel, why):
    done = subprocess.CompletedProcess([], code, said, error)
    found = machine.accelerator(lambda *_, **__: done, device)
    assert found[0] == accel and why in found[1]


def never(*_, **__):
    raise subprocess.TimeoutExpired("qemu", 20)


def test_kvm_that_hangs(device):
    assert machine.accelerator(never, device)[0] == "tcg"


def test_no_kvm(tmp_path):
    assert machine.accelerator(never, str(tmp_path / "none")) == ("tcg", f"there is no {tmp_path / 'none'}")


def test_the_accelerator_can_be_chosen(monkeypatch, device):
    monkeypatch.setenv("FREEBSD_ACCEL", "tcg")
    assert machine.accelerator(never, device) == ("tcg", "FREEBSD_ACCEL says so")
    monkeypatch.setenv("FREEBSD_ACCEL", "fast")
    with pytest.raises(VmError, match="FREEBSD_ACCEL: fast"):
        machine.accelerator(never, device)


def test_firmware_is_looked_for(monkeypatch):
    monkeypatch.delenv("FREEBSD_UEFI")
    pair = machine.FIRMWARE[2]
    assert machine.firmware(lambda path: path in pair) == pair
    with pytest.raises(VmError, match="apt-get install ovmf"):
        machine.firmware(lambda path: path == pair[0])
    monkeypatch.setenv("FREEBSD_UEFI", "/a,/b")
    assert machine.firmware(lambda _: False) == ("/a", "/b")


def test_numbers_from_the_environment(monkeypatch):
    assert machine.number("FREEBSD_CPUS", 2) == 2
    monkeypatch.setenv("FREEBSD_CPUS", "7")
    assert machine.number("FREEBSD_CPUS", 2) == 7
    monkeypatch.setenv("FREEBSD_CPUS", "soon")
    with pytest.raises(VmError, match="FREEBSD_CPUS: 'soon'"):
        machine.number("FREEBSD_CPUS", 2)


@pytest.mark.parametrize(("text", "number"), [("20G", 20 << 30), ("512M", 512 << 20), ("4096", 4096), ("1t", 1 << 40)])
def test_sizes(text, number):
    assert machine.in_bytes(text) == number


@pytest.mark.parametrize("text", ["", "G", "20GB", "-1G", "1.5G"])
def test_no_sizes(text):
    with pytest.raises(VmError):
        machine.in_bytes(text)


# --- waiting


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


def test_what_is_not_up(instance, sleeper, capsys):
    sleeper.kill()
    sleeper.wait()
    assert cli.main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["running"] is False
    for command_line in (["sh", "--", "true"], ["reboot"]):
        assert cli.main(command_line) == 1
        assert "is not up: vm/vm up" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/b", " "])
def test_instance_names(monkeypatch, name):
    monkeypatch.setenv("SOKUHAI_VM", name)
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


@pytest.mark.parametrize("status, why", [("internal-error", "FREEBSD_ACCEL=tcg"), ("running", "")])
def test_a_guest_that_qemu_stopped_is_not_taken_for_a_slow_one(tmp_path, monkeypatch, status, why):
    assert machine.stopped(tmp_path) == "", "nobody listens: that is for others to judge"
    monkeypatch.setattr(machine, "ask", lambda state, *commands: {"return": {"status": status}})
    found = machine.stopped(tmp_path)
    assert why in found and bool(why) == bool(found)
