"""Resampling with replacement, and metrics of many resampled copies of a scored set at once."""

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

# From (B, G), how often each replicate drew each group, to (B,) float64 values of a metric.
ReplicateMetric = Callable[[Tensor], Tensor]

_CELLS = 500_000  # replicates × groups worked on at once: 2 MB of counts, as a core's cache holds
_EXACT_IN_SINGLE = 2**20  # images; their drawn counts sum to less than 2^24, 16 times as many


def resampled(count: int, replicates: int, seed: int, device: torch.device | str = "cpu") -> Iterator[Tensor]:
    """Draw ``count`` groups (or seeds) with replacement, many times.

    Args:
        count: How many there are, and how many each replicate draws.
        replicates: How many times to draw.
        seed: Of the drawing, which is done on the CPU: the same on every device.
        device: Where to put the counts.

    Yields:
        (B, count) float32, whole numbers: how often each group was drawn; B replicates at a time.

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
    """Number groups in order of appearance; return each image's number, and how many there are.

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
    """Return the percentile interval of replicates without NaN; NaN where none is left."""
    values = drawn[~drawn.isnan()].numpy(force=True)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) else (math.nan, math.nan)
    return float(low), float(high)


def checked_resampling(level: float, replicates: int) -> None:
    """Raise ValueError where the level is no share between 0 and 1, or there are no replicates."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} given; a share between 0 and 1, such as 0.95, is needed.")
    if replicates < 1:
        raise ValueError(f"replicates={replicates} given; at least 1 is needed, and 1000 for a usable interval.")


def replicate_metric(
    scores: Tensor,
    labels: Tensor,
    members: Tensor,
    metric: str = "auc",
    threshold: float | None = None,
    specificity: float = 0.95,
    prevalence: float | None = None,
) -> ReplicateMetric:
    """Prepare a metric of one scored set, to be computed of many resampled copies at once.

    Args:
        scores, labels: (N,) as `checked_pair` returns them.
        members: (N,) int64, the number of each image's group, from 0.
        metric: As for `bootstrap_interval`.
        threshold, specificity, prevalence: As there.

    Returns:
        A function from (B, G), how often each replicate drew each group, to (B,) float64 values;
        NaN where undefined.

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
            raise ValueError(f"{metric} is that of a verdict: give the threshold, such as detector.threshold_.")
        return _confusion_metric(metric, scores > checked_threshold(threshold), labels, members, prevalence)
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
    kinds = torch.stack([called & labels, called & ~labels, ~called & ~labels, ~called & labels], dim=1).double()

    def of(counts: Tensor) -> Tensor:
        per_group = kinds.new_zeros(counts.shape[1], 4).index_add_(0, members, kinds)
        return confusion_metrics(*(counts.double() @ per_group).T, prevalence)[metric]

    return of


class _Ranks:
    """The order of one scored set, found once for all replicates, which differ in counts alone.

    Counts are gathered and summed in float32, which is fastest and exact for whole numbers below
    2^24.
    """

    def __init__(self, scores: Tensor, labels: Tensor, members: Tensor) -> None:
        abnormal, order = scores[labels].sort()
        normal, order_of_normals = scores[~labels].sort()
        self.abnormal, self.normal = members[labels][order], members[~labels][order_of_normals]
        # How many normals score lower than each abnormal image, and how many at most as high.
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
        """Count what is found and passed at a threshold just below each abnormal image.

        Returns:
            (B, P) float64: how often each abnormal image was drawn, abnormal images found, normal
            images passed; (B, 1): all normal images.
        """
        drawn = counts.index_select(1, self.abnormal).double()
        abnormals, normals = (_cumulated(counts, kind).double() for kind in (self.abnormal, self.normal))
        found = abnormals[:, -1:] - abnormals.index_select(1, self.first)
        return drawn, found, normals.index_select(1, self.below), normals[:, -1:]


def _cumulated(counts: Tensor, members: Tensor) -> Tensor:
    """Cumulate the counts of images in a given order: (B, G) and (N,) to (B, N + 1), 0 first."""
    gathered = counts.index_select(1, torch.cat([members[:1], members]))
    gathered[:, 0] = 0
    return gathered.cumsum_(1) if len(members) < _EXACT_IN_SINGLE else gathered.cumsum(1, dtype=torch.float64)


def _sum(drawn: Tensor) -> Tensor:
    return drawn.sum(1, dtype=torch.float64)
