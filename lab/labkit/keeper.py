"""The keeper: process 1 of the lab's own PID namespace. Whoever kills it takes everything with it.

It owns the network namespaces, the file systems of the practice hosts (overlays in its private mount namespace, so they
outlive a reboot of the host), the hosts themselves and the servers of the internet. It answers on a Unix socket.
"""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback

from . import LabError, freebsd, net, ns
from .first import become_init
from .paths import LAB
from .tree import copy_tree, is_configuration

INTERNET_LIMIT = 60
HALT_LIMIT = 60
NOFILE_AIM = 131072

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
    record(state, "plan.json", plan)
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
        with open(f"{state}/keeper.log", errors="replace") as f:
            last = (f.read().splitlines() or ["it ended at once"])[-1]
        raise LabError(
            f"the keeper could not be started: {last}\n  The lab needs root with the right to make namespaces; see {state}/keeper.log"
        )
    pid, start = done.stdout.split()
    return int(pid), int(start)


def start(state):
    """What `lab keeper STATE` runs: fork the keeper into new namespaces, write down who it is, say so on stdout."""
    with open(f"{state}/plan.json") as f:
        plan = json.load(f)
    ns.unshare(ns.NEWNS | ns.NEWPID | ns.NEWUTS | ns.NEWIPC | ns.NEWNET)
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
        raise LabError("the keeper ended at once")
    record(
        state,
        "keeper.json",
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


def record(directory, name, value):
    """Write a JSON file so that a reader sees the old one or the new one, never half of it."""
    temp = os.path.join(directory, f".{name}.new")
    with open(temp, "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")
    os.rename(temp, os.path.join(directory, name))


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
        """The host's file system: its generation's root, read-only, with all changes in memory."""
        top = f"{self.mem}/hosts/{host['name']}"
        root = host["root"] = f"{top}/root"
        for part in ("root", "upper", "work"):
            os.mkdir(f"{top}/{part}")
        layers = [*([host["headers"]] if host["headers"] else []), host["rootfs"]]
        try:
            ns.mount(
                "overlay", root, "overlay", 0, f"lowerdir={':'.join(layers)},upperdir={top}/upper,workdir={top}/work"
            )
        except OSError as e:
            print(f"keeper: no overlayfs here ({e.strerror}): {host['name']} gets a full copy in memory", flush=True)
            for layer in reversed(layers):
                subprocess.run(["cp", "-a", layer + "/.", root], check=True)
        copy_tree(str(LAB / "standins" / "root"), root)
        freebsd.lay(root)
        freebsd.stock_kernel(root, host["compiler"], host["kernel"])
        self.furnish(host, root)

    def furnish(self, host, root):
        """What an installer would have asked: name, network, keys."""

        def put(path, text, mode=0o644, only_if_missing=False):
            full = root + path
            if only_if_missing and os.path.lexists(full):
                return
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if os.path.lexists(full):
                os.unlink(full)
            with open(full, "w") as f:
                f.write(text)
            os.chmod(full, mode)

        name, v4 = host["name"], host["addresses"][0]
        short = name.split(".")[0]
        put("/etc/hosts", f"::1\t\tlocalhost\n127.0.0.1\tlocalhost\n{v4}\t{name} {short}\n")
        put("/etc/hostname", name + "\n")
        if os.path.exists(f"{root}/etc/resolv.conf") and not os.path.exists(f"{root}/usr/libexec/standins/boot"):
            os.unlink(f"{root}/etc/resolv.conf")
        put("/etc/resolv.conf", "nameserver 198.51.100.153\n", only_if_missing=True)
        with open(host["authorized_keys"]) as f:
            put("/root/.ssh/authorized_keys", f.read(), 0o600)
        os.chmod(root + "/root/.ssh", 0o700)
        for suffix, mode in (("", 0o600), (".pub", 0o644)):
            with open(host["host_key"] + suffix) as f:
                put("/etc/ssh/ssh_host_ed25519_key" + suffix, f.read(), mode)
        rc_conf = root + "/etc/rc.conf"
        text = ""
        if os.path.exists(rc_conf):
            with open(rc_conf) as f:
                text = f.read()
        present = {line.split("=", 1)[0].strip() for line in text.splitlines() if "=" in line}
        added = {"hostname": name, "ifconfig_vtnet0": "DHCP", "sshd_enable": "YES"}
        put("/etc/rc.conf", text + "".join(f'{k}="{v}"\n' for k, v in added.items() if k not in present))
        with open(LAB / "labkit" / "hostinit.py") as f:
            put("/sbin/init", f.read(), 0o755)

    # --- hosts

    def boot(self, host):
        """Start a host's process 1 in namespaces of its own; its pid as this namespace sees it."""
        first = not host["boots"]
        host.update(boots=host["boots"] + 1, halted=False)
        console = os.open(f"{self.state}/{host['name']}.console", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        read_end, write_end = os.pipe()
        middle = os.fork()
        if middle == 0:
            try:
                os.close(read_end)
                os.dup2(console, 1)
                os.dup2(console, 2)
                net._enter(f"{self.mem}/ns/{host['name']}")
                ns.unshare(CLONE_HOST)
                child = os.fork()
                if child == 0:
                    os.close(write_end)
                    become_init(host, first)
                os.write(write_end, str(child).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(write_end)
        os.close(console)
        answer = os.read(read_end, 64)
        os.close(read_end)
        if not answer:
            raise LabError(f"{host['name']} could not be started: see {self.state}/{host['name']}.console")
        host["pid"] = int(answer)
        self.publish(host)

    def publish(self, host):
        record(
            self.state,
            f"{host['name']}.json",
            {
                "name": host["name"],
                "addresses": host["addresses"],
                "generation": host["generation"],
                "pid": host["pid"],
                "start": ns.start_time(host["pid"]) if host["pid"] else None,
                "boots": host["boots"],
                "booted": int(time.time()),
                "halted": host["halted"],
            },
        )

    # --- the internet

    def start_internet(self):
        if not self.plan["internet"]:
            print("keeper: no labkit/internet: the hosts stand alone", flush=True)
            return
        ready, log = f"{self.state}/internet.ready", f"{self.state}/internet.log"
        if os.path.exists(ready):
            os.unlink(ready)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        pid = os.fork()
        if pid == 0:
            try:
                net._enter(f"{self.mem}/ns/inet")
                os.setsid()
                os.dup2(out, 1)
                os.dup2(out, 2)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                python = self.plan["python"]
                os.execve(
                    python,
                    [python, "-B", "-m", "labkit.internet", "serve", "--instance-dir", self.state],
                    {
                        **os.environ,
                        "PYTHONPATH": str(LAB),
                        "PYTHONUNBUFFERED": "1",
                        "SOKUHAI_LAB": self.plan["instance"],
                    },
                )
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(out)
        self.internet = pid

    def wait_internet(self):
        deadline = time.monotonic() + INTERNET_LIMIT
        while self.plan["internet"] and not os.path.exists(f"{self.state}/internet.ready"):
            self.reap()
            if self.internet is None or time.monotonic() > deadline:
                tail = ""
                try:
                    with open(f"{self.state}/internet.log", errors="replace") as f:
                        tail = "\n  ".join(f.read().splitlines()[-12:])
                except OSError:
                    pass
                what = "ended" if self.internet is None else f"not ready after {INTERNET_LIMIT} s"
                raise LabError(f"the servers of the internet: {what}. The end of {self.state}/internet.log:\n  {tail}")
            time.sleep(0.05)

    # --- living

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.internet:
                self.internet = None
                print(f"keeper: the internet's servers ended ({code})", flush=True)
            for host in self.hosts.values():
                if host["pid"] == pid:
                    host["pid"] = None
                    host["halted"] = code not in (0, -signal.SIGHUP) and not host["booting"]
                    print(f"keeper: {host['name']} ended ({code})", flush=True)
                    self.publish(host)

    def tend(self):
        """Boot again what has ended by a reboot."""
        for host in self.hosts.values():
            if host["pid"] is None and not host["halted"]:
                self.boot(host)

    def stop_host(self, host, hard):
        host["booting"] = True
        try:
            if host["pid"]:
                os.kill(host["pid"], signal.SIGKILL if hard else signal.SIGINT)
            deadline = time.monotonic() + HALT_LIMIT
            while host["pid"]:
                self.reap()
                if time.monotonic() > deadline:
                    os.kill(host["pid"], signal.SIGKILL)
                    deadline += HALT_LIMIT
                time.sleep(0.02)
        finally:
            host["booting"] = False

    def answer(self, request):
        op = request.get("op")
        if op in ("reboot", "halt"):
            host = self.hosts[request["host"]]
            self.stop_host(host, request.get("hard", False))
            host["halted"] = op == "halt"
            if op == "reboot":
                self.boot(host)
            else:
                self.publish(host)
            return {"ok": True}
        if op == "sync":
            for host in self.hosts.values():
                copy_tree(str(LAB / "standins" / "root"), host["root"], skip=is_configuration)
                freebsd.lay(host["root"], again=True)
            return {"ok": True}
        if op == "internet":
            if self.internet:
                os.kill(self.internet, signal.SIGTERM)
                end = time.monotonic() + 5
                while self.internet and time.monotonic() < end:
                    self.reap()
                    time.sleep(0.02)
                if self.internet:
                    os.kill(self.internet, signal.SIGKILL)
                    while self.internet:
                        self.reap()
                        time.sleep(0.02)
            self.plan["internet"] = os.path.exists(LAB / "labkit" / "internet" / "__main__.py")
            self.start_internet()
            self.wait_internet()
            return {"ok": True}
        if op == "status":
            return {"ok": True, "internet": self.internet is not None}
        return {"error": f"unknown request {op!r}"}

    def serve(self):
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{self.state}/control")
        os.chmod(f"{self.state}/control", 0o600)
        server.listen(8)
        server.setblocking(False)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        record(self.state, "ready.json", {"at": time.time()})
        while True:
            self.reap()
            self.tend()
            readable, _, _ = select.select([server, wake_read], [], [], 30)
            if wake_read in readable:
                try:
                    os.read(wake_read, 4096)
                except BlockingIOError:
                    pass
            if server in readable:
                try:
                    peer, _ = server.accept()
                except BlockingIOError:
                    continue
                with peer:
                    peer.settimeout(10)
                    try:
                        try:
                            reply = self.answer(json.loads(peer.makefile().readline()))
                        except Exception as e:  # the keeper must outlive any single request
                            traceback.print_exc()
                            reply = {"error": f"{type(e).__name__}: {e}" if not isinstance(e, LabError) else str(e)}
                        peer.sendall(json.dumps(reply).encode() + b"\n")
                    except OSError:
                        pass


def main(plan):
    state = plan["state"]
    try:
        keeper = Keeper(plan)
        descriptors = keeper.prepare()
        record(
            state,
            "status.json",
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
        record(state, "failed.json", {"error": str(e) or type(e).__name__, "known": isinstance(e, LabError)})
    finally:
        os._exit(1)
