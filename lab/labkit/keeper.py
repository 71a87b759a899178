"""The keeper: process 1 of the lab's own PID namespace. Whoever kills it takes everything with it.

It owns the network namespaces, the file systems of the practice hosts (overlays in its private mount namespace, so they
outlive a reboot of the host), the hosts themselves and the servers of the internet. It answers on a Unix socket.
"""

import contextlib
import json
import os
import pathlib
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback

from . import LabError, fourteen, freebsd, net, ns
from .files import put, read_json, record, tail
from .first import become_init
from .paths import LAB
from .tree import copy_tree, is_configuration

INTERNET_LIMIT = 60
HALT_LIMIT = 60
NOFILE_AIM = 131072

STANDINS = str(LAB / "standins" / "root")
CLONE_HOST = ns.NEWNS | ns.NEWPID | ns.NEWUTS | ns.NEWIPC


def raise_descriptors():
    """Set RLIMIT_NOFILE to the highest this process may have, at least up to NOFILE_AIM; the number in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with open("/proc/sys/fs/nr_open") as f:
            aim = min(NOFILE_AIM, int(f.read()))
        if hard != resource.RLIM_INFINITY and hard < aim:
            resource.setrlimit(resource.RLIMIT_NOFILE, (aim, aim))
            return aim
    except (OSError, ValueError):
        pass  # without CAP_SYS_RESOURCE the hard limit stays what it is
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def launch(plan):
    """Start the keeper as a process of its own. Returns (pid, start time); whether it gets ready is in its state directory."""
    state = plan["state"]
    record(f"{state}/plan.json", plan)
    with open(f"{state}/keeper.log", "a") as log:
        done = subprocess.run(
            [sys.executable, "-BIS", str(LAB / "lab"), "keeper", state],
            stdin=subprocess.DEVNULL,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            timeout=30,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"},
        )
    if done.returncode:
        raise LabError(
            f"the keeper could not be started: {tail(f'{state}/keeper.log', 1) or 'it ended immediately'}\n"
            f"  The lab needs root with the right to make namespaces; see {state}/keeper.log"
        )
    pid, start = done.stdout.split()
    return int(pid), int(start)


def start(state):
    """What `lab keeper STATE` runs: fork the keeper into new namespaces, write down who it is, say so on stdout."""
    plan = read_json(f"{state}/plan.json")
    ns.unshare(CLONE_HOST | ns.NEWNET)
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        os.close(go_write)
        # nothing is done before somebody who could end it knows the pid
        if os.read(go_read, 1) == b"g":
            os.close(go_read)
            main(plan)
        os._exit(1)
    born = ns.start_time(child)
    if born is None:
        raise LabError("the keeper ended immediately")
    record(
        f"{state}/keeper.json",
        {
            "pid": child,
            "start": born,
            "since": int(time.time()),
            "rootfs": [p for h in plan["hosts"] for p in (h.get("rootfs"), h.get("headers")) if p],
            "generation": plan["generation"],
        },
    )
    os.write(go_write, b"g")
    print(child, born, flush=True)
    return 0


class Keeper:
    def __init__(self, plan):
        self.plan = plan
        self.state = plan["state"]
        self.mem = f"{self.state}/m"
        self.hosts = {
            h["name"]: {**h, "pid": None, "boots": 0, "halted": False, "booting": False}
            for h in plan["hosts"]
            if not h["outside"]
        }
        self.internet = None

    # --- making it

    def prepare(self):
        ns.mount(None, "/", flags=ns.MS_REC | ns.MS_PRIVATE)
        ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
        ns.mount("lab", self.mem, "tmpfs", ns.MS_NOSUID, "mode=755")
        os.mkdir(f"{self.mem}/ns")
        for name in self.hosts:
            os.makedirs(f"{self.mem}/hosts/{name}")
        descriptors = raise_descriptors()
        net.build(self.plan["net"], self.plan["hosts"], f"{self.mem}/ns")
        socket.sethostname("lab-" + self.plan["instance"])
        for host in self.hosts.values():
            self.make_root(host)
        return descriptors

    def make_root(self, host):
        """The host's file system: its generation's root, read-only, and over it what `lab save` kept of another, with all changes in memory."""
        top = f"{self.mem}/hosts/{host['name']}"
        root = host["root"] = f"{top}/root"
        for part in ("root", "upper", "work"):
            os.mkdir(f"{top}/{part}")
        kept = [host["like"]] if host["like"] else []
        layers = [*kept, *([host["headers"]] if host["headers"] else []), host["rootfs"]]
        try:
            ns.mount(
                "overlay", root, "overlay", 0, f"lowerdir={':'.join(layers)},upperdir={top}/upper,workdir={top}/work"
            )
        except OSError as e:
            print(f"keeper: no overlayfs here ({e.strerror}): {host['name']} gets a full copy in memory", flush=True)
            for layer in reversed(layers):
                subprocess.run(["cp", "-a", layer + "/.", root], check=True)
        if not kept:
            copy_tree(STANDINS, root)
            freebsd.lay(root)
            freebsd.stock_kernel(root, host["compiler"], host["kernel"])
            if host["generation"] == fourteen.GENERATION:
                fourteen.lay(root)
                fourteen.kernel(root)
            with open(root + "/etc/rc.conf", "a") as f:
                f.write(f'hostname="{host["name"]}"\nifconfig_vtnet0="DHCP"\n')
        self.furnish(host, root)

    def furnish(self, host, root):
        """What an installer would have asked: name, addresses, keys."""
        name, v4 = host["name"], host["addresses"][0]
        put(f"{root}/etc/hosts", f"::1\t\tlocalhost\n127.0.0.1\tlocalhost\n{v4}\t{name} {name.partition('.')[0]}\n")
        put(f"{root}/etc/hostname", name + "\n")
        put(f"{root}/root/.ssh/authorized_keys", pathlib.Path(host["authorized_keys"]).read_bytes(), 0o600)
        os.chmod(root + "/root/.ssh", 0o700)
        for suffix, mode in (("", 0o600), (".pub", 0o644)):
            key = pathlib.Path(host["host_key"] + suffix).read_bytes()
            put(f"{root}/etc/ssh/ssh_host_ed25519_key{suffix}", key, mode)
        put(f"{root}/sbin/init", (LAB / "labkit" / "hostinit.py").read_bytes(), 0o755)

    # --- hosts

    def boot(self, host):
        """Start a host's process 1 in namespaces of its own; its pid as this namespace sees it."""
        host.update(boots=host["boots"] + 1, halted=False)
        log = f"{self.state}/{host['name']}.console"
        read_end, write_end = os.pipe()
        if os.fork() == 0:
            try:
                with open(log, "a") as console:
                    os.dup2(console.fileno(), 1)
                    os.dup2(console.fileno(), 2)
                ns.enter({f"{self.mem}/ns/{host['name']}": ns.NEWNET})
                ns.unshare(CLONE_HOST)
                child = os.fork()
                if child == 0:
                    become_init(host)
                os.write(write_end, str(child).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(write_end)
        answer = os.read(read_end, 64)
        os.close(read_end)
        if not answer:
            raise LabError(f"{host['name']} could not be started: see {log}")
        host["pid"] = int(answer)
        self.publish(host)

    def publish(self, host):
        about = {key: host[key] for key in ("name", "addresses", "generation", "pid", "boots", "halted")}
        start = ns.start_time(host["pid"]) if host["pid"] else None
        record(f"{self.state}/{host['name']}.json", {**about, "start": start, "booted": int(time.time())})

    # --- the internet

    def start_internet(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.state}/internet.ready")
        serve = [self.plan["python"], "-B", "-m", "labkit.internet", "serve", "--instance-dir", self.state]
        more = {"PYTHONPATH": str(LAB), "PYTHONUNBUFFERED": "1", "SOKUHAI_LAB": self.plan["instance"]}
        with open(f"{self.state}/internet.log", "a") as log:
            self.internet = subprocess.Popen(
                ["nsenter", f"--net={self.mem}/ns/inet", *serve],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **more},
            )

    def wait_internet(self):
        ready, log = f"{self.state}/internet.ready", f"{self.state}/internet.log"
        self.reap_until(lambda: self.internet is None or os.path.exists(ready), INTERNET_LIMIT)
        if self.internet is None or not os.path.exists(ready):
            what = "ended" if self.internet is None else f"not ready after {INTERNET_LIMIT} s"
            raise LabError(f"the servers of the internet: {what}. The end of {log}:\n  {tail(log)}")

    # --- living

    def reap(self):
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.note_end(ended[0], os.waitstatus_to_exitcode(ended[1]))

    def note_end(self, pid, code):
        if self.internet and pid == self.internet.pid:
            self.internet = None
            print(f"keeper: the internet's servers ended ({code})", flush=True)
        for host in self.hosts.values():
            if host["pid"] == pid:
                host["pid"] = None
                host["halted"] = code not in (0, -signal.SIGHUP) and not host["booting"]
                print(f"keeper: {host['name']} ended ({code})", flush=True)
                self.publish(host)

    def reap_until(self, ended, limit):
        """Reap until ended() is true or the time is over."""
        deadline = time.monotonic() + limit
        while not ended() and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.02)

    def tend(self):
        """Boot again what has ended by a reboot."""
        for host in self.hosts.values():
            if host["pid"] is None and not host["halted"]:
                self.boot(host)

    def stop_host(self, host, hard):
        host["booting"] = True
        number = signal.SIGKILL if hard else signal.SIGINT
        try:
            while host["pid"]:
                os.kill(host["pid"], number)
                self.reap_until(lambda: not host["pid"], HALT_LIMIT)
                number = signal.SIGKILL
        finally:
            host["booting"] = False

    def stop_internet(self):
        for number, limit in ((signal.SIGTERM, 5), (signal.SIGKILL, INTERNET_LIMIT)):
            if self.internet:
                os.kill(self.internet.pid, number)
                self.reap_until(lambda: not self.internet, limit)

    def answer(self, request):
        op = request.get("op")
        answer = {"ok": True}
        if op in ("reboot", "halt"):
            host = self.hosts[request["host"]]
            self.stop_host(host, request.get("hard", False))
            host["halted"] = op == "halt"
            if op == "reboot":
                self.boot(host)
            else:
                self.publish(host)
        elif op == "sync":
            for host in self.hosts.values():
                copy_tree(STANDINS, host["root"], skip=is_configuration)
                freebsd.lay(host["root"], again=True)
                if host["generation"] == fourteen.GENERATION:
                    fourteen.lay(host["root"], again=True)
        elif op == "internet":
            self.stop_internet()
            self.start_internet()
            self.wait_internet()
        elif op == "status":
            answer["internet"] = self.internet is not None
        else:
            answer = {"error": f"unknown request {op!r}"}
        return answer

    def serve(self):
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{self.state}/control")
        os.chmod(f"{self.state}/control", 0o600)
        server.listen(8)
        server.setblocking(False)
        # a child's end wakes select()
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        record(f"{self.state}/ready.json", {"at": time.time()})
        while True:
            self.reap()
            self.tend()
            select.select([server, wake_read], [], [], 30)
            with contextlib.suppress(BlockingIOError):
                wake_read.recv(4096)
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    self.serve_one(peer)

    def serve_one(self, peer):
        peer.settimeout(10)
        try:
            reply = self.answer(json.loads(peer.makefile().readline()))
        except LabError as e:
            reply = {"error": str(e)}
        except Exception as e:  # the keeper must outlive any single request
            traceback.print_exc()
            reply = {"error": f"{type(e).__name__}: {e}"}
        peer.sendall(json.dumps(reply).encode() + b"\n")


def main(plan):
    state = plan["state"]
    try:
        keeper = Keeper(plan)
        descriptors = keeper.prepare()
        record(
            f"{state}/status.json",
            {
                "instance": plan["instance"],
                "descriptors": descriptors,
                "generation": plan["generation"],
                "hosts": {
                    h["name"]: {"addresses": h["addresses"], "generation": h["generation"], "outside": h["outside"]}
                    for h in plan["hosts"]
                },
            },
        )
        keeper.start_internet()
        keeper.wait_internet()
        for host in keeper.hosts.values():
            keeper.boot(host)
        keeper.serve()
    except BaseException as e:
        traceback.print_exc()
        sys.stderr.flush()
        record(f"{state}/failed.json", {"error": str(e) or type(e).__name__, "known": isinstance(e, LabError)})
    finally:
        os._exit(1)
