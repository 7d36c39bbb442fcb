"""Open every page of the built book, and attack its explorers, in a browser without a network.

``python -m tests.torture.book`` needs a built book and an installed Chromium. It writes its counts
to ``data/results/torture-book.json``; rows of other areas there are kept.
"""

import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import TimeoutError as Hang
from playwright.sync_api import sync_playwright

from ccb_lib.explorer import explorer_html, table_html
from tests.browser.conftest import FLAGS, LOUD
from tests.browser.conftest import NAMES as BROWSERS
from tests.torture.hostile import HEAD, NAMES, book_policy, own_policy, served
from tests.torture.report import ROOT, Row, stored, totals, write

HTML = ROOT / "_build" / "html"
PAGES, EXPLORERS = "pages of the book", "threshold explorers"
LIMIT = 30_000  # milliseconds; what takes longer is a hang
# Walk over stops from the first to the last; return whether the counts at each add up to the set.
WALK = """figure => {
  const slider = figure.querySelector("[data-control=slider]");
  const read = name => Number(figure.querySelector(`[data-show=${name}]`)
    .textContent.replaceAll(",", ""));
  const press = key => slider.dispatchEvent(new KeyboardEvent("keydown", { key }));
  press("Home");
  const all = ["tp", "fp", "tn", "fn"], sum = () => all.reduce((n, name) => n + read(name), 0);
  const images = sum();
  for (let i = 0; i < 60; i++) {
    if (sum() !== images || !figure.querySelector("[data-show=summary]").textContent) return false;
    press(i % 2 ? "PageUp" : "ArrowRight");
  }
  press("End");
  return read("tp") === 0 && read("fp") === 0;
}"""


@contextmanager
def opened(browser: Any, width: int = 390) -> Iterator[tuple[Any, list[str]]]:
    """Yield an empty page without a network, and the list that its messages are added to."""
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    context.set_default_timeout(LIMIT)
    page, messages = context.new_page(), []
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("console", lambda said: _note(messages, said.type, said.text))
    page.on("request", lambda request: _note(messages, _place(request.url), request.url))
    yield page, messages
    context.close()


def _note(messages: list[str], kind: str, text: str) -> None:
    if kind in (*LOUD, "outside"):
        messages.append(text)


def _place(url: str) -> str:
    return (
        "inside" if url.startswith(("file:", "data:", "blob:", "http://book.test/")) else "outside"
    )


def count(row: Row, attempt: Callable[[], bool]) -> None:
    """Make an attempt, and count how it ended in a row."""
    row.tried += 1
    try:
        kept = attempt()
    except Hang:
        row.hangs += 1
    except Exception as error:
        row.foreign_tracebacks += 1
        print(f"{row.what}: {type(error).__name__}: {error}")
    else:
        row.kept += kept
        row.lost += not kept


def pages(browser: Any) -> list[Row]:
    """Open every page from disk, and those with an explorer under a content-security policy too."""
    offline = Row(PAGES, "opened from disk without a network, at 1280 and 390 px: silent, no wider")
    policy = Row(PAGES, "an explorer moved under a policy that allows what the page carries")
    for path in sorted((HTML / "book").glob("*.html")):

        def whole(path: Path = path, width: int = 0) -> bool:
            with opened(browser, width) as (page, messages):
                page.goto(path.as_uri())
                fits = page.evaluate("document.documentElement.scrollWidth") <= width
                return fits and not messages

        for width in (1280, 390):
            count(offline, lambda width=width: whole(width=width))
        html = path.read_text(encoding="utf-8").replace("<head>", '<head><base href="/book/">', 1)
        if 'class="ccb-explorer"' in html:
            count(policy, lambda html=html: _moves(browser, html, book_policy(html), HTML))
    return [offline, policy]


def _moves(browser: Any, html: str, policy: str = "", root: Path | None = None) -> bool:
    """Return whether all explorers of a page move silently and nothing ran that must not."""
    with opened(browser) as (page, messages):
        page.route("http://book.test/**", served(html, policy, root))
        page.goto("http://book.test/page.html")
        figures = page.locator("figure.ccb-explorer").all()
        moved = all(figure.evaluate(WALK) for figure in figures)
        fits = root is not None or page.evaluate("document.documentElement.scrollWidth") <= 390
        return bool(figures) and moved and fits and not page.evaluate("window.hit") and not messages


def explorers(browser: Any, seed: int = 0) -> list[Row]:
    """Attack explorers with hostile names, odd scores, and sets of a million images."""
    rng, draw = np.random.default_rng(seed), random.Random(seed)
    names = list(NAMES.values())
    hostile = Row(EXPLORERS, "hostile titles, names of thresholds, menus and choices")
    odd = Row(EXPLORERS, "ties, one class, tiny and huge scores, one image")
    million = Row(EXPLORERS, "a million images: each step counts them all, page below 60 kB")
    alone = Row(EXPLORERS, "a policy that allows the explorer's own script and style alone")
    refused = Row(EXPLORERS, "NaN, infinite and missing scores, wrong labels: refused by name")
    for _ in range(150):
        title, one, two, axis = (draw.choice(names) + draw.choice(names) for _ in range(4))
        scores, labels = rng.normal(size=30), np.arange(30) < draw.randint(1, 29)
        table = {
            (one, two): (scores, labels, {title: 0.1, axis: 0.2}),
            (two, one): (scores, labels),
        }
        html = HEAD + table_html(table, axes=(axis, title), title=title)
        count(hostile, lambda html=html: _moves(browser, html))
    for i in range(100):
        size, scale = draw.choice([1, 2, 50, 900]), 10.0 ** draw.choice([-300, -9, 0, 9, 290])
        scores = scale * draw.choice([np.zeros(size), rng.normal(size=size)])
        labels = rng.random(size) < draw.choice([0, 0.01, 0.5, 1])
        count(odd, lambda s=scores, y=labels: _moves(browser, HEAD + explorer_html(s, y, {"a": 0})))
        html = HEAD + explorer_html(rng.normal(size=40), np.arange(40) < 9, {draw.choice(names): i})
        count(alone, lambda html=html: _moves(browser, html, own_policy(html)))
    for abnormal in (0.05, 0.0, 1.0):
        scores, labels = rng.gamma(2, size=1_000_000), rng.random(1_000_000) < abnormal
        html = HEAD + explorer_html(scores, labels)
        count(million, lambda html=html: len(html) < 60_000 and _moves(browser, html))
    for _ in range(300):
        scores, labels = list(rng.normal(size=9)), [0, 1] * 4 + [1]
        wrong = draw.choice([np.nan, np.inf, -np.inf, None, "x", 1e308])
        draw.choice([scores, labels])[draw.randrange(9)] = wrong
        count(refused, lambda s=scores, y=labels: _refused(s, y))
    return [hostile, odd, million, alone, refused]


def _refused(scores: list[Any], labels: list[Any]) -> bool:
    try:
        explorer_html(scores, labels)
    except ValueError as error:
        return any(name in str(error) for name in ("scores", "labels"))
    return False


def main() -> int:
    """Run the harness; return 1 if an attempt failed."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None or not (HTML / "index.html").is_file():
        print(f"A built book in {HTML} and an installed Chromium are needed. Run: make book")
        return 1
    began = time.monotonic()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        rows = pages(browser) + explorers(browser)
        browser.close()
    others = [row for row in stored("book")[1] if row.area not in (PAGES, EXPLORERS)]
    print(write("book", [*rows, *others], time.monotonic() - began), totals(["book"]))
    return int(any(row.lost + row.foreign_tracebacks + row.hangs for row in rows))


if __name__ == "__main__":
    sys.exit(main())
