"""The lab's own promises: what is inside, that nothing leaks out of it, and that taking it down takes all of it."""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import time

import pytest
from labkit import ns
from labkit.files import record
from own_lab import LAB, MARKS, MX, OwnLab

ROOT = LAB.parents[1]
lab = OwnLab("labtest")
STATE = lab.state
pytestmark = MARKS


def keeper():
    return lab.read("keeper")["pid"]


def inside():
    """Processes of this machine that see a mount of the instance: those of the lab and of its hosts, zombies left out."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{STATE}/m" in (entry / "mountinfo").read_text() and ns.start_time(entry.name):
                found.append(int(entry.name))
    return found


def machine():
    """What the lab must not change: links, addresses, routes, named namespaces and mounts of this machine."""

    def out(*argv):
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    # counters of time are no change
    timers = re.compile(r"(valid_lft|preferred_lft|expires|hoplimit) \S+")
    return {
        "links": out("ip", "-o", "link"),
        "addresses": timers.sub("", out("ip", "-o", "address")),
        "routes": out("ip", "route") + timers.sub("", out("ip", "-6", "route")),
        "netns": out("ip", "netns"),
        "mounts": pathlib.Path("/proc/self/mounts").read_text(),
        "hostname": os.uname().nodename,
        "forwarding": pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


@pytest.fixture(scope="module")
def up():
    before = machine()
    lab("up", timeout=1500)
    yield before
    lab("down", check=False)
    assert not STATE.exists()


def test_nothing_of_the_machine_changes(up):
    assert machine() == up


def test_second_up_does_nothing_and_says_so(up):
    pid = keeper()
    assert "already up" in lab("up").stdout
    assert keeper() == pid


def test_another_generation_is_refused_while_up(up):
    done = lab("up", "--generation", "bookworm", check=False)
    assert done.returncode == 1
    assert "lab down" in done.stderr


@pytest.mark.parametrize(
    "command, code",
    [
        *((f"exit {code}", code) for code in (0, 1, 7, 255)),
        ("kill -TERM $$", 128 + signal.SIGTERM),
    ],
)
def test_exit_code_is_kept(up, command, code):
    assert lab("sh", MX, "--", "sh", "-c", command, check=False).returncode == code


@pytest.mark.parametrize("program, code", [("/no/such/thing", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_run(up, program, code):
    assert lab("sh", MX, "--", program, check=False).returncode == code


def test_stdin_stdout_and_stderr_pass_through(up):
    data = "".join(f"line {n} äöü\n" for n in range(50000))
    done = lab("sh", MX, "--", "sh", "-c", "cat; echo wrong >&2", stdin=data)
    assert done.stdout == data
    assert done.stderr == "wrong\n"


def test_signals_reach_what_the_command_started(up):
    process = subprocess.Popen(
        [LAB, "sh", MX, "--", "sh", "-c", "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done"],
        env=lab.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        # communicate, not readline: a signal that got lost must be a failure, not a test that never ends
        assert process.communicate(timeout=10)[0] == "caught\n"
        assert process.returncode == 3
    finally:
        process.kill()
        process.wait()


def test_shell_has_a_terminal_of_the_host_with_job_control(up):
    pid, terminal = pty.fork()
    if pid == 0:
        # a run that a script put into the background has it ignored, and every shell hands that on to its jobs (sh(1))
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(LAB, ["lab", "sh", MX], lab.env)
    seen = b""

    def until(what):
        nonlocal seen
        deadline = time.monotonic() + 15
        while what not in seen:
            assert time.monotonic() < deadline and select.select([terminal], [], [], 15)[0], seen
            seen += os.read(terminal, 4096)
        seen = seen.split(what, 1)[1]

    try:
        until(b"# ")
        os.write(terminal, b"tty; hostname\n")
        until(b"/dev/pts/")
        until(MX.encode())
        # the line is echoed with the arithmetic, the answer has the number; it comes from the job in the foreground
        os.write(terminal, b"sh -c 'echo up$((1+1)); exec sleep 60'\n")
        until(b"up2")
        os.write(terminal, b"\x03")
        # dash now and then prints no prompt after an interrupt; that it reads on is what counts, long before the sleep's end
        until(b"^C")
        time.sleep(0.5)
        os.write(terminal, b"echo back$((2+2)); exit 9\n")
        until(b"back4")
        deadline = time.monotonic() + 10
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pid = 0
        assert os.waitstatus_to_exitcode(ended[1]) == 9
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def test_unknown_host_is_named(up):
    done = lab("sh", "nobody", "--", "true", check=False)
    assert done.returncode == 1
    assert "nobody" in done.stderr and MX in done.stderr


def test_hosts_lists_who_is_there(up):
    table = lab("hosts").stdout
    row = next(line for line in table.splitlines() if line.startswith(MX) and "192.0.2.10" in line)
    assert row.count(MX) == 2 and "practice host" in row
    for address in (
        "192.0.2.2",
        "198.51.100.2",
        "198.51.100.153",
        "198.51.100.219",
        "203.0.113.0/24",
        "2001:db8:2::/64",
        "192.0.2.1",
    ):
        assert re.search(rf"\s{re.escape(address)}\s", table), address


def test_ssh_with_the_host_key_checked(up):
    done = lab.ssh("echo in; exit 5")
    assert (done.stdout, done.returncode) == ("in\n", 5), done.stderr
    known = STATE / "known_hosts"
    right = known.read_text()
    try:
        known.write_text("")
        assert lab.ssh("true").returncode == 255
    finally:
        known.write_text(right)


def test_descriptors_are_the_number_really_in_force(up):
    said = lab.read("status")["descriptors"]
    assert said == json.loads(lab("status", "--json").stdout)["descriptors"]
    limits = lab("sh", MX, "--", "cat", "/proc/1/limits").stdout
    assert re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups() == (str(said), str(said))
    assert lab.ssh("ulimit -Hn").stdout.strip() == str(said)
    # the caller's own limits do not count
    done = lab.run("sh", "-c", f"ulimit -Sn 200; exec {shlex.quote(str(LAB))} sh {MX} -- sh -c 'ulimit -Sn'")
    assert done.stdout.strip() == str(said), done.stderr


PROBE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family) as s:
    s.settimeout(5)
    s.bind((sys.argv[1], 0))
    s.connect((sys.argv[2], 22))
    print(s.getsockname()[0], s.recv(4).decode())
"""


@pytest.mark.parametrize("source, target", [("203.0.113.254", "192.0.2.10"), ("2001:db8:2::beef", "2001:db8::10")])
def test_any_client_address_reaches_the_host(up, source, target):
    done = lab("sh", "clients", "--", "python3", "-c", PROBE, source, target)
    assert done.stdout.split() == [source, "SSH-"]


def test_the_routers_own_address_is_the_one_that_a_client_cannot_have(up):
    done = lab("sh", "clients", "--", "python3", "-c", PROBE, "203.0.113.1", "192.0.2.10", check=False)
    assert done.returncode != 0


def test_host_cannot_change_the_kernel_of_the_machine(up):
    before = pathlib.Path("/proc/sys/kernel/pid_max").read_text()
    try:
        done = lab("sh", MX, "--", "sh", "-c", "echo 99999 > /proc/sys/kernel/pid_max", check=False)
        assert done.returncode != 0
        assert pathlib.Path("/proc/sys/kernel/pid_max").read_text() == before
    finally:
        pathlib.Path("/proc/sys/kernel/pid_max").write_text(before)


def test_sync_renews_programs_and_leaves_the_configuration(up):
    lab("sh", MX, "--", "sh", "-c", "echo 'mine=YES' >> /etc/rc.conf; echo broken > /etc/rc.subr")
    lab("sync")
    assert "mine=YES" in lab("sh", MX, "--", "cat", "/etc/rc.conf").stdout
    stock = (ROOT / "lab/standins/root/etc/rc.subr").read_text()
    assert lab("sh", MX, "--", "cat", "/etc/rc.subr").stdout == stock


@pytest.mark.parametrize("how", [(), ("--hard",)])
def test_reboot_keeps_files_and_loses_the_rest(up, how):
    lab("sh", MX, "--", "sh", "-c", "echo kept > /root/kept; echo lost > /tmp/lost")
    boots = lab.read(MX)
    lab("reboot", MX, *how)
    after = lab.read(MX)
    assert after["boots"] == boots["boots"] + 1
    assert after["start"] > boots["start"]
    assert lab("sh", MX, "--", "cat", "/root/kept").stdout == "kept\n"
    assert lab("sh", MX, "--", "cat", "/tmp/lost", check=False).returncode != 0
    assert lab.ssh("true").returncode == 0


def test_reboot_from_inside(up):
    boots = lab.read(MX)["boots"]
    lab("sh", MX, "--", "kill", "-INT", "1", check=False)
    deadline = time.monotonic() + 60
    while lab.read(MX)["boots"] != boots + 1 or lab.ssh("true").returncode:
        assert time.monotonic() < deadline, (STATE / "keeper.log").read_text()
        time.sleep(0.2)


def test_another_lab_goes_on_where_a_host_was_saved(up):
    kept, other = pathlib.Path("/run/labtest-saved"), OwnLab("labtest-l")
    assert "lab halt" in lab("save", MX, kept, check=False).stderr and not kept.exists()
    lab(
        "sh",
        MX,
        "--",
        "sh",
        "-c",
        "echo saved > /root/saved; rm /etc/motd.template; rm -r /usr/share/games; mkdir /usr/share/games",
    )
    lab("halt", MX)
    try:
        lab("save", MX, kept)
        other("up", "--like", kept)
        there = "cat /root/saved; ls -A /usr/share/games; test -e /etc/motd.template || echo gone; grep -c hostname= /etc/rc.conf; hostname"
        assert other("sh", MX, "--", "sh", "-c", there).stdout.split() == ["saved", "gone", "1", MX]
        # the keys to it are its own; those of the zones are not, since a saved named trusts the root's
        assert other.ssh("true").returncode == 0
        anchors = [json.loads((one.state / "dns.json").read_text())["trust_anchors"] for one in (lab, other)]
        assert anchors[0] == anchors[1] and anchors[0]
    finally:
        other("down")
        shutil.rmtree(kept, ignore_errors=True)
        lab("reboot", MX)


def test_a_foreign_process_with_the_keepers_pid_is_left_alone():
    other = OwnLab("labtest-f")
    with subprocess.Popen(["sleep", "60"]) as victim:
        try:
            other.state.mkdir(parents=True)
            record(other.state / "keeper.json", {"pid": victim.pid, "start": ns.start_time(victim.pid) - 1})
            other("down")
            assert not other.state.exists() and victim.poll() is None
        finally:
            victim.kill()


def test_crash_then_up_then_down_removes_all(up):
    pid = keeper()
    assert len(inside()) > 3
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while inside() or ns.start_time(pid):
        assert time.monotonic() < deadline, inside()
        time.sleep(0.05)
    assert lab("sh", MX, "--", "true", check=False).returncode == 1
    assert json.loads(lab("status", "--json", check=False).stdout)["state"] == "stale"
    assert machine() == up

    lab("up")
    assert lab.ssh("true").returncode == 0
    assert keeper() != pid

    # down of a running one, of a crashed one, of none
    lab("down")
    assert not STATE.exists() and not inside()
    assert machine() == up
    lab("up")
    os.kill(keeper(), signal.SIGKILL)
    lab("down")
    assert not STATE.exists() and not inside()
    assert "not up" in lab("down").stdout
    assert machine() == up


def test_a_bad_instance_name_is_refused():
    wrong = OwnLab("../x")
    done = wrong("up", check=False)
    assert done.returncode == 1
    assert "SOKUHAI_LAB" in done.stderr
