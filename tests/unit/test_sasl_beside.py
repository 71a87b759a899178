# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""AUTH of a Dovecot that serves its owner's users: one file more, proved before and after, and taken back."""

import os
import shutil

import pytest
from fake_dovecot import HASH, Host, sasl_beside
from role_modules import load, util

foreign, base = util("sokuhai.foreign_dovecot"), util("sokuhai.host")
Refused = base.Refused
preflight = load("roles/preflight/filter_plugins/preflight_dovecot.py").preflight_dovecot

VERSION = "# own\ndovecot_config_version = 2.4.0\n"
OWN = (
    VERSION
    + "protocols = imap\npassdb passwd-file {\n}\nservice auth {\n  client_limit = 300\n}\n!include_try conf.d/*.conf\n"
)


class Serving(Host):
    """A host whose Dovecot is its owner's. The socket is there once the master has read a file that has it."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch)
        self.socket = self.folder / "queue/private/auth"
        self.etc = self.folder / "etc"
        (self.etc / "conf.d").mkdir()
        (self.etc / "dovecot.conf").write_text(OWN)
        (self.etc / "conf.d/50-own.conf").write_text("# the owner's\n")
        self.rc["dovecot_enable"], self.deaf = "YES", False
        self.running_since(-3600)

    def run(self, argv, *rest, **options):
        done = super().run(argv, *rest, **options)
        if argv[0] == "service":
            heard = any(str(self.socket) in path.read_text() for path in self.added())
            heard = heard or foreign.MARK in (self.etc / "dovecot.conf").read_text()
            if argv[2] != "reload" or not self.deaf:
                self.socket.unlink(missing_ok=True)
                if heard:
                    self.socket.touch()
                    self.socket.chmod(0o660)
        return done

    def prove(self, *rest):
        super().prove(*rest)
        os.stat(self.socket)

    def added(self):
        return [path for path in (self.etc / "conf.d/99-sokuhai.conf", self.etc / "sokuhai.conf") if path.exists()]

    def __call__(self, check_mode=False, **params):
        listener = f"{foreign.MARK}\nservice auth {{\n  client_limit = CLIENT_LIMIT\n  unix_listener {self.socket} {{\n  }}\n}}\n"
        return super().__call__(
            check_mode,
            **{"users": [{"name": "own", "password_hash": ""}], "listener": listener, "client_limit": 1600, **params},
        )


@pytest.fixture
def host(monkeypatch):
    there = Serving(monkeypatch)
    yield there
    shutil.rmtree(there.folder)


def ids(result):
    return [found["id"].replace("/tmp/", "") for found in result["findings"]]


def test_one_file_is_added_and_the_rest_is_the_owners(host):
    before = {path: path.read_text() for path in (host.etc / "dovecot.conf", host.etc / "conf.d/50-own.conf")}
    assert host(check_mode=True).present()["changed"] and host.added() == [] and host.calls == []
    host().present()
    (added,) = host.added()
    assert added.name == "99-sokuhai.conf" and "client_limit = 1900" in added.read_text()
    assert host.calls == ["service dovecot reload", "handshake"], "those who are logged in stay"
    assert {path: path.read_text() for path in before} == before
    assert sorted(path.name for path in host.etc.iterdir()) == ["conf.d", "dovecot.conf"], "no users, nothing staged"
    again = host().present()
    assert not again["changed"] and host.calls == ["handshake"]
    # what it would be without our file counts, not what it is with it
    (host.etc / "dovecot.conf").write_text(
        OWN.replace("  client_limit = 300\n", "").replace("protocols", "default_client_limit = 5000\nprotocols")
    )
    assert host().present()["changed"] and "client_limit = 6600" in added.read_text()


def test_it_is_taken_away_and_what_was_there_goes_on(host):
    host().present()
    assert host(check_mode=True).absent()["changed"] and host.calls == [] and host.added()
    assert host().absent()["changed"] and host.calls == ["service dovecot reload"]
    assert host.added() == [] and not host.socket.exists() and host.rc == {"dovecot_enable": "YES"}
    assert not host().absent()["changed"]


@pytest.mark.parametrize(
    "damage, found, calls",
    [
        (lambda host: host.socket.unlink(), "socket ", ["service dovecot restart", "handshake"]),
        (lambda host: host.socket.chmod(0o666), "socket ", ["service dovecot restart", "handshake"]),
        (
            lambda host: (host.folder / "run/master.pid").unlink(),
            "service dovecot",
            ["service dovecot start", "handshake"],
        ),
        (lambda host: host.added()[0].chmod(0o600), "mode of ", ["handshake"]),
    ],
    ids=["no socket", "everybody's socket", "stopped", "mode of the file"],
)
def test_what_differs_is_a_finding_and_put_right(host, damage, found, calls):
    host().present()
    damage(host)
    predicted = host(check_mode=True).present()
    assert [one.startswith(found) for one in ids(predicted)] == [True] and host.calls == []
    assert host().present()["changed"] and host.calls == calls
    assert not host().present()["changed"]


def test_a_reload_that_does_not_do_is_followed_by_a_restart(host):
    host.deaf = True
    host().present()
    assert host.calls == ["service dovecot reload", "handshake", "service dovecot restart", "handshake"]


def test_what_does_not_answer_is_taken_back(host):
    host.answers, dovecot = False, host()
    with pytest.raises(Refused, match="is as it was before"):
        dovecot.present()
    assert host.added() == [] and dovecot.outcome == {"step": "socket", "restored": True}


def test_what_doveconf_refuses_is_not_written(host):
    dovecot = host(listener="BROKEN\n")
    with pytest.raises(Refused, match="together with .*99-sokuhai.conf: Unknown setting: BROKEN"):
        dovecot.present()
    assert host.added() == [] and host.calls == [] and dovecot.outcome["step"] == "doveconf"
    (host.etc / "dovecot.conf").write_text(OWN + "BROKEN\n")
    with pytest.raises(Refused, match="as its owner has it"):
        host().present()


def test_a_listener_that_comes_to_nothing_is_not_written(host):
    """Included within a block, it is that block's."""
    with pytest.raises(Refused, match="outside of all blocks"):
        host(listener="ssl = no\n").present()
    assert host.added() == [] and host.calls == []


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda host: (host.etc / "dovecot.conf").write_text(VERSION), ["!include_try sokuhai.conf"]),
        (
            lambda host: (host.etc / "dovecot.conf").write_text(OWN.replace(VERSION, "")),
            ["sasl_replace_config: ", "first setting", "2.3-to-2.4", "Dovecot is 2.4.1-4"],
        ),
        (lambda host: host.rc.update(dovecot_enable="NO"), ["sysrc dovecot_enable=YES"]),
        (lambda host: (host.folder / "sbin/dovecot").unlink(), ["there is no"]),
    ],
    ids=["nothing is included", "written for 2.3", "not enabled", "no program"],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_where_it_cannot_be_had_the_message_says_what_to_do(host, change, words, check_mode):
    change(host)
    with pytest.raises(Refused) as refused:
        host(check_mode=check_mode).present()
    assert all(word in str(refused.value) for word in words)
    assert host.added() == [] and host.calls == []


def test_passwords_of_ours_are_refused_there_and_needed_elsewhere(host):
    with pytest.raises(Refused, match="leave password_hash out"):
        host(users=[{"name": "own", "password_hash": HASH}]).present()
    assert host.added() == []
    with pytest.raises(Refused, match="own has no password_hash"):
        host(replace=True).present()


def test_the_line_that_the_owner_added_is_enough(host):
    (host.etc / "dovecot.conf").write_text(VERSION + "!include_try sokuhai.conf\n")
    host().present()
    assert [path.name for path in host.added()] == ["sokuhai.conf"]


@pytest.mark.parametrize(
    "version, text, former",
    [
        ("2.3.21.1", "protocols = imap\n", ""),
        ("2.4.1-4", "protocols = imap\n", "2.4.1-4"),
        ("2.4.1-4", "protocols = imap\ndovecot_config_version = 2.4.0\n", "2.4.1-4"),
        ("2.4.1-4", "\n# own\n dovecot_config_version=2.4.0\n", ""),
        # there the setting may come from the file that is included; doveconf knows
        ("2.4.1-4", "!include versions.conf\n", ""),
        ("2.10.0", "protocols = imap\n", "2.10.0"),
        ("nothing that is a version", "protocols = imap\n", ""),
    ],
)
def test_a_configuration_of_2_3_is_known_where_dovecot_is_2_4(host, version, text, former):
    host.program("sbin/dovecot", f"echo '{version} (0)'\n")
    (host.etc / "dovecot.conf").write_text(text)
    assert foreign.former_language(f"{host.etc}/dovecot.conf", f"{host.folder}/sbin/dovecot") == former


def test_the_operators_word_replaces_it_and_the_added_file_goes(host):
    host().present()
    host(replace=True, users=[{"name": "alice", "password_hash": HASH}]).present()
    assert host.added() == [] and (host.etc / "dovecot.conf.before-sokuhai").read_text() == OWN
    assert host.rc["dovecot_enable"] == "YES" and "restart" in host.calls[0]


def test_the_packages_sample_is_the_owners_where_it_is_enabled(host):
    (host.etc / "dovecot.conf.sample").write_text(OWN)
    assert foreign.owners(f"{host.etc}/dovecot.conf")
    del host.rc["dovecot_enable"]
    assert not foreign.owners(f"{host.etc}/dovecot.conf")


def test_the_configuration_that_rc_conf_names_is_the_one(host):
    other = host.etc / "mine.conf"
    shutil.copy(host.etc / "dovecot.conf", other)
    (host.etc / "dovecot.conf").write_text("# unused\n")
    host.rc["dovecot_config"] = str(other)
    host().present()
    assert [path.name for path in host.added()] == ["99-sokuhai.conf"]


def test_doveconf_is_asked_in_the_order_of_the_files(host):
    (host.etc / "conf.d/99-z.conf").write_text("")
    text = foreign.together(f"{host.etc}/dovecot.conf", "OURS\n")
    assert text == OWN.replace(
        "!include_try conf.d/*.conf\n",
        f"!include {host.etc}/conf.d/50-own.conf\nOURS\n!include {host.etc}/conf.d/99-z.conf\n",
    )


@pytest.mark.parametrize(
    "printed, limit",
    [
        ("ssl = no\n", 1000),
        ("default_client_limit = 5000\nservice auth {\n  unix_listener x {\n  }\n}\n", 5000),
        ("service imap {\n  client_limit = 7\n}\nservice auth {\n  client_limit = 3000\n}\n", 3000),
    ],
)
def test_the_owners_number_of_connections(printed, limit):
    assert sasl_beside.client_limit(printed) == limit


OWNERS, USERS = {"dovecot": "/etc/dovecot.conf"}, [{"name": "own", "addresses": []}]


@pytest.mark.parametrize(
    "probe, change, hashed, word",
    [
        (OWNERS, {}, [], None),
        (OWNERS, {"sasl_users": []}, [], None),
        (OWNERS, {}, ["own"], "password_hash of own"),
        (OWNERS, {"sasl_sender_check": "reject"}, [], None),
        (OWNERS, {"sasl_sender_check": "reject", "sasl_users": []}, [], "sasl_sender_check: reject"),
        (OWNERS, {"sasl_replace_config": True}, ["own"], None),
        (OWNERS, {"sasl_replace_config": True}, [], "own has no password_hash"),
        ({"dovecot": ""}, {}, [], "own has no password_hash"),
        ({"dovecot": ""}, {}, ["own"], None),
    ],
)
def test_whose_users_they_are_is_said_before_anything_changes(probe, change, hashed, word):
    declared = {"sasl_users": USERS, "sasl_replace_config": False, "sasl_sender_check": "warn", **change}
    problems = preflight(probe, declared, hashed)
    assert [word in one for one in problems] == ([True] if word else [])
