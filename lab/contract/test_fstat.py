"""fstat(1)."""


def test_open_files_of_one_process(run):
    answer = run("fstat -p $(pgrep -o -x syslogd)")
    assert answer.rc == 0
    assert answer.lines()[0].split()[:4] == ["USER", "CMD", "PID", "FD"]
    assert {"text", "wd", "root", "0"} <= {line.split()[3].rstrip("*") for line in answer.lines()[1:]}


def test_the_text_of_a_process_is_its_programs_file(run):
    answer = run("fstat -p $$; ls -iL /bin/sh")
    (number,) = [line.split()[5] for line in answer.lines() if line.split()[3:4] == ["text"]]
    assert answer.lines()[-1].split()[0] == number, answer


def test_option_without_its_argument(run):
    answer = run("fstat -p")
    assert answer.rc == 1
    assert answer.err.splitlines()[0] == "fstat: option requires an argument -- p"
    assert answer.err.splitlines()[1].startswith("usage: fstat ")


def test_who_has_a_file_open(run):
    answer = run("exec 3< /etc/rc.conf; fstat /etc/rc.conf; :")
    assert any(line.split()[1] == "sh" for line in answer.lines()[1:]), answer
