"""The explorer in a page that Jupyter Book built.

It is opened from disk in a real Chromium with the network off.
"""

import importlib.util
import os
import re
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal
from html import escape
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk

from ccb_lib.explorer import explorer_html

ROOT = Path(__file__).parents[2]
HOSTILE = '</script><img src=x onerror="window.hit=1"><b>&amp;\''
rng = np.random.default_rng(11)
LABELS = np.arange(110) >= 70
SCORES = np.round(rng.gamma(3, size=110) * 0.02 + LABELS * 0.04, 3).astype(np.float32)
MANY_LABELS = np.arange(6000) >= 5000
MANY = rng.normal(size=6000) + 1.5 * MANY_LABELS
IMAGE, LATENT = rng.gamma(3, size=110) + 2 * LABELS, rng.gamma(2, size=110)
ARRAYS = {
    "SCORES": SCORES,
    "LABELS": LABELS,
    "MANY": MANY,
    "MANY_LABELS": MANY_LABELS,
    "IMAGE": IMAGE,
    "LATENT": LATENT,
}
NAMED = {"normal 95 %": 0.1204, "oracle F1": 0.0853}

PAGE = f"""---
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
kernelspec: {{display_name: Python 3, language: python, name: python3}}
---
# Explorers
```{{code-cell}}
import numpy as np
from ccb_lib import ThresholdExplorer
globals().update(np.load("arrays.npz"))
ThresholdExplorer(SCORES, LABELS, {NAMED!r}, title="Small")
```
```{{code-cell}}
ThresholdExplorer(MANY, MANY_LABELS, {{{HOSTILE!r}: 1.0}}, prevalence=0.05, title={HOSTILE!r})
```
```{{code-cell}}
alphas = [step / 10 for step in range(11)]
table = {{alpha: (alpha * IMAGE + (1 - alpha) * LATENT, LABELS, {{"normal 95 %": 3 + alpha}})
         for alpha in alphas}}
ThresholdExplorer.from_table(table, axes=("α",), choice=0.9, title="Alpha")
```
```{{code-cell}}
table = {{(method, kind): (sign * SCORES, LABELS)
         for method, sign in (("CCB", 1), ("flipped", -1)) for kind in "ab"}}
del table["flipped", "b"]
ThresholdExplorer.from_table(table, title="Table")
```
"""
CONFIG = """
title: Explorers
execute: {execute_notebooks: force}
only_build_toc_files: true
sphinx:
  config:
    nb_ipywidgets_js: {}
    nb_mime_priority_overrides:
    - ["html", "application/vnd.jupyter.widget-view+json", null]
    - ["html", "text/html", 0]
"""
COUNTS = ("tp", "fp", "tn", "fn")
RATES = ("accuracy", "precision", "recall", "specificity", "f1", "npv")
READ = """figure => Object.fromEntries(
    [...figure.querySelectorAll('[data-show]')].map(node => [node.dataset.show, node.textContent])
    .concat([['threshold', figure.querySelector('[data-control=threshold]').value],
             ['x', figure.querySelector('[data-place=area]').style.getPropertyValue('--ccb-x')]]
    ))"""


@pytest.fixture(scope="module")
def built(require, tmp_path_factory):
    """A page as a reader gets it: executed, built, its kernel gone."""
    require(importlib.util.find_spec("jupyter_book"), "Jupyter Book")
    book = tmp_path_factory.mktemp("book")
    (book / "index.md").write_text(PAGE, encoding="utf-8")
    (book / "_config.yml").write_text(CONFIG, encoding="utf-8")
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\n", encoding="utf-8")
    np.savez(book / "arrays.npz", **ARRAYS)
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", "-W", "--keep-going", "-q", str(book)]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    page = book / "_build" / "html" / "index.html"
    assert done.returncode == 0, done.stdout + done.stderr
    return page.as_uri()


def figure(page, title):
    return page.get_by_role("figure", name=title, exact=True)


def slider(explorer):
    return explorer.get_by_role("slider", name="Threshold")


def shown(value):
    return (
        "–"
        if np.isnan(value)
        else str(Decimal(float(value)).quantize(Decimal("0.001"), ROUND_HALF_UP))
    )


def expected(scores, labels, threshold, prevalence=None):
    """Every figure of the page, by scikit-learn."""
    verdicts = scores.astype(np.float64) > threshold
    (tn, fp), (fn, tp) = sk.confusion_matrix(labels, verdicts, labels=[False, True]).tolist()
    weights = (
        None
        if prevalence is None
        else np.where(labels, prevalence / labels.mean(), (1 - prevalence) / (~labels).mean())
    )
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, verdicts, average="binary", zero_division=np.nan, sample_weight=weights
    )
    accuracy, specificity = (
        sk.accuracy_score(labels, verdicts, sample_weight=weights),
        tn / (tn + fp),
    )
    npv = sk.precision_score(~labels, ~verdicts, sample_weight=weights, zero_division=np.nan)
    rates = dict(
        zip(RATES, map(shown, (accuracy, precision, recall, specificity, f1, npv)), strict=True)
    )
    return {
        name: f"{count:,}" for name, count in zip(COUNTS, (tp, fp, tn, fn), strict=True)
    } | rates


def check(found, scores, labels, prevalence=None):
    wanted = expected(scores, labels, float(found["threshold"]), prevalence)
    assert {name: found[name] for name in wanted} == wanted
    return float(found["threshold"])


def walk(page, explorer):
    """Press the right arrow from the first stop to the last; return the figures at each."""
    slider(explorer).focus()
    page.keyboard.press("Home")
    stops = [explorer.evaluate(READ)]
    while len(stops) < 1000:
        page.keyboard.press("ArrowRight")
        found = explorer.evaluate(READ)
        if found == stops[-1]:
            return stops
        stops.append(found)
    raise AssertionError("no last stop")


def hurry(explorer):
    """The same, with key events made in the page, which takes no time.

    `walk` shows that real keys do as much.
    """
    stops = slider(explorer).evaluate(f"""slider => {{
        const figure = slider.closest("figure"), read = {READ}, found = [];
        const press = key => slider.dispatchEvent(
            new KeyboardEvent("keydown", {{ key, cancelable: true }}));
        press("Home");
        for (let i = 0; i < 1000; i++) {{ found.push(read(figure)); press("ArrowRight"); }}
        return found;
    }}""")
    last = stops.index(stops[-1])
    assert all(found == stops[-1] for found in stops[last:])
    return stops[: last + 1]


def test_every_stop_of_a_small_set_is_every_possible_cut_and_agrees_with_scikit_learn(
    built, open_page
):
    page = open_page(built)
    stops = walk(page, figure(page, "Small"))
    assert stops == hurry(figure(page, "Small"))
    thresholds = [check(found, SCORES, LABELS) for found in stops]
    assert len(stops) == len(np.unique(SCORES)) + 1
    assert (np.diff(thresholds) > 0).all()
    assert (stops[0]["fn"], stops[0]["tn"], stops[-1]["tp"], stops[-1]["fp"]) == (
        "0",
        "0",
        "0",
        "0",
    )
    assert stops[-1]["precision"] == "–"
    assert stops[0]["auc"] == shown(sk.roc_auc_score(LABELS, SCORES))


def test_every_stop_of_a_large_set_agrees_too_at_a_prevalence(built, open_page):
    page = open_page(built)
    stops = hurry(figure(page, HOSTILE))
    assert 200 < len(stops) <= 402
    for found in stops:
        check(found, MANY, MANY_LABELS, 0.05)
    assert {found["prevalence"] for found in stops} == {"5\u00a0%"}


def test_the_mouse_moves_the_slider_and_the_line_follows_it(built, open_page, keep_screenshot):
    page = open_page(built)
    explorer = figure(page, "Small")
    explorer.scroll_into_view_if_needed()
    first = check(explorer.evaluate(READ), SCORES, LABELS)
    assert first == pytest.approx(0.1204, abs=5e-4)  # it starts at the first named threshold
    box = slider(explorer).bounding_box()
    across = box["width"] - 24  # half a thumb is left on either side
    at = lambda share: box["x"] + 12 + share * across  # noqa: E731
    page.mouse.move(
        at(float(explorer.evaluate(READ)["x"][:-1]) / 100), box["y"] + box["height"] / 2
    )
    page.mouse.down()
    for share in (0.5, 0.4, 0.31):
        page.mouse.move(at(share), box["y"] + box["height"] / 2)
        found = explorer.evaluate(READ)
        check(found, SCORES, LABELS)
        assert float(found["x"][:-1]) == pytest.approx(100 * share, abs=3)
        line, thumb = (
            explorer.locator(".ccb-line").bounding_box(),
            float(slider(explorer).evaluate("s => s.value")),
        )
        assert line["x"] + 1 == pytest.approx(at(thumb), abs=1)
    page.mouse.up()
    keep_screenshot(explorer, "desktop-light")
    # a press on the histogram itself
    area = explorer.get_by_role("img", name="Histogram of the scores").bounding_box()
    page.mouse.click(area["x"] + 0.7 * area["width"], area["y"] + 60)
    found = explorer.evaluate(READ)
    check(found, SCORES, LABELS)
    assert float(found["x"][:-1]) == pytest.approx(70, abs=5)


def test_every_control_works_by_keyboard(built, open_page):
    page = open_page(built)
    explorer = figure(page, "Small")
    stops = hurry(explorer)
    slider(explorer).focus()
    press = page.keyboard.press
    for key, place in (
        ("Home", 0),
        ("PageUp", 10),
        ("ArrowUp", 11),
        ("ArrowLeft", 10),
        ("PageDown", 0),
        ("End", -1),
    ):
        press(key)
        assert explorer.evaluate(READ) == stops[place], key
    assert slider(explorer).get_attribute("aria-valuetext") == stops[-1]["threshold"]
    # A screen reader's own small step moves by a stop as well.
    slider(explorer).evaluate(
        "s => { s.value = Number(s.value) - 1e-6; s.dispatchEvent(new Event('input')); }"
    )
    assert explorer.evaluate(READ) == stops[-2]
    # Tab leads on to the number; what is typed keeps its value, and is counted at.
    press("Tab")
    number = explorer.get_by_role("spinbutton", name="Threshold")
    assert number.evaluate("n => n === document.activeElement")
    for typed in ("0.0901", "0.09", "-1", "5e-2", str(float(SCORES[20])), "77"):
        number.fill(typed)
        press("Enter")
        assert number.input_value() == typed
        check(explorer.evaluate(READ), SCORES, LABELS)
        assert explorer.evaluate(READ)["counted"] == ""
    before = explorer.evaluate(READ)
    number.fill("")
    press("Enter")
    assert {k: v for k, v in explorer.evaluate(READ).items() if k != "threshold"} == {
        k: v for k, v in before.items() if k != "threshold"
    }
    # Tab again: the named thresholds
    number.fill("0.09")
    press("Tab")
    for name, phi in NAMED.items():
        button = explorer.get_by_role("button", name=name)
        assert button.evaluate("b => b === document.activeElement")
        press("Enter")
        check(explorer.evaluate(READ), SCORES, LABELS)
        wanted = expected(SCORES, LABELS, phi)
        assert {key: explorer.evaluate(READ)[key] for key in wanted} == wanted
        assert button.get_attribute("aria-pressed") == "true"
        press("Tab")


def test_prevalence_changes_what_depends_on_it_and_nothing_else(built, open_page):
    page = open_page(built)
    explorer = figure(page, "Small")
    tested = explorer.evaluate(READ)
    assert tested["prevalence"] == "36.4\u00a0%, as tested"
    percent = explorer.get_by_role("spinbutton", name="Prevalence in percent")
    percent.fill("1")
    percent.press("Enter")
    found = explorer.evaluate(READ)
    check(found, SCORES, LABELS, 0.01)
    assert float(found["precision"]) < float(tested["precision"])
    assert {name: found[name] for name in (*COUNTS, "recall", "specificity", "auc")} == {
        name: tested[name] for name in (*COUNTS, "recall", "specificity", "auc")
    }
    wrong = round(990 * int(found["fp"]) / 70)
    assert "Of 1,000 images examined at a prevalence of 1\u00a0%: " in found["summary"]
    assert found["summary"].endswith(
        f"false alarms {wrong}, correctly called normal {990 - wrong}."
    )
    moved = explorer.get_by_role("slider", name="Prevalence")
    moved.focus()
    page.keyboard.press("ArrowRight")
    assert moved.get_attribute("aria-valuetext") == "2\u00a0%"
    check(explorer.evaluate(READ), SCORES, LABELS, 0.02)
    percent.fill("250")  # refused, with the browser's own words
    percent.press("Enter")
    check(explorer.evaluate(READ), SCORES, LABELS, 0.02)
    explorer.get_by_role("button", name="as in this test set").click()
    assert explorer.evaluate(READ) == tested


def test_alpha_moves_on_a_slider_and_keeps_the_named_threshold(built, open_page, keep_screenshot):
    page = open_page(built)
    explorer = figure(page, "Alpha")
    alpha = explorer.get_by_role("slider", name="α")
    assert alpha.get_attribute("aria-valuetext") == "0.9"
    alpha.focus()
    page.keyboard.press("Home")
    for step in range(11):
        value = step / 10
        assert alpha.get_attribute("aria-valuetext") == str(value)
        found = explorer.evaluate(READ)
        scores = value * IMAGE + (1 - value) * LATENT
        check(found, scores, LABELS)
        wanted = expected(scores, LABELS, 3 + value)
        assert {key: found[key] for key in wanted} == wanted
        assert found["auc"] == shown(sk.roc_auc_score(LABELS, scores))
        page.keyboard.press("ArrowRight")
    keep_screenshot(explorer, "desktop-light")


def test_a_table_shows_each_pair_and_offers_only_what_was_run(built, open_page, keep_screenshot):
    page = open_page(built)
    explorer = figure(page, "Table")
    method, kind = explorer.get_by_label("Method"), explorer.get_by_label("Class")
    check(explorer.evaluate(READ), SCORES, LABELS)
    assert kind.locator("option").all_inner_texts() == ["a", "b"]
    kind.select_option("b")
    check(explorer.evaluate(READ), SCORES, LABELS)
    method.select_option("flipped")
    assert kind.locator("option").all_inner_texts() == ["a"]
    found = explorer.evaluate(READ)
    check(found, -SCORES, LABELS)
    assert found["auc"] == shown(sk.roc_auc_score(LABELS, -SCORES))  # under one half, and left so
    method.select_option("CCB")
    assert kind.locator("option").all_inner_texts() == ["a", "b"]
    keep_screenshot(explorer, "desktop-light")


def test_several_on_one_page_do_not_touch_each_other(built, open_page):
    page = open_page(built)
    titles = ("Small", "Alpha", "Table")
    before = {title: figure(page, title).evaluate(READ) for title in titles}
    slider(figure(page, "Alpha")).focus()
    page.keyboard.press("End")
    after = {title: figure(page, title).evaluate(READ) for title in titles}
    assert {title for title in titles if before[title] != after[title]} == {"Alpha"}
    assert page.locator("figure.ccb-explorer [id]").count() == 0
    assert page.locator("figure.ccb-explorer").count() == 4


def test_names_from_outside_are_inert_text(built, open_page, tmp_path):
    page = open_page(built)
    explorer = figure(page, HOSTILE)
    assert explorer.get_by_role("button", name=HOSTILE, exact=True).inner_text() == HOSTILE
    assert explorer.locator("figcaption").inner_text() == HOSTILE
    assert page.evaluate("window.hit") is None
    assert page.locator("figure.ccb-explorer img").count() == 0


# Every text that shows, with the contrast to what is behind it, as WCAG 2 computes it.
CONTRAST = """figure => {
  const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const [r, g, b, alpha = 1] = parse(getComputedStyle(node).backgroundColor);
      if (alpha > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const text = node => [...node.childNodes].some(
    child => child.nodeType === 3 && child.data.trim());
  const written = node => node.checkVisibility()
    && !node.closest("script, style, option, :disabled")
    && (node.matches("input[type=number], select") || text(node));
  return [...figure.querySelectorAll("*")].filter(written).map(node => {
    const ink = luminance(parse(getComputedStyle(node).color)), face = luminance(behind(node));
    const ratio = (Math.max(ink, face) + 0.05) / (Math.min(ink, face) + 0.05);
    return [node.textContent.trim().slice(0, 30), ratio];
  });
}"""


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_reads_well_in_both_themes_and_on_a_phone(
    built, open_page, keep_screenshot, theme, width
):
    page = open_page(built, viewport={"width": width, "height": 900}, color_scheme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for title in ("Small", "Alpha", "Table"):
        explorer = figure(page, title)
        faint = [
            (text, round(ratio, 2)) for text, ratio in explorer.evaluate(CONTRAST) if ratio < 4.5
        ]
        assert len(explorer.evaluate(CONTRAST)) > 25
        assert not faint
        face = explorer.evaluate("f => getComputedStyle(f).backgroundColor")
        assert (min(map(int, re.findall(r"\d+", face))) > 200) == (theme == "light")
        boxes = [
            control.bounding_box() for control in explorer.locator("input, select, button").all()
        ]
        assert min(box["height"] for box in boxes) >= 40
        inside = explorer.bounding_box()
        assert all(
            box["x"] >= inside["x"] and box["x"] + box["width"] <= inside["x"] + inside["width"]
            for box in boxes
        )
        keep_screenshot(explorer, title)


def bare(tmp_path, html):
    path = tmp_path / "page.html"
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
    )
    path.write_text(
        f"{head}<title>{escape('bare')}</title><body>{html}</body></html>", encoding="utf-8"
    )
    return path.as_uri()


def test_outside_a_book_it_follows_the_readers_own_theme(open_page, tmp_path):
    uri = bare(tmp_path, explorer_html(SCORES, LABELS, NAMED, title="Bare"))
    faces = {
        theme: figure(open_page(uri, color_scheme=theme), "Bare").evaluate(
            "f => getComputedStyle(f).backgroundColor"
        )
        for theme in ("light", "dark")
    }
    assert faces == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 26, 33)"}


def test_without_its_script_the_first_figures_can_be_read(open_page, tmp_path):
    uri = bare(tmp_path, explorer_html(SCORES, LABELS, NAMED, title="Bare"))
    page = open_page(uri, java_script_enabled=False)
    explorer = figure(page, "Bare")
    wanted = expected(SCORES, LABELS, NAMED["normal 95 %"])
    assert {
        name: explorer.locator(f'[data-show="{name}"]').inner_text() for name in wanted
    } == wanted
    assert not any(
        control.is_visible() for control in explorer.locator("input, select, button").all()
    )


def test_one_kind_of_image_alone_can_be_explored(open_page, tmp_path):
    uri = bare(tmp_path, explorer_html(SCORES[~LABELS], LABELS[~LABELS], NAMED, title="Bare"))
    page = open_page(uri)
    explorer = figure(page, "Bare")
    for found in hurry(explorer):
        alarms = int((SCORES[~LABELS].astype(float) > float(found["threshold"])).sum())
        assert (found["fp"], found["recall"], found["auc"]) == (str(alarms), "–", "–")
        assert found["specificity"] == shown(1 - alarms / 70)
        assert found["summary"].startswith(f"{alarms} of 70 normal images called abnormal.")
        assert "prevalence" not in found["summary"]
    assert explorer.get_by_role("slider", name="Prevalence").is_disabled()
