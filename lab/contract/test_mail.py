"""mailer.conf(5), the log of mail, and Postfix as the port lays it out."""

import re

import pytest


@pytest.fixture(scope="module")
def postfix(run, needs):
    needs("postfix")


def test_stock_mailer(run):
    answer = run("cat /etc/mail/mailer.conf")
    assert answer.rc == 0
    lines = [line.split() for line in answer.lines() if line and not line.startswith("#")]
    assert {"sendmail", "mailq", "newaliases"} <= {line[0] for line in lines}
    assert run("test -L /usr/sbin/sendmail").rc == 0


def test_local_mailer_conf_wins(run, keep, scratch):
    keep("/usr/local/etc/mail/mailer.conf")
    run(
        "printf '#!/bin/sh\\necho contract \"$@\"\\n' > %s/mta; chmod 755 %s %s/mta; mkdir -p /usr/local/etc/mail; "
        "echo 'sendmail %s/mta' > /usr/local/etc/mail/mailer.conf" % ((scratch,) * 4)
    )
    answer = run("/usr/sbin/sendmail -bp one")
    assert (answer.rc, answer.out) == (0, "contract -bp one\n"), answer


def test_log_of_mail(run):
    run("logger -p mail.info contract-line")
    answer = run(
        "i=0; while [ $i -lt 20 ]; do tail -50 /var/log/maillog | grep contract-line && break; "
        "sleep 0.1; i=$((i+1)); done"
    )
    assert re.fullmatch(r"(\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ .*contract-line\n)+", answer.out), answer
    assert run("stat -f '%Sp %Su:%Sg' /var/log/maillog").out == "-rw-r----- root:wheel\n"


def test_places(run, postfix):
    answer = run(
        "postconf -h config_directory daemon_directory command_directory queue_directory data_directory meta_directory"
    )
    assert answer.lines() == [
        "/usr/local/etc/postfix",
        "/usr/local/libexec/postfix",
        "/usr/local/sbin",
        "/var/spool/postfix",
        "/var/db/postfix",
        "/usr/local/libexec/postfix",
    ]
    assert run("postconf -h mail_owner setgid_group").lines() == ["postfix", "maildrop"]


def test_cyrus_is_of_a_flavor(run, postfix):
    cyrus = ["cyrus"] if run("pkg info -e postfix-sasl").rc == 0 else []
    assert run("postconf -A").lines() == cyrus
    assert sorted(run("postconf -a").lines()) == [*cyrus, "dovecot"]


def test_owners(run, postfix):
    assert run("stat -f '%Sp %Su:%Sg' /usr/local/etc/postfix /var/db/postfix /var/spool/postfix").lines() == [
        "drwxr-xr-x root:wheel",
        "drwx------ postfix:wheel",
        "drwxr-xr-x root:wheel",
    ]
    assert (
        run("stat -f '%Sp %Sg' /usr/local/sbin/postdrop /usr/local/sbin/postqueue").lines()
        == ["-r-xr-sr-x maildrop"] * 2
        or run("stat -f '%Sp %Sg' /usr/local/sbin/postdrop").out == "-rwxr-sr-x maildrop\n"
    )


def test_map_types(run, postfix):
    types = run("postconf -m").lines()
    assert {"btree", "cidr", "hash", "inline", "regexp", "static", "texthash"} <= set(types)
    assert run("postconf -h default_database_type").out.strip() in types


def test_maps_are_built_and_looked_up(run, postfix, scratch):
    kind = run("postconf -h default_database_type").out.strip()
    run("printf 'a@example.org REJECT\\n' > %s/m", scratch)
    assert run("postmap %s:%s/m", kind, scratch).rc == 0
    assert run("postmap -q a@example.org %s:%s/m", kind, scratch).out == "REJECT\n"
    assert run("postmap -q b@example.org %s:%s/m", kind, scratch).rc == 1


def test_unknown_parameter_is_only_a_warning(run, postfix):
    answer = run("postconf no_such_parameter")
    assert (answer.rc, answer.err) == (0, "postconf: warning: no_such_parameter: unknown parameter\n")


def test_check_refuses_a_number_that_is_none(run, postfix, scratch):
    run("cp -R /usr/local/etc/postfix/. %s/; postconf -c %s -e default_process_limit=notanumber", scratch, scratch)
    assert run("postfix -c %s check", scratch).rc == 1


def test_build_record(run, postfix):
    assert re.search(r"^OPT\s*=", run("cat /usr/local/libexec/postfix/makedefs.out").out, re.MULTILINE)


def test_rc_script(run, postfix):
    answer = run("service postfix rcvar")
    assert answer.rc == 0 and re.search(r'^postfix_enable="\w+"$', answer.out, re.MULTILINE)
    assert run("service postfix oneextracommands").out == "reload\n"
    status = run("service postfix onestatus")
    assert (status.rc, bool(re.fullmatch(r"postfix is (not running|running as pid \d+)\.\n", status.out))) == (
        0 if "pid" in status.out else 1,
        True,
    )
    assert "postfix_start" in run("cat /usr/local/etc/rc.d/postfix").out, "the port starts by a command of its own"


def test_stock_files_are_kept_as_samples(run, postfix):
    assert run("test -f /usr/local/etc/postfix/main.cf && test -f /usr/local/etc/postfix/master.cf").rc == 0
    if run("test -f /usr/local/etc/postfix/main.cf.sample").rc:
        pytest.skip("this Postfix was not installed from the port")
    assert run("test -f /usr/local/etc/postfix/master.cf.sample").rc == 0
