"""The sinks and the servers as processes: every recipient is counted once per message taken, and nothing is left behind."""

import asyncio
import json
import os
import pathlib
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time

import dns.message
import dns.query
import pytest
from labkit.internet import servers, sink
from labkit.internet.__main__ import main
from labkit.internet.mail import Tail, recipients_of
from test_internet_dns import free_ports

LAB = pathlib.Path(sink.__file__).resolve().parents[2]
DATA = {"sinks": {"first": "198.51.100.200", "last": "198.51.100.201"}}
TEXT = "X-Lab-Token: {token}\r\nMessage-ID: <{token}.0@lab>\r\nReceived-SPF: pass\r\n (folded) x\r\nSubject: x\r\n\r\nbody\r\n..\r\n.dot\r\n"


@pytest.fixture
def sinks(tmp_path):
    """(port, folder, server object) of running sinks."""
    (port,) = free_ports(1)
    started, box = threading.Event(), {}

    async def run():
        box["stop"] = asyncio.Event()
        box["loop"] = asyncio.get_running_loop()
        box["servers"] = servers.SinkServers(DATA, tmp_path / "sink.jsonl")
        await box["servers"].start({"198.51.100.200": ("127.0.0.1", port)})
        started.set()
        await box["stop"].wait()
        box["servers"].close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert started.wait(10)
    yield port, tmp_path, box["servers"]
    box["loop"].call_soon_threadsafe(box["stop"].set)
    thread.join(5)


def lines(folder):
    return [json.loads(line) for line in (folder / "sink.jsonl").read_text().splitlines()]


def test_every_recipient_is_written_down_once(sinks):
    port, folder, _servers = sinks
    tail = Tail(folder / "sink.jsonl", "t1")
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("alert@home.example", ["a@d0001.test", "b@d0001.test"], TEXT.format(token="t1"))
        client.sendmail("alert@home.example", ["c@d0001.test"], TEXT.format(token="t2"))
    found = lines(folder)
    assert [(e["token"], e["recipient"]) for e in found] == [
        ("t1", "a@d0001.test"),
        ("t1", "b@d0001.test"),
        ("t2", "c@d0001.test"),
    ]
    assert (
        found[0]["sender"] == "alert@home.example"
        and found[0]["peer"] == "127.0.0.1"
        and found[0]["received_spf"] == "pass (folded) x"
    )
    assert sink.count(folder / "sink.jsonl", "t1") == {
        "recipients": 2,
        "copies": 2,
        "duplicates": [],
        "seen": {"a@d0001.test", "b@d0001.test"},
    }
    tail.read()
    assert dict(tail.copies) == {"a@d0001.test": 1, "b@d0001.test": 1}


def test_duplicates_and_missing_show(sinks, capsys):
    port, folder, _servers = sinks
    with smtplib.SMTP("127.0.0.1", port) as client:
        for _ in range(2):
            client.sendmail("a@home.example", ["a@d0001.test"], TEXT.format(token="t3"))
    (folder / "wanted").write_text("a@d0001.test\nz@d0001.test\n")
    code = main(["count", "--instance-dir", str(folder), "--token", "t3", "--recipients-file", str(folder / "wanted")])
    assert code == 1 and json.loads(capsys.readouterr().out) == {
        "recipients": 1,
        "copies": 2,
        "duplicates": ["a@d0001.test"],
        "missing": ["z@d0001.test"],
    }
    assert main(["count", "--instance-dir", str(folder), "--token", "other"]) == 0


def test_what_is_not_taken_is_not_counted(sinks):
    port, folder, running = sinks
    running.control({"op": "sink", "domain": "later.test", "values": {"reply": "defer"}})
    running.control({"op": "sink", "domain": "never.test", "values": {"reply": "reject"}})
    with smtplib.SMTP("127.0.0.1", port) as client:
        refused = client.sendmail(
            "a@home.example", ["a@later.test", "b@never.test", "c@d0001.test"], TEXT.format(token="t4")
        )
        assert {r: code for r, (code, _text) in refused.items()} == {"a@later.test": 451, "b@never.test": 550}
        client.mail("a@home.example")
        client.rcpt("d@d0001.test")
        client.docmd("DATA")
        client.sock.close()  # the message never ends
        client.close()
    assert [e["recipient"] for e in lines(folder)] == ["c@d0001.test"]
    running.control({"op": "reset"})
    with smtplib.SMTP("127.0.0.1", port) as client:
        assert client.sendmail("a@home.example", ["a@later.test"], TEXT.format(token="t4")) == {}


def test_slow_recipients(sinks):
    port, _folder, running = sinks
    running.control({"op": "sink", "domain": "slow.test", "values": {"slow": 3}})
    took = {}
    for recipient in ("a@slow.test", "a@quick.test"):
        with smtplib.SMTP("127.0.0.1", port) as client:
            start = time.monotonic()
            client.sendmail("a@home.example", [recipient], TEXT.format(token="t5"))
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
    assert codes == [
        b"250",
        b"503",
        b"554",
        b"250",
        b"250",
        b"354",
        b"250",
        b"250",
        b"250",
        b"354",
        b"250",
        b"502",
        b"221",
    ]
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

    threads = [threading.Thread(target=session, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sink.count(folder / "sink.jsonl", "t7")["recipients"] == 600


def test_recipients_are_spread_evenly():
    made = recipients_of(1000, 200)
    assert len(set(made)) == 1000
    per = {}
    for address in made:
        per.setdefault(address.split("@")[1], []).append(address)
    assert len(per) == 200 and {len(v) for v in per.values()} == {5}


# --- the servers as processes

PLACES = ["198.51.100.2", "198.51.100.4", "198.51.100.153", "198.51.100.200"]


def start(folder):
    ports = dict(zip(PLACES, free_ports(len(PLACES)), strict=True))
    (folder / "map.json").write_text(json.dumps({a: f"127.0.0.1:{p}" for a, p in ports.items()}))
    process = subprocess.Popen(
        [
            sys.executable,
            "-B",
            "-m",
            "labkit.internet",
            "serve",
            "--instance-dir",
            str(folder),
            "--bind-map",
            str(folder / "map.json"),
        ],
        env={**os.environ, "PYTHONPATH": str(LAB)},
        stdout=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not (folder / "internet.ready").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process, ports


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if not any(
            os.path.exists(f"/proc/{p}")
            and pathlib.Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
            for p in pids
        ):
            return True
        time.sleep(0.05)
    return False


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


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        (tmp_path / "map.json").write_text(json.dumps({"198.51.100.200": "127.0.0.1:%d" % held.getsockname()[1]}))
        done = subprocess.run(
            [
                sys.executable,
                "-B",
                "-m",
                "labkit.internet",
                "serve",
                "--instance-dir",
                str(tmp_path),
                "--bind-map",
                str(tmp_path / "map.json"),
            ],
            env={**os.environ, "PYTHONPATH": str(LAB)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1 and "the sink servers did not start" in done.stdout and "in use" in done.stderr
