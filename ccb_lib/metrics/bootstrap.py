"""How sure a measure is: bootstrap intervals that resample whole groups of images."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ccb_lib.metrics.checks import both_kinds, checked_pair, checked_prevalence, checked_specificity, checked_threshold
from ccb_lib.metrics.confusion import RATES, rates, ratio, shown

METRICS = ("auc", "average_precision", "sensitivity_at_specificity", *RATES)

_CELLS = 2_000_000  # replicates × images worked on at once; bounds memory to some 300 MB


class Interval(NamedTuple):
    """An estimate with its bootstrap percentile interval.

    Attributes:
        estimate: The measure on the set as it is.
        low: Lower end.
        high: Upper end; both NaN where no replicate defines the measure.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{shown(self.estimate)} ({shown(self.low)} to {shown(self.high)})"


def bootstrap_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    metric: str = "auc",
    *,
    groups: ArrayLike | None = None,
    threshold: float | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Estimate a measure with an interval, resampling whole **groups** of images with replacement.

    Images of one lesion or patient resemble each other; to resample them one by one would pretend to more evidence than
    there is. The threshold, where one is given, stays fixed: the interval is that of a verdict already settled on.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.
        metric: One of `METRICS`: auc, average_precision, sensitivity_at_specificity; or, at ``threshold``, accuracy,
            precision, recall, specificity, f1.
        groups: (N,) what belongs together, of any type that sorts; ``None`` takes each image for itself.
        threshold: φ, for the measures of a verdict.
        specificity: For sensitivity_at_specificity, 0 to 1.
        prevalence: Weigh average_precision, accuracy, precision and f1 to this share of abnormal images.
        level: Coverage aimed at, between 0 and 1.
        replicates: How many times to resample. Replicates that leave the measure undefined are left out.
        seed: Of the resampling.

    Raises:
        ValueError: Unknown metric; a threshold missing; all images of one kind in one group, whose spread nothing then
            tells; or as `auc` and `metrics_at`.
    """
    measure = measure_of(metric, scores, labels, threshold, specificity, prevalence)
    return _interval(measure, groups, np.asarray(labels), level, replicates, seed)


def paired_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    labels: ArrayLike,
    metric: str = "auc",
    *,
    groups: ArrayLike | None = None,
    thresholds: tuple[float, float] | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Estimate the measure of detector A less that of B **on the same images**, with an interval.

    Each replicate resamples the same groups for both, so what makes images hard for both cancels. An interval that
    excludes 0 says that they differ.

    Args:
        scores_a: (N,) scores of A, higher is more abnormal.
        scores_b: (N,) scores of B for the same images in the same order.
        labels: (N,) bool or 0/1, true is abnormal.
        metric: As for `bootstrap_interval`.
        groups: As for `bootstrap_interval`.
        thresholds: φ of A and φ of B, for the measures of a verdict.
        specificity: As for `bootstrap_interval`.
        prevalence: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        replicates: As for `bootstrap_interval`.
        seed: Of the resampling.

    Returns:
        A − B, from -1 to 1.

    Raises:
        ValueError: As `bootstrap_interval`.
    """
    of_a, of_b = (None, None) if thresholds is None else thresholds
    a = measure_of(metric, scores_a, labels, of_a, specificity, prevalence)
    b = measure_of(metric, scores_b, labels, of_b, specificity, prevalence)
    return _interval(lambda weights: a(weights) - b(weights), groups, np.asarray(labels), level, replicates, seed)


# ── measures of many weighted copies of a set at once ─────────────────────────────────────────────────────────

Measure = Callable[[NDArray[np.int64]], NDArray[np.float64]]  # (B, N) how often each image was drawn → (B,)


def measure_of(
    metric: str,
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
) -> Measure:
    """Prepare a measure of one scored set, to be taken of many resampled copies at once.

    Args:
        metric: As for `bootstrap_interval`.
        scores, labels: (N,) as there.
        threshold, specificity, prevalence: As there.

    Returns:
        A function from (B, N) whole numbers, how often each image was drawn, to (B,) values; NaN where undefined.
    """
    checked_prevalence(prevalence)
    if metric in RATES:
        if threshold is None:
            raise ValueError(f"{metric} is that of a verdict: give the threshold, such as detector.threshold_.")
        return _rate(metric, *checked_pair(scores, labels), checked_threshold(threshold), prevalence)
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} given; choose one of {', '.join(METRICS)}.")
    curve = _curve(*both_kinds(scores, labels, metric))
    if metric == "auc":
        return lambda weights: _area(*curve(weights))
    if metric == "average_precision":
        return lambda weights: _average_precision(*curve(weights), prevalence)
    return lambda weights: _sensitivity(*curve(weights), checked_specificity(specificity))


def _rate(
    metric: str, scores: NDArray, labels: NDArray[np.bool_], threshold: float, prevalence: float | None
) -> Measure:
    called = scores > threshold
    kinds = np.stack([called & labels, called & ~labels, ~called & ~labels, ~called & labels], axis=1)
    return lambda weights: rates(*(weights @ kinds.astype(np.int64)).T, prevalence)[metric]


def _curve(scores: NDArray, labels: NDArray[np.bool_]) -> Callable[[NDArray[np.int64]], tuple[NDArray, NDArray]]:
    """Prepare the sort that all replicates share; return a function from weights to TP and FP, (B, D + 1) each."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of each run of equal scores
    abnormal = labels[order]

    def counts(weights: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
        ordered = weights[:, order]
        return tuple(
            np.pad(np.cumsum(ordered * kind, axis=1)[:, last], ((0, 0), (1, 0))) for kind in (abnormal, ~abnormal)
        )

    return counts


def _area(tp: NDArray, fp: NDArray) -> NDArray[np.float64]:
    twice = (np.diff(fp, axis=1) * (tp[:, 1:] + tp[:, :-1])).sum(axis=1)  # trapezoids, in whole numbers
    return ratio(twice, 2 * tp[:, -1] * fp[:, -1])


def _average_precision(tp: NDArray, fp: NDArray, prevalence: float | None) -> NDArray[np.float64]:
    recall, false_alarm_rate = ratio(tp, tp[:, -1:]), ratio(fp, fp[:, -1:])
    if prevalence is None:
        precision = ratio(tp, tp + fp)
    else:
        hits = prevalence * recall
        precision = ratio(hits, hits + (1 - prevalence) * false_alarm_rate)
    gained = np.diff(recall, axis=1)
    return np.where(gained == 0, 0, gained * precision[:, 1:]).sum(axis=1)


def _sensitivity(tp: NDArray, fp: NDArray, specificity: float) -> NDArray[np.float64]:
    normal = fp[:, -1:]
    passed = ratio(normal - fp, normal)
    found = np.where(passed >= specificity, tp, 0).max(axis=1)
    return np.where(normal[:, 0] > 0, ratio(found, tp[:, -1]), np.nan)


# ── resampling ────────────────────────────────────────────────────────────────────────────────────────────────


def _interval(
    measure: Measure, groups: ArrayLike | None, labels: NDArray, level: float, replicates: int, seed: int
) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level={level} given; a share between 0 and 1, such as 0.95, is needed.")
    if replicates < 1:
        raise ValueError(f"replicates={replicates} given; at least 1 is needed, and 1000 for a usable interval.")
    estimate = float(measure(np.ones((1, len(labels)), dtype=np.int64))[0])
    drawn = np.concatenate([measure(weights) for weights in _resampled(_members(groups, labels), replicates, seed)])
    drawn = drawn[~np.isnan(drawn)]
    if math.isnan(estimate) or not len(drawn):
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def _members(groups: ArrayLike | None, labels: NDArray) -> NDArray[np.intp]:
    """Number the groups from 0; return the number of each image's group."""
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if groups.shape != labels.shape:
        raise ValueError(f"groups: shape {groups.shape} given for {len(labels)} images; give one group per image.")
    members = np.unique(groups, return_inverse=True)[1]
    for kind, name in ((True, "abnormal"), (False, "normal")):
        of_kind = labels.astype(bool) == kind
        if of_kind.any() and len(np.unique(members[of_kind])) == 1:
            raise ValueError(
                f"The {name} images ({of_kind.sum()}) are all of one group, {groups[of_kind][0]!r}, so nothing tells "
                "how groups differ. Give finer groups, or report the measure without an interval."
            )
    return members


def _resampled(members: NDArray[np.intp], replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield how often each image was drawn when whole groups are drawn with replacement: (B, N), B at a time."""
    rng = np.random.default_rng(seed)
    groups = int(members.max()) + 1
    at_once = max(1, _CELLS // len(members))
    for start in range(0, replicates, at_once):
        size = min(at_once, replicates - start)
        drawn = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups)[:, members]
