"""Mail servers as they are: late in one reply or another, greylisting, with a limit of connections, dead, with and without STARTTLS."""

import json
import smtplib
import socket
import ssl
import time

import pytest
from internet_servers import serving
from labkit.internet import servers
from labkit.internet.zones import Internet, described

LATE = 0.4
ENTRIES = {
    "plain": {"starttls": False},
    "greeting": {"late": {"greeting": LATE}},
    "rcpt": {"late": {"rcpt": LATE}},
    "dot": {"late": {"dot": LATE}},
    "greylist": {"greylist": True},
    "few": {"connections": 1},
    "refused": {"dead": "refused"},
    "silent": {"dead": "silent"},
}
PLACES = {name: f"198.51.100.{number}" for number, name in enumerate(ENTRIES, 10)}
DATA = {
    "sinks": {"first": "198.51.100.200", "last": "198.51.100.200", "prefix6": "2001:db8:1::"},
    "receivers": [{"address": PLACES[name], "name": f"{name}.test", **entry} for name, entry in ENTRIES.items()],
}


@pytest.fixture
def receivers(tmp_path):
    """({name: port}, the file of what they took, server object)."""
    with serving(lambda: servers.SinkServers(DATA, tmp_path / "sink.jsonl"), [*PLACES.values()]) as (running, ports):
        yield {name: ports[address] for name, address in PLACES.items()}, tmp_path / "sink.jsonl", running


def dialogue(port):
    """Seconds that each reply of a transaction with two recipients took."""
    took, then = {}, time.monotonic()

    def lap(name):
        nonlocal then
        now = time.monotonic()
        took[name], then = now - then, now

    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        lap("greeting")
        client.ehlo()
        client.mail("a@home.example")
        lap("mail")
        for number in (1, 2):
            assert client.rcpt(f"{number}@x.test")[0] == 250
            lap(f"rcpt{number}")
        client.data("Subject: x\r\n\r\nhi\r\n")
        lap("dot")
    return took


@pytest.mark.parametrize("reply", ["greeting", "rcpt", "dot"])
def test_a_reply_is_late(receivers, reply):
    took = dialogue(receivers[0][reply])
    assert took[{"rcpt": "rcpt1"}.get(reply, reply)] >= LATE
    assert len(receivers[1].read_text().splitlines()) == 2


def test_what_comes_while_a_reply_is_late_is_answered_in_order(receivers):
    with socket.create_connection(("127.0.0.1", receivers[0]["rcpt"])) as raw:
        stream = raw.makefile("rwb")
        stream.write(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n.\r\nQUIT\r\n")
        stream.flush()
        codes = [line[:3] for line in stream.read().split(b"\r\n") if line and line[3:4] == b" "]
    assert b" ".join(codes) == b"220 250 250 250 250 354 250 221"


def test_greylisting_knows_who_came_before(receivers):
    ports, path, running = receivers

    def codes(sender, *recipients):
        with smtplib.SMTP("127.0.0.1", ports["greylist"]) as client:
            client.ehlo()
            client.mail(sender)
            return [client.rcpt(one)[0] for one in recipients]

    assert codes("a@home.example", "1@x.test", "2@x.test") == [451, 451]
    assert codes("a@home.example", "1@x.test", "3@x.test") == [250, 451]
    assert codes("b@home.example", "1@x.test") == [451]
    tried = running.control({"op": "tried"})["tried"]
    assert sorted(tried) == ["1@x.test", "2@x.test", "3@x.test"] and tried["1@x.test"] <= tried["3@x.test"]
    running.control({"op": "forget"})
    assert running.control({"op": "tried"})["tried"] == {} and codes("a@home.example", "1@x.test") == [451]


def test_a_connection_too_many_hears_421_until_one_ends(receivers):
    ports, path, running = receivers
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    first = smtplib.SMTP("127.0.0.1", ports["few"])
    first.starttls(context=context)
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        smtplib.SMTP("127.0.0.1", ports["few"])
    assert refused.value.smtp_code == 421
    first.quit()
    deadline = time.monotonic() + 30
    while True:  # until the server has seen the end
        try:
            smtplib.SMTP("127.0.0.1", ports["few"]).quit()
            break
        except smtplib.SMTPConnectError:
            assert time.monotonic() < deadline


def test_most_offer_starttls_and_what_comes_over_it_is_recorded(receivers):
    ports, path, _running = receivers
    for name, offered in (("plain", False), ("dot", True)):
        with smtplib.SMTP("127.0.0.1", ports[name]) as client:
            client.ehlo()
            assert client.has_extn("starttls") == offered
            if offered:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                client.starttls(context=context)
            client.sendmail("a@home.example", ["b@x.test"], "Subject: x\r\n\r\nhi\r\n")
    assert [json.loads(line)["tls"] for line in path.read_text().splitlines()] == [False, True]


def test_the_dead_refuse_or_say_nothing(receivers):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", receivers[0]["refused"]), 20)
    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", receivers[0]["silent"]), 1)


def test_more_json_adds_servers_zones_and_receivers(tmp_path):
    more = {
        "servers": {"further": {"name": "ns.further.test", "addresses": ["198.51.100.160"]}},
        "zones": [
            {
                "name": "further.test",
                "server": "further",
                "behaviour": {"delay": 70},
                "records": ["ns A 198.51.100.160"],
            }
        ],
        "receivers": DATA["receivers"],
    }
    (tmp_path / "more.json").write_text(json.dumps(more))
    found = Internet(described(tmp_path))
    assert found.matching("further.test")[0].behaviour.delay == 70 and not Internet().matching("further.test")
    assert found.data["receivers"] == DATA["receivers"]
