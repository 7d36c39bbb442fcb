"""A real Chromium for the tests beside this file.

One that is installed, never one that is downloaded.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LOUD = ("error", "warning")
# The theme declares a constant twice where it has no launch buttons, and finds no theme stored at
# the first visit. A build of this book has neither (`book/mend_html.py`).
THEMES_OWN = ("THEBE_JS_URL", "invalid theme mode")

_missing = set()


def need(found, what):
    """Skip, to be told at the end of the run.

    Fail where CCB_REQUIRE_BROWSER=1 says that a skip is no pass.
    """
    if found:
        return
    if os.environ.get("CCB_REQUIRE_BROWSER") == "1":
        pytest.fail(f"CCB_REQUIRE_BROWSER=1, but there is no {what}.")
    _missing.add(what)
    pytest.skip(
        f"There is no {what}: THE EXPLORER WAS NOT TRIED IN A BROWSER. Install it to run this test."
    )


def pytest_terminal_summary(terminalreporter):
    for what in sorted(_missing):
        terminalreporter.write_line(
            f"THE EXPLORER WAS NOT TRIED IN A BROWSER: there is no {what}.", red=True, bold=True
        )


@pytest.fixture(scope="session")
def require():
    return need


@pytest.fixture(scope="session")
def browser():
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    need(executable, f"Chromium (looked for {', '.join(NAMES)})")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a page with the network off.

    Fail the test if anything was asked of it, or if the console holds a message. ``serve`` answers
    requests for addresses of the host ``book.test``.
    """
    opened = []

    def open_page(uri, serve=None, **settings):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        outside, messages = [], []
        context.route(
            re.compile("^(?!file:|data:|blob:)"),
            lambda route: (outside.append(route.request.url), route.abort()),
        )
        if serve:
            context.route("http://book.test/**", serve)
        else:
            context.set_offline(True)
        page = context.new_page()
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on(
            "console",
            lambda message: messages.append(message.text) if message.type in LOUD else None,
        )
        page.goto(uri)
        opened.append((context, outside, messages))
        return page

    yield open_page
    for context, outside, messages in opened:
        context.close()
        assert outside == []
        assert [text for text in messages if not any(own in text for own in THEMES_OWN)] == []


@pytest.fixture
def keep_screenshot(request):
    """Keep a picture of what was tested where CCB_SCREENSHOTS names a folder.

    It is for people to look at.
    """

    def keep(target, name, **options):
        if folder := os.environ.get("CCB_SCREENSHOTS"):
            target.screenshot(path=Path(folder) / f"{request.node.name}-{name}.png", **options)

    return keep
