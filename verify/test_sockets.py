"""Who listens where, and with which backlog: read from the running system by sockstat and netstat."""

import hostlib
import pytest


@pytest.fixture(scope="module")
def sockets(host):
    return hostlib.listening(host)


def ports(sockets, command):
    return {s.port for s in sockets if s.command == command}


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("family, variable", [("4", "bind_listen_on"), ("6", "bind_listen_on_v6")])
def test_named_listens_where_it_is_declared(sockets, declared, proto, family, variable):
    found = {s.address for s in sockets if s.command == "named" and s.proto == proto + family and s.port == 53}
    assert set(declared[variable]) == found or found == {"*"}


def test_nothing_but_named_answers_on_port_53(sockets):
    assert {s.command for s in sockets if s.port == 53} == {"named"}


def test_postfix_listens_on_the_smtp_port(sockets, mail):
    # a running smtpd or postscreen holds master's listening socket as well
    assert "master" in {s.command for s in sockets if s.port == 25} <= {"master", "smtpd", "postscreen"}


def test_submission_ports_are_open_exactly_when_declared(sockets, declared):
    wanted = {587, 465} if declared["postfix_submission"] else set()
    assert {s.port for s in sockets if s.port in (587, 465)} == wanted
    assert {s.command for s in sockets if s.port in (587, 465)} <= {"master", "smtpd"}


def test_the_urgent_port_is_open_when_declared(sockets, declared):
    port = (declared["postfix_urgent"] or {}).get("port")
    if not port:
        pytest.skip("postfix_urgent has no port")
    assert "master" in {s.command for s in sockets if s.port == port} <= {"master", "smtpd"}


def test_dovecot_opens_no_port(host, sockets):
    config = host.file("/usr/local/etc/dovecot/dovecot.conf")
    if config.exists and not config.contains("^# Written by sokuhai's role sasl"):
        pytest.skip("this Dovecot is its owner's, and serves more than AUTH")
    assert not ports(sockets, "dovecot")


def test_backlog_of_the_smtp_port_is_the_process_limit(host, declared, mail):
    found = hostlib.backlog(host, 25)
    assert found, "netstat -Lan shows no listener on port 25"
    limit = int(hostlib.postconf(host, "default_process_limit")["default_process_limit"])
    assert min(found) >= limit, (
        f"backlog {found} below default_process_limit {limit}: kern.ipc.soacceptqueue cut it, or Postfix was not restarted since"
    )
