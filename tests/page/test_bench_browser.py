# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The bench's page and picture as a reader sees them: on a screen and a phone, light and dark, with nothing but the file."""

import bench_results
import pytest

from bench import curves, page

BACKGROUND = "getComputedStyle(document.querySelector('.curves .ground')).fill"


@pytest.fixture(scope="module")
def bench_page(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "bench.html"
    path.write_text(page.render(bench_results.results()))
    return path


@pytest.mark.parametrize("phone", [False, True])
def test_every_curve_is_drawn_and_nothing_is_wider_than_the_screen(opened, bench_page, phone):
    tab = opened(bench_page, width=390 if phone else 1280, phone=phone)
    assert tab.problems == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    lines = tab.locator("figure polyline")
    sizes = lines.evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    # each arm's line, ours and the ceiling in both pictures of the accepting, and one of the tried
    assert len(sizes) == 9 + 9 and min(sizes) > 50


def test_the_scheme_is_the_readers(opened, bench_page):
    light, dark = (opened(bench_page, dark=dark).evaluate(BACKGROUND) for dark in (False, True))
    assert light == "rgb(255, 255, 255)" and dark == "rgb(18, 22, 27)"


def test_the_picture_alone_has_its_colours_and_names(opened, tmp_path):
    text = curves.picture(bench_results.results())
    (tmp_path / "picture.html").write_text(text)
    for dark, colour in ((False, "rgb(11, 95, 176)"), (True, "rgb(108, 182, 255)")):
        tab = opened(tmp_path / "picture.html", dark=dark)
        assert tab.evaluate("getComputedStyle(document.querySelector('.k0')).stroke") == colour
        assert "stock-free" in tab.locator("svg text").all_text_contents()
