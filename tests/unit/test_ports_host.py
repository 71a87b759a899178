# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role ports: what differs and what is to be built for it, make.conf's block, what is declared, and the worker's way back."""

import json
import os
import pathlib
import time
import types

import pytest
import role_modules

ROOT = pathlib.Path(__file__).resolve().parents[2]
host = role_modules.load(ROOT / "roles/ports/module_utils/ports_host.py", "ansible.module_utils.ports_host")
port = role_modules.load(ROOT / "roles/ports/library/ports_port.py", "ports_port")
filters = role_modules.load(ROOT / "roles/ports/filter_plugins/ports.py", "ports_filters")

ITEM = {
    "origin": "mail/postfix",
    "flavor": "",
    "package": "",
    "options_set": ["TLS"],
    "options_unset": ["BDB"],
    "cflags": ["-DFD_SETSIZE=16384"],
    "make_conf": [],
    "service": "postfix",
    "program": "",
    "listens": [],
    "proof": [],
}
TREE = dict.fromkeys(host.MAKE_VARIABLES, "")
TREE.update(
    PKGBASE="postfix",
    PKGVERSION="3.11.5,1",
    FLAVORS="default sasl",
    FLAVOR="default",
    COMPLETE_OPTIONS_LIST="BDB LMDB PCRE2 TLS",
    PORT_OPTIONS="LMDB TLS",
    CFLAGS="-O2 -pipe -DFD_SETSIZE=16384",
    CC="cc",
)
WANT = {"fd_setsize": 16384, "header": True, "lock": True}


def package(**changes):
    notes = {
        "flavor": "default",
        "sokuhai_built": "1800000000",
        "sokuhai_fd_setsize": "16384",
        "sokuhai_header": "16384",
        "sokuhai_cflags": host.hash_flags(TREE["CFLAGS"]),
    }
    notes.update(changes.pop("notes", {}))
    return {
        "name": "postfix",
        "version": "3.11.5,1",
        "origin": "mail/postfix",
        "repository": "unknown-repository",
        "locked": True,
        "installed": 1,
        "options": {"BDB": "off", "LMDB": "on", "PCRE2": "off", "TLS": "on"},
        "annotations": notes,
        **changes,
    }


def kinds(it=ITEM, tree=TREE, there=None, order=0, libraries=(), vulnerable=False, job=None, **settings):
    return [
        d["kind"] for d in host.judge(it, tree, there, order, list(libraries), vulnerable, job, {**WANT, **settings})
    ]


def test_what_is_as_declared_has_no_drift():
    assert kinds(there=package()) == []


DRIFT = {
    "missing": dict(there=None),
    "repository": dict(there=package(repository="FreeBSD-ports")),
    "repository, without our record": dict(there=package(notes={"sokuhai_built": ""})),
    "flavor": dict(there=package(notes={"flavor": "sasl"})),
    "options": dict(there=package(options={"BDB": "off", "LMDB": "off", "PCRE2": "off", "TLS": "on"})),
    "cflags": dict(there=package(notes={"sokuhai_cflags": "0"})),
    "header": dict(there=package(notes={"sokuhai_header": "1024"})),
    "probe": dict(there=package(notes={"sokuhai_fd_setsize": "1024"})),
    "libraries": dict(there=package(), libraries=["libicuuc.so.76"]),
    "libraries, others than its build left lacking": dict(
        there=package(), libraries=["liba.so.1", "libb.so.1"], job={"phase": "done", "lacks": ["liba.so.1"]}
    ),
    "lacking": dict(there=package(), libraries=["liba.so.1"], job={"phase": "done", "lacks": ["liba.so.1"]}),
    "behind": dict(there=package(version="3.11.4,1"), order=-1),
    "vulnerable": dict(there=package(), vulnerable=True),
    "unlocked": dict(there=package(locked=False)),
    "interrupted": dict(there=package(), job={"phase": "swap", "since": 1}),
}


@pytest.mark.parametrize("case", DRIFT, ids=str)
def test_each_kind_of_drift_is_known_by_its_name(case):
    kind = case.split(",")[0]
    assert kinds(**DRIFT[case]) == [kind]
    drift = host.judge(
        ITEM,
        TREE,
        DRIFT[case]["there"],
        DRIFT[case].get("order", 0),
        DRIFT[case].get("libraries", []),
        DRIFT[case].get("vulnerable", False),
        DRIFT[case].get("job"),
        WANT,
    )
    assert drift[0]["message"].startswith("mail/postfix: ")
    assert host.builds(drift, False) == (kind not in ("behind", "vulnerable", "unlocked", "lacking"))


def test_one_that_is_only_behind_is_built_on_request():
    drift = [{"kind": "behind", "message": ""}]
    assert host.builds(drift, True) and not host.builds(drift, False)
    # a changed default of a newer port is part of being behind
    older = package(version="3.11.4,1", options={"BDB": "off", "LMDB": "off", "PCRE2": "off", "TLS": "on"})
    assert kinds(there=older, order=-1) == ["behind"]
    assert kinds(
        there=package(version="3.11.4,1", options={"BDB": "on", "LMDB": "on", "PCRE2": "off", "TLS": "on"}), order=-1
    ) == ["options", "behind"]


def test_a_lock_on_what_is_vulnerable_is_said():
    def words(locked):
        return host.judge(ITEM, TREE, package(locked=locked), 0, [], True, None, WANT)[0]["message"]

    assert "its lock keeps pkg upgrade from mending it" in words(True) and "ports_update" in words(True)
    assert "lock" not in words(False)


def test_without_a_wish_for_fd_setsize_or_lock_nothing_is_asked_of_them():
    bare = package(locked=False, notes={"sokuhai_fd_setsize": "1024", "sokuhai_header": "1024"})
    assert kinds(there=bare, fd_setsize=0, header=False, lock=False) == []
    flags_alone = package(notes={"sokuhai_header": "1024"})
    assert kinds(there=flags_alone, header=False) == []


MAKE_CONF = "# mine\nCFLAGS+= -march=native\n\n.if ${.CURDIR:M*/editors/vim}\nX=1\n.endif\n"


def test_the_block_comes_changes_and_goes_and_the_rest_stays():
    body = host.block_lines(ITEM)
    one = host.set_block(MAKE_CONF, ITEM, "make.conf", body)
    assert one.startswith(MAKE_CONF)
    assert one[len(MAKE_CONF) :] == (
        "# BEGIN sokuhai ports mail/postfix\n.if ${.CURDIR:M*/mail/postfix}\nCFLAGS+=\t-DFD_SETSIZE=16384\n"
        "OPTIONS_SET_FORCE+=\tTLS\nOPTIONS_UNSET_FORCE+=\tBDB\n.endif\n# END sokuhai ports mail/postfix\n"
    )
    other = {**ITEM, "origin": "dns/bind920"}
    two = host.set_block(one, other, "make.conf", host.block_lines(other))
    changed = host.set_block(two, ITEM, "make.conf", host.block_lines({**ITEM, "options_set": []}))
    assert "OPTIONS_SET_FORCE" not in changed.split("# BEGIN sokuhai ports dns/bind920")[0]
    assert host.set_block(changed, other, "make.conf", []) == host.set_block(
        one, ITEM, "make.conf", host.block_lines({**ITEM, "options_set": []})
    )
    assert host.set_block(one, ITEM, "make.conf", []) == MAKE_CONF
    assert host.set_block(MAKE_CONF.rstrip("\n"), ITEM, "make.conf", body) == one
    assert host.set_block(one, ITEM, "make.conf", body) == one
    assert host.set_block("", ITEM, "make.conf", body)[:7] == "# BEGIN"


def test_the_ends_of_other_lines_stay_as_they_are(tmp_path):
    path = tmp_path / "make.conf"
    path.write_bytes(MAKE_CONF.replace("\n", "\r\n").encode())
    before = path.read_bytes()
    host.write(str(path), host.set_block(host.read(str(path)), ITEM, "make.conf", host.block_lines(ITEM)))
    assert path.read_bytes().startswith(before + b"# BEGIN")
    host.write(str(path), host.set_block(host.read(str(path)), ITEM, "make.conf", []))
    assert path.read_bytes() == before


def test_text_behind_the_block_stays():
    text = host.set_block("a=1\n", ITEM, "m", ["x"]) + "b=2\n"
    assert (
        host.set_block(text, ITEM, "m", ["y"])
        == "a=1\n# BEGIN sokuhai ports mail/postfix\ny\n# END sokuhai ports mail/postfix\nb=2\n"
    )
    assert host.set_block(text, ITEM, "m", []) == "a=1\nb=2\n"


@pytest.mark.parametrize(
    "text",
    [
        "# BEGIN sokuhai ports mail/postfix\nx\n",
        "# END sokuhai ports mail/postfix\n",
        "# BEGIN sokuhai ports mail/postfix\n# END sokuhai ports mail/postfix\n" * 2,
    ],
)
def test_a_damaged_block_is_refused(text):
    with pytest.raises(host.Refused, match="damaged"):
        host.set_block(text, ITEM, "/etc/make.conf", ["x"])


def test_unknown_options_are_errors_with_the_nearest_name():
    found = host.problems_of_names({**ITEM, "options_set": ["PCRE3", "TLS"], "options_unset": ["NOSUCH"]}, TREE)
    assert len(found) == 2
    assert "options_set of mail/postfix" in found[0] and "did you mean PCRE2?" in found[0]
    assert "options_unset" in found[1] and "BDB LMDB PCRE2 TLS" in found[1]


def test_an_option_that_stays_off_or_on_is_an_error():
    assert "PCRE2 stays off" in host.problems_of_names({**ITEM, "options_set": ["PCRE2"]}, TREE)[0]
    assert "LMDB stays on" in host.problems_of_names({**ITEM, "options_unset": ["LMDB"]}, TREE)[0]


VV = """Version                 : 2.4.2
PKG_DBDIR = "/var/db/pkg";

Repositories:
  FreeBSD-ports: {
    url             : "pkg+https://pkg.FreeBSD.org/FreeBSD:15:amd64/%s",
    enabled         : yes,
    priority        : 0,
  }
  FreeBSD-base: {
    url             : "pkg+https://pkg.FreeBSD.org/FreeBSD:15:amd64/base_release_0",
    enabled         : no,
  }
"""
NOW = 1795564800  # 2026-11-24


@pytest.mark.parametrize("directory, wanted", [("quarterly", "quarterly"), ("latest", "main"), ("release_0", None)])
def test_the_branch_is_that_of_the_hosts_packages(directory, wanted):
    repositories = host.parse_repositories(VV % directory)
    assert list(repositories) == ["FreeBSD-ports"]
    assert host.wanted_branch(repositories) == wanted


@pytest.mark.parametrize(
    "branch, wanted, problem, note",
    [
        ("2026Q4", "quarterly", False, False),
        ("main", "main", False, False),
        ("main", "quarterly", True, False),
        ("2026Q4", "main", True, False),
        ("2026Q3", "quarterly", False, True),
        (None, "quarterly", False, True),
        ("2026Q4", None, False, True),
    ],
)
def test_the_tree_is_held_to_that_branch(branch, wanted, problem, note):
    found = host.branch_problem(branch, wanted, NOW)
    assert (found[0] is not None, found[1] is not None) == (problem, note)


def test_a_git_checkout_is_read_without_git(tmp_path):
    assert host.tree_head(str(tmp_path)) == (None, None)
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/2026Q4\n")
    (git / "packed-refs").write_text("# pack-refs\n%s refs/heads/2026Q4\n" % ("a" * 40))
    assert host.tree_head(str(tmp_path)) == ("2026Q4", "a" * 40)
    (git / "refs/heads/2026Q4").write_text("b" * 40 + "\n")
    assert host.tree_head(str(tmp_path)) == ("2026Q4", "b" * 40)
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert host.tree_head(str(tmp_path)) == (None, "c" * 40)


def test_what_pkg_and_make_print_is_read():
    line = host.parse_packages("postfix|3.11.5,1|mail/postfix|unknown-repository|1|1800000000\nrubbish\n")
    assert line == [
        {
            "name": "postfix",
            "version": "3.11.5,1",
            "origin": "mail/postfix",
            "repository": "unknown-repository",
            "locked": True,
            "installed": 1800000000,
        }
    ]
    text = "\n".join(["bind920", "9.20.30", "", "", "A B", "A", "-O2", "cc", "dns/bind920", "/s", "/w"]) + "\n"
    tree = host.parse_make(text)
    assert (tree["PKGBASE"], tree["FLAVORS"], tree["CFLAGS"], tree["WRKDIR"]) == ("bind920", "", "-O2", "/w")
    assert host.parse_pairs("a=1\nb=x=y\n") == {"a": "1", "b": "x=y"}


def test_the_last_lines_of_a_log():
    assert host.last_lines("a\n\nb\n  \nc\n\n", 2) == "b\nc"


# ---- what is declared ----

KNOWN = {
    "bind": {"origin": "dns/bind920", "options_unset": ["START_LATE"]},
    "postfix": {"origin": "mail/postfix", "options_set": ["TLS", "LMDB"]},
}


def merged(extra, parts=("bind", "postfix", "kernel")):
    return {p["origin"]: p for p in filters.ports_merge(KNOWN, extra, list(parts), ["-DX=1"])}


def test_parts_choose_the_roles_own_ports():
    assert list(merged([])) == ["dns/bind920", "mail/postfix"]
    assert list(merged([], ["postfix", "kernel"])) == ["mail/postfix"]
    # a wish for a part that is not asked for does not bring it back
    assert list(merged([{"origin": "dns/bind920", "options_set": ["GEOIP"]}], ["postfix"])) == ["mail/postfix"]


def test_a_wish_is_merged_over_the_roles_own():
    port = merged([{"origin": "mail/postfix", "options_set": ["MYSQL"], "options_unset": ["LMDB"], "flavor": "sasl"}])[
        "mail/postfix"
    ]
    assert port["options_set"] == ["TLS", "MYSQL"] and port["options_unset"] == ["LMDB"] and port["flavor"] == "sasl"
    assert port["cflags"] == ["-DX=1"]
    assert merged([{"origin": "mail/postfix", "cflags": []}])["mail/postfix"]["cflags"] == []
    assert "mail/postfix" not in merged([{"origin": "mail/postfix", "state": "absent"}])
    assert merged([{"origin": "mail/postgrey"}])["mail/postgrey"]["cflags"] == ["-DX=1"]
    assert KNOWN["postfix"]["options_set"] == ["TLS", "LMDB"]


GOOD = {
    "method": "ports",
    "fd_setsize": 16384,
    "repository_url": "",
    "repository_pubkey": "",
    "branch": "auto",
    "tree_commit": "",
}
BAD = {
    "origin": ({"origin": "postfix"}, {}, "CATEGORY/DIRECTORY"),
    "flavor": ({"flavor": "SASL x"}, {}, "flavor"),
    "option": ({"options_set": ["pcre 2"]}, {}, "no name of an option"),
    "both": ({"options_set": ["TLS"], "options_unset": ["TLS"]}, {}, "both in options_set and in options_unset"),
    "flag": ({"cflags": ["-O2 -pipe"]}, {}, "no single compiler flag"),
    "injected": ({"cflags": ["-D'x"]}, {}, "no single compiler flag"),
    "two sizes": ({"cflags": ["-DFD_SETSIZE=4096"]}, {}, "sokuhai_fd_setsize"),
    "a line": ({"make_conf": ["A=1\nB=2"]}, {}, "no single line"),
    "size": ({}, {"fd_setsize": 1000}, "ports_fd_setsize"),
    "url": ({}, {"method": "repository", "repository_pubkey": "/k"}, "ports_repository_url"),
    "key": ({}, {"method": "repository", "repository_url": "x"}, "ports_repository_pubkey"),
    "branch": ({}, {"branch": "2026Q5"}, "ports_branch"),
    "commit": ({}, {"tree_commit": "HEAD"}, "ports_tree_commit"),
}


def test_good_values_pass():
    assert filters.ports_problems([{"origin": "mail/postfix", "cflags": ["-DFD_SETSIZE=16384"]}], GOOD) == []


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_values_are_refused_by_name(case):
    port, values, words = BAD[case]
    found = filters.ports_problems([{"origin": "mail/postfix", **port}], {**GOOD, **values})
    assert len(found) == 1
    assert found[0].startswith("ports_") and words in found[0]


# ---- one's own repository ----


def repository_drift(monkeypatch, there, **item):
    settings = {name: option.get("default") for name, option in host.SETTINGS.items()}
    settings.update(method="repository", repository="mine")
    monkeypatch.setattr(
        host, "run", lambda argv, *more, **options: (0, "TLS=on\nBDB=off\n" if "%Ok=%Ov" in argv else "", "")
    )
    port = host.Port({**ITEM, "service": "", **item}, settings, there)
    port.look()
    return [d["kind"] for d in port.drift], port.to_build


def test_a_package_of_ones_own_repository_is_installed_when_it_is_of_another(monkeypatch):
    there = {
        "name": "postfix",
        "version": "3.11.5,1",
        "origin": "mail/postfix",
        "repository": "FreeBSD-ports",
        "locked": False,
        "installed": 1,
    }
    assert repository_drift(monkeypatch, []) == (["missing"], True)
    assert repository_drift(monkeypatch, [there]) == (["repository"], True)
    mine = {**there, "repository": "mine"}
    assert repository_drift(monkeypatch, [mine]) == ([], False)
    assert repository_drift(monkeypatch, [mine], flavor="sasl") == (["repository"], True)
    # told, and not tried again and again
    assert repository_drift(monkeypatch, [mine], options_set=["PCRE2"]) == (["options"], False)


# ---- the worker ----


class Stage:
    """A worker whose commands are only written down; what pkg would know stands in .packages."""

    def __init__(self, folder, monkeypatch, phase="begin"):
        self.settings = {name: option.get("default") for name, option in host.SETTINGS.items()}
        self.settings.update(
            work_dir=str(folder / "work"),
            package_dir=str(folder / "packages"),
            saved_dir=str(folder / "saved"),
            state_dir=str(folder / "state"),
            log_dir=str(folder / "log"),
            fd_setsize=16384,
            header="/x",
            answer_timeout=0.1,
        )
        self.item = {**ITEM, "proof": []}
        self.job = host.Job(self.item, self.settings)
        self.fails, self.done = {}, []
        self.packages = [
            {
                "name": "postfix",
                "version": "3.11.4,1",
                "origin": "mail/postfix",
                "repository": "FreeBSD-ports",
                "locked": True,
                "installed": 1,
            }
        ]
        self.serving = True
        descriptor = self.job.lock()
        self.job.write(
            {
                "phase": phase,
                "key": "k",
                "since": 1,
                "commit": "c" * 40,
                "tree": {**TREE, "WRKDIR": str(folder / "work/x"), "STAGEDIR": str(folder / "work/x/stage")},
            }
        )
        monkeypatch.setattr(host, "packages", lambda: [dict(p) for p in self.packages])
        monkeypatch.setattr(host, "run", lambda argv, item=None, timeout=0: (0, "", ""))
        monkeypatch.setattr(host, "service_pid", lambda name: 7 if self.serving else None)
        self.worker = host.Worker(self.item, self.settings, self.job, descriptor)
        monkeypatch.setattr(self.worker, "command", self.command)
        monkeypatch.setattr(
            self.worker, "probe", lambda: {"sokuhai_fd_setsize": 16384, "sokuhai_header": 16384, "sokuhai_flag": 16384}
        )

    def command(self, argv, what=None, hold=False):
        words = " ".join(argv)
        self.done.append(words)
        for text, count in list(self.fails.items()):
            if text in words and count:
                self.fails[text] = count - 1
                raise host.Failed("%s ended with status 1" % words)
        if argv[0] == "make" and "package" in argv:
            self.package(self.settings["package_dir"] + "/All/postfix-3.11.5,1.pkg")
        if argv[:2] == ["pkg", "create"]:
            self.package(self.settings["saved_dir"] + "/postfix-3.11.4,1.pkg")
        if argv[:2] == ["pkg", "install"] and argv[-1].endswith(".pkg"):
            version = pathlib.Path(argv[-1]).name[len("postfix-") : -len(".pkg")]
            self.packages[0] = {**self.packages[0], "version": version, "repository": "unknown-repository"}
        if argv[:2] in (["pkg", "lock"], ["pkg", "unlock"]):
            self.packages[0]["locked"] = argv[1] == "lock"

    @staticmethod
    def package(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pathlib.Path(path).write_text("package")

    def work(self):
        self.worker.work()
        return json.loads(pathlib.Path(self.job.file).read_text())


def test_the_package_is_ready_and_the_old_one_saved_before_anything_is_touched(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    state = stage.work()
    assert state["phase"] == "done", state
    order = [
        next(n for n, line in enumerate(stage.done) if text in line)
        for text in (
            " checksum",
            " package",
            "pkg create",
            "pkg unlock",
            "pkg install",
            "pkg annotate",
            "pkg lock",
            "service postfix onerestart",
        )
    ]
    assert order == sorted(order)
    assert [line.split()[-2:] for line in stage.done if " checksum" in line or " package " in line] == [
        ["checksum", "USE_PACKAGE_DEPENDS_ONLY=yes"],
        ["package", "USE_PACKAGE_DEPENDS_ONLY=yes"],
    ]
    assert stage.packages[0]["version"] == "3.11.5,1" and stage.packages[0]["locked"]


@pytest.mark.parametrize("step", [" checksum", " package", "pkg create"])
def test_what_fails_before_the_swap_touches_nothing(tmp_path, monkeypatch, step):
    stage = Stage(tmp_path, monkeypatch)
    stage.fails = {step: 1}
    state = stage.work()
    assert (state["phase"], state["installed"]) == ("failed", "it is as it was")
    assert not [line for line in stage.done if "install" in line or "unlock" in line or "onerestart" in line]
    assert not os.path.exists(tmp_path / "work/x")


@pytest.mark.parametrize("step", ["pkg install", "pkg annotate", "service postfix onerestart"])
def test_what_fails_in_the_swap_brings_the_former_package_back(tmp_path, monkeypatch, step):
    stage = Stage(tmp_path, monkeypatch)
    stage.fails = {step: 1}
    state = stage.work()
    assert state["phase"] == "failed"
    assert "postfix-3.11.4,1 is back" in state["message"]
    assert stage.packages[0]["version"] == "3.11.4,1" and stage.packages[0]["locked"]
    assert stage.done[-1] == "service postfix onerestart"


def test_what_a_build_leaves_lacking_is_remembered(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    monkeypatch.setattr(
        host,
        "run",
        lambda argv, item=None, timeout=0: (
            0,
            "postfix\tliba.so.1\n" if argv[:3] == ["pkg", "check", "-dnq"] else "",
            "",
        ),
    )
    state = stage.work()
    assert (state["phase"], state["lacks"]) == ("done", ["liba.so.1"])
    assert kinds(there=package(), libraries=["liba.so.1"], job=state) == ["lacking"]


def test_a_daemon_that_was_not_running_is_not_started(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    stage.serving = False
    assert stage.work()["phase"] == "done"
    assert not [line for line in stage.done if line.startswith("service")]


#: What make depends prints with USE_PACKAGE_DEPENDS_ONLY, by FreeBSD's Mk/Scripts/do-depends.sh.
DEPENDS = (
    "===>   postfix-3.11.5,1 depends on package: pkgconf>=1.3.0_1 - found\n"
    "===>   postfix-3.11.5,1 depends on shared library: libpcre2-8.so - not found\n"
    "===>   postfix-3.11.5,1 depends on package: /var/db/sokuhai/packages/All/%s - not found\n"
    "===>   USE_PACKAGE_DEPENDS_ONLY set - not building missing dependency from source\n*** Error code 1\n"
)


@pytest.mark.parametrize(
    "file, name",
    [
        ("pcre2-10.47.pkg", "pcre2"),
        ("py311-spf-engine-3.1.0_2,1.pkg", "py311-spf-engine"),
        ("db18-18.1.40_3.txz", "db18"),
    ],
)
def test_what_make_found_lacking_is_a_packages_name(file, name):
    assert host.lacking(DEPENDS % file) == name


def test_what_make_failed_for_otherwise_is_no_package():
    assert (
        host.lacking("Error a dependency refers to a non existing origin: /usr/ports/devel/pcre3 in LIB_DEPENDS\n")
        is None
    )
    assert host.lacking("===>   x-1 depends on package: perl5>=5.42.r<5.43 - not found\n") is None


def depending(monkeypatch, stage, lacks):
    """make depends fails for each of lacks (files of packages) in turn, then finds everything."""
    left = list(lacks)

    def run(argv, item=None, timeout=0):
        if argv[-2:] == ["depends", "USE_PACKAGE_DEPENDS_ONLY=yes"] and left:
            return 1, "", DEPENDS % left.pop(0)
        return 0, "", ""

    monkeypatch.setattr(host, "run", run)
    return stage.work()


def installs(stage):
    return [line for line in stage.done if line.startswith("pkg install -y")]


def test_dependencies_come_as_packages_one_by_one(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    assert depending(monkeypatch, stage, ["pcre2-10.47.pkg", "lmdb-0.9.33,1.pkg"])["phase"] == "done"
    assert installs(stage) == ["pkg install -yA pcre2", "pkg install -yA lmdb"]


def test_a_dependency_that_is_there_and_too_old_is_not_made_automatic(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    stage.packages.append(
        {
            "name": "pcre2",
            "version": "10.1",
            "origin": "devel/pcre2",
            "repository": "FreeBSD-ports",
            "locked": False,
            "installed": 1,
        }
    )
    assert depending(monkeypatch, stage, ["pcre2-10.47.pkg"])["phase"] == "done"
    assert installs(stage) == ["pkg install -y pcre2"]


@pytest.mark.parametrize(
    "refused, tries, words",
    [
        (True, 1, "mail/postfix needs pcre2, which no repository gives"),
        (False, 2, "pkg install pcre2 did not change that"),
    ],
)
def test_dependencies_are_never_built_with_the_raised_header(tmp_path, monkeypatch, refused, tries, words):
    stage = Stage(tmp_path, monkeypatch)
    stage.fails = {"pkg install -yA": 1} if refused else {}
    state = depending(monkeypatch, stage, ["pcre2-10.47.pkg"] * 9)
    assert state["phase"] == "failed" and words in state["message"], state
    assert installs(stage) == ["pkg install -yA pcre2"] * tries
    assert not [line for line in stage.done if " checksum" in line or " package " in line]


def test_a_lock_is_held_while_a_descendant_of_the_worker_lives(tmp_path):
    job = host.Job(ITEM, {"state_dir": str(tmp_path), "log_dir": str(tmp_path)})
    assert not job.running()
    descriptor = job.lock()
    assert job.running() and job.lock() is None
    os.close(descriptor)
    assert not job.running()


def test_a_running_daemon_older_than_its_program_is_restarted(tmp_path, monkeypatch):
    program = tmp_path / "named"
    program.write_text("")
    item = {**ITEM, "service": "named", "program": str(program)}
    monkeypatch.setattr(host, "service_pid", lambda name: 7)
    changed = program.stat().st_ctime
    monkeypatch.setattr(time, "time", lambda: changed + 1000)
    monkeypatch.setattr(host, "run", lambda argv: (0, "500\n", ""))
    assert host.restart_due(item) is None
    monkeypatch.setattr(host, "run", lambda argv: (0, "1500\n", ""))
    assert "was started before" in host.restart_due(item)
    # ps(1) knows seconds only: 1000 s may be 999.1 or 1000.9
    monkeypatch.setattr(host, "run", lambda argv: (0, "1001\n", ""))
    assert host.restart_due(item) is None
    monkeypatch.setattr(host, "service_pid", lambda name: None)
    assert host.restart_due(item) is None


# ---- the way back ----


class Ended(Exception):
    """exit_json or fail_json."""


class Module:
    check_mode = False

    def exit_json(self, **result):
        raise Ended("ok", result)

    def fail_json(self, **result):
        raise Ended("failed", result)


@pytest.mark.parametrize("had", [None, "", "A=1\n"])
def test_make_conf_is_gone_where_there_was_none(tmp_path, had):
    """Two ports' blocks come and go, the host's own file (had) is what it was; so after a second time."""
    conf, other = tmp_path / "make.conf", {**ITEM, "origin": "dns/bind920"}
    if had is not None:
        conf.write_text(had)
    settings = {"make_conf_file": str(conf), "state_dir": str(tmp_path / "state")}
    for _ in range(2):
        for body in (["x"], []):
            for item in (ITEM, other):
                host.put_make_conf(settings, host.set_block(host.read(str(conf)) or "", item, "m", body))
                assert host.get_block(host.read(str(conf)) or "", item, "m") == (body or None)
        assert host.read(str(conf)) == had
    host.put_make_conf(settings, host.set_block(had or "", ITEM, "m", ["x"]))
    conf.write_text(conf.read_text() + "B=2\n")
    host.put_make_conf(settings, host.set_block(conf.read_text(), ITEM, "m", []))
    assert conf.read_text() == (had or "") + "B=2\n"


@pytest.mark.parametrize("started", ["just before", "anew by the package itself"])
def test_a_daemon_whose_program_was_replaced_is_restarted_however_young_it_is(tmp_path, monkeypatch, started):
    program, pid, done = tmp_path / "named", [7], []
    program.write_text("ours")
    item = {**ITEM, "service": "named", "program": str(program)}
    monkeypatch.setattr(host, "service_pid", lambda name: pid[0])
    # too young for ps(1) to tell
    monkeypatch.setattr(host, "run", lambda argv: (0, "0\n", ""))

    def must(argv, what=None):
        done.append(argv)
        if argv[:2] == ["pkg", "install"]:
            (tmp_path / "new").write_text("the repository's")
            (tmp_path / "new").rename(program)
            pid[0] = 7 if started == "just before" else 8

    monkeypatch.setattr(port, "must", must)
    port.from_repository(
        types.SimpleNamespace(item=item, tree={"PKGBASE": "postfix"}, every=[], settings={"repository": "mine"})
    )
    assert (["service", "named", "onerestart"] in done) == (started == "just before")


@pytest.mark.parametrize("takes", [True, False])
def test_undo_touches_nothing_more_when_no_repository_took_the_packages_place(tmp_path, monkeypatch, takes):
    there, done = {**package(), "locked": True}, []
    conf = tmp_path / "make.conf"
    block = host.set_block("A=1\n", ITEM, "m", ["x"])
    conf.write_text(block)
    settings = {name: option.get("default") for name, option in host.SETTINGS.items()}
    settings.update(make_conf_file=str(conf), state_dir=str(tmp_path / "state"), log_dir=str(tmp_path))

    def must(argv, what=None):
        done.append(argv[1])
        if argv[1] == "install" and takes:
            there["repository"] = "FreeBSD-ports"
        if argv[1] in ("lock", "unlock"):
            there["locked"] = argv[1] == "lock"

    monkeypatch.setattr(port, "must", must)
    monkeypatch.setattr(port, "packages", lambda: [dict(there)])
    monkeypatch.setattr(port, "installed", lambda item, name, every: dict(there))
    monkeypatch.setattr(port, "run", lambda argv: (0, "sokuhai_built=1\n", ""))
    monkeypatch.setattr(port, "restart_due", lambda item, before=None: None)
    with pytest.raises(Ended) as end:
        port.undo(Module(), ITEM, settings)
    if takes:
        assert (
            end.value.args[0] == "ok"
            and done == ["unlock", "install", "annotate"]
            and conf.read_text() == "A=1\n"
            and not there["locked"]
        )
    else:
        assert end.value.args[0] == "failed" and "no repository has taken its place" in end.value.args[1]["msg"]
        assert done == ["unlock", "install", "lock"] and conf.read_text() == block and there["locked"]
