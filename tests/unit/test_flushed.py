# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What takes the place of a file is on disk before it does: after a loss of power the old file is there or the new one, and never an empty one."""

import os
import types

import pytest
from role_modules import util

before, host, rc = util("sokuhai.before"), util("sokuhai.host"), util("sokuhai.rc")
files, certificates = util("postfix_files"), util("postfix_certificate")


@pytest.fixture
def order(monkeypatch):
    """What is flushed and renamed, in its order: ("flush", inode) and ("rename", inode, old name, new name)."""
    done, rename = [], os.rename

    def renamed(old, new):
        done.append(("rename", os.stat(old).st_ino, str(old), str(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(("flush", os.fstat(descriptor).st_ino)))
    monkeypatch.setattr(os, "rename", renamed)
    return done


def flushed_before_renamed(order):
    """Names that files were renamed to without having been flushed before."""
    return [step[3] for at, step in enumerate(order) if step[0] == "rename" and ("flush", step[1]) not in order[:at]]


def test_a_file_that_is_written(order, tmp_path):
    host.write(str(tmp_path / "main.cf"), "x\n")
    assert len(order) == 2 and flushed_before_renamed(order) == []


def test_what_was_there_before_is_on_disk_with_its_name(order, tmp_path):
    kept = tmp_path / "main.cf.before-sokuhai"
    (tmp_path / "main.cf").write_text("the owner's\n")
    before.keep(str(tmp_path / "main.cf"))
    assert flushed_before_renamed(order) == []
    # the name, too, before the owner's file is replaced
    assert [step[0] for step in order] == ["flush", "rename", "flush"] and order[-1][1] == tmp_path.stat().st_ino
    assert kept.read_text() == "the owner's\n"


def test_a_directory_that_was_there_before_is_on_disk_with_all_that_is_in_it(order, tmp_path):
    (tmp_path / "tables/inner").mkdir(parents=True)
    (tmp_path / "tables/inner/senders").write_text("x\n")
    (tmp_path / "tables/link").symlink_to("inner/senders")
    before.keep(str(tmp_path / "tables"))
    kept = tmp_path / "tables.before-sokuhai"
    renamed = next(at for at, step in enumerate(order) if step[0] == "rename")
    wanted = {path.stat().st_ino for path in (kept, kept / "inner", kept / "inner/senders")}
    assert wanted <= {step[1] for step in order[:renamed]} and order[-1] == ("flush", tmp_path.stat().st_ino)


def test_rc_conf_after_sysrc(order, tmp_path, monkeypatch):
    conf = tmp_path / "rc.conf"

    def sysrc(argv):
        if "-i" not in argv:
            conf.write_text('named_enable="YES"\n')
        return 0, "named_enable: YES\n" if conf.exists() else "", ""

    monkeypatch.setattr(host, "run", sysrc)
    rc.apply({"named_enable": (None, "YES")}, str(conf))
    assert order == [("flush", conf.stat().st_ino)]
    rc.apply({}, str(conf))
    assert len(order) == 1


def test_a_database_that_postmap_built(order, tmp_path):
    postfix = types.SimpleNamespace(config=str(tmp_path))
    one = files.Files(postfix, "a = b\n", "smtp inet n - n - - smtpd\n", [])
    staged = tmp_path / "stage" / "tables"
    staged.mkdir(parents=True)
    (staged / "senders").write_text("x\n")
    (staged / "senders.lmdb").write_text("x\n")
    one.swap(str(staged.parent))
    assert {os.path.basename(step[3]) for step in order if step[0] == "rename"} >= {"senders", "senders.lmdb"}
    assert flushed_before_renamed(order) == []


def test_a_certificate_that_openssl_made(order, tmp_path, monkeypatch):
    def openssl(argv):
        for option in ("-keyout", "-out"):
            with open(argv[argv.index(option) + 1], "w") as made:
                made.write("x\n")
        return 0, "", ""

    monkeypatch.setattr(host, "run", openssl)
    pair = types.SimpleNamespace(
        key=str(tmp_path / "key.pem"), certificate=str(tmp_path / "cert.pem"), days=3, hostname="mx.home.example"
    )
    certificates.Certificate.make(pair)
    assert len([step for step in order if step[0] == "rename"]) == 2 and flushed_before_renamed(order) == []
