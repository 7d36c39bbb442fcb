"""Resampling with replacement, and metrics of many replicates of a scored set at once."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ccb_lib.metrics.checks import (
    both_kinds,
    checked_prevalence,
    checked_specificity,
    checked_threshold,
)
from ccb_lib.metrics.confusion import CONFUSION_METRICS, confusion_metrics, ratio
from ccb_lib.metrics.counts import rank_in

BOOTSTRAP_METRICS = ("auc", "average_precision", "sensitivity_at_specificity", *CONFUSION_METRICS)

# From (B, G), how often each replicate drew each group, to (B,) float64 values of a metric, NaN
# where it is undefined.
ReplicateMetric = Callable[[Tensor], Tensor]

_CELLS = 500_000  # replicates × groups processed at once: 2 MB of counts, which fit a core's cache
# Below this number of images float32 sums of drawn counts are exact: they stay below 2^24 unless
# replicates draw images 16 times on average.
_EXACT_IN_SINGLE = 2**20


def resampled(
    count: int, replicates: int, seed: int, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Draw ``count`` groups (or seeds) with replacement for each replicate.

    Args:
        count: Number of groups, and number of draws per replicate.
        replicates: Number of replicates.
        seed: Seed of the draws, made on the CPU, so that they are the same on every device.
        device: Device of the counts.

    Yields:
        (B, count) float32, whole numbers: how often each of B replicates drew each group.

    Example:
        >>> [counts] = resampled(5, 3, seed=0)
        >>> counts.sum(1)
        tensor([5., 5., 5.])
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // count)
    for start in range(0, replicates, at_once):
        size = min(at_once, replicates - start)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield torch.from_numpy(counts).to(device, torch.float32)


def numbered(groups: ArrayLike) -> tuple[np.ndarray, int]:
    """Number groups in order of first appearance; return each image's number and their count.

    Example:
        >>> numbered(["b", "a", "b"])
        (array([0, 1, 0]), 2)
    """
    numbers: dict = {}
    found = np.array(
        [numbers.setdefault(name, len(numbers)) for name in np.asarray(groups).tolist()],
        dtype=np.int64,
    )
    return found, len(numbers)


def interval(drawn: Tensor, level: float) -> tuple[float, float]:
    """Return the percentile interval of the replicates that are not NaN; NaN if there are none."""
    values = drawn[~drawn.isnan()].numpy(force=True)
    low, high = (
        np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        if len(values)
        else (math.nan, math.nan)
    )
    return float(low), float(high)


def checked_resampling(level: float, replicates: int) -> None:
    """Raise ValueError unless 0 < level < 1 and there is at least one replicate."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} given; a share between 0 and 1, such as 0.95, is needed.")
    if replicates < 1:
        raise ValueError(
            f"replicates={replicates} given; at least 1 is needed, and 1000 for a usable interval."
        )


def replicate_metric(
    scores: Tensor,
    labels: Tensor,
    members: Tensor,
    metric: str = "auc",
    threshold: float | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
) -> ReplicateMetric:
    """Prepare a metric of one scored set for computation on many replicates at once.

    Args:
        scores, labels: (N,) as `checked_pair` returns them.
        members: (N,) int64, the number of each image's group, from 0.
        metric: As for `bootstrap_interval`.
        threshold, specificity, prevalence: As for `bootstrap_interval`.

    Returns:
        A function from (B, G), how often each replicate drew each group, to (B,) float64 values;
        NaN where the metric is undefined.

    Raises:
        ValueError: As `bootstrap_interval`.

    Example:
        >>> labels = torch.tensor([False, True, True])
        >>> auc = replicate_metric(torch.arange(3.0), labels, torch.arange(3))
        >>> auc(torch.ones(1, 3))
        tensor([1.], dtype=torch.float64)
    """
    checked_prevalence(prevalence)
    if metric in CONFUSION_METRICS:
        if threshold is None:
            raise ValueError(
                f"{metric} depends on φ: give the threshold, such as detector.threshold_."
            )
        return _confusion_metric(
            metric, scores > checked_threshold(threshold), labels, members, prevalence
        )
    if metric not in BOOTSTRAP_METRICS:
        raise ValueError(f"metric={metric!r} given; choose one of {', '.join(BOOTSTRAP_METRICS)}.")
    both_kinds(scores, labels, metric)
    ranks = _Ranks(scores, labels, members)
    if metric == "auc":
        return ranks.auc
    if metric == "average_precision":
        return lambda counts: ranks.average_precision(counts, prevalence)
    checked_specificity(specificity)
    return lambda counts: ranks.sensitivity(counts, specificity)


def _confusion_metric(
    metric: str, called: Tensor, labels: Tensor, members: Tensor, prevalence: float | None
) -> ReplicateMetric:
    kinds = torch.stack(
        [called & labels, called & ~labels, ~called & ~labels, ~called & labels], dim=1
    ).double()

    def of(counts: Tensor) -> Tensor:
        per_group = kinds.new_zeros(counts.shape[1], 4).index_add_(0, members, kinds)
        return confusion_metrics(*(counts.double() @ per_group).T, prevalence)[metric]

    return of


class _Ranks:
    """The ranks of one scored set, computed once for all replicates.

    Replicates differ only in how often they count each image.

    Counts are gathered and summed in float32, which is fastest, and exact for whole numbers below
    2^24.
    """

    def __init__(self, scores: Tensor, labels: Tensor, members: Tensor) -> None:
        abnormal, order = scores[labels].sort()
        normal, order_of_normals = scores[~labels].sort()
        self.abnormal, self.normal = members[labels][order], members[~labels][order_of_normals]
        # For each abnormal image, how many normals score lower, and how many no higher.
        self.below = rank_in(normal, abnormal)
        self.up_to = rank_in(normal, abnormal, ties=True)
        self.ties = not torch.equal(self.below, self.up_to)
        self.first = rank_in(abnormal, abnormal)  # how many abnormal images score lower

    def auc(self, counts: Tensor) -> Tensor:
        drawn, normals = counts.index_select(1, self.abnormal), _cumulated(counts, self.normal)
        won = normals.index_select(1, self.below)
        twice = won + (normals.index_select(1, self.up_to) if self.ties else won)
        return ratio(
            torch.linalg.vecdot(drawn.double(), twice.double()),
            2 * _sum(drawn) * normals[:, -1].double(),
        )

    def average_precision(self, counts: Tensor, prevalence: float | None) -> Tensor:
        drawn, found, passed, normal = self._alarms(counts)
        false = normal - passed
        if prevalence is not None:
            found, false = (
                prevalence * ratio(found, found[:, :1]),
                (1 - prevalence) * ratio(false, normal),
            )
        precision = torch.where(drawn > 0, found / (found + false), 0)
        mean = ratio((drawn * precision).sum(1), _sum(drawn))
        return torch.where(normal[:, 0] > 0, mean, torch.nan if prevalence is not None else mean)

    def sensitivity(self, counts: Tensor, specificity: float) -> Tensor:
        drawn, found, passed, normal = self._alarms(counts)
        allowed = torch.where(ratio(passed, normal) >= specificity, found, 0).amax(1)
        return torch.where(normal[:, 0] > 0, ratio(allowed, _sum(drawn)), torch.nan)

    def _alarms(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Count images called abnormal and normal at the score of each abnormal image.

        Returns:
            (B, P) float64: how often each abnormal image was drawn, abnormal images called
            abnormal, normal images called normal; (B, 1): all normal images.
        """
        drawn = counts.index_select(1, self.abnormal).double()
        abnormals, normals = (
            _cumulated(counts, kind).double() for kind in (self.abnormal, self.normal)
        )
        found = abnormals[:, -1:] - abnormals.index_select(1, self.first)
        return drawn, found, normals.index_select(1, self.below), normals[:, -1:]


def _cumulated(counts: Tensor, members: Tensor) -> Tensor:
    """Cumulative counts of images in a given order: (B, G) and (N,) to (B, N + 1), 0 first."""
    gathered = counts.index_select(1, torch.cat([members[:1], members]))
    gathered[:, 0] = 0
    return (
        gathered.cumsum_(1)
        if len(members) < _EXACT_IN_SINGLE
        else gathered.cumsum(1, dtype=torch.float64)
    )


def _sum(drawn: Tensor) -> Tensor:
    return drawn.sum(1, dtype=torch.float64)
