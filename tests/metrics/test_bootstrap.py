"""Bootstrap intervals: each replicate equals scikit-learn on the drawn images, groups stay whole,
pairs stay paired."""

import math
import time

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from ccb_lib.metrics import replicates
from ccb_lib.metrics.bootstrap import Estimate, bootstrap_interval, paired_difference
from ccb_lib.metrics.confusion import CONFUSION_METRICS, metrics_at
from ccb_lib.metrics.ranking import auc, average_precision, sensitivity_at_specificity
from ccb_lib.metrics.replicates import BOOTSTRAP_METRICS

rng = np.random.default_rng(7)
LABELS = np.arange(120) >= 70
SCORES = np.round(rng.normal(size=120) + LABELS, 1)  # rounded, so that there are ties
GROUPS = np.array([f"lesion {number}" for number in np.arange(120) // 3])


def plain(metric, scores, labels, prevalence=None):
    """The measure by the public functions, on images that are simply repeated."""
    if metric in CONFUSION_METRICS:
        return getattr(metrics_at(scores, labels, 0.4, prevalence=prevalence), metric)
    if metric == "average_precision":
        return average_precision(scores, labels, prevalence)
    return (
        auc(scores, labels) if metric == "auc" else sensitivity_at_specificity(scores, labels, 0.9)
    )


MEMBERS = torch.from_numpy(replicates.numbered(GROUPS)[0])


def drawn(times, seed):
    return torch.cat(list(replicates.resampled(40, times, seed)))


def of_replicates(metric, *settings):
    return replicates.replicate_metric(
        torch.from_numpy(SCORES), torch.from_numpy(LABELS), MEMBERS, metric, *settings
    )


@pytest.mark.parametrize("prevalence", [None, 0.03])
@pytest.mark.parametrize("metric", BOOTSTRAP_METRICS)
def test_every_replicate_is_the_metric_of_the_images_drawn(metric, prevalence):
    counts = drawn(20, seed=1)
    values = of_replicates(metric, 0.4, 0.9, prevalence)(counts)
    assert values.dtype == torch.float64
    for row, value in zip(counts, values, strict=True):
        repeated = np.repeat(np.arange(120), row[MEMBERS].long())
        assert float(value) == pytest.approx(
            plain(metric, SCORES[repeated], LABELS[repeated], prevalence), abs=1e-12
        )
    found = bootstrap_interval(
        SCORES, LABELS, metric, threshold=0.4, specificity=0.9, prevalence=prevalence, replicates=50
    )
    assert found.estimate == pytest.approx(plain(metric, SCORES, LABELS, prevalence), abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_weighted_replicates_agree_with_scikit_learns_weights():
    counts = drawn(1, seed=3)
    value = of_replicates("auc")(counts)
    weights = counts[0, MEMBERS].numpy()
    assert float(value) == pytest.approx(
        sk.roc_auc_score(LABELS, SCORES, sample_weight=weights), abs=1e-12
    )


def test_a_replicate_without_one_kind_has_no_ranking():
    only_normals = torch.zeros(1, 40)
    only_normals[0, MEMBERS[~torch.from_numpy(LABELS)]] = 1
    only_normals[0, MEMBERS[torch.from_numpy(LABELS)]] = 0
    for metric in ("auc", "average_precision", "sensitivity_at_specificity"):
        assert of_replicates(metric)(only_normals).isnan().all()
    only_abnormals = torch.zeros(1, 40)
    only_abnormals[0, 39] = 3
    assert of_replicates("auc")(only_abnormals).isnan().all()
    assert of_replicates("average_precision")(only_abnormals).item() == 1
    assert of_replicates("average_precision", None, 0.95, 0.1)(only_abnormals).isnan().all()


def test_as_many_groups_are_drawn_as_there_are_and_each_as_often_on_average():
    counts = drawn(4000, seed=0)
    assert (counts.sum(1) == 40).all()
    assert (counts.mean(0) - 1).abs().max() < 5 / math.sqrt(4000)
    assert counts.var(0).mean() == pytest.approx(1 - 1 / 40, abs=0.05)


def test_many_images_are_summed_in_double_precision(monkeypatch):
    single = of_replicates("auc")(drawn(20, seed=1))
    monkeypatch.setattr(replicates, "_EXACT_IN_SINGLE", 1)
    assert torch.equal(of_replicates("auc")(drawn(20, seed=1)), single)


def test_replicates_do_not_depend_on_how_many_are_worked_on_at_once(monkeypatch):
    whole = bootstrap_interval(SCORES, LABELS, replicates=100)
    monkeypatch.setattr(replicates, "_CELLS", 120 * 7)
    assert bootstrap_interval(SCORES, LABELS, replicates=100) == whole


def test_copies_in_one_group_add_no_evidence():
    # Five copies of each image say no more than one: grouped, the interval stays; ungrouped, it
    # shrinks by √5.
    scores, labels, groups = (
        np.repeat(SCORES, 5),
        np.repeat(LABELS, 5),
        np.repeat(np.arange(120), 5),
    )
    single = bootstrap_interval(SCORES, LABELS)
    assert bootstrap_interval(scores, labels, groups=groups) == pytest.approx(single)
    pretended = bootstrap_interval(scores, labels)
    assert (pretended.high - pretended.low) * 1.8 < single.high - single.low


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # Scores N(0, 1) and N(1, 1): the true AUC is Φ(1 / √2) = .760.
    hits = 0
    for seed in range(120):
        draw = np.random.default_rng(seed)
        scores = np.r_[draw.normal(size=80), draw.normal(1, size=80)]
        found = bootstrap_interval(scores, np.arange(160) >= 80, replicates=300, seed=seed)
        hits += found.low <= 0.5 * (1 + math.erf(0.5)) <= found.high
    assert 105 <= hits <= 120  # 95 % of 120 is 114; under 105 has a chance of 1 in 10,000


def test_a_detector_does_not_differ_from_itself():
    assert paired_difference(SCORES, SCORES, LABELS, groups=GROUPS) == Estimate(0.0, 0.0, 0.0)
    shifted = paired_difference(
        SCORES, SCORES + 5, LABELS, "f1", thresholds=(0.4, 5.4), groups=GROUPS
    )
    assert shifted == Estimate(0.0, 0.0, 0.0)


def test_pairing_sees_a_difference_that_separate_intervals_hide():
    slightly_worse = SCORES + rng.normal(0, 0.45, size=120)
    a, b = (bootstrap_interval(scores, LABELS) for scores in (SCORES, slightly_worse))
    difference = paired_difference(SCORES, slightly_worse, LABELS)
    assert difference.estimate == pytest.approx(a.estimate - b.estimate)
    assert b.high > a.low  # apart, the two overlap
    assert difference.high - difference.low < 0.7 * (
        a.high - a.low + b.high - b.low
    ) / 2 * math.sqrt(2)
    mirrored = paired_difference(slightly_worse, SCORES, LABELS)
    assert mirrored == pytest.approx((-difference.estimate, -difference.high, -difference.low))


def test_a_verdict_without_alarms_has_no_precision_and_no_interval():
    found = bootstrap_interval(SCORES, LABELS, "precision", threshold=99.0, replicates=10)
    assert all(map(math.isnan, found))
    assert str(found) == "– (– to –)"


def test_an_interval_reads_well():
    assert str(Estimate(0.8621, 0.841, 0.88)) == "0.862 (0.841 to 0.880)"


def test_fifteen_thousand_scores_take_seconds():
    labels = np.arange(15_000) >= 9_000
    scores = np.random.default_rng(0).normal(size=15_000) + labels
    start = time.perf_counter()
    bootstrap_interval(scores, labels, replicates=1000)
    assert time.perf_counter() - start < 15  # about 1 s on one core


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "AUROC"}, "metric='AUROC' given; choose one of auc"),
        ({"metric": "f1"}, "give the threshold"),
        ({"groups": ["a"]}, "one group per image"),
        (
            {"groups": np.where(LABELS, "one patient", GROUPS)},
            r"abnormal images \(50\) are all of one group",
        ),
        ({"level": 95}, "level=95"),
        ({"replicates": 0}, "replicates=0"),
        ({"prevalence": 2}, "prevalence=2"),
        ({"metric": "sensitivity_at_specificity", "specificity": 95}, "specificity=95"),
    ],
)
def test_wrong_settings_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        bootstrap_interval(SCORES, LABELS, **changes)


def test_one_kind_of_image_has_no_auc_and_so_no_interval():
    with pytest.raises(ValueError, match="All 120 images are normal"):
        bootstrap_interval(SCORES, np.zeros(120, dtype=bool))
    normal_only = bootstrap_interval(
        SCORES, np.zeros(120, dtype=bool), "specificity", threshold=0.4
    )
    assert normal_only.low < normal_only.estimate < normal_only.high
