"""The door: what a client from outside may not do. Run over real sockets from the clients' network."""

import pytest
from stranger import talk

DNS = """
import socket, struct, sys
q = struct.pack('>HHHHHH', 77, 0x0100, 1, 0, 0, 0) + b''.join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split('.')) + b'\\0' + struct.pack('>HH', 1, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('203.0.113.77', 0)); s.settimeout(3); s.sendto(q, ('192.0.2.10', 53))
try:
    a = s.recv(4096); print(a[3] & 15, struct.unpack('>H', a[6:8])[0])
except (TimeoutError, ConnectionRefusedError):
    print('silent 0')
"""


@pytest.mark.parametrize(
    "recipient",
    [
        "someone@d0001.test",
        "someone%d0001.test@home.example",
        "@home.example:someone@d0001.test",
        "d0001.test!someone",
        '"someone@d0001.test"@home.example',
        "someone@[198.51.100.200]",
    ],
)
def test_a_stranger_may_not_relay(lab, recipient):
    answer = talk(lab, "stranger@d0002.test", recipient)[2]
    assert answer[0] >= 500, answer


def test_a_stranger_may_write_to_this_domain(lab):
    answer = talk(lab, "stranger@d0002.test", "postmaster@home.example")[2]
    assert answer[0] == 250, answer


def test_a_stranger_gets_no_recursion(lab):
    code, answers = lab.sh("python3", "-", "mail.d0001.test", host="clients", stdin=DNS).stdout.split()
    assert answers == "0" and code in ("5", "silent")
