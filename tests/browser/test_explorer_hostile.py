"""Explorers of hostile names and odd sets in a browser, and under a content-security policy."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

from ccb_lib import ThresholdExplorer
from ccb_lib.explorer import explorer_html, table_html
from tests.torture.hostile import (
    HEAD,
    NAMES,
    SHOWN,
    book_policy,
    digests,
    own_policy,
    served,
    styles,
)

HTML = Path(__file__).parents[2] / "_build" / "html"
SCORES, LABELS = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1])


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


def test_both_faces_show_the_same_figures(open_page, tmp_path):
    rng = np.random.default_rng(7)
    scores, labels = rng.normal(size=200), np.arange(200) < 30
    live = ThresholdExplorer(scores, labels, {"mine": 0.5})
    page = open_page(bare(tmp_path, explorer_html(scores, labels, {"mine": 0.5})))
    for prevalence in (0.001, 0.004, 0.05, 0.5, 0.99):
        percent = page.get_by_role("spinbutton", name="Prevalence in percent")
        percent.fill(f"{100 * prevalence:g}")
        percent.press("Enter")
        live.prevalence = prevalence
        for threshold in (-9.0, 0.1234567, float(scores[3]), 9.0):
            type_threshold(page, repr(threshold))
            live.threshold = threshold
            html = live._plot.value + live._panels.value
            shown = dict(re.findall(r'data-show="(\w+)"[^>]*>([^<]*)<', html))
            assert {name: show(page, name) for name in shown if name != "beyond"} == {
                name: text for name, text in shown.items() if name != "beyond"
            }


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


def test_an_explorer_works_where_only_its_own_script_and_style_are_allowed(open_page):
    html = HEAD + explorer_html(SCORES, LABELS, {"mine": 0.25})
    page = open_page("http://book.test/page.html", serve=served(html, own_policy(html)))
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
    page = open_page("http://book.test/page.html", serve=served(html, book_policy(html), HTML))
    explorer = page.locator("figure.ccb-explorer").last
    before = explorer.locator('[data-show="tp"]').inner_text()
    slider = explorer.get_by_role("slider", name="Threshold")
    slider.focus()
    page.keyboard.press("Home")
    assert explorer.locator('[data-show="fn"]').inner_text() == "0"
    assert explorer.locator('[data-show="tp"]').inner_text() != before
