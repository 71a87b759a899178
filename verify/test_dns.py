"""The host's own resolver: it answers, the host uses it, and a lease renewal does not take it away."""

import hostlib
import pytest

ASK = """
import socket,struct,sys
q=struct.pack('>HHHHHH',4242,0x0100,1,0,0,0)+b'\\x03127\\x07in-addr\\x04arpa\\x00'+struct.pack('>HH',6,1)
s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(10);s.sendto(q,(sys.argv[1],53))
a=s.recv(4096);print(struct.unpack('>H',a[:2])[0], a[3]&15, a[3]>>7)
"""


def checkconf(host):
    return hostlib.output(host, "named-checkconf -p /usr/local/etc/namedb/named.conf")


def test_named_answers(host):
    # a built-in empty zone: named answers it itself, also where the host cannot reach the internet just now
    number, rcode, recursion = hostlib.python(host, ASK, hostlib.place(host, 53, "udp")).split()
    assert (number, rcode, recursion) == ("4242", "0", "1")


def test_resolv_conf_names_this_host_alone(host, declared):
    if not declared["bind_use_for_host"]:
        pytest.skip("bind_use_for_host is false: the inventory keeps the host on another resolver")
    servers = [
        line.split()[1]
        for line in host.file("/etc/resolv.conf").content_string.splitlines()
        if line.startswith("nameserver")
    ]
    assert servers and set(servers) <= {"127.0.0.1", "::1", declared["sokuhai_loopback"]}


def test_a_lease_renewal_changes_nothing(host, declared):
    if not declared["bind_use_for_host"]:
        pytest.skip("bind_use_for_host is false: the inventory keeps the host on another resolver")
    before = host.file("/etc/resolv.conf").content_string
    try:
        hostlib.output(host, "printf 'nameserver 192.0.2.254\\n' | resolvconf -a vtnet9")
        assert "192.0.2.254" not in host.file("/etc/resolv.conf").content_string
        assert [
            line for line in host.file("/etc/resolv.conf").content_string.splitlines() if line.startswith("nameserver")
        ] == [line for line in before.splitlines() if line.startswith("nameserver")]
    finally:
        hostlib.output(host, "resolvconf -d vtnet9")


def test_named_knows_the_declared_ceilings(host, declared):
    text = checkconf(host)
    for option, variable in (("recursive-clients", "bind_recursive_clients"), ("tcp-clients", "bind_tcp_clients")):
        assert f"{option} {declared[variable]};" in text


def test_there_is_no_forwarder(host):
    assert "forwarders" not in checkconf(host)
    assert hostlib.rcvar(host, "named_auto_forward") in ("NO", "no", None)


def test_files_is_written_only_for_a_named_that_knows_it(host):
    known = (
        host.run(
            f"env {hostlib.PATH} sh -c %s",
            "t=$(mktemp) && echo 'options { files 1024; };' > $t && named-checkconf $t; s=$?; rm -f $t; exit $s",
        ).rc
        == 0
    )
    assert ("\tfiles " in checkconf(host)) == known


def test_named_is_enabled_and_the_other_resolver_is_not(host):
    assert hostlib.rcvar(host, "named_enable").upper() == "YES"
    assert (hostlib.rcvar(host, "local_unbound_enable") or "NO").upper() == "NO"
