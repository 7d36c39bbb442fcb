"""Tests and intervals for the difference of two arms over paired runs on the same images."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from ccb_lib.metrics.checks import checked_pair
from ccb_lib.metrics.replicates import (
    checked_resampling,
    interval,
    numbered,
    replicate_metric,
    resampled,
)

SIGNIFICANCE = 0.05  # level of a test
_ALL_FLIPS = 14  # most seeds for which all 2^n sign flips are enumerated


class Pair(NamedTuple):
    """The scores of two arms for one class with one seed.

    Attributes:
        seed: The seed of both arms.
        abnormal: The class.
        a, b: (N,) scores of each arm for the same images, higher is more abnormal; arrays or
            tensors.
        labels: (N,) bool, True is abnormal.
        groups: (N,) str: the group of each image, such as its lesion or patient; the image's id if
            it is a group of its own. The same name means the same group in every pair.
    """

    seed: int
    abnormal: str
    a: NDArray | Tensor
    b: NDArray | Tensor
    labels: NDArray[np.bool_] | Tensor
    groups: NDArray[np.str_]


class Difference(NamedTuple):
    """The AUC of arm A minus that of arm B.

    Attributes:
        estimate: Mean over seeds (and classes), from -1 to 1.
        low, high: Bootstrap percentile interval over seeds and images; with one seed over its
            images only.
        p: Two-sided p-value of the t-test of no difference; NaN with one seed, because the
            variation between seeds is then unknown.
        adjusted_p: For a class, ``p`` with Holm's correction over all classes; for the macro mean,
            ``p`` itself.
        sign_flip_p: A check of ``p`` over the seeds alone: the share of sign flips of the per-seed
            differences whose mean is at least as large. It is at least 2 / 2^n, so it can be below
            .05 only with 6 seeds or more.
        seeds: Number of seeds.
    """

    estimate: float
    low: float
    high: float
    p: float
    adjusted_p: float
    sign_flip_p: float
    seeds: int


def paired_differences(
    pairs: Sequence[Pair], *, level: float = 0.95, replicates: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """Estimate and test the difference in AUC, per class and on average, over seeds **and** images.

    The test is a paired t-test of the n per-seed differences, with the images as a crossed effect:
    SE² is their variance / n plus the bootstrap variance over images, seeds fixed, and p = 2 P(T >
    abs(estimate) / SE) with n − 1 degrees of freedom. The test is conservative where the variation
    between images exceeds that between seeds. The macro mean is one test; the tests of the classes
    are corrected together (Holm, 1979).

    For the interval each replicate draws seeds with replacement, and groups of images with
    replacement; a group drawn twice counts twice in every pair that has it, for both arms. So
    variation between images or seeds that affects both arms alike cancels. A percentile bootstrap
    over few seeds is too narrow, because a sample of n seeds underestimates the spread. The part of
    a replicate that comes from its seeds is therefore multiplied by √(n / (n − 1)) and by the ratio
    of Student's quantile to the normal quantile. With variation between seeds alone, that gives the
    interval of a t-test.

    Args:
        pairs: One for each seed and class.
        level: Nominal coverage, between 0 and 1.
        replicates: Number of replicates.
        seed: Seed of the resampling.

    Returns:
        ``"macro"``, the mean over classes, then each class.

    Raises:
        ValueError: No pairs, a seed without a class that another seed has, or a class with one kind
            of image.

    Example:
        >>> labels, groups = np.arange(40) >= 20, np.arange(40).astype(str)
        >>> scores = [np.random.default_rng(k).normal(size=40) for k in range(6)]
        >>> pairs = [
        ...     Pair(k, "x", scores[k] + 3 * labels, scores[k], labels, groups) for k in range(6)
        ... ]
        >>> verdict(paired_differences(pairs)["x"], margin=0.02, planned_seeds=6)
        'better'
    """
    checked_resampling(level, replicates)
    classes = sorted({pair.abnormal for pair in pairs})
    seeds = sorted({pair.seed for pair in pairs})
    given = [(pair.seed, pair.abnormal) for pair in pairs]
    cells = dict(zip(given, pairs, strict=True))
    wrong = [cell for cell in product(seeds, classes) if given.count(cell) != 1]
    if not pairs or wrong:
        raise ValueError(
            f"One pair for each seed and class is needed; missing or double: {wrong or 'all'}."
        )
    measured, drawn = _differences(
        [cells[cell] for cell in product(seeds, classes)], replicates, seed
    )
    shape = (len(seeds), len(classes))
    measured, drawn = _with_macro(measured.reshape(shape)), _with_macro(drawn.reshape(-1, *shape))
    means, of_images = measured.mean(0), drawn.mean(1)  # of_images: seeds fixed, images resampled

    picked = torch.cat(
        list(resampled(len(seeds), replicates, seed + 1, drawn.device))
    ).double() / len(seeds)
    of_seeds = torch.einsum("rs,rsc->rc", picked, drawn) - of_images
    redrawn = of_images + _stretch(len(seeds), level) * of_seeds
    names = ["macro", *classes]
    p_values = {name: _t_test(measured[:, k], of_images[:, k]) for k, name in enumerate(names)}
    adjusted = {"macro": p_values["macro"], **holm({name: p_values[name] for name in classes})}
    return {
        name: Difference(
            float(means[k]),
            *interval(redrawn[:, k], level),
            p_values[name],
            adjusted[name],
            _sign_flips(measured[:, k].numpy(force=True)),
            len(seeds),
        )
        for k, name in enumerate(names)
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction for several tests (Holm, 1979); the order is kept, NaN stays NaN.

    Example:
        >>> holm({"a": 0.04, "b": 0.01})
        {'a': 0.04, 'b': 0.02}
    """
    tests = sorted((p, name) for name, p in p_values.items() if not math.isnan(p))
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (p, name) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * p))
        adjusted[name] = highest
    return {name: adjusted.get(name, math.nan) for name in p_values}


def verdict(difference: Difference, margin: float, planned_seeds: int) -> str:
    """Classify a difference as ``"better"``, ``"worse"``, equal within a margin or undecided.

    ``"equal within the margin"``: the whole interval lies within the margin. ``"better"`` or
    ``"worse"``: the interval lies on one side of 0 and the adjusted p is below .05.
    ``"undecided"``: none of these, fewer seeds than planned, or only one seed.

    Args:
        difference: A value that `paired_differences` returned.
        margin: Absolute difference in AUC below which two arms count as equal.
        planned_seeds: Number of seeds planned before the first run.

    Example:
        >>> difference = Difference(0.05, 0.03, 0.07, 0.01, 0.01, 0.01, seeds=3)
        >>> verdict(difference, margin=0.02, planned_seeds=8)
        'undecided'
    """
    if difference.seeds < max(planned_seeds, 2):
        return "undecided"
    if -margin < difference.low and difference.high < margin:
        return "equal within the margin"
    if not difference.adjusted_p < SIGNIFICANCE or difference.low <= 0 <= difference.high:
        return "undecided"
    return "better" if difference.low > 0 else "worse"


def _differences(pairs: Sequence[Pair], replicates: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return AUC(a) − AUC(b): on the original set, (pairs,), and resampled, (replicates, pairs)."""
    numbers, count = numbered(np.concatenate([np.asarray(pair.groups) for pair in pairs]))
    ends = np.cumsum([len(pair.labels) for pair in pairs])[:-1]
    arms = []
    for pair, members in zip(pairs, np.split(numbers, ends), strict=True):
        for scores in (pair.a, pair.b):
            scores, labels = checked_pair(scores, pair.labels)
            arms.append(
                replicate_metric(scores, labels, torch.from_numpy(members).to(scores.device))
            )

    def of(counts: Tensor) -> Tensor:
        areas = torch.stack([auc(counts) for auc in arms], dim=1)
        return areas[:, 0::2] - areas[:, 1::2]

    device = scores.device
    return of(torch.ones(1, count, device=device))[0], torch.cat(
        [*map(of, resampled(count, replicates, seed, device))]
    )


def _with_macro(values: Tensor) -> Tensor:
    """Put the mean over classes, the last axis, before them."""
    return torch.cat([values.mean(-1, keepdim=True), values], dim=-1)


def _t_test(per_seed: Tensor, of_images: Tensor) -> float:
    """Return p of no difference from per-seed differences (n,) and replicates of their mean."""
    n, estimate = len(per_seed), float(per_seed.mean())
    if n == 1:
        return math.nan
    of_images = of_images[~of_images.isnan()]
    squared = float(per_seed.var()) / n + (float(of_images.var()) if len(of_images) > 1 else 0.0)
    if squared == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * special.stdtr(n - 1, -abs(estimate) / math.sqrt(squared)))


def _sign_flips(per_seed: NDArray[np.float64]) -> float:
    """Return the share of sign flips whose mean is at least as far from 0.

    Up to `_ALL_FLIPS` seeds all flips count, above it the original and 9,999 random ones.
    """
    n = len(per_seed)
    if n == 1:
        return math.nan
    if n <= _ALL_FLIPS:
        signs = np.array(list(product((1, -1), repeat=n)))
    else:
        signs = np.vstack([np.ones(n), np.random.default_rng(0).choice((1, -1), size=(9_999, n))])
    sums = np.abs(signs @ per_seed)
    return float(np.mean(sums >= abs(per_seed.sum()) - 1e-12))


def _stretch(seeds: int, level: float) -> float:
    if seeds == 1:
        return 1.0  # no variation between seeds to correct
    tail = (1 + level) / 2
    return math.sqrt(seeds / (seeds - 1)) * float(
        special.stdtrit(seeds - 1, tail) / special.ndtri(tail)
    )
