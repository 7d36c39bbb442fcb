"""Ranking metrics against scikit-learn, against numbers worked by hand, and at the edges where
they are undefined."""

import math
import time

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given
from hypothesis import strategies as st

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


@given(two_kinds)
def test_auc_is_the_chance_that_an_abnormal_image_scores_higher(pair):
    scores, labels = pair
    versus = scores[labels][:, None] - scores[~labels][None]
    assert auc(scores, labels) == pytest.approx(np.mean((versus > 0) + 0.5 * (versus == 0)))
    assert auc(-scores, labels) == pytest.approx(1 - auc(scores, labels))


def test_auc_under_one_half_is_left_as_it_is():
    assert auc([3.0, 2.0, 1.0, 0.0], [False, False, True, True]) == 0.0


@given(two_kinds, prevalences)
def test_average_precision_is_scikit_learns_under_weights(pair, prevalence):
    scores, labels = pair
    expected = sk.average_precision_score(
        labels, scores, sample_weight=weights_for(labels, prevalence)
    )
    assert average_precision(scores, labels, prevalence) == pytest.approx(expected)


def test_average_precision_at_a_prevalence_equals_that_of_a_set_with_that_prevalence():
    scores, labels = np.array([1.0, 4, 2, 3, 5]), np.array([0, 0, 0, 1, 1])
    many_normals = np.concatenate(
        [np.repeat(scores[:3], 66), scores[3:]]
    )  # 198 normal and 2 abnormal: 1 %
    of_many = np.concatenate([np.zeros(198, dtype=int), [1, 1]])
    assert average_precision(scores, labels, 0.01) == pytest.approx(
        average_precision(many_normals, of_many)
    )


@given(two_kinds, st.sampled_from([0.0, 0.1, 0.5, 0.8, 0.9, 1.0]))
def test_sensitivity_is_the_best_of_scikit_learns_curve(pair, specificity):
    scores, labels = pair
    false_alarms, recall, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    passed = (
        np.round((1 - false_alarms) * (~labels).sum()) / (~labels).sum()
    )  # 1 − 0.9 is not quite 0.1
    assert (
        sensitivity_at_specificity(scores, labels, specificity)
        == recall[passed >= specificity].max()
    )


@pytest.mark.parametrize("measure", [auc, average_precision, sensitivity_at_specificity])
@pytest.mark.parametrize(
    ("labels", "words"), [([0, 0], "All 2 images are normal"), ([1, 1], "are abnormal")]
)
def test_one_kind_of_image_is_a_clear_error(measure, labels, words):
    with pytest.raises(ValueError, match=words):
        measure([0.1, 0.2], labels)


def million():
    rng = np.random.default_rng(0)
    labels = rng.random(10**6) < 0.3
    return rng.normal(size=10**6) + labels, labels


def test_a_million_scores_give_scikit_learns_numbers():
    scores, labels = million()
    assert auc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(
        sk.average_precision_score(labels, scores), abs=1e-12
    )
    rounded = scores.round(2)  # ties between the kinds in nearly every place
    assert auc(rounded, labels) == pytest.approx(sk.roc_auc_score(labels, rounded), abs=1e-12)


def test_the_auc_of_a_million_scores_costs_about_a_sort():
    scores, labels = (torch.from_numpy(part) for part in million())
    seconds = {}
    for name, work in {"sort": lambda: scores.sort(), "auc": lambda: auc(scores, labels)}.items():
        work()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        seconds[name] = min(times)
    assert seconds["auc"] < 2 * seconds["sort"]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32]
)
@pytest.mark.parametrize("metric", [auc, average_precision, sensitivity_at_specificity])
@given(pair=two_kinds)
def test_tensors_of_any_type_give_what_arrays_give(metric, dtype, pair):
    scores, labels = pair
    found = metric(torch.from_numpy(scores).to(dtype), torch.from_numpy(labels))
    assert type(found) is float
    assert found == metric(scores, labels) == metric(list(scores), labels.astype(int))
    assert (
        found
        == metric(torch.from_numpy(scores), labels)
        == metric(scores, torch.from_numpy(labels).int())
    )


def test_scores_may_need_gradients_be_read_only_or_reversed():
    scores, labels = np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 0, 1, 1])
    assert auc(torch.tensor(scores, requires_grad=True), labels) == 0.75
    scores.flags.writeable = False
    assert auc(scores[::-1], labels[::-1]) == 0.75
    assert scores.tolist() == [0.1, 0.4, 0.3, 0.8]


@pytest.mark.parametrize(
    ("labels", "words"),
    [(torch.tensor([0, 2]), "'0', '2' given"), (torch.tensor([0.0, math.nan]), "bools or 0 and 1"),
     (torch.tensor([1]), "one label per score")],
)  # fmt: skip
def test_broken_label_tensors_are_named(labels, words):
    with pytest.raises(ValueError, match=words):
        auc(torch.tensor([0.1, 0.2]), labels)
