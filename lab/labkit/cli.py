"""lab up [--generation trixie|bookworm] [--host NAME]… [--outside NAME]…
                                  bring the lab up; says so and does nothing when it is up.
                                  --outside: leave a host's place to a machine from elsewhere (vm/vm)
lab down [--all]                  take it down: every process, namespace and file of it
lab sh HOST [-- CMD…]             run CMD there (stdin passed on, exit code kept), or a shell; HOST: a practice host,
                                  operator, inet, clients, switch
lab hosts                         who is in the lab: name, address, reverse name, what it plays
lab status [--json]               up or not, generation, hosts, descriptors
lab reboot HOST [--hard]          end the host and boot it again; its files stay. --hard: as if the power failed
lab halt HOST                     end the host and leave it off (reboot starts it)
lab sync                          copy the programs of standins/root over the running hosts again,
                                  not what is configured there
lab internet                      restart the servers of the internet
lab connect HOST PORT             a TCP connection from the operator's place on stdin and stdout (ssh's ProxyCommand)
lab help

The environment variable SOKUHAI_LAB names the instance (default: lab); SOKUHAI_CACHE the cache of root file systems."""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import tty

from . import LabError, net, ns
from .connect import enter, keeper, state_dir
from .paths import LAB, REPOSITORY

TOP = "/run/sokuhai-lab"
UP_LIMIT = 150
SSH_LIMIT = 150
DOWN_LIMIT = 20
PLACES = net.NAMESPACES


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def result(text):
    print(f"lab: {text}", flush=True)


def read_json(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def need_root():
    if not sys.platform.startswith("linux"):
        raise LabError(
            "the lab needs Linux (namespaces, overlayfs); a real FreeBSD host needs no lab: run ansible against it"
        )
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, mounts): run it as root, or with sudo -E")


@contextlib.contextmanager
def lock(state, create):
    """One at a time per instance. Yields False when the state directory does not exist and create is false."""
    deadline = time.monotonic() + UP_LIMIT + SSH_LIMIT
    while True:
        if create:
            os.makedirs(state, mode=0o755, exist_ok=True)
        try:
            fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield False
            return
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise LabError(f"another lab command works on {os.path.basename(state)} for too long") from None
                    time.sleep(0.1)
            try:
                same = os.stat(state).st_ino == os.fstat(fd).st_ino
            except FileNotFoundError:
                same = False
            if same:
                yield True
                return
        finally:
            os.close(fd)


def running_rootfs():
    found = []
    for path in pathlib.Path(TOP).glob("*/keeper.json"):
        if keeper(str(path.parent)):
            found += (read_json(path) or {}).get("rootfs", [])
    return found


# --- up and down


def end_keeper(state):
    """End an instance's keeper and thereby all that is in it. False when none runs."""
    pid = keeper(state)
    if pid is None:
        return False
    start = ns.start_time(pid)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + DOWN_LIMIT
    while ns.start_time(pid) == start:
        if time.monotonic() > deadline:
            raise LabError(f"the keeper (pid {pid}) does not end within {DOWN_LIMIT} s")
        time.sleep(0.01)
    return True


def empty(state):
    """Remove the files of an instance that does not run."""
    if os.path.ismount(f"{state}/m"):
        raise LabError(f"{state}/m is a mount of this machine, not of the lab: nothing removed")
    for entry in os.scandir(state):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def clear(state):
    """Remove an instance's processes and files. True when it was running."""
    was_up = end_keeper(state)
    empty(state)
    os.rmdir(state)
    return was_up


def down(instance=None):
    state = state_dir(instance)
    with lock(state, create=False) as there:
        if not there:
            result(f"{os.path.basename(state)} is not up")
            return 0
        was_up = clear(state)
    with contextlib.suppress(OSError):
        os.rmdir(TOP)
    result(
        f"{os.path.basename(state)} is down"
        if was_up
        else f"{os.path.basename(state)} was not running; its leftovers are removed"
    )
    return 0


def make_key(path, comment):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True, stdin=subprocess.DEVNULL
    )


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def make_state(state, instance, description, hosts, generation):
    """The files of an instance: keys, known_hosts, addresses, ssh_config. Returns the keeper's plan."""
    os.makedirs(f"{state}/m", exist_ok=True)
    make_key(f"{state}/id_ed25519", f"lab {instance}")
    known, table, config = "", "", ""
    for host in (h for h in hosts if not h["outside"]):
        host["host_key"] = f"{state}/{host['name']}.key"
        host["authorized_keys"] = f"{state}/id_ed25519.pub"
        make_key(host["host_key"], host["name"])
        with open(host["host_key"] + ".pub") as f:
            kind, key = f.read().split()[:2]
        known += f"{','.join([host['name'], *host['addresses']])} {kind} {key}\n"
        config += (
            f"Host {host['name']} {' '.join(host['addresses'])}\n  User root\n  IdentityFile {state}/id_ed25519\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {state}/known_hosts\n  ControlPath {state}/ssh-%C\n"
            f'  ProxyCommand env SOKUHAI_LAB={instance} "{LAB}/lab" connect %h %p\n'
        )
    for entry in [*hosts, description["operator"], *description["internet"]]:
        table += "".join(f"{a} {entry['name']}\n" for a in entry["addresses"])
    write(f"{state}/known_hosts", known)
    write(f"{state}/hosts", table)
    write(f"{state}/ssh_config", config)
    venv = REPOSITORY / ".venv" / "bin" / "python"
    return {
        "instance": instance,
        "state": state,
        "net": description,
        "hosts": hosts,
        "generation": generation,
        "python": str(venv if venv.exists() else shutil.which("python3") or sys.executable),
        "internet": (LAB / "labkit" / "internet" / "__main__.py").exists(),
    }


def wait_ready(state, pid, start):
    """Until the keeper says it is ready. Raises LabError with what it says when it is not."""
    deadline = time.monotonic() + UP_LIMIT
    while not os.path.exists(f"{state}/ready.json"):
        failed = read_json(f"{state}/failed.json")
        if failed or ns.start_time(pid) != start:
            with open(f"{state}/keeper.log", errors="replace") as f:
                tail = f.read().splitlines()[-12:]
            text = (failed or {}).get("error") or "the keeper ended"
            if not (failed or {}).get("known"):
                text += "\n  " + "\n  ".join(tail)
            raise LabError(text)
        if time.monotonic() > deadline:
            raise LabError(f"not ready after {UP_LIMIT} s; see {state}/keeper.log")
        time.sleep(0.02)


def wait_ssh(state, name, boots, limit=SSH_LIMIT):
    """Until a host has been through its boot sequence and its sshd answers. Raises LabError."""
    deadline = time.monotonic() + limit
    pid = keeper(state)
    address = None
    while True:
        info = read_json(f"{state}/{name}.json") or {}
        if info.get("boots", 0) >= boots and info.get("pid"):
            flag = f"/proc/{pid}/root/proc/{info['pid']}/root/run/lab.booted"
            with contextlib.suppress(OSError):
                with open(flag) as f:
                    verdict = f.read().strip()
                if verdict == "failed" and address is None:
                    say(
                        f"{name}: its boot sequence had errors; the end of {state}/{name}.console:\n  "
                        + console_tail(state, name)
                    )
                address = info["addresses"][0]
        if info.get("halted"):
            raise LabError(f"{name} has ended; the end of {state}/{name}.console:\n  " + console_tail(state, name))
        if address and greets(pid, state, address):
            return
        if keeper(state) is None:
            raise LabError(f"the keeper ended; see {state}/keeper.log")
        if time.monotonic() > deadline:
            raise LabError(
                f"{name}: no ssh within {limit} s; the end of {state}/{name}.console:\n  " + console_tail(state, name)
            )
        time.sleep(0.05)


def console_tail(state, name):
    try:
        with open(f"{state}/{name}.console", errors="replace") as f:
            return "\n  ".join(f.read().splitlines()[-12:])
    except OSError:
        return "(nothing)"


def greets(pid, state, address):
    """True when sshd's greeting comes from the address, asked from the operator's place."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(f"/proc/{pid}/root{state}/m/ns/operator") as f:
                ns.setns(f.fileno(), ns.NEWNET)
            with socket.create_connection((address, 22), timeout=3) as s:
                status = 0 if s.recv(4) == b"SSH-" else 1
        except OSError:
            pass
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def up(args):
    from . import freebsd, rootfs
    from . import keeper as keeper_module

    need_root()
    state = state_dir()
    instance = os.path.basename(state)
    for tool, package in (("ip", "iproute2"), ("ssh-keygen", "openssh-client")):
        if not shutil.which(tool):
            raise LabError(f"{tool} is missing: apt-get install {package}")
    started = time.monotonic()
    description = net.load()
    with lock(state, create=True):
        if keeper(state) and os.path.exists(f"{state}/ready.json"):
            now = read_json(f"{state}/status.json") or {}
            generation = args.generation or now.get("generation")
            there = now.get("hosts", {})
            wanted = net.pick(
                description,
                args.host or ([] if args.outside else list(there)),
                generation,
                args.outside or [h for h in there if there[h].get("outside")],
            )
            if generation != now.get("generation") or {(h["name"], h["outside"]) for h in wanted} - {
                (h, there[h].get("outside", False)) for h in there
            }:
                raise LabError(
                    f"{instance} is up with {now.get('generation')}: {', '.join(now.get('hosts', {}))}. "
                    "Take it down first (lab down), or use another instance (SOKUHAI_LAB=name)"
                )
            for host in there:
                if not there[host].get("outside") and not (read_json(f"{state}/{host}.json") or {}).get("halted"):
                    wait_ssh(state, host, 1)
            result(f"{instance} is already up ({generation}: {', '.join(now['hosts'])})")
            return 0
        generation = args.generation or rootfs.DEFAULT_GENERATION
        hosts = net.pick(description, args.host, generation, args.outside)
        own = [host for host in hosts if not host["outside"]]
        try:
            wheel = freebsd.compiler()
            if own and not wheel:
                say("no ziglang here (make venv installs it): the practice host has no cc and no /usr/include")
            for host in own:
                host["rootfs"] = str(rootfs.ensure(host["generation"], in_use=running_rootfs()))
                host.update(compiler=wheel, headers=freebsd.headers(wheel, running_rootfs()) if wheel else None)
                host["kernel"] = freebsd.kernel_path(host) if wheel else None
            if os.listdir(state):
                say(f"{instance}: removing what an earlier run left")
                end_keeper(state)
                empty(state)
            plan = make_state(state, instance, description, hosts, generation)
            pid, start = keeper_module.launch(plan)
            wait_ready(state, pid, start)
            for host in own:
                wait_ssh(state, host["name"], 1)
        except BaseException as e:
            if isinstance(e, LabError) and os.path.exists(f"{state}/keeper.log"):
                # the logs are what one wants to read after a failure; `lab up` and `lab down` remove them
                end_keeper(state)
            else:
                clear(state)
            raise
    result(
        f"{instance} is up ({generation}: {', '.join(h['name'] for h in hosts)}) after {time.monotonic() - started:.1f} s"
    )
    return 0


# --- looking


def rows(description, running):
    """(name, address, reverse name, what it plays) of everyone, practice hosts first."""
    entries = (
        [h for h in description["hosts"] if h["name"] in running]
        if running
        else [h for h in description["hosts"] if h.get("default")]
    )
    for entry in [*entries, description["operator"], *description["internet"]]:
        for address in entry["addresses"]:
            yield entry["name"], address, entry.get("reverse", entry["name"]), entry["role"]
    for own in description["net"]["clients"]["own"]:
        yield (
            "clients",
            own,
            "by address",
            "SMTP clients: any address of the net can be used; internet/zones.yml names some",
        )
    for router in (a for where in description["net"].values() for a in where["router"]):
        yield "switch", router.split("/")[0], "-", "router"


def hosts_table():
    state = state_dir()
    running = (read_json(f"{state}/status.json") or {}).get("hosts", {}) if keeper(state) else {}
    table = [("NAME", "ADDRESS", "REVERSE NAME", "PLAYS"), *rows(net.load(), running)]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    for row in table:
        print("  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip())
    if not running:
        say(f"{os.path.basename(state)} is not up: this is what `lab up` would make")
    return 0


def status(args):
    state = state_dir()
    pid = keeper(state)
    info = {
        "instance": os.path.basename(state),
        "state": "up"
        if pid and os.path.exists(f"{state}/ready.json")
        else "starting"
        if pid
        else "stale"
        if os.path.isdir(state)
        else "down",
        "pid": pid,
    }
    if info["state"] == "up":
        info.update(read_json(f"{state}/status.json") or {})
        info["since"] = (read_json(f"{state}/keeper.json") or {}).get("since")
        info["internet"] = ask(state, {"op": "status"}).get("internet", False)
        for name in info["hosts"]:
            info["hosts"][name].update(
                {
                    k: v
                    for k, v in (read_json(f"{state}/{name}.json") or {}).items()
                    if k in ("pid", "boots", "booted", "halted")
                }
            )
    if args.json:
        print(json.dumps(info, indent=1))
    else:
        print(
            f"{info['instance']}: {info['state']}"
            + (
                f" (keeper {pid}, {info['generation']}, {info['descriptors']} descriptors per process, "
                f"internet {'running' if info['internet'] else 'not running'})"
                if info["state"] == "up"
                else ""
            )
        )
        for name, host in info.get("hosts", {}).items():
            print(
                f"  {name}  {host['addresses'][0]}  "
                + (
                    "a machine from elsewhere"
                    if host.get("outside")
                    else f"{host['generation']}  boots: {host.get('boots')}{'  halted' if host.get('halted') else ''}"
                )
            )
    return 0 if info["state"] == "up" else 3


def ask(state, request, limit=240):
    """One request to the keeper. Raises LabError with its answer when it refuses."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(limit)
        try:
            s.connect(f"{state}/control")
            s.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(s.makefile().readline() or "{}")
        except (OSError, ValueError) as e:
            raise LabError(f"the keeper does not answer: {e}; see {state}/keeper.log") from None
    if "ok" not in answer:
        raise LabError(answer.get("error", f"the keeper ended; see {state}/keeper.log"))
    return answer


def need_up(state):
    pid = keeper(state)
    if pid is None:
        raise LabError(f"{os.path.basename(state)} is not up; start it with: lab up")
    return pid


def full_name(state, name):
    """A practice host's name from its full or short form. Raises LabError."""
    names = list((read_json(f"{state}/status.json") or {}).get("hosts", {}))
    fitting = [n for n in names if n == name] or [n for n in names if n.split(".")[0] == name]
    if len(fitting) != 1:
        raise LabError(f"no host {name!r} in this lab; there are: {', '.join([*names, *PLACES])}")
    return fitting[0]


def is_outside(state, name):
    return (read_json(f"{state}/status.json") or {}).get("hosts", {}).get(name, {}).get("outside", False)


def hand_over(state, name, command):
    """Replace this process by the command with which the machine in a host's place runs one: what joined it wrote that down."""
    joined = read_json(f"{state}/{name}.outside")
    if not joined:
        raise LabError(f"no machine is in the place of {name}: SOKUHAI_VM=… vm/vm join")
    argv = [*joined["run"], *command] if command else joined["shell"]
    try:
        os.execvpe(argv[0], argv, {**os.environ, **joined["env"]})
    except OSError as e:
        raise LabError(f"{argv[0]}: {e.strerror}") from None


# --- entering: all modules are loaded before; behind the change of namespaces there is another file system


def enter_host(pid, state, name):
    """Enter a practice host's namespaces; children are in them, chrooted, with the limits of its process 1."""
    info = read_json(f"{state}/{name}.json") or {}
    base = f"/proc/{pid}/root/proc"
    if not info.get("pid") or ns.start_time(info["pid"], base) != info["start"]:
        raise LabError(f"{name} is not running; start it with: lab reboot {name}")
    inner = f"{base}/{info['pid']}"
    with open(f"{inner}/limits") as f:
        files = next(line.split()[3:5] for line in f if line.startswith("Max open files"))
    fds = [
        (os.open(f"{inner}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag)
        for kind, flag in (
            ("pid", ns.NEWPID),
            ("net", ns.NEWNET),
            ("uts", ns.NEWUTS),
            ("ipc", ns.NEWIPC),
            ("mnt", ns.NEWNS),
        )
    ]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(int(n) for n in files))
    for fd, flag in fds:
        ns.setns(fd, flag)
        os.close(fd)


def sh(argv):
    """lab sh HOST [-- CMD…]"""
    if not argv or argv[0].startswith("-"):
        raise LabError("usage: lab sh HOST [-- CMD…]")
    place, command = argv[0], argv[1:]
    if command and command[0] == "--":
        command = command[1:]
    elif command:
        raise LabError(f"what follows HOST must begin with --: lab sh {place} -- {' '.join(command)}")
    need_root()
    state = state_dir()
    pid = need_up(state)
    env = {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "TERM": os.environ.get("TERM", "dumb"),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
    }
    where = os.getcwd()
    if place in PLACES:
        enter(pid, state, place)
        env.update({k: v for k, v in os.environ.items() if k not in env}, SOKUHAI_LAB=os.path.basename(state))
        with contextlib.suppress(OSError):
            os.chdir(where)
    else:
        name = full_name(state, place)
        if is_outside(state, name):
            hand_over(state, name, command)
        enter_host(pid, state, name)
        os.chdir("/")
    terminal = not command and os.isatty(0) and os.isatty(1)
    command = command or (["/bin/sh", "-i"] if terminal else ["/bin/sh"])
    return in_terminal(command, env) if terminal else plainly(command, env)


def become(command, env):
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        print(f"lab: {command[0]}: not found", file=sys.stderr, flush=True)
        os._exit(127)
    except OSError as e:
        print(f"lab: {command[0]}: {e.strerror}", file=sys.stderr, flush=True)
        os._exit(126)


def exit_code(status):
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def plainly(command, env):
    forwarded = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        # a session of its own: signals come through us alone, once, and reach all that the command has started
        os.setsid()
        ns.prctl(ns.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
        os.close(write_end)
        become(command, env)

    def forward(number, _frame):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, number)

    for number in forwarded:
        signal.signal(number, forward)
    os.close(write_end)
    os.read(read_end, 1)  # ends when the child has its session: from then on there is a group to signal
    signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
    return exit_code(os.waitpid(child, 0)[1])


def in_terminal(command, env):
    """Run with a terminal of the place itself, so that job control works there."""
    TIOCGPTN, TIOCSPTLCK = 0x80045430, 0x40045431
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, b"\0" * 4))[0]
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)

    def resize(*_):
        with contextlib.suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))

    resize()
    child = os.fork()
    if child == 0:
        os.close(master)
        os.login_tty(slave)
        become(command, env)
    os.close(slave)
    signal.signal(signal.SIGWINCH, resize)
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        readers = [0, master]
        while True:
            ready, _, _ = select.select(readers, [], [])
            if 0 in ready:
                data = os.read(0, 4096)
                if data:
                    os.write(master, data)
                else:
                    readers.remove(0)
            if master in ready:
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break  # EIO: the last one has closed the terminal
                if not data:
                    break
                os.write(1, data)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
    return exit_code(os.waitpid(child, 0)[1])


# --- the command


def main(argv):
    try:
        if not argv or argv[0] in ("help", "-h", "--help"):
            print(__doc__)
            return 0 if argv else 2
        if argv[0] == "sh":
            return sh(argv[1:])
        parser = argparse.ArgumentParser(prog="lab", usage="lab help")
        commands = parser.add_subparsers(dest="command", required=True)
        p = commands.add_parser("up")
        p.add_argument("--generation", choices=("trixie", "bookworm"))
        p.add_argument("--host", action="append", default=[])
        p.add_argument("--outside", action="append", default=[])
        p = commands.add_parser("down")
        p.add_argument("--all", action="store_true")
        commands.add_parser("hosts")
        p = commands.add_parser("status")
        p.add_argument("--json", action="store_true")
        p = commands.add_parser("reboot")
        p.add_argument("host")
        p.add_argument("--hard", action="store_true")
        p = commands.add_parser("halt")
        p.add_argument("host")
        commands.add_parser("sync")
        commands.add_parser("internet")
        p = commands.add_parser("connect")
        p.add_argument("host")
        p.add_argument("port")
        args = parser.parse_args(argv)
        if args.command == "up":
            return up(args)
        if args.command == "hosts":
            return hosts_table()
        if args.command == "status":
            return status(args)
        need_root()
        if args.command == "down":
            if args.all:
                return max([down(p.name) for p in sorted(pathlib.Path(TOP).glob("*")) if p.is_dir()], default=0)
            return down()
        state = state_dir()
        need_up(state)
        if args.command in ("reboot", "halt") and is_outside(state, full_name(state, args.host)):
            raise LabError(f"{args.host} is a machine of its own: vm/vm reboot")
        if args.command == "reboot":
            name = full_name(state, args.host)
            boots = (read_json(f"{state}/{name}.json") or {}).get("boots", 0)
            started = time.monotonic()
            ask(state, {"op": "reboot", "host": name, "hard": args.hard})
            wait_ssh(state, name, boots + 1)
            result(f"{name} is back after {time.monotonic() - started:.1f} s")
        elif args.command == "halt":
            ask(state, {"op": "halt", "host": full_name(state, args.host)})
        else:
            ask(state, {"op": args.command})
        return 0
    except (LabError, ValueError) as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as e:
        print(f"lab: {e.cmd[0]}: exit {e.returncode}", file=sys.stderr)
        return 1
    except OSError as e:
        hint = "; the disk or the memory file system is full" if e.errno == 28 else ""
        print(f"lab: {e}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
