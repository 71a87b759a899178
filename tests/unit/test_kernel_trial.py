# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role kernel's modules, one after the other as its tasks call them, on a host that is all files."""

import json
import os

import pytest
from fake_kernel_host import (
    CONFIG,
    YES,
    Host,
    Killed,
    Refused,
    arm,
    build,
    elf,
    judge,
    kernel,
    kernel_arm,
    kernel_boot,
    kernel_build,
    kernel_undo,
    makes,
    places,
    plan,
    shared,
    tried,
    undo,
    whole_run,
)
from role_modules import util


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def test_a_kernel_is_built_beside_tried_and_kept_and_nothing_is_done_twice(host):
    stock = host.path("/boot/kernel/kernel").read_bytes()
    assert whole_run(host)
    name = kernel(host).name
    assert host.running == name and kernel_boot.default() == name
    assert host.path("/boot/kernel/kernel").read_bytes() == stock and not host.path("/boot/kernel.old").exists()
    assert not host.path(places.SCRIPT).exists() and not host.path(places.state("trial.json")).exists()
    host.log.clear()
    assert not whole_run(host)
    assert not makes(host) and not [argv for argv in host.log if argv[0] == "nextboot"]


def test_make_is_told_where_to_put_it(host):
    whole_run(host)
    source, conf = host.path("/usr/src"), host.path("/root/kernels")
    assert makes(host) == [
        f"make -C {source} -j2 buildkernel KERNCONF=SOKUHAI KERNCONFDIR={conf}",
        f"make -C {source} installkernel KERNCONF=SOKUHAI KERNCONFDIR={conf} INSTKERNNAME={kernel(host).name}",
    ]
    log = next(host.path(places.LOGS).glob("*.log")).read_text()
    assert all(line in log for line in makes(host))
    text = host.path("/root/kernels/SOKUHAI").read_text()
    assert "include\tGENERIC\nident\tSOKUHAI\noptions\tKDB_UNATTENDED\n" in text


def test_on_a_host_of_base_packages_installkernel_is_told_to_go_on(host):
    host.pkgbase = True
    assert kernel_build.make(kernel(host), "installkernel", 1)[-1] == "DESTDIR=/"
    assert "DESTDIR=/" not in kernel_build.make(kernel(host), "buildkernel", 1)


def test_one_option_more_is_one_build_more_and_the_former_goes_once_it_is_replaced(host):
    whole_run(host)
    former = kernel(host).name
    assert whole_run(host, lines=["nodevice\tsound"])
    assert host.running != former and not host.path("/boot/" + former).exists()
    assert host.path("/boot/kernel/kernel").exists()


def boot_files(host):
    return {name: data for name, data in host.files().items() if name.startswith("/boot")}


@pytest.mark.parametrize("target", ["buildkernel", "installkernel"])
def test_a_build_that_fails_leaves_the_host_as_it_was_and_shows_the_end_of_the_log(host, target):
    before = boot_files(host)
    host.fail = target
    with pytest.raises(Refused, match="boom") as said:
        whole_run(host)
    assert target in str(said.value) and kernel(host).job.read()["failed_in"] == target
    assert boot_files(host) == before
    host.fail = None
    assert whole_run(host), "the next run builds it"


def test_a_build_that_goes_on_is_waited_for_and_not_started_twice(host):
    one = kernel(host)
    host.path(places.STATE).mkdir(parents=True)
    one.job.write({"phase": "buildkernel", "name": one.name, "pid": 4242, "since": 1})
    lock = shared.hold(one.job.lock_file)
    answer = kernel_build.apply(kernel(host), False)
    assert (answer["finished"], answer["attached"]) == (False, True)
    assert kernel(host).job.follow()["finished"] is False and not makes(host)
    with pytest.raises(Refused, match=f"{one.name}.*4242"):
        kernel_build.apply(kernel(host, lines=["nodevice\tsound"]), False)
    with pytest.raises(Refused, match="4242"):
        undo(host)
    os.close(lock)
    assert kernel(host).job.follow()["lost"]
    assert build(host), "a build whose process is gone is begun again"


def test_a_kernel_without_its_configuration_is_not_installed(host):
    host.built = "nothing"
    with pytest.raises(Refused, match="INCLUDE_CONFIG_FILE"):
        build(host)
    assert not host.path("/boot/" + kernel(host).name).exists()
    host.built = CONFIG % "SOKUHAI"
    assert build(host), "the next run builds from the beginning"


@pytest.mark.parametrize(
    "damage, word",
    [
        (lambda host: host.path("/usr/src/Makefile.inc1").unlink(), "src.txz"),
        (
            lambda host: host.path("/usr/src/sys/conf/newvers.sh").write_text('REVISION="15.0"\nBRANCH="RELEASE-p1"\n'),
            "15.0-RELEASE-p1",
        ),
        (
            lambda host: host.path("/usr/src/sys/sys/select.h").write_text(
                "#ifndef FD_SETSIZE\n#define\tFD_SETSIZE\t1024\n#endif\n"
            ),
            "FD_SETSIZE 1024, 16384",
        ),
        (lambda host: host.path("/usr/src/sys/amd64/conf/GENERIC").unlink(), "kernel_base"),
    ],
)
def test_sources_that_do_not_fit_are_refused_before_anything_changes(host, damage, word):
    damage(host)
    before = host.files()
    with pytest.raises(Refused, match=word):
        whole_run(host)
    assert host.files() == before


def test_a_full_disk_is_refused_before_the_build(host, monkeypatch):
    monkeypatch.setattr(shared, "free_mib", lambda path: 100)
    for variable in ("disk_objects_mib", "disk_boot_mib"):
        with pytest.raises(Refused, match="kernel_" + variable):
            plan(host, **{variable: 512})
    # what a build that was broken off has written already is not asked for again
    one = kernel(host)
    host.path(places.STATE).mkdir(parents=True)
    one.job.write({"phase": "buildkernel", "name": one.name, "since": 1})
    assert plan(host, disk_objects_mib=512)["build"]


def test_a_jail_has_no_kernel_of_its_own(host):
    host.jailed = True
    with pytest.raises(Refused, match="is a jail.*--tags bind,postfix"):
        plan(host)


def test_without_console_and_timer_a_trial_is_refused_before_the_build(host):
    with pytest.raises(Refused, match="kernel_console_access"):
        plan(host, console_access=False)
    assert plan(host, console_access=False, reboot=False)["build"], "building alone needs nobody at the console"
    host.driver = "ichwd"
    assert kernel_boot.hardware_timer() == "ichwd" and plan(host, console_access=False)["trial"]


@pytest.mark.parametrize(
    "path, text",
    [
        ("/boot/loader.conf", 'autoboot_delay="1"\nkernel="kernel.mine"\n'),
        ("/boot/loader.conf.local", "\nkernel=kernel.mine\n"),
        ("/boot/loader.conf.d/mine.conf", '# x\nkernel="kernel.mine"\n'),
    ],
)
def test_another_files_word_on_the_kernel_is_refused_with_its_line(host, path, text):
    host.path(path).write_text(text)
    with pytest.raises(Refused, match=f"{path}:2 "):
        plan(host)


@pytest.mark.parametrize(
    "last, booted",
    [
        ('local_loader_conf_files="/boot/loader.conf.local"\n', "kernel.local"),
        # FreeBSD 14.0 has it among loader_conf_files
        ("", "kernel.folder"),
    ],
)
def test_the_file_that_the_loader_reads_last_decides(host, last, booted):
    defaults = host.path("/boot/defaults/loader.conf")
    defaults.write_text(defaults.read_text() + last)
    host.path("/boot/loader.conf.local").write_text('kernel="kernel.local"\n')
    host.path("/boot/loader.conf.d/a.conf").write_text('kernel="kernel.folder"\n')
    assert kernel_boot.default() == booted


BOTH = ["default\tNR\t/", "b\t-\t-"]


@pytest.mark.parametrize(
    "file_system, environments, zfsbootcfg, word",
    [
        ("zfs", BOTH[:1], YES, "bectl create"),
        ("zfs", BOTH, None, "zfsbootcfg"),
        # it answers, and says nothing of a flag
        ("zfs", BOTH, "", "nextboot -k"),
        # as the loader leaves it after a trial
        ("zfs", BOTH, YES.replace("YES", "NO"), "nextboot -k"),
        ("nfs", BOTH, "", "nextboot -k"),
    ],
)
def test_where_nextboot_cannot_make_it_count_once_there_is_no_trial(
    tmp_path, monkeypatch, file_system, environments, zfsbootcfg, word
):
    host = Host(tmp_path, monkeypatch, file_system)
    host.environments, host.zfsbootcfg = environments, zfsbootcfg
    build(host)
    with pytest.raises(Refused, match=word):
        arm(host)
    assert not host.path(places.SCRIPT).exists() and not host.path(places.NEXTBOOT).exists()
    assert not kernel_boot.armed(kernel(host).name)


def test_on_zfs_there_is_a_trial_with_the_pools_flag_and_an_environment(tmp_path, monkeypatch):
    host = Host(tmp_path, monkeypatch, "zfs")
    build(host)
    assert arm(host)["changed"]


@pytest.mark.parametrize("how", ["armed", "running", "expired"])
def test_a_trial_that_ends_in_the_old_kernel_is_told_apart_and_not_repeated(host, how):
    build(host)
    arm(host)
    if how == "armed":
        host.path(places.NEXTBOOT).unlink()
    else:
        host.boot()
        if how == "expired":
            host.path(places.state("expired")).write_text("")
    host.boot()
    assert host.running == "kernel"
    answer = judge(host)
    assert (answer["failed"], answer["how"], answer["return_needed"]) == (True, how, False)
    assert not host.path(places.SCRIPT).exists()
    todo = plan(host)
    assert not todo["trial"] and todo["failed"]
    assert plan(host, retry=True)["trial"]


@pytest.mark.parametrize(
    "answers, serves, lost",
    [
        ({"dns": True, "smtp": True}, False, "tcp4 127.0.0.1:25"),
        ({"dns": False, "smtp": True}, True, "name server at 127.0.0.1"),
        ({"dns": True, "smtp": False}, True, "mail server at 127.0.0.1"),
    ],
)
def test_a_kernel_under_which_the_host_does_not_serve_is_not_kept(host, answers, serves, lost):
    tried(host, serves)
    host.answers = answers
    answer = judge(host)
    assert answer["failed"] and answer["return_needed"] and lost in answer["msg"]
    assert kernel_boot.default() == "kernel"
    assert host.path(places.TIMER).exists(), "the timer still takes the host back"


def test_a_kernel_that_the_playbooks_own_tasks_refuse_is_not_tried_again_unless_declared(host):
    tried(host)
    answer = judge(host, rejected="kernel_verify_tasks: Ask it: no")
    assert answer["failed"] and answer["return_needed"] and host.path(places.TIMER).exists()
    host.boot()
    assert host.running == "kernel"
    todo = plan(host)
    assert todo["failed"] == "kernel_verify_tasks: Ask it: no" and not todo["trial"]
    assert plan(host, retry=True)["trial"]
    # built again, it is another kernel
    host.remove("/boot/" + kernel(host).name)
    build(host)
    assert plan(host)["trial"]


def test_what_the_tasks_refused_after_the_old_kernel_had_returned_is_a_trial_that_was_lost(host):
    tried(host)
    host.boot()
    assert judge(host, rejected="x")["how"] == "running" and plan(host)["failed"]


def test_another_file_in_a_failed_kernels_place_is_tried(host):
    host.path("/boot/mine").mkdir()
    path = host.path("/boot/mine/kernel")
    path.write_bytes(elf(CONFIG % "MINE"))
    host.running = "mine"
    assert judge(host, name="mine", rejected="no")["failed"]
    host.running = "kernel"
    assert plan(host, name="mine")["failed"]
    path.write_bytes(elf(CONFIG % "MINE2"))
    assert not plan(host, name="mine")["failed"] and plan(host, name="mine")["trial"]


def test_the_running_kernel_must_be_the_one_that_was_built(host, monkeypatch):
    tried(host)
    monkeypatch.setattr(host, "config", lambda: CONFIG % "OTHER")
    answer = judge(host)
    assert answer["failed"] and answer["return_needed"] and "uname -i says OTHER" in answer["msg"]


def test_a_file_that_changed_since_its_install_is_not_booted(host):
    build(host)
    path = host.path("/boot/%s/kernel" % kernel(host).name)
    path.write_bytes(path.read_bytes()[:-3] + b"zzz")
    with pytest.raises(Refused, match=str(path)):
        arm(host)
    assert not host.path(places.NEXTBOOT).exists()
    path.write_bytes(b"")
    assert plan(host)["build"], "an empty file is not a kernel: built again"


def test_a_run_killed_anywhere_is_finished_by_the_next(tmp_path, monkeypatch):
    whole = Host(tmp_path / "whole", monkeypatch)
    whole_run(whole)
    wanted = {name: data.replace(str(whole.root).encode(), b"") for name, data in whole.files().items()}
    assert whole.writes > 24
    for at in range(1, whole.writes + 1):
        with monkeypatch.context() as patched:
            host = Host(tmp_path / str(at), patched)
            host.stop_at = at
            with pytest.raises(Killed):
                whole_run(host)
            host.stop_at = None
            # the controller is gone; half of the hosts reboot before the next run comes
            if at % 2:
                host.boot()
                if host.running != "kernel" and kernel_boot.default() == "kernel":
                    host.path(places.state("expired")).write_text("")
                    host.boot()  # the timer
            whole_run(host)
            name = kernel(host).name
            assert host.running == name and kernel_boot.default() == name, at
            assert host.files() == wanted, at
            assert not whole_run(host), at


def test_check_mode_writes_nothing(host):
    before = host.files()
    plan(host)
    assert kernel_build.apply(kernel(host), True)["changed"]
    assert host.files() == before
    build(host)
    before = host.files()
    assert kernel_arm.arm(kernel(host), "#!/bin/sh\n", 900, True)["changed"] and undo(host, check=True)["changed"]
    assert host.files() == before


def test_sources_that_come_before_the_build_are_not_asked_for_by_a_check_run(host):
    assert not plan(host, source_awaited=True)["awaited"]
    host.remove("/usr/src")
    todo = plan(host, source_awaited=True)
    assert todo["build"] and todo["awaited"] and todo["minutes"]
    assert kernel_build.apply(kernel(host, source_awaited=True), True)["changed"]
    with pytest.raises(Refused, match="src.txz"):
        plan(host)
    # half of a tree that is there is judged all the same
    host.path("/usr/src/sys/conf").mkdir(parents=True)
    host.path("/usr/src/Makefile.inc1").write_text("")
    host.path("/usr/src/sys/conf/newvers.sh").write_text('REVISION="14.3"\nBRANCH="RELEASE"\n')
    with pytest.raises(Refused, match="14.3-RELEASE"):
        plan(host, source_awaited=True)


def test_a_base_without_its_configuration_in_it_is_refused_before_the_build(host):
    host.path("/usr/src/sys/amd64/conf/GENERIC").write_text('include "std.debug"\n')
    host.path("/usr/src/sys/conf/std.debug").write_text("nooptions INVARIANTS\n")
    with pytest.raises(Refused, match="kernel_base.*INCLUDE_CONFIG_FILE"):
        plan(host)
    assert plan(host, lines=["options INCLUDE_CONFIG_FILE"])["build"]


def test_a_patched_host_is_told_that_its_own_kernel_is_not(host):
    whole_run(host)
    host.userland = "15.0-RELEASE-p4"
    host.path("/usr/src/sys/conf/newvers.sh").write_text('REVISION="15.0"\nBRANCH="RELEASE-p4"\n')
    todo = plan(host)
    assert (todo["behind"], todo["userland"], todo["build"]) == ("15.0-RELEASE", "15.0-RELEASE-p4", True)


def test_undo_lets_the_stock_kernel_boot_and_spares_the_one_that_runs(host):
    before = host.files()
    whole_run(host)
    ours = host.running
    said = undo(host)
    assert said["changed"] and (said["running"], said["default"], said["again"]) == (ours, "kernel", True)
    host.boot()
    assert host.running == "kernel"
    said = undo(host)
    assert said["changed"] and not said["running"] and host.files() == before
    assert not undo(host)["changed"]


@pytest.mark.parametrize("steps", [[build], [build, arm], [tried]], ids=["built", "armed", "running"])
def test_undo_calls_a_trial_off(host, steps):
    before = host.files()
    for step in steps:
        step(host)
    undo(host)
    host.boot()
    undo(host)
    assert host.running == "kernel" and host.files() == before


@pytest.mark.parametrize(
    "stock, other", [("14.3-RELEASE-p2", True), ("15.0-RELEASE-p1", False), (None, False)], ids=str
)
def test_a_stock_kernel_that_nobody_patched_meanwhile_is_reported(host, stock, other):
    whole_run(host)
    host.stock = stock
    for said in (plan(host), undo(host)):
        assert (said["stock"], said["stock_release"], said["userland"]) == (stock or "", other, "15.0-RELEASE")
    host.boot()
    assert undo(host)["stock"] == ""


def test_undo_never_takes_away_what_boots_next(host):
    whole_run(host)
    name = kernel(host).name
    host.path("/boot/loader.conf").write_text('kernel="%s"\n' % name)
    host.running = "kernel"
    assert undo(host)["stays"] == name
    assert host.path("/boot/%s/kernel" % name).exists() and kernel_boot.default() == name


def test_undo_keeps_ours_where_the_stock_kernel_could_not_boot(host):
    whole_run(host)
    host.path("/boot/kernel/kernel").write_bytes(b"")
    before = host.files()
    for check in (True, False):
        with pytest.raises(Refused, match="/boot/kernel/kernel "):
            undo(host, check)
    assert host.files() == before and kernel_boot.default() == kernel(host).name


@pytest.mark.parametrize("running", [True, False])
def test_a_kernel_that_runs_or_boots_next_is_not_built_over_when_its_record_is_lost(host, running):
    whole_run(host)
    host.running = kernel(host).name if running else "kernel"
    if running:
        host.path(places.LOADER).unlink()
    host.path("/boot/%s/%s" % (kernel(host).name, places.RECORD)).unlink()
    host.log.clear()
    with pytest.raises(Refused, match="sokuhai.json.*rollback.yml"):
        plan(host)
    with pytest.raises(Refused, match="sokuhai.json"):
        kernel_build.apply(kernel(host), False)
    assert not makes(host)


def test_swap_counts_beside_memory(host):
    assert util("sokuhai.limits").memory() == (4096, 1024)


def test_undo_leaves_a_kernel_that_is_not_the_roles(host):
    host.path("/boot/kernel.mine").mkdir()
    host.path("/boot/kernel.mine/kernel").write_bytes(elf(CONFIG % "MINE"))
    whole_run(host, name="kernel.mine")
    assert host.running == "kernel.mine"
    host.running = "kernel"
    kernel_undo.undo(kernel(host, name="kernel.mine"), False)
    assert [path.name for path in host.path("/boot/kernel.mine").iterdir()] == ["kernel"]


def test_what_version_0_1_0_left_of_a_broken_build_goes_with_the_next(host):
    host.path(places.STATE).mkdir(parents=True)
    for name in ("build.sh", "build.json", "build.status"):
        host.path(places.state(name)).write_text(json.dumps({}))
    build(host)
    assert not list(host.path(places.STATE).glob("build.*"))
