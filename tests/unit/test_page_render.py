# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The page without a browser: what it reckons, that nothing from a host becomes markup, that its colours can be told apart. tests/page has the browser."""

import base64
import hashlib
import html
import json
import pathlib
import re

import pytest
import sample_report
from drift_report import page, samples, shown, words
from drift_report.page import ceilings, chart_data, charts, judgement, language, pieces
from drift_report.page.elements import el, embedded, visible
from page_reader import Read, clean

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tools" / "drift_report" / "page"
UPLOT = HERE / "vendor" / "uplot"
PAGES = {name: getattr(sample_report, name)() for name in ("one", "ten", "well", "alarmed", "hostile")}


@pytest.fixture(scope="module")
def rendered():
    return {name: page.render(report) for name, report in PAGES.items()}


# ---- the library ----


def test_the_library_is_the_one_on_record_with_its_licence_and_the_page_holds_it_whole(rendered):
    source, program = json.loads((UPLOT / "source.json").read_text()), (UPLOT / "uPlot.iife.min.js").read_text()
    found = {path.name: hashlib.sha512(path.read_bytes()).hexdigest() for path in UPLOT.iterdir()}
    del found["source.json"]
    assert found == source["files"]
    assert "The MIT License" in (UPLOT / "LICENSE").read_text() and source["license"] == "MIT"
    assert "(v%s)" % source["version"] in program[:200] and program in rendered["one"]
    assert source["archive"].endswith("-%s.tgz" % source["version"])
    assert re.fullmatch(r"[0-9a-f]{128}", source["archive_sha512"])


# ---- nothing becomes markup, nothing asks the network ----


@pytest.mark.parametrize("name", PAGES)
def test_every_element_is_one_of_ours_and_closed(rendered, name):
    read = Read(rendered[name])
    assert read.stack == []
    tags = [tag for tag, _ in read.found]
    assert (
        tags.count("script") == 3
        and tags.count("style") == 1
        and not set(tags) & {"img", "iframe", "object", "embed", "link", "form", "base"}
    )
    for tag, attributes in read.found:
        assert not [
            key
            for key in attributes
            if key.startswith("on") or key in ("style", "src", "srcset", "action", "formaction")
        ], (tag, attributes)
        assert attributes.get("href", "#").startswith("#"), attributes
    ids = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_lets_only_these_scripts_and_styles_run(rendered, name):
    read = Read(rendered[name])
    policy = next(
        attributes["content"]
        for _, attributes in read.found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    given = dict((part.split()[0], part.split()[1:]) for part in policy.split(";"))
    assert given["default-src"] == ["'none'"] and "unsafe" not in policy and "http" not in policy and "*" not in policy

    def digest(text):
        return "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert {digest(text) for text in read.of("script")[1:]} == set(given["script-src"])
    assert {digest(text) for text in read.of("style")} == set(given["style-src"])


def test_what_a_hostile_host_says_is_text(rendered):
    read, evil = Read(rendered["hostile"]), visible(sample_report.EVIL)
    assert "broken in" in rendered["hostile"]
    assert any(evil in text for text in read.of("code")), "it is shown as it came"
    for character in "\u202e\x1b\x00\u2028":
        assert character not in rendered["hostile"]
    assert "<U+202E>gnp.exe" in "".join(read.all)
    rendered["hostile"].encode()
    assert json.loads(read.of("script")[0])["hosts"][0]["time"]


def test_text_is_escaped_and_attributes_cannot_be_left():
    assert el("p", "<b>&", cls='"><script>') == '<p class="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;</p>'
    assert el("p", el("b", "x"), None, False, ["y", "<"]) == "<p><b>x</b>y&lt;</p>"
    text = embedded({"</script>": "<!--&>"})
    assert "<" not in text and json.loads(text) == {"</script>": "<!--&>"}


# ---- both languages ----


def test_both_languages_say_the_same_things():
    forms = {key: words.forms(key) for key in words.WORDS}
    for key, texts in forms.items():
        one, many, japanese = (set(re.findall(r"\{(\w+)\}", text)) for text in texts)
        assert one == many == japanese, key
    same = {key for key, (one, _many, japanese) in forms.items() if one == japanese}
    # the names of Postfix's queues and of what has no other name
    assert same == {
        "queue_active",
        "queue_deferred",
        "queue_incoming",
        "queue_hold",
        "queue_maildrop",
        "deferred_dns",
        "postscreen_hits",
        "dnsbl_hits",
        "spf_fails",
    }
    in_japanese = {key for key in forms if re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", forms[key][2])}
    assert in_japanese >= set(forms) - same


def test_every_word_is_said_somewhere(monkeypatch):
    said = set()

    def noted(key, forms=words.forms):
        said.add(key)
        return forms(key)

    for part in (language, charts, page):
        monkeypatch.setattr(part, "forms", noted)
    error = {"error": "e"}
    quiet = {
        "traps": {"a@example.org": {"taken": 0, "refused": 0}},
        "rules": {},
        "clients": {},
        "missing": ["/var/log/maillog"],
    }
    links = sample_report.chain()
    links["links"][2]["will"] += 1
    links["links"][3].update(ok=False, mend="")
    swapping = sample_report.samples(1, until=sample_report.NOW - 7200, days=1, senders=1)
    swapping["columns"]["swap_used"] = list(swapping["columns"]["swap_total"])
    hosts = {
        "a": sample_report.host("clean", samples=error, traps=error, mailings=error),
        "b": sample_report.host("clean", chain=links, samples=swapping, traps=quiet),
    }
    reports = [sample_report.report({}, code=1), sample_report.report(hosts), clean()]
    for report in (*PAGES.values(), *reports):
        page.render(report)
    # handed to the script; a remedy has its sentence from remedies.py
    assert {key for key in set(words.WORDS) - said if not key.startswith("remedy_")} == {"ceiling"}


@pytest.mark.parametrize("name", PAGES)
def test_all_that_is_said_is_said_in_both_languages(rendered, name):
    languages = [attributes["lang"] for tag, attributes in Read(rendered[name]).found if attributes.get("class") == "w"]
    assert languages.count("en") == languages.count("ja") > 50


# ---- colours ----


def colours(dark):
    """The colours of page.css by name, in one scheme; the dark one replaces those that it names."""
    text = (HERE / "page.css").read_text()
    light, rest = text.split("@media", 1)
    shown = light + rest.split(":root.paper {")[0] if dark else light
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", shown))


def contrast(one, other):
    """Contrast ratio of two colours by WCAG 2.2 (relative luminance)."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_readable(dark):
    palette = colours(dark)
    assert len(palette) == 21 and (not dark or palette != colours(False))
    for ground in ("ground", "panel"):
        for name in ("text", "muted", "link", "bad", "warn", "good", "add", "del"):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    for name in ("s0", "s1", "s2", "s3", "s4", "s5", "s6", "idle", "bad", "warn"):
        assert contrast(palette[name], palette["ground"]) >= 3, name
    for name in ("s0", "warn", "bad"):
        assert contrast(palette[name], palette["track"]) >= 3, "%s on the bar's track" % name


def test_no_line_is_told_by_its_colour_alone():
    most = max(len(wanted) for _, _, wanted in chart_data.CHARTS)
    assert len({tuple(dash) for dash in charts.DASHES}) == len(charts.DASHES) >= most
    assert set(pieces.MARKS) == set(judgement.SEVERITY), (
        "each state has a sign of its own beside its colour and its word"
    )


# ---- what it reckons ----


def columns(**given):
    length = len(given["time"])
    return {"seconds": [60] * length, **given}


def test_a_gap_in_the_samples_is_a_gap_in_the_line_and_never_zero():
    found = chart_data.series(columns(time=[0, 60, 120, 1200, 1260], queue_active=[1, 2, None, 4, 5]))
    assert found["time"] == [0, 60, 120, 180, 1200, 1260] and found["queue"]["queue_active"] == [1, 2, None, None, 4, 5]


def test_counts_become_rates_and_uses_shares():
    found = chart_data.series(
        columns(
            time=[60, 120],
            seconds=[60, 30],
            mails_out=[120, None],
            deferred_dns=[5, 5],
            files=[50, 60],
            files_limit=[100, 100],
            named_sockets=[10, 20],
            named_descriptors_limit=[200, None],
        )
    )
    assert found["mails"]["mails_out"] == [2, None] and found["deferred"]["deferred_dns"] == [5, 10]
    assert found["host"]["files"] == {"share": [50, 60], "used": [50, 60], "limit": 100}
    assert found["named"]["named_sockets"]["share"] == [5, None], "without a ceiling there is no share"


def test_a_column_of_which_nothing_is_known_is_not_drawn():
    assert "queue" not in chart_data.series(columns(time=[0, 60], queue_active=[None, None]))


def test_thinning_keeps_peaks_counts_and_the_shape_of_a_mailing():
    week = sample_report.samples(4, points=10080, days=7, gap=False)["columns"]
    week["named_descriptors_limit"][5000] = 100
    thin = samples.thinned(week)
    assert len(thin["time"]) <= samples.POINTS and {len(values) for values in thin.values()} == {len(thin["time"])}
    assert thin["time"] == sorted(set(thin["time"])) and thin["time"][-1] == week["time"][-1]
    for name in ("queue_active", "named_sockets", "files"):
        assert max(thin[name]) == max(week[name])
    for name in ("mails_out", "deferred_dns", "seconds", "greylist_hits", "mails_put_off"):
        assert sum(thin[name]) == pytest.approx(sum(week[name]))
    assert min(thin["named_descriptors_limit"]) == 100
    start = week["time"][6720]
    inside = [at for at in thin["time"] if abs(at - start) < 3 * 3600]
    assert len(inside) > 3 * 6 * 3600 / (7 * 86400) * samples.POINTS, "where something moves the samples are closer"
    assert samples.thinned(thin) == thin


def test_unknown_stays_unknown_when_thinned():
    thin = samples.thinned(columns(time=list(range(0, 60000, 60)), files=[None] * 1000), 10)
    assert thin["files"] == [None] * len(thin["time"])


def judged(name="mx.home.example", report=None):
    return judgement.judge(report or PAGES["one"], name)


def test_the_tightest_link_is_the_one_whose_use_came_nearest_to_its_ceiling():
    found = judged()
    assert found["tight"]["use"] == "named_recursive_clients" and found["tight"]["peak"]["limit"] == 20000
    used = {row["use"]: row["peak"]["share"] for row in found["rows"] if row["peak"]}
    assert set(used) == {use for use in ceilings.CEILINGS} - {"swap_used"} and found["tight"]["peak"]["share"] == max(
        used.values()
    )
    assert [row["name"] for row in found["rows"] if row["name"]] == [
        link["name"] for link in PAGES["one"]["hosts"]["mx.home.example"]["chain"]["links"]
    ]


def test_a_link_is_known_by_its_id_whatever_it_is_called():
    other = sample_report.one()
    for link in other["hosts"]["mx.home.example"]["chain"]["links"]:
        link.update(name="blah", because="blah", mend="blah")
    keys = ("use", "peak", "needed", "raise_", "ok")
    found, renamed = ([{key: row[key] for key in keys} for row in judged(report=one)["rows"]] for one in (None, other))
    assert found == renamed
    assert {"files", "named_sockets", "postfix_descriptors"} < {row["use"] for row in renamed}


def test_a_broken_link_is_tighter_than_any_other():
    found = judged("mx09.home.example", PAGES["ten"])
    assert found["tight"]["ok"] is False and "maxfilesperproc" in found["tight"]["name"] and found["level"] == "drift"


def test_without_samples_the_tightest_link_is_computed_and_said_to_be():
    report = clean(chain=sample_report.chain())
    tight = judged("mx", report)["tight"]
    assert tight["peak"] is None and tight["needed"] == 1
    text = page.render(report)
    assert "Nothing is measured here" in text and "role monitor keeps no samples" in text and "--tags monitor" in text


@pytest.mark.parametrize(
    "name,level",
    [
        ("mx01.home.example", "clean"),
        ("mx03.home.example", "unreachable"),
        ("mx05.home.example", "drift"),
        ("mx06.home.example", "error"),
        ("mx07.home.example", "clean"),
        ("mx08.home.example", "near"),
    ],
)
def test_a_host_has_the_state_of_what_is_worst_of_it(name, level):
    assert judged(name, PAGES["ten"])["level"] == level


STOPPED = {"size": 100, "until": sample_report.NOW - 7200}


@pytest.mark.parametrize(
    "samples, words",
    [({"size": 100, "dns": 20}, ["Names are not resolved", "named's log"]), (STOPPED, ["the monitor has stopped"])],
)
def test_names_that_are_not_resolved_and_a_monitor_that_stopped_are_reported(samples, words):
    report = clean(samples=sample_report.samples(1, **samples))
    text = html.unescape(page.render(report))
    assert judged("mx", report)["level"] == "near" and all(word in text for word in words)


def test_senders_that_are_not_the_users_own_are_reported_and_are_no_alarm():
    report = clean(samples=sample_report.samples(1, size=100, senders=3))
    text = html.unescape(page.render(report))
    assert judged("mx", report)["senders"] == 57 and judged("mx", report)["level"] == "clean"
    assert "users sent to 57 recipients" in text and "not owned by user" in text
    assert "not owned by user" not in html.unescape(page.render(clean(samples=sample_report.samples(1, size=100))))


def test_a_monitor_that_looks_every_hour_has_not_stopped():
    hourly = sample_report.samples(1, size=100, points=168, until=sample_report.NOW - 3000)
    found = judged("mx", clean(samples=hourly))
    assert found["level"] == "clean" and found["stale"] is None


def test_one_step_for_all_that_one_command_puts_right(rendered):
    steps = judged()["steps"]
    assert [command for command, _, _ in steps] == [
        "ansible-playbook playbooks/site.yml --limit mx.home.example --tags postfix,bind",
        "shutdown -r now",
    ]
    assert sum(len(entries) for _, _, entries in steps) == len(PAGES["one"]["findings"]) == 14
    assert steps[0][0] in Read(rendered["one"]).of("code")


def test_what_is_wrong_stands_before_how_near_before_what_to_do(rendered):
    text = rendered["one"]
    places = [
        text.index(words.WORDS[key][0])
        for key in ("attention_one", "wrong", "ceilings", "todo", "charts", "traps", "unknown")
    ]
    assert places == sorted(places)


def test_the_worst_host_comes_first(rendered):
    names = re.findall(r'<a href="#h\d+">(mx\d\d)', rendered["ten"])
    assert names[:5] == ["mx06", "mx03", "mx05", "mx09", "mx08"] and len(names) == 10
    folds = [attributes for _tag, attributes in Read(rendered["ten"]).found if attributes.get("class") == "host"]
    assert ["open" in attributes for attributes in folds] == [True] * 5 + [False] * 5


def test_ten_hosts_with_a_week_of_samples_are_a_small_file(rendered):
    weeks = [host["samples"] for host in PAGES["ten"]["hosts"].values() if "samples" in host]
    assert len(weeks) > 5 and all(len(week["columns"]["time"]) >= 600 for week in weeks)
    assert len(rendered["ten"].encode()) < 2_000_000


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "text",
        {"columns": [1]},
        {"columns": {"time": "x"}},
        {"columns": {"time": [1, "2", None, True, 3, 2, 1e300, float("nan")], "files": [1] * 8}},
        {
            "columns": {
                "time": [10, 20],
                "files": [float("inf"), "<b>"],
                "files_limit": [-1, {}],
                "seconds": [0, 0],
                "mails_out": [5, 5],
            },
            "over": {"x": "y"},
            "from": "z",
        },
        {
            "columns": {"time": [10, 20], "seconds": [None, 60], "files": [[], 2], "short": [1]},
            "rows_read": -4,
            "broken": 1.5,
        },
    ],
)
def test_whatever_a_host_answers_is_drawn_or_left_out(said):
    report = clean(**{what: shown.sane(what, said) for what in shown.FORMS})
    read = Read(page.render(report))
    assert read.stack == []
    json.loads(read.of("script")[0], parse_constant=lambda word: pytest.fail(word))
    sample_report.validate(report)


def test_traps_that_are_no_counts_are_left_out():
    found = shown.sane(
        "traps",
        {
            "traps": {"a": {"taken": 1, "refused": "x", "rules": {"r": 2}}, "b": 3},
            "rules": {"r": 2, "s": True},
            "clients": [],
            "missing": "x",
        },
    )
    assert found == {"traps": {"a": {"taken": 1, "rules": {"r": 2}}}, "rules": {"r": 2}, "clients": {}, "missing": []}


def test_a_report_without_anything_is_a_page_too():
    text = page.render(
        sample_report.report({}, errors=["no host of groups mailhosts and builders was checked"], code=1)
    )
    assert "no host of groups mailhosts and builders was checked" in text and Read(text).stack == []


def test_a_report_of_the_first_version_is_a_page_too():
    old = {
        "schema": 1,
        "started": "2026-11-28T00:01:00+00:00",
        "seconds": 1,
        "exit": 0,
        "hosts": {"mx": {"status": "clean", "messages": [], "notes": []}},
        "findings": [],
        "transitions": {},
        "errors": [],
    }
    assert "mx" in page.render(old)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "hostile"])
def test_the_reports_that_are_drawn_here_are_reports(name):
    sample_report.validate(PAGES[name])
