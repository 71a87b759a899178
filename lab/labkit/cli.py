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
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from . import LabError, inside, net
from .connect import enter, keeper, state_dir
from .updown import TOP, down, need_root, read_json, result, say, up, wait_ssh

PLACES = net.NAMESPACES


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
        inside.enter_host(pid, name, read_json(f"{state}/{name}.json") or {})
        os.chdir("/")
    terminal = not command and os.isatty(0) and os.isatty(1)
    command = command or (["/bin/sh", "-i"] if terminal else ["/bin/sh"])
    return inside.in_terminal(command, env) if terminal else inside.plainly(command, env)


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
