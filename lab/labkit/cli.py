"""lab up [--generation trixie|bookworm] [--host NAME]… [--outside NAME]… [--like DIRECTORY]
                                  bring the lab up; says so and does nothing when it is up.
                                  --outside: leave a host's place to a machine from elsewhere (vm/vm)
                                  --like: its host goes on where one was saved
lab down [--all]                  take it down: every process, namespace and file of it
lab sh HOST [-- CMD…]             run CMD there (stdin passed on, exit code kept), or a shell; HOST: a practice host,
                                  operator, inet, clients, switch
lab hosts                         who is in the lab: name, address, reverse name, what it plays
lab status [--json]               up or not, generation, hosts, descriptors
lab reboot HOST [--hard]          end the host and boot it again; its files stay. --hard: as if the power failed
lab halt HOST                     end the host and leave it off (reboot starts it)
lab save HOST DIRECTORY           keep what a halted host has on its disk, and the keys of the internet's zones, which it trusts, for up --like;
                                  DIRECTORY is on a tmpfs, and stays
lab sync                          copy the programs of standins/root over the running hosts again,
                                  not what is configured there
lab internet                      restart the servers of the internet
lab connect HOST PORT             a TCP connection from the operator's place on stdin and stdout (ssh's ProxyCommand)
lab help

The environment variable SOKUHAI_LAB names the instance (default: lab); SOKUHAI_CACHE the cache of root file systems."""

import argparse
import contextlib
import errno
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from . import LabError, inside, net
from .connect import enter, keeper, state_dir
from .files import read_json, say
from .updown import TOP, down, need_root, result, up, wait_ssh

PLACES = net.NAMESPACES


# --- looking


def rows(description, running):
    """(name, address, reverse name, what it plays) of everyone, practice hosts first."""
    hosts = [h for h in description["hosts"] if (h["name"] in running if running else h.get("default"))]
    internet = [entry for entry in description["internet"] if entry.get("listed", True)]
    for entry in [*hosts, description["operator"], *internet]:
        for address in entry["addresses"]:
            yield entry["name"], address, entry.get("reverse", entry["name"]), entry["role"]
    plays = "SMTP clients: any address of the net can be used; internet/senders.yml names some"
    for own in description["net"]["clients"]["own"]:
        yield "clients", own, "by address", plays
    for where in description["net"].values():
        for address in where["router"]:
            yield "switch", address.partition("/")[0], "-", "router"


def hosts_table(_args):
    state = state_dir()
    running = read_json(f"{state}/status.json").get("hosts", {}) if keeper(state) else {}
    table = [("NAME", "ADDRESS", "REVERSE NAME", "PLAYS"), *rows(net.load(), running)]
    widths = [max(map(len, column)) for column in zip(*table)][:3] + [0]
    for row in table:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    if not running:
        say(f"{os.path.basename(state)} is not up: this is what `lab up` would make")
    return 0


def state_of(state, pid):
    if pid:
        return "up" if os.path.exists(f"{state}/ready.json") else "starting"
    return "stale" if os.path.isdir(state) else "down"


def status(args):
    state = state_dir()
    pid = keeper(state)
    info = {"instance": os.path.basename(state), "state": state_of(state, pid), "pid": pid}
    is_up = info["state"] == "up"
    if is_up:
        info |= read_json(f"{state}/status.json")
        info["since"] = read_json(f"{state}/keeper.json").get("since")
        info["internet"] = ask(state, {"op": "status"})["internet"]
        for name, host in info["hosts"].items():
            record = read_json(f"{state}/{name}.json")
            host |= {key: record[key] for key in ("pid", "boots", "booted", "halted") if key in record}
    if args.json:
        print(json.dumps(info, indent=1))
    else:
        print("\n".join(status_lines(info)))
    return 0 if is_up else 3


def status_lines(info):
    yield f"{info['instance']}: {info['state']}" + (
        f" (keeper {info['pid']}, {info['generation']}, {info['descriptors']} descriptors per process, "
        f"internet {'running' if info['internet'] else 'not running'})"
        if info["state"] == "up"
        else ""
    )
    for name, host in info.get("hosts", {}).items():
        what = f"{host['generation']}  boots: {host.get('boots')}{'  halted' if host.get('halted') else ''}"
        yield f"  {name}  {host['addresses'][0]}  {'a machine from elsewhere' if host['outside'] else what}"


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


def hosts_of(state):
    return read_json(f"{state}/status.json").get("hosts", {})


def full_name(state, name):
    """A practice host's name from its full or short form. Raises LabError."""
    names = list(hosts_of(state))
    fitting = [n for n in names if name in (n, n.partition(".")[0])]
    if len(fitting) != 1:
        raise LabError(f"no host {name!r} in this lab; there are: {', '.join([*names, *PLACES])}")
    return fitting[0]


def hand_over(state, name, command):
    """Replace this process by the command with which the machine in a host's place runs one, as what joined it recorded."""
    joined = read_json(f"{state}/{name}.outside")
    if not joined:
        raise LabError(f"no machine is in the place of {name}: SOKUHAI_VM=… vm/vm join")
    argv = [*joined["run"], *command] if command else joined["shell"]
    try:
        os.execvpe(argv[0], argv, {**os.environ, **joined["env"]})
    except OSError as e:
        raise LabError(f"{argv[0]}: {e.strerror}") from None


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
    where = os.getcwd()
    env = {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "TERM": os.environ.get("TERM", "dumb"),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
    }
    if place in PLACES:
        enter(pid, state, place)
        env.update({k: v for k, v in os.environ.items() if k not in env}, SOKUHAI_LAB=os.path.basename(state))
        with contextlib.suppress(OSError):
            os.chdir(where)
    else:
        name = full_name(state, place)
        if hosts_of(state)[name]["outside"]:
            hand_over(state, name, command)
        inside.enter_host(pid, name, read_json(f"{state}/{name}.json"))
        os.chdir("/")
    terminal = not command and os.isatty(0) and os.isatty(1)
    command = command or (["/bin/sh", "-i"] if terminal else ["/bin/sh"])
    return inside.in_terminal(command, env) if terminal else inside.plainly(command, env)


# --- what root does


def down_all(args):
    need_root()
    if not args.all:
        return down()
    return max([down(path.name) for path in sorted(pathlib.Path(TOP).glob("*")) if path.is_dir()], default=0)


def asked(args):
    """A request to the keeper that has the command's name."""
    need_root()
    state = state_dir()
    need_up(state)
    ask(state, {"op": args.command})
    return 0


def power(args):
    """lab reboot, lab halt"""
    need_root()
    state = state_dir()
    need_up(state)
    name = full_name(state, args.host)
    if hosts_of(state)[name]["outside"]:
        raise LabError(f"{args.host} is a machine of its own: vm/vm reboot")
    boots = read_json(f"{state}/{name}.json").get("boots", 0)
    started = time.monotonic()
    ask(state, {"op": args.command, "host": name, "hard": args.hard})
    if args.command == "reboot":
        wait_ssh(state, name, boots + 1)
        result(f"{name} is back after {time.monotonic() - started:.1f} s")
    return 0


def save(args):
    """lab save HOST DIRECTORY: what `lab up --like DIRECTORY` starts from. It keeps device nodes and extended attributes, as memory file systems do."""
    need_root()
    state = state_dir()
    pid = need_up(state)
    name = full_name(state, args.host)
    if not read_json(f"{state}/{name}.json").get("halted"):
        raise LabError(f"{name} runs, and its files change: lab halt {args.host}")
    os.makedirs(args.directory)
    for source, kept in ((f"/proc/{pid}/root{state}/m/hosts/{name}/upper", "disk"), (f"{state}/dns-keys", "dns-keys")):
        subprocess.run(["cp", "-a", source, f"{args.directory}/{kept}"], check=True)
    return 0


# --- the command


def parse(argv):
    parser = argparse.ArgumentParser(prog="lab", usage="lab help")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name, function):
        command = commands.add_parser(name)
        command.set_defaults(function=function, hard=False)
        return command

    command = add("up", up)
    command.add_argument("--generation", choices=net.GENERATIONS)
    command.add_argument("--host", action="append", default=[])
    command.add_argument("--outside", action="append", default=[])
    command.add_argument("--like")
    add("down", down_all).add_argument("--all", action="store_true")
    add("hosts", hosts_table)
    add("status", status).add_argument("--json", action="store_true")
    command = add("reboot", power)
    command.add_argument("host")
    command.add_argument("--hard", action="store_true")
    add("halt", power).add_argument("host")
    command = add("save", save)
    command.add_argument("host")
    command.add_argument("directory")
    command = add("connect", None)  # lab/lab answers it itself, unless something is wrong with it
    command.add_argument("host")
    command.add_argument("port")
    add("sync", asked)
    add("internet", asked)
    return parser.parse_args(argv)


def main(argv):
    try:
        if not argv or argv[0] in ("help", "-h", "--help"):
            print(__doc__)
            return 0 if argv else 2
        if argv[0] == "sh":
            return sh(argv[1:])
        args = parse(argv)
        return args.function(args)
    except (LabError, ValueError) as e:
        text = str(e)
    except subprocess.CalledProcessError as e:
        text = f"{e.cmd[0]}: exit {e.returncode}"
    except OSError as e:
        text = f"{e}{'; the disk or the memory file system is full' if e.errno == errno.ENOSPC else ''}"
    except KeyboardInterrupt:
        return 130
    print(f"lab: {text}", file=sys.stderr)
    return 1
