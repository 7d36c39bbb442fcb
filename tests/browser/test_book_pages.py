"""Every built page in a real browser, opened from disk with the network off.

Nothing is asked of the web, the console stays silent, no page is wider than the screen, and
axe-core finds nothing serious in either theme.
"""

import contextlib
import os
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"]] + [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
PHONE, DESKTOP = 390, 1280
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
COLOURS = ["color-contrast", "link-in-text-block"]
OFF = {rule: {"enabled": False} for rule in COLOURS}
THEME = "theme => document.documentElement.dataset.theme = theme"
# Colours must not be looked at while they fade from one theme to the other.
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"
# A page of the library has hundreds of entries of one form; the first few stand for the others. So
# do the first rows of a table, the first explorer, and the first of the words of code in a colour.
SHORTEN = """() => {
  [...document.querySelectorAll(".bd-article dl.py")].slice(8).forEach(entry => entry.remove());
  [...document.querySelectorAll(".cell_output tbody tr:nth-child(n + 7)")]
    .filter(row => !row.closest(".ccb-explorer")).forEach(row => row.remove());
  [...document.querySelectorAll(".ccb-explorer")].slice(1).forEach(explorer => explorer.remove());
  const seen = new Set();
  for (const word of document.querySelectorAll(".highlight span[class]")) {
    if (seen.has(word.className)) word.replaceWith(word.textContent);
    seen.add(word.className);
  }
}"""
# The theme makes what scrolls reachable by keyboard a moment after the width has changed.
SETTLED = """() => [...document.querySelectorAll("pre, .output.text_html")].every(
  part => part.scrollWidth <= part.clientWidth || part.tabIndex === 0)"""


@pytest.fixture(scope="module")
def context(browser):
    if not (HTML / "index.html").is_file():
        if os.environ.get("CCB_REQUIRE_BOOK"):
            pytest.fail("CCB_REQUIRE_BOOK is set, but the book is not built")
        pytest.skip("the book is not built (make book)")
    context = browser.new_context(
        viewport={"width": PHONE, "height": 800}, offline=True, reduced_motion="reduce"
    )
    context.set_default_timeout(120_000)
    yield context
    context.close()


@pytest.fixture(scope="module")
def axe():
    pytest.importorskip("axe_playwright_python", reason="it carries the script of axe-core")
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_without_the_web(context, axe, keep_screenshot, page):
    tab = context.new_page()
    asked, messages, violations, overflow = [], [], [], {}
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on(
        "console",
        lambda said: messages.append(said.text) if said.type in ("error", "warning") else None,
    )
    tab.set_viewport_size({"width": PHONE, "height": 800})
    tab.goto(f"file://{HTML}/{page}.html", wait_until="load")
    if tab.locator(".math").count():
        tab.wait_for_selector("mjx-container svg")
    assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0

    tab.add_style_tag(content=STILL)
    for width in (360, PHONE, DESKTOP):
        tab.set_viewport_size({"width": width, "height": 800})
        overflow[width] = tab.evaluate("document.documentElement.scrollWidth")
        for theme in ("light", "dark") if "CCB_SCREENSHOTS" in os.environ else ():
            tab.evaluate(THEME, theme)
            keep_screenshot(tab, f"{page.replace('/', '-')}-{width}-{theme}", full_page=True)

    tab.evaluate(SHORTEN)
    tab.evaluate(axe)
    for width in (PHONE, DESKTOP):
        tab.set_viewport_size({"width": width, "height": 800})
        # Contrast does not change with the width, and what surrounds the text is the same on all
        # pages: looked at on the first one.
        where = {} if page == TOC["root"] else {"include": ["article.bd-article"]}
        for theme in ("light", "dark") if where == {} or width == PHONE else ():
            tab.evaluate(THEME, theme)
            violations += _violations(tab, where, {"runOnly": COLOURS}, f"{width} px, {theme}")
        with contextlib.suppress(Exception):  # axe-core says what cannot be reached
            tab.wait_for_function(SETTLED, timeout=5_000)
        violations += _violations(tab, {}, {"runOnly": RULES, "rules": OFF}, f"{width} px")
    tab.close()

    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert messages == []
    assert {width: wide for width, wide in overflow.items() if wide > width} == {}
    assert violations == []


def _violations(tab, where, options, seen_at):
    """Run axe-core; return what it calls serious or critical, a line for each element."""
    options = {"preload": False, "resultTypes": ["violations"], **options}
    found = tab.evaluate(
        "([where, options]) => axe.run(where, options)", [{"include": ["html"]} | where, options]
    )
    return [
        f"{seen_at}: {violation['id']}: {node['target']} {node['html'][:120]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
