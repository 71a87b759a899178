"""BIND and Postfix built with a raised FD_SETSIZE: what make.conf, the header, the programs and the package database say, each for itself."""

import importlib.util
import pathlib

import hostlib
import pytest
import yaml

ROLE = pathlib.Path(__file__).resolve().parents[1] / "roles" / "ports"


def role_filters():
    spec = importlib.util.spec_from_file_location("ports_filters", ROLE / "filter_plugins" / "ports.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rebuilt(declared):
    if not declared["rebuild_enabled"]:
        pytest.skip("rebuild_enabled is false: nothing is built on this host")
    return declared


@pytest.fixture(scope="module")
def value(rebuilt):
    return rebuilt["sokuhai_fd_setsize"]


@pytest.fixture(scope="module")
def ports(rebuilt, value):
    """The declared ports, as role ports merges them, by origin."""
    if rebuilt["ports_method"] != "ports":
        pytest.skip("ports_method is repository: the packages are built elsewhere")
    known = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__ports_known"]
    parts = [part for part in rebuilt["rebuild_parts"] if part != "postfix" or rebuilt["sokuhai_mail"]]
    found = role_filters().ports_merge(known, rebuilt["ports_list"], parts, [f"-DFD_SETSIZE={value}"])
    if not found:
        pytest.skip("rebuild_parts names no port")
    return {port["origin"]: port for port in found}


@pytest.fixture(scope="module")
def packages(host):
    """{origin: (name, repository, locked)} of what is installed."""
    rows = (line.split("|") for line in hostlib.output(host, "pkg query -a '%o|%n|%R|%k'").splitlines())
    return {row[0]: row[1:] for row in rows}


def of(ports, origin):
    if origin not in ports:
        pytest.skip(f"{origin} is not declared")
    return ports[origin]


def make(host, origin, variable, declared):
    tree = declared["ports_tree"]
    return hostlib.output(host, f"make -C {tree}/{origin} -V {variable}").strip()


@pytest.fixture(scope="module")
def compiles(rebuilt):
    if rebuilt["ports_method"] == "repository" and "kernel" not in rebuilt["rebuild_parts"]:
        pytest.skip("ports_method is repository: nothing is compiled on this host, and its headers are left alone")


def test_the_headers_say_the_declared_number(host, rebuilt, compiles, value):
    restored = rebuilt["fd_setsize_restore_after_build"]
    installed, source = "/usr/include/sys/select.h", "/usr/src/sys/sys/select.h"
    for path in (installed, source):
        if path == source and host.run(f"env {hostlib.PATH} test -e {path}").rc:
            continue
        wanted = 1024 if restored and path == installed else value
        text = hostlib.output(host, f"cat {path}")
        lines = [line.split() for line in text.splitlines() if line.startswith("#define")]
        # 1024U in the headers of old releases
        assert [fields[2].rstrip("U") for fields in lines if fields[1] == "FD_SETSIZE"] == [str(wanted)], path


def test_the_compiler_takes_the_number_from_the_header_alone(host, rebuilt, compiles, value):
    if rebuilt["fd_setsize_restore_after_build"]:
        pytest.skip("fd_setsize_restore_after_build: the installed header is FreeBSD's again")
    text = hostlib.output(host, "echo '#include <sys/select.h>' | cc -E -dM -")
    defines = [line.split()[2] for line in text.splitlines() if line.startswith("#define FD_SETSIZE ")]
    assert [number.rstrip("U") for number in defines] == [str(value)]


@pytest.mark.parametrize("origin", ["dns/bind920", "mail/postfix"])
def test_make_conf_gives_the_port_its_flags(host, ports, rebuilt, origin):
    flags = make(host, of(ports, origin)["origin"], "CFLAGS", rebuilt).split()
    assert [flag for flag in ports[origin]["cflags"] if flag not in flags] == []


def test_make_conf_gives_them_to_no_other_port(host, ports, rebuilt):
    tree = rebuilt["ports_tree"]
    for other in ("dns/bind-tools", "mail/postfix-policyd-spf-perl", "mail/postgrey"):
        if host.run(f"env {hostlib.PATH} test -d {tree}/{other}").rc == 0:
            assert "FD_SETSIZE" not in make(host, other, "CFLAGS", rebuilt), other


@pytest.mark.parametrize("origin", ["dns/bind920", "mail/postfix"])
def test_the_package_is_the_ports_own_locked_and_its_probe_recorded(host, ports, packages, rebuilt, value, origin):
    port = of(ports, origin)
    assert port["origin"] in packages, f"{origin} is not installed"
    name, repository, locked = packages[origin]
    # pkg(8) after 2.8.4 prints nothing for a package from a file
    assert repository in ("", "unknown-repository"), f"{name} is the package of repository {repository}"
    assert locked == ("1" if rebuilt["ports_lock"] else "0"), f"{name} is not locked: pkg upgrade replaces it"
    notes = dict(
        line.split("=", 1) for line in hostlib.output(host, f"pkg query '%At=%Av' {name}").splitlines() if "=" in line
    )
    assert notes.get("sokuhai_fd_setsize") == str(value), "the probe compiled with the port says another size of fd_set"
    assert notes.get("sokuhai_flag") == str(value), "CFLAGS had no -DFD_SETSIZE when the port was built"
    assert notes.get("sokuhai_header") == str(value), "sys/select.h said another number when the port was built"


def test_named_says_that_it_was_built_with_the_flags(host, ports, rebuilt):
    flags = of(ports, "dns/bind920")["cflags"]
    if not rebuilt["ports_prove_programs"]:
        pytest.skip("ports_prove_programs is false: the programs claim nothing")
    text = hostlib.output(host, "/usr/local/sbin/named -V")
    assert [flag for flag in flags if flag not in text] == [], text


def test_postfix_says_that_it_was_made_with_the_flags(host, ports, rebuilt):
    flags = of(ports, "mail/postfix")["cflags"]
    if not rebuilt["ports_prove_programs"]:
        pytest.skip("ports_prove_programs is false: the programs claim nothing")
    text = hostlib.output(host, f"cat {hostlib.postconf(host, 'meta_directory')['meta_directory']}/makedefs.out")
    assert [flag for flag in flags if flag not in text] == [], text


@pytest.mark.parametrize(
    "origin,process,program",
    [
        ("dns/bind920", "named", "/usr/local/sbin/named"),
        ("mail/postfix", "master", "/usr/local/libexec/postfix/master"),
    ],
)
def test_what_runs_was_started_after_it_was_installed(host, ports, origin, process, program):
    of(ports, origin)
    found = hostlib.pids(host, process)
    assert found, f"no {process} runs"
    changed, number = hostlib.python(host, f"import os;s=os.stat('{program}');print(s.st_ctime,s.st_ino)").split()
    for pid in found:
        elapsed, now = hostlib.output(host, f"ps -o etimes= -p {pid}; date +%s").split()
        # on UFS a file's time of change may come a minute after its installation
        runs_it = f" {number} " in hostlib.output(host, f"fstat -p {pid} | grep -w text")
        assert runs_it or int(now) - int(elapsed) + 2 >= float(changed), f"{process} {pid}'s program was replaced"
