"""What is done to a running machine by ssh: wait until it answers, set its clock, let its disk grow, ask what it has."""

import json
import re
import shlex
import subprocess
import sys
import time

from . import VmError, machine, probe, process

#: Seconds
CLOCK_TOLERANCE = 30


def say(text):
    print(f"vm: {text}", file=sys.stderr, flush=True)


def running(about):
    return process.runs(about.get("pid"), about.get("start"))


def in_any_shell(script):
    """What to hand to ssh so that sh(1) runs the script, whatever the user's login shell is.

    csh(1) takes neither a line's end nor a ! within quotes, so all but plain characters are written as printf(1) %b reads them.
    """
    if re.fullmatch(r"[^\n!']*", script):
        return f"exec /bin/sh -c {shlex.quote(script)}"
    plain = "".join(
        chr(byte) if re.fullmatch(rb"[A-Za-z0-9 ,./:=_@%+-]", bytes([byte])) else f"\\0{byte:03o}"
        for byte in script.encode()
    )
    return f'exec /bin/sh -c \'eval "$(printf %b "{plain}")"\''


def there(state, script, timeout=120):
    """Run a line of sh(1) on the machine. Returns the finished process; exit code 255 is ssh's own."""
    command = ["ssh", "-F", str(state / "ssh_config"), "-o", "BatchMode=yes", "vm", in_any_shell(script)]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 255, "", f"no answer within {timeout} s")


def wait_boot(state, about, limit, before=""):
    """Until one can log in, and the first boot's own work is over. before: kern.boottime of the boot that must be past.

    Returns the seconds it took. Raises VmError with the end of the console.
    """
    began = time.monotonic()
    said = ""
    while True:
        if machine.greets(about["port"]):
            # /firstboot goes at the end of the first boot; until then FreeBSD's own updates may still reboot the machine
            done = there(state, "test ! -e /firstboot && sysctl -n kern.boottime", timeout=90)
            if done.returncode == 0 and done.stdout.strip() != before:
                return round(time.monotonic() - began)
            said = done.stderr.strip() or ("it has not finished its first boot" if done.returncode == 1 else "")
        stopped = machine.stopped(state)
        if stopped or not running(about):
            what = f"QEMU has stopped it: {stopped}" if stopped else "the machine has ended"
            break
        if time.monotonic() - began > limit:
            what = f"nobody can log in within {limit} s (FREEBSD_BOOT_SECONDS)"
            break
        # in an emulated machine a failed login costs both sides seconds
        time.sleep(2)
    if said:
        what += f"; ssh says: {said.splitlines()[-1]}"
    console = machine.tail(state / "console.log").replace("\n", "\n  ")
    raise VmError(f"{state.name}: {what}. The end of {state / 'console.log'}:\n  {console}")


def settle(state, about):
    """Ask what the machine is, and set its clock where that is wrong and nobody asked for it to be."""
    done = there(state, "freebsd-version -u; date -u +%s")
    release, seconds = (done.stdout.split() + ["", ""])[:2]
    about["release"] = release
    if not seconds.isdecimal():
        raise VmError(f"{state.name}: lets {about['user']} in but answers {done.stdout!r} {done.stderr.strip()!r}")
    about["clock_off"] = round(int(seconds) - time.time())
    if abs(about["clock_off"]) > CLOCK_TOLERANCE and not about["clock"]:
        now = time.strftime("%Y%m%d%H%M.%S", time.gmtime())
        done = there(state, f"date -u {now} >/dev/null")
        say(
            f"its clock was {about['clock_off']} s off and has been set"
            if done.returncode == 0
            else f"its clock is {about['clock_off']} s off, and {about['user']} may not set it"
        )


def grow(state, about):
    """Let the file system fill the disk that was made larger than the image; official images have done so by themselves."""
    root = "" if about["user"] == "root" else "doas -n "
    done = there(
        state, f"{root}service growfs onestart >/dev/null 2>&1; df -m / | awk 'NR == 2 {{ print $4 }}'", timeout=300
    )
    say(f"the disk was made larger than the image: {done.stdout.strip() or '?'} MiB are free in /")


def look(state, about):
    """What the machine has, also as probe.json for the inventory."""
    done = there(state, probe.script(about["offline"]), timeout=300)
    try:
        has = probe.read(done.stdout)
    except ValueError as error:
        raise VmError(f"{state.name}: {error} {done.stderr.strip()}") from None
    (state / "probe.json").write_text(json.dumps(has, indent=1) + "\n")
    return has
