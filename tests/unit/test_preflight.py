# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What preflight refuses before any host is asked, what it reads from a host's answers, and what role limits' own check refuses."""

import errno
import re

import pytest
import yaml
from role_modules import ROOT, defaults, load, util

addresses = load("roles/preflight/filter_plugins/preflight_addresses.py")
checks = load("roles/preflight/filter_plugins/preflight_checks.py")
names = load("roles/preflight/action_plugins/preflight_declared.py")
shared = load("roles/sokuhai/filter_plugins/sokuhai_problems.py")
limits_declared = load("roles/limits/filter_plugins/limits_declared.py")
limits = util("sokuhai.limits")


def of_role(role, path):
    return yaml.safe_load((ROOT / "roles" / role / path).read_text())


OPTIONS = {
    path.parts[-3]: names.options_of(yaml.safe_load(path.read_text()))
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
}
FACTS = of_role("preflight", "vars/main.yml")["__preflight_facts"]
GONE = of_role("preflight", "vars/gone.yml")["__preflight_gone"]
TABLES = [{"name": "t", "entries": [{"pattern": "a", "action": "OK"}]}]


# ---- names ----


@pytest.mark.parametrize(
    "name,near",
    [
        ("bind_recursve_clients", "bind_recursive_clients"),
        ("limits_sysctls", "limits_sysctl"),
        ("sokuhai_openfile", "sokuhai_openfiles"),
        ("sokuhai_recursiveclients", "sokuhai_recursive_clients"),
        ("rebuild_enable", "rebuild_enabled"),
    ],
)
def test_a_typo_is_answered_with_the_name_that_exists(name, near):
    found = names.name_problems([name, "limits_sysctl", "ansible_host"], OPTIONS, GONE, FACTS)
    assert len(found) == 1 and found[0].startswith(name) and f"did you mean {near}?" in found[0]


def test_a_name_like_no_other_is_refused_without_a_guess():
    found = names.name_problems(["limits_quux_zzz"], OPTIONS, GONE, FACTS)
    assert len(found) == 1 and "did you mean" not in found[0] and "roles/limits/README.md" in found[0]


def test_a_variable_of_an_earlier_version_is_refused_with_what_took_its_place():
    gone = {"bind_old": "bind_timeout", "sasl_place": "the port has it in /usr/local"}
    assert names.name_problems(["sasl_place", "bind_old", "limits_sysctl"], OPTIONS, gone, []) == [
        "bind_old is gone: use bind_timeout",
        "sasl_place is gone: the port has it in /usr/local",
    ]


def test_what_is_gone_is_gone_and_what_is_named_instead_exists():
    known = {name for options in OPTIONS.values() for name in options}
    assert known & set(GONE) == set()
    for name, instead in GONE.items():
        assert " " in instead or instead in known, name


def test_no_text_tells_anybody_to_use_what_is_gone():
    named = re.compile(r"\b(%s)\b" % "|".join(GONE))
    files = [
        path
        for folder in ("roles", "playbooks", "docs", "inventory", "lab/inventory", "vm/inventory")
        for path in (ROOT / folder).rglob("*")
    ]
    own = ROOT / "roles/preflight/vars/gone.yml"
    texts = {path: path.read_bytes().decode(errors="replace") for path in files if path.is_file() and path != own}
    assert {
        str(path.relative_to(ROOT)): named.findall(text) for path, text in texts.items() if named.search(text)
    } == {}


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/*/filter_plugins/*.py")), ids=lambda path: path.parts[-3])
def test_what_a_role_has_to_say_of_its_values_is_asked(path):
    role = path.parts[-3]
    if f'"{role}_problems"' in path.read_text():
        assert f"{role}_problems" in of_role(role, "vars/main.yml")[f"__{role}_problems"]


def test_declared_names_facts_and_strangers_pass():
    known = [name for options in OPTIONS.values() for name in options]
    strangers = ["limitless", "my_bind_thing", "__limits_x"]
    assert names.name_problems(known + FACTS + strangers, OPTIONS, GONE, FACTS) == []


# ---- types ----


@pytest.mark.parametrize(
    "role,name,value,words",
    [
        ("bind", "bind_recursive_clients", "many", ["'many'", "whole number"]),
        ("bind", "bind_install", "perhaps", ["perhaps", "true or false"]),
        ("postfix", "postfix_tables", {"name": "x"}, ["a list"]),
        ("postfix", "postfix_mynetworks", "192.0.2.0/24", ["a list of texts"]),
        ("limits", "limits_sysctl", ["kern.maxfiles"], ["a mapping"]),
        ("postfix", "postfix_main_cf", [{"value": "1"}], ["name"]),
        ("postfix", "postfix_main_cf", [{"name": "x", "stat": "absent"}], ["stat", "state"]),
        ("sasl", "sasl_mechanisms", ["digest-md5"], ["a list of plain, login"]),
        ("sokuhai", "sokuhai_openfiles", 3.5, ["whole number"]),
        ("sokuhai", "sokuhai_profile", "artikel", ["article, current", "did you mean article?"]),
        ("sokuhai", "sokuhai_submission", "perhaps", ["true or false"]),
        ("sokuhai", "sokuhai_spf", "reject", ["mark, refuse, none"]),
        ("sokuhai", "sokuhai_spf", False, ["mark"]),
        ("sokuhai", "rebuild_enabled", "on demand", ["true or false"]),
        ("sokuhai", "rebuild_parts", "kernel", ["a list of bind, postfix, kernel"]),
        ("sokuhai", "rebuild_parts", ["bind", "named"], ["bind, postfix, kernel"]),
    ],
)
def test_a_value_of_the_wrong_type(role, name, value, words):
    _value, (problem,) = names.typed(name, OPTIONS[role][name], value)
    assert problem.startswith(name) and all(word in problem for word in words), problem


WORDS = [
    (name, value)
    for options in OPTIONS.values()
    for name, option in options.items()
    if option["type"] == "str" and option.get("choices")
    for value in (True, False)
]


@pytest.mark.parametrize("name, value", WORDS)
def test_a_truth_value_is_no_word_of_a_daemon(name, value):
    option = next(options[name] for options in OPTIONS.values() if name in options)
    _value, (problem,) = names.typed(name, option, value)
    assert problem.startswith(name) and f"one of {option['choices'][0]}" in problem


@pytest.mark.parametrize(
    "name, value, word",
    [
        ("bind_qname_minimization", False, '"off"'),
        ("bind_dnssec_validation", True, '"yes"'),
        ("bind_dnssec_validation", False, '"no"'),
    ],
)
def test_a_word_that_yaml_reads_as_a_truth_value_is_to_be_quoted(name, value, word):
    _value, (problem,) = names.typed(name, OPTIONS["bind"][name], value)
    assert f"write {word} in quotes" in problem


def test_what_holds_a_secret_is_not_shown():
    _value, found = names.typed("sasl_users", OPTIONS["sasl"]["sasl_users"], {"alice": "{PLAIN}hidden"})
    assert len(found) == 1 and "hidden" not in found[0]
    assert names.secret(OPTIONS["sasl"]["sasl_users"])


@pytest.mark.parametrize(
    "role, name, value, shown",
    [
        ("sasl", "sasl_users", [{"name": "a", "password_hash": "hidden"}], [{"name": "a"}]),
        (
            "postfix",
            "postfix_tables",
            [{"name": "t", "entries": [{"pattern": "a", "action": "hidden"}]}],
            [{"name": "t"}],
        ),
        ("postfix", "postfix_mynetworks", ["127.0.0.0/8"], ["127.0.0.0/8"]),
        # of the wrong type, and refused for that
        ("sasl", "sasl_users", 3, None),
        ("sasl", "sasl_users", ["{PLAIN}hidden"], [None]),
    ],
)
def test_what_is_handed_on_is_without_its_secrets(role, name, value, shown):
    assert names.public(OPTIONS[role][name], value) == shown


@pytest.mark.parametrize(
    "role, name, value, typed",
    [
        ("sokuhai", "sokuhai_openfiles", "65535", 65535),
        ("sokuhai", "rebuild_enabled", "true", True),
        ("postfix", "postfix_tables", TABLES, TABLES),
    ],
)
def test_a_value_has_its_type_and_gets_nothing_added(role, name, value, typed):
    assert names.typed(name, OPTIONS[role][name], value) == (typed, [])


# ---- shared values ----


def problems(**changed):
    return shared.sokuhai_problems(defaults(**(GOOD_NAMES | changed)))


GOOD_NAMES = {"sokuhai_domain": "home.example", "sokuhai_hostname": "mx.home.example"}


@pytest.mark.parametrize(
    "name,value,words",
    [
        ("sokuhai_openfiles", 0, ["256"]),
        ("sokuhai_openfiles", None, ["value"]),
        ("sokuhai_process_limit", -1, ["1 or more"]),
        ("sokuhai_process_limit", 2**31, ["at most"]),
        ("sokuhai_recursive_clients", 0, ["1 or more"]),
        ("sokuhai_statistics_port", 65536, ["65535"]),
        ("sokuhai_domain", "home..example", ["label ''"]),
        ("sokuhai_domain", "my_home.example", ["my_home"]),
        ("sokuhai_domain", "-a.example", ["-a"]),
        ("sokuhai_domain", "a" * 64 + ".example", ["label"]),
        ("sokuhai_domain", "", ["name"]),
        ("sokuhai_domain", "home.example\n", ["label"]),
        ("sokuhai_domain", ("a" * 60 + ".") * 5 + "example", ["253"]),
        ("sokuhai_hostname", "mx", ["2 labels"]),
        ("sokuhai_hostname", "192.0.2.10", ["number"]),
        ("sokuhai_queue_directory", "var/spool", ["absolute"]),
        ("rebuild_parts", [], ["one or more"]),
        ("sokuhai_loopback", "localhost", ["like 127.0.0.1"]),
        ("sokuhai_loopback", "192.0.2.10", ["loopback"]),
    ],
)
def test_an_impossible_shared_value(name, value, words):
    (problem,) = problems(**{name: value})
    assert problem.startswith(name) and all(word in problem for word in words), problem


@pytest.mark.parametrize("protocols, loopback, good", [("ipv6", "127.0.0.1", "::1"), ("ipv4", "::1", "127.0.0.1")])
def test_a_loopback_address_of_the_other_family(protocols, loopback, good):
    assert problems(sokuhai_inet_protocols=protocols) == []
    (problem,) = problems(sokuhai_inet_protocols=protocols, sokuhai_loopback=loopback)
    assert problem.startswith("sokuhai_loopback") and f"{protocols}: set {good}" in problem


@pytest.mark.parametrize("domain", ["home.example", "xn--wgv71a.example", "localdomain"])
def test_a_possible_shared_value(domain):
    assert problems(sokuhai_domain=domain) == []


@pytest.mark.parametrize("name", ["", "before-0.2", "sokuhai:2026-11-30_1", "9"])
def test_a_name_of_a_boot_environment(name):
    assert checks.preflight_problems({"preflight_boot_environment": name}) == []


@pytest.mark.parametrize("name", ["a b", "zroot/ROOT/x", "x@now", "-r", ".x", "x%y", "x\n", "n" * 65])
def test_what_is_no_name_of_a_boot_environment_is_refused_with_one_that_is(name):
    (message,) = checks.preflight_problems({"preflight_boot_environment": name})
    assert message.startswith("preflight_boot_environment: ") and "before-sokuhai-0.2" in message


# ---- the host ----

GOOD = {
    "release": {"running": "15.0-RELEASE", "userland": "15.0-RELEASE-p1"},
    "jailed": False,
    "unavailable": {},
    "environment": "",
    "pf": {"there": False},
    "bound": {"127.0.0.1": "127.0.0.1"},
    "sysctl": {"hw.physmem": "4271390720"},
    "disk": {"/": 5000, "/usr": 5000, "/var": 5000},
    "pkg": True,
    "replaced": {"bind": "", "postfix": ""},
    "aliases": {},
    "mail": [],
    "leftovers": {"bind": [], "postfix": ["/etc/rc.conf:7 sets postfix_flags"]},
}
ALIASES = {"/etc/mail/aliases": {"info": "me, :include:/x"}}
WANTED = {
    "releases": [14, 15],
    "min_ram_mb": 900,
    "min_disk_mb": {"/": 200, "/usr": 500, "/var": 1000},
    "pkg_required": True,
    "mail": True,
    "replace": {"postfix": False},
    "aliases": [],
    "firewall": True,
    "loopback": "127.0.0.1",
    "serves": ["bind"],
}


@pytest.mark.parametrize(
    "change, wanted",
    [
        ({}, {}),
        ({"replaced": {"postfix": "lost"}}, {"replace": {"postfix": True}}),
        ({"replaced": {"postfix": "lost"}}, {"replace": {}}),
        ({"aliases": ALIASES}, {"aliases": ["info"]}),
        ({"aliases": ALIASES}, {"replace": {"postfix": True}}),
        ({"aliases": ALIASES}, {"replace": {}}),
        ({"mail": ["Postfix", "Dovecot"]}, {}),
        ({}, {"mail": False}),
        # nothing is bound there where no service is about to run
        ({"bound": {"127.0.0.1": ""}}, {"serves": []}),
        # a jail's host may be of a later release
        (
            {"jailed": True, "pf": {"there": True}, "release": {"running": "15.0-RELEASE", "userland": "14.3-RELEASE"}},
            {},
        ),
        # pkg is not asked for where nothing is installed
        ({"pkg": False}, {"pkg_required": False}),
    ],
)
def test_a_good_host(change, wanted):
    assert checks.preflight_host(GOOD | change, WANTED | wanted) == []


@pytest.mark.parametrize(
    "change,words",
    [
        ({"release": dict(GOOD["release"], running="13.4-RELEASE")}, ["13.4", "14.x, 15.x"]),
        ({"release": dict(GOOD["release"], userland="13.4-RELEASE")}, ["userland", "13.4"]),
        ({"release": {}}, ["unknown release"]),
        (
            {"release": {"running": "15.0-RELEASE", "userland": "14.3-RELEASE-p2"}},
            ["not finished", "the kernel is 15.0-RELEASE, the userland 14.3-RELEASE-p2", "freebsd-update install"],
        ),
        ({"sysctl": {"hw.physmem": str(512 * 2**20)}}, ["512 MB", "900"]),
        ({"disk": {"/": 5000, "/usr": 5000, "/var": 10}}, ["10 MB", "/var", "1000"]),
        ({"disk": {"/": 5000, "/usr": 5000}}, ["/var"]),
        ({"pkg": False}, ["pkg", "playbooks/bootstrap.yml"]),
        (
            {"aliases": ALIASES},
            ["postfix_aliases: ", "/etc/mail/aliases", '  - {name: "info", value: "me, :include:/x"}'],
        ),
        ({"leftovers": {"bind": ["/etc/rc.conf:2 sets named_flags"]}}, ["/etc/rc.conf:2 sets named_flags"]),
        ({"jailed": True}, ["sokuhai_blocklist: ", "/dev/pf"]),
        (
            {"unavailable": {"packages": ["postgrey", "gone"], "lost": ["FreeBSD-ports"], "unsigned": False}},
            [
                "packages: no repository that answers has postgrey, gone; out of reach: FreeBSD-ports, ",
                "`FreeBSD-ports: { enabled: no }`",
                "; nothing was changed",
            ],
        ),
        (
            {"unavailable": {"packages": ["gone"], "lost": [], "unsigned": True}},
            ["has gone; pkg update: a repository's signature is not valid; nothing was changed"],
        ),
        ({"environment": "this host runs in x now"}, ["preflight_boot_environment: this host runs in x now"]),
        # a jail that shares its host's addresses, and hosts of one family of which nobody said so
        (
            {"bound": {"127.0.0.1": "192.0.2.7"}},
            ["sokuhai_loopback: ", "jail without 127.0.0.1", "192.0.2.7", "127.0.1.2"],
        ),
        ({"bound": {"127.0.0.1": ""}}, ["sokuhai_loopback: ", "sokuhai_inet_protocols: ipv6"]),
    ],
)
def test_a_host_that_cannot_work(change, words):
    (problem,) = checks.preflight_host(dict(GOOD, **change), WANTED)
    assert all(word in problem for word in words), problem


TAGS = {"bind": ["bind"], "sasl": [], "postfix": ["access", "postfix"]}


@pytest.mark.parametrize(
    "run, skip, serves",
    [
        (["all"], [], ["bind", "postfix"]),
        (["all"], ["access"], ["bind"]),
        (["access"], [], ["postfix"]),
        (["limits"], [], []),
        (["sasl"], [], []),
    ],
)
def test_roles_that_the_tags_leave_are_those_that_run(run, skip, serves):
    assert checks.preflight_serves(TAGS, run, skip) == serves


# ---- reading what FreeBSD prints ----


def test_settings_outside_our_block_are_read_with_their_lines():
    text = (
        "# comment kern.a=1\nkern.maxfiles=1000\t# why\n  kern.ipc.somaxconn : 77\n# BEGIN sokuhai limits\nkern.maxfilesperproc=2\n"
        '# END sokuhai limits\nautoboot_delay="3"\nkern.maxproc="4000"\n'
    )
    assert limits.parse_settings("f", text) == [
        {"file": "f", "line": 2, "name": "kern.maxfiles", "value": "1000"},
        {"file": "f", "line": 3, "name": "kern.ipc.somaxconn", "value": "77"},
        {"file": "f", "line": 8, "name": "kern.maxproc", "value": "4000"},
    ]


@pytest.mark.parametrize(
    "text,expected",
    [
        ("Resource limits for class daemon:\n  openfiles            infinity\n", "infinity"),
        ("Resource limits for class mailhost:\n  openfiles               65535\n", 65535),
        ("Resource limits for class mailhost:\n  cputime              infinity secs\n", None),
    ],
)
def test_a_login_class_as_limits_prints_it(text, expected):
    assert limits.parse_class(text) == expected


# ---- what role limits refuses by itself ----


def values(**changes):
    given = of_role("limits", "defaults/main.yml") | {"limits_openfiles": 65535, "limits_services": ["named"]}
    return given | {"limits_" + name: value for name, value in changes.items()}


@pytest.mark.parametrize(
    "change,start",
    [
        ({"sysctl": {"kern.maxfiles": True}}, "limits_sysctl['kern.maxfiles']"),
        ({"sysctl": {"kern.maxfiles": [1]}}, "limits_sysctl['kern.maxfiles']"),
        ({"sysctl": {"maxfiles": 1}}, "limits_sysctl['maxfiles']"),
        ({"sysctl": {"kern.x": "a\nkern.y=1"}}, "limits_sysctl['kern.x']"),
        ({"loader": {"kern.x": 'a"b'}}, "limits_loader['kern.x']"),
        ({"openfiles": 0}, "limits_openfiles"),
        ({"login_class": "daemon"}, "limits_login_class"),
        ({"login_class": "a b"}, "limits_login_class"),
        ({"services": ["named; rm"]}, "limits_services"),
    ],
)
def test_declared_limits_that_no_host_could_take(change, start):
    found = limits_declared.limits_problems(values(**change))
    assert len(found) == 1 and found[0].startswith(start)


def test_declared_limits_that_are_fine():
    assert (
        limits_declared.limits_problems(
            values(sysctl={"kern.maxfiles": 1, "net.inet.tcp.cc.algorithm": "htcp", "dev.cpu.0.freq": 1})
        )
        == []
    )


def test_a_mail_service_of_ours_is_not_taken_away_unasked():
    (problem,) = checks.preflight_host(GOOD | {"mail": ["Postfix", "the signer"]}, WANTED | {"mail": False})
    for word in (
        "sokuhai_mail: false",
        "(Postfix, the signer)",
        "rollback.yml --tags postfix,sasl",
        "sokuhai_mail: true",
    ):
        assert word in problem


def test_a_resolver_needs_no_domain_of_mail():
    (problem,) = problems(sokuhai_domain="")
    assert problem.startswith("sokuhai_domain = ''")
    assert problems(sokuhai_domain="", sokuhai_mail=False) == []
    (problem,) = problems(sokuhai_domain="-x", sokuhai_mail=False)
    assert problem.startswith("sokuhai_domain = '-x'")


def test_a_host_without_ipv6_is_told_of_its_family():
    (problem,) = checks.preflight_host(GOOD, WANTED | {"loopback": "::1"})
    assert problem.startswith("sokuhai_loopback: ") and "sokuhai_inet_protocols: ipv4" in problem


ADDRESSES = {
    "bind_listen_on": ["127.0.0.1", "192.0.2.1"],
    "bind_listen_on_v6": ["::1"],
    "postfix_inet_interfaces": ["[2001:db8::1]", "$myhostname", "0.0.0.0", "loopback-only"],
    "postfix_main_cf": [
        {"name": "smtp_bind_address", "value": "192.0.2.2"},
        {"name": "smtp_bind_address6", "value": "2001:db8::2", "state": "absent"},
        {"name": "relayhost", "value": "192.0.2.99"},
    ],
    "postfix_master_cf": [{"name": "bulk", "options": {"smtp_bind_address": "192.0.2.3", "syslog_name": "x"}}],
}


def test_addresses_that_are_declared_as_the_hosts_own_are_looked_for_there():
    every = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]
    assert [one["address"] for one in addresses.preflight_addresses(ADDRESSES)] == every
    here = {"bound": dict(zip(every, every))}
    assert addresses.preflight_not_here(here, ADDRESSES, ["bind", "postfix"]) == []
    away = addresses.preflight_not_here({"bound": {}}, ADDRESSES, ["postfix"])
    assert [one.partition(" is no address")[0] for one in away] == [
        "postfix_inet_interfaces: 2001:db8::1",
        "postfix_main_cf: smtp_bind_address: 192.0.2.2",
        "postfix_master_cf: bulk: smtp_bind_address: 192.0.2.3",
    ]


def test_an_address_is_the_hosts_where_a_socket_takes_it(monkeypatch):
    probe = load("roles/preflight/library/preflight_probe.py")
    assert [probe.bound(one) for one in ("127.0.0.1", "192.0.2.1", "2001:db8::1")] == ["127.0.0.1", "", ""]

    def unsupported(*_family):
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported")

    monkeypatch.setattr(probe.socket, "socket", unsupported)
    assert probe.bound("127.0.0.1") == ""
