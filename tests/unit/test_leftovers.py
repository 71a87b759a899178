# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host was before: lines of rc.conf over which a run would fall, found with file and line, and a mailer that holds port 25."""

import os

import pytest
from role_modules import util

base, leftovers, rc = util("sokuhai.host"), util("sokuhai.leftovers"), util("sokuhai.rc")
FOUND = "USER COMMAND PID FD PROTO LOCAL ADDRESS FOREIGN ADDRESS\n"


@pytest.fixture(params=["/etc/rc.conf", "/etc/rc.conf.d/%s"])
def line(request, monkeypatch):
    """A function that puts name=value into the second line of a file that rc.subr reads, and returns "FILE:2"."""

    def put(name, value):
        path = request.param.replace("%s", name.partition("_")[0])
        files = {path: 'hostname="mx"\n%s="%s"\n' % (name, value)}
        monkeypatch.setattr(base, "read", files.get)
        monkeypatch.setattr(os.path, "exists", files.__contains__)
        monkeypatch.setattr(rc, "read", lambda names, _file=None: {name: value} if name in names else {})
        return path + ":2"

    return put


@pytest.mark.parametrize(
    "name, value, word",
    [
        ("named_program", "/usr/sbin/no-named", "no package installs"),
        ("named_chrootdir", "/var/no-named", "make it"),
        ("named_uid", "nobody-else", "no such user"),
        ("named_flags", "-4 -c /etc/namedb/named.conf", "set named_conf"),
        ("named_flags", "-n 2 -t/var/named", "set named_chrootdir"),
        ("named_flags", "-4g", "for ever"),
        ("named_flags", "-p 5353", "-p is another port than 53"),
        ("named_flags", "-Q", "does not take"),
    ],
)
def test_a_leftover_of_named_is_found_with_file_and_line(line, name, value, word):
    where = line(name, value)
    (said,) = leftovers.named({**leftovers.RC_DEFAULTS, "named_uid": "nobody", name: value})
    assert said.startswith("%s sets %s = %s, " % (where, name, value)) and word in said


@pytest.mark.parametrize(
    "variables", [{}, {"named_program": "/bin/sh"}, {"named_flags": "-4 -n 2 -S 4096 -d1"}, {"named_chrootdir": "/"}]
)
def test_what_of_rc_conf_a_run_can_do_with_is_none(variables):
    assert leftovers.named({**leftovers.RC_DEFAULTS, "named_uid": "nobody", **variables}) == []


@pytest.mark.parametrize("value", ["-c /etc/postfix", "-v -c/etc/postfix", "-vc /etc/postfix"])
def test_postfix_of_another_directory(line, value):
    where = line("postfix_flags", value)
    (said,) = leftovers.postfix("/usr/local/etc/postfix")
    assert said.startswith(where + " sets postfix_flags = ") and "of /etc/postfix, not" in said
    assert leftovers.postfix("/etc/postfix") == []


def test_flags_of_postfix_that_change_nothing(line):
    line("postfix_flags", "-v -D")
    assert leftovers.postfix("/usr/local/etc/postfix") == []


def test_dovecot_started_without_our_file(line):
    where = line("dovecot_config", "/a.conf /b.conf")
    (said,) = leftovers.dovecot("/usr/local/etc/dovecot/dovecot.conf")
    assert said.startswith(where + " sets dovecot_config = /a.conf /b.conf, ")
    assert leftovers.dovecot("/b.conf") == []


@pytest.mark.parametrize("value", ["NO", "YES"])
def test_a_service_that_rc_conf_d_keeps_off(line, value):
    where = line("postfix_enable", value)
    found = leftovers.disabled("postfix")
    assert len(found) == (value == "NO" and ".d/" in where)
    assert all(said.startswith(where + ": postfix_enable = NO there has the last word") for said in found)


@pytest.mark.parametrize(
    "rows, found",
    [
        ("mailnull exim-4.98 812 4 tcp4 *:25 *:*\nmailnull exim-4.98 812 5 tcp6 *:25 *:*\n", ["exim-4.98 (pid 812)"]),
        ("root smtpd 90 4 tcp46 *:25 *:*\n", ["smtpd (pid 90)"]),
        ("root master 90 4 tcp4 *:25 *:*\npostfix smtpd 91 6 tcp4 *:25 *:*\n", []),
        ("postfix smtpd 91 6 tcp4 *:25 *:*\n", []),
        ("root sendmail 90 4 tcp4 *:25 *:*\n", []),
        ("root smtpd 90 4 tcp4 127.0.0.2:25 *:*\n", []),
        ("", []),
    ],
)
def test_a_mailer_on_port_25(line, monkeypatch, rows, found):
    where = line("smtpd_enable", "YES")
    monkeypatch.setattr(base, "run", lambda argv: (0, FOUND + rows, ""))
    said = leftovers.mailer()
    assert [one.partition(": ")[2].partition(" listens")[0] for one in said] == found
    assert all(where in one for one in said if "smtpd (" in one)


CONF = "/usr/local/etc/dovecot/dovecot.conf"
OURS = "# Written whole by sokuhai's role postfix; a change made here is gone\nmyhostname = mx\n"


@pytest.mark.parametrize(
    "files, enabled, found",
    [
        ({}, "", []),
        # the operator's own
        ({"/etc/postfix/main.cf": "myhostname = mx\n", CONF: "protocols = imap\n"}, "YES", []),
        ({"/etc/postfix/main.cf": OURS}, "YES", ["Postfix"]),
        ({"/etc/postfix/main.cf": OURS}, "yes", ["Postfix"]),
        # as rollback.yml leaves it
        ({"/etc/postfix/main.cf": OURS}, "", []),
        ({"/etc/postfix/main.cf": OURS, CONF: "protocols = imap\n"}, "NO", []),
        ({CONF: "# Written by sokuhai's role sasl; …\n"}, "", ["Dovecot"]),
        ({path: "" for path in leftovers.SERVICES}, "", list(leftovers.SERVICES.values())),
    ],
)
def test_a_mail_service_of_ours_is_known_until_it_is_switched_off(monkeypatch, files, enabled, found):
    monkeypatch.setattr(base, "read", files.get)
    monkeypatch.setattr(os.path, "exists", files.__contains__)
    monkeypatch.setattr(rc, "read", lambda names, _file=None: {"postfix_enable": enabled} if enabled else {})
    assert leftovers.mail("/etc/postfix", CONF) == found


SUBR = {"/etc/rc.subr": "_svcj=${svcj_all_enable}"}
ASKS = {"/usr/local/etc/rc.d/named": 'named_svcj_options=${named_svcj_options:-"net_basic"}'}


@pytest.mark.parametrize(
    "files, set_to, found",
    [
        # FreeBSD 14 knows no such jails
        ({}, {"named_svcj": "YES"}, []),
        # of which nothing asks, by itself
        (SUBR, {"svcj_all_enable": "YES"}, []),
        ({**SUBR, **ASKS}, {"named_svcj": "YES", "postfix_svcj": "YES"}, ["postfix"]),
        (SUBR, {"postfix_svcj": "NO"}, []),
        (SUBR, {"postfix_svcj": "YES", "postfix_svcj_options": "net_basic"}, []),
        (SUBR, {"named_svcj": "yes"}, ["named"]),
    ],
)
def test_a_service_that_would_come_into_a_jail_without_a_network(monkeypatch, files, set_to, found):
    files = {**files, "/etc/rc.conf": "".join('%s="%s"\n' % pair for pair in set_to.items())}
    monkeypatch.setattr(base, "read", files.get)
    monkeypatch.setattr(os.path, "exists", files.__contains__)
    monkeypatch.setattr(rc, "read", lambda names, _file=None: {n: v for n, v in set_to.items() if n in names})
    said = leftovers.jailed(["named", "postfix"])
    assert list(said) == found
    for service, (message,) in said.items():
        assert message.startswith("/etc/rc.conf:") and message.endswith("sysrc %s_svcj=NO" % service)
