"""uname(1), freebsd-version(1), os-release(5), id(1): who the host says it is."""

import re


def test_uname_all_names_system_node_release_version_machine(run):
    answer = run("uname -a")
    assert answer.rc == 0
    assert re.fullmatch(r"FreeBSD \S+ \d+\.\d+-\S+ FreeBSD \d+\.\d+-\S+ .*\S+ \S+\n", answer.out), answer


def test_each_letter_is_a_part_of_all(run):
    parts = run("for o in s n r m; do uname -$o; done").lines()
    assert len(parts) == 4
    assert parts[0] == "FreeBSD"
    whole = run("uname -a").out.split()
    assert whole[:3] == parts[:3] and whole[-1] == parts[3]


def test_kernel_ident_is_the_last_word_of_the_version(run):
    ident = run("uname -i").out.strip()
    assert ident
    assert run("uname -v").out.split()[-1].split("/")[-1] == ident


def test_kernel_and_userland_versions_are_numbers_of_one_release(run):
    numbers = run("uname -K; uname -U").lines()
    assert all(re.fullmatch(r"1[3-9]\d{5}", n) for n in numbers), numbers


def test_unknown_option_of_uname_is_refused(run):
    answer = run("uname -Z")
    assert answer.rc == 1 and "usage: uname" in answer.err


def test_freebsd_version_prints_kernel_running_user(run):
    answer = run("freebsd-version -kru")
    assert answer.rc == 0
    assert len(answer.lines()) == 3
    assert all(re.fullmatch(r"\d+\.\d+-\S+", line) for line in answer.lines()), answer
    assert answer.lines()[1] == run("uname -r").out.strip()


def test_os_release(run):
    answer = run("cat /etc/os-release")
    assert answer.rc == 0
    fields = dict(line.split("=", 1) for line in answer.lines() if "=" in line)
    assert fields["NAME"].strip('"') == "FreeBSD" and fields["ID"] == "freebsd"
    assert re.fullmatch(r'"\d+\.\d+"', fields["VERSION_ID"])


def test_root_belongs_to_wheel_and_operator(run):
    assert re.fullmatch(r"uid=0\(root\) gid=0\(wheel\) groups=0\(wheel\)(,5\(operator\))?\n", run("id").out)
