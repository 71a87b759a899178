# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module monitor_read: peaks that stay, sums, gaps, and files that are broken, turned over, compressed or cut short."""

import bz2
import gzip
import json
import lzma
import os

import pytest
from role_modules import load
from sampler_modules import samples

reader = load("roles/monitor/library/monitor_read.py")
NOW = 1795900000
HEADER = "time,seconds,queue_active,files,files_limit,memory_free,mails_out,age_deferred\n"


def line(ago, seconds=5.0, active="", files="", limit=1000, free="", out="", age=""):
    return f"{NOW - ago},{seconds},{active},{files},{limit},{free},{out},{age}\n"


def written(folder, name, text, ago=0, opener=open):
    path = folder / name
    with opener(path, "wt") as target:
        target.write(text)
    os.utime(path, (NOW - ago, NOW - ago))
    return path


def collect(folder, since=3600, points=10):
    return reader.collect(str(folder), since, points, NOW)


def test_no_samples_is_no_error(tmp_path):
    assert collect(tmp_path / "none") == {"columns": {}, "from": None, "to": None, "rows_read": 0, "broken": 0}
    written(tmp_path, "samples.csv", "")
    assert collect(tmp_path)["columns"] == {}


def test_peaks_stay_counts_are_added_and_limits_and_free_memory_are_the_least(tmp_path):
    written(
        tmp_path,
        "samples.csv",
        HEADER
        + line(300, 60.0, 5, 100, 1000, 9000, 7, 50)
        + line(240, 60.0, 900, 500, 800, 100, 3, 40)
        + line(200, 5.0, 1, 200, 900, 8000, "", ""),
    )
    found = collect(tmp_path)
    assert {name: values for name, values in found["columns"].items()} == {
        "time": [NOW - 200],
        "seconds": [125.0],
        "queue_active": [900],
        "files": [500],
        "files_limit": [800],
        "memory_free": [100],
        "mails_out": [10],
        "age_deferred": [50],
    }
    assert (found["from"], found["to"], found["rows_read"]) == (NOW - 300, NOW - 200, 3)


def test_unknown_stays_unknown_unless_a_neighbour_knows(tmp_path):
    written(
        tmp_path,
        "samples.csv",
        HEADER + line(3000, files="") + line(2999, files="") + line(100, files="") + line(99, files=0),
    )
    assert collect(tmp_path)["columns"]["files"] == [None, 0]


def test_there_are_as_many_rows_as_asked_for_at_most_and_none_for_a_time_without_samples(tmp_path):
    written(
        tmp_path,
        "samples.csv",
        HEADER + "".join(line(ago, active=ago) for ago in range(3600, -1, -5) if not 1000 < ago < 2000),
    )
    for points in (1, 7, 400):
        found = collect(tmp_path, points=points)
        assert len(found["columns"]["time"]) <= points and max(found["columns"]["queue_active"]) == 3600
        assert sum(found["columns"]["seconds"]) == found["rows_read"] * 5
    assert len(collect(tmp_path, points=10)["columns"]["time"]) in (8, 9)
    assert collect(tmp_path, points=400)["columns"]["time"] == sorted(collect(tmp_path, points=400)["columns"]["time"])


def test_broken_lines_are_left_out(tmp_path):
    good = line(10, files=3)
    broken = ("1795,5\n", good[:20] + "\n", "x" * 30 + "\n", good.replace("5.0", "five"), line(5, files=9)[:-4])
    written(tmp_path, "samples.csv", HEADER + line(20, files=2) + "".join(broken[:-1]) + good + broken[-1])
    found = collect(tmp_path)
    assert found["rows_read"] == 2 and found["broken"] == len(broken) and found["columns"]["files"] == [3]


@pytest.mark.parametrize("ending, opener", [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open), ("", open)])
def test_turned_over_files_are_read_on_and_those_too_old_are_not(tmp_path, ending, opener):
    written(tmp_path, "samples.csv", HEADER + line(10, files=1))
    written(tmp_path, "samples.csv.0" + ending, HEADER + line(1000, files=2), 1000, opener)
    written(tmp_path, "samples.csv.1" + ending, HEADER + line(3000, files=3), 3000, opener)
    written(tmp_path, "samples.csv.10" + ending, HEADER + line(9000, files=4), 9000, opener)
    found = collect(tmp_path)
    assert found["rows_read"] == 3 and found["columns"]["files"] == [3, 2, 1]


def test_a_file_that_is_just_being_compressed_counts_once(tmp_path):
    written(tmp_path, "samples.csv.0", HEADER + line(100, out=5), 50)
    written(tmp_path, "samples.csv.0.bz2", HEADER + line(100, out=5), 50, bz2.open)
    assert collect(tmp_path)["columns"]["mails_out"] == [5]


def test_a_compressed_file_that_ends_too_early_gives_what_it_has(tmp_path):
    path = written(
        tmp_path, "samples.csv.0.gz", HEADER + "".join(line(1000, files=n) for n in range(3000)), 100, gzip.open
    )
    path.write_bytes(path.read_bytes()[:-200])
    os.utime(path, (NOW - 100, NOW - 100))
    written(tmp_path, "samples.csv", HEADER + line(10, files=7))
    found = collect(tmp_path)
    assert found["columns"]["files"][-1] == 7 and found["rows_read"] > 1


STATE = json.dumps({"ceilings": {"over": {"files": 17}}, "mails": []})


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "state.json"


@pytest.mark.parametrize("text, found", [(STATE, {"files": 17}), ("[", {}), ("[" * 100000, {})])
def test_near_ceilings_come_from_the_samplers_state(state, tmp_path, text, found):
    assert reader.near(str(tmp_path)) == {}
    state.write_text(text)
    assert reader.near(str(tmp_path)) == found


def test_what_the_samplers_user_puts_in_place_of_its_state_is_neither_followed_nor_waited_for(state, tmp_path):
    (tmp_path / "other").write_text(STATE)
    state.symlink_to(tmp_path / "other")
    assert reader.near(str(tmp_path)) == {}
    state.unlink()
    os.mkfifo(state)
    assert reader.near(str(tmp_path)) == {}, "without O_NONBLOCK it would hang here"


def test_what_is_added_up_is_what_the_sampler_counts():
    found = {name for name in samples.COLUMNS if reader.added(name)}
    assert found == {"seconds", "named_servfail", "named_queries", "watch_starts", *samples.COUNTED}
    assert {name for name in samples.COLUMNS if reader.least(name)} == {
        "named_descriptors_limit",
        "named_recursive_clients_limit",
        "postfix_descriptors_limit",
        "postfix_processes_limit",
        "files_limit",
        "sockets_limit",
        "memory_free",
        "memory_total",
        "swap_total",
        "certificate_days",
        "warm_cached",
        "warm_total",
        "queue_disk_total",
        "queue_inodes_total",
        "log_disk_total",
        "log_inodes_total",
        "named_running",
        "named_answering",
        "postfix_running",
        "greylist_running",
        "recipients_running",
        "dkim_running",
        "mta_sts_running",
    }
