"""What verify.yml's tests read from a host."""

import types

import hostlib

# of a host that neither looks domains up ahead nor counts recipients: postconf -P prints an empty value and then the next line
SUBMISSION = """\
587/inet/smtpd_client_restrictions =
587/inet/smtpd_recipient_restrictions =
587/inet/smtpd_relay_restrictions = permit_sasl_authenticated, reject
587/inet/syslog_name = postfix/587
"""


def test_what_master_cf_sets_to_nothing_is_not_the_line_after_it():
    host = types.SimpleNamespace(run=lambda *words: types.SimpleNamespace(rc=0, stdout=SUBMISSION, stderr=""))
    assert hostlib.service_options(host, "587/inet") == {
        "smtpd_client_restrictions": "",
        "smtpd_recipient_restrictions": "",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        "syslog_name": "postfix/587",
    }


SOCKETS = """\
USER     COMMAND    PID   FD  PROTO  LOCAL ADDRESS         FOREIGN ADDRESS
??       ??         ??    ??  tcp4   127.0.0.1:10027       *:*
postgrey perl       9521  5   tcp4   127.0.0.1:10027       *:*
"""


def test_a_socket_of_no_process_is_left_out():
    host = types.SimpleNamespace(run=lambda *words: types.SimpleNamespace(rc=0, stdout=SOCKETS, stderr=""))
    assert [(one.pid, one.port) for one in hostlib.listening(host)] == [(9521, 10027)]
