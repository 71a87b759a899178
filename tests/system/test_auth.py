"""Logging in from outside with the lab's user, and what must not work. Run over real sockets from the clients' network.

How often somebody may try, and to how many he may then send: test_submission_limits.py.
"""

import json

import pytest

USER, PASSWORD = "alert@home.example", "practice"


@pytest.fixture(scope="module", autouse=True)
def submission(lab):
    lab.need("submission")


LOGIN = """
import json, smtplib, ssl, sys
port, mechanism, user, password, recipient = sys.argv[1:6]
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
kind = smtplib.SMTP_SSL if port == '465' else smtplib.SMTP
options = {'context': context} if port == '465' else {}
# local_hostname: smtplib would ask a DNS that the clients' network does not have for the machine's own name
s = kind(local_hostname='client.example', timeout=60, source_address=('203.0.113.78', 0), **options)
s._host = 'mx.home.example'
s.connect('192.0.2.10', int(port))
s.ehlo('client.example')
before = 'auth' in s.esmtp_features
refused = s.docmd('AUTH', 'PLAIN AGEAYg==')[0] if port == '587' else 0
if port == '587':
    s.starttls(context=context); s.ehlo('client.example')
s.user, s.password = user, password
try:
    code = s.auth(mechanism, getattr(s, 'auth_' + mechanism.lower()))[0]
except smtplib.SMTPAuthenticationError as error:
    code = error.smtp_code
# an address that exists: smtpd_reject_unlisted_sender refuses invented ones of this domain from users, too
s.mail('postmaster@home.example')
print(json.dumps({'before': before, 'in_clear': refused, 'auth': code, 'relay': s.rcpt(recipient)[0]}))
s.rset(); s.quit()
"""


def login(lab, port, mechanism="PLAIN", user=USER, password=PASSWORD):
    return json.loads(
        lab.sh(
            "python3", "-", str(port), mechanism, user, password, "someone@d0001.test", host="clients", stdin=LOGIN
        ).stdout
    )


RESUME = """
import json, socket, ssl
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
def greeted(session):
    plain = socket.create_connection(('192.0.2.10', 465), 60, ('203.0.113.78', 0))
    with context.wrap_socket(plain, server_hostname='mx.home.example', session=session) as sock:
        # the ticket of TLS 1.3 comes with what the server says first
        sock.recv(1000)
        return sock.session, sock.session_reused, sock.version()
first = greeted(None)
print(json.dumps([first[1:], greeted(first[0])[1:]]))
"""


def test_a_session_is_resumed_without_a_cache(lab):
    first, second = json.loads(lab.sh("python3", "-", host="clients", stdin=RESUME).stdout)
    assert (first[0], second[0]) == (False, True)
    assert {first[1], second[1]} <= {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("port", [587, 465])
def test_the_user_logs_in_over_tls_and_may_send_anywhere(lab, port, mechanism):
    answer = login(lab, port, mechanism)
    assert (answer["auth"], answer["relay"]) == (235, 250), answer


def test_nothing_is_offered_before_tls(lab):
    answer = login(lab, 587)
    assert answer["before"] is False
    assert 500 <= answer["in_clear"] < 600, answer


def test_the_name_may_be_typed_in_capitals(lab):
    assert login(lab, 587, user=USER.upper())["auth"] == 235


@pytest.mark.parametrize("user, password", [(USER, "practise"), (USER, ""), ("alert", PASSWORD), ("root", PASSWORD)])
def test_a_wrong_password_or_name_is_refused_and_may_not_relay(lab, user, password):
    answer = login(lab, 587, user=user, password=password)
    assert answer["auth"] == 535, answer
    assert answer["relay"] >= 450, answer


def test_the_right_password_is_taken_after_many_wrong_ones(lab):
    """Dovecot's penalty for an address would come to more than the ten seconds that Postfix waits for an answer."""
    for _ in range(4):
        assert login(lab, 587, password="practise")["auth"] == 535
    assert login(lab, 587)["auth"] == 235
