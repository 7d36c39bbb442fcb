"""Explorers of hostile names and odd sets in a browser, and under a content-security policy."""

import base64
import hashlib
import re
import time
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from ccb_lib.explorer import explorer_html, table_html

HTML = Path(__file__).parents[2] / "_build" / "html"
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>bare</title>'
    '<meta name="viewport" content="width=device-width"><body>'
)
SCORES, LABELS = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1])
NAMES = {
    "ends the script": "</script><script>window.hit=1</script>",
    "quotes": "\"'><b onmouseover='window.hit=1'>",
    "opens a comment": "<!--<script>",
    "an image": "<img src=x onerror=window.hit=1>",
    "half a character": "a\ud800b",
    "right to left": "\u202egpj.exe\u2066",
    "10,000 characters": "A" * 10_000,
    "control characters": "\x00\x07\x1b[31m",
    "templates": "${window.hit=1} $title {{x}} %s",
    "nothing": "",
    "white space": " \n\t",
    "an entity": "&lt;img&gt;&#0;",
}
# What a browser shows of them.
SHOWN = {
    "half a character": "a\ufffdb",
    "nothing": "(no name)",
    "white space": "(no name)",
}


def bare(tmp_path, html):
    path = tmp_path / "page.html"
    path.write_text(HEAD + html, encoding="utf-8")
    return path.as_uri()


def show(page, key):
    return page.locator(f'[data-show="{key}"]').inner_text()


def type_threshold(page, text):
    number = page.get_by_role("spinbutton", name="Threshold")
    number.fill(text)
    number.press("Enter")
    return number.input_value()


@pytest.mark.parametrize("kind", NAMES)
def test_a_hostile_name_is_shown_as_text_and_does_nothing(open_page, tmp_path, kind):
    name, other = NAMES[kind], "plain"
    table = {
        (name, other): (SCORES, LABELS, {name: 0.25, other: 0.15}),
        (other, name): (-SCORES, LABELS, {name: -0.25}),
    }
    html = table_html(table, axes=(name, "Class"), title=name)
    page = open_page(bare(tmp_path, html), viewport={"width": 390, "height": 800})
    shown = SHOWN.get(kind, name)
    # The text itself, because what is laid out has its white space collapsed.
    first = page.locator('[data-place="named"] button').first
    assert first.evaluate("button => button.textContent") == shown
    options = page.locator("select").first.locator("option")
    assert options.evaluate_all("all => all.map(one => one.textContent)") == [shown, other]
    page.locator("select").first.select_option(index=1)
    assert (show(page, "tp"), show(page, "fp")) == ("0", "2")
    assert page.locator("select").last.locator("option").count() == 1
    assert page.evaluate("window.hit") is None
    assert page.locator("figure img, figure b[onmouseover]").count() == 0
    assert page.locator("figure.ccb-explorer").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.get_by_role("spinbutton", name="Threshold").is_visible()


def test_ties_leave_two_verdicts_for_all_images(open_page, tmp_path):
    page = open_page(bare(tmp_path, explorer_html(np.full(50, 0.5), np.arange(50) < 20)))
    for typed, tp in (("0.4", "20"), ("0.5", "0"), ("0.49999999", "20"), ("9", "0")):
        assert type_threshold(page, typed) == typed
        assert (show(page, "tp"), show(page, "counted")) == (tp, "")
    assert show(page, "auc") == "0.500"


def test_a_million_images_move_as_smoothly_as_a_hundred(open_page, tmp_path):
    rng = np.random.default_rng(2)
    labels = np.arange(1_000_000) % 20 == 0
    scores = rng.gamma(2, size=labels.size) + labels
    began = time.process_time()
    html = explorer_html(scores, labels, {"normal 95 %": 4.2})
    assert time.process_time() - began < 20
    assert len(html) < 60_000
    page = open_page(bare(tmp_path, html))
    per_step = page.get_by_role("slider", name="Threshold").evaluate("""slider => {
        const press = key => slider.dispatchEvent(new KeyboardEvent("keydown", { key }));
        press("Home");
        const began = performance.now();
        for (let i = 0; i < 100; i++) press("ArrowRight");
        return (performance.now() - began) / 100;
    }""")
    assert per_step < 50  # milliseconds
    # Not every threshold is stored: the number stays, and the page says what it counted at.
    assert type_threshold(page, "1.234567") == "1.234567"
    near = re.fullmatch(
        r"Counted at ([\d.]+), the nearest of (\d+) stored thresholds\.", show(page, "counted")
    )
    assert float(near[1]) == pytest.approx(1.234567, abs=0.02)
    assert show(page, "tp") == f"{(scores[labels] > float(near[1])).sum():,}"
    # Beyond all scores every threshold counts the same.
    type_threshold(page, "-5")
    assert (show(page, "fn"), show(page, "tn"), show(page, "counted")) == ("0", "0", "")


# ── under a content-security policy ───────────────────────────────────────────────────────────────


def digests(texts):
    found = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts}
    return " ".join(f"'sha256-{digest}'" for digest in sorted(found))


def scripts(html):
    inline = re.findall(r"<script(?![^>]*(?:src=|json))[^>]*>(.*?)</script>", html, re.DOTALL)
    return inline + [unescape(on) for on in re.findall(r'\son\w+="([^"]*)"', html)]


def styles(html):
    attributes = [unescape(style) for style in re.findall(r'\sstyle="([^"]*)"', html)]
    return attributes + re.findall(r"<style>(.*?)</style>", html, re.DOTALL)


def served(body, policy, **files):
    """Return a handler that answers each request with the page or, under a path, with a file."""

    def serve(route):
        path = route.request.url.removeprefix("http://book.test/").partition("?")[0]
        headers = {"Content-Security-Policy": policy}
        if path == "page.html":
            route.fulfill(body=body, headers=headers, content_type="text/html; charset=utf-8")
        else:
            route.fulfill(path=files["root"] / path)

    return serve


def test_an_explorer_works_where_only_its_own_script_and_style_are_allowed(open_page):
    html = HEAD + explorer_html(SCORES, LABELS, {"mine": 0.25})
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {digests(scripts(html))}; "
        f"style-src 'unsafe-hashes' {digests(styles(html))}"
    )
    page = open_page("http://book.test/page.html", serve=served(html, policy))
    assert type_threshold(page, "0.35") == "0.35"
    assert (show(page, "tp"), show(page, "fp")) == ("1", "0")
    line = page.locator(".ccb-line").bounding_box()["x"]
    type_threshold(page, "0.15")
    assert page.locator(".ccb-line").bounding_box()["x"] < line


def test_an_explorer_whose_script_is_forbidden_can_still_be_read(browser):
    html = HEAD + explorer_html(SCORES, LABELS, {"mine": 0.25})
    policy = f"default-src 'none'; style-src 'unsafe-hashes' {digests(styles(html))}"
    context = browser.new_context()
    context.route("http://book.test/**", served(html, policy))
    page = context.new_page()
    page.goto("http://book.test/page.html")
    assert (show(page, "tp"), show(page, "fp"), show(page, "recall")) == ("2", "0", "1.000")
    assert "2 of 2 abnormal images found" in show(page, "summary")
    assert not any(part.is_visible() for part in page.locator("input, select, button").all())
    context.close()


def test_a_page_of_the_book_works_where_only_what_it_carries_is_allowed(open_page):
    built = HTML / "book" / "tables-4-5.html"
    if not built.is_file():
        pytest.skip("the book is not built (make book)")
    html = built.read_text(encoding="utf-8").replace("<head>", '<head><base href="/book/">', 1)
    policy = (
        "default-src 'none'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "style-src 'self' 'unsafe-inline'; "  # MathJax writes styles
        f"script-src 'self' 'unsafe-hashes' {digests(scripts(html))}"
    )
    page = open_page("http://book.test/page.html", serve=served(html, policy, root=HTML))
    explorer = page.locator("figure.ccb-explorer").last
    before = explorer.locator('[data-show="tp"]').inner_text()
    slider = explorer.get_by_role("slider", name="Threshold")
    slider.focus()
    page.keyboard.press("Home")
    assert explorer.locator('[data-show="fn"]').inner_text() == "0"
    assert explorer.locator('[data-show="tp"]').inner_text() != before
