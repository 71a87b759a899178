"""A kernel beside the one that runs: built, tried for one boot, kept or given up, with mail flowing before and after.

The practice host boots what lies in /boot; a file labfate beside a kernel says what becomes of it. The trials of whole kernels here are
real reboots of that host, and rc(8), daemon(8) and the timer run as on FreeBSD."""

import json
import re
import time

import pytest
from practice import HOST, changed, full_only, message, until

TRIAL = {
    "kernel_reboot": True,
    "kernel_console_access": True,
    "kernel_trial_seconds": 25,
    "kernel_check_seconds": 20,
    "kernel_boot_seconds": 60,
}
#: A kernel that is there already: the stock one under another name.
THERE = dict(TRIAL, kernel_build=False, kernel_name="kernel.trial")
STOCK = "/boot/kernel/kernel"
STATE = (
    "sysctl -n kern.bootfile; ls /boot; ls /boot/loader.conf.d; cat /boot/loader.conf.d/sokuhai-kernel.conf; ls /boot/nextboot.conf "
    "/etc/rc.d/sokuhai_trial; cat /boot/*/sokuhai.json"
)


def rebuild(lab, variables, *options, timeout=400):
    return lab.play("rebuild.yml", "--tags", "kernel", *options, variables=variables, timeout=timeout)


def running(lab):
    return lab.sh("sysctl", "-n", "kern.bootfile").stdout.strip()


def state(lab):
    return lab.sh("/bin/sh", "-c", STATE, check=False).stdout


def verdict(lab, name="kernel.trial"):
    """What the role recorded of a kernel's trial: result and reason."""
    return json.loads(lab.sh("cat", f"/boot/{name}/sokuhai.json").stdout)["trial"]


def mail_flows(lab):
    script = (
        "import socket;s=socket.create_connection(('127.0.0.1',25),20);s.settimeout(60);print(s.recv(512).decode())\n"
        "d=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);d.settimeout(20);"
        "d.sendto(bytes.fromhex('534201000001000000000000')+b'\\0\\0\\2\\0\\1',('127.0.0.1',53));print('dns',len(d.recv(4096)))\n"
    )
    said = lab.sh("/usr/local/bin/python3", "-", stdin=script, check=False).stdout
    return said.startswith("220") and "dns" in said


def serves(lab):
    """The stock kernel runs, and mail is accepted and names are resolved."""
    assert running(lab) == STOCK
    until(lambda: mail_flows(lab))


def back_to_stock(lab):
    """rollback.yml, and the reboot that it asks for when one of our kernels runs."""
    result = lab.applied("rollback.yml", "--tags", "kernel,headers")
    if running(lab) != STOCK:
        assert running(lab).split("/")[2] + " runs" in " ".join(result.stdout.split()), result.stdout
        lab.command("reboot", HOST)
        lab.applied("rollback.yml", "--tags", "kernel")


@pytest.fixture(scope="module")
def untouched(lab):
    """What the host was before the first of these tests; it is that again after the last."""
    before = lab.fingerprint()
    yield before
    lab.sh("/bin/sh", "-c", "rm -rf /boot/kernel.trial; rm -f /usr/src/sys/kern/zz_broken.c")
    if lab.fingerprint() != before:
        back_to_stock(lab)
    serves(lab)
    assert lab.fingerprint() == before


@pytest.fixture
def stock(lab, untouched):
    """The host with its stock kernel, and another one beside it, to be tried."""
    if running(lab) != STOCK:
        back_to_stock(lab)
    lab.sh(
        "/bin/sh",
        "-c",
        "rm -f /usr/src/sys/kern/zz_broken.c; rm -rf /boot/kernel.trial; cp -Rp /boot/kernel /boot/kernel.trial",
    )


def fate(lab, word):
    lab.sh("/bin/sh", "-c", f"echo {word} > /boot/kernel.trial/labfate")


SIZE = """
import struct
data = open('/boot/%s/kernel', 'rb').read()
at = data.find(b'fd_set_bytes')
assert at > 0
shoff, = struct.unpack_from('<Q', data, 40)
size, count, names = struct.unpack_from('<HHH', data, 58)
heads = [struct.unpack_from('<IIQQQQIIQQ', data, shoff + size * n) for n in range(count)]
table = next(head for head in heads if head[1] == 2)
text = heads[table[6]]
for entry in range(table[4], table[4] + table[5], 24):
    name, info, other, index, value, length = struct.unpack_from('<IBBHQQ', data, entry)
    start = text[4] + name
    if data[start:data.index(b'\\0', start)] == b'fd_set_bytes':
        print(length)
"""


def test_a_kernel_that_panics_gives_way_by_itself_and_is_not_tried_again(lab, stock):
    fate(lab, "panic")
    result = rebuild(lab, THERE)
    assert result.returncode != 0 and verdict(lab)["result"] == "failed", message(result)
    assert verdict(lab)["reason"] in message(result)
    serves(lab)
    text = state(lab)
    assert "kernel=" not in text and "sokuhai_trial" not in text
    again = rebuild(lab, THERE)
    assert again.returncode == 0 and changed(again) == 0 and "kernel_retry" in again.stdout
    assert running(lab) == STOCK


@full_only("two reboots: in make test-full; tests/unit/test_kernel_trial.py has the module's part")
def test_a_kernel_that_ones_own_tasks_refuse_gives_way_and_is_not_tried_again(lab, stock, tmp_path):
    tasks = tmp_path / "prove.yml"
    tasks.write_text(
        "- name: Look for what is not there\n  ansible.builtin.command: test -e /no/such/thing\n  changed_when: false\n"
    )
    result = rebuild(lab, dict(THERE, kernel_verify_tasks=str(tasks)))
    why = "kernel_verify_tasks: Look for what is not there"
    assert result.returncode != 0 and why in message(result), message(result)
    assert verdict(lab)["result"] == "failed" and verdict(lab)["reason"].startswith(why)
    serves(lab)
    boots = lab.sh("sysctl", "-n", "kern.boottime").stdout
    again = rebuild(lab, THERE)
    assert again.returncode == 0 and changed(again) == 0 and "Look for what is not there" in again.stdout, again.stdout
    assert lab.sh("sysctl", "-n", "kern.boottime").stdout == boots
    tasks.write_text("- name: Look for what is there\n  ansible.builtin.command: test -e /etc\n  changed_when: false\n")
    kept = rebuild(lab, dict(THERE, kernel_verify_tasks=str(tasks), kernel_retry=True))
    assert kept.returncode == 0 and running(lab) == "/boot/kernel.trial/kernel", message(kept)


@full_only("as in tests/unit/test_kernel_trial.py, but with the whole play: in make test-full")
def test_a_file_that_the_loader_could_not_load_is_never_booted(lab, stock):
    boots = lab.sh("sysctl", "-n", "kern.boottime").stdout
    lab.sh("/bin/sh", "-c", "truncate -s 5000 /boot/kernel.trial/kernel")
    result = rebuild(lab, THERE)
    assert result.returncode != 0 and "/boot/kernel.trial/kernel " in message(result), message(result)
    assert lab.sh("sysctl", "-n", "kern.boottime").stdout == boots


@full_only("as in tests/unit/test_kernel_trial.py, but with the whole play: in make test-full")
def test_a_build_that_fails_leaves_everything_as_it_was(lab, stock):
    before = lab.sh("ls", "-lR", "/boot").stdout
    lab.sh("/bin/sh", "-c", "echo '#error no kernel today' > /usr/src/sys/kern/zz_broken.c")
    result = rebuild(lab, TRIAL)
    assert result.returncode != 0 and "phase buildkernel" in message(result), message(result)
    assert "no kernel today" in message(result), "the end of the log is not shown"
    assert lab.sh("ls", "-lR", "/boot").stdout == before and mail_flows(lab)


@full_only("waits for the timer of a trial: in make test-full")
@pytest.mark.parametrize("word", ["hang", "nonetwork"])
def test_a_trial_that_nobody_can_confirm_ends_by_its_timer(lab, stock, word):
    fate(lab, word)
    result = rebuild(lab, THERE)
    assert result.returncode != 0 and verdict(lab)["result"] == "failed", message(result)
    assert f"{TRIAL['kernel_trial_seconds']} seconds" in verdict(lab)["reason"]
    serves(lab)


@full_only("waits for a host that does not come back: in make test-full")
def test_a_hard_hang_waits_for_the_switch_and_the_old_kernel_follows(lab, stock):
    fate(lab, "stuck")
    lab.play_killed(["TASK [", "Boot it"], "--tags", "kernel", book="rebuild.yml", variables=THERE)
    time.sleep(15)
    lab.command("reboot", "--hard", HOST)
    until(lambda: running(lab) == STOCK and mail_flows(lab))


@full_only("one more build: in make test-full")
def test_unasked_it_is_built_and_not_booted(lab, stock):
    result = rebuild(lab, {})
    assert result.returncode == 0 and running(lab) == STOCK and "kernel_reboot=true" in result.stdout
    assert "kernel.SOKUHAI-" in lab.sh("ls", "/boot").stdout and "nextboot.conf" not in state(lab)


@full_only(
    "a reboot each: in make test-full; tests/unit/test_kernel_trial.py kills the module after each of its writes"
)
@pytest.mark.parametrize("task", ["Prepare one boot", "Boot it", "Compare what serves", "Build the kernel"])
def test_a_run_that_is_killed_is_finished_by_the_next(lab, stock, task):
    variables = TRIAL if task.startswith("Build") else THERE
    lab.play_killed(["TASK [", task], "--tags", "kernel", book="rebuild.yml", variables=variables)
    until(lambda: lab.sh("true", check=False).returncode == 0)
    result = rebuild(lab, variables)
    assert result.returncode == 0, message(result)
    assert running(lab).startswith("/boot/kernel.SOKUHAI-" if task.startswith("Build") else "/boot/kernel.trial/")
    assert changed(rebuild(lab, variables)) == 0
    assert "sokuhai_trial" not in state(lab)


@full_only("refused as in tests/unit/test_kernel_trial.py: in make test-full")
def test_without_anybody_at_the_console_nothing_starts(lab, stock):
    result = rebuild(lab, dict(THERE, kernel_console_access=False))
    assert result.returncode != 0 and "kernel_console_access" in message(result)
    assert changed(result) == 0


@full_only("one more run: in make test-full")
def test_check_mode_predicts_and_changes_nothing(lab, stock):
    before = lab.sh("ls", "-lR", "/boot").stdout
    result = rebuild(lab, TRIAL, "--check")
    assert result.returncode == 0 and changed(result) >= 2, message(result)
    assert lab.sh("ls", "-lR", "/boot").stdout == before and running(lab) == STOCK


def test_a_kernel_is_built_beside_booted_once_and_kept(lab, stock, figures):
    began = time.monotonic()
    result = rebuild(lab, TRIAL)
    assert result.returncode == 0 and re.search(r"about \d+ minutes", " ".join(result.stdout.split())), message(result)
    figures.append(f"kernel: built, installed, tried and kept in {time.monotonic() - began:.0f} s")
    names = [name for name in lab.sh("ls", "/boot").stdout.split() if name.startswith("kernel.SOKUHAI-")]
    assert len(names) == 1 and running(lab) == f"/boot/{names[0]}/kernel", names
    assert (
        lab.sh("uname", "-i").stdout.strip() == "SOKUHAI"
        and "KDB_UNATTENDED" in lab.sh("sysctl", "-n", "kern.conftxt").stdout
    )
    # what the kernel's own objects were compiled against: 16384 bits
    size = lab.sh("/usr/local/bin/python3", "-", stdin=SIZE % names[0]).stdout.strip()
    record = json.loads(lab.sh("cat", f"/boot/{names[0]}/sokuhai.json").stdout)
    assert (size, record["inputs"]["fd_setsize"]) == ("2048", 16384)
    text = state(lab)
    assert f'kernel="{names[0]}"' in text and "sokuhai_trial" not in text and "nextboot.conf" not in text
    assert mail_flows(lab)

    # nothing is done twice
    again = rebuild(lab, TRIAL)
    assert again.returncode == 0 and changed(again) == 0, again.stdout
    assert again.summary["remote_commands"] <= 4, again.summary
    # and the host itself comes up with it, with no timer that would take it away
    lab.command("reboot", HOST)
    assert running(lab) == f"/boot/{names[0]}/kernel" and "sleep" not in lab.sh("ps", "-axo", "comm").stdout

    # and back: the stock kernel boots, ours is gone
    back_to_stock(lab)
    serves(lab)
    assert "kernel.SOKUHAI" not in state(lab) and "sokuhai-kernel.conf" not in state(lab)
