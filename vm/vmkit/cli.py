"""vm up [--offline] [--alone] [--size 20G] [--clock TIME]
                          boot the machine; says so and does nothing when it is up
vm join                   let it into the lab's simulated internet, as the mail host there (as root on Linux)
vm down                   end it, and the simulated internet: no process, no tap and no file of it is left
vm sh [-- CMD…]           a shell there as root, or CMD (stdin passed on, exit code kept); `vm ssh` is the same
vm status [--json]        up or not, which image, how it is reached
vm reboot [--hard]        boot it again and wait for it; --hard: as if the reset button was pressed
vm console [--attach]     the end of the serial console's log; --attach: the console itself, Ctrl-] leaves it
vm seed FILE              write the NoCloud seed that `up` would give the machine
vm fetch [RELEASE]        fetch the official image into the cache; prints its path
vm accel                  kvm or tcg, and why
vm probe                  ask the machine again what it has, for the inventory; prints it as JSON
vm test [STEP…]           the scenario on the machine that is up: every step, or those named, whose results join what it has shown
                          since it was started; `vm test --list` names them
vm proved [FILE]          take a run's results (default: the last run's) into vm/results and write docs/proved-on-freebsd.md again
vm help

  --offline    the machine reaches no network, it is only reached (and may still join the simulated internet)
  --alone      no simulated internet beside it
  --size       grow the disk to this (the image stays as it is); for an official image 20G unless said otherwise
  --clock      what its clock says at first, 2020-01-01T00:00:00: to see what a wrong clock does

FREEBSD_IMAGE=PATH         qcow2 or raw, also packed as .xz or .zst; without it the official image of
FREEBSD_RELEASE=15.1       (images.toml; default the newest; 15.1-zfs: with ZFS as its root)
FREEBSD_SSH_KEY=PATH       the private key that the image lets in; without it one is made and passed in by the seed
FREEBSD_USER=root          who it lets in
FREEBSD_BOOT_SECONDS=600   how long a boot may take (1200 where the processor is emulated)
FREEBSD_MEMORY=4096  FREEBSD_CPUS=2  FREEBSD_ACCEL=kvm|tcg  FREEBSD_UEFI=CODE,VARS
FREEBSD_TESTS="strangers delivery"   of the tests with real clients only those files; all of them otherwise, three where the processor is emulated
SOKUHAI_VM=vm              name of the instance; any number of them can be up side by side
SOKUHAI_CACHE=DIR          where images and disks are kept (default ~/.cache/sokuhai)"""

import argparse
import contextlib
import fcntl
import functools
import json
import os
import pathlib
import select
import shlex
import shutil
import socket
import subprocess
import sys
import termios
import time
import tty

from labkit.files import read_json, record

from . import VmError, guest, images, join, machine, paths, probe, process, proved, scenario, seed

HOSTNAME = "mx.home.example"
OFFICIAL_SIZE = "20G"


def result(text):
    print(f"vm: {text}", flush=True)


def read(state):
    """What is known of an instance, {} when there is none."""
    return read_json(state / "machine.json")


def note(state, about):
    record(state / "machine.json", about)


@contextlib.contextmanager
def lock(state):
    """One at a time per instance. The file lies beside the instance's folder, which `down` removes."""
    state.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path = state.parent / f".{state.name}.lock"
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if not state.exists():
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    state.parent.rmdir()


# --- up and down


def clear(state):
    """End an instance's process and remove its files. True when it was running."""
    about = read(state)
    pid, start = about.get("pid"), about.get("start")
    if not pid:
        # broken off between QEMU's start and the note of it: the name in its command line tells whether it is ours
        with contextlib.suppress(OSError, ValueError):
            pid = int((state / "qemu.pid").read_text())
            if str(state / "qemu.pid") in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                start = process.started(pid)
    was_up = process.end(pid, start) if pid and start else False
    if about.get("lab"):
        join.lower_lab(about["lab"])
    for folder in (state, paths.disks(state.name)):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise VmError(f"{folder} cannot be removed")
    with contextlib.suppress(OSError):
        paths.disks(state.name).parent.rmdir()
    return was_up


def down(_args):
    state = paths.state()
    with lock(state):
        outcome = "not running; its leftovers are removed" if state.exists() else "not up"
        if clear(state):
            outcome = "down"
    result(f"{state.name} is {outcome}")
    return 0


def choose(args):
    """(image, how to call it, size of the disk). Fetches the official image when none is given."""
    if os.environ.get("FREEBSD_IMAGE"):
        path = images.given(os.environ["FREEBSD_IMAGE"])
        return path, pathlib.Path(os.environ["FREEBSD_IMAGE"]).name, args.size
    path = images.official(os.environ.get("FREEBSD_RELEASE"), guest.say)
    return path, path.name, args.size or OFFICIAL_SIZE


def make_key(state):
    """(path of the private key, public key). The given key stays where it is."""
    given = os.environ.get("FREEBSD_SSH_KEY")
    path = pathlib.Path(given).expanduser().resolve() if given else state / "id_ed25519"
    if not given:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sokuhai-vm", "-f", str(path)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    done = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise VmError(f"FREEBSD_SSH_KEY: {path} cannot be used: {done.stderr.strip()}")
    return path, done.stdout.strip()


def up(args):
    state = paths.state()
    missing = machine.tools()
    if missing:
        raise VmError(f"missing: apt-get install {' '.join(missing)} (or the like)")
    started = time.monotonic()
    user = os.environ.get("FREEBSD_USER") or "root"
    with lock(state):
        about = read(state)
        if guest.running(about) and about.get("ready"):
            result(f"{state.name} is already up ({about['image']}, {about['accelerator']})")
            return 0
        image, called, size = choose(args)
        if state.exists():
            clear(state)
        try:
            state.mkdir(mode=0o700)
            code, variables = machine.firmware()
            shutil.copyfile(variables, state / "firmware.fd")
            key, public = make_key(state)
            (state / "seed.iso").write_bytes(seed.image(seed.nocloud(HOSTNAME, user, public)))
            accel, why = machine.accelerator()
            limit = machine.number("FREEBSD_BOOT_SECONDS", machine.BOOT_SECONDS[accel])
            disk = paths.disks(state.name) / "disk.qcow2"
            grown = machine.overlay(image, disk, size)
            how = "KVM" if accel == "kvm" else "the processor is emulated, which is slow"
            guest.say(f"{called}: {how} ({why}); up to {limit} s for the boot")
            about = {
                "instance": state.name,
                "image": called,
                "path": str(image),
                "accelerator": accel,
                "why": why,
                "offline": args.offline,
                "user": user,
                "key": str(key),
                "public_key": public,
                "boot_seconds": limit,
                "clock": args.clock or "",
                "host": HOSTNAME,
            }
            card = internet(about, "--alone was said" if args.alone else join.impossible())
            try:
                note(state, about)
                boot(state, about, disk, code, card)
            finally:
                if card is not None:
                    os.close(card)
            about["boot_took"] = guest.wait_boot(state, about, limit)
        except BaseException:
            abandon(state)
            raise
        guest.settle(state, about)
        if grown:
            guest.grow(state, about)
        guest.look(state, about)  # the inventory asks what the machine has, from the first play on
        about["ready"] = True
        note(state, about)
    result(f"{state.name} is up ({called}, {accel}: {about['release']}) after {time.monotonic() - started:.0f} s")
    return 0


def internet(about, why):
    """Bring the simulated internet up, unless *why* says why there is none. Returns the descriptor of the machine's card in it, or None.

    A machine without one is worth having, too: the reason is noted, and the steps that need it name it.
    """
    about.update(lab="", joined="", alone=why)
    if why:
        return None
    lab = join.lab_of(about["instance"])
    try:
        join.lower_lab(lab)
        card = join.raise_lab(lab, about["host"])
    except VmError as error:
        about["alone"] = str(error)
        guest.say(f"no simulated internet beside it: {error}")
        with contextlib.suppress(VmError):
            join.lower_lab(lab)
        return None
    about["lab"] = lab
    return card


def abandon(state):
    """End the process of an `up` that failed; the logs stay to be read, `up` and `down` remove them."""
    about = read(state)
    process.end(about.get("pid"), about.get("start"))
    if about.get("lab"):
        join.lower_lab(about["lab"])
    shutil.rmtree(paths.disks(state.name), ignore_errors=True)
    if state.exists() and not (state / "console.log").exists():
        shutil.rmtree(state, ignore_errors=True)


def boot(state, about, disk, code, card=None):
    """Start QEMU; another port when someone else was quicker to take it. card: descriptor of the second card's tap."""
    for attempt in range(3):
        about["port"] = machine.free_port()
        arguments = machine.command(
            state,
            disk,
            code,
            about["accelerator"],
            about["port"],
            memory=machine.number("FREEBSD_MEMORY", 4096),
            processors=machine.number("FREEBSD_CPUS", 2),
            offline=about["offline"],
            clock=about["clock"],
            name=state.name,
            tap=card,
        )
        try:
            about["pid"], about["start"] = machine.start(
                arguments, state, state / "qemu.log", [] if card is None else [card]
            )
            break
        except VmError as error:
            if attempt == 2 or "host forwarding" not in str(error):
                raise
    note(state, about)
    if card is not None:
        # nobody answers DHCP there, and a boot would wait for it
        machine.ask(state, ("set_link", {"name": machine.CARD, "up": False}))
    (state / "ssh_config").write_text(
        f"Host {about['host']} vm\n  HostName 127.0.0.1\n  Port {about['port']}\n  User {about['user']}\n"
        f'  IdentityFile "{about["key"]}"\n'
        f'  IdentitiesOnly yes\n  UserKnownHostsFile "{state / "known_hosts"}"\n  StrictHostKeyChecking accept-new\n  HashKnownHosts no\n'
        f"  ConnectTimeout 30\n  ServerAliveInterval 15\n  LogLevel ERROR\n"
    )


# --- using it


def need(state):
    about = read(state)
    if not guest.running(about) or not about.get("ready"):
        raise VmError(f"{state.name} is not up: vm/vm up")
    return about


def sh(words):
    """A shell there, or the command that these words are. Does not come back."""
    state = paths.state()
    need(state)
    command = ["ssh", "-F", str(state / "ssh_config"), *(["-t"] if not words and sys.stdin.isatty() else []), "vm"]
    if words:
        # root's login shell may be csh; one word is a line of sh(1), several are one command
        command.append(guest.in_any_shell(words[0] if len(words) == 1 else shlex.join(words)))
    # ssh takes this process' place: who ends the one has ended the other
    os.execvp(command[0], command)


def status(args):
    state = paths.state()
    about = read(state)
    about["running"] = guest.running(about)
    console = state / "console.log"
    if args.json:
        text = json.dumps(about, indent=1)
    elif about["running"]:
        text = (
            f"{state.name} is up: FreeBSD {about.get('release', '?')} from {about['image']}, {about['accelerator']} ({about['why']})\n"
            f"ssh -F {state / 'ssh_config'} vm\nconsole: {console}"
        )
    else:
        text = f"{state.name} is not up" + (f"; its last console: {console}" if console.exists() else "")
    print(text)
    return 0 if about["running"] else 1


def reboot(args):
    state = paths.state()
    with lock(state):
        about = need(state)
        before = guest.there(state, "sysctl -n kern.boottime").stdout.strip()
        if args.hard:
            machine.ask(state, "system_reset")
        else:
            root = "" if about["user"] == "root" else "doas -n "
            # the answer may be lost with the connection
            guest.there(state, f"{root}shutdown -r now", timeout=60)
        about["boot_took"] = guest.wait_boot(state, about, about["boot_seconds"], before or "unknown")
        guest.settle(state, about)
        note(state, about)
    result(f"{state.name} has booted again, in {about['boot_took']} s")
    return 0


def join_in(_args):
    """Give the second card its place in the simulated internet, and let the lab's commands reach the machine by ours."""
    state = paths.state()
    with lock(state):
        about = need(state)
        if not about.get("lab"):
            raise VmError(f"{state.name} has no simulated internet beside it: {about.get('alone')}")
        if not join.is_up(about["lab"]):
            raise VmError(f"the simulated internet {about['lab']} is gone; vm/vm down, then up")
        machine.ask(state, ("set_link", {"name": machine.CARD, "up": True}))
        done = guest.there(
            state, join.as_root(join.script(join.place(about["host"]), machine.CARD_MAC), about["user"]), timeout=600
        )
        if done.returncode:
            raise VmError(f"{state.name} cannot join the simulated internet: {(done.stderr or done.stdout).strip()}")
        join.note(about["lab"], about["host"], about["user"], state.name)
        was = about["joined"]
        about["joined"] = about["lab"]
        note(state, about)
    result(f"{state.name} is {'already ' if was else ''}in the simulated internet {about['lab']}, as {about['host']}")
    return 0


def console(args):
    state = paths.state()
    if not args.attach:
        print(machine.tail(state / "console.log", 60))
        return 0
    need(state)
    with socket.socket(socket.AF_UNIX) as line, contextlib.ExitStack() as after:
        line.connect(str(state / "serial"))
        if sys.stdin.isatty():
            after.callback(termios.tcsetattr, 0, termios.TCSADRAIN, termios.tcgetattr(0))
            tty.setraw(0)
        while True:
            ready = select.select([line, 0], [], [])[0]
            data = line.recv(4096) if line in ready else os.read(0, 1024)
            if not data or (line not in ready and b"\x1d" in data):
                return 0
            if line in ready:
                os.write(1, data)
            else:
                line.sendall(data)


def ask(_args):
    state = paths.state()
    print(json.dumps(guest.look(state, need(state)), indent=1))
    return 0


def results_directory():
    return paths.cache() / "results" / paths.instance()


def test(args):
    if args.list:
        print("\n".join(step.name for step in scenario.STEPS))
        return 0
    unknown = set(args.steps) - {step.name for step in scenario.STEPS}
    if unknown:
        raise VmError(f"no step {', '.join(sorted(unknown))}: vm test --list")
    state = paths.state()
    about = need(state)
    folder = results_directory()
    folder.mkdir(parents=True, exist_ok=True)
    has = guest.look(state, about)
    context = scenario.Context(about, has, state, folder, rebuild=os.environ.get("REBUILD") == "1")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    # after each step: also when the run is broken off, what is done is known
    save = functools.partial(scenario.record, context, path=folder / "results.json", when=today)
    results = scenario.run(scenario.STEPS, context, only=args.steps, save=save)
    # the programs it has by now; what it lacked at first decided what was tried
    context.has = {**has, **{key: value for key, value in guest.look(state, need(state)).items() if key in probe.TEXTS}}
    save(results)
    print()
    for one in results:
        print(f"  {one['outcome']:8} {one['step']:36} {one['seconds']:6} s  {one['detail']}")
    print(f"  logs and results: {folder}; into the documentation: vm/vm proved")
    return 1 if any(one["outcome"] == "failed" for one in results) else 0


def take_in(args):
    path = pathlib.Path(args.file) if args.file else results_directory() / "results.json"
    if not path.is_file():
        raise VmError(f"{path}: no results of a run; vm/vm test makes some")
    result(f"{proved.add(path)} and {proved.PAGE} written")
    return 0


def write_seed(args):
    key = os.environ.get("FREEBSD_SSH_KEY")
    if not key:
        raise VmError("FREEBSD_SSH_KEY: name the key whose owner shall be let in")
    public = make_key(pathlib.Path("/nonexistent"))[1]
    pathlib.Path(args.file).write_bytes(
        seed.image(seed.nocloud(HOSTNAME, os.environ.get("FREEBSD_USER") or "root", public))
    )
    return 0


def fetch(args):
    print(images.official(args.release or os.environ.get("FREEBSD_RELEASE"), guest.say))
    return 0


def accel(_args):
    if machine.tools((machine.QEMU,)):
        raise VmError(f"missing: apt-get install {machine.PACKAGES[machine.QEMU]}")
    print(": ".join(machine.accelerator()))
    return 0


def main(arguments):
    parser = argparse.ArgumentParser(prog="vm", usage=__doc__, add_help=False)
    commands = parser.add_subparsers(required=True, dest="command_name")

    def add(name, function):
        one = commands.add_parser(name, add_help=False)
        one.set_defaults(function=function)
        return one

    one = add("up", up)
    one.add_argument("--offline", action="store_true")
    one.add_argument("--alone", action="store_true")
    one.add_argument("--size", default="")
    one.add_argument("--clock", default="")
    for name, function in (("down", down), ("join", join_in), ("accel", accel), ("probe", ask)):
        add(name, function)
    add("status", status).add_argument("--json", action="store_true")
    add("reboot", reboot).add_argument("--hard", action="store_true")
    add("console", console).add_argument("--attach", action="store_true")
    add("seed", write_seed).add_argument("file")
    add("fetch", fetch).add_argument("release", nargs="?")
    one = add("test", test)
    one.add_argument("steps", nargs="*")
    one.add_argument("--list", action="store_true")
    add("proved", take_in).add_argument("file", nargs="?")
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(__doc__)
        return 0
    try:
        if arguments[0] in ("sh", "ssh"):
            return sh(arguments[2:] if arguments[1:2] == ["--"] else arguments[1:])
        args = parser.parse_args(arguments)
        return args.function(args)
    except (VmError, subprocess.CalledProcessError) as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
