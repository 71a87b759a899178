# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A host for role limits: files in a temporary directory, and commands that answer as FreeBSD 15.0's do."""

import pathlib
import re
import shutil

from limits_plan import RAISE_ONLY, conflicts, limits_names, limits_plan, misplaced
from role_modules import load, rendered, util
from sizing import in_order, number

limits_apply = load("roles/limits/library/limits_apply.py")
preflight_probe = load("roles/preflight/library/preflight_probe.py")
limits = util("sokuhai.limits")
Refused = limits_apply.Refused

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
STOCK = {
    "/etc/sysctl.conf": "# $FreeBSD$\n#security.bsd.see_other_uids=0\n",
    "/etc/login.conf": LOGIN_CONF,
    "/etc/login.conf.db": LOGIN_CONF,
    "/etc/rc.conf": "",
    "/boot/loader.conf": 'console="comconsole"\n',
}
FOLDERS = ("/boot/loader.conf.d", "/etc/rc.d", "/usr/local/etc/rc.d")
TUNABLE = {"kern.maxproc", "kern.maxfiles", "kern.maxfilesperproc", "kern.ipc.maxsockets", "kern.ipc.nmbclusters"}
READ_ONLY = {"kern.maxproc", "hw.physmem", "hw.ncpu", "kern.maxusers", "kern.ipc.maxmbufmem"}


class Killed(BaseException):
    """The run ends here, as by kill -9."""


class FreeBSD(limits_apply.Host):
    """stop_at: the write or command that changes something, counted in `calls`, after which a run is killed; None is never."""

    def __init__(self, root, physmem=4271390720):
        super().__init__(str(root))
        for name in FOLDERS:
            pathlib.Path(self.path(name)).mkdir(parents=True)
        for name, text in STOCK.items():
            self.put(name, text)
        self.physmem, self.calls, self.stop_at = physmem, 0, None
        self.boot()

    def put(self, name, text):
        """Write a file, as anybody else would."""
        path = pathlib.Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def append(self, name, text):
        self.put(name, self.read(name) + text)

    def login_conf(self, text):
        """Write login.conf(5) and have its database rebuilt."""
        self.put("/etc/login.conf", text)
        self.put("/etc/login.conf.db", text)

    def script(self, name, text):
        self.put("/usr/local/etc/rc.d/" + name, text)
        pathlib.Path(self.path("/usr/local/etc/rc.d/" + name)).chmod(0o755)

    def files(self):
        """{path: text} of all that is on the host."""
        paths = (path for path in sorted(pathlib.Path(self.root).rglob("*")) if path.is_file())
        return {str(path.relative_to(self.root)): path.read_text() for path in paths}

    def boot(self):
        """Autotuning, then the loader's files, then rc.d/sysctl."""
        self.environment, folder = {}, pathlib.Path(self.path("/boot"))
        for path in (folder / "loader.conf", *sorted(folder.glob("loader.conf.d/*.conf"))):
            self.environment.update(limits.parse_values(path.read_text().splitlines()))
        kilobytes = self.physmem // 1024
        files = min(int(self.environment.get("kern.maxfiles", kilobytes // 32)), kilobytes // 16)
        processes = int(self.environment.get("kern.maxproc", 9460))
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
        for name, value in limits.parse_values(self.read("/etc/sysctl.conf").splitlines()).items():
            self.set(name, value)

    def set(self, name, value):
        if name not in self.kernel:
            return 1, "", "sysctl: unknown oid '%s'\n" % name
        if name in READ_ONLY:
            return 1, "", "sysctl: oid '%s' is a read only tunable\n" % name
        value = number(value) if number(value) is not None else value
        lowered = name in RAISE_ONLY and value < self.kernel[name]
        if lowered or (name == "kern.ipc.maxsockets" and value > self.kernel["kern.maxfiles"]):
            return 1, "", "sysctl: %s=%s: Invalid argument\n" % (name, value)
        self.kernel[name] = value
        return 0, "", ""

    def openfiles(self, name):
        """What the compiled database gives a class, by itself or by the class that it continues; None where there is no such class."""
        database = self.read("/etc/login.conf.db").replace("\\\n", "")
        entry = re.search(rf"^{name}:(.*)$", database, re.M)
        if not entry:
            return None
        fields = dict(field.partition("=")[::2] for field in entry.group(1).split(":"))
        given = fields.get("openfiles-cur", fields.get("openfiles"))
        if given:
            return "infinity" if given == "unlimited" else given
        return self.openfiles(fields["tc"])

    # ---- what the module does to it ----

    def step(self):
        self.calls += 1
        if self.stop_at is not None and self.calls > self.stop_at:
            raise Killed()

    def write(self, name, text):
        self.step()
        super().write(name, text)

    def run(self, argv):
        return getattr(self, "run_" + argv[0])(*argv[1:])

    def run_sysctl(self, option, *names):
        if "=" in option:
            self.step()
            return self.set(*option.split("=", 1))
        known = [name for name in names if name in self.kernel]
        if option == "-ie":
            return 0, "".join("%s=%s\n" % (name, self.kernel[name]) for name in known), ""
        if option == "-n":
            return (0, "%s\n" % self.kernel[known[0]], "") if known else (1, "", "unknown oid")
        flagged = {"-aNT": TUNABLE, "-NT": TUNABLE}.get(option, set(self.kernel) - READ_ONLY)
        return 0, "\n".join(sorted(flagged.intersection(names or flagged))) + "\n", ""

    def run_kenv(self):
        return 0, "".join('%s="%s"\n' % pair for pair in self.environment.items()), ""

    def run_limits(self, _option, name, _what):
        value = self.openfiles(name)
        message = "" if value else "login class '%s' non-existent, using default\n" % name
        text = "Resource limits for class x:\n  openfiles            %s\n" % (value or self.openfiles("default"))
        return 0, text, message

    def run_cap_mkdb(self, path):
        self.step()
        shutil.copyfile(path, path + ".db")
        return 0, "", ""

    def run_sysrc(self, *words):
        values = limits.parse_values(self.read("/etc/rc.conf").splitlines())
        key, _equal, value = words[-1].partition("=")
        if words[0] == "-n":
            return (0, values[key] + "\n", "") if key in values else (1, "", "unknown variable")
        self.step()
        values.pop(key, None)
        if words[0] != "-x":
            values[key] = value
        self.put("/etc/rc.conf", "".join('%s="%s"\n' % pair for pair in values.items()))
        return 0, "", ""


# ---- the role's tasks ----


def file_text(name, plan, openfiles=65535):
    values = {"__limits_plan": plan, "limits_login_class": "sokuhai", "limits_openfiles": openfiles}
    return rendered("limits", name + ".j2", **values)


def planned(host, floors, declared):
    """What role preflight makes of the host: the plan, or the refusal of what the chain or the plan says is wrong."""
    names = in_order({*limits_names(declared), *floors})
    measured = preflight_probe.kernel(host, names) | preflight_probe.logins(host, ["daemon"])
    plan = limits_plan(measured, declared, floors)
    sysctl, loader = declared["limits_sysctl"], declared["limits_loader"]
    wrong = [*misplaced(sysctl, loader, measured), *conflicts(measured["settings"], {**loader, **sysctl}, floors)]
    wrong += [problem["message"] for problem in plan["problems"]]
    if wrong:
        raise Refused(wrong)
    return plan


def carried_out(work, check):
    """Have the module do *work*; what did not come true is a refusal, as there."""
    work.prepare()
    wrong = [] if check else work.execute()
    if wrong:
        raise Refused(wrong)
    return work


def go(host, check=False, floors=FLOORS, sysctl=(), loader=(), openfiles=65535):
    declared = {"limits_sysctl": dict(sysctl), "limits_loader": dict(loader), "limits_openfiles": openfiles}
    plan = planned(host, floors, declared)
    params = {
        "sysctl_conf": file_text("etc/sysctl.conf", plan),
        "loader_conf": file_text("boot/loader.conf.d/sokuhai.conf", plan),
        "login_conf": file_text("etc/login.conf", plan),
        "rc_conf": file_text("etc/rc.conf.d/postfix", plan, openfiles),
        "apply": plan["apply"],
        "guarantee": plan["guarantee"],
        "reboot": plan["reboot"],
        "openfiles": openfiles,
        "login_class": "sokuhai",
        "services": list(RC),
    }
    return carried_out(limits_apply.Apply(host, params), check)


def undo(host, check=False):
    return carried_out(limits_apply.Undo(host, {"login_class": "sokuhai", "services": list(RC)}), check)


def did(work):
    """The headers of what a run would change, or has changed."""
    return [entry["after_header"] for entry in work.diff]


def pending(work):
    """The names of what waits for a boot."""
    return {finding["thing"] for finding in work.findings if finding["id"] == "reboot pending: " + finding["thing"]}
