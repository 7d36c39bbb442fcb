"""What the page says to a reader, in a browser: rates, the sentence, and a change of the score."""

import re

import pytest

from ccb_lib import ThresholdExplorer
from tests.explorer.test_figures import LABELS, LARGE, SMALL, TABLE
from tests.torture.hostile import HEAD

CALLED = [0, 0, 0, 1, 0, 1, 1]  # of LABELS: 1 of 4 normal images, 2 of 3 abnormal ones


def bare(tmp_path, explorer):
    path = tmp_path / "page.html"
    path.write_text(HEAD + explorer.to_html(), encoding="utf-8")
    return path.as_uri()


def show(page, key):
    return page.locator(f'[data-show="{key}"]').inner_text()


def fill(page, name, text):
    number = page.get_by_role("spinbutton", name=name)
    number.fill(text)
    number.press("Enter")


def same(page, live):
    """Assert that both faces show the same figures, counts and sentences."""
    html = live._plot.value + live._panels.value
    wanted = dict(re.findall(r'data-show="(\w+)"[^>]*>([^<]*)<', html))
    read = "nodes => nodes.map(node => [node.dataset.show, node.textContent])"
    found = dict(page.locator("[data-show]").evaluate_all(read))
    assert {name: found[name] for name in wanted} == wanted
    pressed = page.locator('[data-place="named"] [aria-pressed="true"]').all_inner_texts()
    buttons = live._named.children
    assert pressed == [one.description for one in buttons if "ccb-on" in one._dom_classes]


def test_npv_stands_below_the_prevalence_and_fits_a_phone(open_page, tmp_path, keep_screenshot):
    explorer = ThresholdExplorer(SMALL, LABELS, {"mine": 2.5})
    page = open_page(bare(tmp_path, explorer), viewport={"width": 390, "height": 800})
    rates = page.locator(".ccb-rates")
    names = rates.locator("th").all_inner_texts()
    assert names[:2] == ["Sensitivity (recall)", "Specificity"]
    assert names[2].startswith("prevalence ")
    assert names[3:] == ["PPV (precision)", "NPV", "Accuracy", "F1"]
    assert show(page, "npv") == "0.667"  # 2 of 3 called normal
    fill(page, "Prevalence in percent", "10")
    assert show(page, "npv") == "0.931"  # 0.45 of 0.45 + 0.0333
    fill(page, "Threshold", "0.5")
    assert show(page, "npv") == "–"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    inside = page.locator("figure").bounding_box()
    for part in (*page.locator(".ccb-panels > *").all(), *rates.locator("th, td").all()):
        box = part.bounding_box()
        assert inside["x"] <= box["x"]
        assert box["x"] + box["width"] <= inside["x"] + inside["width"]
        assert part.evaluate("node => node.scrollWidth <= node.clientWidth")
    lines = rates.locator('th[scope="row"]').evaluate_all("all => all.map(th => th.offsetHeight)")
    assert max(lines) == min(lines)  # no name takes two lines
    keep_screenshot(page.locator("figure"), "phone")


def test_another_score_is_shown_at_the_same_false_alarm_rate(open_page, tmp_path):
    live = ThresholdExplorer.from_table(TABLE, axes=("Score",))
    page = open_page(bare(tmp_path, live))
    steps = [
        (3.25, "large", (2, 1)),  # 1 of 4 normal images
        (460, "small", (1, 0)),  # none; of the stops without one, the lowest
        (9, "large", (0, 0)),  # nothing is called abnormal
        (-9, "small", (3, 4)),  # everything is
        (3.25, "large", (2, 1)),
    ]
    for threshold, score, counts in steps:
        fill(page, "Threshold", str(threshold))
        page.locator("select").select_option(score)
        assert (int(show(page, "tp")), int(show(page, "fp"))) == counts
        live.threshold, live.choice = threshold, (score,)
        assert (live.metrics.tp, live.metrics.fp) == counts
        same(page, live)


def test_the_slider_too_is_left_at_its_rate_and_not_at_its_number(open_page, tmp_path):
    live = ThresholdExplorer.from_table(TABLE, axes=("Score",))
    page = open_page(bare(tmp_path, live))
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    for key in ("Home", *["ArrowRight"] * 5):
        page.keyboard.press(key)
    live._slider.value = 5
    assert show(page, "fp") == "1"
    for score in ("large", "small", "large"):
        page.locator("select").select_option(score)
        live.choice = (score,)
        assert show(page, "fp") == "1"
        same(page, live)


def test_a_named_threshold_stays_selected_also_across_a_score_without_it(open_page, tmp_path):
    live = ThresholdExplorer.from_table(TABLE, axes=("Score",))
    page = open_page(bare(tmp_path, live))
    score = page.locator("select")

    def choose(name):
        score.select_option(name)
        live.choice = (name,)
        same(page, live)

    assert show(page, "rule").endswith("calibration images lie above")
    choose("large")
    assert show(page, "rule") == ""
    choose("small")
    assert show(page, "rule").endswith("calibration images lie above")
    page.get_by_role("button", name="mine").click()
    live._named.children[1].click()
    choose("large")
    assert page.get_by_role("spinbutton", name="Threshold").input_value() == "250"
    fill(page, "Threshold", "350")  # moved: no rule any more
    live.threshold = 350.0
    choose("small")
    assert show(page, "fp") == "1"


@pytest.mark.parametrize("prevalence", [0.001, 0.0366, 0.305, 0.5, 0.965])
def test_the_four_counts_of_the_sentence_add_up(open_page, tmp_path, prevalence):
    live = ThresholdExplorer(SMALL, LABELS, prevalence=prevalence, unit="patches")
    page = open_page(bare(tmp_path, live))
    for threshold in (0.0, 1.2, 1.7, 2.5, 3.2, 3.7, 4.5, 6.0):
        fill(page, "Threshold", str(threshold))
        said = show(page, "summary").split(". Of ")[1].replace(",", "")
        assert "patches examined at a prevalence of" in said
        four = re.findall(r"(?:found|missed|alarms|normal) (fewer than 1|\d+)", said)
        assert len(four) == 4
        assert sum(int(count) for count in four if count.isdigit()) == int(said.split()[0])
        live.threshold = threshold
        same(page, live)


def test_one_operating_point_has_a_balanced_accuracy_and_many_have_an_auc(open_page, tmp_path):
    table = {"called": (CALLED, LABELS), "scores": (LARGE, LABELS)}
    live = ThresholdExplorer.from_table(table, axes=("Score",))
    page = open_page(bare(tmp_path, live))
    assert (show(page, "area"), show(page, "auc")) == ("balanced accuracy", "0.708")
    assert show(page, "area_note").startswith("(sensitivity + specificity) / 2")
    page.locator("select").select_option("scores")
    live.choice = ("scores",)
    assert (show(page, "area"), show(page, "area_note")) == ("AUC", "")
    same(page, live)
    assert page.locator(".ccb-roc text").all_text_contents() == ["1", "0.5", "0", "0", "0.5", "1"]
