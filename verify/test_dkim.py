"""The signer: it signs what is this host's own by the declared keys, and nothing that comes from a stranger."""

import hostlib
import pytest

# One message for the milter at a socket, as Postfix hands it over; prints "SELECTOR DOMAIN" of each signature it adds. argv: socket, client, sender
ASK = """
import socket, struct, sys
path, client, sender = sys.argv[1:4]
s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(path); f = s.makefile('rb')
def send(command, data=b''):
    s.sendall(struct.pack('!I', len(data) + 1) + command + data)
def reply():
    data = f.read(struct.unpack('!I', f.read(4))[0]); return data[:1], data[1:]
def z(*words):
    return b''.join(word.encode() + b'\\0' for word in words)
send(b'O', struct.pack('!3I', 6, 0x1ff, 0x1fffff)); silent = struct.unpack('!3I', reply()[1][:12])[2]
quiet = {b'C': 0x1000, b'H': 0x2000, b'M': 0x4000, b'R': 0x8000, b'L': 0x80, b'N': 0x40000, b'B': 0x80000}
def step(command, data=b''):
    send(command, data)
    if not silent & quiet[command]:
        assert reply()[0] == b'c'
send(b'D', b'C' + z('j', 'verify.invalid')); step(b'C', z('verify.invalid') + b'4' + struct.pack('!H', 25) + z(client))
step(b'H', z('verify.invalid')); step(b'M', z('<%s>' % sender)); step(b'R', z('<verify@probe.invalid>'))
for name, value in (('From', '<%s>' % sender), ('Subject', 'verify'), ('List-Unsubscribe', '<https://probe.invalid/x>'), ('List-Unsubscribe-Post', 'List-Unsubscribe=One-Click')):
    step(b'L', z(name, value))
step(b'N'); step(b'B', b'verify\\r\\n'); send(b'E')
while True:
    command, data = reply()
    if command in b'hi':
        name, value = data[4 * (command == b'i'):].split(b'\\0')[:2]
        if name.lower() == b'dkim-signature':
            tags = dict(part.strip().partition('=')[::2] for part in value.decode().split(';') if '=' in part)
            print(tags['s'], tags['d'], ','.join(sorted(set(''.join(tags['h'].split()).lower().split(':')))))
    elif command in b'acdrty':
        break
"""
SOCKET = "/var/run/sokuhai_dkim/milter.sock"


@pytest.fixture
def dkim(declared):
    if not declared["dkim_enabled"]:
        pytest.skip("dkim_enabled is false: nothing is signed")
    return declared


def signed(host, client, domain):
    return [line.split() for line in hostlib.python(host, ASK, SOCKET, client, f"verify@{domain}").splitlines()]


def test_every_domain_is_signed_for_with_what_unsubscribes_in_it(host, dkim):
    for domain in dkim["dkim_domains"]:
        found = signed(host, "127.0.0.1", domain["name"])
        assert {one[1] for one in found} == {domain["name"]} and len(found) >= 1 + dkim["dkim_ed25519"], found
        for one in found:
            assert {"from", "subject", "list-unsubscribe", "list-unsubscribe-post"} <= set(one[2].split(",")), one


def test_a_stranger_is_not_signed_for(host, dkim):
    for domain in dkim["dkim_domains"]:
        assert signed(host, "203.0.113.254", domain["name"]) == []


def test_nobody_but_the_signer_can_read_the_keys(host, dkim):
    if not dkim["dkim_domains"]:
        pytest.skip("dkim_domains is empty: there are no keys")
    found = hostlib.output(host, "find /var/db/sokuhai_dkim/keys -type f -exec ls -l {} +").splitlines()
    assert found and {(line.split()[0], line.split()[2]) for line in found} == {("-rw-------", dkim["dkim_user"])}, (
        found
    )


def test_postfix_lets_its_own_mail_wait_for_the_signer(host, dkim):
    settings = hostlib.postconf(host)
    action = {"defer": "tempfail", "accept": "accept"}[dkim["dkim_down"]]
    for name in ("smtpd_milters", "non_smtpd_milters"):
        assert f"unix:{SOCKET}, default_action={action}" in settings[name], settings[name]


def test_it_starts_at_boot(host, dkim):
    assert hostlib.rcvar(host, "sokuhai_dkim_enable").upper() == "YES"
    assert hostlib.output(host, "service sokuhai_dkim status")
