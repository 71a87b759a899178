"""kenv(1), nextboot(8) and the loader's files."""

import re

import pytest


def test_unknown_variable(run):
    answer = run("kenv no.such.variable")
    assert (answer.rc, answer.out, answer.err) == (255, "", "kenv: unable to get no.such.variable\n")
    quiet = run("kenv -q no.such.variable")
    assert (quiet.rc, quiet.out, quiet.err) == (255, "", "")


def test_kernel_name(run):
    answer = run("kenv kernelname")
    assert answer.rc == 0 and re.fullmatch(r"/boot/\S+/kernel\n", answer.out)


def test_listing_is_quoted_and_sorted(run):
    answer = run("kenv")
    assert answer.rc == 0
    names = [line.partition("=")[0] for line in answer.lines()]
    assert all(re.fullmatch(r'[^=]+=".*"', line) for line in answer.lines()), answer
    assert {"kernel", "kernelname", "loader_conf_dirs"} <= set(names) and names == sorted(names)


def test_loader_reads_a_directory_of_files(run):
    assert run("kenv loader_conf_dirs").out == "/boot/loader.conf.d\n"
    assert run("test -d /boot/loader.conf.d").rc == 0


def test_tunables_of_the_loader_are_in_force(run):
    asked = run("kenv -q kern.maxproc").out.strip()
    if not asked:
        pytest.skip("kern.maxproc is not set in this host's loader files")
    assert run("sysctl -n kern.maxproc").out.strip() == asked


def is_script(run):
    """Whether nextboot(8) is the shell script of FreeBSD 14 (sbin/reboot/nextboot.sh), and not reboot(8) by another name."""
    return run("head -c 2 $(which nextboot)").out == "#!" and run("grep -q Gordon $(which nextboot)").rc == 0


def test_trial_boot_of_a_missing_kernel_is_refused(run):
    answer = run("nextboot -k no_such_kernel")
    assert answer.rc == 1
    if is_script(run):
        assert answer.out == "Error: /boot/no_such_kernel doesn't exist. Use -f to override.\n"
    else:
        assert answer.err == "nextboot: stat /boot/no_such_kernel/kernel: No such file or directory\n"


def test_nextboot_asked_for_nothing_or_wrongly(run):
    if run("test -e /boot/nextboot.conf").rc == 0:
        pytest.skip("a trial boot is already set up on this host")
    script = is_script(run)
    assert run("nextboot").rc == int(script) and run("test -e /boot/nextboot.conf").rc == 1
    for words in ("kernel", "-Z"):
        answer = run(f"nextboot {words}")
        assert answer.rc == 1
        assert script or answer.err.splitlines()[-1].startswith("usage: reboot ")


def test_trial_boot_is_written_and_taken_back(run, keep):
    if run("test -e /boot/nextboot.conf").rc == 0:
        pytest.skip("a trial boot is already set up on this host")
    if run("test -e /boot/kernel/kernel").rc:
        pytest.skip("this host's kernel is not /boot/kernel")
    try:
        assert run("nextboot -k kernel -o -s").rc == 0
        lines = set(run("cat /boot/nextboot.conf").lines())
        assert {'kernel_options="-s"', 'kernel="kernel"'} <= lines
        if run("df -T /boot").lines()[-1].split()[1] == "zfs":
            # the loader cannot write there, so what makes it count once is in the pool's boot area
            assert "nextboot_enable" in run("zfsbootcfg -p").out
        else:
            assert 'nextboot_enable="YES"' in lines
    finally:
        gone = run("nextboot -D")
    assert (gone.rc, gone.out) == (0, "") and run("test -e /boot/nextboot.conf").rc == 1
    assert run("nextboot -D").rc == 0
