"""The sinks and the servers as processes: every recipient is counted once per message taken, and nothing is left behind."""

import collections
import concurrent.futures
import json
import os
import pathlib
import signal
import smtplib
import socket
import subprocess
import sys
import time

import dns.message
import dns.query
import pytest
from internet_servers import free_ports, serving
from labkit import ns
from labkit.internet import servers
from labkit.internet.__main__ import main
from labkit.internet.mail import Tail, recipients_of

LAB = pathlib.Path(servers.__file__).resolve().parents[2]
DATA = {"sinks": {"first": "198.51.100.200", "last": "198.51.100.201", "prefix6": "2001:db8:1::"}}
TEXT = "X-Lab-Token: {token}\r\nMessage-ID: <{token}.0@lab>\r\nReceived-SPF: pass\r\n (folded) x\r\nSubject: x\r\n\r\nbody\r\n..\r\n.dot\r\n"


@pytest.fixture
def sinks(tmp_path):
    """(port, directory, server object) of running sinks."""
    with serving(lambda: servers.SinkServers(DATA, tmp_path / "sink.jsonl"), ["198.51.100.200"]) as (running, ports):
        yield ports["198.51.100.200"], tmp_path, running


def send(port, token, *recipients):
    """Send a message; {recipient: code} of those that were rejected."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        rejected = client.sendmail("alert@home.example", recipients, TEXT.format(token=token))
    return {recipient: code for recipient, (code, _text) in rejected.items()}


def lines(folder):
    return [json.loads(line) for line in (folder / "sink.jsonl").read_text().splitlines()]


def test_every_recipient_is_recorded_once(sinks):
    port, folder, _servers = sinks
    tail = Tail(folder / "sink.jsonl", "t1")
    send(port, "t1", "a@d0001.test", "b@d0001.test")
    send(port, "t2", "c@d0001.test")
    found = lines(folder)
    assert [(e["token"], e["recipient"]) for e in found] == [
        ("t1", "a@d0001.test"),
        ("t1", "b@d0001.test"),
        ("t2", "c@d0001.test"),
    ]
    wanted = {"sender": "alert@home.example", "peer": "127.0.0.1", "received_spf": "pass (folded) x"}
    assert found[0] | wanted == found[0]
    tail.read()
    assert dict(tail.copies) == {"a@d0001.test": 1, "b@d0001.test": 1}


def test_what_is_delivered_twice_is_counted_twice(sinks):
    port, folder, _servers = sinks
    tail = Tail(folder / "sink.jsonl", "t3")
    for _ in range(2):
        send(port, "t3", "a@d0001.test")
        tail.read()
    assert dict(tail.copies) == {"a@d0001.test": 2}


def test_what_is_not_accepted_is_not_counted(sinks):
    port, folder, running = sinks
    running.control({"op": "sink", "domain": "later.test", "values": {"reply": "defer"}})
    running.control({"op": "sink", "domain": "never.test", "values": {"reply": "reject"}})
    rejected = send(port, "t4", "a@later.test", "b@never.test", "c@d0001.test")
    assert rejected == {"a@later.test": 451, "b@never.test": 550}
    client = smtplib.SMTP("127.0.0.1", port)
    client.mail("a@home.example")
    client.rcpt("d@d0001.test")
    client.docmd("DATA")
    client.close()  # the message never ends
    assert [e["recipient"] for e in lines(folder)] == ["c@d0001.test"]
    running.control({"op": "reset"})
    assert send(port, "t4", "a@later.test") == {}


def test_slow_recipients(sinks):
    port, _folder, running = sinks
    running.control({"op": "sink", "domain": "slow.test", "values": {"slow": 3}})
    took = {}
    for recipient in ("a@slow.test", "a@quick.test"):
        start = time.monotonic()
        send(port, "t5", recipient)
        took[recipient] = time.monotonic() - start
    assert took["a@slow.test"] >= 3 and took["a@quick.test"] < took["a@slow.test"]


def test_commands_out_of_order_and_pipelined(sinks):
    port, folder, _servers = sinks
    with socket.create_connection(("127.0.0.1", port)) as raw:
        stream = raw.makefile("rwb")
        assert stream.readline().startswith(b"220")
        stream.write(
            b"EHLO x\r\nRCPT TO:<a@b.test>\r\nDATA\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nX-Lab-Token: t6\r\n\r\nhi\r\n.\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n.\r\nVRFY x\r\nQUIT\r\n"
        )
        stream.flush()
        codes = [line[:3] for line in stream.read().split(b"\r\n") if line and line[3:4] == b" "]
    assert b" ".join(codes) == b"250 503 554 250 250 354 250 250 250 354 250 502 221"
    assert [(e.get("token"), e["recipient"], e["sender"]) for e in lines(folder)] == [
        ("t6", "a@b.test", ""),
        (None, "b@b.test", ""),
    ]


@pytest.mark.parametrize("wrong", [{"reply": "perhaps"}, {"slow": -1}, {"colour": 1}])
def test_wrong_rules_are_refused(sinks, wrong):
    with pytest.raises(ValueError):
        sinks[2].control({"op": "sink", "domain": "x.test", "values": wrong})
    assert sinks[2].book.rules == {}


def test_ten_sessions_at_once_lose_nothing(sinks):
    port, folder, _servers = sinks

    def session(n):
        with smtplib.SMTP("127.0.0.1", port) as client:
            for i in range(60):
                client.sendmail("a@home.example", [f"u{n}.{i}@d0001.test"], TEXT.format(token="t7"))

    with concurrent.futures.ThreadPoolExecutor(10) as sessions:
        list(sessions.map(session, range(10)))
    assert len({entry["recipient"] for entry in lines(folder)}) == 600


def test_recipients_are_spread_evenly():
    made = recipients_of(1000, 200)
    assert len(set(made)) == 1000
    per_domain = collections.Counter(address.partition("@")[2] for address in made)
    assert len(per_domain) == 200 and set(per_domain.values()) == {5}


# --- the servers as processes

PLACES = ["198.51.100.2", "198.51.100.4", "198.51.100.153", "198.51.100.200"]


def serve(folder, ports, **more):
    """The servers as processes of their own; {address: port} says which, and where."""
    bind = folder / "map.json"
    bind.write_text(json.dumps({address: ("127.0.0.1", port) for address, port in ports.items()}))
    module = [sys.executable, "-B", "-m", "labkit.internet", "serve"]
    return subprocess.Popen(
        [*module, "--instance-dir", folder, "--bind-map", bind],
        env={**os.environ, "PYTHONPATH": str(LAB)},
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )


def start(folder):
    ports = dict(zip(PLACES, free_ports(len(PLACES)), strict=True))
    process = serve(folder, ports)
    until = time.monotonic() + 30
    while not (folder / "internet.ready").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process, ports


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids):
    until = time.monotonic() + 10
    while any(map(ns.start_time, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_serve_and_its_end(tmp_path, capsys):
    process, ports = start(tmp_path)
    anchor = json.loads((tmp_path / "dns.json").read_text())["trust_anchors"]
    parts = children(process.pid)
    assert len(parts) == 2
    query = dns.message.make_query("d0003.test", "MX")
    assert dns.query.udp(query, "127.0.0.1", port=ports["198.51.100.4"], timeout=5).answer
    where = ["--instance-dir", str(tmp_path)]
    assert main(["ctl", "set", "d0003.test", "answer=refused", *where]) == 0
    assert dns.query.udp(query, "127.0.0.1", port=ports["198.51.100.4"], timeout=5).rcode() == 5
    assert main(["ctl", "resolver", "rate=7", "over=servfail", *where]) == 0
    assert main(["ctl", "sink", "d0003.test", "reply=defer", *where]) == 0
    capsys.readouterr()
    assert main(["ctl", "show", *where]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["resolver"]["rate"] == 7 and shown["sink"]["rules"]["d0003.test"]["reply"] == "defer"
    for wrong in (["set", "nowhere.test", "delay=1"], ["set", "test", "delay"], ["resolver", "over=never"]):
        assert main(["ctl", *wrong, *where]) == 1
    assert main(["ctl", "reset", *where]) == 0
    assert dns.query.udp(query, "127.0.0.1", port=ports["198.51.100.4"], timeout=5).answer
    process.terminate()
    assert process.wait(10) == 0 and gone(parts) and not (tmp_path / "internet.ready").exists()
    assert "ready" in process.stdout.read()
    # killed, not asked: its parts end with it, and the next start has the same trust anchor
    process, _ports = start(tmp_path)
    assert json.loads((tmp_path / "dns.json").read_text())["trust_anchors"] == anchor
    parts = children(process.pid)
    process.kill()
    process.wait()
    assert gone(parts)


def test_serve_ends_when_a_part_of_it_ends(tmp_path):
    process, _ports = start(tmp_path)
    parts = children(process.pid)
    os.kill(parts[0], signal.SIGKILL)
    assert process.wait(10) == 1 and gone(parts)


def test_a_port_that_is_taken_is_reported(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        process = serve(tmp_path, {"198.51.100.200": held.getsockname()[1]}, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "the sink servers did not start" in out and "in use" in err
