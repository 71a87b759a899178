# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: how full FreeBSD's file systems and its memory are."""

import types

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


def test_what_zfs_caches_above_its_least_is_free_memory(monkeypatch):
    said = {**dict.fromkeys(freebsd.PAGES, 10), "hw.physmem": 5000}
    monkeypatch.setattr(freebsd, "words", lambda *argv: "".join("%s=%d\n" % one for one in said.items()))
    assert freebsd.kernel()["memory_free"] == 200
    said.update(zip(freebsd.ARC, (1000, 300)))
    assert freebsd.kernel()["memory_free"] == 900
