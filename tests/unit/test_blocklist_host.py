# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role blocklist on a host of shell scripts: who is let by, what is refused, what is written and what is found, and the way back."""

import contextlib
import json
import os
import time
import types

import pytest
from fake_host import FakeHost
from role_modules import load, util

host, process = util("sokuhai.host"), util("sokuhai.process")
operator, daemons, pf, sshds = (util("blocklist_" + name) for name in ("operator", "daemon", "pf", "sshd"))
module = load("roles/blocklist/library/blocklist_host.py")
ready = load("roles/blocklist/library/blocklist_ready.py")
undoing = load("roles/blocklist/library/blocklist_undo.py")
Refused = host.Refused
ME = os.getpid()
ANCHORED = 'anchor "sokuhai" all'


class Host(FakeHost):
    """rc is its rc.conf, daemon its blocklistd."""

    def pf(self, on=True, rules=ANCHORED, anchor=ANCHORED):
        """pfctl(8) with these rules, and these in our anchor; of a file it says that ours are to be in it."""
        self.program(
            "pfctl",
            f"case \"$*\" in -s\\ Running) {str(on).lower()} ;; -s\\ rules) echo '{rules}' ;; *-s\\ rules) echo '{anchor}' ;; *nvf*) echo '{ANCHORED}' ;; esac",
        )


@pytest.fixture
def made(tmp_path, monkeypatch):
    made = Host(tmp_path, monkeypatch)
    made.rc = {"pf_rules": str(tmp_path / "pf.conf")}
    for name in ("pfctl", "service", "kldstat", "sockstat", "helper", "counter"):
        made.program(name)
    made.program("helper", ": /etc/rc.d/pf status")

    folder = {
        name: str(tmp_path / name) for name in ("db", "anchor", "run", "sshd_config", "cron", "settings", "counter")
    }
    for part, name, value in (
        (util("sokuhai.rc"), "read", lambda names, file=None: {n: v for n, v in made.rc.items() if n in names}),
        (util("sokuhai.rc"), "apply", lambda changes: made.rc.update({n: new for n, (_now, new) in changes.items()})),
        (operator, "STATE_FOLDER", folder["db"]),
        (operator, "RECORD", folder["db"] + "/record"),
        (pf, "ANCHOR_FILE", folder["anchor"]),
        (module.blocklist_change, "RUN", folder["run"]),
        (sshds, "CONFIG", folder["sshd_config"]),
        (module, "CRON", folder["cron"]),
        (module, "SETTINGS", folder["settings"]),
        (module, "COUNTER", folder["counter"]),
        (daemons, "installed", lambda: made.daemon),
    ):
        monkeypatch.setattr(part, name, value)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    made.daemon = daemons.Daemon("blocklistd")
    made.daemon.helper, made.daemon.config = str(made.bin / "helper"), str(tmp_path / "blocklistd.conf")
    made.daemon.process = lambda: None
    return made


# -- where this call comes from -----------------------------------------------------------------------------------------


def ran(command, since):
    return process.Process(ME, 1, 0, "blocklistd", command, (since, since))


def one(pid, parent, name, since=0):
    return process.Process(pid, parent, 0, name, name, (since, since + 1))


def test_the_connection_is_found_without_the_environment(made, monkeypatch):
    """doas and su hand no SSH_CONNECTION on: the socket of the sshd above us tells, and the lowest descriptor is the connection."""
    above = [one(900, 800, "python3.11", 50), one(800, 700, "doas", 50)]
    above += [one(700, 600, "sshd-session", 9), one(600, 50, "sshd-session", 8), one(50, 1, "sshd", 1)]
    monkeypatch.setattr(operator, "ancestors", lambda: above)
    rows = [
        "USER COMMAND PID FD PROTO LOCAL ADDRESS FOREIGN ADDRESS",
        "root sshd-sess 700 9 tcp4 127.0.0.1:41000 127.0.0.1:8080",
        "root sshd-sess 700 5 tcp4 203.0.113.5:22 198.51.100.9:50123",
        "root sshd 50 4 tcp4 203.0.113.5:22 198.51.100.77:1",
        "root sshd-sess 600 5 tcp4 203.0.113.5:22 198.51.100.9:50123",
    ]
    made.program("sockstat", "".join(f"echo '{row}'\n" for row in rows))
    assert operator.connection() == ("198.51.100.9", "50123", 9)
    monkeypatch.setenv("SSH_CONNECTION", "2001:db8::7%em0 4711 2001:db8::1 22")
    assert operator.connection() == ("2001:db8::7", "4711", 9)


def test_the_way_up_begins_here_and_ends():
    found = [entry.pid for entry in operator.ancestors()]
    assert found[:2] == [ME, os.getppid()] and len(found) == len(set(found))


def test_without_ssh_somebody_has_to_be_named(made, monkeypatch):
    monkeypatch.setattr(operator, "ancestors", lambda: [one(900, 1, "python3.11")])
    assert operator.operator(["192.0.2.1"]) is None
    with pytest.raises(Refused, match="^blocklist_allow"):
        operator.operator([])


def play(address, check=False):
    """The operators that a play from *address* finds, and writes down."""
    where = operator.Connection(address, "1", 0)
    found = operator.operators(where, ["192.0.2.1/32"], check)
    if not check:
        operator.remember(operator.record() or {"daemon": "blocklistd"}, operators=found)
        # what a run writes first and last is the same
        assert found == operator.operators(where, ["192.0.2.1/32"], check)
    return found


def test_a_check_of_a_bare_host_predicts_its_operator_and_writes_nothing(made):
    assert play("198.51.100.1", check=True) == ["198.51.100.1"] and not (made.path / "db").exists()


def test_the_address_of_a_play_is_kept_and_another_is_no_drift(made):
    first, second = "198.51.100.1", "198.51.100.2"
    for address, check, operators in (
        (first, False, [first]),
        (second, True, [first]),
        # named already
        ("192.0.2.1", False, [first]),
        ("127.0.0.1", False, [first]),
        (second, False, [first, second]),
        (first, False, [first, second]),
        # not for ever
        ("2001:db8::3", False, [first, second, "2001:db8::3"]),
        ("2001:db8::4", False, [second, "2001:db8::3", "2001:db8::4"]),
    ):
        assert play(address, check) == operators
    assert operator.operators(None, [], False) == operators
    assert operator.record()["daemon"] == "blocklistd"


# -- what is refused ----------------------------------------------------------------------------------------------------

STOCK = "# Blocklist rule\n[local]\nssh\t\tstream\t*\t*\t\t*\t3\t24h\n*\t\t*\t*\t*\t\t*\t3\t60\n[remote]\n#x\n"
FOREIGN = STOCK + "bnx0:ssh * * * * 3 6h\n"


def get_ready(**options):
    given = {"allow": ["192.0.2.1/32"], "replace": False, "own_anchor": False, "confirm_seconds": 90, **options}
    return ready.ready(given, options.get("check_mode", False))


@pytest.fixture
def remote(made, monkeypatch):
    monkeypatch.setattr(operator, "connection", lambda: operator.Connection("198.51.100.9", "50123", 0))


@pytest.mark.parametrize(
    "config, replace", [(STOCK, False), (FOREIGN, True), ("# " + daemons.MARK + "\n" + FOREIGN, False)]
)
def test_a_configuration_that_is_stock_or_ours_is_replaced(made, remote, config, replace):
    made.file("blocklistd.conf", config)
    assert get_ready(replace=replace)["operators"] == ["198.51.100.9"]


def test_a_foreign_configuration_is_refused(made, remote):
    made.file("blocklistd.conf", FOREIGN)
    with pytest.raises(Refused, match="^blocklist_replace_config: .*blocklistd.conf"):
        get_ready()


def test_an_anchor_of_ones_own_may_stay(made, remote):
    """That it is refused otherwise: tests/system/test_blocklist.py."""
    line = 'anchor "blocklistd/*" in on $ext_if'
    made.file("pf.conf", "pass all\n%s\n" % line)
    assert get_ready(own_anchor=True)["own_anchor"] == line


def test_the_other_ways_to_have_the_daemon_are_refused(made, monkeypatch, remote):
    made.rc["blacklistd_enable"] = "yes"
    with pytest.raises(Refused, match="sysrc -x blacklistd_enable"):
        get_ready()
    monkeypatch.setattr(daemons, "installed", lambda: None)
    with pytest.raises(Refused, match="WITHOUT_BLOCKLIST"):
        get_ready()


def test_freebsd_14s_helper_looks_for_a_file_in_etc(made, monkeypatch, remote):
    """Without it the helper says "Unsupported packet filter", once the daemon runs."""
    made.program("helper", 'for f in npf pf ipf; do [ -f "/etc/$f.conf" ]; done')
    monkeypatch.setattr(daemons, "PF_CONF", str(made.bin / "etc-pf.conf"))
    with pytest.raises(Refused, match=r"ln -s \S+/pf.conf \S+/etc-pf.conf"):
        get_ready()
    (made.bin / "etc-pf.conf").write_text("")
    get_ready()
    (made.bin / "etc-pf.conf").unlink()
    monkeypatch.setattr(daemons, "PF_CONF", made.rc["pf_rules"])
    get_ready()


def test_a_bare_host_is_made_ready_but_not_by_a_check(made, remote):
    made.program("kldstat", "exit 1")
    made.program("kldload")
    get_ready(check_mode=True)
    assert not any(line.startswith("kldload") for line in made.log())
    get_ready()
    assert "kldload -n pf" in made.log()
    made.program("kldload", 'echo "Operation not permitted" >&2; exit 1')
    with pytest.raises(Refused, match="Operation not permitted.*jail"):
        get_ready()


@pytest.mark.parametrize(
    "linked, reports",
    [
        ("libblocklist.so.0 => /usr/lib/libblocklist.so.0 (0x2a)", True),
        ("libblacklist.so.0 => /usr/lib/libblacklist.so.0 (0x2a)", True),
        ("libpostfix-master.so => /usr/local/lib/postfix/libpostfix-master.so", False),
    ],
)
def test_a_postfix_that_reports_nothing_is_told_from_one_that_does(made, monkeypatch, linked, reports):
    monkeypatch.setattr(daemons, "POSTCONF", made.program("postconf", "echo /usr/local/libexec/postfix"))
    made.program("ldd", f'[ "$1" = /usr/local/libexec/postfix/smtpd ] && echo "{linked}"')
    assert daemons.postfix_reports() is reports


@pytest.mark.parametrize("postconf", ["/bin/true", "/nonexistent"])
def test_of_a_postfix_that_cannot_be_looked_at_nothing_is_known(made, monkeypatch, postconf):
    made.program("ldd", "exit 1")
    monkeypatch.setattr(daemons, "POSTCONF", postconf)
    assert daemons.postfix_reports() is None


CONFIG = "# x\n[local]\n25\tstream\ttcp\t*\t*\t10\t12h\n[remote]\n192.0.2.1/32\t*\t*\t*\t*\t*\t*\n"


LISTS = 'while getopts dc:D:s:C: o; do [ $o = c ] && c=$OPTARG; done; echo "# nfail"; grep -v "^#" $c; exec sleep 600'


@pytest.mark.parametrize(
    "does, refused",
    [
        (LISTS, None),
        (LISTS.replace("grep -v", "grep -v -e /32 -e"), "^blocklist_services: .* 1 of 2 lines"),
        ("echo conf_parseline: bad; " + LISTS, "conf_parseline: bad"),
        ("echo cannot bind; exit 1", "cannot bind"),
    ],
)
def test_the_daemon_itself_reads_a_configuration_before_it_is_put_in_place(made, does, refused):
    """As blocklistd -d does it: it lists what it understood and goes on running; for a line that it does not understand it has a complaint."""
    made.daemon.program = made.program("blocklistd", does)
    with pytest.raises(Refused, match=refused) if refused else contextlib.nullcontext():
        made.daemon.check(CONFIG)


# -- what is written and what is found ------------------------------------------------------------------------------------

GIVEN = {
    "state": "present",
    "config": "# %s\n" % daemons.MARK,
    "pf_conf": 'set skip on lo0\n# BEGIN sokuhai blocklist\nanchor "sokuhai"\n# END sokuhai blocklist\n',
    "anchor": "pass in\n",
    "own_anchor": "",
    "change": "exit 0\n",
    "cron": "* * * * *\troot\ttrue\n",
    "counter": "#!/bin/sh\n",
    "settings": "{}\n",
    "operators": ["198.51.100.9"],
    "port": 25,
    "states": 0,
    "sshd": True,
    "confirm_seconds": 90,
    "token": "",
}


def blocklist(check_mode=False, **options):
    return module.Blocklist(types.SimpleNamespace(params={**GIVEN, **options}, check_mode=check_mode))


@pytest.fixture
def finished(made, monkeypatch):
    """A host on which everything is as declared; pf is on and has our anchor."""
    made.pf()
    made.rc.update(pf_enable="YES", blocklistd_enable="YES", blocklistd_flags="-r")
    made.file("pf.conf", GIVEN["pf_conf"])
    made.file("anchor", GIVEN["anchor"])
    made.file("blocklistd.conf", GIVEN["config"])
    made.daemon.process = lambda: ran("blocklistd -r", time.time())
    for name in ("start", "check", "prove"):
        monkeypatch.setattr(made.daemon, name, lambda *given, name=name: made.file(name, ""))
    for name in ("cron", "settings", "counter"):
        made.file(name, GIVEN[name])
    (made.path / "counter").chmod(0o755)
    return made


def ids(result):
    return [entry["id"] for entry in result["findings"]]


def test_on_a_finished_host_nothing_is_found_and_the_counter_is_tried(finished):
    found = blocklist().present()
    assert not (found["changed"] or found["diff"] or found["findings"] or found["token"])
    assert operator.record()["operators"] == ["198.51.100.9"] and operator.record()["pf_enable"] == "YES"
    assert not (finished.path / "start").exists() and not (finished.path / "prove").exists()


def other(command, since):
    return lambda one: setattr(one.daemon, "process", lambda: command and ran(command, since))


@pytest.mark.parametrize(
    "tamper, wanted",
    [
        (lambda one: one.rc.update(blocklistd_enable="NO"), ["rc.conf: blocklistd_enable"]),
        (other(None, 0), ["service blocklistd"]),
        (other("blocklistd -r", 5), ["process blocklistd"]),
        (other("blocklistd", 2**40), ["process blocklistd"]),
        (lambda one: one.rc.update(pf_enable="NO"), ["rc.conf: pf_enable"]),
        (lambda one: one.pf(on=False), ["pf"]),
        (lambda one: one.pf(rules="pass all"), ["running pf: anchor"]),
        (lambda one: one.pf(anchor="pass all"), ["running pf: rules of anchor sokuhai"]),
    ],
)
def test_what_no_file_shows_is_a_finding(finished, monkeypatch, tamper, wanted):
    monkeypatch.setattr(pf.Pf, "refuse_unread", lambda *given: None)
    tamper(finished)
    found = blocklist(check_mode=True).present()
    assert ids(found) == wanted and found["changed"] == bool(wanted) and found["token"] == ""
    assert not (finished.path / "start").exists() and operator.record() is None


def test_a_daemon_older_than_a_file_that_was_changed_follows_from_that(finished):
    finished.daemon.process = lambda: ran("blocklistd -r", 5)
    (found,) = blocklist(check_mode=True).present()["findings"]
    assert str(finished.path / "blocklistd.conf") in found["because"]


def test_a_change_of_the_rules_waits_and_the_daemon_with_it(finished, monkeypatch):
    finished.file("pf.conf", "pass all\n")
    monkeypatch.setattr(module.blocklist_change, "arm", lambda *given: "0123")
    monkeypatch.setattr(pf.Pf, "refuse_unread", lambda *given: None)
    finished.daemon.process = lambda: None
    found = blocklist().present()
    assert found["token"] == "0123" and not (finished.path / "start").exists()
    assert [entry["after_header"] for entry in found["diff"]] == [str(finished.path / "pf.conf")]
    found = blocklist(state="running").running()
    assert ids(found) == ["service blocklistd"]
    assert (finished.path / "start").exists() and (finished.path / "prove").exists()


def test_an_anchor_alone_is_loaded_without_pf_conf(finished):
    assert blocklist(anchor="block in\n").present()["token"] == ""
    assert (finished.path / "anchor").read_text() == "block in\n"
    assert [line for line in finished.log() if line.startswith("pfctl -q")] == [
        f"pfctl -q -a sokuhai -f {finished.path}/anchor"
    ]


def test_a_count_that_is_turned_off_leaves_nothing(finished):
    found = blocklist(counter="").present()
    assert found["changed"] and not os.path.exists(module.COUNTER) and not os.path.exists(module.SETTINGS)
    assert "pfctl -q -a sokuhai -t sokuhai_rejects -T flush" in finished.log()
    assert not blocklist(counter="").present()["changed"]


def test_a_counter_that_fails_is_no_success(finished):
    with pytest.raises(Refused, match="^blocklist_rejects: .*no such log"):
        blocklist(counter="#!/bin/sh\necho no such log >&2; exit 1\n").present()


def test_somebody_elses_configuration_is_kept_beside_and_what_there_was_is_written_down_once(finished):
    finished.file("blocklistd.conf", FOREIGN)
    finished.rc.update(blocklistd_enable="NO", blocklistd_flags="-v")
    blocklist().present()
    assert (finished.path / "blocklistd.conf.previous").read_text() == FOREIGN
    blocklist(operators=["198.51.100.10"]).present()
    assert operator.record() == {
        "pf_enable": "YES",
        "pf_was_on": True,
        "pf_had_rules": True,
        "pf_conf": True,
        "daemon": "blocklistd",
        "daemon_enable": "NO",
        "daemon_flags": "-v",
        "operators": ["198.51.100.10"],
    }
    assert finished.rc["blocklistd_flags"] == "-v -r"


def test_an_address_is_listed_found_and_taken_out_again_as_a_proof(made):
    listed = made.path / "listed"
    made.program("helper", f'case "$1" in add) : > {listed} ;; rem) rm {listed} ;; esac')
    made.program("pfctl", f"[ -e {listed} ]")
    made.daemon.prove(25)
    made.program("helper", "exit 0")
    with pytest.raises(Refused, match="did not put"):
        made.daemon.prove(25)
    listed.write_text("")
    with pytest.raises(Refused, match="from pf"):
        made.daemon.prove(25)


# -- the way back -----------------------------------------------------------------------------------------------------------


def test_nothing_is_to_be_undone_on_a_host_without_the_daemon(made, monkeypatch):
    monkeypatch.setattr(daemons, "installed", lambda: None)
    assert undoing.undo(False) == {"changed": False, "diff": []}


def recorded(made, **more):
    (made.path / "db").mkdir(exist_ok=True)
    before = {"pf_enable": "NO", "pf_was_on": True, "pf_conf": True, "daemon": "blacklistd", "daemon_enable": "NO"}
    made.file("db/record", json.dumps({**before, "daemon_flags": "-v", **more}))


def test_the_undo_goes_by_the_record_where_the_daemon_is_gone(made, monkeypatch):
    monkeypatch.setattr(daemons, "installed", lambda: None)
    made.rc.update(pf_enable="YES", blacklistd_enable="YES", blacklistd_flags="-r")
    rules = made.path / "pf.conf"
    rules.write_text(pf.with_block("pass all\n", 0, pf.marked(GIVEN["pf_conf"])))
    rules.chmod(0o640)
    recorded(made)
    checked = undoing.undo(True)
    assert checked["changed"] and pf.place_of(rules.read_text()) is not None
    assert undoing.undo(False) == checked
    assert [made.rc[key] for key in ("pf_enable", "blacklistd_enable", "blacklistd_flags")] == ["NO", "NO", "-v"]
    assert rules.read_text() == "pass all\n" and rules.stat().st_mode & 0o7777 == 0o640
    assert not (made.path / "db").exists() and not undoing.undo(False)["changed"]


def upgraded(made, monkeypatch, **more):
    """A host that this role set up as FreeBSD 14 and that is FreeBSD 15 by now, which still has the daemon under its old name."""
    recorded(made, **more)
    made.rc.update(blacklistd_enable="YES", blacklistd_flags="-v -r")
    old = daemons.Daemon("blacklistd")
    old.config, old.process = made.file("blacklistd.conf", "# " + daemons.MARK), lambda: object()
    monkeypatch.setattr(daemons, "Daemon", lambda name: old)
    return old


def test_a_daemon_that_has_another_name_since_an_upgrade_is_left_for_the_one_of_today(made, monkeypatch, remote):
    old = upgraded(made, monkeypatch)
    assert get_ready(check_mode=True)["changed"] and made.rc["blacklistd_enable"] == "YES"
    found = get_ready()
    assert found["changed"] and found["daemon"] == "blocklistd" and "service blacklistd onestop" in made.log()
    assert (made.rc["blacklistd_enable"], made.rc["blacklistd_flags"]) == ("NO", "-v") and not os.path.exists(
        old.config
    )
    known = operator.record()
    assert (known["daemon"], known["daemon_enable"], known["daemon_flags"]) == ("blocklistd", "NO", "")
    assert known["pf_enable"] == "NO" and not get_ready()["changed"]


def test_one_that_ran_before_this_role_came_is_its_owners(made, monkeypatch, remote):
    old = upgraded(made, monkeypatch, daemon_enable="YES")
    made.file("blacklistd.conf.previous", "their own\n")
    with pytest.raises(Refused, match="sysrc -x blacklistd_enable"):
        get_ready()
    # moved by its owner, it is the daemon of today that the undo is to leave on
    made.rc["blocklistd_enable"] = made.rc.pop("blacklistd_enable")
    assert get_ready()["changed"] and "blacklistd_enable" not in made.rc and "onestop" not in "".join(made.log())
    known = operator.record()
    assert (known["daemon"], known["daemon_enable"]) == ("blocklistd", "YES") and not get_ready()["changed"]
    assert (made.path / "blacklistd.conf").read_text() == "their own\n" and not os.path.exists(old.config + ".previous")


def test_the_undo_after_an_upgrade_takes_the_daemon_of_the_record_back(made, monkeypatch):
    made.file("pf.conf", pf.with_block("pass all\n", 0, pf.marked(GIVEN["pf_conf"])))
    upgraded(made, monkeypatch)
    assert undoing.undo(False)["changed"] and "service blacklistd onestop" in made.log()
    assert (made.rc["blacklistd_enable"], made.rc["blacklistd_flags"]) == (
        "NO",
        "-v",
    ) and "blocklistd_enable" not in made.rc


@pytest.mark.parametrize("more, left", [("", False), ("pass in\n", True)])
def test_a_pf_conf_that_the_role_made_goes_unless_somebody_wrote_into_it(made, more, left):
    made.file("pf.conf", "# %s, because\n" % daemons.MARK + GIVEN["pf_conf"] + more)
    recorded(made, pf_conf=False, pf_was_on=False)
    undoing.undo(False)
    assert (made.path / "pf.conf").exists() == left
    assert "pfctl -q -d" in (log := made.log()) and "pfctl -q -F rules" in log


def test_a_host_with_our_part_and_no_record_keeps_its_pf(made):
    made.file("pf.conf", pf.with_block("pass all\n", 0, pf.marked(GIVEN["pf_conf"])))
    made.rc["pf_enable"] = "YES"
    assert undoing.undo(False)["changed"] and made.rc["pf_enable"] == "YES"
    assert f"pfctl -q -f {made.path}/pf.conf" in (log := made.log()) and "pfctl -q -d" not in log
