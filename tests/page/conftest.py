"""The installed Chromium, driven by Playwright, and the sample reports as pages."""

import shutil

import pytest
import sample_report
from drift_report import page
from playwright.sync_api import sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chromium-shell")
#: Pictures must not depend on the machine's screen or fonts' rendering; root may run the tests
FLAGS = ("--no-sandbox", "--force-color-profile=srgb", "--font-render-hinting=none")
LANGUAGES = {"ja": "ja-JP", "en": "en", "de": "de"}


@pytest.fixture(scope="session")
def chromium():
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        pytest.fail("no Chromium: apt-get install chromium-headless-shell fonts-ipafont-gothic")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """A folder with NAME.html of each sample report."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("one", "ten", "well", "alarmed", "hostile"):
        (folder / (name + ".html")).write_text(page.render(getattr(sample_report, name)()))
    return folder


@pytest.fixture
def opened(chromium, pages):
    """opened(NAME or path): the page as a reader with this language, scheme and screen sees it. `problems` of it: what it complained of, or asked the network for."""
    contexts = []

    def opens(name, language="en", dark=False, width=1280, height=900, phone=False):
        context = chromium.new_context(
            locale=LANGUAGES[language],
            color_scheme="dark" if dark else "light",
            timezone_id="Asia/Tokyo",
            viewport={"width": width, "height": height},
            device_scale_factor=2 if phone else 1,
            is_mobile=phone,
        )
        contexts.append(context)
        tab, url = context.new_page(), (pages / name).with_suffix(".html").as_uri()
        tab.problems = []
        tab.on("console", lambda message: tab.problems.append("console: " + message.text))
        tab.on("pageerror", lambda error: tab.problems.append("exception: %s" % error))
        tab.on("request", lambda request: request.url != url and tab.problems.append("request: " + request.url))
        tab.goto(url)
        return tab

    yield opens
    for context in contexts:
        context.close()
