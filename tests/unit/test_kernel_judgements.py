# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role kernel's judgements, its texts and what is declared for it."""

import re
import stat
import subprocess

import pytest
import yaml
from fake_kernel_host import (
    CONFIG,
    SOCKETS,
    configuration,
    elf,
    kernel_boot,
    kernel_file,
    kernel_host,
    kernel_needs,
    kernel_plan,
    serving,
)
from role_modules import ROOT, load, rendered, shellcheck, util

declared = load("roles/kernel/filter_plugins/kernel_declared.py")
words = load("roles/kernel/filter_plugins/kernel_words.py")


def problem(data, machine=62):
    return kernel_file.elf_problem(data[:64], len(data), machine, lambda offset, count: data[offset : offset + count])


# ---- judgements ----


@pytest.mark.parametrize(
    "data, word",
    [
        (elf(CONFIG), ""),
        (b"", "empty"),
        (b"#!/bin/sh\n" * 20, "not an ELF"),
        (elf(CONFIG)[:-1], "cut short"),
        (elf(CONFIG)[:100], "cut short"),
        (elf(CONFIG, machine=183), "another machine"),
        (elf(CONFIG, kind=1), "not an executable"),
        (b"\x7fELF\x01\x01" + bytes(80), "64-bit"),
    ],
)
def test_a_file_that_the_loader_would_stop_at_is_refused(data, word):
    assert word in problem(data) and bool(problem(data)) == bool(word)


def test_the_configuration_in_a_kernel_file_is_what_kern_conftxt_says():
    found = kernel_file.embedded_config(elf(CONFIG % "SOKUHAI"))
    assert found == CONFIG % "SOKUHAI" and kernel_file.ident(found) == "SOKUHAI"
    assert kernel_file.embedded_config(elf("ident\tX\n")) == ""


def test_versions_are_compared_by_number():
    order = ["14.3-RELEASE-p10", "15.0-RELEASE", "15.0-RELEASE-p2", "15.0-RELEASE-p10", "15.1-RELEASE"]
    assert sorted(order, key=util("sokuhai.host").version_key) == order


@pytest.mark.parametrize(
    "text, found",
    [
        ('kernel="kernel.a"\n', ("kernel.a", 1)),
        ("kernel=kernel.a # x\n", ("kernel.a", 1)),
        ('#kernel="no"\nkernels="a b"\nkernel_options=""\n', None),
        ('kernel="a"\nkernel="b"\n', ("b", 2)),
        (None, None),
    ],
)
def test_loader_conf_names_one_kernel(text, found):
    assert kernel_boot.loader_value(text, "kernel") == found


def test_only_what_serves_counts_as_listening():
    assert serving.listeners(SOCKETS) == {
        ("tcp4", "127.0.0.1:25"),
        ("udp4", "127.0.0.1:53"),
        ("tcp6", "*:22"),
        ("tcp4", "127.0.0.1:10028"),
    }


@pytest.mark.parametrize("processors, memory, jobs", [(8, 16384, 8), (8, 2048, 2), (4, 500, 1), (1, 65536, 1)])
def test_compilers_fit_memory_and_processors(processors, memory, jobs):
    assert kernel_needs.jobs_for(processors, memory) == jobs


def test_the_estimate_is_of_the_last_build_where_there_was_one():
    assert kernel_needs.estimate(None, 4) == 19 and kernel_needs.estimate(1800, 4) == 30


STEPS = [
    # there, running, default, failed, settled -> build, trial, judge
    (False, "kernel", "kernel", False, False, (True, True, False)),
    (False, "kernel", "kernel", True, False, (True, False, False)),
    (True, "kernel", "kernel", False, False, (False, True, False)),
    (True, "new", "kernel", False, False, (False, False, True)),
    (True, "new", "new", False, False, (False, False, True)),
    (True, "new", "new", False, True, (False, False, False)),
    (True, "kernel", "new", False, True, (False, False, False)),
    (True, "kernel", "kernel", True, False, (False, False, False)),
]


@pytest.mark.parametrize("there, running, default, failed, settled, wanted", STEPS)
def test_what_there_is_to_do_follows_from_what_is_there(there, running, default, failed, settled, wanted):
    found = kernel_plan.decide("new", True, there, running, default, failed, settled)
    assert (found["build"], found["trial"], found["judge"]) == wanted


def test_the_name_follows_what_a_kernel_is_made_of():
    inputs = {
        "configuration": configuration(),
        "version": "15.0-RELEASE",
        "machine": "amd64",
        "fd_setsize": 16384,
        "make": [],
    }
    one = kernel_host.name_of("SOKUHAI", inputs)
    for change in (
        {"configuration": configuration(lines=["nodevice sound"])},
        {"configuration": configuration(base="MINIMAL")},
        {"fd_setsize": 32768},
        {"make": ["WITHOUT_CTF=yes"]},
        {"version": "15.0-RELEASE-p1"},
    ):
        assert kernel_host.name_of("SOKUHAI", {**inputs, **change}) != one, change
    # those of version 0.1.0: another name is an hour's build and a reboot on every host that has one
    assert one == "kernel.SOKUHAI-dc75815b"
    inputs.update(version="15.0-RELEASE-p2", machine="arm64", make=["WITHOUT_KERNEL_SYMBOLS=yes"])
    inputs["configuration"] = configuration(lines=["nodevice sound", "options IPSEC"])
    assert kernel_host.name_of("SOKUHAI", inputs) == "kernel.SOKUHAI-aecb93cd"


FILES = {
    "GENERIC": 'ident\tGENERIC\ninclude "std.arm64"\n',
    "std.arm64": 'options \tKDB, INCLUDE_CONFIG_FILE\t# by comma\ninclude "std.debug"\n',
    "std.debug": "",
    "BARE": "#options\tINCLUDE_CONFIG_FILE\noptions\tINCLUDE_CONFIG_FILES\n",
    "OFF": "include GENERIC\nnooptions INCLUDE_CONFIG_FILE\n",
    "ROUND": "include ROUND\n",
    "ELSEWHERE": "include ../mine\n",
}


@pytest.mark.parametrize(
    "base, said", [("GENERIC", True), ("BARE", False), ("OFF", False), ("ROUND", False), ("ELSEWHERE", None)]
)
def test_a_configuration_says_whether_it_is_kept_in_the_kernel(base, said):
    assert kernel_file.says_option(FILES.get, base, "INCLUDE_CONFIG_FILE") is said


# ---- what is declared ----

GOOD = {
    "kernel_ident": "SOKUHAI",
    "kernel_base": "GENERIC",
    "kernel_options": ["nodevice sound", "options IPSEC"],
    "kernel_make_variables": [],
    "kernel_build": True,
    "kernel_name": "",
    "kernel_jobs": 0,
    "kernel_build_hours": 12,
    "kernel_trial_seconds": 900,
    "kernel_boot_seconds": 600,
    "kernel_check_seconds": 180,
}


@pytest.mark.parametrize(
    "change",
    [
        {"kernel_ident": "my kernel"},
        {"kernel_ident": "GENERIC"},
        {"kernel_base": "../GENERIC"},
        {"kernel_options": ["ident MINE"]},
        {"kernel_options": ["nodevice sound\nident X"]},
        {"kernel_options": ["nooptions INCLUDE_CONFIG_FILE"]},
        {"kernel_options": ["options"]},
        {"kernel_make_variables": ["INSTKERNNAME=kernel"]},
        {"kernel_make_variables": ["-DX"]},
        {"kernel_name": "kernel.mine"},
        {"kernel_build": False},
        {"kernel_build": False, "kernel_name": "kernel"},
        {"kernel_build": False, "kernel_name": "../etc"},
        {"kernel_jobs": -1},
        {"kernel_trial_seconds": 100},
        {"kernel_build_hours": 0},
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused_by_its_name(change):
    assert declared.kernel_problems(GOOD) == []
    found = declared.kernel_problems(dict(GOOD, **change))
    assert found and all(message.split(":")[0] in set(change) | {"kernel_name"} for message in found), found


# ---- what is reported ----

PLAN = {
    "name": "new",
    "running": "kernel",
    "userland": "15.0-RELEASE",
    "behind": "",
    "build": False,
    "trial": False,
    "armed": False,
    "failed": "",
    "stock": "",
    "stock_release": False,
    "minutes": 1,
    "measured": False,
    "jobs": 1,
    "cpus": 1,
    "awaited": False,
}


@pytest.mark.parametrize(
    "change, ids, shown",
    [
        ({}, [], []),
        ({"behind": "15.0", "build": True, "trial": True}, ["behind", "build", "trial"], ["behind"]),
        ({"build": True, "trial": True}, ["build", "trial"], ["build"]),
        ({"trial": True}, ["trial"], ["trial"]),
        ({"armed": True}, ["armed"], ["armed"]),
        ({"failed": "it panicked"}, ["failed"], ["failed"]),
    ],
)
def test_a_plan_is_reported_by_its_first_cause(change, ids, shown):
    found = kernel_plan.findings({**PLAN, **change})
    assert [entry["id"] for entry in found] == ["kernel new: " + one for one in ids]
    every = {entry["id"] for entry in found}
    assert [entry["id"] for entry in found if not every & set(entry["because"])] == [
        "kernel new: " + one for one in shown
    ]
    assert {entry["remedy"] for entry in found} <= {"rebuild"}


@pytest.mark.parametrize(
    "change, said",
    [
        ({}, []),
        ({"behind": "14.3-RELEASE"}, ["14.3-RELEASE", "15.0-RELEASE"]),
        ({"stock": "14.3-RELEASE", "stock_release": True}, ["14.3-RELEASE", "/boot/kernel"]),
        ({"stock": "15.0-RELEASE-p1", "stock_release": False}, ["15.0-RELEASE-p1", "freebsd-update"]),
        ({"build": True, "minutes": 19, "measured": False, "jobs": 4, "cpus": 8}, ["19", "4 of 8"]),
        ({"awaited": True}, ["/usr/src"]),
        ({"armed": True}, ["kernel_reboot", "rollback.yml"]),
        ({"failed": "it panicked"}, ["it panicked", "kernel_retry"]),
    ],
)
def test_the_operator_is_given_what_he_needs_to_know(change, said):
    found = words.kernel_notices({**PLAN, **change}, "/usr/src", False)
    assert len(found) == bool(change) and all(word in found[0] for word in said)


def test_every_argument_of_the_modules_is_documented_and_handed_over():
    options = yaml.safe_load(kernel_plan.DOCUMENTATION)["options"]["kernel"]["suboptions"]
    handed = yaml.safe_load((ROOT / "roles/kernel/vars/main.yml").read_text())["__kernel_wanted"]
    assert set(options) == set(kernel_host.OPTIONS) == set(handed)


# ---- the rc script ----


def trial_script():
    values = {"kernel_plan": {"name": "kernel.new"}, "kernel_trial_seconds": 7}
    return rendered("kernel", "etc/rc.d/sokuhai_trial.j2", **values)


def test_the_rc_script_comes_before_everything_that_can_hang_for_want_of_a_network():
    text = trial_script()
    assert "# REQUIRE: cleanvar\n" in text and "# BEFORE: FILESYSTEMS" in text
    shellcheck(text, "warning")


@pytest.mark.parametrize(
    "bootfile, armed, starts",
    [
        ("/boot/kernel.new/kernel", True, True),
        ("/boot/kernel/kernel", True, False),
        ("/boot/kernel.new/kernel", False, False),
    ],
)
def test_the_timer_starts_in_the_trial_boot_and_in_no_other(tmp_path, bootfile, armed, starts):
    state, bin_ = tmp_path / "state", tmp_path / "bin"
    state.mkdir()
    bin_.mkdir()
    if armed:
        (state / "armed").write_text("x")
    for name, body in {
        "sysctl": "echo %s" % bootfile,
        "daemon": 'echo "$@" > %s/daemon; for last; do :; done; echo "$last" > %s/timer' % (tmp_path, tmp_path),
        "watchdogd": "exit 1",
    }.items():
        (bin_ / name).write_text("#!/bin/sh\n%s\n" % body)
        (bin_ / name).chmod(stat.S_IRWXU)
    (tmp_path / "rc.subr").write_text(
        "load_rc_config() { :; }\ncheckyesno() { return 1; }\nrun_rc_command() { $start_cmd; }\n"
    )
    text = (
        trial_script().replace("/var/db/sokuhai/kernel", str(state)).replace("/etc/rc.subr", str(tmp_path / "rc.subr"))
    )
    text = re.sub(r"(?<=[\s(])/(?:usr/)?sbin/(sysctl|daemon|watchdogd)\b", "%s/\\1" % bin_, text)
    done = subprocess.run(["/bin/sh", "-s", "start"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "daemon").exists() == starts and (state / "running").exists() == starts
    if starts:
        assert (
            "/bin/sleep 7" in (tmp_path / "daemon").read_text()
            and "shutdown -r now" in (tmp_path / "daemon").read_text()
        )
        # it goes back even where it cannot write that it does
        (state / "expired").mkdir()
        timer = re.sub(
            r"/(?:usr/)?s?bin/(sleep|logger|shutdown|kill|reboot)\b", "echo \\1", (tmp_path / "timer").read_text()
        )
        done = subprocess.run(["/bin/sh"], input=timer, text=True, capture_output=True, check=False)
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            "sleep",
            "logger",
            "shutdown",
            "sleep",
            "kill",
            "sleep",
            "reboot",
        ]
