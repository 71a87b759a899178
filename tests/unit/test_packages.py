# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Packages: a program that is there is kept, nothing goes for what is installed, and which flavor of Postfix a declared value needs."""

import pytest
from role_modules import load, util

base, pkg = util("sokuhai.host"), util("sokuhai.pkg")
package = load("roles/sokuhai/library/sokuhai_package.py")
checks = load("roles/preflight/filter_plugins/preflight_checks.py")
packages = load("roles/preflight/filter_plugins/preflight_packages.py")
probe = load("roles/preflight/library/preflight_probe.py")

# as pkg words it (src/utils.c): up to 2.4 what goes comes first, with 2.8.4 last
PLAN = """The following 2 package(s) will be affected (of 0 checked):

{first}New packages to be INSTALLED:
	postfix: 3.10.14,1 [FreeBSD-ports]

{last}Number of packages to be removed: 1
Number of packages to be installed: 1
"""
REMOVED = "Installed packages to be REMOVED:\n\tpostfix-sasl: 3.10.13,1 (conflict)\n\n"


class Host:
    """A host whose pkg(8) is this class. there: packages; programs: {path or name: its package, "" for none}."""

    def __init__(self, monkeypatch, *there, **programs):
        self.there, self.programs, self.calls, self.conflict = set(there), programs, [], None
        self.here, self.lost, self.unsigned = ["FreeBSD-ports"], [], False
        monkeypatch.setattr(base, "run", self.run)
        monkeypatch.setattr(pkg, "program", lambda name: f"/usr/local/sbin/{name}" if name in programs else None)

    def run(self, argv, _timeout=120, env=None):
        if argv[:3] == ["pkg", "info", "-e"]:
            return int(argv[3] not in self.there), "", ""
        if argv[:2] == ["pkg", "which"]:
            owner = self.programs[argv[3].rpartition("/")[2]]
            return int(not owner), owner + "\n", ""
        self.calls.append(" ".join(argv[2:]))
        if argv[1] == "update":
            said = "".join("Updating %s repository catalogue...\n" % name for name in [*self.here, *self.lost])
            said += "".join("Unable to update repository %s\n" % name for name in self.lost)
            return int(bool(self.lost)), said, "pkg: Invalid signature, removing repository.\n" if self.unsigned else ""
        if argv[2] == "-nU":
            if self.lost and argv[3:5] != ["-r", "FreeBSD-ports"]:
                return 1, "", ""
            places = {place: REMOVED if place == self.conflict else "" for place in ("first", "last")}
            unknown = "pkg: No packages available to install matching 'gone'\n" if "gone" in argv else ""
            return 1, "" if unknown else PLAN.format(**places), unknown
        assert env["ASSUME_ALWAYS_YES"] == "yes"
        if "gone" in argv:
            return 1, "", "pkg: No packages available to install matching 'gone'\n"
        if argv[2] == "-yU":
            self.there.update(set(argv[3:]) - {"lost"})
        return 0, "", ""


def test_packages_that_are_missing_are_installed_or_refused(monkeypatch):
    host = Host(monkeypatch, "a")
    assert pkg.missing(["a", "b", "c"]) == ["b", "c"] and pkg.missing([]) == []
    pkg.install([])
    assert host.calls == []
    pkg.install(["b", "c"])
    assert host.calls == ["", "-yFU b c", "-nU b c", "-yU b c"] and pkg.missing(["a", "b", "c"]) == []
    for name in ("gone", "lost"):
        with pytest.raises(base.Refused, match=name):
            pkg.install([name])
    assert [found["id"] for found in pkg.findings(["b", "c"])] == ["package b", "package c"]


@pytest.mark.parametrize("place", ["first", "last"])
def test_nothing_is_installed_for_which_another_package_would_go(monkeypatch, place):
    host = Host(monkeypatch, "postfix-sasl")
    host.conflict = place
    with pytest.raises(base.Refused, match="would remove postfix-sasl-3.10.13,1, .*nothing was installed"):
        pkg.install(["postfix"])
    assert host.calls == ["", "-yFU postfix", "-nU postfix"] and "postfix" not in host.there
    pkg.install(["postfix"], replace=True)
    assert host.calls[3:] == ["", "-yFU postfix", "-yU postfix"]


def test_a_repository_out_of_reach_that_is_not_needed_stops_nothing_and_is_named_where_it_may_be(monkeypatch):
    host = Host(monkeypatch)
    host.lost = ["FreeBSD-ports-kmods"]
    pkg.install(["b"])
    assert "b" in host.there
    with pytest.raises(base.Refused, match="matching 'gone'.*; out of reach: FreeBSD-ports-kmods, .*enabled: no"):
        pkg.install(["gone"])
    host.lost, host.unsigned = [], True
    with pytest.raises(base.Refused, match="matching 'gone'.*; pkg update: a repository's signature is not valid"):
        pkg.install(["gone"])


def test_what_no_repository_has_now_is_known_before_anything_is_installed(monkeypatch):
    host = Host(monkeypatch)
    assert pkg.unavailable([]) == {} and host.calls == []
    assert pkg.unavailable(["postfix"]) == {}
    host.lost = ["FreeBSD-ports-kmods"]
    assert pkg.unavailable(["postfix"]) == {}, "nothing of it is needed"

    def why(*names):
        return tuple(pkg.unavailable(list(names))[what] for what in ("packages", "lost", "unsigned"))

    assert why("postfix", "gone") == (["gone"], ["FreeBSD-ports-kmods"], False)
    host.here, host.lost = [], ["FreeBSD-ports"]
    assert why("postfix", "bind920") == (["postfix", "bind920"], ["FreeBSD-ports"], False)
    host.here, host.lost, host.unsigned = ["FreeBSD-ports"], [], True
    assert why("gone") == (["gone"], [], True)
    assert {call.partition(" ")[0] for call in host.calls} == {"", "-nU"}, "nothing is installed for a look"


def test_what_would_go_is_seen_while_another_repository_is_out_of_reach(monkeypatch):
    host = Host(monkeypatch, "postfix-sasl")
    host.conflict, host.lost = "last", ["FreeBSD-ports-kmods"]
    with pytest.raises(base.Refused, match="would remove postfix-sasl-3.10.13,1, .*nothing was installed"):
        pkg.install(["postfix"])
    assert "postfix" not in host.there


def test_what_a_run_is_to_install_is_looked_for_and_nothing_else(monkeypatch):
    asked = []
    monkeypatch.setattr(probe.pkg, "unavailable", lambda names: asked.append(names) or {"packages": names})
    monkeypatch.setattr(probe.pkg, "program", {"named": "/usr/local/sbin/named"}.get)
    programs = {
        "bind_package": {"program": "named", "packages": ["bind920"], "role": "bind"},
        "postfix_package": {"program": "postconf", "packages": ["postfix"], "role": "postfix"},
        "sasl_packages": {
            "program": "/usr/local/sbin/dovecot",
            "packages": ["dovecot", "mail/dovecot24"],
            "role": "sasl",
        },
    }
    assert probe.unavailable(["bind", "postfix", "sasl"], programs, ["dovecot"]) == {
        "packages": ["postfix", "mail/dovecot24"]
    }
    probe.unavailable(["bind"], programs, [])
    assert asked == [["postfix", "mail/dovecot24"], []]
    # pkg(7) would fetch pkg(8) for the question
    assert probe.unavailable(["postfix"], programs, None) == {} and len(asked) == 2


@pytest.mark.parametrize(
    "owner, replace, found",
    [
        ("postfix-sasl-3.10.13,1", False, None),
        ("", False, None),
        ("postfix-sasl-3.10.13,1", True, "postfix-sasl-3.10.13,1"),
        ("", True, "/usr/local/sbin/postconf, of no package"),
        (None, False, "not installed"),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_package_comes_only_where_its_program_is_not(monkeypatch, owner, replace, found, check_mode):
    host = Host(monkeypatch, **({} if owner is None else {"postconf": owner}))
    wanted = {"name": "postfix", "program": "postconf", "replace": replace}
    made = package.work(wanted, check_mode)
    assert made["changed"] == bool(found) and [one["found"] for one in made["findings"]] == ([found] if found else [])
    assert bool(host.calls) == bool(found and not check_mode)


# ---- flavors ----

DECLARED = {
    "bind_install": True,
    "bind_package": "bind920",
    "dkim_enabled": False,
    "dkim_install": True,
    "dkim_package": "rspamd",
    "greylist_enabled": False,
    "greylist_install": True,
    "greylist_package": "postgrey",
    "postfix_destinations": ["$myhostname"],
    "postfix_install": True,
    "postfix_main_cf": [],
    "postfix_map_type": "",
    "postfix_master_cf": [],
    "postfix_package": "postfix",
    "postfix_replace_package": False,
    "sokuhai_mail": True,
    "postfix_submission": True,
    "postfix_tables": [],
    "rebuild_enabled": False,
    "rebuild_parts": ["bind", "kernel"],
    "sasl_enabled": True,
    "sasl_install": False,
    "spf_agent": "python",
    "spf_install": True,
    "spf_mode": "none",
    "spf_package": "mail/py-spf-engine",
    "sasl_packages": ["dovecot24"],
    "sokuhai_smarthost": {},
    "sasl_recipients_limited": True,
    "sasl_recipients_package": "postfix-postfwd",
}
OWN = {
    "packages": ["postfix", "mail/postfix"],
    "owners": {},
    "postfix": {"types": ["cdb", "hash", "pcre"], "server": ["dovecot"], "client": []},
}
KEPT = {**OWN, "owners": {"postfix_package": {"program": "/usr/local/sbin/postconf", "package": "postfix-3.10.13,1"}}}
SASL = {
    "packages": ["postfix-sasl"],
    "owners": {"postfix_package": {"program": "/usr/local/sbin/postconf", "package": "postfix-sasl-3.10.13,1"}},
    "postfix": {"types": ["cdb", "hash"], "server": ["cyrus", "dovecot"], "client": ["cyrus"]},
    "dovecot": "",
}
NO_DB = {**OWN, "postfix": {**OWN["postfix"], "types": ["cdb", "lmdb", "pcre"]}}
BARE = {"packages": ["python311"], "owners": {}, "postfix": None}
RELAY = {"postfix_main_cf": [{"name": "smtp_sasl_auth_enable", "value": "yes"}]}
LDAP = {"postfix_main_cf": [{"name": "virtual_alias_maps", "value": "hash:/a, proxy:ldap:/usr/local/etc/ldap.cf"}]}
SMARTHOST = {"sokuhai_smarthost": {"host": "smtp.provider.example", "user": "home"}}
TO_SASL = {"postfix_package": "postfix-sasl"}
REPLACE = {"postfix_replace_package": True}


@pytest.mark.parametrize(
    "probe, change, words",
    [
        (OWN, {}, None),
        (SASL, {}, None),
        (BARE, {}, None),
        (SASL, RELAY, None),
        (
            OWN,
            RELAY,
            [
                "smtp_sasl_auth_enable needs cyrus SASL",
                "(postfix)",
                "postfix_package: postfix-sasl and postfix_replace",
            ],
        ),
        (OWN, {**RELAY, **TO_SASL}, ["postfix-sasl has it: set postfix_replace_package: true"]),
        (KEPT, {**SMARTHOST, **TO_SASL}, ["sokuhai_smarthost needs", "(postfix-3.10.13,1)", "postfix-sasl has it"]),
        (BARE, SMARTHOST, ["sokuhai_smarthost needs cyrus SASL", "set postfix_package: postfix-sasl"]),
        (SASL, SMARTHOST, None),
        (OWN, {"sokuhai_smarthost": {"host": "relay.example.org", "tls": "none"}}, None),
        (OWN, {**RELAY, **TO_SASL, **REPLACE}, None),
        (BARE, RELAY, ["which postfix has not: set postfix_package: postfix-sasl"]),
        (BARE, {**RELAY, **TO_SASL}, None),
        (BARE, {**RELAY, "postfix_package": "my-postfix"}, None),
        (BARE, {**RELAY, "rebuild_enabled": True}, None),
        (SASL, LDAP, ["virtual_alias_maps needs table type ldap", "(postfix-sasl-3.10.13,1)", "postfix-ldap"]),
        (
            OWN,
            {"postfix_tables": [{"name": "t", "type": "pgsql"}]},
            ["postfix_tables: t needs table type pgsql", "postfix-pgsql"],
        ),
        # Berkeley DB
        (OWN, {"postfix_main_cf": [{"name": "x", "value": "hash:/a, proxy:cdb:/b"}]}, None),
        (NO_DB, {}, None),
        (
            NO_DB,
            {"postfix_main_cf": [{"name": "virtual_alias_maps", "value": "hash:/usr/local/etc/postfix/virtual"}]},
            [
                "postfix_main_cf: virtual_alias_maps needs table type hash",
                "without Berkeley DB",
                "write lmdb in its place",
                "postmap lmdb:FILE",
            ],
        ),
        (NO_DB, {"postfix_map_type": "btree"}, ["postfix_map_type needs table type btree", "write lmdb in its place"]),
        (
            dict(NO_DB, postfix=dict(NO_DB["postfix"], types=["cdb"])),
            {"postfix_tables": [{"name": "t", "type": "hash"}]},
            ["postfix_tables: t needs table type hash", "write cdb in its place"],
        ),
        (
            dict(NO_DB, postfix=dict(NO_DB["postfix"], types=["cdb"])),
            {"postfix_main_cf": [{"name": "smtp_tls_session_cache_database", "value": "btree:${data_directory}/s"}]},
            ["table type btree", "build one that has it"],
        ),
        # postconf -m dies of a main.cf that Postfix cannot read, which others say
        (dict(OWN, postfix=dict(OWN["postfix"], types=[])), {"postfix_map_type": "hash"}, None),
        (BARE, {"postfix_map_type": "hash"}, None),
        (BARE, {"postfix_map_type": "sdbm"}, ["table type sdbm, which this Postfix has not; write lmdb"]),
        (BARE, {"postfix_map_type": "sdbm", "rebuild_enabled": True}, None),
        (OWN, {"postfix_destinations": ["mysql:/a.cf"]}, ["postfix_destinations", "postfix-mysql"]),
        (OWN, {"postfix_main_cf": [{"name": "x", "value": "ldap:/a", "state": "absent"}]}, None),
        (OWN, {"postfix_main_cf": [{"name": "x", "value": "/a/ldap:b, cidr:/x/my-ldap:y"}]}, None),
        (
            OWN,
            {"postfix_master_cf": [{"name": "587", "options": {"smtpd_sasl_type": "cyrus"}}]},
            ["587: smtpd_sasl_type needs cyrus SASL"],
        ),
        (OWN, {"postfix_master_cf": [{"name": "587", "options": None}]}, None),
        (
            dict(OWN, postfix=dict(OWN["postfix"], server=["cyrus"])),
            {},
            ["sokuhai_submission needs dovecot SASL", "build one"],
        ),
        (dict(OWN, postfix=dict(OWN["postfix"], server=[])), {"postfix_submission": False}, None),
        (dict(BARE, packages=["opensmtpd"]), {}, ["opensmtpd would be removed by pkg for postfix"]),
        (dict(BARE, packages=["opensmtpd"]), REPLACE, None),
        (dict(BARE, packages=["opensmtpd"]), {"postfix_install": False, "postfix_submission": False}, None),
        (dict(OWN, packages=["postfix", "opensmtpd"]), {}, None),
        (BARE, {"postfix_install": False}, None),
    ],
)
def test_what_only_another_flavor_has_is_refused_with_both_names(probe, change, words):
    problems = packages.preflight_postfix(probe, {**DECLARED, **change})
    assert len(problems) == bool(words), problems
    for word in words or ():
        assert problems[0].startswith("postfix_package: ") and word in problems[0], problems


AFTER = {
    "release": {"running": "15.0-RELEASE", "userland": "15.0-RELEASE-p1"},
    "packages": [],
    "owners": {"postfix_package": {"program": "/usr/local/sbin/postconf", "package": "postfix-sasl-3.10.13,1"}},
    "abis": {
        "bind920": "FreeBSD:15:amd64",
        "postfix-sasl": "FreeBSD:15:amd64",
        "nginx": "FreeBSD:14:amd64",
        "odd": "of its own",
    },
    "missing": [],
}


@pytest.mark.parametrize(
    "change, words",
    [
        # what nothing here uses is its owner's
        ({}, None),
        ({"abis": {}}, None),
        ({"abis": {"bind920": "of its own", "postfix-sasl": "FreeBSD:15:*"}}, None),
        ({"release": {}, "abis": {"bind920": "FreeBSD:14:amd64"}}, None),
        (
            {"abis": {"bind920": "FreeBSD:14:amd64", "postfix-sasl": "FreeBSD:14:*"}},
            [
                "bind920 (FreeBSD:14:amd64), postfix-sasl (FreeBSD:14:*)",
                "runs FreeBSD 15",
                "pkg unlock -y bind920 postfix-sasl; pkg upgrade -fy",
            ],
        ),
    ],
)
def test_what_another_major_release_left_behind_is_refused(change, words):
    problems = packages.preflight_abi(AFTER | change, DECLARED)
    assert len(problems) == bool(words), problems
    for word in words or ():
        assert problems[0].startswith("packages of another release: ") and word in problems[0], problems


@pytest.mark.parametrize(
    "missing, change, refused",
    [
        (["bind918"], {"bind_package": "bind918"}, True),
        # it is there, or a repository has it
        ([], {"bind_package": "bind918"}, False),
        (["bind920"], {}, False),
        (["bind918"], {"bind_package": "bind918", "rebuild_enabled": True}, False),
        (["bind918"], {"bind_package": "bind918", "bind_install": False}, False),
    ],
)
def test_a_port_that_is_gone_is_refused_by_the_name_of_its_successor(missing, change, refused):
    problems = packages.preflight_gone(AFTER | {"missing": missing}, DECLARED | change)
    assert len(problems) == refused
    assert all("bind_package: bind918 left" in one and "set bind_package: bind920" in one for one in problems)


def test_what_is_kept_is_named():
    assert packages.preflight_kept(SASL) == [
        "postfix_package: /usr/local/sbin/postconf is of postfix-sasl-3.10.13,1, and is kept"
    ]
    hand = {"owners": {"bind_package": {"program": "/opt/sbin/named", "package": ""}}, "dovecot": "/etc/dovecot.conf"}
    assert packages.preflight_kept(hand) == [
        "bind_package: /opt/sbin/named is of no package, and is kept",
        "sasl_replace_config: /etc/dovecot.conf is its owner's, and is kept: AUTH is had of that Dovecot",
    ]
    assert set(packages.preflight_programs(DECLARED)) == {"bind_package", "postfix_package"}
    assert set(packages.preflight_programs({**DECLARED, "sokuhai_mail": False})) == {"bind_package"}
    # what is built here need not be in a repository
    roles = [one["role"] for one in packages.preflight_programs({**DECLARED, "rebuild_enabled": True}).values()]
    assert roles == ["ports", "postfix"]
    own = packages.preflight_programs({**DECLARED, "sasl_install": True})
    assert own["sasl_recipients_package"] == {
        "program": "/usr/local/bin/postfwd",
        "packages": ["postfix-postfwd"],
        "role": "sasl",
    }


def test_packages_are_read_with_the_release_they_are_for_and_what_no_repository_has(monkeypatch):
    asked, rows = [], "bind918 dns/bind918 FreeBSD:14:amd64\npostgrey mail/postgrey FreeBSD:15:*\n"

    def run(argv, *_rest):
        asked.append(argv)
        return 0, {"query": rows, "rquery": "postfix\n"}.get(argv[1], ""), ""

    monkeypatch.setattr(probe.host, "run", run)
    names, abis = probe.packages()
    assert names == ["bind918", "dns/bind918", "mail/postgrey", "postgrey"]
    assert abis == dict.fromkeys(names[:2], "FreeBSD:14:amd64") | dict.fromkeys(names[2:], "FreeBSD:15:*")
    wanted = {
        name: {"program": "x", "packages": [name]} for name in ("bind918", "postfix", "dovecot", "rspamd", "postgrey")
    }
    # of those that are neither there nor their programs
    assert probe.missing(wanted, names, {"rspamd": {}}) == ["dovecot"]
    assert asked[-1] == ["pkg", "rquery", "-U", "%n", "postfix", "dovecot"]
    # where all is there nobody is asked
    asked.clear()
    assert probe.missing({"postgrey": wanted["postgrey"]}, names, {}) == [] and asked == []
    monkeypatch.setattr(probe.host, "run", lambda *_: (1, "", ""))
    assert probe.packages() == (None, {})


@pytest.mark.parametrize(
    "changed, asked",
    [
        ({}, False),
        ({"bind_install": True}, True),
        ({"spf_install": True}, True),
        ({"greylist_install": True}, True),
        ({"spf_install": True, "spf_mode": "none"}, False),
        ({"sasl_install": True, "sasl_enabled": False}, False),
        ({"dkim_install": True}, True),
        ({"dkim_install": True, "dkim_enabled": False}, False),
        ({"postfix_install": True}, True),
        ({"postfix_install": True, "sokuhai_mail": False}, False),
    ],
)
def test_pkg_is_asked_for_where_a_role_installs_something(changed, asked):
    given = {
        f"{role}_install": False for role in ("bind", "postfix", "sasl", "spf", "ahead", "greylist", "dkim", "mta_sts")
    }
    on = {name: True for name in ("sokuhai_mail", "sasl_enabled", "greylist_enabled", "dkim_enabled", "ahead_enabled")}
    given |= {"spf_mode": "mark", **on}
    assert bool(checks.preflight_installs(given | changed)) is asked
