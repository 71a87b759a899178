# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A headless Chromium, driven by its DevTools protocol over two pipes (--remote-debugging-pipe): no port, no driver, no further package.

Protocol: https://chromedevtools.github.io/devtools-protocol/ (domains Target, Page, Runtime, Log, Network, Emulation, Input).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chromium-shell")
# No service of the browser's own may ask the network, or a test could not tell whether the page does.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--mute-audio",
    "--no-default-browser-check",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)


def program():
    """Path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One process with its own profile, which ends with the object; every wait has an end."""

    def __init__(self, timezone="Asia/Tokyo", timeout=60):
        self.timeout, self.number, self.events, self.rest = timeout, 0, [], b""
        self.profile = tempfile.mkdtemp(prefix="sokuhai-page-")
        to_child, self.output = os.pipe()
        self.input, from_child = os.pipe()

        def handed():
            # 3 and 4 are what the browser reads and writes; first out of the way of each other
            one, two = os.dup(to_child), os.dup(from_child)
            os.dup2(one, 3)
            os.dup2(two, 4)

        self.log = open(os.path.join(self.profile, "log"), "w+b")
        self.process = subprocess.Popen(
            [program(), *FLAGS, "--remote-debugging-pipe", "--user-data-dir=" + self.profile, "about:blank"],
            preexec_fn=handed,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=dict(os.environ, TZ=timezone, HOME=self.profile),
            start_new_session=True,
        )
        os.close(to_child)
        os.close(from_child)

    def close(self):
        try:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        finally:
            os.close(self.output)
            os.close(self.input)
            self.log.close()
            shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self, deadline):
        """The next message of the browser."""
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.input], [], [], left)[0]:
                raise TimeoutError(
                    "the browser does not answer: %s" % open(self.log.name, errors="replace").read()[-2000:]
                )
            block = os.read(self.input, 1 << 20)
            if not block:
                raise RuntimeError("the browser ended: %s" % open(self.log.name, errors="replace").read()[-2000:])
            self.rest += block
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.number += 1
        wanted = self.number
        message = {"id": wanted, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.output, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.timeout
        while True:
            answer = self.read(deadline)
            if answer.get("id") == wanted:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def open(self, path, **options):
        return Tab(self, path, **options)


class Tab:
    """A page from a file, as a reader with this language, scheme and screen sees it. problems: what it complained of or asked the network for."""

    def __init__(self, browser, path, language="en", dark=False, width=1280, height=900, phone=False):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.target, self.session = (
            target,
            browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"],
        )
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        agent = browser.call("Browser.getVersion")["userAgent"]
        self.call(
            "Emulation.setUserAgentOverride",
            userAgent=agent,
            acceptLanguage={"ja": "ja-JP,ja;q=0.9,en;q=0.5"}.get(language, language),
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        browser.events.clear()
        self.url = "file://" + os.path.abspath(path)
        self.call("Page.navigate", url=self.url)
        self.until("location.protocol === 'file:' && document.readyState === 'complete'")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def run(self, script):
        """The value of a JavaScript expression (a promise is waited for)."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(
                "%s: %s"
                % (
                    script,
                    answer["exceptionDetails"].get("exception", {}).get("description", answer["exceptionDetails"]),
                )
            )
        return answer["result"].get("value")

    def until(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not self.run("Boolean(%s)" % condition):
            if time.monotonic() > deadline:
                raise TimeoutError("never true: " + condition)
            time.sleep(0.05)

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13, "ArrowRight": 39, "End": 35, "Home": 36}[name],
                **({"text": "\r"} if name == "Enter" and kind == "keyDown" else {}),
            )

    def drawn(self):
        """Have every chart on the page drawn: open what is folded, and bring each into view."""
        self.run(
            "(async () => { for (const one of document.querySelectorAll('details.host')) one.open = true;"
            " for (const plot of document.querySelectorAll('.plot')) { plot.scrollIntoView();"
            " for (let n = 0; n < 100 && !plot.dataset.drawn; n++) await new Promise((done) => setTimeout(done, 20)); }"
            " scrollTo(0, 0); await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); })()"
        )

    def picture(self, whole=True):
        """A PNG of the screen or of the whole page."""
        return base64.b64decode(
            self.call(
                "Page.captureScreenshot",
                format="png",
                captureBeyondViewport=whole,
                **(
                    {
                        "clip": dict(
                            self.run(
                                "({x: 0, y: 0, width: innerWidth, height: document.documentElement.scrollHeight, scale: 1})"
                            )
                        )
                    }
                    if whole
                    else {}
                ),
            )["data"]
        )

    def paper(self):
        """The page as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def problems(self):
        """Errors and warnings of the console, exceptions, and requests for anything but the file itself."""
        self.run("new Promise((done) => setTimeout(done, 50))")
        told = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            given = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                told.append(
                    "exception: %s"
                    % given["exceptionDetails"]
                    .get("exception", {})
                    .get("description", given["exceptionDetails"]["text"])
                )
            elif event["method"] == "Runtime.consoleAPICalled":
                told.append("console: %s" % [one.get("value") for one in given["args"]])
            elif event["method"] == "Log.entryAdded" and given["entry"]["level"] in ("warning", "error"):
                told.append("log: %s" % given["entry"]["text"])
            elif event["method"] == "Network.requestWillBeSent" and given["request"]["url"] != self.url:
                told.append("request: %s" % given["request"]["url"])
        return told

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
