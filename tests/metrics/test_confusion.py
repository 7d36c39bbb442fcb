"""Measures against scikit-learn, against numbers worked by hand, and at the edges where they are
undefined."""

import dataclasses
import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from ccb_lib.metrics.confusion import CONFUSION_METRICS, Metrics, confusion, metrics_at, shown
from ccb_lib.metrics.ranking import auc, average_precision, sensitivity_at_specificity

# Few distinct values, so that ties are the rule.
labelled = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30).map(
    lambda rows: (
        np.array([row[0] for row in rows], dtype=np.float32),
        np.array([row[1] for row in rows]),
    )
)
two_kinds = labelled.filter(lambda pair: pair[1].any() and not pair[1].all())
prevalences = st.none() | st.floats(0.001, 0.999)


def weights_for(labels, prevalence):
    if prevalence is None:
        return None
    return np.where(labels, prevalence / labels.mean(), (1 - prevalence) / (1 - labels.mean()))


@given(labelled, st.integers(-5, 5), prevalences)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_rates_at_a_threshold_are_scikit_learns(pair, threshold, prevalence):
    scores, labels = pair
    if labels.all() or not labels.any():
        prevalence = None  # one kind alone cannot be weighed to a share; see the next test
    weights = weights_for(labels, prevalence)
    found = metrics_at(scores, labels, threshold, prevalence=prevalence)
    verdicts = scores > threshold
    (tn, fp), (fn, tp) = sk.confusion_matrix(labels, verdicts, labels=[False, True])
    assert (found.tp, found.fp, found.tn, found.fn) == (tp, fp, tn, fn)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels,
        verdicts,
        average="binary",
        pos_label=True,
        sample_weight=weights,
        zero_division=np.nan,
    )
    specificity = sk.recall_score(~labels, ~verdicts, zero_division=np.nan)
    accuracy = sk.accuracy_score(labels, verdicts, sample_weight=weights)
    # NPV is the precision of the opposite question: which images are normal?
    npv = sk.precision_score(~labels, ~verdicts, sample_weight=weights, zero_division=np.nan)
    expected = [accuracy, precision, recall, specificity, f1, npv]
    np.testing.assert_allclose(
        [getattr(found, name) for name in CONFUSION_METRICS], expected, rtol=1e-9, atol=1e-12
    )


def test_what_one_kind_of_image_leaves_undefined_is_nan():
    normal_only = metrics_at([1.0, 2.0], [0, 0], 1.5)
    assert (normal_only.fp, normal_only.tn, normal_only.specificity, normal_only.accuracy) == (
        1,
        1,
        0.5,
        0.5,
    )
    assert math.isnan(normal_only.recall)
    assert normal_only.precision == 0  # one alarm, and it is false
    weighed = metrics_at([1.0, 2.0], [0, 0], 1.5, prevalence=0.1)
    assert weighed.specificity == 0.5
    assert math.isnan(weighed.accuracy)
    assert math.isnan(weighed.precision)
    assert math.isnan(weighed.f1)
    assert math.isnan(weighed.npv)


def test_no_alarm_has_no_precision_and_shows_as_a_dash():
    none = metrics_at([1.0, 2.0, 3.0], [0, 0, 1], math.inf)
    assert math.isnan(none.precision)
    assert none.f1 == 0
    assert "precision –" in str(none)
    assert none.npv == 2 / 3
    everything = metrics_at([1.0, 2.0, 3.0], [0, 0, 1], -math.inf)
    assert everything.recall == 1
    assert math.isnan(everything.npv)
    assert "npv –" in str(everything)


def test_a_clinic_at_two_percent_worked_by_hand():
    # 90 % recall, 80 % specificity, 2 % prevalence: of 1000 people 18 are found, 196 falsely
    # alarmed, 784 correctly called normal, and 2 missed.
    scores = np.r_[np.zeros(8), np.ones(2), np.zeros(1), np.ones(9)]
    found = metrics_at(scores, np.arange(20) >= 10, 0.5, prevalence=0.02)
    assert found.precision == pytest.approx(18 / 214)
    assert found.accuracy == pytest.approx((18 + 784) / 1000)
    assert found.f1 == pytest.approx(2 * 18 / (2 * 18 + 196 + 2))
    assert found.npv == pytest.approx(784 / 786)
    assert metrics_at(scores, np.arange(20) >= 10, 0.5).npv == 8 / 9  # 8 passed, 1 missed
    assert (found.tp, found.fp) == (9, 2)  # the counts stay as counted


def test_metrics_is_frozen_and_makes_a_table_row():
    found = metrics_at([1.0, 2.0], [0, 1], 1.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.tp = 3
    assert list(dataclasses.asdict(found)) == [
        "threshold",
        "tp",
        "fp",
        "tn",
        "fn",
        "prevalence",
        *CONFUSION_METRICS,
    ]


def test_confusion_is_laid_out_as_in_scikit_learn():
    assert confusion([1, 2, 3, 4], [0, 0, 1, 1], 3.0).tolist() == [[2, 0], [1, 1]]


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([0.1, np.nan], [0, 1], "1 of 2 are NaN or infinite"),
        ([0.1, np.inf], [0, 1], "1 of 2 are NaN or infinite"),
        ([], [], r"shape \(0,\)"),
        ([[0.1, 0.2]], [[0, 1]], r"shape \(1, 2\)"),
        (["a", "b"], [0, 1], "finite numbers is needed"),
        ([0.1, 0.2], [0], "one label per score"),
        ([0.1, 0.2], [0, 2], "'0', '2' given"),
        ([0.1, 0.2], [-1, 1], "'-1', '1' given"),
        ([0.1, 0.2], ["normal", "abnormal"], "bools or 0 and 1"),
        ([0.1, 0.2], [0, np.nan], "bools or 0 and 1"),
    ],
)
@pytest.mark.parametrize("measure", [auc, average_precision, lambda s, y: metrics_at(s, y, 0.1)])
def test_broken_input_is_named(measure, scores, labels, words):
    with pytest.raises(ValueError, match=words):
        measure(scores, labels)


def test_settings_out_of_range_are_named():
    for prevalence in (0, 1, 5, -0.1, math.nan):
        with pytest.raises(ValueError, match="prevalence"):
            metrics_at([0, 1], [0, 1], 0.5, prevalence=prevalence)
        with pytest.raises(ValueError, match="prevalence"):
            average_precision([0, 1], [0, 1], prevalence)
    with pytest.raises(ValueError, match="specificity"):
        sensitivity_at_specificity([0, 1], [0, 1], 95)
    with pytest.raises(ValueError, match="threshold=nan"):
        metrics_at([0, 1], [0, 1], math.nan)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0625, "0.063"),
        (0.0005, "0.001"),
        (0.0045, "0.004"),
        (1, "1.000"),
        (2 / 3, "0.667"),
        (math.nan, "–"),
    ],
)
def test_rates_are_written_as_a_browser_writes_them(value, text):
    assert shown(value) == text


def test_counts_given_by_hand():
    # CCB on dermatofibroma, as the paper's accuracy and F1 imply: 110 of 115 abnormal found, 99 of
    # 115 normals passed.
    found = Metrics.from_counts(0.5, tp=110, fp=16, tn=99, fn=5)
    assert found.accuracy == 209 / 230
    assert found.f1 == 220 / (220 + 21)
