# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The bench's page and README's picture: which curves they have, and that nothing in the results becomes markup."""

import html
import json
import math
import pathlib
import re
import xml.etree.ElementTree

import bench_results
import pytest

from bench import curves, page

ROOT = pathlib.Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def results():
    return bench_results.results()


def drawn(svg):
    """The curves of a picture, as lists of (x, y); the short ones of the key are left out."""
    lines = [line.get("points").split() for line in xml.etree.ElementTree.fromstring(svg).iter(SVG + "polyline")]
    return [[tuple(map(float, point.split(","))) for point in line] for line in lines if len(line) > 2]


def test_a_curve_is_the_median_run_and_not_a_failed_one(results):
    runs = [run for run in results["runs"] if run["arm"] == "exim"]
    assert curves.median_run(runs)["round"] == 2
    assert curves.median_run(runs[3:]) is None
    slow = [{**run, "seconds": {"99": None}} for run in runs[:2]]
    assert curves.median_run([*slow, runs[2]])["seconds"]["99"] is None


def test_the_picture_has_stock_and_ours_and_says_when_all_were_served(results):
    lines = curves.lines_of(results, (1000, 200), names=curves.SHOWN)
    assert [name for name, *_rest in lines] == ["stock-provider", "stock-free", "article", "ours", "ceiling"]
    found = drawn(curves.picture(results))
    assert len(found) == len(lines)
    provider, ours = found[0], found[3]
    whole = curves.LEFT + (curves.RIGHT - curves.LEFT) * math.log(9 * 1.2) / math.log(240)
    first = min(x for x, y in ours if y == curves.TOP)
    assert first == pytest.approx(whole, abs=0.5), "all are served where the last one was"
    # of 480 s half is over at the end of the axis
    assert provider[-1][1] == pytest.approx((curves.TOP + curves.BOTTOM) / 2, abs=2) and provider[-1][0] == curves.RIGHT


def test_a_curve_never_falls_and_starts_at_nobody(results):
    for line in drawn(curves.picture(results)):
        assert line[0] == (curves.LEFT, curves.BOTTOM)
        assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in zip(line, line[1:]))


def test_no_two_lines_of_a_picture_look_alike():
    assert sorted(curves.patterns(curves.SHOWN).values()) == list(range(curves.LINES))
    found = curves.patterns(["ours", "exim", "opensmtpd", "haraka", "ceiling"])
    assert len(set(found.values())) == 5 and found["ours"] == curves.PATTERNS["ours"]


def test_every_arm_is_in_one_picture_at_least(results):
    shown = {name for _heading, names in page.groups(results) for name in names}
    assert shown == set(results["arms"])
    assert all(len(names) <= curves.LINES for _heading, names in page.groups(results))


def test_the_page_asks_for_nothing_and_has_no_script(results):
    text = page.render(results)
    assert "<script" not in text and "default-src 'none'; script-src ;" in html.unescape(text)
    assert not re.findall(r'(?:src|href)="|url\(|@import', text)


def test_the_page_says_each_goal_and_what_was_found(results):
    text = page.render(results)
    assert "2 of 3 goals reached" in text
    assert "stock-provider takes at least 5 times as long as ours" in text and "more than 26.70" in text
    assert "▲ missed" in text and "over 240 s" in text
    assert "First attempt made, of those whose server defers it" in text
    assert "First deferred, of those whose server does not answer" not in text, "nobody has such a curve"


def test_what_an_arm_says_of_itself_is_text(results):
    text = page.render(results)
    assert "<b>odd</b>" not in text and "&lt;b&gt;odd&lt;/b&gt;" in text and "did &lt;not&gt; start" in text


def test_the_colours_of_the_picture_are_those_of_the_page():
    css = (ROOT / "tools" / "drift_report" / "page" / "page.css").read_text()
    light, dark = css.split("prefers-color-scheme: dark")[:2]
    own_light, own_dark = curves.STYLE.split("prefers-color-scheme: dark")
    for theirs, ours in ((light, own_light), (dark, own_dark)):
        for name in ("text", "muted", "grid", *(f"s{n}" for n in range(curves.LINES))):
            colours = {re.search(rf"--{name}: (#\w+);", one)[1] for one in (theirs, ours)}
            assert len(colours) == 1, name


def test_readmes_picture_belongs_to_the_results():
    path = ROOT / "tests" / "results" / "bench.json"
    if not path.exists():
        pytest.skip("make bench, which writes both, was not run yet")
    results = json.loads(path.read_text())
    picture = ROOT / "docs" / "performance.svg"
    assert picture.read_text() == curves.picture(results), "PYTHONPATH=lab:tools python -m bench.page"
    assert "docs/performance.svg" in (ROOT / "README.md").read_text()
