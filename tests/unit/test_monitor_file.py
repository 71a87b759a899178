# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler's file: a full disk, rotation, or another version's columns cost no more than they must."""

import errno
import os

import pytest
from role_modules import load
from sampler_modules import samples

reader = load("roles/monitor/library/monitor_read.py")


def row(at, **values):
    return dict(dict.fromkeys(samples.COLUMNS), time=at, seconds=5.0, **values)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "samples.csv").touch()
    return samples.Samples(str(tmp_path / "samples.csv"))


def test_a_line_a_sample_and_a_header_whenever_the_file_is_new(file, tmp_path):
    file.append(row(1, files=7))
    file.append(row(2))
    (tmp_path / "samples.csv").rename(tmp_path / "samples.csv.0")
    (tmp_path / "samples.csv").touch()
    file.append(row(3))
    lines = (tmp_path / "samples.csv").read_text().splitlines()
    assert lines[0].split(",") == list(samples.COLUMNS) and lines[1].startswith("3,5.0,,") and len(lines) == 2
    assert len((tmp_path / "samples.csv.0").read_text().splitlines()) == 3


def test_a_full_disk_costs_the_line_and_is_reported_once(file, tmp_path, monkeypatch):
    said, write = [], os.write

    def full(handle, data):
        write(handle, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(samples.syslog, "syslog", lambda *what: said.append(what[1]))
    file.append(row(1))
    with monkeypatch.context() as patch:
        patch.setattr(samples.os, "write", full)
        file.append(row(2))
        file.append(row(3))
    file.append(row(4))
    assert len(said) == 2 and "No space left" in said[0] and "written again" in said[1]
    found = reader.collect(str(tmp_path), 10, 400, 10)
    assert found["columns"]["time"] == [1, 4] and found["broken"] == 2


def test_where_newsyslog_does_not_run_the_file_is_begun_again(file, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "MOST_FILE", 2000)
    for at in range(201):
        file.append(row(at))
    (left,) = tmp_path.iterdir()
    assert left.name == "samples.csv" and 0 < left.stat().st_size < 4000


def test_columns_of_another_version_get_a_header_of_their_own(file, tmp_path):
    (tmp_path / "samples.csv").write_text("time,seconds,gone\n1,5.0,9\n2,5.0")
    file.append(row(3, files=4))
    found = reader.collect(str(tmp_path), 10, 400, 10)
    assert found["columns"]["gone"] == [9, None] and found["columns"]["files"] == [None, 4] and found["broken"] == 1
