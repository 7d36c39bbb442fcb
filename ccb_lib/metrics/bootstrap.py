"""How sure a metric is: bootstrap intervals that resample whole groups of images."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ccb_lib.metrics.checks import Scores, checked_pair
from ccb_lib.metrics.confusion import shown
from ccb_lib.metrics.replicates import (
    ReplicateMetric,
    checked_resampling,
    interval,
    numbered,
    replicate_metric,
    resampled,
)


class Estimate(NamedTuple):
    """A metric with its bootstrap percentile interval.

    Attributes:
        estimate: The metric on the set as it is.
        low: Lower end.
        high: Upper end; both NaN where no replicate defines the metric.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{shown(self.estimate)} ({shown(self.low)} to {shown(self.high)})"


def bootstrap_interval(
    scores: Scores,
    labels: Scores,
    metric: str = "auc",
    *,
    groups: ArrayLike | None = None,
    threshold: float | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Estimate a metric with an interval, resampling whole **groups** of images with replacement.

    Images of one lesion or patient resemble each other; to resample them one by one would pretend
    to more evidence than there is. The threshold, where one is given, stays fixed: the interval is
    that of a verdict already settled on.

    Args:
        scores: (N,) scores, higher is more abnormal; the work is done on their device.
        labels: (N,) bool or 0/1, true is abnormal.
        metric: One of `BOOTSTRAP_METRICS`: auc, average_precision, sensitivity_at_specificity; or,
            at ``threshold``, accuracy, precision, recall, specificity, f1.
        groups: (N,) what belongs together, of any type that hashes; ``None`` takes each image for
            itself.
        threshold: φ, for the metrics of a verdict.
        specificity: For sensitivity_at_specificity, 0 to 1.
        prevalence: Weigh average_precision, accuracy, precision and f1 to this share of abnormal
            images.
        level: Coverage aimed at, between 0 and 1.
        replicates: How many times to resample. Replicates that leave the metric undefined are left
            out.
        seed: Of the resampling; one seed draws the same replicates on every device.

    Raises:
        ValueError: Unknown metric; a threshold missing; all images of one kind in one group, whose
            spread nothing then tells; or as `auc` and `metrics_at`.

    Example:
        >>> print(bootstrap_interval([0.1, 0.4, 0.3, 0.8], [0, 0, 1, 1], replicates=200))
        0.750 (0.000 to 1.000)
    """
    scores, labels = checked_pair(scores, labels)
    members, count = _members(groups, labels)
    value = replicate_metric(scores, labels, members, metric, threshold, specificity, prevalence)
    return _estimate(value, count, scores.device, level, replicates, seed)


def paired_difference(
    scores_a: Scores,
    scores_b: Scores,
    labels: Scores,
    metric: str = "auc",
    *,
    groups: ArrayLike | None = None,
    thresholds: tuple[float, float] | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Estimate the metric of detector A less that of B **on the same images**, with an interval.

    Each replicate resamples the same groups for both, so what makes images hard for both cancels.
    An interval that excludes 0 says that they differ.

    Args:
        scores_a: (N,) scores of A, higher is more abnormal.
        scores_b: (N,) scores of B for the same images in the same order.
        labels: (N,) bool or 0/1, true is abnormal.
        metric: As for `bootstrap_interval`.
        groups: As for `bootstrap_interval`.
        thresholds: φ of A and φ of B, for the metrics of a verdict.
        specificity: As for `bootstrap_interval`.
        prevalence: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        replicates: As for `bootstrap_interval`.
        seed: Of the resampling.

    Returns:
        A − B, from -1 to 1.

    Raises:
        ValueError: As `bootstrap_interval`.

    Example:
        >>> paired_difference([1, 2, 3, 4], [1, 3, 2, 4], [0, 0, 1, 1], replicates=200).estimate
        0.25
    """
    scores_a, labels = checked_pair(scores_a, labels)
    scores_b, _ = checked_pair(scores_b, labels)
    members, count = _members(groups, labels)
    a, b = (
        replicate_metric(scores.to(labels.device), labels, members, metric, threshold, specificity, prevalence)
        for scores, threshold in zip((scores_a, scores_b), thresholds or (None, None), strict=True)
    )
    return _estimate(lambda counts: a(counts) - b(counts), count, labels.device, level, replicates, seed)


def _estimate(
    value: ReplicateMetric,
    count: int,
    device: torch.device,
    level: float,
    replicates: int,
    seed: int,
) -> Estimate:
    checked_resampling(level, replicates)
    estimate = float(value(torch.ones(1, count, device=device)))
    drawn = torch.cat([value(counts) for counts in resampled(count, replicates, seed, device)])
    return Estimate(estimate, *((math.nan, math.nan) if math.isnan(estimate) else interval(drawn, level)))


def _members(groups: ArrayLike | None, labels: Tensor) -> tuple[Tensor, int]:
    """Return the number of each image's group, from 0, and how many groups there are."""
    if groups is None:
        names, members, count = np.arange(len(labels)), torch.arange(len(labels)), len(labels)
    else:
        names = groups.numpy(force=True) if isinstance(groups, Tensor) else np.asarray(groups)
        if names.shape != tuple(labels.shape):
            raise ValueError(f"groups: shape {names.shape} given for {len(labels)} images; give one group per image.")
        numbers, count = numbered(names)
        members = torch.from_numpy(numbers)
    members = members.to(labels.device)
    for kind, name in ((labels, "abnormal"), (~labels, "normal")):
        of_kind = members[kind]
        if len(of_kind) and bool((of_kind == of_kind[0]).all()):
            raise ValueError(
                f"The {name} images ({len(of_kind)}) are all of one group, {names[int(kind.nonzero()[0])]!r}, so "
                "nothing tells how groups differ. Give finer groups, or report the metric without an interval."
            )
    return members, count
