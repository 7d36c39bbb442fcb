import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from ccb_lib.metrics import paired
from ccb_lib.metrics.bootstrap import paired_difference
from ccb_lib.metrics.paired import Difference, Pair, holm, paired_differences, verdict


def pair(seed, name, *, gain=0.0, count=120, noise=0.5):
    """Two arms that see the same images through noise of their own; ``gain`` makes A's signal
    stronger."""
    images = np.random.default_rng(len(name))
    labels = images.random(count) < 0.4
    hard = images.normal(size=count)
    own = np.random.default_rng([seed, len(name)])
    a, b = (
        hard + strength * labels + noise * own.normal(size=count) for strength in (0.8 + gain, 0.8)
    )
    return Pair(seed, name, a, b, labels, np.array([f"{name}{k}" for k in range(count)]))


def test_estimates_are_scikit_learns():
    pairs = [pair(seed, name) for seed in range(3) for name in ("x", "yy")]
    found = paired_differences(pairs, replicates=20)
    own = {p[:2]: roc_auc_score(p.labels, p.a) - roc_auc_score(p.labels, p.b) for p in pairs}
    assert found["macro"].estimate == pytest.approx(np.mean(list(own.values())))
    assert found["yy"].estimate == pytest.approx(np.mean([own[seed, "yy"] for seed in range(3)]))
    assert found["macro"].seeds == 3
    assert list(found) == ["macro", "x", "yy"]


def test_one_seed_and_class_is_the_paired_bootstrap_over_groups():
    alone = pair(0, "x", gain=0.5)
    groups = np.array([f"g{k // 3}" for k in range(120)])
    ours = paired_differences([alone._replace(groups=groups)], replicates=2000)["x"]
    theirs = paired_difference(alone.a, alone.b, alone.labels, groups=groups, replicates=2000)
    assert ours.estimate == theirs.estimate
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.015)


def test_an_interval_covers_what_seeds_do_and_not_images_alone():
    """One seed of three ends badly: over seeds the difference is far less sure than each seed's
    images say."""
    pairs = [pair(seed, "x", gain=gain) for seed, gain in enumerate((0.6, 0.6, -0.8))]
    wide = paired_differences(pairs, replicates=500)["macro"]
    narrow = [paired_differences([p], replicates=500)["macro"] for p in pairs]
    assert wide.high - wide.low > 1.5 * max(one.high - one.low for one in narrow)
    assert verdict(wide, 0.02, planned_seeds=3) == "undecided"


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_seeds_that_differ_are_not_taken_for_a_difference_of_arms(seeds):
    """Arms equal on average, each seed favouring one by chance: a verdict is given in few of 100
    tries."""
    rng = np.random.default_rng(seeds)
    decided = small_p = 0
    for attempt in range(100):
        pairs = [
            pair(1000 * attempt + s, "x", gain=rng.normal(0, 0.4), noise=0.2) for s in range(seeds)
        ]
        found = paired_differences(pairs, replicates=200, seed=attempt)["x"]
        decided += verdict(found, 0.005, planned_seeds=seeds) != "undecided"
        small_p += found.p < 0.05
    allowed = stats.binom.ppf(0.999, 100, 0.05)
    assert decided <= allowed
    assert small_p <= allowed


def family(seeds, attempt, classes=4, normals=60, abnormal=30, images=0.1):
    """Arms equal on average in each class. Seeds and images favour one by chance, in classes that
    share normals."""
    rng = np.random.default_rng([seeds, attempt])
    labels = np.arange(normals + abnormal) >= normals
    shared = rng.normal(0, 0.3, size=seeds)
    favours = rng.normal(
        0, images, size=(2, normals)
    )  # how either arm likes the normals, with every seed
    pairs = []
    for name in "abcd"[:classes]:
        liked = np.concatenate([favours, rng.normal(0, images, size=(2, abnormal))], axis=1)
        hard = rng.normal(size=len(labels))
        groups = np.array(
            [f"n{k}" for k in range(normals)] + [f"{name}{k}" for k in range(abnormal)]
        )
        for seed in range(seeds):
            gain = shared[seed] + rng.normal(0, 0.3)
            a, b = (
                hard + one + (0.8 + g) * labels
                for one, g in zip(liked, (gain / 2, -gain / 2), strict=True)
            )
            pairs.append(Pair(seed, name, a, b, labels, groups))
    return pairs


@pytest.mark.parametrize("seeds", [3, 8])
def test_the_family_wise_error_over_classes_is_at_most_the_nominal(seeds):
    """Holm over correlated classes: in at most 5 % of studies is any class called different, and
    the macro as well."""
    tries = 200
    any_class = macro = 0
    for attempt in range(tries):
        found = paired_differences(family(seeds, attempt), replicates=100, seed=attempt)
        macro += found.pop("macro").p < 0.05
        any_class += any(difference.adjusted_p < 0.05 for difference in found.values())
    allowed = stats.binom.ppf(0.999, tries, 0.05)
    assert any_class <= allowed
    assert macro <= allowed
    assert macro >= 1  # a test that never rejects would hold too


def test_p_by_hand():
    """Differences +.5 and 0, images without a bootstrap spread: t = .25 / .25 = 1, one degree of
    freedom, p = ½."""
    labels, groups = np.array([False, True]), np.array(["normal", "abnormal"])
    right, tie = np.array([0.0, 1.0]), np.array([0.0, 0.0])
    pairs = [Pair(0, "x", right, tie, labels, groups), Pair(1, "x", tie, tie, labels, groups)]
    found = paired_differences(pairs, replicates=200)["x"]
    assert found.estimate == 0.25
    assert found.p == pytest.approx(0.5)
    assert found.sign_flip_p == 1.0  # of ±.5 all four are as far from 0


def test_p_is_the_paired_t_test_where_images_add_nothing():
    """Many images and seeds that differ: scipy's t-test of the per-seed differences gives nearly
    the same."""
    pairs = [
        pair(s, "x", gain=gain, count=1500, noise=0.1)
        for s, gain in enumerate((0.9, 0.2, 0.5, -0.1, 0.4))
    ]
    own = [roc_auc_score(p.labels, p.a) - roc_auc_score(p.labels, p.b) for p in pairs]
    expected = stats.ttest_1samp(own, 0).pvalue
    found = paired_differences(pairs, replicates=300)["x"]
    assert expected <= found.p <= expected + 0.01
    assert (
        found.sign_flip_p
        == stats.permutation_test(
            (own,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        ).pvalue
    )


def test_the_variance_over_images_is_part_of_the_error():
    """Seeds that agree to the digit, on 40 images: the images alone make the difference
    uncertain."""
    alone = pair(0, "x", gain=0.5, count=40)
    found = paired_differences([alone._replace(seed=s) for s in range(8)], replicates=2000)["x"]
    own = paired_difference(alone.a, alone.b, alone.labels, replicates=2000)
    spread = (own.high - own.low) / (2 * 1.96)
    assert found.p == pytest.approx(2 * stats.t.sf(found.estimate / spread, 7), rel=0.3)
    assert found.sign_flip_p == 2 / 2**8  # which knows the seeds alone


def test_one_seed_decides_nothing():
    found = paired_differences([pair(0, "x", gain=3.0)], replicates=100)["macro"]
    assert found.low > 0.02
    assert np.isnan([found.p, found.adjusted_p, found.sign_flip_p]).all()
    assert verdict(found, 0.02, planned_seeds=1) == "undecided"


def test_a_large_difference_is_found_and_equal_arms_are_equal():
    pairs = [pair(seed, "x", gain=1.0) for seed in range(8)]
    found = paired_differences(pairs, replicates=300)["macro"]
    assert found.low > 0
    assert found.p < 0.001
    assert verdict(found, 0.02, planned_seeds=8) == "better"
    assert verdict(found, 0.02, planned_seeds=9) == "undecided"
    worse = paired_differences([p._replace(a=p.b, b=p.a) for p in pairs], replicates=300)["macro"]
    assert verdict(worse, 0.02, planned_seeds=8) == "worse"
    assert worse == pytest.approx(
        found._replace(estimate=-found.estimate, low=-found.high, high=-found.low)
    )
    same = paired_differences(
        [p._replace(b=p.a) for p in (pair(s, "x") for s in range(3))], replicates=50
    )
    assert same["macro"][:3] == (0, 0, 0)
    assert same["macro"].p == 1
    assert verdict(same["macro"], 0.02, planned_seeds=3) == "equal within the margin"


def test_many_seeds_draw_their_sign_flips():
    per_seed = np.array([0.1] * 15 + [-0.1] * 5)
    exact = 2 * stats.binom.sf(14, 20, 0.5)  # of 20 signs at least 15 agree
    assert paired._sign_flips(per_seed) == pytest.approx(exact, abs=0.01)


def test_tensors_and_arrays_give_the_same():
    pairs = [pair(seed, "x", gain=0.5) for seed in range(3)]
    tensors = [
        p._replace(
            a=torch.from_numpy(p.a), b=torch.from_numpy(p.b), labels=torch.from_numpy(p.labels)
        )
        for p in pairs
    ]
    assert paired_differences(tensors, replicates=50) == paired_differences(pairs, replicates=50)


def test_a_seed_without_a_class_is_refused():
    with pytest.raises(ValueError, match=r"missing or double: \[\(1, 'yy'\)\]"):
        paired_differences([pair(0, "x"), pair(0, "yy"), pair(1, "x")])
    with pytest.raises(ValueError, match=r"missing or double: \[\(0, 'x'\)\]"):
        paired_differences([pair(0, "x"), pair(0, "yy"), pair(0, "x")])
    with pytest.raises(ValueError, match="missing or double: all"):
        paired_differences([])


def test_holm_by_hand():
    # Sorted .01 .03 .04: times 3, 2, 1 gives .03 .06 .04, and none may fall below the one before.
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx(
        {"a": 0.06, "b": 0.03, "c": 0.06}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_holm_leaves_out_what_has_no_p():
    assert holm({"a": 0.04, "b": math.nan, "c": 0.01}) == pytest.approx(
        {"a": 0.04, "b": math.nan, "c": 0.02}, nan_ok=True
    )


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_lies_between_p_and_bonferroni(p_values):
    for name, adjusted in holm(p_values).items():
        assert p_values[name] <= adjusted <= min(1, len(p_values) * p_values[name]) + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.01, 0.05, 0.04, "better"),
        (-0.05, -0.01, 0.04, "worse"),
        (-0.01, 0.019, 0.5, "equal within the margin"),
        (0.001, 0.019, 0.01, "equal within the margin"),
        (-0.01, 0.03, 0.5, "undecided"),
        (0.01, 0.05, 0.06, "undecided"),
        (-0.05, -0.01, 0.05, "undecided"),
        (-0.01, 0.05, 0.01, "undecided"),
    ],
)
def test_a_verdict_needs_the_interval_and_p(low, high, p, said):
    assert verdict(Difference(0.0, low, high, 0.0, p, 0.0, 3), 0.02, planned_seeds=3) == said
    assert verdict(Difference(0.0, low, high, 0.0, p, 0.0, 3), 0.02, planned_seeds=8) == "undecided"
