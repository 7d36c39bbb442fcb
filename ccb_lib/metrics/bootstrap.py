"""Bootstrap intervals of metrics, resampling whole groups of images."""

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
        estimate: The metric on the original set.
        low: Lower end.
        high: Upper end; both ends are NaN if the metric is undefined in every replicate.
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

    Images of one lesion or patient are correlated, so resampling single images would give intervals
    that are too narrow. A given threshold is not resampled: the interval holds for that fixed
    threshold.

    Args:
        scores: (N,) scores, higher is more abnormal; computation runs on their device.
        labels: (N,) bool or 0/1, true is abnormal.
        metric: One of `BOOTSTRAP_METRICS`: auc, average_precision, sensitivity_at_specificity; or,
            at ``threshold``, accuracy, precision, recall, specificity, f1, npv.
        groups: (N,) group of each image, such as its patient, of any hashable type; with ``None``
            each image is its own group.
        threshold: φ, for the metrics at a threshold.
        specificity: For sensitivity_at_specificity, 0 to 1.
        prevalence: Share of abnormal images to which average_precision, accuracy, precision and f1
            are weighted; ``None`` takes the set as it is.
        level: Nominal coverage, between 0 and 1.
        replicates: Number of replicates. Those in which the metric is undefined are left out.
        seed: Seed of the resampling; it gives the same replicates on every device.

    Raises:
        ValueError: An unknown metric; a missing threshold; all images of one kind in one group, so
            that the variation between groups is unknown; or as `auc` and `metrics_at`.

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
    """Estimate metric(A) − metric(B) of two detectors **on the same images**, with an interval.

    Each replicate resamples the same groups for both detectors, so the variation between images
    that affects both alike cancels. If the interval excludes 0, the detectors differ.

    Args:
        scores_a: (N,) scores of A, higher is more abnormal.
        scores_b: (N,) scores of B for the same images in the same order.
        labels: (N,) bool or 0/1, true is abnormal.
        metric: As for `bootstrap_interval`.
        groups: As for `bootstrap_interval`.
        thresholds: φ of A and φ of B, for the metrics at a threshold.
        specificity: As for `bootstrap_interval`.
        prevalence: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        replicates: As for `bootstrap_interval`.
        seed: Seed of the resampling.

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
        replicate_metric(
            scores.to(labels.device), labels, members, metric, threshold, specificity, prevalence
        )
        for scores, threshold in zip((scores_a, scores_b), thresholds or (None, None), strict=True)
    )
    return _estimate(
        lambda counts: a(counts) - b(counts), count, labels.device, level, replicates, seed
    )


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
    return Estimate(
        estimate, *((math.nan, math.nan) if math.isnan(estimate) else interval(drawn, level))
    )


def _members(groups: ArrayLike | None, labels: Tensor) -> tuple[Tensor, int]:
    """Number the groups from 0; return each image's group number and the number of groups."""
    if groups is None:
        names, members, count = np.arange(len(labels)), torch.arange(len(labels)), len(labels)
    else:
        names = groups.numpy(force=True) if isinstance(groups, Tensor) else np.asarray(groups)
        if names.shape != tuple(labels.shape):
            raise ValueError(
                f"groups: shape {names.shape} given for {len(labels)} images; give one group per "
                "image."
            )
        numbers, count = numbered(names)
        members = torch.from_numpy(numbers)
    members = members.to(labels.device)
    for kind, name in ((labels, "abnormal"), (~labels, "normal")):
        of_kind = members[kind]
        if len(of_kind) and bool((of_kind == of_kind[0]).all()):
            raise ValueError(
                f"The {name} images ({len(of_kind)}) are all of one group, "
                f"{names[int(kind.nonzero()[0])]!r}, so the variation between groups is unknown. "
                "Give finer groups, or report the metric without an interval."
            )
    return members, count
