# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role limits' plan and its transaction, on files in a temporary directory and a kernel that answers as FreeBSD 15.0 does."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from limits_plan import RAISE_ONLY, conflicts, limits_names, limits_plan, misplaced
from role_modules import ROOT, load, rendered, util
from sizing import holds, in_order, number

limits_apply = load("roles/limits/library/limits_apply.py")
preflight_probe = load("roles/preflight/library/preflight_probe.py")
limits, blocks = util("sokuhai.limits"), util("sokuhai.blocks")


FLOORS = {
    "kern.maxfiles": 68985,
    "kern.maxfilesperproc": 65535,
    "kern.ipc.maxsockets": 42400,
    "kern.ipc.nmbclusters": 48200,
    "kern.maxproc": 2300,
    "kern.maxprocperuid": 2050,
    "kern.ipc.soacceptqueue": 500,
    "kern.ipc.maxsockbuf": 1179648,
    "net.inet.udp.recvspace": 262400,
    "net.inet.ip.portrange.hilast": 65535,
    "net.inet.ip.portrange.hifirst": 40536,
}
RC = {
    "named": '#!/bin/sh\n. /etc/rc.subr\nname=named\nstart_precmd=named_prestart\nrun_rc_command "$1"\n',
    "postfix": '#!/bin/sh\n. /etc/rc.subr\nname=postfix\nstart_cmd=${name}_start\nrun_rc_command "$1"\n',
}
LOGIN_CONF = "default:\\\n\t:openfiles=unlimited:\n\ndaemon:\\\n\t:tc=default:\n"
SERVICES = ["named", "postfix"]


class Killed(BaseException):
    """The run ends here, as by kill -9."""


class FreeBSD(limits_apply.Host):
    """Files under root; commands answered by a small model of the kernel."""

    def __init__(self, root, physmem=4271390720):
        limits_apply.Host.__init__(self, str(root))
        for name, text in {
            "/etc/sysctl.conf": "# $FreeBSD$\n#security.bsd.see_other_uids=0\n",
            "/etc/login.conf": LOGIN_CONF,
            "/etc/login.conf.db": LOGIN_CONF,
            "/boot/loader.conf": 'console="comconsole"\n',
            "/etc/rc.conf": "",
        }.items():
            path = pathlib.Path(self.root + name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for folder in ("/boot/loader.conf.d", "/etc/rc.d", "/usr/local/etc/rc.d"):
            pathlib.Path(self.root + folder).mkdir(parents=True, exist_ok=True)
        self.physmem, self.rlimits, self.calls, self.stop_at = physmem, {}, 0, None
        self.boot()

    def boot(self):
        """Autotuning, then the loader's files, then rc.d/sysctl."""
        loader = {}
        for path in [self.root + "/boot/loader.conf"] + sorted(
            str(p) for p in pathlib.Path(self.root + "/boot/loader.conf.d").glob("*.conf")
        ):
            loader.update(limits.parse_values(pathlib.Path(path).read_text().splitlines()))
        self.environment = loader
        kilobytes = self.physmem // 1024
        files = min(int(loader.get("kern.maxfiles", kilobytes // 32)), kilobytes // 16)
        processes = int(loader.get("kern.maxproc", 9460))
        self.kernel = {
            "kern.maxfiles": files,
            "kern.maxfilesperproc": files // 10 * 9,
            "kern.ipc.maxsockets": files,
            "kern.ipc.nmbclusters": 252212,
            "kern.maxproc": processes,
            "kern.maxprocperuid": processes * 9 // 10,
            "kern.ipc.soacceptqueue": 128,
            "kern.ipc.maxsockbuf": 8388608,
            "net.inet.udp.recvspace": 42080,
            "net.inet.ip.portrange.hifirst": 49152,
            "net.inet.ip.portrange.hilast": 65535,
            "hw.physmem": self.physmem,
            "kern.maxusers": 590,
            "kern.ipc.maxmbufmem": 2066120704,
            "net.inet.tcp.cc.algorithm": "cubic",
            "hw.ncpu": 2,
        }
        for name, value in limits.parse_values((self.read("/etc/sysctl.conf") or "").splitlines()).items():
            self.set(name, value)

    def set(self, name, value):
        if name not in self.kernel:
            return 1, "", "sysctl: unknown oid '%s'\n" % name
        if name in ("kern.maxproc", "hw.physmem", "hw.ncpu"):
            return 1, "", "sysctl: oid '%s' is a read only tunable\n" % name
        value = number(value) if number(value) is not None else value
        if (
            name in RAISE_ONLY
            and value < self.kernel[name]
            or (name == "kern.ipc.maxsockets" and value > self.kernel["kern.maxfiles"])
        ):
            return 1, "", "sysctl: %s=%s: Invalid argument\n" % (name, value)
        self.kernel[name] = value
        return 0, "", ""

    def step(self):
        self.calls += 1
        if self.stop_at is not None and self.calls > self.stop_at:
            raise Killed()

    def write(self, name, text):
        self.step()
        limits_apply.Host.write(self, name, text)

    def install(self, *names):
        for name in names:
            self.script(name, RC[name])

    def script(self, name, text):
        path = pathlib.Path(self.root + "/usr/local/etc/rc.d/" + name)
        path.write_text(text)
        path.chmod(0o755)

    def openfiles(self, name):
        text = pathlib.Path(self.root + "/etc/login.conf.db").read_text().replace("\\\n", "")
        entry = re.search(r"^%s:(.*)$" % name, text, re.M)
        if not entry:
            return None
        for key in ("openfiles-cur", "openfiles"):
            found = re.search(r":%s=(\w+)" % key, ":" + entry.group(1))
            if found:
                return "infinity" if found.group(1) in ("unlimited", "infinity") else found.group(1)
        parent = re.search(r":tc=(\w+)", ":" + entry.group(1))
        return self.openfiles(parent.group(1)) if parent else None

    def run(self, argv):
        if argv[0] == "sysctl" and "=" in argv[-1] and argv[1] == argv[-1]:
            self.step()
            return self.set(*argv[1].split("=", 1))
        if argv[:2] == ["sysctl", "-ie"]:
            return 0, "".join("%s=%s\n" % (n, self.kernel[n]) for n in argv[2:] if n in self.kernel), ""
        if argv[:2] == ["sysctl", "-n"]:
            return (0, "%s\n" % self.kernel[argv[2]], "") if argv[2] in self.kernel else (1, "", "unknown oid")
        tunable = {
            "kern.maxproc",
            "kern.maxfiles",
            "kern.maxfilesperproc",
            "kern.ipc.maxsockets",
            "kern.ipc.nmbclusters",
        }
        if argv[0] == "sysctl":
            wanted = (
                tunable
                if "T" in argv[1]
                else set(self.kernel)
                - {"kern.maxproc", "hw.physmem", "hw.ncpu", "kern.maxusers", "kern.ipc.maxmbufmem"}
            )
            names = wanted if len(argv) == 2 else wanted & {argv[2]}
            return 0, "\n".join(sorted(names)) + "\n", ""
        if argv == ["kenv"]:
            return 0, "".join('%s="%s"\n' % pair for pair in self.environment.items()), ""
        if argv[0] == "limits":
            value = self.openfiles(argv[2])
            message = "" if value else "login class '%s' non-existent, using default\n" % argv[2]
            return (
                0,
                "Resource limits for class x:\n  openfiles            %s\n" % (value or self.openfiles("default")),
                message,
            )
        if argv[0] == "cap_mkdb":
            self.step()
            os.replace(self.copy(argv[1]), argv[1] + ".db")
            return 0, "", ""
        if argv[:2] == ["sysrc", "-n"]:
            value = limits.parse_values(self.read("/etc/rc.conf").splitlines()).get(argv[2])
            return (0, value + "\n", "") if value is not None else (1, "", "unknown variable")
        if argv[0] == "sysrc":
            self.step()
            lines = [
                text
                for text in self.read("/etc/rc.conf").splitlines()
                if not text.startswith(argv[-1].split("=")[0] + "=")
            ]
            if argv[1] != "-x":
                lines.append('%s="%s"' % tuple(argv[1].split("=", 1)))
            pathlib.Path(self.root + "/etc/rc.conf").write_text("".join(text + "\n" for text in lines))
            return 0, "", ""
        if argv[0] == "service":
            return (
                (0, "%s is running as pid %d.\n" % (argv[1], len(argv[1])), "")
                if argv[1] in self.rlimits
                else (1, "", "")
            )
        if argv[0] == "procstat":
            name = [n for n in self.rlimits if len(n) == int(argv[2])][0]
            return (
                0,
                "  PID COMM RLIMIT SOFT HARD\n %s %s openfiles %s %s\n" % ((argv[2], name) + self.rlimits[name]),
                "",
            )
        raise AssertionError(argv)

    @staticmethod
    def copy(path):
        pathlib.Path(path + ".tmp").write_bytes(pathlib.Path(path).read_bytes())
        return path + ".tmp"

    def files(self):
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in sorted(pathlib.Path(self.root).rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def host(tmp_path):
    return FreeBSD(tmp_path)


def planned(host, floors, declared):
    """What role preflight makes of the host: the plan, or the refusal of what the chain or the plan says is wrong."""
    names = in_order({*limits_names(declared), *floors})
    measured = preflight_probe.kernel(host, names) | preflight_probe.logins(host, ["daemon"])
    plan = limits_plan(measured, declared, floors)
    sysctl, loader = declared["limits_sysctl"], declared["limits_loader"]
    wrong = [*misplaced(sysctl, loader, measured), *conflicts(measured["settings"], {**loader, **sysctl}, floors)]
    wrong += [problem["message"] for problem in plan["problems"]]
    if wrong:
        raise limits_apply.Refused(wrong)
    return plan


def file_text(name, plan, openfiles=65535):
    values = {"__limits_plan": plan, "limits_login_class": "sokuhai", "limits_openfiles": openfiles}
    return rendered("limits", name + ".j2", **values)


def go(host, check=False, floors=FLOORS, sysctl=(), loader=(), openfiles=65535):
    declared = {"limits_sysctl": dict(sysctl), "limits_loader": dict(loader), "limits_openfiles": openfiles}
    plan = planned(host, floors, declared)
    work = limits_apply.Apply(
        host,
        {
            "sysctl_conf": file_text("etc/sysctl.conf", plan),
            "loader_conf": file_text("boot/loader.conf.d/sokuhai.conf", plan),
            "login_conf": file_text("etc/login.conf", plan),
            "rc_conf": file_text("etc/rc.conf.d/postfix", plan, openfiles),
            "apply": plan["apply"],
            "guarantee": plan["guarantee"],
            "reboot": plan["reboot"],
            "openfiles": openfiles,
            "login_class": "sokuhai",
            "services": SERVICES,
        },
    )
    work.plan = plan
    work.prepare()
    return work, ([] if check else work.execute())


def did(work):
    """The headers of what a run would change, or has changed."""
    return [entry["after_header"] for entry in work.diff]


def block(host, path="/etc/sysctl.conf"):
    return limits.parse_values(blocks.get_block(host.read(path), limits.MARK, path) or [])


# ---- the whole of it ----


def test_a_bare_host_gets_what_it_lacks_and_no_more(host):
    work, wrong = go(host)
    assert wrong == []
    assert block(host) == {
        "kern.ipc.soacceptqueue": "500",
        "net.inet.udp.recvspace": "262400",
        "net.inet.ip.portrange.hifirst": "40536",
    }
    assert host.kernel["kern.maxfiles"] == 130352, "what the host gives stays"
    assert host.read("/boot/loader.conf.d/sokuhai.conf") is None
    assert host.openfiles("sokuhai") == "infinity"
    assert host.sysrc("named_login_class") == "sokuhai"
    assert "ulimit" in host.read("/etc/rc.conf.d/postfix")
    assert work.findings == []


def test_the_second_run_changes_nothing(host):
    go(host)
    before = host.files()
    work, wrong = go(host)
    assert (work.diff, work.writes, work.keys, work.database, wrong) == ([], [], [], False, [])
    assert host.files() == before


def test_check_mode_shows_the_same_and_changes_nothing(host):
    before, kernel = host.files(), dict(host.kernel)
    work, wrong = go(host, check=True)
    assert host.files() == before and host.kernel == kernel
    assert {"/etc/sysctl.conf", "/etc/login.conf", "/etc/rc.conf.d/postfix"} <= set(did(work))
    shown = {item["after_header"]: item for item in work.diff}
    assert "kern.ipc.soacceptqueue=500" in shown["/etc/sysctl.conf"]["after"]
    assert shown["running kernel: kern.ipc.soacceptqueue"]["before"] == "128\n"


def test_a_reboot_keeps_everything(host):
    go(host)
    host.boot()
    for name, floor in FLOORS.items():
        assert holds(name, host.kernel[name], floor), name
    work, wrong = go(host)
    assert did(work) == [] and wrong == []


def test_a_run_killed_anywhere_is_finished_by_the_next(tmp_path):
    whole = FreeBSD(tmp_path / "whole")
    whole.install("named", "postfix")
    go(whole)
    assert whole.calls >= 6
    for stop in range(whole.calls):
        host = FreeBSD(tmp_path / str(stop))
        host.install("named", "postfix")
        host.stop_at = stop
        with pytest.raises(Killed):
            go(host)
        host.stop_at = None
        work, wrong = go(host)
        assert wrong == []
        assert host.files() == whole.files() and host.kernel == whole.kernel, stop
        assert did(go(host)[0]) == [], stop


def test_no_temporary_file_is_left(host, monkeypatch):
    monkeypatch.setattr(os, "rename", lambda *names: (_ for _ in ()).throw(Killed()))
    monkeypatch.setattr(os, "unlink", lambda name: None)  # kill -9 leaves no time to clean up
    with pytest.raises(Killed):
        go(host)
    assert [name for name in host.files() if name.endswith(".sokuhai-new")]
    monkeypatch.undo()
    go(host)
    assert not [name for name in host.files() if name.endswith(".sokuhai-new")]


def test_removal_of_the_blocks_restores_the_stock_files(host):
    before = host.files()
    go(host)
    for path in ("/etc/sysctl.conf", "/etc/login.conf"):
        assert blocks.set_block(host.read(path), limits.MARK, path, []) == before[path[1:]]


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
    work, wrong = go(host)
    assert wrong == [] and host.kernel["kern.ipc.soacceptqueue"] == 500
    assert did(work) == ["running kernel: kern.ipc.soacceptqueue"]


def test_an_autotuned_value_lowered_by_hand_returns_to_what_the_boot_gives(host):
    host.set("kern.maxfiles", 1000)
    work, wrong = go(host)
    assert wrong == [] and host.kernel["kern.maxfiles"] == 130352
    assert did(go(host)[0]) == []
    host.boot()
    assert host.kernel["kern.maxfiles"] == 130352, "the floor has not become a ceiling"
    assert did(go(host)[0]) == []


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
        work, wrong = go(host)
        assert wrong == [] and host.kernel["kern.maxfiles"] >= FLOORS["kern.maxfiles"]
        assert did(go(host)[0]) == []
        host.boot()
        assert host.kernel["kern.maxfiles"] >= FLOORS["kern.maxfiles"], "the line has to outlive the boot"


def test_a_small_host_is_raised_and_the_order_serves_maxsockets(tmp_path):
    host = FreeBSD(tmp_path, physmem=1200 * 2**20)
    work, wrong = go(host)
    assert wrong == []
    names = [name for name, value in work.plan["sysctl"]]
    assert names.index("kern.maxfiles") < names.index("kern.maxfilesperproc") < names.index("kern.ipc.maxsockets")
    host.boot()
    assert host.kernel["kern.ipc.maxsockets"] == 42400 and host.kernel["kern.maxfiles"] == 68985


def test_memory_added_later_makes_the_line_go_away(tmp_path):
    host = FreeBSD(tmp_path, physmem=1200 * 2**20)
    go(host)
    host.physmem = 16 * 2**30
    host.boot()
    assert host.kernel["kern.maxfiles"] == 68985
    work, wrong = go(host)
    assert "kern.maxfiles" not in block(host)
    host.boot()
    assert host.kernel["kern.maxfiles"] == 524288
    assert did(go(host)[0]) == []


def test_a_floor_lowered_in_the_inventory_shrinks_the_line(tmp_path):
    host = FreeBSD(tmp_path, physmem=1200 * 2**20)
    go(host)
    go(host, floors=dict(FLOORS, **{"kern.maxfilesperproc": 40000}), openfiles=40000)
    assert block(host)["kern.maxfilesperproc"] == "40000"
    assert host.kernel["kern.maxfilesperproc"] == 65535, "the running value is not lowered"


def test_declared_values_are_exact(host):
    work, wrong = go(
        host,
        sysctl={"kern.maxfilesperproc": 70000, "net.inet.tcp.cc.algorithm": "htcp"},
        floors={k: v for k, v in FLOORS.items() if k != "kern.maxfilesperproc"},
    )
    assert wrong == []
    assert host.kernel["kern.maxfilesperproc"] == 70000 and host.kernel["net.inet.tcp.cc.algorithm"] == "htcp"
    assert did(go(host, sysctl={"kern.maxfilesperproc": 70000, "net.inet.tcp.cc.algorithm": "htcp"})[0]) == []


def test_a_read_only_tunable_goes_to_the_loader_and_needs_a_reboot(host):
    work, wrong = go(host, loader={"kern.maxproc": 20000})
    assert wrong == []
    assert host.read("/boot/loader.conf.d/sokuhai.conf").splitlines()[1:] == ['kern.maxproc="20000"']
    (found,) = work.findings
    assert found == {
        "id": "reboot pending: kern.maxproc",
        "thing": "kern.maxproc",
        "expected": "20000",
        "found": "9460",
        "because": [],
        "remedy": "reboot",
    }
    host.boot()
    assert pending(go(host, loader={"kern.maxproc": 20000})[0]) == set()


def test_a_floor_of_a_read_only_tunable(host):
    floors = dict(FLOORS, **{"kern.maxproc": 12000})
    work, wrong = go(host, floors=floors)
    assert pending(work) == {"kern.maxproc"}
    assert wrong == []
    host.boot()
    work, wrong = go(host, floors=floors)
    assert did(work) == [] and pending(work) == set() and host.kernel["kern.maxproc"] == 12000


def test_the_loader_file_goes_when_nothing_is_asked_of_it(host):
    go(host, loader={"kern.maxproc": 20000})
    go(host)
    assert host.read("/boot/loader.conf.d/sokuhai.conf") is None


def test_what_did_not_come_true_is_said(host):
    host.set = lambda name, value: (1, "", "sysctl: %s=%s: Operation not permitted" % (name, value))
    work, wrong = go(host)
    assert any("kern.ipc.soacceptqueue is 128" in text and "500" in text and "not permitted" in text for text in wrong)


# ---- refused before anything is written ----


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"sysctl": {"kern.maxproc": 1}}, ["kern.maxproc", "limits_loader"]),
        ({"loader": {"kern.ipc.soacceptqueue": 1}}, ["kern.ipc.soacceptqueue", "limits_sysctl"]),
        ({"sysctl": {"kern.nothing": 1}}, ["kern.nothing", "does not know"]),
        ({"sysctl": {"hw.ncpu": 1}}, ["hw.ncpu", "read-only"]),
        ({"sysctl": {"kern.ipc.maxsockets": 1000}}, ["kern.ipc.maxsockets", "130352", "raised"]),
    ],
)
def test_refusals_write_nothing(host, changes, words):
    before, kernel = host.files(), dict(host.kernel)
    with pytest.raises(limits_apply.Refused) as caught:
        go(host, **changes)
    for word in words:
        assert word in str(caught.value)
    assert host.files() == before and host.kernel == kernel


@pytest.mark.parametrize(
    "path,text,number",
    [
        ("/etc/sysctl.conf", "kern.ipc.soacceptqueue=77\n", 3),
        ("/etc/sysctl.conf", "kern.ipc.somaxconn = 77 # old name\n", 3),
        ("/boot/loader.conf", 'kern.maxfiles="20000"\n', 2),
    ],
)
def test_a_foreign_line_below_the_floor_is_refused(host, path, text, number):
    with open(host.root + path, "a") as handle:
        handle.write(text)
    with pytest.raises(limits_apply.Refused) as caught:
        go(host)
    assert "%s:%d" % (path, number) in str(caught.value)


def test_a_foreign_line_that_keeps_the_floor_is_left_to_its_owner(host):
    with open(host.root + "/etc/sysctl.conf", "a") as handle:
        handle.write("kern.ipc.soacceptqueue=4096\n")
    work, wrong = go(host)
    assert "kern.ipc.soacceptqueue" not in block(host) and host.kernel["kern.ipc.soacceptqueue"] == 4096
    assert wrong == [] and did(go(host)[0]) == []


def test_a_damaged_block_is_refused(host):
    go(host)
    text = host.read("/etc/sysctl.conf").replace("# END sokuhai limits\n", "")
    limits_apply.Host.write(host, "/etc/sysctl.conf", text + "vfs.zfs.arc_max=1\n")
    with pytest.raises(limits_apply.Refused) as caught:
        go(host)
    assert "damaged" in str(caught.value) and "/etc/sysctl.conf" in str(caught.value)


# ---- login class and rc ----


def test_a_class_without_cap_mkdb_is_healed(host):
    go(host)
    pathlib.Path(host.root + "/etc/login.conf.db").write_text(LOGIN_CONF)
    check, wrong = go(host, check=True)
    assert did(check) == ["/etc/login.conf.db"]
    work, wrong = go(host)
    assert wrong == [] and did(work) == ["/etc/login.conf.db"] and host.openfiles("sokuhai") == "infinity"


@pytest.mark.parametrize("damage", ["missing", "older"])
def test_a_stale_database_is_healed(host, damage):
    go(host)
    database = host.root + "/etc/login.conf.db"
    if damage == "missing":
        os.unlink(database)
        host.openfiles = lambda name: "infinity"  # without the database the text is read (getcap)
    else:
        os.utime(database, ns=(1, 1))
    assert did(go(host, check=True)[0]) == ["/etc/login.conf.db"]
    go(host)
    assert os.stat(database).st_mtime_ns >= os.stat(host.root + "/etc/login.conf").st_mtime_ns


def test_where_daemon_is_bounded_the_class_is_not_below_either(host):
    for path in ("/etc/login.conf", "/etc/login.conf.db"):
        pathlib.Path(host.root + path).write_text(LOGIN_CONF.replace("unlimited", "1024"))
    go(host)
    assert host.openfiles("sokuhai") == "65535"
    for path in ("/etc/login.conf", "/etc/login.conf.db"):
        pathlib.Path(host.root + path).write_text(LOGIN_CONF.replace("unlimited", "90000"))
    go(host)
    assert host.openfiles("sokuhai") == "90000"


def test_a_class_whose_value_changes_is_compiled_anew(host):
    for path in ("/etc/login.conf", "/etc/login.conf.db"):
        pathlib.Path(host.root + path).write_text(LOGIN_CONF.replace("unlimited", "1024"))
    go(host)
    work, wrong = go(host, openfiles=30000)
    assert "/etc/login.conf" in did(work) and host.openfiles("sokuhai") == "30000"


def test_an_inherited_soft_limit_does_not_win(host):
    for path in ("/etc/login.conf", "/etc/login.conf.db"):
        pathlib.Path(host.root + path).write_text(
            LOGIN_CONF.replace(":openfiles=unlimited:", ":openfiles=unlimited:openfiles-cur=1024:")
        )
    work, wrong = go(host)
    assert wrong == [] and host.openfiles("sokuhai") == "65535"


def test_a_class_of_that_name_that_is_not_ours(host):
    with open(host.root + "/etc/login.conf", "a") as handle:
        handle.write("sokuhai|somebody else's:\\\n\t:tc=default:\n")
    with pytest.raises(limits_apply.Refused):
        go(host)


def test_the_rc_script_decides_how_its_daemon_gets_the_limit(host):
    host.install("named", "postfix")
    go(host)
    assert host.sysrc("named_login_class") == "sokuhai" and host.read("/etc/rc.conf.d/named") is None
    assert host.sysrc("postfix_login_class") == "" and host.read("/etc/rc.conf.d/postfix") is not None


def test_a_script_that_changes_its_way_is_followed(host):
    go(host)
    host.script("postfix", RC["named"])
    host.script("named", RC["postfix"])
    go(host)
    assert host.read("/etc/rc.conf.d/postfix") is None and host.sysrc("postfix_login_class") == "sokuhai"
    assert host.sysrc("named_login_class") == "" and "ulimit" in host.read("/etc/rc.conf.d/named")
    assert did(go(host)[0]) == []


def test_an_operators_fragment_keeps_its_lines(host):
    os.makedirs(host.root + "/etc/rc.conf.d")
    pathlib.Path(host.root + "/etc/rc.conf.d/postfix").write_text('postfix_flags="-v"')
    go(host)
    text = host.read("/etc/rc.conf.d/postfix")
    assert text.startswith('postfix_flags="-v"\n# BEGIN')
    assert blocks.set_block(text, limits.MARK, "x", []) == 'postfix_flags="-v"\n'


def test_a_fragment_directory_gets_a_file_of_its_own(host):
    os.makedirs(host.root + "/etc/rc.conf.d/postfix")
    go(host)
    assert "ulimit" in host.read("/etc/rc.conf.d/postfix/sokuhai")


@pytest.mark.parametrize(
    "line,refused",
    [
        ('named_limits="-n 4096"', True),
        ('named_limits="-n 65535 -s 1m"', False),
        ('named_login_class="small"', True),
        ('named_login_class="daemon"', False),
        ('named_login_class="default"', False),
    ],
)
def test_what_rc_conf_says_already(host, line, refused):
    pathlib.Path(host.root + "/etc/rc.conf").write_text(line + "\n")
    if "small" in line:
        for path in ("/etc/login.conf", "/etc/login.conf.db"):
            pathlib.Path(host.root + path).write_text(LOGIN_CONF + "small:\\\n\t:openfiles=100:\n")
    if refused:
        with pytest.raises(limits_apply.Refused) as caught:
            go(host)
        assert line.split("=")[0] in str(caught.value)
    else:
        go(host)
        expected = "default" if "default" in line else "sokuhai"
        assert host.sysrc("named_login_class") == expected


# ---- the shell fragment, in a real shell ----


def shell(before, after="echo $(ulimit -Sn) $(ulimit -Hn)", openfiles=600):
    script = "\n".join(["set -u", before, file_text("etc/rc.conf.d/postfix", None, openfiles), after])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def may_raise_hard_limits():
    """Root in a container may lack the right; asked of the kernel, not guessed."""
    return (
        subprocess.run(["sh", "-c", "ulimit -n 300; ulimit -Hn 400"], capture_output=True, check=False).returncode == 0
    )


def test_the_fragment_passes_shellcheck():
    program = pathlib.Path(sys.executable).parent / "shellcheck"
    script = file_text("etc/rc.conf.d/postfix", None)
    done = subprocess.run([program, "-s", "sh", "-"], input=script, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_the_fragment_raises_the_soft_limit():
    assert shell("ulimit -Sn 300; ulimit -Hn 700") == ["600", "700"]


def test_the_fragment_never_lowers():
    assert shell("ulimit -Sn 800; ulimit -Hn 900") == ["800", "900"]


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
    script = "\n".join(["ulimit -n 300", file_text("etc/rc.conf.d/postfix", None, 600), "ulimit -Hn"])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, user=65534, group=65534)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "300", "")


def test_a_written_file_keeps_its_mode(host):
    path = host.root + "/etc/sysctl.conf"
    os.chmod(path, 0o600)
    go(host)
    assert os.stat(path).st_mode & 0o7777 == 0o600


def undo(host, check=False):
    work = limits_apply.Undo(host, {"login_class": "sokuhai", "services": SERVICES})
    work.prepare()
    return work, ([] if check else work.execute())


def pending(work):
    """The names of what waits for a boot."""
    return {finding["thing"] for finding in work.findings if finding["id"] == "reboot pending: " + finding["thing"]}


@pytest.mark.parametrize("files", [{}, {"/etc/rc.conf.d/postfix": "postfix_flags=x\n"}])
def test_undo_gives_the_stock_files_back(host, files):
    for name, text in files.items():
        path = pathlib.Path(host.root + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    stock = host.files()
    go(host, loader={"kern.maxproc": 12000})
    assert host.files() != stock
    work, wrong = undo(host)
    after = host.files()
    assert wrong == [] and after == stock
    assert pending(work) >= {"kern.maxproc", "kern.ipc.soacceptqueue"}
    again, wrong = undo(host)
    assert did(again) == [] and wrong == [] and pending(again) == set() and host.files() == stock


def test_undo_in_check_mode_shows_it_and_changes_nothing(host):
    go(host)
    before = host.files()
    work, dummy = undo(host, check=True)
    assert did(work) and host.files() == before


def test_undo_leaves_a_class_of_the_operators_own(host):
    pathlib.Path(host.root + "/etc/rc.conf").write_text('named_login_class="mine"\n')
    undo(host)
    assert 'named_login_class="mine"' in host.read("/etc/rc.conf")


def test_an_undo_killed_anywhere_is_finished_by_the_next(tmp_path):
    stock = FreeBSD(tmp_path / "stock").files()
    for at in range(1, 40):
        host = FreeBSD(tmp_path / str(at))
        go(host, loader={"kern.maxproc": 12000})
        host.calls, host.stop_at = 0, at
        try:
            undo(host)
            killed = False
        except Killed:
            killed = True
        host.stop_at = None
        assert undo(host)[1] == []
        assert host.files() == stock, at
        if not killed:
            assert at > 3
            return
    raise AssertionError("never came to an end")
