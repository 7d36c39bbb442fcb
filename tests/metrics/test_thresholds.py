"""Rules for φ: what each promises, held against every possible cut, ties, float rounding and
simulation."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from ccb_lib.metrics import (
    RULES,
    conformal_p_values,
    conformal_threshold,
    false_alarm_range,
    false_alarm_rates,
    min_max,
    normal_quantile,
    oracle_accuracy,
    oracle_f1,
    oracle_youden,
    place_all,
)
from ccb_lib.metrics.counts import ThresholdCounts, count_at_thresholds

shares = st.floats(0.001, 0.999)
tied = st.lists(st.integers(-3, 3), min_size=1, max_size=40).map(
    lambda values: np.array(values, dtype=np.float64)
)
any_floats = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40).map(np.array)
singles = st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=40).map(
    lambda values: np.array(values, dtype=np.float32)
)
labelled = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30).map(
    lambda rows: (
        np.array([row[0] for row in rows], dtype=np.float32),
        np.array([row[1] for row in rows]),
    )
)
two_kinds = labelled.filter(lambda pair: pair[1].any() and not pair[1].all())


# ── the quantile of held-out normals ──────────────────────────────────────────────────────────────


@given(tied | any_floats | singles, shares)
def test_at_most_the_share_of_held_out_normals_lies_above_the_quantile(scores, share):
    threshold = normal_quantile(scores, share)
    assert np.mean(scores > threshold) <= share
    # and no lower cut would do: the next score down, called abnormal too, breaks the promise
    passed = scores[scores <= threshold]
    assert np.mean(scores >= passed.max()) > share


def test_the_quantile_worked_by_hand():
    assert normal_quantile(range(1, 101)) == 95.5  # 96 … 100 lie above: five of a hundred
    assert normal_quantile([1, 2, 3, 4], 0.25) == 3.5
    assert normal_quantile([1, 2, 2, 2], 0.5) > 2  # a tie is passed whole
    assert 5 < normal_quantile([5.0], 0.05) < 5.0001  # nothing may be an alarm


@given(st.floats(-(2.0**99), 2.0**99, width=32))
def test_neighbouring_float32_scores_stay_apart_when_compared_in_float32(low):
    scores = np.array([low, np.nextafter(np.float32(low), np.float32(np.inf))], dtype=np.float32)
    assert (scores > normal_quantile(scores, 0.5)).tolist() == [False, True]
    assert not (scores > normal_quantile(scores, 0.1)).any()


# ── split conformal ───────────────────────────────────────────────────────────────────────────────


def test_p_values_worked_by_hand():
    assert conformal_p_values([0, 2, 2.5, 9], [1, 2, 3]).tolist() == [1, 0.75, 0.5, 0.25]


@given(tied | any_floats, st.lists(st.integers(-4, 4), min_size=1, max_size=20), shares)
def test_above_the_conformal_threshold_if_and_only_if_p_is_small(normals, others, share):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threshold = conformal_threshold(normals, share)
    scores = np.concatenate(
        [np.array(others, dtype=np.float64), normals, np.nextafter(normals, np.inf)]
    )
    np.testing.assert_array_equal(scores > threshold, conformal_p_values(scores, normals) <= share)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.07, 0.1, 0.29, 1 / 3, 0.5])
def test_too_few_calibration_scores_can_flag_nothing_and_say_so(share):
    enough = next(m for m in range(1, 1000) if 1 / (m + 1) <= share)
    assert math.isfinite(conformal_threshold(np.arange(enough), share))
    if enough > 1:
        with pytest.warns(UserWarning, match=f"Give at least {enough}, or allow a higher rate"):
            assert conformal_threshold(np.arange(enough - 1), share) == math.inf


def test_false_alarms_of_the_conformal_rule_lie_within_their_binomial_interval():
    # One new normal image a split makes 200 independent verdicts: with M = 99 each is wrong with
    # chance 5/100 exactly.
    rng = np.random.default_rng(0)
    splits = [rng.gamma(2.0, size=100) for _ in range(200)]
    alarms = sum(scores[-1] > conformal_threshold(scores[:-1], 0.05) for scores in splits)
    low, high = stats.binom.interval(0.99, 200, 0.05)
    assert low <= alarms <= high
    by_p = sum(conformal_p_values(scores[-1:], scores[:-1])[0] <= 0.05 for scores in splits)
    assert by_p == alarms


def test_false_alarms_on_real_images_lie_within_their_binomial_interval():
    # Distance to the nearest of half of the digits 0 to 7, as a detector; the other half, never
    # fitted on, is split
    # 200 times: calibrate on 199, judge one.
    digits = load_digits()
    normal = digits.data[digits.target < 8]
    fitted, held_out = normal[::2], normal[1::2]
    scores = NearestNeighbors(n_neighbors=1).fit(fitted).kneighbors(held_out)[0][:, 0]
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        drawn = rng.permutation(scores)[:200]
        alarms += drawn[-1] > conformal_threshold(drawn[:-1], 0.05)
    low, high = stats.binom.interval(0.99, 200, 0.05)
    assert low <= alarms <= high


def test_given_one_calibration_set_the_rate_varies_as_a_beta():
    # 200 splits of many scores; each rate is about Beta(5, 95): mean .05, standard deviation .0217.
    rng = np.random.default_rng(2)
    rates = [
        np.mean(rng.normal(size=20_000) > conformal_threshold(rng.normal(size=99), 0.05))
        for _ in range(200)
    ]
    assert stats.kstest(rates, stats.beta(5, 95).cdf).pvalue > 0.001
    # The quantile allows 4 of 99 above it, the conformal rule the same: they differ where M + 1
    # makes room.
    assert normal_quantile(np.arange(99)) == pytest.approx(conformal_threshold(np.arange(99)) + 0.5)


def test_the_plain_quantile_exceeds_its_rate_on_new_images_where_the_conformal_rule_does_not():
    rng = np.random.default_rng(3)
    scores = rng.normal(
        size=(4000, 21)
    )  # M = 20: the quantile lets 1 of 20 lie above, so 1.5 of 21 to come
    plain = np.mean([row[-1] > normal_quantile(row[:-1], 0.05) for row in scores])
    conformal = np.mean([row[-1] > conformal_threshold(row[:-1], 0.05) for row in scores])
    sigma = math.sqrt(0.05 * 0.95 / 4000)
    assert plain > 0.05 + 4 * sigma
    assert conformal < 0.05 + 3 * sigma


def test_false_alarm_rates_split_what_they_are_given():
    rates = false_alarm_rates(np.arange(50.0), lambda calibration: 24.5, calibration=20, splits=40)
    assert rates.shape == (40,)
    assert (rates <= 25 / 30).all()
    assert rates.std() > 0
    np.testing.assert_array_equal(
        rates, false_alarm_rates(np.arange(50.0), lambda c: 24.5, calibration=20, splits=40)
    )
    with pytest.raises(ValueError, match="a number from 1 to 49"):
        false_alarm_rates(np.arange(50.0), calibration=50)


@pytest.mark.parametrize("rule", [normal_quantile, conformal_threshold])
@pytest.mark.parametrize(("calibration", "tested"), [(40, 300), (164, 329)])
def test_false_alarms_lie_in_their_range_as_often_as_it_says(rule, calibration, tested):
    rng = np.random.default_rng(6)
    inside = binomial = 0
    for _ in range(400):
        scores = rng.gamma(2.0, size=calibration)
        threshold = rule(scores)
        low, high = false_alarm_range(threshold, scores, tested)
        alarms = (rng.gamma(2.0, size=tested) > threshold).sum()
        inside += low <= alarms <= high
        lowest, highest = stats.binom.interval(0.95, tested, 0.05)
        binomial += lowest <= alarms <= highest
    assert stats.binom.ppf(0.001, 400, 0.95) <= inside
    assert binomial < 360  # a rate of 5 % exactly would give too narrow a range


def test_the_range_of_false_alarms_at_its_ends():
    assert false_alarm_range(math.inf, np.arange(5), 100) == (0, 0)  # nothing is ever an alarm
    assert (
        false_alarm_range(4.0, np.arange(5), 10_000)[1] > 5000
    )  # the highest of five: little is known
    low, high = false_alarm_range(0.05, np.linspace(0, 1, 100_001)[::-1], 1000)
    assert (low, high) == tuple(
        map(int, stats.binom.interval(0.95, 1000, 0.95))
    )  # φ is known: binomial
    for tested, level in ((0, 0.95), (10, 95)):
        with pytest.raises(ValueError, match=f"tested={tested}, level={level}"):
            false_alarm_range(0.5, [0.1], tested, level=level)


@given(tied | any_floats | singles, shares)
def test_tensors_are_calibrated_as_arrays_are(scores, share):
    tensor = torch.from_numpy(scores)
    assert normal_quantile(tensor, share) == normal_quantile(scores, share)
    p_values = conformal_p_values(tensor, scores)
    assert p_values.dtype == torch.float64
    np.testing.assert_array_equal(p_values, conformal_p_values(scores, tensor))
    assert isinstance(conformal_p_values(scores, tensor), np.ndarray)


@given(two_kinds)
def test_every_rule_takes_tensors(pair):
    scores, labels = pair
    if len(np.unique(scores)) == 1:
        return  # min-max has nothing to scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few normals: the conformal φ is infinite
        of_tensors = place_all(*map(torch.from_numpy, (scores[~labels], scores, labels)))
        assert of_tensors == place_all(scores[~labels], scores, labels)


# ── rules for teaching ────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)  # scikit-learn is called for every threshold
@given(two_kinds)
def test_oracles_find_the_best_of_every_possible_cut(pair):
    scores, labels = pair
    tries = [-9.0, *(np.unique(scores) + 0.5), 9.0]
    f1 = [sk.f1_score(labels, scores > cut, zero_division=0) for cut in tries]
    accuracy = [sk.accuracy_score(labels, scores > cut) for cut in tries]
    youden = [sk.balanced_accuracy_score(labels, scores > cut) for cut in tries]
    assert sk.f1_score(labels, scores > oracle_f1(scores, labels), zero_division=0) == max(f1)
    assert sk.accuracy_score(labels, scores > oracle_accuracy(scores, labels)) == max(accuracy)
    best = sk.balanced_accuracy_score(labels, scores > oracle_youden(scores, labels))
    assert best == pytest.approx(max(youden), abs=1e-12)


def test_of_equally_good_cuts_an_oracle_takes_the_one_that_alarms_least():
    assert oracle_accuracy([1, 2, 3, 4], [1, 0, 1, 0]) > 4  # 2 of 4 right at every even cut
    assert oracle_f1([1, 2], [0, 1]) == 1.5


def test_oracle_f1_is_never_under_two_thirds_at_fifty_fifty():
    rng = np.random.default_rng(4)
    for _ in range(20):
        scores, labels = rng.normal(size=100), np.arange(100) % 2
        assert sk.f1_score(labels, scores > oracle_f1(scores, labels)) >= 2 / 3


@pytest.mark.parametrize("oracle", [oracle_f1, oracle_accuracy, oracle_youden])
@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_an_oracle_needs_both_kinds(oracle, labels):
    with pytest.raises(ValueError, match="both kinds"):
        oracle([0.1, 0.2], labels)


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=30).filter(
        lambda values: len(set(values)) > 1
    )
)
def test_min_max_is_the_ancestors_scaled_cut(values):
    scores = np.array(values, dtype=np.float64)
    scaled = (scores - scores.min()) / (scores.max() - scores.min())
    np.testing.assert_array_equal(scores > min_max(scores), scaled >= 0.2)


def test_min_max_hangs_on_its_most_extreme_image():
    scores = np.array([0.0, 1, 2, 3, 4, 5])
    assert (scores > min_max(scores)).sum() == 5
    assert (scores > min_max([*scores, 100.0])).sum() == 0
    with pytest.raises(ValueError, match="cannot be scaled"):
        min_max([1.0, 1.0])
    with pytest.raises(ValueError, match="cut=20"):
        min_max([1.0, 2.0], 20)


def test_only_rules_that_read_labels_are_called_oracles_and_all_that_do_are():
    rng = np.random.default_rng(5)
    normals, scores, labels = rng.normal(size=200), rng.normal(size=300), np.arange(300) >= 200
    told = place_all(normals, scores, labels)
    otherwise = place_all(normals, scores, rng.permutation(labels))
    reads_labels = {name for name in RULES if told[name] != otherwise[name]}
    assert reads_labels == {name for name, rule in RULES.items() if rule.oracle}
    assert reads_labels == {name for name in RULES if "oracle" in name}
    sees_test = {
        name for name in RULES if told[name] != place_all(normals, scores + 1, labels)[name]
    }
    assert sees_test == {name for name, rule in RULES.items() if rule.sees != "calibration images"}


# ── every possible cut ────────────────────────────────────────────────────────────────────────────


@given(labelled)
def test_cuts_lie_between_distinct_scores_and_count_as_defined(pair):
    scores, labels = pair
    cuts = ThresholdCounts(*(part.numpy() for part in count_at_thresholds(scores, labels)))
    assert len(cuts.thresholds) == len(np.unique(scores)) + 1
    assert not np.isin(cuts.thresholds, scores).any()
    assert (np.diff(cuts.thresholds) > 0).all()
    for threshold, tp, fp in zip(cuts.thresholds, cuts.tp, cuts.fp, strict=True):
        assert tp == (scores[labels] > threshold).sum()
        assert fp == (scores[~labels] > threshold).sum()


@pytest.mark.parametrize("share", [0, 1, 5, -0.1, math.nan])
@pytest.mark.parametrize("rule", [normal_quantile, conformal_threshold])
def test_a_share_out_of_range_is_named(rule, share):
    with pytest.raises(ValueError, match="false_alarms="):
        rule([1.0, 2.0], share)


@pytest.mark.parametrize(
    "rule", [normal_quantile, conformal_threshold, lambda s: conformal_p_values([1.0], s)]
)
@pytest.mark.parametrize("scores", [[], [np.nan], [[1.0]], ["a"]])
def test_broken_calibration_scores_are_named(rule, scores):
    with pytest.raises(ValueError, match="normal_scores"):
        rule(scores)
