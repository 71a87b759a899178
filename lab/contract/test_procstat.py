"""procstat(1): limits and descriptors of running processes, measured."""

import re

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
ROW = re.compile(r" *(\d+) (\S+) +(\S+) +(infinity|\d+(?: [KMGT]?B)?|\d+ sec) +(infinity|\d+(?: [KMGT]?B)?|\d+ sec) *")


def test_rlimit_rows(run):
    answer = run("procstat rlimit $(pgrep -o -x syslogd)")
    assert answer.rc == 0
    assert answer.lines()[0].split() == ["PID", "COMM", "RLIMIT", "SOFT", "HARD"]
    rows = [ROW.fullmatch(line) for line in answer.lines()[1:]]
    assert all(rows), answer
    assert [row[3] for row in rows] == NAMES
    assert {row[2] for row in rows} == {"syslogd"}


def test_columns_stand_where_freebsd_puts_them(run):
    answer = run("procstat rlimit $(pgrep -o -x syslogd)")
    assert answer.lines()[0] == "  PID COMM             RLIMIT                  SOFT             HARD     "
    assert all(
        len(line) == 73 for line in answer.lines()[1:] if not line.split()[0].isdigit() or len(line.split()[0]) <= 5
    )


def test_without_header(run):
    answer = run("procstat -h rlimit $(pgrep -o -x syslogd)")
    assert answer.rc == 0 and len(answer.lines()) == 16


def test_missing_process(run):
    answer = run("procstat rlimit 999999")
    assert (answer.rc, answer.out) == (1, "")
    assert answer.err == "procstat: sysctl(kern.proc): No such process\nprocstat: procstat_getprocs()\n"


def test_several_processes_share_one_header(run):
    answer = run("procstat rlimit 1 $(pgrep -o -x syslogd)")
    assert answer.rc == 0
    assert sum("RLIMIT" in line for line in answer.lines()) == 1 and len(answer.lines()) == 33


def test_it_measures_the_running_process(run):
    answer = run("limits -S -n 321 limits -H -n 432 sh -c 'procstat rlimit $$' | grep openfiles")
    assert answer.out.split()[2:] == ["openfiles", "321", "432"], answer


def test_descriptors(run):
    answer = run("procstat fd $(pgrep -o -x syslogd)")
    assert answer.rc == 0
    assert answer.lines()[0].split() == ["PID", "COMM", "FD", "T", "V", "FLAGS", "REF", "OFFSET", "PRO", "NAME"]
    kinds = [line.split()[2] for line in answer.lines()[1:]]
    assert {"text", "cwd", "root", "0", "1"} <= set(kinds)
    assert all(line.split()[1] == "syslogd" for line in answer.lines()[1:])


def test_usage(run):
    answer = run("procstat rlimit")
    assert answer.rc != 0 and "usage: procstat" in answer.err
