"""limits(1), cap_mkdb(1) and login.conf(5): what is shown, and that limits really are set."""

import re

import pytest

NAMES = [
    "cputime",
    "filesize",
    "datasize",
    "stacksize",
    "coredumpsize",
    "memoryuse",
    "memorylocked",
    "maxprocesses",
    "openfiles",
    "sbsize",
    "vmemoryuse",
    "pseudo-terminals",
    "swapuse",
    "kqueues",
    "umtxp",
    "pipebuf",
]
UNITS = {
    "cputime": "secs",
    "sbsize": "bytes",
    "maxprocesses": "",
    "openfiles": "",
    "pseudo-terminals": "",
    "kqueues": "",
    "umtxp": "",
}


def rows(answer):
    """{name: value} of a limits listing, whose form is asserted on the way."""
    result = {}
    for line in answer.lines()[1:]:
        match = re.fullmatch(r"  ([a-z-]+?)(-cur|-max)? +(\d+|infinity)( secs| kB| bytes)?", line)
        assert match, line
        assert (match[4] or "").strip() == UNITS.get(match[1], "kB"), line
        if match[2] != "-max":
            result[match[1]] = match[3]
    return result


def test_class_daemon(run):
    answer = run("limits -C daemon")
    assert answer.rc == 0
    assert answer.lines()[0] == "Resource limits for class daemon:"
    assert list(rows(answer)) == NAMES


def test_stock_values_of_class_daemon(run):
    shown = rows(run("limits -C daemon"))
    assert shown["memorylocked"] == "131072"
    # whatever the class says, it is never less than the default class
    assert shown["openfiles"] == "infinity" or int(shown["openfiles"]) > 0


def test_unknown_class_falls_back_to_default_and_exits_0(run):
    answer = run("limits -C no_such_class")
    assert answer.rc == 0
    assert answer.err == "login class 'no_such_class' non-existent, using default\n"
    assert answer.lines()[0] == "Resource limits for class default:"
    assert rows(answer)["memorylocked"] == "64"


def test_current_limits(run):
    answer = run("limits")
    assert answer.rc == 0
    assert answer.lines()[0] == "Resource limits (current):"
    assert list(rows(answer)) == NAMES
    assert int(rows(answer)["openfiles"]) <= int(run("sysctl -n kern.maxfilesperproc").out)


def test_one_limit_of_a_class(run):
    answer = run("limits -C daemon -n")
    assert len(answer.lines()) == 2 and answer.lines()[0] == "Resource limits for class daemon:"
    assert list(rows(answer)) == ["openfiles"]


def test_it_really_sets(run):
    assert run("limits -n 500 sh -c 'ulimit -n; ulimit -Hn'").lines() == ["500", "500"]
    assert run("limits -S -n 400 sh -c 'ulimit -n'").out == "400\n"
    hard = run("ulimit -Hn").out
    assert run("limits -S -n 400 sh -c 'ulimit -Hn'").out == hard


def test_more_than_the_kernel_allows_is_cut_to_it(run):
    most = run("sysctl -n kern.maxfilesperproc").out
    assert run("limits -n infinity sh -c 'ulimit -n'").out == most


def test_eval_form(run):
    answer = run("limits -e -n 500")
    assert (answer.rc, answer.out) == (0, "ulimit -n 500;\n")


def test_status_is_the_commands(run):
    assert run("limits -n 500 sh -c 'exit 7'").rc == 7


def test_command_that_is_not_there(run):
    answer = run("limits -n 500 /nonexistent/command")
    assert answer.rc == 1 and answer.err == "limits: /nonexistent/command: No such file or directory\n"


def test_nonsense_value(run):
    answer = run("limits -n 5x sh -c true")
    assert answer.rc == 1 and answer.err.startswith("limits: invalid value -n `5x'\nusage: limits ")


@pytest.fixture
def contract_class(run, keep):
    keep("/etc/login.conf")
    run("printf 'contract:\\\\\\n\\t:openfiles=500:\\\\\\n\\t:tc=daemon:\\n' >> /etc/login.conf")
    yield "contract"
    # the database of the file as it was: keep puts the file back only after this
    run(
        "sed -i.contract -e '/^contract:/,$d' /etc/login.conf; rm -f /etc/login.conf.contract; cap_mkdb /etc/login.conf"
    )


def test_a_class_is_not_seen_before_cap_mkdb(run, contract_class):
    answer = run("limits -C %s -n", contract_class)
    assert answer.rc == 0
    assert answer.err == f"login class '{contract_class}' non-existent, using default\n"
    made = run("cap_mkdb /etc/login.conf")
    assert (made.rc, made.out, made.err) == (0, "", "")
    answer = run("limits -C %s -n", contract_class)
    assert (answer.rc, answer.err) == (0, "")
    assert answer.lines()[0] == f"Resource limits for class {contract_class}:" and rows(answer) == {"openfiles": "500"}
    assert run("limits -C %s", contract_class).out.count("131072") == 1, "tc=daemon is followed"
    assert run("limits -C %s sh -c 'ulimit -n; ulimit -Hn'", contract_class).lines() == ["500", "500"]


def test_a_class_holds_for_the_running_service(run, contract_class, keep):
    keep("/etc/rc.conf")
    run("cap_mkdb /etc/login.conf")
    try:
        assert run("sysrc syslogd_login_class=%s", contract_class).rc == 0
        assert run("service syslogd restart").rc == 0
        answer = run("procstat rlimit $(pgrep -o -x syslogd) | grep openfiles")
        assert re.fullmatch(r" *\d+ syslogd +openfiles +500 +500 +\n", answer.out), answer
    finally:
        run("sysrc -x syslogd_login_class; service syslogd restart")


def test_cap_mkdb_of_a_missing_file(run):
    answer = run("cap_mkdb /nonexistent/login.conf")
    assert answer.rc != 0 and "No such file or directory" in answer.err


def test_database_lies_beside_the_file(run):
    assert (
        run("cap_mkdb /etc/login.conf && test /etc/login.conf.db -nt /etc/rc.d/sysctl && test -s /etc/login.conf.db").rc
        == 0
    )
