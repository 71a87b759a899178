"""service(8), rc.subr(8) and rcorder(8): what rc.d scripts of FreeBSD's form print and how they end."""

import re

import pytest

PROBE = """#!/bin/sh
# PROVIDE: %(name)s
# REQUIRE: DAEMON
. /etc/rc.subr
name=%(name)s
rcvar=%(name)s_enable
load_rc_config $name
: ${%(name)s_enable:=NO}
%(body)s
run_rc_command "$1"
"""


@pytest.fixture
def script(run):
    """script(body): a local rc.d script, gone after the test; returns its name."""
    name = "contractprobe"
    path = f"/usr/local/etc/rc.d/{name}"

    def make(body):
        run(
            "mkdir -p /usr/local/etc/rc.d; printf %%s %s > %s; chmod 755 %s",
            PROBE % {"name": name, "body": body},
            path,
            path,
        )
        return name

    yield make
    run("rm -f %s /etc/rc.conf.d/%s /var/run/%s.pid", path, name, name)


def test_status_of_a_running_service(run):
    for verb in ("status", "onestatus"):
        answer = run("service sshd %s", verb)
        assert answer.rc == 0
        assert re.fullmatch(r"sshd is running as pid \d+\.\n", answer.out), answer


def test_rcvar_shows_value_and_default(run):
    answer = run("service sshd rcvar")
    assert answer.rc == 0
    assert re.fullmatch(r'# sshd : Secure Shell Daemon\n#\nsshd_enable="\w+"\n#   \(default: ""\)\n\n', answer.out), (
        answer
    )


def test_unknown_service(run):
    answer = run("service no_such_service status")
    assert answer.rc == 1
    assert answer.out == (
        "no_such_service does not exist in /etc/rc.d or the local startup\n"
        "directories (/usr/local/etc/rc.d), or is not executable\n"
    )


def test_enabled_is_an_exit_status(run):
    assert (run("service sshd enabled").rc, run("service ntpd enabled").rc) == (0, 1)


def test_enabled_services_are_paths(run):
    answer = run("service -e")
    assert answer.rc == 0
    assert {"/etc/rc.d/sshd", "/etc/rc.d/syslogd", "/etc/rc.d/netif", "/etc/rc.d/newsyslog"} <= set(answer.lines())
    assert all(re.fullmatch(r"(/usr/local)?/etc/rc\.d/\S+", line) for line in answer.lines())


def test_list_of_scripts(run):
    answer = run("service -l")
    assert answer.rc == 0
    assert answer.lines()[:5] == ["DAEMON", "FILESYSTEMS", "LOGIN", "NETWORKING", "SERVERS"]
    assert {"cron", "pf", "sendmail", "syslogd", "sysctl"} <= set(answer.lines())
    assert {"blocklistd", "blacklistd"} & set(answer.lines()), "FreeBSD 14 has the older name"
    there = run("find /etc/rc.d -type f -perm -u+x").lines()
    assert {path.rpartition("/")[2] for path in there} <= set(answer.lines())


def test_describe(run):
    answer = run("service syslogd describe")
    assert (answer.rc, answer.out) == (0, "System log daemon\n")


@pytest.fixture
def idle(run):
    """Name of a service that is there and not enabled; a FreeBSD can be built without ntpd (src.conf(5))."""
    for name in ("ntpd", "blocklistd"):
        if run("test -x /etc/rc.d/%s", name).rc == 0 and run("service %s enabled", name).rc:
            return name
    pytest.skip("every service that is tried here is enabled")


def test_start_of_a_service_that_is_not_enabled_exits_0(run, idle):
    answer = run("service %s start", idle)
    assert answer.rc == 0
    assert (
        answer.out
        == f"Cannot 'start' {idle}. Set {idle}_enable to YES in /etc/rc.conf or use 'onestart' instead of 'start'.\n"
    )


def test_unknown_directive(run):
    answer = run("service syslogd no_such_directive")
    assert answer.rc == 1
    assert answer.err.splitlines()[0] == "/etc/rc.d/syslogd: unknown directive 'no_such_directive'."
    assert answer.err.splitlines()[1].startswith(
        "Usage: /etc/rc.d/syslogd [fast|force|one|quiet](start|stop|restart|rcvar|"
    )


def test_restart_says_what_it_waits_for(run):
    before = run("service syslogd status").out
    answer = run("service syslogd restart")
    assert answer.rc == 0
    assert re.fullmatch(r"Stopping syslogd\.\n(Waiting for PIDS: \d+(, \d+)*\.\n)?Starting syslogd\.\n", answer.out), (
        answer
    )
    assert run("service syslogd status").out != before


def test_reload_is_silent(run):
    answer = run("service syslogd reload")
    assert (answer.rc, answer.out) == (0, "")


def test_order(run):
    order = run("rcorder /etc/rc.d/* 2>/dev/null").lines()
    assert "/etc/rc.d/sysctl" in order
    names = ["/etc/rc.d/" + n for n in ("sysctl", "netif", "syslogd", "DAEMON", "LOGIN", "sshd")]
    assert [n for n in order if n in names] == names


def test_default_start_runs_with_class_daemon_and_own_limits(run, script):
    # a process name that nobody has: sh itself always runs somewhere
    name = script("command=/bin/sh\nprocname=/nonexistent/contract\ncommand_args=\"-c 'ulimit -n; ulimit -Hn'\"")
    answer = run("service %s onestart", name)
    assert answer.rc == 0
    assert answer.lines()[0] == f"Starting {name}."
    run("mkdir -p /etc/rc.conf.d; echo '%s_limits=\"-n 1234\"' > /etc/rc.conf.d/%s" % (name, name))
    assert run("service %s onestart", name).lines()[1:] == ["1234", "1234"]


def test_own_start_command_ignores_limits(run, script):
    name = script("start_cmd=probe\nprobe() { ulimit -n; }")
    bare = run("service %s onestart", name).out
    run("mkdir -p /etc/rc.conf.d; echo '%s_limits=\"-n 1234\"' > /etc/rc.conf.d/%s" % (name, name))
    assert run("service %s onestart", name).out == bare
    assert run("limits -n 1200 service %s onestart", name).out == "1200\n"


def test_rc_conf_d_is_read_by_the_scripts_own_shell(run, script):
    name = script("start_cmd=probe\nprobe() { ulimit -Sn; ulimit -Hn; }")
    run("mkdir -p /etc/rc.conf.d; echo 'ulimit -n 1111' > /etc/rc.conf.d/%s", name)
    assert run("service %s onestart", name).lines() == ["1111", "1111"]


def test_environment_of_a_script_is_clean(run, script):
    name = script('start_cmd=probe\nprobe() { echo "[$CONTRACT_LEAK]" "$HOME"; }')
    assert run("CONTRACT_LEAK=yes service %s onestart", name).out == "[] /\n"
    assert run("service -E CONTRACT_LEAK=yes %s onestart", name).out == "[yes] /\n"


def test_environment_for_the_service(run, script):
    name = script('start_cmd=probe\nprobe() { echo "$COLOUR"; }')
    run("mkdir -p /etc/rc.conf.d; echo '%s_env=\"COLOUR=blue\"' > /etc/rc.conf.d/%s" % (name, name))
    assert run("service %s onestart", name).out == "blue\n"


def test_failing_precmd_stops_the_start(run, script):
    name = script("command=/usr/bin/true\nstart_precmd=no\nno() { return 1; }")
    answer = run("service %s onestart", name)
    assert answer.rc == 1 and "Starting" not in answer.out
    assert f"WARNING: failed precmd routine for {name}" in answer.err
    assert run("service %s forcestart", name).out == f"Starting {name}.\n"


def test_life_of_a_daemon(run, script):
    name = script(
        "command=/bin/sleep\npidfile=/var/run/${name}.pid\nstart_cmd=up\n"
        "up() { /bin/sleep 300 >/dev/null 2>&1 & echo $! > $pidfile; }\nprocname=/bin/sleep"
    )
    off = run("service %s onestatus", name)
    assert (off.rc, off.out) == (1, f"{name} is not running.\n")
    assert run("service %s onestart", name).rc == 0
    on = run("service %s onestatus", name)
    assert on.rc == 0 and re.fullmatch(rf"{name} is running as pid \d+\.\n", on.out)
    twice = run("service %s onestart", name)
    assert twice.rc == 1 and re.fullmatch(rf"{name} already running\?  \(pid=\d+\)\.\n", twice.err), twice
    stop = run("service %s onestop", name)
    assert stop.rc == 0 and re.fullmatch(rf"Stopping {name}\.\n(Waiting for PIDS: \d+\.\n)?", stop.out), stop
    not_running = run("service %s onestop", name)
    assert not_running.rc == 1
    assert not_running.err == f"{name} not running? (check /var/run/{name}.pid).\n"


def test_enable_disable_delete(run, keep, idle):
    keep("/etc/rc.conf")
    assert run("service %s enable", idle).out == f"{idle} enabled in /etc/rc.conf\n"
    assert run("service %s enabled", idle).rc == 0
    assert run("service %s disable", idle).out == f"{idle} disabled in /etc/rc.conf\n"
    assert run("service %s enabled", idle).rc == 1
    assert run("service %s delete", idle).out == f"{idle}_enable deleted in /etc/rc.conf\n"
