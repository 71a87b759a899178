# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role limits' plan and its transaction, on files in a temporary directory and a kernel that answers as FreeBSD 15.0 does."""

import os
import pathlib
import subprocess
import time

import pytest
from fake_limits_host import (
    FLOORS,
    LOGIN_CONF,
    RC,
    FreeBSD,
    Killed,
    Refused,
    did,
    file_text,
    go,
    limits,
    pending,
    undo,
)
from role_modules import shellcheck, util
from sizing import holds

blocks = util("sokuhai.blocks")


@pytest.fixture
def host(tmp_path):
    return FreeBSD(tmp_path)


@pytest.fixture
def small(tmp_path):
    """A host that gives itself less than the floors."""
    return FreeBSD(tmp_path, physmem=1200 * 2**20)


def block(host, path="/etc/sysctl.conf"):
    return limits.parse_values(blocks.get_block(host.read(path), limits.MARK, path) or [])


# ---- the whole of it ----


def test_a_bare_host_gets_what_it_lacks_and_no_more(host):
    assert go(host).findings == []
    assert block(host) == {
        "kern.ipc.soacceptqueue": "500",
        "net.inet.udp.recvspace": "262400",
        "net.inet.ip.portrange.hifirst": "40536",
    }
    assert host.kernel["kern.maxfiles"] == 130352, "what the host gives stays"
    assert host.read("/boot/loader.conf.d/sokuhai.conf") is None
    assert host.openfiles("sokuhai") == "infinity" and host.sysrc("named_login_class") == "sokuhai"
    assert "ulimit" in host.read("/etc/rc.conf.d/postfix")


def test_the_second_run_changes_nothing(host):
    go(host)
    before = host.files()
    work = go(host)
    assert (work.diff, work.writes, work.keys, work.database) == ([], [], [], False) and host.files() == before


def test_check_mode_shows_the_same_and_changes_nothing(host):
    before, kernel = host.files(), dict(host.kernel)
    work = go(host, check=True)
    assert host.files() == before and host.kernel == kernel
    shown = {item["after_header"]: item for item in work.diff}
    assert {"/etc/sysctl.conf", "/etc/login.conf", "/etc/rc.conf.d/postfix"} <= set(shown)
    assert "kern.ipc.soacceptqueue=500" in shown["/etc/sysctl.conf"]["after"]
    assert shown["running kernel: kern.ipc.soacceptqueue"]["before"] == "128\n"


def test_a_reboot_keeps_everything(host):
    go(host)
    host.boot()
    assert [name for name, floor in FLOORS.items() if not holds(name, host.kernel[name], floor)] == []
    assert did(go(host)) == []


def kill(host, work, stop):
    """Have work(host) end after *stop* of its steps."""
    host.calls, host.stop_at = 0, stop
    with pytest.raises(Killed):
        work(host)
    host.stop_at = None


def test_a_run_killed_anywhere_is_finished_by_the_next(tmp_path):
    whole = FreeBSD(tmp_path / "whole")
    go(whole)
    assert whole.calls >= 6
    for stop in range(whole.calls):
        host = FreeBSD(tmp_path / str(stop))
        kill(host, go, stop)
        go(host)
        assert host.files() == whole.files() and host.kernel == whole.kernel, stop
        assert did(go(host)) == [], stop


def test_a_written_file_keeps_its_mode(host):
    path = pathlib.Path(host.path("/etc/sysctl.conf"))
    path.chmod(0o600)
    go(host)
    assert path.stat().st_mode & 0o7777 == 0o600


# ---- floors, run-time values and the next boot ----


def test_a_value_raised_by_hand_is_not_what_the_host_gives(host):
    host.kernel["kern.ipc.soacceptqueue"] = 4096
    go(host)
    assert block(host)["kern.ipc.soacceptqueue"] == "500"
    assert host.kernel["kern.ipc.soacceptqueue"] == 4096, "above the floor it is left alone"
    host.boot()
    assert host.kernel["kern.ipc.soacceptqueue"] == 500


def test_a_value_lowered_by_hand_is_raised_again(host):
    go(host)
    host.set("kern.ipc.soacceptqueue", 10)
    assert did(go(host)) == ["running kernel: kern.ipc.soacceptqueue"]
    assert host.kernel["kern.ipc.soacceptqueue"] == 500


def test_an_autotuned_value_lowered_by_hand_returns_to_what_the_boot_gives(host):
    host.set("kern.maxfiles", 1000)
    go(host)
    assert host.kernel["kern.maxfiles"] == 130352 and did(go(host)) == []
    host.boot()
    assert host.kernel["kern.maxfiles"] == 130352, "the floor has not become a ceiling"
    assert did(go(host)) == []


def test_a_kernel_with_another_rule_gets_the_line_and_keeps_it(tmp_path):
    class Other(FreeBSD):
        def boot(self):
            self.physmem //= 4  # autotunes as if it had a quarter of its memory
            FreeBSD.boot(self)
            self.physmem *= 4
            self.kernel["hw.physmem"] = self.physmem

    host = Other(tmp_path, physmem=2400 * 2**20)
    assert host.kernel["kern.maxfiles"] < FLOORS["kern.maxfiles"]
    for boots in range(3):
        go(host)
        assert host.kernel["kern.maxfiles"] >= FLOORS["kern.maxfiles"] and did(go(host)) == []
        host.boot()
        assert host.kernel["kern.maxfiles"] >= FLOORS["kern.maxfiles"], "the line has to outlive the boot"


def test_a_small_host_is_raised_and_the_order_serves_maxsockets(small):
    names = [one["name"] for one in go(small).params["apply"]]
    assert names.index("kern.maxfiles") < names.index("kern.maxfilesperproc") < names.index("kern.ipc.maxsockets")
    small.boot()
    assert small.kernel["kern.ipc.maxsockets"] == 42400 and small.kernel["kern.maxfiles"] == 68985


def test_memory_added_later_makes_the_line_go_away(small):
    go(small)
    small.physmem = 16 * 2**30
    small.boot()
    assert small.kernel["kern.maxfiles"] == 68985
    go(small)
    assert "kern.maxfiles" not in block(small)
    small.boot()
    assert small.kernel["kern.maxfiles"] == 524288 and did(go(small)) == []


def test_a_floor_lowered_in_the_inventory_shrinks_the_line(small):
    go(small)
    go(small, floors={**FLOORS, "kern.maxfilesperproc": 40000}, openfiles=40000)
    assert block(small)["kern.maxfilesperproc"] == "40000"
    assert small.kernel["kern.maxfilesperproc"] == 65535, "the running value is not lowered"


def test_declared_values_are_exact(host):
    declared = {"kern.maxfilesperproc": 70000, "net.inet.tcp.cc.algorithm": "htcp"}
    go(host, sysctl=declared, floors={name: floor for name, floor in FLOORS.items() if name not in declared})
    assert {name: host.kernel[name] for name in declared} == declared
    assert did(go(host, sysctl=declared)) == []


def test_a_read_only_tunable_goes_to_the_loader_and_needs_a_reboot(host):
    work = go(host, loader={"kern.maxproc": 20000})
    assert host.read("/boot/loader.conf.d/sokuhai.conf").splitlines()[1:] == ['kern.maxproc="20000"']
    assert work.findings == [
        {
            "id": "reboot pending: kern.maxproc",
            "thing": "kern.maxproc",
            "expected": "20000",
            "found": "9460",
            "because": [],
            "remedy": "reboot",
        }
    ]
    host.boot()
    assert pending(go(host, loader={"kern.maxproc": 20000})) == set()
    go(host)
    assert host.read("/boot/loader.conf.d/sokuhai.conf") is None, "the file goes when nothing is asked of it"


def test_a_floor_of_a_read_only_tunable(host):
    floors = {**FLOORS, "kern.maxproc": 12000}
    assert pending(go(host, floors=floors)) == {"kern.maxproc"}
    host.boot()
    work = go(host, floors=floors)
    assert did(work) == [] and pending(work) == set() and host.kernel["kern.maxproc"] == 12000


def test_what_did_not_come_true_is_said(host):
    host.set = lambda name, value: (1, "", "sysctl: %s=%s: Operation not permitted" % (name, value))
    with pytest.raises(Refused, match="kern.ipc.soacceptqueue is 128.*500.*not permitted"):
        go(host)


# ---- refused before anything is written ----


def test_what_only_a_boot_lowers_is_refused_below_what_the_boot_gives(host):
    with pytest.raises(Refused, match="kern.ipc.maxsockets.*130352.*raised"):
        go(host, sysctl={"kern.ipc.maxsockets": 1000})


@pytest.mark.parametrize(
    "path, text, number",
    [
        ("/etc/sysctl.conf", "kern.ipc.soacceptqueue=77\n", 3),
        ("/etc/sysctl.conf", "kern.ipc.somaxconn = 77 # old name\n", 3),
        ("/boot/loader.conf", 'kern.maxfiles="20000"\n', 2),
    ],
)
def test_a_foreign_line_below_the_floor_is_refused(host, path, text, number):
    host.append(path, text)
    with pytest.raises(Refused, match=f"{path}:{number} "):
        go(host)


def test_a_foreign_line_that_keeps_the_floor_is_left_to_its_owner(host):
    host.append("/etc/sysctl.conf", "kern.ipc.soacceptqueue=4096\n")
    go(host)
    assert "kern.ipc.soacceptqueue" not in block(host) and host.kernel["kern.ipc.soacceptqueue"] == 4096
    assert did(go(host)) == []


def test_a_damaged_block_is_refused(host):
    go(host)
    host.put("/etc/sysctl.conf", host.read("/etc/sysctl.conf").replace("# END sokuhai limits\n", "vfs.zfs.arc_max=1\n"))
    with pytest.raises(Refused, match="/etc/sysctl.conf: .*damaged"):
        go(host)


# ---- login class and rc ----


SECOND = 1700000000


def stamp(second):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@pytest.mark.parametrize(
    "database, thing, expected, found",
    [
        (LOGIN_CONF, ": openfiles of class sokuhai", "at least 65535", "no such class"),
        (LOGIN_CONF + "sokuhai:openfiles=1024:\n", ": openfiles of class sokuhai", "at least 65535", "1024"),
        ("missing", "", "there", "missing"),
        ("older", "", f"written at {stamp(SECOND + 1)} or later", f"written at {stamp(SECOND)}"),
    ],
)
def test_a_stale_database_is_rebuilt_and_reported_with_what_it_lacks(host, database, thing, expected, found):
    go(host)
    text, path = (pathlib.Path(host.path("/etc/" + name)) for name in ("login.conf", "login.conf.db"))
    if database == "missing":
        path.unlink()
        host.openfiles = lambda name: "infinity"  # without the database the text is read (getcap)
    elif database == "older":
        os.utime(text, (SECOND + 1, SECOND + 1))
        os.utime(path, (SECOND, SECOND))
    else:
        host.put("/etc/login.conf.db", database)
    checked = go(host, check=True)
    assert [(entry["thing"], entry["expected"], entry["found"]) for entry in checked.findings] == [
        ("/etc/login.conf.db" + thing, expected, found)
    ]
    assert did(checked) == did(go(host)) == [checked.findings[0]["id"]] == ["/etc/login.conf.db"]
    assert path.stat().st_mtime_ns >= text.stat().st_mtime_ns
    assert host.openfiles("sokuhai") == "infinity" and go(host).findings == []


@pytest.mark.parametrize(
    "openfiles, gets",
    [
        ("openfiles=1024", "65535"),
        ("openfiles=90000", "90000"),
        # a soft limit that is inherited does not win
        ("openfiles=unlimited:openfiles-cur=1024", "65535"),
    ],
)
def test_where_daemon_is_bounded_the_class_is_not_below_either(host, openfiles, gets):
    host.login_conf(LOGIN_CONF.replace("openfiles=unlimited", openfiles))
    go(host)
    assert host.openfiles("sokuhai") == gets


def test_a_class_whose_value_changes_is_compiled_again(host):
    host.login_conf(LOGIN_CONF.replace("unlimited", "1024"))
    go(host)
    assert "/etc/login.conf" in did(go(host, openfiles=30000)) and host.openfiles("sokuhai") == "30000"


def test_a_class_of_that_name_that_is_not_ours(host):
    host.append("/etc/login.conf", "sokuhai|somebody else's:\\\n\t:tc=default:\n")
    with pytest.raises(Refused, match="limits_login_class"):
        go(host)


def test_the_rc_script_decides_how_its_daemon_gets_the_limit_also_when_it_changes_its_way(host):
    for name, text in RC.items():
        host.script(name, text)
    go(host)
    assert host.sysrc("named_login_class") == "sokuhai" and host.read("/etc/rc.conf.d/named") is None
    assert host.sysrc("postfix_login_class") == "" and "ulimit" in host.read("/etc/rc.conf.d/postfix")
    host.script("postfix", RC["named"])
    host.script("named", RC["postfix"])
    go(host)
    assert host.sysrc("postfix_login_class") == "sokuhai" and host.read("/etc/rc.conf.d/postfix") is None
    assert host.sysrc("named_login_class") == "" and "ulimit" in host.read("/etc/rc.conf.d/named")
    assert did(go(host)) == []


def test_an_operators_fragment_keeps_its_lines(host):
    host.put("/etc/rc.conf.d/postfix", 'postfix_flags="-v"')
    go(host)
    text = host.read("/etc/rc.conf.d/postfix")
    assert text.startswith('postfix_flags="-v"\n# BEGIN')
    assert blocks.set_block(text, limits.MARK, "x", []) == 'postfix_flags="-v"\n'


def test_a_fragment_directory_gets_a_file_of_its_own(host):
    os.makedirs(host.path("/etc/rc.conf.d/postfix"))
    go(host)
    assert "ulimit" in host.read("/etc/rc.conf.d/postfix/sokuhai")


@pytest.mark.parametrize("line", ['named_limits="-n 4096"', 'named_login_class="small"'])
def test_what_rc_conf_gives_too_little_of_is_refused(host, line):
    host.put("/etc/rc.conf", line + "\n")
    host.login_conf(LOGIN_CONF + "small:\\\n\t:openfiles=100:\n")
    with pytest.raises(Refused, match=line.split("=")[0]):
        go(host)


@pytest.mark.parametrize(
    "line, expected",
    [
        ('named_limits="-n 65535 -s 1m"', "sokuhai"),
        ('named_login_class="daemon"', "sokuhai"),
        ('named_login_class="default"', "default"),
    ],
)
def test_what_rc_conf_gives_enough_of_stays(host, line, expected):
    host.put("/etc/rc.conf", line + "\n")
    go(host)
    assert host.sysrc("named_login_class") == expected


# ---- the shell fragment, in a real shell ----


def shell(before, after="echo $(ulimit -Sn) $(ulimit -Hn)", **user):
    script = "\n".join(["set -u", before, file_text("etc/rc.conf.d/postfix", None, 600), after])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, **user)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def may_raise_hard_limits():
    """Root in a container may lack the right; asked of the kernel, not guessed."""
    return (
        subprocess.run(["sh", "-c", "ulimit -n 300; ulimit -Hn 400"], capture_output=True, check=False).returncode == 0
    )


def test_the_fragment_passes_shellcheck():
    shellcheck(file_text("etc/rc.conf.d/postfix", None))


@pytest.mark.parametrize("had, has", [((300, 700), ["600", "700"]), ((800, 900), ["800", "900"])])
def test_the_fragment_raises_the_soft_limit_and_never_lowers(had, has):
    assert shell("ulimit -Sn %d; ulimit -Hn %d" % had) == has


def test_the_fragment_raises_hard_before_soft(tmp_path):
    """With a shell function in ulimit's place, so that it is shown also where nobody may raise a hard limit."""
    log = tmp_path / "log"
    fake = (
        'ulimit() { if [ $# -eq 1 ]; then case $1 in -Hn) echo 300 ;; *) echo 200 ;; esac; else echo "$*" >> %s; fi; }'
        % log
    )
    shell(fake, after=":")
    assert log.read_text().splitlines() == ["-Hn 600", "-Sn 600"]


@pytest.mark.skipif(not may_raise_hard_limits(), reason="whoever runs this may not raise a hard limit")
def test_the_fragment_raises_the_hard_limit_as_root():
    assert shell("ulimit -n 300") == ["600", "600"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_the_fragment_stays_silent_for_a_user():
    assert shell("ulimit -n 300", "ulimit -Hn", user=65534, group=65534) == ["300"]


# ---- and back ----


@pytest.mark.parametrize("files", [{}, {"/etc/rc.conf.d/postfix": "postfix_flags=x\n"}])
def test_undo_gives_the_stock_files_back(host, files):
    for name, text in files.items():
        host.put(name, text)
    stock = host.files()
    go(host, loader={"kern.maxproc": 12000})
    assert host.files() != stock
    before = host.files()
    assert did(undo(host, check=True)) and host.files() == before
    assert pending(undo(host)) >= {"kern.maxproc", "kern.ipc.soacceptqueue"} and host.files() == stock
    again = undo(host)
    assert did(again) == [] and pending(again) == set() and host.files() == stock


def test_undo_leaves_a_class_of_the_operators_own(host):
    host.put("/etc/rc.conf", 'named_login_class="mine"\n')
    undo(host)
    assert 'named_login_class="mine"' in host.read("/etc/rc.conf")


def test_an_undo_killed_anywhere_is_finished_by_the_next(tmp_path):
    whole = FreeBSD(tmp_path / "whole")
    stock = whole.files()
    go(whole, loader={"kern.maxproc": 12000})
    whole.calls = 0
    undo(whole)
    assert whole.calls > 3
    for stop in range(whole.calls):
        host = FreeBSD(tmp_path / str(stop))
        go(host, loader={"kern.maxproc": 12000})
        kill(host, undo, stop)
        undo(host)
        assert host.files() == stock, stop
