"""BIND as the port lays it out, and rc.d/named."""

import re

import pytest


@pytest.fixture(scope="module")
def named(run, needs):
    needs("named", "named-checkconf", "rndc")


def test_version(run, named):
    answer = run("named -v")
    assert answer.rc == 0 and re.match(r"BIND 9\.\d+\.\d+", answer.out)
    assert re.match(r"9\.\d+\.\d+", run("named-checkconf -v").out)


def test_places(run, named):
    assert run("command -v named").out == "/usr/local/sbin/named\n"
    assert run("command -v named-checkconf").out.strip() in (
        "/usr/local/bin/named-checkconf",
        "/usr/local/sbin/named-checkconf",
    )
    assert run("test -d /usr/local/etc/namedb/working").rc == 0
    assert run("stat -f %Su /usr/local/etc/namedb/working").out == "bind\n"


def test_checker_takes_the_configuration_and_refuses_nonsense(run, named, scratch):
    assert run("named-checkconf /usr/local/etc/namedb/named.conf").rc == 0
    run("echo 'options { no-such-option yes; };' > %s/named.conf", scratch)
    assert run("named-checkconf %s/named.conf", scratch).rc == 1
    printed = run("named-checkconf -p /usr/local/etc/namedb/named.conf")
    assert printed.rc == 0 and "options {" in printed.lines()


def test_files_is_known_or_fatal_by_version(run, named, scratch):
    minor = int(re.search(r"9\.(\d+)", run("named-checkconf -v").out)[1])
    run("echo 'options { files 65535; };' > %s/named.conf", scratch)
    assert run("named-checkconf %s/named.conf", scratch).rc == (0 if minor < 20 else 1)


def test_rc_script(run, named):
    answer = run("service named rcvar")
    assert answer.rc == 0
    assert re.fullmatch(
        r'# named : named BIND startup script\n#\nnamed_enable="\w+"\n#   \(default: ""\)\n\n', answer.out
    ), answer
    wrong = run("service named configtest")
    assert wrong.rc == 1
    assert wrong.err.splitlines()[0] == "/usr/local/etc/rc.d/named: unknown directive 'configtest'."
    assert wrong.err.splitlines()[1] == (
        "Usage: /usr/local/etc/rc.d/named [fast|force|one|quiet](start|stop|restart|rcvar|"
        "enable|disable|delete|enabled|describe|extracommands|reload|status|poll)"
    )
    assert run("service named oneextracommands").out == "reload\n"


def test_status(run, named):
    answer = run("service named status")
    assert re.fullmatch(r"named is (not running|running as pid \d+)\.\n", answer.out)
    assert answer.rc == (0 if "pid" in answer.out else 1)


def test_running_named_listens_as_bind(run, named):
    if run("service named status").rc:
        pytest.skip("named does not run on this host")
    rows = [line.split() for line in run("sockstat -46 -l").lines()[1:] if line.split()[1] == "named"]
    assert rows and {row[0] for row in rows} == {"bind"}
    assert {"127.0.0.1:53"} <= {row[5] for row in rows}
    assert re.search(r"^version: BIND 9", run("rndc status").out, re.MULTILINE)


def test_start_checks_first_and_a_bad_file_does_not_start(run, named, scratch):
    run("echo 'options { no-such-option yes; };' > %s/named.conf", scratch)
    name = "contractnamed"
    # the same script under another name and with another file: the running named is left alone
    run(
        "sed 's/^name=.*/name=%s/; s/^rcvar=.*/rcvar=%s_enable/' /usr/local/etc/rc.d/named > /usr/local/etc/rc.d/%s; "
        "chmod 755 /usr/local/etc/rc.d/%s" % ((name,) * 4)
    )
    try:
        answer = run(
            "service -E named_conf=%s/named.conf -E %s_program=/usr/local/sbin/named -E %s_enable=YES %s faststart",
            scratch,
            name,
            name,
            name,
        )
        assert answer.rc != 0, answer
        assert f"named-checkconf for {scratch}/named.conf failed" in answer.err or "checkconf" in answer.err, answer
    finally:
        run("rm -f /usr/local/etc/rc.d/%s", name)
