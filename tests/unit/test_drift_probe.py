# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""drift_probe without a host: how it reads what FreeBSD's commands print, and what it makes of modes and kernels."""

import json
import os
import stat

import pytest
from role_modules import load, util

host, limits, process = util("sokuhai.host"), util("sokuhai.limits"), util("sokuhai.process")

probe = load("roles/drift/library/drift_probe.py")


def test_rows_of_procstat_for_several_processes():
    text = "  PID COMM RLIMIT SOFT HARD\n  10 master openfiles 20000 infinity\n  11 qmgr openfiles 100 20000\n  11 qmgr sbsize infinity infinity\n"
    found = limits.parse_rlimits(text)
    assert found == {10: (20000, None), 11: (100, 20000)}
    assert not probe.low(found[10], 20000) and probe.low(found[11], 20000)


def test_inet_services_of_a_master_cf():
    assert probe.listeners(
        "smtp       inet  n - n - - smtpd -o x=y\n127.0.0.1:10025 inet n - n - - smtpd\npickup unix n - n 60 1 pickup\n"
    ) == {"smtp": ("smtp", "smtpd"), "127.0.0.1:10025": ("10025", "smtpd")}


class Module(probe.Probe):
    def __init__(self, **params):
        super().__init__(
            {"packages": [], "openfiles": {"postfix": 100}, "rebuilt_kernel": False, "certificate_days": 14, **params}
        )

    @property
    def ids(self):
        return [entry["id"] for entry in self.findings]


@pytest.mark.parametrize(
    "mode, owner, at_most, reported",
    [
        (0o644, 0, False, False),
        (0o600, 0, False, True),
        (0o600, 0, True, False),
        (0o666, 0, True, True),
        (0o4644, 0, True, True),
        (0o644, 99, True, True),
    ],
)
def test_a_mode_is_exact_or_an_upper_bound_and_the_owner_is_root(monkeypatch, mode, owner, at_most, reported):
    info = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    module = Module()
    with monkeypatch.context() as replaced:
        replaced.setattr(probe.os, "stat", lambda path: info)
        module.mode({"role": "limits", "mode": "0644", "group": "", "at_most": at_most}, "/x")
    assert module.ids == (["mode of /x"] if reported else [])


def test_files_that_their_role_looks_after_are_left_out(monkeypatch, tmp_path):
    for name in ("sasl_passwd", "sasl_passwd.db", "sasl_passwords"):
        (tmp_path / name).touch(0o400)
    wanted = {"role": "postfix", "path": f"{tmp_path}/*", "mode": "0644", "group": "", "at_most": False}
    module = Module(files=[{**wanted, "but": ["sasl_passwd"]}])
    monkeypatch.setattr(probe, "postconf", lambda *_arguments: "")
    module.modes()
    assert module.ids == [f"mode of {tmp_path}/sasl_passwords"]


def running(pid, name, parent=0, since=(0, 0)):
    return process.Process(pid=pid, parent=parent, uid=0, name=name, command=name, since=since)


def test_a_child_with_too_low_a_limit_is_reported_once_and_follows_from_its_main_process(monkeypatch):
    rows = "PID COMM RLIMIT SOFT HARD\n1 master openfiles 100 100\n2 smtpd openfiles 9 99\n3 smtpd openfiles 9 99\n4 qmgr openfiles 100 100\n"
    monkeypatch.setattr(host, "run", lambda argv: (0, rows, ""))
    module = Module()
    module.limits(
        "postfix", "master", running(1, "master"), [running(2, "smtpd"), running(3, "smtpd"), running(4, "qmgr")]
    )
    assert module.ids == ["process smtpd: openfiles"] and module.findings[0]["because"] == ["process master: openfiles"]


@pytest.mark.parametrize(
    "openfiles, looked_at", [({"bind": 1, "postfix": 1}, {"named", "postfix"}), ({"bind": 1}, {"named"})]
)
def test_a_daemon_whose_role_is_left_out_is_its_owners(monkeypatch, openfiles, looked_at):
    module, seen = Module(openfiles=openfiles, files=[]), set()
    monkeypatch.setattr(probe, "postconf", lambda *_arguments: "/usr/local/sbin")
    monkeypatch.setattr(probe.rc, "read", lambda _names: {})
    monkeypatch.setattr(process, "table", lambda: {1: running(1, "master")})
    monkeypatch.setattr(host, "service_pid", lambda service: seen.add(service) or 0)
    monkeypatch.setattr(probe.os.path, "exists", lambda path: seen.add("postfix") or False)
    module.daemons()
    module.modes()
    assert seen == looked_at and module.findings == []


@pytest.mark.parametrize(
    "since, rebuilt, ids", [(0, False, ["process named: program"]), (2**40, False, []), (0, True, [])]
)
def test_a_daemon_older_than_its_program_is_role_ports_finding_where_that_built_it(since, rebuilt, ids):
    module = Module(packages=[{"role": "bind", "package": "bind920", "program": "", "rebuilt": rebuilt}])
    module.program("bind", "named", running(1, "named", since=(since, since)), __file__)
    assert module.ids == ids


def test_a_port_of_master_cf_on_which_master_does_not_listen(monkeypatch):
    answers = {
        "sockstat": "root master 1 9 tcp4 *:25 *:*\nroot other 7 9 tcp4 *:10025 *:*\n",
        "postconf": "25 inet n - n - - smtpd\n127.0.0.1:10025 inet n - n - - smtpd\n",
    }
    monkeypatch.setattr(host, "run", lambda argv: (0, answers[argv[0]], ""))
    module = Module()
    module.listeners(running(1, "master"))
    assert module.ids == ["listener 10025"] and module.findings[0]["because"] == ["master.cf: 127.0.0.1:10025/inet"]


@pytest.mark.parametrize("days, found", [(20, []), (13, ["certificate {path}"])])
def test_a_certificate_of_a_listener_that_ends_soon(monkeypatch, tmp_path, days, found):
    path, run = tmp_path / "chain.pem", host.run
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-subj", "/CN=mx", "-keyout", "/dev/null", "-out", str(path), "-days", str(days)]
    assert run(make)[0] == 0
    answers = {"-hx": "\n%s, none\n\n" % path, "-Phx": "%s/none.pem\n" % tmp_path}
    monkeypatch.setattr(host, "run", lambda argv: (0, answers[argv[1]], "") if argv[0] == "postconf" else run(argv))
    module = Module()
    module.certificates()
    assert module.ids == [one.format(path=path) for one in found]
    assert all(one["because"] == ["certificate"] for one in module.findings)
    never = Module(certificate_days=0)
    never.certificates()
    assert never.ids == []


def test_a_program_that_is_another_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "run", lambda argv: (0, "doas-6.3\n", ""))
    wanted = {"role": "greylist", "package": "postgrey", "program": str(tmp_path)}
    module = Module()
    assert module.brought(wanted, ["postgrey-1.37"]) == ["doas-6.3"] and module.findings[0]["found"] == "doas-6.3"
    assert module.ids == ["package postgrey"] and Module().brought(wanted, ["doas-6.3"]) == ["doas-6.3"]


@pytest.mark.parametrize(
    "catalogue, repository, found",
    [
        ("pkg bind920", "FreeBSD-ports", ["updates of package bind918"]),
        ("pkg", "FreeBSD-ports", ["updates of package bind918"]),
        # without a catalogue, and of what was built here, nothing is known
        ("", "FreeBSD-ports", []),
        ("pkg", "unknown-repository", []),
        ("pkg bind918", "FreeBSD-ports", []),
    ],
)
def test_a_package_that_no_repository_has_any_more(monkeypatch, catalogue, repository, found):
    def run(argv, *_rest):
        if argv[:2] == ["pkg", "rquery"]:
            assert argv[2:] == ["-U", "%n", "pkg", "bind918"]
            return 0, catalogue.replace(" ", "\n"), ""
        return 0, "bind918|9.18.37_2|dns/bind918|%s|0|1\n" % repository, ""

    monkeypatch.setattr(host, "run", run)
    wanted = {"role": "bind", "package": "bind918", "program": "", "rebuilt": False}
    module = Module(packages=[wanted])
    module.packages()
    assert module.ids == found
    assert all(one["remedy"] == "successor" and "9.18.37_2" in one["found"] for one in module.findings)


@pytest.mark.parametrize(
    "record, rebuilt, stock, things",
    [
        (
            {"built": True, "inputs": {"version": "15.0-RELEASE"}},
            False,
            "15.0-RELEASE-p4",
            ["kernel kernel.SOKUHAI-1: behind"],
        ),
        ({"built": True, "inputs": {"version": "15.0-RELEASE-p4"}}, False, "15.0-RELEASE", []),
        ({"built": True, "inputs": {"version": "15.0-RELEASE"}}, True, "15.0-RELEASE", []),
        (None, False, "15.0-RELEASE-p4", ["reboot pending: kernel"]),
        (None, False, "15.0-RELEASE", []),
    ],
)
def test_a_kernel_of_ones_own_is_compared_with_the_world_and_not_with_the_stock_one(
    tmp_path, monkeypatch, record, rebuilt, stock, things
):
    """The world is 15.0-RELEASE-p4, the kernel that runs says 15.0-RELEASE."""
    folder = tmp_path / "kernel.SOKUHAI-1"
    folder.mkdir()
    if record:
        (folder / "sokuhai.json").write_text(json.dumps(record))
    said = {"-kr": stock + "\n15.0-RELEASE\n", "-u": "15.0-RELEASE-p4\n"}
    monkeypatch.setattr(host, "run", lambda argv: (0, said[argv[1]], ""))
    monkeypatch.setattr(host, "sysctl", lambda name: str(folder / "kernel"))
    module = Module(rebuilt_kernel=rebuilt)
    module.kernel()
    assert module.ids == things
