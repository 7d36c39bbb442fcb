"""What the explorer says to a reader, on sets small enough to be worked by hand."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccb_lib import ThresholdExplorer
from ccb_lib.explorer import explorer_html, table_html
from ccb_lib.explorer.render import RULE_NOTES
from ccb_lib.metrics import RULES

# Two scores of the same four normal and three abnormal images, on scales that differ.
LABELS = [0, 0, 0, 0, 1, 1, 1]
SMALL, LARGE = [1, 2, 3, 4, 1.5, 3.5, 5], [100, 200, 300, 400, 150, 450, 500]
TABLE = {
    "small": (SMALL, LABELS, {"normal 95 %": 4.5, "mine": 2.5}),
    "large": (LARGE, LABELS, {"mine": 250.0}),
}


def figures(explorer):
    """Return what the live face shows, by name."""
    shown = explorer._plot.value + explorer._panels.value
    return dict(re.findall(r'data-show="(\w+)"[^>]*>([^<]*)<', shown))


def counts(explorer):
    return explorer.metrics.tp, explorer.metrics.fp


# ── rates and the sentence ────────────────────────────────────────────────────────────────────────


def test_npv_worked_by_hand():
    # Above 2.5 lie 2 of 3 abnormal and 2 of 4 normal images: 2 are correctly called normal, 1 is
    # missed. At a prevalence of 10 % that is 0.9 × 1/2 = 0.45 against 0.1 × 1/3.
    explorer = ThresholdExplorer(SMALL, LABELS)
    explorer.threshold = 2.5
    assert figures(explorer)["npv"] == "0.667"
    explorer.prevalence = 0.1
    assert figures(explorer)["npv"] == f"{0.45 / (0.45 + 0.1 / 3):.3f}" == "0.931"
    explorer.threshold = 0.5  # nothing is called normal
    assert figures(explorer)["npv"] == "–"


def test_rates_have_the_names_that_clinicians_use_and_stand_where_they_belong():
    page = explorer_html(SMALL, LABELS)
    rates = re.search(r'<table class="ccb-rates">.*?</table>', page, re.DOTALL)[0]
    above, below = (re.sub("<[^>]*>", "", part) for part in rates.split("prevalence <span"))
    assert re.findall("Sensitivity .recall.|Specificity|PPV .precision.|NPV", above) == [
        "Sensitivity (recall)",
        "Specificity",
    ]
    names = re.findall(r"PPV \(precision\)|NPV|Accuracy|F1", below)
    assert names == ["PPV (precision)", "NPV", "Accuracy", "F1"]


def test_the_sentence_of_a_weak_detector_worked_by_hand():
    # 5 % of 100 abnormal and 4 % of 100 normal images are called abnormal.
    scores = np.r_[np.arange(100) < 4, np.arange(100) < 5].astype(float)
    explorer = ThresholdExplorer(scores, np.arange(200) >= 100, {"mine": 0.5}, prevalence=0.5)
    assert figures(explorer)["summary"] == (
        "5 of 100 abnormal images found, 4 of 100 normal images called abnormal. "
        "Of 100 images examined at a prevalence of 50\u00a0%: abnormal found 3, missed 47, "
        "false alarms 2, correctly called normal 48."
    )


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0, 1),
    st.floats(0, 1),
    st.none() | st.floats(1e-6, 1 - 1e-6),
)
def test_the_four_counts_of_the_sentence_add_up(abnormal, normal, found, alarms, prevalence):
    called = np.r_[np.arange(normal) < alarms * normal, np.arange(abnormal) < found * abnormal]
    labels = np.arange(normal + abnormal) >= normal
    explorer = ThresholdExplorer(called.astype(float), labels, {"a": 0.5}, prevalence=prevalence)
    said = figures(explorer)["summary"].split(". Of ")[1].replace(",", "")
    images = int(said.split()[0])
    four = re.findall(r"(?:found|missed|alarms|normal) (fewer than 1|\d+)", said)
    assert len(four) == 4
    assert sum(int(count) for count in four if count.isdigit()) == images
    tp, fp = counts(explorer)
    assert (four[0] == "0", four[1] == "0") == (tp == 0, tp == abnormal)
    assert (four[2] == "0", four[3] == "0") == (fp == 0, fp == normal)


def test_what_is_counted_can_have_another_name_that_stays_text():
    hostile = "</script><img src=x>&patches"
    explorer = ThresholdExplorer(SMALL, LABELS, {"normal 95 %": 4.5}, unit="patches")
    assert "1 of 3 abnormal patches found" in figures(explorer)["summary"]
    assert "patches examined" in figures(explorer)["summary"]
    assert "<caption>Patches of this test set" in explorer._panels.value
    assert "abnormal patches (lower)" in explorer._plot.value
    assert figures(explorer)["rule"].endswith("calibration patches lie above")
    assert "images" not in figures(explorer)["summary"]
    for page in (
        explorer_html(SMALL, LABELS, unit=hostile),
        table_html(TABLE, axes=("Score",), unit=hostile),
        ThresholdExplorer(SMALL, LABELS, unit=hostile).to_html(),
        ThresholdExplorer.from_table(TABLE, axes=("Score",), unit=hostile).to_html(),
    ):
        assert page.count("</script>") == 2
        assert "<img" not in page
        assert "&lt;img src=x&gt;&amp;patches examined" in page
    for function in (explorer_html, ThresholdExplorer):
        with pytest.raises(ValueError, match="unit=3 given; text is needed"):
            function(SMALL, LABELS, unit=3)


# ── another score ─────────────────────────────────────────────────────────────────────────────────


def table_explorer():
    return ThresholdExplorer.from_table(TABLE, axes=("Score",))


def test_another_score_is_shown_at_the_same_false_alarm_rate():
    explorer = table_explorer()
    explorer.threshold = 3.25  # 1 of 4 normal images lies above, and 2 of 3 abnormal ones
    explorer.choice = ("large",)
    assert 300 < explorer.threshold < 400
    assert counts(explorer) == (2, 1)
    # Where several stops have that rate, it is the lowest, at which most abnormal ones are found.
    explorer.threshold = 460  # no normal image
    explorer.choice = ("small",)
    assert 4 < explorer.threshold < 5
    assert counts(explorer) == (1, 0)
    # Where nothing was called abnormal, nothing is.
    explorer.threshold = 9.0
    explorer.choice = ("large",)
    assert counts(explorer) == (0, 0)
    explorer.threshold = -math.inf
    explorer.choice = ("small",)
    assert counts(explorer) == (3, 4)


def test_the_nearest_rate_is_taken_where_the_other_set_is_smaller():
    table = {"of 4": (SMALL, LABELS), "of 3": ([10, 20, 30, 15, 40], [0, 0, 0, 1, 1])}
    explorer = ThresholdExplorer.from_table(table, axes=("Set",))
    for threshold, alarms in ((0.5, 3), (1.7, 2), (2.5, 1), (3.2, 1), (4.5, 0)):
        explorer.choice = ("of 4",)
        explorer.threshold = threshold  # 4, 3, 2, 1 and 0 of 4; 2 of 4 is as near to 2 as to 1 of 3
        explorer.choice = ("of 3",)
        assert explorer.metrics.fp == (2 if threshold == 2.5 else alarms)


def test_without_normal_images_the_other_set_is_shown_at_its_first_threshold():
    table = {"both": (SMALL, LABELS, {"mine": 2.5}), "abnormal": ([1, 2, 3], [1, 1, 1])}
    explorer = ThresholdExplorer.from_table(table, axes=("Set",))
    explorer.threshold = 3.25
    explorer.choice = ("abnormal",)
    assert counts(explorer) == (1, 0)  # the middle one of four stops, as at the beginning
    explorer.choice = ("both",)
    assert explorer.threshold == 2.5


def test_a_named_threshold_stays_selected_also_across_a_score_without_it():
    explorer = table_explorer()
    assert explorer.threshold == 4.5  # normal 95 %: no normal image, 1 of 3 abnormal ones
    explorer.choice = ("large",)
    assert counts(explorer) == (2, 0)
    assert figures(explorer)["rule"] == ""
    explorer.prevalence = 0.1
    explorer.choice = ("small",)
    assert explorer.threshold == 4.5
    explorer._named.children[1].click()
    explorer.choice = ("large",)
    assert explorer.threshold == 250
    explorer.threshold = 350.0  # moved: no rule any more
    explorer.choice = ("small",)
    assert counts(explorer) == (2, 1)


# ── labels ────────────────────────────────────────────────────────────────────────────────────────


def test_the_area_under_one_operating_point_is_no_auc():
    # 3 of 4 abnormal images found, 1 of 4 normal ones called abnormal.
    called, labels = [0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    shown = figures(ThresholdExplorer(called, labels))
    assert (shown["area"], shown["auc"]) == ("balanced accuracy", "0.750")
    assert shown["area_note"].startswith("(sensitivity + specificity) / 2")
    shown = figures(ThresholdExplorer([0, 0, 0, 2, 0, 1, 1, 1], labels))
    assert (shown["area"], shown["area_note"]) == ("AUC", "")


def test_every_rule_of_the_library_is_explained_while_it_is_selected():
    assert set(RULE_NOTES) == set(RULES)
    named = {"mine": 0.5, "normal 95 %": 2.5, "conformal 5 %": 2.5, "oracle F1": 3.25}
    explorer = ThresholdExplorer(SMALL, LABELS, named)
    mine, normal, conformal, oracle = explorer._named.children
    assert [button.description for button in explorer._named.children] == list(named)
    assert figures(explorer)["rule"] == ""
    normal.click()
    assert figures(explorer)["rule"] == ("φ: at most 5\u00a0% of the calibration images lie above")
    conformal.click()  # the same threshold
    assert "new, similar normal images" in figures(explorer)["rule"]
    oracle.click()
    assert figures(explorer)["rule"] == "φ: the highest F1 on these test labels"
    mine.click()
    assert figures(explorer)["rule"] == ""


def test_the_slider_selects_a_named_threshold_where_it_meets_one():
    phi = 2.345678912  # stored as a shorter number on the page
    explorer = ThresholdExplorer(SMALL, LABELS, {"normal 95 %": phi})
    stop = explorer._slider.value
    explorer._slider.value = stop + 1
    assert figures(explorer)["rule"] == ""
    explorer._slider.value = stop
    assert explorer.threshold == phi
    assert "calibration images" in figures(explorer)["rule"]
