"""Every built page, opened from disk in a real browser with the network off."""

import os
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"]] + [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
# Raised by the theme itself on every page, in the browser's console, without effect.
THEMES_OWN = ("THEBE_JS_URL", "invalid theme mode")


@pytest.fixture(scope="module")
def built():
    if not (HTML / "index.html").is_file():
        if os.environ.get("CCB_REQUIRE_BOOK"):
            pytest.fail("CCB_REQUIRE_BOOK is set, but the book is not built")
        pytest.skip("the book is not built (make book)")
    return HTML


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_without_the_web(built, browser, keep_screenshot, page, width):
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    tab = context.new_page()
    asked, errors = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    tab.goto(f"file://{built}/{page}.html")
    tab.wait_for_load_state("networkidle")
    if tab.locator(".math").count():
        tab.wait_for_selector("mjx-container svg")
        assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [error for error in errors if not any(own in error for own in THEMES_OWN)] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    keep_screenshot(tab, f"{page.replace('/', '-')}-{width}")
    context.close()
