"""Ranking metrics against scikit-learn, against numbers worked by hand, and at the edges where they are undefined."""

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from ccb_lib.metrics.ranking import auc, average_precision, sensitivity_at_specificity

# Few distinct values, so that ties are the rule.
labelled = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30).map(
    lambda rows: (np.array([row[0] for row in rows], dtype=np.float32), np.array([row[1] for row in rows]))
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
    expected = sk.average_precision_score(labels, scores, sample_weight=weights_for(labels, prevalence))
    assert average_precision(scores, labels, prevalence) == pytest.approx(expected)


def test_average_precision_at_a_prevalence_equals_that_of_a_set_with_that_prevalence():
    scores, labels = np.array([1.0, 4, 2, 3, 5]), np.array([0, 0, 0, 1, 1])
    many_normals = np.concatenate([np.repeat(scores[:3], 66), scores[3:]])  # 198 normal and 2 abnormal: 1 %
    of_many = np.concatenate([np.zeros(198, dtype=int), [1, 1]])
    assert average_precision(scores, labels, 0.01) == pytest.approx(average_precision(many_normals, of_many))


@given(two_kinds, st.sampled_from([0.0, 0.1, 0.5, 0.8, 0.9, 1.0]))
def test_sensitivity_is_the_best_of_scikit_learns_curve(pair, specificity):
    scores, labels = pair
    false_alarms, recall, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    passed = np.round((1 - false_alarms) * (~labels).sum()) / (~labels).sum()  # 1 − 0.9 is not quite 0.1
    assert sensitivity_at_specificity(scores, labels, specificity) == recall[passed >= specificity].max()


@pytest.mark.parametrize("measure", [auc, average_precision, sensitivity_at_specificity])
@pytest.mark.parametrize(("labels", "words"), [([0, 0], "All 2 images are normal"), ([1, 1], "are abnormal")])
def test_one_kind_of_image_is_a_clear_error(measure, labels, words):
    with pytest.raises(ValueError, match=words):
        measure([0.1, 0.2], labels)
