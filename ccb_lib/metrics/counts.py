"""Counting alarms: what the rules for φ, the metrics and the explorer share."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ccb_lib.metrics.checks import checked_pair


class Cuts(NamedTuple):
    """Every way to cut a labelled set in two by its score, from all alarms to none.

    Attributes:
        scores: (D,) float64, the distinct scores, rising.
        thresholds: (D + 1,) float64, rising: one below all scores, one between each two, one above all.
        tp: (D + 1,) int64, abnormal images above each threshold.
        fp: (D + 1,) int64, normal images above each threshold.
    """

    scores: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]

    def best(self, merit: NDArray) -> float:
        """Return the threshold where ``merit`` (D + 1,) is highest; among equals the highest threshold."""
        return float(self.thresholds[len(merit) - 1 - np.argmax(merit[::-1])])


def all_cuts(scores: ArrayLike, labels: ArrayLike) -> Cuts:
    """Count alarms for every way to cut a labelled set in two.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Raises:
        ValueError: Scores that are not finite, or labels that are not one 0/1 per score.
    """
    scores, labels = checked_pair(scores, labels)
    distinct = np.unique(scores)
    thresholds = np.concatenate(
        [
            [next_to(distinct[0], -np.inf)],
            between(distinct[:-1], distinct[1:]),
            [next_to(distinct[-1], np.inf)],
        ]
    )
    tp, fp = (alarms(np.sort(part), thresholds) for part in (scores[labels], scores[~labels]))
    return Cuts(distinct, thresholds, tp, fp)


def alarms(rising: NDArray[np.float64], thresholds: ArrayLike) -> NDArray[np.int64]:
    """Count for each threshold the scores above it; ``rising`` are the scores in rising order."""
    return len(rising) - np.searchsorted(rising, thresholds, side="right").astype(np.int64)


def between(low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """Return φ with low ≤ φ < high, half-way where floats allow.

    Between float32 numbers φ is a float32 number, since numpy rounds φ to float32 before it compares it with such.
    """
    low, high = np.asarray(low), np.asarray(high)
    middle = low + (high / 2 - low / 2)
    with np.errstate(over="ignore"):
        middle = np.where(_is_single(low) & _is_single(high), middle.astype(np.float32), middle)
    return np.where((low < middle) & (middle < high), middle, low)


def next_to(score: float, towards: float) -> float:
    """Return the nearest number to ``score`` in a direction, in float32 if it is such."""
    return float(np.nextafter(np.float32(score) if _is_single(score) else score, np.float32(towards)))


def _is_single(values: ArrayLike) -> NDArray[np.bool_]:
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32).astype(np.float64) == values
