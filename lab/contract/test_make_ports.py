"""make(1) in the ports tree, and what it tells of a port without building it."""

import re

import pytest

PORT = "/usr/ports/mail/postfix"


@pytest.fixture(scope="module")
def tree(run, needs):
    needs("make")
    if run(f"test -f {PORT}/Makefile").rc:
        pytest.skip("this host has no ports tree")


def ask(run, port, names, words=""):
    """{name: value} of make -V for a port; words: more for its command line or, before it, its environment."""
    answer = run(f"{words} make -C {port} BATCH=yes " + " ".join(f"-V {n}" for n in names))
    assert answer.rc == 0, answer
    return dict(zip(names, answer.out.split("\n"), strict=False))


def bind(run):
    """Directory of the BIND port that the tree has."""
    found = run("ls -d /usr/ports/dns/bind9[0-9][0-9]").lines()
    if not found:
        pytest.skip("the tree has no dns/bind9NN")
    return found[-1]


def test_defaults_of_make(run, needs):
    needs("make")
    # outside of any tree, so that only sys.mk speaks
    answer = run("cd / && make -f /dev/null __MAKE_CONF=/dev/null -V CC -V CFLAGS -V MACHINE_ARCH")
    assert answer.rc == 0
    compiler, flags, arch = answer.lines()
    level, pipe = flags.split()[:2]
    assert (compiler, pipe, arch) == ("cc", "-pipe", run("uname -p").out.strip())
    assert re.fullmatch(r"-O[0-3s]", level), flags


def test_make_conf_knows_where_it_is_read(run, scratch, needs):
    needs("make")
    run(
        f"mkdir -p {scratch}/dns/bind920 {scratch}/dns/bind-tools; touch {scratch}/dns/bind920/Makefile {scratch}/dns/bind-tools/Makefile"
    )
    run("printf '%%s\\n' '.if ${.CURDIR:M*/dns/bind920}' 'CFLAGS+= -DFD_SETSIZE=16384' .endif > %s", f"{scratch}/conf")

    def flags(port):
        return run(f"make -C {scratch}/dns/{port} __MAKE_CONF={scratch}/conf -V CFLAGS").out.split()

    assert flags("bind920")[-1] == "-DFD_SETSIZE=16384" and "-DFD_SETSIZE=16384" not in flags("bind-tools")


def test_names_of_a_port(run, tree):
    got = ask(run, PORT, ["PKGNAME", "PKGBASE", "PKGVERSION", "PKGORIGIN", "OPTIONS_NAME", "PORTNAME"], "env -u FLAVOR")
    assert got["PKGBASE"] == "postfix" and got["PORTNAME"] == "postfix"
    assert got["PKGORIGIN"] == "mail/postfix" and got["OPTIONS_NAME"] == "mail_postfix"
    assert got["PKGNAME"] == f"postfix-{got['PKGVERSION']}" and re.fullmatch(r"3\.\d+\.\d+(_\d+)?,1", got["PKGVERSION"])


def test_flavors(run, tree):
    plain = ask(run, PORT, ["FLAVORS", "FLAVOR", "OPTIONS_FILE", "WRKDIR"], "env -u FLAVOR")
    assert plain["FLAVORS"].split() == ["default", "ldap", "mongo", "mysql", "pgsql", "sasl", "sqlite"]
    assert plain["FLAVOR"] == "default" and plain["OPTIONS_FILE"] == "/var/db/ports/mail_postfix/options"
    assert plain["WRKDIR"].endswith("/work-default")
    sasl = ask(run, PORT, ["PKGBASE", "FLAVOR", "OPTIONS_FILE", "PORT_OPTIONS"], "env FLAVOR=sasl")
    assert sasl["PKGBASE"] == "postfix-sasl" and sasl["OPTIONS_FILE"] == "/var/db/ports/mail_postfix/sasl-options"
    assert "SASL" in sasl["PORT_OPTIONS"].split()


def test_unknown_flavor_builds_nothing(run, tree):
    answer = run(f"env FLAVOR=no_such make -C {PORT} BATCH=yes build")
    assert answer.rc != 0 and "Unknown flavor 'no_such'" in answer.out + answer.err


def test_a_slave_port_is_a_directory_of_its_own(run, tree):
    got = ask(run, "/usr/ports/dns/bind-tools", ["PKGBASE", "PKGORIGIN", ".CURDIR"])
    assert got == {"PKGBASE": "bind-tools", "PKGORIGIN": "dns/bind-tools", ".CURDIR": "/usr/ports/dns/bind-tools"}


@pytest.mark.parametrize("port", ["postfix", "bind"])
def test_options_are_on_or_off_and_all_known(run, tree, port):
    where = PORT if port == "postfix" else bind(run)
    got = ask(run, where, ["COMPLETE_OPTIONS_LIST", "SELECTED_OPTIONS", "DESELECTED_OPTIONS", "PORT_OPTIONS"])
    whole, on, off, asked = (set(got[n].split()) for n in got)
    assert on | off == whole and not on & off and on == asked & whole


def test_options_this_project_counts_on(run, tree):
    whole = set(ask(run, PORT, ["COMPLETE_OPTIONS_LIST"])["COMPLETE_OPTIONS_LIST"].split())
    assert {"BLOCKLISTD", "CDB", "LMDB", "PCRE2", "SASL", "TEST", "TLS", "SASLKMIT", "SASLKRB5"} <= whole
    whole = set(ask(run, bind(run), ["COMPLETE_OPTIONS_LIST"])["COMPLETE_OPTIONS_LIST"].split())
    assert {"FIXED_RRSET", "GSSAPI_NONE", "LMDB", "QUERYTRACE", "TCP_FASTOPEN"} <= whole


def test_the_later_word_about_an_option_wins(run, tree, scratch):
    """In the order of Mk/bsd.options.mk, each step against the one before it."""
    saved = f"{scratch}/mail_postfix/options"
    run(f"mkdir -p {scratch}/mail_postfix; printf 'OPTIONS_FILE_SET+=TEST\\n' > {saved}")
    steps = [
        ("OPTIONS_SET=TEST", True),
        ("OPTIONS_UNSET=TEST", False),
        ("mail_postfix_SET=TEST", True),
        ("mail_postfix_UNSET=TEST", False),
        (f"PORT_DBDIR={scratch}", True),
        ("OPTIONS_UNSET_FORCE=TEST", False),
        ("mail_postfix_SET_FORCE=TEST", True),
        ("WITHOUT=TEST", False),
    ]
    for count in range(len(steps) + 1):
        words = " ".join(word for word, _ in steps[:count])
        base = "" if any(w.startswith("PORT_DBDIR") for w, _ in steps[:count]) else "PORT_DBDIR=/nonexistent"
        answer = run(f"env -u FLAVOR make -C {PORT} BATCH=yes __MAKE_CONF=/dev/null {base} {words} -V PORT_OPTIONS")
        expected = steps[count - 1][1] if count else False
        assert ("TEST" in answer.out.split()) is expected, (words, answer)


def test_showconfig(run, tree):
    answer = run(f"env -u FLAVOR make -C {PORT} showconfig")
    assert answer.rc == 0
    assert re.fullmatch(r"===> The following configuration options are available for postfix-\S+:", answer.lines()[0])
    shown = re.findall(r"^     (\w+)=(on|off)", answer.out, re.MULTILINE)
    got = ask(run, PORT, ["COMPLETE_OPTIONS_LIST", "SELECTED_OPTIONS"], "env -u FLAVOR")
    assert {n for n, _ in shown} == set(got["COMPLETE_OPTIONS_LIST"].split())
    assert {n for n, s in shown if s == "on"} == set(got["SELECTED_OPTIONS"].split())


def test_one_of_a_single_group_is_needed(run, tree):
    answer = run(
        f"make -C {bind(run)} BATCH=yes __MAKE_CONF=/dev/null PORT_DBDIR=/nonexistent WITHOUT=GSSAPI_NONE check-config"
    )
    assert answer.rc != 0 and "You must select one and only one option from the GSSAPI single" in answer.out


def test_what_a_port_depends_on(run, tree):
    """Directories; with flavors only on request; missing goes down into what builds a dependency that no package here has."""

    def asked(words):
        answer = run(f"env -u FLAVOR make -C {PORT} BATCH=yes {words}")
        assert answer.rc == 0, answer
        return answer.lines()

    direct, all_of_it = asked("build-depends-list") + asked("run-depends-list"), asked("all-depends-list")
    assert direct and all(re.fullmatch(r"/usr/ports/[\w.-]+/[\w.+-]+", line) for line in all_of_it), all_of_it
    assert set(direct) <= set(all_of_it)
    assert {line.partition("@")[0] for line in asked("build-depends-list DEPENDS_SHOW_FLAVOR=yes")} == set(
        asked("build-depends-list")
    )
    have = set(run("pkg query -a %o").lines())
    missing = asked("missing")
    assert {f"/usr/ports/{line}" for line in missing} <= set(all_of_it) and not have & set(missing)


@pytest.fixture
def probe(run, tree, scratch):
    """probe(lines): a port of one's own with these lines, outside of the tree; make(1)'s answer to words comes back."""
    where = f"{scratch}/mail/sokuhai-probe"

    def port(words, *lines):
        text = [
            "PORTNAME=sokuhai-probe",
            "DISTVERSION=1",
            "CATEGORIES=mail",
            "MAINTAINER=ports@FreeBSD.org",
            "COMMENT=contract",
            *lines,
            ".include <bsd.port.mk>",
        ]
        run(f"mkdir -p {where}; printf '%s\n' {' '.join(repr(line) for line in text)} > {where}/Makefile")
        return run(
            f"env -u FLAVOR make -C {where} PORTSDIR=/usr/ports BATCH=yes PACKAGES={scratch}/packages __MAKE_CONF=/dev/null {words}"
        )

    return port


def test_a_dependency_that_is_not_there_is_named_by_its_package_and_not_built(run, probe, scratch):
    full = run("env -u FLAVOR make -C /usr/ports/dns/bind-tools __MAKE_CONF=/dev/null -V PKGNAME").out.strip()
    before = run("pkg query -a '%n-%v'").out
    answer = probe("depends USE_PACKAGE_DEPENDS_ONLY=yes", "BUILD_DEPENDS=sokuhai-no-such-package>0:dns/bind-tools")
    assert answer.rc != 0
    assert "depends on package: sokuhai-no-such-package>0 - not found" in answer.out
    assert re.search(
        rf"depends on package: {scratch}/packages/All/{re.escape(full)}\.[a-z]+ - not found$", answer.err, re.MULTILINE
    ), answer
    assert run("pkg query -a '%n-%v'").out == before


def test_a_dependency_is_there_when_its_pattern_is(run, probe, needs):
    needs("pkg")
    patterns = ["pkg>0:ports-mgmt/pkg", "/bin/sh:dns/bind-tools", "sh:dns/bind-tools"]
    answer = probe("depends USE_PACKAGE_DEPENDS_ONLY=yes", f"BUILD_DEPENDS={' '.join(patterns)}")
    assert answer.rc == 0 and answer.out.count(" - found") >= 3, answer


def test_a_ports_compiler_sees_this_hosts_select_h(run, tree, scratch, needs):
    """sizeof(fd_set) out of an object that the port's compiler and flags made; 1024 is stock, anything else an edited header's or make.conf's."""
    needs("cc")
    got = ask(run, PORT, ["CC", "CFLAGS"], "env -u FLAVOR")
    run(
        "printf '%%s\\n' '#include <sys/types.h>' '#include <sys/select.h>' 'unsigned char fd_set_bytes[sizeof(fd_set)] = { 1 };' > %s",
        f"{scratch}/p.c",
    )

    def size(more):
        answer = run(f"cd {scratch} && {got['CC']} {got['CFLAGS']} {more} -c p.c -o p.o")
        assert answer.rc == 0, answer
        # the array's bytes are in .data, and that is all there is in it
        return int(run(f"wc -c < {scratch}/p.o").out)

    assert size("-UFD_SETSIZE -DFD_SETSIZE=16384") - size("-UFD_SETSIZE -DFD_SETSIZE=8192") == 1024
    header = re.search(r"^#define\tFD_SETSIZE\t(\d+)U?$", run("cat /usr/include/sys/select.h").out, re.MULTILINE)
    assert header
    assert size("-UFD_SETSIZE") == size(f"-UFD_SETSIZE -DFD_SETSIZE={header.group(1)}")
