"""Sinks with the limits of a receiver: what goes beyond is answered as they answer it, and the rest is taken."""

import smtplib

import pytest
from internet_servers import serving
from labkit.internet import servers
from labkit.internet.throttle import Throttle

DATA = {"sinks": {"first": "198.51.100.200", "last": "198.51.100.201", "prefix6": "2001:db8:1::"}}
ADDRESSES = ["198.51.100.200", "198.51.100.201"]


@pytest.fixture
def sinks(tmp_path):
    """(ports of two sinks, a function that sets limits of both together, server object)."""
    with serving(lambda: servers.SinkServers(DATA, tmp_path / "sink.jsonl"), ADDRESSES) as (running, ports):

        def limit(**values):
            running.control({"op": "sink", "domain": "sink0?.hosting.test", "values": values})

        yield [ports[address] for address in ADDRESSES], limit, running


def shown(running):
    return running.control({"op": "show"})["throttles"]["sink0?.hosting.test"]


def send(client, *recipients):
    return client.sendmail("alert@home.example", recipients, "Subject: x\r\n\r\nhi\r\n")


def test_a_connection_too_many_is_refused_over_all_servers_of_the_limit(sinks):
    ports, limit, running = sinks
    limit(connections=2)
    first, second = (smtplib.SMTP("127.0.0.1", port) for port in ports)
    with pytest.raises(smtplib.SMTPConnectError, match="421"):
        smtplib.SMTP("127.0.0.1", ports[0])
    assert shown(running) == {"open": 2, "most": 2, "refused": {"connections": 1}}
    first.close()
    assert send(second, "a@d0001.test") == {}
    second.quit()
    with smtplib.SMTP("127.0.0.1", ports[0]) as client:
        assert send(client, "b@d0001.test") == {}
    running.control({"op": "reset"})
    assert running.control({"op": "show"})["throttles"] == {}


def test_recipients_count_over_all_messages_of_a_connection(sinks):
    ports, limit, running = sinks
    limit(recipients=3)
    with smtplib.SMTP("127.0.0.1", ports[0]) as client:
        assert send(client, "a@d0001.test", "b@d0001.test") == {}
        with pytest.raises((smtplib.SMTPServerDisconnected, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)):
            send(client, "c@d0001.test", "d@d0001.test")
    assert running.book.recipients == 2 and shown(running)["refused"] == {"recipients": 1}


def test_a_connection_ends_after_its_last_message_without_a_word(sinks):
    ports, limit, running = sinks
    limit(messages=2)
    client = smtplib.SMTP("127.0.0.1", ports[0])
    assert send(client, "a@d0001.test") == send(client, "b@d0001.test") == {}
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    assert running.book.messages == 2


def test_a_message_too_many_within_a_minute_is_refused():
    time = [0]
    throttle = Throttle({"rate": 2}, now=lambda: time[0])
    assert [throttle.message() for _ in range(3)] == [True, True, False]
    time[0] = 60
    assert throttle.message() and throttle.as_dict()["refused"] == {"rate": 1}


def test_without_limits_nothing_is_refused():
    throttle = Throttle({})
    assert all(throttle.enter("a") and throttle.message() and throttle.recipient(10**6) for _ in range(1000))
    assert not throttle.last(10**6)
