# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: how full FreeBSD's file systems and its memory are, and whether named answers."""

import contextlib
import socket
import types

import pytest
from sampler_modules import freebsd


def test_a_file_system_is_as_full_as_df_says(tmp_path, monkeypatch):
    room = types.SimpleNamespace(f_blocks=1000, f_bfree=300, f_bavail=220, f_frsize=4096, f_files=50, f_ffree=20)
    monkeypatch.setattr(freebsd.os, "statvfs", lambda path: room)
    found = freebsd.file_systems({"queue": str(tmp_path), "log": str(tmp_path), "other": str(tmp_path / "none")})
    assert found == {
        "queue_disk_used": 700 * 4096,
        "queue_disk_total": 920 * 4096,
        "queue_inodes_used": 30,
        "queue_inodes_total": 50,
    }, "one file system once"
    # root writes into what is kept for it: less than nothing is left, and FreeBSD's statvfs(3) has no sign
    room.f_bavail = 2**64 - 80
    found = freebsd.file_system(str(tmp_path), "queue")
    assert found["queue_disk_used"] == found["queue_disk_total"]


# 0 is no limit to master(8)
@pytest.mark.parametrize("smtp, most", [("-", 605), ("50", 155), ("0", 605)])
def test_transports_of_their_own_count_beside_the_limit_of_all(monkeypatch, smtp, most):
    services = "\n".join(
        f"{name} {kind} - - n - {maxproc} {command}"
        for name, kind, maxproc, command in (
            ("smtp", "inet", "7", "smtpd"),
            ("smtp", "unix", smtp, "smtp"),
            ("urgent", "unix", "100", "smtp -o syslog_name=postfix/$service_name"),
            ("587", "inet", "50", "smtpd"),
            ("mine", "unix", "5", "smtp"),
        )
    )
    monkeypatch.setattr(freebsd, "words", lambda *argv: services if "-M" in argv else "500\n")
    assert freebsd.process_limit() == most


def test_what_zfs_caches_above_its_least_is_free_memory(monkeypatch):
    said = {**dict.fromkeys(freebsd.PAGES, 10), "hw.physmem": 5000}
    monkeypatch.setattr(freebsd, "words", lambda *argv: "".join("%s=%d\n" % one for one in said.items()))
    assert freebsd.kernel()["memory_free"] == 200
    said.update(zip(freebsd.ARC, (1000, 300)))
    assert freebsd.kernel()["memory_free"] == 900


def test_how_many_clients_named_may_have_is_what_its_configuration_says(tmp_path):
    conf = tmp_path / "named.conf"
    assert freebsd.recursive_clients(str(conf)) is None
    conf.write_text("options {\n\t# recursive-clients 5;\n\trecursive-clients 20000;\n};\n")
    assert freebsd.recursive_clients(str(conf)) == 20000


@pytest.mark.parametrize(
    "reply, found", [(b"\x84\x05" + bytes(8), True), (b"\x04\x00" + bytes(8), False), (b"", False), (None, False)]
)
def test_named_answers_where_an_answer_comes_to_one_of_three_queries(monkeypatch, reply, found):
    """reply: what follows the query's number, to the last of them; None: nobody listens there."""
    sent = []

    def receive(_most):
        if reply is None:
            raise ConnectionRefusedError
        if len(sent) < 3:
            raise socket.timeout
        return sent[-1][:2] + reply

    there = types.SimpleNamespace(
        settimeout=lambda _s: None, connect=lambda _where: None, send=sent.append, recv=receive
    )
    monkeypatch.setattr(freebsd.socket, "socket", lambda *_family: contextlib.nullcontext(there))
    assert freebsd.answers("127.0.0.1") is found
    # a question with one name, and no recursion wanted
    assert sent[0][2:12] == bytes([0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
