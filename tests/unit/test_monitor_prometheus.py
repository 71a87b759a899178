# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler: what it writes for node_exporter is what promtool would accept, and has every column."""

import re

import pytest
from sampler_modules import alarms, prometheus, samples

ROW = {column: number for number, column in enumerate(samples.COLUMNS, 1)}


def lint(text):
    """{(name, labels): value}; fails on what promtool's check metrics and node_exporter's parser object to."""
    found, kind, seen = {}, {}, []
    for line in text.splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE) (sokuhai_[a-z][a-z_]*[a-z]) (\S.*)", line)
        if comment:
            word, name, rest = comment.groups()
            if word == "HELP":
                assert name not in seen, "a family is in one piece"
                seen.append(name)
            else:
                assert seen[-1] == name and rest in ("gauge", "counter"), line
                kind[name] = rest
        elif not line.startswith("#"):
            name, labels, value = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (-?[0-9.]+)", line).groups()
            assert name == seen[-1] and name in kind and (name, labels) not in found, line
            assert labels is None or re.fullmatch(r'([a-z]+="[a-z0-9_]+",?)+', labels), line
            found[name, labels] = float(value)
    for name, one in kind.items():
        assert name.endswith("_total") == (one == "counter"), name
        # base units, at the end; no type in the name
        assert not re.search(r"_(ms|millis|minutes|hours|days|kb|kilobytes|percent|gauge|counter)(_|$)", name), name
        assert not re.search(r"(bytes|seconds)_(?!total$)", name) or name.endswith("_seconds"), name
    assert text.endswith("\n")
    return found


def test_the_text_is_what_promtool_accepts():
    found = lint(prometheus.exposition(ROW, {"named_down": 1}))
    assert found["sokuhai_alarm", 'alarm="named_down"'] == 1 and found["sokuhai_alarm", 'alarm="files"'] == 0
    assert found["sokuhai_queue_messages", 'queue="active"'] == ROW["queue_active"]
    assert found["sokuhai_certificate_remaining_seconds", None] == 86400 * ROW["certificate_days"]


@pytest.mark.parametrize(
    "wrong",
    [
        "# HELP sokuhai_x_total X.\n# TYPE sokuhai_x_total gauge\nsokuhai_x_total 1\n",
        "# HELP sokuhai_x X.\n# TYPE sokuhai_x gauge\nsokuhai_x 1\nsokuhai_x 2\n",
        "sokuhai_x 1\n",
        "# HELP sokuhai_days X.\n# TYPE sokuhai_age_days gauge\n",
    ],
)
def test_the_check_itself_finds_something(wrong):
    with pytest.raises((AssertionError, IndexError)):
        lint(wrong)


def test_every_column_is_in_it_once_and_none_that_is_unknown():
    columns = [column for _name, _kind, _help, of, *_factor in prometheus.FAMILIES for column in of.values()]
    assert sorted(columns) == sorted(set(samples.COLUMNS) - {"seconds"})
    found = lint(prometheus.exposition({"time": 5, "named_running": None}, {}))
    assert {name for name, _labels in found} == {"sokuhai_sample_timestamp_seconds", "sokuhai_alarm"}
    assert len(found) == 1 + len(alarms.ALARMS)


def test_what_is_counted_grows_and_what_is_measured_does_not(tmp_path):
    path = tmp_path / "sokuhai.prom"
    file = prometheus.Textfile(str(path))
    for row in ({"mails_in": 3, "files": 7}, {"mails_in": None, "files": 7}, {"mails_in": 2, "files": 7}):
        file.write({"time": 1, **row}, {})
    found = lint(path.read_text())
    assert (found["sokuhai_messages_received_total", None], found["sokuhai_host_files", None]) == (5, 7)
    assert [one.name for one in tmp_path.iterdir()] == ["sokuhai.prom"] and path.stat().st_mode & 0o777 == 0o644


def test_a_directory_that_it_may_not_write_in_is_reported_once_and_no_link_is_followed(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(samples.syslog, "syslog", lambda _level, text: logged.append(text))
    (tmp_path / "other").write_text("somebody's\n")
    (tmp_path / "a.prom.new").symlink_to(tmp_path / "other")
    file = prometheus.Textfile(str(tmp_path / "a.prom"))
    file.write({"time": 1}, {})
    file.write({"time": 2}, {})
    assert len(logged) == 1 and (tmp_path / "other").read_text() == "somebody's\n"
    (tmp_path / "a.prom.new").unlink()
    file.write({"time": 3}, {})
    assert len(logged) == 2 and "written again" in logged[1]
    prometheus.Textfile("").write({"time": 1}, {})
