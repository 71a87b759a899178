"""What the lab makes of FreeBSD: headers, compiler, ports, sources, and the kernels that boot, or do not."""

import base64
import re
import struct
import time

import pytest
from own_lab import MARKS, MX, OwnLab

lab = OwnLab("labfbsd")
pytestmark = MARKS
TRIAL = "kernel.TRIAL"
# a dead man's switch, as a trial boot has it: an early script starts a timer that reboots; its time is over when a test says so
FIRE = "/var/run/labtimer.fire"
TIMER = f"""\
#!/bin/sh
# PROVIDE: labtimer
# REQUIRE: cleanvar
# BEFORE: FILESYSTEMS
. /etc/rc.subr
name=labtimer
start_cmd='[ "$(kenv -q kernel)" != {TRIAL} ] || daemon -f -p /var/run/labtimer.pid /bin/sh -c "until test -e {FIRE}; do sleep 0.2; done; shutdown -r now"'
load_rc_config $name
run_rc_command "$1"
"""


def sh(script, check=True):
    """A script in the practice host, on its console: works whatever its kernel does."""
    return lab("sh", MX, "--", "sh", "-s", check=check, stdin=script)


def reachable():
    """Whether the host answers where other hosts are."""
    return lab.ssh("true", "-o", "ConnectTimeout=2").returncode == 0


def boots():
    return lab.read(MX)["boots"]


def console():
    return (lab.state / f"{MX}.console").read_text()


def until(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, console()[-1500:]
        time.sleep(0.2)


def ident():
    return sh("uname -i", check=False).stdout.strip()


@pytest.fixture(scope="module")
def up():
    lab("up", timeout=1500)
    if sh("cc --version", check=False).returncode:
        lab("down")
        pytest.skip("the ziglang wheel is not installed: make venv")
    yield
    lab("down", check=False)


@pytest.fixture(scope="module")
def trial(up):
    """A kernel of one's own beside the running one, and a timer in its boot."""
    sh(f"""set -e
mkdir -p /root/kernels
printf 'include GENERIC\\nident TRIAL\\n' > /root/kernels/TRIAL
make -C /usr/src buildkernel KERNCONF=TRIAL KERNCONFDIR=/root/kernels
make -C /usr/src installkernel KERNCONF=TRIAL KERNCONFDIR=/root/kernels INSTKERNNAME={TRIAL}
""")


@pytest.fixture
def stock():
    """After the test the host runs GENERIC and can be reached."""
    yield
    sh("rm -f /etc/rc.d/labtimer", check=False)
    if ident() != "GENERIC" or not reachable():
        lab("reboot", MX, "--hard")
    assert ident() == "GENERIC"


def start_trial(fate, timer=False):
    """Boot the trial kernel once; what it comes to; the number of boots before."""
    before = boots()
    if timer:
        sh(f"rm -f {FIRE}; cat > /etc/rc.d/labtimer <<'X'\n{TIMER}X\nchmod 755 /etc/rc.d/labtimer")
    sh(
        f"set -e; echo {fate} > /boot/{TRIAL}/labfate; nextboot -k {TRIAL}; (sleep 0.3; shutdown -r now) > /dev/null 2>&1 &"
    )
    until(lambda: boots() > before)
    return before


def symbols(text):
    """{name: size} out of an object for FreeBSD that the host made, given in base64 by sh()."""
    data = base64.b64decode(text)
    assert data[:4] == b"\x7fELF" and data[7] == 9 and struct.unpack_from("<H", data, 18)[0] == 62, (
        "an object for FreeBSD on amd64"
    )
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
    table = next(s for s in sections if s[1] == 2)
    strings = sections[table[6]]
    found = {}
    for at in range(table[4], table[4] + table[5], 24):
        name, _, _, _, _, length = struct.unpack_from("<IBBHQQ", data, at)
        start = strings[4] + name
        found[data[start : data.index(b"\0", start)].decode()] = length
    return found


def test_header_is_freebsds_own_and_counts(up):
    text = sh("cat /usr/include/sys/select.h").stdout
    assert text.count("#ifndef\tFD_SETSIZE\n#define\tFD_SETSIZE\t1024\n#endif\n") == 1
    assert sh("cat /usr/src/sys/sys/select.h").stdout == text
    make = "cd /tmp && printf '#include <sys/types.h>\\n#include <sys/select.h>\\nchar x[sizeof(fd_set)] = {1};\\n' > x.c && cc %s -c x.c && base64 x.o"
    edit = "sed -i 's/^\\(#define.FD_SETSIZE.\\)[0-9]*/\\1%d/' /usr/include/sys/select.h"
    assert symbols(sh(make % "").stdout)["x"] == 1024 // 8
    assert symbols(sh(make % "-DFD_SETSIZE=16384").stdout)["x"] == 16384 // 8
    try:
        sh(edit % 4096)
        assert symbols(sh(make % "").stdout)["x"] == 4096 // 8
    finally:
        sh(edit % 1024)
    assert sh("cat /usr/include/sys/select.h").stdout == text
    assert sh("cc -o /tmp/x /tmp/x.c", check=False).returncode == 1


def test_ports_build_compiles_with_make_confs_flags_and_says_so(up):
    try:
        done = sh("""set -e
printf '%s\\n' '.if ${.CURDIR:M*/mail/postfix}' 'CFLAGS+= -DFD_SETSIZE=8192' .endif > /etc/make.conf
cd /usr/ports/mail/postfix && make BATCH=yes install-missing-packages stage >&2
cat work-default/stage/usr/local/libexec/postfix/makedefs.out | grep ^OPT >&2
base64 work-default/postfix-*/fdset.o
""")
        assert "-DFD_SETSIZE=8192" in re.search(r"^OPT = (.*)$", done.stderr, re.M).group(1).split()
        assert symbols(done.stdout)["fd_set_bytes"] == 8192 // 8
    finally:
        sh("rm -f /etc/make.conf; make -C /usr/ports/mail/postfix clean")


def test_what_a_build_cannot_compile_it_does_not_stage(up):
    done = sh("make -C /usr/ports/mail/postfix BATCH=yes CFLAGS='-O2 -DFD_SETSIZE=?' stage", check=False)
    assert done.returncode == 1 and "error:" in done.stderr
    assert sh("ls -d /usr/ports/mail/postfix/work-default/stage", check=False).returncode != 0
    sh("make -C /usr/ports/mail/postfix clean")


def test_spf_services_answers_are_chosen_when_its_port_is_built(up):
    done = sh("""set -e
cd /usr/ports/mail/postfix-policyd-spf-perl
make BATCH=yes install-missing-packages >&2
make BATCH=yes SPF_FAIL='PREPEND X-SPF-Result: fail' stage >&2
grep -c '"PREPEND X-SPF-Result: fail \\$' work/stage/usr/local/libexec/postfix-policyd-spf-perl
grep -c '"DEFER_IF_PERMIT SPF-Result' work/stage/usr/local/libexec/postfix-policyd-spf-perl
! grep '"550 ' work/stage/usr/local/libexec/postfix-policyd-spf-perl
make clean >&2
""")
    assert done.stdout.split() == ["2", "2"], done.stderr


def test_distfile_that_is_not_what_the_tree_says_is_refused(up):
    done = sh(
        "cd /usr/ports/mail/postfix && make BATCH=yes fetch && for f in /usr/ports/distfiles/postfix/*; do echo x >> $f; done && make BATCH=yes build",
        check=False,
    )
    assert done.returncode == 1 and "SHA256 Checksum mismatch" in done.stdout
    sh("make -C /usr/ports/mail/postfix distclean")


def test_kernel_of_ones_own_for_one_boot(up, trial, stock):
    assert ident() == "GENERIC"
    start_trial("good")
    until(reachable)
    assert ident() == "TRIAL"
    assert sh("sysctl -n kern.bootfile").stdout == f"/boot/{TRIAL}/kernel\n"
    assert "ident\tTRIAL" in sh("sysctl -n kern.conftxt").stdout.splitlines()
    assert sh("test -e /boot/nextboot.conf", check=False).returncode == 1
    lab("reboot", MX)
    assert ident() == "GENERIC"


def test_kernel_that_is_kept(up, trial, stock):
    try:
        sh(f"""rm -f /boot/{TRIAL}/labfate; echo 'kernel="{TRIAL}"' > /boot/loader.conf.d/trial.conf""")
        lab("reboot", MX)
        assert ident() == "TRIAL" and sh("kenv kernel").stdout == TRIAL + "\n"
    finally:
        sh("rm /boot/loader.conf.d/trial.conf")


def test_panic_returns_by_itself(up, trial, stock):
    before = start_trial("panic")
    until(lambda: boots() == before + 2)
    until(reachable)
    assert ident() == "GENERIC" and "panic: " in console()


@pytest.mark.parametrize(
    "fate, come_to_that, sshd",
    [("hang", "test -s /var/run/labtimer.pid", 1), ("nonetwork", "pgrep sshd", 0)],
)
def test_a_kernel_that_nobody_reaches_ends_by_an_early_scripts_timer_only(up, trial, stock, fate, come_to_that, sshd):
    before = start_trial(fate, timer=True)
    until(lambda: sh(come_to_that, check=False).returncode == 0, 20)
    assert sh("pgrep sshd", check=False).returncode == sshd
    assert ident() == "TRIAL" and not reachable()
    sh(f"touch {FIRE}")
    until(lambda: boots() == before + 2)
    until(reachable)
    assert ident() == "GENERIC"


@pytest.mark.parametrize("how", ["stuck", "truncated"])
def test_a_stuck_one_needs_the_power_switch(up, trial, stock, how):
    if how == "truncated":
        sh(f"cp /boot/{TRIAL}/kernel /root/keep; dd if=/root/keep of=/boot/{TRIAL}/kernel bs=1000 count=1 2>/dev/null")
    try:
        before = start_trial("stuck" if how == "stuck" else "good", timer=True)
        until(lambda: sh("cat /var/db/standins/fate", check=False).stdout == "stuck\n")
        sh("kill -INT 1", check=False)
        time.sleep(4)
        assert boots() == before + 1 and not reachable()
        lab("reboot", MX, "--hard")
        assert ident() == "GENERIC" and reachable()
    finally:
        if how == "truncated":
            sh(f"cp /root/keep /boot/{TRIAL}/kernel")


def test_installing_over_the_running_kernel_keeps_it_once(up, trial, stock):
    install = "make -C /usr/src installkernel KERNCONF=TRIAL KERNCONFDIR=/root/kernels"
    try:
        sh("cp -R /boot/kernel /root/stock")
        sh(install)
        assert sh("config -x /boot/kernel.old/kernel | grep ident").stdout == "ident\tGENERIC\n"
        assert sh("sysctl -n kern.bootfile").stdout == "/boot/kernel.old/kernel\n"
        sh(install)
        # the running one was not under the name, so what was there is gone, and kernel.old stayed
        assert sh("config -x /boot/kernel/kernel | grep ident").stdout == "ident\tTRIAL\n"
        assert sh("config -x /boot/kernel.old/kernel | grep ident").stdout == "ident\tGENERIC\n"
    finally:
        sh(
            "rm -rf /boot/kernel /boot/kernel.old; mv /root/stock /boot/kernel; sysctl kern.bootfile=/boot/kernel/kernel"
        )


def test_sync_leaves_what_was_edited(up):
    try:
        sh(
            "sed -i 's/SETSIZE.1024/SETSIZE\\t2048/' /usr/src/sys/sys/select.h; sed -i 's/^BRANCH=\"RELEASE\"/BRANCH=\"RELEASE-p1\"/' /usr/src/sys/conf/newvers.sh"
        )
        lab("sync")
        assert sh("grep -c 2048 /usr/src/sys/sys/select.h").stdout == "1\n"
        assert sh("grep -c RELEASE-p1 /usr/src/sys/conf/newvers.sh").stdout == "1\n"
    finally:
        sh(
            'cp /usr/include/sys/select.h /usr/src/sys/sys/select.h; sed -i \'s/^BRANCH="RELEASE-p1"/BRANCH="RELEASE"/\' /usr/src/sys/conf/newvers.sh'
        )
