"""newsyslog(8): a log turned over by its size or when forced, compressed, owned, and without a line of newsyslog's own in it (flag B)."""

import pytest


@pytest.fixture
def conf(run, scratch):
    """conf(line): a configuration file of that one line; %s stands for the log."""

    def write(line):
        run("echo %s > %s", line.replace("%s", f"{scratch}/log"), f"{scratch}/conf")
        return f"{scratch}/conf"

    return write


def lines(run, path, many):
    run(f"i=0; while [ $i -lt {many} ]; do echo a line of some length; i=$((i + 1)); done > {path}; chmod 600 {path}")


def test_a_small_log_stays(run, scratch, conf):
    lines(run, f"{scratch}/log", 3)
    assert run("newsyslog -f %s", conf("%s nobody:nobody 644 3 8 * BJN")).rc == 0
    assert run("ls %s", scratch).lines() == ["conf", "log"]


def test_a_log_of_that_size_is_turned_over_compressed_and_begun_anew_empty(run, scratch, conf):
    lines(run, f"{scratch}/log", 1000)
    before = run("cat %s", f"{scratch}/log").out
    assert run("newsyslog -f %s", conf("%s nobody:nobody 644 3 8 * BJN")).rc == 0
    assert run("ls %s", scratch).lines() == ["conf", "log", "log.0.bz2"]
    assert run("cat %s", f"{scratch}/log").out == ""
    assert run("ls -l %s", f"{scratch}/log").out.split()[:3:2] == ["-rw-r--r--", "nobody"]
    assert run(
        "/usr/local/bin/python3 -c 'import bz2, sys; sys.stdout.write(bz2.open(sys.argv[1], \"rt\").read())' %s",
        f"{scratch}/log.0.bz2",
    ).out in (before, "")
    assert run("ls -l %s", f"{scratch}/log.0.bz2").out.split()[2] == "nobody"


def test_as_many_as_declared_are_kept(run, scratch, conf):
    path = conf("%s nobody:nobody 644 2 8 * BZN")
    for _ in range(4):
        lines(run, f"{scratch}/log", 10)
        assert run("newsyslog -F -f %s", path).rc == 0
    assert run("ls %s", scratch).lines() == ["conf", "log", "log.0.gz", "log.1.gz"]


def test_without_its_flag_newsyslog_writes_a_line_into_the_log(run, scratch, conf):
    lines(run, f"{scratch}/log", 10)
    assert run("newsyslog -F -f %s", conf("%s nobody:nobody 644 2 8 * N")).rc == 0
    assert "logfile turned over" in run("cat %s", f"{scratch}/log").out


def test_a_log_that_is_not_there_is_no_error(run, scratch, conf):
    answer = run("newsyslog -F -f %s", conf("%s nobody:nobody 644 2 8 * BJN"))
    assert (answer.rc, answer.out, answer.err) == (0, "", "")
    assert run("ls %s", scratch).lines() == ["conf"]


def test_a_configuration_file_that_is_not_there(run, scratch):
    answer = run("newsyslog -f %s", f"{scratch}/none")
    assert answer.rc == 1 and "No such file" in answer.err


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ("no_such_user:nobody 644 2 8 * BN", "error in config file; unknown user:"),
        ("root:no_such_group 644 2 8 * BN", "error in config file; unknown group:"),
        ("9z4 2 8 * BN", "error in config file; bad permissions:"),
        ("644 x 8 * BN", "error in config file; bad value for count of logs to save:"),
    ],
)
def test_a_wrong_line_is_left_out_with_a_complaint_and_the_others_hold(run, scratch, conf, fields, complaint):
    """Exit status 0, too: who wants to know whether a line is right has to read what newsyslog says."""
    path = conf(f"%s {fields}")
    run(f"echo {scratch}/other 644 2 8 '*' BN >> {path}")
    for name in ("log", "other"):
        lines(run, f"{scratch}/{name}", 10)
    answer = run("newsyslog -F -f %s", path)
    assert (answer.rc, answer.err) == (0, f"newsyslog: {complaint}\n{scratch}/log {fields}\n\n")
    assert run("ls %s", scratch).lines() == ["conf", "log", "other", "other.0"]


@pytest.mark.parametrize("fields", ["", " 644"])
def test_a_line_that_ends_too_early_ends_it(run, scratch, conf, fields):
    lines(run, f"{scratch}/log", 10)
    answer = run("newsyslog -F -f %s", conf(f"%s{fields}"))
    assert (answer.rc, answer.err) == (1, f"newsyslog: missing field in config file:\n{scratch}/log{fields}\n\n")
    assert run("ls %s", scratch).lines() == ["conf", "log"]


def test_the_folder_for_other_software_is_included(run):
    assert "/usr/local/etc/newsyslog.conf.d/" in run("grep include /etc/newsyslog.conf").out
