"""Bring an instance of the lab up, and take it down with everything of it."""

import contextlib
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
from .files import flock, read_json, say, tail
from .paths import LAB, REPOSITORY

TOP = "/run/sokuhai-lab"
UP_LIMIT = 150
SSH_LIMIT = 150
DOWN_LIMIT = 20


def result(text):
    print(f"lab: {text}", flush=True)


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
    while True:
        if create:
            os.makedirs(state, mode=0o755, exist_ok=True)
        try:
            fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield False
            return
        try:
            flock(fd, UP_LIMIT + SSH_LIMIT, f"another lab command works on {os.path.basename(state)} for too long")
            # whoever had it before may have removed the directory, and another made it again
            if os.path.exists(state) and os.path.samestat(os.stat(state), os.fstat(fd)):
                yield True
                return
        finally:
            os.close(fd)


def running_rootfs():
    found = []
    for path in pathlib.Path(TOP).glob("*/keeper.json"):
        if keeper(str(path.parent)):
            found += read_json(path).get("rootfs", [])
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
    name = os.path.basename(state)
    with lock(state, create=False) as there:
        if not there:
            result(f"{name} is not up")
            return 0
        was_up = clear(state)
    with contextlib.suppress(OSError):
        os.rmdir(TOP)
    result(f"{name} is down" if was_up else f"{name} was not running; its leftovers are removed")
    return 0


def make_key(path, comment):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True, stdin=subprocess.DEVNULL
    )


def make_state(state, instance, description, hosts, generation):
    """The files of an instance: keys, known_hosts, addresses, ssh_config. Returns the keeper's plan."""
    os.makedirs(f"{state}/m", exist_ok=True)
    make_key(f"{state}/id_ed25519", f"lab {instance}")
    known, config = "", ""
    for host in (h for h in hosts if not h["outside"]):
        host["host_key"] = f"{state}/{host['name']}.key"
        host["authorized_keys"] = f"{state}/id_ed25519.pub"
        make_key(host["host_key"], host["name"])
        kind, key = pathlib.Path(host["host_key"] + ".pub").read_text().split()[:2]
        known += f"{','.join([host['name'], *host['addresses']])} {kind} {key}\n"
        config += (
            f"Host {host['name']} {' '.join(host['addresses'])}\n  User root\n  IdentityFile {state}/id_ed25519\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {state}/known_hosts\n  ControlPath {state}/ssh-%C\n"
            f'  ProxyCommand env SOKUHAI_LAB={instance} "{LAB}/lab" connect %h %p\n'
        )
    everyone = [*hosts, description["operator"], *description["internet"]]
    table = "".join(f"{address} {entry['name']}\n" for entry in everyone for address in entry["addresses"])
    for name, text in (("known_hosts", known), ("hosts", table), ("ssh_config", config)):
        pathlib.Path(state, name).write_text(text)
    venv = REPOSITORY / ".venv" / "bin" / "python"
    return {
        "instance": instance,
        "state": state,
        "net": description,
        "hosts": hosts,
        "generation": generation,
        "python": str(venv if venv.exists() else shutil.which("python3") or sys.executable),
    }


def wait_ready(state, pid, start):
    """Until the keeper says it is ready. Raises LabError with what it says when it is not."""
    deadline = time.monotonic() + UP_LIMIT
    while not os.path.exists(f"{state}/ready.json"):
        failed = read_json(f"{state}/failed.json")
        if failed or ns.start_time(pid) != start:
            text = failed.get("error", "the keeper ended")
            raise LabError(text if failed.get("known") else f"{text}\n  {tail(f'{state}/keeper.log')}")
        if time.monotonic() > deadline:
            raise LabError(f"not ready after {UP_LIMIT} s; see {state}/keeper.log")
        time.sleep(0.02)


def wait_ssh(state, name, boots):
    """Until a host has been through its boot sequence and its sshd answers. Raises LabError."""
    deadline = time.monotonic() + SSH_LIMIT
    pid = keeper(state)
    console = f"{state}/{name}.console"
    verdict = None
    while True:
        info = read_json(f"{state}/{name}.json")
        if verdict is None and info.get("boots", 0) >= boots and info.get("pid"):
            with contextlib.suppress(OSError):
                verdict = pathlib.Path(f"/proc/{pid}/root/proc/{info['pid']}/root/run/lab.booted").read_text().strip()
            if verdict == "failed":
                say(f"{name}: its boot sequence had errors; the end of {console}:\n  {tail(console)}")
        if info.get("halted"):
            raise LabError(f"{name} has ended; the end of {console}:\n  {tail(console)}")
        if verdict is not None and greets(pid, state, info["addresses"][0]):
            return
        if keeper(state) is None:
            raise LabError(f"the keeper ended; see {state}/keeper.log")
        if time.monotonic() > deadline:
            raise LabError(f"{name}: no ssh within {SSH_LIMIT} s; the end of {console}:\n  {tail(console)}")
        time.sleep(0.05)


def greets(pid, state, address):
    """True when sshd's greeting comes from the address, asked from the operator's place."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ns.enter({f"/proc/{pid}/root{state}/m/ns/operator": ns.NEWNET})
            with socket.create_connection((address, 22), timeout=3) as s:
                status = int(s.recv(4) != b"SSH-")
        except OSError:
            pass
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def same_again(args, state, description):
    """`lab up` of what is up: wait until it answers, or refuse what would change it."""
    instance = os.path.basename(state)
    now = read_json(f"{state}/status.json")
    there = {(name, host["outside"]) for name, host in now["hosts"].items()}
    generation = args.generation or now["generation"]
    wanted = there
    if args.host or args.outside:
        outside = args.outside or [name for name, outside in there if outside]
        wanted = {(h["name"], h["outside"]) for h in net.pick(description, args.host, generation, outside)}
    if generation != now["generation"] or not wanted <= there:
        raise LabError(
            f"{instance} is up with {now['generation']}: {', '.join(now['hosts'])}. "
            "Take it down first (lab down), or use another instance (SOKUHAI_LAB=name)"
        )
    for name, outside in there:
        if not outside and not read_json(f"{state}/{name}.json").get("halted"):
            wait_ssh(state, name, 1)
    result(f"{instance} is already up ({generation}: {', '.join(now['hosts'])})")
    return 0


def start(state, description, hosts, generation, like=None):
    """Build what is not in the cache, start the keeper and wait for its hosts."""
    # here, because `lab sh` and its like are called often and need none of it
    from . import freebsd, rootfs
    from .keeper import launch

    instance = os.path.basename(state)
    own = [host for host in hosts if not host["outside"]]
    wheel = freebsd.compiler()
    if own and not wheel:
        say("no ziglang here (make venv installs it): the practice host has no cc and no /usr/include")
    for host in own:
        host["rootfs"] = str(rootfs.ensure(host["generation"], in_use=running_rootfs))
        host.update(compiler=wheel, headers=freebsd.headers(wheel, running_rootfs) if wheel else None)
        host["kernel"] = freebsd.kernel_path(host) if wheel else None
        host["like"] = os.path.abspath(f"{like}/disk") if like else None
    if os.listdir(state):
        say(f"{instance}: removing what an earlier run left")
        end_keeper(state)
        empty(state)
    if like:
        # of the root that the saved host's named.conf trusts
        shutil.copytree(f"{like}/dns-keys", f"{state}/dns-keys")
    pid, began = launch(make_state(state, instance, description, hosts, generation))
    wait_ready(state, pid, began)
    for host in own:
        wait_ssh(state, host["name"], 1)


def up(args):
    need_root()
    state = state_dir()
    for tool, package in (("ip", "iproute2"), ("ssh-keygen", "openssh-client")):
        if not shutil.which(tool):
            raise LabError(f"{tool} is missing: apt-get install {package}")
    started = time.monotonic()
    description = net.load()
    with lock(state, create=True):
        if keeper(state) and os.path.exists(f"{state}/ready.json"):
            return same_again(args, state, description)
        generation = args.generation or net.GENERATIONS[0]
        hosts = net.pick(description, args.host, generation, args.outside)
        if args.like and (len(hosts) != 1 or not os.path.isdir(f"{args.like}/disk")):
            raise LabError(f"--like {args.like}: a directory that lab save made, for one host")
        try:
            start(state, description, hosts, generation, args.like)
        except BaseException as e:
            if isinstance(e, LabError) and os.path.exists(f"{state}/keeper.log"):
                # the logs are what one wants to read after a failure; `lab up` and `lab down` remove them
                end_keeper(state)
            else:
                clear(state)
            raise
    names = ", ".join(h["name"] for h in hosts)
    result(f"{os.path.basename(state)} is up ({generation}: {names}) after {time.monotonic() - started:.1f} s")
    return 0
