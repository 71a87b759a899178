"""The machine: QEMU's command line, starting it, waiting for it, ending it."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess

from . import VmError, images, process

# (code, variables): Debian and Ubuntu, Fedora, Arch, openSUSE, FreeBSD, Homebrew
FIRMWARE = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/local/share/edk2-qemu/QEMU_UEFI_CODE-x86_64.fd", "/usr/local/share/edk2-qemu/QEMU_UEFI_VARS-x86_64.fd"),
    ("/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"),
    ("/usr/local/share/qemu/edk2-x86_64-code.fd", "/usr/local/share/qemu/edk2-i386-vars.fd"),
]
QEMU = "qemu-system-x86_64"
PACKAGES = {QEMU: "qemu-system-x86", "qemu-img": "qemu-utils", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
BOOT_SECONDS = {"kvm": 600, "tcg": 1200}
MAC = "52:54:00:73:6f:6b"
# the card in the simulated internet
CARD, CARD_MAC = "net1", "52:54:00:73:6f:6c"
#: Seconds after which a guest of KVM has to be running still; a firmware is through its first stages in two
TRIAL_SECONDS = 4


def firmware(exists=os.path.exists):
    """(code, variables) of a UEFI for QEMU. Raises VmError when none is at the usual places."""
    if os.environ.get("FREEBSD_UEFI"):
        code, _, variables = os.environ["FREEBSD_UEFI"].partition(",")
        return code, variables
    for pair in FIRMWARE:
        if all(map(exists, pair)):
            return pair
    raise VmError("no UEFI firmware for QEMU: apt-get install ovmf, or FREEBSD_UEFI=CODE.fd,VARS.fd")


def tools(names=("ssh", "ssh-keygen", QEMU, "qemu-img")):
    """The tools that are missing, as a list of Debian's packages."""
    return sorted({PACKAGES[name] for name in names if not shutil.which(name)})


def accelerator(run=subprocess.run, device="/dev/kvm"):
    """("kvm" or "tcg", why). KVM is tried, not only looked at: in a virtual machine it may be there and still not run a guest."""
    wanted = os.environ.get("FREEBSD_ACCEL")
    if wanted in BOOT_SECONDS:
        return wanted, "FREEBSD_ACCEL says so"
    if wanted:
        raise VmError(f"FREEBSD_ACCEL: {wanted} is neither kvm nor tcg")
    if not os.path.exists(device):
        return "tcg", f"there is no {device}"
    if not os.access(device, os.R_OK | os.W_OK):
        return "tcg", f"{device} is not for this user; the group kvm may use it"
    # with the firmware: some run a guest until it turns paging on, and stop it then
    command = [
        QEMU,
        "-machine",
        "q35",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
        "-monitor",
        "stdio",
        "-drive",
        f"if=pflash,format=raw,unit=0,readonly=on,file={firmware()[0].replace(',', ',,')}",
    ]
    try:
        done = run(
            ["sh", "-c", f'{{ sleep {TRIAL_SECONDS}; echo info status; echo quit; }} | "$0" "$@"', *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "tcg", f"{QEMU} hangs with {device}"
    complaint = done.stderr.strip().partition("\n")[0].strip()
    if done.returncode:
        return "tcg", f"{device} is there, but {complaint or f'{QEMU} ends with {done.returncode}'}"
    status = re.search(r"VM status: (.+)", done.stdout)
    guest = status[1].strip() if status else "silent"
    if guest != "running":
        return "tcg", f"{device} is there, but its guest is {guest}{complaint and ': '}{complaint}"
    return "kvm", f"{device} works"


def number(name, default):
    """A number from the environment. Raises VmError for what is not one."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise VmError(f"{name}: {text!r} is not a number")
    return int(text)


def command(state, disk, code, accel, port, *, memory, processors, offline, clock="", name="vm", tap=None):
    """QEMU's command line, a list of str.

    state, disk: pathlib.Path of the instance's directory and of its disk (qcow2). port: where sshd is reached on 127.0.0.1. offline: the
    guest reaches nothing but what it is asked from there. clock: what the machine's clock says at the start, in UTC, for rehearsing.
    tap: descriptor of the second card's tap, which QEMU inherits; None for a machine with one card.
    """

    def quoted(path):
        # a comma separates options in QEMU's values, two of them are one
        return str(path).replace(",", ",,")

    second = (
        []
        if tap is None
        else ["-netdev", f"tap,id={CARD},fd={tap}", "-device", f"virtio-net-pci,netdev={CARD},romfile=,mac={CARD_MAC}"]
    )
    network = f"user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22" + (",restrict=on" if offline else "")
    return [
        QEMU,
        "-name",
        f"sokuhai-{name}",
        "-machine",
        "q35",
        "-accel",
        "kvm" if accel == "kvm" else "tcg,thread=multi",
        "-cpu",
        "host" if accel == "kvm" else "max",
        "-smp",
        str(processors),
        "-m",
        str(memory),
        "-drive",
        f"if=pflash,format=raw,unit=0,readonly=on,file={quoted(code)}",
        "-drive",
        f"if=pflash,format=raw,unit=1,file={quoted(state / 'firmware.fd')}",
        # the disk is thrown away after the test: nothing need survive a crash of this machine
        "-drive",
        f"if=virtio,format=qcow2,cache=unsafe,discard=unmap,file={quoted(disk)}",
        # a disk like the other, so that no driver for a CD is needed; nuageinit goes by the file system's label
        "-drive",
        f"if=virtio,format=raw,readonly=on,file={quoted(state / 'seed.iso')}",
        "-netdev",
        network,
        "-device",
        f"virtio-net-pci,netdev=net0,romfile=,mac={MAC}",
        *second,
        "-device",
        "virtio-rng-pci",
        "-rtc",
        f"base={clock or 'utc'}",
        "-display",
        "none",
        "-vga",
        "none",
        "-no-user-config",
        "-chardev",
        f"socket,id=serial,server=on,wait=off,path={quoted(state / 'serial')},"
        f"logfile={quoted(state / 'console.log')},logappend=on",
        "-serial",
        "chardev:serial",
        "-qmp",
        f"unix:{quoted(state / 'monitor')},server=on,wait=off",
        "-daemonize",
        "-pidfile",
        str(state / "qemu.pid"),
    ]


def overlay(image, disk, size=""):
    """A new disk over *image*, which is only ever read. size: as qemu-img understands it; never smaller than the image.

    Returns whether the disk is larger than the image.
    """
    disk.parent.mkdir(parents=True, exist_ok=True)
    arguments = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        str(pathlib.Path(image).resolve()),
        "-F",
        images.form(image),
        str(disk),
    ]
    if size:
        about = subprocess.run(
            ["qemu-img", "info", "--output=json", "-U", str(image)], capture_output=True, text=True, check=False
        )
        if about.returncode:
            raise VmError(f"{image}: {about.stderr.strip()}")
        if in_bytes(size) > json.loads(about.stdout)["virtual-size"]:
            arguments.append(str(in_bytes(size)))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VmError(f"{image}: {done.stderr.strip()}")
    return arguments[-1] != str(disk)


def in_bytes(size):
    """20G as a number. Raises VmError."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", size.upper())
    if not match:
        raise VmError(f"{size!r} is not a size; 20G, 4096M")
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(arguments, state, log, descriptors=()):
    """Start QEMU in the background, with these descriptors of ours. Returns (pid, when it started). Raises VmError with what it says."""
    for name in ("serial", "monitor", "qemu.pid"):
        (state / name).unlink(missing_ok=True)
    with open(log, "w") as output:
        # the tests that wait for us must not wait for the machine, so it inherits no pipe of ours
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, pass_fds=descriptors
        )
    if done.returncode:
        raise VmError(f"{QEMU} does not start: {log.read_text(errors='replace').strip() or done.returncode}")
    pid = int((state / "qemu.pid").read_text())
    return pid, process.started(pid)


def ask(state, *commands):
    """Say something to QEMU by its monitor (QMP): names of commands, or (name, arguments). Returns the last answer.

    Raises OSError or ValueError when nobody listens, VmError when QEMU refuses.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(state / "monitor"))
        stream = line.makefile("rw")
        stream.readline()
        for one in ("qmp_capabilities", *commands):
            name, values = (one, {}) if isinstance(one, str) else one
            stream.write(json.dumps({"execute": name, "arguments": values}) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
            while "event" in answer:
                answer = json.loads(stream.readline())
            if "error" in answer:
                raise VmError(f"QEMU refuses {name}: {answer['error'].get('desc')}")
        return answer


#: What QEMU says of a guest that will not go on by itself, and what it means
STOPPED = {
    "internal-error": "internal-error; KVM does not run this guest here: FREEBSD_ACCEL=tcg emulates the processor",
    "io-error": "io-error; is this machine's disk full?",
    "guest-panicked": "guest-panicked",
}


def stopped(state):
    """Why QEMU runs the guest no more though its process lives, or "" where it does or does not say."""
    try:
        return STOPPED.get(ask(state, "query-status")["return"]["status"], "")
    except (OSError, ValueError, KeyError, VmError):
        return ""


def greets(port, timeout=5):
    """True when an sshd greets there. QEMU takes the connection itself, so only what is said counts."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as line:
            line.settimeout(timeout)
            return line.recv(4) == b"SSH-"
    except OSError:
        return False


def tail(path, lines=25):
    """The last lines of a console, without the terminal's escapes."""
    try:
        text = pathlib.Path(path).read_bytes()[-20000:].decode(errors="replace")
    except OSError:
        return "(nothing)"
    text = re.sub(r"\x1b(\[[^@-~]*)?[@-~]", "", text)
    found = [line.rstrip() for line in re.sub(r"[\0-\x08\x0b-\x1f]", "", text).splitlines() if line.strip()]
    return "\n".join(found[-lines:]) or "(nothing)"
