import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ccb_lib.metrics.bootstrap import paired_difference
from ccb_lib.metrics.paired import Difference, Pair, holm, paired_differences, verdict


def pair(seed, name, *, gain=0.0, count=120, noise=0.5):
    """Two arms that see the same images through noise of their own; ``gain`` makes A's signal stronger."""
    images = np.random.default_rng(len(name))
    labels = images.random(count) < 0.4
    hard = images.normal(size=count)
    own = np.random.default_rng([seed, len(name)])
    a, b = (hard + strength * labels + noise * own.normal(size=count) for strength in (0.8 + gain, 0.8))
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
    """One seed of three ends badly: over seeds the difference is far less sure than each seed's images say."""
    pairs = [pair(seed, "x", gain=gain) for seed, gain in enumerate((0.6, 0.6, -0.8))]
    wide = paired_differences(pairs, replicates=500)["macro"]
    narrow = [paired_differences([p], replicates=500)["macro"] for p in pairs]
    assert wide.high - wide.low > 1.5 * max(one.high - one.low for one in narrow)
    assert verdict(wide, 0.02) == "undecided"


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_seeds_that_differ_are_not_taken_for_a_difference_of_arms(seeds):
    """Arms equal on average, each seed favouring one by chance: a verdict is given in few of 100 tries."""
    rng = np.random.default_rng(seeds)
    decided = small_p = 0
    for attempt in range(100):
        pairs = [pair(1000 * attempt + s, "x", gain=rng.normal(0, 0.4), noise=0.2) for s in range(seeds)]
        found = paired_differences(pairs, replicates=200, seed=attempt)["x"]
        decided += verdict(found, 0.005) != "undecided"
        small_p += found.p < 0.05
    assert decided <= 12  # 5 expected; more than 12 comes about once in 600
    assert small_p <= 14


def test_one_seed_decides_nothing():
    found = paired_differences([pair(0, "x", gain=3.0)], replicates=100)["macro"]
    assert found.low > 0.02
    assert np.isnan(found.p)
    assert verdict(found, 0.02) == "undecided"


def test_a_large_difference_is_found_and_equal_arms_are_equal():
    found = paired_differences([pair(seed, "x", gain=1.0) for seed in range(8)], replicates=300)["macro"]
    assert found.low > 0
    assert found.p == pytest.approx(2 / 301)
    assert verdict(found, 0.02) == "better"
    same = paired_differences([p._replace(b=p.a) for p in (pair(s, "x") for s in range(3))], replicates=50)
    assert same["macro"][:3] == (0, 0, 0)
    assert same["macro"].p == 1
    assert verdict(same["macro"], 0.02) == "equal within the margin"


def test_a_seed_without_a_class_is_refused():
    with pytest.raises(ValueError, match=r"missing or double: \[\(1, 'yy'\)\]"):
        paired_differences([pair(0, "x"), pair(0, "yy"), pair(1, "x")])
    with pytest.raises(ValueError, match="One pair for each seed and class"):
        paired_differences([])


def test_holm_by_hand():
    # Sorted .01 .03 .04: times 3, 2, 1 gives .03 .06 .04, and none may fall below the one before.
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_lies_between_p_and_bonferroni(p_values):
    for name, adjusted in holm(p_values).items():
        assert p_values[name] <= adjusted <= min(1, len(p_values) * p_values[name]) + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.05, "better"), (-0.05, -0.01, "worse"), (-0.01, 0.019, "equal within the margin"),
     (0.001, 0.019, "equal within the margin"), (-0.01, 0.03, "undecided")],
)  # fmt: skip
def test_verdicts(low, high, said):
    assert verdict(Difference(0.0, low, high, 0.5, 3), 0.02) == said
