"""The running kernel: what it is called and was made of, and the file that holds it."""

import re

import pytest


@pytest.fixture(scope="module")
def file(run):
    """Path of the running kernel's file."""
    path = run("sysctl -n kern.bootfile").out.strip()
    if run("test -f %s", path).rc:
        pytest.skip(f"{path}, which this host was booted from, is gone")
    return path


def test_ident_is_one(run):
    ident = run("sysctl -n kern.ident").out.strip()
    assert ident and ident == run("uname -i").out.strip()
    # a kernel that is not built reproducibly names the folder that it was built in, whose last part is its name
    assert run("sysctl -n kern.version").out.split()[-1].split("/")[-1] == ident
    assert run("sysctl -n kern.osrelease").out == run("uname -r").out


def test_loader_and_kernel_agree_on_the_file(run, file):
    assert run("kenv kernelname").out.strip() == file
    assert f"/boot/{run('kenv kernel').out.strip()}/kernel" == file


def test_file_is_an_executable_for_this_machine(run, file):
    head = run("dd if=%s bs=20 count=1 2>/dev/null | od -An -v -tx1", file).out.split()
    assert head[:6] == ["7f", "45", "4c", "46", "02", "01"]
    kind, machine = (int(head[i + 1] + head[i], 16) for i in (16, 18))
    assert kind == 2 and machine == {"amd64": 62, "arm64": 183}[run("uname -m").out.strip()]


def test_configuration_of_the_running_kernel(run):
    text = run("sysctl -n kern.conftxt").lines()
    if not text:
        pytest.skip("this kernel was made without INCLUDE_CONFIG_FILE")
    assert f"ident\t{run('uname -i').out.strip()}" in text
    assert "options\tINCLUDE_CONFIG_FILE" in text
    assert all(re.fullmatch(r"(options|ident|machine|cpu|makeoptions|device)\t\S.*", line) for line in text if line), (
        text
    )


def test_configuration_out_of_the_file(run, file, needs):
    needs("config")
    if not run("sysctl -n kern.conftxt").out.strip():
        pytest.skip("this kernel was made without INCLUDE_CONFIG_FILE")
    answer = run("config -x %s", file)
    assert answer.rc == 0
    assert set(answer.lines()) >= set(filter(None, run("sysctl -n kern.conftxt").lines()))


def test_config_refuses_an_unknown_option_and_a_missing_file(run, scratch, needs):
    needs("config")
    conf = f"/usr/src/sys/{run('uname -m').out.strip()}/conf"
    if run(f"test -f {conf}/GENERIC").rc:
        pytest.skip("this host has no /usr/src")
    for name, line, said in (
        ("ONE", "options NO_SUCH_OPTION", 'unknown option "NO_SUCH_OPTION"'),
        ("TWO", "include NO_SUCH_FILE", "cannot open included file"),
    ):
        run(f"printf 'include GENERIC\\nident {name}\\n{line}\\n' > {scratch}/{name}")
        answer = run(f"cd {conf} && config -d {scratch}/obj -I {scratch} -I {conf} {scratch}/{name}")
        assert answer.rc != 0 and said in answer.err, answer


def test_sources_say_which_release_they_are_of(run):
    path = "/usr/src/sys/conf/newvers.sh"
    if run(f"test -f {path}").rc:
        pytest.skip("this host has no /usr/src")
    text = run(f"cat {path}").out
    assert re.search(r'^REVISION="\d+\.\d+"$', text, re.MULTILINE) and re.search(r'^BRANCH="\S+"$', text, re.MULTILINE)


def test_missing_configuration_is_refused_by_make(run):
    if run("test -f /usr/src/Makefile.inc1").rc:
        pytest.skip("this host has no /usr/src")
    answer = run("make -C /usr/src buildkernel KERNCONF=NO_SUCH_KERNEL")
    assert answer.rc == 1 and "Missing KERNCONF /usr/src/sys/" in answer.out + answer.err


def test_installed_kernel_has_the_version_of_its_file(run):
    if run("test -f /boot/kernel/kernel").rc:
        pytest.skip("this host's kernel is not /boot/kernel")
    answer = run("freebsd-version -k")
    assert answer.rc == 0 and re.fullmatch(r"\d+\.\d+-\S+\n", answer.out)


def test_type_of_the_file_system_that_has_boot(run):
    answer = run("df -T /boot")
    assert answer.rc == 0
    assert answer.lines()[0].split()[:2] == ["Filesystem", "Type"]
    assert answer.lines()[1].split()[1] in ("ufs", "zfs")


def test_scripts_that_must_be_early_can_be(run):
    order = [line.rsplit("/", 1)[-1] for line in run("rcorder /etc/rc.d/* 2>/dev/null").lines()]
    assert order.index("cleanvar") < order.index("FILESYSTEMS") < order.index("netif")
    assert run(". /etc/defaults/rc.conf; echo $early_late_divider").out == "FILESYSTEMS\n"
