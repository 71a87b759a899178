# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The page as a reader has it, in headless Chromium: charts are drawn, nothing complains, nothing asks the network, all of it can be reached by keys."""

import base64
import itertools

import pytest
import sample_report
from drift_report import words
from drift_report.page import chart_data
from drift_report.samples import columns_of

READERS = [
    {"language": language, "dark": dark, **screen}
    for language, dark, screen in itertools.product(
        ("en", "ja"), (False, True), ({"width": 1280}, {"width": 360, "height": 740, "phone": True})
    )
]


def draw(tab):
    """Have every chart on the page drawn: open what is folded, and bring each into view."""
    tab.evaluate("for (const one of document.querySelectorAll('details.host')) one.open = true")
    for plot in tab.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    tab.wait_for_function("[...document.querySelectorAll('.plot')].every((one) => one.dataset.drawn)")
    tab.evaluate("scrollTo(0, 0)")
    tab.evaluate(SETTLED)


def named(reader):
    return "-".join(str(value) for value in reader.values())


# share of a picture's pixels that are not its first one's colour, and that one's brightness from 0 to 255
LOOK = """(async () => {
  const bytes = Uint8Array.from(atob("%s"), (one) => one.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, picture.width, picture.height).data.buffer);
  let other = 0;
  for (const one of pixels) if (one !== pixels[0]) other += 1;
  return [other / pixels.length, (pixels[0] & 255), pixels.length];
})()"""


@pytest.mark.parametrize(
    "name,reader",
    [*(("one", reader) for reader in READERS), ("ten", READERS[0]), ("ten", READERS[-1])],
    ids=lambda given: given if isinstance(given, str) else named(given),
)
def test_it_opens_without_a_complaint_and_is_not_blank(opened, name, reader):
    tab = opened(name, **reader)
    first = tab.screenshot()
    draw(tab)
    assert tab.problems == []
    assert tab.evaluate("document.documentElement.lang") == reader["language"]
    assert tab.evaluate("document.title") == words.forms("title")[0 if reader["language"] == "en" else 2]
    assert tab.evaluate(
        "document.querySelectorAll('.plot').length === document.querySelectorAll('.plot[data-drawn] canvas').length"
    )
    assert tab.evaluate("document.querySelectorAll('.plot').length") == {"one": 8, "ten": 56}[name]
    other, ground, count = tab.evaluate(LOOK % base64.b64encode(first).decode())
    assert other > 0.03 and count > 200000 and (ground < 40 if reader["dark"] else ground > 240)


@pytest.mark.parametrize("name", ["one", "ten", "hostile"])
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(opened, name, language, width):
    tab = opened(name, language=language, width=width, height=740, phone=width < 500)
    draw(tab)
    tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    # a diff and a legend scroll in a box of their own
    wide = tab.evaluate(
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('pre.diff, .scroll, .skip, .hidden, .plot, thead') && one.getClientRects().length"
        " && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.tagName + '.' + one.className)"
    )
    assert wide == [] and tab.evaluate("document.documentElement.scrollWidth") == tab.evaluate("innerWidth") == width


# pixels of a chart's canvas that have exactly this colour
COUNT = """((plot, name) => {
  const canvas = plot.querySelector("canvas");
  const wanted = getComputedStyle(document.documentElement).getPropertyValue(name).trim().match(/[0-9a-f]{2}/g).map((one) => parseInt(one, 16));
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at] === wanted[0] && pixels[at + 1] === wanted[1] && pixels[at + 2] === wanted[2] && pixels[at + 3] === 255) count += 1;
  }
  return count;
})(document.querySelector("[data-chart=%s]"), "%s")"""
SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.mark.parametrize("dark", [False, True])
def test_every_line_is_drawn_and_can_be_hidden(opened, dark):
    tab = opened("one", dark=dark)
    draw(tab)
    charts = tab.evaluate("JSON.parse(document.getElementById('data').textContent).charts")
    lines = 0
    for chart, given in charts.items():
        buttons = (
            "[...document.querySelector('[data-chart=%s]').closest('figure').querySelectorAll('[data-series]')]" % chart
        )
        tab.evaluate(buttons + ".forEach((one) => one.click())")
        tab.evaluate(SETTLED)
        for position, _ in enumerate(given["series"]):
            colour = "--s%d" % position
            assert tab.evaluate(COUNT % (chart, colour)) == 0, "%s, %s: hidden" % (chart, colour)
            if not tab.evaluate(buttons + ".some((one) => one.dataset.series === '%d')" % (position + 1)):
                continue
            one = buttons + ".find((one) => one.dataset.series === '%d')" % (position + 1)
            tab.evaluate(one + ".click()")
            tab.evaluate(SETTLED)
            assert tab.evaluate(COUNT % (chart, colour)) > 40, "%s, %s: drawn" % (chart, given["series"][position])
            tab.evaluate(one + ".click()")
            tab.evaluate(SETTLED)
            lines += 1
    # the sample has nothing of log_inodes_used, which gets no line
    assert lines == sum(len(given["series"]) for given in charts.values()) - 1 == 35


def test_ceilings_are_drawn_in_until_one_zooms_to_the_values(opened):
    tab = opened("well")
    draw(tab)
    for chart in ("named", "host"):
        assert tab.evaluate(COUNT % (chart, "--bad")) > 500 and tab.evaluate(COUNT % (chart, "--warn")) > 200
        tab.evaluate(
            "document.querySelector('[data-chart=%s]').closest('figure').querySelector('.zoom').click()" % chart
        )
        tab.evaluate(SETTLED)
        assert tab.evaluate(COUNT % (chart, "--bad")) == 0
    assert tab.evaluate(COUNT % ("queue", "--warn")) == 0


def test_a_gap_is_a_gap(opened):
    """No pixel of the first line in the hours without samples, and some to both sides."""
    tab = opened("one")
    draw(tab)
    series = chart_data.series(columns_of(sample_report.one()["hosts"]["mx.home.example"]))
    times = series["time"]
    gap = next(index for index, value in enumerate(series["kept_out"]["postscreen_hits"]) if value is None)
    probe = """((middle, first, last) => {
      const plot = document.querySelector("[data-chart=kept_out]"), box = plot.querySelector(".u-over").getBoundingClientRect();
      const canvas = plot.querySelector("canvas"), edge = canvas.getBoundingClientRect();
      const wanted = getComputedStyle(document.documentElement).getPropertyValue("--s0").trim().match(/[0-9a-f]{2}/g).map((one) => parseInt(one, 16));
      const column = (x) => {
        const pixels = canvas.getContext("2d").getImageData(x - 3, 0, 7, canvas.height).data;
        return pixels.filter((one, at) => at % 4 === 0 && one === wanted[0] && pixels[at + 1] === wanted[1] && pixels[at + 2] === wanted[2]).length;
      };
      const at = Math.round(box.left - edge.left + box.width * (middle - first) / (last - first));
      return [column(at), column(at - 25), column(at + 25)];
    })"""
    inside, before, after = tab.evaluate(
        "%s(%f, %d, %d)" % (probe, (times[gap] + times[gap + 1]) / 2, times[0], times[-1])
    )
    assert inside == 0 and before > 0 and after > 0


def test_the_reader_can_change_the_language(opened):
    tab = opened("one", language="ja")
    shown = "document.querySelector('.wrong h3').innerText"
    assert tab.evaluate(shown) == words.forms("wrong")[2]
    assert tab.evaluate("document.querySelector('[data-chart=queue]').getAttribute('aria-label')").startswith(
        words.forms("chart_queue")[2]
    )
    tab.evaluate("document.querySelector('[data-language=en]').click()")
    assert tab.evaluate(shown) == "What is wrong" and tab.evaluate("document.documentElement.lang") == "en"
    assert tab.evaluate("document.querySelector('[data-chart=queue]').getAttribute('aria-label')").startswith(
        "Queue, by state"
    )
    assert tab.evaluate("document.querySelector('[data-language=en]').getAttribute('aria-pressed')") == "true"
    assert tab.evaluate(
        "[...document.querySelectorAll('.w')].every((one) => (one.lang === 'en') === (getComputedStyle(one).display !== 'none'))"
    )
    tab.evaluate("try { localStorage.clear() } catch (problem) {}")


def test_another_language_gets_english(opened):
    assert opened("one", language="de").evaluate("document.documentElement.lang") == "en"


def test_times_are_the_readers(opened):
    tab = opened("one")
    assert tab.evaluate("document.querySelector('header time').getAttribute('datetime')") == "2026-11-28T00:01:00Z"
    assert "9:01" in tab.evaluate("document.querySelector('header time').textContent"), "the browser is in Asia/Tokyo"


def test_all_can_be_reached_and_read_by_keys(opened):
    tab = opened("one")
    draw(tab)
    tab.evaluate("document.body.focus()")
    reached = []
    for _ in range(120):
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate(
                "(() => { const one = document.activeElement; return one.tagName + (one.dataset.chart ? ':' + one.dataset.chart : '')"
                " + (one.dataset.series ? ':' + one.dataset.series : '') + (one.className === 'skip' ? ':skip' : ''); })()"
            )
        )
        if reached[-1] == "DIV:kept_out":
            break
    assert reached[0] == "A:skip" and "SUMMARY" in reached and "BUTTON" in reached
    assert [one for one in reached if one.startswith("DIV:")] == ["DIV:" + chart for chart, _, _ in chart_data.CHARTS]
    tab.evaluate("document.querySelector('[data-chart=queue]').focus()")
    tab.keyboard.press("End")
    told = tab.evaluate(
        "document.querySelector('[data-chart=queue]').closest('figure').querySelector('.aloud').textContent"
    )
    assert "active 1" in told.replace("active 0", "active 1") and "9:00" in told
    tab.keyboard.press("Home")
    assert (
        tab.evaluate(
            "document.querySelector('[data-chart=queue]').closest('figure').querySelector('.when').textContent"
        )
        != ""
    )
    tab.evaluate("document.querySelector('.item summary').focus()")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.querySelector('.item').open")


def test_a_span_is_shown_on_all_charts_of_the_host(opened):
    tab = opened("one")
    draw(tab)
    before = [tab.evaluate(COUNT % (chart, "--s0")) for chart in ("queue", "mails")]
    tab.evaluate("document.querySelector('[data-span=\"86400\"]').click()")
    tab.evaluate(SETTLED)
    assert tab.evaluate("document.querySelector('[data-span=\"86400\"]').getAttribute('aria-pressed')") == "true"
    assert [tab.evaluate(COUNT % (chart, "--s0")) for chart in ("queue", "mails")] != before


def test_on_a_phone_what_to_do_is_not_far_below_what_is_wrong(opened):
    tab = opened("one", width=360, height=740, phone=True)
    assert (
        tab.evaluate("document.querySelector('.links').open") is False
        and tab.evaluate("document.querySelector('.gauge').getClientRects().length") == 1
    )
    assert (
        tab.evaluate(
            "document.querySelector('.todo').getBoundingClientRect().top - document.querySelector('.ceilings').getBoundingClientRect().top"
        )
        < 400
    )
    assert opened("one").evaluate("document.querySelector('.links').open") is True


@pytest.mark.parametrize("width", [360, 1280])
def test_a_mailing_has_its_curve_beside_its_numbers_and_is_unfolded_on_paper(opened, width):
    tab = opened("one", width=width, phone=width < 500)
    assert tab.evaluate("[...document.querySelectorAll('.mailing')].map((one) => one.open)") == [True, False, False]
    curve, numbers = (
        tab.evaluate(
            "(() => { const one = document.querySelector('.mailing %s').getBoundingClientRect();"
            " return [one.left, one.top, one.width, one.height]; })()" % part
        )
        for part in (".curve", ".times dl")
    )
    assert curve[2] > 200 and curve[3] > 40
    assert numbers[0] > curve[0] + curve[2] - 1 if width > 500 else numbers[1] > curve[1] + curve[3] - 1
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.querySelectorAll('.mailing:not([open])').length") == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.querySelectorAll('.mailing:not([open])').length") == 2
    assert tab.problems == []


def test_a_host_of_the_summary_is_opened_by_its_link(opened):
    tab = opened("ten")
    assert tab.evaluate("document.getElementById('h9').open") is False
    tab.evaluate("document.querySelector('a[href=\"#h9\"]').click()")
    tab.wait_for_function("document.getElementById('h9').open")
    assert tab.evaluate("document.activeElement.parentElement.id") == "h9"
    draw(tab)
    assert tab.problems == []


def test_ten_hosts_open_at_once_and_their_charts_are_drawn_when_they_are_looked_at(opened):
    tab = opened("ten")
    assert tab.evaluate("document.querySelectorAll('.plot canvas').length") < 12
    assert tab.evaluate(
        "[...document.querySelectorAll('.summary tbody tr')].every((row) => row.getBoundingClientRect().bottom < innerHeight)"
    ), "ten hosts on one screen"


def test_what_a_hostile_host_says_does_nothing(opened):
    tab = opened("hostile")
    draw(tab)
    assert tab.problems == []
    assert tab.evaluate("document.title") == words.forms("title")[0]
    assert (
        tab.evaluate("document.querySelectorAll('img, iframe, object').length") == 0
        and tab.evaluate("document.scripts.length") == 3
    )


def test_even_markup_that_got_in_could_neither_run_nor_ask_the_network(opened):
    tab = opened("one")
    told = tab.evaluate("""(async () => {
      const told = [];
      addEventListener("securitypolicyviolation", (event) => told.push(event.effectiveDirective));
      const put = (tag, given) => document.body.append(Object.assign(document.createElement(tag), given));
      put("script", { textContent: "document.title = 'broken in'" });
      put("img", { src: "http://192.0.2.1/x.png" });
      put("style", { textContent: "body { display: none }" });
      document.body.insertAdjacentHTML("beforeend", "<p onclick='1' style='color: red'>");
      await fetch("http://192.0.2.1/").catch(() => 0);
      for (let n = 0; n < 100 && new Set(told).size < 5; n++) await new Promise((done) => setTimeout(done, 100));
      return told;
    })()""")
    assert {"script-src-elem", "img-src", "style-src-elem", "connect-src", "style-src-attr"} <= set(told)
    assert (
        tab.evaluate("document.title") != "broken in"
        and tab.evaluate("getComputedStyle(document.body).display") != "none"
    )


def test_it_prints_with_its_charts_on_white(opened):
    tab = opened("ten", dark=True)
    paper = tab.pdf()
    assert paper.startswith(b"%PDF-") and len(paper) > 100000
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.querySelectorAll('.plot canvas').length") == 56, "those that were folded, too"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert tab.problems == []


def test_without_scripts_all_but_the_charts_is_there(opened, pages, tmp_path):
    text = (pages / "one.html").read_text()
    (tmp_path / "bare.html").write_text(text[: text.index("<script")] + "</body></html>")
    tab = opened(tmp_path / "bare")
    assert (
        "82 %" in tab.evaluate("document.body.innerText")
        and "What to do" in tab.evaluate("document.body.innerText")
        and "対処" not in tab.evaluate("document.body.innerText")
    )
    assert "2026-11-28 00:01 UTC" in tab.evaluate("document.body.innerText")
