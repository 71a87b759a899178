# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Large messages on the page: reasons, curves, and what is left out of a report."""

import sample_report
from drift_report import page, shown
from page_reader import Read, clean


def test_mailings_are_shown_with_reasons_curve_and_the_command_for_the_dead():
    report = clean(mailings=shown.sane("mailings", sample_report.MAILINGS))
    sample_report.validate(report)
    text = page.render(report)
    for words_ in (
        "19,498 delivered",
        "DNS 34; ",
        "greylisted",
        " 310; ",
        "no such address",
        " 118; ",
        "rejected by policy",
        "118 addresses do not exist",
        "sokuhai-report --dead '<20261128.alert@home.example>' > dead.txt",
        "and 1,630 more",
        "not reached",
        "/var/log/maillog.5.bz2",
    ):
        assert words_ in "".join(Read(text).all), words_
    folded = [given for tag, given in Read(text).found if tag == "details" and given.get("class") == "mailing"]
    assert [("open" in given) for given in folded] == [True, False, False]
    lines = [given["points"].split() for tag, given in Read(text).found if tag == "polyline"]
    # the first stops at 95 %, as the rest was not served; the last one at a quarter
    assert (
        [len(points) for points in lines] == [21, 22, 7]
        and lines[1][:2] == ["0.0,60.0", "14.3,60.0"]
        and lines[1][-1] == "300.0,0.0"
    )


def test_a_host_without_large_messages_has_no_such_part():
    assert 'class="mailings"' not in page.render(clean(mailings={"mailings": [], "left_out": []}))
    assert 'class="mailings"' not in page.render(clean())


def test_mailings_that_are_none_are_left_out_and_no_more_than_a_report_holds():
    odd = {"name": None, "at": "x", "recipients": True, "curve": [1], "spent": [], "seconds": {"50": -1, "99": "x"}}
    crowd = {"%d.test" % number: {"recipients": 1} for number in range(50)}
    found = shown.sane("mailings", {"mailings": [3, odd, {"groups": {**crowd, "x": 3}}, *[{}] * 50], "left_out": 3})
    sample_report.validate(clean(mailings=found))
    first, second = found["mailings"][:2]
    assert (first["name"], first["at"], first["recipients"], first["curve"], first["spent"]) == (
        "None",
        None,
        0,
        [],
        None,
    )
    assert first["seconds"] == {"50": None, "95": None, "99": None, "100": None}
    assert len(second["groups"]) == 20 and second["other_groups"] == 30 and len(found["mailings"]) == 20
