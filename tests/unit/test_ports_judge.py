# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role ports: what differs and what is to be built for it, make.conf's block, the tree's branch."""

import finding_lines
import jinja2
import pytest
from drift_records import judged, record
from role_modules import ROOT, load, util

judge, make, branch, options, state = (
    util("ports_" + name) for name in ("judge", "make", "branch", "options", "state")
)
shared, blocks, pkg = util("sokuhai.host"), util("sokuhai.blocks"), util("sokuhai.pkg")
filters = load("roles/ports/filter_plugins/ports.py")

ITEM = {
    **{name: option.get("default") for name, option in options.PORT.items()},
    "origin": "mail/postfix",
    "options_set": ["TLS"],
    "options_unset": ["BDB"],
    "cflags": ["-DFD_SETSIZE=16384"],
    "service": "postfix",
}
SETTINGS = {name: option.get("default") for name, option in options.SETTINGS.items()}
TREE = dict.fromkeys(make.VARIABLES, "")
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
WANT = {"fd_setsize": 16384, "header": "/x", "lock": True}


def package(**changes):
    notes = {
        "flavor": "default",
        "sokuhai_built": "1800000000",
        "sokuhai_fd_setsize": "16384",
        "sokuhai_header": "16384",
        "sokuhai_cflags": judge.hash_flags(TREE["CFLAGS"]),
    }
    notes.update(changes.pop("notes", {}))
    return {
        "name": "postfix",
        "version": "3.11.5,1",
        "origin": "mail/postfix",
        "repository": "unknown-repository",
        "local": True,
        "locked": True,
        "installed": 1,
        "options": {"BDB": "off", "LMDB": "on", "PCRE2": "off", "TLS": "on"},
        "annotations": notes,
        **changes,
    }


def differences(it=ITEM, tree=TREE, there=None, order=0, libraries=(), audited=False, job=None, **settings):
    return judge.differences(it, tree, there, {**WANT, **settings}, order, libraries, audited, job)


def kinds(**case):
    return list(differences(**case))


def test_what_is_as_declared_has_no_drift():
    assert kinds(there=package()) == []


DRIFT = {
    "missing": dict(there=None),
    "repository": dict(there=package(repository="FreeBSD-ports", local=False)),
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
    "vulnerable": dict(there=package(), audited=True),
    "unlocked": dict(there=package(locked=False)),
    "interrupted": dict(there=package(), job={"phase": "swap", "since": 1}),
}


@pytest.mark.parametrize("case", DRIFT, ids=str)
def test_each_kind_of_drift_is_known_by_its_name(case):
    kind = case.split(",")[0]
    assert kinds(**DRIFT[case]) == [kind]
    assert judge.must_build([kind], False) == (kind not in ("behind", "vulnerable", "unlocked", "lacking"))


def test_one_that_is_only_behind_is_built_on_request():
    assert judge.must_build(["behind"], True) and not judge.must_build(["behind"], False)
    # a changed default of a newer port is part of being behind
    older = package(version="3.11.4,1", options={"BDB": "off", "LMDB": "off", "PCRE2": "off", "TLS": "on"})
    assert kinds(there=older, order=-1) == ["behind"]
    assert kinds(
        there=package(version="3.11.4,1", options={"BDB": "on", "LMDB": "on", "PCRE2": "off", "TLS": "on"}), order=-1
    ) == ["options", "behind"]


def test_a_difference_has_both_values():
    off = package(options={"BDB": "off", "LMDB": "off", "PCRE2": "on", "TLS": "on"})
    assert differences(there=off)["options"] == ("LMDB=on PCRE2=off", "LMDB=off PCRE2=on")
    assert differences(there=package(notes={"sokuhai_header": "1024"}))["header"] == ("16384", "1024")
    assert differences(there=package(version="3.11.4,1"), order=-1)["behind"] == ("3.11.5,1", "3.11.4,1")
    assert differences(there=package(repository="FreeBSD-ports", local=False))["repository"] == (
        "built here",
        "postfix-3.11.5,1 of repository FreeBSD-ports",
    )
    # pkg upgrade repairs what is vulnerable, unless a lock keeps it from that
    locked, free = (differences(there=package(locked=one), audited=True)["vulnerable"][1] for one in (True, False))
    assert "locked" in locked and "locked" not in free


def test_without_a_wish_for_fd_setsize_or_lock_nothing_is_asked_of_them():
    bare = package(locked=False, notes={"sokuhai_fd_setsize": "1024", "sokuhai_header": "1024"})
    assert kinds(there=bare, fd_setsize=0, header="", lock=False) == []
    flags_alone = package(notes={"sokuhai_header": "1024"})
    assert kinds(there=flags_alone, header="") == []


MAKE_CONF = "# mine\nCFLAGS+= -march=native\n\n.if ${.CURDIR:M*/editors/vim}\nX=1\n.endif\n"


def block(*items):
    """The blocks of ports as templates/etc/make.conf.j2 gives them, each as (name, lines)."""
    folder = jinja2.FileSystemLoader(ROOT / "roles/ports/templates")
    template = jinja2.Environment(loader=folder, trim_blocks=True, keep_trailing_newline=True).get_template(
        "etc/make.conf.j2"
    )
    text = template.render(__ports_declared=[{"make_conf": [], **item} for item in items])
    return [(make.mark(item), make.block(item, {"make_conf": text})) for item in items]


def test_the_block_comes_changes_and_goes_and_the_rest_stays():
    other = {**ITEM, "origin": "dns/bind920"}
    (name, body), (other_name, other_body) = block(ITEM, other)
    one = blocks.set_block(MAKE_CONF, name, "make.conf", body)
    assert one == MAKE_CONF + (
        "# BEGIN sokuhai ports mail/postfix\n.if ${.CURDIR:M*/mail/postfix}\nCFLAGS+=\t-DFD_SETSIZE=16384\n"
        "OPTIONS_SET_FORCE+=\tTLS\nOPTIONS_UNSET_FORCE+=\tBDB\n.endif\n# END sokuhai ports mail/postfix\n"
    )
    two = blocks.set_block(one, other_name, "make.conf", other_body)
    changed = blocks.set_block(two, name, "make.conf", block({**ITEM, "options_set": []})[0][1])
    assert "OPTIONS_SET_FORCE" not in changed.split("# BEGIN sokuhai ports dns/bind920")[0]
    assert blocks.set_block(blocks.set_block(changed, other_name, "m", []), name, "m", []) == MAKE_CONF


def test_further_lines_are_in_the_block_and_nothing_declared_is_no_block():
    bare = {**ITEM, "cflags": [], "options_set": [], "options_unset": []}
    assert block(bare)[0][1] == []
    assert block({**bare, "make_conf": ["WITH_X=1", "Y=2"]})[0][1] == [
        ".if ${.CURDIR:M*/mail/postfix}",
        "WITH_X=1",
        "Y=2",
        ".endif",
    ]


def test_the_ends_of_other_lines_stay_as_they_are(tmp_path):
    path = tmp_path / "make.conf"
    path.write_bytes(MAKE_CONF.replace("\n", "\r\n").encode())
    before, (name, body) = path.read_bytes(), block(ITEM)[0]
    shared.write(str(path), blocks.set_block(shared.read(str(path)), name, "make.conf", body))
    assert path.read_bytes().startswith(before + b"# BEGIN")
    shared.write(str(path), blocks.set_block(shared.read(str(path)), name, "make.conf", []))
    assert path.read_bytes() == before


@pytest.mark.parametrize("had", [None, "", "A=1\n"])
def test_make_conf_is_gone_where_there_was_none(tmp_path, had):
    """Two ports' blocks come and go, the host's own file (had) is what it was; so after a second time."""
    conf = tmp_path / "make.conf"
    if had is not None:
        conf.write_text(had)
    settings = {"make_conf_file": str(conf), "state_dir": str(tmp_path / "state")}

    def put(name, body):
        text = blocks.set_block(shared.read(str(conf)) or "", name, "m", body)
        make.put_make_conf(settings, text)
        assert blocks.get_block(shared.read(str(conf)) or "", name, "m") == (body or None)

    for _ in range(2):
        for name, body in (("one", ["x"]), ("two", ["x"]), ("one", []), ("two", [])):
            put(name, body)
        assert shared.read(str(conf)) == had
    put("one", ["x"])
    conf.write_text(conf.read_text() + "B=2\n")
    put("one", [])
    assert conf.read_text() == (had or "") + "B=2\n"


@pytest.mark.parametrize(
    "variable, name, words",
    [
        ("options_set", "PCRE3", ["no option PCRE3", "PCRE2?"]),
        ("options_unset", "NOSUCH", ["no option NOSUCH", "BDB LMDB PCRE2 TLS"]),
        ("options_set", "PCRE2", ["PCRE2 stays off"]),
        ("options_unset", "LMDB", ["LMDB stays on"]),
    ],
)
def test_an_option_that_is_unknown_or_stays_is_refused_with_what_would_work(variable, name, words):
    found = make.problems_of_options({**ITEM, variable: [name]}, TREE)
    assert len(found) == 1 and found[0].startswith(f"{variable} of mail/postfix: ")
    assert all(word in found[0] for word in words)
    assert make.problems_of_options(ITEM, TREE) == []


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
REF = "ref: refs/heads/2026Q4\n"


@pytest.mark.parametrize("directory, wanted", [("quarterly", "quarterly"), ("latest", "main"), ("release_0", None)])
def test_the_branch_is_that_of_the_hosts_packages(monkeypatch, directory, wanted):
    text = VV % directory
    assert list(branch.repositories(text)) == ["FreeBSD-ports"]
    monkeypatch.setattr(shared, "run", lambda argv: (0, text, ""))
    assert branch.of_packages() == wanted


@pytest.mark.parametrize(
    "found, wanted, problem, note",
    [
        ("2026Q4", "quarterly", False, False),
        ("main", "main", False, False),
        ("main", "quarterly", True, False),
        ("2026Q4", "main", True, False),
        ("2026Q3", "quarterly", False, True),
        (None, "quarterly", False, True),
        ("2026Q4", None, False, True),
        ("2026Q3", "2026Q3", False, False),
        ("2026Q4", "2026Q3", True, False),
        (None, "2026Q3", False, True),
    ],
)
def test_the_tree_is_held_to_that_branch(found, wanted, problem, note):
    assert tuple(map(bool, branch.judge(found, wanted, NOW))) == (problem, note)


@pytest.mark.parametrize(
    "files, found",
    [
        ({}, (None, None)),
        ({"HEAD": REF, "packed-refs": "# pack-refs\n%s refs/heads/2026Q4\n" % ("a" * 40)}, ("2026Q4", "a" * 40)),
        (
            {"HEAD": REF, "packed-refs": "%s refs/heads/2026Q4\n" % ("a" * 40), "refs/heads/2026Q4": "b" * 40 + "\n"},
            ("2026Q4", "b" * 40),
        ),
        ({"HEAD": "c" * 40 + "\n"}, (None, "c" * 40)),
    ],
    ids=["no checkout", "packed", "newer than what is packed", "no branch"],
)
def test_a_git_checkout_is_read_without_git(tmp_path, files, found):
    for name, text in files.items():
        (tmp_path / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".git" / name).write_text(text)
    assert util("sokuhai.git").head(str(tmp_path)) == found


@pytest.mark.parametrize("mark", ["unknown-repository", ""], ids=["pkg to 2.8.4", "pkg since"])
def test_what_pkg_prints_is_read(monkeypatch, mark):
    lines = f"postfix|3.11.5,1|mail/postfix|{mark}|1|1800000000\nb|1|c/b|FreeBSD-ports|0|5\nrubbish\n"
    monkeypatch.setattr(shared, "run", lambda argv, timeout=0: (0, lines, ""))
    ours, other = pkg.installed()
    assert ours == {
        "name": "postfix",
        "version": "3.11.5,1",
        "origin": "mail/postfix",
        "repository": mark,
        "local": True,
        "locked": True,
        "installed": 1800000000,
    }
    assert (other["local"], other["locked"]) == (False, False)
    monkeypatch.setattr(shared, "run", lambda argv, timeout=0: (0, "a=1\nb=x=y\n", ""))
    assert pkg.annotations("x") == pkg.options("x") == {"a": "1", "b": "x=y"}


def test_what_make_prints_is_read(monkeypatch):
    lines = ["bind920", "9.20.30", "", "", "A TLS", "TLS", "-O2", "cc", "dns/bind920", "/s", "/w"]
    monkeypatch.setattr(shared, "run", lambda argv, timeout, env: (0, "\n".join(lines) + "\n", ""))
    tree = make.ask({**ITEM, "options_unset": ["A"]}, SETTINGS)
    assert (tree["PKGBASE"], tree["FLAVORS"], tree["CFLAGS"], tree["WRKDIR"]) == ("bind920", "", "-O2", "/w")
    with pytest.raises(shared.Refused, match="flavor of mail/postfix"):
        make.ask({**ITEM, "options_unset": ["A"], "flavor": "sas"}, SETTINGS)


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
    assert make.lacking(DEPENDS % file) == name


@pytest.mark.parametrize(
    "text",
    [
        "Error a dependency refers to a non existing origin: /usr/ports/devel/pcre3 in LIB_DEPENDS\n",
        "===>   x-1 depends on package: perl5>=5.42.r<5.43 - not found\n",
    ],
)
def test_what_make_failed_for_otherwise_is_no_package(text):
    assert make.lacking(text) is None


# ---- one's own repository ----


@pytest.mark.parametrize(
    "repository, wish, kinds, builds",
    [
        (None, {}, ["missing"], True),
        ("FreeBSD-ports", {}, ["repository"], True),
        ("mine", {}, [], False),
        ("mine", {"flavor": "sasl"}, ["repository"], True),
        # reported, and not tried again and again
        ("mine", {"options_set": ["PCRE2"]}, ["options"], False),
    ],
)
def test_a_package_of_ones_own_repository_is_installed_when_it_is_of_another(
    monkeypatch, repository, wish, kinds, builds
):
    there = {
        "name": "postfix",
        "version": "3.11.5,1",
        "origin": "mail/postfix",
        "repository": repository,
        "local": False,
        "locked": False,
        "installed": 1,
    }
    monkeypatch.setattr(shared, "run", lambda argv, *more: (0, "TLS=on\nBDB=off\n" if "%Ok=%Ov" in argv else "", ""))
    settings = {**SETTINGS, "method": "repository", "repository": "mine"}
    port = state.Port({**ITEM, "service": "", **wish}, settings, [there] if repository else [])
    port.look()
    ids = [f"port {options.title(port.item)}: {kind}" for kind in kinds]
    assert list(port.differences) == kinds and [entry["id"] for entry in port.findings()] == ids
    assert port.to_build == builds


@pytest.mark.parametrize(
    "there, flavor, owner, said",
    [
        (
            package(name="postfix-sasl", notes={"sokuhai_built": ""}),
            "",
            "",
            "postfix-sasl-3.11.5,1 is installed, and postfix would come",
        ),
        (package(name="postfix-sasl", notes={"sokuhai_built": ""}), "default", "", None),
        (package(name="postfix-sasl"), "", "", None),
        (package(notes={"sokuhai_built": ""}), "", "", None),
        (None, "", "my-postfix-1", "my-postfix-1 is installed"),
        (None, "", "", None),
    ],
)
def test_a_package_of_somebodys_choice_is_not_displaced_by_a_build(monkeypatch, there, flavor, owner, said):
    if there:
        there["annotations"] = {name: value for name, value in there["annotations"].items() if value}
    monkeypatch.setattr(shared, "run", lambda argv: (int(not owner), owner + "\n", ""))
    port = state.Port({**ITEM, "flavor": flavor, "program": "/usr/local/sbin/postconf"}, SETTINGS, [])
    port.package, port.tree, port.differences = there, TREE, {"missing": ("a", "b")}
    found = port.displaced()
    assert len(found) == bool(said) and all(said in message for message in found)
    port.differences = {}
    assert port.displaced() == []


@pytest.fixture
def differing():
    port = state.Port(ITEM, SETTINGS, [])
    port.differences = {"make_conf": ("the declared block", "missing"), "unlocked": ("locked", "unlocked")}
    return port


def test_plan_and_build_are_reported_once_and_the_file_stands_for_its_block(differing):
    conf = {"before_header": "/etc/make.conf", "before": "", "after": "# BEGIN sokuhai ports mail/postfix\n"}
    of_plan = record(role="ports", action="ports_plan", findings=differing.findings())
    of_build = record(role="ports", action="followed", changed=True, findings=differing.findings(), diff=[conf])
    assert set(judged(of_plan)[1]) == {"ports: port mail/postfix: make_conf", "ports: port mail/postfix: unlocked"}
    assert set(judged(of_plan, of_build)[1]) == {"ports: /etc/make.conf", "ports: port mail/postfix: unlocked"}


def test_a_playbook_prints_findings_without_their_consequences(differing):
    conf = {**differing.findings()[1], "id": "/etc/make.conf", "thing": "/etc/make.conf", "expected": ""}
    assert finding_lines.finding_lines([*differing.findings(), conf]) == [
        "port mail/postfix: unlocked: found unlocked, declared locked",
        "/etc/make.conf: found unlocked, declared nothing",
    ]
