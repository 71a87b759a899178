# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host had before the first run: kept once, and what of it is nobody's of ours."""

import importlib
import os
import stat

import pytest
import yaml
from role_modules import ROOT

before, foreign, rc = (
    importlib.import_module("ansible.module_utils.sokuhai." + name) for name in ("before", "foreign", "rc")
)
SAMPLE = (
    "# a comment\ncompatibility_level = 3.10\nqueue_directory = /var/spool/postfix\ndebugger_command =\n\t PATH=/bin\n"
)
SERVICES = "smtp inet n - n - - smtpd\nrelay unix - - n - - smtp\n    -o syslog_name=a\n"


@pytest.fixture
def host(tmp_path):
    for name, text in (("main.cf", SAMPLE), ("master.cf", SERVICES)):
        (tmp_path / name).write_text(text)
        (tmp_path / (name + ".sample")).write_text(text)
    return tmp_path


def test_the_packages_samples_are_nobodys(host):
    (host / "main.cf").write_text("\n# other comments\n" + SAMPLE.replace("\t PATH", "  PATH"))
    assert foreign.postfix_refusal(str(host)) == ""
    (host / "main.cf").unlink()
    assert foreign.postfix_refusal(str(host)) == ""


@pytest.mark.parametrize("who", ["sokuhai's", "the toolkit's"])
def test_what_any_release_of_ours_wrote_is_not_foreign(host, who):
    head = f"# Written whole by {who} role postfix; a change by hand is lost at the next run.\n"
    (host / "main.cf").write_text(head + "relayhost = [a.example]\n")
    (host / "master.cf").write_text(head + "2525 inet n - n - - smtpd\n")
    assert foreign.postfix_refusal(str(host)) == ""


def test_the_lines_of_the_inventory_are_yaml_and_hold_what_was_there(host):
    (host / "main.cf").write_text(
        SAMPLE
        + "queue_directory = /big\nrelayhost = [a.example]:587\nmydestination = a.example,\n  b.example\nsmtpd_milters = inet:[::1]:1, { unix:/x, a=b }\n"
        "smtpd_recipient_restrictions = reject\nsmtp_sasl_password_maps = static:me:hidden\nvirtual_alias_domains = c.example\n"
    )
    (host / "master.cf").write_text(
        SERVICES
        + "2525 inet n - n - 3 smtpd\n  -o syslog_name=own -o mynetworks=\nspf unix - n n - 0 spawn\n  user=nobody argv=/bin/spf\n"
    )
    said = foreign.postfix_refusal(str(host))
    assert (
        "virtual domains: virtual_alias_domains\nrelaying: relayhost, smtp_sasl_password_maps\nmilters: smtpd_milters\n"
        in said
    )
    assert "hidden" not in said and "/big" not in said
    lines = said.partition("into the inventory:\n")[2].rpartition("\nThen set")[0]
    assert yaml.safe_load(lines) == {
        "postfix_destinations": ["a.example", "b.example"],
        "postfix_main_cf": [
            {"name": "relayhost", "value": "[a.example]:587"},
            {"name": "smtpd_milters", "value": "inet:[::1]:1, { unix:/x, a=b }"},
            {"name": "virtual_alias_domains", "value": "c.example"},
        ],
        "postfix_master_cf": [
            {
                "name": "2525",
                "type": "inet",
                "private": "n",
                "chroot": "n",
                "maxproc": "3",
                "command": "smtpd",
                "options": {"syslog_name": "own", "mynetworks": ""},
            },
            {
                "name": "spf",
                "type": "unix",
                "unpriv": "n",
                "chroot": "n",
                "maxproc": "0",
                "command": "spawn",
                "args": "user=nobody argv=/bin/spf",
            },
        ],
    }
    assert "# smtpd_recipient_restrictions = reject: entry by entry, postfix_restrictions" in lines


def test_aliases_are_named_that_are_neither_freebsds_nor_read_by_our_postfix(host, monkeypatch):
    stock = (ROOT / "lab/standins/root/etc/mail/aliases").read_text()
    (host / "aliases").write_text("sales: a@b.example,\n\tc\n")
    (host / "main.cf").write_text("alias_maps = hash:%s/aliases, ldap:x\n" % host)
    texts = {"/etc/mail/aliases": stock}
    read = foreign.host.read
    monkeypatch.setattr(foreign.host, "read", lambda path: texts.get(path) or read(path))
    sales = {"%s/aliases" % host: {"sales": "a@b.example, c"}}
    assert foreign.aliases(str(host)) == sales
    texts["/etc/mail/aliases"] += 'Root: me@there.example\ninfo: root\npostmaster: me\nprog: "|/bin/x a"\n'
    own = {"root": "me@there.example", "info": "root", "postmaster": "me", "prog": '"|/bin/x a"'}
    assert foreign.aliases(str(host)) == {"/etc/mail/aliases": own, **sales}
    (host / "main.cf").write_text("# Written whole by sokuhai's role postfix; x\n")
    assert foreign.aliases(str(host)) == {}


def test_what_was_there_is_kept_once_with_its_mode_and_comes_back(tmp_path):
    path = tmp_path / "main.cf"
    before.keep(str(path))
    assert not list(tmp_path.iterdir())
    path.write_text("first\n")
    path.chmod(0o640)
    before.keep(str(path))
    path.write_text("second\n")
    path.chmod(0o644)
    before.keep(str(path))
    kept = tmp_path / "main.cf.before-sokuhai"
    assert kept.read_text() == "first\n" and stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert not before.same(str(kept), str(path))
    before.put(str(kept), str(path))
    assert before.same(str(kept), str(path))
    assert path.read_text() == "first\n" and stat.S_IMODE(path.stat().st_mode) == 0o640 and kept.exists()


def test_a_directory_is_kept_with_what_is_in_it(tmp_path):
    tables = tmp_path / "tables"
    tables.mkdir(0o750)
    (tables / "mine").write_text("x")
    (tables / "mine").chmod(0o600)
    before.keep(str(tables))
    kept = tmp_path / "tables.before-sokuhai"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o750 and stat.S_IMODE((kept / "mine").stat().st_mode) == 0o600
    (tables / "mine").write_text("y")
    (tables / "ours").write_text("z")
    assert not before.same(str(kept), str(tables))
    before.put(str(kept), str(tables))
    assert before.same(str(kept), str(tables)) and os.listdir(tables) == ["mine"]
    assert sorted(os.listdir(tmp_path)) == ["tables", "tables.before-sokuhai"]


def test_what_rc_conf_had_before_is_read_from_its_copy_alone(tmp_path):
    path = tmp_path / "rc.conf"
    path.write_text("now=\"YES\"\nquoted='a b' # why\nplain=NONE\n")
    before.keep(str(path))
    path.write_text("plain=YES\nlater=YES\n")
    names = ["quoted", "plain", "later"]
    assert rc.former(names, str(path)) == {"quoted": "a b", "plain": "NONE", "later": None}
    assert rc.compare_former([*names, "now"], str(path)) == {
        "quoted": (None, "a b"),
        "plain": ("YES", "NONE"),
        "later": ("YES", None),
        "now": (None, "YES"),
    }
    assert rc.former(names, str(tmp_path / "periodic.conf")) == dict.fromkeys(names)
