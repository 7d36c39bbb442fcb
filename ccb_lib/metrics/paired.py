"""Is one arm better than another? Differences over paired runs: several seeds, several classes, the same images."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ccb_lib.metrics.bootstrap import measure_of

_CELLS = 2_000_000  # replicates × images worked on at once


class Pair(NamedTuple):
    """What two arms scored for one class with one seed.

    Attributes:
        seed: Of both.
        abnormal: The class.
        a, b: (N,) scores of each arm for the same images, higher is more abnormal.
        labels: (N,) bool, True is abnormal.
        groups: (N,) str: images of one lesion or patient have one; an image's own id where it stands alone. The same
            name means the same group in every pair.
    """

    seed: int
    abnormal: str
    a: NDArray
    b: NDArray
    labels: NDArray[np.bool_]
    groups: NDArray[np.str_]


class Difference(NamedTuple):
    """The AUC of arm A less that of arm B.

    Attributes:
        estimate: Mean over seeds (and classes), from -1 to 1.
        low, high: Bootstrap percentile interval; with one seed over its images alone.
        p: Two-sided bootstrap p-value that there is none, no less than 2 / (replicates + 1); NaN with one seed, which
            says nothing of how another start would have ended.
        seeds: How many seeds it rests on.
    """

    estimate: float
    low: float
    high: float
    p: float
    seeds: int


def paired_differences(
    pairs: Sequence[Pair], *, level: float = 0.95, replicates: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """Estimate the difference in AUC over classes and in each, with intervals over seeds **and** images.

    Each replicate draws seeds with replacement, and groups of images with replacement; a group drawn twice counts twice
    in every pair that has it, for both arms. So what makes an image hard for all, or a start bad for both, cancels.

    Few seeds show less than their true spread, and a percentile bootstrap over n of them is too narrow. What a
    replicate owes to the seeds it drew is therefore stretched by √(n / (n − 1)) and by Student's quantile over the
    normal one: the interval that a t-test would give, were seeds all there is.

    Args:
        pairs: One for each seed and class.
        level: Coverage aimed at, between 0 and 1.
        replicates: How often to draw.
        seed: Of the drawing.

    Returns:
        ``"macro"``, the mean over classes, then each class.

    Raises:
        ValueError: No pairs, or a seed that lacks a class that another has.
    """
    classes, seeds = sorted({pair.abnormal for pair in pairs}), sorted({pair.seed for pair in pairs})
    by_cell = {(pair.seed, pair.abnormal): pair for pair in pairs}
    lacking = [(s, c) for s in seeds for c in classes if (s, c) not in by_cell]
    if not pairs or lacking or len(by_cell) != len(pairs):
        raise ValueError(f"One pair for each seed and class is needed; missing or double: {lacking or 'all'}.")
    names, numbers = np.unique(np.concatenate([pair.groups for pair in pairs]), return_inverse=True)
    members = dict(
        zip(by_cell, np.split(numbers, np.cumsum([len(p.labels) for p in by_cell.values()])[:-1]), strict=True)
    )

    point = np.empty((1, len(seeds), len(classes)))
    drawn = np.empty((replicates, len(seeds), len(classes)))
    times = list(_draws(len(names), replicates, seed))
    for (s, c), pair in by_cell.items():
        at = (slice(None), seeds.index(s), classes.index(c))
        a, b = (measure_of("auc", scores, pair.labels) for scores in (pair.a, pair.b))
        ones = np.ones((1, len(pair.labels)), dtype=np.int64)
        point[at] = a(ones) - b(ones)
        drawn[at] = np.concatenate([a(w) - b(w) for w in (weights[:, members[s, c]] for weights in times)])

    rng = np.random.default_rng(seed + 1)
    picks = rng.integers(len(seeds), size=(replicates, len(seeds)))
    of_images = drawn.mean(axis=1)  # (replicates, classes): all seeds, images redrawn
    of_seeds = np.take_along_axis(drawn, picks[:, :, None], axis=1).mean(axis=1) - of_images
    resampled = of_images + _stretch(len(seeds), level) * of_seeds
    means = point[0].mean(axis=0)
    found = {"macro": _difference(means.mean(), resampled.mean(axis=1), level, len(seeds))}
    return found | {name: _difference(means[k], resampled[:, k], level, len(seeds)) for k, name in enumerate(classes)}


def _stretch(seeds: int, level: float) -> float:
    if seeds == 1:
        return 1.0  # there is nothing to stretch
    tail = (1 + level) / 2
    return math.sqrt(seeds / (seeds - 1)) * stats.t.ppf(tail, seeds - 1) / stats.norm.ppf(tail)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction for several tests at once (Holm, 1979); order kept."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def verdict(difference: Difference, margin: float) -> str:
    """Say what an interval allows: ``"equal within the margin"``, ``"better"``, ``"worse"`` or ``"undecided"``.

    One seed decides nothing.
    """
    if difference.seeds < 2:
        return "undecided"
    if -margin < difference.low and difference.high < margin:
        return "equal within the margin"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "undecided"


def _draws(groups: int, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield how often each group was drawn with replacement: (B, groups), B at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // groups)
    for start in range(0, replicates, at_once):
        size = min(at_once, replicates - start)
        yield rng.multinomial(groups, np.full(groups, 1 / groups), size=size)


def _difference(estimate: float, drawn: NDArray, level: float, seeds: int) -> Difference:
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    beyond = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn))) if seeds > 1 else math.nan
    return Difference(float(estimate), float(low), float(high), float(p), seeds)
