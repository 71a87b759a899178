"""bench/lane.py: what is judged of its runs, and how the page shows them."""

import performance

from bench.lane import LIMIT, judged

RUNS = [
    {"round": number, "arm": arm, "idle": 4.0, "pressed": 5.0, "behind": behind, "waiting": 1900, "load": 2.0}
    for arm, *behinds in (("none", 80.0, None, 60.0), ("lane", 4.0, 5.0, 3.0))
    for number, behind in enumerate(behinds, 1)
]


def test_the_median_of_the_ratios_counts_and_an_alert_that_never_came_as_the_limit():
    assert judged(RUNS) == {"none": 20.0, "lane": 1.0}
    assert judged(RUNS, "pressed") == {"none": 1.25, "lane": 1.25}
    assert judged([{**run, "behind": None} for run in RUNS])["lane"] == LIMIT / 4


def test_the_page_shows_each_run_and_says_where_it_was_ended():
    data = {
        "runs": RUNS,
        "judged": judged(RUNS),
        "under": judged(RUNS, "pressed"),
        "press": 500,
        "alert": 200,
        "mailing": 2000,
        "processes": 100,
        "limit": LIMIT,
    }
    lines = performance.lane({**data, "date": "2026-11-30", "commit": "abc"})
    assert "20 times as long as on the idle host without the lane and 1 times" in lines[0]
    assert f"| without | 2 | 4.0 | 5.0 | over {LIMIT} | 1900 | 2.0 |" in lines and len(lines) == 2 + 2 + len(RUNS)
