"""BIND and Postfix from ports on the practice host: what is built, what is not, and what is left when it does not come to an end.

The ports are compiled for FreeBSD against the host's own sys/select.h; the daemons that run are the lab's.
"""

import functools
import json
import re

import pytest
from practice import HERE, HOST, applied_book, changed_lines, full_only, play_book, some

play = functools.partial(play_book, "ports_only.yml")
applied = functools.partial(applied_book, "ports_only.yml")
# the practice host is small and its ports are smaller
SMALL = {"ports_min_disk_mb": 50, "ports_min_memory_mb": 100, "ports_poll": 1}
INCLUDE, SOURCE = "/usr/include/sys/select.h", "/usr/src/sys/sys/select.h"
NAMES = {"dns/bind920": "bind920", "mail/postfix": "postfix"}
TREE = "/usr/ports/mail/postfix"


def built(lab, *options, **variables):
    return applied(lab, *options, **{**SMALL, **variables})


def tried(lab, *options, **variables):
    return play(lab, *options, **{**SMALL, **variables})


def said(result):
    """The whole output of a play on one line: the callback folds long texts."""
    return " ".join(result.stdout.split())


def message(result):
    """What a play says of its failure, on one line; in a loop over ports it begins with failed:, else with fatal:."""
    return " ".join(" ".join(result.stdout.partition(word)[2] for word in ("fatal: [", "failed: [")).split())


def record(lab, name):
    """{tag: value} of a package's annotations."""
    return dict(line.split("=", 1) for line in lab.sh("pkg", "query", "%At=%Av", name).stdout.split() if "=" in line)


def options(lab, name):
    return dict(line.split("=", 1) for line in lab.sh("pkg", "query", "%Ok=%Ov", name).stdout.split())


def package(lab, name):
    """version|repository|locked of a package, empty where there is none."""
    return lab.sh("pkg", "query", "%v|%R|%k", name, check=False).stdout.strip()


def define(lab, path):
    return [
        line.split()[-1] for line in lab.sh("cat", path).stdout.splitlines() if line.startswith("#define\tFD_SETSIZE")
    ]


def greeting(lab):
    code = "import socket; s = socket.create_connection(('192.0.2.10', 25), 20); s.settimeout(20); print(s.recv(200).decode())"
    return lab.sh("python3", "-c", code, host="operator").stdout


def resolves(lab):
    return lab.sh("dig", "+short", "@127.0.0.1", "d0001.test", "MX").stdout.strip()


def unproved(lab):
    """Names of the tests of the running host about the rebuild that fail, by playbooks/verify.yml."""
    result = lab.play(
        "verify.yml",
        variables={
            "rebuild_enabled": True,
            "rebuild_parts": ["bind", "postfix"],
            "verify_options": ["-k", "test_rebuild"],
        },
    )
    assert " passed" in result.stdout, result.stdout[-3000:]
    return set(re.findall(r"FAILED \S*::(\w+(?:\[\S*?\])?)", said(result)))


def state(lab):
    """What must not change when a build fails: packages with their records, make.conf's other lines, running daemons."""
    return [(package(lab, name), record(lab, name), options(lab, name)) for name in NAMES.values()], lab.processes()


def write(lab, path, text):
    lab.sh("sh", "-c", f"cat > {path}", stdin=text)


@pytest.fixture(scope="module", autouse=True)
def found(lab):
    """The host as site.yml left it before, and again afterwards: the repository's packages, FreeBSD's headers."""
    if lab.sh("test", "-d", "/usr/ports/dns/bind920", check=False).returncode:
        pytest.skip("this generation's ports tree has no dns/bind920")
    lab.sh(
        "sh",
        "-c",
        "test -f /etc/make.conf || : > /etc/make.conf; printf '# mine\\nWITH_DEBUG_PORTS=\\tnone/none\\n' >> /etc/make.conf",
    )
    lab.sh("cp", "-p", f"{TREE}/Makefile", "/root/Makefile.postfix")
    before = (
        lab.fingerprint(),
        [package(lab, name).rsplit("|", 1)[0] for name in NAMES.values()],
        lab.sh("cat", INCLUDE, SOURCE).stdout,
    )
    yield
    lab.sh(
        "rm",
        "-rf",
        f"{TREE}/Makefile.local",
        "/usr/ports/devel/pcre2/Makefile.local",
        "/usr/ports/devel/nothing",
        "/var/db/pkg/vuln.xml",
    )
    lab.sh("mv", "/root/Makefile.postfix", f"{TREE}/Makefile")
    applied_book("ports_undo.yml", lab, **SMALL)
    assert not changed_lines(applied_book("ports_undo.yml", lab, **SMALL))
    after = (
        lab.fingerprint(),
        [package(lab, name).rsplit("|", 1)[0] for name in NAMES.values()],
        lab.sh("cat", INCLUDE, SOURCE).stdout,
    )
    lab.sh(
        "sh",
        "-c",
        "sed -i.bak -e '/^# mine$/d' -e '/^WITH_DEBUG_PORTS/d' /etc/make.conf; rm -f /etc/make.conf.bak; test -s /etc/make.conf || rm /etc/make.conf",
    )
    assert after == before
    assert greeting(lab).startswith("220 ") and resolves(lab)


def test_a_check_run_on_the_bare_host_predicts_and_changes_nothing(lab):
    before = lab.fingerprint(), state(lab)
    result = built(lab, "--check", "--diff")
    assert "port dns/bind920: repository: found bind920-" in said(result)
    assert "+#define FD_SETSIZE 16384" in said(result)
    assert ".if ${.CURDIR:M*/mail/postfix}" in said(result)
    assert (lab.fingerprint(), state(lab)) == before
    assert define(lab, INCLUDE) == ["1024"]


def test_builds_swaps_locks_records_and_the_second_run_does_nothing(lab):
    # a lock of the operator's own is no obstacle to what he declares
    lab.sh("pkg", "lock", "-yq", "postfix")
    before = lab.processes()
    result = built(lab)
    assert "mail/postfix: building, log /var/log/sokuhai-ports-mail_postfix.log" in said(result)
    for name in NAMES.values():
        version, repository, locked = package(lab, name).split("|")
        assert (repository, locked) == ("unknown-repository", "1")
        notes = record(lab, name)
        assert (notes["sokuhai_fd_setsize"], notes["sokuhai_header"], notes["sokuhai_flag"]) == (
            "16384",
            "16384",
            "16384",
        )
        assert lab.sh("ls", f"/var/db/sokuhai/saved/{name}-{version}.pkg").stdout
    assert define(lab, INCLUDE) == define(lab, SOURCE) == ["16384"]
    assert {"LMDB": "on", "PCRE2": "on", "INST_BASE": "off"}.items() <= options(lab, "postfix").items()
    after = lab.processes()
    for command in ("named", "master"):
        assert command in after.values()
        assert {pid for pid, name in after.items() if name == command}.isdisjoint(before), (
            f"{command} still runs from the former package"
        )
    assert greeting(lab).startswith("220 ") and resolves(lab)
    assert "/dns/bind920" not in lab.sh("make", "-C", "/usr/ports/dns/bind-tools", "-V", "CFLAGS").stdout
    assert "FD_SETSIZE" not in lab.sh("make", "-C", "/usr/ports/dns/bind-tools", "-V", "CFLAGS").stdout
    assert "# mine\n" in lab.sh("cat", "/etc/make.conf").stdout
    assert not lab.sh("ls", "-A", "/usr/obj/ports").stdout.replace("usr", "").strip()
    assert unproved(lab) == set()
    second = built(lab)
    assert not changed_lines(second)
    assert lab.processes() == after
    assert 0 < second.summary["remote_commands"] <= 5, second.summary


def test_one_changed_option_builds_one_port(lab):
    before = {name: record(lab, name) for name in NAMES.values()}
    result = built(lab, ports_list=[{"origin": "mail/postfix", "options_unset": ["BLOCKLISTD"]}])
    assert "port mail/postfix: options: found BLOCKLISTD=on, declared BLOCKLISTD=off" in said(result)
    assert options(lab, "postfix")["BLOCKLISTD"] == "off"
    assert record(lab, "bind920") == before["bind920"]
    assert record(lab, "postfix")["sokuhai_options"] != before["postfix"]["sokuhai_options"]
    assert len(changed_lines(result)) == 1
    # a build that fails in the middle, on the way back
    write(
        lab,
        f"{TREE}/Makefile.local",
        "post-build:\n\t@for i in 1 2 3; do echo line $$i; done; echo no such thing; exit 1\n",
    )
    was = state(lab)
    failed = tried(lab, fd_setsize_restore_after_build=True)
    assert failed.returncode != 0
    assert (define(lab, INCLUDE), define(lab, SOURCE)) == (["1024"], ["16384"]), (
        "the header was left raised when the build failed"
    )
    for words in (
        "mail/postfix: make package",
        "phase build",
        "/var/log/sokuhai-ports-mail_postfix.log",
        "no such thing",
    ):
        assert words in message(failed), message(failed)
    assert "Traceback" not in failed.stdout
    assert state(lab) == was
    assert greeting(lab).startswith("220 ")
    assert not lab.sh("find", "/usr/obj/ports", "-name", "work*").stdout
    lab.sh("rm", f"{TREE}/Makefile.local")


def test_a_run_killed_while_it_builds_is_taken_up_by_the_next(lab):
    changed = {"ports_list": [{"origin": "mail/postfix", "options_set": ["EAI"], "options_unset": ["CDB"]}]}
    write(lab, f"{TREE}/Makefile.local", "pre-build:\n\t@echo waiting; sleep 6\n")
    book, under_way = HERE / "ports_only.yml", ["mail/postfix: building"]
    lab.play_killed(under_way, book=book, variables={**SMALL, **changed}, pause=0)
    result = built(lab, **changed)
    assert "mail/postfix: building" not in said(result), "the next run began a build of its own"
    # what the failed build was to bring is there as well
    assert {"CDB": "off", "BLOCKLISTD": "on"}.items() <= options(lab, "postfix").items()
    log = lab.sh("cat", "/var/log/sokuhai-ports-mail_postfix.log").stdout
    assert log.count("=> sokuhai: build\n") == 1, log
    lab.sh("rm", f"{TREE}/Makefile.local")


@full_only("in make test-full")
def test_a_host_that_died_during_the_installation_is_mended_without_a_second_build(lab):
    """The package was ready, the old one gone, the new one not yet there."""
    changed = {"ports_list": [{"origin": "mail/postfix", "options_set": ["EAI"], "options_unset": ["CDB"]}]}
    job = "/var/db/sokuhai/ports/mail_postfix/job.json"
    lab.sh(
        "sh",
        "-c",
        f'sed -i.bak \'s/"phase": "[a-z]*"/"phase": "swap"/\' {job} && rm {job}.bak && pkg unlock -yq postfix && pkg delete -fy postfix',
    )
    before = record(lab, "bind920")
    result = built(lab, **changed)
    assert "port mail/postfix: interrupted" in said(result)
    log = lab.sh("cat", "/var/log/sokuhai-ports-mail_postfix.log").stdout
    assert "=> sokuhai: build\n" not in log.rpartition("=> sokuhai: from phase ")[2]
    assert options(lab, "postfix")["CDB"] == "off" and package(lab, "postfix").endswith("|1")
    assert record(lab, "bind920") == before
    assert greeting(lab).startswith("220 ")
    assert not changed_lines(built(lab, **changed))


def test_everything_that_can_drift_is_named_by_a_check_run_and_mended_by_the_next(lab):
    # the named of this port is a script: what came by hand is known by when it was written, what pkg brought by when that was
    built(lab)
    version = package(lab, "postfix").split("|")[0]
    lab.sh(
        "sh",
        "-c",
        f"""
        sed -i.bak '/^# BEGIN sokuhai ports dns.bind920/,/^# END sokuhai ports dns.bind920/d' /etc/make.conf && rm /etc/make.conf.bak
        sed -i.bak 's/^\\(#define.FD_SETSIZE.\\)16384/\\11024/' {INCLUDE} && rm {INCLUDE}.bak
        pkg unlock -yq bind920; pkg delete -fy pcre2
        mkdir /usr/ports/devel/nothing && sed s/pcre2/nothing/ /usr/ports/devel/pcre2/Makefile > /usr/ports/devel/nothing/Makefile
        echo 'BUILD_DEPENDS+= nothing>0:devel/nothing' > /usr/ports/devel/pcre2/Makefile.local
        sed -i.bak 's/^PORTREVISION?=.*/PORTREVISION?=\\t7/' {TREE}/Makefile && rm {TREE}/Makefile.bak
        sleep 3; cp /usr/local/sbin/named /usr/local/sbin/named.new && mv /usr/local/sbin/named.new /usr/local/sbin/named""",
    )
    write(
        lab,
        "/var/db/pkg/vuln.xml",
        '<vuxml xmlns="http://www.vuxml.org/apps/vuxml-1"><vuln vid="x-1"><topic>t</topic><affects><package><name>postfix</name>'
        "<range><lt>99,9</lt></range></package></affects></vuln></vuxml>",
    )
    before, was = lab.fingerprint(), state(lab)
    check = said(built(lab, "--check"))
    for words in (
        "port dns/bind920: make_conf: found missing",
        "port dns/bind920: unlocked: found unlocked, declared locked",
        "port dns/bind920: process: found pid ",
        "port mail/postfix: libraries: found missing, declared pcre2",
        f"port mail/postfix: behind: found {version}, declared ",
        "port mail/postfix: vulnerable: found vulnerable, and locked",
    ):
        assert words in check, check
    assert (lab.fingerprint(), state(lab)) == (before, was)
    assert {
        "test_make_conf_gives_the_port_its_flags[dns/bind920]",
        "test_the_headers_say_the_declared_number",
        "test_the_compiler_takes_the_number_from_the_header_alone",
    } <= unproved(lab)
    lab.sh("rm", "/var/db/pkg/vuln.xml")
    healed = built(lab)
    # a later test does build pcre2
    lab.sh("rm", "-r", "/usr/ports/devel/nothing", "/usr/ports/devel/pcre2/Makefile.local")
    assert f"{INCLUDE} says 1024 again" in said(healed) and "freebsd-update" in said(healed)
    assert define(lab, INCLUDE) == ["16384"]
    # what pcre2 would need to be built is in no repository, and nobody asks for it
    assert package(lab, "bind920").endswith("|1") and package(lab, "pcre2") and not package(lab, "nothing")
    assert record(lab, "bind920") == was[0][0][1], "bind920 was built for nothing"
    assert package(lab, "postfix").split("|")[0] != version, (
        "what was linked with a library that is gone is built again"
    )


@full_only("in make test-full; both together above")
def test_each_proof_fails_for_itself(lab):
    cases = {
        "sed -i.bak '/^# BEGIN sokuhai ports mail.postfix/,/^# END sokuhai ports mail.postfix/d' /etc/make.conf && rm /etc/make.conf.bak": {
            "test_make_conf_gives_the_port_its_flags[mail/postfix]"
        },
        f"sed -i.bak 's/^\\(#define.FD_SETSIZE.\\)16384/\\11024/' {INCLUDE} && rm {INCLUDE}.bak": {
            "test_the_headers_say_the_declared_number",
            "test_the_compiler_takes_the_number_from_the_header_alone",
        },
        "pkg annotate -qyM postfix sokuhai_fd_setsize 1024": {
            "test_the_package_is_the_ports_own_locked_and_its_probe_recorded[mail/postfix]"
        },
    }
    built(lab)
    for command, expected in cases.items():
        lab.sh("sh", "-c", command)
        assert unproved(lab) == expected
        built(lab)
    assert unproved(lab) == set()


@full_only("in make test-full")
def test_a_newer_tree_is_built_on_request_and_an_older_one_is_not_gone_back_to(lab):
    built(lab)
    version = package(lab, "postfix").split("|")[0]
    lab.sh(
        "sh", "-c", f"sed -i.bak 's/^PORTREVISION?=.*/PORTREVISION?=\\t8/' {TREE}/Makefile && rm {TREE}/Makefile.bak"
    )
    behind = built(lab)
    assert "port mail/postfix: behind" in said(behind) and not changed_lines(behind)
    assert package(lab, "postfix").split("|")[0] == version
    built(lab, ports_update=True)
    assert "_8," in package(lab, "postfix")
    lab.sh("cp", "-p", "/root/Makefile.postfix", f"{TREE}/Makefile")
    older = tried(lab, ports_list=[{"origin": "mail/postfix", "options_unset": ["CDB"]}])
    assert older.returncode != 0 and f"postfix-{package(lab, 'postfix').split('|')[0]} is installed" in message(older)
    lab.sh("sh", "-c", "pkg unlock -yq postfix && pkg install -fy postfix")
    assert "port mail/postfix: repository" in said(built(lab))
    assert not changed_lines(built(lab))


@full_only("in make test-full; the unit tests have both ways of it")
def test_contained_the_installed_header_is_raised_only_while_something_is_built(lab):
    contained = {"fd_setsize_restore_after_build": True}
    built(lab, **contained)
    assert define(lab, INCLUDE) == ["1024"] and define(lab, SOURCE) == ["16384"]
    notes = record(lab, "postfix")
    assert not changed_lines(built(lab, **contained))
    built(lab, **contained, ports_list=[{"origin": "mail/postfix", "options_unset": ["EAI"]}])
    assert record(lab, "postfix")["sokuhai_header"] == "16384" and record(lab, "postfix") != notes
    assert define(lab, INCLUDE) == ["1024"]
    built(lab)
    assert define(lab, INCLUDE) == ["16384"]


@full_only("in make test-full; the unit tests have the rule")
def test_another_package_built_meanwhile_is_named(lab):
    built(lab)
    lab.sh(
        "sh",
        "-c",
        "mkdir -p /tmp/all/All && make -C /usr/ports/devel/pcre2 BATCH=yes WRKDIRPREFIX=/tmp/all PACKAGES=/tmp/all package && "
        "pkg install -fyU /tmp/all/All/pcre2-*.pkg",
    )
    try:
        assert "16384: pcre2-" in said(built(lab))
    finally:
        lab.sh("sh", "-c", "pkg install -fy pcre2; rm -rf /tmp/all")
    assert "16384: pcre2-" not in said(built(lab))


REFUSED = {
    "an option with a typing error": (
        {"ports_list": [{"origin": "mail/postfix", "options_set": ["PCRE3"]}]},
        ["options_set of mail/postfix", "PCRE3", "did you mean PCRE2?"],
    ),
    "a flavor that there is not": (
        {"ports_list": [{"origin": "mail/postfix", "flavor": "sas"}]},
        ["flavor of mail/postfix", "did you mean sasl?"],
    ),
    "a port that there is not": ({"ports_list": [{"origin": "mail/postfixx"}]}, ["/usr/ports/mail/postfixx/Makefile"]),
    "two of which one may be on": (
        {"ports_list": [{"origin": "mail/postfix", "options_set": ["SASLKMIT", "SASLKRB5"]}]},
        ["options_set, options_unset of mail/postfix", "RG1"],
    ),
    "no room": (
        {"ports_min_disk_mb": 100000000, "ports_list": [{"origin": "mail/postfix", "options_unset": ["CDB"]}]},
        ["ports_min_disk_mb", "100000000 are needed"],
    ),
    "no memory": (
        {"ports_min_memory_mb": 100000000, "ports_list": [{"origin": "mail/postfix", "options_unset": ["CDB"]}]},
        ["ports_min_memory_mb", "add swap"],
    ),
    "no tree": (
        {"ports_tree": "/usr/nothing"},
        ["/usr/nothing", "git-lite", "git clone --depth 1 -b 2026Q4"],
    ),
    "a tree of another branch": (
        {"ports_branch": "main", "ports_list": [{"origin": "mail/postfix", "options_unset": ["CDB"]}]},
        ["of branch 2026Q4", "ports_branch"],
    ),
}


@pytest.mark.parametrize(
    "case", some(REFUSED, "an option with a typing error".__eq__, "a play each; one of them suffices for make test")
)
def test_what_cannot_be_is_refused_before_anything_changes(lab, case):
    variables, words = REFUSED[case]
    before = lab.fingerprint(), state(lab)
    result = tried(lab, **variables)
    assert result.returncode != 0, said(result)
    for word in words:
        assert word in message(result), message(result)
    assert (lab.fingerprint(), state(lab)) == before


@full_only("in make test-full")
def test_a_full_disk_leaves_the_host_as_it_was(lab):
    changed = {"ports_min_disk_mb": 0, "ports_list": [{"origin": "mail/postfix", "options_unset": ["CDB"]}]}
    built(lab)
    was = state(lab)
    for folder in ("/usr/obj/ports", "/var/db/sokuhai/packages"):
        lab.sh("mount", "-t", "tmpfs", "-o", "size=16k,mode=755", "tmpfs", folder)
        try:
            result = tried(lab, **changed)
            assert result.returncode != 0
            assert "MODULE FAILURE" not in result.stdout and "mail/postfix: " in message(result), message(result)
            assert state(lab) == was
        finally:
            lab.sh("umount", folder)
    # make.conf holds what is declared, built or not
    assert not [line for line in changed_lines(built(lab)) if "mail/postfix" not in line]
    assert state(lab) == was


@full_only("in make test-full")
def test_a_daemon_that_does_not_come_back_makes_the_former_package_return(lab):
    changed = {"ports_answer_timeout": 5, "ports_list": [{"origin": "mail/postfix", "options_unset": ["CDB"]}]}
    built(lab)
    was = record(lab, "postfix")
    write(
        lab,
        f"{TREE}/Makefile.local",
        "post-stage:\n\t@printf '#!/bin/sh\\nexit 1\\n' > ${STAGEDIR}/usr/local/libexec/postfix/master\n",
    )
    result = tried(lab, **changed)
    lab.sh("rm", f"{TREE}/Makefile.local")
    assert result.returncode != 0
    job = json.loads(lab.sh("cat", "/var/db/sokuhai/ports/mail_postfix/job.json").stdout)
    assert (job["phase"], job["failed_in"]) == ("failed", "restart"), message(result)
    assert record(lab, "postfix") == {**was, **{k: v for k, v in record(lab, "postfix").items() if k not in was}}
    assert greeting(lab).startswith("220 ")
    assert HOST in result.summary["hosts"]
    built(lab)
