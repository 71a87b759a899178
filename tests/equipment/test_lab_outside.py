"""A machine from elsewhere in the place of a practice host. Here a network namespace plays it, whose frames go by the same descriptor as QEMU's."""

import json
import os
import subprocess
import sys
import threading

import pytest
from labkit import LabError, net, tap
from own_lab import MX, OwnLab

lab = OwnLab("labout")
STATE = lab.state
pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(tap.missing()), reason=tap.missing() or "-")]

# In a namespace of its own: a tap with the machine's addresses and routes, and a server that tells each client its address. What the kernel
# hands to one descriptor is written to the other.
MACHINE = """
import ctypes, fcntl, json, os, select, socket, struct, subprocess, sys, threading
lan, place = int(sys.argv[1]), json.loads(sys.argv[2])
assert ctypes.CDLL(None).unshare(0x40000000) == 0
own = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(own, 0x400454CA, struct.pack("16sH22x", b"vtnet1", 0x1002))
lines = ["link set lo up", "link set vtnet1 up"] + [f"address add {a} dev vtnet1" + (" nodad" if ":" in a else "") for a in place["addresses"]]
lines += [f"route add {prefix} via {gateway}" for prefix, gateway in place["routes"]]
subprocess.run(["ip", "-batch", "-"], input="\\n".join(lines) + "\\n", text=True, check=True)
server = socket.create_server(("::", 25), family=socket.AF_INET6, dualstack_ipv6=True)
def serve():
    while True:
        client, address = server.accept()
        with client:
            client.sendall(address[0].encode() + b"\\n" + b"x" * 200000)
threading.Thread(target=serve, daemon=True).start()
query = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + b"\\0" + struct.pack(">HH", 6, 1)
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.sendto(query, ("198.51.100.2", 53))
print("ready", flush=True)
while True:
    for one in select.select([lan, own, dns, 0], [], [], 60)[0]:
        if one == lan:
            os.write(own, os.read(lan, 65536))
        elif one == own:
            os.write(lan, os.read(own, 65536))
        elif one is dns:
            print("root", dns.recv(4096)[3] & 15, flush=True)
        else:
            sys.exit()
"""
CLIENT = """
import socket, sys
source, target = sys.argv[1:]
data = b""
with socket.create_connection((target, 25), timeout=20, source_address=(source, 0)) as s:
    while chunk := s.recv(65536):
        data += chunk
print(data.partition(b"\\n")[0].decode().removeprefix("::ffff:"), len(data.partition(b"\\n")[2]))
"""


def ports():
    """What is attached to the bridge."""
    return {
        entry["ifname"]
        for entry in json.loads(lab("sh", "switch", "--", "ip", "-j", "link", "show", "master", net.BRIDGE).stdout)
    }


@pytest.fixture(scope="module", autouse=True)
def up():
    lab("up", "--outside", "mx")
    yield
    lab("down")
    assert not STATE.exists()


@pytest.fixture
def machine():
    fd = tap.plug(str(STATE), MX)
    played = subprocess.Popen(
        [sys.executable, "-c", MACHINE, str(fd), json.dumps(tap.place(net.load(), MX))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[fd],
    )
    os.close(fd)
    end = threading.Timer(60, played.kill)
    end.start()
    try:
        assert played.stdout.readline() == "ready\n"
        yield played
    finally:
        played.stdin.close()
        played.wait(30)
        end.cancel()


def test_its_clients_keep_their_addresses(machine):
    assert machine.stdout.readline() == "root 0\n", "the machine reaches the simulated root"
    for source, target in (("203.0.113.77", "192.0.2.10"), ("2001:db8:2::77", "2001:db8::10")):
        # more than a segment, so that checksums and segments are those of real frames
        assert lab("sh", "clients", "--", "python3", "-", source, target, stdin=CLIENT).stdout.split() == [
            source,
            "200000",
        ]


def test_the_tap_goes_with_its_machine(machine):
    assert tap.device(MX) in ports()
    with pytest.raises(LabError, match="taken by another machine"):
        tap.plug(str(STATE), MX)
    machine.stdin.close()
    machine.wait(30)
    assert tap.device(MX) not in ports()


def test_nothing_of_this_machine_changes(machine):
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert tap.device(MX) not in links


def test_commands_there_go_by_what_joined_it():
    done = lab("sh", "mx", "--", "true", check=False)
    assert done.returncode == 1 and "no machine is in the place of mx.home.example" in done.stderr
    (STATE / f"{MX}.outside").write_text(
        json.dumps({"run": ["/bin/echo", "there:"], "shell": ["/bin/echo", "shell"], "env": {}})
    )
    assert lab("sh", "mx", "--", "id", "-u").stdout == "there: id -u\n"
    assert lab("sh", "mx").stdout == "shell\n"
    assert "vm/vm reboot" in lab("reboot", "mx", check=False).stderr


def test_a_lab_with_a_practice_host_leaves_no_place():
    assert "another instance" in lab("up", "--outside", "old", check=False).stderr


def test_without_a_lab_there_is_no_tap(tmp_path):
    with pytest.raises(LabError, match="is not up"):
        tap.plug(str(tmp_path), MX)
