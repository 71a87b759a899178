"""Bring an instance of the lab up, and take it down with everything of it."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

from . import LabError, net, ns
from .connect import keeper, state_dir
from .paths import LAB, REPOSITORY

TOP = "/run/sokuhai-lab"
UP_LIMIT = 150
SSH_LIMIT = 150
DOWN_LIMIT = 20


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
